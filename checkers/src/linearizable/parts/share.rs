//! The operations of some of a history's keys, taken from it by one thread.

use std::collections::hash_map::Entry;

use history::columns::Columns;
use history::word::{Arena, Stored, Word};
use history::{History, Kind, Value};
use rustc_hash::FxHashMap;

use super::{Flaw, Part, Place, Role, Unreadable};
use crate::Meter;
use crate::linearizable::Registers;
use crate::linearizable::model::{Action, INITIAL};
use crate::linearizable::numbers::Numbers;
use crate::linearizable::search::NEVER;
use crate::linearizable::versions::Version;
use crate::linearizable::zones::Op;
use crate::ranks::Ranks;

/// Parts being filled, and the numbers of keys and values.
pub struct Share<'h> {
    registers: &'h Registers,
    columns: &'h Columns,
    /// Which of every so many keys are its own.
    nth: (usize, usize),
    keys: Bits,
    /// From 1, by first appearance.
    key_numbers: Numbers,
    /// By the number of a key: which part is its, if it is one of its own.
    part_of: Vec<u32>,
    parts: Vec<Part<'h>>,
    values: Bits,
    /// By part.
    numbers: Numbers,
    initial: u64,
}

/// So many events, and at most twice as many, are fetched ahead: invocations are asked for in
/// order, but completions as clients took their time.
const NEAR: u32 = 1024;

const NOT_OWN: u32 = u32::MAX;

/// Numbers that are the same for equal values only.
#[derive(Default)]
struct Bits {
    /// Values that do not fit into a word.
    large: FxHashMap<Value, u64>,
    bytes: usize,
}

impl Bits {
    #[inline]
    fn of(&mut self, value: Stored) -> u64 {
        match value.word().is_whole() {
            true => value.word().bits(),
            false => self.of_large(value.to_value()),
        }
    }

    #[cold]
    fn of_large(&mut self, value: Value) -> u64 {
        let next = self.large.len() as u64;
        let known = self.large.entry(value);
        if let Entry::Vacant(new) = &known {
            self.bytes += new.key().bytes() + 2 * size_of::<(Value, u64)>();
        }
        // Words have no such tag.
        *known.or_insert(next << 3 | 7)
    }
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

impl<'h> Share<'h> {
    /// What an answer says of the key that was asked for; none, and a flaw, if it says something
    /// else.
    #[inline(always)]
    fn answer(
        &mut self,
        (at, index, role): (u32, u32, Role),
        key: Stored<'h>,
        output: Stored<'h>,
    ) -> Option<Stored<'h>> {
        let Some((found, answer)) = self.unwrap(output) else {
            let why = format!("{} is not [key, value]", output.to_value());
            self.flaw(at, index, role, &why);
            return None;
        };
        if !self.is_of(at, key, found) {
            let why = "it asks for one key and is answered with another";
            self.flaw(at, index, role, why);
            return None;
        }
        Some(answer)
    }

    /// What an operation does, with its values by number; none for a read without an answer and
    /// for what cannot be understood.
    #[inline(always)]
    fn action(
        &mut self,
        (at, index, role): (u32, u32, Role),
        asked: Stored<'h>,
        answer: Option<(u32, Stored<'h>)>,
        outcome: Kind,
    ) -> Option<Action> {
        Some(match role {
            Role::Read => {
                let (ret, answer) = answer?;
                Action::Read(self.number(at, answer, Place::new(ret, false)))
            }
            Role::Write => Action::Write(self.number(at, asked, Place::new(index, false))),
            Role::Cas => {
                let Some((from, to)) = asked.as_pair() else {
                    if outcome != Kind::Fail {
                        let why = format!("{} is not [from, to]", asked.to_value());
                        self.flaw(at, index, role, &why);
                    }
                    return None;
                };
                Action::Cas(
                    self.number(at, from, Place::new(index, false)),
                    self.number(at, to, Place::new(index, true)),
                )
            }
        })
    }

    /// The parts of the `nth.0`-th of every `nth.1` keys, which are numbered by first appearance.
    pub fn read(
        registers: &'h Registers,
        history: &'h History,
        ranks: &Ranks,
        nth: (usize, usize),
        mut meter: Meter,
    ) -> Result<Vec<Part<'h>>, Unreadable> {
        let (columns, pairs) = (history.columns(), history.pairs());
        let has_versions = columns.has_versions();
        let mut sessions = ranks.sessions();
        let roles: Vec<Option<Role>> = columns.names().iter().map(|name| Role::of(name)).collect();
        let mut share = Share::new(registers, columns, nth);
        let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
        // What it holds is summed now and then: it only grows.
        let (mut bytes, mut near) = (0, 0);
        for (i, pair) in pairs.iter().enumerate() {
            let call = calls.row(pair.invocation);
            let Some(role) = roles[call.f() as usize] else {
                continue;
            };
            if i % 65_536 == 0 {
                bytes = share.bytes() as u64;
            }
            meter.tick(bytes)?;
            let index = pair.invocation;
            while near < columns.len() as u32 && near < index + NEAR {
                columns.fetch(near..near + NEAR);
                near += NEAR;
            }
            let Some((key, asked)) = share.unwrap(call.value()) else {
                let reason = format!("{} is not [key, value]", call.value().to_value());
                return Err(Unreadable::Op { index, reason });
            };
            let Some(at) = share.part(key) else {
                continue;
            };
            let ret = pair.completion().map(|at| rets.row(at));
            let outcome = ret.map_or(Kind::Info, |ret| ret.kind());
            let of = (at, index, role);
            // Whoever only writes may be answered with nothing.
            let told = ret
                .filter(|ret| outcome == Kind::Ok && (role == Role::Read || !ret.value().is_nil()));
            let answer = match told {
                Some(ret) => match share.answer(of, key, ret.value()) {
                    Some(answer) => Some((ret.index(), answer)),
                    None => continue,
                },
                None => None,
            };
            let Some(action) = share.action(of, asked, answer, outcome) else {
                continue;
            };
            let part = &mut share.parts[at as usize];
            let ret = match (outcome, ret) {
                (Kind::Ok, Some(ret)) => ranks.ret(ret.index()),
                (Kind::Fail, _) => {
                    if let Some(value) = action.written() {
                        part.aborted.insert(value, index);
                    }
                    continue;
                }
                _ => NEVER,
            };
            let op = Op {
                op: action,
                call: ranks.call(index),
                ret,
            };
            let before = sessions.follows(at, call.process(), index, (op.call, ret));
            part.push(index, op, before, || (i + 1) as f64 / pairs.len() as f64);
            if has_versions {
                let answer = pair.completion().map(|at| rets.row(at));
                let version = answer.and_then(|ret| version(rets.version(ret)?));
                part.versions.push(version);
            }
        }
        meter.look(share.bytes() as u64)?;
        share.parts.iter_mut().for_each(Part::sort);
        Ok(share.parts)
    }

    #[cold]
    fn flaw(&mut self, at: u32, index: u32, role: Role, reason: &str) {
        let flaw = &mut self.parts[at as usize].flaw;
        Flaw::add(flaw, index.into(), reason, role != Role::Read);
    }

    fn new(registers: &'h Registers, columns: &'h Columns, nth: (usize, usize)) -> Share<'h> {
        let mut values = Bits::default();
        let mut arena = Arena::default();
        let initial = arena.value(&registers.initial);
        Share {
            initial: values.of(arena.get(initial)),
            registers,
            columns,
            nth,
            keys: Bits::default(),
            key_numbers: Numbers::default(),
            part_of: Vec::new(),
            parts: Vec::new(),
            values,
            numbers: Numbers::default(),
        }
    }

    /// Bytes that it holds.
    fn bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(Part::bytes).sum();
        parts
            + self.numbers.bytes()
            + self.values.bytes
            + self.key_numbers.bytes()
            + self.keys.bytes
            + self.part_of.capacity() * size_of::<u32>()
    }

    /// Key and content of a value, as [`Registers::unwrap`], and nil for the key of the only
    /// register.
    #[inline]
    fn unwrap(&self, value: Stored<'h>) -> Option<(Stored<'h>, Stored<'h>)> {
        match self.registers.keyed {
            false => Some((value.beside(Word::NIL), value)),
            true => {
                let (key, content) = value.halves()?;
                Some((value.beside(key), value.beside(content)))
            }
        }
    }

    /// The part of this key, which may be new; none if it is not one of its own.
    #[inline]
    fn part(&mut self, key: Stored<'h>) -> Option<u32> {
        let bits = self.keys.of(key);
        let next = self.part_of.len() as u32 + 1;
        let number = self.key_numbers.number(0, bits, next);
        if number == next {
            self.begin(key);
        }
        let part = self.part_of[number as usize - 1];
        (part != NOT_OWN).then_some(part)
    }

    fn begin(&mut self, key: Stored<'h>) {
        let (nth, of) = self.nth;
        if self.part_of.len() % of != nth {
            self.part_of.push(NOT_OWN);
            return;
        }
        self.part_of.push(self.parts.len() as u32);
        let key = self.registers.keyed.then(|| key.to_value());
        self.parts
            .push(Part::new(key, self.registers, self.columns));
    }

    /// Whether `found` is the key of part `at`, which is `key`.
    #[inline]
    fn is_of(&mut self, at: u32, key: Stored<'h>, found: Stored<'h>) -> bool {
        match key.word().is_whole() {
            true => key.word() == found.word(),
            false => self.part(found) == Some(at),
        }
    }

    #[inline]
    fn number(&mut self, part: u32, value: Stored<'h>, place: Place) -> u32 {
        let word = self.values.of(value);
        if word == self.initial {
            return INITIAL;
        }
        let values = &mut self.parts[part as usize].values;
        let next = values.len() as u32 + 1;
        let number = self.numbers.number(part, word, next);
        if number == next {
            values.push(place);
        }
        number
    }
}
