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
//! A register that starts with any value that may have been there, and operations that were open then
//! and may have happened, allow more than the history does. So what is impossible here is impossible;
//! and what is wrong is mostly wrong for a reason close by.

use rustc_hash::FxHashMap;

use super::frontier::{DEAD, Start, Sweep, Swept};
use super::model::{Action, INITIAL};
use super::search::NEVER;
use super::zones::Op;
use crate::{Exhausted, Meter};

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
    /// How many values there are.
    numbers: usize,
}

impl Window {
    /// Ends with the return of `by_ret[at]`, and begins `back` returns before, or at the beginning.
    pub fn new(
        ops: &[Op],
        by_ret: &[u32],
        at: usize,
        back: usize,
        meter: &Meter,
    ) -> Result<Window, Exhausted> {
        let meter = &mut meter.with_steps(u64::MAX);
        let last = by_ret[at];
        let end = (ops[last as usize].ret, last);
        let after = at.checked_sub(back).map(|before| by_ret[before]);
        let from = after.map_or(0, |op| ops[op as usize].ret);
        let mut window = Window {
            ops: Vec::new(),
            ids: Vec::new(),
            returned: Vec::new(),
            after,
            from,
            values: Vec::new(),
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
        Ok(window)
    }

    /// Its operations, by their numbers in the history.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether it begins where the history does.
    pub fn is_whole(&self) -> bool {
        self.after.is_none()
    }

    /// The operation with whose return it begins; none for the beginning of the history.
    pub fn after(&self) -> Option<u32> {
        self.after
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
        };
        let Some(mut sweep) = Sweep::new(&relaxed, self.numbers, start, usize::MAX, meter)? else {
            return Ok(false);
        };
        let swept = sweep.run(returns, meter)?;
        Ok(matches!(swept, Swept::Died { .. }))
    }
}
