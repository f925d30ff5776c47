//! A night goes on: cells are run, several at a time, until all are done, the budget is used up, or
//! the harness cannot go on. Whatever ends it, what was finished is in the night's file.

mod board;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use history::store::Run;
use history::wording::counted;

use self::board::Board;
use super::cells::{Cell, Night};
use super::child::{self, Ended};
use super::fingerprint;
use super::gate::{Gate, Reason, judge};
use super::output;
use super::record::{Head, Journal, Purpose, Ran, Recorded};
use super::state::{Next, next};
use super::trend::Trend;
use crate::exit::Failure;
use crate::judged::command_line;
use crate::measures;
use crate::spec::{Spec, quoted};
use crate::terminal;

/// How old the files for people may be while the night goes on.
const STALE: Duration = Duration::from_secs(10);

/// What a night is run with.
pub struct Desk<'a> {
    pub night: &'a Night,
    /// The shard's cells, in the order of the head's.
    pub cells: Vec<Cell>,
    pub folder: &'a Path,
    pub store: &'a Path,
    pub jobs: usize,
    /// Bytes that have to be free in the store for a run to begin.
    pub least_free: u64,
}

/// What everybody who runs cells shares.
struct Shared<'a> {
    journal: Journal,
    recorded: Recorded,
    /// Runs of each cell, by place.
    runs: HashMap<String, Vec<Ran>>,
    queue: VecDeque<usize>,
    /// Why no further run is begun.
    broken: Option<Reason>,
    written: Instant,
    board: Board<'a>,
}

/// Runs what is left; returns all that is recorded, and why it did not come to its end, if so.
pub fn run(
    desk: &Desk,
    journal: Journal,
    recorded: Recorded,
) -> Result<(Recorded, Option<Reason>), Failure> {
    let program = std::env::current_exe().map_err(Failure::infra)?;
    let head = recorded.head.clone();
    let mut runs: HashMap<String, Vec<Ran>> = HashMap::new();
    for ran in &recorded.runs {
        runs.entry(ran.cell.clone()).or_default().push(ran.clone());
    }
    let none = Vec::new();
    let of = |place: &usize| runs.get(&head.cells[*place].id).unwrap_or(&none);
    let left = |place: &usize| next(&head.cells[*place], of(place), &head.gate) != Next::Done;
    let queue: VecDeque<usize> = (0..head.cells.len()).filter(left).collect();
    let board = Board::new(&head, desk.jobs, &queue, &recorded);
    if !queue.is_empty() {
        let to_run = counted(queue.len(), "cell");
        terminal::tell(format!("{to_run} to run, {}", board.eta()));
    }
    let shared = Mutex::new(Shared {
        journal,
        recorded,
        runs,
        queue,
        broken: None,
        written: Instant::now(),
        board,
    });
    let until = desk.night.budget.map(|budget| Instant::now() + budget);
    std::thread::scope(|scope| {
        for _ in 0..desk.jobs.max(1) {
            scope.spawn(|| work(desk, &program, &head, &shared, until));
        }
    });
    let shared = shared.into_inner().expect("no panic while held");
    shared.board.finish();
    Ok((shared.recorded, shared.broken))
}

/// Takes one cell after the other, and does for each what is to be done.
fn work(desk: &Desk, program: &Path, head: &Head, shared: &Mutex<Shared>, until: Option<Instant>) {
    loop {
        let place = {
            let mut shared = shared.lock().expect("no panic while held");
            if until.is_some_and(|until| Instant::now() >= until) && !shared.queue.is_empty() {
                let text = "the budget is used up".to_string();
                let gate = Gate::Verdicts;
                shared.broken.get_or_insert(Reason { gate, text });
            }
            match shared.broken.is_some() {
                true => return,
                false => shared.queue.pop_front(),
            }
        };
        let Some(place) = place else { return };
        if !cell(desk, program, head, shared, place) {
            return;
        }
    }
}

/// Whether it came to its end.
fn cell(desk: &Desk, program: &Path, head: &Head, shared: &Mutex<Shared>, place: usize) -> bool {
    let planned = &head.cells[place];
    loop {
        let purpose = {
            let mut shared = shared.lock().expect("no panic while held");
            let runs = shared.runs.entry(planned.id.clone()).or_default();
            let next = next(planned, runs.iter(), &head.gate);
            match next {
                Next::Done => {
                    shared.done(desk, planned.id.as_str(), place);
                    return true;
                }
                Next::Run(_) if shared.broken.is_some() => return false,
                Next::Run(purpose) => {
                    shared.board.begins(&planned.id, purpose);
                    purpose
                }
            }
        };
        let ran = match free(desk.store) {
            Some(bytes) if bytes < desk.least_free => Err(full(desk, bytes)),
            _ => make(
                desk,
                program,
                desk.cells[place],
                planned.id.clone(),
                purpose,
            ),
        };
        let mut shared = shared.lock().expect("no panic while held");
        shared.board.ends(&planned.id);
        let kept = ran.and_then(|ran| {
            let path = desk.folder.join(super::record::NAME);
            shared
                .journal
                .add(&ran)
                .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            shared.recorded.runs.push(ran.clone());
            shared.runs.entry(ran.cell.clone()).or_default().push(ran);
            Ok(())
        });
        if let Err(why) = kept {
            let (gate, text) = (Gate::Infra, why);
            shared.broken.get_or_insert(Reason { gate, text });
            return false;
        }
    }
}

impl Shared<'_> {
    fn done(&mut self, desk: &Desk, id: &str, place: usize) {
        let head = &self.recorded.head;
        let runs = self.runs.get(id).map_or(&[][..], Vec::as_slice);
        let came = super::state::came(&head.cells[place], runs, &head.gate);
        self.board.done(id, came, self.queue.len());
        if self.written.elapsed() >= STALE {
            let judged = judge(&self.recorded, super::today());
            // Written once more at the end, and what is wrong then is said.
            let _ = output::write(desk.folder, &judged, &Trend::default());
            self.written = Instant::now();
        }
    }
}

/// One run. The error says why the night cannot go on.
fn make(
    desk: &Desk,
    program: &Path,
    cell: Cell,
    id: String,
    purpose: Purpose,
) -> Result<Ran, String> {
    let combo = desk.night.combo(cell);
    let spec = desk.night.spec(cell);
    let entry = spec.entry().map_err(|e| e.to_string())?;
    let system = combo.program.as_deref().map(|path| (entry.variable, path));
    let ended = child::run(&child::Run {
        program,
        store: desk.store,
        spec: &spec,
        system,
        keep: desk.night.keep,
        limit: spec.time_limit() + desk.night.gate.watchdog.0,
    });
    // What failed for want of space says nothing, and is not recorded as if it did.
    if ended.ending.is_infra()
        && let Some(bytes) = free(desk.store)
        && (bytes < desk.least_free || ended.why.contains("No space left"))
    {
        return Err(full(desk, bytes));
    }
    Ok(ran(desk, ended, &spec, id, purpose, system))
}

fn ran(
    desk: &Desk,
    ended: Ended,
    spec: &Spec,
    cell: String,
    purpose: Purpose,
    system: Option<(&str, &Path)>,
) -> Ran {
    let outcome = ended.outcome.as_ref();
    let run = outcome.map(|outcome| Run::at(&outcome.run));
    let print = run
        .as_ref()
        .and_then(|run| fingerprint::of_run(run).ok().flatten());
    let again = match &run {
        Some(run) => command_line(run, spec),
        // Only a folder has the faults that were given.
        None if spec.nemesis.is_none() => String::new(),
        None => spec.command(Path::new(""), desk.store),
    };
    let prefix = system.map(|(variable, path)| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let word = quoted(&[path.display().to_string()]);
        format!("{variable}={word} ")
    });
    let mut anomalies: Vec<String> = Vec::new();
    for kind in outcome.iter().flat_map(|outcome| &outcome.anomalies) {
        if !anomalies.contains(kind) {
            anomalies.push(kind.clone());
        }
    }
    Ran {
        cell,
        purpose,
        ending: ended.ending,
        run: run.as_ref().map(Run::name),
        anomalies,
        fingerprint: print.filter(|_| ended.ending == super::record::Ending::Invalid),
        why: ended.why,
        took_s: ended.took.as_secs_f64(),
        figures: outcome.map_or_else(Default::default, |o| measures::headline(&o.judged.analyses)),
        again: prefix.filter(|_| !again.is_empty()).unwrap_or_default() + &again,
    }
}

/// Bytes that are free where the runs are kept.
fn free(store: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(store).ok()?;
    Some(found.f_bavail * found.f_frsize)
}

fn full(desk: &Desk, bytes: u64) -> String {
    format!(
        "the store is full: {} has {} MiB left, and a run begins with {} MiB or more; what is finished is kept: make \
         room (`schism prune`), and the same command goes on",
        desk.store.display(),
        bytes >> 20,
        desk.least_free >> 20
    )
}

/// How many labs this machine bears: a run keeps less than half a core busy, and with its nodes and
/// its judging it wants this much memory.
pub fn default_jobs() -> usize {
    const OF_A_RUN: u64 = 1536 << 20;
    let by_cores = crate::batch::default_jobs();
    let by_memory = available().map_or(by_cores, |bytes| (bytes / OF_A_RUN) as usize);
    by_cores.min(by_memory).max(1)
}

/// Memory that is there for the taking.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Where a shard of a night is kept.
pub fn folder(store: &Path, night: &str, matrix: &str, shard: (usize, usize)) -> PathBuf {
    let (i, n) = shard;
    store
        .join("nights")
        .join(format!("{night}-{matrix}-{i}of{n}"))
}
