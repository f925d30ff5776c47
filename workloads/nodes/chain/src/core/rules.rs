//! What all nodes of a network must agree on.

use std::sync::Arc;
use std::time::Duration;

use super::block::{Block, Hash, Header};

/// The parameters of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What the difficulty aims at, for the whole network.
    pub block_interval: Duration,
    /// The work of the first blocks.
    pub first_work: u64,
    /// Blocks between changes of the difficulty; 0: never.
    pub retarget_every: u64,
    /// Accounts `a0`, `a1`, ... and what each has in genesis.
    pub accounts: u64,
    pub balance: u64,
}

impl Rules {
    /// The block that all agree on without work: its `transactions` are the hash of the rules themselves, so that
    /// networks with other rules have another genesis.
    pub fn genesis(&self) -> Block {
        let rules = format!("{self:?}");
        Block {
            header: Header {
                parent: Hash::NONE,
                height: 0,
                time_ms: 0,
                work: self.first_work,
                miner: String::new(),
                transactions: Hash::of(rules.as_bytes()),
                nonce: 0,
            },
            transactions: Vec::<Arc<_>>::new(),
        }
    }
}
