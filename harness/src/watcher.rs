//! Looks at every node again and again while a run goes on, for systems whose nodes have something
//! to show between the operations: the head of a chain. What is seen is recorded as an operation,
//! for it was true at some moment between the question and the answer.

use std::sync::Arc;

use history::{Kind, Process, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::Node;
use crate::recorder::{Draft, RecordError, Recorder};
use crate::system::{System, Watch};

/// Number of the first process that watches; those of clients stay far below.
pub const FIRST_PROCESS: u64 = 1_000_000_000;

/// One watcher a node; none, if there is nothing to watch.
pub struct Watchers {
    tasks: JoinSet<Result<(), RecordError>>,
    stop: watch::Sender<bool>,
}

impl Watchers {
    pub fn start(system: &Arc<dyn System>, nodes: &[Node], recorder: &Recorder) -> Watchers {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if let Some(watch) = system.watch() {
            for (process, node) in (FIRST_PROCESS..).zip(nodes) {
                tasks.spawn(look_on(
                    watch.clone(),
                    Process::Client(process),
                    system.clone(),
                    node.clone(),
                    recorder.clone(),
                    stopped.clone(),
                ));
            }
        }
        Watchers { tasks, stop }
    }

    /// Lets every watcher look once more, and waits for that.
    pub async fn finish(mut self) -> Result<(), RecordError> {
        self.stop.send_replace(true);
        let mut result = Ok(());
        while let Some(joined) = self.tasks.join_next().await {
            result = result.and(joined.expect("a watcher does not panic"));
        }
        result
    }
}

async fn look_on(
    watch: Watch,
    process: Process,
    system: Arc<dyn System>,
    node: Node,
    recorder: Recorder,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), RecordError> {
    let draft = |kind, value, error| Draft {
        process,
        kind,
        f: watch.f.clone(),
        value,
        error,
        node: Some(node.name.clone()),
        version: None,
        due: None,
    };
    loop {
        let last = *stopped.borrow_and_update();
        recorder.record(draft(Kind::Invoke, Value::Nil, None), None)?;
        let completion = match system.look(&node).await {
            Ok(value) => draft(Kind::Ok, value, None),
            Err(why) => draft(Kind::Fail, Value::Nil, Some(why)),
        };
        recorder.record(completion, None)?;
        if last {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(watch.every) => {}
            // Whoever would say stop is gone with the run: this task is about to be, too.
            changed = stopped.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use agent::protocol::Daemon;
    use async_trait::async_trait;
    use history::Outcome;

    use super::*;
    use crate::cluster::Program;
    use crate::control::ControlError;
    use crate::dummy;

    /// Counts how often it is looked at; the second node shows nothing.
    struct Counting {
        looks: AtomicI64,
        every: Duration,
    }

    #[async_trait]
    impl System for Counting {
        fn name(&self) -> &str {
            "counting"
        }
        fn programs(&self) -> Vec<Program> {
            Vec::new()
        }
        fn daemon(&self, _: &Node, _: &[Node]) -> Daemon {
            unreachable!("nothing is started")
        }
        async fn install(&self, _: &Node, _: &[Node]) -> Result<(), ControlError> {
            Ok(())
        }
        async fn ready(&self, _: &Node) -> Result<(), String> {
            Ok(())
        }
        fn client_port(&self) -> u16 {
            0
        }
        fn watch(&self) -> Option<Watch> {
            Some(Watch {
                f: "count".into(),
                every: self.every,
            })
        }
        async fn look(&self, node: &Node) -> Result<Value, String> {
            match node.name.as_str() {
                "n1" => Ok(Value::Int(self.looks.fetch_add(1, Ordering::Relaxed))),
                _ => Err("blind".into()),
            }
        }
        async fn version(&self, _: &Node) -> Result<String, ControlError> {
            Ok("counting".into())
        }
    }

    #[tokio::test]
    async fn every_node_is_looked_at_until_the_end_and_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let counting = Arc::new(Counting {
            looks: AtomicI64::new(0),
            every: Duration::from_millis(1),
        });
        let system: Arc<dyn System> = counting.clone();
        let watchers = Watchers::start(&system, &dummy::nodes(2), &recorder);
        while counting.looks.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = counting.looks.load(Ordering::Relaxed);
        watchers.finish().await.unwrap();
        let after = counting.looks.load(Ordering::Relaxed);
        assert!(after > before, "no last look");
        recorder.finish().unwrap();

        let history = history::store::load(&path).unwrap().history;
        let of = |node: &str| {
            let ops = history.ops().iter();
            ops.filter(|op| op.node.as_deref() == Some(node))
                .map(|op| (op.outcome, op.output.clone(), op.error.clone()))
                .collect::<Vec<_>>()
        };
        let seen = (0..after).map(|n| (Outcome::Ok, Value::Int(n), None));
        assert_eq!(of("n1"), seen.collect::<Vec<_>>());
        let blind = (Outcome::Fail, Value::Nil, Some("blind".to_string()));
        assert!(of("n2").len() >= 2 && of("n2").iter().all(|op| *op == blind));
    }

    /// On a clock that goes on by itself while everybody waits: an hour's wait would show.
    #[tokio::test(start_paused = true)]
    async fn a_long_pause_between_looks_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(&folder.path().join("history.jsonl")).unwrap();
        let counting = Arc::new(Counting {
            looks: AtomicI64::new(0),
            every: Duration::from_secs(3600),
        });
        let system: Arc<dyn System> = counting.clone();
        let began = tokio::time::Instant::now();
        let watchers = Watchers::start(&system, &dummy::nodes(1), &recorder);
        while counting.looks.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        watchers.finish().await.unwrap();
        assert_eq!(
            counting.looks.load(Ordering::Relaxed),
            2,
            "the first and the last look"
        );
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
    }
}
