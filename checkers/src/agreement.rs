//! Agreement of replicated logs, safety of ballots, and leases that do not overlap: the properties
//! of a consensus protocol itself, judged by what its nodes recorded.
//!
//! Two operations of the history carry it, one of each for every node, usually at the end:
//!
//! ```text
//! log    {node "n1", first 1, decided_upto 9,
//!         entries [[slot, [round, proposer], digest, chain, commands], ...]}
//! trace  {node "n1", events [{event "promise", t_ns, ballot [round, proposer], ...}, ...]}
//! ```
//!
//! | part | meaning |
//! | --- | --- |
//! | `first` | the first slot that the node still has: what is before it, a snapshot has replaced; may be missing |
//! | `decided_upto` | every slot up to this one is decided |
//! | `digest` | the hash of a slot's content |
//! | `chain` | that of everything up to it, or nil |
//! | `commands` | those that were applied there for the first time, each `[session, sequence, what, key, value ...]`, of which the last is what it writes; or only the first two; or missing |
//!
//! Events of a trace are described in [`ballots`]. Who is held against whom:
//!
//! | | |
//! | --- | --- |
//! | [`logs`] | a log against itself, and against the others: one value a slot, no hole, applied once |
//! | [`ballots`] | a trace against itself: promises and accepts bind across restarts |
//! | [`votes`] | all traces together, and what traces and logs call decided against what was accepted |
//! | [`held`] | a log against the trace of the same node |
//! | [`commands`] | logs against the clients' operations |
//!
//! What is lacking is not judged, and the summary says so. Of fewer than a majority of the logs, or
//! of the traces, no verdict is made.

mod acts;
mod ballots;
mod commands;
mod elections;
pub(crate) mod gauges;
mod held;
mod leases;
mod logs;
mod story;
mod votes;

use history::wording::{counted, listed};
use history::{History, Name, Op, Outcome, Time, wording};
use rustc_hash::FxHashSet;

use self::ballots::Trace;
use self::logs::Log;
use crate::findings::Findings;
use crate::{Analysis, Budget, Checker, Exhausted, Meter};

/// Judges operations `log` and `trace`.
#[derive(Clone, Debug)]
pub struct Agreement {
    nodes: Option<usize>,
    one_clock: bool,
    /// Whether logs hold what the clients asked to write.
    clients: bool,
}

impl Default for Agreement {
    /// The cluster is every node that the history names; the traces' times are of one clock.
    fn default() -> Agreement {
        Agreement {
            nodes: None,
            one_clock: true,
            clients: true,
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

    /// What the clients ask for is made of other commands, so logs are not held against it.
    pub fn without_clients(mut self) -> Agreement {
        self.clients = false;
        self
    }

    /// The nodes' times are of different clocks and cannot be compared.
    pub fn with_separate_clocks(mut self) -> Agreement {
        self.one_clock = false;
        self
    }
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

/// What the nodes recorded: of each node the last log and the last trace that could be read.
struct Recorded<'h> {
    history: &'h History,
    logs: Vec<Log<'h>>,
    traces: Vec<Trace<'h>>,
    /// Whether anybody asked for logs, and for traces.
    asked: (bool, bool),
    /// How many nodes the cluster has.
    nodes: usize,
    /// What could not be read, in words.
    lacking: Vec<String>,
    /// By the clock of all traces: when the last event before any reading of logs and traces was.
    read_after: Option<i64>,
    /// By the same: what a node did until then is in its trace.
    whole_until: Option<i64>,
}

impl<'h> Recorded<'h> {
    fn new(
        options: &Agreement,
        history: &'h History,
        meter: &mut Meter,
    ) -> Result<Recorded<'h>, Exhausted> {
        let mut logs: Vec<Log> = Vec::new();
        let mut traces: Vec<Trace> = Vec::new();
        let mut asked = (false, false);
        let mut lacking: Vec<String> = Vec::new();
        let mut before = None;
        let ops = history.ops().iter();
        for op in ops.filter(|op| matches!(op.f.as_str(), "log" | "trace")) {
            meter.tick(0)?;
            before = before.or(Some(op.index));
            let is_log = op.f == "log";
            asked = (asked.0 | is_log, asked.1 | !is_log);
            if op.outcome != Outcome::Ok {
                lacking.push(unread(op));
                continue;
            }
            let read = match is_log {
                true => logs::log(op).map(|log| put(&mut logs, log, |log| log.node)),
                false => ballots::trace(op).map(|trace| put(&mut traces, trace, |t| t.node)),
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
        names.extend(logs.iter().map(|log| log.node));
        names.extend(traces.iter().map(|trace| trace.node));
        let nodes = options.nodes.unwrap_or(names.len());
        let read_after = before.and_then(|op| history.event(op.checked_sub(1)?));
        let read_after = read_after.and_then(|event| clock_of(history, event.time));
        let read_after = read_after.filter(|_| options.one_clock);
        let shortest = traces.iter().map(|t| t.events.last().map(|e| e.t_ns)).min();
        Ok(Recorded {
            history,
            asked,
            nodes,
            lacking,
            read_after,
            whole_until: read_after.max(shortest.flatten().filter(|_| options.one_clock)),
            logs,
            traces,
        })
    }

    fn majority(&self) -> usize {
        self.nodes / 2 + 1
    }

    /// When an event of a trace was, for people.
    fn at(&self, t_ns: i64) -> String {
        let span = |ns: i128| wording::seconds_of_ns(ns);
        let t_ns = i128::from(t_ns);
        match self.history.began_ns().map(i128::from) {
            Some(began) if t_ns >= began => span(t_ns - began),
            Some(began) => format!("{} before the run", span(began - t_ns)),
            None => format!("{} by its clock", span(t_ns)),
        }
    }

    /// Why there are too few of them for a verdict, if it is so.
    fn too_few(&self) -> Option<String> {
        let kinds = [
            (self.asked.0, self.logs.len(), "log"),
            (self.asked.1, self.traces.len(), "trace"),
        ];
        let few = |(asked, read, what): &(bool, usize, &str)| {
            (*asked && *read < self.majority()).then(|| {
                format!(
                    "{read} of {} could be read, which is no majority",
                    counted(self.nodes, what)
                )
            })
        };
        let few: Vec<String> = kinds.iter().filter_map(few).collect();
        (!few.is_empty()).then(|| few.join(", "))
    }
}

/// Keeps the last of each node.
fn put<'h, T>(all: &mut Vec<T>, new: T, node: impl Fn(&T) -> &'h str) {
    match all.iter_mut().find(|known| node(known) == node(&new)) {
        Some(known) => *known = new,
        None => all.push(new),
    }
}

fn unread(op: &Op) -> String {
    let node = op.node.as_deref().unwrap_or("a node");
    match op.error.as_deref() {
        None => format!("the {} of {node} could not be read", op.f),
        Some(why) => format!("the {} of {node} could not be read ({why})", op.f),
    }
}

/// What the traces' clock showed at a time of the history.
fn clock_of(history: &History, time: Time) -> Option<i64> {
    i64::try_from(history.began_ns()?.checked_add(time.0)?).ok()
}

impl Agreement {
    /// What the findings come to: with none, whether enough was compared to call it valid.
    fn verdict(&self, recorded: &Recorded, found: Findings, what: &str, but: &str) -> Analysis {
        let name = self.name();
        if !found.is_empty() {
            let summary = format!("{what}: {}{but}", found.told());
            let mut analysis = found.into_analysis(Analysis::valid(name, summary));
            for anomaly in &mut analysis.anomalies {
                anomaly.picture = story::picture(recorded, anomaly).map(Box::new);
            }
            return analysis;
        }
        if recorded.logs.len() < 2 && recorded.traces.is_empty() {
            return Analysis::unknown(name, format!("{what} are nothing to compare{but}"));
        }
        match recorded.too_few() {
            Some(few) => {
                Analysis::unknown(name, format!("{what} do not contradict, but {few}{but}"))
            }
            None => Analysis::valid(name, format!("{what} agree{but}")),
        }
    }

    fn judge(&self, history: &History, meter: &mut Meter) -> Result<Analysis, Exhausted> {
        let mut recorded = Recorded::new(self, history, meter)?;
        let mut lacking = std::mem::take(&mut recorded.lacking);
        let mut found = Findings::default();
        let logs = logs::judge(&recorded, &mut found, meter)?;
        // Of a node without a trace nobody knows whether it led.
        let all_traced = recorded.traces.len() >= recorded.nodes && !recorded.traces.is_empty();
        let elections = match self.one_clock && all_traced {
            true => elections::judge(&recorded.traces, history, recorded.nodes),
            false => None,
        };
        if recorded.traces.is_empty() {
            lacking.push("there are no traces, so ballots and leases are not judged".to_string());
        } else if !all_traced {
            lacking.push(format!(
                "only {} of {} have a trace",
                recorded.traces.len(),
                counted(recorded.nodes, "node")
            ));
        }
        let promises = ballots::judge(&recorded, &mut found, meter)?;
        let votes = votes::judge(&recorded, &mut found, meter)?;
        let compared = held::judge(&recorded, &mut found, meter)?;
        let leases = match self.one_clock {
            true => leases::judge(&recorded, &mut found, meter)?,
            false => {
                lacking.push("the nodes' clocks differ, so leases are not judged".to_string());
                0
            }
        };
        let commands = match self.clients {
            true => commands::judge(&recorded, &mut found, meter)?,
            false => commands::Judged::nothing(Some(
                "operations are made of other commands, so who asked for those is not judged",
            )),
        };
        lacking.extend(commands.lacking);

        let what = format!(
            "{} ({}) and {} of {}",
            counted(recorded.logs.len(), "decided log"),
            counted(logs.slots, "slot"),
            counted(recorded.traces.len(), "trace"),
            counted(recorded.nodes, "node")
        );
        let but = match lacking.is_empty() {
            true => String::new(),
            false => format!("; {}", lacking.join("; ")),
        };
        let mut analysis = self.verdict(&recorded, found, &what, &but);
        let entries: usize = recorded.logs.iter().map(|log| log.entries.len()).sum();
        for (gauge, count) in [
            (gauges::LOGS, recorded.logs.len()),
            (gauges::ENTRIES, entries),
            (gauges::SLOTS, logs.slots),
            (gauges::TRACES, recorded.traces.len()),
            (gauges::PROMISES, promises),
            (gauges::ACCEPTS, votes.accepts),
            (gauges::CHOSEN, votes.chosen),
            (gauges::DECIDED_COMPARED, votes.compared),
            (gauges::ENTRIES_COMPARED, compared),
            (gauges::COMMANDS_COMPARED, commands.compared),
            (gauges::LEASES, leases),
        ] {
            analysis = analysis.with_figure(gauge.figure(count));
        }
        if let Some(hasty) = gauges::hasty(votes.hasty).filter(|_| self.one_clock) {
            analysis = analysis.with_figure(hasty);
        }
        if let Some(elections) = elections {
            analysis = analysis
                .with_figure(gauges::ELECTIONS.figure(elections.held))
                .with_figure(gauges::NEEDLESS.figure(elections.needless));
        }
        Ok(analysis)
    }
}

/// `[round, proposer]`, in the order of ballots.
type Ballot = (i64, Name);

fn show((round, proposer): &Ballot) -> String {
    format!("ballot {round} of {proposer}")
}

fn names<'a>(traces: impl IntoIterator<Item = &'a Trace<'a>>) -> String {
    listed(traces.into_iter().map(|t| t.node), 16)
}
