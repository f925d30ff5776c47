//! `schism replay`: a run once more, with the same faults at the same times, to see how often it
//! ends as it did.

use std::path::Path;
use std::process::ExitCode;

use checkers::Verdict;
use clap::Args;
use history::file;
use history::store::{Run, Store};
use history::wording::counted;
use serde::Serialize;

use crate::batch::{self, Again, Made, default_jobs};
use crate::chance::{self, Clear};
use crate::exit::{Failure, code};
use crate::flags::StoreArgs;
use crate::judged::{Outcome, Repeats, recall};
use crate::machines::Kind;
use crate::spec::Spec;
use crate::terminal::{self, word};

/// Bytes of a schedule's file.
const MOST_SCHEDULE: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Faults, seed, parameters and flaws are the run's own. A run ends alike if it has the same verdict
and, where that is invalid, an anomaly of a kind that the run had. Runs stop when a sequential test
(Wald 1945) knows whether that happens at least every second time or at most once in twenty.

Exit codes:
   0  every run has a result, whatever its verdict
   4  infra    some run has none, or the harness could not do its work
  64  usage    the command line is wrong"
)]
pub struct ReplayArgs {
    /// A run's name, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// At most so many runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub runs: u64,
    /// Make all of them, however soon the answer is clear
    #[arg(long)]
    pub all: bool,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short)]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Replayed {
    run: String,
    verdict: Verdict,
    anomalies: Vec<String>,
    /// Runs that ended alike, of those with a verdict on the system.
    alike: u64,
    of: u64,
    /// Holds the true rate with 95 %, if nothing was stopped early.
    interval: (f64, f64),
    /// `often` or `seldom`, if the sequential test has decided.
    clear: Option<&'static str>,
    /// Programs that are not those of the run.
    changed: Vec<String>,
    runs: Vec<One>,
}

#[derive(Serialize)]
struct One {
    run: Option<String>,
    verdict: Option<Verdict>,
    anomalies: Vec<String>,
    error: Option<String>,
}

pub fn command(args: ReplayArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    let spec = with_its_schedule(&run)?;
    if spec.cluster != Kind::Lab {
        let machines = spec.cluster.name();
        return Err(Failure::Usage(format!(
            "{} ran on {machines}, where one run at a time has the machines: `schism run --spec {}` repeats it",
            run.name(),
            run.spec().display()
        )));
    }
    let first = recall(&run)?;
    let jobs = Again::times(&spec, args.runs);
    let at_once = args.jobs.unwrap_or_else(default_jobs).max(1);
    let enough = |made: &[Made<Again>]| {
        let (k, n) = alike(&first, made);
        !args.all && chance::clear(k, n).is_some()
    };
    let made = batch::run_all(jobs, at_once, store.root(), enough)?;
    let replayed = told(&run, &first, &made);
    match args.json {
        true => terminal::json(&replayed),
        false => terminal::print(&text(&replayed, args.runs)),
    }
    // Said first: what was found out in so many runs is not lost where nothing can be written.
    if replayed.of > 0 && replayed.changed.is_empty() && store.holds(&run) {
        let repeats = Repeats {
            alike: replayed.alike,
            of: replayed.of,
            interval: replayed.interval,
        };
        if let Err(why) = Spec::load(&run).and_then(|spec| repeats.keep(&run, &spec)) {
            terminal::tell(format!("schism: {why}"));
        }
    }
    let failed = made.iter().any(|m| m.outcome.is_err());
    Ok(if failed {
        code(Verdict::Infra)
    } else {
        ExitCode::SUCCESS
    })
}

/// A run that went wrong in the lab, which alone is run again and again: how it ended, and what it
/// was with the faults that it had. `only` says what is done to no other.
pub fn wrong_in_lab(run: &Run, only: &str) -> Result<(Outcome, Spec), Failure> {
    let first = recall(run)?;
    if first.verdict != Verdict::Invalid {
        let (name, verdict) = (run.name(), first.verdict);
        return Err(Failure::Usage(format!(
            "{name} is {verdict}: only what is invalid is {only}"
        )));
    }
    let spec = with_its_schedule(run)?;
    if spec.cluster != Kind::Lab {
        let machines = spec.cluster.name();
        return Err(Failure::Usage(format!(
            "{} ran on {machines}: only the lab is run again and again",
            run.name()
        )));
    }
    Ok((first, spec))
}

/// What the run was, with the faults that it had: another version might draw others.
fn with_its_schedule(run: &Run) -> Result<Spec, Failure> {
    let spec = Spec::load(run)?;
    if spec.nemesis.as_deref() == Some("none") {
        return Ok(spec);
    }
    let path = run.schedule();
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", path.display()));
    let text = file::read(&path, MOST_SCHEDULE).map_err(|e| wrong(&e))?;
    let text = String::from_utf8(text).map_err(|e| wrong(&e))?;
    Ok(Spec {
        nemesis: None,
        schedule: Some(text),
        drawing: Default::default(),
        ..spec
    })
}

/// How many ended as the run did, of how many that ended so or have a verdict on the system: what
/// the machine was too late for, or nobody could decide, counts neither way.
fn alike(first: &Outcome, made: &[Made<Again>]) -> (u64, u64) {
    let outcomes = made.iter().filter_map(|m| m.outcome.as_ref().ok());
    let tells = |verdict| matches!(verdict, Verdict::Valid | Verdict::Invalid);
    let outcomes = outcomes.filter(|o| tells(o.verdict) || o.verdict == first.verdict);
    let (mut k, mut n) = (0, 0);
    for outcome in outcomes {
        n += 1;
        k += u64::from(is_alike(first, outcome));
    }
    (k, n)
}

pub fn is_alike(first: &Outcome, other: &Outcome) -> bool {
    let shares = |kind: &String| first.anomalies.contains(kind);
    first.verdict == other.verdict
        && (first.verdict != Verdict::Invalid || other.anomalies.iter().any(shares))
}

fn told(run: &Run, first: &Outcome, made: &[Made<Again>]) -> Replayed {
    let (k, n) = alike(first, made);
    let now = made.iter().find_map(|m| m.outcome.as_ref().ok());
    let before = &first.judged.notes.programs;
    let now = now.map(|outcome| &outcome.judged.notes.programs);
    let changed = now.into_iter().flatten().filter(|(name, hash)| {
        let was = before.get(*name);
        was.is_some_and(|was| was != *hash)
    });
    Replayed {
        run: run.name(),
        verdict: first.verdict,
        anomalies: kinds(first),
        alike: k,
        of: n,
        interval: chance::interval(k, n),
        clear: chance::clear(k, n).map(|clear| match clear {
            Clear::Often => "often",
            Clear::Seldom => "seldom",
        }),
        changed: changed.map(|(name, _)| name.clone()).collect(),
        runs: made.iter().map(one).collect(),
    }
}

/// The kinds of its anomalies, each once, the most telling first.
fn kinds(outcome: &Outcome) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for kind in &outcome.anomalies {
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }
    kinds
}

fn one(made: &Made<Again>) -> One {
    match &made.outcome {
        Ok(outcome) => One {
            run: Some(outcome.run.clone()),
            verdict: Some(outcome.verdict),
            anomalies: kinds(outcome),
            error: None,
        },
        Err(why) => One {
            run: None,
            verdict: None,
            anomalies: Vec::new(),
            error: Some(why.clone()),
        },
    }
}

fn text(replayed: &Replayed, most: u64) -> String {
    let percent = |part: f64| (100.0 * part).round();
    let (low, high) = replayed.interval;
    let mut out = format!(
        "{} was {}; of {} more, {} ended alike: {} to {} % of all, with 95 %\n",
        replayed.run,
        replayed.verdict.word().to_uppercase(),
        counted(replayed.of as usize, "run"),
        replayed.alike,
        percent(low),
        percent(high)
    );
    if (replayed.runs.len() as u64) < most {
        let clear = match replayed.clear {
            Some("often") => "for it was clear: at least every second run ends so",
            Some(_) => "for it was clear: at most one run in twenty ends so",
            None => {
                "when it was clear, and the runs under way then left it open: --all makes all of them"
            }
        };
        out += &format!("stopped early, {clear}\n");
    }
    for name in &replayed.changed {
        out += &format!("{} is not the program that the run had\n", word(name));
    }
    out += "\n";
    for one in &replayed.runs {
        let verdict = one.verdict.map_or("no result", |v| v.word());
        let name = one.run.as_deref().map(Path::new).and_then(Path::file_name);
        let name = name
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let why = one
            .error
            .clone()
            .unwrap_or_else(|| one.anomalies.join(", "));
        out += format!("  {verdict:<9} {}  {}", word(&name), word(&why)).trim_end();
        out += "\n";
    }
    out
}
