//! A verdict that depends on how long faults lasted, where they lasted longer than they were to.
//!
//! A chain promises that what is so many blocks deep stays, as long as the network is not cut for
//! longer than it takes to mine about as many. A machine that has too much to do heals a partition
//! of five seconds after twenty: then blocks come undone, and it is the machine's doing and not the
//! chain's. So what depends on the length of faults is `unknown` once one of them was in force
//! longer than the schedule had it by more than [`SLACK`]. What was complete before that is a
//! violation all the same, and so is what no length of a partition excuses, such as a block without
//! its work.

use std::time::Duration;

use history::fault::{Span, spans};
use history::{History, Time};

use crate::{Analysis, Anomaly, Budget, Checker, Verdict};

/// By how much a fault may be in force longer than it was to: a receipt, and a look or two, take so
/// long.
pub const SLACK: Duration = Duration::from_secs(2);

/// Which anomalies a fault that lasts too long can cause, by their kinds.
#[derive(Clone, Copy, Debug)]
pub enum Depends {
    All,
    /// These.
    Only(&'static [&'static str]),
}

impl Depends {
    fn holds(self, anomaly: &Anomaly) -> bool {
        match self {
            Depends::All => true,
            Depends::Only(kinds) => kinds.contains(&anomaly.kind.as_str()),
        }
    }
}

/// What of a chain depends on the length of a partition: what was deep enough comes undone, or the
/// chains have not come together again. That a block is no block does not.
pub const OF_CHAINS: Depends = Depends::Only(&[
    "conflicting confirmed blocks",
    "confirmed block undone",
    "acknowledged write gone",
    "acknowledged write moved",
    "chains do not converge",
    "common prefix stuck",
    "common prefix violated",
    "chain growth violated",
    "chain quality violated",
    "liveness violated",
]);

/// A checker whose findings depend on how long faults lasted.
pub struct LengthBound {
    pub inner: Box<dyn Checker>,
    pub depends: Depends,
}

impl Checker for LengthBound {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let analysis = self.inner.check(history, budget);
        if analysis.verdict != Verdict::Invalid {
            return analysis;
        }
        let spans = spans(history);
        // The first that lasted too long, by when that began.
        let Some((since, late)) = overdue(&spans) else {
            return analysis;
        };
        let excused = |anomaly: &Anomaly| {
            self.depends.holds(anomaly) && complete(anomaly, history).is_none_or(|at| at >= since)
        };
        if analysis.anomalies.iter().any(|anomaly| !excused(anomaly)) {
            return analysis;
        }
        let why = format!(
            "{}; but fault {} ({}: {}) was in force {:.1} s, and the schedule has it for {:.1} s: this \
             machine was late, and what is found here depends on how long faults last",
            analysis.summary,
            late.fault,
            late.family,
            late.label,
            in_force(late).as_secs_f64(),
            wanted(late).unwrap_or_default().as_secs_f64(),
        );
        Analysis {
            verdict: Verdict::Unknown,
            summary: why,
            ..analysis
        }
    }
}

/// How long the schedule has it.
fn wanted(span: &Span) -> Option<Duration> {
    Some(span.heal_due?.since(span.due?))
}

fn in_force(span: &Span) -> Duration {
    span.until.since(span.in_force.unwrap_or(span.from))
}

/// The fault that was the first to be in force longer than it was to, and since when it was. Also
/// one that was never healed: then its length is not the schedule's either.
fn overdue(spans: &[Span]) -> Option<(Time, &Span)> {
    let overdue = spans
        .iter()
        .filter(|span| !span.skipped)
        .filter_map(|span| {
            let wanted = wanted(span)?;
            let over = in_force(span) > wanted + SLACK;
            let since = span.in_force.unwrap_or(span.from).elapsed() + wanted + SLACK;
            over.then(|| (Time::from(since), span))
        });
    overdue.min_by_key(|(since, _)| *since)
}

/// When the last of its operations was complete; none if it names none.
fn complete(anomaly: &Anomaly, history: &History) -> Option<Time> {
    let ends = anomaly.ops.iter().filter_map(|index| {
        let completion = history.find(*index).and_then(|op| op.completion);
        Some(history.event(completion.unwrap_or(*index))?.time)
    });
    ends.max()
}
