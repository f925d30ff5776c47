//! The part of a history that is wrong, where the search found that it is.

use super::model::{Model, Register};
use super::search::{Found, NEVER, NONE, Timed, awaited, by_ret, search_after};
use super::window::{Reach, Window};
use super::zones::Op;
use crate::{Exhausted, Meter};

/// A violation that ends at so early a return is explained from the beginning.
const SHORT: usize = 32;

/// Steps of the search that may be spent on making a violation small. A fixed number, and not a
/// time, so that the same history is always explained by the same operations.
const STEPS: u64 = 1_000_000;

/// And on one attempt: what is not found to be impossible in as many is kept.
const STEPS_OF_ONE: u64 = 50_000;

/// Operations that cannot be ordered even if every other that was called by then is allowed to have
/// happened at any time, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// By call.
    pub ops: Vec<u32>,
    /// Whether each of them is needed; false if the limits ended the work before.
    pub minimal: bool,
    /// The return before which anything may have happened; none if that is the beginning.
    pub after: Option<u32>,
}

/// Of registers: the core of the shortest window that is impossible, if one is found soon. If
/// `reach` is given, no shorter one is.
pub fn of_registers(ops: &[Op], blocked: u32, reach: Option<Reach>, meter: &Meter) -> Core {
    let Ok(by_ret) = by_ret(ops, &mut meter.clone()) else {
        return core(&Register, ops, &[], blocked, meter);
    };
    let at = by_ret.iter().position(|op| *op == blocked);
    let at = at.expect("it has returned");
    let mut steps = meter.with_steps(STEPS);
    // What is short is explained whole.
    let mut reach = match at < SHORT {
        true => Reach::WHOLE,
        false => reach.unwrap_or(Reach::SHORTEST),
    };
    let window = loop {
        let Ok(window) = Window::new(ops, &by_ret, at, reach, meter) else {
            return core(&Register, ops, &[], blocked, meter);
        };
        match window.is_impossible(None, &mut steps) {
            Ok(true) => break window,
            Ok(false) if !window.is_exact() => reach = reach.more(at),
            _ => return core(&Register, ops, &[], blocked, meter),
        }
    };
    let last = window.ids().iter().position(|op| *op == blocked);
    let last = last.expect("it is in its window") as u32;
    let mut left = STEPS;
    let mut is_bad = |window: &Window, kept: &[bool]| {
        let length = kept.len() as u64;
        left = left.checked_sub(length).ok_or(Exhausted::Steps)?;
        let most = left.min(STEPS_OF_ONE);
        let mut meter = meter.with_steps(most);
        let found = window.is_impossible(Some(kept), &mut meter);
        left -= most - meter.steps();
        Ok(found)
    };
    let all = window.ids().len();
    let mut candidates: Vec<u32> = (0..all as u32).collect();
    let mut telling = window.telling();
    if !telling.contains(&last) {
        telling.push(last);
    }
    if telling.len() < all && is_bad(&window, &flags(&telling, all)) == Ok(Ok(true)) {
        candidates = telling;
    }
    let (mut kept, mut minimal) = shrink(&candidates, all, last, |kept| is_bad(&window, kept));
    // What is needed where lost operations are not counted may not be needed where they are.
    if !window.is_exact()
        && window.is_whole()
        && let Ok(whole) = Window::new(ops, &by_ret, at, Reach::WHOLE, meter)
    {
        (kept, minimal) = shrink(&kept, all, last, |kept| is_bad(&whole, kept));
    }
    Core {
        ops: kept.iter().map(|at| window.ids()[*at as usize]).collect(),
        minimal,
        after: window.after(),
    }
}

fn flags(of: &[u32], all: usize) -> Vec<bool> {
    let mut flags = vec![false; all];
    of.iter().for_each(|i| flags[*i as usize] = true);
    flags
}

/// Shrinks the shortest bad prefix, which ends when `blocked` returns. To relax an operation is to
/// take away its times and its outcome, so that what it writes can still be read: leaving it out
/// would make every reader wrong.
pub fn core<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    awaits: &[u32],
    blocked: u32,
    meter: &Meter,
) -> Core {
    // Of those that return together, the ones in front of it in the history come first; but where
    // one awaits another of that very time, all of them have returned.
    let end = match awaits.is_empty() {
        true => (ops[blocked as usize].ret, blocked),
        false => (ops[blocked as usize].ret, u32::MAX),
    };
    // What was called later had not happened, and what reads and had not returned says nothing.
    let fixed: Vec<u32> = (0..ops.len() as u32)
        .filter(|i| ops[*i as usize].call < end.0)
        .filter(|i| (ops[*i as usize].ret, *i) <= end || !model.reads_only(&ops[*i as usize].op))
        .collect();
    let mut left = STEPS;
    let (ops, minimal) = shrink(&fixed, ops.len(), blocked, |kept| {
        let (relaxed, awaits) = relax(model, ops, awaits, kept, end);
        // To build it costs a step for each operation, so that long prefixes end too, and so does
        // to walk through it once.
        let length = relaxed.len() as u64;
        left = left.checked_sub(length).ok_or(Exhausted::Steps)?;
        let most = left.min(STEPS_OF_ONE.max(2 * length));
        let mut meter = meter.with_steps(most);
        let found = search_after(model, &relaxed, &awaits, &mut meter);
        left -= most - meter.steps();
        match found {
            Ok(found) => Ok(Ok(matches!(found, Found::Blocked(_)))),
            Err(gave_up) => Ok(Err(gave_up.why)),
        }
    });
    Core {
        ops,
        minimal,
        after: None,
    }
}

/// Those of the candidates that are needed for `is_bad`, which sees a flag for each of `all`
/// operations, and whether each of them is. It fails for good, or for this once.
fn shrink(
    candidates: &[u32],
    all: usize,
    blocked: u32,
    mut is_bad: impl FnMut(&[bool]) -> Result<Result<bool, Exhausted>, Exhausted>,
) -> (Vec<u32>, bool) {
    let mut kept = flags(candidates, all);
    // By halves, then quarters, down to single operations. What cannot be relaxed now cannot be
    // relaxed later, when fewer constraints are left, so one pass over the single ones is enough.
    let mut minimal = true;
    let mut chunk = candidates.len().next_power_of_two();
    'shrinking: while chunk > 0 {
        for group in candidates.chunks(chunk) {
            let relaxing: Vec<u32> = group
                .iter()
                .copied()
                .filter(|i| kept[*i as usize] && *i != blocked)
                .collect();
            if relaxing.is_empty() {
                continue;
            }
            relaxing.iter().for_each(|i| kept[*i as usize] = false);
            let bad = is_bad(&kept);
            if bad == Ok(Ok(true)) {
                continue;
            }
            relaxing.iter().for_each(|i| kept[*i as usize] = true);
            match bad {
                Ok(Ok(_)) => {}
                // Kept although it may not be needed.
                Ok(Err(Exhausted::Steps | Exhausted::Memory)) => minimal &= chunk > 1,
                Ok(Err(Exhausted::Time)) | Err(_) => {
                    minimal = false;
                    break 'shrinking;
                }
            }
        }
        chunk /= 2;
    }
    let kept = candidates.iter().copied().filter(|i| kept[*i as usize]);
    (kept.collect(), minimal)
}

/// The operations that are kept, as they are seen until `end`, and the others without their times;
/// and which of the kept ones await which.
fn relax<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    awaits: &[u32],
    kept: &[bool],
    end: (u32, u32),
) -> (Vec<Timed<M::Op>>, Vec<u32>) {
    let (mut relaxed, mut rest) = (Vec::new(), Vec::new());
    let called = ops.partition_point(|op| op.call < end.0);
    // Of those in `rest`, which they are.
    let mut own = Vec::new();
    for (i, (timed, kept)) in ops[..called].iter().zip(kept).enumerate() {
        let (call, ret, to) = match kept {
            true if (timed.ret, i as u32) <= end => (timed.call, timed.ret, &mut rest),
            true => (timed.call, NEVER, &mut rest),
            false if model.reads_only(&timed.op) => continue,
            false => (0, NEVER, &mut relaxed),
        };
        if *kept && !awaits.is_empty() {
            own.push(i as u32);
        }
        let op = timed.op.clone();
        to.push(Timed { op, call, ret });
    }
    let mut then = vec![NONE; if own.is_empty() { 0 } else { relaxed.len() }];
    for op in &own {
        // The nearest of those before it that is kept: what it awaits awaited that.
        let mut before = awaited(awaits, *op);
        while let Some(relaxed) = before.filter(|before| !kept[*before as usize]) {
            before = awaited(awaits, relaxed);
        }
        let at = before.map(|before| own.partition_point(|op| *op < before));
        then.push(at.map_or(NONE, |at| (relaxed.len() + at) as u32));
    }
    relaxed.append(&mut rest);
    (relaxed, then)
}
