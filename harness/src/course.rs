//! Steps 4 and 5 of a run: from the first operation to the last. Nothing that goes wrong here loses
//! what was recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use history::mark::{self, Mark};
use history::{Kind, Process, Value};

use crate::client::Connect;
use crate::closing::{Asking, Closing};
use crate::cluster::Node;
use crate::heard::Listener;
use crate::injector;
use crate::interpreter::{self, Phase};
use crate::lateness::Lateness;
use crate::nemesis::{Planned, World};
use crate::progress::{Lasts, Progress, Stop, Wish, unless, wish};
use crate::readiness::Recovering;
use crate::recorder::{Draft, RecordError, Recorder};
use crate::strain::Accounts;
use crate::test::{Notes, Test};
use crate::watcher::Watchers;

/// How long the last reads may take at least, and how much longer for each of them.
const LAST_READS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(20));

/// How long one of the last operations may take at least: they are few, and a slow answer is one.
const LAST_TRY: Duration = Duration::from_secs(10);

/// Steps 4 and 5 of a run whose system serves.
pub struct Course {
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
    pub fn new(
        world: Arc<World>,
        recorder: Recorder,
        progress: &Arc<Progress>,
        stop: &Stop,
        notes: Notes,
    ) -> Course {
        Course {
            recovery_time: world.system.recovery_time(),
            world,
            recorder,
            progress: progress.clone(),
            stop: stop.clone(),
            planned: 0,
            began: Instant::now(),
            ended: None,
            marked: Wish::GoOn,
            next_process: 0,
            notes,
        }
    }

    /// From the first operation to the last. What goes wrong is noted; what was recorded until then
    /// is judged.
    pub async fn run(mut self, test: Test, listener: &Listener) -> Notes {
        self.recovery_time = test.recovery_time.unwrap_or(self.recovery_time);
        self.planned = test.schedule.len() as u64;
        let looked = crate::clocks::look(&self.world.nodes, &self.recorder).await;
        self.note(looked);
        let watchers = Watchers::start(&self.world.system, &self.world.nodes, &self.recorder);
        let (connect, op_timeout) = (test.connect.clone(), test.op_timeout);
        let limit = (test.time_limit, Lateness::of(test.time_limit));
        let phase = Phase {
            generator: test.generator,
            stream: "operations",
            seed: test.seed,
            pace: Some(test.pace),
            end: Some(limit.clone()),
            workers: test.workers,
            first_process: 0,
            op_timeout,
        };
        let main = self.main(phase, test.connect, test.schedule, limit);
        let driven = main.await;
        // Nodes are healed whatever went wrong. Then there is more only where it can be recorded.
        let ends_at = wish(&self.stop).next().min(Wish::Abandon);
        let healed = self.heal().await;
        let mut done = driven.and(healed);
        if done.is_ok() {
            done = self
                .finish(test.closing, connect, op_timeout, ends_at)
                .await;
        }
        self.note(done);
        if let Some(done) = unless(&self.stop, ends_at, watchers.finish()).await {
            self.note(done);
        }
        listener.cease().await;
        let done = self.begins(mark::Phase::End, None);
        self.note(done);
        self.over()
    }

    fn note(&mut self, done: Result<(), RecordError>) {
        self.notes
            .failures
            .extend(done.err().map(|e| e.to_string()));
    }

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
            let (by, at) = match self.progress.stopped_by() {
                Some((by, at)) => (by, at.saturating_duration_since(self.began)),
                None => ("a request", after),
            };
            let after = after.min(at);
            self.recorder.mark(Mark::Stopped(mark::Stopped {
                by: by.into(),
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
        (time_limit, lateness): (Duration, Lateness),
    ) -> Result<(), RecordError> {
        self.progress
            .phase("main phase", Lasts::Planned(time_limit));
        // Nobody could ask anything of the system yet, so nobody was kept from it.
        for node in &self.world.nodes {
            let before = node.agent.take_absences().into_iter();
            let told = before.map(|absence| format!("before the run began: {absence}"));
            self.notes.warnings.extend(told);
        }
        self.begins(mark::Phase::Main, Some(time_limit))?;
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
        // Faults are healed one by one when the run is wound up, and left to the agents' leases
        // when it is abandoned.
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
        self.progress.phase("healing", Lasts::Unknown);
        let begun = self.begins(mark::Phase::Healing, None);
        let healing = injector::heal_all(self.planned, &self.world, &self.recorder);
        if let Some(healed) = unless(&self.stop, Wish::Abandon, healing).await {
            self.notes.failures.extend(healed?);
        }
        begun
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
        let accounts = Accounts::take(&all, &self.world.daemon).await;
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
        accounts
            .record(&all, &self.world.daemon, &self.recorder)
            .await?;
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
        self.progress.phase(text, Lasts::AtMost(self.recovery_time));
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
        self.progress
            .phase(label, Lasts::AtMost(self.recovery_time));
        let patience = self.recovery_time;
        asking.write_at_each(served, &mut closing, patience).await?;
        // Whoever answers from what it holds itself has to hear of these writes first.
        let served = self.recovered(served, true, ends_at).await?;
        let reads = (closing.reads)();
        let (least, for_each) = LAST_READS;
        let patience = least.max(self.recovery_time) + for_each * reads.len() as u32;
        self.progress.phase(label, Lasts::AtMost(patience));
        asking.read_at_each(&served, reads, patience).await
    }

    /// What every node has to show, such as its decided log.
    async fn read(&self, ends_at: Wish) -> Result<(), RecordError> {
        self.progress
            .phase("reading what the nodes hold", Lasts::Unknown);
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
