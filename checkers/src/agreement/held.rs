//! A node's log against the trace of the same node. The trace is read after the log, so it has all
//! that the log has: a node writes down that it takes a slot for decided before anybody can know.

use rustc_hash::FxHashSet;

use super::Recorded;
use super::ballots::{Trace, What};
use super::logs::Log;
use crate::findings::Findings;
use crate::{Anomaly, Exhausted, Meter};

/// Returns how many entries of logs were held against a trace.
pub fn judge(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let mut compared = 0;
    for log in &recorded.logs {
        let trace = recorded.traces.iter().find(|t| t.node == log.node);
        let Some(trace) = trace.filter(|trace| trace.op > log.op) else {
            continue;
        };
        let known = Known::of(trace, meter)?;
        for entry in &log.entries {
            meter.tick(16 * known.decided.len() as u64)?;
            if known.cut || entry.slot <= known.restored_upto {
                continue;
            }
            compared += 1;
            if !known.decided.contains(&entry.slot) {
                found.add("log entry never decided", || Anomaly {
                    object: Some(format!("slot {}", entry.slot)),
                    ops: vec![log.op, trace.op],
                    reason: format!(
                        "the log of {} has {} in slot {}, and its trace, which was read later, does not say \
                         that it ever took that slot for decided",
                        log.node, entry.digest, entry.slot
                    ),
                    ..Anomaly::default()
                });
            }
        }
        forgotten(recorded, log, trace, found);
    }
    Ok(compared)
}

/// What a trace says of decisions.
struct Known {
    /// Its beginning is missing.
    cut: bool,
    /// Up to here the node knew slots when it started without having told of them before: from a
    /// snapshot, or from an earlier trace.
    restored_upto: i64,
    decided: FxHashSet<i64>,
}

impl Known {
    fn of(trace: &Trace, meter: &mut Meter) -> Result<Known, Exhausted> {
        let mut known = Known {
            cut: trace.is_cut(),
            restored_upto: i64::MIN,
            decided: FxHashSet::default(),
        };
        let mut most = i64::MIN;
        for event in &trace.events {
            meter.tick(16 * known.decided.len() as u64)?;
            match &event.what {
                What::Start {
                    decided_upto: Some(upto),
                    ..
                } if *upto > most => {
                    known.restored_upto = known.restored_upto.max(*upto);
                    most = *upto;
                }
                What::Decide { slot, .. } => {
                    known.decided.insert(*slot);
                    most = most.max(*slot);
                }
                _ => {}
            }
        }
        Ok(known)
    }
}

/// While a process runs, what it has decided stays decided, and is in the log that it shows later.
fn forgotten(recorded: &Recorded, log: &Log, trace: &Trace, found: &mut Findings) {
    let (Some(read_after), Some(upto)) = (recorded.read_after, log.decided_upto) else {
        return;
    };
    let mut last: Option<(i64, i64)> = None;
    for event in &trace.events {
        match &event.what {
            // After a restart it may have to learn again what it had not written down.
            What::Start { .. } if event.t_ns > read_after => return,
            What::Start { .. } => last = None,
            What::Decide { slot, .. }
                if event.t_ns <= read_after && last.is_none_or(|(known, _)| known < *slot) =>
            {
                last = Some((*slot, event.t_ns));
            }
            _ => {}
        }
    }
    let Some((slot, t_ns)) = last.filter(|(slot, _)| *slot > upto) else {
        return;
    };
    found.add("log ends early", || Anomaly {
        object: Some(format!("log of {}", log.node)),
        ops: vec![log.op, trace.op],
        reason: format!(
            "{} had decided slot {slot} at {}, and its log, which was read later, knows of slots up to {upto}",
            log.node,
            recorded.at(t_ns)
        ),
        ..Anomaly::default()
    });
}
