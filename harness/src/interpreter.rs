//! Drives one phase: a generator's offers, through workers and their clients, into the recorder.
//!
//! One owner, this loop, puts events in order; workers send it messages. A worker is one client: it
//! runs one operation at a time, at the node that the scheduler says; when an outcome stays unknown
//! its process is retired, and the worker goes on as a new process with new connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use history::mark::Mark;
use history::offered::Offered;
use history::{Event, Kind, Name, Process};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{
    CUT_OFF, Client, Completion, Connect, Invocation, MALFORMED, OpError, TIMEOUT,
};
use crate::cluster::Node;
use crate::generator::{Generator, Offer};
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
    /// When operations are due, and where. None: whenever a worker is free, at the node that is its
    /// own.
    pub pace: Option<Pace>,
    /// Nothing is due from then on; it moves back with the faults. None: the generator ends by
    /// itself.
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

impl Job {
    fn new(process: u64, node: usize, Offer { f, value, .. }: Offer) -> Job {
        Job {
            process,
            node,
            invocation: Invocation { f, value },
        }
    }
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
    let Crew {
        tasks: _working,
        mut desks,
        mut done_rx,
    } = Crew::start(phase.workers, nodes, &connect, phase.op_timeout);
    let began = Instant::now();
    let mut teller = Teller::new(nodes, phase.workers, phase.first_process, began);
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
                let job = Job::new(process, node, offer);
                let due = due.map(|due| began + due);
                desks[worker].invoke(job, nodes[node].name.clone(), due, recorder)?;
                continue;
            }
            Step::Finished => break,
            Step::Wait(until) => until.map(|at| began + at),
        };
        teller.tell_of_changes(scheduler.tally(), recorder)?;
        let next = until.into_iter().chain(wind_up_by).min();
        let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        let timer = tokio::time::sleep_until(next.into());
        let end_moves = end_moves(moved);
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
    cut_off(&mut desks, recorder, progress)?;
    teller.tell(scheduler.tally(), recorder)?;
    Ok(scheduler.next_process())
}

/// All workers, and where they say what they have done.
struct Crew {
    /// Aborted, every worker, when this is dropped.
    tasks: JoinSet<()>,
    desks: Vec<Desk>,
    done_rx: mpsc::UnboundedReceiver<Done>,
}

impl Crew {
    fn start(
        workers: usize,
        nodes: &[Node],
        connect: &Arc<dyn Connect>,
        op_timeout: Duration,
    ) -> Crew {
        let mut tasks = JoinSet::new();
        let (done_tx, done_rx) = mpsc::unbounded_channel();
        let mut desks = Vec::new();
        for worker in 0..workers {
            let (jobs_tx, jobs) = mpsc::unbounded_channel();
            desks.push(Desk {
                jobs: jobs_tx,
                open: None,
            });
            tasks.spawn(work(
                worker,
                nodes.to_vec(),
                connect.clone(),
                op_timeout,
                jobs,
                done_tx.clone(),
            ));
        }
        Crew {
            tasks,
            desks,
            done_rx,
        }
    }
}

/// Waits until the end of the phase is put off by another time than is known.
async fn end_moves(known: Option<(&Lateness, Duration)>) {
    match known {
        Some((lateness, by)) => lateness.other_than(by).await,
        None => std::future::pending().await,
    }
}

/// What is still open stays unknown, and the history says why.
fn cut_off(
    desks: &mut [Desk],
    recorder: &Recorder,
    progress: &Progress,
) -> Result<(), RecordError> {
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
    Ok(())
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
    fn new(nodes: &[Node], workers: usize, first_process: u64, began: Instant) -> Teller {
        Teller {
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            workers: workers as u64,
            first_process,
            told: (began, 0),
        }
    }

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
            Ok(completion) if completion.is_too_deep() => {
                OpError::new(MALFORMED, "its answer is nested too deep for a history")
                    .completion(&invocation, false)
            }
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
mod tests;
