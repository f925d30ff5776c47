//! Traces of acceptors and leaders (Lamport, "Paxos made simple", 2001), each against itself.
//!
//! | event | fields | meaning |
//! | --- | --- | --- |
//! | `start` | `ballot`, `accepted_upto`, `decided_upto`, `digest` | the node is up, with what its disk remembers; the digest is that of slot `decided_upto`, or nil |
//! | `promise` | `ballot` | it answers no lower one from now on |
//! | `accept` | `ballot`, `slot`, `digest` | it has accepted, and may be counted |
//! | `decide` | `slot`, `digest` | it takes the slot for decided, and applies it |
//! | `lease` | `from_ns`, `until_ns` | it takes itself for the only leader between these times |
//! | `lead` | | it leads from now on |
//! | `step-down` | | it leads no more, whatever its lease said |
//!
//! Every event has its `t_ns`. Others, and other fields, are passed over.

use history::{Op, Value};

use super::{Ballot, Recorded, show};
use crate::findings::Findings;
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

impl Trace<'_> {
    /// Whether its beginning is missing: every process begins with a start.
    pub fn is_cut(&self) -> bool {
        let first = self.events.first();
        !first.is_some_and(|event| matches!(event.what, What::Start { .. }))
    }
}

pub enum What<'h> {
    Start {
        promised: Option<Ballot>,
        accepted_upto: Option<i64>,
        decided_upto: Option<i64>,
        digest: Option<&'h Value>,
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
    if let Some(asked) = op.node.as_deref().filter(|asked| *asked != node) {
        return Err(format!(
            "{asked} was asked, and it says that it is of {node}"
        ));
    }
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
        if let Some(other) = event
            .get("node")
            .filter(|name| name.as_text() != Some(node))
        {
            return Err(format!("it is of {node}, and {event} is of {other}"));
        }
        let what = match field("event")?.as_text().unwrap_or_default() {
            "start" => What::Start {
                promised: ballot().ok(),
                accepted_upto: number("accepted_upto").ok(),
                decided_upto: number("decided_upto").ok(),
                digest: field("digest").ok().filter(|digest| !digest.is_nil()),
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

/// Each acceptor by itself: what it promised and accepted binds it, across restarts too. Returns
/// how many promises there were.
pub fn judge(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let mut promises = 0;
    let blank = nothing_is_restored(&recorded.traces);
    for trace in &recorded.traces {
        let mut memory = Memory {
            node: trace.node,
            blank,
            promised: None,
            accepted: None,
            decided: None,
        };
        for event in &trace.events {
            meter.tick(0)?;
            promises += usize::from(matches!(event.what, What::Promise(_)));
            let at = recorded.at(event.t_ns);
            memory.follow(&event.what, &at, &mut |kind, reason| {
                found.add(kind, || Anomaly {
                    object: Some(trace.node.to_string()),
                    ops: vec![trace.op],
                    reason,
                    ..Anomaly::default()
                });
            });
        }
    }
    Ok(promises)
}

/// What an acceptor has bound itself to, as far as its trace has been read.
struct Memory<'t> {
    node: &'t str,
    /// Whether no node of the run restores promises at all.
    blank: bool,
    promised: Option<&'t Ballot>,
    accepted: Option<i64>,
    /// The last slot that it has decided since it was started, or knew to be decided then.
    decided: Option<i64>,
}

impl<'t> Memory<'t> {
    /// Compares one event with what is bound, and takes on what the event adds to that.
    fn follow(&mut self, what: &'t What, at: &str, add: &mut dyn FnMut(&'static str, String)) {
        let node = self.node;
        match what {
            What::Start {
                promised,
                accepted_upto,
                decided_upto,
                ..
            } => {
                self.decided = *decided_upto;
                self.restart(promised.as_ref(), *accepted_upto, at, add);
            }
            What::Promise(ballot) => match self.promised {
                Some(before) if ballot < before => add(
                    "promise decreased",
                    format!(
                        "{node} promised {} at {at}, after it had promised {}",
                        show(ballot),
                        show(before)
                    ),
                ),
                _ => self.promised = Some(ballot),
            },
            What::Accept { ballot, slot, .. } => {
                self.accepted = self.accepted.max(Some(*slot));
                match self.promised {
                    Some(before) if ballot < before => add(
                        "accept below promise",
                        format!(
                            "{node} accepted slot {slot} under {} at {at}, after it had promised {}",
                            show(ballot),
                            show(before)
                        ),
                    ),
                    // To accept is to promise.
                    _ => self.promised = Some(ballot),
                }
            }
            What::Decide { slot, .. } => {
                if let Some(before) = self.decided.replace(*slot)
                    && *slot <= before
                {
                    add(
                        "state went back",
                        format!(
                            "{node} applied slot {slot} at {at}, and was at slot {before} already, with no \
                             restart in between"
                        ),
                    );
                }
            }
            What::Lease { .. } | What::Lead | What::StepDown => {}
        }
    }

    /// A node comes back and knows less than it was bound to. That is reported once: what follows
    /// is measured by what the node remembers.
    fn restart(
        &mut self,
        promised: Option<&'t Ballot>,
        accepted_upto: Option<i64>,
        at: &str,
        add: &mut dyn FnMut(&'static str, String),
    ) {
        let node = self.node;
        if let (Some(before), Some(restored)) = (self.promised, promised)
            && restored < before
        {
            let had = format!("{node} had promised {}", show(before));
            match self.blank {
                true => add(
                    "no promise restored",
                    format!(
                        "{had} and came back at {at} knowing of none, as did every node that came \
                         back, however long ago it had promised"
                    ),
                ),
                false => add(
                    "promise forgotten",
                    format!(
                        "{had} and came back at {at} knowing only {}",
                        show(restored)
                    ),
                ),
            }
            self.promised = Some(restored);
        }
        if let (Some(before), Some(restored)) = (self.accepted, accepted_upto)
            && restored < before
        {
            add(
                "accepted value forgotten",
                format!(
                    "{node} had accepted slot {before} and came back at {at} knowing slots up to \
                     {restored}"
                ),
            );
            self.accepted = Some(restored);
        }
    }
}

/// From a promise to the node's return: what is written in the background is on the disk by then,
/// although the node may have been down for some of it.
const WRITTEN_BY_THEN_NS: i64 = 25_000_000_000;

/// Whether no node that had promised came back with any promise, however long ago it had promised:
/// then promises are not lost when they are young, but never restored.
fn nothing_is_restored(traces: &[Trace]) -> bool {
    let mut oldest_ns = 0;
    for trace in traces {
        let mut first = None;
        for event in &trace.events {
            match &event.what {
                What::Promise(_) | What::Accept { .. } => first = first.or(Some(event.t_ns)),
                What::Start {
                    promised: Some((round, proposer)),
                    ..
                } => {
                    let Some(promised_ns) = first.take() else {
                        continue;
                    };
                    if *round > 0 || !proposer.is_empty() {
                        return false;
                    }
                    oldest_ns = oldest_ns.max(event.t_ns - promised_ns);
                }
                _ => {}
            }
        }
    }
    oldest_ns >= WRITTEN_BY_THEN_NS
}
