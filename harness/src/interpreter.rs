//! Drives one phase: a generator's offers, through workers and their clients, into the recorder.
//!
//! One owner, this loop, puts events in order; workers send it messages. A worker has one client,
//! bound to one node, and runs one operation at a time; when an outcome stays unknown its process is
//! retired, and the worker goes on as a new process with a new client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use history::{Event, Kind, Process};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{CUT_OFF, Completion, Connect, Invocation, OpError, TIMEOUT};
use crate::cluster::Node;
use crate::generator::Generator;
use crate::progress::{Progress, Stop, Wish, wish, wished};
use crate::recorder::{Draft, RecordError, Recorder};
use crate::scheduler::{Scheduler, Step};
use crate::seed::Seed;

/// What a phase is made of.
pub struct Phase {
    pub generator: Box<dyn Generator>,
    /// Name of the random stream that its operations are drawn from.
    pub stream: &'static str,
    pub seed: Seed,
    pub workers: usize,
    pub first_process: u64,
    pub op_timeout: Duration,
}

/// How much a worker may be late at the end of a phase beyond its operation's time-out.
const LATE: Duration = Duration::from_secs(2);

struct Job {
    process: u64,
    invocation: Invocation,
}

struct Done {
    worker: usize,
    process: u64,
    invocation: Invocation,
    completion: Completion,
    at: Instant,
}

/// Runs the phase to its end and returns the first process number that it left unused.
pub async fn drive(
    phase: Phase,
    nodes: &[Node],
    connect: Arc<dyn Connect>,
    recorder: &Recorder,
    progress: &Progress,
    mut stop: Stop,
) -> Result<u64, RecordError> {
    let mut scheduler = Scheduler::new(
        phase.generator,
        phase.seed.stream(phase.stream),
        phase.workers,
        phase.first_process,
    );
    // Aborted, every worker, when this function is left.
    let mut tasks = JoinSet::new();
    let (done_tx, mut done_rx) = mpsc::unbounded_channel();
    let mut desks = Vec::new();
    for worker in 0..phase.workers {
        let (jobs_tx, jobs) = mpsc::unbounded_channel();
        let node = nodes[worker % nodes.len()].clone();
        desks.push(Desk {
            jobs: jobs_tx,
            node: node.name.clone(),
            open: None,
        });
        tasks.spawn(work(
            worker,
            node,
            connect.clone(),
            phase.op_timeout,
            jobs,
            done_tx.clone(),
        ));
    }
    drop(done_tx);

    let began = Instant::now();
    let mut batch: Vec<Done> = Vec::new();
    let mut wind_up_by: Option<Instant> = None;
    loop {
        // Completions first: they free workers, and their times are running.
        while let Ok(done) = done_rx.try_recv() {
            batch.push(done);
        }
        for done in batch.drain(..) {
            desks[done.worker].open = None;
            complete(done, &desks, &mut scheduler, recorder, progress)?;
        }
        let until = match scheduler.step(began.elapsed()) {
            Step::Invoke {
                worker,
                process,
                offer,
            } => {
                let desk = &mut desks[worker];
                let invocation = Invocation {
                    f: offer.f,
                    value: offer.value,
                };
                recorder.record(
                    Draft {
                        process: Process::Client(process),
                        kind: Kind::Invoke,
                        f: invocation.f.clone(),
                        value: invocation.value.clone(),
                        error: None,
                        node: Some(desk.node.clone()),
                        version: None,
                    },
                    None,
                )?;
                desk.open = Some((process, invocation.clone()));
                // A worker that is gone has panicked: its operation is closed below, as cut off.
                let _ = desk.jobs.send(Job {
                    process,
                    invocation,
                });
                continue;
            }
            Step::Finished => break,
            Step::Wait(until) => until.map(|at| began + at),
        };
        let timer = tokio::time::sleep_until(
            until
                .into_iter()
                .chain(wind_up_by)
                .min()
                .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
                .into(),
        );
        tokio::select! {
            biased;
            received = done_rx.recv_many(&mut batch, 1024) => if received == 0 { break },
            () = wished(&mut stop, Wish::WindUp), if wind_up_by.is_none() => {
                scheduler.stop();
                wind_up_by = Some(Instant::now() + phase.op_timeout + LATE);
            }
            () = timer => if wind_up_by.is_some_and(|by| Instant::now() >= by) { break },
        }
        if wish(&stop) >= Wish::Abandon {
            break;
        }
    }
    // What is still open stays unknown, and the history says why.
    for (worker, desk) in desks.iter_mut().enumerate() {
        if let Some((process, invocation)) = desk.open.take() {
            let completion = OpError::new(CUT_OFF, "").completion(&invocation, false);
            let done = Done {
                worker,
                process,
                invocation,
                completion,
                at: Instant::now(),
            };
            record(done, &desk.node, recorder, progress)?;
        }
    }
    Ok(scheduler.next_process())
}

/// The interpreter's view of a worker.
struct Desk {
    jobs: mpsc::UnboundedSender<Job>,
    node: history::Name,
    open: Option<(u64, Invocation)>,
}

fn complete(
    done: Done,
    desks: &[Desk],
    scheduler: &mut Scheduler,
    recorder: &Recorder,
    progress: &Progress,
) -> Result<(), RecordError> {
    let worker = done.worker;
    let event = record(done, &desks[worker].node, recorder, progress)?;
    scheduler.complete(worker, &event);
    Ok(())
}

fn record(
    done: Done,
    node: &history::Name,
    recorder: &Recorder,
    progress: &Progress,
) -> Result<Event, RecordError> {
    progress.count(done.completion.kind);
    recorder.record(
        Draft {
            process: Process::Client(done.process),
            kind: done.completion.kind,
            f: done.invocation.f,
            value: done.completion.value,
            error: done.completion.error,
            node: Some(node.clone()),
            version: done.completion.version,
        },
        Some(done.at),
    )
}

async fn work(
    worker: usize,
    node: Node,
    connect: Arc<dyn Connect>,
    op_timeout: Duration,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    done: mpsc::UnboundedSender<Done>,
) {
    let mut client = None;
    while let Some(Job {
        process,
        invocation,
    }) = jobs.recv().await
    {
        let attempt = async {
            if client.is_none() {
                client = Some(connect.connect(&node, process).await);
            }
            match &mut client {
                Some(client) => client.invoke(&invocation).await,
                None => unreachable!("it was just connected"),
            }
        };
        let completion = match tokio::time::timeout(op_timeout, attempt).await {
            Ok(completion) => completion,
            Err(_) => OpError::new(TIMEOUT, format!("no answer in {op_timeout:?}"))
                .completion(&invocation, false),
        };
        if completion.kind == Kind::Info {
            client = None;
        }
        let sent = done.send(Done {
            worker,
            process,
            invocation,
            completion,
            at: Instant::now(),
        });
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::dummy;
    use crate::generator::{Combine, from_fn};
    use async_trait::async_trait;
    use history::{History, Outcome, Value};
    use tokio::sync::watch;

    /// Answers `ok`; hangs on the values it is told to hang on.
    struct Hanging(fn(i64) -> bool);

    #[async_trait]
    impl Connect for Hanging {
        async fn connect(&self, _: &Node, _: u64) -> Box<dyn Client> {
            Box::new(Hanging(self.0))
        }
    }

    #[async_trait]
    impl Client for Hanging {
        async fn invoke(&mut self, operation: &Invocation) -> Completion {
            match operation.value.as_int() {
                Some(n) if (self.0)(n) => std::future::pending().await,
                _ => Completion::ok(operation.value.clone()),
            }
        }
    }

    fn counter() -> impl Generator {
        let mut n = 0;
        from_fn(move |_| {
            n += 1;
            ("write", Value::Int(n))
        })
    }

    /// Counts, and has the wish when it offers the `nth`.
    fn wishing(to: watch::Sender<Wish>, wish: Wish, nth: i64) -> impl Generator {
        let mut n = 0;
        from_fn(move |_| {
            n += 1;
            if n == nth {
                to.send_replace(wish);
            }
            ("write", Value::Int(n))
        })
    }

    async fn run(
        generator: impl Generator + 'static,
        client: Hanging,
        wish: watch::Receiver<Wish>,
        op_timeout: Duration,
    ) -> History {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let phase = Phase {
            generator: Box::new(generator),
            stream: "operations",
            seed: Seed(1),
            workers: 3,
            first_process: 0,
            op_timeout,
        };
        let progress = Progress::default();
        drive(
            phase,
            &dummy::nodes(2),
            Arc::new(client),
            &recorder,
            &progress,
            wish,
        )
        .await
        .unwrap();
        recorder.finish().unwrap();
        let history = history::store::load(&path).unwrap().history;
        let counts = progress.counts();
        assert_eq!(
            (counts.ok + counts.fail + counts.info) as usize,
            history.ops().len()
        );
        history
    }

    #[tokio::test]
    async fn every_offer_is_invoked_and_completed_once() {
        let (_keep, wish) = watch::channel(Wish::GoOn);
        let history = run(
            counter().limit(1000),
            Hanging(|_| false),
            wish,
            Duration::from_secs(60),
        )
        .await;
        let mut values: Vec<_> = history
            .ops()
            .iter()
            .map(|op| (op.outcome, op.output.as_int().unwrap()))
            .collect();
        values.sort_by_key(|(_, n)| *n);
        assert!(values.iter().all(|(outcome, _)| *outcome == Outcome::Ok));
        assert!(values.iter().map(|(_, n)| *n).eq(1..=1000));
        assert_eq!(history.ops()[0].node.as_deref(), Some("n1"));
    }

    #[tokio::test]
    async fn an_operation_without_answer_is_unknown_and_retires_its_process() {
        let (_keep, wish) = watch::channel(Wish::GoOn);
        let history = run(
            counter().limit(30),
            Hanging(|n| n == 5),
            wish,
            Duration::from_millis(50),
        )
        .await;
        let hung: Vec<_> = history
            .ops()
            .iter()
            .filter(|op| op.outcome == Outcome::Info)
            .collect();
        assert_eq!(hung.len(), 1);
        assert_eq!(hung[0].input, Value::Int(5));
        assert!(hung[0].error.as_deref().unwrap().starts_with("timeout"));
        assert!(
            history
                .ops()
                .iter()
                .all(|op| op.process != hung[0].process || op.index <= hung[0].index)
        );
    }

    #[tokio::test]
    async fn winding_up_ends_an_endless_phase_and_leaves_no_operation_open() {
        let (wish, stop) = watch::channel(Wish::GoOn);
        let history = run(
            wishing(wish, Wish::WindUp, 10).rate(1000.0),
            Hanging(|n| n == 2),
            stop,
            Duration::from_millis(200),
        )
        .await;
        assert!(history.ops().len() > 1);
        assert!(history.ops().iter().all(|op| op.completion.is_some()));
    }

    #[tokio::test]
    async fn abandoning_ends_at_once_and_says_so_of_what_was_open() {
        let (wish, stop) = watch::channel(Wish::GoOn);
        let history = run(
            wishing(wish, Wish::Abandon, 3).limit(3),
            Hanging(|_| true),
            stop,
            Duration::from_secs(3600),
        )
        .await;
        assert_eq!(history.ops().len(), 3);
        for op in history.ops() {
            assert_eq!(op.outcome, Outcome::Info);
            assert_eq!(op.error.as_deref(), Some("cut-off"));
        }
    }
}
