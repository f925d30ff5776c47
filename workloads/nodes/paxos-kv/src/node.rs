//! A node: the protocol and what it acts upon. It is given time, messages and requests, and what it
//! wants done is carried out (`nodekit::runtime` has the loop).
//!
//! The log (`nodekit::disk`) and the snapshots (`saver.rs`) have threads of their own.

use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use nodekit::clocks::{Clocks, Reading, kernel_monotonic_ns};
use nodekit::disk::Disk;
use nodekit::folder::{self, FolderError, PathError, at};
use nodekit::frame;
use nodekit::log::log;
use nodekit::runtime::{self, RunError, Taken};
use tokio::sync::mpsc;

use crate::birth::{BirthError, Births};
use crate::core::message::{NodeIndex, Record, Slot};
use crate::core::{Core, Effect, Input, Now, Recovered, Reply};
use crate::event::{Inspect, News, Paxos};
use crate::params::Params;
use crate::saver;
use crate::snapshot::{self, SnapshotError};
use crate::trace::Trace;
use crate::transport::{self, Identity, Link};
use crate::unreliable::Network;
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
    #[error(transparent)]
    Trace(PathError),
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
    /// What any node meets.
    #[error(transparent)]
    Run(#[from] RunError),
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
    let folder = &params.place.data;
    let _lock = folder::lock(folder)?;
    let owner = format!("{} of {}", params.place.id, params.cluster());
    let seed = params
        .seed
        .unwrap_or_else(|| kernel_monotonic_ns() ^ u64::from(std::process::id()));
    let (wal, contents) = Wal::open(folder, &owner, &params.habits(seed))?;
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
            params.place.id,
            contents.incarnation,
            core.status().decided
        ),
    );
    runtime::warn_of_flaws(&params.flaws().names());
    runtime::block_on(drive(params, core, wal, births, clocks, seed))
}

async fn drive(
    params: &Params,
    core: Core,
    wal: Wal,
    births: Births,
    clocks: Clocks,
    seed: u64,
) -> Result<(), NodeError> {
    let place = &params.place;
    let names = place.names();
    let trace = params.trace.as_ref().map(|path| {
        let opened = Trace::open(path, &place.id, &names).map_err(at(path));
        opened.map_err(NodeError::Trace)
    });
    let (sender, events) = mpsc::channel(EVENTS);
    let identity = Arc::new(Identity {
        cluster: params.cluster(),
        names,
        me: params.me(),
        births,
    });
    let peers = runtime::listen("peers", place.peer_addr).await?;
    let clients = runtime::listen("clients", place.client_addr).await?;
    let me = params.me();
    let network = Network::new(&params.hazards, me, seed, sender.clone());
    tokio::spawn(transport::listen(peers, identity.clone(), network));
    let requests = http::serve(clients, params.reads.into(), params.flaws(), sender.clone());
    tokio::spawn(requests);
    let links = (0..).zip(&place.peers).map(|(index, peer)| {
        (index != me)
            .then(|| transport::dial(identity.clone(), index, peer.address, sender.clone()))
    });
    let links = links.collect();
    let disk = Disk::start(wal, sender.clone()).map_err(RunError::Start)?;
    let snapshots = saver::start(place.data.clone(), params.flaws(), sender.clone())
        .map_err(RunError::Start)?;
    runtime::start_clockwork(params.tick(), &sender)?;
    let node = Node {
        params,
        core,
        clocks,
        trace: trace.transpose()?,
        told: 0,
        links,
        disk,
        snapshots,
        quiet: Duration::ZERO,
    };
    Ok(runtime::drive(node, events).await?)
}
struct Node<'a> {
    params: &'a Params,
    core: Core,
    clocks: Clocks,
    trace: Option<Trace>,
    /// Effects that wait to be carried out, and whose events the trace has.
    told: usize,
    links: Vec<Option<Link>>,
    disk: Disk<Record>,
    snapshots: blocking::Sender<saver::Snapshot>,
    /// How long ago the last sign of life was sent.
    quiet: Duration,
}

impl runtime::Node for Node<'_> {
    type Protocol = Paxos;

    const BATCH: usize = 1024;

    fn take_in(&mut self, event: Taken<Paxos>) {
        let input = match event {
            Taken::News(News::Message(from, message)) => Input::Message(from, message),
            Taken::News(News::PeerUp(peer)) => Input::PeerUp(peer),
            Taken::News(News::SnapshotSaved(slot, bytes)) => Input::SnapshotSaved(slot, bytes),
            Taken::Request(id, request) => Input::Request(id, request),
            Taken::Inspect(inspect, looking) => {
                // Whoever asked may have gone.
                let _ = looking.send(Some(self.look(&inspect)));
                return;
            }
            Taken::Tick => {
                self.show_life();
                Input::Tick
            }
            Taken::Durable(number) => Input::Durable(number),
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
    fn carry_out(&mut self, waiting: &mut runtime::Waiting<Reply>) -> Result<(), RunError> {
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
                .map_err(|error| RunError::Disk(format!("trace: {error}")))?;
        }
        for effect in effects {
            match effect {
                Effect::Trace(_) => {}
                Effect::Persist {
                    records,
                    durability: Ok(number),
                } => self.disk.append(number, records)?,
                Effect::Persist {
                    records,
                    durability: Err(delay_ns),
                } => self
                    .disk
                    .append_late(Duration::from_nanos(delay_ns), records)?,
                Effect::Truncate(slot) => self.disk.truncate(slot)?,
                Effect::Send(to, message) => self.send(to, &Arc::new(frame::encode(&message))),
                Effect::Broadcast(message) => self.broadcast(&Arc::new(frame::encode(&message))),
                Effect::Reply(id, reply) => waiting.answer(id, reply),
                Effect::SaveSnapshot { slot, kv } => self
                    .snapshots
                    .send((slot, kv))
                    .map_err(|_| RunError::Disk("the snapshots' thread is gone".to_owned()))?,
                Effect::Note(text) => log("INFO", &text),
            }
        }
        Ok(())
    }
}

impl Node<'_> {
    fn look(&self, inspect: &Inspect) -> String {
        match *inspect {
            Inspect::Status => inspect::status(&self.core, self.params, self.clocks.read().into()),
            Inspect::Log { from, limit } => inspect::log(&self.core, self.params, from, limit),
        }
    }

    fn send(&self, to: NodeIndex, frame: &Arc<Vec<u8>>) {
        if let Some(Some(link)) = self.links.get(usize::from(to)) {
            link.send(frame);
        }
    }

    fn broadcast(&self, frame: &Arc<Vec<u8>>) {
        (0..self.links.len() as NodeIndex).for_each(|to| self.send(to, frame));
    }

    /// Now and then sends an empty frame to all, so that a connection on which nothing comes is
    /// known to be broken.
    fn show_life(&mut self) {
        self.quiet += self.params.tick();
        if self.quiet >= transport::SIGN_OF_LIFE {
            self.quiet = Duration::ZERO;
            self.broadcast(&Arc::new(frame::life()));
        }
    }
}
