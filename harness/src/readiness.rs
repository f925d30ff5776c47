//! Whether nodes serve: at the start, after everything was healed, and once more after the last
//! writes. The first decides whether there is a run at all; the others are events of the history.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::protocol::{Request, State};
use history::Name;
use history::mark::{Mark, Recovery};
use history::wording::shortened;
use tokio::task::JoinSet;

use crate::cluster::Node;
use crate::progress::Progress;
use crate::recorder::{RecordError, Recorder};
use crate::system::System;

/// Between two questions to a node that is not ready.
const PAUSE: Duration = Duration::from_millis(50);

/// Last lines of a daemon's log that are shown.
const LINES: usize = 10;

/// Lines before them in which is looked for what went wrong: traces of calls are long.
const LOOKED: u32 = 300;

/// Of each of them.
const MOST_CHARS: usize = 400;

/// How the daemon is and what it said last: what a person wants to see when it does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub state: String,
    /// Whether the daemon has ended.
    pub ended: bool,
    /// The last lines of its log.
    pub log: Vec<String>,
}

impl Words {
    /// As one text of several lines.
    pub fn text(&self) -> String {
        let Words { state, log, .. } = self;
        if log.is_empty() {
            return format!("{state}; its log is empty");
        }
        let lines: Vec<_> = log.iter().map(|line| format!("    | {line}")).collect();
        format!("{state}; its log ends:\n{}", lines.join("\n"))
    }
}

/// `why` is what came of asking it, while it runs.
async fn last_words(node: &Node, daemon: &str, why: &str) -> Words {
    let patience = Duration::from_secs(5);
    let state = node.agent.call::<State>(Request::State {
        daemon: daemon.into(),
    });
    let state = tokio::time::timeout(patience, state).await;
    let ended = matches!(state, Ok(Ok(State::Stopped { .. })));
    let state = match state {
        Ok(Ok(State::Running { pid })) => {
            let why = shortened(why, MOST_CHARS);
            format!("{daemon} runs as pid {pid}, but does not serve: {why}")
        }
        Ok(Ok(State::Paused { pid })) => format!("{daemon}, pid {pid}, is stopped"),
        Ok(Ok(State::Stopped { status })) => format!("{daemon} has ended ({status})"),
        Ok(Err(e)) => e.to_string(),
        Err(_) => format!("its agent did not answer in {patience:?}"),
    };
    Words {
        state,
        ended,
        log: last_lines(node, daemon, patience).await,
    }
}

/// The last lines of the daemon's log, and before them the one that says what went wrong, if it is
/// one of many; none if they cannot be had.
pub async fn last_lines(node: &Node, daemon: &str, patience: Duration) -> Vec<String> {
    let asked = node.agent.call::<String>(Request::Tail {
        daemon: daemon.into(),
        lines: LOOKED,
    });
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(text)) => telling(&text),
        _ => Vec::new(),
    }
}

/// What of a log's end is shown.
fn telling(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let (before, end) = lines.split_at(lines.len().saturating_sub(LINES));
    let reason = match end.iter().any(|line| names_a_fault(line)) {
        true => None,
        false => before.iter().rfind(|line| names_a_fault(line)),
    };
    let shown = reason
        .into_iter()
        .chain(["..."].iter().filter(|_| reason.is_some()));
    shown
        .chain(end)
        .map(|line| shortened(line, MOST_CHARS))
        .collect()
}

/// Whether a line says that something went wrong, and is no step of a trace of calls.
fn names_a_fault(line: &str) -> bool {
    let said = |word: &str| {
        let word = word.to_ascii_lowercase();
        let ends = ["error", "exception"].iter().any(|end| word.ends_with(end));
        ends || [
            "panic",
            "panicked",
            "fatal",
            "assertion",
            "abort",
            "aborted",
            "bug",
        ]
        .contains(&&*word)
    };
    !line.starts_with([' ', '\t']) && line.split(|c: char| !c.is_alphanumeric()).any(said)
}

async fn has_ended(node: &Node, daemon: &str) -> bool {
    let daemon = daemon.to_string();
    let state = node.agent.call::<State>(Request::State { daemon }).await;
    matches!(state, Ok(State::Stopped { .. }))
}

/// Asks the node until it is ready or the time is out, and why it is not. One whose daemon has
/// ended will not become ready, and one whose agent is gone is asked once.
async fn is_ready(
    system: &dyn System,
    node: &Node,
    daemon: &str,
    until: Instant,
) -> Result<(), String> {
    let mut last = None;
    loop {
        let asked = tokio::time::timeout_at(until.into(), system.ready(node));
        let why = match asked.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            // What it said before says more.
            Err(_) => last
                .take()
                .unwrap_or_else(|| "it was asked, and did not answer in time".into()),
        };
        if Instant::now() >= until || node.agent.is_gone() || has_ended(node, daemon).await {
            return Err(why);
        }
        last = Some(why);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks all nodes at once, each until it is ready or the time is out; calls `each` with every
/// answer as it comes, and how long it took.
async fn ask_all<F>(
    system: &Arc<dyn System>,
    nodes: &[Node],
    daemon: &str,
    since: Instant,
    patience: Duration,
    mut each: F,
) where
    F: AsyncFnMut(&Node, Result<(), String>, Duration),
{
    let mut asking = JoinSet::new();
    for node in nodes.iter().cloned() {
        let (system, daemon) = (system.clone(), daemon.to_string());
        asking.spawn(async move {
            let ready = is_ready(&*system, &node, &daemon, since + patience).await;
            (node, ready, since.elapsed())
        });
    }
    while let Some(answer) = asking.join_next().await {
        let (node, ready, after) = answer.expect("asking does not panic");
        each(&node, ready, after).await;
    }
}

/// What is to be said of every node whose daemon does not run any more.
pub async fn ended(nodes: &[Node], daemon: &str) -> Vec<String> {
    let mut ended = Vec::new();
    for node in nodes {
        if has_ended(node, daemon).await {
            let words = last_words(node, daemon, "").await;
            ended.push(format!("{}: {}", node.name, words.text()));
        }
    }
    ended
}

/// A node that is not ready in time.
pub struct Unready {
    /// Whether its daemon has ended.
    pub ended: bool,
    pub text: String,
}

/// Waits for the start of the system; what is wrong with the nodes that are not ready in time.
pub async fn started(system: &Arc<dyn System>, nodes: &[Node], daemon: &str) -> Vec<Unready> {
    let mut not_ready = Vec::new();
    let each = async |node: &Node, ready: Result<(), String>, _| {
        if let Err(why) = ready {
            let words = last_words(node, daemon, &why).await;
            not_ready.push(Unready {
                ended: words.ended,
                text: format!("{}: {}", node.name, words.text()),
            });
        }
    };
    let (since, patience) = (Instant::now(), system.patience());
    ask_all(system, nodes, daemon, since, patience, each).await;
    not_ready.sort_by(|a, b| a.text.cmp(&b.text));
    not_ready
}

/// How long healed nodes have, from when on, and where it is written down whether that sufficed.
pub struct Recovering<'a> {
    pub system: &'a Arc<dyn System>,
    pub daemon: &'a str,
    pub since: Instant,
    pub allowed: Duration,
    pub recorder: &'a Recorder,
    pub progress: &'a Progress,
}

impl Recovering<'_> {
    /// Waits until every node serves or the time is out, and returns those that do. What became of
    /// each is recorded; where the same was asked before (`again`), only what is worse than then.
    pub async fn wait(&self, nodes: &[Node], again: bool) -> Result<Vec<Name>, RecordError> {
        let mut served = Vec::new();
        let mut failed = None;
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let each = async |node: &Node, ready: Result<(), String>, after: Duration| {
            let mut recovery = Recovery {
                served: ready.is_ok(),
                after_ns: nanoseconds(after),
                allowed_ns: nanoseconds(self.allowed),
                ..Recovery::default()
            };
            match ready {
                Ok(()) => {
                    served.push(node.name.clone());
                    if again {
                        return;
                    }
                }
                Err(why) => {
                    let words = last_words(node, self.daemon, &why).await;
                    let text = format!(
                        "{} does not serve after healing: {}",
                        node.name, words.state
                    );
                    self.progress.remark(text);
                    recovery.why = match again {
                        true => format!("after the last writes: {}", words.state),
                        false => words.state,
                    };
                    recovery.log = words.log;
                    recovery.unseen = node.agent.is_gone();
                }
            }
            let mark = Mark::Recovery(node.name.clone(), recovery);
            failed = failed.take().or(self.recorder.mark(mark).err());
        };
        let Recovering {
            system,
            daemon,
            since,
            allowed,
            ..
        } = self;
        ask_all(system, nodes, daemon, *since, *allowed, each).await;
        match failed {
            None => Ok(served),
            Some(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_trace_of_calls_the_line_above_it_is_shown_too() {
        let steps = |of: &str| format!("    at {of}.step (app.js:7)\n").repeat(20);
        let thrown = format!(
            "listening\nError: lost a peer\n{}Error: BUG: revision 7 not locked\n{}Node.js v20\n",
            steps("Peer"),
            steps("Error")
        );
        let shown = telling(&thrown);
        assert_eq!(shown[..2], ["Error: BUG: revision 7 not locked", "..."]);
        assert_eq!((shown.len(), shown[11].as_str()), (12, "Node.js v20"));
        // Where the end says it itself, nothing more is shown.
        let last = format!(
            "{thrown}java.lang.IllegalStateException: no\n{}",
            "    at Main"
        );
        assert_eq!(telling(&last).len(), LINES);
        // A panic of Go's, whose steps are not indented.
        let go = format!(
            "panic: nil\n\ngoroutine 1:\n{}",
            "errors.New(0x1)\n\t/go/errors.go:7\n".repeat(9)
        );
        assert_eq!(telling(&go)[0], "panic: nil");
        assert_eq!(telling("a\n\nb\n"), ["a", "b"]);
        assert!(telling("").is_empty());
    }
}
