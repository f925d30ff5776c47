//! By what an anomaly is known again, whatever the seed.
//!
//! Two runs that went wrong in the same way differ in nearly everything: which key, which nodes,
//! when, how many anomalies there are, and which symptoms clients saw of it. What stays is *what*
//! went wrong, as near to its cause as anybody saw, *where* (system with its parameters, workload),
//! and the shape of its core: which checker saw it, which kinds of operations it takes, and which
//! families of faults, if any are needed. How well that holds has been measured:
//! `harness/docs/nightly.md`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use checkers::{Analysis, Anomaly, Verdict};
use clap::Args;
use history::store::{Run, Store};
use history::{History, fault};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::judged::load_results;
use crate::spec::Spec;
use crate::terminal::{self, word};

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

#[derive(Debug, Args)]
pub struct FingerprintArgs {
    /// Runs' names, `latest`, or runs' folders
    #[arg(default_value = "latest")]
    pub runs: Vec<String>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `schism fingerprint`: what a line of known.toml is about.
pub fn command(args: &FingerprintArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    for name in &args.runs {
        let run = store.open(name).map_err(Failure::usage)?;
        let name = run.name();
        terminal::line(match of_run(&run)? {
            Some(print) => {
                let parts = [&print.kind, &print.system, &print.workload, &print.shape];
                let parts = parts.map(|part| word(part)).join("; ");
                format!("{}  {}  {parts}", print.id, word(&name))
            }
            None => format!("{:<12}  {}  it is not invalid", "-", word(&name)),
        });
    }
    Ok(ExitCode::SUCCESS)
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

/// Kinds that stand nearer to a cause than what clients see, the nearest first: what a node forgot,
/// a rule that it broke, what it made of that. Of the first, all that are there are taken: a disk
/// that loses everything is another bug than one that loses promises.
const FORGOTTEN: &[&str] = &["accepted value forgotten", "promise forgotten"];
const CAUSES: &[&str] = &[
    "work not proven",
    "time not past the median",
    "left for less work",
    "left for equal work",
    "transaction given up",
    "decided without a quorum",
    "chosen value replaced",
    "applied twice",
    "transaction twice",
    "two values in one slot",
    "divergent logs",
    "conflicting confirmed blocks",
];

/// What is taken for what went wrong.
struct Core<'a> {
    kind: String,
    checker: &'a str,
    /// All anomalies of this kind.
    anomalies: Vec<&'a Anomaly>,
}

fn of(spec: &Spec, analyses: &[Analysis], history: &History) -> Option<Fingerprint> {
    let core = core(analyses)?;
    let params = spec.params.iter().map(|(k, v)| format!(" {k}={v}"));
    let system = spec.system.clone() + &params.collect::<String>();
    let checker = core.checker;
    let shape = format!(
        "{checker} of {}{}",
        operations(&core, history),
        faults(&core, history)
    );
    Some(Fingerprint::new(&core.kind, system, &spec.workload, shape))
}

fn core(analyses: &[Analysis]) -> Option<Core<'_>> {
    let invalid = analyses.iter().filter(|a| a.verdict == Verdict::Invalid);
    let found: Vec<(&str, &Anomaly)> = invalid
        .flat_map(|a| {
            a.anomalies
                .iter()
                .map(|anomaly| (a.checker.as_str(), anomaly))
        })
        .collect();
    let of = |kinds: &[&str]| -> Vec<(&str, &Anomaly)> {
        let is = |(_, a): &&(&str, &Anomaly)| kinds.contains(&a.kind.as_str());
        found.iter().filter(is).copied().collect()
    };
    let causes = CAUSES.iter().map(|kind| of(&[kind]));
    // Checkers, and a checker's anomalies, stand in the order in which a reader wants them.
    let first = found
        .first()
        .map(|(_, a)| of(&[&a.kind]))
        .unwrap_or_default();
    let taken = [of(FORGOTTEN)].into_iter().chain(causes).chain([first]);
    let taken = taken.into_iter().find(|taken| !taken.is_empty())?;
    let kinds: BTreeSet<&str> = taken.iter().map(|(_, a)| a.kind.as_str()).collect();
    Some(Core {
        kind: kinds.into_iter().collect::<Vec<_>>().join(", "),
        checker: taken[0].0,
        anomalies: taken.into_iter().map(|(_, a)| a).collect(),
    })
}

/// What was done, each once: how many of each there are is chance, and so is what else one of many
/// has.
fn operations(core: &Core, history: &History) -> String {
    let fs = |anomaly: &&Anomaly| -> BTreeSet<String> {
        let ops = anomaly.ops.iter().filter_map(|index| history.find(*index));
        ops.map(|op| op.f.to_string()).collect()
    };
    let least = core
        .anomalies
        .iter()
        .map(fs)
        .min_by_key(|fs| (fs.len(), fs.clone()));
    least
        .unwrap_or_default()
        .into_iter()
        .collect::<Vec<_>>()
        .join("+")
}

/// The families of the faults that the run had, unless it goes wrong without any: where operations
/// that contradict each other are all past before a fault begins, or begin when all are over.
fn faults(core: &Core, history: &History) -> String {
    let spans = fault::spans(history);
    let held: Vec<_> = spans.iter().filter(|span| span.held()).collect();
    // What is judged when all faults are over says nothing of when it came about.
    let afterwards = ["recovery", "completeness"].contains(&core.checker);
    let quiet = !afterwards
        && core.anomalies.iter().any(|anomaly| {
            let ops: Vec<_> = anomaly
                .ops
                .iter()
                .filter_map(|index| history.find(*index))
                .collect();
            let from = ops.iter().map(|op| op.call).min();
            let until = ops.iter().map(|op| op.ret).max();
            // Nor do looks at what a node has.
            let told = ops
                .iter()
                .all(|op| !matches!(op.f.as_str(), "log" | "trace" | "head"));
            let (Some(from), Some(until)) = (from, until) else {
                return false;
            };
            told && held
                .iter()
                .all(|span| span.until < from || until < span.from)
        });
    if quiet {
        return " without any fault".into();
    }
    let families: BTreeSet<&str> = held.iter().map(|span| span.family.as_str()).collect();
    match families.is_empty() {
        true => String::new(),
        false => format!(
            " under {}",
            families.into_iter().collect::<Vec<_>>().join("+")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis(checker: &str, kinds: &[&str]) -> Analysis {
        let anomaly = |kind: &&str| Anomaly {
            kind: kind.to_string(),
            ..Anomaly::default()
        };
        Analysis::of_anomalies(checker, "", kinds.iter().map(anomaly).collect())
    }

    #[test]
    fn what_stands_nearest_to_the_cause_is_taken_whatever_symptoms_there_are() {
        let register = || analysis("linearizable", &["stale read", "order inverted"]);
        let kind = |analyses: &[Analysis]| core(analyses).map(|core| core.kind);
        let is = |kind: &str| Some(kind.to_string());
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[analysis("set", &[])]), None);
        assert_eq!(kind(&[register()]), is("stale read"));
        let quorum = ["two values in one slot", "decided without a quorum"];
        let quorum = || analysis("agreement", &quorum);
        assert_eq!(
            kind(&[register(), quorum()]),
            is("decided without a quorum")
        );
        assert_eq!(kind(&[quorum()]), is("decided without a quorum"));
        let both = analysis(
            "agreement",
            &["promise forgotten", "accepted value forgotten"],
        );
        let all = [register(), quorum(), both];
        assert_eq!(
            kind(&all),
            is("accepted value forgotten, promise forgotten")
        );
        // Checkers that found nothing, and kinds that nobody has heard of, change nothing.
        let mine = analysis("mine", &["a new kind", "stale read"]);
        assert_eq!(kind(&[analysis("set", &[]), mine]), is("a new kind"));
    }

    /// Known issues are written down: what makes a fingerprint is not to change by chance.
    #[test]
    fn a_fingerprint_depends_on_all_its_parts_and_stays() {
        let print = |kind: &str, system: &str, workload: &str, shape: &str| {
            Fingerprint::new(kind, system.into(), workload, shape.into()).id
        };
        let base = print("stale read", "etcd", "register", "s");
        // By another program, from the same parts.
        assert_eq!(base, "e7c88ab53d6b");
        for other in [
            print("lost update", "etcd", "register", "s"),
            print("stale read", "etcd reads=x", "register", "s"),
            print("stale read", "etcd", "registe", "rs"),
            print("stale read", "etcd", "register", "t"),
        ] {
            assert_ne!(base, other);
        }
    }
}
