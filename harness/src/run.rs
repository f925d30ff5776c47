//! A run, told in numbered steps: [`record`] then [`judge`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use checkers::{Analysis, Budget, Checker, Verdict};
use history::jsonl::ReadError;
use history::store::{Run, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::at_once::at_once;
use crate::cluster::{Cluster, ClusterError, Node, Program};
use crate::control::ControlError;
use crate::course::Course;
use crate::heard::{Heard, Listener};
use crate::nemesis::World;
use crate::progress::{Lasts, Progress, Stop, Wish, unless, wish};
use crate::readiness;
use crate::recorder::{RecordError, Recorder};
use crate::system::System;
use crate::test::{Notes, Test};

/// Why there is nothing to judge: the run ended before its main phase.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("the cluster did not come up: {0}")]
    Cluster(ClusterError),
    #[error("{what}: {}", .errors.join("\n"))]
    Nodes {
        what: &'static str,
        errors: Vec<String>,
    },
    #[error("the nodes cannot do what is asked for:\n{}\n`schism doctor` says how to get what is missing", .0.join("\n"))]
    Lacking(Vec<String>),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("stopped before the main phase had begun")]
    Stopped,
}

/// Steps 1 to 7: from nothing to a folder that has everything. Once the main phase has begun,
/// nothing that goes wrong loses what was recorded: it is noted, and the run goes on to its end.
///
/// A wish to stop is heard in every step: the first ends the step that it comes in, and the run
/// goes on with what is needed to judge it.
pub async fn record(
    test: Test,
    cluster: &mut dyn Cluster,
    run: &Run,
    heard: Heard,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<Notes, RunError> {
    // 1. Machines, with 2. an agent on each, and the programs in place.
    progress.phase("bringing the cluster up", Lasts::Unknown);
    let listener = Listener::start(heard, progress.clone());
    let programs = test.system.programs();
    let hashes = hashes(&programs);
    let result = match unless(&stop, Wish::WindUp, cluster.up(&programs)).await {
        None => Err(RunError::Stopped),
        Some(Err(e)) => Err(RunError::Cluster(e)),
        Some(Ok(nodes)) => on_cluster(test, nodes, run, &listener, &progress, &stop).await,
    };
    // 6. Logs. 7. Only now is anything taken down, and its failure costs no verdict.
    let mut afterwards = Vec::new();
    progress.phase("collecting", Lasts::Unknown);
    match unless(&stop, wish(&stop).next(), cluster.collect()).await {
        None => afterwards.push("collecting logs: stopped before it was done".to_string()),
        Some(Err(e)) => afterwards.push(format!("collecting logs: {e}")),
        Some(Ok(())) => {}
    }
    progress.phase("tearing down", Lasts::Unknown);
    match unless(&stop, wish(&stop).next(), cluster.down()).await {
        None => afterwards.push("tearing down: stopped before it was done".to_string()),
        Some(Err(e)) => afterwards.push(format!("tearing down: {e}")),
        Some(Ok(())) => {}
    }
    let mut notes = result?;
    notes.programs = hashes;
    notes.warnings.extend(afterwards);
    Ok(notes)
}

/// SHA-256 of the programs. One that cannot be read has none: bringing the cluster up says why.
fn hashes(programs: &[Program]) -> BTreeMap<String, String> {
    let hash = |program: &Program| {
        let bytes = std::fs::read(&program.from).ok()?;
        let digest = Sha256::digest(&bytes);
        let text = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Some((program.name.clone(), text))
    };
    programs.iter().filter_map(hash).collect()
}

async fn on_cluster(
    test: Test,
    nodes: Vec<Node>,
    run: &Run,
    listener: &Listener,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Notes, RunError> {
    let mut notes = Notes::default();
    let lacking = (test.lacking)(&nodes);
    if !lacking.is_empty() {
        return Err(RunError::Lacking(lacking));
    }

    // 3. The system: installed, started, ready.
    let system = test.system.clone();
    progress.phase(
        format!("starting {}", system.name()),
        Lasts::AtMost(system.patience()),
    );
    let started = unless(stop, Wish::WindUp, start(&system, &nodes, &mut notes)).await;
    let daemon = started.unwrap_or(Err(RunError::Stopped))?;

    let world = Arc::new(World {
        nodes,
        system,
        daemon,
    });

    // 4. Drive: operations and faults, into one history; 5. heal, wait until every node serves, and
    // look at what is left.
    let recorder = Recorder::create(&run.history())?;
    // What ends from here on is heard, and is an event. What had ended by now cannot be put on
    // trial.
    listener.record(recorder.clone(), world.nodes.clone()).await;
    let mut errors = readiness::ended(&world.nodes, &world.daemon).await;
    if !errors.is_empty() {
        // Whoever judges the run again would take an empty history for what happened.
        listener.cease().await;
        recorder.finish()?;
        let history = run.history();
        let removed = std::fs::remove_file(&history);
        errors.extend(
            removed
                .err()
                .map(|e| format!("cannot remove {}: {e}", history.display())),
        );
        return Err(RunError::Nodes {
            what: "ended before the main phase",
            errors,
        });
    }
    let course = Course::new(world, recorder, progress, stop, notes);
    Ok(course.run(test, listener).await)
}

/// Installs and starts the daemons, waits for all to be ready, and returns the daemon's name.
async fn start(
    system: &Arc<dyn System>,
    nodes: &[Node],
    notes: &mut Notes,
) -> Result<String, RunError> {
    each(nodes, "installing failed", |node| {
        let (system, all) = (system.clone(), nodes.to_vec());
        async move { system.install(&node, &all).await }
    })
    .await?;
    each(nodes, "starting failed", |node| {
        let (system, all) = (system.clone(), nodes.to_vec());
        async move {
            let daemon = system.daemon(&node, &all);
            node.agent
                .call::<agent::protocol::Started>(agent::protocol::Request::Start { daemon })
                .await
                .map(|_| ())
        }
    })
    .await?;
    let daemon = system.daemon(&nodes[0], nodes).name;
    let unready = readiness::started(system, nodes, &daemon).await;
    if !unready.is_empty() {
        return Err(RunError::Nodes {
            what: match unready.iter().any(|node| node.ended) {
                true => "ended at its start",
                false => "not ready in time",
            },
            errors: unready.into_iter().map(|node| node.text).collect(),
        });
    }
    if let Err(why) = system.clients_work(&nodes[0]).await {
        return Err(RunError::Nodes {
            what: "the system serves, but its client does not work",
            errors: vec![why],
        });
    }
    for node in nodes {
        match system.version(node).await {
            Ok(version) if notes.versions.contains(&version) => {}
            Ok(version) => notes.versions.push(version),
            Err(e) => notes.warnings.push(format!("version: {e}")),
        }
    }
    Ok(daemon)
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
    let done = at_once(nodes.iter().map(|node| act(node.clone()))).await;
    let mut errors: Vec<String> = done
        .into_iter()
        .filter_map(|done| done.err().map(|e| e.to_string()))
        .collect();
    errors.sort();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(RunError::Nodes { what, errors }),
    }
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
    notes.warnings.extend(loaded.notes);
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
