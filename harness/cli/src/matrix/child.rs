//! One run, as a program of its own: ended by a watchdog if need be, and told from one that the
//! kernel killed for memory.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use checkers::Verdict;
use rustix::process::{Pid, Signal, kill_process};

use super::record::Ending;
use crate::batch;
use crate::exit::USAGE;
use crate::judged::Outcome;
use crate::run::Keep;
use crate::spec::Spec;

/// From the wish that a run wind up to its end.
const GRACE: Duration = Duration::from_secs(20);
/// Anomalies that are all that a node shows which the kernel has killed.
const OF_DEATH: [&str; 2] = ["crashed", "never served again"];

/// What is to be run.
pub struct Run<'a> {
    pub program: &'a Path,
    pub store: &'a Path,
    pub spec: &'a Spec,
    /// Which program the system is, by the variable that says so.
    pub system: Option<(&'a str, &'a Path)>,
    /// What stays of the nodes' disks.
    pub keep: Keep,
    /// When the watchdog ends it.
    pub limit: Duration,
}

/// What became of it.
pub struct Ended {
    pub ending: Ending,
    pub why: String,
    pub outcome: Option<Outcome>,
    pub took: Duration,
}

pub fn run(run: &Run) -> Ended {
    let begun = Instant::now();
    let killed_before = killed_for_memory();
    let mut ended = match end(run) {
        Ok(ended) => ended,
        Err(why) => Ended {
            ending: Ending::Infra,
            why,
            outcome: None,
            took: Duration::ZERO,
        },
    };
    ended.took = begun.elapsed();
    if killed_for_memory() > killed_before && may_be_memory(&ended) {
        ended.ending = Ending::OutOfMemory;
        ended.why = format!("the kernel killed for memory while it ran: {}", ended.why);
    }
    ended
}

/// Whether what was seen is no more than a death explains. An anomaly in what was answered stands,
/// whoever was killed meanwhile.
fn may_be_memory(ended: &Ended) -> bool {
    match (&ended.outcome, ended.ending) {
        (_, Ending::Valid) => false,
        (Some(outcome), Ending::Invalid) => {
            let analyses = outcome.judged.analyses.iter();
            // What others say (nobody read this at the end) makes nothing invalid.
            let wrong = analyses.filter(|analysis| analysis.verdict == Verdict::Invalid);
            let mut kinds = wrong.flat_map(|analysis| &analysis.anomalies);
            kinds.all(|anomaly| OF_DEATH.contains(&anomaly.kind.as_str()))
        }
        _ => true,
    }
}

fn end(run: &Run) -> Result<Ended, String> {
    // Gone when the run has ended. The lab sees the store, and perhaps nothing else.
    let file = tempfile::Builder::new()
        .prefix(".spec-")
        .suffix(".json")
        .tempfile_in(run.store)
        .map_err(|e| format!("cannot write into {}: {e}", run.store.display()))?;
    serde_json::to_writer(&file, run.spec)
        .map_err(|e| format!("cannot write into {}: {e}", run.store.display()))?;
    let mut command = Command::new(run.program);
    command
        .args(["run", "--json", "--spec"])
        .arg(file.path())
        .arg("--store")
        .arg(run.store)
        .args(["--keep", run.keep.word()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some((variable, program)) = run.system {
        command.env(variable, program);
    }
    batch::ends_with_us(&mut command);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let out = drained(child.stdout.take());
    let err = drained(child.stderr.take());
    let (status, late) = wait(&mut child, run.limit)?;
    let out = out.join().unwrap_or_default();
    let err = String::from_utf8_lossy(&err.join().unwrap_or_default()).into_owned();
    Ok(told(status, late, run.limit, &out, &err))
}

/// Reads to the end, on a thread of its own: a pipe that is full stops its writer.
fn drained(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut from) = from {
            // What could be read is what there is.
            let _ = from.read_to_end(&mut all);
        }
        all
    })
}

/// Waits for its end, and brings it about when it is late: by a wish, then by force.
fn wait(child: &mut Child, limit: Duration) -> Result<(ExitStatus, bool), String> {
    let begun = Instant::now();
    let mut wished = false;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok((status, wished));
        }
        let waited = begun.elapsed();
        if waited > limit && !wished {
            wished = true;
            // It may have ended by now, which is what is wanted.
            let _ = pid(child).map(|pid| kill_process(pid, Signal::TERM));
        }
        if waited > limit + GRACE {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id() as i32)
}

fn told(status: ExitStatus, late: bool, limit: Duration, out: &[u8], err: &str) -> Ended {
    let ended = |ending, why: String, outcome| Ended {
        ending,
        why,
        outcome,
        took: Duration::ZERO,
    };
    let outcome: Option<Outcome> = serde_json::from_slice(out).ok();
    match (outcome, late) {
        // A run that was stopped may have found something before: that stands.
        (Some(outcome), true) if outcome.verdict != Verdict::Invalid => {
            let why = format!("it did not end within {} s", limit.as_secs());
            ended(Ending::Timeout, why, Some(outcome))
        }
        (Some(outcome), _) => {
            let stopped = outcome.judged.notes.stopped;
            let ending = match outcome.verdict {
                Verdict::Invalid => Ending::Invalid,
                // It was another's wish, and says nothing.
                _ if stopped => Ending::Infra,
                Verdict::Valid => Ending::Valid,
                Verdict::Unknown => Ending::Unknown,
                Verdict::Vacuous => Ending::Vacuous,
                Verdict::Infra => Ending::Infra,
            };
            ended(ending, why(&outcome), Some(outcome))
        }
        (None, true) => {
            let why = format!(
                "it did not end within {} s, and had no result",
                limit.as_secs()
            );
            ended(Ending::Timeout, why, None)
        }
        (None, false) => {
            let last: Vec<&str> = err.lines().rev().take(5).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
            let last = last.strip_prefix("schism: ").unwrap_or(&last);
            let how = match (status.code(), status.signal()) {
                (Some(code), _) if code == i32::from(USAGE) => "it was refused".to_string(),
                (Some(code), _) => format!("no result, exit code {code}"),
                (None, Some(signal)) => format!("no result, killed by signal {signal}"),
                (None, None) => "no result".to_string(),
            };
            ended(Ending::Infra, format!("{how}: {last}"), None)
        }
    }
}

/// What decided the verdict: the first line that the worst checker says.
fn why(outcome: &Outcome) -> String {
    let worst = |a: &&checkers::Analysis| a.verdict == outcome.verdict;
    let analysis = outcome.judged.analyses.iter().find(worst);
    let analysis = analysis.filter(|_| outcome.verdict != Verdict::Valid);
    let line = analysis.and_then(|a| Some(format!("{}: {}", a.checker, a.summary.lines().next()?)));
    line.unwrap_or_default()
}

/// How often the kernel has killed a process for memory: on this machine, or in this container.
fn killed_for_memory() -> u64 {
    ["/sys/fs/cgroup/memory.events", "/proc/vmstat"]
        .map(PathBuf::from)
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| kills(&text))
        .sum()
}

fn kills(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use checkers::{Analysis, Anomaly};

    use super::*;

    #[test]
    fn a_death_for_memory_explains_a_crash_and_no_stale_read() {
        assert_eq!(kills("low 0\nhigh 1\noom 3\noom_kill 2\n"), Some(2));
        assert_eq!(kills("pgfault 1\n"), None);
        let anomaly = |kind: &str| Anomaly {
            kind: kind.to_string(),
            ..Anomaly::default()
        };
        let ended = |ending, kinds: &[&str]| {
            let wrong = kinds
                .iter()
                .map(|kind| Analysis::of_anomalies("c", "", vec![anomaly(kind)]));
            let open = Analysis {
                anomalies: vec![anomaly("not read at the end")],
                ..Analysis::unknown("completeness", "")
            };
            let analyses = wrong.chain([open]).collect();
            Ended {
                ending,
                why: String::new(),
                outcome: (!kinds.is_empty()).then(|| Outcome {
                    run: String::new(),
                    verdict: Verdict::Invalid,
                    anomalies: Vec::new(),
                    found_at_s: None,
                    seed: 1,
                    unmet: None,
                    judged: harness::run::Judged {
                        verdict: Verdict::Invalid,
                        analyses,
                        notes: Default::default(),
                    },
                }),
                took: Duration::ZERO,
            }
        };
        assert!(may_be_memory(&ended(Ending::Infra, &[])));
        assert!(may_be_memory(&ended(
            Ending::Invalid,
            &["crashed", "never served again"]
        )));
        assert!(!may_be_memory(&ended(
            Ending::Invalid,
            &["crashed", "stale read"]
        )));
        assert!(!may_be_memory(&ended(Ending::Valid, &[])));
    }
}
