//! What `compare` and `sweep` have in common: questions, the runs that answer them, and what was
//! measured in those.
//!
//! A question is the specification of a run. It is planned, as `schism run` would, before anything
//! starts: so everything that is wrong is said at once, and runs that the store already has are
//! known by what was asked and by their schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use checkers::Verdict;
use clap::Args;
use history::store::{Run, Store};
use history::wording::{counted, either};
use nemeses::schedule::Schedule;
use report::experiment::{Measure, Trial};
use workloads::systems::TimeRule;

use crate::batch;
use crate::exit::Failure;
use crate::flags::{self, StoreArgs};
use crate::judged::Outcome;
use crate::load::LoadArgs;
use crate::measures;
use crate::output;
use crate::plan::Plan;
use crate::spec::{Drawing, Spec, quoted};
use crate::terminal;
use crate::wanted::{Faults, Wanted};

/// What `compare` and `sweep` have in common.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// What to ask: see `schism workloads` [default: the system's; of two systems the first one's]
    #[arg(long, short, value_name = "NAME")]
    pub workload: Option<String>,
    #[command(flatten)]
    pub drawing: Drawing,
    /// Number of nodes, 1 to 9 [default: the system's; of two systems the fewer]
    #[arg(long, short, value_name = "N")]
    pub nodes: Option<usize>,
    /// Runs of each kind, each with a seed of its own
    ///
    /// An interval of 95 % needs at least six.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1, value_name = "SEED", hide_short_help = true)]
    pub first_seed: u64,
    /// Length of each run's main phase
    #[arg(long, short, value_parser = flags::duration, default_value = "30s", value_name = "TIME")]
    pub time_limit: Duration,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Write the page here [default: into the store]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// For the help of both.
pub const CODES: &str = "Exit codes:
   0  every run has a result, whatever its verdict
   4  infra    some run has none, or the harness could not do its work
  64  usage    the command line is wrong";

/// As many as the interval's arithmetic takes.
const MOST_SEEDS: u64 = 1_000;

/// One run to be made.
#[derive(Clone)]
pub struct Question {
    title: String,
    pub spec: Spec,
    pub schedule: Schedule,
    pub time_rules: &'static [TimeRule],
}

/// However it is put: with faults that are drawn, or the same ones from a file.
impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        self.spec.asks_the_same(&other.spec) && self.schedule == other.schedule
    }
}

impl Question {
    /// # Errors
    /// Everything that the run itself would answer with a usage error.
    pub fn new(title: String, wanted: Wanted) -> Result<Question, Failure> {
        let plan = Plan::new(wanted.settle()?)?;
        Ok(Question {
            title,
            time_rules: plan.time_rules,
            spec: plan.spec,
            schedule: plan.schedule,
        })
    }

    /// Whether a run of the store answers it.
    fn is(&self, run: &Run, spec: &Spec) -> bool {
        let nodes = self.spec.node_names();
        self.spec.asks_the_same(spec)
            && run.schedule().is_file()
            && Schedule::load(&run.schedule(), &nodes).is_ok_and(|s| s == self.schedule)
    }
}

impl batch::Job for Question {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }
}

/// Runs with their figures, and the measures that there are.
pub struct Answers {
    pub trials: Vec<Trial>,
    pub measures: Vec<Measure>,
}

impl ExperimentArgs {
    pub fn check(&self) -> Result<(), Failure> {
        match (1..=MOST_SEEDS).contains(&self.seeds) {
            true => Ok(()),
            false => Err(Failure::Usage(format!(
                "--seeds {}: 1 to {MOST_SEEDS}, and six or more for an interval of 95 %",
                self.seeds
            ))),
        }
    }

    pub fn seeds(&self) -> Vec<u64> {
        (0..self.seeds).map(|n| self.first_seed + n).collect()
    }

    /// Faults that are drawn.
    pub fn drawn(&self, nemesis: &str) -> Faults {
        Faults::Drawn {
            nemesis: nemesis.to_string(),
            // Of no faults there is nothing to say.
            drawing: match nemesis {
                "none" => Drawing::default(),
                _ => self.drawing.clone(),
            },
        }
    }

    /// What all runs share.
    pub fn wanted(&self, system: &str, faults: Faults, seed: u64) -> Wanted {
        self.load.on(Wanted {
            system: Some(system.to_string()),
            workload: self.workload.clone(),
            faults: Some(faults),
            nodes: self.nodes,
            time_limit: Some(self.time_limit),
            seed: Some(seed),
            ..Wanted::default()
        })
    }

    /// What was asked, for the head of a page.
    pub fn asked(&self, spec: &Spec) -> Vec<(String, String)> {
        let last = self.first_seed + self.seeds - 1;
        let seeds = match self.seeds {
            1 => format!("1 ({last})"),
            n => format!("{n} ({} to {last})", self.first_seed),
        };
        let pair = |name: &str, value: String| (name.to_string(), value);
        let mut asked = vec![
            pair("seeds", seeds),
            pair("workload", spec.workload.clone()),
            pair("nodes", spec.nodes.to_string()),
            pair("each run", format!("{:?}", spec.time_limit())),
            pair(
                "offered",
                format!(
                    "{} ops/s, {}, by {} {} clients",
                    spec.rate, spec.load, spec.concurrency, spec.clients
                ),
            ),
        ];
        if !spec.drawing.is_default() {
            asked.push(pair("faults", spec.drawing.to_string()));
        }
        asked.push(pair(
            "machine",
            format!(
                "{} cores, {}, {}",
                spec.machine.cores, spec.machine.arch, spec.machine.kernel
            ),
        ));
        asked
    }

    /// Makes the runs that the store does not have yet. The trials are in the order of the
    /// questions.
    pub fn answer(&self, questions: &[Question]) -> Result<Answers, Failure> {
        let store = Store::new(&self.store.store);
        let at_once = self.jobs.unwrap_or_else(batch::default_jobs).max(1);
        let mut made = batch::recall_all(&store, |run, spec| {
            questions.iter().find(|q| q.is(run, spec)).cloned()
        })?;
        // What the harness could not do it may do now.
        made.retain(|m| matches!(&m.outcome, Ok(o) if o.verdict != Verdict::Infra));
        let mut left: Vec<Question> = Vec::new();
        for question in questions {
            if !made.iter().any(|m| m.job == *question) && !left.contains(question) {
                left.push(question.clone());
            }
        }
        terminal::tell(format!(
            "{}, {} of them already in {}, {at_once} at a time",
            counted(made.len() + left.len(), "run"),
            made.len(),
            store.root().display()
        ));
        made.extend(batch::run_all(left, at_once, store.root(), |_| false)?);

        let mut units = BTreeMap::new();
        for outcome in made.iter().filter_map(|m| m.outcome.as_ref().ok()) {
            units.extend(measures::units(&outcome.judged.analyses));
        }
        let of = |question: &Question| {
            let made = made.iter().find(|m| m.job == *question);
            let made = made.expect("every question was asked");
            trial(question.spec.seed, &made.outcome)
        };
        Ok(Answers {
            trials: questions.iter().map(of).collect(),
            measures: measures::measures(&units),
        })
    }

    /// Where the page goes.
    pub fn page(&self, name: &str) -> PathBuf {
        match &self.output {
            Some(path) => path.clone(),
            None => self.store.store.join(format!("{name}.html")),
        }
    }
}

/// The command that makes a page again, as it was given.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1);
    let words = words.map(|word| word.to_string_lossy().into_owned());
    quoted(
        &["schism".to_string()]
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>(),
    )
}

fn trial(seed: u64, outcome: &Result<Outcome, String>) -> Trial {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            return Trial {
                seed,
                run: String::new(),
                verdict: None,
                anomalies: Vec::new(),
                figures: BTreeMap::new(),
                bounds: BTreeSet::new(),
                error: Some(error.clone()),
            };
        }
    };
    // What speaks against the run itself is no finding about the system.
    let mut anomalies: Vec<String> = outcome
        .judged
        .analyses
        .iter()
        .filter(|a| a.verdict == Verdict::Invalid)
        .flat_map(|a| a.anomalies.iter().map(|anomaly| anomaly.kind.clone()))
        .collect();
    anomalies.sort();
    anomalies.dedup();
    let (figures, bounds) = match outcome.verdict {
        // They measure the harness's failure.
        Verdict::Infra => Default::default(),
        _ => (
            measures::figures(&outcome.judged.analyses),
            measures::bounds(&outcome.judged.analyses),
        ),
    };
    Trial {
        seed,
        run: outcome.run.clone(),
        verdict: Some(outcome.verdict),
        anomalies,
        figures,
        bounds,
        error: None,
    }
}

/// Writes the page, prints text or JSON, says where the page is. The exit code speaks of the
/// harness and not of the systems: infra if any run has no result.
pub fn conclude<'a>(
    page: &Path,
    html: &str,
    text: &str,
    json: bool,
    trials: impl IntoIterator<Item = &'a Trial>,
) -> Result<ExitCode, Failure> {
    let fail = |e: std::io::Error| Failure::Infra(format!("cannot write {}: {e}", page.display()));
    if let Some(folder) = page.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let written = output::put(page, html.as_bytes()).map_err(fail);
    terminal::line(text.trim_end());
    // What was found is said before what could not be written.
    written?;
    match json {
        true => terminal::tell(format!("page     {}", page.display())),
        false => terminal::line(format!("\npage     {}", page.display())),
    }
    let failed = |t: &Trial| t.verdict.is_none_or(|v| v == Verdict::Infra);
    let failed = trials.into_iter().filter(|t| failed(t)).count();
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        n => {
            terminal::tell(format!(
                "{} gave no result, and {} in no figure; the same command tries {} again",
                counted(n, "run"),
                either(n, "is", "are"),
                either(n, "it", "them")
            ));
            Ok(ExitCode::from(Verdict::Infra.exit_code()))
        }
    }
}
