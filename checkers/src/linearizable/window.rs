//! The last part of a history, begun with everything that may have been.
//!
//! ```text
//!            from                       blocked
//! gone  ──|   │                            │
//!        ─────┼──| may have happened,      │
//!             │      not seen              │
//!             │  |─────────|  as it is     │
//!             │          |─────────────────┼── still open
//! ```
//!
//! A register that starts with any value that may have been there, and operations that were open
//! then and may have happened, allow more than the history does. So what is impossible here is
//! impossible; and what is wrong is mostly wrong for a reason close by.
//!
//! Where it is not, the whole history is looked at, with lost operations of only some values
//! counted, those that matter most: others can be used as often as wanted, which allows more again.
//! Mostly one value was lost seldom, and seen too often.

use rustc_hash::FxHashMap;

use super::frontier::{DEAD, Death, Start, Sweep, Swept};
use super::model::{Action, INITIAL};
use super::search::NEVER;
use super::zones::Op;
use crate::{Exhausted, Meter};

/// Configurations of a beam that is tried first.
const BEAM: usize = 16;

/// So many operations are invoked around one that tells something, and may tell something too.
const AROUND: usize = 8;

/// How much a window looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// So many returns.
    pub back: usize,
    /// Of so many values lost operations are counted, if it begins where the history does.
    pub counted: usize,
}

impl Reach {
    pub const SHORTEST: Reach = Reach {
        back: 8,
        counted: 1,
    };

    pub const WHOLE: Reach = Reach {
        back: usize::MAX,
        counted: usize::MAX,
    };

    /// The next one to try at the return that so many others precede.
    pub fn more(self, at: usize) -> Reach {
        match self.back > at {
            true => Reach {
                counted: self.counted.saturating_mul(2),
                ..self
            },
            false => Reach {
                back: 2 * self.back,
                ..self
            },
        }
    }
}

/// A part of a history that ends when an operation returns.
pub struct Window {
    /// By call, with values of their own numbering.
    ops: Vec<Op>,
    /// What they are in the history.
    ids: Vec<u32>,
    /// Whether each has returned by the end.
    returned: Vec<bool>,
    /// It begins with the return of this one; none for the beginning of the history.
    after: Option<u32>,
    /// What was called before may have happened.
    from: u32,
    /// What the register may hold then.
    values: Vec<u32>,
    /// Of which values lost operations are counted; none if of all.
    counted: Option<Vec<bool>>,
    /// How many values there are.
    numbers: usize,
}

impl Window {
    /// Ends with the return of `by_ret[at]`, and begins some returns before, or at the beginning.
    pub fn new(
        ops: &[Op],
        by_ret: &[u32],
        at: usize,
        reach: Reach,
        meter: &Meter,
    ) -> Result<Window, Exhausted> {
        let meter = &mut meter.with_steps(u64::MAX);
        let last = by_ret[at];
        let end = (ops[last as usize].ret, last);
        let after = at.checked_sub(reach.back).map(|before| by_ret[before]);
        let from = after.map_or(0, |op| ops[op as usize].ret);
        let mut window = Window {
            ops: Vec::new(),
            ids: Vec::new(),
            returned: Vec::new(),
            after,
            from,
            values: Vec::new(),
            counted: None,
            numbers: 0,
        };
        let mut numbers: FxHashMap<u32, u32> = FxHashMap::default();
        // Every other value is as good as one that nothing needs.
        let mut gone: Vec<u32> = vec![INITIAL];
        for (i, op) in ops.iter().enumerate() {
            meter.tick(0)?;
            if op.call > end.0 {
                break;
            }
            if op.call < from {
                gone.extend(op.op.written());
            }
            let returned = (op.ret, i as u32) <= end;
            let is_read = matches!(op.op, Action::Read(_));
            if op.ret <= from || (is_read && (!returned || op.call < from)) {
                continue;
            }
            let mut number = |value: u32| {
                let next = numbers.len() as u32;
                *numbers.entry(value).or_insert(next)
            };
            let action = match op.op {
                Action::Read(v) => Action::Read(number(v)),
                Action::Write(v) => Action::Write(number(v)),
                Action::Cas(a, b) => Action::Cas(number(a), number(b)),
            };
            window.ops.push(Op { op: action, ..*op });
            window.ids.push(i as u32);
            window.returned.push(returned);
        }
        if from == 0 {
            gone.truncate(1);
        }
        let known = gone.iter().map(|v| numbers.get(v).copied().unwrap_or(DEAD));
        window.values = known.collect();
        window.values.sort_unstable();
        window.values.dedup();
        window.numbers = numbers.len();
        window.count(reach, meter)?;
        Ok(window)
    }

    /// Chooses what is counted: first what the last operation looks for, then what was lost least
    /// often.
    fn count(&mut self, reach: Reach, meter: &mut Meter) -> Result<(), Exhausted> {
        if !self.is_whole() {
            self.counted = Some(vec![false; self.numbers]);
            return Ok(());
        }
        let mut lost = vec![0; self.numbers];
        for op in self.ops.iter().filter(|op| op.ret == NEVER) {
            meter.tick(0)?;
            if let Some(value) = op.op.written() {
                lost[value as usize] += 1;
            }
        }
        let ends = self.ops.iter().zip(&self.returned).filter(|(_, r)| **r);
        let last = ends.max_by_key(|(op, _)| op.ret).map(|(op, _)| op.op);
        let wanted = last.and_then(|op| op.found());
        let mut values: Vec<u32> = (0..self.numbers as u32).collect();
        values.retain(|value| lost[*value as usize] > 0);
        if reach.counted >= values.len() {
            return Ok(());
        }
        values.sort_by_key(|value| (Some(*value) != wanted, lost[*value as usize]));
        let mut counted = vec![false; self.numbers];
        for value in &values[..reach.counted] {
            counted[*value as usize] = true;
        }
        self.counted = Some(counted);
        Ok(())
    }

    /// Its operations, by their numbers in the history.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether it begins where the history does.
    pub fn is_whole(&self) -> bool {
        self.after.is_none()
    }

    /// Whether it allows nothing that the history does not.
    pub fn is_exact(&self) -> bool {
        self.is_whole() && self.counted.is_none()
    }

    /// The operation with whose return it begins; none for the beginning of the history.
    pub fn after(&self) -> Option<u32> {
        self.after
    }

    /// Of those that look for or leave a value whose lost operations are counted, and those around
    /// them: these are likely to show what is impossible. All of them, if none are counted, or all.
    pub fn telling(&self) -> Vec<u32> {
        let tells = |op: &Op| match &self.counted {
            Some(counted) if self.is_whole() => {
                let values = op.op.found().into_iter().chain(op.op.written());
                values.into_iter().any(|value| counted[value as usize])
            }
            _ => true,
        };
        let mut near = Vec::new();
        let mut until = 0;
        for (i, _) in self.ops.iter().enumerate().filter(|(_, op)| tells(op)) {
            let around = until.max(i.saturating_sub(AROUND))..self.ops.len().min(i + AROUND + 1);
            until = around.end;
            near.extend(around.map(|i| i as u32));
        }
        near
    }

    /// Whether no order exists, even if operations that are not kept may have happened at any time,
    /// or never. Too many operations open at once are called possible.
    pub fn is_impossible(
        &self,
        kept: Option<&[bool]>,
        meter: &mut Meter,
    ) -> Result<bool, Exhausted> {
        let mut relaxed = Vec::new();
        let mut ops = Vec::new();
        let mut returns = 0;
        for (i, op) in self.ops.iter().enumerate() {
            let op = *op;
            match kept.is_none_or(|kept| kept[i]) {
                true if self.returned[i] => {
                    returns += 1;
                    ops.push(op);
                }
                // It may be seen, and need not.
                true => ops.push(Op { ret: NEVER, ..op }),
                false if matches!(op.op, Action::Read(_)) => {}
                false => relaxed.push(Op {
                    call: 0,
                    ret: NEVER,
                    ..op
                }),
            }
        }
        relaxed.append(&mut ops);
        let start = Start {
            values: &self.values,
            from: self.from,
            counted: self.counted.as_deref(),
        };
        // What is possible is mostly so in a simple way.
        for width in [BEAM, usize::MAX] {
            let Some(mut sweep) = Sweep::new(&relaxed, self.numbers, start, width, meter)? else {
                return Ok(false);
            };
            match sweep.run(returns, meter)? {
                Swept::Through(_) => return Ok(false),
                Swept::Died { by: Death::Cut, .. } => {}
                Swept::Died { .. } => return Ok(true),
            }
        }
        unreachable!("an exact sweep leaves nothing out")
    }
}
