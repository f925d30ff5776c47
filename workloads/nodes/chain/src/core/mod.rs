//! The protocol, without clock, disk or network: inputs and the time come in, effects come out.
//!
//! Nakamoto consensus ("Bitcoin: A Peer-to-Peer Electronic Cash System", 2008). `block.rs` is what is hashed,
//! `rules.rs` what a valid block is, `tree.rs` the blocks and headers that are known, `ledger.rs` the state of the
//! active chain, `chain.rs` keeps the two in step, `mempool.rs` holds what waits for a block, `sync.rs` talks with peers,
//! `mining.rs` makes templates, `request.rs` keeps clients' requests until they have an answer, `view.rs` is for looking.
//!
//! The caller calls [`Core::step`] for each input and then [`Core::effects`], and carries the effects out **in
//! order**: what must not be said before it is on the disk is held back here, until [`Input::Durable`].

pub mod block;
pub mod message;
mod rules;
mod view;

use std::sync::Arc;
use std::time::Duration;

use crate::flaws::Flaws;
use block::Block;
use message::*;

pub use rules::Rules;
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

/// What a node finds on its disk: the blocks of its store, in the order of writing, without genesis.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub blocks: Vec<Arc<Block>>,
}

/// One node.
pub struct Core {
    config: Config,
    effects: Vec<Effect>,
}

impl Core {
    /// A node as its disk left it. Nothing happens before the first step.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Core {
        let _ = (recovered, now);
        Core {
            config,
            effects: Vec::new(),
        }
    }

    /// Takes in one thing that happened at `now`.
    pub fn step(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// Hands out everything there is to do.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
