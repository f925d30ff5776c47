//! What the nodes' chains have in common: common prefix, agreement, reorganisations, finality.
//!
//! With C1 and C2 the chains of two looks, the depth by which C1 stands off from C2 is the number
//! of its blocks that C2 does not have, `beyond(C1, C2)`.

use super::record::{Look, Record};
use super::tree::{NOTHING, Rank};
use crate::{Exhausted, Meter};

/// A depth, and the two looks that show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub blocks: u64,
    /// In the order in which the definition names them; none if the depth is 0.
    pub looks: Option<(usize, usize)>,
}

/// Common prefix (Garay, Kiayias, Leonardos): the largest `beyond(C1, C2)` of any two looks of
/// which the first returned before the second was called. It is the smallest k for which C1 without
/// its last k blocks is always a prefix of C2.
///
/// For one C1, let S be the chains of all looks called after it returned. The blocks that C1 has in
/// common with a chain of S are the ancestors of their common block, all of them on C1's own path
/// to the root. So the least of them over S is what C1 has in common with *all* of S, and that is
/// `common(C1, common(S))`, since lowest common ancestors are associative. S only grows as one goes
/// back in time, so `common(S)` is a running value. Looks, not pairs of looks: O(n log n).
pub fn common_prefix(record: &Record, meter: &mut Meter) -> Result<Depth, Exhausted> {
    let (tree, looks) = (&record.tree, &record.looks);
    // suffix[i] is what all looks from number i on have in common.
    let mut suffix: Vec<Rank> = vec![NOTHING; looks.len()];
    for i in (0..looks.len()).rev() {
        meter.tick(0)?;
        suffix[i] = match suffix.get(i + 1) {
            None => looks[i].tip,
            Some(later) => tree.common(looks[i].tip, *later),
        };
    }
    let after = |look: &Look| looks.partition_point(|later| later.call <= look.ret);
    let mut deepest = Depth::default();
    let mut first = None;
    for (i, look) in looks.iter().enumerate() {
        meter.tick(0)?;
        let from = after(look);
        let Some(later) = suffix.get(from) else {
            continue;
        };
        let blocks = tree.beyond(look.tip, *later);
        if blocks > deepest.blocks {
            deepest.blocks = blocks;
            first = Some((i, from));
        }
    }
    deepest.looks = first.and_then(|(i, from)| {
        let shows = |j: &usize| tree.beyond(looks[i].tip, looks[*j].tip) == deepest.blocks;
        Some((i, (from..looks.len()).find(shows)?))
    });
    Ok(deepest)
}

/// What is at or above each block.
pub struct Above {
    /// The look with the highest head in the block's subtree.
    pub highest: Vec<Option<u32>>,
    /// Where two chains part, how deep both stand off from there: the smaller of the two depths,
    /// and the looks. Only where it is not 0.
    pub forks: Vec<(Rank, Depth)>,
}

/// The looks above every block. The highest heads of different children of a block are the two
/// chains that part there and stand off furthest, so two numbers a block are enough: O(n).
pub fn above(record: &Record, meter: &mut Meter) -> Result<Above, Exhausted> {
    let (tree, looks) = (&record.tree, &record.looks);
    let mut highest: Vec<Option<u32>> = vec![None; tree.len() + 1];
    let mut second: Vec<Option<u32>> = vec![None; tree.len() + 1];
    for (i, look) in looks.iter().enumerate() {
        highest[look.tip as usize].get_or_insert(i as u32);
    }
    let height = |look: u32| tree.height(looks[look as usize].tip);
    for rank in tree.ranks().rev() {
        meter.tick(0)?;
        let Some(look) = highest[rank as usize] else {
            continue;
        };
        let parent = tree.parent(rank) as usize;
        match highest[parent] {
            Some(best) if height(best) >= height(look) => {
                if second[parent].is_none_or(|known| height(known) < height(look)) {
                    second[parent] = Some(look);
                }
            }
            before => {
                highest[parent] = Some(look);
                second[parent] = before;
            }
        }
    }
    let forks = second.iter().enumerate().filter_map(|(rank, second)| {
        let (a, b) = (highest[rank]?, (*second)?);
        let blocks = (height(b) - tree.height(rank as Rank)) as u64;
        let looks = Some((a as usize, b as usize));
        (blocks > 0).then_some((rank as Rank, Depth { blocks, looks }))
    });
    Ok(Above {
        forks: forks.collect(),
        highest,
    })
}

impl Above {
    /// The smallest k such that of any two looks' chains without their last k blocks one is a
    /// prefix of the other. 0 is the strong prefix property (Anceaume et al., SPAA 2019).
    pub fn deepest(&self) -> Depth {
        let deepest = self.forks.iter().map(|(_, depth)| *depth);
        // The first of equals.
        deepest
            .rev()
            .max_by_key(|depth| depth.blocks)
            .unwrap_or_default()
    }

    /// How deep a block was ever seen: 1 is the head. 0: no look has it.
    pub fn depth(&self, record: &Record, block: Rank) -> u64 {
        self.highest[block as usize].map_or(0, |look| {
            let tip = record.looks[look as usize].tip;
            (record.tree.height(tip) - record.tree.height(block) + 1) as u64
        })
    }
}

/// How many looks are off the highest chain that was seen: none iff the strong prefix property
/// holds, since chains of which one is always a prefix of the other are all prefixes of the
/// highest.
pub fn off_the_highest(record: &Record) -> usize {
    let tree = &record.tree;
    let tips = record.looks.iter().map(|look| look.tip);
    let Some(highest) = tips.clone().max_by_key(|tip| tree.height(*tip)) else {
        return 0;
    };
    tips.filter(|tip| !tree.is_prefix(*tip, highest)).count()
}

/// What a node gave up from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Reorgs {
    /// It has other blocks in their place.
    pub replaced: Vec<Reorg>,
    /// Its chain only became shorter.
    pub shortened: Vec<Reorg>,
}

/// A node's chain at one look has not all the blocks that it had at the look before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorg {
    pub node: usize,
    pub before: usize,
    pub after: usize,
    /// Blocks that were given up.
    pub blocks: u64,
}

/// Every reorganisation, by node, and every time that a chain became shorter without one.
pub fn reorgs(record: &Record) -> Reorgs {
    let tree = &record.tree;
    let mut reorgs = Reorgs::default();
    for (node, looks) in record.by_node.iter().enumerate() {
        for pair in looks.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let (old, new) = (record.looks[before].tip, record.looks[after].tip);
            if tree.is_prefix(old, new) {
                continue;
            }
            let reorg = Reorg {
                node,
                before,
                after,
                blocks: tree.beyond(old, new),
            };
            match tree.is_prefix(new, old) {
                true => reorgs.shortened.push(reorg),
                false => reorgs.replaced.push(reorg),
            }
        }
    }
    reorgs
}

impl Reorgs {
    /// Times that a chain became shorter although its node was not restarted: then it had its
    /// blocks, and had no reason to leave them.
    pub fn fallen(&self, record: &Record) -> Vec<&Reorg> {
        let fallen = self.shortened.iter().filter(|reorg| {
            let (before, after) = (record.looks[reorg.before], record.looks[reorg.after]);
            !record.restarted(reorg.node, before.call, after.ret)
        });
        fallen.collect()
    }
}

/// What contradicts finality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinal {
    /// One node called a block final, and later another that does not follow it.
    Undone(usize, usize),
    /// Two nodes called blocks final of which neither follows the other.
    Split(usize, usize),
    /// A node's head is not on what it calls final.
    Left(usize),
    /// A node calls a block final that nobody ever showed, though all of its own chain was shown.
    Unseen(usize),
}

/// Finality: every node's final chain only grows, those of any two are prefixes of each other, and
/// heads follow them. Linear, since a chain of prefixes has its longest at the end.
pub fn finality(record: &Record) -> (usize, Vec<Unfinal>) {
    let tree = &record.tree;
    let mut found = Vec::new();
    let mut judged = 0;
    // Where the first blocks are not known, a final one may be among them.
    let whole = tree.height(NOTHING) < 0 && !record.torn;
    let mut newest: Vec<Option<(usize, Rank)>> = vec![None; record.nodes.len()];
    let mut highest: Option<(usize, Rank)> = None;
    for (i, look) in record.looks.iter().enumerate() {
        let Some(finalised) = look.finalised else {
            if look.unseen_final && whole {
                judged += 1;
                found.push(Unfinal::Unseen(i));
            }
            continue;
        };
        judged += 1;
        if !tree.is_prefix(finalised, look.tip) {
            found.push(Unfinal::Left(i));
        }
        if let Some((before, block)) = newest[look.node].replace((i, finalised))
            && !tree.is_prefix(block, finalised)
        {
            found.push(Unfinal::Undone(before, i));
        }
        match highest {
            Some((other, block)) if tree.is_prefix(finalised, block) => {
                highest = Some((other, block));
            }
            Some((other, block)) if !tree.is_prefix(block, finalised) => {
                found.push(Unfinal::Split(other, i));
            }
            _ => highest = Some((i, finalised)),
        }
    }
    (judged, found)
}
