// Texts of a page that do not stand out from what lies behind them by 4.5 to 1.
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  // Any colour that style sheets know, as red, green, blue and alpha from 0 to 1.
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), rgba("Canvas"));
  };
  // In a picture: the shape of its own group in front of which the text was drawn.
  const shape = (text) => {
    const { left, top, width, height } = text.getBoundingClientRect(), [x, y] = [left + width / 2, top + height / 2];
    const holds = (e) => {
      const box = e.getBoundingClientRect();
      return ["rect", "circle"].includes(e.tagName) && box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
    };
    let of = text.previousElementSibling;
    while (of && !holds(of)) of = of.previousElementSibling;
    return of;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
    if (words === "" || ["SCRIPT", "NOSCRIPT", "STYLE", "OPTION", "DATALIST"].includes(element.tagName)) continue;
    if (!element.checkVisibility() || element.closest(":disabled, [aria-pressed=false], #tip")) continue;
    const style = getComputedStyle(element), picture = element.closest("svg");
    let colour = rgba(picture ? style.fill : style.color), below = behind(picture ? picture.parentElement : element);
    const lies = picture && shape(element);
    if (lies) {
      const fill = getComputedStyle(lies), layer = rgba(fill.fill === "none" ? "transparent" : fill.fill);
      layer[3] *= Number(fill.fillOpacity);
      below = over(layer, below);
    }
    // A swatch is no text.
    if (picture && words === "■") continue;
    colour[3] *= Number(style.opacity);
    const found = ratio(over(colour, below), below);
    if (found < 4.5) faint.push(`${found.toFixed(2)} ${element.tagName}.${element.getAttribute("class")}: ${words.slice(0, 40)}`);
  }
  return [...new Set(faint)].slice(0, 20);
})()
