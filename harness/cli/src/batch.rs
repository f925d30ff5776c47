//! Many runs of this same program, each as a user would call it and in a lab of its own, some at a
//! time. Runs that the store already has are not made again, so a batch that was interrupted goes
//! on where it was.

use std::collections::VecDeque;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use history::store::{Run, Store};
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
        ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}")
            .expect("the template is constant"),
    );
    let all = jobs.len();
    let queue = Mutex::new(VecDeque::from(jobs));
    let made = Mutex::new(Vec::with_capacity(all));
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                loop {
                    let job = queue.lock().expect("no panic while held").pop_front();
                    let Some(job) = job else { return };
                    let outcome = run_one(&program, job.spec(), store);
                    let mut made = made.lock().expect("no panic while held");
                    bar.set_message(terminal::word(&job.title()));
                    bar.inc(1);
                    match &outcome {
                        Err(e) => bar.suspend(|| terminal::tell(format!("{}: {e}", job.title()))),
                        // Elsewhere than on a terminal the bar says nothing.
                        Ok(outcome) if bar.is_hidden() => terminal::tell(format!(
                            "{}/{all}  {}: {}",
                            made.len() + 1,
                            job.title(),
                            outcome.verdict.word()
                        )),
                        Ok(_) => {}
                    }
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
