// Draws a view of the operations, and says what lies where.

// The narrow strip of the whole run, the axis, and what stands between it and the operations.
const STRIP_PX = 26, AXIS_PX = 24, ROW_PX = 15, MARK_PX = 14, FOOT_PX = 8;
// Room for the lanes, as far as there is something to show in it; and of an operation.
const MOST_LANES_PX = 340, BAR_PX = 22;
const MOST_DEEP = 6;
// More bars than this are no bars to the eye.
const MOST_BARS = 3000;

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const named = {};
  for (const name of ["ink", "muted", "line", "card", "soft", "invalid", "unknown", "ok", "fail", "info", "other", "f0", "f1", "f2",
    "f3", "f4", "f5", "fam0", "fam1", "fam2", "fam3", "fam4", "fam5", "fam6", "v0", "v1", "v2", "v3"]) {
    named[name] = style.getPropertyValue(`--${name}`).trim();
  }
  return named;
};

// What has its place once and for all: faults by family, leaders and logs by node, lanes by node.
const layout = (db) => {
  const rows = [], faults = [];
  const families = [...new Set(db.faults.map((fault) => fault[2]))];
  const classes = [...new Set(db.faults.map((fault) => fault[1]))];
  const colour = (fault) => classes.indexOf(fault[1]) < 7 ? `fam${classes.indexOf(fault[1])}` : "other";
  for (const family of families) {
    const ends = [], first = rows.length;
    for (const fault of db.faults.filter((fault) => fault[2] === family)) {
      let deep = ends.findIndex((end) => end <= fault[4]);
      if (deep < 0) deep = Math.min(ends.length, MOST_DEEP - 1);
      ends[deep] = Math.max(ends[deep] ?? 0, fault[5]);
      faults.push({ fault, row: first + deep, colour: colour(fault) });
    }
    ends.forEach((_, i) => rows.push({ label: i === 0 ? family : "", colour: faults[faults.length - 1].colour }));
  }
  const ofNodes = (what, list) => {
    const nodes = [...new Set(list.map((entry) => entry[0]))].sort(byName);
    const first = rows.length;
    nodes.forEach((node) => rows.push({ label: `${node} ${what}`, colour: "muted" }));
    return (node) => first + nodes.indexOf(node);
  };
  const ledRow = ofNodes("leads", db.led), tipRow = ofNodes("tip", db.tips), logRow = ofNodes("log", db.log);
  const led = db.led.map((entry) => ({ entry, row: ledRow(entry[0]) }));
  const tips = db.tips.map((entry) => ({ entry, row: tipRow(entry[0]) }));
  const log = db.log.map((entry) => ({ entry, row: logRow(entry[0]) }));
  // Nodes in the order of their names; those without one share a lane.
  const order = db.nodes.map((_, i) => i).sort((a, b) => byName(db.nodes[a], db.nodes[b]));
  const lanes = order.map((node) => ({ label: db.nodes[node], node }));
  if (lanes.length === 0 || db.node.includes(-1)) lanes.push({ label: lanes.length === 0 ? "all" : "no node", node: -1 });
  const laneOf = new Int32Array(db.nodes.length + 1);
  lanes.forEach((lane, i) => { laneOf[lane.node + 1] = i; });
  const rowsTop = STRIP_PX + AXIS_PX, marksTop = rowsTop + rows.length * ROW_PX;
  const top = marksTop + (db.anomalies.length > 0 ? MARK_PX : 0) + 6;
  const lanesPx = Math.min(MOST_LANES_PX, Math.max(110, lanes.length * 40, db.processes.length * BAR_PX));
  const bottom = top + lanesPx;
  return { rows, faults, led, tips, log, lanes, laneOf, rowsTop, marksTop, top, lanesPx, bottom, height: bottom + FOOT_PX };
};

// n2 before n10.
const byName = (a, b) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

// Colours of kinds of operations: the most frequent first, as everywhere in the page.
const shades = (db) => {
  const counts = db.fs.map(() => 0);
  for (const f of db.f) counts[f] += 1;
  const order = db.fs.map((_, i) => i).sort((a, b) => counts[b] - counts[a] || (db.fs[a] < db.fs[b] ? -1 : 1));
  const out = [];
  order.forEach((f, i) => { out[f] = `f${Math.min(i, 5)}`; });
  return out;
};

// Round moments to label in a span: 1, 2 or 5 times a power of ten apart.
const ticksOf = (from, until, about) => {
  const rough = (until - from) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999));
  const out = [];
  for (let t = Math.ceil(from / step); t <= until / step; t++) out.push(t * step);
  const [unit, scale] = isTiny ? ["µs", 1e3] : ["s", 1e9];
  const decimals = Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9));
  return out.map((t) => [t, `${(t / scale).toFixed(decimals)} ${unit}`]);
};

// How many operations touch each column of pixels, by lane and outcome.
const densities = (db, laid, list, count, from, until, width, lanes) => {
  const step = width + 1, out = new Int32Array(lanes * 3 * step), scale = width / (until - from);
  for (let i = 0; i < count; i++) {
    const op = list[i], lane = lanes === 1 ? 0 : laid.laneOf[db.node[op] + 1];
    const base = (lane * 3 + db.outcome[op]) * step;
    const x0 = Math.max(0, Math.floor((db.call[op] - from) * scale));
    const x1 = Math.min(width - 1, Math.floor((db.end[op] - from) * scale));
    if (x0 >= width || x1 < 0) continue;
    out[base + x0] += 1;
    out[base + x1 + 1] -= 1;
  }
  for (let row = 0; row < lanes * 3; row++) {
    for (let x = 1; x < step; x++) out[row * step + x] += out[row * step + x - 1];
  }
  return out;
};

// One lane of them, stacked; of what went wrong at least a pixel and a half can be seen.
const drawDensity = (ctx, colour, counts, lane, width, x0, bottom, height, most) => {
  const step = width + 1;
  for (const [outcome, name] of [[2, "info"], [1, "fail"], [0, "ok"]]) {
    ctx.fillStyle = colour[name];
    for (let x = 0; x < width; x++) {
      const of = (o) => counts[(lane * 3 + o) * step + x];
      const px = (n) => n === 0 ? 0 : Math.max(1.5, n / most * height);
      const below = outcome === 0 ? 0 : outcome === 1 ? px(of(0)) : px(of(0)) + px(of(1));
      const high = px(of(outcome));
      if (high > 0) ctx.fillRect(x0 + x, Math.max(bottom - height, bottom - below - high), 1, Math.min(high, height));
    }
  }
};

const mostOf = (counts, lanes, width) => {
  let most = 1;
  for (let lane = 0; lane < lanes; lane++) {
    for (let x = 0; x < width; x++) {
      const of = (o) => counts[(lane * 3 + o) * (width + 1) + x];
      most = Math.max(most, of(0) + of(1) + of(2));
    }
  }
  return most;
};

// The rows of single operations: a process each, by node.
const processRows = (db, laid, list, count) => {
  const rows = new Map();
  for (let i = 0; i < count; i++) {
    const op = list[i], lane = laid.laneOf[db.node[op] + 1];
    rows.set(lane * 1e9 + db.process[op], { lane, process: db.process[op] });
  }
  const sorted = [...rows].sort((a, b) => a[1].lane - b[1].lane || byName(db.processes[a[1].process], db.processes[b[1].process]));
  return new Map(sorted.map(([id, row], at) => [id, { ...row, at }]));
};

class Painter {
  constructor(canvas, db) {
    Object.assign(this, { canvas, db, laid: layout(db), shade: shades(db), colour: colours() });
    this.list = new Uint32Array(db.n);
    this.resize();
  }

  resize() {
    this.width = Math.max(280, Math.floor(this.canvas.parentElement.clientWidth));
    const ratio = devicePixelRatio || 1;
    this.canvas.style.height = `${this.laid.height}px`;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.laid.height * ratio;
    this.ctx = this.canvas.getContext("2d");
    this.ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.left = this.width < 600 ? 66 : 118;
    this.plot = this.width - this.left - 6;
    this.strip = null;
  }

  x(t) { return this.left + (t - this.view.from) / (this.view.until - this.view.from) * this.plot; }
  time(x) { return this.view.from + (x - this.left) / this.plot * (this.view.until - this.view.from); }

  draw(view, shown, picked) {
    Object.assign(this, { view, shown, picked });
    this.count = shown.between(view.from, view.until, this.list);
    const { ctx, laid, width } = this;
    ctx.clearRect(0, 0, width, laid.height);
    ctx.font = "11px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
    ctx.textBaseline = "middle";
    this.drawStrip();
    ctx.save();
    ctx.beginPath();
    ctx.rect(this.left, STRIP_PX, this.plot, laid.height - STRIP_PX);
    ctx.clip();
    this.drawAxis();
    this.drawFaults();
    this.drawNodes();
    this.drawMarks();
    this.near = this.count <= MOST_BARS;
    if (this.near) this.drawBars();
    else this.drawLanes();
    ctx.restore();
    this.drawLabels();
  }

  // The whole run, with what is in view.
  drawStrip() {
    const { ctx, colour, db, plot, left, shown } = this;
    if (this.strip?.of !== shown) {
      const counts = densities(db, this.laid, shown.ops, shown.ops.length, 0, db.length || 1, plot, 1);
      this.strip = { of: shown, counts, most: mostOf(counts, 1, plot) };
    }
    drawDensity(ctx, colour, this.strip.counts, 0, plot, left, STRIP_PX - 4, STRIP_PX - 8, this.strip.most);
    const x = (t) => left + Math.min(1, Math.max(0, t / (db.length || 1))) * plot;
    ctx.fillStyle = colour.invalid;
    for (const [, , , , at] of db.anomalies) if (at !== null) ctx.fillRect(x(at) - 1, 0, 2, 5);
    const x0 = x(this.view.from), x1 = Math.max(x0 + 2, x(this.view.until));
    ctx.fillStyle = colour.ink;
    ctx.globalAlpha = 0.12;
    ctx.fillRect(left, 2, x0 - left, STRIP_PX - 5);
    ctx.fillRect(x1, 2, left + plot - x1, STRIP_PX - 5);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = colour.ink;
    ctx.strokeRect(x0 + 0.5, 1.5, Math.max(2, x1 - x0 - 1), STRIP_PX - 5);
  }

  drawAxis() {
    const { ctx, colour, laid, view } = this;
    ctx.textAlign = "center";
    for (const [t, label] of ticksOf(view.from, view.until, Math.max(2, Math.floor(this.plot / 130)))) {
      const x = Math.round(this.x(t)) + 0.5;
      ctx.strokeStyle = colour.line;
      ctx.beginPath();
      ctx.moveTo(x, STRIP_PX + AXIS_PX - 4);
      ctx.lineTo(x, laid.bottom);
      ctx.stroke();
      ctx.fillStyle = colour.muted;
      // Whole, at the edges too.
      const half = label.length * 3.4;
      ctx.fillText(label, Math.min(Math.max(x, this.left + half), this.width - 6 - half), STRIP_PX + 11);
    }
  }

  drawFaults() {
    const { ctx, colour, laid } = this;
    ctx.textAlign = "left";
    const free = new Map();
    for (const place of [...laid.faults].reverse()) {
      const [, , , words, from, until, held] = place.fault;
      const x0 = this.x(from), x1 = Math.max(x0 + 2, this.x(until)), y = laid.rowsTop + place.row * ROW_PX;
      if (x1 < this.left || x0 > this.width) { if (x0 > this.width) free.set(place.row, this.width); continue; }
      ctx.fillStyle = colour[place.colour];
      ctx.globalAlpha = held ? 0.07 : 0.02;
      ctx.fillRect(x0, laid.rowsTop, x1 - x0, laid.bottom - laid.rowsTop);
      ctx.globalAlpha = held ? 0.35 : 0.1;
      ctx.fillRect(x0, y, x1 - x0, ROW_PX - 2);
      ctx.globalAlpha = 1;
      ctx.fillRect(x0, y, 3, ROW_PX - 2);
      const begin = Math.max(x0, this.left) + 6, room = (free.get(place.row) ?? this.width) - begin - 4;
      // The family stands in front of the row.
      const label = words.startsWith(`${place.fault[2]}: `) ? words.slice(place.fault[2].length + 2) : words;
      const text = `${held ? "" : "✗ "}${label}`.slice(0, Math.max(0, Math.floor(room / 6.7)));
      free.set(place.row, x0);
      if (text.length > 3) { ctx.fillStyle = colour.ink; ctx.fillText(text, begin, y + 7); }
    }
  }

  // Who led, or whose head was which, and what was logged: errors and warnings as ticks, the rest as
  // dots. What nobody knows is faint.
  drawNodes() {
    const { ctx, colour, laid } = this;
    const span = (from, until, row, least) => {
      const x0 = this.x(from), x1 = Math.max(x0 + least, this.x(until));
      if (x1 >= this.left && x0 <= this.width) ctx.fillRect(x0, laid.rowsTop + row * ROW_PX + 4, x1 - x0, ROW_PX - 8);
    };
    ctx.fillStyle = colour.f0;
    for (const { entry: [, from, until, , sure], row } of laid.led) {
      ctx.globalAlpha = sure ? 1 : 0.25;
      span(from, until, row, sure ? 2 : 0);
    }
    ctx.globalAlpha = 1;
    for (const { entry: [, from, until, , , block], row } of laid.tips) {
      ctx.fillStyle = colour[`v${block % 4}`];
      span(from, until, row, 1);
    }
    const levels = [["muted", 5, 3], ["unknown", 2, 9], ["invalid", 1, 11]];
    for (const level of [0, 1, 2]) {
      const [name, top, high] = levels[level];
      ctx.fillStyle = colour[name];
      let last = -9;
      for (const { entry: [, at, loud], row } of laid.log) {
        if (loud !== level || at < this.view.from || at > this.view.until) continue;
        const x = Math.round(this.x(at)) + row * 1e6;
        if (x === last) continue;
        last = x;
        ctx.fillRect(x - row * 1e6 - 1, laid.rowsTop + row * ROW_PX + top, 2, high);
      }
    }
  }

  drawMarks() {
    const { ctx, colour, laid, db } = this;
    let last = -9;
    for (const [, , , , at] of db.anomalies) {
      if (at === null || at < this.view.from || at > this.view.until) continue;
      const x = this.x(at);
      if (Math.abs(x - last) < 1) continue;
      last = x;
      ctx.fillStyle = colour.invalid;
      ctx.beginPath();
      ctx.moveTo(x - 5, laid.marksTop + 2);
      ctx.lineTo(x + 5, laid.marksTop + 2);
      ctx.lineTo(x, laid.marksTop + 11);
      ctx.fill();
      ctx.globalAlpha = 0.35;
      ctx.fillRect(x - 0.5, laid.marksTop + 11, 1, laid.bottom - laid.marksTop - 11);
      ctx.globalAlpha = 1;
    }
  }

  drawLanes() {
    const { ctx, colour, laid, db } = this;
    const lanes = laid.lanes.length, high = laid.lanesPx / lanes;
    const counts = densities(db, laid, this.list, this.count, this.view.from, this.view.until, this.plot, lanes);
    const most = mostOf(counts, lanes, this.plot);
    for (let lane = 0; lane < lanes; lane++) {
      const bottom = laid.top + (lane + 1) * high - 3;
      drawDensity(ctx, colour, counts, lane, this.plot, this.left, bottom, Math.max(2, high - 8), most);
      ctx.fillStyle = colour.muted;
      ctx.fillRect(this.left, bottom, this.plot, 0.7);
    }
    this.counts = counts;
    this.rows = null;
  }

  drawBars() {
    const { ctx, laid, db } = this;
    this.rows = processRows(db, laid, this.list, this.count);
    this.rowPx = Math.min(BAR_PX, laid.lanesPx / Math.max(1, this.rows.size));
    let picked = null;
    ctx.textAlign = "left";
    for (let i = 0; i < this.count; i++) {
      const op = this.list[i];
      if (op === this.picked) picked = op;
      else this.drawBar(op);
    }
    // Over its neighbours.
    if (picked !== null) this.drawBar(picked);
  }

  rowOf(op) { return this.rows.get(this.laid.laneOf[this.db.node[op] + 1] * 1e9 + this.db.process[op]).at; }

  drawBar(op) {
    const { ctx, colour, laid, db } = this;
    const high = Math.max(1.5, this.rowPx - 3), y = laid.top + this.rowOf(op) * this.rowPx;
    const x0 = this.x(db.call[op]), x1 = Math.max(x0 + 2, this.x(db.end[op]));
    const shade = colour[this.shade[db.f[op]]], outcome = db.outcome[op], named = db.named.has(op);
    const end = Math.min(x1, this.width + 10), begin = Math.max(x0, this.left - 10);
    if (outcome === 2) {
      const fade = ctx.createLinearGradient(begin, 0, end, 0);
      fade.addColorStop(0, shade);
      fade.addColorStop(1, "transparent");
      ctx.fillStyle = fade;
    } else ctx.fillStyle = shade;
    ctx.globalAlpha = outcome === 1 ? 0.1 : db.asked[op] < 0 ? 0.16 : 0.5;
    ctx.fillRect(begin, y, end - begin, high);
    ctx.globalAlpha = 1;
    ctx.setLineDash(outcome === 1 ? [3, 2] : []);
    ctx.lineWidth = op === this.picked || named ? 2 : 1;
    ctx.strokeStyle = op === this.picked ? colour.ink : named ? colour.invalid : shade;
    if (high > 3 && (outcome !== 2 || op === this.picked || named)) ctx.strokeRect(begin + 0.5, y + 0.5, Math.max(1, end - begin - 1), high - 1);
    ctx.setLineDash([]);
    ctx.lineWidth = 1;
    const text = Math.max(begin, this.left) + 4, fits = Math.floor((end - text - 2) / 6.7);
    if (high < 11 || fits < 3) return;
    const words = brief(db, op);
    ctx.fillStyle = colour.ink;
    ctx.fillText(words.length > fits ? words.slice(0, fits - 1) + "…" : words, text, y + high / 2 + 0.5);
  }

  // Names stand left of the plot.
  drawLabels() {
    const { ctx, colour, laid, db } = this;
    const fits = Math.floor((this.left - 10) / 6.7);
    const label = (text, y, name, bold) => {
      ctx.fillStyle = colour[name];
      ctx.font = ctx.font.replace(/^(bold )?/, bold ? "bold " : "");
      ctx.fillText(text.length > fits ? text.slice(0, fits - 1) + "…" : text, this.left - 8, y);
    };
    ctx.textAlign = "right";
    laid.rows.forEach((row, i) => label(row.label, laid.rowsTop + i * ROW_PX + 7, row.colour, false));
    if (db.anomalies.length > 0) label("anomalies", laid.marksTop + 7, "invalid", false);
    if (!this.near) {
      const high = laid.lanesPx / laid.lanes.length;
      laid.lanes.forEach((lane, i) => { if (high > 8) label(lane.label, laid.top + (i + 0.5) * high, "ink", true); });
      return;
    }
    if (this.count === 0) label("none here", laid.top + 10, "muted", false);
    let lane = null;
    for (const row of this.rows.values()) {
      const first = row.lane !== lane, y = laid.top + (row.at + 0.5) * this.rowPx - 1;
      lane = row.lane;
      if (this.rowPx < 11 && !first) continue;
      const node = laid.lanes[lane].node < 0 ? "" : laid.lanes[lane].label;
      label(this.rowPx < 11 ? node : `${first ? node : ""} p${db.processes[row.process]}`.trim(), y, first ? "ink" : "muted", first);
    }
  }

  // The operation whose bar is at a place, with some help for narrow ones.
  at(x, y) {
    const { laid, db } = this;
    if (!this.near || y < laid.top || y > laid.bottom || x < this.left) return null;
    const row = Math.floor((y - laid.top) / this.rowPx);
    let best = null, nearest = 5;
    for (let i = 0; i < this.count; i++) {
      const op = this.list[i];
      if (this.rowOf(op) !== row) continue;
      const x0 = this.x(db.call[op]), x1 = Math.max(x0 + 2, this.x(db.end[op]));
      const far = x < x0 ? x0 - x : x > x1 ? x - x1 : 0;
      if (far < nearest) [best, nearest] = [op, far];
    }
    return best;
  }

  // The row of faults, leaders and logs at a place.
  rowAt(y) {
    const row = Math.floor((y - this.laid.rowsTop) / ROW_PX);
    return row >= 0 && row < this.laid.rows.length ? row : null;
  }
}
