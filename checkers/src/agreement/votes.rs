//! All acceptors together: one value a ballot, a chosen one stays, and what anybody takes for
//! decided was chosen.
//!
//! Traces do not tell everything:
//!
//! - A node without a trace may have accepted anything, and so may one whose trace lost its
//!   beginning.
//! - A node that comes back with more than its trace tells has accepted that too.
//! - A node may have accepted something after its trace was read, and that may have been decided
//!   then. This does not hold for a slot that the node had decided by then: it accepts nothing more
//!   there.
//!
//! A node that may have accepted is counted as if it had.

use std::collections::BTreeMap;

use history::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::ballots::{Trace, What};
use super::{Ballot, Recorded, names, show};
use crate::findings::Findings;
use crate::{Anomaly, Exhausted, Meter};

/// What came of it, in numbers.
pub struct Judged {
    pub accepts: usize,
    /// Slots in which a majority accepted one value under one ballot.
    pub chosen: usize,
    /// Slots that somebody takes for decided and that could be held against what was accepted.
    pub compared: usize,
    /// What leaders decided without a quorum.
    pub hasty: Vec<Hasty>,
}

/// A leader decided without a quorum.
pub struct Hasty {
    /// Nodes that had accepted by then.
    pub accepted: usize,
    /// Since the last of them had.
    pub waited_ns: i64,
}

/// Who accepted a value under a ballot.
struct Vote<'a> {
    digest: &'a Value,
    by: Vec<&'a Trace<'a>>,
    /// When each of them did.
    at: Vec<i64>,
}

impl Vote<'_> {
    /// Who had accepted by then; none if nobody had.
    fn before(&self, decided_ns: i64) -> Option<Hasty> {
        let before = self.at.iter().filter(|at| **at <= decided_ns);
        Some(Hasty {
            accepted: before.clone().count(),
            waited_ns: decided_ns - before.max()?,
        })
    }
}

type Ballots<'a> = BTreeMap<&'a Ballot, Vec<Vote<'a>>>;

pub fn judge(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<Judged, Exhausted> {
    let mut slots: BTreeMap<i64, Ballots> = BTreeMap::new();
    let mut accepts = 0;
    for trace in &recorded.traces {
        for event in &trace.events {
            meter.tick(160 * accepts as u64)?;
            let What::Accept {
                ballot,
                slot,
                digest,
            } = &event.what
            else {
                continue;
            };
            accepts += 1;
            let votes = slots.entry(*slot).or_default().entry(ballot).or_default();
            match votes.iter_mut().find(|vote| vote.digest == *digest) {
                Some(vote) if vote.by.iter().any(|t| t.node == trace.node) => {}
                Some(vote) => {
                    vote.by.push(trace);
                    vote.at.push(event.t_ns);
                }
                None => votes.push(Vote {
                    digest,
                    by: vec![trace],
                    at: vec![event.t_ns],
                }),
            }
        }
    }
    let mut chosen = 0;
    for (slot, ballots) in &slots {
        meter.tick(0)?;
        chosen += usize::from(choice(recorded, *slot, ballots, found));
    }
    by_another_ballot(recorded, &slots, found, meter)?;
    let (compared, hasty) = decided(recorded, &slots, found, meter)?;
    Ok(Judged {
        accepts,
        chosen,
        compared,
        hasty,
    })
}

/// One value a ballot, and the chosen one in all that are higher. Returns whether one was chosen.
fn choice(recorded: &Recorded, slot: i64, ballots: &Ballots, found: &mut Findings) -> bool {
    // The lowest ballot that chose, its value, and who accepted it.
    let mut choice: Option<(&Ballot, &Vote)> = None;
    let mut replaced = false;
    for (ballot, votes) in ballots {
        if let [one, other, ..] = &votes[..] {
            found.add("two values under one ballot", || Anomaly {
                object: Some(format!("slot {slot}")),
                ops: vec![one.by[0].op, other.by[0].op],
                reason: format!(
                    "under {} {} accepted {} in slot {slot} and {} accepted {}",
                    show(ballot),
                    names(one.by.iter().copied()),
                    one.digest,
                    names(other.by.iter().copied()),
                    other.digest
                ),
                ..Anomaly::default()
            });
        }
        for vote in votes {
            if let Some((lower, before)) = choice
                && before.digest != vote.digest
                && !replaced
            {
                // Once for a slot: what replaces it goes on being accepted.
                replaced = true;
                found.add("chosen value replaced", || Anomaly {
                    object: Some(format!("slot {slot}")),
                    ops: before.by.iter().chain(&vote.by).map(|t| t.op).collect(),
                    reason: format!(
                        "{} had accepted {} in slot {slot} under {}, which is a majority; under \
                         the higher {} {} accepted {}",
                        names(before.by.iter().copied()),
                        before.digest,
                        show(lower),
                        show(ballot),
                        names(vote.by.iter().copied()),
                        vote.digest
                    ),
                    ..Anomaly::default()
                });
            }
            if choice.is_none() && vote.by.len() >= recorded.majority() {
                choice = Some((ballot, vote));
            }
        }
    }
    choice.is_some()
}

/// A log tells under which ballot it got what it has: nobody accepted another value there.
fn by_another_ballot(
    recorded: &Recorded,
    slots: &BTreeMap<i64, Ballots>,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    for log in &recorded.logs {
        for entry in &log.entries {
            meter.tick(0)?;
            let votes = entry.ballot.as_ref().and_then(|b| {
                let votes = slots.get(&entry.slot)?.get(b)?;
                votes.first()
            });
            let Some(vote) = votes.filter(|vote| vote.digest != entry.digest) else {
                continue;
            };
            found.add("two values under one ballot", || Anomaly {
                object: Some(format!("slot {}", entry.slot)),
                ops: vec![vote.by[0].op, log.op],
                reason: format!(
                    "the log of {} has {} in slot {} under {}, under which {} accepted {}",
                    log.node,
                    entry.digest,
                    entry.slot,
                    entry.ballot.as_ref().map_or(String::new(), show),
                    names(vote.by.iter().copied()),
                    vote.digest
                ),
                ..Anomaly::default()
            });
        }
    }
    Ok(())
}

/// A trace as what it can hide.
struct Voter<'a> {
    node: &'a str,
    cut: bool,
    /// Slots in which it may have accepted what its trace does not tell.
    untold: Vec<(i64, i64)>,
    /// The highest slot that it had decided when its trace was read: it accepts nothing up to
    /// there.
    decided_upto: i64,
}

impl<'a> Voter<'a> {
    fn new(trace: &'a Trace) -> Voter<'a> {
        let mut voter = Voter {
            node: trace.node,
            cut: trace.is_cut(),
            untold: Vec::new(),
            decided_upto: i64::MIN,
        };
        let mut most = i64::MIN;
        let mut highest: Option<&Ballot> = None;
        for event in &trace.events {
            match &event.what {
                What::Start {
                    promised,
                    accepted_upto,
                    decided_upto,
                    ..
                } => {
                    voter.decided_upto = voter.decided_upto.max(decided_upto.unwrap_or(i64::MIN));
                    // Under a ballot that its trace does not know it may have accepted any of them.
                    let from = match promised.as_ref() > highest {
                        true => i64::MIN,
                        false => most.saturating_add(1),
                    };
                    if let Some(upto) = accepted_upto.filter(|upto| from <= *upto && *upto > 0) {
                        voter.untold.push((from, upto));
                    }
                }
                What::Promise(ballot) => highest = highest.max(Some(ballot)),
                What::Accept { ballot, slot, .. } => {
                    most = most.max(*slot);
                    highest = highest.max(Some(ballot));
                }
                What::Decide { slot, .. } => voter.decided_upto = voter.decided_upto.max(*slot),
                What::Lease { .. } | What::Lead | What::StepDown => {}
            }
        }
        voter
    }

    fn may_have_accepted(&self, slot: i64, decided_before_reading: bool) -> bool {
        let late = !decided_before_reading && self.decided_upto < slot;
        let untold = || self.untold.iter().any(|(a, b)| (*a..=*b).contains(&slot));
        self.cut || late || untold()
    }
}

/// Whatever a trace or a log takes for decided, a majority accepted under one ballot. Returns how
/// many slots could be judged, and what leaders decided without.
fn decided(
    recorded: &Recorded,
    slots: &BTreeMap<i64, Ballots>,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(usize, Vec<Hasty>), Exhausted> {
    if recorded.traces.is_empty() {
        return Ok((0, Vec::new()));
    }
    let mut hasty = Vec::new();
    let voters: Vec<Voter> = recorded.traces.iter().map(Voter::new).collect();
    let without = recorded.nodes.saturating_sub(voters.len());
    // Slots are decided in order, so all up to this one were, before any trace was read.
    let early = |event: &&super::ballots::Event| Some(event.t_ns) <= recorded.whole_until;
    let events = recorded.traces.iter().flat_map(|trace| &trace.events);
    let decided = events.filter(early).filter_map(|event| match event.what {
        What::Decide { slot, .. } => Some(slot),
        _ => None,
    });
    let before_reading = decided.max().unwrap_or(i64::MIN);

    let led = decided_while_leading(&recorded.traces);
    let mut events = recorded.traces.iter().flat_map(|trace| &trace.events);
    let leads = events.any(|event| matches!(event.what, What::Lead));
    let mut seen: FxHashSet<(i64, &Value)> = FxHashSet::default();
    let mut compared: FxHashMap<i64, bool> = FxHashMap::default();
    for (slot, digest, node, op, of_trace) in claims(recorded) {
        meter.tick(64 * seen.len() as u64)?;
        if !seen.insert((slot, digest)) {
            continue;
        }
        let may = |voter: &&Voter| voter.may_have_accepted(slot, slot <= before_reading);
        let hidden: Vec<&str> = voters.iter().filter(may).map(|v| v.node).collect();
        let judged = hidden.len() + without < recorded.majority();
        *compared.entry(slot).or_default() |= judged;
        let ballots = slots.get(&slot).into_iter().flat_map(BTreeMap::values);
        let votes = ballots.flatten().filter(|vote| vote.digest == digest);
        let voted = |vote: &Vote| {
            let unseen = hidden
                .iter()
                .filter(|name| !vote.by.iter().any(|t| t.node == **name));
            vote.by.len() + unseen.count()
        };
        let most = votes.clone().map(voted).max().unwrap_or(hidden.len());
        if most + without >= recorded.majority() {
            continue;
        }
        let seen = votes.clone().map(|vote| vote.by.len()).max().unwrap_or(0);
        if let Some(decided_ns) = led.get(&(slot, digest)) {
            hasty.extend(
                votes
                    .filter_map(|vote| vote.before(*decided_ns))
                    .max_by_key(|h| h.accepted),
            );
        }
        // Of a log alone nobody knows who took it for decided first.
        let followed = of_trace && leads && !led.contains_key(&(slot, digest));
        let (kind, by) = match followed {
            true => ("decided by followers only", FOLLOWED),
            false => ("decided without a quorum", ""),
        };
        found.add(kind, || Anomaly {
            object: Some(format!("slot {slot}")),
            ops: vec![op],
            reason: format!(
                "{node} decided {digest} in slot {slot}, which {seen} of {} nodes had accepted under one ballot{by}",
                recorded.nodes
            ),
            ..Anomaly::default()
        });
    }
    Ok((compared.values().filter(|judged| **judged).count(), hasty))
}

const FOLLOWED: &str = ", and which nobody decided who led at the time";

/// What traces and logs take for decided: slot, digest, whose it is, its operation, and whether it
/// is a trace.
fn claims<'a>(
    recorded: &'a Recorded,
) -> impl Iterator<Item = (i64, &'a Value, &'a str, u64, bool)> {
    let traces = recorded.traces.iter().flat_map(|trace| {
        let events = trace.events.iter();
        events.filter_map(move |event| match &event.what {
            What::Decide { slot, digest } => Some((*slot, *digest, trace.node, trace.op, true)),
            _ => None,
        })
    });
    let logs = recorded.logs.iter().flat_map(|log| {
        let entries = log.entries.iter();
        entries.map(move |entry| (entry.slot, entry.digest, log.node, log.op, false))
    });
    traces.chain(logs)
}

/// What somebody decided who led at the time, by its own trace, and when.
fn decided_while_leading<'a>(traces: &'a [Trace]) -> FxHashMap<(i64, &'a Value), i64> {
    let mut led = FxHashMap::default();
    for trace in traces {
        // Of one whose beginning is missing nobody knows.
        let mut leads = trace.is_cut();
        for event in &trace.events {
            match &event.what {
                What::Lead => leads = true,
                What::StepDown | What::Start { .. } => leads = false,
                What::Decide { slot, digest } if leads => {
                    let at = led.entry((*slot, *digest)).or_insert(event.t_ns);
                    *at = event.t_ns.min(*at);
                }
                _ => {}
            }
        }
    }
    led
}
