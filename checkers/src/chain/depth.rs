//! The smallest number of confirmations at which the ledger would have been linearizable.
//!
//! For each k a history is derived from the recorded one: every operation that is a transaction
//! answers when the look at its own node shows that transaction k deep, and answers what it answers
//! at that place. The engines for registers and lists judge it.
//!
//! What is assumed, and why the result is a lower bound: an operation returns in the derived
//! history when the look that shows it returned, later than it could have; transactions whose
//! operation is not known (the client gave up) may take effect at any time; reads that are no
//! transactions, ranges and transfers are left out. Each only removes reasons to refuse a history,
//! so where k is refused, k confirmations were in truth not enough.
//!
//! Refusal is not monotone in k: two answers on one lost branch can agree with each other, and at a
//! larger k one of them comes from the lost branch and the other from the branch that won. So the
//! depths are tried from the deepest fork down to the first that is refused, and the result is the
//! k from which on all are accepted. Deeper than every fork all answers are of one chain, which is
//! an order that explains them: a transaction that was submitted after another was k deep is in a
//! later block of it.

use history::{Event, History, Kind, Process, Time, Value};
use rustc_hash::FxHashMap;

use super::confirmed::{NEVER, first_deep};
use super::ledger::{Action, Answer, Clients, Places};
use super::record::Record;
use crate::linearizable::Registers;
use crate::transactions::ListAppend;
use crate::{Checker, Exhausted, Meter, Verdict};

/// What the search came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Smallest {
    /// At so many confirmations, and at more, it is linearizable.
    pub confirmations: Option<u64>,
    /// Why not at one less: the anomaly's kind, and the operations of the recorded history.
    pub refused: Option<Refused>,
    /// Why the search ended early.
    pub gave_up: Option<String>,
    /// Operations that take part.
    pub operations: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub confirmations: u64,
    pub kind: String,
    pub key: Option<String>,
    /// Operations, in the order of the anomaly; those of unknown clients are left out.
    pub ops: Vec<u64>,
}

/// What histories are derived from.
pub struct Given<'r, 'h> {
    pub places: &'r Places<'r, 'h>,
    pub clients: &'r Clients<'h>,
    /// By [`Place::at`](super::ledger::Place::at).
    pub answers: &'r [Answer],
    /// How deep a transaction was when its client was answered.
    pub promised: Option<u64>,
}

/// None if no client's operation is a transaction of a kind that can be judged.
pub fn smallest(
    record: &Record,
    given: &Given,
    deepest_fork: u64,
    meter: &mut Meter,
) -> Result<Option<Smallest>, Exhausted> {
    let ledger = Ledger::new(given.places, given.clients);
    if ledger.clients == 0 {
        return Ok(None);
    }
    let mut smallest = Smallest {
        confirmations: None,
        refused: None,
        gave_up: None,
        operations: ledger.clients,
    };
    for confirmations in (1..=deepest_fork + 1).rev() {
        let derived = ledger.at(record, given, confirmations, meter)?;
        let checkers: [&dyn Checker; 2] = [&Registers::keyed(), &ListAppend::new()];
        let analyses = checkers.map(|checker| checker.check(&derived.history, &meter.left()));
        if let Some(bad) = analyses.iter().find(|a| a.verdict == Verdict::Invalid) {
            let anomaly = bad.anomalies.first();
            smallest.refused = anomaly.map(|anomaly| Refused {
                confirmations,
                kind: anomaly.kind.clone(),
                key: anomaly.object.clone(),
                ops: anomaly
                    .ops
                    .iter()
                    .filter_map(|op| *derived.origin.get(op)?)
                    .collect(),
            });
            break;
        }
        if let Some(unknown) = analyses.iter().find(|a| a.verdict == Verdict::Unknown) {
            let why = &unknown.summary;
            smallest.gave_up = Some(format!("at {confirmations} confirmations: {why}"));
            break;
        }
        smallest.confirmations = Some(confirmations);
    }
    Ok(Some(smallest))
}

/// What of the ledger can be judged.
struct Ledger<'h> {
    /// By transaction: what it does, and the number of the operation that asked for it.
    transactions: Vec<Option<(Action<'h>, Option<usize>)>>,
    /// Whether a key is a list.
    lists: FxHashMap<&'h str, bool>,
    clients: usize,
}

struct Derived {
    history: History,
    /// From a derived operation to the recorded one, if it is known.
    origin: FxHashMap<u64, Option<u64>>,
}

impl Derived {
    fn new(mut drafts: Vec<Draft>) -> Derived {
        // What happens at one moment overlaps, so calls come first.
        drafts.sort_by_key(|draft| (draft.time, draft.kind != Kind::Invoke, draft.tx));
        let mut origin = FxHashMap::default();
        let events = drafts.into_iter().enumerate().map(|(index, draft)| {
            origin.insert(index as u64, draft.origin);
            Event {
                index: index as u64,
                time: draft.time,
                // A process for each: what is one client's may overlap, when answers come later.
                process: Process::Client(draft.tx),
                kind: draft.kind,
                f: draft.f.into(),
                value: draft.value,
                error: None,
                node: None,
                version: None,
                due: None,
            }
        });
        let history = History::new(events.collect());
        Derived {
            history: history.expect("each transaction is a process with one operation, in order"),
            origin,
        }
    }
}

impl<'h> Ledger<'h> {
    fn new(places: &Places<'_, 'h>, clients: &Clients) -> Ledger<'h> {
        let mut lists: FxHashMap<&str, bool> = FxHashMap::default();
        // A key that is both written and appended to is neither a register nor a list.
        let mut mixed: Vec<&str> = Vec::new();
        fn key_of(action: Action<'_>) -> Option<(&str, bool)> {
            match action {
                Action::Put(key, _) | Action::Cas(key, ..) | Action::Delete(key) => {
                    Some((key, false))
                }
                Action::Append(key, _) => Some((key, true)),
                _ => None,
            }
        }
        for all in places.each() {
            if let Some((key, list)) = key_of(places.action(&all[0]))
                && *lists.entry(key).or_insert(list) != list
            {
                mixed.push(key);
            }
        }
        let judged = |action| {
            let key = match action {
                Action::Get(key) => Some(key),
                action => key_of(action).map(|(key, _)| key),
            };
            key.is_some_and(|key| !mixed.contains(&key))
        };
        let mut transactions: Vec<Option<(Action, Option<usize>)>> = places
            .each()
            .map(|all| places.action(&all[0]))
            .map(|action| judged(action).then_some((action, None)))
            .collect();
        let mut known = 0;
        for (number, client) in clients.all.iter().enumerate() {
            let Some(tx) = client.tx.filter(|_| client.node.is_some()) else {
                continue;
            };
            if let Some((_, asked @ None)) = &mut transactions[tx as usize] {
                *asked = Some(number);
                known += 1;
            }
        }
        Ledger {
            transactions,
            lists,
            clients: known,
        }
    }

    /// What would have been recorded at so many confirmations.
    fn at(
        &self,
        record: &Record,
        given: &Given,
        confirmations: u64,
        meter: &mut Meter,
    ) -> Result<Derived, Exhausted> {
        let firsts: Vec<Vec<u32>> = (0..record.nodes.len())
            .map(|node| first_deep(record, node, confirmations, meter))
            .collect::<Result<_, _>>()?;
        let mut drafts: Vec<Draft> = Vec::with_capacity(2 * self.transactions.len());
        for (tx, transaction) in self.transactions.iter().enumerate() {
            meter.tick(200 * drafts.len() as u64)?;
            let Some((action, asked)) = *transaction else {
                continue;
            };
            let draft = |time, kind, (f, value): (&'static str, Value)| Draft {
                time,
                kind,
                f,
                value,
                tx: tx as u64,
                origin: asked.map(|asked| given.clients.all[asked].op.index),
            };
            let Some(asked) = asked else {
                // Whoever asked gave up, and nobody knows when.
                if !action.reads_only() {
                    drafts.push(draft(Time(0), Kind::Invoke, self.asked(action)));
                }
                continue;
            };
            let client = &given.clients.all[asked];
            let here = given.places.of(tx as u32);
            let first = client.node.map(|node| &firsts[node]);
            let seen = here.iter().filter_map(|place| {
                let look = first.map_or(NEVER, |first| first[place.block as usize]);
                (look != NEVER).then(|| (record.looks[look as usize].ret, place))
            });
            // Its own answer shows it as deep as was promised.
            let told = here.iter().filter(|place| {
                client.block == Some(place.block)
                    && given
                        .promised
                        .is_some_and(|promised| confirmations <= promised)
            });
            let told = told.map(|place| (client.op.ret, place));
            let Some((at, place)) = seen.chain(told).min_by_key(|(at, _)| *at) else {
                drafts.push(draft(client.op.call, Kind::Invoke, self.asked(action)));
                continue;
            };
            let answer = &given.answers[place.at as usize];
            let asked = match answer {
                Answer::NotSwapped(_) => self.read(action.key(), Value::Nil),
                _ => self.asked(action),
            };
            let answered = match answer {
                Answer::Found(value) | Answer::NotSwapped(value) => {
                    self.read(action.key(), value.clone())
                }
                _ => self.asked(action),
            };
            drafts.push(draft(client.op.call, Kind::Invoke, asked));
            drafts.push(draft(at.max(client.op.call), Kind::Ok, answered));
        }
        Ok(Derived::new(drafts))
    }

    fn is_list(&self, key: &str) -> bool {
        self.lists.get(key).copied().unwrap_or(false)
    }

    /// A transaction as an operation of the engine's.
    fn asked(&self, action: Action) -> (&'static str, Value) {
        let key = action.key();
        match action {
            Action::Put(_, value) => ("write", Value::pair(key, value.clone())),
            Action::Delete(_) => ("write", Value::pair(key, Value::Nil)),
            Action::Cas(_, from, to) => {
                let both = Value::pair(from.clone(), to.clone());
                ("cas", Value::pair(key, both))
            }
            Action::Append(_, element) => ("txn", micro("append", key, element.clone())),
            _ => self.read(key, Value::Nil),
        }
    }

    fn read(&self, key: &str, found: Value) -> (&'static str, Value) {
        match self.is_list(key) {
            true => ("txn", micro("r", key, found)),
            false => ("read", Value::pair(key, found)),
        }
    }
}

/// A transaction of one operation, as lists are asked.
fn micro(f: &str, key: &str, value: Value) -> Value {
    Value::List(vec![Value::List(vec![f.into(), key.into(), value])])
}

/// An event without its index.
struct Draft {
    time: Time,
    kind: Kind,
    f: &'static str,
    value: Value,
    tx: u64,
    origin: Option<u64>,
}
