//! Which models hold, which are refuted, and of which that is not known; and the verdict on the one
//! that was asked for.

use serde_json::json;

use super::consistency::Consistency;
use super::findings::Findings;
use crate::models;
use crate::{Analysis, Exhausted};

/// What is known of models beside what refutes them.
#[derive(Debug, Default)]
pub struct Lattice {
    holds: Vec<Consistency>,
    open: Vec<(Consistency, String)>,
}

impl Lattice {
    pub fn hold(&mut self, model: Consistency) {
        if !self.is_open(model) {
            self.holds.push(model);
        }
    }

    pub fn open(&mut self, model: Consistency, why: &str) {
        self.open.push((model, why.to_string()));
    }

    pub fn holds(&self, model: Consistency) -> bool {
        self.holds.iter().any(|m| m.implies(model)) && !self.is_open(model)
    }

    fn why_open(&self, model: Consistency) -> Option<&str> {
        let open = self.open.iter().find(|(m, _)| *m == model);
        open.map(|(_, why)| why.as_str())
    }

    pub fn is_open(&self, model: Consistency) -> bool {
        self.why_open(model).is_some()
    }
}

/// What a search came to, as an analysis.
pub struct Judged<'a> {
    pub name: &'a str,
    pub model: Consistency,
    pub what: String,
    /// Whether there was nothing to judge.
    pub nothing: bool,
    pub findings: Findings,
    pub lattice: Lattice,
    /// What cannot be judged, if anything.
    pub unjudged: Option<String>,
    pub exhausted: Option<Exhausted>,
}

impl Judged<'_> {
    pub fn analysis(self) -> Analysis {
        let (what, model) = (&self.what, self.model);
        let refuted = self.findings.refute(model);
        if self.nothing && !refuted && self.unjudged.is_none() {
            let why = "the history has no txn that happened or may have";
            return Analysis::vacuous(self.name, why);
        }
        let all = |is: &dyn Fn(Consistency) -> bool| {
            let models = Consistency::ALL.into_iter().filter(|m| is(*m));
            models.map(Consistency::name).collect::<Vec<_>>()
        };
        let refuted_models = all(&|m| self.findings.refute(m));
        let holds = |m| !self.findings.refute(m) && self.lattice.holds(m);
        let held = match self.unjudged {
            Some(_) => Vec::new(),
            None => all(&holds),
        };
        let open = all(&|m| !self.findings.refute(m) && !held.contains(&m.name()));
        let core = |m: Consistency| {
            let first = self.findings.first_against(m)?;
            let core = json!({"ops": first.ops, "reason": first.reason});
            Some((m.name().to_string(), core))
        };
        let cores: serde_json::Map<_, _> = Consistency::ALL.into_iter().filter_map(core).collect();
        let counts = self.findings.counts();
        let counts: serde_json::Map<_, _> = counts
            .map(|(kind, count)| (kind.to_string(), count.into()))
            .collect();
        let analysis = match self.exhausted {
            // What was found stands, whatever there was no room for.
            _ if refuted => {
                let left = told_of_others(&held, &open);
                let anomalies = self.findings.against(model);
                let first = &anomalies[0].kind;
                let summary = format!("{what} are not {model}, the first anomaly: {first}; {left}");
                Analysis::of_anomalies(self.name, summary, anomalies)
            }
            Some(why) => Analysis::unknown(self.name, format!("{what}: {why}")),
            None if let Some(why) = self.unjudged => Analysis::unknown(self.name, why),
            None => match self.lattice.why_open(model) {
                Some(why) => {
                    let summary = format!(
                        "{what} show nothing that {model} forbids, which does not prove it: {why}"
                    );
                    Analysis::unknown(self.name, summary)
                }
                None => Analysis::valid(self.name, format!("{what} are {model}")),
            },
        };
        let mut analysis = analysis
            .with_figure(models::REFUTED.figure(refuted_models))
            .with_figure(models::HOLD.figure(held))
            .with_figure(models::UNDECIDED.figure(open));
        if !cores.is_empty() {
            analysis = analysis.with_figure(models::CORES.figure(cores));
        }
        if !counts.is_empty() {
            analysis = analysis.with_figure(super::ANOMALIES.figure(counts));
        }
        analysis
    }
}

/// What the system gives then: the strongest models that hold, and the strongest of which that is
/// not known.
fn told_of_others(held: &[&'static str], open: &[&'static str]) -> String {
    let open = match strongest(open)[..] {
        [] => None,
        ref open => Some(format!("undecided: {}", open.join(", "))),
    };
    let held = match strongest(held)[..] {
        [] if open.is_none() => Some("no model is left".to_string()),
        [] => None,
        ref held => Some(format!("what holds: {}", held.join(", "))),
    };
    let told: Vec<String> = held.into_iter().chain(open).collect();
    told.join("; ")
}

/// Those that no other one implies.
fn strongest(names: &[&'static str]) -> Vec<&'static str> {
    let models = || {
        Consistency::ALL
            .iter()
            .filter(|m| names.contains(&m.name()))
    };
    let implied = |m: &Consistency| models().any(|o| o.implies(*m) && !m.implies(*o));
    models().filter(|m| !implied(m)).map(|m| m.name()).collect()
}
