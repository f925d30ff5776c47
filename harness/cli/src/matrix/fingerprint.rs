//! By what an anomaly is known again, whatever the seed.
//!
//! Two runs that went wrong in the same way differ in nearly everything: which key, which nodes,
//! when, how many anomalies there are. What stays is *what* went wrong (the kind of the most
//! telling anomaly), where (system with its parameters, workload), and the shape of its core: which
//! checker saw it, which kinds of operations it takes, and under which faults. How well that holds
//! has been measured: `harness/docs/nightly.md`.

use std::collections::BTreeSet;

use checkers::{Analysis, Anomaly, Verdict};
use history::store::Run;
use history::{History, fault};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::judged::load_results;
use crate::spec::Spec;

/// Digits of a fingerprint.
pub const DIGITS: usize = 12;

/// A fingerprint, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of all that follows.
    pub id: String,
    pub kind: String,
    /// With the parameters that differ from their defaults.
    pub system: String,
    pub workload: String,
    pub shape: String,
}

impl Fingerprint {
    fn new(kind: &str, system: String, workload: &str, shape: String) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [kind, &system, workload, &shape] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Fingerprint {
            id: hex[..DIGITS].to_string(),
            kind: kind.to_string(),
            system,
            workload: workload.to_string(),
            shape,
        }
    }
}

/// The fingerprint of a judged run; none if nothing speaks against its system.
///
/// # Errors
/// The run's folder cannot be read.
pub fn of_run(run: &Run) -> Result<Option<Fingerprint>, Failure> {
    let spec = Spec::load(run)?;
    let judged = load_results(run)?;
    if judged.verdict != Verdict::Invalid {
        return Ok(None);
    }
    let history = run.load().map_err(Failure::infra)?.history;
    Ok(of(&spec, &judged.analyses, &history))
}

fn of(spec: &Spec, analyses: &[Analysis], history: &History) -> Option<Fingerprint> {
    let (analysis, anomaly) = most_telling(analyses)?;
    let params = spec.params.iter().map(|(k, v)| format!(" {k}={v}"));
    let system = spec.system.clone() + &params.collect::<String>();
    let shape = format!(
        "{} of {}{}",
        analysis.checker,
        operations(anomaly, history),
        faults(history)
    );
    Some(Fingerprint::new(
        &anomaly.kind,
        system,
        &spec.workload,
        shape,
    ))
}

/// Checkers stand in the order in which a reader wants them; so do a checker's anomalies, of which
/// the kind that sorts first is taken where several are there: which of them comes first depends on
/// the keys.
fn most_telling(analyses: &[Analysis]) -> Option<(&Analysis, &Anomaly)> {
    let analysis = analyses
        .iter()
        .find(|a| a.verdict == Verdict::Invalid && !a.anomalies.is_empty())?;
    let first = analysis.anomalies.iter().min_by_key(|a| &a.kind)?;
    Some((analysis, first))
}

/// What was done, each once: how many of each there are is chance.
fn operations(anomaly: &Anomaly, history: &History) -> String {
    let ops = anomaly.ops.iter().filter_map(|index| history.find(*index));
    let fs: BTreeSet<String> = ops.map(|op| op.f.to_string()).collect();
    fs.into_iter().collect::<Vec<_>>().join("+")
}

/// The families of the faults that the run had.
fn faults(history: &History) -> String {
    let spans = fault::spans(history);
    let held = spans.iter().filter(|span| span.held());
    let families: BTreeSet<&str> = held.map(|span| span.family.as_str()).collect();
    match families.is_empty() {
        true => String::new(),
        false => format!(
            " under {}",
            families.into_iter().collect::<Vec<_>>().join("+")
        ),
    }
}
