//! Chain growth and chain quality (Garay, Kiayias, Leonardos), and how blocks are shared out.

use std::time::Duration;

use super::record::Record;
use super::tree::{NOTHING, Rank};

/// The window in which a chain grew least: what a node had at the first look, and what it had at
/// the second, called at least a window after the first returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowest {
    pub blocks: i64,
    pub looks: (usize, usize),
}

/// The least growth in any window of `window`, apart for windows that no fault touches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    pub calm: Option<Slowest>,
    pub faulty: Option<Slowest>,
}

/// For each look the first look of the same node that was called a window later, by two pointers;
/// linear.
pub fn growth(record: &Record, window: Duration) -> Growth {
    let mut growth = Growth::default();
    let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
    let height = |look: usize| record.tree.height(record.looks[look].tip);
    for looks in &record.by_node {
        let mut until = 0;
        for &look in looks {
            let Some(end) = record.looks[look].ret.0.checked_add(window) else {
                break;
            };
            while looks
                .get(until)
                .is_some_and(|later| record.looks[*later].call.0 < end)
            {
                until += 1;
            }
            let Some(&later) = looks.get(until) else {
                break;
            };
            let slow = Slowest {
                blocks: height(later) - height(look),
                looks: (look, later),
            };
            let calm = record.calm(record.looks[look].call, record.looks[later].ret);
            let slowest = match calm {
                true => &mut growth.calm,
                false => &mut growth.faulty,
            };
            if slowest.is_none_or(|known| slow.blocks < known.blocks) {
                *slowest = Some(slow);
            }
        }
    }
    growth
}

/// The stretch of a chain with the fewest blocks of the nodes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poorest {
    pub own: usize,
    /// The last block of the stretch.
    pub end: Rank,
}

/// Of any `length` consecutive blocks of a chain, the first block of all left out, the fewest that
/// a node of the cluster mined. One walk in preorder, with the path to the root on a stack: linear.
pub fn quality(record: &Record, length: usize) -> Option<Poorest> {
    let tree = &record.tree;
    let mut poorest: Option<Poorest> = None;
    // path[d]: how many of the first d blocks of the current chain are the nodes' own.
    let mut path: Vec<usize> = Vec::new();
    let base = tree.height(NOTHING) + 1;
    for rank in tree.ranks() {
        let depth = (tree.height(rank) - base) as usize;
        let own = usize::from(depth > 0 && record.nodes.contains(&tree.block(rank).miner));
        path.truncate(depth);
        let before = path.last().copied().unwrap_or(0);
        path.push(before + own);
        if depth < length || length == 0 {
            continue;
        }
        let own = path[depth] - path[depth - length];
        if poorest.is_none_or(|known| own < known.own) {
            poorest = Some(Poorest { own, end: rank });
        }
    }
    poorest
}

/// What one miner has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'h> {
    pub miner: &'h str,
    /// On the last chain, its first block left out.
    pub on_chain: usize,
    /// On branches that it does not have.
    pub stale: usize,
}

/// Every node and whoever else mined, by name.
pub fn shares<'h>(record: &Record<'h>, tip: Rank) -> Vec<Share<'h>> {
    let tree = &record.tree;
    let mut shares: Vec<Share> = Vec::new();
    let mut add = |miner: &'h str, on_chain, stale| match shares
        .iter_mut()
        .find(|share| share.miner == miner)
    {
        Some(share) => {
            share.on_chain += on_chain;
            share.stale += stale;
        }
        None => shares.push(Share {
            miner,
            on_chain,
            stale,
        }),
    };
    for node in &record.nodes {
        add(node, 0, 0);
    }
    for rank in tree.ranks().filter(|rank| tree.parent(*rank) != NOTHING) {
        let on_chain = usize::from(tree.is_prefix(rank, tip));
        add(tree.block(rank).miner, on_chain, 1 - on_chain);
    }
    shares.sort_unstable_by_key(|share| share.miner);
    shares
}
