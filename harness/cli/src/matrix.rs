//! `schism matrix`: a night of runs that CI can trust.
//!
//! [`cells`] makes a night of a file, [`here`] says what this machine cannot do of it, [`deal`]
//! which cells are whose; [`night`] runs them and [`record`] keeps what came of each run; [`state`]
//! makes a cell's result of its runs, [`gate`] a night's of its cells; [`output`] tells it.

mod cells;
pub mod child;
mod deal;
mod file;
pub mod fingerprint;
pub mod gate;
mod here;
mod init;
pub mod known;
mod merge;
mod night;
pub mod nights;
mod output;
mod plan;
mod record;
mod state;
mod trend;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use history::wording::counted;

use self::cells::{Cell, Night};
use self::gate::{Judged, judge};
use self::record::{Absent, Head, Journal, Planned, Recorded, Terms};
use self::trend::Trend;
use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::terminal;

pub use self::merge::{MergeArgs, command as merge};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = gate::table()
)]
pub struct MatrixArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    night: NightArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what a night would be: its cells, what is left out and why, how long it takes
    Plan(plan::PlanArgs),
    /// Write a matrix to begin with, known.toml, and the file of a CI or scheduler
    Init(init::InitArgs),
}

#[derive(Debug, Args)]
struct NightArgs {
    /// The matrix: see `schism matrix init`
    #[arg(required = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only this share of the cells, as i/n, or `auto`
    ///
    /// `auto` asks the variables of GitLab, Buildkite, Slurm, Kubernetes and this project's GitHub
    /// workflow.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Runs at a time, each in a lab of its own [default: the file's, or as cores and memory allow]
    #[arg(long, short)]
    jobs: Option<usize>,
    /// The night's name; a night of that name is continued [default: the latest unfinished night,
    /// else the time]
    #[arg(long, env = "SCHISM_NIGHT", value_name = "NAME", value_parser = plain_name)]
    night: Option<String>,
    /// Compare the figures with those of the nights in this folder, however deep; may be given
    /// several times
    #[arg(long, value_name = "DIR")]
    baseline: Vec<PathBuf>,
    /// Begin no run while fewer MiB than this are free in the store
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    least_free: u64,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// It becomes part of a folder's name.
fn plain_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !text.is_empty() && !text.starts_with('.') && text.chars().all(plain) {
        true => Ok(text.to_string()),
        false => Err("letters, digits, `-`, `_` and `.`: a folder has it".into()),
    }
}

pub fn command(args: MatrixArgs) -> Result<ExitCode, Failure> {
    match args.what {
        Some(What::Plan(args)) => plan::command(&args),
        Some(What::Init(args)) => init::command(&args),
        None => run(&args.night),
    }
}

/// What excuses depend on.
fn today() -> NaiveDate {
    chrono::Local::now().date_naive()
}

/// A shard of a night, ready to be run.
struct Shard {
    night: Night,
    shard: (usize, usize),
    cells: Vec<Cell>,
    planned: Vec<Planned>,
}

impl Shard {
    fn read(path: &Path, shard: Option<&str>, store: &Path) -> Result<Shard, Failure> {
        let (i, n) = deal::shard(shard, |name| std::env::var(name).ok())?;
        let night = Night::read(path, n)?;
        let dealt = dealt(&night, n);
        let own: Vec<bool> = dealt.iter().map(|shard| shard + 1 == i).collect();
        let absent = here::absent(&night, store)?;
        let mut shard = Shard {
            cells: Vec::new(),
            planned: Vec::new(),
            shard: (i, n),
            night,
        };
        for (place, absent) in absent.into_iter().enumerate() {
            if own[place] {
                let cell = shard.night.cells[place];
                shard.planned.push(planned(&shard.night, cell, absent));
                shard.cells.push(cell);
            }
        }
        Ok(shard)
    }
}

/// For each cell its shard. A canary is judged over its seeds, so they stay together.
fn dealt(night: &Night, shards: usize) -> Vec<usize> {
    let mut items: Vec<Duration> = Vec::new();
    let mut of_combo = vec![None; night.combos.len()];
    let item = |cell: &Cell| {
        let combo = night.combo(*cell);
        let known = of_combo[cell.combo].filter(|_| combo.is_canary());
        let item = known.unwrap_or_else(|| {
            items.push(Duration::ZERO);
            items.len() - 1
        });
        items[item] += combo.takes;
        of_combo[cell.combo] = Some(item);
        item
    };
    let of_cell: Vec<usize> = night.cells.iter().map(item).collect();
    let dealt = deal::deal(&items, shards);
    of_cell.into_iter().map(|item| dealt[item]).collect()
}

fn planned(night: &Night, cell: Cell, absent: Option<Absent>) -> Planned {
    let combo = night.combo(cell);
    Planned {
        id: night.id(cell),
        system: combo.label.clone(),
        workload: combo.workload.clone(),
        nemesis: combo.nemesis.clone(),
        seed: cell.seed,
        expect: combo.expect.clone(),
        expected_s: combo.takes.as_secs_f64(),
        absent,
    }
}

fn run(args: &NightArgs) -> Result<ExitCode, Failure> {
    let file = args.file.as_deref().expect("clap requires it");
    if args.jobs == Some(0) {
        return Err(Failure::Usage("--jobs 0: at least one at a time".into()));
    }
    let before = trend::find(&args.baseline)?;
    let shard = Shard::read(file, args.shard.as_deref(), &args.store.store)?;
    let store = std::path::absolute(&args.store.store).map_err(Failure::infra)?;
    let (folder, journal, recorded) = open(&shard, args, file, &store)?;
    let desk = night::Desk {
        night: &shard.night,
        cells: shard.cells.clone(),
        folder: &folder,
        store: &store,
        jobs: args
            .jobs
            .or(shard.night.jobs)
            .unwrap_or_else(night::default_jobs),
        least_free: args.least_free << 20,
    };
    terminal::tell(format!(
        "{}, {} at a time; kept in {}",
        counted(shard.cells.len(), "cell"),
        desk.jobs,
        folder.display()
    ));
    let (recorded, broken) = night::run(&desk, journal, recorded)?;
    let mut judged = judge(&recorded, today());
    if let Some(reason) = broken {
        judged.because(reason);
    }
    conclude(&folder, &judged, &recorded, &before, args.json)
}

/// The night's folder: the one that is to go on, or a new one.
fn open(
    shard: &Shard,
    args: &NightArgs,
    file: &Path,
    store: &Path,
) -> Result<(PathBuf, Journal, Recorded), Failure> {
    let matrix = shard.night.identity();
    let night = match &args.night {
        Some(name) => name.clone(),
        None => unfinished(store, &matrix, shard)
            .unwrap_or_else(|| chrono::Local::now().format("%Y%m%dT%H%M%S").to_string()),
    };
    let folder = night::folder(store, &night, &matrix, shard.shard);
    let path = folder.join(record::NAME);
    if path.exists() {
        let recorded = record::read(&path).map_err(Failure::Usage)?;
        return go_on(shard, folder, recorded);
    }
    std::fs::create_dir_all(&folder)
        .map_err(|e| Failure::Infra(format!("cannot make {}: {e}", folder.display())))?;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let gate = &shard.night.gate;
    let head = Head {
        version: record::VERSION,
        name: shard.night.name.clone(),
        night,
        matrix,
        started: chrono::Local::now().to_rfc3339(),
        shard: shard.shard,
        file: absolute(file),
        store: store.to_path_buf(),
        gate: Terms {
            verdicts: gate.verdicts,
            infra_retries: gate.infra_retries,
            confirm: gate.confirm,
        },
        known: shard.night.known.clone(),
        cells: shard.planned.clone(),
        left_out: shard.night.left_out.iter().map(|left| left.cells).sum(),
    };
    let journal = Journal::begin(&path, &head).map_err(Failure::Infra)?;
    let recorded = Recorded {
        head,
        runs: Vec::new(),
        torn: None,
    };
    Ok((folder, journal, recorded))
}

/// Goes on with a night. What this machine can do and what is excused may have changed; what is
/// finished stays.
fn go_on(
    shard: &Shard,
    folder: PathBuf,
    mut recorded: Recorded,
) -> Result<(PathBuf, Journal, Recorded), Failure> {
    let path = folder.join(record::NAME);
    let done = recorded.runs.len();
    let torn = recorded.torn.map_or(String::new(), |(line, _)| {
        format!("; line {line} is torn, and its run is made again")
    });
    terminal::tell(format!(
        "continues, with {} already made{torn}",
        counted(done, "run")
    ));
    let journal = Journal::go_on(&path, &recorded).map_err(Failure::Infra)?;
    recorded.torn = None;
    let ran: std::collections::HashSet<&str> =
        recorded.runs.iter().map(|ran| ran.cell.as_str()).collect();
    let cells: Vec<Planned> = shard
        .planned
        .iter()
        .map(|cell| Planned {
            absent: cell
                .absent
                .clone()
                .filter(|_| !ran.contains(cell.id.as_str())),
            ..cell.clone()
        })
        .collect();
    let head = Head {
        cells,
        known: shard.night.known.clone(),
        gate: Terms {
            verdicts: shard.night.gate.verdicts,
            infra_retries: shard.night.gate.infra_retries,
            confirm: shard.night.gate.confirm,
        },
        ..recorded.head.clone()
    };
    if head == recorded.head {
        return Ok((folder, journal, recorded));
    }
    recorded.head = head;
    record::write(&path, &recorded.head, &recorded.runs)
        .map_err(|e| Failure::Infra(format!("cannot write {}: {e}", path.display())))?;
    drop(journal);
    let journal = Journal::go_on(&path, &recorded).map_err(Failure::Infra)?;
    Ok((folder, journal, recorded))
}

/// The latest night of this matrix and shard in the store that has not come to its end.
fn unfinished(store: &Path, matrix: &str, shard: &Shard) -> Option<String> {
    let (i, n) = shard.shard;
    let end = format!("-{matrix}-{i}of{n}");
    let entries = std::fs::read_dir(store.join("nights")).ok()?.flatten();
    let mut nights: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(&end)?.to_string())
        })
        .collect();
    nights.sort();
    let open = |night: &String| {
        let path = night::folder(store, night, matrix, shard.shard).join(record::NAME);
        // One that cannot be read is opened, so that somebody is told.
        record::read(&path).map_or(true, |recorded| {
            judge(&recorded, today()).count(gate::Colour::Left) > 0 || recorded.torn.is_some()
        })
    };
    nights.into_iter().rev().find(open)
}

/// Writes everything, and says it.
fn conclude(
    folder: &Path,
    judged: &Judged,
    recorded: &Recorded,
    before: &[PathBuf],
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut old = Vec::new();
    for path in before {
        match record::read(path) {
            Ok(recorded) => old.push(recorded),
            // A night of another version is no reason to lose this one.
            Err(why) => terminal::tell(format!("schism: --baseline: {why}")),
        }
    }
    let trend = match old.is_empty() {
        true => Trend::default(),
        false => trend::compare(recorded, &old),
    };
    let written = output::write(folder, judged, &trend);
    match json {
        true => terminal::json(&output::night(judged, &trend)),
        false => {
            terminal::print(&output::text(judged, &trend));
            terminal::line(format!("\nnight    {}", folder.display()));
        }
    }
    if let Err(e) = written {
        terminal::tell(format!(
            "schism: cannot write into {}: {e}",
            folder.display()
        ));
    }
    tell_github(folder, judged);
    Ok(judged.exit_code())
}

/// On GitHub a summary and annotations are what is looked at.
fn tell_github(folder: &Path, judged: &Judged) {
    if std::env::var_os("GITHUB_ACTIONS").is_none() {
        return;
    }
    for line in output::annotations(judged) {
        terminal::tell(line);
    }
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") {
        let added = std::fs::read(folder.join("summary.md")).and_then(|text| {
            let mut file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(&path)?;
            file.write_all(&text)
        });
        if let Err(e) = added {
            terminal::tell(format!("schism: cannot write {}: {e}", path.display()));
        }
    }
}
