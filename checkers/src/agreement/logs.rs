//! Decided logs: each against itself, and against what other logs and traces call decided.

use history::wording::{counted, either};
use history::{Op, Value};
use rustc_hash::FxHashMap;

use super::ballots::What;
use super::{Ballot, Recorded};
use crate::findings::Findings;
use crate::{Anomaly, Exhausted, Meter};

/// One node's decided log.
pub struct Log<'h> {
    pub op: u64,
    pub node: &'h str,
    /// The first slot that it still has.
    pub first: Option<i64>,
    pub decided_upto: Option<i64>,
    pub entries: Vec<Entry<'h>>,
}

pub struct Entry<'h> {
    pub slot: i64,
    pub ballot: Option<Ballot>,
    pub digest: &'h Value,
    pub chain: &'h Value,
    /// None if it does not tell.
    pub commands: Option<&'h [Value]>,
}

/// Reads the value of an operation `log`.
///
/// # Errors
/// The first entry that is not as described, or the node if it is not the one that was asked.
pub fn log(op: &Op) -> Result<Log<'_>, String> {
    let node = op.output.get("node").and_then(Value::as_text);
    let node = node.ok_or("it has no node")?;
    if let Some(asked) = op.node.as_deref().filter(|asked| *asked != node) {
        return Err(format!(
            "{asked} was asked, and it says that it is of {node}"
        ));
    }
    let entries = op
        .output
        .get("entries")
        .and_then(Value::as_list)
        .ok_or("it has no entries")?;
    let entry = |value| match Value::as_list(value) {
        Some([slot, ballot, digest, chain, rest @ ..]) => Ok(Entry {
            slot: slot
                .as_int()
                .ok_or_else(|| format!("{slot} is not a slot"))?,
            ballot: match ballot.as_pair() {
                Some((Value::Int(round), Value::Text(proposer))) => {
                    Some((*round, proposer.clone()))
                }
                _ => None,
            },
            digest,
            chain,
            commands: rest.first().and_then(Value::as_list),
        }),
        _ => Err(format!("{value} is not [slot, ballot, digest, chain]")),
    };
    let number = |name: &str| match op.output.get(name) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Int(slot)) => Ok(Some(*slot)),
        Some(other) => Err(format!("{other} as its {name} is no slot")),
    };
    Ok(Log {
        op: op.index,
        node,
        first: number("first")?,
        decided_upto: number("decided_upto")?,
        entries: entries.iter().map(entry).collect::<Result<_, String>>()?,
    })
}

/// What came of the logs.
pub struct Judged {
    /// In any log.
    pub slots: usize,
}

pub fn judge(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<Judged, Exhausted> {
    agreement(recorded, found, meter)?;
    let mut slots: Vec<i64> = Vec::new();
    for log in &recorded.logs {
        meter.look(8 * (slots.len() + log.entries.len()) as u64)?;
        contiguous(log, found);
        ends(log, found);
        slots.extend(log.entries.iter().map(|entry| entry.slot));
    }
    applied_once(&recorded.logs, found, meter)?;
    applied_alike(&recorded.logs, found, meter)?;
    slots.sort_unstable();
    slots.dedup();
    Ok(Judged { slots: slots.len() })
}

impl Log<'_> {
    fn anomaly(&self, object: String, reason: String) -> Anomaly {
        Anomaly {
            object: Some(object),
            ops: vec![self.op],
            reason,
            ..Anomaly::default()
        }
    }
}

/// Slots follow each other: a snapshot replaces only the beginning of a log.
fn contiguous(log: &Log, found: &mut Findings) {
    let node = log.node;
    if let (Some(first), Some(entry)) = (log.first, log.entries.first())
        && entry.slot != first
    {
        let kind = match entry.slot > first {
            true => "hole in a log",
            false => "log contradicts itself",
        };
        found.add(kind, || {
            let slot = entry.slot;
            let reason = format!(
                "{node} says that its log begins with slot {first}, and it begins with slot {slot}"
            );
            log.anomaly(format!("log of {node}"), reason)
        });
    }
    for pair in log.entries.windows(2) {
        let (before, slot) = (pair[0].slot, pair[1].slot);
        if slot <= before {
            found.add("log out of order", || {
                let reason = format!("the log of {node} has slot {slot} after slot {before}");
                log.anomaly(format!("slot {slot}"), reason)
            });
        } else if slot - 1 > before {
            found.add("hole in a log", || {
                let missing = (slot - before - 1) as u64;
                let reason = format!(
                    "the log of {node} goes from slot {before} to slot {slot}: {} between {} missing, and a \
                     snapshot replaces only the beginning of a log",
                    counted(missing, "slot"),
                    either(missing, "is", "are")
                );
                log.anomaly(format!("slot {}", before + 1), reason)
            });
        }
    }
}

/// A log ends with the last slot that it calls decided.
fn ends(log: &Log, found: &mut Findings) {
    let (node, Some(upto)) = (log.node, log.decided_upto) else {
        return;
    };
    // Without entries, all of it can be in a snapshot, unless the log says where it begins.
    let last = match (log.entries.last(), log.first) {
        (Some(entry), _) => entry.slot,
        (None, Some(first)) => first.saturating_sub(1),
        (None, None) => return,
    };
    let kind = match last.cmp(&upto) {
        std::cmp::Ordering::Less => "log ends early",
        std::cmp::Ordering::Equal => return,
        std::cmp::Ordering::Greater => "log contradicts itself",
    };
    found.add(kind, || {
        let reason = format!(
            "{node} says that every slot up to {upto} is decided, and its log ends with slot {last}"
        );
        log.anomaly(format!("log of {node}"), reason)
    });
}

/// Somebody who takes a slot for decided.
#[derive(Clone, Copy)]
struct Claim<'a> {
    node: &'a str,
    op: u64,
    by: &'static str,
    digest: &'a Value,
}

/// By slot the first who takes it for decided, and the first who differs: a slot counts once.
#[derive(Default)]
struct Claims<'a> {
    first: FxHashMap<i64, Claim<'a>>,
    differs: FxHashMap<i64, Anomaly>,
}

impl<'a> Claims<'a> {
    /// Returns whether it agrees with the first.
    fn add(&mut self, slot: i64, new: Claim<'a>, meter: &mut Meter) -> Result<bool, Exhausted> {
        meter.tick(96 * (self.first.len() + self.differs.len()) as u64)?;
        let first = self.first.entry(slot).or_insert(new);
        if first.digest == new.digest {
            return Ok(true);
        }
        self.differs.entry(slot).or_insert_with(|| Anomaly {
            object: Some(format!("slot {slot}")),
            ops: vec![first.op, new.op],
            reason: format!(
                "{} decided {} in slot {slot} by its {}, and {} decided {} by its {}",
                first.node, first.digest, first.by, new.node, new.digest, new.by
            ),
            ..Anomaly::default()
        });
        Ok(false)
    }
}

/// Same slot, same digest, in logs and in traces; same slot, same chain, in logs.
fn agreement(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let mut claims = Claims::default();
    let mut chains: FxHashMap<i64, (&Value, &Log)> = FxHashMap::default();
    let mut prefixes: Vec<(i64, &Log, &Log, &Value, &Value)> = Vec::new();
    for log in &recorded.logs {
        for entry in &log.entries {
            let new = Claim {
                node: log.node,
                op: log.op,
                by: "log",
                digest: entry.digest,
            };
            if !claims.add(entry.slot, new, meter)? || entry.chain.is_nil() {
                continue;
            }
            let (chain, other) = *chains.entry(entry.slot).or_insert((entry.chain, log));
            if chain != entry.chain {
                prefixes.push((entry.slot, other, log, chain, entry.chain));
            }
        }
    }
    for trace in &recorded.traces {
        for event in &trace.events {
            // What a node takes for decided when it starts counts as well.
            let (slot, digest) = match event.what {
                What::Decide { slot, digest } => (slot, digest),
                What::Start {
                    decided_upto: Some(slot),
                    digest: Some(digest),
                    ..
                } => (slot, digest),
                _ => continue,
            };
            let new = Claim {
                node: trace.node,
                op: trace.op,
                by: "trace",
                digest,
            };
            claims.add(slot, new, meter)?;
        }
    }
    // A difference of values makes all later chains differ, and so does a difference of chains: the
    // first of them is what counts.
    let first_value = claims.differs.keys().min().copied().unwrap_or(i64::MAX);
    let first_chain = prefixes.iter().min_by_key(|(slot, ..)| *slot);
    if let Some((slot, one, other, chain, different)) = first_chain.filter(|p| p.0 < first_value) {
        found.add("divergent logs", || Anomaly {
            object: Some(format!("slot {slot}")),
            ops: vec![one.op, other.op],
            reason: format!(
                "{} and {} have the same in slot {slot}, but not the same before it: their logs hash to \
                 {chain} and {different} there; what differs is no longer in both logs",
                one.node, other.node
            ),
            ..Anomaly::default()
        });
    }
    let mut values: Vec<(i64, Anomaly)> = claims.differs.into_iter().collect();
    values.sort_by_key(|(slot, _)| *slot);
    for (_, anomaly) in values {
        found.add("two values in one slot", || anomaly);
    }
    Ok(())
}

/// The name of a command: `[session, sequence]`.
pub fn name(command: &Value) -> Option<(&Value, &Value)> {
    match command.as_list()? {
        [session, sequence, ..] => Some((session, sequence)),
        _ => None,
    }
}

/// On each node, no command is applied in two slots.
fn applied_once(logs: &[Log], found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
    for log in logs {
        let mut applied: FxHashMap<(&Value, &Value), i64> = FxHashMap::default();
        for entry in &log.entries {
            for command in entry.commands.unwrap_or_default() {
                meter.tick(64 * applied.len() as u64)?;
                let Some(name) = name(command) else { continue };
                if let Some(before) = applied.insert(name, entry.slot) {
                    found.add("applied twice", || {
                        let name = Value::pair(name.0.clone(), name.1.clone());
                        let reason = format!(
                            "{} applied command {name} in slot {before} and again in slot {}",
                            log.node, entry.slot
                        );
                        log.anomaly(format!("command {name}"), reason)
                    });
                }
            }
        }
    }
    Ok(())
}

/// What is applied depends on nothing but the log up to there: nodes that tell it tell the same.
fn applied_alike(logs: &[Log], found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
    let mut first: FxHashMap<i64, (&Log, &Entry)> = FxHashMap::default();
    // Where states differ once, they may differ ever after.
    let mut differs: Option<(i64, Anomaly)> = None;
    for log in logs {
        for entry in log.entries.iter().filter(|e| e.commands.is_some()) {
            meter.tick(64 * first.len() as u64)?;
            let (other, known) = *first.entry(entry.slot).or_insert((log, entry));
            if known.digest != entry.digest || known.commands == entry.commands {
                continue;
            }
            if differs.as_ref().is_none_or(|(slot, _)| entry.slot < *slot) {
                let list = |e: &Entry| Value::List(e.commands.unwrap_or_default().to_vec());
                let reason = format!(
                    "{} and {} decided the same in slot {}, but {} applied {} there and {} applied {}",
                    other.node,
                    log.node,
                    entry.slot,
                    other.node,
                    list(known),
                    log.node,
                    list(entry)
                );
                let anomaly = Anomaly {
                    object: Some(format!("slot {}", entry.slot)),
                    ops: vec![other.op, log.op],
                    reason,
                    ..Anomaly::default()
                };
                differs = Some((entry.slot, anomaly));
            }
        }
    }
    if let Some((_, anomaly)) = differs {
        found.add("applied differently", || anomaly);
    }
    Ok(())
}
