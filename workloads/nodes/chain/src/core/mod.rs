//! The protocol, without clock, disk or network: inputs and the time come in, effects come out.
//!
//! Nakamoto consensus ("Bitcoin: A Peer-to-Peer Electronic Cash System", 2008). `block.rs` is what
//! is hashed, `rules.rs` what a valid block is, `tree.rs` the blocks and headers that are known,
//! `ledger.rs` the state of the active chain, `chain.rs` takes blocks in and chooses the branch,
//! `mempool.rs` holds what waits for a block, `peer.rs` is one conversation, `sync.rs` fetches what
//! is missing, `relay.rs` spreads transactions, `mining.rs` makes templates, `request.rs` keeps
//! clients' requests until they have an answer, `view.rs` is for looking.
//!
//! The caller calls [`Core::step`] for each input and then [`Core::effects`], and carries the
//! effects out **in order**: what must not be said before it is on the disk is held back here,
//! until [`Input::Durable`].

pub mod block;
mod chain;
mod ledger;
mod mempool;
pub mod message;
mod mining;
mod peer;
mod relay;
mod request;
mod rules;
mod sync;
mod tree;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nodekit::random::Random;

use crate::flaws::{Flaw, Flaws};
use block::{Block, Hash};
use mempool::Mempool;
use message::*;
use tree::Tree;

pub use ledger::Ledger;
pub use rules::{BLOCK_MAX, NAME_MAX, Reason, Rules, check_transaction};
pub use view::{Head, PeerView, Refusal, Status, Tip};

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name, which stands in the blocks that it mines.
    pub name: String,
    /// What all nodes of a network must have in common; genesis is made of them.
    pub rules: Rules,
    /// A block further ahead of the wall clock is refused, for now.
    pub max_future_drift: Duration,
    /// A request without an answer is given up after this.
    pub request_timeout: Duration,
    /// Planted bugs.
    pub flaws: Flaws,
    /// For first nonces.
    pub seed: u64,
}

/// What a node finds on its disk: the blocks of its store, in the order of writing, without
/// genesis.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub blocks: Vec<Arc<Block>>,
}

/// One node.
pub struct Core {
    config: Config,
    random: Random,
    /// Monotonic time that has passed since the start, in nanoseconds. It never goes back, whatever
    /// the clock does.
    now: u64,
    clock: Now,
    last_tick: u64,

    tree: Tree,
    chain: chain::Chain,
    ledger: Ledger,
    mempool: Mempool,
    peers: BTreeMap<PeerId, peer::Peer>,
    sync: sync::Sync,
    relay: relay::Relay,
    miner: mining::Miner,
    requests: request::Requests,
    counters: view::Counters,

    effects: Vec<Effect>,
}

impl Core {
    /// A node as its disk left it. Nothing happens before the first step.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Core {
        let restarted = !recovered.blocks.is_empty();
        let mut core = Core {
            random: Random(config.seed),
            now: 0,
            clock: now,
            last_tick: 0,
            tree: Tree::new(config.rules.genesis()),
            chain: chain::Chain::default(),
            ledger: Ledger::new(config.rules.accounts, config.rules.balance, config.flaws),
            mempool: Mempool::default(),
            peers: BTreeMap::new(),
            sync: sync::Sync::default(),
            relay: relay::Relay::default(),
            miner: mining::Miner::default(),
            requests: request::Requests::default(),
            counters: view::Counters::default(),
            effects: Vec::new(),
            config,
        };
        // FLAW unchecked-work, its second half: what the miner was at before counts as done.
        core.miner.resumes = restarted && core.flawed(Flaw::UncheckedWork);
        core.recover(recovered.blocks);
        core
    }

    /// Takes in one thing that happened at `now`.
    pub fn step(&mut self, now: Now, input: Input) {
        // Only what has passed counts, so that a clock that runs backwards neither stops nor fires
        // a timer.
        self.now += now.monotonic_ns.saturating_sub(self.clock.monotonic_ns);
        self.clock = now;
        match input {
            Input::PeerUp(peer) => self.on_peer_up(peer),
            Input::PeerDown(peer) => self.forget_peer(peer),
            Input::Message(from, message) => self.receive(from, message),
            Input::Request(id, request) => self.request(id, request),
            Input::Tick => self.tick(),
            Input::Durable(number) => self.on_durable(number),
            Input::Solved { template, nonce } => self.on_solved(template, nonce),
        }
    }

    /// Hands out everything there is to do.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.flush_blocks();
        self.flush_transactions();
        self.refresh_template();
        std::mem::take(&mut self.effects)
    }

    fn tick(&mut self) {
        self.tick_peers();
        self.tick_sync();
        self.tick_relay();
        self.tick_requests();
        self.tick_miner();
        self.last_tick = self.now;
    }

    fn flawed(&self, flaw: Flaw) -> bool {
        self.config.flaws.has(flaw)
    }

    fn send(&mut self, to: PeerId, message: Message) {
        self.effects.push(Effect::Send(to, message));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Note(text.into()));
    }
}

/// A span in nanoseconds; more than 584 years is none.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// A span in milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;
