//! From a history to the operations of each register, with small numbers for values and times.
//!
//! Keys are dealt out to threads, and each thread takes from the history what is of its keys. All
//! of them number all keys, so that nothing has to be joined.

mod share;

use history::columns::Columns;
use history::word::Stored;
use history::{History, Value};
use rustc_hash::FxHashMap;
use thiserror::Error;

use self::share::Share;
use super::Registers;
use super::search::NEVER;
use super::versions::Version;
use super::zones::Op;
use crate::ranks::{Follows, Ranks};
use crate::{Exhausted, Meter, threads};

/// Below so many operations a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 20_000;

/// Every thread looks at all operations.
const MOST_THREADS: usize = 4;

/// If so many of the first operations have one key, all are taken to have it, and by one thread.
const FIRST: usize = 256;

/// One register's share of a history. Linearizability is local (Herlihy and Wing 1990): the whole
/// is linearizable iff each part is.
pub struct Part<'h> {
    pub key: Option<Value>,
    /// What happened or may have, by call; reads that did not return are left out.
    pub ops: Vec<Op>,
    /// The index of each one's invocation.
    pub ids: Vec<u32>,
    /// Where their answers say that they took effect; empty if no answer of the history does.
    pub versions: Vec<Option<Version>>,
    /// Writes that definitely did not happen, by value: whoever reads one is told so.
    pub aborted: FxHashMap<u32, u32>,
    /// How many operations have no known outcome.
    pub lost: usize,
    /// What cannot be read of it, if anything.
    pub flaw: Option<Flaw>,
    /// Where ranks do not say that one operation precedes another, by the indices of their
    /// invocations.
    follows: Follows,
    /// Where the numbers in the actions stand for what is found there, from 1; 0 is the initial
    /// value.
    values: Vec<Place>,
    registers: &'h Registers,
    columns: &'h Columns,
}

/// Where a value stands: in which event, and whether as the second of a pair.
#[derive(Clone, Copy)]
struct Place(u32);

impl Place {
    fn new(event: u32, second: bool) -> Place {
        Place(event << 1 | u32::from(second))
    }
}

impl<'h> Part<'h> {
    fn new(key: Option<Value>, registers: &'h Registers, columns: &'h Columns) -> Part<'h> {
        Part {
            key,
            ops: Vec::new(),
            ids: Vec::new(),
            versions: Vec::new(),
            values: Vec::new(),
            aborted: FxHashMap::default(),
            lost: 0,
            flaw: None,
            follows: Vec::new(),
            registers,
            columns,
        }
    }

    /// Adds an operation, and which one it follows without ranks saying so. `seen` is how much of
    /// the history was seen by then.
    #[inline(always)]
    fn push(&mut self, index: u32, op: Op, before: Option<u32>, seen: impl Fn() -> f64) {
        self.lost += usize::from(op.ret == NEVER);
        if self.ops.len() == self.ops.capacity() {
            self.make_room(seen());
        }
        self.follows.extend(before.map(|before| (before, index)));
        self.ops.push(op);
        self.ids.push(index);
    }

    /// Makes room for the rest, of which this part is likely to have its share, after so much of
    /// the history was seen.
    fn make_room(&mut self, seen: f64) {
        let len = self.ops.len();
        let likely = (1.02 * len as f64 / seen) as usize;
        let more = likely.clamp(len + len / 4 + 8, 4 * len + 8) - len;
        self.ops.reserve_exact(more);
        self.ids.reserve_exact(more);
    }

    /// Brings operations into the order of their calls: those of one time need not be invoked in
    /// it.
    fn sort(&mut self) {
        if self.ops.is_sorted_by_key(|op| op.call) {
            return;
        }
        let mut order: Vec<u32> = (0..self.ops.len() as u32).collect();
        order.sort_by_key(|i| self.ops[*i as usize].call);
        fn sorted<T: Copy>(of: &[T], order: &[u32]) -> Vec<T> {
            order.iter().map(|i| of[*i as usize]).collect()
        }
        self.ops = sorted(&self.ops, &order);
        self.ids = sorted(&self.ids, &order);
        if !self.versions.is_empty() {
            self.versions = sorted(&self.versions, &order);
        }
    }

    /// Which operations follow which though their ranks overlap, by their places.
    pub fn follows(&self) -> Follows {
        if self.follows.is_empty() {
            return Vec::new();
        }
        let at: FxHashMap<u32, u32> = self.ids.iter().copied().zip(0..).collect();
        let places = self.follows.iter();
        places.map(|(a, b)| (at[a], at[b])).collect()
    }

    /// How many values there are, the initial one among them.
    pub fn values(&self) -> usize {
        self.values.len() + 1
    }

    /// What a number stands for.
    pub fn value(&self, number: u32) -> Value {
        match number.checked_sub(1) {
            None => self.registers.initial.clone(),
            Some(at) => self.stored(self.values[at as usize]).to_value(),
        }
    }

    fn stored(&self, place: Place) -> Stored<'h> {
        let row = self.columns.cursor().row(place.0 >> 1);
        let unwrapped = self.registers.unwrap(row.value());
        let value = unwrapped.expect("it was read before").1;
        match (self.columns.names().get(row.f()), value.as_pair()) {
            (Some(f), Some((from, to))) if f == "cas" => match place.0 & 1 {
                0 => from,
                _ => to,
            },
            _ => value,
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.ops.capacity() * size_of::<Op>()
            + self.ids.capacity() * size_of::<u32>()
            + self.versions.capacity() * size_of::<Option<Version>>()
            + self.values.capacity() * size_of::<Place>()
            + self.follows.capacity() * size_of::<(u32, u32)>()
    }
}

/// An operation that cannot be read.
#[derive(Clone, Debug)]
pub struct Flaw {
    why: String,
    /// Whether it may have changed something. If not, the others are judged without it.
    pub changes: bool,
}

impl Flaw {
    /// Keeps the worst, and of these the first.
    pub fn add(flaw: &mut Option<Flaw>, index: u64, reason: &str, changes: bool) {
        if flaw.as_ref().is_none_or(|flaw| changes && !flaw.changes) {
            let why = format!("operation {index} cannot be read: {reason}");
            *flaw = Some(Flaw { why, changes });
        }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// Why a history cannot be taken apart.
#[derive(Debug, Error)]
pub enum Unreadable {
    #[error("operation {index} cannot be read: {reason}")]
    Op { index: u32, reason: String },
    #[error("{0} while operations were read")]
    NoRoom(#[from] Exhausted),
}

/// What an operation of a register does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Read,
    Write,
    Cas,
}

impl Role {
    /// By its name; others have nothing to do with registers.
    pub fn of(f: &str) -> Option<Role> {
        match f {
            "read" | "get" => Some(Role::Read),
            "write" | "put" => Some(Role::Write),
            "cas" => Some(Role::Cas),
            _ => None,
        }
    }
}

/// Takes the history apart by key, in order of first appearance.
pub fn split<'h>(
    registers: &'h Registers,
    history: &'h History,
    meter: &Meter,
) -> Result<Vec<Part<'h>>, Unreadable> {
    let pairs = history.pairs();
    let mut calls = history.columns().cursor();
    let key = |pair: &history::Pair| {
        let halves = calls.row(pair.invocation).value().halves();
        halves.map(|(key, _)| key)
    };
    let mut keys = pairs.iter().take(FIRST).map(key);
    let first = keys.next();
    let one_key = !registers.keyed || keys.all(|key| Some(key) == first);
    let threads = match one_key {
        true => 1,
        false => threads::for_items(pairs.len(), WORTH_A_THREAD).min(MOST_THREADS),
    };
    split_by(threads, registers, history, meter)
}

/// The same by so many threads, each of which takes every so-manieth key.
fn split_by<'h>(
    threads: usize,
    registers: &'h Registers,
    history: &'h History,
    meter: &Meter,
) -> Result<Vec<Part<'h>>, Unreadable> {
    let ranks = Ranks::new(history);
    let limits = meter.without(ranks.bytes()).share(threads);
    let read = |nth| Share::read(registers, history, &ranks, (nth, threads), limits.clone());
    let shares = threads::map(threads, 0..threads, read);
    let mut parts = Vec::new();
    let mut why = None;
    for share in shares {
        match (share, &why) {
            (Ok(share), _) => parts.push(share.into_iter()),
            // Of what cannot be read, the first.
            (Err(Unreadable::Op { index, .. }), Some(Unreadable::Op { index: first, .. }))
                if *first < index => {}
            (Err(Unreadable::NoRoom(_)), Some(_)) => {}
            (Err(new), _) => why = Some(new),
        }
    }
    if let Some(why) = why {
        return Err(why);
    }
    let keys: usize = parts.iter().map(ExactSizeIterator::len).sum();
    Ok((0..keys)
        .filter_map(|key| parts[key % threads].next())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Budget;
    use crate::splitmix::Random;
    use history::{Event, Kind, Process, Time};

    /// Numbers, texts that fit into a word, and such that do not.
    fn value(n: u64) -> Value {
        match n % 3 {
            0 => Value::Int(n as i64 / 3),
            1 => Value::text(format!("v{}", n / 3)),
            _ => Value::text(format!("a value as long as {}", n / 3)),
        }
    }

    fn history(random: &mut Random) -> History {
        let (keys, values) = (1 + random.below(6), [4, 30, 300][random.below(3) as usize]);
        let mut open: Vec<Option<(&str, Value, Value)>> = vec![None; 4];
        let mut events = Vec::new();
        let mut time = 0;
        for index in 0..random.below(120) {
            let process = random.below(4);
            time += random.below(3);
            let (kind, (f, key, value)) = match open[process as usize].take() {
                Some((f, key, asked)) => {
                    let kind = [Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info];
                    let value = if f == "read" {
                        value(random.below(values))
                    } else {
                        asked
                    };
                    (kind[random.below(4) as usize], (f, key, value))
                }
                None => {
                    let (a, b) = (value(random.below(values)), value(random.below(values)));
                    let (f, asked) = match random.below(4) {
                        0 => ("write", a),
                        1 => ("cas", Value::pair(a, b)),
                        2 => ("note", a),
                        _ => ("read", Value::Nil),
                    };
                    let key = value(random.below(keys));
                    let op = (f, key, asked);
                    open[process as usize] = Some(op.clone());
                    (Kind::Invoke, op)
                }
            };
            events.push(Event {
                index,
                time: Time(time),
                process: Process::Client(process),
                kind,
                f: f.into(),
                value: Value::pair(key, value),
                error: None,
                node: None,
                version: (random.below(9) == 0).then_some(Value::Int(index as i64)),
                due: None,
            });
        }
        History::new(events).unwrap()
    }

    #[test]
    fn by_however_many_threads_the_parts_are_the_same() {
        let random = &mut Random(1);
        let registers = Registers::keyed().with_initial(value(0));
        for _ in 0..150 {
            let history = history(random);
            let threads = 2 + random.below(4) as usize;
            let meter = &Budget::default().start();
            let whole = split_by(1, &registers, &history, meter).unwrap();
            let dealt = split_by(threads, &registers, &history, meter).unwrap();
            assert_eq!(whole.len(), dealt.len(), "{threads}");
            for (a, b) in whole.iter().zip(&dealt) {
                assert_eq!((&a.key, &a.ops, &a.ids), (&b.key, &b.ops, &b.ids));
                assert_eq!((&a.versions, &a.aborted), (&b.versions, &b.aborted));
                let values = |part: &Part| {
                    (0..part.values() as u32)
                        .map(|v| part.value(v))
                        .collect::<Vec<_>>()
                };
                assert_eq!(values(a), values(b));
                let lost = a.ops.iter().filter(|op| op.ret == NEVER).count();
                assert_eq!((a.lost, b.lost), (lost, lost));
            }
        }
    }

    #[test]
    fn the_first_operation_that_cannot_be_read_is_named_by_however_many_threads() {
        let event = |index: u64, kind, value: Value| Event {
            index,
            time: Time(index),
            process: Process::Client(index / 2),
            kind,
            f: "cas".into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        };
        let events = (0..20).flat_map(|i| {
            // Without a key nobody knows what it was done to.
            let asked = match i {
                12 | 13 => Value::Int(1),
                _ => Value::pair(i as i64, Value::pair(1, 2)),
            };
            let call = event(2 * i, Kind::Invoke, asked.clone());
            [call, event(2 * i + 1, Kind::Ok, asked)]
        });
        let history = History::new(events.collect()).unwrap();
        let (registers, meter) = (Registers::keyed(), Budget::default().start());
        for threads in 1..4 {
            let found = split_by(threads, &registers, &history, &meter);
            match found {
                Err(Unreadable::Op { index, .. }) => assert_eq!(index, 24, "{threads}"),
                other => panic!("{threads}: {:?}", other.map(|parts| parts.len())),
            }
        }
    }

    #[test]
    fn a_small_budget_is_held_by_every_share() {
        let random = &mut Random(2);
        let registers = Registers::keyed();
        let history = std::iter::repeat_with(|| history(random))
            .find(|history| history.pairs().len() > 40)
            .unwrap();
        let budget = Budget {
            memory_bytes: 100,
            ..Budget::default()
        };
        for threads in [1, 3] {
            let found = split_by(threads, &registers, &history, &budget.start());
            assert!(matches!(found, Err(Unreadable::NoRoom(Exhausted::Memory))));
        }
    }
}
