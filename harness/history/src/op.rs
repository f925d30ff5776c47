//! A history in memory, and its operations: invocations joined to their completions.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use crate::columns::{Chunk, Columns, Row};
use crate::{Budget, Event, Exhausted, Kind, Meter, Name, Process, Time, Value};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// Nobody knows; also an operation that the end of the run cut off.
    Info,
}

/// Operations by which the harness looks at a system, and asks nothing of it: decided logs,
/// traces, counts of refused blocks and what replicas hold at the end, heads of chains and who
/// leads all along. They are no service, and no client's.
pub const OBSERVATIONS: [&str; 6] = ["log", "trace", "head", "leader", "refused", "replica"];

/// An invocation with its completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Index of the invocation's event: the operation's name in reports.
    pub index: u64,
    /// Index of the completion's event; none if the history ends first.
    pub completion: Option<u64>,
    pub process: Process,
    pub node: Option<Name>,
    pub f: Name,
    /// What was asked.
    pub input: Value,
    /// What was answered; nil unless `outcome` is ok.
    pub output: Value,
    pub outcome: Outcome,
    pub call: Time,
    /// When the answer came; [`Time::MAX`] unless `outcome` is ok or fail: what is unknown may
    /// still take effect at any later time.
    pub ret: Time,
    pub error: Option<String>,
    /// Where in the system's own order it took effect, if the answer said; none unless `outcome` is
    /// ok.
    pub version: Option<Value>,
    /// When it was to be called by the plan, if there was one.
    pub due: Option<Time>,
}

impl Op {
    /// From when it counts: it was wanted when it was due, however late it could be called.
    pub fn wanted(&self) -> Time {
        self.due.unwrap_or(self.call).min(self.call)
    }

    /// Whether its end is known: whatever happens later comes after it.
    pub fn has_returned(&self) -> bool {
        self.outcome != Outcome::Info
    }

    /// Whether it had surely ended when `later` began: the one definition of order that engines,
    /// certificates and their verifiers share. Equal stamps of two clients overlap, since nobody
    /// knows which came first; but a client asks one thing after the other, whatever the grain of
    /// the stamps.
    ///
    /// ```text
    /// P0  |-write 1-|-write 2-|      write 1 precedes write 2; the read of that very moment overlaps both,
    /// P1            |                and may return either
    ///             read
    /// ```
    ///
    /// In files of events the place is the order; their readers raise equal stamps to say so.
    pub fn precedes(&self, later: &Op) -> bool {
        let asked_first = self.process == later.process && self.index < later.index;
        self.has_returned() && (self.ret < later.call || asked_first)
    }

    /// Whether the harness looked at the system; else it is a client's.
    pub fn observes(&self) -> bool {
        OBSERVATIONS.contains(&self.f.as_str())
    }
}

/// Why a list of events is not a history.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("event {at}: process {process} invokes {f} while its operation {open} is still open")]
    TwoAtOnce {
        at: u64,
        process: Process,
        f: Name,
        open: u64,
    },
    #[error("event {at}: process {process} completes {f}, but has no operation open")]
    NoInvocation { at: u64, process: Process, f: Name },
    #[error(
        "event {at}: process {process} completes {f}, but its open operation {open} is {open_f}"
    )]
    OtherOperation {
        at: u64,
        process: Process,
        f: Name,
        open: u64,
        open_f: Name,
    },
    #[error("event {at}: time goes backwards, from {before} to {after}")]
    TimeBackwards { at: u64, before: Time, after: Time },
    #[error("event at position {position} has index {index}: events are missing or out of order")]
    Index { position: u64, index: u64 },
    #[error("there are more than a billion events, which is more than this program numbers")]
    TooLong,
}

impl Malformed {
    /// The position of the event that shows it.
    pub fn at(&self) -> Option<u64> {
        match *self {
            Malformed::TwoAtOnce { at, .. }
            | Malformed::NoInvocation { at, .. }
            | Malformed::OtherOperation { at, .. }
            | Malformed::TimeBackwards { at, .. } => Some(at),
            Malformed::Index { position, .. } => Some(position),
            Malformed::TooLong => None,
        }
    }
}

/// Everything that was recorded, in the order in which the recorder saw it.
///
/// It is held as [`Columns`]; [`History::events`] and [`History::ops`] are made of them when they
/// are first asked for.
#[derive(Clone, Debug, Default)]
pub struct History {
    columns: Arc<Columns>,
    pairs: Vec<Pair>,
    events: OnceLock<Vec<Event>>,
    ops: OnceLock<Vec<Op>>,
    began_ns: Option<u64>,
}

/// An operation of a client, by its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub invocation: u32,
    completion: u32,
}

impl Pair {
    const NONE: u32 = u32::MAX;

    /// None if the history ends first.
    pub fn completion(self) -> Option<u32> {
        (self.completion != Pair::NONE).then_some(self.completion)
    }
}

impl PartialEq for History {
    fn eq(&self, other: &History) -> bool {
        self.events() == other.events()
    }
}

impl History {
    /// Pairs invocations with completions and checks the order.
    pub fn new(events: Vec<Event>) -> Result<History, Malformed> {
        let mut chunk = Chunk::default();
        events.iter().for_each(|event| chunk.push_event(event));
        let history = History::of_chunks(vec![chunk])?;
        Ok(History {
            events: events.into(),
            ..history
        })
    }

    /// The same of events that are columns already.
    pub fn of_chunks(chunks: Vec<Chunk>) -> Result<History, Malformed> {
        let meter = &mut Budget::UNLIMITED.start();
        History::of_chunks_within(chunks, meter).expect("there is no limit")
    }

    /// The same under a budget, of which the chunks take their part.
    pub(crate) fn of_chunks_within(
        chunks: Vec<Chunk>,
        meter: &mut Meter,
    ) -> Result<Result<History, Malformed>, Exhausted> {
        match History::of_columns_within(chunks, meter).map_err(|unpaired| unpaired.0) {
            Ok(history) => Ok(Ok(history)),
            Err(Unpaired::Malformed(why)) => Ok(Err(why)),
            Err(Unpaired::Exhausted(why)) => Err(why),
        }
    }

    /// The same; what is no history is given back with the reason.
    pub(crate) fn of_columns_within(
        chunks: Vec<Chunk>,
        meter: &mut Meter,
    ) -> Result<History, Box<(Unpaired, Columns)>> {
        let Some(columns) = Columns::new(chunks) else {
            return Err(Box::new((Malformed::TooLong.into(), Columns::default())));
        };
        match pair(&columns, meter) {
            Ok(pairs) => Ok(History {
                columns: columns.into(),
                pairs,
                ..History::default()
            }),
            Err(why) => Err(Box::new((why, columns))),
        }
    }

    /// The same history without some operations: their events stay, and nobody judges them.
    pub fn without_ops(&self, mut drop: impl FnMut(Row, Option<Row>) -> bool) -> History {
        let (mut calls, mut rets) = (self.columns.cursor(), self.columns.cursor());
        let kept = self.pairs.iter().filter(|pair| {
            let ret = pair.completion().map(|at| rets.row(at));
            !drop(calls.row(pair.invocation), ret)
        });
        self.of_pairs(kept.copied().collect())
    }

    /// The same events with these operations.
    fn of_pairs(&self, pairs: Vec<Pair>) -> History {
        History {
            columns: self.columns.clone(),
            pairs,
            began_ns: self.began_ns,
            ..History::default()
        }
    }

    /// A history of the same events for each key of its operations; those without one are of none.
    pub fn by_key<K: Eq + Hash + Clone>(
        &self,
        key: impl Fn(Row) -> Option<K>,
    ) -> Vec<(K, History)> {
        let mut numbers: HashMap<K, usize> = HashMap::new();
        let mut parts: Vec<(K, History)> = Vec::new();
        let mut calls = self.columns.cursor();
        for pair in &self.pairs {
            let Some(key) = key(calls.row(pair.invocation)) else {
                continue;
            };
            let at = *numbers.entry(key.clone()).or_insert_with(|| {
                parts.push((key, self.of_pairs(Vec::new())));
                parts.len() - 1
            });
            parts[at].1.pairs.push(*pair);
        }
        parts
    }

    /// The same operations, with what another history of them has for its events.
    pub fn with_events_of(self, other: &History) -> History {
        History {
            columns: other.columns.clone(),
            events: OnceLock::new(),
            ops: OnceLock::new(),
            ..self
        }
    }

    /// The same history with other values, where there are some.
    pub fn with_values(mut self, edit: impl FnMut(Row) -> Option<Value>) -> History {
        Arc::make_mut(&mut self.columns).edit(edit);
        (self.events, self.ops) = Default::default();
        self
    }

    /// The same history with operations of other names, where there are some.
    pub fn with_names(mut self, rename: impl Fn(&str) -> Option<&'static str>) -> History {
        Arc::make_mut(&mut self.columns).rename(rename);
        (self.events, self.ops) = Default::default();
        self
    }

    /// Bytes that it takes, without those of [`History::events`] and [`History::ops`].
    pub fn bytes(&self) -> u64 {
        (self.columns.bytes() + self.pairs.capacity() * size_of::<Pair>()) as u64
    }

    /// About what [`History::ops`] takes: more than is needed where values are numbers and pairs.
    pub fn ops_bytes(&self) -> u64 {
        let values = 4 * size_of::<Value>() + self.columns.spilt_bytes() / self.pairs.len().max(1);
        (self.pairs.len() * (size_of::<Op>() + 2 * values)) as u64
    }

    /// What the kernel's monotonic clock showed on the controller's machine at time 0.
    pub fn began_ns(&self) -> Option<u64> {
        self.began_ns
    }

    pub fn with_began_ns(mut self, began_ns: Option<u64>) -> History {
        self.began_ns = began_ns;
        self
    }

    /// When a reading of that clock, taken on that machine, was; none if the history does not tell,
    /// or it was before time 0.
    pub fn time_of(&self, monotonic_ns: u64) -> Option<Time> {
        Some(Time(monotonic_ns.checked_sub(self.began_ns?)?))
    }

    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The clients' operations, by invocation.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub fn events(&self) -> &[Event] {
        let make = || self.columns.rows().map(|r| self.columns.event(r)).collect();
        self.events.get_or_init(make)
    }

    /// Operations of clients and [`OBSERVATIONS`], by invocation. The nemesis's are in
    /// [`crate::fault::spans`].
    pub fn ops(&self) -> &[Op] {
        self.ops.get_or_init(|| {
            let (mut calls, mut rets) = (self.columns.cursor(), self.columns.cursor());
            let op = |pair: &Pair| {
                let invocation = self.columns.event(calls.row(pair.invocation));
                let completion = pair.completion().map(|at| self.columns.event(rets.row(at)));
                Op::new(invocation, completion)
            };
            self.pairs.iter().map(op).collect()
        })
    }

    /// Operations of clients alone: what service is measured by.
    pub fn asked(&self) -> impl Iterator<Item = &Op> + Clone {
        self.ops().iter().filter(|op| !op.observes())
    }

    /// How the operations of [`History::asked`] ended, without making them.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        let names = self.columns.names().iter();
        let observes: Vec<bool> = names.map(|f| OBSERVATIONS.contains(&f.as_str())).collect();
        let (mut calls, mut rets) = (self.columns.cursor(), self.columns.cursor());
        self.pairs.iter().filter_map(move |pair| {
            let f = calls.row(pair.invocation).f();
            let kind = pair.completion().map(|at| rets.row(at).kind());
            (!observes[f as usize]).then_some(match kind {
                Some(Kind::Ok) => Outcome::Ok,
                Some(Kind::Fail) => Outcome::Fail,
                _ => Outcome::Info,
            })
        })
    }

    /// The event at this position, made by itself.
    pub fn event(&self, index: u64) -> Option<Event> {
        let index = u32::try_from(index).ok()?;
        let there = (index as usize) < self.columns.len();
        there.then(|| self.columns.event(self.columns.cursor().row(index)))
    }

    /// The operation whose invocation is event `index`, made by itself: for who needs a few of
    /// many.
    pub fn find(&self, index: u64) -> Option<Op> {
        let pair = |pair: &Pair| u64::from(pair.invocation).cmp(&index);
        let pair = self.pairs[self.pairs.binary_search_by(pair).ok()?];
        let completion = pair.completion().and_then(|at| self.event(at.into()));
        Some(Op::new(self.event(index)?, completion))
    }

    /// The operation whose invocation is event `index`.
    pub fn op(&self, index: u64) -> Option<&Op> {
        let ops = self.ops();
        let at = ops.binary_search_by_key(&index, |op| op.index).ok();
        at.map(|i| &ops[i])
    }

    /// Time of the last event.
    pub fn end(&self) -> Time {
        self.columns.times().last().unwrap_or(Time(0))
    }
}

impl Op {
    fn new(invocation: Event, completion: Option<Event>) -> Op {
        let mut op = Op {
            index: invocation.index,
            completion: None,
            process: invocation.process,
            node: invocation.node,
            f: invocation.f,
            input: invocation.value,
            output: Value::Nil,
            outcome: Outcome::Info,
            call: invocation.time,
            ret: Time::MAX,
            error: None,
            version: None,
            due: invocation.due,
        };
        let Some(completion) = completion else {
            return op;
        };
        op.completion = Some(completion.index);
        op.error = completion.error;
        match completion.kind {
            Kind::Ok => {
                op.outcome = Outcome::Ok;
                op.output = completion.value;
                op.ret = completion.time;
                op.version = completion.version;
            }
            Kind::Fail => {
                op.outcome = Outcome::Fail;
                op.ret = completion.time;
            }
            Kind::Info => {}
            Kind::Invoke => unreachable!("an invocation completes nothing"),
        }
        op
    }
}

/// Which operation each process has open: by number where that is small, as it mostly is.
#[derive(Default)]
struct Open {
    small: Vec<u32>,
    large: HashMap<u64, u32>,
}

impl Open {
    const SMALL: u64 = 1 << 20;

    /// What it takes to have this process in it: both copies, where it has to grow.
    fn bytes_with(&self, process: Process) -> u64 {
        let small = self.small.capacity();
        let grown = match process {
            Process::Client(n @ 0..Open::SMALL) if n as usize >= small => {
                (2 * small).max(n as usize + 1)
            }
            _ => 0,
        };
        (4 * (small + grown) + 32 * self.large.capacity()) as u64
    }

    fn replace(&mut self, process: u64, op: u32) -> Option<u32> {
        if process >= Open::SMALL {
            let before = match op {
                Pair::NONE => self.large.remove(&process),
                op => self.large.insert(process, op),
            };
            return before;
        }
        let at = process as usize;
        if at >= self.small.len() {
            self.small.resize(at + 1, Pair::NONE);
        }
        let before = std::mem::replace(&mut self.small[at], op);
        (before != Pair::NONE).then_some(before)
    }
}

/// Why events are not paired.
pub(crate) enum Unpaired {
    Malformed(Malformed),
    Exhausted(Exhausted),
}

impl From<Exhausted> for Unpaired {
    fn from(why: Exhausted) -> Unpaired {
        Unpaired::Exhausted(why)
    }
}

impl From<Malformed> for Unpaired {
    fn from(why: Malformed) -> Unpaired {
        Unpaired::Malformed(why)
    }
}

fn pair(columns: &Columns, meter: &mut Meter) -> Result<Vec<Pair>, Unpaired> {
    // In a history of invocations alone each event is a pair.
    let held = (columns.bytes() + columns.len() * size_of::<Pair>()) as u64;
    meter.look(held)?;
    let name = |f: u32| columns.names().get(f).cloned().unwrap_or_default();
    let misnumbered = columns.misnumbered();
    let mut cursor = columns.cursor();
    let mut pairs: Vec<Pair> = Vec::with_capacity(columns.len() / 2 + 1);
    let mut open = Open::default();
    let mut before = Time(0);
    for event in columns.rows() {
        meter.tick(held + open.bytes_with(event.process()))?;
        let at = u64::from(event.index());
        if let Some((row, index)) = misnumbered
            && row == event.index()
        {
            let position = at;
            return Err(Malformed::Index { position, index }.into());
        }
        if event.time() < before {
            let after = event.time();
            return Err(Malformed::TimeBackwards { at, before, after }.into());
        }
        before = event.time();
        let Process::Client(process) = event.process() else {
            continue;
        };
        if event.kind() == Kind::Invoke {
            if let Some(other) = open.replace(process, pairs.len() as u32) {
                return Err(Malformed::TwoAtOnce {
                    at,
                    process: event.process(),
                    f: name(event.f()),
                    open: pairs[other as usize].invocation.into(),
                }
                .into());
            }
            pairs.push(Pair {
                invocation: event.index(),
                completion: Pair::NONE,
            });
            continue;
        }
        let Some(op) = open.replace(process, Pair::NONE) else {
            return Err(Malformed::NoInvocation {
                at,
                process: event.process(),
                f: name(event.f()),
            }
            .into());
        };
        let pair = &mut pairs[op as usize];
        pair.completion = event.index();
        let invoked = cursor.row(pair.invocation).f();
        if invoked != event.f() {
            return Err(Malformed::OtherOperation {
                at,
                process: event.process(),
                f: name(event.f()),
                open: pair.invocation.into(),
                open_f: name(invoked),
            }
            .into());
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as process, kind and time.
    fn history(events: &[(u64, Kind, u64)]) -> History {
        let event = |(index, (process, kind, time)): (usize, &(u64, Kind, u64))| Event {
            index: index as u64,
            time: Time(*time),
            process: Process::Client(*process),
            kind: *kind,
            f: "read".into(),
            value: Value::Nil,
            error: None,
            node: None,
            version: None,
            due: None,
        };
        History::new(events.iter().enumerate().map(event).collect()).unwrap()
    }

    /// Pairs of operations, by their numbers, of which the first precedes the second.
    fn pairs(history: &History) -> Vec<(usize, usize)> {
        let ops = history.ops();
        let all = (0..ops.len()).flat_map(|a| (0..ops.len()).map(move |b| (a, b)));
        all.filter(|(a, b)| ops[*a].precedes(&ops[*b])).collect()
    }

    #[test]
    fn one_client_asks_one_thing_after_the_other_and_others_overlap_at_one_moment() {
        use Kind::{Invoke, Ok};
        // Two operations of process 0 that touch, and one of process 1 at that very moment.
        let events = [
            (0, Invoke, 0),
            (0, Ok, 5),
            (0, Invoke, 5),
            (1, Invoke, 5),
            (1, Ok, 5),
            (0, Ok, 10),
        ];
        assert_eq!(pairs(&history(&events)), [(0, 1)]);
    }

    #[test]
    fn what_nobody_knows_the_end_of_precedes_nothing() {
        use Kind::{Info, Invoke, Ok};
        let events = [(0, Invoke, 0), (0, Info, 1), (0, Invoke, 2), (0, Ok, 3)];
        assert_eq!(pairs(&history(&events)), []);
    }
}
