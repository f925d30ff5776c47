//! Drives one phase: a generator's offers, through workers and their clients, into the recorder.
//!
//! One owner, this loop, puts events in order; workers send it messages. A worker is one client: it runs
//! one operation at a time, at the node that the scheduler says; when an outcome stays unknown its process
//! is retired, and the worker goes on as a new process with new connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use history::mark::Mark;
use history::offered::Offered;
use history::{Event, Kind, Name, Process};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{CUT_OFF, Client, Completion, Connect, Invocation, OpError, TIMEOUT};
use crate::cluster::Node;
use crate::generator::Generator;
use crate::lateness::Lateness;
use crate::progress::{Progress, Stop, Wish, wish, wished};
use crate::recorder::{Draft, RecordError, Recorder};
use crate::scheduler::{Pace, Scheduler, Step, Tally};
use crate::seed::Seed;

/// What a phase is made of.
pub struct Phase {
    pub generator: Box<dyn Generator>,
    /// Name of the random streams that its operations are drawn from.
    pub stream: &'static str,
    pub seed: Seed,
    /// When operations are due, and where. None: whenever a worker is free, at the node that is its own.
    pub pace: Option<Pace>,
    /// Nothing is due from then on; it moves back with the faults. None: the generator ends by itself.
    pub end: Option<(Duration, Lateness)>,
    pub workers: usize,
    pub first_process: u64,
    pub op_timeout: Duration,
}

/// How much a worker may be late at the end of a phase beyond its operation's time-out.
const LATE: Duration = Duration::from_secs(2);

/// How often the history is told what was not offered, while something is not.
const TELL: Duration = Duration::from_secs(1);

struct Job {
    process: u64,
    node: usize,
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
        phase.seed,
        phase.stream,
        phase.pace,
        (phase.workers, nodes.len()),
        phase.first_process,
    );
    // Aborted, every worker, when this function is left.
    let mut tasks = JoinSet::new();
    let (done_tx, mut done_rx) = mpsc::unbounded_channel();
    let mut desks = Vec::new();
    for worker in 0..phase.workers {
        let (jobs_tx, jobs) = mpsc::unbounded_channel();
        desks.push(Desk {
            jobs: jobs_tx,
            open: None,
        });
        tasks.spawn(work(
            worker,
            nodes.to_vec(),
            connect.clone(),
            phase.op_timeout,
            jobs,
            done_tx.clone(),
        ));
    }
    drop(done_tx);

    let began = Instant::now();
    let mut teller = Teller {
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        workers: phase.workers as u64,
        first_process: phase.first_process,
        told: (began, 0),
    };
    let mut batch: Vec<Done> = Vec::new();
    let mut wind_up_by: Option<Instant> = None;
    loop {
        // Completions first: they free workers, and their times are running.
        while let Ok(done) = done_rx.try_recv() {
            batch.push(done);
        }
        for done in batch.drain(..) {
            complete(done, &mut desks, &mut scheduler, recorder, progress)?;
        }
        let moved = phase.end.as_ref().map(|(end, lateness)| {
            let by = lateness.by();
            scheduler.set_end(*end + by);
            (lateness, by)
        });
        let until = match scheduler.step(began.elapsed()) {
            Step::Invoke {
                worker,
                node,
                process,
                offer,
                due,
            } => {
                let job = Job {
                    process,
                    node,
                    invocation: Invocation {
                        f: offer.f,
                        value: offer.value,
                    },
                };
                let due = due.map(|due| began + due);
                desks[worker].invoke(job, nodes[node].name.clone(), due, recorder)?;
                continue;
            }
            Step::Finished => break,
            Step::Wait(until) => until.map(|at| began + at),
        };
        teller.tell_of_changes(scheduler.tally(), recorder)?;
        let timer = tokio::time::sleep_until(
            until
                .into_iter()
                .chain(wind_up_by)
                .min()
                .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
                .into(),
        );
        let end_moves = async {
            match &moved {
                Some((lateness, by)) => lateness.other_than(*by).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            received = done_rx.recv_many(&mut batch, 1024) => if received == 0 { break },
            () = wished(&mut stop, Wish::WindUp), if wind_up_by.is_none() => {
                scheduler.stop();
                wind_up_by = Some(Instant::now() + phase.op_timeout + LATE);
            }
            () = end_moves => {}
            () = timer => if wind_up_by.is_some_and(|by| Instant::now() >= by) { break },
        }
        if wish(&stop) >= Wish::Abandon {
            break;
        }
    }
    // What is still open stays unknown, and the history says why.
    for (worker, desk) in desks.iter_mut().enumerate() {
        if let Some(Open {
            process,
            node,
            invocation,
        }) = desk.open.take()
        {
            let completion = OpError::new(CUT_OFF, "").completion(&invocation, false);
            let done = Done {
                worker,
                process,
                invocation,
                completion,
                at: Instant::now(),
            };
            record(done, node, recorder, progress)?;
        }
    }
    teller.tell(scheduler.tally(), recorder)?;
    Ok(scheduler.next_process())
}

/// The interpreter's view of a worker.
struct Desk {
    jobs: mpsc::UnboundedSender<Job>,
    open: Option<Open>,
}

/// An operation that is not completed yet.
struct Open {
    process: u64,
    node: Name,
    invocation: Invocation,
}

impl Desk {
    fn invoke(
        &mut self,
        job: Job,
        node: Name,
        due: Option<Instant>,
        recorder: &Recorder,
    ) -> Result<(), RecordError> {
        recorder.record(
            Draft {
                process: Process::Client(job.process),
                kind: Kind::Invoke,
                f: job.invocation.f.clone(),
                value: job.invocation.value.clone(),
                error: None,
                node: Some(node.clone()),
                version: None,
                due,
            },
            None,
        )?;
        self.open = Some(Open {
            process: job.process,
            node,
            invocation: job.invocation.clone(),
        });
        // A worker that is gone has panicked: its operation is closed at the end, as cut off.
        let _ = self.jobs.send(job);
        Ok(())
    }
}

/// Tells the history what became of the plan.
struct Teller {
    nodes: Vec<Name>,
    workers: u64,
    first_process: u64,
    /// When it did last, and how much was not offered then.
    told: (Instant, u64),
}

impl Teller {
    /// Now and then, while something is not offered.
    fn tell_of_changes(
        &mut self,
        tally: Option<&Tally>,
        recorder: &Recorder,
    ) -> Result<(), RecordError> {
        let (at, left_out) = self.told;
        let changed = tally.is_some_and(|tally| tally.not_offered() != left_out);
        match changed && at.elapsed() >= TELL {
            true => self.tell(tally, recorder),
            false => Ok(()),
        }
    }

    fn tell(&mut self, tally: Option<&Tally>, recorder: &Recorder) -> Result<(), RecordError> {
        let Some(tally) = tally else {
            return Ok(());
        };
        self.told = (Instant::now(), tally.not_offered());
        let busy = self.nodes.iter().cloned().zip(tally.busy.iter().copied());
        let offered = Offered {
            due: tally.due,
            offered: tally.offered,
            busy: busy.filter(|(_, n)| *n > 0).collect(),
            late: tally.late,
            workers: self.workers,
            first_process: self.first_process,
        };
        recorder.mark(Mark::Offered(offered)).map(|_| ())
    }
}

fn complete(
    done: Done,
    desks: &mut [Desk],
    scheduler: &mut Scheduler,
    recorder: &Recorder,
    progress: &Progress,
) -> Result<(), RecordError> {
    let worker = done.worker;
    let open = desks[worker].open.take();
    let open = open.expect("what is done was open");
    let event = record(done, open.node, recorder, progress)?;
    scheduler.complete(worker, &event);
    Ok(())
}

fn record(
    done: Done,
    node: Name,
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
            node: Some(node),
            version: done.completion.version,
            due: None,
        },
        Some(done.at),
    )
}

async fn work(
    worker: usize,
    nodes: Vec<Node>,
    connect: Arc<dyn Connect>,
    op_timeout: Duration,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    done: mpsc::UnboundedSender<Done>,
) {
    // Of the process that it is, by node.
    let mut clients: HashMap<usize, Box<dyn Client>> = HashMap::new();
    while let Some(Job {
        process,
        node,
        invocation,
    }) = jobs.recv().await
    {
        let attempt = async {
            if let Some(client) = clients.get_mut(&node) {
                return client.invoke(&invocation).await;
            }
            let client = connect.connect(&nodes[node], process).await;
            let client = clients.entry(node).or_insert(client);
            client.invoke(&invocation).await
        };
        let completion = match tokio::time::timeout(op_timeout, attempt).await {
            Ok(completion) => completion,
            Err(_) => OpError::new(TIMEOUT, format!("no answer in {op_timeout:?}"))
                .completion(&invocation, false),
        };
        if completion.kind == Kind::Info {
            clients.clear();
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
    use crate::generator::{Combine, Shape, from_fn};
    use crate::scheduler::Clients;
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

    const THOUSAND: Pace = Pace {
        per_second: 1000.0,
        shape: Shape::Even,
        clients: Clients::Roaming,
    };

    async fn run(
        generator: impl Generator + 'static,
        pace: Option<Pace>,
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
            pace,
            end: None,
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
            None,
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
            None,
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
            wishing(wish, Wish::WindUp, 10),
            Some(THOUSAND),
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
            None,
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

    /// What became of the plan is in the history, and adds up; every planned operation has its time.
    #[tokio::test]
    async fn the_history_says_what_was_due_and_what_of_it_was_offered() {
        let (_keep, wish) = watch::channel(Wish::GoOn);
        // Three clients, one of which hangs for ever: at a thousand a second some find nobody.
        let history = run(
            counter().limit(500),
            Some(Pace {
                clients: Clients::Sticky,
                ..THOUSAND
            }),
            Hanging(|n| n == 2 || n == 3),
            wish,
            Duration::from_millis(300),
        )
        .await;
        let told = history::mark::offered(&history).unwrap();
        assert_eq!(told.due, 500);
        assert_eq!(told.offered as usize, history.ops().len());
        assert_eq!(told.due, told.offered + told.not_offered());
        assert_eq!((told.workers, told.first_process), (3, 0));
        assert!(
            history
                .ops()
                .iter()
                .all(|op| op.due.is_some_and(|due| due <= op.call))
        );
    }

    #[tokio::test]
    async fn a_roaming_client_asks_several_nodes() {
        let (_keep, wish) = watch::channel(Wish::GoOn);
        let minute = Duration::from_secs(60);
        let history = run(
            counter().limit(100),
            Some(THOUSAND),
            Hanging(|_| false),
            wish,
            minute,
        )
        .await;
        let first = history
            .ops()
            .iter()
            .filter(|op| op.process == Process::Client(0));
        let nodes: std::collections::BTreeSet<_> = first.map(|op| op.node.clone()).collect();
        assert_eq!(nodes.len(), 2);
    }

    /// The end of the phase moves back while it has not come.
    #[tokio::test]
    async fn a_run_that_was_moved_back_goes_on_for_as_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let (end, by) = (Duration::from_millis(50), Duration::from_millis(200));
        let lateness = Lateness::of(end);
        let phase = Phase {
            generator: Box::new(counter()),
            stream: "operations",
            seed: Seed(1),
            pace: Some(THOUSAND),
            end: Some((end, lateness.clone())),
            workers: 3,
            first_process: 0,
            op_timeout: Duration::from_secs(60),
        };
        let (_keep, wish) = watch::channel(Wish::GoOn);
        lateness.raise(by);
        let progress = Progress::default();
        let nodes = dummy::nodes(2);
        let client = Arc::new(Hanging(|_| false));
        drive(phase, &nodes, client, &recorder, &progress, wish)
            .await
            .unwrap();
        recorder.finish().unwrap();
        let history = history::store::load(&path).unwrap().history;
        let dues = || history.ops().iter().filter_map(|op| op.due);
        let (first, last) = (dues().min().unwrap(), dues().max().unwrap());
        assert!(
            last.since(first) > Duration::from_millis(150),
            "{:?}",
            last.since(first)
        );
        assert!(last.since(first) < end + by);
    }
}
