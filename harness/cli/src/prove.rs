//! `schism prove`: does the instrument work? Every planted flaw under the fault that it needs, over
//! many seeds, and the clean twin of each.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use checkers::Verdict;
use clap::Args;
use harness::doctor;
use history::Name;
use history::store::Store;
use history::wording::counted;
use nemeses::Family;
use nemeses::schedule::NemesisSpec;
use workloads::scenario::Scenario;

use self::table::Table;
use crate::batch::{self, default_jobs};
use crate::exit::{Failure, code};
use crate::flags::{StoreArgs, duration};
use crate::judged::Outcome;
use crate::output;
use crate::plan::Plan;
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
    /// Main phase of runs whose faults are drawn [default: the scenario's]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub time_limit: Option<Duration>,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short)]
    pub jobs: Option<usize>,
    /// Also run each flaw under the fault families that it does not need
    #[arg(long)]
    pub matrix: bool,
    /// Seeds for each flaw under each of them
    #[arg(long, default_value_t = 2, requires = "matrix")]
    pub matrix_seeds: u64,
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
    nemesis: Option<&'a str>,
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
        let under = self.nemesis.map(|family| format!(" under {family}"));
        let under = under.unwrap_or_default();
        format!("{} seed {}{under}{twin}", self.entry.name, self.spec.seed)
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }
}

/// What distinguishes the runs of a scenario.
#[derive(Clone, Copy, Default)]
struct Kind<'a> {
    clean: bool,
    nemesis: Option<&'a str>,
    time_limit: Option<Duration>,
}

impl<'a> Job<'a> {
    fn new(entry: &'a Entry, kind: Kind<'a>, seed: u64) -> Result<Job<'a>, Failure> {
        let planted = &entry.scenario;
        let scenario = match kind.clean {
            true => planted.twin().expect("only scenarios with twins are taken"),
            false => planted,
        };
        // What a file says is to happen takes as long as it takes.
        let drawn = kind.nemesis.is_some() || planted.schedule.is_none();
        let other = Wanted {
            faults: kind.nemesis.map(|nemesis| Faults::Drawn {
                nemesis: nemesis.into(),
                drawing: Drawing::default(),
            }),
            time_limit: kind.time_limit.filter(|_| drawn),
            seed: Some(seed),
            clean: kind.clean,
            ..Wanted::default()
        };
        Ok(Job {
            entry,
            clean: kind.clean,
            nemesis: kind.nemesis,
            spec: other.over(scenario.into()).settle()?,
        })
    }
}

pub fn command(args: ProveArgs) -> Result<ExitCode, Failure> {
    let entries = entries(&args)?;
    let store = Store::new(&args.store.store);
    let others = match args.matrix {
        true => others(store.root()),
        false => Vec::new(),
    };
    let jobs = plan(&args, &entries, &others)?;
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
    let table = Table::new(&entries, &made, &others, &store).to_string();
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

/// Each family of faults, as this machine can do it.
fn others(store: &Path) -> Vec<String> {
    let offers = doctor::offers(&doctor::examine(store));
    let offers = BTreeMap::from([(Name::new("this machine"), offers)]);
    let can = |text: &str| {
        let asked: Result<NemesisSpec, _> = text.parse();
        asked.is_ok_and(|asked| nemeses::missing(&asked.needs(), &offers).is_empty())
    };
    let text = |family: &&Family| {
        let shapes = family.shapes.iter();
        let shapes = shapes.map(|shape| format!("{family}:{}", shape.name));
        let able: Vec<String> = shapes.filter(|shape| can(shape)).collect();
        match can(family.name) {
            true => family.name.to_string(),
            false => able.join(","),
        }
    };
    let texts = nemeses::FAMILIES.iter().map(text);
    texts.filter(|text| !text.is_empty()).collect()
}

fn plan<'a>(
    args: &ProveArgs,
    entries: &'a [Entry],
    others: &'a [String],
) -> Result<Vec<Job<'a>>, Failure> {
    let kind = Kind {
        time_limit: args.time_limit,
        ..Kind::default()
    };
    let seeds = |count| args.first_seed..args.first_seed + count;
    let mut jobs = Vec::new();
    for seed in seeds(args.seeds) {
        for entry in entries {
            jobs.push(Job::new(entry, kind, seed)?);
        }
    }
    // Clean runs go round the scenarios, so that each has its twin before any has a second.
    for n in 0..args.clean_seeds {
        let entry = &entries[n as usize % entries.len()];
        let clean = Kind {
            clean: true,
            ..kind
        };
        jobs.push(Job::new(entry, clean, args.first_seed + n)?);
    }
    for seed in seeds(args.matrix_seeds) {
        for entry in entries {
            let own = Job::new(entry, kind, seed)?;
            // What is wrong with the scenario itself is to show in every run of it.
            let can = Plan::new(own.spec.clone()).is_ok();
            for other in others {
                let nemesis = Some(other.as_str());
                let job = Job::new(entry, Kind { nemesis, ..kind }, seed)?;
                // Its own it has been tried under, and not every system takes every fault.
                if job != own && !(can && Plan::new(job.spec.clone()).is_err()) {
                    jobs.push(job);
                }
            }
        }
    }
    Ok(jobs)
}

/// What an earlier proof has left in the store.
fn recall<'a>(jobs: &[Job<'a>], store: &Store) -> Result<Vec<Made<'a>>, Failure> {
    batch::recall_all(store, |_, spec| {
        jobs.iter()
            .find(|job| job.spec.asks_the_same(spec))
            .cloned()
    })
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

/// Whether the run found what the scenario plants.
fn found(entry: &Entry, outcome: &Outcome) -> bool {
    let expect = &entry.scenario.expect;
    expect
        .unmet(outcome.verdict, &outcome.judged.analyses)
        .is_empty()
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
