//! Whether a system comes back: once everything is healed, every node that the schedule left whole
//! serves again within the time that the system states, and takes a write of a client.
//!
//! A node that does not is a violation like a lost write: most systems that hang do so after their
//! faults are over, and all the answers that they gave before are right.

use std::collections::BTreeSet;
use std::time::Duration;

use history::fault::{self, Span};
use history::mark::{Mark, Phase, Placed, Recovery as Seen, Strain, began, marks};
use history::wording::{counted, either, seconds, shortened};
use history::{History, Name, Op, Time};
use serde_json::json;

use crate::figure::{Gauge, Part};
use crate::role::{Roles, answered, client_worked};
use crate::{Analysis, Anomaly, Budget, Checker};

/// What is told of a client's error, in characters. The history has all of it.
const MOST_CHARS: usize = 160;

const SERVED_AGAIN: Gauge = Gauge::new(
    "served again after",
    "s",
    &[
        Part::of("slowest")
            .called(
                "slowest node to serve again",
                "From the end of healing to the moment at which the last node that was to serve again did.",
            )
            .lower()
            .headline(),
        Part::of("allowed"),
    ],
);

pub(crate) const GAUGES: &[Gauge] = &[SERVED_AGAIN];

/// Judges what the run recorded after its last heal.
#[derive(Clone, Copy, Default)]
pub struct Recovery {
    /// Which operations write. None: it is not judged whether writes succeed again.
    pub roles: Option<Roles>,
    /// A daemon may end by itself: of a node whose daemon did nothing more is asked.
    pub may_crash: bool,
}

/// What is known of a run after its last heal.
struct Healed<'a> {
    history: &'a History,
    marks: Vec<Placed>,
    spans: Vec<Span>,
    /// Clients' operations of the final phase.
    last: Vec<&'a Op>,
    /// Whether a client was ever answered.
    any_answer: bool,
}

impl Healed<'_> {
    fn strain(&self, node: &Name) -> Option<Strain> {
        let of_node = |placed: &Placed| match &placed.mark {
            Mark::Strain(of, strain) if of == node => Some(*strain),
            _ => None,
        };
        self.marks.iter().find_map(of_node)
    }
}

/// Whether a daemon had no fair chance: for at least half of the time it wanted a processor, it had
/// none for more than half of that, and other work had at least half of the machine. A daemon that
/// hangs wants none, and one that spins is no other work.
fn starves(strain: &Strain) -> bool {
    let wanted = strain.ran_ns.saturating_add(strain.waited_ns);
    let machine = strain.span_ns.saturating_mul(strain.processors.into());
    wanted.saturating_mul(2) >= strain.span_ns
        && strain.waited_ns > strain.ran_ns
        && strain.others_ns.saturating_mul(2) >= machine
}

fn told(strain: &Strain) -> String {
    let s = |ns: u64| seconds(Duration::from_nanos(ns));
    format!(
        "in {} its daemon ran for {} and waited for a processor for {}, while other work had {} of its \
         machine's {} processors",
        s(strain.span_ns),
        s(strain.ran_ns),
        s(strain.waited_ns),
        s(strain.others_ns),
        strain.processors
    )
}

impl Checker for Recovery {
    fn name(&self) -> &str {
        "recovery"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let marks = marks(history);
        let healed = began(&marks, Phase::Final).unwrap_or(Time::MAX);
        let run = Healed {
            history,
            spans: fault::spans(history),
            last: history.asked().filter(|op| op.call >= healed).collect(),
            any_answer: history.asked().any(answered),
            marks,
        };
        let seen: Vec<(&Name, &Seen)> = run
            .marks
            .iter()
            .filter_map(|placed| match &placed.mark {
                Mark::Recovery(node, seen) => Some((node, seen)),
                _ => None,
            })
            .collect();
        if seen.is_empty() {
            let why = "the history does not say whether nodes served again after the faults";
            return Analysis::measured(self.name(), why);
        }
        let exempt = self.exempt(&run);
        let left = seen.iter().filter(|(node, _)| !exempt.contains(*node));
        if left.count() <= seen.len() / 2 && !exempt.is_empty() {
            // Most systems promise nothing of a minority, and those that do cannot be told from
            // here.
            let gone = exempt.iter().map(Name::as_str).collect::<Vec<_>>();
            let why = format!(
                "of {} nothing can be asked any more, and the others are no majority: whether they should \
                 serve is not known",
                gone.join(", ")
            );
            return Analysis::unknown(self.name(), why);
        }
        let Failures {
            mut anomalies,
            starved,
            judged,
        } = self.failures(&run, &seen, &exempt);
        if let (true, Some(first)) = (anomalies.is_empty(), starved.first()) {
            let more = match starved.len() {
                1 => String::new(),
                n => format!(" (and {} more alike)", n - 1),
            };
            return Analysis::unknown(self.name(), format!("{first}{more}"));
        }
        let after = |seen: &Seen| Duration::from_nanos(seen.after_ns);
        let served = || seen.iter().filter(|(_, seen)| seen.served);
        let slowest = served().map(|(_, seen)| after(seen)).max();
        let allowed = seen.iter().map(|(_, seen)| seen.allowed_ns).max();
        let allowed = Duration::from_nanos(allowed.unwrap_or_default());
        anomalies.sort_by(|a, b| a.object.cmp(&b.object));
        let summary = match anomalies.first() {
            Some(first) => failed(&first.reason, anomalies.len(), judged.len()),
            None => in_time(judged.len(), exempt.len(), allowed, slowest),
        };
        let unasked = judged.into_iter().find(|node| self.unasked(&run, node));
        let unasked = match unasked {
            _ if !run.last.is_empty() && !run.any_answer => {
                Some("no client was ever answered, at any node: it may be the clients".to_string())
            }
            unasked => unasked.map(|node| {
                format!("every client of {node} failed by itself after the faults: whether it serves is not known")
            }),
        };
        let mut analysis = match (anomalies.is_empty(), unasked) {
            (true, Some(why)) => Analysis::unknown(self.name(), why),
            _ => Analysis::of_anomalies(self.name(), summary, anomalies),
        };
        if let Some(slowest) = slowest {
            let value = json!({"slowest": slowest.as_secs_f64(), "allowed": allowed.as_secs_f64()});
            analysis = analysis.with_figure(SERVED_AGAIN.figure(value));
        }
        analysis
    }
}

/// The first of so many nodes that did not serve again, and why.
fn failed(reason: &str, count: usize, judged: usize) -> String {
    let first = reason.lines().next().unwrap_or_default();
    match count {
        1 => first.to_string(),
        n => format!(
            "{n} of {} did not serve again: {first}",
            counted(judged, "node")
        ),
    }
}

/// All that were judged did, of them and of those that were exempt.
fn in_time(judged: usize, exempt: usize, allowed: Duration, slowest: Option<Duration>) -> String {
    format!(
        "{judged} of {} {} to serve again within {} of the last heal, and did{}",
        counted(judged + exempt, "node"),
        either(judged, "was", "were"),
        seconds(allowed),
        slowest.map_or(String::new(), |slowest| {
            format!(", the last after {}", seconds(slowest))
        })
    )
}

/// What was found of the nodes that were to serve again.
#[derive(Default)]
struct Failures<'a> {
    anomalies: Vec<Anomaly>,
    /// Of those whose machine had other work: why nothing follows.
    starved: Vec<String>,
    judged: BTreeSet<&'a Name>,
}

impl Recovery {
    fn failures<'a>(
        &self,
        run: &Healed<'_>,
        seen: &[(&'a Name, &Seen)],
        exempt: &BTreeSet<Name>,
    ) -> Failures<'a> {
        let mut found = Failures::default();
        for (node, seen) in seen {
            if exempt.contains(*node) {
                continue;
            }
            found.judged.insert(node);
            let why = match seen.served {
                false => Some(silence(seen)),
                true => self.refusal(run, node),
            };
            let Some(why) = why else { continue };
            match run.strain(node).filter(starves) {
                Some(strain) => {
                    let but = told(&strain);
                    let text = format!(
                        "{node} did not serve again, and that says nothing of it, for its machine had other \
                         work: {why}; {but}"
                    );
                    found.starved.push(text);
                }
                None => found.anomalies.push(anomaly(run, node, &why, &seen.log)),
            }
        }
        found
    }

    /// Whether in the final phase each client failed by itself that was to write at a node, or to
    /// ask it anything.
    fn unasked(&self, run: &Healed<'_>, node: &Name) -> bool {
        let at_node = run.last.iter().filter(|op| op.node.as_ref() == Some(node));
        let all_failed =
            |ops: Vec<&&Op>| !ops.is_empty() && !ops.iter().any(|op| client_worked(op));
        let writes = |op: &&&Op| {
            let roles = self.roles.map(|roles| roles(&op.f, &op.input));
            roles.is_some_and(|role| !role.writes.is_empty())
        };
        all_failed(at_node.clone().filter(writes).collect()) || all_failed(at_node.collect())
    }

    /// Nodes of which nothing is asked: what was done to them is not undone, nobody can see them
    /// any more, or their daemon ended and may do so.
    fn exempt(&self, run: &Healed<'_>) -> BTreeSet<Name> {
        let lost = run
            .spans
            .iter()
            .filter(|span| span.held() && !span.healed());
        let mut exempt: BTreeSet<Name> = lost.flat_map(|span| span.loss.down.clone()).collect();
        exempt.extend(run.marks.iter().filter_map(|placed| match &placed.mark {
            Mark::Recovery(node, seen) if seen.unseen => Some(node.clone()),
            _ => None,
        }));
        if self.may_crash {
            exempt.extend(run.marks.iter().filter_map(|placed| match &placed.mark {
                Mark::Crash(node, _) => Some(node.clone()),
                _ => None,
            }));
        }
        exempt
    }

    /// Why a node that says that it serves does not: of what it was asked in the final phase
    /// nothing was answered, or no write.
    fn refusal(&self, run: &Healed<'_>, node: &Name) -> Option<String> {
        // Nobody was ever told anything, wherever they asked: it may be the clients.
        if !run.any_answer {
            return None;
        }
        // Whoever was stopped while asking had not asked for as long as is allowed.
        let stopped = |placed: &Placed| match &placed.mark {
            Mark::Stopped(stopped) => stopped.phase >= Phase::Final,
            _ => false,
        };
        if run.marks.iter().any(stopped) {
            return None;
        }
        let at_node = || {
            let of_node = run.last.iter().filter(|op| op.node.as_ref() == Some(node));
            of_node.filter(|op| client_worked(op))
        };
        let none_of = |what: &str, ops: Vec<&&Op>| {
            let last = ops.last()?;
            let unanswered = !ops.iter().any(|op| answered(op));
            unanswered.then(|| {
                let error = shortened(last.error.as_deref().unwrap_or("no answer"), MOST_CHARS);
                let tries = match ops.len() {
                    1 => format!("one {what} was tried there, and was not answered"),
                    n => format!("{n} {what}s were tried there, and none was answered"),
                };
                format!("{tries} ({error})")
            })
        };
        if let Some(roles) = self.roles {
            let writes = |op: &&&Op| !roles(&op.f, &op.input).writes.is_empty();
            let refused = none_of("write", at_node().filter(writes).collect());
            if refused.is_some() {
                return refused;
            }
        }
        none_of("operation", at_node().collect())
    }
}

fn silence(seen: &Seen) -> String {
    let waited = Duration::from_nanos(seen.after_ns.min(seen.allowed_ns)).as_secs_f64();
    let allowed = Duration::from_nanos(seen.allowed_ns).as_secs_f64();
    let why = match seen.why.is_empty() {
        true => String::new(),
        false => format!(": {}", seen.why),
    };
    match seen.after_ns < seen.allowed_ns {
        // Its daemon had ended or its agent was gone: there was nothing to wait for.
        true => format!("{waited:.1} s after the last heal it was clear that it would not{why}"),
        false => format!("it had {allowed:.1} s from the last heal on{why}"),
    }
}

fn anomaly(run: &Healed<'_>, node: &Name, why: &str, log: &[String]) -> Anomaly {
    let healed = began(&run.marks, Phase::Healing).unwrap_or(Time::MAX);
    let last = run
        .history
        .asked()
        .filter(|op| op.node.as_ref() == Some(node) && answered(op) && op.call < healed);
    let last = last.max_by_key(|op| op.ret);
    let (again, since) = match last {
        None => (
            "",
            "it never answered an operation of the main phase".to_string(),
        ),
        Some(op) => (" again", format!("its last answer was at {}", op.ret)),
    };
    let touches = |span: &&Span| {
        let deaf = span.loss.deaf.iter().any(|(a, b)| a == node || b == node);
        span.targets.contains(node) || span.loss.down.contains(node) || deaf
    };
    let faults = || run.spans.iter().filter(|span| span.held_from.is_some());
    let before = faults().rfind(touches).or(faults().next_back());
    let before = match before {
        None => "there was no fault before".to_string(),
        Some(span) => format!(
            "the fault before was {} ({}), from {} to {}",
            span.fault,
            span.label,
            span.from,
            match span.until {
                Time::MAX => "the end".to_string(),
                until => until.to_string(),
            }
        ),
    };
    Anomaly {
        kind: "never served again".into(),
        object: Some(node.to_string()),
        ops: last.map(|op| op.index).into_iter().collect(),
        reason: format!(
            "{node} did not serve{again}: {why}; {since}; {before}{}",
            log_text(log)
        ),
        ..Anomaly::default()
    }
}

/// The last lines of a log, below the sentence that they belong to.
pub(crate) fn log_text(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    let lines = log.iter().map(|line| format!("\n    | {line}"));
    format!("\n    its log ends:{}", lines.collect::<String>())
}
