//! Whether the run came to its end: nobody stopped it, all its parts are there, and every object
//! that was written was read once more when everything was healed. Of a run that did not, what was
//! found stands, and what was not found is unknown.

use std::collections::BTreeSet;
use std::time::Duration;

use history::mark::{Mark, Phase, Stopped, began, limit, main_phase, marks};
use history::wording::{counted, either, listed};
use history::{History, Outcome, Time, Value, fault};

use crate::role::Roles;
use crate::{Analysis, Anomaly, Budget, Checker};

/// Valid or unknown.
#[derive(Clone, Copy, Default)]
pub struct Completeness {
    /// Which operations read and write what. None: last reads are not asked for.
    pub roles: Option<Roles>,
}

/// So many objects are named.
const NAMED: usize = 5;

impl Checker for Completeness {
    fn name(&self) -> &str {
        "completeness"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let marks = marks(history);
        let Some((from, until)) = main_phase(history) else {
            let why = "the history does not say which parts the run had";
            return Analysis::measured(self.name(), why);
        };
        let stops: Vec<&Stopped> = marks
            .iter()
            .filter_map(|placed| match &placed.mark {
                Mark::Stopped(stopped) => Some(stopped),
                _ => None,
            })
            .collect();
        if let Some(first) = stops.first() {
            let abandoned = stops.iter().any(|stop| stop.abandoned);
            let why = stopped(first, abandoned, limit(&marks), begun(history, until));
            return Analysis::unknown(self.name(), why);
        }
        if began(&marks, Phase::End).is_none() {
            let lasted = until.since(from).as_secs_f64();
            let why = format!(
                "the run was cut short: its record ends after {lasted:.1}{} of the main phase, and \
                 nothing says that it came to its end",
                of(limit(&marks))
            );
            return Analysis::unknown(self.name(), why);
        }
        let Some(roles) = self.roles else {
            return Analysis::valid(self.name(), "the run came to its end");
        };
        self.last_reads(history, began(&marks, Phase::Final), roles)
    }
}

impl Completeness {
    fn last_reads(&self, history: &History, last: Option<Time>, roles: Roles) -> Analysis {
        let last = last.unwrap_or(Time::MAX);
        let mut written: BTreeSet<Value> = BTreeSet::new();
        let mut read: BTreeSet<Value> = BTreeSet::new();
        for op in history.asked() {
            let role = roles(&op.f, &op.input);
            if op.outcome != Outcome::Fail {
                written.extend(role.writes);
            }
            if op.outcome == Outcome::Ok && op.call >= last {
                read.extend(role.reads);
            }
        }
        let unread: Vec<&Value> = written.difference(&read).collect();
        if unread.is_empty() {
            let summary = match written.len() {
                0 => "the run came to its end; nothing was written".to_string(),
                1 => "the run came to its end, and what was written was read once more".to_string(),
                n => format!(
                    "the run came to its end, and all {n} objects that were written were read once more"
                ),
            };
            return Analysis::valid(self.name(), summary);
        }
        let why = format!(
            "of {} that {} written, {} {} never read after the faults, so what was lost would not show: {}",
            counted(written.len(), "object"),
            either(written.len(), "was", "were"),
            unread.len(),
            either(unread.len(), "was", "were"),
            listed(unread.iter().map(|v| named(v)), NAMED)
        );
        let anomalies = unread.iter().map(|object| Anomaly {
            kind: "not read at the end".into(),
            object: (!object.is_nil()).then(|| object.to_string()),
            reason: format!("no last read of {} was answered", named(object)),
            ..Anomaly::default()
        });
        Analysis {
            anomalies: anomalies.take(NAMED).collect(),
            ..Analysis::unknown(self.name(), why)
        }
    }
}

fn named(object: &Value) -> String {
    match object {
        Value::Nil => "the only one".into(),
        object => object.to_string(),
    }
}

/// ` of 30 s`, where it is known of how many.
fn of(limit: Option<Duration>) -> String {
    limit.map_or(" s".into(), |limit| {
        format!(" of {} s", limit.as_secs_f64())
    })
}

/// Faults that had begun by then; those that found nobody had not.
fn begun(history: &History, by: Time) -> usize {
    let spans = fault::spans(history);
    let begun = spans.iter().filter(|span| span.from <= by && !span.skipped);
    begun.count()
}

fn stopped(stop: &Stopped, abandoned: bool, limit: Option<Duration>, begun: usize) -> String {
    let after = Duration::from_nanos(stop.after_ns).as_secs_f64();
    let faults = match (stop.planned, begun) {
        (0, _) => String::new(),
        (planned, begun) => format!(", {begun} of {planned} faults begun"),
    };
    let at = match stop.phase {
        Phase::Main => format!("after {after:.1}{}{faults}", of(limit)),
        Phase::Healing => "after the main phase, before every node had served again".to_string(),
        Phase::Final | Phase::End => "during the last operations".to_string(),
    };
    let at_once = match abandoned {
        true => "; it was left at once, so that nothing was read at the end",
        false => "",
    };
    format!("stopped {at} ({}){at_once}", stop.by)
}
