// Text beside the pointer, the command's button, and what a link opens. The page can be read
// without any of it.
const $ = (id) => document.getElementById(id);
const data = (id) => $(id) && JSON.parse($(id).textContent);

// Titles are taken from the pictures, so that the browser does not show them a second time, and
// stay for screen readers as labels.
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
  if (of.tagName !== "a") of.setAttribute("role", "img");
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

// What a link leads to is unfolded.
const unfold = () => {
  const of = $(decodeURIComponent(location.hash.slice(1)));
  let opened = false;
  // It may lie in a group that is folded, too.
  for (let details = of && of.closest("details"); details; details = details.parentElement.closest("details")) {
    opened ||= !details.open;
    details.open = true;
  }
  if (opened) of.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();

// On paper there is nothing to unfold, and nobody reads a hundred anomalies there.
addEventListener("beforeprint", () => {
  for (const details of [...document.querySelectorAll("details.anomaly:not(.alike *)")].slice(0, 8)) details.open = true;
});
