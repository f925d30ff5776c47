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
