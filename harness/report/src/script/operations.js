// Reads the packed operations and joins filter, timeline, table and links.

// Suggestions for what is typed; all else is found too.
const MOST_SUGGESTED = 1000;

// Positions of the operations that anomalies name, with the anomalies.
const namedBy = (db) => {
  const named = new Map();
  db.anomalies.forEach((anomaly, i) => {
    for (const index of anomaly[5]) {
      const op = lowerBound(db.index, index);
      if (db.index[op] !== index) continue;
      if (!named.has(op)) named.set(op, []);
      if (!named.get(op).includes(i)) named.get(op).push(i);
    }
  });
  return named;
};

class Filter {
  constructor(db, changed) {
    this.db = db;
    const all = new Uint32Array(db.n);
    for (let i = 0; i < db.n; i++) all[i] = i;
    this.all = new Shown(db, all);
    this.inputs = ["text", "f", "key", "process", "node", "outcome"].map((name) => $(`ops-${name}`));
    for (const [id, table] of [["f", db.fs], ["node", db.nodes]]) {
      for (const value of [...table].sort(byName)) $(`ops-${id}`).add(new Option(value, table.indexOf(value)));
    }
    for (const [id, table] of [["key", db.keys], ["process", db.processes]]) {
      for (const value of table.slice(0, MOST_SUGGESTED)) $(`ops-${id}-list`).append(new Option(value, value));
    }
    $("ops-key-label").hidden = db.keys.length === 0;
    $("ops-node").parentElement.hidden = db.nodes.length === 0;
    let later = null;
    for (const input of this.inputs) {
      input.addEventListener("input", () => {
        clearTimeout(later);
        // A million operations are looked through once, and not at each letter.
        later = setTimeout(() => changed(this.apply()), input.type === "search" && db.n > 50000 ? 200 : 0);
      });
    }
    $("ops-clear").addEventListener("click", () => changed(this.clear()));
  }

  clear() {
    for (const input of this.inputs) input.value = "";
    return this.apply();
  }

  apply() {
    const { db } = this, [text, f, key, process, node, outcome] = this.inputs.map((input) => input.value.trim());
    const any = [text, f, key, process, node, outcome].some((value) => value !== "");
    $("ops-clear").disabled = !any;
    $("ops-count").textContent = "";
    if (!any) return this.all;
    const tests = [];
    const equal = (column, value) => tests.push((op) => column[op] === value);
    if (f !== "") equal(db.f, Number(f));
    if (node !== "") equal(db.node, Number(node));
    if (outcome !== "") equal(db.outcome, Number(outcome));
    if (key !== "") equal(db.key, placeOf(db.keys, key));
    if (process !== "") equal(db.process, placeOf(db.processes, process));
    if (text !== "") tests.push(search(db, text.toLowerCase()));
    const ops = this.all.ops.filter((op) => tests.every((test) => test(op)));
    $("ops-count").textContent = `${ops.length.toLocaleString("en")} of ${many(db.n, "operation")}`;
    return new Shown(db, ops);
  }
}

// -2 is nothing's place.
const placeOf = (table, value) => {
  const place = table.indexOf(value);
  return place < 0 ? -2 : place;
};

// Whether an operation has a text anywhere: each text is looked at once.
const search = (db, word) => {
  const hits = (table) => Uint8Array.from(table, (text) => text.toLowerCase().includes(word) ? 1 : 0);
  const tables = [[db.asked, db.values], [db.answered, db.values], [db.process, db.processes], [db.node, db.nodes], [db.key, db.keys],
    [db.error, db.errors], [db.f, db.fs], [db.outcome, OUTCOMES]];
  const known = new Map(), tests = tables.map(([column, table]) => {
    if (!known.has(table)) known.set(table, hits(table));
    return [column, known.get(table)];
  });
  return (op) => tests.some(([column, hit]) => column[op] >= 0 && hit[column[op]] === 1) || `#${db.index[op]}` === word;
};

// The operation with its link, and lines of logs, under the timeline.
const showOne = (db, op) => {
  const one = $("ops-one"), link = document.createElement("a");
  link.href = `#op-${db.index[op]}`;
  link.textContent = `#op-${db.index[op]}`;
  one.textContent = "";
  one.append(tellOperation(db, op), "\n", link);
};
const showLines = (db, lines) => {
  $("ops-one").textContent = lines.slice(0, 200).map((line) => tellLine(db, line)).join("\n") + (lines.length > 200 ? `\nand ${many(lines.length - 200, "more line")}` : "");
};

// Anomalies without a picture.
const listMore = (db) => {
  const box = $("more-anomalies");
  if (!box) return () => {};
  const list = box.querySelector("ol"), more = box.querySelector("button");
  let next = Number(box.dataset.from);
  list.start = next + 1;
  const add = (until) => {
    for (; next < Math.min(until, db.anomalies.length); next++) {
      const item = document.createElement("li"), title = document.createElement("b");
      item.id = `anomaly-${next}`;
      title.textContent = titleOf(db, next);
      item.append(title, ` ${db.anomalies[next][2]} `);
      for (const index of db.anomalies[next][5].slice(0, 24)) {
        const link = document.createElement("a");
        link.href = `#op-${index}`;
        link.textContent = `#${index}`;
        item.append(link, " ");
      }
      list.append(item);
    }
    more.hidden = next >= db.anomalies.length;
  };
  add(next + 50);
  more.addEventListener("click", () => add(next + 200));
  return (anomaly) => { if (anomaly >= next) add(anomaly + 1); };
};

const start = async () => {
  const began = performance.now(), status = $("ops-status"), packed = $("packed");
  if (typeof DecompressionStream === "undefined") {
    status.textContent = "This browser cannot unpack the operations (it has no DecompressionStream). Everything else can be read.";
    return;
  }
  status.textContent = "Unpacking…";
  const db = await unpack(packed.textContent);
  packed.remove();
  db.named = namedBy(db);
  isTiny = db.length < 100000;
  status.textContent = db.untold === 0 ? "" : `${many(db.untold, "line")} of the logs are not here: the run's folder has them.`;
  $("ops").hidden = false;
  const told = { viewed: () => {}, picked: (op) => showOne(db, op), logged: (lines) => showLines(db, lines) };
  const timeline = new Timeline($("view"), db, told);
  const go = (op) => {
    if (!timeline.shown.has(op)) changed(filter.clear());
    timeline.focus(op);
    showOne(db, op);
    // The address is what can be passed on; a page in a sandbox may have none.
    try { history.replaceState(null, "", `#op-${db.index[op]}`); } catch { /* It is shown all the same. */ }
  };
  const table = new Table(db, go);
  const changed = (shown) => {
    timeline.show(shown);
    table.show(shown);
  };
  const filter = new Filter(db, changed);
  told.viewed = (view) => {
    table.follow(view, timeline.picked);
    $("legend-far").hidden = timeline.painter.near;
    $("legend-near").hidden = !timeline.painter.near;
    const at = (ns) => (Math.max(0, ns) / 1e9).toFixed(12).replace(/\.?0+$/, "");
    $("view-link").href = timeline.isWhole() ? "#operations" : `#time-${at(view.from)}-${at(view.until)}`;
  };
  changed(filter.all);
  const more = listMore(db);
  buttons(db, timeline, go);
  legend(db, timeline.painter.shade);
  const follow = () => {
    const [, what, rest] = /^#(op|time|anomaly)-(.*)$/.exec(location.hash) ?? [];
    if (what === "op") {
      go(Math.min(db.n - 1, lowerBound(db.index, Number(rest))));
      $("operations").scrollIntoView();
    } else if (what === "time") {
      const [from, until] = rest.split("-").map((s) => Number(s) * 1e9);
      if (until > from) timeline.look(from, until);
      $("operations").scrollIntoView();
    } else if (what === "anomaly") {
      more(Number(rest));
      unfold();
    }
  };
  addEventListener("hashchange", follow);
  // Also to where one has been before.
  document.addEventListener("click", (e) => {
    const link = e.target.closest?.('a[href^="#op-"], a[href^="#time-"]');
    if (!link || e.defaultPrevented || link.getAttribute("href") !== location.hash) return;
    follow();
  });
  follow();
  // For whoever waits for it, and wonders how long it took.
  document.documentElement.dataset.unpacked = (performance.now() - began).toFixed(0);
};

// What colours mean: outcomes far away, kinds of operations near.
const legend = (db, shade) => {
  const entries = OUTCOMES.map((word) => [word, word]);
  const kinds = db.fs.map((f, i) => [shade[i], f]).sort((a, b) => a[0] < b[0] ? -1 : 1).slice(0, 12);
  if (db.named.size > 0) kinds.push(["edge", "red edge: named by an anomaly"]);
  for (const [name, list] of [["far", entries], ["near", kinds]]) {
    for (const [colour, word] of list) {
      const dot = document.createElement("i");
      dot.className = `dot ${colour}`;
      const item = document.createElement("span");
      item.append(dot, word);
      $(`legend-${name}`).append(item);
    }
  }
};

const buttons = (db, timeline, go) => {
  $("view-in").addEventListener("click", () => timeline.zoom(0.5));
  $("view-out").addEventListener("click", () => timeline.zoom(2));
  $("view-left").addEventListener("click", () => timeline.move(-0.2));
  $("view-right").addEventListener("click", () => timeline.move(0.2));
  $("view-all").addEventListener("click", () => timeline.all());
  $("ops-go").addEventListener("change", (e) => {
    if (e.target.value !== "") go(Math.min(db.n - 1, lowerBound(db.index, Number(e.target.value))));
  });
  // Those that follow the one picked, and then from the beginning again.
  const next = (button, ops) => {
    button.disabled = ops.length === 0;
    button.addEventListener("click", () => go(ops.find((op) => timeline.picked !== null && op > timeline.picked) ?? ops[0]));
  };
  next($("ops-anomaly"), [...db.named.keys()].sort((a, b) => a - b));
  const errors = [];
  for (let op = 0; op < db.n; op++) if (db.outcome[op] !== 0) errors.push(op);
  next($("ops-error"), errors);
};

if ($("packed")) {
  start().catch((error) => {
    $("ops-status").textContent = `The operations could not be shown: ${error.message}`;
    throw error;
  });
}
