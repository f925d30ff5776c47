//! The tree of blocks.
//!
//! A petgraph graph holds the blocks, with an edge from each to those that name it as their parent.
//! One walk over it gives every block a *rank*, its place in preorder. By rank, all that is asked
//! later is arithmetic on arrays:
//!
//! ```text
//! rank     0   1   2   3   4   5        0 is nothing, under which the first blocks hang
//!          . - a - b - c   4   5        b's descendants are the ranks from 2 up to 2 + size(2):
//!                   \- d - e            a prefix is told by two comparisons
//! ```
//!
//! The common prefix of two chains is found along jump pointers (Myers, "An applicative
//! random-access stack", 1983): one pointer a block, logarithmic time.

use history::Value;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::Dfs;
use rustc_hash::FxHashMap;

use crate::{Exhausted, Meter};

/// A block as it was shown.
#[derive(Clone, Copy, Debug)]
pub struct Block<'h> {
    pub hash: &'h str,
    pub parent: &'h str,
    /// As the block says.
    pub height: i64,
    pub time_ms: i64,
    pub work: u64,
    pub miner: &'h str,
    pub transactions: &'h [Value],
    /// Index of the operation that showed it.
    pub op: u64,
}

impl Block<'_> {
    /// Stands under the first blocks.
    const NOTHING: Block<'static> = Block {
        hash: "",
        parent: "",
        height: -1,
        time_ms: 0,
        work: 0,
        miner: "",
        transactions: &[],
        op: 0,
    };
}

/// Place of a block in preorder; [`NOTHING`] is none.
pub type Rank = u32;

pub const NOTHING: Rank = 0;

/// Blocks that hang together, and those that do not.
pub struct Tree<'h> {
    graph: DiGraph<Block<'h>, ()>,
    order: Vec<NodeIndex>,
    parent: Vec<Rank>,
    /// How many blocks the subtree has, this one included.
    size: Vec<u32>,
    jump: Vec<Rank>,
    height: Vec<i64>,
    ranks: FxHashMap<&'h str, Rank>,
    /// Blocks whose parent nobody showed, though they are not the first.
    pub loose: Vec<Block<'h>>,
}

/// The height of each block by its rank, and where it jumps to: an ancestor so far up that every
/// ancestor is reached in a logarithmic number of jumps (Myers, "An applicative random-access
/// stack", 1983).
fn heights(parent: &[Rank], base: i64) -> (Vec<i64>, Vec<Rank>) {
    let mut height = vec![base; parent.len()];
    let mut depth = vec![0u32; parent.len()];
    let mut jump = vec![NOTHING; parent.len()];
    for rank in 1..parent.len() {
        let above = parent[rank] as usize;
        let (a, b) = (jump[above] as usize, jump[jump[above] as usize] as usize);
        height[rank] = height[above].saturating_add(1);
        depth[rank] = depth[above] + 1;
        jump[rank] = match depth[above] - depth[a] == depth[a] - depth[b] {
            true => b as Rank,
            false => above as Rank,
        };
    }
    (height, jump)
}

impl<'h> Tree<'h> {
    /// The blocks below one that stands for what is before the first. `above` tells each block's
    /// parent, numbered from 1.
    fn graph(
        blocks: &[Block<'h>],
        above: &[Option<u32>],
    ) -> (DiGraph<Block<'h>, ()>, NodeIndex, Vec<Block<'h>>) {
        let count = blocks.len();
        let first = blocks
            .iter()
            .zip(above)
            .filter(|(_, above)| above.is_none());
        let base = first.map(|(block, _)| block.height).min().unwrap_or(0);
        let mut graph = DiGraph::with_capacity(count + 1, count);
        let root = graph.add_node(Block {
            height: base.saturating_sub(1),
            ..Block::NOTHING
        });
        for block in blocks {
            graph.add_node(*block);
        }
        let mut loose = Vec::new();
        for (i, block) in blocks.iter().enumerate() {
            let child = NodeIndex::new(i + 1);
            match above[i] {
                Some(parent) => drop(graph.add_edge(NodeIndex::new(parent as usize), child, ())),
                None if block.height == base => drop(graph.add_edge(root, child, ())),
                None => loose.push(*block),
            }
        }
        (graph, root, loose)
    }

    /// The first blocks are those of the lowest height without a parent. `numbers` tells for a hash
    /// which of `blocks` has it.
    pub fn new(
        blocks: &[Block<'h>],
        mut numbers: FxHashMap<&'h str, u32>,
        meter: &mut Meter,
    ) -> Result<Tree<'h>, Exhausted> {
        // What a block costs here, in the graph, the arrays and the table of hashes.
        meter.tick(240 * blocks.len() as u64)?;
        let count = blocks.len();
        // In the graph 0 is nothing, and blocks are numbered from 1.
        let above: Vec<Option<u32>> = blocks
            .iter()
            .map(|block| numbers.get(block.parent).map(|parent| parent + 1))
            .collect();
        let (graph, root, loose) = Self::graph(blocks, &above);

        let mut order = Vec::with_capacity(count + 1);
        let mut rank_of = vec![NOTHING; count + 1];
        let mut parent = Vec::with_capacity(count + 1);
        let mut walk = Dfs::new(&graph, root);
        while let Some(node) = walk.next(&graph) {
            meter.tick(0)?;
            rank_of[node.index()] = order.len() as Rank;
            order.push(node);
            let above = match node.index() {
                0 => None,
                number => above[number - 1],
            };
            parent.push(rank_of[above.unwrap_or(0) as usize]);
        }
        let reached = order.len();
        let mut size = vec![1; reached];
        for rank in (1..reached).rev() {
            size[parent[rank] as usize] += size[rank];
        }
        let (height, jump) = heights(&parent, graph[root].height);
        numbers.retain(|_, number| {
            *number = rank_of[*number as usize + 1];
            *number != NOTHING
        });
        Ok(Tree {
            graph,
            order,
            parent,
            size,
            jump,
            height,
            ranks: numbers,
            loose,
        })
    }

    /// How many blocks hang together.
    pub fn len(&self) -> usize {
        self.order.len() - 1
    }

    /// Every block, parents first.
    pub fn ranks(&self) -> impl DoubleEndedIterator<Item = Rank> + use<> {
        1..self.order.len() as Rank
    }

    pub fn block(&self, rank: Rank) -> &Block<'h> {
        &self.graph[self.order[rank as usize]]
    }

    pub fn find(&self, hash: &str) -> Option<Rank> {
        self.ranks.get(hash).copied()
    }

    pub fn parent(&self, rank: Rank) -> Rank {
        self.parent[rank as usize]
    }

    /// One more than the parent's, whatever the block says.
    pub fn height(&self, rank: Rank) -> i64 {
        self.height[rank as usize]
    }

    /// Whether the chain up to `a` is a prefix of that up to `b`.
    pub fn is_prefix(&self, a: Rank, b: Rank) -> bool {
        a <= b && b - a < self.size[a as usize]
    }

    /// The last block that both chains have: the lowest common ancestor.
    pub fn common(&self, a: Rank, b: Rank) -> Rank {
        let (mut a, b) = (a.min(b), a.max(b));
        // In preorder nothing before `a` is under it, so only `a` has to climb.
        while !self.is_prefix(a, b) {
            let jump = self.jump[a as usize];
            a = match self.is_prefix(jump, b) {
                true => self.parent[a as usize],
                false => jump,
            };
        }
        a
    }

    /// How many blocks the chain up to `a` has beyond what it has in common with that up to `b`.
    pub fn beyond(&self, a: Rank, b: Rank) -> u64 {
        (self.height(a) - self.height(self.common(a, b))) as u64
    }

    /// The chain up to `rank` without its last `blocks`.
    pub fn cut(&self, rank: Rank, blocks: u64) -> Rank {
        let least = self.height(NOTHING);
        let wanted = match i64::try_from(blocks) {
            Ok(blocks) => self.height(rank).saturating_sub(blocks).max(least),
            Err(_) => least,
        };
        let mut at = rank;
        while self.height(at) > wanted {
            let jump = self.jump[at as usize];
            at = match self.height(jump) < wanted {
                true => self.parent[at as usize],
                false => jump,
            };
        }
        at
    }
}
