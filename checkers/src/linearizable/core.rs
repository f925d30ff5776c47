//! The part of a history that is wrong, where the search found that it is.

use super::model::Model;
use super::search::{Found, NEVER, Timed, search};
use crate::Meter;

/// Steps of the search that may be spent on making a violation small. A fixed number, and not a
/// time, so that the same history is always explained by the same operations.
const STEPS: u64 = 1_000_000;

/// And on one attempt: what is not found to be impossible in as many is kept.
const STEPS_OF_ONE: u64 = 50_000;

/// Operations that cannot be ordered even if every other is allowed to have happened at any time,
/// or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// By call.
    pub ops: Vec<u32>,
    /// Whether each of them is needed; false if the limits ended the work before.
    pub minimal: bool,
}

/// Shrinks the shortest bad prefix, which ends when `blocked` returns. To relax an operation is to
/// take away its times and its outcome, so that what it writes can still be read: leaving it out
/// would make every reader wrong.
pub fn core<M: Model>(model: &M, ops: &[Timed<M::Op>], blocked: u32, meter: &Meter) -> Core {
    // Of those that return together, the ones in front of it in the history come first.
    let end = (ops[blocked as usize].ret, blocked);
    // What has not returned by then does not matter, unless it writes: a read may be wrong just
    // because what it saw was written later.
    let fixed: Vec<u32> = (0..ops.len() as u32)
        .filter(|i| (ops[*i as usize].ret, *i) <= end || !model.reads_only(&ops[*i as usize].op))
        .collect();
    let mut kept = vec![false; ops.len()];
    for i in &fixed {
        kept[*i as usize] = true;
    }
    let mut left = STEPS;
    let mut is_bad = |kept: &[bool]| {
        let relaxed = relax(model, ops, kept, end);
        // To build it costs a step for each operation, so that long prefixes end too, and so does to
        // walk through it once.
        let length = relaxed.len() as u64;
        left = left.checked_sub(length).ok_or(())?;
        let most = left.min(STEPS_OF_ONE.max(2 * length));
        let mut meter = meter.with_steps(most);
        let found = search(model, &relaxed, &mut meter);
        left -= most - meter.steps();
        Ok(found.map(|found| matches!(found, Found::Blocked(_))))
    };
    // By halves, then quarters, down to single operations. What cannot be relaxed now cannot be
    // relaxed later, when fewer constraints are left, so one pass over the single ones is enough.
    let mut minimal = true;
    let mut chunk = fixed.len().next_power_of_two();
    'shrinking: while chunk > 0 {
        for group in fixed.chunks(chunk) {
            let relaxing: Vec<u32> = group
                .iter()
                .copied()
                .filter(|i| kept[*i as usize] && *i != blocked)
                .collect();
            if relaxing.is_empty() {
                continue;
            }
            relaxing.iter().for_each(|i| kept[*i as usize] = false);
            match is_bad(&kept) {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) => {}
                // Kept although it may not be needed.
                Ok(Err(_)) => minimal &= chunk > 1,
                Err(()) => {
                    minimal = false;
                    relaxing.iter().for_each(|i| kept[*i as usize] = true);
                    break 'shrinking;
                }
            }
            relaxing.iter().for_each(|i| kept[*i as usize] = true);
        }
        chunk /= 2;
    }
    Core {
        ops: fixed.into_iter().filter(|i| kept[*i as usize]).collect(),
        minimal,
    }
}

/// The operations that are kept, as they are seen until `end`, and the others without their times.
fn relax<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    kept: &[bool],
    end: (u32, u32),
) -> Vec<Timed<M::Op>> {
    let (mut relaxed, mut rest) = (Vec::new(), Vec::new());
    for (i, (timed, kept)) in ops.iter().zip(kept).enumerate() {
        let (call, ret, to) = match kept {
            true if (timed.ret, i as u32) <= end => (timed.call, timed.ret, &mut rest),
            true => (timed.call, NEVER, &mut rest),
            false if model.reads_only(&timed.op) => continue,
            false => (0, NEVER, &mut relaxed),
        };
        let op = timed.op.clone();
        to.push(Timed { op, call, ret });
    }
    relaxed.append(&mut rest);
    relaxed
}
