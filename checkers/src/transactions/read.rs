//! Transactions of a history, read from its columns.
//!
//! ```text
//! txn  [["append" x 3] ["r" x nil]]   is answered with   [["append" x 3] ["r" x [1 2 3]]]
//! ```

use history::columns::Row;
use history::word::Stored;
use history::{History, Kind, Process, Time, Value};
use rustc_hash::FxHashMap;

use super::cycles::Times;
use super::graph::NONE;
use crate::linearizable::numbers::Numbers;
use crate::{Exhausted, Meter};

/// What all transactions have, by number.
#[derive(Debug, Default)]
pub struct Txns {
    /// Indices of the invocations.
    pub ops: Vec<u32>,
    pub calls: Vec<Time>,
    /// [`Time::MAX`] for those that nobody knows about.
    pub rets: Vec<Time>,
    /// The last of the same process that had returned before, or none.
    pub before: Vec<u32>,
    /// Whether it returned, or was seen to have happened.
    pub happened: Vec<bool>,
    /// Where its micro-operations begin; with the end.
    pub starts: Vec<u32>,
    last: FxHashMap<u64, u32>,
    /// Operations that cannot be judged, and why.
    pub unjudged: Vec<(u32, String)>,
    anybodys: bool,
}

impl Txns {
    pub fn new() -> Txns {
        Txns {
            starts: vec![0],
            ..Txns::default()
        }
    }

    pub fn len(&self) -> usize {
        self.ops.len()
    }

    pub fn bytes(&self) -> u64 {
        self.ops.capacity() as u64 * 29 + self.last.capacity() as u64 * 16
    }

    /// Its micro-operations, as places in the list of all.
    #[inline]
    pub fn range(&self, txn: u32) -> std::ops::Range<usize> {
        self.starts[txn as usize] as usize..self.starts[txn as usize + 1] as usize
    }

    pub fn times(&self) -> Times<'_> {
        Times {
            calls: &self.calls,
            rets: &self.rets,
        }
    }

    /// Indices of the invocations of those that happened, of transactions and helpers in some
    /// order.
    pub fn in_order(&self, order: impl Iterator<Item = u32>) -> Vec<u64> {
        let happened = order.filter(|n| self.happened.get(*n as usize) == Some(&true));
        happened.map(|txn| self.ops[txn as usize].into()).collect()
    }

    /// One that cannot be judged; if it is `illegible`, nobody knows what it wrote.
    pub fn not_judged(&mut self, op: u32, why: String, illegible: bool) {
        self.unjudged.push((op, why));
        self.anybodys |= illegible;
    }

    /// Whether what no legible transaction wrote may have been written all the same.
    pub fn is_anybodys(&self) -> bool {
        self.anybodys
    }

    /// Adds one whose micro-operations end at `end`. Those that failed are not added.
    pub fn push(&mut self, asked: &Asked, end: usize) {
        let number = self.len() as u32;
        self.ops.push(asked.op);
        self.calls.push(asked.call);
        self.rets.push(asked.ret);
        let before = match asked.is_ok() {
            true => self.last.insert(asked.process, number),
            false => self.last.get(&asked.process).copied(),
        };
        self.before.push(before.unwrap_or(NONE));
        self.happened.push(asked.is_ok());
        self.starts.push(end as u32);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Fail,
    Info,
}

/// One transaction as the history has it.
pub struct Asked<'h> {
    pub op: u32,
    pub process: u64,
    pub outcome: Outcome,
    pub call: Time,
    pub ret: Time,
    /// The answer if it is ok, else the question.
    pub value: Stored<'h>,
    pub question: Stored<'h>,
}

impl<'h> Asked<'h> {
    /// Whether what it read is known.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// What can be made out of the question and the answer of one that cannot be judged.
    pub fn legible(&self) -> Vec<[Stored<'h>; 3]> {
        let lists = [self.question, self.value].into_iter();
        let items = lists.filter_map(|list| list.items()).flatten();
        let parts = items.filter_map(|item| item.items()?.collect::<Vec<_>>().try_into().ok());
        parts.collect()
    }

    /// Its micro-operations: name, key and value.
    ///
    /// # Errors
    /// Why they are none, or others than were asked for.
    pub fn micros(&self) -> Result<impl Iterator<Item = Micro<'h>> + use<'h>, String> {
        if self.is_ok() && !answers(self.question, self.value) {
            return Err("it is answered with other micro-operations than it asked for".into());
        }
        let items = self.value.items();
        let items = items.ok_or_else(|| {
            let shown = self.value.to_value();
            format!("{shown} is not a list of micro-operations")
        })?;
        Ok(items.map(|item| match item.items() {
            Some(mut parts) if parts.len() == 3 => {
                let mut next = || parts.next().expect("there are three");
                Ok([next(), next(), next()])
            }
            _ => Err(format!("{} is not [name, key, value]", item.to_value())),
        }))
    }
}

pub type Micro<'h> = Result<[Stored<'h>; 3], String>;

/// Hands out every transaction, in the order of their invocations.
///
/// # Errors
/// Which limit was met.
pub fn each<'h>(
    history: &'h History,
    meter: &mut Meter,
    mut each: impl FnMut(Asked<'h>, &mut Meter) -> Result<(), Exhausted>,
) -> Result<(), Exhausted> {
    let columns = history.columns();
    let Some(name) = columns.names().find("txn") else {
        return Ok(());
    };
    let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
    for pair in history.pairs() {
        meter.tick(0)?;
        let call: Row = calls.row(pair.invocation);
        if call.f() != name {
            continue;
        }
        let Process::Client(process) = call.process() else {
            continue;
        };
        let ret = pair.completion().map(|at| rets.row(at));
        let (outcome, until, value) = match ret.map(|ret| (ret.kind(), ret)) {
            Some((Kind::Ok, ret)) => (Outcome::Ok, ret.time(), ret.value()),
            Some((Kind::Fail, ret)) => (Outcome::Fail, ret.time(), call.value()),
            _ => (Outcome::Info, Time::MAX, call.value()),
        };
        let asked = Asked {
            op: pair.invocation,
            process,
            outcome,
            call: call.time(),
            ret: until,
            value,
            question: call.value(),
        };
        each(asked, meter)?;
    }
    Ok(())
}

/// Whether an answer has the micro-operations of its question, in their order: each of a name, a
/// key and a value, the same names and keys, and of all but reads the same values. A question that
/// is nil was not recorded. What verifiers read is in [`crate::certificate::replay::micros`], and
/// says the same.
fn answers(question: Stored, answer: Stored) -> bool {
    if question.is_nil() {
        return true;
    }
    let (Some(asked), Some(told)) = (question.items(), answer.items()) else {
        return false;
    };
    asked.len() == told.len()
        && asked.zip(told).all(|(asked, told)| {
            let (Some(mut asked), Some(mut told)) = (asked.items(), told.items()) else {
                return false;
            };
            if asked.len() != 3 || told.len() != 3 {
                return false;
            }
            let mut next = || Some((asked.next()?, told.next()?));
            let same = |pair| matches!(pair, Some((a, b)) if equal(a, b));
            let (name, key, value) = (next(), next(), next());
            let read = name.is_some_and(|(name, _): (Stored, Stored)| name.is_text("r"));
            same(name) && same(key) && (read || same(value))
        })
}

/// Whether two values are the same.
#[inline]
pub fn equal(a: Stored, b: Stored) -> bool {
    match a.word().is_whole() || b.word().is_whole() {
        true => a.word() == b.word(),
        false => a.to_value() == b.to_value(),
    }
}

/// Numbers for values that belong to something numbered.
#[derive(Debug, Default)]
pub struct Interned {
    whole: Numbers,
    others: FxHashMap<(u32, Value), u32>,
    len: u32,
}

impl Interned {
    /// The number of this value, and whether it is new.
    #[inline]
    pub fn number(&mut self, of: u32, value: Stored) -> (u32, bool) {
        let next = self.len;
        let number = match value.word().is_whole() {
            true => self.whole.number(of, value.word().bits(), next + 1) - 1,
            false => {
                let value = value.to_value();
                *self.others.entry((of, value)).or_insert(next)
            }
        };
        self.len += u32::from(number == next);
        (number, number == next)
    }

    pub fn bytes(&self) -> u64 {
        (self.whole.bytes() + self.others.capacity() * 64) as u64
    }
}

/// Per key, what a transaction did with it so far; forgotten when the next one begins.
#[derive(Debug)]
pub struct Scratch<T> {
    by_key: Vec<(u32, T)>,
}

impl<T: Clone + Default> Scratch<T> {
    pub fn new(keys: usize) -> Scratch<T> {
        Scratch {
            by_key: vec![(NONE, T::default()); keys],
        }
    }

    #[inline]
    pub fn of(&mut self, txn: u32, key: u32) -> &mut T {
        let slot = &mut self.by_key[key as usize];
        if slot.0 != txn {
            *slot = (txn, T::default());
        }
        &mut slot.1
    }
}
