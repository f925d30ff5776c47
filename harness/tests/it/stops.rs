//! Whoever wishes a run to end is heard in every part of it, once or twice, and nothing that was
//! recorded is lost. The cluster and the system are doubles that hang in one part, for ever.

use std::sync::Arc;
use std::time::Duration;

use agent::protocol::{Daemon, Evidence, Request, Started, State};
use async_trait::async_trait;
use checkers::completeness::Completeness;
use checkers::{Budget, Checker, Verdict};
use harness::client::{Client, Completion, Connect, Invocation};
use harness::closing::Closing;
use harness::cluster::{Cluster, ClusterError, Node, Program};
use harness::control::ControlError;
use harness::dummy;
use harness::generator::from_fn;
use harness::progress::{Progress, Wish};
use harness::run::{RunError, record};
use harness::seed::Seed;
use harness::system::System;
use harness::test::{Notes, Test};
use history::mark::{Mark, Phase, marks};
use history::store::{Run, Store};
use history::{History, Name, Value};
use serde_json::Value as Json;
use tokio::sync::{mpsc, watch};

/// Where the world stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangs {
    Up,
    Start,
    Version,
    Main,
    Recovery,
    LastWrite,
    LastRead,
    Reading,
    Collect,
    Down,
}

async fn forever() {
    std::future::pending().await
}

fn answers(request: &Request) -> Option<Json> {
    let answer = match request {
        Request::Start { .. } => serde_json::to_value(Started { pid: 1 }),
        Request::State { .. } => serde_json::to_value(State::Running { pid: 1 }),
        Request::Tail { .. } => serde_json::to_value("a line"),
        Request::HealAll => serde_json::to_value(Evidence {
            void: Vec::new(),
            held: true,
            evidence: Vec::new(),
        }),
        _ => return None,
    };
    answer.ok()
}

struct Stage {
    hangs: Hangs,
    progress: Arc<Progress>,
}

impl Stage {
    /// Whether the run is in this part by now.
    fn in_part(&self, label: &str) -> bool {
        self.progress.now().phase == label
    }
}

struct Double(Arc<Stage>);

#[async_trait]
impl Cluster for Double {
    fn name(&self) -> &str {
        "double"
    }
    async fn up(&mut self, _: &[Program]) -> Result<Vec<Node>, ClusterError> {
        if self.0.hangs == Hangs::Up {
            forever().await;
        }
        Ok(dummy::nodes_whose(2, answers))
    }
    async fn collect(&mut self) -> Result<(), ClusterError> {
        if self.0.hangs == Hangs::Collect {
            forever().await;
        }
        Ok(())
    }
    async fn down(&mut self) -> Result<(), ClusterError> {
        if self.0.hangs == Hangs::Down {
            forever().await;
        }
        Ok(())
    }
}

#[async_trait]
impl System for Double {
    fn name(&self) -> &str {
        "double"
    }
    fn programs(&self) -> Vec<Program> {
        Vec::new()
    }
    fn daemon(&self, _: &Node, _: &[Node]) -> Daemon {
        Daemon {
            name: "double".into(),
            argv: vec!["/bin/true".into()],
            env: Default::default(),
            cwd: "/".into(),
            stop: agent::protocol::StopSignal::Term,
            log: "/nonexistent/log".into(),
        }
    }
    async fn install(&self, _: &Node, _: &[Node]) -> Result<(), ControlError> {
        Ok(())
    }
    async fn ready(&self, _: &Node) -> Result<(), String> {
        let healed = self.0.in_part("waiting until every node serves");
        match self.0.hangs {
            Hangs::Start => forever().await,
            Hangs::Recovery if healed => forever().await,
            _ => {}
        }
        Ok(())
    }
    fn patience(&self) -> Duration {
        HOUR
    }
    fn recovery_time(&self) -> Duration {
        HOUR
    }
    fn client_port(&self) -> u16 {
        0
    }
    async fn final_reads(&self, _: &Node) -> Vec<(Name, Result<Value, String>)> {
        if self.0.hangs == Hangs::Reading {
            forever().await;
        }
        Vec::new()
    }
    async fn version(&self, _: &Node) -> Result<String, ControlError> {
        if self.0.hangs == Hangs::Version {
            forever().await;
        }
        Ok("1".into())
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[async_trait]
impl Connect for Double {
    async fn connect(&self, _: &Node, _: u64) -> Box<dyn Client> {
        Box::new(Double(self.0.clone()))
    }
}

#[async_trait]
impl Client for Double {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match (self.0.hangs, operation.f.as_str()) {
            (Hangs::LastWrite, "last write") | (Hangs::LastRead, "last read") => forever().await,
            _ => {}
        }
        Completion::ok(operation.value.clone())
    }
}

fn asks(f: &'static str) -> Invocation {
    Invocation {
        f: f.into(),
        value: Value::Int(1),
    }
}

/// A run that hangs there, wished to end so often once it does; what came of it.
async fn stopped(hangs: Hangs, times: usize) -> (Result<Notes, RunError>, Option<History>) {
    let folder = tempfile::tempdir().unwrap();
    let run: Run = Store::new(folder.path()).create("double").unwrap();
    let progress = Arc::new(Progress::default());
    let stage = Arc::new(Stage {
        hangs,
        progress: progress.clone(),
    });
    let main = match hangs {
        Hangs::Main => HOUR,
        _ => Duration::from_millis(20),
    };
    let test = Test {
        seed: Seed(1),
        system: Arc::new(Double(stage.clone())),
        connect: Arc::new(Double(stage.clone())),
        generator: Box::new(from_fn(|_| ("write", Value::Int(1)))),
        closing: Some(Closing {
            write: Box::new(|| Some(asks("last write"))),
            reads: Box::new(|| vec![asks("last read")]),
        }),
        schedule: Vec::new(),
        pace: harness::scheduler::Pace {
            per_second: 1_000.0,
            shape: harness::generator::Shape::Even,
            clients: harness::scheduler::Clients::Sticky,
        },
        workers: 2,
        time_limit: main,
        op_timeout: HOUR,
        recovery_time: None,
        lacking: Box::new(|_| Vec::new()),
    };
    let (wishes, stop) = watch::channel(Wish::GoOn);
    let waiting = match hangs {
        Hangs::Up => "bringing the cluster up",
        Hangs::Start | Hangs::Version => "starting double",
        Hangs::Main => "main phase",
        Hangs::Recovery => "waiting until every node serves",
        Hangs::LastWrite | Hangs::LastRead => "final operations",
        Hangs::Reading => "reading what the nodes hold",
        Hangs::Collect => "collecting",
        Hangs::Down => "tearing down",
    };
    let (seen, by) = (progress.clone(), progress.clone());
    let person = async move {
        while seen.now().phase != waiting || (hangs == Hangs::Main && seen.counts().ok < 5) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..times {
            by.stop_by("SIGTERM");
            let next = (*wishes.borrow()).next();
            wishes.send_replace(next);
        }
        wishes
    };
    let mut cluster = Double(stage);
    let heard = mpsc::unbounded_channel().1;
    let recording = record(test, &mut cluster, &run, heard, progress, stop);
    // A run that does not hear would hang for an hour: that is what is tested, so it is said.
    let both = async { tokio::join!(recording, person) };
    let ended = tokio::time::timeout(Duration::from_secs(60), both).await;
    let (notes, _wishes) = ended.unwrap_or_else(|_| panic!("{hangs:?}: {times} were not heard"));
    let history = run.history().exists().then(|| run.load().unwrap().history);
    (notes, history)
}

#[tokio::test]
async fn before_the_main_phase_there_is_no_run() {
    for hangs in [Hangs::Up, Hangs::Start, Hangs::Version] {
        for times in [1, 2] {
            let (notes, history) = stopped(hangs, times).await;
            assert!(
                matches!(notes, Err(RunError::Stopped)),
                "{hangs:?} {notes:?}"
            );
            assert!(history.is_none());
        }
    }
}

#[tokio::test]
async fn from_the_main_phase_on_what_was_recorded_is_kept_and_says_who_stopped_it() {
    for (hangs, phase) in [
        (Hangs::Main, Phase::Main),
        (Hangs::Recovery, Phase::Healing),
        (Hangs::LastWrite, Phase::Final),
        (Hangs::LastRead, Phase::Final),
        (Hangs::Reading, Phase::Final),
    ] {
        for times in [1, 2] {
            let (notes, history) = stopped(hangs, times).await;
            let notes = notes.unwrap();
            assert!(
                notes.stopped && notes.failures.is_empty(),
                "{hangs:?} {notes:?}"
            );
            let history = history.unwrap();
            assert!(history.asked().count() >= 5, "{hangs:?}");
            assert!(
                history.ops().iter().all(|op| op.completion.is_some()),
                "{hangs:?}"
            );
            let stops: Vec<_> = marks(&history)
                .into_iter()
                .filter_map(|placed| match placed.mark {
                    Mark::Stopped(stopped) => Some((stopped.phase, stopped.by, stopped.abandoned)),
                    _ => None,
                })
                .collect();
            assert_eq!(stops, [(phase, "SIGTERM".into(), times == 2)], "{hangs:?}");
            let found = Completeness::default().check(&history, &Budget::default());
            assert_eq!(found.verdict, Verdict::Unknown);
            assert!(found.summary.starts_with("stopped "), "{}", found.summary);
            // Once only: what comes after the main phase is there, as far as it was not stopped
            // too.
            if hangs == Hangs::Main {
                let last = history.ops().iter().any(|op| op.f == "last read");
                assert_eq!(last, times == 1);
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_is_over_is_whole_whoever_cuts_its_collecting_short() {
    for hangs in [Hangs::Collect, Hangs::Down] {
        for times in [1, 2] {
            let (notes, history) = stopped(hangs, times).await;
            let notes = notes.unwrap();
            assert!(!notes.stopped, "{hangs:?}");
            let warning = notes.warnings.last().unwrap();
            assert!(warning.ends_with("stopped before it was done"), "{warning}");
            let found = Completeness::default().check(&history.unwrap(), &Budget::default());
            assert_eq!(found.verdict, Verdict::Valid, "{}", found.summary);
        }
    }
}
