//! From a history to the operations of each register, with small numbers for values and times.

use history::columns::Columns;
use history::word::Stored;
use history::{History, Kind, Value};
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::Registers;
use super::model::{Action, INITIAL};
use super::numbers::Numbers;
use super::search::{NEVER, Timed};
use super::versions::Version;
use super::zones::Op;
use crate::{Exhausted, Meter};

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
    /// Where the numbers in the actions stand for what is found there, from 1; 0 is the initial value.
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

impl Part<'_> {
    /// How many values there are, the initial one among them.
    pub fn values(&self) -> usize {
        self.values.len() + 1
    }

    /// What a number stands for.
    pub fn value(&self, number: u32) -> Value {
        match number.checked_sub(1) {
            None => self.registers.initial.clone(),
            Some(at) => {
                let Place(place) = self.values[at as usize];
                let row = self.columns.cursor().row(place >> 1);
                let value = self
                    .registers
                    .unwrap(row.value())
                    .expect("it was read before")
                    .1;
                match (self.columns.names().get(row.f()), value.as_pair()) {
                    (Some(f), Some(pair)) if f == "cas" => {
                        let (from, to) = pair;
                        if place & 1 == 0 { from } else { to }
                    }
                    _ => value,
                }
                .to_value()
            }
        }
    }

    /// Bytes that it holds.
    fn bytes(&self) -> usize {
        self.ops.capacity() * size_of::<Op>()
            + self.ids.capacity() * size_of::<u32>()
            + self.versions.capacity() * size_of::<Option<Version>>()
            + self.values.capacity() * size_of::<Place>()
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

/// A number, or a list that begins with two.
fn version(value: Stored) -> Option<Version> {
    match value.as_int() {
        Some(n) => Some((n, 0)),
        None => {
            let mut numbers = value.items()?.map_while(Stored::as_int);
            Some((numbers.next()?, numbers.next()?))
        }
    }
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
    meter: &mut Meter,
) -> Result<Vec<Part<'h>>, Unreadable> {
    let columns = history.columns();
    let has_versions = columns.has_versions();
    let moments = Moments::new(columns);
    let roles: Vec<Option<Role>> = columns.names().iter().map(|name| Role::of(name)).collect();
    let mut parts: Parts = Parts::new(registers, columns);
    let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
    // What the parts hold is summed now and then: it only grows.
    let mut bytes = 0;
    for (i, pair) in history.pairs().iter().enumerate() {
        let call = calls.row(pair.invocation);
        let Some(role) = roles[call.f() as usize] else {
            continue;
        };
        if i % 65_536 == 0 {
            bytes = parts.bytes() + moments.bytes();
        }
        meter.tick(bytes as u64)?;
        let index = pair.invocation;
        let bad = |reason: String| Unreadable::Op { index, reason };
        let ret = pair.completion().map(|at| rets.row(at));
        let outcome = ret.map_or(Kind::Info, |ret| ret.kind());
        let (key, asked) = registers.unwrap(call.value()).map_err(bad)?;
        let at = parts.at(key);
        let answer = ret
            .filter(|ret| ret.kind() == Kind::Ok)
            .map(|ret| ret.value());
        // Whoever only writes may be answered with nothing.
        let answer = answer.filter(|answer| role == Role::Read || !answer.is_nil());
        let answer = answer.map(|answer| registers.unwrap(answer).map_err(bad));
        let answer = answer.transpose()?;
        if let Some((found, _)) = answer {
            let same = |(a, b): (Stored, Stored)| a.word() == b.word() && a.word().is_whole();
            if !key
                .zip(found)
                .is_none_or(|pair| same(pair) || parts.at(Some(pair.1)) == at)
            {
                return Err(bad(
                    "it asks for one key and is answered with another".into()
                ));
            }
        }
        let action = match ret.zip(answer) {
            Some((ret, (_, answer))) if role == Role::Read => {
                Action::Read(parts.number(at, answer, Place::new(ret.index(), false)))
            }
            _ if role == Role::Read => continue,
            _ if role == Role::Write => {
                Action::Write(parts.number(at, asked, Place::new(index, false)))
            }
            _ => {
                let (from, to) = asked
                    .as_pair()
                    .ok_or_else(|| bad(format!("{} is not [from, to]", asked.to_value())))?;
                Action::Cas(
                    parts.number(at, from, Place::new(index, false)),
                    parts.number(at, to, Place::new(index, true)),
                )
            }
        };
        let part = &mut parts.list[at as usize];
        if outcome == Kind::Fail {
            if let Some(value) = action.written() {
                part.aborted.insert(value, index);
            }
            continue;
        }
        part.ops.push(Timed {
            op: action,
            call: moments.call(index),
            ret: match (outcome, pair.completion()) {
                (Kind::Ok, Some(completion)) => moments.ret(completion),
                _ => NEVER,
            },
        });
        part.ids.push(index);
        if has_versions {
            part.versions
                .push(ret.and_then(|ret| version(ret.version()?)));
        }
    }
    Ok(parts.list)
}

/// Numbers the distinct times of the events from 1. Twice the number is the rank of a call, and
/// once more that of a return: events at one time overlap, since nobody knows which came first.
pub struct Moments(Vec<u32>);

impl Moments {
    pub fn new(columns: &Columns) -> Moments {
        let mut moment = 1;
        let mut before = columns.times().next();
        let mut moments = Vec::with_capacity(columns.len());
        for time in columns.times() {
            moment += u32::from(Some(time) != before);
            before = Some(time);
            moments.push(moment);
        }
        Moments(moments)
    }

    pub fn call(&self, event: u32) -> u32 {
        2 * self.0[event as usize]
    }

    pub fn ret(&self, event: u32) -> u32 {
        2 * self.0[event as usize] + 1
    }

    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<u32>()
    }
}

/// Parts being filled, and the numbers of keys and values.
struct Parts<'h> {
    registers: &'h Registers,
    columns: &'h Columns,
    list: Vec<Part<'h>>,
    keys: FxHashMap<Option<u64>, u32>,
    /// The key that was asked for last.
    last: Option<(Option<u64>, u32)>,
    numbers: Numbers,
    /// Values that do not fit into a word, numbered over all keys.
    large: FxHashMap<Value, u64>,
    initial: u64,
}

impl<'h> Parts<'h> {
    fn new(registers: &'h Registers, columns: &'h Columns) -> Parts<'h> {
        let mut parts = Parts {
            registers,
            columns,
            list: Vec::new(),
            keys: FxHashMap::default(),
            last: None,
            numbers: Numbers::default(),
            large: FxHashMap::default(),
            initial: 0,
        };
        let mut arena = history::word::Arena::default();
        let initial = arena.value(&registers.initial);
        parts.initial = parts.bits(arena.get(initial));
        parts
    }

    fn bytes(&self) -> usize {
        let parts: usize = self.list.iter().map(Part::bytes).sum();
        parts + self.numbers.bytes()
    }

    /// A number that is the same for equal values only.
    fn bits(&mut self, value: Stored) -> u64 {
        match value.word().is_whole() {
            true => value.word().bits(),
            false => {
                let next = self.large.len() as u64;
                // Words have no such tag.
                self.large
                    .entry(value.to_value())
                    .or_insert(next << 3 | 7)
                    .to_owned()
            }
        }
    }

    /// The part of this key, which may be new.
    fn at(&mut self, key: Option<Stored<'h>>) -> u32 {
        let bits = key.map(|key| self.bits(key));
        if let Some((last, at)) = self.last
            && last == bits
        {
            return at;
        }
        let next = self.list.len() as u32;
        let at = *self.keys.entry(bits).or_insert(next);
        if at == next {
            self.list.push(Part {
                key: key.map(Stored::to_value),
                ops: Vec::new(),
                ids: Vec::new(),
                versions: Vec::new(),
                values: Vec::new(),
                aborted: FxHashMap::default(),
                registers: self.registers,
                columns: self.columns,
            });
        }
        self.last = Some((bits, at));
        at
    }

    fn number(&mut self, part: u32, value: Stored<'h>, place: Place) -> u32 {
        let word = self.bits(value);
        if word == self.initial {
            return INITIAL;
        }
        let values = &mut self.list[part as usize].values;
        let next = values.len() as u32 + 1;
        let number = self.numbers.number(part, word, next);
        if number == next {
            values.push(place);
        }
        number
    }
}
