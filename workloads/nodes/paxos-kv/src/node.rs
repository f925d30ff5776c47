//! Drives the protocol: gives it time, messages and requests, and carries out what it wants done.
//!
//! One task owns the core. Network and clients are tasks of the same thread; the log has a thread
//! of its own (`disk.rs`). Ticks come from a thread that sleeps in the kernel: were the process's
//! view of the clock to jump, they would still come.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use nodekit::clocks::{Clocks, Reading, kernel_monotonic_ns, start_ticks};
use nodekit::folder::{self, FolderError};
use nodekit::frame;
use nodekit::log::log;
use nodekit::signals::stop_on_signals;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::birth::{BirthError, Births};
use crate::core::message::{Message, NodeIndex, RequestId, Slot};
use crate::core::{Core, Effect, Input, Now, Recovered, Reply, Request};
use crate::disk::{self, Job};
use crate::event::{Event, Inspect};
use crate::flaws::Flaws;
use crate::params::Params;
use crate::snapshot::{self, SnapshotError};
use crate::trace::Trace;
use crate::transport::{self, Identity, Link};
use crate::wal::{Wal, WalError};
use crate::{http, inspect};

/// Events that may wait for the protocol; whoever brings more waits.
const EVENTS: usize = 8192;

/// Why a node does not start or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The trace cannot be written.
    #[error("{path}: {error}")]
    Trace {
        path: PathBuf,
        error: std::io::Error,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// It is not known who the node is.
    #[error(transparent)]
    Birth(#[from] BirthError),
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

impl From<Reading> for Now {
    fn from(reading: Reading) -> Now {
        Now {
            monotonic_ns: reading.monotonic.as_nanos() as u64,
            wall_ns: reading.wall.as_nanos() as u64,
        }
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it cannot start, or must not go on.
pub fn run(params: &Params) -> Result<(), NodeError> {
    let _lock = folder::lock(&params.data)?;
    let folder = &params.data;
    let owner = format!("{} of {}", params.id, params.cluster());
    let (wal, contents) = Wal::open(folder, &owner)?;
    if let Some(cut) = &contents.cut {
        log("WARN", &format!("torn tail: {cut}"));
    }
    let births = Births::open(folder, &contents)?;
    let snapshot = snapshot::load(folder)?;
    let slot = snapshot.as_ref().map_or(0, |(slot, _)| *slot);
    let recovered = Recovered {
        incarnation: contents.incarnation,
        snapshot: snapshot.map(|(_, bytes)| Arc::new(bytes)),
        records: contents.records,
    };
    let clocks = Clocks::new();
    let seed = params
        .seed
        .unwrap_or_else(|| kernel_monotonic_ns() ^ u64::from(std::process::id()));
    let core =
        Core::new(params.config(seed), recovered, clocks.read().into()).map_err(|reason| {
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
        .enable_io()
        .build()
        .map_err(NodeError::Start)?;
    runtime.block_on(drive(params, core, wal, births, clocks))
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

async fn drive(
    params: &Params,
    core: Core,
    wal: Wal,
    births: Births,
    clocks: Clocks,
) -> Result<(), NodeError> {
    let names = params.names();
    let trace = match &params.trace {
        Some(path) => {
            let opened = Trace::open(path, &params.id, &names);
            Some(opened.map_err(|error| NodeError::Trace {
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
        births,
    });
    let peers = bind("peers", params.peer_addr).await?;
    let clients = bind("clients", params.client_addr).await?;
    tokio::spawn(transport::listen(peers, identity.clone(), sender.clone()));
    let flaws = Flaws::from_iter(params.flaws.iter().copied());
    let requests = http::serve(clients, params.reads.into(), flaws, sender.clone());
    tokio::spawn(requests);
    let me = params.me();
    let links = (0..).zip(&params.peers).map(|(index, peer)| {
        (index != me)
            .then(|| transport::dial(identity.clone(), index, peer.address, sender.clone()))
    });
    let links = links.collect();
    let disk = disk::start(wal, sender.clone()).map_err(NodeError::Start)?;
    let snapshots = disk::start_snapshots(params.data.clone(), flaws, sender.clone())
        .map_err(NodeError::Start)?;
    start_ticks(params.tick(), sender.clone(), || Event::Tick).map_err(NodeError::Start)?;
    stop_on_signals(sender.clone(), || Event::Stop).map_err(NodeError::Start)?;

    let mut node = Node {
        params,
        core,
        clocks,
        trace,
        told: 0,
        links,
        disk,
        snapshots,
        waiting: HashMap::new(),
        next_request: 1,
        quiet: Duration::ZERO,
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
    /// Effects that wait to be carried out, and whose events the trace has.
    told: usize,
    links: Vec<Option<Link>>,
    disk: blocking::Sender<Job>,
    snapshots: blocking::Sender<disk::Snapshot>,
    waiting: HashMap<RequestId, oneshot::Sender<Reply>>,
    next_request: RequestId,
    /// How long ago the last sign of life was sent.
    quiet: Duration,
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
                    Inspect::Status => {
                        inspect::status(&self.core, self.params, self.clocks.read().into())
                    }
                    Inspect::Log { from, limit } => {
                        inspect::log(&self.core, self.params, from, limit)
                    }
                };
                // Whoever asked may have gone.
                let _ = reply.send(text);
                return;
            }
            Event::Tick => {
                self.show_life();
                Input::Tick
            }
            Event::Durable(number) => Input::Durable(number),
            Event::SnapshotSaved(slot, bytes) => Input::SnapshotSaved(slot, bytes),
            Event::Disk(_) | Event::Stop => return,
        };
        // Before the clocks are read by which the step decides.
        let began = kernel_monotonic_ns();
        self.core.step(self.clocks.read().into(), input);
        if let Some(trace) = &mut self.trace {
            for event in self.core.events_after(self.told) {
                trace.push(event, began);
            }
            self.told = self.core.waiting_effects();
        }
    }

    /// Does what the protocol wants. The trace goes first: what it says is true already, and nobody
    /// may act upon it before it is written.
    fn carry_out(&mut self) -> Result<(), NodeError> {
        let began = kernel_monotonic_ns();
        let effects = self.core.effects();
        let told = std::mem::take(&mut self.told);
        if let Some(trace) = &mut self.trace {
            for effect in effects.iter().skip(told) {
                if let Effect::Trace(event) = effect {
                    trace.push(event, began);
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
                Effect::Send(to, message) => self.send(to, &Arc::new(frame::encode(&message))),
                Effect::Broadcast(message) => {
                    let frame = Arc::new(frame::encode(&message));
                    (0..self.links.len() as NodeIndex).for_each(|to| self.send(to, &frame));
                }
                Effect::Reply(id, reply) => {
                    if let Some(waiting) = self.waiting.remove(&id) {
                        // The client may have gone.
                        let _ = waiting.send(reply);
                    }
                }
                Effect::SaveSnapshot { slot, kv } => self
                    .snapshots
                    .send((slot, kv))
                    .map_err(|_| NodeError::Disk("the snapshots' thread is gone".to_owned()))?,
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
            link.send(frame);
        }
    }

    /// Now and then sends an empty frame to all, so that a connection on which nothing comes is
    /// known to be broken.
    fn show_life(&mut self) {
        self.quiet += self.params.tick();
        if self.quiet >= transport::SIGN_OF_LIFE {
            self.quiet = Duration::ZERO;
            let life = Arc::new(frame::life());
            (0..self.links.len() as NodeIndex).for_each(|to| self.send(to, &life));
        }
    }
}
