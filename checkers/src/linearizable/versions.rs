//! The engine for answers that say where in the system's own order they are true: a log slot, a
//! revision, a height. Linear after sorting, whatever values are written how often.
//!
//! The order is the system's: by version, at one version the write before the reads, and these by
//! call. It is replayed and held against real time like any certificate, so what this engine calls
//! valid is valid. Lost operations have no version; one is put in front of an operation that needs
//! what it gives. Where that does not do, versions decide nothing: a system may be linearizable and
//! say wrong things of its own order, and another engine must look at it.

use history::sort::sort_spread_within;
use rustc_hash::FxHashMap;

use super::model::{Action, INITIAL};
use super::search::NEVER;
use super::zones::Op;
use crate::{Exhausted, Meter};

/// A place in the system's order: a number, or the first two of several.
pub type Version = (i64, i64);

/// Why the versions are no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOrder {
    /// The operation returned, and its answer has none.
    Missing { op: u32 },
    /// It did not find what was there at its version.
    Answer { op: u32, found: u32, there: u32 },
    /// It returned before `later`, whose version is smaller, was called.
    Time { op: u32, later: u32 },
}

/// The order that the versions tell; `versions` belong to `ops`, which are sorted by call.
pub fn order(
    ops: &[Op],
    versions: &[Option<Version>],
    meter: &mut Meter,
) -> Result<Result<Vec<u32>, NoOrder>, Exhausted> {
    meter.look(24 * ops.len() as u64)?;
    let mut told: Vec<u32> = Vec::with_capacity(ops.len());
    // By what they write, those called last first.
    let mut lost: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (i, op) in ops.iter().enumerate().rev() {
        meter.tick(0)?;
        let i = i as u32;
        match (op.ret == NEVER, op.op.written(), versions[i as usize]) {
            (true, Some(value), _) => lost.entry(value).or_default().push(i),
            (true, None, _) => {}
            (false, _, Some(_)) => told.push(i),
            (false, _, None) => return Ok(Err(NoOrder::Missing { op: i })),
        }
    }
    // Numbers of operations are in the order of their calls.
    told.reverse();
    let version = |op: &u32| versions[*op as usize].unwrap_or_default();
    let order = |op: &u32| (version(op), ops[*op as usize].op.written().is_none());
    // Negative ones first.
    let number = |op: &u32| version(op).0 as u64 ^ 1 << 63;
    let told = sort_spread_within(told, number, order, meter)?;
    let mut order = Vec::with_capacity(ops.len());
    let mut now = INITIAL;
    let (mut latest, mut latest_call) = (0, 0);
    let mut place = |i: u32| {
        let op = &ops[i as usize];
        if op.ret < latest_call {
            return Err(NoOrder::Time {
                op: i,
                later: latest,
            });
        }
        if op.call > latest_call {
            (latest, latest_call) = (i, op.call);
        }
        order.push(i);
        Ok(())
    };
    for i in told {
        meter.tick(0)?;
        let op = &ops[i as usize];
        if let Some(found) = op.op.found()
            && found != now
        {
            let fits = |lost: &u32| {
                let lost = &ops[*lost as usize];
                lost.call <= op.ret && lost.op.found().is_none_or(|from| from == now)
            };
            let there = now;
            let giver = lost.get_mut(&found).and_then(|lost| {
                let at = lost.iter().rposition(fits)?;
                Some(lost.remove(at))
            });
            let Some(giver) = giver else {
                return Ok(Err(NoOrder::Answer {
                    op: i,
                    found,
                    there,
                }));
            };
            if let Err(why) = place(giver) {
                return Ok(Err(why));
            }
            now = found;
        }
        if let Err(why) = place(i) {
            return Ok(Err(why));
        }
        if let Action::Write(to) | Action::Cas(_, to) = op.op {
            now = to;
        }
    }
    Ok(Ok(order))
}
