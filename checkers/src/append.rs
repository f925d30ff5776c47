//! Strict serializability of transactions that append to lists and read them, after Elle (Kingsbury
//! and Alvaro, VLDB 2020): a list tells the order of the appends that made it, so the dependencies
//! of transactions (Adya 1999) need not be guessed.
//!
//! ```text
//! txn  [["append" x 3] ["r" x nil]]   is answered with   [["append" x 3] ["r" x [1 2 3]]]
//! ```
//!
//! Values appended to one key are unique. Every read of a key is a prefix of its longest; appends
//! that nobody read come after all that were. Edges join a transaction to the one whose append
//! follows (ww), that read it (wr), whose append it did not see (rw), and that was invoked after it
//! had returned (real time). Any cycle refutes strict serializability, and its kind says what else.
//! Linear in operations and elements read, but for the search that makes a cycle short.
//!
//! A transaction of unknown outcome takes part iff one of its appends was read.

mod graph;

use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;

use self::graph::{Cycle, Dependencies, Kind};
use crate::{Analysis, Anomaly, Budget, Checker, Exhausted, Figure, Meter};

/// Judges operations `txn`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListAppend;

/// As many of each kind as a person will look at.
const MOST_OF_A_KIND: usize = 4;

const NONE: u32 = u32::MAX;

/// `["append" k v]` or `["r" k list]`.
enum Mop<'h> {
    Append(u32),
    Read(u32, &'h [Value]),
}

struct Txn<'h> {
    op: &'h Op,
    mops: Vec<Mop<'h>>,
    happened: bool,
}

/// One append of the history.
struct Append<'h> {
    key: u32,
    value: &'h Value,
    /// Number of the transaction; none if all that tried failed.
    txn: u32,
    /// A failed one.
    failed: Option<&'h Op>,
    /// Whether the transaction appends nothing to the key afterwards.
    last: bool,
    /// Position in the key's order, if it was read.
    position: u32,
}

struct Key<'h> {
    value: &'h Value,
    /// The longest read: numbers of appends.
    order: Vec<u32>,
    /// Who read it.
    longest_by: u32,
    /// Whether the reads contradict each other, so that there is no order.
    broken: bool,
}

struct Judge<'h> {
    txns: Vec<Txn<'h>>,
    keys: Vec<Key<'h>>,
    appends: Vec<Append<'h>>,
    append_numbers: FxHashMap<(u32, &'h Value), u32>,
    anomalies: Vec<Anomaly>,
    counts: FxHashMap<String, usize>,
}

impl Checker for ListAppend {
    fn name(&self) -> &str {
        "append"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let mut meter = budget.start();
        let mut judge = match Judge::new(history, &mut meter) {
            Ok(Ok(judge)) => judge,
            Ok(Err(unreadable)) => return Analysis::unknown(self.name(), unreadable),
            Err(why) => return Analysis::unknown(self.name(), why.to_string()),
        };
        if judge.txns.is_empty() {
            return Analysis::vacuous(
                self.name(),
                "the history has no txn that happened or may have",
            );
        }
        let cycles = judge.run(&mut meter);
        let (txns, keys) = (judge.txns.len(), judge.keys.len());
        let what = format!("{txns} transactions on {keys} lists");
        let analysis = match (judge.anomalies.first(), cycles) {
            // What was found stands, whatever there was no room for.
            (Some(first), _) => {
                let summary = format!("{what} are not strict-serializable, first a {}", first.kind);
                Analysis::of_anomalies(self.name(), summary, judge.anomalies)
            }
            (None, Err(why)) => Analysis::unknown(self.name(), format!("{what}: {why}")),
            (None, Ok(())) => {
                Analysis::valid(self.name(), format!("{what} are strict-serializable"))
            }
        };
        let unseen = judge
            .appends
            .iter()
            .filter(|a| a.position == NONE && a.txn != NONE)
            .count();
        analysis
            .with_figure(Figure::new("transactions", txns, ""))
            .with_figure(Figure::new("lists", keys, ""))
            .with_figure(Figure::new("appends", judge.appends.len(), ""))
            .with_figure(Figure::new("appends never read", unseen, ""))
    }
}

impl<'h> Judge<'h> {
    fn new(
        history: &'h History,
        meter: &mut Meter,
    ) -> Result<Result<Judge<'h>, String>, Exhausted> {
        let mut judge = Judge {
            txns: Vec::new(),
            keys: Vec::new(),
            appends: Vec::new(),
            append_numbers: FxHashMap::default(),
            anomalies: Vec::new(),
            counts: FxHashMap::default(),
        };
        let mut key_numbers: FxHashMap<&Value, u32> = FxHashMap::default();
        for op in history.ops().iter().filter(|op| op.f == "txn") {
            meter.tick(96 * judge.appends.len() as u64)?;
            if let Err(reason) = judge.add(op, &mut key_numbers) {
                return Ok(Err(format!(
                    "operation {} cannot be judged: {reason}",
                    op.index
                )));
            }
        }
        Ok(Ok(judge))
    }

    fn add(
        &mut self,
        op: &'h Op,
        key_numbers: &mut FxHashMap<&'h Value, u32>,
    ) -> Result<(), String> {
        // What was read is known only of what returned.
        let value = if op.outcome == Outcome::Ok {
            &op.output
        } else {
            &op.input
        };
        let list = value
            .as_list()
            .ok_or_else(|| format!("{value} is not a list of reads and appends"))?;
        let txn = if op.outcome == Outcome::Fail {
            NONE
        } else {
            self.txns.len() as u32
        };
        let mut mops: Vec<Mop> = Vec::with_capacity(list.len());
        for mop in list {
            let Some([f, key, value]) = mop.as_list() else {
                return Err(format!("{mop} is not [name, key, value]"));
            };
            let key = *key_numbers.entry(key).or_insert_with(|| {
                self.keys.push(Key {
                    value: key,
                    order: Vec::new(),
                    longest_by: NONE,
                    broken: false,
                });
                self.keys.len() as u32 - 1
            });
            match (f.as_text(), value) {
                (Some("append"), value) => {
                    let number = *self.append_numbers.entry((key, value)).or_insert_with(|| {
                        self.appends.push(Append {
                            key,
                            value,
                            txn: NONE,
                            failed: None,
                            last: true,
                            position: NONE,
                        });
                        self.appends.len() as u32 - 1
                    });
                    for mop in &mops {
                        if let Mop::Append(before) = mop
                            && self.appends[*before as usize].key == key
                        {
                            self.appends[*before as usize].last = false;
                        }
                    }
                    let append = &mut self.appends[number as usize];
                    if txn == NONE {
                        append.failed = Some(op);
                    } else if append.txn != NONE {
                        return Err(format!(
                            "{value} is appended to {} a second time",
                            self.keys[key as usize].value
                        ));
                    } else {
                        append.txn = txn;
                    }
                    mops.push(Mop::Append(number));
                }
                (Some("r"), Value::List(read)) if op.outcome == Outcome::Ok => {
                    mops.push(Mop::Read(key, read));
                }
                // An empty list may be written as nil.
                (Some("r"), Value::Nil) if op.outcome == Outcome::Ok => {
                    mops.push(Mop::Read(key, &[]));
                }
                (Some("r"), _) if op.outcome != Outcome::Ok => {}
                _ => {
                    return Err(format!(
                        "{mop} is neither [append, key, value] nor [r, key, list]"
                    ));
                }
            }
        }
        if txn != NONE {
            let happened = op.outcome == Outcome::Ok;
            self.txns.push(Txn { op, mops, happened });
        }
        Ok(())
    }

    fn run(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        self.internal(meter)?;
        self.orders(meter)?;
        self.prefixes(meter)?;
        let graph = self.dependencies(meter)?;
        let mut cycles = graph.cycles(meter)?;
        cycles.sort_by_key(|cycle| cycle.iter().map(|(txn, _)| *txn).max());
        for cycle in cycles {
            self.cycle(&cycle);
        }
        Ok(())
    }

    fn found(&mut self, kind: &str, key: Option<u32>, ops: Vec<u64>, reason: String) {
        let count = self.counts.entry(kind.to_string()).or_default();
        *count += 1;
        if *count <= MOST_OF_A_KIND {
            self.anomalies.push(Anomaly {
                kind: kind.to_string(),
                object: key.map(|key| format!("list {}", self.keys[key as usize].value)),
                ops,
                reason,
            });
        }
    }

    fn id(&self, txn: u32) -> u64 {
        self.txns[txn as usize].op.index
    }

    /// Within a transaction: what it reads is what it read before, and what it appended since.
    fn internal(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        for txn in 0..self.txns.len() {
            if self.txns[txn].mops.len() < 2 {
                continue;
            }
            // For each key, what was read, if it was, and what was appended after.
            type View<'h> = (Option<&'h [Value]>, Vec<&'h Value>);
            let mut views: FxHashMap<u32, View> = FxHashMap::default();
            let mut wrong = None;
            for mop in &self.txns[txn].mops {
                match mop {
                    Mop::Append(number) => {
                        let append = &self.appends[*number as usize];
                        views.entry(append.key).or_default().1.push(append.value);
                    }
                    Mop::Read(key, list) => {
                        meter.tick(0)?;
                        let (before, since) = views.entry(*key).or_default();
                        let fits = list.len() >= since.len()
                            && list
                                .iter()
                                .rev()
                                .zip(since.iter().rev())
                                .all(|(a, b)| a == *b)
                            && before.is_none_or(|b| *b == list[..list.len() - since.len()]);
                        if !fits && wrong.is_none() {
                            wrong = Some(*key);
                        }
                        (*before, *since) = (Some(*list), Vec::new());
                    }
                }
            }
            if let Some(key) = wrong {
                let op = self.id(txn as u32);
                let reason = format!(
                    "transaction {op} reads list {} as it cannot be after its own reads and appends",
                    self.keys[key as usize].value
                );
                self.found("internal", Some(key), vec![op], reason);
            }
        }
        Ok(())
    }

    /// Takes each key's longest read for the order of its appends.
    fn orders(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        let mut longest: Vec<&'h [Value]> = vec![&[]; self.keys.len()];
        for (t, txn) in self.txns.iter().enumerate() {
            for mop in &txn.mops {
                meter.tick(0)?;
                if let Mop::Read(key, list) = mop
                    && (list.len() > longest[*key as usize].len()
                        || self.keys[*key as usize].longest_by == NONE)
                {
                    longest[*key as usize] = list;
                    self.keys[*key as usize].longest_by = t as u32;
                }
            }
        }
        for (k, list) in longest.into_iter().enumerate() {
            let key = k as u32;
            for value in list {
                meter.tick(0)?;
                let by = self.keys[k].longest_by;
                let reader = self.id(by);
                let name = self.keys[k].value;
                let Some(number) = self.append_numbers.get(&(key, value)).copied() else {
                    self.keys[k].broken = true;
                    let reason = format!(
                        "transaction {reader} read {value} in list {name}, which nobody appended"
                    );
                    self.found("element from nowhere", Some(key), vec![reader], reason);
                    continue;
                };
                let append = &mut self.appends[number as usize];
                if append.position != NONE {
                    self.keys[k].broken = true;
                    let reason = format!("transaction {reader} read {value} twice in list {name}");
                    self.found("duplicate elements", Some(key), vec![reader], reason);
                    continue;
                }
                append.position = self.keys[k].order.len() as u32;
                self.keys[k].order.push(number);
                let append = &self.appends[number as usize];
                if append.txn != NONE {
                    self.txns[append.txn as usize].happened = true;
                } else if let Some(failed) = append.failed {
                    let reason = format!(
                        "transaction {reader} read {value} in list {name}, but transaction {} which \
                         appended it had failed",
                        failed.index
                    );
                    self.found("G1a", Some(key), vec![reader, failed.index], reason);
                }
            }
        }
        Ok(())
    }

    /// Every other read must be a prefix of it, and end where a transaction ended.
    fn prefixes(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        for t in 0..self.txns.len() {
            for m in 0..self.txns[t].mops.len() {
                let Mop::Read(key, list) = self.txns[t].mops[m] else {
                    continue;
                };
                let (longest_by, order) = {
                    let key = &self.keys[key as usize];
                    (key.longest_by, &key.order)
                };
                let mut same = list.len() <= order.len();
                for (value, number) in list.iter().zip(order) {
                    meter.tick(0)?;
                    same &= *value == *self.appends[*number as usize].value;
                }
                let (op, by, name) = (
                    self.id(t as u32),
                    self.id(longest_by),
                    self.keys[key as usize].value,
                );
                if !same && !self.keys[key as usize].broken {
                    self.keys[key as usize].broken = true;
                    let reason = format!(
                        "transactions {op} and {by} read list {name} in orders of which neither is the \
                         beginning of the other"
                    );
                    self.found("incompatible order", Some(key), vec![op, by], reason);
                }
                let Some(last) = list.last().and_then(|v| self.append_numbers.get(&(key, v)))
                else {
                    continue;
                };
                let append = &self.appends[*last as usize];
                if append.txn != NONE && append.txn != t as u32 && !append.last {
                    let (writer, value) = (self.id(append.txn), append.value);
                    let reason = format!(
                        "transaction {op} read list {name} up to {value}, after which transaction \
                         {writer} appended more: it saw the midst of it"
                    );
                    self.found("G1b", Some(key), vec![op, writer], reason);
                }
            }
        }
        Ok(())
    }

    fn dependencies(&self, meter: &mut Meter) -> Result<Dependencies, Exhausted> {
        let mut graph = Dependencies::new(self.txns.len());
        self.real_time(&mut graph);
        // Appends that happened and that nobody read, by key.
        let mut unseen: Vec<Vec<u32>> = vec![Vec::new(); self.keys.len()];
        for (number, append) in self.appends.iter().enumerate() {
            let happened = append.txn != NONE && self.txns[append.txn as usize].happened;
            if append.position == NONE && happened {
                unseen[append.key as usize].push(number as u32);
            }
        }
        let writer = |number: u32| self.appends[number as usize].txn;
        // Transactions that did not see a key's unseen appends, and the helper before those.
        let mut helpers = vec![NONE; self.keys.len()];
        for (k, key) in self.keys.iter().enumerate().filter(|(_, key)| !key.broken) {
            for pair in key.order.windows(2) {
                meter.tick(graph.bytes())?;
                if writer(pair[0]) != NONE && writer(pair[1]) != NONE {
                    graph.edge(writer(pair[0]), writer(pair[1]), Kind::Ww, pair[0]);
                }
            }
            for number in &unseen[k] {
                if let Some(last) = key.order.last().filter(|last| writer(**last) != NONE) {
                    graph.edge(writer(*last), writer(*number), Kind::Ww, *last);
                }
            }
            if let Some(first) = unseen[k].first() {
                helpers[k] = graph.helper();
                for number in &unseen[k] {
                    graph.edge(helpers[k], writer(*number), Kind::Tail, *first);
                }
            }
        }
        for (t, txn) in self.txns.iter().enumerate() {
            let t = t as u32;
            let mut appended: Vec<u32> = Vec::new();
            for mop in &txn.mops {
                meter.tick(graph.bytes())?;
                let (key, list) = match mop {
                    Mop::Append(number) => {
                        appended.push(*number);
                        continue;
                    }
                    Mop::Read(key, list) => (*key, *list),
                };
                let (k, order) = (key as usize, &self.keys[key as usize].order);
                if self.keys[k].broken {
                    continue;
                }
                // Its own appends say nothing about others.
                let own = appended
                    .iter()
                    .filter(|n| self.appends[**n as usize].key == key)
                    .count();
                let seen = list.len().saturating_sub(own);
                if let Some(last) = seen.checked_sub(1).and_then(|i| order.get(i))
                    && writer(*last) != NONE
                {
                    graph.edge(writer(*last), t, Kind::Wr, *last);
                }
                if let Some(next) = order.get(seen) {
                    if writer(*next) != NONE {
                        graph.edge(t, writer(*next), Kind::Rw, *next);
                    }
                } else if unseen[k].iter().any(|number| writer(*number) == t) {
                    // By way of the helper it would seem to precede itself.
                    for number in &unseen[k] {
                        meter.tick(graph.bytes())?;
                        graph.edge(t, writer(*number), Kind::Rw, *number);
                    }
                } else if helpers[k] != NONE {
                    graph.edge(t, helpers[k], Kind::Rw, unseen[k][0]);
                }
            }
        }
        Ok(graph)
    }

    /// A chain of the moments at which transactions returned.
    fn real_time(&self, graph: &mut Dependencies) {
        let mut returns: Vec<(u64, u32)> = self
            .txns
            .iter()
            .enumerate()
            .filter(|(_, txn)| txn.op.outcome == Outcome::Ok)
            .map(|(t, txn)| (txn.op.ret.as_nanos(), t as u32))
            .collect();
        returns.sort_unstable();
        let mut calls: Vec<(u64, u32)> = self
            .txns
            .iter()
            .enumerate()
            .filter(|(_, txn)| txn.happened)
            .map(|(t, txn)| (txn.op.call.as_nanos(), t as u32))
            .collect();
        calls.sort_unstable();
        let mut returns = returns.into_iter().peekable();
        let mut moment: Option<(u64, u32)> = None;
        for (call, t) in calls {
            // What returns at the very time of a call overlaps it.
            while let Some((ret, done)) = returns.next_if(|(ret, _)| *ret < call) {
                let node = match moment {
                    Some((time, node)) if time == ret => node,
                    before => {
                        let node = graph.helper();
                        if let Some((_, before)) = before {
                            graph.edge(before, node, Kind::Rt, NONE);
                        }
                        moment = Some((ret, node));
                        node
                    }
                };
                graph.edge(done, node, Kind::Rt, NONE);
            }
            if let Some((_, node)) = moment {
                graph.edge(node, t, Kind::Rt, NONE);
            }
        }
    }

    /// Adya's name for a cycle, and its story.
    fn cycle(&mut self, cycle: &Cycle) {
        let count = |kind| cycle.iter().filter(|(_, edge)| edge.kind == kind).count();
        let key = |at: usize| self.appends[cycle[at].1.value as usize].key;
        let lost = cycle.len() == 2
            && count(Kind::Rw) >= 1
            && count(Kind::Rt) == 0
            && key(0) == key(1)
            && cycle
                .iter()
                .all(|(txn, edge)| self.updates(*txn, self.appends[edge.value as usize].key));
        let name = match (count(Kind::Rw), count(Kind::Wr)) {
            _ if lost => "lost update",
            (0, 0) => "G0",
            (0, _) => "G1c",
            (1, _) => "G-single",
            _ => "G2-item",
        };
        let kind = match count(Kind::Rt) {
            0 => name.to_string(),
            _ => format!("{name}-realtime"),
        };
        let next = |i: usize| self.id(cycle[(i + 1) % cycle.len()].0);
        let told = cycle.iter().enumerate().map(|(i, (txn, edge))| {
            let (a, b) = (self.id(*txn), next(i));
            let append = self.appends.get(edge.value as usize);
            let (list, value) = append.map_or((&Value::Nil, &Value::Nil), |append| {
                (self.keys[append.key as usize].value, append.value)
            });
            match edge.kind {
                Kind::Ww => format!("{a} before {b}, since {a} appended {value} to list {list} and {b} appended behind it"),
                Kind::Wr => format!("{a} before {b}, since {b} read {value}, which {a} appended to list {list}"),
                Kind::Rw if append.is_some_and(|append| append.position != NONE) => {
                    format!("{a} before {b}, since {a} read list {list} without {value}, which {b} appended")
                }
                Kind::Rw => format!("{a} before {b}, since {a} read list {list} without what {b} appended"),
                Kind::Rt | Kind::Tail => format!("{a} before {b}, since {a} had returned when {b} was invoked"),
            }
        });
        let reason = format!(
            "transactions in a circle: {}",
            told.collect::<Vec<_>>().join("; ")
        );
        let ops = cycle.iter().map(|(txn, _)| self.id(*txn)).collect();
        self.found(&kind, None, ops, reason);
    }

    /// Whether a transaction reads a key and appends to it.
    fn updates(&self, txn: u32, key: u32) -> bool {
        let mops = &self.txns[txn as usize].mops;
        let reads = |mop: &Mop| matches!(mop, Mop::Read(k, _) if *k == key);
        let appends =
            |mop: &Mop| matches!(mop, Mop::Append(n) if self.appends[*n as usize].key == key);
        mops.iter().any(reads) && mops.iter().any(appends)
    }
}
