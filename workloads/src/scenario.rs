//! Scenarios: files that put a system, a workload and faults together, and say what must come of
//! it.
//!
//! ```toml
//! about = "a deposed leader answers reads from its own state"
//! system = "paxos-kv"
//! workload = "register"
//! nodes = 5
//! nemesis = "partition"
//! time-limit = "60s"
//! rate = 200                  # operations offered a second
//! concurrency = 10            # clients
//! recovery-time = "45s"       # if it is not the system's: see harness/docs/verdicts.md
//! may-crash = true            # a daemon may end by itself
//!
//! [params]                    # of the system and of the workload
//! reads = "lease"
//!
//! [planted]                   # what makes it go wrong
//! flaw = "stale-read-leader"  # a flaw of the system, or
//! params = { keys = "1" }     # parameters that override those above
//!
//! [expect]
//! verdict = "invalid"
//! anomalies = ["stale read"]  # at least one of these kinds is found
//! clean = "valid"             # the verdict of the clean twin: the same without [planted]
//! figures = { "chain/confirmations enough" = "3..20" }   # what checkers must have measured
//! ```
//!
//! Where the faults must be exactly those, `schedule = "FILE"` takes the place of `nemesis`: a
//! schedule, as `harness/docs/nemeses.md` describes it, beside the scenario.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use checkers::{Analysis, Verdict, gauges};
use harness::nearest::nearest;
use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use crate::params::{ParamError, Params, hint, parse_duration};
use crate::systems::{self, Entry, Setup};
use crate::workload::Workload;

/// One run, with what must come of it.
#[derive(Clone)]
pub struct Scenario {
    /// Name of the file, without `.toml`.
    pub name: String,
    /// One line for people.
    pub about: String,
    pub system: &'static Entry,
    pub workload: &'static dyn Workload,
    pub nodes: usize,
    /// Faults, as the command line takes them: `partition`, `pause,clock`, `kill:leader+clock`;
    /// empty for none.
    pub nemesis: String,
    /// The file with the faults, where they are not drawn.
    pub schedule: Option<PathBuf>,
    pub time_limit: Duration,
    /// Operations offered a second.
    pub rate: f64,
    pub concurrency: usize,
    /// How long a healed node has to serve again, if not as long as the system says.
    pub recovery_time: Option<Duration>,
    /// Whether daemons may end by themselves.
    pub may_crash: bool,
    /// What is set, the planted parameters included.
    pub setup: Setup,
    pub workload_params: Params,
    pub expect: Expect,
    twin: Option<Box<Scenario>>,
}

/// What must come of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    pub verdict: Verdict,
    /// Kinds of anomalies, at least one of which is found; empty if it does not matter which.
    pub anomalies: Vec<String>,
    /// By `checker/figure`, from least to most.
    pub figures: Vec<(String, RangeInclusive<f64>)>,
}

impl Expect {
    /// This verdict, whatever was found or measured.
    fn only(verdict: Verdict) -> Expect {
        Expect {
            verdict,
            anomalies: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// What is not as expected, one sentence each.
    pub fn unmet(&self, verdict: Verdict, analyses: &[Analysis]) -> Vec<String> {
        let mut unmet = Vec::new();
        if verdict != self.verdict {
            let (wanted, found) = (self.verdict.word(), verdict.word());
            unmet.push(format!("the verdict is {found}, not {wanted}"));
        }
        let mut found = analyses.iter().flat_map(|analysis| &analysis.anomalies);
        let wanted = &self.anomalies;
        if !wanted.is_empty() && !found.any(|anomaly| wanted.contains(&anomaly.kind)) {
            unmet.push(format!("there is no {}", wanted.join(", nor a ")));
        }
        for (name, range) in &self.figures {
            let (least, most) = (range.start(), range.end());
            match figure(analyses, name) {
                None => unmet.push(format!("nothing measured {name} as a number")),
                Some(value) if range.contains(&value) => {}
                Some(value) => unmet.push(format!("{name} is {value}, not {least} to {most}")),
            }
        }
        unmet
    }
}

/// `checker/figure`, and further names for what is inside one.
fn figure(analyses: &[Analysis], path: &str) -> Option<f64> {
    let mut names = path.split('/');
    let checker = names.next()?;
    let name = names.next()?;
    let analysis = analyses
        .iter()
        .find(|analysis| analysis.checker == checker)?;
    let figure = analysis.figures.iter().find(|figure| figure.name == name)?;
    let inside = names.try_fold(&figure.value, |value, name| value.get(name));
    inside?.as_f64()
}

/// `3..20` or `7`.
fn parse_range(text: &str) -> Option<RangeInclusive<f64>> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most): (f64, f64) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
    (least <= most).then_some(least..=most)
}

impl Scenario {
    /// The same without what was planted, and with the verdict that is due then. None if nothing
    /// was planted.
    pub fn twin(&self) -> Option<&Scenario> {
        self.twin.as_deref()
    }

    /// The families of faults that it names.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        let faults = self.nemesis.split([',', '+']);
        let families = faults.filter_map(|fault| fault.split(':').next());
        families.map(str::trim).filter(|family| !family.is_empty())
    }
}

/// Where a scenario file is wrong. Lines and columns count from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}:{line}:{column}: {message}", .path.display())]
pub struct ScenarioError {
    pub path: PathBuf,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    about: String,
    system: Spanned<String>,
    workload: Spanned<String>,
    nodes: Spanned<usize>,
    nemesis: Option<String>,
    schedule: Option<Spanned<PathBuf>>,
    time_limit: Spanned<String>,
    rate: Spanned<f64>,
    concurrency: Spanned<usize>,
    recovery_time: Option<Spanned<String>>,
    #[serde(default)]
    may_crash: bool,
    #[serde(default)]
    params: Given,
    planted: Option<Spanned<Planted>>,
    expect: Spanned<FileExpect>,
}

type Given = BTreeMap<Spanned<String>, Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Planted {
    flaw: Option<String>,
    #[serde(default)]
    params: Given,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileExpect {
    verdict: Verdict,
    #[serde(default)]
    anomalies: Vec<String>,
    clean: Option<Verdict>,
    #[serde(default)]
    figures: Given,
}

/// What is wrong, and where in the text.
struct Wrong {
    at: Range<usize>,
    message: String,
}

fn wrong(at: Range<usize>, message: impl ToString) -> Wrong {
    Wrong {
        at,
        message: message.to_string(),
    }
}

impl Scenario {
    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// What is wrong with it and where; whether the system has the flaw is found out when it is set
    /// up.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Scenario::parse(path, &text),
            Err(e) => Err(ScenarioError {
                path: path.to_path_buf(),
                line: 1,
                column: 1,
                message: format!("cannot be read: {e}"),
            }),
        }
    }

    /// Reads a scenario from the text of a file; `path` is for its name and for messages.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Scenario, ScenarioError> {
        read(path, text).map_err(|Wrong { at, message }| {
            let before = &text[..at.start.min(text.len())];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ScenarioError {
                path: path.to_path_buf(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message,
            }
        })
    }
}

fn read(path: &Path, text: &str) -> Result<Scenario, Wrong> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let file: File =
        toml::from_str(text).map_err(|e| wrong(e.span().unwrap_or_default(), e.message()))?;
    let system = systems::find(file.system.get_ref()).map_err(|e| wrong(file.system.span(), e))?;
    let workload = system
        .workload_named(file.workload.get_ref())
        .map_err(|e| wrong(file.workload.span(), e))?;
    check(&file, system, workload)?;
    let time_limit = duration(&file.time_limit)?;
    let recovery_time = file.recovery_time.as_ref().map(duration).transpose()?;
    let schedule = match (&file.schedule, &file.nemesis) {
        (Some(schedule), Some(_)) => {
            let message = "faults are drawn as `nemesis` says or are those of `schedule`: not both";
            return Err(wrong(schedule.span(), message));
        }
        (Some(schedule), None) => Some(path.with_file_name(schedule.get_ref())),
        (None, _) => None,
    };
    let resolve = |given: &[&Given]| resolve(system, workload, given);
    let expected = file.expect.get_ref();
    let scenario = |(params, workload_params), flaws, expect, twin| Scenario {
        name: name.to_string(),
        about: file.about.clone(),
        system,
        workload,
        nodes: *file.nodes.get_ref(),
        nemesis: file.nemesis.clone().unwrap_or_default(),
        schedule: schedule.clone(),
        time_limit,
        rate: *file.rate.get_ref(),
        concurrency: *file.concurrency.get_ref(),
        recovery_time,
        may_crash: file.may_crash,
        setup: Setup {
            params,
            flaws,
            seed: 0,
            workload: workload.name().into(),
        },
        workload_params,
        expect,
        twin,
    };
    let expect = Expect {
        verdict: expected.verdict,
        anomalies: expected.anomalies.clone(),
        figures: ranges(&expected.figures)?,
    };
    match (&file.planted, expected.clean) {
        (None, None) => Ok(scenario(
            resolve(&[&file.params])?,
            Vec::new(),
            expect,
            None,
        )),
        (None, Some(_)) => {
            let message = "`clean` is the verdict without [planted], and nothing is planted";
            Err(wrong(file.expect.span(), message))
        }
        (Some(planted), None) => {
            let message = "something is planted: [expect] must say `clean`, the verdict without it";
            Err(wrong(planted.span(), message))
        }
        (Some(planted), Some(verdict)) => {
            let Planted { flaw, params } = planted.get_ref();
            let twin = scenario(
                resolve(&[&file.params])?,
                Vec::new(),
                Expect::only(verdict),
                None,
            );
            let flaws = flaw.iter().cloned().collect();
            let params = resolve(&[&file.params, params])?;
            Ok(scenario(params, flaws, expect, Some(Box::new(twin))))
        }
    }
}

fn duration(text: &Spanned<String>) -> Result<Duration, Wrong> {
    let message = "this is not a duration such as 30s or 2m";
    parse_duration(text.get_ref()).ok_or_else(|| wrong(text.span(), message))
}

/// Refuses numbers that cannot be, and a workload that the system cannot serve.
fn check(file: &File, system: &Entry, workload: &dyn Workload) -> Result<(), Wrong> {
    if let Some(lacks) = workload
        .needs()
        .iter()
        .find(|needed| !system.interfaces.contains(needed))
    {
        let message = format!(
            "it needs the interface {lacks}, which {} lacks",
            system.name
        );
        return Err(wrong(file.workload.span(), message));
    }
    if !(1..=9).contains(file.nodes.get_ref()) {
        return Err(wrong(file.nodes.span(), "there can be 1 to 9 nodes"));
    }
    let rate = *file.rate.get_ref();
    if !(rate.is_finite() && rate > 0.0) {
        return Err(wrong(file.rate.span(), "the rate must be above zero"));
    }
    if !(1..=10_000).contains(file.concurrency.get_ref()) {
        let message = "there can be 1 to 10000 clients";
        return Err(wrong(file.concurrency.span(), message));
    }
    Ok(())
}

fn ranges(figures: &Given) -> Result<Vec<(String, RangeInclusive<f64>)>, Wrong> {
    figures.iter().map(range).collect()
}

fn range(
    (name, text): (&Spanned<String>, &Spanned<String>),
) -> Result<(String, RangeInclusive<f64>), Wrong> {
    if gauges::described(name.get_ref()).is_none() {
        let known: Vec<String> = gauges::paths().collect();
        let near = nearest(name.get_ref(), known.iter().map(String::as_str));
        let message = format!(
            "no checker measures this as a number{}",
            hint(&near.map(str::to_string))
        );
        return Err(wrong(name.span(), message));
    }
    let range = parse_range(text.get_ref());
    let range = range.ok_or_else(|| {
        let message = "this is not a number, nor a range such as \"3..20\"";
        wrong(text.span(), message)
    })?;
    Ok((name.get_ref().clone(), range))
}

/// Parameters of the system and of the workload; later ones override earlier ones.
fn resolve(
    system: &Entry,
    workload: &dyn Workload,
    given: &[&Given],
) -> Result<(Params, Params), Wrong> {
    let all = || given.iter().flat_map(|given| given.iter());
    let pairs = all().map(|(name, value)| (name.get_ref().as_str(), value.get_ref().as_str()));
    Params::resolve_both(system.params, &workload.params(), pairs).map_err(|e| {
        let (wanted, in_value) = match &e {
            ParamError::Unknown { name, .. } => (name, false),
            ParamError::Value { name, .. } => (name, true),
        };
        let found = all().rfind(|(name, _)| name.get_ref() == wanted);
        let at = found.map(|(name, value)| match in_value {
            true => value.span(),
            false => name.span(),
        });
        wrong(at.unwrap_or_default(), e)
    })
}

#[cfg(test)]
mod tests;
