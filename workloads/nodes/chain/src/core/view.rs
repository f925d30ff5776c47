//! What can be seen of a node from outside, for the debug endpoints and for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::block::{Block, Hash};
use super::ledger::Ledger;
use super::message::PeerId;
use super::{Core, Reason};

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
    /// See [`Core::refused`].
    pub refused: BTreeMap<&'static str, u64>,
    /// The newest last.
    pub last_refused: Vec<Refusal>,
    /// Blocks that this node mined since it started, and those of them that are not on the active
    /// chain.
    pub mined: u64,
    pub stale: u64,
}

/// Refusals that are remembered.
const REFUSALS: usize = 64;

/// What is counted since the start.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) reorgs: u64,
    pub(super) deepest_reorg: u64,
    refused: BTreeMap<&'static str, u64>,
    last_refused: VecDeque<Refusal>,
}

impl Counters {
    /// Counts a refusal. False if it is known: a block that is too early is offered again and
    /// again.
    pub(super) fn refused(
        &mut self,
        hash: Hash,
        height: u64,
        reason: &Reason,
        from: String,
    ) -> bool {
        let known = |old: &Refusal| old.hash == hash && old.reason.starts_with(reason.name());
        if self.last_refused.iter().any(known) {
            return false;
        }
        *self.refused.entry(reason.name()).or_default() += 1;
        let reason = reason.to_string();
        self.last_refused.push_back(Refusal {
            hash,
            height,
            reason,
            from,
        });
        if self.last_refused.len() > REFUSALS {
            self.last_refused.pop_front();
        }
        true
    }
}

impl Core {
    pub fn head(&self) -> Head {
        let hash = self.tree.head();
        let node = self.tree.node(hash);
        Head {
            hash,
            height: node.header.height,
            total_work: node.total_work,
        }
    }

    /// The block `tip` (none: the head) and its ancestors, newest first. None if the tree does not
    /// have it.
    pub fn blocks(&self, tip: Option<Hash>, limit: usize) -> Option<Vec<(Hash, Arc<Block>)>> {
        let tip = tip.unwrap_or(self.tree.head());
        self.tree.get(tip).filter(|node| node.durable)?;
        let ancestry = self.tree.ancestry(tip).take(limit);
        Some(
            ancestry
                .filter_map(|(hash, node)| Some((hash, node.block.clone()?)))
                .collect(),
        )
    }

    /// The ends of all branches of stored blocks, the active one first, then by work.
    pub fn tips(&self) -> Vec<Tip> {
        let mut hashes = vec![self.tree.head()];
        for leaf in self.tree.leaves() {
            // Above the stored blocks of a branch there may be headers alone.
            let stored = self.tree.ancestry(leaf).find(|(_, node)| node.durable);
            if let Some((hash, _)) = stored
                && !self.tree.is_active(hash)
                && !hashes.contains(&hash)
            {
                hashes.push(hash);
            }
        }
        let tips = hashes.into_iter().map(|hash| {
            let node = self.tree.node(hash);
            let ancestry = self.tree.ancestry(hash);
            let branch = ancestry.take_while(|(hash, _)| !self.tree.is_active(*hash));
            Tip {
                hash,
                height: node.header.height,
                total_work: node.total_work,
                branch: branch.count() as u64,
                active: hash == self.tree.head(),
            }
        });
        tips.collect()
    }

    /// The stored block of most work, which is the head unless another has more.
    pub fn heaviest(&self) -> Head {
        let mut heaviest = self.head();
        for leaf in self.tree.leaves() {
            // What is stored has no more work than what ends the branch.
            if self.tree.node(leaf).total_work <= heaviest.total_work {
                break;
            }
            // Above the stored blocks of a branch there may be headers alone.
            let stored = self.tree.ancestry(leaf).find(|(_, node)| node.durable);
            if let Some((hash, node)) = stored
                && node.total_work > heaviest.total_work
            {
                heaviest = Head {
                    hash,
                    height: node.header.height,
                    total_work: node.total_work,
                };
            }
        }
        heaviest
    }

    /// The block of most work of which the node has at least the header: the head unless another
    /// has more.
    pub fn best_header(&self) -> Hash {
        let (head, work) = (self.tree.head(), self.head().total_work);
        // The leaf of most work comes first.
        let best = self.tree.leaves().next();
        let best = best.filter(|&leaf| self.tree.node(leaf).total_work > work);
        best.unwrap_or(head)
    }

    /// Peers that said hello.
    pub fn peers(&self) -> Vec<PeerView> {
        let greeted = self.peers.iter().filter(|(_, peer)| peer.greeted());
        let peers = greeted.map(|(&id, peer)| PeerView {
            id,
            node: peer.name().to_owned(),
            height: self.tree.get(peer.best).map_or(0, |n| n.header.height),
        });
        peers.collect()
    }

    /// How many blocks were refused since the start, by reason; every reason is there.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        let count = |name| self.counters.refused.get(name).copied().unwrap_or(0);
        Reason::NAMES.map(|name| (name, count(name))).into()
    }

    pub fn status(&self) -> Status {
        let own = &self.miner.own;
        Status {
            head: self.head(),
            mempool: self.mempool.len(),
            orphans: self.chain.orphans(),
            work: self
                .config
                .rules
                .next_work(&self.tree, self.tree.head(), self.config.flaws),
            median_time_past_ms: self.median_time_past(),
            reorgs: self.counters.reorgs,
            deepest_reorg: self.counters.deepest_reorg,
            refused: self.refused(),
            last_refused: self.counters.last_refused.iter().cloned().collect(),
            mined: own.len() as u64,
            stale: own
                .iter()
                .filter(|&&hash| !self.tree.is_active(hash))
                .count() as u64,
        }
    }

    /// The state of the active chain.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
