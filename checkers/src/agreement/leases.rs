//! Leases: no two nodes take themselves for the only leader at once.

use std::time::Duration;

use super::Recorded;
use super::ballots::{Trace, What};
use crate::findings::Findings;
use crate::{Anomaly, Exhausted, Meter};

/// Leases may overlap by as much: what the conversion of clocks costs.
const SLACK: Duration = Duration::from_millis(1);

/// From when on and until when a node took itself for the only leader, the last first. Whatever a
/// lease said, it ended with the leadership or the process.
pub fn held(trace: &Trace) -> Vec<(i64, i64)> {
    let mut ended = i64::MAX;
    let mut held = Vec::new();
    for event in trace.events.iter().rev() {
        match event.what {
            What::StepDown | What::Start { .. } => ended = event.t_ns,
            What::Lease { from_ns, until_ns } => held.push((from_ns, until_ns.min(ended))),
            _ => {}
        }
    }
    held
}

/// Whether two leases overlap by more than the slack. A lease can be a single moment, that of its
/// use, so what counts is not how long both were held, but that neither ended before the other
/// began.
pub fn overlap((from, until): (i64, i64), (other_from, other_until): (i64, i64)) -> bool {
    let slack = SLACK.as_nanos() as i64;
    other_until.saturating_sub(from) > slack && until.saturating_sub(other_from) > slack
}

/// Returns how many leases there were.
pub fn judge(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let mut leases: Vec<(i64, i64, &Trace)> = Vec::new();
    for trace in &recorded.traces {
        leases.extend(
            held(trace)
                .into_iter()
                .map(|(from, until)| (from, until, trace)),
        );
    }
    leases.sort_by_key(|(from, until, _)| (*from, *until));
    // For each node the lease that reaches furthest so far, and with whose leases it was seen to
    // overlap.
    let mut held: Vec<(i64, i64, &Trace, Vec<&str>)> = Vec::new();
    for (from, until, trace) in &leases {
        meter.tick(0)?;
        let mut overlaps = Vec::new();
        for (other_from, other_until, other, told) in &mut held {
            let apart = !overlap((*from, *until), (*other_from, *other_until));
            if other.node == trace.node || apart || told.contains(&trace.node) {
                continue;
            }
            told.push(trace.node);
            overlaps.push(other.node);
            found.add("overlapping leases", || Anomaly {
                object: Some(format!("{} and {}", other.node, trace.node)),
                ops: vec![other.op, trace.op],
                reason: format!(
                    "{} held the lease from {} to {}, and {} from {} to {}",
                    other.node,
                    recorded.at(*other_from),
                    recorded.at(*other_until),
                    trace.node,
                    recorded.at(*from),
                    recorded.at(*until)
                ),
                ..Anomaly::default()
            });
        }
        match held.iter_mut().find(|(_, _, t, _)| t.node == trace.node) {
            // Renewed without a gap, it is one lease, and what overlaps it overlaps it once.
            Some(mine) if *from <= mine.1 => {
                mine.1 = mine.1.max(*until);
                mine.3.extend(overlaps);
            }
            Some(mine) => *mine = (*from, *until, trace, overlaps),
            None => held.push((*from, *until, trace, overlaps)),
        }
    }
    Ok(leases.len())
}
