//! A run, told in numbered steps: [`record`] then [`judge`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkers::{Analysis, Budget, Checker, Verdict};
use history::jsonl::ReadError;
use history::store::{Run, StoreError};
use history::{Kind, Process, Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::client::Connect;
use crate::cluster::{Cluster, ClusterError, Node};
use crate::control::ControlError;
use crate::generator::{Combine, Generator};
use crate::injector;
use crate::interpreter::{self, Phase};
use crate::nemesis::{Planned, World};
use crate::progress::{Progress, Stop, Wish, wished};
use crate::recorder::{Draft, Quantiles, RecordError, Recorder};
use crate::seed::Seed;
use crate::system::System;
use crate::watcher::Watchers;

/// Everything that a run needs, concrete.
pub struct Test {
    pub seed: Seed,
    pub system: Arc<dyn System>,
    pub connect: Arc<dyn Connect>,
    pub generator: Box<dyn Generator>,
    /// Asked after everything is healed, such as a last read from every node.
    pub final_generator: Option<Box<dyn Generator>>,
    pub schedule: Vec<Planned>,
    /// Operations offered a second, on average.
    pub rate: f64,
    pub workers: usize,
    /// Length of the main phase.
    pub time_limit: Duration,
    pub op_timeout: Duration,
    /// What the nodes lack, asked once they are up and before anything else is done: one line each.
    pub lacking: Lacking,
}

/// See [`Test::lacking`].
pub type Lacking = Box<dyn Fn(&[Node]) -> Vec<String> + Send>;

/// What the harness itself has to say about a run, kept beside the history in `results.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// What the system says it is, one line for each different answer.
    pub versions: Vec<String>,
    /// The harness could not do its work: each is a reason for `infra`.
    pub failures: Vec<String>,
    /// Things that a reader should know and that decide nothing.
    pub warnings: Vec<String>,
    /// From the end of an operation to its event in the history.
    pub recorder_delay: Option<Quantiles>,
    /// Start of the main phase, in nanoseconds of the history's time.
    pub main_from_ns: u64,
    /// End of the main phase.
    pub main_until_ns: u64,
    /// Somebody wound the run up before its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// Why there is nothing to judge: the run ended before its main phase.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("the cluster did not come up: {0}")]
    Cluster(ClusterError),
    #[error("{what}:\n{}", .errors.join("\n"))]
    Nodes {
        what: &'static str,
        errors: Vec<String>,
    },
    #[error("the nodes cannot do what is asked for:\n{}\n`schism doctor` says how to get what is missing", .0.join("\n"))]
    Lacking(Vec<String>),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("stopped before the run had begun")]
    Stopped,
}

/// How long a healed system may take until all nodes serve again before the final phase goes on
/// without them.
const QUIET: Duration = Duration::from_secs(20);

/// How long an operation of the final phase may take, and how often it may be tried.
const FINAL_PATIENCE: Duration = Duration::from_secs(30);

/// Steps 1 to 7: from nothing to a folder that has everything. Once the main phase has begun,
/// nothing that goes wrong loses what was recorded: it is noted, and the run goes on to its end.
pub async fn record(
    test: Test,
    cluster: &mut dyn Cluster,
    run: &Run,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<Notes, RunError> {
    // 1. Machines, with 2. an agent on each, and the programs in place.
    progress.phase("bringing the cluster up", None);
    let mut early = stop.clone();
    let programs = test.system.programs();
    let result = tokio::select! {
        up = cluster.up(&programs) => up.map_err(RunError::Cluster),
        () = wished(&mut early, Wish::WindUp) => Err(RunError::Stopped),
    };
    let result = match result {
        Ok(nodes) => {
            let mut early = stop.clone();
            tokio::select! {
                biased;
                () = wished(&mut early, Wish::Abandon) => Err(RunError::Stopped),
                notes = on_cluster(test, nodes, run, &progress, stop) => notes,
            }
        }
        Err(e) => Err(e),
    };
    // 6. Logs. 7. Only now is anything taken down, and its failure costs no verdict.
    progress.phase("collecting and tearing down", None);
    let mut afterwards = Vec::new();
    if let Err(e) = cluster.collect().await {
        afterwards.push(format!("collecting logs: {e}"));
    }
    if let Err(e) = cluster.down().await {
        afterwards.push(format!("tearing down: {e}"));
    }
    let mut notes = result?;
    notes.warnings.extend(afterwards);
    Ok(notes)
}

async fn on_cluster(
    test: Test,
    nodes: Vec<Node>,
    run: &Run,
    progress: &Arc<Progress>,
    stop: Stop,
) -> Result<Notes, RunError> {
    let mut notes = Notes::default();
    let lacking = (test.lacking)(&nodes);
    if !lacking.is_empty() {
        return Err(RunError::Lacking(lacking));
    }
    let system = test.system;

    // 3. The system: installed, started, ready.
    progress.phase(
        format!("starting {}", system.name()),
        Some(system.patience()),
    );
    let mut early = stop.clone();
    let daemon = tokio::select! {
        started = start(&system, &nodes) => started?,
        () = wished(&mut early, Wish::WindUp) => return Err(RunError::Stopped),
    };
    for node in &nodes {
        match system.version(node).await {
            Ok(version) if notes.versions.contains(&version) => {}
            Ok(version) => notes.versions.push(version),
            Err(e) => notes.warnings.push(format!("version: {e}")),
        }
    }

    // 4. Drive: operations and faults, into one history.
    progress.phase("main phase", Some(test.time_limit));
    let recorder = Recorder::create(&run.history())?;
    let world = Arc::new(World {
        nodes: nodes.clone(),
        system: system.clone(),
        daemon,
    });
    let watchers = Watchers::start(&system, &nodes, &recorder);
    let faults = test.schedule.len() as u64;
    let began = Instant::now();
    notes.main_from_ns = began.duration_since(recorder.start()).as_nanos() as u64;
    let main = interpreter::drive(
        Phase {
            generator: Box::new(test.generator.rate(test.rate).until(test.time_limit)),
            stream: "operations",
            seed: test.seed,
            workers: test.workers,
            first_process: 0,
            op_timeout: test.op_timeout,
        },
        &nodes,
        test.connect.clone(),
        &recorder,
        progress,
        stop.clone(),
    );
    let nemesis = injector::run(
        test.schedule,
        world.clone(),
        began,
        test.time_limit,
        recorder.clone(),
        progress.clone(),
        stop.clone(),
    );
    // A failure to record ends the phase, but not the run: nodes are healed, and what is on disk
    // is judged.
    let (next_process, trouble) = match tokio::join!(main, nemesis) {
        (Ok(next), Ok(())) => (next, None),
        (Err(e), _) | (_, Err(e)) => (0, Some(e)),
    };
    notes.main_until_ns = recorder.start().elapsed().as_nanos() as u64;
    notes.stopped = *stop.borrow() != Wish::GoOn;

    // 5. Heal, wait until quiet, and look at what is left.
    progress.phase("healing", Some(QUIET));
    match injector::heal_all(faults, &world, &recorder).await {
        Ok(errors) => notes.failures.extend(errors),
        Err(e) => notes.failures.push(e.to_string()),
    }
    if let Some(e) = trouble {
        notes.failures.push(e.to_string());
    } else if let Err(e) = finish(
        &nodes,
        &system,
        FinalPhase {
            generator: test.final_generator,
            connect: test.connect,
            seed: test.seed,
            first_process: next_process,
        },
        &recorder,
        progress,
        stop,
        &mut notes,
    )
    .await
    {
        notes.failures.push(e.to_string());
    }
    if let Err(e) = watchers.finish().await {
        notes.failures.push(e.to_string());
    }
    match recorder.finish() {
        Ok(summary) => notes.recorder_delay = Some(summary.delay),
        Err(e) => notes.failures.push(e.to_string()),
    }
    // What was asked of an agent that was away for a while may not have been so all the time.
    notes
        .failures
        .extend(nodes.iter().flat_map(|n| n.agent.doubts()));
    notes.failures.dedup();
    Ok(notes)
}

/// Installs and starts the daemons, waits for all to be ready, and returns the daemon's name.
async fn start(system: &Arc<dyn System>, nodes: &[Node]) -> Result<String, RunError> {
    each(nodes, "installing failed", |node| {
        let (system, all) = (system.clone(), nodes.to_vec());
        async move {
            system.install(&node, &all).await?;
            let daemon = system.daemon(&node, &all);
            node.agent
                .call::<agent::protocol::Started>(agent::protocol::Request::Start { daemon })
                .await
                .map(|_| ())
        }
    })
    .await?;
    let daemon = system.daemon(&nodes[0], nodes).name;
    let mut not_ready = Vec::new();
    for (node, ready) in wait_ready(system, nodes, Some(&daemon), system.patience()).await {
        if !ready {
            let why = last_words(&node, &daemon).await;
            not_ready.push(format!("{}: {why}", node.name));
        }
    }
    match not_ready.is_empty() {
        true => Ok(daemon),
        false => Err(RunError::Nodes {
            what: "not ready in time",
            errors: not_ready,
        }),
    }
}

async fn has_ended(node: &Node, daemon: &str) -> bool {
    use agent::protocol::{Request, State};
    let daemon = daemon.to_string();
    let state = node.agent.call::<State>(Request::State { daemon }).await;
    matches!(state, Ok(State::Stopped { .. }))
}

/// How the daemon is and what it said last: what a person wants to see when it does not start.
async fn last_words(node: &Node, daemon: &str) -> String {
    use agent::protocol::{Request, State};
    let state = node
        .agent
        .call::<State>(Request::State {
            daemon: daemon.into(),
        })
        .await;
    let state = match state {
        Ok(State::Running { pid }) => format!("{daemon} runs as pid {pid}, but does not serve"),
        Ok(State::Paused { pid }) => format!("{daemon}, pid {pid}, is stopped"),
        Ok(State::Stopped { status }) => format!("{daemon} has ended ({status})"),
        Err(e) => e.to_string(),
    };
    let tail = node
        .agent
        .call::<String>(Request::Tail {
            daemon: daemon.into(),
            lines: 10,
        })
        .await;
    match tail {
        Ok(text) if text.trim().is_empty() => format!("{state}; its log is empty"),
        Ok(text) => {
            let lines: Vec<_> = text.lines().map(|l| format!("    | {l}")).collect();
            format!("{state}; its log ends:\n{}", lines.join("\n"))
        }
        Err(e) => format!("{state}; its log cannot be read: {e}"),
    }
}

/// Asks every node until all are ready or the time is out. A node whose `daemon` has ended will not
/// become ready, and one whose agent is gone is asked once.
async fn wait_ready(
    system: &Arc<dyn System>,
    nodes: &[Node],
    daemon: Option<&str>,
    patience: Duration,
) -> Vec<(Node, bool)> {
    let deadline = Instant::now() + patience;
    let mut asking = JoinSet::new();
    for (i, node) in nodes.iter().cloned().enumerate() {
        let system = system.clone();
        let daemon = daemon.map(str::to_string);
        asking.spawn(async move {
            loop {
                if system.ready(&node).await {
                    return (i, node, true);
                }
                let ended = match &daemon {
                    Some(daemon) => has_ended(&node, daemon).await,
                    None => false,
                };
                if ended || node.agent.is_gone() || Instant::now() >= deadline {
                    return (i, node, false);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(i, ..)| *i);
    answers.into_iter().map(|(_, node, r)| (node, r)).collect()
}

/// Does something on every node at once; the error has every node's.
async fn each<F>(
    nodes: &[Node],
    what: &'static str,
    act: impl Fn(Node) -> F,
) -> Result<(), RunError>
where
    F: Future<Output = Result<(), ControlError>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for node in nodes {
        tasks.spawn(act(node.clone()));
    }
    let mut errors: Vec<String> = tasks
        .join_all()
        .await
        .into_iter()
        .filter_map(|done| done.err().map(|e| e.to_string()))
        .collect();
    errors.sort();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(RunError::Nodes { what, errors }),
    }
}

struct FinalPhase {
    generator: Option<Box<dyn Generator>>,
    connect: Arc<dyn Connect>,
    seed: Seed,
    first_process: u64,
}

/// Step 5 after healing: the last operations, and what every node has to show.
async fn finish(
    nodes: &[Node],
    system: &Arc<dyn System>,
    last: FinalPhase,
    recorder: &Recorder,
    progress: &Progress,
    stop: Stop,
    notes: &mut Notes,
) -> Result<(), RecordError> {
    for (node, ready) in wait_ready(system, nodes, None, QUIET).await {
        if !ready {
            let text = match node.agent.is_gone() {
                true => format!("{} does not serve, and its agent is gone", node.name),
                false => format!("{} does not serve {QUIET:?} after healing", node.name),
            };
            progress.remark(text.clone());
            notes.warnings.push(text);
        }
    }
    let mut process = last.first_process;
    if let Some(generator) = last.generator {
        progress.phase("final operations", Some(FINAL_PATIENCE));
        process = interpreter::drive(
            Phase {
                generator: Box::new(generator.until(FINAL_PATIENCE)),
                stream: "final operations",
                seed: last.seed,
                workers: nodes.len(),
                first_process: process,
                op_timeout: FINAL_PATIENCE,
            },
            nodes,
            last.connect,
            recorder,
            progress,
            // A wish to wind up has ended the main phase; these few reads are what there is to judge.
            match *stop.borrow() {
                Wish::GoOn => stop.clone(),
                _ => tokio::sync::watch::channel(Wish::GoOn).1,
            },
        )
        .await?;
    }
    progress.phase("reading what the nodes hold", None);
    for (i, node) in nodes.iter().enumerate() {
        let process = Process::Client(process + i as u64);
        for (f, value) in system.final_reads(node).await {
            let draft = |kind, value, error| Draft {
                process,
                kind,
                f: f.clone(),
                value,
                error,
                node: Some(node.name.clone()),
                version: None,
            };
            recorder.record(draft(Kind::Invoke, Value::Nil, None), None)?;
            let completion = match value {
                Ok(value) => draft(Kind::Ok, value, None),
                Err(why) => draft(Kind::Fail, Value::Nil, Some(why)),
            };
            recorder.record(completion, None)?;
        }
    }
    Ok(())
}

/// What became of a run: `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub verdict: Verdict,
    pub analyses: Vec<Analysis>,
    pub notes: Notes,
}

/// Step 8: reads the history back from disk, for that is what happened, and lets every checker see
/// it, each under the whole budget; so is the reading. Needs no cluster.
pub fn judge(
    history: &Path,
    checkers: &[Box<dyn Checker>],
    budget: &Budget,
    mut notes: Notes,
) -> Result<(history::History, Judged), StoreError> {
    let loaded = match history::store::load_within(history, &budget.start()) {
        Ok(loaded) => loaded,
        Err(StoreError::History {
            source: why @ ReadError::Exhausted { .. },
            ..
        }) => {
            let judged = Judged {
                verdict: Verdict::Unknown,
                analyses: vec![Analysis::unknown("history", why.to_string())],
                notes,
            };
            return Ok((history::History::default(), judged));
        }
        Err(e) => return Err(e),
    };
    if let Some(torn) = &loaded.torn {
        let text = format!(
            "line {} of the history is torn and was left out ({} bytes): the run was cut short",
            torn.line, torn.bytes
        );
        // It may have been said when the run was judged before.
        if !notes.warnings.contains(&text) {
            notes.warnings.push(text);
        }
    }
    let mut analyses = checkers::compose::check_all(checkers, &loaded.history, budget);
    if !notes.failures.is_empty() {
        analyses.push(Analysis::infra("harness", notes.failures.join("; ")));
    }
    let judged = Judged {
        verdict: Verdict::worst(analyses.iter().map(|a| a.verdict)),
        analyses,
        notes,
    };
    Ok((loaded.history, judged))
}
