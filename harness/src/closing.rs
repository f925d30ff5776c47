//! The last operations of a run, when everything is healed: a write at every node, for a cluster
//! that came back must take writes everywhere, and then reads of everything that was written, at
//! every node.
//!
//! Other than in the main phase each is bound to its node, and tried again until it is answered or
//! the time is up. Every try is an operation of the history like any other.

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

    /// Reads everything at each of these nodes, each read until it is answered or the time is up.
    /// The nodes begin at different places, so that all is soon read once.
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
    /// Asks once. Whether there is reason to ask again: it was not answered, there is time, and
    /// nobody wishes otherwise.
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
            due: None,
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use async_trait::async_trait;
    use history::{Op, Outcome, Value};
    use tokio::sync::watch;

    use super::*;
    use crate::dummy;

    /// The first node answers; the second refuses each client's first two tries; the third refuses
    /// all.
    struct Moody;

    struct MoodyClient {
        node: String,
        tries: usize,
    }

    #[async_trait]
    impl Connect for Moody {
        async fn connect(&self, node: &Node, _: u64) -> Box<dyn Client> {
            Box::new(MoodyClient {
                node: node.name.to_string(),
                tries: 0,
            })
        }
    }

    #[async_trait]
    impl Client for MoodyClient {
        async fn invoke(&mut self, asked: &Invocation) -> Completion {
            self.tries += 1;
            let refuses = match self.node.as_str() {
                "n1" => false,
                "n2" => self.tries <= 2,
                _ => true,
            };
            if refuses {
                return OpError::new(crate::client::REFUSED, "not now").completion(asked, true);
            }
            match asked.value.as_int() {
                Some(7) => OpError::new(CONFLICT, "").completion(asked, true),
                _ => Completion::ok(asked.value.clone()),
            }
        }
    }

    const PATIENCE: Duration = Duration::from_millis(1_500);

    fn ask(value: i64) -> Invocation {
        Invocation {
            f: "ask".into(),
            value: Value::Int(value),
        }
    }

    /// What three nodes were asked, by node.
    async fn history(of: impl AsyncFnOnce(Asking, Vec<Node>)) -> BTreeMap<String, Vec<Op>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let (_keep, stop) = watch::channel(Wish::GoOn);
        let asking = Asking {
            connect: Arc::new(Moody),
            recorder: recorder.clone(),
            progress: Arc::default(),
            stop,
            ends_at: Wish::WindUp,
            op_timeout: Duration::from_secs(60),
            next_process: Arc::new(AtomicU64::new(100)),
        };
        of(asking, dummy::nodes(3)).await;
        recorder.finish().unwrap();
        let history = history::store::load(&path).unwrap().history;
        let mut by_node: BTreeMap<String, Vec<Op>> = BTreeMap::new();
        for op in history.ops() {
            assert!(matches!(op.process, Process::Client(n) if n >= 100));
            let node = op.node.as_deref().unwrap().to_string();
            by_node.entry(node).or_default().push(op.clone());
        }
        by_node
    }

    fn answered(ops: &[Op]) -> Vec<i64> {
        let answers = ops.iter().filter(|op| op.outcome == Outcome::Ok);
        let mut values: Vec<i64> = answers.filter_map(|op| op.input.as_int()).collect();
        values.sort_unstable();
        values
    }

    #[tokio::test]
    async fn every_object_is_read_at_every_node_until_it_is_answered_there() {
        let of = async |asking: Asking, nodes: Vec<Node>| {
            let reads = (0..5).map(ask).collect();
            asking.read_at_each(&nodes, reads, PATIENCE).await.unwrap();
        };
        let asked = history(of).await;
        assert_eq!(answered(&asked["n1"]), [0, 1, 2, 3, 4]);
        assert_eq!(asked["n1"].len(), 5);
        assert_eq!(answered(&asked["n2"]), [0, 1, 2, 3, 4]);
        assert!(asked["n2"].len() > 5);
        // One that refuses all is tried until the time is up, and takes nothing away from the
        // others.
        assert!(answered(&asked["n3"]).is_empty());
        let tried: BTreeSet<_> = asked["n3"].iter().map(|op| op.input.clone()).collect();
        assert_eq!(tried.len(), 5);
        assert!(asked["n3"].len() > 5);
    }

    #[tokio::test]
    async fn every_node_is_asked_to_write_until_a_write_is_answered() {
        let of = async |asking: Asking, nodes: Vec<Node>| {
            let mut next = 0;
            let mut closing = Closing {
                write: Box::new(move || {
                    next += 1;
                    Some(ask(10 + next))
                }),
                reads: Box::new(Vec::new),
            };
            let writing = asking.write_at_each(&nodes, &mut closing, PATIENCE);
            writing.await.unwrap();
        };
        let asked = history(of).await;
        assert_eq!((asked["n1"].len(), answered(&asked["n1"]).len()), (1, 1));
        assert_eq!((asked["n2"].len(), answered(&asked["n2"]).len()), (3, 1));
        assert!(answered(&asked["n3"]).is_empty());
        let values: Vec<_> = asked.values().flatten().map(|op| &op.input).collect();
        let different: BTreeSet<_> = values.iter().collect();
        assert_eq!(different.len(), values.len(), "no write is like another");
    }

    /// A condition that does not hold is an answer, and asking again would change nothing.
    #[tokio::test]
    async fn no_is_an_answer() {
        let of = async |asking: Asking, nodes: Vec<Node>| {
            let asking = asking.read_at_each(&nodes[..1], vec![ask(7)], PATIENCE);
            asking.await.unwrap();
        };
        let asked = history(of).await;
        assert_eq!(asked["n1"].len(), 1);
    }
}
