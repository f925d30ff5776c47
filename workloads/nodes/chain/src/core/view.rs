//! What can be seen of a node from outside, for the debug endpoints and for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Core;
use super::block::{Block, Hash};
use super::message::PeerId;

/// Where the active chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub hash: Hash,
    pub height: u64,
    pub total_work: u128,
}

/// A block that is no other's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    pub hash: Hash,
    pub height: u64,
    pub total_work: u128,
    /// Blocks that are not on the active chain.
    pub branch: u64,
    pub active: bool,
}

/// A peer that said hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    pub id: PeerId,
    pub node: String,
    /// Of the highest header known from it.
    pub height: u64,
}

/// A block that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub hash: Hash,
    pub height: u64,
    /// Begins with one of the names that `Status::refused` counts.
    pub reason: String,
    /// The node that sent it.
    pub from: String,
}

/// A node's idea of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub head: Head,
    /// Transactions that wait for a block.
    pub mempool: usize,
    /// Blocks that wait for their parent.
    pub orphans: usize,
    /// What the next block must have.
    pub work: u64,
    pub median_time_past_ms: u64,
    /// Reorganisations, and the most blocks that one abandoned.
    pub reorgs: u64,
    pub deepest_reorg: u64,
    /// How many blocks were refused, by reason; every reason is there.
    pub refused: BTreeMap<&'static str, u64>,
    /// The newest last.
    pub last_refused: Vec<Refusal>,
    /// Blocks that this node mined since it started, and those of them that are not on the active chain.
    pub mined: u64,
    pub stale: u64,
}

impl Core {
    pub fn head(&self) -> Head {
        let genesis = self.config.rules.genesis();
        Head {
            hash: genesis.header.hash(),
            height: 0,
            total_work: 0,
        }
    }

    /// The block `tip` (none: the head) and its ancestors, newest first. None if the tree does not have it.
    pub fn blocks(&self, tip: Option<Hash>, limit: usize) -> Option<Vec<(Hash, Arc<Block>)>> {
        let genesis = self.config.rules.genesis();
        let hash = genesis.header.hash();
        (tip.is_none_or(|tip| tip == hash) && limit > 0).then(|| vec![(hash, Arc::new(genesis))])
    }

    /// The ends of all branches, the active one first.
    pub fn tips(&self) -> Vec<Tip> {
        let Head {
            hash,
            height,
            total_work,
        } = self.head();
        vec![Tip {
            hash,
            height,
            total_work,
            branch: 0,
            active: true,
        }]
    }

    pub fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }

    pub fn status(&self) -> Status {
        Status {
            head: self.head(),
            mempool: 0,
            orphans: 0,
            work: self.config.rules.first_work,
            median_time_past_ms: 0,
            reorgs: 0,
            deepest_reorg: 0,
            refused: BTreeMap::new(),
            last_refused: Vec::new(),
            mined: 0,
            stale: 0,
        }
    }
}
