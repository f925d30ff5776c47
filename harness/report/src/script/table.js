// The table of the operations in view.
const PAGE = 60;

class Table {
  constructor(db, go) {
    Object.assign(this, { db, go, first: 0, here: null });
    $("ops-back").addEventListener("click", () => this.turn(-PAGE));
    $("ops-on").addEventListener("click", () => this.turn(PAGE));
  }

  show(shown) {
    this.shown = shown;
    this.first = 0;
    this.draw();
  }

  turn(by) {
    this.first = Math.max(0, this.first + by);
    this.draw();
  }

  // From the first that is called in view, or around the one that is picked.
  follow(view, picked) {
    const seen = picked !== null && this.shown.has(picked) && !isOutside(this.db, picked, view);
    const first = seen ? Math.max(0, this.shown.place(picked) - 3) : lowerBound(this.shown.calls, view.from);
    if (first === this.first && this.here === picked) return;
    [this.first, this.here] = [first, picked];
    this.draw();
  }

  draw() {
    const { db, shown } = this, body = $("ops-body");
    body.textContent = "";
    const page = shown.ops.subarray(this.first, this.first + PAGE);
    for (const op of page) this.row(body, op);
    const all = shown.ops.length.toLocaleString("en");
    $("ops-where").textContent = page.length === 0 ? (shown.ops.length === 0 ? "no operation matches" : `none after this, of ${all}`)
      : `${(this.first + 1).toLocaleString("en")} to ${(this.first + page.length).toLocaleString("en")} of ${all}`;
    $("ops-back").disabled = this.first === 0;
    $("ops-on").disabled = this.first + PAGE >= shown.ops.length;
  }

  row(body, op) {
    const { db } = this, row = body.insertRow(), index = db.index[op];
    const cell = (value, kind) => {
      const td = row.insertCell();
      if (kind) td.className = kind;
      td.append(value ?? "");
      return td;
    };
    row.id = `op-${index}`;
    if (db.named.has(op)) row.className = "named";
    if (op === this.here) row.classList.add("here");
    const link = document.createElement("a");
    link.href = `#op-${index}`;
    link.textContent = `#${index}`;
    link.addEventListener("click", (e) => { e.preventDefault(); this.go(op); });
    const named = (table, place) => place < 0 ? "" : table[place];
    cell(link, "n");
    cell(moment(db.call[op]), "n");
    cell(db.cut[op] ? "cut off" : span(db.end[op] - db.call[op]), "n");
    cell(db.processes[db.process[op]]);
    cell(named(db.nodes, db.node[op]));
    cell(db.fs[db.f[op]]);
    cell(named(db.keys, db.key[op]));
    cell(asked(db, op), "said");
    cell(answered(db, op), "said");
    const word = document.createElement("span");
    word.className = `outcome ${OUTCOMES[db.outcome[op]]}`;
    word.textContent = OUTCOMES[db.outcome[op]];
    cell(word);
    cell(named(db.errors, db.error[op]));
  }
}
