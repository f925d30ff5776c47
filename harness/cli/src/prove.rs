//! `schism prove`: does the instrument work? Every planted flaw under the fault that it needs, over
//! many seeds, and the clean twin of each; every run is this same program as a user would call it.
//! Runs that the store already has are not made again, so an interrupted proof goes on where it was.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use checkers::Verdict;
use history::store::Store;
use indicatif::{ProgressBar, ProgressStyle};
use workloads::scenario::Scenario;

use crate::args::Prove;
use crate::exit::Failure;
use crate::run::{Outcome, recall};
use crate::spec::Spec;

/// One run to be made.
#[derive(Clone, Debug, PartialEq)]
struct Job {
    scenario: usize,
    clean: bool,
    /// A family other than the scenario's own.
    nemesis: Option<&'static str>,
    seed: u64,
}

/// What became of it.
struct Made {
    job: Job,
    /// The error text where there was no result at all.
    outcome: Result<Outcome, String>,
}

struct Entry {
    name: String,
    path: PathBuf,
    scenario: Scenario,
}

pub fn command(args: Prove) -> Result<ExitCode, Failure> {
    let entries = entries(&args)?;
    let jobs = plan(&args, &entries);
    let store = Store::new(&args.store.store);
    let at_once = args.jobs.unwrap_or_else(default_jobs).max(1);
    let mut made = recall_all(&entries, &jobs, &store)?;
    let all = jobs.len();
    let jobs: Vec<Job> = jobs
        .into_iter()
        .filter(|job| !made.iter().any(|m| m.job == *job))
        .collect();
    eprintln!(
        "{all} runs, {} of them already in {}, {at_once} at a time",
        made.len(),
        store.root().display()
    );
    made.extend(run_all(&entries, jobs, at_once, &args.store.store)?);
    let table = table(&args, &entries, &made);
    print!("{table}");
    if let Some(path) = &args.output {
        std::fs::write(path, &table)
            .map_err(|e| Failure::Infra(format!("cannot write {}: {e}", path.display())))?;
    }
    let verdict = overall(&entries, &made);
    Ok(crate::check::code(verdict))
}

/// A run keeps less than half a core busy; what is measured here is whether flaws are found, not
/// how fast the nodes are.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2))
}

fn entries(args: &Prove) -> Result<Vec<Entry>, Failure> {
    let dir = &args.scenarios;
    let fail = |e: std::io::Error| Failure::Usage(format!("cannot read {}: {e}", dir.display()));
    let mut entries = Vec::new();
    for file in std::fs::read_dir(dir).map_err(fail)? {
        let path = file.map_err(fail)?.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.into_owned();
        if !args.only.is_empty() && !args.only.contains(&name) {
            continue;
        }
        let scenario = Scenario::load(&path).map_err(Failure::usage)?;
        if scenario.twin().is_some() {
            entries.push(Entry {
                name,
                path,
                scenario,
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    match entries.is_empty() {
        true => Err(Failure::Usage(format!(
            "no scenario with a flaw in {}{}",
            dir.display(),
            match args.only.is_empty() {
                true => String::new(),
                false => format!(" is called {}", args.only.join(" or ")),
            }
        ))),
        false => Ok(entries),
    }
}

fn plan(args: &Prove, entries: &[Entry]) -> Vec<Job> {
    let seeds = |n: u64| args.first_seed..args.first_seed + n;
    let mut jobs = Vec::new();
    for seed in seeds(args.seeds) {
        for scenario in 0..entries.len() {
            jobs.push(Job {
                scenario,
                clean: false,
                nemesis: None,
                seed,
            });
            if args.matrix {
                jobs.extend(families().map(|family| Job {
                    scenario,
                    clean: false,
                    nemesis: Some(family),
                    seed,
                }));
            }
        }
    }
    // Clean runs go round the scenarios, so that each has its twin before any has a second.
    jobs.extend((0..args.clean_seeds).map(|n| Job {
        scenario: n as usize % entries.len(),
        clean: true,
        nemesis: None,
        seed: args.first_seed + n,
    }));
    jobs
}

/// What an earlier proof has left in the store.
fn recall_all(entries: &[Entry], jobs: &[Job], store: &Store) -> Result<Vec<Made>, Failure> {
    let mut made: Vec<Made> = Vec::new();
    for run in store.list().map_err(Failure::infra)? {
        let Ok(spec) = Spec::load(&run) else { continue };
        let scenario = entries
            .iter()
            .position(|e| Some(&e.name) == spec.scenario.as_ref());
        let job = jobs.iter().find(|job| {
            Some(job.scenario) == scenario
                && job.clean == spec.clean
                && job.seed == spec.seed
                && spec.nemesis.as_deref()
                    == Some(
                        job.nemesis
                            .unwrap_or(&entries[job.scenario].scenario.nemesis),
                    )
        });
        // A run without results was interrupted: it is made again.
        if let (Some(job), Ok(outcome)) = (job, recall(&run))
            && !made.iter().any(|m| m.job == *job)
        {
            made.push(Made {
                job: job.clone(),
                outcome: Ok(outcome),
            });
        }
    }
    Ok(made)
}

fn families() -> impl Iterator<Item = &'static str> {
    nemeses::FAMILIES
        .iter()
        .map(|listing| listing.family.name())
}

fn run_all(
    entries: &[Entry],
    jobs: Vec<Job>,
    at_once: usize,
    store: &Path,
) -> Result<Vec<Made>, Failure> {
    let program = std::env::current_exe().map_err(Failure::infra)?;
    let bar = ProgressBar::new(jobs.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}")
            .expect("the template is constant"),
    );
    let queue = Mutex::new(VecDeque::from(jobs));
    let made = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let job = queue.lock().expect("no panic while held").pop_front();
                    let Some(job) = job else { return };
                    let entry = &entries[job.scenario];
                    let outcome = run_one(&program, entry, &job, store);
                    bar.set_message(format!("{} seed {}", entry.name, job.seed));
                    if let Err(e) = &outcome {
                        bar.suspend(|| eprintln!("{} seed {}: {e}", entry.name, job.seed));
                    }
                    bar.inc(1);
                    made.lock()
                        .expect("no panic while held")
                        .push(Made { job, outcome });
                }
            });
        }
    });
    bar.finish_and_clear();
    Ok(made.into_inner().expect("no panic while held"))
}

fn run_one(program: &Path, entry: &Entry, job: &Job, store: &Path) -> Result<Outcome, String> {
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg("--json")
        .arg("--scenario")
        .arg(&entry.path)
        .arg("--seed")
        .arg(job.seed.to_string())
        .arg("--store")
        .arg(store)
        .stdin(Stdio::null());
    if job.clean {
        command.arg("--clean");
    }
    if let Some(nemesis) = job.nemesis {
        command.arg("--nemesis").arg(nemesis);
    }
    let output = command.output().map_err(|e| e.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let text = String::from_utf8_lossy(&output.stderr);
        let last: Vec<_> = text.lines().rev().take(5).collect();
        format!(
            "no result ({}): {}",
            output.status,
            last.into_iter().rev().collect::<Vec<_>>().join(" / ")
        )
    })
}

/// Whether the run found what the scenario plants.
fn found(entry: &Entry, outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Invalid
        && (entry.scenario.expect.anomalies.is_empty()
            || outcome
                .anomalies
                .iter()
                .any(|kind| entry.scenario.expect.anomalies.contains(kind)))
}

fn table(args: &Prove, entries: &[Entry], made: &[Made]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "| flaw | its fault | found | median s to find | shown by |{}",
        match args.matrix {
            true => families().map(|f| format!(" {f} |")).collect::<String>(),
            false => String::new(),
        }
    );
    let columns = 5 + if args.matrix { families().count() } else { 0 };
    let _ = writeln!(out, "|{}", " --- |".repeat(columns));
    for (i, entry) in entries.iter().enumerate() {
        let share = |nemesis: Option<&str>| {
            let of = runs(made, i, false, nemesis);
            let hits = of.iter().filter(|o| found(entry, o)).count();
            format!("{hits} of {}", of.len())
        };
        let own = runs(made, i, false, None);
        let hits: Vec<&&Outcome> = own.iter().filter(|o| found(entry, o)).collect();
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in hits.iter().filter_map(|o| o.anomalies.first()) {
            *kinds.entry(kind).or_default() += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let kinds: Vec<_> = kinds.into_iter().map(|(kind, _)| kind).collect();
        let _ = write!(
            out,
            "| {} | {} | {} | {} | {} |",
            entry.name,
            entry.scenario.nemesis,
            share(None),
            median(hits.iter().filter_map(|o| o.found_at_s).collect()),
            kinds.join(", "),
        );
        if args.matrix {
            for family in families() {
                let _ = write!(out, " {} |", share(Some(family)));
            }
        }
        let _ = writeln!(out);
    }
    let clean: Vec<&Outcome> = (0..entries.len())
        .flat_map(|i| runs(made, i, true, None))
        .collect();
    let count = |v| clean.iter().filter(|o| o.verdict == v).count();
    let _ = writeln!(
        out,
        "\nClean twins: {} runs, {} false alarms ({} valid, {} unknown, {} vacuous, {} infra).",
        clean.len(),
        count(Verdict::Invalid),
        count(Verdict::Valid),
        count(Verdict::Unknown),
        count(Verdict::Vacuous),
        count(Verdict::Infra),
    );
    let broken = made.iter().filter(|m| m.outcome.is_err()).count();
    if broken > 0 {
        let _ = writeln!(out, "{broken} runs gave no result and are not counted.");
    }
    out
}

fn runs<'a>(
    made: &'a [Made],
    scenario: usize,
    clean: bool,
    nemesis: Option<&str>,
) -> Vec<&'a Outcome> {
    made.iter()
        .filter(|m| m.job.scenario == scenario && m.job.clean == clean && m.job.nemesis == nemesis)
        .filter_map(|m| m.outcome.as_ref().ok())
        .collect()
}

fn median(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.get(values.len() / 2) {
        Some(value) => format!("{value:.0}"),
        None => "-".into(),
    }
}

/// A false alarm, or a flaw that was missed in every run, is a failure of the instrument.
fn overall(entries: &[Entry], made: &[Made]) -> Verdict {
    let alarm = (0..entries.len())
        .flat_map(|i| runs(made, i, true, None))
        .any(|o| o.verdict == Verdict::Invalid);
    let missed = entries.iter().enumerate().any(|(i, entry)| {
        let own = runs(made, i, false, None);
        !own.is_empty() && !own.iter().any(|o| found(entry, o))
    });
    match (alarm || missed, made.iter().all(|m| m.outcome.is_ok())) {
        (true, _) => Verdict::Invalid,
        (false, false) => Verdict::Infra,
        (false, true) => Verdict::Valid,
    }
}
