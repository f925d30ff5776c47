//! Ballots and leases, by the traces of acceptors and leaders (Lamport, "Paxos made simple", 2001).
//!
//! | event | fields | meaning |
//! | --- | --- | --- |
//! | `start` | `ballot`, `accepted_upto` | the node is up, with what its disk remembers |
//! | `promise` | `ballot` | it answers no lower one from now on |
//! | `accept` | `ballot`, `slot`, `digest` | it has accepted, and may be counted |
//! | `decide` | `slot`, `digest` | it takes the slot for decided |
//! | `lease` | `from_ns`, `until_ns` | it takes itself for the only leader between these times |
//! | `lead` | | it leads from now on |
//! | `step-down` | | it leads no more, whatever its lease said |
//!
//! Every event has its `t_ns`. Others, and other fields, are passed over.

use std::collections::BTreeMap;

use history::{Op, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Agreement, Ballot, Ballots, MOST_OF_A_KIND};
use crate::{Anomaly, Exhausted, Meter};

/// One node's events, in its own order.
pub struct Trace<'h> {
    pub op: u64,
    pub node: &'h str,
    pub events: Vec<Event<'h>>,
}

pub struct Event<'h> {
    pub t_ns: i64,
    pub what: What<'h>,
}

pub enum What<'h> {
    Start {
        promised: Option<Ballot>,
        accepted_upto: Option<i64>,
    },
    Promise(Ballot),
    Accept {
        ballot: Ballot,
        slot: i64,
        digest: &'h Value,
    },
    Decide {
        slot: i64,
        digest: &'h Value,
    },
    Lease {
        from_ns: i64,
        until_ns: i64,
    },
    Lead,
    StepDown,
}

/// Reads the value of an operation `trace`.
///
/// # Errors
/// The first event that is not as described above.
pub fn trace(op: &Op) -> Result<Trace<'_>, String> {
    let node = op
        .output
        .get("node")
        .and_then(Value::as_text)
        .ok_or("it has no node")?;
    let list = op
        .output
        .get("events")
        .and_then(Value::as_list)
        .ok_or("it has no events")?;
    let mut events = Vec::with_capacity(list.len());
    for event in list {
        let field = |name: &str| {
            event
                .get(name)
                .ok_or_else(|| format!("{event} has no {name}"))
        };
        let number = |name: &str| {
            field(name)?
                .as_int()
                .ok_or_else(|| format!("{name} of {event} is no number"))
        };
        let ballot = || match field("ballot")?.as_pair() {
            Some((Value::Int(round), Value::Text(proposer))) => Ok((*round, proposer.clone())),
            _ => Err(format!("the ballot of {event} is not [round, proposer]")),
        };
        let what = match field("event")?.as_text().unwrap_or_default() {
            "start" => What::Start {
                promised: ballot().ok(),
                accepted_upto: number("accepted_upto").ok(),
            },
            "promise" => What::Promise(ballot()?),
            "accept" => What::Accept {
                ballot: ballot()?,
                slot: number("slot")?,
                digest: field("digest")?,
            },
            "decide" => What::Decide {
                slot: number("slot")?,
                digest: field("digest")?,
            },
            "lease" => What::Lease {
                from_ns: number("from_ns")?,
                until_ns: number("until_ns")?,
            },
            "lead" => What::Lead,
            "step-down" => What::StepDown,
            _ => continue,
        };
        let t_ns = number("t_ns")?;
        events.push(Event { t_ns, what });
    }
    let op = op.index;
    Ok(Trace { op, node, events })
}

/// Judges everything that traces tell.
pub fn judge(
    traces: &[Trace],
    nodes: usize,
    options: &Agreement,
    anomalies: &mut Vec<Anomaly>,
    meter: &mut Meter,
) -> Result<Ballots, Exhausted> {
    let mut lacking = Vec::new();
    let traced: FxHashSet<&str> = traces.iter().map(|t| t.node).collect();
    let all = traced.len() >= nodes;
    if traces.is_empty() {
        lacking.push("there are no traces, so ballots and leases are not judged".to_string());
    } else if !all {
        lacking.push(format!(
            "only {} of {nodes} nodes have a trace",
            traced.len()
        ));
    }
    let mut found = Findings::default();
    let promises = acceptors(traces, &mut found, meter)?;
    let (accepts, chosen) = choices(traces, nodes, all && options.one_clock, &mut found, meter)?;
    let leases = match options.one_clock {
        true => leases(traces, options, &mut found, meter)?,
        false => {
            lacking.push("the nodes' clocks differ, so leases are not judged".to_string());
            0
        }
    };
    anomalies.append(&mut found.anomalies);
    let figures = vec![
        ("traces", traces.len()),
        ("promises", promises),
        ("accepts", accepts),
        ("slots chosen by a majority", chosen),
        ("leases", leases),
    ];
    Ok(Ballots { figures, lacking })
}

/// Anomalies, few of each kind.
#[derive(Default)]
struct Findings {
    anomalies: Vec<Anomaly>,
    counts: FxHashMap<&'static str, usize>,
}

impl Findings {
    fn add(&mut self, kind: &'static str, object: String, ops: Vec<u64>, reason: String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= MOST_OF_A_KIND {
            let (kind, object) = (kind.to_string(), Some(object));
            self.anomalies.push(Anomaly {
                kind,
                object,
                ops,
                reason,
                ..Anomaly::default()
            });
        }
    }
}

/// Each acceptor by itself: what it promised and accepted binds it, across restarts too.
fn acceptors(
    traces: &[Trace],
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let mut promises = 0;
    for trace in traces {
        let node = trace.node;
        let mut promised: Option<&Ballot> = None;
        let mut accepted: Option<i64> = None;
        for event in &trace.events {
            meter.tick(0)?;
            let at = event.t_ns;
            let mut add = |kind, reason| found.add(kind, node.to_string(), vec![trace.op], reason);
            match &event.what {
                What::Start {
                    promised: restored,
                    accepted_upto,
                } => {
                    if let (Some(before), Some(restored)) = (promised, restored)
                        && restored < before
                    {
                        add(
                            "promise forgotten",
                            format!(
                                "{node} had promised {} and came back at {at} ns knowing only {}",
                                show(before),
                                show(restored)
                            ),
                        );
                        // Said once: what follows is measured by what it remembers.
                        promised = Some(restored);
                    }
                    if let (Some(before), Some(restored)) = (accepted, accepted_upto)
                        && *restored < before
                    {
                        add(
                            "accepted value forgotten",
                            format!(
                                "{node} had accepted slot {before} and came back at {at} ns knowing \
                             slots up to {restored}"
                            ),
                        );
                        accepted = Some(*restored);
                    }
                }
                What::Promise(ballot) => {
                    promises += 1;
                    match promised {
                        Some(before) if ballot < before => add(
                            "promise decreased",
                            format!(
                                "{node} promised {} at {at} ns, after it had promised {}",
                                show(ballot),
                                show(before)
                            ),
                        ),
                        _ => promised = Some(ballot),
                    }
                }
                What::Accept { ballot, slot, .. } => {
                    accepted = accepted.max(Some(*slot));
                    match promised {
                        Some(before) if ballot < before => add(
                            "accept below promise",
                            format!(
                                "{node} accepted slot {slot} under {} at {at} ns, after it had promised {}",
                                show(ballot),
                                show(before)
                            ),
                        ),
                        // To accept is to promise.
                        _ => promised = Some(ballot),
                    }
                }
                What::Decide { .. } | What::Lease { .. } | What::Lead | What::StepDown => {}
            }
        }
    }
    Ok(promises)
}

/// Who accepted a value under a ballot.
struct Vote<'a> {
    digest: &'a Value,
    by: Vec<&'a Trace<'a>>,
}

/// All acceptors together: one value a ballot, and a chosen one stays.
fn choices(
    traces: &[Trace],
    nodes: usize,
    all: bool,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(usize, usize), Exhausted> {
    let mut slots: BTreeMap<i64, BTreeMap<&Ballot, Vec<Vote>>> = BTreeMap::new();
    let mut decided: BTreeMap<i64, (&Value, &Trace)> = BTreeMap::new();
    let mut accepts = 0;
    // Traces are read one after the other. Up to here each of them is whole.
    let whole_until = traces
        .iter()
        .map(|t| t.events.last().map_or(i64::MIN, |e| e.t_ns))
        .min();
    let mut unsupported = Vec::new();
    for trace in traces {
        for event in &trace.events {
            meter.tick(160 * accepts as u64)?;
            match &event.what {
                What::Accept {
                    ballot,
                    slot,
                    digest,
                } => {
                    accepts += 1;
                    let votes = slots.entry(*slot).or_default().entry(ballot).or_default();
                    match votes.iter_mut().find(|vote| vote.digest == *digest) {
                        Some(vote) if vote.by.iter().any(|t| t.node == trace.node) => {}
                        Some(vote) => vote.by.push(trace),
                        None => votes.push(Vote {
                            digest,
                            by: vec![trace],
                        }),
                    }
                }
                What::Decide { slot, digest } => {
                    let (before, by) = *decided.entry(*slot).or_insert((digest, trace));
                    if before != *digest {
                        found.add(
                            "two values in one slot",
                            format!("slot {slot}"),
                            vec![by.op, trace.op],
                            format!(
                                "{} decided {before} in slot {slot}, and {} decided {digest}",
                                by.node, trace.node
                            ),
                        );
                    }
                    if all && Some(event.t_ns) <= whole_until {
                        unsupported.push((*slot, *digest, trace));
                    }
                }
                _ => {}
            }
        }
    }
    let majority = nodes / 2 + 1;
    let mut chosen = 0;
    for (slot, ballots) in &slots {
        // The lowest ballot that chose, its value, and who accepted it.
        let mut choice: Option<(&Ballot, &Vote)> = None;
        for (ballot, votes) in ballots {
            meter.tick(0)?;
            if let [one, other, ..] = &votes[..] {
                found.add(
                    "two values under one ballot",
                    format!("slot {slot}"),
                    vec![one.by[0].op, other.by[0].op],
                    format!(
                        "under {} {} accepted {} in slot {slot} and {} accepted {}",
                        show(ballot),
                        names(one),
                        one.digest,
                        names(other),
                        other.digest
                    ),
                );
            }
            for vote in votes {
                if let Some((lower, before)) = choice
                    && before.digest != vote.digest
                {
                    found.add(
                        "chosen value replaced",
                        format!("slot {slot}"),
                        before.by.iter().chain(&vote.by).map(|t| t.op).collect(),
                        format!(
                            "{} had accepted {} in slot {slot} under {}, which is a majority; under \
                             the higher {} {} accepted {}",
                            names(before), before.digest, show(lower), show(ballot), names(vote), vote.digest
                        ),
                    );
                }
                if choice.is_none() && vote.by.len() >= majority {
                    chosen += 1;
                    choice = Some((ballot, vote));
                }
            }
        }
    }
    for (slot, digest, trace) in unsupported {
        let votes = slots
            .get(&slot)
            .into_iter()
            .flat_map(|b| b.values().flatten());
        let by: FxHashSet<&str> = votes
            .filter(|vote| vote.digest == digest)
            .flat_map(|vote| vote.by.iter().map(|t| t.node))
            .collect();
        if by.len() < majority {
            found.add(
                "decided without a quorum",
                format!("slot {slot}"),
                vec![trace.op],
                format!(
                    "{} decided {digest} in slot {slot}, which {} of {nodes} nodes had accepted",
                    trace.node,
                    by.len()
                ),
            );
        }
    }
    Ok((accepts, chosen))
}

/// No two nodes hold a lease at once, by more than the slack.
fn leases(
    traces: &[Trace],
    options: &Agreement,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let mut leases: Vec<(i64, i64, &Trace)> = Vec::new();
    for trace in traces {
        // Whatever a lease said, it ended with the leadership or the process.
        let mut ended = i64::MAX;
        for event in trace.events.iter().rev() {
            match event.what {
                What::StepDown | What::Start { .. } => ended = event.t_ns,
                What::Lease { from_ns, until_ns } => {
                    leases.push((from_ns, until_ns.min(ended), trace));
                }
                _ => {}
            }
        }
    }
    leases.sort_by_key(|(from, until, _)| (*from, *until));
    let slack = i64::try_from(options.lease_slack.as_nanos()).unwrap_or(i64::MAX);
    // For each node the lease that reaches furthest so far.
    let mut held: Vec<(i64, i64, &Trace)> = Vec::new();
    for (from, until, trace) in &leases {
        meter.tick(0)?;
        for (other_from, other_until, other) in &held {
            // A lease can be a single moment, that of its use, so what counts is not how long both
            // were held but that neither ended before the other began.
            let after = other_until.saturating_sub(*from) <= slack;
            let before = until.saturating_sub(*other_from) <= slack;
            if other.node != trace.node && !after && !before {
                found.add(
                    "overlapping leases",
                    format!("{} and {}", other.node, trace.node),
                    vec![other.op, trace.op],
                    format!(
                        "{} held the lease from {other_from} to {other_until} ns, and {} from {from} \
                         to {until} ns",
                        other.node, trace.node
                    ),
                );
            }
        }
        match held.iter_mut().find(|(_, _, t)| t.node == trace.node) {
            // Renewed without a gap, it is one lease.
            Some(mine) if *from <= mine.1 => mine.1 = mine.1.max(*until),
            Some(mine) => *mine = (*from, *until, trace),
            None => held.push((*from, *until, trace)),
        }
    }
    Ok(leases.len())
}

fn show((round, proposer): &Ballot) -> String {
    format!("ballot {round} of {proposer}")
}

fn names(vote: &Vote) -> String {
    vote.by.iter().map(|t| t.node).collect::<Vec<_>>().join(" ")
}
