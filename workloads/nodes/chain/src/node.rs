//! A node: the protocol and what it acts upon. It is given time, messages and requests, and what it
//! wants done is carried out in order (`nodekit::runtime` has the loop).
//!
//! The block store (`nodekit::disk`) and the miner (`miner.rs`) have threads of their own.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, mpsc as blocking};

use nodekit::clocks::{Clocks, Reading};
use nodekit::disk::Disk;
use nodekit::folder::{self, FolderError};
use nodekit::frame;
use nodekit::log::{log, log_seldom};
use nodekit::runtime::{self, RunError, Taken};
use tokio::sync::mpsc;

use crate::core::block::Block;
use crate::core::message::{Effect, Input, Message, Now, PeerId, Reply};
use crate::core::{Core, Recovered};
use crate::event::{Chain, Inspect, News};
use crate::link::{Direction, End, Link, Payload};
use crate::miner::{self, Template};
use crate::params::Params;
use crate::store::{Store, StoreError};
use crate::transport::{self, Hub};
use crate::{http, inspect};

type Waiting = runtime::Waiting<Reply>;

/// Events that may wait for the protocol; whoever brings more waits.
const EVENTS: usize = 4096;

/// Why a node does not start or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The block store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What any node meets.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<Reading> for Now {
    fn from(reading: Reading) -> Now {
        Now {
            monotonic_ns: reading.monotonic.as_nanos() as u64,
            wall_ms: reading.wall.as_millis() as u64,
        }
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it cannot start, or must not go on.
pub fn run(params: &Params) -> Result<(), NodeError> {
    let place = &params.place;
    let _lock = folder::lock(&place.data)?;
    // The operating system's randomness: another number at every start, whatever the seed.
    let start = RandomState::new().hash_one(std::process::id());
    let seed = params.seed.unwrap_or(start);
    let config = params.config(seed);
    let genesis = config.rules.genesis().header.hash();
    let (store, contents) = Store::open(&place.data, genesis)?;
    if let Some(cut) = &contents.cut {
        log("WARN", &format!("damaged store: {cut}"));
    }
    let stored = contents.blocks.len();
    let recovered = Recovered {
        blocks: contents.blocks,
    };
    let clocks = Clocks::new();
    let core = Core::new(config, recovered, clocks.read().into());
    let head = core.head();
    log(
        "INFO",
        &format!(
            "{} starts with {stored} stored blocks, head {} at height {}, genesis {genesis}",
            place.id, head.hash, head.height
        ),
    );
    runtime::warn_of_flaws(&params.flaws().names());
    raise_file_limit();
    let names = http::Names::new(&place.id, start);
    runtime::block_on(drive(params, core, store, clocks, names, seed))
}

/// Every client that waits for confirmations holds a file descriptor. More than allowed is not
/// asked for, and fewer do.
fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are to an rlimit that lives through the calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max.min(16 << 10).max(limit.rlim_cur);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

async fn drive(
    params: &Params,
    core: Core,
    store: Store,
    clocks: Clocks,
    names: http::Names,
    seed: u64,
) -> Result<(), NodeError> {
    let (sender, events) = mpsc::channel(EVENTS);
    let place = &params.place;
    let hub = Hub::new(place.peer_addr, &place.peers, sender.clone());
    let peers = runtime::listen("peers", place.peer_addr).await?;
    let clients = runtime::listen("clients", place.client_addr).await?;
    tokio::spawn(transport::listen(peers, hub.clone()));
    for (index, peer) in (0..).zip(&place.peers) {
        if peer.name != place.id {
            transport::dial(hub.clone(), peer.clone(), seed.wrapping_add(index));
        }
    }
    let defaults = http::Defaults {
        reads: params.reads,
        confirmations: params.confirmations,
        names,
    };
    tokio::spawn(http::serve(clients, defaults, sender.clone()));
    let disk = Disk::start(store, sender.clone()).map_err(RunError::Start)?;
    let miner = miner::start(params.hash_rate, sender.clone()).map_err(RunError::Start)?;
    runtime::start_clockwork(params.tick(), &sender)?;
    let node = Node {
        params,
        core,
        clocks,
        hub,
        links: BTreeMap::new(),
        disk,
        miner,
    };
    Ok(runtime::drive(node, events).await?)
}
struct Node<'a> {
    params: &'a Params,
    core: Core,
    clocks: Clocks,
    hub: Arc<Hub>,
    /// The connections that the core knows of.
    links: BTreeMap<PeerId, Link>,
    disk: Disk<Arc<Block>>,
    miner: blocking::Sender<Template>,
}

impl runtime::Node for Node<'_> {
    type Protocol = Chain;

    /// What is wanted done is done before anything else happens: a peer that was dropped is not
    /// heard any more.
    const BATCH: usize = 1;

    fn take_in(&mut self, event: Taken<Chain>) {
        match event {
            Taken::Request(id, request) => self.step(Input::Request(id, request)),
            Taken::Inspect(inspect, looking) => {
                let text = self.look(&inspect);
                // Whoever asked may have gone.
                let _ = looking.send(text);
            }
            Taken::Tick => self.step(Input::Tick),
            Taken::Durable(number) => self.step(Input::Durable(number)),
            Taken::News(news) => self.hear(news),
        }
    }

    /// Does what the protocol wants, until it wants no more.
    fn carry_out(&mut self, waiting: &mut Waiting) -> Result<(), RunError> {
        loop {
            let effects = self.core.effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.do_one(effect, waiting)?;
            }
        }
    }
}

impl Node<'_> {
    fn step(&mut self, input: Input) {
        self.core.step(self.clocks.read().into(), input);
    }

    fn hear(&mut self, news: News) {
        match news {
            News::PeerUp(peer, link) => {
                self.links.insert(peer, link);
                self.step(Input::PeerUp(peer));
            }
            News::PeerDown(peer, End::Lost(reason)) => self.down(peer, &reason),
            News::PeerDown(peer, End::Misbehaved(reason)) => self.misbehaved(peer, &reason),
            News::Frame(peer, payload) => self.understand(peer, &payload),
            News::Solved { template, nonce } => self.step(Input::Solved { template, nonce }),
        }
    }

    fn understand(&mut self, peer: PeerId, payload: &Payload) {
        // What was still on its way from a peer that was dropped is not heard.
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        match frame::decode::<Message>(&payload.bytes) {
            Ok(message) => {
                if let Message::Hello { node, .. } = &message {
                    link.node.get_or_insert_with(|| node.clone());
                }
                self.step(Input::Message(peer, message));
            }
            Err(error) => self.misbehaved(peer, &error.to_string()),
        }
    }

    /// A peer sent what cannot be understood.
    fn misbehaved(&mut self, peer: PeerId, reason: &str) {
        self.drop_peer(peer, reason);
        self.step(Input::PeerDown(peer));
    }

    fn look(&self, inspect: &Inspect) -> Option<String> {
        match inspect {
            Inspect::Head => Some(inspect::head(&self.core, self.params)),
            Inspect::Blocks { tip, limit } => inspect::blocks(&self.core, *tip, *limit),
            Inspect::Tips => Some(inspect::tips(&self.core)),
            Inspect::Peers => Some(inspect::peers(&self.core, &self.links, &self.hub)),
            Inspect::Status => {
                let clocks = self.clocks.read();
                Some(inspect::status(&self.core, self.params, clocks))
            }
        }
    }

    fn do_one(&mut self, effect: Effect, waiting: &mut Waiting) -> Result<(), RunError> {
        match effect {
            Effect::Persist {
                number,
                blocks,
                delay: None,
            } => self.disk.append(number, blocks)?,
            Effect::Persist {
                number,
                blocks,
                delay: Some(delay),
            } => {
                self.disk.append_late(delay, blocks)?;
                self.step(Input::Durable(number));
            }
            Effect::Send(peer, message) => {
                let sent = self.links.get(&peer).map(|link| link.send(&message));
                if let Some(Err(reason)) = sent {
                    self.down(peer, &reason);
                }
            }
            Effect::Drop(peer, reason) => self.drop_peer(peer, &reason),
            Effect::Close(peer, reason) => {
                if let Some(link) = self.links.remove(&peer) {
                    tell_end(&link, &format!("closed {}: {reason}", name(&link)));
                }
            }
            Effect::Reply(id, reply) => waiting.answer(id, reply),
            Effect::Mine { template, header } => {
                let number = template;
                // The miner's thread lives as long as this one listens to it.
                let _ = self.miner.send(Template { number, header });
            }
            Effect::Note(text) => log("INFO", &text),
        }
        Ok(())
    }

    /// A connection is gone.
    fn down(&mut self, peer: PeerId, reason: &str) {
        if let Some(link) = self.links.remove(&peer) {
            tell_end(&link, &format!("lost {}: {reason}", name(&link)));
            self.step(Input::PeerDown(peer));
        }
    }

    /// Closes the connection to a peer that misbehaved, and all others to the same address, and
    /// talks to it no more for a while.
    fn drop_peer(&mut self, peer: PeerId, reason: &str) {
        let Some(link) = self.links.remove(&peer) else {
            return;
        };
        let name = name(&link);
        let Some(whom) = link.whom else {
            log_seldom(&format!("dropped {name}: {reason}"));
            return;
        };
        let span = self.params.ban_time;
        log(
            "WARN",
            &format!("dropped {name}: {reason}; no word with {whom} for {span:?}"),
        );
        self.hub.refuse(whom, reason.to_owned(), span);
        let others = self.links.iter();
        let others: Vec<PeerId> = others
            .filter(|(_, other)| other.whom == Some(whom))
            .map(|(id, _)| *id)
            .collect();
        for other in others {
            self.links.remove(&other);
            self.step(Input::PeerDown(other));
        }
    }
}

/// Who is at the other end, for the log.
fn name(link: &Link) -> String {
    match &link.node {
        Some(node) => format!("{node} at {}", link.address),
        None => link.address.to_string(),
    }
}

/// Logs how a connection ended. Strangers come and go as they please; whom this node dials it dials
/// with a back-off.
fn tell_end(link: &Link, text: &str) {
    match link.direction {
        Direction::In => log_seldom(text),
        Direction::Out => log("WARN", text),
    }
}
