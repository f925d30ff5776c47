//! Whether a run tested anything: enough operations succeeded, every node served, every fault held.
//!
//! A history without a violation is worth nothing if nothing happened in it. Each reason names the
//! fault or the node, so that whoever reads it knows what to mend.

use std::collections::{BTreeMap, BTreeSet};

use history::{History, Name, OBSERVATIONS, Outcome, fault};

use crate::{Analysis, Anomaly, Budget, Checker, Figure};

/// Judges the run and not the system. `infra` if a fault could not be undone, or its injection
/// failed; `vacuous` if there was too little of anything.
#[derive(Clone, Debug)]
pub struct Vacuity {
    /// So many operations must have succeeded.
    pub least_ok: usize,
    /// And so many of each name that was invoked at all.
    pub least_ok_of_each: usize,
    /// Nodes that must have served; those that the history names are added.
    pub nodes: Vec<Name>,
    /// Whether faults were asked for.
    pub faults: bool,
}

impl Default for Vacuity {
    /// Ten successes, one of each kind, no faults asked for.
    fn default() -> Vacuity {
        Vacuity {
            least_ok: 10,
            least_ok_of_each: 1,
            nodes: Vec::new(),
            faults: false,
        }
    }
}

impl Checker for Vacuity {
    fn name(&self) -> &str {
        "vacuity"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let spans = fault::spans(history);
        let mut infra: Vec<Anomaly> = Vec::new();
        let mut vacuous: Vec<Anomaly> = Vec::new();
        let note = |kind: &str, object: Option<String>, reason: String| Anomaly {
            kind: kind.to_string(),
            object,
            ops: Vec::new(),
            reason,
            ..Anomaly::default()
        };
        for span in &spans {
            let fault = format!("fault {} ({})", span.fault, span.told());
            let because = match &span.error {
                Some(error) => format!(": {error}"),
                None => String::new(),
            };
            let evidence = |receipt: &Option<fault::Receipt>| match receipt {
                None => "there is no receipt".to_string(),
                Some(receipt) => receipt.evidence.join("; "),
            };
            if span.skipped {
                // Nobody led, say. It tells nothing against the others of its family.
                if !spans.iter().any(|s| s.family == span.family && s.held()) {
                    let reason = format!(
                        "{fault} was passed over{because}, and no other {} took hold",
                        span.family
                    );
                    vacuous.push(note("fault did not hold", Some(fault), reason));
                }
                continue;
            }
            if !span.held() {
                let seen = evidence(&span.inject);
                let reason = format!("{fault} never took hold{because} ({seen})");
                vacuous.push(note("fault did not hold", Some(fault.clone()), reason));
            }
            if !span.healed() {
                let reason = format!("{fault} was not undone{because}");
                infra.push(note("fault not undone", Some(fault), reason));
            } else if span.heal.as_ref().is_some_and(|receipt| !receipt.held) {
                let seen = evidence(&span.heal);
                let reason = format!("{fault} was undone, but is still seen{because} ({seen})");
                infra.push(note("fault not undone", Some(fault), reason));
            }
        }
        if self.faults && spans.is_empty() {
            let reason = "faults were asked for, and none was injected".to_string();
            vacuous.push(note("no fault", None, reason));
        }

        let mut by_f: BTreeMap<&str, usize> = BTreeMap::new();
        let mut served: BTreeMap<&str, usize> = BTreeMap::new();
        served.extend(self.nodes.iter().map(|node| (node.as_str(), 0)));
        for op in history.ops() {
            let ok = usize::from(op.outcome == Outcome::Ok);
            *by_f.entry(&op.f).or_default() += ok;
            // What a node says of itself is no service.
            if let Some(node) = op.node.as_deref().filter(|_| !op.observes()) {
                *served.entry(node).or_default() += ok;
            }
        }
        let ok: usize = by_f
            .iter()
            .filter(|(f, _)| !OBSERVATIONS.contains(f))
            .map(|(_, n)| n)
            .sum();
        if ok < self.least_ok {
            let reason = format!(
                "{ok} operations succeeded, and {} are the least",
                self.least_ok
            );
            vacuous.push(note("too few successes", None, reason));
        }
        for (f, ok) in &by_f {
            if *ok < self.least_ok_of_each {
                let least = self.least_ok_of_each;
                let reason = format!("{ok} operations {f} succeeded, and {least} are the least");
                vacuous.push(note("too few successes", Some(f.to_string()), reason));
            }
        }
        for (node, ok) in &served {
            if *ok == 0 {
                let reason = format!("{node} never served an operation");
                vacuous.push(note("node never served", Some(node.to_string()), reason));
            }
        }

        let held = spans.iter().filter(|span| span.held()).count();
        let silent: BTreeSet<&str> = served
            .iter()
            .filter(|(_, ok)| **ok == 0)
            .map(|(node, _)| *node)
            .collect();
        let summary = format!(
            "{ok} operations succeeded, {} of {} nodes served, {held} of {} faults held",
            served.len() - silent.len(),
            served.len(),
            spans.len()
        );
        let with = |reasons: &[Anomaly]| {
            let first = reasons
                .first()
                .map(|a| a.reason.as_str())
                .unwrap_or_default();
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
            .with_figure(Figure::new("operations ok", ok, ""))
            .with_figure(Figure::new("faults", spans.len(), ""))
            .with_figure(Figure::new("faults held", held, ""));
        analysis.anomalies = infra.into_iter().chain(vacuous).collect();
        analysis
    }
}
