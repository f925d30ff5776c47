//! Elections, and those that nobody needed.
//!
//! An election is a `lead` after the first. It was needless if the leader before could have gone
//! on: when its reign ended it was up, it ran, and it was connected, both ways, with so many
//! running nodes that they are a majority with it. In the terms of failure detectors it is a
//! mistake: a process was suspected that had not failed (Chen, Toueg and Aguilera, "On the quality
//! of service of failure detectors", 2000).
//!
//! A reign ends with the leader's own `step-down`, or else with the next `lead`. If the leader's
//! process ended before either (a `start` in its trace), a new one was needed, whatever the reason.
//! What was up, ran and was connected is told by the losses of the faults: a fault counts from when
//! its injection began to when its healing was done, so a doubtful election is a needed one. Faults
//! that only make a node slow or wrong, such as those of clocks, take nothing away.

use history::fault::{self, Span};
use history::{History, Name, Time};

use super::ballots::{Trace, What};

/// How many there were, and how many of them were needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elections {
    pub held: usize,
    pub needless: usize,
}

/// Elections of the run itself: what was before time 0 is not told. None if the history does not
/// say when its times were by the traces' clock, or knows a majority of too few nodes.
pub fn judge(traces: &[Trace], history: &History, nodes: usize) -> Option<Elections> {
    let mut leads: Vec<(i64, &Trace)> = traces
        .iter()
        .flat_map(|trace| {
            let of = trace.events.iter().filter(|e| matches!(e.what, What::Lead));
            of.map(move |event| (event.t_ns, trace))
        })
        .collect();
    leads.sort_by_key(|(t_ns, _)| *t_ns);
    // Known at all, for any reading after the start.
    history.time_of(u64::MAX)?;
    let time_of = |t_ns: i64| history.time_of(u64::try_from(t_ns).ok()?);
    let spans = fault::spans(history);
    let mut elections = Elections {
        held: 0,
        needless: 0,
    };
    for pair in leads.windows(2) {
        let [(from_ns, before), (until_ns, _)] = *pair else {
            continue;
        };
        if time_of(until_ns).is_none() {
            continue;
        }
        elections.held += 1;
        let end = before
            .events
            .iter()
            .filter(|e| e.t_ns > from_ns && e.t_ns < until_ns)
            .find(|e| matches!(e.what, What::StepDown | What::Start { .. }));
        let ended_ns = match end {
            Some(event) if matches!(event.what, What::Start { .. }) => continue,
            Some(event) => event.t_ns,
            None => until_ns,
        };
        if let Some(at) = time_of(ended_ns)
            && could_lead(before.node, at, &spans, traces, nodes)
        {
            elections.needless += 1;
        }
    }
    Some(elections)
}

/// Whether a node ran and had a majority of running nodes with it, as far as faults go.
fn could_lead(leader: &str, at: Time, spans: &[Span], traces: &[Trace], nodes: usize) -> bool {
    let in_force = || {
        spans
            .iter()
            .filter(|span| !span.skipped && span.from <= at && at <= span.until)
    };
    let down = |node: &str| {
        let mut lost = in_force().flat_map(|span| &span.loss.down);
        lost.any(|name| name.as_str() == node)
    };
    let hears = |to: &str, from: &str| {
        let mut lost = in_force().flat_map(|span| &span.loss.deaf);
        !lost.any(|(deaf, unheard): &(Name, Name)| deaf.as_str() == to && unheard.as_str() == from)
    };
    let with_it = traces
        .iter()
        .map(|trace| trace.node)
        .filter(|node| *node != leader && !down(node))
        .filter(|node| hears(leader, node) && hears(node, leader))
        .count();
    !down(leader) && with_it + 1 > nodes / 2
}
