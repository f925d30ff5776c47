// The view of the timeline: zoomed, moved, and asked what lies under the pointer.

// The least that a view shows; of a file without times, whose events are a nanosecond apart, less.
const SHORTEST_NS = 1000;

// The operations that a filter lets through, by their calls. Those that last long are looked
// through one by one, so that they do not make everything after them be looked at.
class Shown {
  constructor(db, ops) {
    Object.assign(this, { db, ops });
    const long = (db.length || 1) / 200;
    this.long = new Uint8Array(ops.length);
    this.longs = [];
    this.calls = new Float64Array(ops.length);
    this.ends = new Float64Array(ops.length);
    let latest = 0;
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i];
      this.calls[i] = db.call[op];
      if (db.end[op] - db.call[op] > long) {
        this.long[i] = 1;
        this.longs.push(op);
      } else latest = Math.max(latest, db.end[op]);
      this.ends[i] = latest;
    }
  }

  // Puts those open at any time of a span into a list; returns how many.
  between(from, until, list) {
    let count = 0;
    const last = lowerBound(this.calls, until);
    for (const op of this.longs) if (this.db.call[op] <= until && this.db.end[op] >= from) list[count++] = op;
    for (let i = lowerBound(this.ends, from); i < last; i++) {
      const op = this.ops[i];
      if (!this.long[i] && this.db.end[op] >= from) list[count++] = op;
    }
    return count;
  }

  place(op) { return lowerBound(this.calls, this.db.call[op]) + Math.max(0, this.ops.subarray(lowerBound(this.calls, this.db.call[op])).indexOf(op)); }
  has(op) { return this.ops[lowerBound(this.ops, op)] === op; }
}

class Timeline {
  constructor(canvas, db, told) {
    Object.assign(this, { canvas, db, told, picked: null, asked: false });
    this.painter = new Painter(canvas, db);
    this.shortest = Math.min(SHORTEST_NS, (db.length || 1) / 50);
    const edge = Math.max(this.shortest, (db.length || 1) * 0.01);
    this.whole = { from: -edge, until: (db.length || 1) + edge };
    this.view = { ...this.whole };
    this.listen();
    new ResizeObserver(() => {
      if (Math.floor(canvas.parentElement.clientWidth) === this.painter.width) return;
      this.painter.resize();
      this.redraw();
    }).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.painter.colour = colours();
      this.redraw();
    });
  }

  show(shown) {
    this.shown = shown;
    this.redraw();
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.painter.draw(this.view, this.shown, this.picked);
      this.told.viewed(this.view);
    });
  }

  look(from, until) {
    const { whole } = this, length = Math.min(whole.until - whole.from, Math.max(this.shortest, until - from));
    const middle = (from + until) / 2;
    const begin = Math.min(Math.max(whole.from, middle - length / 2), whole.until - length);
    this.view = { from: begin, until: begin + length };
    this.redraw();
  }

  isWhole() { return this.view.until - this.view.from >= this.whole.until - this.whole.from; }

  zoom(by, at = (this.view.from + this.view.until) / 2) {
    const { from, until } = this.view, length = Math.max(this.shortest, (until - from) * by);
    const begin = at - (at - from) / (until - from) * length;
    this.look(begin, begin + length);
  }

  move(part) {
    const by = (this.view.until - this.view.from) * part;
    this.look(this.view.from + by, this.view.until + by);
  }

  all() { this.look(this.whole.from, this.whole.until); }

  // An operation in the middle, with room around it for its neighbours.
  focus(op) {
    const { db } = this, took = Math.min(db.end[op] - db.call[op], (db.length || 1) / 100);
    const around = Math.max(4 * took, Math.min(100000, (db.length || 1) / 8));
    this.picked = op;
    this.look(db.call[op] + took / 2 - around, db.call[op] + took / 2 + around);
  }

  pick(op) {
    this.picked = op;
    this.told.picked(op);
    this.redraw();
  }

  // The operation before or after the one picked, in the order of their calls.
  step(by) {
    const { ops } = this.shown;
    if (ops.length === 0) return;
    const here = this.picked === null || !this.shown.has(this.picked) ? lowerBound(this.shown.calls, this.view.from) - (by > 0 ? 1 : 0)
      : this.shown.place(this.picked);
    const op = ops[Math.min(ops.length - 1, Math.max(0, here + by))];
    this.pick(op);
    if (isOutside(this.db, op, this.view) || !this.painter.near) this.focus(op);
  }

  listen() {
    const { canvas } = this;
    const place = (e) => {
      const box = canvas.getBoundingClientRect(), scale = this.painter.width / (box.width || 1);
      return [(e.clientX - box.left) * scale, (e.clientY - box.top) * scale];
    };
    canvas.addEventListener("wheel", (e) => {
      // A page that is scrolled over the whole run goes on.
      if (e.deltaY > 0 && this.isWhole()) return;
      e.preventDefault();
      if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) return this.move(e.deltaX / 1000);
      this.zoom(Math.exp(Math.max(-240, Math.min(240, e.deltaY)) / 400), this.painter.time(place(e)[0]));
    }, { passive: false });
    let drag = null;
    const overview = (x) => {
      const at = (x - this.painter.left) / this.painter.plot * (this.db.length || 1), half = (this.view.until - this.view.from) / 2;
      this.look(at - half, at + half);
    };
    canvas.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      const [x, y] = place(e);
      canvas.setPointerCapture(e.pointerId);
      drag = { x, view: this.view, strip: y < STRIP_PX, moved: false };
      if (drag.strip) overview(x);
    });
    canvas.addEventListener("pointermove", (e) => {
      const [x, y] = place(e);
      if (drag === null) return this.hover(x, y, e);
      if (drag.strip) return overview(x);
      if (Math.abs(x - drag.x) > 3) drag.moved = true;
      if (!drag.moved) return;
      hideTip();
      const by = (drag.x - x) / this.painter.plot * (drag.view.until - drag.view.from);
      this.look(drag.view.from + by, drag.view.until + by);
    });
    const end = (e) => {
      const was = drag;
      drag = null;
      if (was && !was.moved && !was.strip && e.type === "pointerup") this.click(...place(e), e);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", hideTip);
    canvas.addEventListener("dblclick", (e) => {
      const [x, y] = place(e);
      if (y > STRIP_PX) this.zoom(0.25, this.painter.time(x));
    });
    const keys = {
      ArrowLeft: () => this.move(-0.2), ArrowRight: () => this.move(0.2), ArrowUp: () => this.step(-1), ArrowDown: () => this.step(1),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), Home: () => this.all(),
      Enter: () => { if (this.picked !== null) this.focus(this.picked); },
    };
    canvas.addEventListener("keydown", (e) => {
      if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      keys[e.key]();
    });
  }

  hover(x, y, e) {
    const text = this.tell(x, y);
    if (text === "") hideTip();
    else showTip(text, e.clientX, e.clientY);
  }

  click(x, y, e) {
    const op = this.painter.at(x, y);
    if (op !== null) return this.pick(op);
    const anomaly = this.anomalyAt(x, y);
    if (anomaly !== null) { location.hash = `anomaly-${anomaly}`; return; }
    const lines = this.linesAt(x, y);
    if (lines) return this.told.logged(lines);
    const fault = this.faultsAt(x, y).find((place) => $(`fault-${place.fault[0]}`));
    if (fault) { location.hash = `fault-${fault.fault[0]}`; return; }
    if (!this.painter.near && y > this.painter.laid.top && x > this.painter.left) {
      hideTip();
      this.zoom(0.25, this.painter.time(x));
    }
  }

  anomalyAt(x, y) {
    const { laid } = this.painter;
    if (y < laid.marksTop || y > laid.marksTop + MARK_PX) return null;
    const far = (anomaly) => anomaly[4] === null ? Infinity : Math.abs(this.painter.x(anomaly[4]) - x);
    let best = null;
    this.db.anomalies.forEach((anomaly, i) => { if (far(anomaly) < 7 && (best === null || far(anomaly) < far(this.db.anomalies[best]))) best = i; });
    return best;
  }

  faultsAt(x, y) {
    const { painter } = this, row = painter.rowAt(y);
    return painter.laid.faults.filter(({ fault, row: of }) => of === row && fault[4] <= painter.time(x + 3) && fault[5] >= painter.time(x - 3));
  }

  // Lines of all nodes around a moment, if a log's lane is there.
  linesAt(x, y) {
    const row = this.painter.rowAt(y), { laid } = this.painter;
    if (row === null || !laid.log.some((line) => line.row === row)) return null;
    const t = this.painter.time(x), around = 6 / this.painter.plot * (this.view.until - this.view.from);
    const at = this.db.log.map((line) => line[1]);
    const near = this.db.log.slice(lowerBound(at, t - around), lowerBound(at, t + around));
    return near.length > 0 ? near : null;
  }

  tell(x, y) {
    const { painter, db } = this, { laid } = painter;
    if (x < painter.left || y < STRIP_PX || y > laid.bottom) return "";
    const op = painter.at(x, y);
    if (op !== null) return tellOperation(db, op);
    const anomaly = this.anomalyAt(x, y);
    if (anomaly !== null) return `${titleOf(db, anomaly)}\n${db.anomalies[anomaly][2]}\nfound by ${db.anomalies[anomaly][3]}`;
    const t = painter.time(x);
    const faults = this.faultsAt(x, y);
    if (faults.length > 0) return faults.slice(0, 4).map((place) => tellFault(place.fault)).join("\n");
    const lines = this.linesAt(x, y);
    if (lines) return lines.slice(0, 12).map((line) => tellLine(db, line)).join("\n") + (lines.length > 12 ? `\nand ${many(lines.length - 12, "more line")}` : "");
    const counted = [];
    if (!painter.near && y >= laid.top) {
      const lane = Math.min(laid.lanes.length - 1, Math.floor((y - laid.top) / (laid.lanesPx / laid.lanes.length)));
      const column = Math.min(painter.plot - 1, Math.max(0, Math.floor(x - painter.left)));
      const of = (outcome) => painter.counts[(lane * 3 + outcome) * (painter.plot + 1) + column];
      counted.push(`${laid.lanes[lane].label}: ${OUTCOMES.map((word, i) => `${of(i).toLocaleString("en")} ${word}`).join(", ")}`);
    }
    return [moment(Math.max(0, t)), ...counted, ...tellMoment(db, t)].join("\n");
  }
}

const isOutside = (db, op, view) => db.call[op] < view.from || db.call[op] > view.until;
