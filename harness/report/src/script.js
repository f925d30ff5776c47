// Hovering, copying, hiding, and the table of operations. The page can be read without any of it.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = (id) => $(id) && JSON.parse($(id).textContent);

  // Text beside the pointer. Titles are taken from the pictures, so that the browser does not
  // show them a second time, and stay for screen readers as labels.
  const tip = $("tip");
  const showTip = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - height - 6)) + "px";
  };
  const hideTip = () => { tip.hidden = true; };
  for (const title of document.querySelectorAll("svg title")) {
    const of = title.parentElement;
    of.dataset.tip = title.textContent;
    of.setAttribute("aria-label", title.textContent);
    of.setAttribute("role", "img");
    title.remove();
  }
  const lit = (number, on) => {
    for (const band of document.querySelectorAll(`.band[data-fault="${number}"]`)) band.classList.toggle("lit", on);
  };
  for (const of of document.querySelectorAll("[data-tip]")) {
    const light = (on) => { if (of.dataset.fault !== undefined) lit(of.dataset.fault, on); };
    of.addEventListener("pointermove", (e) => { showTip(of.dataset.tip, e.clientX, e.clientY); light(true); e.stopPropagation(); });
    of.addEventListener("pointerleave", () => { hideTip(); light(false); });
    of.addEventListener("focus", () => {
      if (!of.matches(":focus-visible")) return;
      const box = of.getBoundingClientRect();
      showTip(of.dataset.tip, box.left, box.bottom);
      light(true);
    });
    of.addEventListener("blur", () => { hideTip(); light(false); });
  }
  addEventListener("keydown", (e) => { if (e.key === "Escape") hideTip(); });

  // The command.
  const copy = $("copy");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const command = $("command");
      try {
        await navigator.clipboard.writeText(command.textContent);
      } catch {
        // No clipboard for pages from a disk in some browsers: mark it for Ctrl-C, and try the old way.
        getSelection().selectAllChildren(command);
        document.execCommand("copy");
      }
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
  }

  // The run at a glance: a line through all charts, and the numbers of its bin.
  const glance = document.querySelector("svg.chart");
  const run = data("glance-data");
  if (glance && run) {
    const cross = $("cross");
    const short = (n) => n >= 100 ? n.toFixed(0) : n.toFixed(1);
    const at = (t, x, y) => {
      const px = run.x0 + (t / (run.end || 1)) * (run.x1 - run.x0);
      cross.setAttribute("x1", px);
      cross.setAttribute("x2", px);
      cross.style.visibility = "visible";
      const row = run.rows[Math.min(run.rows.length - 1, Math.floor(t / run.bin))];
      const lines = [`${t.toFixed(3)} s`, `ok ${short(row[0])}/s   fail ${short(row[1])}/s   info ${short(row[2])}/s`];
      run.fs.forEach((f, i) => { if (row[3][i]) lines.push(`${f}: p50 / p99 ${row[3][i]}`); });
      for (const [from, to, label] of run.faults) if (from <= t && t <= to) lines.push(label);
      showTip(lines.join("\n"), x, y);
    };
    const hide = () => { cross.style.visibility = "hidden"; hideTip(); };
    glance.addEventListener("pointermove", (e) => {
      const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(glance.getScreenCTM().inverse());
      if (p.x < run.x0 || p.x > run.x1) return hide();
      at((p.x - run.x0) / (run.x1 - run.x0) * run.end, e.clientX, e.clientY);
    });
    glance.addEventListener("pointerleave", hide);
    // With the keyboard: arrows move by one bin.
    let t = 0;
    glance.setAttribute("tabindex", "0");
    glance.addEventListener("keydown", (e) => {
      if (e.target !== glance || (e.key !== "ArrowLeft" && e.key !== "ArrowRight")) return;
      e.preventDefault();
      t = Math.max(0, Math.min(run.end, t + (e.key === "ArrowLeft" ? -run.bin : run.bin)));
      const box = glance.getBoundingClientRect();
      at(t, box.left + box.width * (run.x0 + t / run.end * (run.x1 - run.x0)) / 1200, Math.max(60, box.top + 60));
    });
    glance.addEventListener("blur", hide);
    for (const key of document.querySelectorAll(".key")) {
      key.addEventListener("click", () => {
        const on = key.getAttribute("aria-pressed") !== "true";
        key.setAttribute("aria-pressed", on);
        const what = key.dataset.hides;
        for (const path of glance.querySelectorAll(`.dots.${what}, .crosses.${what}, .p50.${what}, .p99.${what}`)) {
          path.classList.toggle("off", !on);
        }
      });
    }
  }

  // Operations. A row: position, index, call, took, process, node, f, asked, answered, outcome, error, named.
  const all = data("ops-data");
  if (all) {
    const PAGE = 60;
    const [POS, INDEX, CALL, TOOK, PROCESS, NODE, F, IN, OUT, OUTCOME, ERROR, NAMED] = [...Array(12).keys()];
    const text = $("ops-text"), f = $("ops-f"), outcome = $("ops-outcome"), node = $("ops-node"), body = $("ops-body");
    let shown = all, first = 0, here = null;
    $("ops").hidden = false;
    for (const [select, column] of [[f, F], [node, NODE]]) {
      for (const value of [...new Set(all.map((r) => r[column]))].filter((v) => v !== null).sort()) select.add(new Option(value));
    }
    const cell = (row, value, kind) => {
      const td = row.insertCell();
      if (kind) td.className = kind;
      td.textContent = value ?? "";
      return td;
    };
    const draw = () => {
      body.textContent = "";
      const filtered = shown !== all;
      const page = shown.slice(first, first + PAGE);
      page.forEach((r, i) => {
        const before = i > 0 ? page[i - 1][POS] : (first > 0 ? shown[first - 1][POS] : -1);
        if (!filtered && r[POS] - before > 1) {
          const gap = body.insertRow();
          gap.className = "gap";
          const td = cell(gap, `… ${(r[POS] - before - 1).toLocaleString("en")} operations are not in this page …`);
          td.colSpan = 10;
        }
        const row = body.insertRow();
        row.id = "op-" + r[INDEX];
        if (r[NAMED]) row.className = "named";
        if (r[INDEX] === here) row.classList.add("here");
        cell(row, "#" + r[INDEX], "n");
        cell(row, r[CALL].toFixed(6) + " s", "n");
        cell(row, r[TOOK] ?? "cut off", "n");
        cell(row, r[PROCESS]);
        cell(row, r[NODE]);
        cell(row, r[F]);
        cell(row, r[IN], "value");
        cell(row, r[OUT], "value");
        const td = cell(row, "");
        const word = document.createElement("span");
        word.className = "outcome " + r[OUTCOME];
        word.textContent = r[OUTCOME];
        td.append(word);
        cell(row, r[ERROR]);
      });
      $("ops-where").textContent = shown.length === 0 ? "no operation matches"
        : `${first + 1} to ${first + page.length} of ${shown.length.toLocaleString("en")}`;
      $("ops-back").disabled = first === 0;
      $("ops-on").disabled = first + PAGE >= shown.length;
    };
    const filter = () => {
      const word = text.value.toLowerCase();
      const any = word || f.value || outcome.value || node.value;
      shown = !any ? all : all.filter((r) =>
        (!f.value || r[F] === f.value) && (!outcome.value || r[OUTCOME] === outcome.value) &&
        (!node.value || r[NODE] === node.value) &&
        (!word || [r[PROCESS], r[NODE], r[F], r[IN], r[OUT], r[OUTCOME], r[ERROR], "#" + r[INDEX]]
          .some((v) => v !== null && String(v).toLowerCase().includes(word))));
      first = 0;
      draw();
    };
    for (const input of [text, f, outcome, node]) input.addEventListener("input", filter);
    // Shows the first operation at or after an index, whatever the filter.
    const go = (index) => {
      for (const input of [text, f, outcome, node]) input.value = "";
      filter();
      let at = all.findIndex((r) => r[INDEX] >= index);
      if (at < 0) at = all.length - 1;
      here = all[at][INDEX];
      first = Math.max(0, at - Math.floor(PAGE / 4));
      draw();
      $("op-" + here).scrollIntoView({ block: "center" });
    };
    const turn = (by) => { first = Math.max(0, first + by); draw(); };
    $("ops-back").addEventListener("click", () => turn(-PAGE));
    $("ops-on").addEventListener("click", () => turn(PAGE));
    $("ops-go").addEventListener("change", (e) => { if (e.target.value !== "") go(Number(e.target.value)); });
    const anomaly = document.querySelector(".anomaly [data-jump]"), error = $("ops-error");
    $("ops-anomaly").disabled = !anomaly;
    $("ops-anomaly").addEventListener("click", () => go(Number(anomaly.dataset.jump)));
    error.disabled = !all.some((r) => r[OUTCOME] !== "ok");
    error.addEventListener("click", () => {
      const bad = all.filter((r) => r[OUTCOME] !== "ok");
      go((bad.find((r) => here !== null && r[INDEX] > here) ?? bad[0])[INDEX]);
    });
    for (const link of document.querySelectorAll("[data-jump]")) {
      link.addEventListener("click", (e) => { e.preventDefault(); go(Number(link.dataset.jump)); });
    }
    draw();
  }

  // On paper there is nothing to unfold.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
