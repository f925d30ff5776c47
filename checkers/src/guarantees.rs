//! What registers give, if not linearizability: each model of a lattice holds, is refuted by a few
//! operations, or is undecided. Definitions and sources are in `harness/docs/checkers.md`.
//!
//! ```text
//!                    linearizable
//!                         │
//!                    sequential
//!               ┌─────────┴──────────┐
//!        per-key-sequential        causal
//!               ├──────────┬─────────┼─────────┬──────────────────┐
//!               │   read-your-writes │         │                  │
//!               └── monotonic-reads ─┘ monotonic-writes   writes-follow-reads
//! ```
//!
//! Causal and sequential consistency are asked of [`transactions`](crate::transactions) of one
//! operation each: they are transactional causal consistency and serializability within sessions,
//! and there all the same.

mod lattice;
pub(crate) mod sessions;

use std::borrow::Cow;

use history::columns::Row;
use history::wording::counted;
use history::{History, Kind};

use self::lattice::{Lattice, State};
use crate::counts::{JUDGED, KEYS, UNKNOWN_OUTCOME};
pub use crate::guarantee::Guarantee;
use crate::linearizable::Registers;
use crate::linearizable::parts::{Flaw, Role};
use crate::model::{Choice, Model};
use crate::{Analysis, Anomaly, Budget, Checker, Verdict, staleness};

/// Judges registers by one model, and says of all others whether they hold if they are not
/// linearizable.
#[derive(Clone, Debug)]
pub struct Guarantees {
    registers: Registers,
    asked: Guarantee,
}

impl Guarantees {
    /// By linearizability.
    pub fn of(registers: Registers) -> Guarantees {
        Guarantees {
            registers,
            asked: Guarantee::Linearizable,
        }
    }

    /// By another model.
    pub fn by(self, asked: Guarantee) -> Guarantees {
        Guarantees { asked, ..self }
    }

    fn told(
        &self,
        linear: Analysis,
        lattice: &Lattice,
        history: &History,
        budget: &Budget,
    ) -> Analysis {
        let what = counted(history.pairs().len(), "operation");
        let mut analysis = match (self.asked, lattice.state(self.asked)) {
            (Guarantee::Linearizable, _) if linear.verdict != Verdict::Unknown => linear,
            (Guarantee::Linearizable, State::Unknown(_)) => linear,
            (asked, State::Holds) => with_counts(
                Analysis::valid(self.name(), format!("{what} are {asked}")),
                &linear,
            ),
            (asked, State::Unknown(why)) => {
                let why = format!("{what} are not known to be {asked}: {why}");
                with_counts(Analysis::unknown(self.name(), why), &linear)
            }
            (asked, State::Refuted { ops, reason, .. }) => {
                let summary = format!("{what} are not {asked}");
                let anomaly = Anomaly {
                    kind: format!("{asked} violation"),
                    ops: ops.clone(),
                    reason: reason.clone(),
                    ..Anomaly::default()
                };
                let found = Analysis::of_anomalies(self.name(), summary, vec![anomaly]);
                with_counts(found, &linear)
            }
        };
        if analysis.verdict == Verdict::Invalid {
            analysis.summary += &format!("; {}", lattice.told());
        }
        if *lattice.state(Guarantee::Linearizable) != State::Holds {
            let (keyed, initial) = self.registers.objects();
            let stale = staleness::measure(history, keyed, initial, &mut budget.start());
            if let Ok(stale) = stale
                && stale.delta_ns > 0
            {
                analysis = stale
                    .figures()
                    .into_iter()
                    .fold(analysis, Analysis::with_figure);
            }
        }
        lattice
            .figures()
            .into_iter()
            .fold(analysis, Analysis::with_figure)
    }
}

/// The history without reads that are answered with another key than they asked for, and what
/// cannot be judged of it, if anything.
fn judgeable(history: &History, keyed: bool) -> (Cow<'_, History>, Option<Flaw>) {
    let (columns, mut flaw, mut odd) = (history.columns(), None, Vec::new());
    let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
    for pair in history.pairs().iter().filter(|_| keyed) {
        let call = calls.row(pair.invocation);
        let name = columns.names().get(call.f());
        let Some(role) = name.and_then(|name| Role::of(name)) else {
            continue;
        };
        let ret = pair.completion().map(|at| rets.row(at));
        let ret = ret.filter(|ret| ret.kind() == Kind::Ok);
        // Whoever only writes may be answered with nothing.
        let told = ret.filter(|ret| role == Role::Read || !ret.value().is_nil());
        let key = |row: &Row| row.value().as_pair().map(|(key, _)| key.to_value());
        let asked = key(&call);
        if asked.is_some() && told.is_none_or(|ret| key(&ret) == asked) {
            continue;
        }
        let why = match asked {
            Some(_) => "it asks for one key and is answered with another".to_string(),
            None => format!("{} is not [key, value]", call.value().to_value()),
        };
        Flaw::add(&mut flaw, pair.invocation.into(), &why, role != Role::Read);
        odd.push(pair.invocation);
    }
    if odd.is_empty() {
        return (Cow::Borrowed(history), flaw);
    }
    let is_odd = |call: &Row| odd.binary_search(&call.index()).is_ok();
    let judged = history.without_ops(|call, _| is_odd(&call));
    (Cow::Owned(judged), flaw)
}

/// Counts of operations and keys are the same by whatever model.
fn with_counts(analysis: Analysis, linear: &Analysis) -> Analysis {
    let counts = [JUDGED, UNKNOWN_OUTCOME, KEYS].map(|gauge| gauge.name);
    let figures = linear
        .figures
        .iter()
        .filter(|figure| counts.contains(&figure.name.as_str()));
    figures.cloned().fold(analysis, Analysis::with_figure)
}

impl Checker for Guarantees {
    fn name(&self) -> &str {
        self.asked.name()
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let meter = budget.start();
        let linear = self.registers.check(history, budget);
        if linear.verdict == Verdict::Vacuous {
            return Analysis {
                checker: self.name().to_string(),
                ..linear
            };
        }
        if linear.verdict == Verdict::Valid {
            return self.told(linear, &Lattice::linearizable(), history, &meter.left());
        }
        let (keyed, initial) = self.registers.objects();
        let (judged, flaw) = judgeable(history, keyed);
        let lattice = Lattice::of(&judged, (keyed, initial), flaw, &linear, &meter.left());
        self.told(linear, &lattice, &judged, &meter.left())
    }

    fn asks(&self) -> Option<Choice> {
        let (keyed, initial) = self.registers.objects();
        let choice = Choice::of_objects(Model::CasRegister, keyed);
        Some(Choice {
            guarantee: self.asked,
            ..choice.with_initial(initial.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_names_and_stronger_ones_come_later() {
        for (i, a) in Guarantee::ALL.iter().enumerate() {
            assert_eq!(Guarantee::named(a.name()), Some(*a));
            assert!(Guarantee::Linearizable.implies(*a));
            for b in &Guarantee::ALL[..i] {
                assert!(!b.implies(*a), "{b} implies {a}");
            }
        }
        assert!(!Guarantee::PerKeySequential.implies(Guarantee::MonotonicWrites));
        assert!(!Guarantee::Causal.implies(Guarantee::PerKeySequential));
        assert_eq!(Guarantee::named("CCv"), Some(Guarantee::Causal));
        assert_eq!(Guarantee::named("ccw"), None);
    }
}
