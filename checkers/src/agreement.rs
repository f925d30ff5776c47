//! Agreement of replicated logs, safety of ballots, and leases that do not overlap: the properties
//! of a consensus protocol itself, judged by what its nodes recorded.
//!
//! Two operations of the history carry it, one of each for every node, usually at the end:
//!
//! ```text
//! log    {node "n1", decided_upto 9, entries [[slot, [round, proposer], digest, chain], ...]}
//! trace  {node "n1", events [{event "promise", t_ns, ballot [round, proposer], ...}, ...]}
//! ```
//!
//! `digest` is the hash of a slot's content and `chain` that of everything up to it, or nil. A fifth
//! part of an entry, where there is one, lists the commands that were applied there for the first
//! time, as `[session, sequence]`. Events of a trace are described in `ballots`.
//!
//! What is lacking is not judged, and the summary says so.

mod ballots;
mod elections;

use history::{History, Name, Op, Outcome, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::time::Duration;

use crate::{Analysis, Anomaly, Budget, Checker, Exhausted, Figure, Meter};

/// As many of each kind as a person will look at.
const MOST_OF_A_KIND: usize = 4;

/// Judges operations `log` and `trace`.
#[derive(Clone, Debug)]
pub struct Agreement {
    nodes: Option<usize>,
    lease_slack: Duration,
    one_clock: bool,
}

impl Default for Agreement {
    /// The cluster is every node that the history names; the traces' times are of one clock.
    fn default() -> Agreement {
        Agreement {
            nodes: None,
            lease_slack: Duration::from_millis(1),
            one_clock: true,
        }
    }
}

impl Agreement {
    pub fn new() -> Agreement {
        Agreement::default()
    }

    /// How many nodes the cluster has, where the history does not name them all.
    pub fn with_nodes(mut self, nodes: usize) -> Agreement {
        self.nodes = Some(nodes);
        self
    }

    /// Leases may overlap by as much: what the conversion of clocks costs. A millisecond otherwise.
    pub fn with_lease_slack(mut self, slack: Duration) -> Agreement {
        self.lease_slack = slack;
        self
    }

    /// The nodes' times are of different clocks and cannot be compared.
    pub fn with_separate_clocks(mut self) -> Agreement {
        self.one_clock = false;
        self
    }
}

/// One node's decided log.
struct Log<'h> {
    op: u64,
    node: &'h Value,
    entries: Vec<Entry<'h>>,
}

struct Entry<'h> {
    slot: i64,
    digest: &'h Value,
    chain: &'h Value,
    applied: &'h [Value],
}

impl Checker for Agreement {
    fn name(&self) -> &str {
        "agreement"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match self.judge(history, &mut budget.start()) {
            Ok(analysis) => analysis,
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }
}

impl Agreement {
    fn judge(&self, history: &History, meter: &mut Meter) -> Result<Analysis, Exhausted> {
        let mut logs = Vec::new();
        let mut traces = Vec::new();
        let mut lacking: Vec<String> = Vec::new();
        for op in history
            .ops()
            .iter()
            .filter(|op| matches!(op.f.as_str(), "log" | "trace"))
        {
            meter.tick(0)?;
            if op.outcome != Outcome::Ok {
                let node = op.node.as_deref().unwrap_or("a node");
                lacking.push(format!("the {} of {node} could not be read", op.f));
                continue;
            }
            let read = match op.f.as_str() {
                "log" => log(op).map(|log| logs.push(log)),
                _ => ballots::trace(op).map(|trace| traces.push(trace)),
            };
            if let Err(reason) = read {
                lacking.push(format!(
                    "operation {} is not a {}: {reason}",
                    op.index, op.f
                ));
            }
        }
        let mut names: FxHashSet<&str> = FxHashSet::default();
        names.extend(history.events().iter().filter_map(|e| e.node.as_deref()));
        names.extend(logs.iter().filter_map(|log| log.node.as_text()));
        names.extend(traces.iter().map(|trace| trace.node));
        let nodes = self.nodes.unwrap_or(names.len());

        let mut anomalies = Vec::new();
        let slots = agreement(&logs, &mut anomalies, meter)?;
        if !applied_once(&logs, &mut anomalies, meter)? {
            lacking.push("the logs do not name commands, so repeats are not judged".to_string());
        }
        // Of a node without a trace nobody knows whether it led.
        let elections = match self.one_clock && traces.len() >= nodes && !traces.is_empty() {
            true => elections::judge(&traces, history, nodes),
            false => None,
        };
        let ballots = ballots::judge(&traces, nodes, self, &mut anomalies, meter)?;
        lacking.extend(ballots.lacking);

        let what = format!(
            "{} decided logs ({slots} slots) and {} traces of {nodes} nodes",
            logs.len(),
            traces.len()
        );
        let but = match lacking.is_empty() {
            true => String::new(),
            false => format!("; {}", lacking.join("; ")),
        };
        let mut analysis = if !anomalies.is_empty() {
            let first = anomalies[0].kind.clone();
            Analysis::of_anomalies(self.name(), format!("{what}: {first}{but}"), anomalies)
        } else if logs.len() < 2 && traces.is_empty() {
            Analysis::unknown(self.name(), format!("{what} are nothing to compare{but}"))
        } else {
            Analysis::valid(self.name(), format!("{what} agree{but}"))
        };
        let entries: usize = logs.iter().map(|log| log.entries.len()).sum();
        analysis = analysis
            .with_figure(Figure::new("logs", logs.len(), ""))
            .with_figure(Figure::new("log entries", entries, ""))
            .with_figure(Figure::new("slots", slots, ""));
        for (name, count) in ballots.figures {
            analysis = analysis.with_figure(Figure::new(name, count, ""));
        }
        if let Some(elections) = elections {
            analysis = analysis
                .with_figure(Figure::new("elections", elections.held, ""))
                .with_figure(Figure::new("needless elections", elections.needless, ""));
        }
        Ok(analysis)
    }
}

fn log(op: &Op) -> Result<Log<'_>, String> {
    let node = op.output.get("node").ok_or("it has no node")?;
    let entries = op
        .output
        .get("entries")
        .and_then(Value::as_list)
        .ok_or("it has no entries")?;
    let entry = |value| match Value::as_list(value) {
        Some([slot, _ballot, digest, chain, rest @ ..]) => Ok(Entry {
            slot: slot
                .as_int()
                .ok_or_else(|| format!("{slot} is not a slot"))?,
            digest,
            chain,
            applied: rest.first().and_then(Value::as_list).unwrap_or_default(),
        }),
        _ => Err(format!("{value} is not [slot, ballot, digest, chain]")),
    };
    Ok(Log {
        op: op.index,
        node,
        entries: entries.iter().map(entry).collect::<Result<_, String>>()?,
    })
}

/// Same slot, same digest; same slot, same chain. Returns the number of slots.
fn agreement(
    logs: &[Log],
    anomalies: &mut Vec<Anomaly>,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    type First<'a> = FxHashMap<i64, (&'a Value, &'a Log<'a>)>;
    let (mut digests, mut chains) = (First::default(), First::default());
    let mut values: Vec<(i64, Anomaly)> = Vec::new();
    let mut prefixes: Vec<(i64, Anomaly)> = Vec::new();
    for log in logs {
        for entry in &log.entries {
            meter.tick(128 * digests.len() as u64)?;
            let slot = entry.slot;
            let (digest, other) = *digests.entry(slot).or_insert((entry.digest, log));
            if digest != entry.digest {
                values.push((
                    slot,
                    Anomaly {
                        kind: "two values in one slot".to_string(),
                        object: Some(format!("slot {slot}")),
                        ops: vec![other.op, log.op],
                        reason: format!(
                            "{} decided {digest} in slot {slot}, and {} decided {}",
                            other.node, log.node, entry.digest
                        ),
                        ..Anomaly::default()
                    },
                ));
                continue;
            }
            if entry.chain.is_nil() {
                continue;
            }
            let (chain, other) = *chains.entry(slot).or_insert((entry.chain, log));
            if chain != entry.chain {
                prefixes.push((slot, Anomaly {
                    kind: "divergent logs".to_string(),
                    object: Some(format!("slot {slot}")),
                    ops: vec![other.op, log.op],
                    reason: format!(
                        "{} and {} have the same in slot {slot}, but not the same before it: their \
                         logs hash to {chain} and {} there; what differs is no longer in both logs",
                        other.node, log.node, entry.chain
                    ), ..Anomaly::default() }));
            }
        }
    }
    // A difference of values makes all later chains differ: the first difference is what counts.
    values.sort_by_key(|(slot, _)| *slot);
    prefixes.sort_by_key(|(slot, _)| *slot);
    let first_value = values.first().map_or(i64::MAX, |(slot, _)| *slot);
    prefixes.retain(|(slot, _)| *slot < first_value);
    prefixes.truncate(1);
    let differing = values.len();
    values.truncate(MOST_OF_A_KIND);
    if let Some((_, first)) = values.first_mut().filter(|_| differing > 1) {
        first.reason += &format!("; it is the first of {differing} such differences");
    }
    anomalies.extend(
        prefixes
            .into_iter()
            .chain(values)
            .map(|(_, anomaly)| anomaly),
    );
    Ok(digests.len())
}

/// On each node, no command is applied in two slots. False if no log names its commands.
fn applied_once(
    logs: &[Log],
    anomalies: &mut Vec<Anomaly>,
    meter: &mut Meter,
) -> Result<bool, Exhausted> {
    let mut named = false;
    let mut found = 0;
    for log in logs {
        let mut applied: FxHashMap<&Value, i64> = FxHashMap::default();
        for entry in &log.entries {
            for command in entry.applied {
                meter.tick(64 * applied.len() as u64)?;
                named = true;
                let before = applied.insert(command, entry.slot);
                if let Some(before) = before.filter(|_| found < MOST_OF_A_KIND) {
                    found += 1;
                    anomalies.push(Anomaly {
                        kind: "applied twice".to_string(),
                        object: Some(format!("command {command}")),
                        ops: vec![log.op],
                        reason: format!(
                            "{} applied command {command} in slot {before} and again in slot {}",
                            log.node, entry.slot
                        ),
                        ..Anomaly::default()
                    });
                }
            }
        }
    }
    Ok(named)
}

/// What came of the traces.
struct Ballots {
    figures: Vec<(&'static str, usize)>,
    lacking: Vec<String>,
}

/// `[round, proposer]`, in the order of ballots.
type Ballot = (i64, Name);
