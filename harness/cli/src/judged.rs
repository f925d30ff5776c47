//! A run that is judged: what is printed of it, and what is kept with it.

use std::process::ExitCode;

use checkers::Verdict;
use harness::run::Judged;
use history::store::Run;
use history::wording::counted;
use history::{History, file};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, code};
use crate::logs;
use crate::spec::Spec;
use crate::summary::{self, Rest};
use crate::terminal;

/// How often a run ended alike when it was repeated with the same programs: `repeats.json`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Repeats {
    pub alike: u64,
    pub of: u64,
    /// Holds the true rate with 95 %.
    pub interval: (f64, f64),
}

impl Repeats {
    /// `in 4 of 10 repeats (12 to 74 % with 95 % confidence)`.
    pub fn words(self) -> String {
        let percent = |part: f64| (100.0 * part).round();
        format!(
            "in {} of {} ({} to {} % with 95 % confidence)",
            self.alike,
            counted(self.of as usize, "repeat"),
            percent(self.interval.0),
            percent(self.interval.1)
        )
    }

    pub fn load(run: &Run) -> Option<Repeats> {
        let text = file::read(&run.repeats(), MOST_REPEATS).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps them with the run, and shows them in its report.
    pub fn keep(self, run: &Run, spec: &Spec) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(&self).map_err(Failure::infra)?;
        run.write(&run.repeats(), &text).map_err(Failure::infra)?;
        let history = run.load().map_err(Failure::infra)?.history;
        let page = page(run, spec, &history, &load_results(run)?)?;
        run.write(&run.report(), page.as_bytes())
            .map_err(Failure::infra)
    }
}

/// Bytes of a run's files, of whosever run it is.
const MOST_REPEATS: u64 = 1 << 16;
const MOST_RESULTS: u64 = 1 << 30;
const MOST_SCHEDULE: u64 = 64 << 20;
/// Anomalies around which logs are told whole.
const MOST_MOMENTS: usize = 16;

/// What `--json` prints.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub run: String,
    pub verdict: Verdict,
    /// Kinds of all anomalies, the most telling first.
    pub anomalies: Vec<String>,
    /// When the first anomaly was complete, in seconds since the start of the main phase.
    pub found_at_s: Option<f64>,
    pub seed: u64,
    /// What is not as the scenario expects, if the run is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Vec<String>>,
    pub judged: Judged,
}

/// Step 9, the files: results and report.
pub fn conclude(run: &Run, spec: &Spec, history: &History, judged: &Judged) -> Result<(), Failure> {
    let results = serde_json::to_vec_pretty(judged).map_err(Failure::infra)?;
    run.write(&run.results(), &results)
        .map_err(Failure::infra)?;
    let page = page(run, spec, history, judged)?;
    run.write(&run.report(), page.as_bytes())
        .map_err(Failure::infra)
}

/// The report.
pub fn page(run: &Run, spec: &Spec, history: &History, judged: &Judged) -> Result<String, Failure> {
    let mut shown = serde_json::to_value(Spec {
        // The page shows the faults themselves.
        schedule: None,
        ..spec.clone()
    })
    .map_err(Failure::infra)?;
    shown["versions"] = judged.notes.versions.clone().into();
    shown["programs"] = serde_json::to_value(&judged.notes.programs).map_err(Failure::infra)?;
    if let Some(delay) = judged.notes.recorder_delay {
        shown["recorder_delay"] = serde_json::to_value(delay).map_err(Failure::infra)?;
    }
    let schedule = file::read(&run.schedule(), MOST_SCHEDULE).ok();
    let schedule = schedule.and_then(|text| String::from_utf8(text).ok());
    let seen = judged.analyses.iter().flat_map(|a| &a.anomalies);
    let seen = seen.take(MOST_MOMENTS).flat_map(|anomaly| &anomaly.ops);
    let moments: Vec<_> = seen
        .filter_map(|op| Some(history.find(*op)?.call))
        .collect();
    Ok(report::render(&report::Input {
        system: &spec.system,
        workload: &spec.workload,
        origin: report::Origin::Run,
        command: &command_line(run, spec),
        repeated: Repeats::load(run).map(Repeats::words).as_deref(),
        spec: &shown,
        schedule: schedule.as_deref(),
        nodes: &spec.node_names(),
        history,
        analyses: &judged.analyses,
        verdict: judged.verdict,
        told: &logs::told(run, history, &moments),
        warnings: &judged.notes.warnings,
    }))
}

/// For a shell that stands in any folder.
pub fn command_line(run: &Run, spec: &Spec) -> String {
    let folder = std::path::absolute(run.path()).unwrap_or_else(|_| run.path().into());
    let store = folder.parent().unwrap_or(&folder);
    spec.command(&folder.join("spec.json"), store)
}

pub fn load_results(run: &Run) -> Result<Judged, Failure> {
    let path = run.results();
    let text = file::read(&path, MOST_RESULTS).map_err(|e| {
        let (path, run_name) = (path.display(), run.name());
        Failure::Usage(match run.is_live() {
            true => format!("cannot read {path}: {e}; the run still goes on"),
            false => format!("cannot read {path}: {e}; `schism check {run_name}` judges the run"),
        })
    })?;
    serde_json::from_slice(&text).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
}

/// What `--json` printed for a run that is over.
pub fn recall(run: &Run) -> Result<Outcome, Failure> {
    let judged = load_results(run)?;
    let history = run.load().map_err(Failure::infra)?.history;
    Ok(outcome(run, &Spec::load(run)?, &history, judged))
}

pub fn outcome(run: &Run, spec: &Spec, history: &History, judged: Judged) -> Outcome {
    let all = || judged.analyses.iter().flat_map(|a| &a.anomalies);
    let found = all().filter_map(|anomaly| summary::complete(anomaly, history));
    let found = found.min().map(|at| at.as_nanos());
    Outcome {
        run: run.path().display().to_string(),
        verdict: judged.verdict,
        anomalies: all().map(|a| a.kind.clone()).collect(),
        found_at_s: found.map(|at| at.saturating_sub(judged.notes.main_from_ns) as f64 / 1e9),
        seed: spec.seed,
        unmet: None,
        judged,
    }
}

/// The result on stdout, the verdict as the exit code.
pub fn print(
    title: &str,
    judged: &Judged,
    history: &History,
    rest: Rest,
    json: bool,
) -> Result<ExitCode, Failure> {
    match json {
        true => terminal::json(judged),
        false => terminal::page(&summary::lines(title, judged, history, rest)),
    }
    Ok(code(judged.verdict))
}
