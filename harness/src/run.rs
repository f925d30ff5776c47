//! A run, told in numbered steps: [`record`] then [`judge`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use checkers::{Analysis, Budget, Checker, Verdict};
use history::jsonl::ReadError;
use history::mark::{self, Mark};
use history::store::{Run, StoreError};
use history::{Kind, Process, Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::client::Connect;
use crate::closing::{Asking, Closing};
use crate::cluster::{Cluster, ClusterError, Node};
use crate::control::ControlError;
use crate::generator::Generator;
use crate::heard::{Heard, Listener};
use crate::injector;
use crate::interpreter::{self, Phase};
use crate::lateness::Lateness;
use crate::nemesis::{Planned, World};
use crate::progress::{Progress, Stop, Wish, unless, wish};
use crate::readiness::{self, Recovering};
use crate::recorder::{Draft, Quantiles, RecordError, Recorder};
use crate::scheduler::Pace;
use crate::seed::Seed;
use crate::system::System;
use crate::watcher::Watchers;

/// Everything that a run needs, concrete.
pub struct Test {
    pub seed: Seed,
    pub system: Arc<dyn System>,
    pub connect: Arc<dyn Connect>,
    pub generator: Box<dyn Generator>,
    /// Asked after everything is healed: a write at every node, a last read of everything from each.
    pub closing: Option<Closing>,
    pub schedule: Vec<Planned>,
    /// How operations are offered.
    pub pace: Pace,
    pub workers: usize,
    /// Length of the main phase.
    pub time_limit: Duration,
    pub op_timeout: Duration,
    /// See [`System::recovery_time`], which holds where nothing is said.
    pub recovery_time: Option<Duration>,
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
    /// Somebody stopped the run before its end, or its judging.
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
    #[error("stopped before the main phase had begun")]
    Stopped,
}

/// How long the last reads may take at least, and how much longer for each of them.
const LAST_READS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(20));

/// How long one of the last operations may take at least: they are few, and a slow answer is one.
const LAST_TRY: Duration = Duration::from_secs(10);

/// Steps 1 to 7: from nothing to a folder that has everything. Once the main phase has begun,
/// nothing that goes wrong loses what was recorded: it is noted, and the run goes on to its end.
///
/// A wish to stop is heard in every step: the first ends the step that it comes in, and the run goes
/// on with what is needed to judge it.
pub async fn record(
    test: Test,
    cluster: &mut dyn Cluster,
    run: &Run,
    heard: Heard,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<Notes, RunError> {
    // 1. Machines, with 2. an agent on each, and the programs in place.
    progress.phase("bringing the cluster up", None);
    let listener = Listener::start(heard, progress.clone());
    let programs = test.system.programs();
    let result = match unless(&stop, Wish::WindUp, cluster.up(&programs)).await {
        None => Err(RunError::Stopped),
        Some(Err(e)) => Err(RunError::Cluster(e)),
        Some(Ok(nodes)) => on_cluster(test, nodes, run, &listener, &progress, &stop).await,
    };
    // 6. Logs. 7. Only now is anything taken down, and its failure costs no verdict.
    let mut afterwards = Vec::new();
    progress.phase("collecting", None);
    match unless(&stop, wish(&stop).next(), cluster.collect()).await {
        None => afterwards.push("collecting logs: stopped before it was done".to_string()),
        Some(Err(e)) => afterwards.push(format!("collecting logs: {e}")),
        Some(Ok(())) => {}
    }
    progress.phase("tearing down", None);
    match unless(&stop, wish(&stop).next(), cluster.down()).await {
        None => afterwards.push("tearing down: stopped before it was done".to_string()),
        Some(Err(e)) => afterwards.push(format!("tearing down: {e}")),
        Some(Ok(())) => {}
    }
    let mut notes = result?;
    notes.warnings.extend(afterwards);
    Ok(notes)
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
        Some(system.patience()),
    );
    let started = unless(stop, Wish::WindUp, start(&system, &nodes, &mut notes)).await;
    let daemon = started.unwrap_or(Err(RunError::Stopped))?;

    // 4. Drive: operations and faults, into one history.
    let recorder = Recorder::create(&run.history())?;
    let recovery_time = test.recovery_time.unwrap_or_else(|| system.recovery_time());
    let mut course = Course {
        world: Arc::new(World {
            nodes,
            system,
            daemon,
        }),
        recorder: recorder.clone(),
        progress: progress.clone(),
        stop: stop.clone(),
        planned: test.schedule.len() as u64,
        began: Instant::now(),
        ended: None,
        marked: Wish::GoOn,
        recovery_time,
        next_process: 0,
        notes,
    };
    course.begins(mark::Phase::Main, Some(test.time_limit))?;
    listener.record(recorder.clone(), course.world.nodes.clone());
    let watchers = Watchers::start(&course.world.system, &course.world.nodes, &recorder);
    let (connect, seed, op_timeout) = (test.connect.clone(), test.seed, test.op_timeout);
    let trouble = course.main(
        Phase {
            generator: test.generator,
            stream: "operations",
            seed,
            pace: Some(test.pace),
            end: None,
            workers: test.workers,
            first_process: 0,
            op_timeout,
        },
        connect.clone(),
        test.schedule,
        test.time_limit,
    );
    // A failure to record ends the phase, but not the run: nodes are healed, and what is on disk
    // is judged.
    let trouble = trouble.await.err();

    // 5. Heal, wait until every node serves, and look at what is left.
    let ends_at = wish(stop).next().min(Wish::Abandon);
    let after = async {
        let healed = course.heal().await;
        match trouble {
            Some(e) => Err(e),
            None => {
                healed?;
                let closing = test.closing;
                course.finish(closing, connect, op_timeout, ends_at).await
            }
        }
    };
    if let Err(e) = after.await {
        course.notes.failures.push(e.to_string());
    }
    if let Some(Err(e)) = unless(stop, ends_at, watchers.finish()).await {
        course.notes.failures.push(e.to_string());
    }
    listener.cease().await;
    if let Err(e) = course.begins(mark::Phase::End, None) {
        course.notes.failures.push(e.to_string());
    }
    Ok(course.over())
}

/// Steps 4 and 5 of a run whose system serves.
struct Course {
    world: Arc<World>,
    recorder: Recorder,
    progress: Arc<Progress>,
    stop: Stop,
    /// Faults of the schedule.
    planned: u64,
    /// When the main phase began, and how long it took.
    began: Instant,
    ended: Option<Duration>,
    /// The wish to stop that the history has.
    marked: Wish,
    recovery_time: Duration,
    /// Of clients, the first number that is not used.
    next_process: u64,
    notes: Notes,
}

impl Course {
    fn begins(&self, phase: mark::Phase, limit: Option<Duration>) -> Result<(), RecordError> {
        let limit_ns = limit.and_then(|limit| u64::try_from(limit.as_nanos()).ok());
        let begins = mark::Begins { phase, limit_ns };
        self.recorder.mark(Mark::Phase(begins)).map(|_| ())
    }

    /// Whether the history is to go on; a wish to stop that came in this part is written down.
    fn goes_on(&mut self, phase: mark::Phase, ends_at: Wish) -> Result<bool, RecordError> {
        let wish = wish(&self.stop);
        if wish > self.marked {
            self.marked = wish;
            let after = self.ended.unwrap_or_else(|| self.began.elapsed());
            self.recorder.mark(Mark::Stopped(mark::Stopped {
                by: self.progress.stopped_by().unwrap_or("a request").into(),
                phase,
                after_ns: u64::try_from(after.as_nanos()).unwrap_or(u64::MAX),
                planned: self.planned,
                abandoned: wish >= Wish::Abandon,
            }))?;
        }
        Ok(wish < ends_at)
    }

    async fn main(
        &mut self,
        phase: Phase,
        connect: Arc<dyn Connect>,
        schedule: Vec<Planned>,
        time_limit: Duration,
    ) -> Result<(), RecordError> {
        self.progress.phase("main phase", Some(time_limit));
        let lateness = Lateness::of(time_limit);
        let phase = Phase {
            end: Some((time_limit, lateness.clone())),
            ..phase
        };
        self.began = Instant::now();
        let since_start = self.began.duration_since(self.recorder.start());
        self.notes.main_from_ns = since_start.as_nanos() as u64;
        let main = interpreter::drive(
            phase,
            &self.world.nodes,
            connect,
            &self.recorder,
            &self.progress,
            self.stop.clone(),
        );
        let nemesis = injector::run(
            schedule,
            self.world.clone(),
            injector::MainPhase {
                began: self.began,
                limit: time_limit,
                lateness,
            },
            self.recorder.clone(),
            self.progress.clone(),
            self.stop.clone(),
        );
        // Faults are healed one by one when the run is wound up, and left to the agents' leases when
        // it is abandoned.
        let nemesis = unless(&self.stop, Wish::Abandon, nemesis);
        let joined = tokio::join!(main, nemesis);
        let ended = self.began.elapsed();
        self.ended = Some(ended);
        self.notes.main_until_ns = self.recorder.start().elapsed().as_nanos() as u64;
        let (next_process, injected) = joined;
        self.next_process = next_process?;
        injected.unwrap_or(Ok(()))?;
        self.goes_on(mark::Phase::Main, Wish::Abandon).map(|_| ())
    }

    /// Has every agent undo what is left.
    async fn heal(&mut self) -> Result<(), RecordError> {
        if wish(&self.stop) >= Wish::Abandon {
            return Ok(());
        }
        self.progress.phase("healing", None);
        self.begins(mark::Phase::Healing, None)?;
        let healing = injector::heal_all(self.planned, &self.world, &self.recorder);
        if let Some(healed) = unless(&self.stop, Wish::Abandon, healing).await {
            self.notes.failures.extend(healed?);
        }
        Ok(())
    }

    /// Everything after healing: whether the nodes serve again, the last operations, and what every
    /// node has to show.
    async fn finish(
        &mut self,
        closing: Option<Closing>,
        connect: Arc<dyn Connect>,
        op_timeout: Duration,
        ends_at: Wish,
    ) -> Result<(), RecordError> {
        if !self.goes_on(mark::Phase::Healing, ends_at)? {
            return Ok(());
        }
        let all = self.world.nodes.clone();
        let served = self.recovered(&all, false, ends_at).await?;
        if !self.goes_on(mark::Phase::Healing, ends_at)? {
            return Ok(());
        }
        self.begins(mark::Phase::Final, None)?;
        if let Some(closing) = closing {
            let asking = Asking {
                connect,
                recorder: self.recorder.clone(),
                progress: self.progress.clone(),
                stop: self.stop.clone(),
                ends_at,
                op_timeout: op_timeout.max(LAST_TRY),
                next_process: Arc::new(AtomicU64::new(self.next_process)),
            };
            self.close(asking.clone(), closing, &served, ends_at)
                .await?;
            self.next_process = asking.next_process.load(Ordering::Relaxed);
        }
        self.read(ends_at).await?;
        self.goes_on(mark::Phase::Final, ends_at).map(|_| ())
    }

    /// Waits until all of these nodes serve, and returns those that do.
    async fn recovered(
        &self,
        nodes: &[Node],
        again: bool,
        ends_at: Wish,
    ) -> Result<Vec<Node>, RecordError> {
        let text = "waiting until every node serves";
        self.progress.phase(text, Some(self.recovery_time));
        let recovering = Recovering {
            system: &self.world.system,
            daemon: &self.world.daemon,
            since: Instant::now(),
            allowed: self.recovery_time,
            recorder: &self.recorder,
            progress: &self.progress,
        };
        let waited = unless(&self.stop, ends_at, recovering.wait(nodes, again)).await;
        let served = waited.unwrap_or(Ok(Vec::new()))?;
        let serves = |node: &&Node| served.contains(&node.name);
        Ok(nodes.iter().filter(serves).cloned().collect())
    }

    /// The last operations, at every node that serves.
    async fn close(
        &mut self,
        asking: Asking,
        mut closing: Closing,
        served: &[Node],
        ends_at: Wish,
    ) -> Result<(), RecordError> {
        let label = "final operations";
        self.progress.phase(label, Some(self.recovery_time));
        let patience = self.recovery_time;
        asking.write_at_each(served, &mut closing, patience).await?;
        // Whoever answers from what it holds itself has to hear of these writes first.
        let served = self.recovered(served, true, ends_at).await?;
        let reads = (closing.reads)();
        let (least, for_each) = LAST_READS;
        let patience = least.max(self.recovery_time) + for_each * reads.len() as u32;
        self.progress.phase(label, Some(patience));
        asking.read_at_each(&served, reads, patience).await
    }

    /// What every node has to show, such as its decided log.
    async fn read(&self, ends_at: Wish) -> Result<(), RecordError> {
        self.progress.phase("reading what the nodes hold", None);
        for (process, node) in (self.next_process..).zip(&self.world.nodes) {
            let reading = self.world.system.final_reads(node);
            let Some(read) = unless(&self.stop, ends_at, reading).await else {
                return Ok(());
            };
            for (f, value) in read {
                let draft = |kind, value, error| Draft {
                    process: Process::Client(process),
                    kind,
                    f: f.clone(),
                    value,
                    error,
                    node: Some(node.name.clone()),
                    version: None,
                    due: None,
                };
                self.recorder
                    .record(draft(Kind::Invoke, Value::Nil, None), None)?;
                let completion = match value {
                    Ok(value) => draft(Kind::Ok, value, None),
                    Err(why) => draft(Kind::Fail, Value::Nil, Some(why)),
                };
                self.recorder.record(completion, None)?;
            }
        }
        Ok(())
    }

    /// Waits until everything is on disk.
    fn over(self) -> Notes {
        let mut notes = self.notes;
        notes.stopped = wish(&self.stop) != Wish::GoOn;
        match self.recorder.finish() {
            Ok(summary) => notes.recorder_delay = Some(summary.delay),
            Err(e) => notes.failures.push(e.to_string()),
        }
        // What was asked of an agent that was away for a while may not have been so all the time.
        let doubts = self.world.nodes.iter().flat_map(|n| n.agent.doubts());
        notes.failures.extend(doubts);
        notes.failures.dedup();
        notes
    }
}

/// Installs and starts the daemons, waits for all to be ready, and returns the daemon's name.
async fn start(
    system: &Arc<dyn System>,
    nodes: &[Node],
    notes: &mut Notes,
) -> Result<String, RunError> {
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
    let errors = readiness::started(system, nodes, &daemon).await;
    if !errors.is_empty() {
        return Err(RunError::Nodes {
            what: "not ready in time",
            errors,
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
        notes.warnings.push(format!(
            "line {} of the history is torn and was left out ({} bytes): the run was cut short",
            torn.line, torn.bytes
        ));
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
