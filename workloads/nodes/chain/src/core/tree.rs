//! All blocks and headers that are known, as a tree.
//!
//! A block is there in three stages: its header alone, which proves work but says nothing of the
//! transactions; the whole block; the block on the disk. Along any path from genesis these stages
//! only sink, because a block is taken in when its parent is, and goes when its children are gone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::block::{Block, Hash, Header};

/// Headers without blocks that are kept.
const HEADERS: usize = 100_000;
/// Blocks that are not on the active chain that are kept, and what they may take in bytes.
const SIDE_BLOCKS: usize = 2048;
const SIDE_BYTES: usize = 64 << 20;

pub(super) struct Node {
    pub(super) header: Header,
    /// Of all blocks from genesis to this one.
    pub(super) total_work: u128,
    pub(super) block: Option<Arc<Block>>,
    pub(super) durable: bool,
    /// An ancestor further up, so that any is reached in logarithmic time.
    skip: Hash,
    pub(super) children: Vec<Hash>,
}

pub(super) struct Tree {
    nodes: HashMap<Hash, Node>,
    /// The active chain by height, from genesis on.
    active: Vec<Hash>,
    /// Nodes without children, the one of most work last.
    leaves: BTreeSet<(u128, Hash)>,
    /// Blocks that hold a transaction of this name.
    holders: HashMap<String, Vec<Hash>>,
    headers_only: usize,
    side_blocks: usize,
    side_bytes: usize,
}

impl Tree {
    pub(super) fn new(genesis: Block) -> Tree {
        let hash = genesis.header.hash();
        let node = Node {
            header: genesis.header.clone(),
            total_work: 0,
            block: Some(Arc::new(genesis)),
            durable: true,
            skip: hash,
            children: Vec::new(),
        };
        Tree {
            nodes: HashMap::from([(hash, node)]),
            active: vec![hash],
            leaves: BTreeSet::from([(0, hash)]),
            holders: HashMap::new(),
            headers_only: 0,
            side_blocks: 0,
            side_bytes: 0,
        }
    }

    pub(super) fn genesis(&self) -> Hash {
        self.active[0]
    }

    pub(super) fn head(&self) -> Hash {
        self.active[self.active.len() - 1]
    }

    /// The active chain by height.
    pub(super) fn active(&self) -> &[Hash] {
        &self.active
    }

    pub(super) fn get(&self, hash: Hash) -> Option<&Node> {
        self.nodes.get(&hash)
    }

    /// A node that is known to be there.
    pub(super) fn node(&self, hash: Hash) -> &Node {
        &self.nodes[&hash]
    }

    pub(super) fn header(&self, hash: Hash) -> &Header {
        &self.nodes[&hash].header
    }

    pub(super) fn block(&self, hash: Hash) -> Option<&Arc<Block>> {
        self.nodes.get(&hash)?.block.as_ref()
    }

    pub(super) fn is_active(&self, hash: Hash) -> bool {
        self.nodes
            .get(&hash)
            .is_some_and(|node| self.active.get(node.header.height as usize) == Some(&hash))
    }

    /// Nodes without children, that of most work first.
    pub(super) fn leaves(&self) -> impl Iterator<Item = Hash> {
        self.leaves.iter().rev().map(|&(_, hash)| hash)
    }

    /// A node and its ancestors up to genesis.
    pub(super) fn ancestry(&self, from: Hash) -> impl Iterator<Item = (Hash, &Node)> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let hash = next?;
            let node = &self.nodes[&hash];
            next = (node.header.height > 0).then_some(node.header.parent);
            Some((hash, node))
        })
    }

    /// The ancestor at a height that is no higher than the node's own.
    pub(super) fn ancestor(&self, from: Hash, height: u64) -> Hash {
        let mut hash = from;
        loop {
            let node = &self.nodes[&hash];
            if node.header.height <= height {
                return hash;
            }
            if self.is_active(hash) {
                return self.active[height as usize];
            }
            hash = if skip_height(node.header.height) >= height {
                node.skip
            } else {
                node.header.parent
            };
        }
    }

    /// Whether `old` is `young` or one of its ancestors.
    pub(super) fn descends(&self, young: Hash, old: Hash) -> bool {
        let (Some(a), Some(b)) = (self.nodes.get(&young), self.nodes.get(&old)) else {
            return false;
        };
        a.header.height >= b.header.height && self.ancestor(young, b.header.height) == old
    }

    /// The last block of the active chain that is an ancestor of `tip`, and the blocks from there
    /// to `tip`, oldest first.
    pub(super) fn path(&self, tip: Hash) -> (Hash, Vec<Hash>) {
        let mut path = Vec::new();
        for (hash, _) in self.ancestry(tip) {
            if self.is_active(hash) {
                path.reverse();
                return (hash, path);
            }
            path.push(hash);
        }
        unreachable!("genesis is on every chain")
    }

    /// Takes in a header that was checked. Its parent is there.
    pub(super) fn add_header(&mut self, hash: Hash, header: Header) {
        if self.nodes.contains_key(&hash) {
            return;
        }
        let skip = self.ancestor(header.parent, skip_height(header.height));
        let parent = self
            .nodes
            .get_mut(&header.parent)
            .expect("a header's parent is there");
        let total_work = parent.total_work + u128::from(header.work);
        parent.children.push(hash);
        self.leaves.remove(&(parent.total_work, header.parent));
        self.leaves.insert((total_work, hash));
        self.headers_only += 1;
        let node = Node {
            header,
            total_work,
            block: None,
            durable: false,
            skip,
            children: Vec::new(),
        };
        self.nodes.insert(hash, node);
    }

    /// Takes in a block that was checked. Its header is there, and its parent's block.
    pub(super) fn add_block(&mut self, hash: Hash, block: Arc<Block>) {
        let node = self
            .nodes
            .get_mut(&hash)
            .expect("the header is taken in before");
        for transaction in &block.transactions {
            let holders = self.holders.entry(transaction.id.clone()).or_default();
            // Under a flaw, one block may hold a transaction twice.
            if !holders.contains(&hash) {
                holders.push(hash);
            }
        }
        self.headers_only -= 1;
        self.side_blocks += 1;
        self.side_bytes += block.size();
        node.block = Some(block);
    }

    /// The block of the path to `tip` that holds a transaction of this name.
    pub(super) fn holder(&self, id: &str, tip: Hash) -> Option<Hash> {
        let holders = self.holders.get(id)?;
        holders
            .iter()
            .copied()
            .find(|&holder| self.descends(tip, holder))
    }

    pub(super) fn set_durable(&mut self, hash: Hash) {
        if let Some(node) = self.nodes.get_mut(&hash) {
            node.durable = true;
        }
    }

    /// The active chain gets one block longer.
    pub(super) fn push(&mut self, hash: Hash) {
        self.active.push(hash);
        self.side_blocks -= 1;
        self.side_bytes -= self.block(hash).map_or(0, |block| block.size());
    }

    /// The active chain loses its head.
    pub(super) fn pop(&mut self) -> Hash {
        let hash = self.active.pop().expect("genesis stays");
        self.side_blocks += 1;
        self.side_bytes += self.block(hash).map_or(0, |block| block.size());
        hash
    }

    pub(super) fn may_take_headers(&self) -> bool {
        self.headers_only < HEADERS
    }

    /// Forgets branches while there are too many, from the end of that with the least work. The one
    /// with the most stays, so a branch that is on its way to become active is never forgotten
    /// under way.
    pub(super) fn prune(&mut self) {
        self.prune_to(SIDE_BLOCKS);
    }

    /// The same with another limit for the blocks of branches.
    pub(super) fn prune_to(&mut self, side_blocks: usize) {
        while self.headers_only > HEADERS
            || self.side_blocks > side_blocks
            || self.side_bytes > SIDE_BYTES
        {
            let best = self.leaves.last().copied();
            let prunable = self.leaves.iter().copied().find(|&(work, hash)| {
                let node = &self.nodes[&hash];
                let being_stored = node.block.is_some() && !node.durable;
                Some((work, hash)) != best && hash != self.head() && !being_stored
            });
            let Some((_, hash)) = prunable else { return };
            self.remove_leaf(hash);
        }
    }

    /// Removes a header whose block turned out to be invalid, with everything that was built upon
    /// it: headers too, because no block is taken in before its parent.
    pub(super) fn remove_headers(&mut self, hash: Hash) {
        let mut subtree = vec![hash];
        let mut next = 0;
        while let Some(hash) = subtree.get(next) {
            next += 1;
            if let Some(node) = self.nodes.get(hash) {
                subtree.extend(node.children.iter().copied());
            }
        }
        for hash in subtree.into_iter().rev() {
            self.remove_leaf(hash);
        }
    }

    fn remove_leaf(&mut self, hash: Hash) {
        let Some(node) = self.nodes.remove(&hash) else {
            return;
        };
        self.leaves.remove(&(node.total_work, hash));
        let parent = self
            .nodes
            .get_mut(&node.header.parent)
            .expect("a leaf goes before its parent");
        parent.children.retain(|&child| child != hash);
        if parent.children.is_empty() {
            self.leaves.insert((parent.total_work, node.header.parent));
        }
        let Some(block) = node.block else {
            self.headers_only -= 1;
            return;
        };
        self.side_blocks -= 1;
        self.side_bytes -= block.size();
        for transaction in &block.transactions {
            if let Some(holders) = self.holders.get_mut(&transaction.id) {
                holders.retain(|&holder| holder != hash);
                if holders.is_empty() {
                    self.holders.remove(&transaction.id);
                }
            }
        }
    }
}

/// Where a node's second pointer leads: a deterministic skip list, as Bitcoin Core has it.
fn skip_height(height: u64) -> u64 {
    let without_lowest_bit = |n: u64| n & n.wrapping_sub(1);
    match height {
        0 | 1 => 0,
        odd if odd % 2 == 1 => without_lowest_bit(without_lowest_bit(odd - 1)) + 1,
        even => without_lowest_bit(even),
    }
}
