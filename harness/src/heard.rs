//! What agents say unasked, above all that a daemon has ended. Before the main phase that is a
//! remark for whoever watches; from then on a daemon that ended without our doing is an event of
//! the history.

use std::sync::Arc;
use std::time::Duration;

use agent::protocol::{Note, Request, State};
use history::Name;
use history::mark::{Crash, Mark};
use history::store::Run;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::cluster::Node;
use crate::progress::Progress;
use crate::readiness::last_lines;
use crate::recorder::Recorder;

/// Where a cluster's agents are heard.
pub type Heard = mpsc::UnboundedReceiver<(Name, Note)>;

/// How long an agent may take to say more of a daemon's end. It is there: it has just said so much.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens until it is dropped.
pub struct Listener {
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
    task: JoinHandle<()>,
}

enum Order {
    Record(Recorder, Vec<Node>),
    /// What was heard so far is recorded, and no more.
    Cease,
}

impl Listener {
    pub fn start(heard: Heard, progress: Arc<Progress>) -> Listener {
        let (orders, ordered) = mpsc::unbounded_channel();
        let task = tokio::spawn(listen(heard, ordered, progress));
        Listener { orders, task }
    }

    /// From here on the end of a daemon of these nodes is an event.
    pub async fn record(&self, recorder: Recorder, nodes: Vec<Node>) {
        self.order(Order::Record(recorder, nodes)).await;
    }

    /// Waits until everything that was heard is in the history. From here on it is no event any
    /// more.
    pub async fn cease(&self) {
        self.order(Order::Cease).await;
    }

    async fn order(&self, order: Order) {
        let (done, is_done) = oneshot::channel();
        if self.orders.send((order, done)).is_ok() {
            let _ = is_done.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    mut heard: Heard,
    mut ordered: mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>,
    progress: Arc<Progress>,
) {
    let mut into: Option<(Recorder, Vec<Node>)> = None;
    let mut open = true;
    loop {
        tokio::select! {
            // What was said before an order comes before it.
            biased;
            note = heard.recv(), if open => match note {
                Some((node, note)) => on_note(&node, note, into.as_ref(), &progress).await,
                None => open = false,
            },
            order = ordered.recv() => {
                let Some((order, done)) = order else {
                    return;
                };
                into = match order {
                    Order::Record(recorder, nodes) => Some((recorder, nodes)),
                    Order::Cease => None,
                };
                let _ = done.send(());
            }
        }
    }
}

async fn on_note(
    name: &Name,
    note: Note,
    into: Option<&(Recorder, Vec<Node>)>,
    progress: &Progress,
) {
    let (daemon, pid, status) = match note {
        // Somebody asked for it.
        Note::Exited { expected: true, .. } => return,
        Note::Exited {
            daemon,
            pid,
            status,
            ..
        } => (daemon, pid, status),
        Note::Healed { why } => return progress.remark(format!("{name}: healed itself: {why}")),
        Note::Trouble { what } => return progress.remark(format!("{name}: {what}")),
    };
    let disk_full = into.is_some_and(|(recorder, _)| disk_is_full(recorder, name));
    progress.remark(format!("{name}: {daemon} (pid {pid}) has ended: {status}"));
    let Some((recorder, nodes)) = into else {
        return;
    };
    let Some(node) = nodes.iter().find(|node| node.name == *name) else {
        return;
    };
    if lives_on(node, &daemon).await {
        progress.remark(format!("{name}: other processes of {daemon} go on"));
        return;
    }
    let crash = Crash {
        log: last_lines(node, &daemon, PATIENCE).await,
        daemon,
        pid: Some(pid),
        status,
        disk_full,
    };
    // A recorder that fails says so to whoever else records, and that is heard.
    let _ = recorder.mark(Mark::Crash(name.clone(), crash));
}

/// Less room than this is none: daemons write some blocks at a time.
const FULL: u64 = 64 << 10;

/// Whether a node that writes into the run's own folder, as those of a lab do, has no room there.
/// The disk of any other node is its own.
fn disk_is_full(recorder: &Recorder, node: &str) -> bool {
    let data = Run::at(recorder.folder()).node(node).join("data");
    let room = rustix::fs::statvfs(&data).map(|disk| disk.f_bavail * disk.f_frsize);
    room.is_ok_and(|bytes| bytes < FULL)
}

/// Whether others of its tree are there: of a program that puts itself into the background the
/// first process ends, and the daemon does not.
async fn lives_on(node: &Node, daemon: &str) -> bool {
    let daemon = daemon.to_string();
    let asked = node.agent.call::<State>(Request::State { daemon });
    matches!(
        tokio::time::timeout(PATIENCE, asked).await,
        Ok(Ok(State::Running { .. } | State::Paused { .. }))
    )
}

#[cfg(test)]
mod tests {
    use history::mark;

    use super::*;
    use crate::dummy;

    fn exited(expected: bool, pid: u32) -> Note {
        Note::Exited {
            daemon: "d".into(),
            pid,
            status: "signal 6".into(),
            expected,
        }
    }

    #[tokio::test]
    async fn an_end_that_nobody_ordered_is_an_event_once_the_run_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let progress = Arc::new(Progress::default());
        let (agents, heard) = mpsc::unbounded_channel();
        let listener = Listener::start(heard, progress.clone());
        let nodes = dummy::nodes(2);
        let say = |node: &str, note| agents.send((node.into(), note)).unwrap();

        // Before the main phase it is a remark, and no more.
        say("n1", exited(false, 1));
        while progress.take_remarks().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        listener.record(recorder.clone(), nodes).await;
        say("n2", exited(true, 2));
        say("n2", exited(false, 3));
        listener.cease().await;
        say("n1", exited(false, 4));
        let mut remarks = 0;
        while remarks < 2 {
            remarks += progress.take_remarks().len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        recorder.finish().unwrap();

        let history = history::store::load(&path).unwrap().history;
        let marks = mark::marks(&history).into_iter().map(|placed| placed.mark);
        let crash = Crash {
            daemon: "d".into(),
            pid: Some(3),
            status: "signal 6".into(),
            log: Vec::new(),
            disk_full: false,
        };
        assert_eq!(marks.collect::<Vec<_>>(), [Mark::Crash("n2".into(), crash)]);
    }
}
