//! Whether a run tested anything: enough of what was asked in the main phase was answered, writes
//! and reads among it, every node served, every fault held, and no fault went by untried.
//!
//! A history without a violation is worth nothing if nothing happened in it. Each reason names the
//! fault or the node, so that whoever reads it knows what to mend. The rules in one table are in
//! `harness/docs/verdicts.md`.

mod clients;
mod quorum;

use std::collections::BTreeMap;

use history::fault::Span;
use history::mark::{self, Mark, Placed, Stopped, limit, main_phase, marks};
use history::wording::{counted, either};
use history::{History, Name, Op, Outcome, Time, fault};

use self::clients::{commonest_error, found_nothing, senseless};
use self::quorum::whole;
use crate::figure::{Gauge, Part};
use crate::role::{Role, Roles, answered};
use crate::{Analysis, Anomaly, Budget, Checker};

/// Of the run and not of the system.
const OF_RUN: &[Part] = &[Part::WHOLE.apart()];

const OPERATIONS_OK: Gauge = Gauge::new("operations ok", "", OF_RUN);
const FAULTS: Gauge = Gauge::new("faults", "", OF_RUN);
const FAULTS_HELD: Gauge = Gauge::new("faults held", "", OF_RUN);

pub(crate) const GAUGES: &[Gauge] = &[OPERATIONS_OK, FAULTS, FAULTS_HELD];

/// Judges the run and not the system. `infra` if a fault could not be undone, or its injection
/// failed; `vacuous` if there was too little of anything.
#[derive(Clone)]
pub struct Vacuity {
    /// So many operations must have succeeded.
    pub least_ok: usize,
    /// And so many of each name that was invoked at all.
    pub least_ok_of_each: usize,
    /// What must have been asked and answered for green to mean something; none for a history that
    /// is not known to be a run's.
    pub service: Option<Service>,
    /// Nodes that must have served; those that the history names are added.
    pub nodes: Vec<Name>,
    /// Whether faults were asked for.
    pub faults: bool,
}

/// What must be there of a workload whose operations are known.
#[derive(Clone, Copy)]
pub struct Service {
    pub roles: Roles,
    /// So many of them must have succeeded.
    pub least_writes: usize,
    /// Zero for a workload that reads at the end only.
    pub least_reads: usize,
}

impl Service {
    /// Of a workload that writes and reads all the time.
    pub fn of(roles: Roles) -> Service {
        Service {
            roles,
            least_writes: 10,
            least_reads: 10,
        }
    }
}

/// Of what was asked in the main phase at least this share must have been answered, in per cent.
const LEAST_ANSWERED: usize = 10;

/// The main phase is looked at in so many equal parts, and something must have been answered in so
/// many of them.
const PARTS: u64 = 10;
const LEAST_PARTS: usize = 3;

/// So many operations would have been offered on average in the time of a fault before it counts
/// that none was.
const DUE: f64 = 10.0;

impl Default for Vacuity {
    /// Ten successes, one of each kind, no faults asked for.
    fn default() -> Vacuity {
        Vacuity {
            least_ok: 10,
            least_ok_of_each: 1,
            service: None,
            nodes: Vec::new(),
            faults: false,
        }
    }
}

impl Vacuity {
    /// What a run of a workload must show: thirty successes, writes and reads among them.
    pub fn of_run(service: Service, nodes: Vec<Name>, faults: bool) -> Vacuity {
        Vacuity {
            least_ok: 30,
            least_ok_of_each: 1,
            service: Some(service),
            nodes,
            faults,
        }
    }
}

/// The main phase of a history, or all of it where it does not say.
struct Main<'a> {
    history: &'a History,
    from: Time,
    until: Time,
    /// Clients' operations that were called in it.
    asked: Vec<&'a Op>,
    /// Somebody left at once: what was being done is neither done nor failed.
    abandoned: bool,
    spans: Vec<Span>,
}

fn stops(marks: &[Placed]) -> impl Iterator<Item = &Stopped> {
    marks.iter().filter_map(|placed| match &placed.mark {
        Mark::Stopped(stopped) => Some(stopped),
        _ => None,
    })
}

/// From when on and until when operations were offered. The main phase goes on for as long as its
/// last faults take to be healed.
fn offered(history: &History) -> (Time, Time) {
    let Some((from, until)) = main_phase(history) else {
        return (Time(0), history.end());
    };
    let marks = marks(history);
    let limit = limit(&marks).map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    let stopped = stops(&marks).map(|stop| stop.after_ns);
    let length = limit.into_iter().chain(stopped).min();
    let end = length.map_or(until, |length| Time(from.0.saturating_add(length)));
    (from, until.min(end))
}

impl Checker for Vacuity {
    fn name(&self) -> &str {
        "vacuity"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let (from, until) = offered(history);
        let called = |op: &&Op| from <= op.call && op.call <= until;
        let main = Main {
            history,
            from,
            until,
            asked: history.asked().filter(called).collect(),
            abandoned: stops(&marks(history)).any(|stop| stop.abandoned),
            spans: fault::spans(history),
        };
        let (infra, mut vacuous) = self.faults(&main);
        let served = self.served(&main);
        vacuous.extend(self.successes(&main));
        vacuous.extend(senseless(&main.asked));
        let service = self.service.iter();
        vacuous.extend(service.clone().flat_map(|service| service.lacks(&main)));
        vacuous.extend(service.filter_map(|service| found_nothing(&main.asked, service)));
        vacuous.extend(silent(&main, &served));
        if self.service.is_some() {
            vacuous.extend(main.untried());
        }

        let ok = main.ok();
        let held = main.spans.iter().filter(|span| span.held()).count();
        let summary = format!(
            "{ok} of {} of the main phase succeeded, {} of {} served, {held} of {} held",
            counted(main.asked.len(), "operation"),
            served.values().filter(|answers| **answers > 0).count(),
            counted(served.len(), "node"),
            counted(main.spans.len(), "fault")
        );
        let with = |reasons: &[Anomaly]| {
            let first = reasons.first().map(|a| a.reason.as_str());
            let first = first.unwrap_or_default();
            match reasons.len() {
                0 | 1 => first.to_string(),
                n => format!("{first} (and {} more)", n - 1),
            }
        };
        let analysis = match (infra.is_empty(), vacuous.is_empty()) {
            (true, true) => Analysis::valid(self.name(), summary),
            (true, false) => Analysis::vacuous(self.name(), with(&vacuous)),
            (false, _) => Analysis::infra(self.name(), with(&infra)),
        };
        let mut analysis = analysis
            .with_figure(OPERATIONS_OK.figure(ok))
            .with_figure(FAULTS.figure(main.spans.len()))
            .with_figure(FAULTS_HELD.figure(held));
        analysis.anomalies = infra.into_iter().chain(vacuous).collect();
        analysis
    }
}

fn note(kind: &str, object: Option<String>, reason: String) -> Anomaly {
    Anomaly {
        kind: kind.to_string(),
        object,
        reason,
        ..Anomaly::default()
    }
}

impl Vacuity {
    /// What speaks against the faults: first what the harness could not undo, then what never took
    /// hold.
    fn faults(&self, main: &Main<'_>) -> (Vec<Anomaly>, Vec<Anomaly>) {
        let spans = &main.spans;
        let (mut infra, mut vacuous) = (Vec::new(), Vec::new());
        for span in spans {
            let fault = named(span);
            let because = match &span.error {
                Some(error) => format!(": {error}"),
                None => String::new(),
            };
            let evidence = |receipt: &Option<fault::Receipt>| match receipt {
                None => "there is no receipt".to_string(),
                Some(receipt) => receipt.evidence.join("; "),
            };
            let cut = main.abandoned && !span.healed() && span.error.is_none();
            if cut {
                continue;
            }
            let another = || spans.iter().any(|s| s.family == span.family && s.held());
            if span.skipped {
                // Nobody led, say. It tells nothing against the others of its family.
                if !another() {
                    let reason = format!(
                        "{fault} was passed over{because}, and no other {} took hold",
                        span.family
                    );
                    vacuous.push(note("fault did not hold", Some(fault), reason));
                }
                continue;
            }
            // Nor does a kill that found a daemon that had ended by itself.
            if !(span.held() || another() && main.had_ended(span)) {
                let seen = evidence(&span.inject);
                let reason = format!("{fault} never took hold{because} ({seen})");
                vacuous.push(note("fault did not hold", Some(fault.clone()), reason));
            }
            if !span.healed() {
                let reason = format!("{fault} was not undone{because}");
                infra.push(note("fault not undone", Some(fault), reason));
            } else if span.heal.as_ref().is_some_and(|receipt| !receipt.held)
                && !main.crashed_after(span)
            {
                let seen = evidence(&span.heal);
                let reason = format!("{fault} was undone, but is still seen{because} ({seen})");
                infra.push(note("fault not undone", Some(fault), reason));
            }
        }
        if self.faults && spans.is_empty() {
            let reason = "faults were asked for, and none was injected".to_string();
            vacuous.push(note("no fault", None, reason));
        }
        (infra, vacuous)
    }

    /// How many operations of the main phase each node answered. "No" is an answer: of a few locks
    /// the clients of one node may never hold any.
    fn served(&self, main: &Main<'_>) -> BTreeMap<Name, usize> {
        let mut served: BTreeMap<Name, usize> = BTreeMap::new();
        served.extend(self.nodes.iter().map(|node| (node.clone(), 0)));
        for op in &main.asked {
            if let Some(node) = &op.node {
                *served.entry(node.clone()).or_default() += usize::from(answered(op));
            }
        }
        served
    }

    fn successes(&self, main: &Main<'_>) -> Vec<Anomaly> {
        let mut lacks = Vec::new();
        let ok = main.ok();
        if ok < self.least_ok {
            let reason = format!(
                "{} succeeded, and at least {} must{}",
                counted(ok, "operation"),
                self.least_ok,
                commonest_error(main.asked.iter().copied())
            );
            lacks.push(note("too few successes", None, reason));
        }
        let mut by_f: BTreeMap<&str, usize> = BTreeMap::new();
        let counting = || {
            let observed = main.history.ops().iter().filter(|op| op.observes());
            main.asked.iter().copied().chain(observed)
        };
        for op in counting() {
            *by_f.entry(&op.f).or_default() += usize::from(op.outcome == Outcome::Ok);
        }
        for (f, ok) in by_f.iter().filter(|(_, ok)| **ok < self.least_ok_of_each) {
            let least = self.least_ok_of_each;
            let of_it = counting().filter(|op| op.f == **f);
            let reason = format!(
                "{} {f} succeeded, and at least {least} must{}",
                counted(*ok, "operation"),
                commonest_error(of_it)
            );
            lacks.push(note("too few successes", Some(f.to_string()), reason));
        }
        lacks
    }
}

impl Service {
    /// What was asked and answered too little of.
    fn lacks(&self, main: &Main<'_>) -> Vec<Anomaly> {
        let mut lacks = Vec::new();
        let role = |op: &&&Op| (self.roles)(&op.f, &op.input);
        let did = |what: fn(&Role) -> bool| {
            let ok = main.asked.iter().filter(|op| op.outcome == Outcome::Ok);
            ok.filter(|op| what(&role(op))).count()
        };
        let writes = did(|role| !role.writes.is_empty());
        let reads = did(|role| !role.reads.is_empty());
        for (what, ok, least) in [
            ("write", writes, self.least_writes),
            ("read", reads, self.least_reads),
        ] {
            if ok < least {
                let ok = counted(ok, what);
                let reason = format!("{ok} succeeded in the main phase, and at least {least} must");
                lacks.push(note("too few successes", Some(format!("{what}s")), reason));
            }
        }
        // What was due and found no free client is no better than what was refused.
        let left_out =
            mark::offered(main.history).map_or(0, |offered| offered.not_offered() as usize);
        let due = main.asked.len() + left_out;
        let answers = main.asked.iter().filter(|op| answered(op)).count();
        if answers * 100 < due * LEAST_ANSWERED {
            let never = match left_out {
                0 => String::new(),
                n => format!(" ({n} never offered)"),
            };
            let reason = format!(
                "{answers} of {} that {} due in the main phase{never} {} answered, and \
                 at least {LEAST_ANSWERED} % must be",
                counted(due, "operation"),
                either(due, "was", "were"),
                either(answers, "was", "were")
            );
            lacks.push(note("too little answered", None, reason));
        }
        let parts = main.parts_with_answers();
        if parts < LEAST_PARTS {
            let reason = format!(
                "something was answered in {parts} of {PARTS} equal parts of the main phase, and \
                 it must be at least {LEAST_PARTS}"
            );
            lacks.push(note("too little answered", None, reason));
        }
        lacks
    }
}

impl Main<'_> {
    fn ok(&self) -> usize {
        let ok = self.asked.iter().filter(|op| op.outcome == Outcome::Ok);
        ok.count()
    }

    fn length(&self) -> u64 {
        self.until.0.saturating_sub(self.from.0).max(1)
    }

    fn parts_with_answers(&self) -> usize {
        let mut parts = [false; PARTS as usize];
        let answers = self
            .asked
            .iter()
            .filter(|op| answered(op) && op.ret <= self.until);
        for op in answers {
            let since = u128::from(op.ret.0.saturating_sub(self.from.0));
            let part = since * u128::from(PARTS) / u128::from(self.length());
            parts[(part as usize).min(PARTS as usize - 1)] = true;
        }
        parts.iter().filter(|answered| **answered).count()
    }

    /// A daemon that ended by itself when it was started again is why the fault is still seen, and
    /// that is not the harness's doing.
    fn crashed_after(&self, span: &Span) -> bool {
        let mut targets = span.targets.iter();
        targets.any(|node| self.crashed(node, span.from, Time::MAX))
    }

    /// All daemons of a kill had ended by themselves since they were last started. Nobody starts
    /// them while it is in force, so they may have been seen to end only then.
    fn had_ended(&self, span: &Span) -> bool {
        let started = |node: &Name| {
            let kills = self.spans.iter().filter(|s| s.from < span.from);
            let kills = kills.filter(|s| s.loss.down.contains(node));
            kills.map(|s| s.from).max().unwrap_or_default()
        };
        let ended = |node: &Name| self.crashed(node, started(node), span.until);
        let kill = span.family == "kill" && span.error.is_none() && span.void().is_empty();
        kill && !span.targets.is_empty() && span.targets.iter().all(ended)
    }

    fn crashed(&self, node: &Name, from: Time, until: Time) -> bool {
        marks(self.history).iter().any(|placed| match &placed.mark {
            Mark::Crash(of, _) => of == node && (from..=until).contains(&placed.time),
            _ => false,
        })
    }

    /// When nobody waited for its answer any more.
    fn ended(&self, op: &Op) -> Time {
        let event = || self.history.event(op.completion?);
        match op.outcome {
            Outcome::Info => event().map_or(Time::MAX, |event| event.time),
            _ => op.ret,
        }
    }

    /// The part of the main phase that a fault held for.
    fn window(&self, span: &Span) -> Option<(Time, Time)> {
        let from = span.held_from.filter(|_| span.held())?.max(self.from);
        let until = span.until.min(self.until);
        (from < until).then_some((from, until))
    }

    /// Faults that a whole quorum could have been asked about, and nobody asked.
    fn untried(&self) -> Vec<Anomaly> {
        let nodes: Vec<Name> = {
            let named = self.asked.iter().filter_map(|op| op.node.clone());
            let mut nodes: Vec<Name> = named.collect();
            nodes.sort();
            nodes.dedup();
            nodes
        };
        let untried = |span: &Span| {
            let (from, until) = self.window(span)?;
            let share = until.since(from).as_nanos() as f64 / self.length() as f64;
            let due = share * self.asked.len() as f64;
            let overlap = self.spans.iter().filter(|other| {
                other.held_from.is_some() && other.from < until && other.until > from
            });
            let losses: Vec<_> = overlap.map(|other| &other.loss).collect();
            let quorum = whole(&nodes, &losses);
            // Whoever waits for an answer of the quorum all the while tries it too.
            let mut tried = self.asked.iter().filter(|op| {
                let there = op.node.as_ref().is_none_or(|node| quorum.contains(node));
                there && op.call <= until && self.ended(op) >= from
            });
            (due >= DUE && !quorum.is_empty() && tried.next().is_none()).then(|| {
                let reason = format!(
                    "nothing was tried of the rest while {} held, from {from} to {until}, though a \
                     quorum was whole",
                    named(span)
                );
                note("fault not tried", Some(named(span)), reason)
            })
        };
        self.spans.iter().filter_map(untried).collect()
    }
}

fn named(span: &Span) -> String {
    format!("fault {} ({})", span.fault, span.told())
}

/// Nodes that served nothing, unless faults held them for half of the main phase or more.
fn silent(main: &Main<'_>, served: &BTreeMap<Name, usize>) -> Vec<Anomaly> {
    let held = |node: &Name| {
        let spans = main.spans.iter().filter(|span| span.targets.contains(node));
        let mut windows: Vec<_> = spans.filter_map(|span| main.window(span)).collect();
        windows.sort_unstable();
        let (mut upto, mut sum) = (main.from, 0);
        for (from, until) in windows {
            sum += until.0.saturating_sub(from.max(upto).0);
            upto = upto.max(until);
        }
        2 * sum >= main.length()
    };
    let silent = served
        .iter()
        .filter(|(node, answers)| **answers == 0 && !held(node));
    let note = |(node, _): (&Name, &usize)| {
        let reason = format!("{node} never served an operation of the main phase");
        note("node never served", Some(node.to_string()), reason)
    };
    silent.map(note).collect()
}
