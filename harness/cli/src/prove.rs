//! `schism prove`: does the instrument work? Every planted flaw under the fault that it needs, over
//! many seeds, and the clean twin of each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::Verdict;
use clap::Args;
use history::store::Store;
use history::wording::{counted, either};
use workloads::scenario::Scenario;

use crate::batch::{self, default_jobs};
use crate::exit::{Failure, code};
use crate::flags::StoreArgs;
use crate::judged::Outcome;
use crate::output;
use crate::spec::{Drawing, Spec};
use crate::terminal;
use crate::wanted::{Faults, Wanted};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism prove --seeds 20 --clean-seeds 100
  schism prove --only stale-read-leader --seeds 3")]
pub struct ProveArgs {
    /// Folder of scenario files
    #[arg(long, default_value = "workloads/scenarios", value_name = "DIR")]
    pub scenarios: PathBuf,
    /// Only these scenarios, by name
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Seeds for each flaw
    #[arg(long, default_value_t = 20)]
    pub seeds: u64,
    /// Clean runs in all, spread over the scenarios
    #[arg(long, default_value_t = 100)]
    pub clean_seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    pub first_seed: u64,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short)]
    pub jobs: Option<usize>,
    /// Also run each flaw under the fault families that it does not need
    #[arg(long)]
    pub matrix: bool,
    /// Write the table, as Markdown, here
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// One run to be made.
#[derive(Clone)]
struct Job<'a> {
    entry: &'a Entry,
    clean: bool,
    /// A family other than the scenario's own.
    nemesis: Option<&'static str>,
    spec: Spec,
}

type Made<'a> = batch::Made<Job<'a>>;

struct Entry {
    name: String,
    scenario: Scenario,
}

impl PartialEq for Job<'_> {
    fn eq(&self, other: &Job) -> bool {
        self.spec.asks_the_same(&other.spec)
    }
}

impl batch::Job for Job<'_> {
    fn title(&self) -> String {
        let twin = if self.clean { ", clean" } else { "" };
        format!("{} seed {}{twin}", self.entry.name, self.spec.seed)
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }
}

impl<'a> Job<'a> {
    fn new(
        entry: &'a Entry,
        clean: bool,
        nemesis: Option<&'static str>,
        seed: u64,
    ) -> Result<Job<'a>, Failure> {
        let planted = &entry.scenario;
        let scenario = match clean {
            true => planted.twin().expect("only scenarios with twins are taken"),
            false => planted,
        };
        let other = Wanted {
            faults: nemesis.map(|nemesis| Faults::Drawn {
                nemesis: nemesis.into(),
                drawing: Drawing::default(),
            }),
            seed: Some(seed),
            clean,
            ..Wanted::default()
        };
        Ok(Job {
            entry,
            clean,
            nemesis,
            spec: other.over(scenario.into()).settle()?,
        })
    }
}

pub fn command(args: ProveArgs) -> Result<ExitCode, Failure> {
    let entries = entries(&args)?;
    let jobs = plan(&args, &entries)?;
    let store = Store::new(&args.store.store);
    let at_once = args.jobs.unwrap_or_else(default_jobs).max(1);
    let mut made = recall(&jobs, &store)?;
    let all = jobs.len();
    let jobs: Vec<Job> = jobs
        .into_iter()
        .filter(|job| !made.iter().any(|m| m.job == *job))
        .collect();
    terminal::tell(format!(
        "{}, {} of them already in {}, {at_once} at a time",
        counted(all, "run"),
        made.len(),
        store.root().display()
    ));
    made.extend(batch::run_all(jobs, at_once, &args.store.store, |_| false)?);
    let table = table(&args, &entries, &made);
    terminal::print(&table);
    if let Some(path) = &args.output
        && let Err(e) = output::put(path, table.as_bytes())
    {
        terminal::tell(format!("schism: cannot write {}: {e}", path.display()));
    }
    let verdict = overall(&entries, &made);
    Ok(code(verdict))
}

fn entries(args: &ProveArgs) -> Result<Vec<Entry>, Failure> {
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
            entries.push(Entry { name, scenario });
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

fn plan<'a>(args: &ProveArgs, entries: &'a [Entry]) -> Result<Vec<Job<'a>>, Failure> {
    let mut jobs = Vec::new();
    for seed in args.first_seed..args.first_seed + args.seeds {
        for entry in entries {
            jobs.push(Job::new(entry, false, None, seed));
            if args.matrix {
                jobs.extend(families().map(|f| Job::new(entry, false, Some(f), seed)));
            }
        }
    }
    // Clean runs go round the scenarios, so that each has its twin before any has a second.
    jobs.extend((0..args.clean_seeds).map(|n| {
        let entry = &entries[n as usize % entries.len()];
        Job::new(entry, true, None, args.first_seed + n)
    }));
    jobs.into_iter().collect()
}

/// What an earlier proof has left in the store.
fn recall<'a>(jobs: &[Job<'a>], store: &Store) -> Result<Vec<Made<'a>>, Failure> {
    batch::recall_all(store, |_, spec| {
        jobs.iter()
            .find(|job| job.spec.asks_the_same(spec))
            .cloned()
    })
}

fn families() -> impl Iterator<Item = &'static str> {
    nemeses::FAMILIES.iter().map(|family| family.name)
}

/// Whether the run found what the scenario plants.
fn found(entry: &Entry, outcome: &Outcome) -> bool {
    let expect = &entry.scenario.expect;
    expect
        .unmet(outcome.verdict, &outcome.judged.analyses)
        .is_empty()
}

fn table(args: &ProveArgs, entries: &[Entry], made: &[Made]) -> String {
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
    for entry in entries {
        let share = |nemesis: Option<&str>| {
            let of = runs(made, entry, false, nemesis);
            let hits = of.iter().filter(|o| found(entry, o)).count();
            format!("{hits} of {}", of.len())
        };
        let own = runs(made, entry, false, None);
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
            fault(&entry.scenario),
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
    let clean: Vec<&Outcome> = entries
        .iter()
        .flat_map(|entry| runs(made, entry, true, None))
        .collect();
    let count = |v| clean.iter().filter(|o| o.verdict == v).count();
    let _ = writeln!(
        out,
        "\nClean twins: {}, {} ({} valid, {} unknown, {} vacuous, {} infra).",
        counted(clean.len(), "run"),
        counted(count(Verdict::Invalid), "false alarm"),
        count(Verdict::Valid),
        count(Verdict::Unknown),
        count(Verdict::Vacuous),
        count(Verdict::Infra),
    );
    let broken = made.iter().filter(|m| m.outcome.is_err()).count();
    if broken > 0 {
        let _ = writeln!(
            out,
            "{} gave no result and {} not counted.",
            counted(broken, "run"),
            either(broken, "is", "are")
        );
    }
    out
}

/// What a scenario does to its system: drawn faults by their families, others by their file.
fn fault(scenario: &Scenario) -> String {
    let file = scenario.schedule.as_deref().and_then(Path::file_name);
    match file {
        Some(file) => file.to_string_lossy().into_owned(),
        None => scenario.nemesis.clone(),
    }
}

fn runs<'a>(
    made: &'a [Made],
    entry: &Entry,
    clean: bool,
    nemesis: Option<&str>,
) -> Vec<&'a Outcome> {
    let of_entry = |job: &Job| job.entry.name == entry.name;
    made.iter()
        .filter(|m| of_entry(&m.job) && m.job.clean == clean && m.job.nemesis == nemesis)
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
    let alarm = entries
        .iter()
        .flat_map(|entry| runs(made, entry, true, None))
        .any(|o| o.verdict == Verdict::Invalid);
    let missed = entries.iter().any(|entry| {
        let own = runs(made, entry, false, None);
        !own.is_empty() && !own.iter().any(|o| found(entry, o))
    });
    match (alarm || missed, made.iter().all(|m| m.outcome.is_ok())) {
        (true, _) => Verdict::Invalid,
        (false, false) => Verdict::Infra,
        (false, true) => Verdict::Valid,
    }
}
