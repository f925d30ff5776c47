//! Drives the protocol: gives it time, messages and requests, and carries out what it wants done.
//!
//! One task owns the core. Network and clients are tasks of the same thread; the log has a thread of its own, so
//! that a slow disk delays only what must wait for it, and collects a group commit meanwhile. The time comes from a
//! thread that sleeps in the kernel: were the process's view of the clock to jump, ticks would still come.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as blocking};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::codec;
use crate::core::message::{Message, NodeIndex, Op, Query, Record, RequestId, Slot};
use crate::core::{Core, Effect, Input, Now, Recovered, Reply, Request, Role};
use crate::http;
use crate::params::{Params, Reads};
use crate::snapshot::{self, SnapshotError};
use crate::trace::{Trace, ballot_json, kernel_monotonic_ns};
use crate::transport::{self, Identity, log};
use crate::wal::{Wal, WalError};

/// Events that may wait for the protocol; whoever brings more waits.
const EVENTS: usize = 8192;

/// Why a node does not start or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error("{path}: {error}")]
    Io {
        path: PathBuf,
        error: std::io::Error,
    },
    /// Another process has it.
    #[error("{0}: another process uses this folder")]
    InUse(PathBuf),
    /// The log cannot be used.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot is whole but is none of ours.
    #[error("{path}: snapshot {slot} holds no state: {reason}")]
    State {
        path: PathBuf,
        slot: Slot,
        reason: String,
    },
    /// An address is taken or not ours.
    #[error("cannot listen for {what} on {address}: {error}")]
    Listen {
        what: &'static str,
        address: std::net::SocketAddr,
        error: std::io::Error,
    },
    /// The disk failed while the node ran.
    #[error("the node must stop, for it cannot write: {0}")]
    Disk(String),
    /// The operating system refuses a thread or an event loop.
    #[error("cannot start: {0}")]
    Start(std::io::Error),
}

/// What a debug endpoint shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspect {
    /// The node's idea of itself.
    Status,
    /// A part of the decided log.
    Log { from: Slot, limit: usize },
}

/// What happens to the node.
#[derive(Debug)]
pub enum Event {
    /// A peer says something.
    Message(NodeIndex, Message),
    /// The connection to a peer is there.
    PeerUp(NodeIndex),
    /// A client asks.
    Request(Request, oneshot::Sender<Reply>),
    /// Somebody looks.
    Inspect(Inspect, oneshot::Sender<String>),
    /// Time passes.
    Tick,
    /// The log is on the disk up to here.
    Durable(u64),
    /// So is a snapshot.
    SnapshotSaved(Slot),
    /// The disk fails.
    Disk(String),
    /// Somebody wants the node to stop.
    Stop,
}

/// What the log's thread is asked for.
enum Job {
    Append {
        number: u64,
        records: Vec<Record>,
    },
    AppendLate {
        delay: Duration,
        records: Vec<Record>,
    },
    Truncate(Slot),
}

/// The process's ordinary clocks.
struct Clocks {
    start: Instant,
}

impl Clocks {
    fn now(&self) -> Now {
        // Rust's Instant never runs backwards against itself, but against a later reading it may be found to have:
        // the difference is taken from the start with an offset, so that a jump back stays visible.
        const OFFSET: Duration = Duration::from_secs(1 << 32);
        let monotonic = match Instant::now().checked_duration_since(self.start) {
            Some(since) => OFFSET + since,
            None => OFFSET.saturating_sub(self.start.duration_since(Instant::now())),
        };
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            monotonic_ns: monotonic.as_nanos() as u64,
            wall_ns: wall.as_nanos() as u64,
        }
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it cannot start, or must not go on.
pub fn run(params: &Params) -> Result<(), NodeError> {
    let folder = &params.data;
    let _lock = lock(folder)?;
    let owner = format!("{} of {}", params.id, params.cluster());
    let (wal, contents) = Wal::open(folder, &owner)?;
    if let Some(cut) = &contents.cut {
        log("WARN", &format!("torn tail: {cut}"));
    }
    let snapshot = snapshot::load(folder)?;
    let slot = snapshot.as_ref().map_or(0, |(slot, _)| *slot);
    let recovered = Recovered {
        incarnation: contents.incarnation,
        snapshot: snapshot.map(|(_, bytes)| Arc::new(bytes)),
        records: contents.records,
    };
    let clocks = Clocks {
        start: Instant::now(),
    };
    let seed = params
        .seed
        .unwrap_or_else(|| kernel_monotonic_ns() ^ u64::from(std::process::id()));
    let core = Core::new(params.config(seed), recovered, clocks.now()).map_err(|reason| {
        NodeError::State {
            path: folder.clone(),
            slot,
            reason,
        }
    })?;
    log(
        "INFO",
        &format!(
            "{} starts for the {}. time, decided up to {}",
            params.id,
            contents.incarnation,
            core.status().decided
        ),
    );
    if !params.flaws.is_empty() {
        let names: Vec<_> = params.flaws.iter().map(ToString::to_string).collect();
        log("WARN", &format!("planted flaws: {}", names.join(", ")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::Start)?;
    runtime.block_on(drive(params, core, wal, clocks))
}

/// Takes the folder for this process.
fn lock(folder: &Path) -> Result<File, NodeError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| NodeError::Io { path, error }
    };
    fs::create_dir_all(folder).map_err(io(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(&path)(error)),
    }
}

async fn bind(what: &'static str, address: std::net::SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| NodeError::Listen {
            what,
            address,
            error,
        })
}

async fn drive(params: &Params, core: Core, wal: Wal, clocks: Clocks) -> Result<(), NodeError> {
    let names: Vec<String> = params.peers.iter().map(|peer| peer.name.clone()).collect();
    let trace = match &params.trace {
        Some(path) => {
            let opened = Trace::open(path, &params.id, &names);
            Some(opened.map_err(|error| NodeError::Io {
                path: path.clone(),
                error,
            })?)
        }
        None => None,
    };
    let (sender, mut events) = mpsc::channel(EVENTS);
    let identity = Arc::new(Identity {
        cluster: params.cluster(),
        names,
        me: params.me(),
    });
    let peers = bind("peers", params.peer_addr).await?;
    let clients = bind("clients", params.client_addr).await?;
    tokio::spawn(transport::listen(peers, identity.clone(), sender.clone()));
    tokio::spawn(http::serve(clients, params.reads.into(), sender.clone()));
    let me = params.me();
    let links = (0..).zip(&params.peers).map(|(index, peer)| {
        (index != me)
            .then(|| transport::dial(identity.clone(), index, peer.address, sender.clone()))
    });
    let links = links.collect();
    let disk = start_disk(wal, sender.clone())?;
    start_ticks(params.tick(), sender.clone())?;
    stop_on_signals(sender.clone())?;

    let mut node = Node {
        params,
        core,
        clocks,
        trace,
        links,
        disk,
        events: sender,
        waiting: HashMap::new(),
        next_request: 1,
    };
    node.carry_out()?;
    let mut batch = Vec::new();
    loop {
        events.recv_many(&mut batch, 1024).await;
        for event in batch.drain(..) {
            match event {
                Event::Stop => {
                    log("INFO", "stops");
                    return Ok(());
                }
                Event::Disk(error) => return Err(NodeError::Disk(error)),
                event => node.take_in(event),
            }
        }
        node.carry_out()?;
    }
}

struct Node<'a> {
    params: &'a Params,
    core: Core,
    clocks: Clocks,
    trace: Option<Trace>,
    links: Vec<Option<mpsc::Sender<Arc<Vec<u8>>>>>,
    disk: blocking::Sender<Job>,
    events: mpsc::Sender<Event>,
    waiting: HashMap<RequestId, oneshot::Sender<Reply>>,
    next_request: RequestId,
}

impl Node<'_> {
    fn take_in(&mut self, event: Event) {
        let input = match event {
            Event::Message(from, message) => Input::Message(from, message),
            Event::PeerUp(peer) => Input::PeerUp(peer),
            Event::Request(request, reply) => {
                let id = self.next_request;
                self.next_request += 1;
                self.waiting.insert(id, reply);
                Input::Request(id, request)
            }
            Event::Inspect(inspect, reply) => {
                let text = match inspect {
                    Inspect::Status => self.status(),
                    Inspect::Log { from, limit } => self.log(from, limit),
                };
                // Whoever asked may have gone.
                let _ = reply.send(text);
                return;
            }
            Event::Tick => Input::Tick,
            Event::Durable(number) => Input::Durable(number),
            Event::SnapshotSaved(slot) => Input::SnapshotSaved(slot),
            Event::Disk(_) | Event::Stop => return,
        };
        self.core.step(self.clocks.now(), input);
    }

    /// Does what the protocol wants. The trace goes first: what it says is true already, and nobody may act upon it
    /// before it is written.
    fn carry_out(&mut self) -> Result<(), NodeError> {
        let effects = self.core.effects();
        if let Some(trace) = &mut self.trace {
            for effect in &effects {
                if let Effect::Trace(event) = effect {
                    trace.push(event);
                }
            }
            trace
                .flush()
                .map_err(|error| NodeError::Disk(format!("trace: {error}")))?;
        }
        for effect in effects {
            match effect {
                Effect::Trace(_) => {}
                Effect::Persist {
                    records,
                    durability,
                } => {
                    let job = match durability {
                        Ok(number) => Job::Append { number, records },
                        Err(delay_ns) => Job::AppendLate {
                            delay: Duration::from_nanos(delay_ns),
                            records,
                        },
                    };
                    self.write(job)?;
                }
                Effect::Truncate(slot) => self.write(Job::Truncate(slot))?,
                Effect::Send(to, message) => self.send(to, &Arc::new(codec::encode(&message))),
                Effect::Broadcast(message) => {
                    let frame = Arc::new(codec::encode(&message));
                    (0..self.links.len() as NodeIndex).for_each(|to| self.send(to, &frame));
                }
                Effect::Reply(id, reply) => {
                    if let Some(waiting) = self.waiting.remove(&id) {
                        // The client may have gone.
                        let _ = waiting.send(reply);
                    }
                }
                Effect::SaveSnapshot { slot, bytes } => self.save_snapshot(slot, bytes)?,
                Effect::Note(text) => log("INFO", &text),
            }
        }
        Ok(())
    }

    fn write(&self, job: Job) -> Result<(), NodeError> {
        self.disk
            .send(job)
            .map_err(|_| NodeError::Disk("the log's thread is gone".to_owned()))
    }

    fn send(&self, to: NodeIndex, frame: &Arc<Vec<u8>>) {
        if let Some(Some(link)) = self.links.get(usize::from(to)) {
            // A full queue means a peer that does not read. It will ask again for what it missed.
            let _ = link.try_send(frame.clone());
        }
    }

    fn save_snapshot(&self, slot: Slot, bytes: Arc<Vec<u8>>) -> Result<(), NodeError> {
        let (folder, events) = (self.params.data.clone(), self.events.clone());
        let save = move || {
            let event = match snapshot::save(&folder, slot, &bytes) {
                Ok(()) => Event::SnapshotSaved(slot),
                Err(error) => Event::Disk(error.to_string()),
            };
            // Nobody listens any more when the node stops.
            let _ = events.blocking_send(event);
        };
        std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(save)
            .map(drop)
            .map_err(NodeError::Start)
    }

    fn status(&self) -> String {
        let status = self.core.status();
        let names: Vec<String> = self
            .params
            .peers
            .iter()
            .map(|peer| peer.name.clone())
            .collect();
        let now = self.clocks.now();
        let params = &self.params;
        let ms = |span: Duration| format!("{}ms", span.as_millis());
        let reads = match params.reads {
            Reads::Quorum => "quorum",
            Reads::Log => "log",
            Reads::Lease => "lease",
            Reads::Local => "local",
        };
        json!({
            "node": params.id,
            "role": match status.role {
                Role::Follower => "follower",
                Role::Candidate => "candidate",
                Role::Leader => "leader",
            },
            "leader": status.leader.map(|ballot| names[usize::from(ballot.node)].clone()),
            "ballot": status.leader.map(|ballot| ballot_json(ballot, &names)),
            "promised": ballot_json(status.promised, &names),
            "committed": status.decided,
            "applied": status.decided,
            "first_retained": status.first_retained,
            "snapshot_slot": status.snapshot_slot,
            "chain": status.chain.to_string(),
            "clock": {"wall_ns": now.wall_ns, "monotonic_ns": process_monotonic_ns()},
            "lease": status.lease_left_ns.map(|left| json!({
                "held": left > 0, "until_ns": process_monotonic_ns() + left,
            })),
            "elections": status.elections,
            "flaws": self.params.flaws.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "params": {
                "peers": names,
                "election-timeout": ms(params.election_timeout),
                "heartbeat-interval": ms(params.heartbeat_interval),
                "lease": ms(params.lease),
                "max-drift": ms(params.max_drift),
                "request-timeout": ms(params.request_timeout),
                "reads": reads,
                "snapshot-every": params.snapshot_every,
                "max-batch": params.max_batch,
            },
        })
        .to_string()
    }

    fn log(&self, from: Slot, limit: usize) -> String {
        let names: Vec<String> = self
            .params
            .peers
            .iter()
            .map(|peer| peer.name.clone())
            .collect();
        let page = self.core.log_page(from, limit);
        let entries: Vec<_> = page
            .entries
            .iter()
            .map(|entry| {
                let commands = entry.batch.commands.iter().map(|command| {
                    let mut shown = show(&command.op);
                    shown["session"] = command.session.clone().into();
                    shown["sequence"] = command.sequence.into();
                    shown
                });
                json!({
                    "slot": entry.slot,
                    "ballot": ballot_json(entry.ballot, &names),
                    "digest": entry.digest.to_string(),
                    "chain": entry.chain.to_string(),
                    "commands": commands.collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({"first": page.first, "entries": entries, "decided_upto": page.decided_upto})
            .to_string()
    }
}

/// The process's own CLOCK_MONOTONIC, through the vDSO: what its timers feel.
fn process_monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A command for the debug log.
fn show(op: &Op) -> serde_json::Value {
    let value = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|_| text.into())
    };
    match op {
        Op::Put { key, value: text } => json!({"op": "put", "key": key, "value": value(text)}),
        Op::Cas { key, from, to } => {
            json!({"op": "cas", "key": key, "from": from.as_deref().map(value), "to": value(to)})
        }
        Op::SwapUnchecked { key, to } => {
            json!({"op": "swap-unchecked", "key": key, "to": value(to)})
        }
        Op::Append { key, element } => json!({"op": "append", "key": key, "value": value(element)}),
        Op::Delete { key } => json!({"op": "delete", "key": key}),
        Op::Read(Query::Get { key }) => json!({"op": "get", "key": key}),
        Op::Read(Query::Range { prefix }) => json!({"op": "range", "prefix": prefix}),
    }
}

/// Starts the thread that writes the log: all that waits is one frame and one sync.
fn start_disk(wal: Wal, events: mpsc::Sender<Event>) -> Result<blocking::Sender<Job>, NodeError> {
    let (sender, jobs) = blocking::channel();
    let work = move || {
        if let Err(error) = write_log(wal, &jobs, &events) {
            // Nobody listens any more when the node stops.
            let _ = events.blocking_send(Event::Disk(error.to_string()));
        }
    };
    std::thread::Builder::new()
        .name("log".into())
        .spawn(work)
        .map_err(NodeError::Start)?;
    Ok(sender)
}

fn write_log(
    mut wal: Wal,
    jobs: &blocking::Receiver<Job>,
    events: &mpsc::Sender<Event>,
) -> Result<(), WalError> {
    // What the flaws unsynced-* keep in memory, and until when.
    let mut late: VecDeque<(Instant, Vec<Record>)> = VecDeque::new();
    loop {
        let wait = late.front().map_or(Duration::from_secs(3600), |(due, _)| {
            due.saturating_duration_since(Instant::now())
        });
        let first = match jobs.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(blocking::RecvTimeoutError::Timeout) => None,
            Err(blocking::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let (mut records, mut durable, mut truncate) = (Vec::new(), None, None);
        for job in first
            .into_iter()
            .chain(std::iter::from_fn(|| jobs.try_recv().ok()))
        {
            match job {
                Job::Append {
                    number,
                    records: more,
                } => {
                    records.extend(more);
                    durable = Some(number);
                }
                Job::AppendLate { delay, records } => {
                    late.push_back((Instant::now() + delay, records))
                }
                Job::Truncate(slot) => truncate = Some(slot),
            }
        }
        while late.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            records.extend(
                late.pop_front()
                    .map(|(_, records)| records)
                    .unwrap_or_default(),
            );
        }
        if !records.is_empty() {
            wal.append(&records)?;
        }
        if let Some(number) = durable
            && events.blocking_send(Event::Durable(number)).is_err()
        {
            return Ok(());
        }
        if let Some(slot) = truncate {
            wal.truncate(slot)?;
        }
    }
}

/// Starts the thread that makes time pass. `thread::sleep` waits in the kernel, whatever the process's clocks show.
fn start_ticks(every: Duration, events: mpsc::Sender<Event>) -> Result<(), NodeError> {
    let tick = move || {
        while events.blocking_send(Event::Tick).is_ok() {
            std::thread::sleep(every);
        }
    };
    std::thread::Builder::new()
        .name("ticks".into())
        .spawn(tick)
        .map(drop)
        .map_err(NodeError::Start)
}

fn stop_on_signals(events: mpsc::Sender<Event>) -> Result<(), NodeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Start)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The node may be stopping already.
        let _ = events.send(Event::Stop).await;
    });
    Ok(())
}
