//! Many runs of this same program, each as a user would call it and in a lab of its own, some at a
//! time. Runs that the store already has are not made again, so a batch that was interrupted goes
//! on where it was.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use history::store::{Run, Store};
use history::wording::counted;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::exit::Failure;
use crate::judged::{Outcome, recall};
use crate::spec::Spec;
use crate::terminal;

/// What a batch is made of: knows its name for people, and what is asked for.
pub trait Job: Send {
    fn title(&self) -> String;

    fn spec(&self) -> &Spec;
}

/// The same run, for the nth time.
pub struct Again {
    spec: Spec,
    pub nth: u64,
}

impl Again {
    /// So many times.
    pub fn times(spec: &Spec, times: u64) -> Vec<Again> {
        let again = |nth| Again {
            spec: spec.clone(),
            nth,
        };
        (1..=times).map(again).collect()
    }
}

impl Job for Again {
    fn title(&self) -> String {
        format!("run {}", self.nth)
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }
}

/// What became of a job.
pub struct Made<J> {
    pub job: J,
    /// The error text where there was no result at all.
    pub outcome: Result<Outcome, String>,
}

/// A run keeps less than half a core busy.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2))
}

/// What a run takes beyond its main phase: nodes start, the last operations are asked, it is
/// judged.
const AROUND: Duration = Duration::from_secs(8);

/// What a run takes, where nobody has measured it.
pub fn takes(spec: &Spec) -> Duration {
    spec.time_limit() + AROUND
}

/// A long time, roughly.
pub fn long(span: Duration) -> String {
    let minutes = (span.as_secs_f64() / 60.0).round() as u64;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{} s", span.as_secs()),
        (0, m) => format!("{m} min"),
        (h, m) => format!("{h} h {m:02} min"),
    }
}

/// How far a batch has come: what its runs came to, and how long it will take.
struct Board {
    at_once: usize,
    all: usize,
    begun: Instant,
    /// By the verdict's word; `no result` for those that have none.
    tally: BTreeMap<&'static str, usize>,
    done: usize,
    /// What was expected of the runs that are made, and of those that are left.
    expected_done: Duration,
    expected_left: Duration,
}

impl Board {
    fn new<J: Job>(jobs: &[J], at_once: usize) -> Board {
        Board {
            at_once: at_once.max(1),
            all: jobs.len(),
            begun: Instant::now(),
            tally: BTreeMap::new(),
            done: 0,
            expected_done: Duration::ZERO,
            expected_left: jobs.iter().map(|job| takes(job.spec())).sum(),
        }
    }

    fn done(&mut self, spec: &Spec, outcome: &Result<Outcome, String>) {
        let word = outcome.as_ref().map_or("no result", |o| o.verdict.word());
        *self.tally.entry(word).or_default() += 1;
        self.done += 1;
        self.expected_done += takes(spec);
        self.expected_left = self.expected_left.saturating_sub(takes(spec));
    }

    /// `4 valid, 1 invalid`.
    fn counts(&self) -> String {
        let counts = self.tally.iter().map(|(word, n)| format!("{n} {word}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// By what was expected, corrected by what the runs that are made really took.
    fn left(&self) -> Duration {
        self.left_after(self.begun.elapsed())
    }

    fn left_after(&self, elapsed: Duration) -> Duration {
        let at_once = self.at_once as f64;
        let ratio = match self.expected_done.is_zero() {
            true => 1.0,
            false => elapsed.as_secs_f64() * at_once / self.expected_done.as_secs_f64(),
        };
        self.expected_left.mul_f64(ratio / at_once)
    }
}

/// What earlier batches have left in the store, each job once. `wanted` says whether a run is one
/// of the batch's.
pub fn recall_all<J: PartialEq>(
    store: &Store,
    wanted: impl Fn(&Run, &Spec) -> Option<J>,
) -> Result<Vec<Made<J>>, Failure> {
    let mut made: Vec<Made<J>> = Vec::new();
    for run in store.list().map_err(Failure::infra)? {
        let Ok(spec) = Spec::load(&run) else { continue };
        let Some(job) = wanted(&run, &spec) else {
            continue;
        };
        if made.iter().any(|m| m.job == job) {
            continue;
        }
        // A run without results was interrupted, one that was wound up early lacks its end: both
        // are made again.
        if let Ok(outcome) = recall(&run)
            && !outcome.judged.notes.stopped
        {
            made.push(Made {
                job,
                outcome: Ok(outcome),
            });
        }
    }
    Ok(made)
}

/// Makes the runs, `at_once` at a time, and shows how far it has come. No further run is begun once
/// `enough` says that the answer is known.
pub fn run_all<J: Job>(
    jobs: Vec<J>,
    at_once: usize,
    store: &Path,
    enough: impl Fn(&[Made<J>]) -> bool + Sync,
) -> Result<Vec<Made<J>>, Failure> {
    let program = std::env::current_exe().map_err(Failure::infra)?;
    std::fs::create_dir_all(store)
        .map_err(|e| Failure::Infra(format!("cannot make {}: {e}", store.display())))?;
    let bar = ProgressBar::new(jobs.len() as u64).with_style(
        ProgressStyle::with_template("{bar:24} {pos}/{len} runs  {wide_msg}")
            .expect("the template is constant"),
    );
    let board = Board::new(&jobs, at_once);
    // Of one run everybody knows how long it takes.
    if board.all > 1 {
        let runs = counted(board.all, "run");
        terminal::tell(format!("{runs} to make: about {}", long(board.left())));
    }
    let board = Mutex::new(board);
    let queue = Mutex::new(VecDeque::from(jobs));
    let made = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                loop {
                    let job = queue.lock().expect("no panic while held").pop_front();
                    let Some(job) = job else { return };
                    let outcome = run_one(&program, job.spec(), store);
                    let mut made = made.lock().expect("no panic while held");
                    let mut board = board.lock().expect("no panic while held");
                    board.done(job.spec(), &outcome);
                    show(&bar, &board, &job, &outcome);
                    made.push(Made { job, outcome });
                    if enough(&made) {
                        queue.lock().expect("no panic while held").clear();
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    Ok(made.into_inner().expect("no panic while held"))
}

fn show<J: Job>(bar: &ProgressBar, board: &Board, job: &J, outcome: &Result<Outcome, String>) {
    let (counts, left) = (board.counts(), long(board.left()));
    let title = job.title();
    bar.set_position(board.done as u64);
    bar.set_message(terminal::word(&format!(
        "{counts}, about {left} left  {title}"
    )));
    match outcome {
        Err(e) => bar.suspend(|| terminal::tell(format!("{title}: {e}"))),
        // Elsewhere than on a terminal the bar says nothing.
        Ok(outcome) if bar.is_hidden() => terminal::tell(format!(
            "{}/{}  {title}: {}  [{counts}; about {left} left]",
            board.done,
            board.all,
            outcome.verdict.word()
        )),
        Ok(_) => {}
    }
}

fn run_one(program: &Path, spec: &Spec, store: &Path) -> Result<Outcome, String> {
    // Gone when the run has ended. The lab sees the store, and perhaps nothing else.
    let file = tempfile::Builder::new()
        .prefix(".spec-")
        .suffix(".json")
        .tempfile_in(store)
        .map_err(|e| format!("cannot write into {}: {e}", store.display()))?;
    serde_json::to_writer(&file, spec).map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command
        .args(["run", "--json", "--spec"])
        .arg(file.path())
        .arg("--store")
        .arg(store)
        .stdin(Stdio::null());
    ends_with_us(&mut command);
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

/// A run whose batch is gone would go on for nobody. However this program ends, the kernel kills
/// what it has started, and takes its lab away. The thread that starts it has to outlive it, for
/// the kernel asks after the thread.
pub fn ends_with_us(command: &mut Command) {
    let us = std::process::id();
    // SAFETY: the closure makes two system calls, and allocates nothing unless it fails.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // This program may have ended before it could be asked for.
            match getppid().is_some_and(|parent| parent.as_raw_pid() as u32 == us) {
                true => Ok(()),
                false => Err(std::io::ErrorKind::NotFound.into()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Minute(Spec);

    impl Job for Minute {
        fn title(&self) -> String {
            "a minute".into()
        }

        fn spec(&self) -> &Spec {
            &self.0
        }
    }

    #[test]
    fn what_is_left_follows_from_what_the_runs_took() {
        let text = r#"{"schism":"0","created":"","machine":{"kernel":"","arch":"","cores":1},"cluster":"lab",
            "system":"paxos-kv","workload":"register","nemesis":"none","nodes":3,"time_limit_ms":52000,
            "op_timeout_ms":3000,"rate":200.0,"concurrency":3,"seed":1,"params":{},"flaws":[]}"#;
        let job = || Minute(serde_json::from_str(text).unwrap());
        let jobs: Vec<Minute> = (0..6).map(|_| job()).collect();
        let mut board = Board::new(&jobs, 2);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        // Six runs of a minute, two at a time.
        assert_eq!(board.left_after(Duration::ZERO), minutes(3));
        board.done(job().spec(), &Err("gone".into()));
        board.done(job().spec(), &Err("gone".into()));
        // The first two took twice as long, and so will the other four.
        assert_eq!(board.left_after(minutes(2)), minutes(4));
        assert_eq!(board.counts(), "2 no result");
        (0..4).for_each(|_| board.done(job().spec(), &Err("gone".into())));
        assert_eq!(board.left_after(minutes(6)), Duration::ZERO);
    }
}
