// What there is to say of operations, faults and moments, in words.
const OUTCOMES = ["ok", "fail", "info"];

// A span of nanoseconds with about three digits in the unit that suits it.
const span = (ns) => {
  const three = (x) => x >= 99.95 ? x.toFixed(0) : x >= 9.995 ? x.toFixed(1) : x.toFixed(2);
  if (ns < 999.5) return `${ns.toFixed(0)} ns`;
  if (ns < 999.5e3) return `${three(ns / 1e3)} µs`;
  if (ns < 999.5e6) return `${three(ns / 1e6)} ms`;
  if (ns < 120e9) return `${three(ns / 1e9)} s`;
  const s = Math.round(ns / 1e9), hours = Math.floor(s / 3600), minutes = Math.floor(s / 60) % 60;
  return hours === 0 ? `${minutes} min ${s % 60} s` : `${hours} h ${minutes} min`;
};
// A file without times is a few microseconds long.
let isTiny = false;
const moment = (ns) => isTiny ? `${Number((ns / 1e3).toFixed(3))} µs` : `${(ns / 1e9).toFixed(6)} s`;
const many = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;

const asked = (db, op) => db.asked[op] < 0 ? "" : db.values[db.asked[op]];
// What an operation that only asks was answered is told, and what another answered than was asked.
const answered = (db, op) => {
  if (db.outcome[op] !== 0) return "";
  if (db.answered[op] >= 0 && db.answered[op] === db.asked[op]) return "";
  if (db.answered[op] >= 0) return db.values[db.answered[op]];
  return db.asked[op] < 0 ? "nil" : "";
};

// `write 5`, `read → 5`, `write 6 ✗`, `write 7 ?`
const brief = (db, op) => {
  // What a transaction did is more than what it asked.
  if (db.fs[db.f[op]] === "txn" && db.outcome[op] === 0) return answered(db, op) || asked(db, op);
  const words = [db.fs[db.f[op]], asked(db, op)];
  if (db.outcome[op] === 1) words.push("✗");
  else if (db.outcome[op] === 2) words.push("?");
  else if (answered(db, op) !== "") words.push("→", answered(db, op));
  return words.filter((word) => word !== "").join(" ");
};

const tellOperation = (db, op) => {
  const key = db.key[op] < 0 ? "" : ` of key ${db.keys[db.key[op]]}`;
  const lines = [`#${db.index[op]} ${brief(db, op)}${key}`];
  if (db.outcome[op] === 1) lines[0] += ": failed, it did not happen";
  if (db.outcome[op] === 2) lines[0] += ": nobody knows whether it happened";
  const node = db.node[op] < 0 ? "" : ` on ${db.nodes[db.node[op]]}`;
  lines.push(`process ${db.processes[db.process[op]]}${node}`);
  lines.push(db.cut[op] ? `from ${moment(db.call[op])}, cut off by the end of the run`
    : `from ${moment(db.call[op])} to ${moment(db.end[op])} (${span(db.end[op] - db.call[op])})`);
  if (db.error[op] >= 0) lines.push(db.errors[db.error[op]]);
  for (const anomaly of db.named.get(op) ?? []) lines.push(`named by: ${titleOf(db, anomaly)}`);
  return lines.join("\n");
};

const titleOf = (db, anomaly) => {
  const [kind, object] = db.anomalies[anomaly];
  return object === null ? kind : `${kind} of object ${object}`;
};

const tellFault = ([number, , , words, from, until, held, healed]) =>
  `fault ${number}: ${words}\n${held ? "in force" : "tried"} ${moment(from)} to ` +
  `${healed ? moment(until) : "the end: no healing was recorded"}` +
  (held ? "" : "\nno receipt shows that it held");

// What was in force, and who led or had which head, at a moment.
const tellMoment = (db, t) => {
  const lines = [];
  for (const fault of db.faults) if (fault[4] <= t && t <= fault[5]) lines.push(fault[3] + (fault[6] ? "" : " (did not hold)"));
  for (const [node, from, until, ballot, sure] of db.led) {
    if (t < from || until < t) continue;
    const of = ballot === null ? "" : `, ${ballot}`;
    lines.push(sure ? `${node} takes itself for the leader${of}` : `${node}: whether it leads now is not known${of}`);
  }
  for (const [node, from, until, hash, height] of db.tips) {
    if (from <= t && t <= until) lines.push(`${node} has the head ${hash}${height === null ? "" : `, height ${height}`}`);
  }
  return lines;
};

// A line of a log. While a fault shifts a clock, lines stand where the clock says.
const tellLine = (db, [node, at, , text]) =>
  `${(at / 1e9).toFixed(3)} ${node}${db.shifted.includes(node) ? ", by its shifted clock" : ""}  ${text}`;
