//! The last operations of a run, when everything is healed: a write at every node, for a cluster that
//! came back must take writes everywhere, and then reads of everything that was written, at every node.
//!
//! Other than in the main phase each is bound to its node, and tried again until it is answered or the
//! time is up. Every try is an operation of the history like any other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use history::{Kind, Process};
use tokio::task::JoinSet;

use crate::client::{CONFLICT, CUT_OFF, Client, Completion, Connect, Invocation, OpError, TIMEOUT};
use crate::cluster::Node;
use crate::progress::{Progress, Stop, Wish, unless, wish};
use crate::recorder::{Draft, RecordError, Recorder};

/// What is asked at the end.
pub struct Closing {
    /// A write that every node must be able to take, another one each time; none if nothing can be
    /// written, because nothing is known of what there is.
    pub write: Box<dyn FnMut() -> Option<Invocation> + Send>,
    /// A read of each object that was written; made when the writes are over.
    pub reads: Box<dyn FnMut() -> Vec<Invocation> + Send>,
}

/// Reads at one node at a time: on a chain each may wait for blocks.
const AT_ONCE: usize = 16;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Whoever asks the last operations.
#[derive(Clone)]
pub struct Asking {
    pub connect: Arc<dyn Connect>,
    pub recorder: Recorder,
    pub progress: Arc<Progress>,
    /// What was wished when it began is no reason to end: only what is wished beyond it.
    pub stop: Stop,
    pub ends_at: Wish,
    /// How long one try may take.
    pub op_timeout: Duration,
    /// The next process number that nobody has used.
    pub next_process: Arc<AtomicU64>,
}

impl Asking {
    /// Writes at each of these nodes until one write is answered there, or the time is up.
    pub async fn write_at_each(
        &self,
        nodes: &[Node],
        closing: &mut Closing,
        patience: Duration,
    ) -> Result<(), RecordError> {
        let until = Instant::now() + patience;
        let write = std::mem::replace(&mut closing.write, Box::new(|| None));
        let write = Arc::new(Mutex::new(write));
        let mut tasks = JoinSet::new();
        for node in nodes {
            let (mut desk, write) = (self.desk(node), write.clone());
            tasks.spawn(async move {
                loop {
                    let next = (write.lock().expect("no panic while held"))();
                    let Some(invocation) = next else {
                        return Ok(());
                    };
                    if !desk.again(invocation, until).await? {
                        return Ok(());
                    }
                }
            });
        }
        joined(tasks).await
    }

    /// Reads everything at each of these nodes, each read until it is answered or the time is up. The
    /// nodes begin at different places, so that all is soon read once.
    pub async fn read_at_each(
        &self,
        nodes: &[Node],
        reads: Vec<Invocation>,
        patience: Duration,
    ) -> Result<(), RecordError> {
        let until = Instant::now() + patience;
        let mut tasks = JoinSet::new();
        for (at, node) in nodes.iter().enumerate() {
            let mut mine: VecDeque<Invocation> = reads.clone().into();
            mine.rotate_left(at * reads.len() / nodes.len());
            let mine = Arc::new(Mutex::new(mine));
            for _ in 0..AT_ONCE.min(reads.len()) {
                let (mut desk, mine) = (self.desk(node), mine.clone());
                tasks.spawn(async move {
                    loop {
                        let next = mine.lock().expect("no panic while held").pop_front();
                        let Some(read) = next else {
                            return Ok(());
                        };
                        while desk.again(read.clone(), until).await? {}
                    }
                });
            }
        }
        joined(tasks).await
    }

    fn desk(&self, node: &Node) -> Desk {
        Desk {
            asking: self.clone(),
            node: node.clone(),
            process: self.next_process.fetch_add(1, Ordering::Relaxed),
            client: None,
        }
    }
}

async fn joined(mut tasks: JoinSet<Result<(), RecordError>>) -> Result<(), RecordError> {
    let mut result = Ok(());
    while let Some(joined) = tasks.join_next().await {
        result = result.and(joined.expect("asking does not panic"));
    }
    result
}

/// One client of one node, as one process after the other.
struct Desk {
    asking: Asking,
    node: Node,
    process: u64,
    client: Option<Box<dyn Client>>,
}

impl Desk {
    /// Asks once. Whether there is reason to ask again: it was not answered, there is time, and nobody
    /// wishes otherwise.
    async fn again(&mut self, asked: Invocation, until: Instant) -> Result<bool, RecordError> {
        let (stop, ends_at) = (self.asking.stop.clone(), self.asking.ends_at);
        if wish(&stop) >= ends_at || Instant::now() >= until {
            return Ok(false);
        }
        let recorder = self.asking.recorder.clone();
        let process = self.process;
        let invoked = Completion::ok(asked.value.clone());
        recorder.record(self.draft(process, Kind::Invoke, &asked, invoked), None)?;
        let ended = unless(&stop, ends_at, self.attempt(&asked)).await;
        let at = Instant::now();
        let cut = || OpError::new(CUT_OFF, "").completion(&asked, false);
        let completion = ended.unwrap_or_else(cut);
        let kind = completion.kind;
        let answered = kind == Kind::Ok || says_no(&completion);
        self.asking.progress.count(kind);
        if kind == Kind::Info {
            self.client = None;
            self.process = self.asking.next_process.fetch_add(1, Ordering::Relaxed);
        }
        recorder.record(self.draft(process, kind, &asked, completion), Some(at))?;
        if answered {
            return Ok(false);
        }
        let paused = unless(&stop, ends_at, tokio::time::sleep(PAUSE)).await;
        Ok(paused.is_some())
    }

    fn draft(&self, process: u64, kind: Kind, asked: &Invocation, says: Completion) -> Draft {
        Draft {
            process: Process::Client(process),
            kind,
            f: asked.f.clone(),
            value: says.value,
            error: says.error,
            node: Some(self.node.name.clone()),
            version: says.version,
        }
    }

    async fn attempt(&mut self, asked: &Invocation) -> Completion {
        let patience = self.asking.op_timeout;
        let attempt = async {
            if self.client.is_none() {
                let process = self.process;
                self.client = Some(self.asking.connect.connect(&self.node, process).await);
            }
            match &mut self.client {
                Some(client) => client.invoke(asked).await,
                None => unreachable!("it was just connected"),
            }
        };
        match tokio::time::timeout(patience, attempt).await {
            Ok(completion) => completion,
            Err(_) => {
                OpError::new(TIMEOUT, format!("no answer in {patience:?}")).completion(asked, false)
            }
        }
    }
}

/// The system answered, and the answer was that the condition did not hold.
fn says_no(completion: &Completion) -> bool {
    let error = completion.error.as_deref().unwrap_or_default();
    completion.kind == Kind::Fail && error.split(':').next() == Some(CONFLICT.code)
}
