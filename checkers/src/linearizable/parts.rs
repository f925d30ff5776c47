//! From a history to the operations of each register, with small numbers for values and times.

use history::{History, Op as Recorded, Outcome, Value};
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::Registers;
use super::model::{Action, INITIAL};
use super::search::{NEVER, Timed};
use super::zones::Op;
use crate::{Exhausted, Meter};

/// One register's share of a history. Linearizability is local (Herlihy and Wing 1990): the whole
/// is linearizable iff each part is.
pub struct Part<'h> {
    pub key: Option<&'h Value>,
    /// What happened or may have, by call; reads that did not return are left out.
    pub ops: Vec<Op>,
    /// The index of each one's invocation.
    pub ids: Vec<u64>,
    /// What the numbers in the actions stand for; 0 is the initial value.
    pub values: Vec<&'h Value>,
    /// Writes that definitely did not happen, by value: whoever reads one is told so.
    pub aborted: FxHashMap<u32, u64>,
}

/// Why a history cannot be taken apart.
#[derive(Debug, Error)]
pub enum Unreadable {
    #[error("operation {index} cannot be read: {reason}")]
    Op { index: u64, reason: String },
    #[error("{0} while operations were read")]
    NoRoom(#[from] Exhausted),
}

/// Takes the history apart by key, in order of first appearance.
pub fn split<'h>(
    registers: &'h Registers,
    history: &'h History,
    meter: &mut Meter,
) -> Result<Vec<Part<'h>>, Unreadable> {
    let moments = moments(history);
    let mut parts: Vec<Part<'h>> = Vec::new();
    let mut keys: FxHashMap<Option<&'h Value>, u32> = FxHashMap::default();
    let mut numbers: FxHashMap<(u32, &'h Value), u32> = FxHashMap::default();
    for op in history.ops() {
        if !matches!(op.f.as_str(), "read" | "write" | "cas") {
            continue;
        }
        meter.tick(0)?;
        let bad = |reason: String| Unreadable::Op {
            index: op.index,
            reason,
        };
        let (key, asked) = registers.unwrap(&op.input).map_err(bad)?;
        let at = *keys.entry(key).or_insert_with(|| {
            parts.push(Part {
                key,
                ops: Vec::new(),
                ids: Vec::new(),
                values: vec![&registers.initial],
                aborted: FxHashMap::default(),
            });
            let at = parts.len() as u32 - 1;
            numbers.insert((at, &registers.initial), INITIAL);
            at
        });
        let part = &mut parts[at as usize];
        let mut number = |value: &'h Value| {
            *numbers.entry((at, value)).or_insert_with(|| {
                part.values.push(value);
                part.values.len() as u32 - 1
            })
        };
        let action = match op.f.as_str() {
            "read" if op.outcome != Outcome::Ok => continue,
            "read" => {
                let (found, answer) = registers.unwrap(&op.output).map_err(bad)?;
                if found != key {
                    return Err(bad("it reads one key and is answered with another".into()));
                }
                Action::Read(number(answer))
            }
            "write" => Action::Write(number(asked)),
            _ => {
                let (from, to) = asked
                    .as_pair()
                    .ok_or_else(|| bad(format!("{asked} is not [from, to]")))?;
                Action::Cas(number(from), number(to))
            }
        };
        if op.outcome == Outcome::Fail {
            if let Some(value) = action.written() {
                part.aborted.insert(value, op.index);
            }
            continue;
        }
        part.ops.push(Timed {
            op: action,
            call: 2 * moments[op.index as usize],
            ret: ret(op, &moments),
        });
        part.ids.push(op.index);
    }
    Ok(parts)
}

/// Numbers the distinct times of the events from 1. Twice the number is the rank of a call, and
/// once more that of a return: events at one time overlap, since nobody knows which came first.
fn moments(history: &History) -> Vec<u32> {
    let mut moment = 1;
    let mut time = history.events().first().map(|e| e.time);
    let number = |event: &history::Event| {
        if Some(event.time) != time {
            time = Some(event.time);
            moment += 1;
        }
        moment
    };
    history.events().iter().map(number).collect()
}

fn ret(op: &Recorded, moments: &[u32]) -> u32 {
    match (op.outcome, op.completion) {
        (Outcome::Ok, Some(completion)) => 2 * moments[completion as usize] + 1,
        _ => NEVER,
    }
}
