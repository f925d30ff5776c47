//! The part of the tree of blocks that an anomaly is about: the heads that it names, what was
//! called final there, where their branches part, and how long they are.

use super::record::{Record, short};
use super::tree::{NOTHING, Rank};
use crate::Anomaly;
use crate::picture::{Block, Picture};

/// Heads that are drawn.
const MOST_HEADS: usize = 6;

/// None if it names no look at a head.
pub fn picture(record: &Record, anomaly: &Anomaly) -> Option<Picture> {
    let looks: Vec<usize> = anomaly
        .ops
        .iter()
        .filter_map(|op| record.looks.iter().position(|look| look.op == *op))
        .take(MOST_HEADS)
        .collect();
    let notes: Vec<(Rank, String)> = looks.iter().flat_map(|look| notes(record, *look)).collect();
    let mut tips: Vec<Rank> = notes.iter().map(|(rank, _)| *rank).collect();
    tips.sort_unstable();
    tips.dedup();
    let kept = kept(record, &tips)?;
    let mut blocks = Vec::with_capacity(kept.len());
    // In preorder, so that whoever is followed comes before those that follow.
    let mut places: Vec<(Rank, usize)> = Vec::new();
    for rank in kept {
        let before = places.iter().rev();
        let mut before = before.filter(|(known, _)| record.tree.is_prefix(*known, rank));
        let mut parent = before.next().copied();
        if let Some((above, place)) = parent {
            let between = record.tree.height(rank) - record.tree.height(above) - 1;
            if between > 0 {
                blocks.push(Block {
                    parent: Some(place),
                    name: String::new(),
                    height: record.tree.height(above) + 1,
                    blocks: between.unsigned_abs(),
                    notes: Vec::new(),
                });
                parent = Some((above, blocks.len() - 1));
            }
        }
        let here = notes.iter().filter(|(block, _)| *block == rank);
        places.push((rank, blocks.len()));
        blocks.push(Block {
            parent: parent.map(|(_, place)| place),
            name: short(record.tree.block(rank).hash),
            height: record.tree.height(rank),
            blocks: 1,
            notes: here.map(|(_, note)| note.clone()).collect(),
        });
    }
    Some(Picture::Tree { blocks })
}

/// The blocks that a look is about, and what it says of them.
fn notes(record: &Record, look: usize) -> impl Iterator<Item = (Rank, String)> {
    let who = record.who(look);
    let seen = &record.looks[look];
    let head = (seen.tip, format!("head of {who}"));
    let last = seen
        .finalised
        .map(|block| (block, format!("last final block of {who}")));
    std::iter::once(head)
        .chain(last)
        .filter(|(rank, _)| *rank != NOTHING)
}

/// The blocks that are told of, where they part, and what is next to either; in preorder.
fn kept(record: &Record, tips: &[Rank]) -> Option<Vec<Rank>> {
    let tree = &record.tree;
    let mut kept = tips.to_vec();
    for (i, a) in tips.iter().enumerate() {
        for b in &tips[i + 1..] {
            let fork = tree.common(*a, *b);
            kept.push(fork);
            // The first of each branch.
            for tip in [*a, *b] {
                let above = tree.beyond(tip, fork);
                kept.extend((above > 0).then(|| tree.cut(tip, above - 1)));
            }
        }
    }
    let root = kept.iter().copied().filter(|rank| *rank != NOTHING).min()?;
    kept.push(tree.parent(root));
    kept.retain(|rank| *rank != NOTHING);
    kept.sort_unstable();
    kept.dedup();
    Some(kept)
}
