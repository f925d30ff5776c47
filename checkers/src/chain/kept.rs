//! What becomes of the transactions of blocks that a node gave up: they wait for a block again, and
//! come into one.

use rustc_hash::FxHashMap;

use super::ledger::Places;
use super::prefix::Reorgs;
use super::record::Record;
use super::tree::Rank;
use crate::findings::Findings;
use crate::{Exhausted, Meter};

/// A node's chain has grown by so many blocks at least since it gave a transaction up, before that
/// one is missed.
const PATIENCE: u64 = 20;

/// Transactions that a node had in its chain and gave up, and that are in no block of the chain
/// that the run ended with, although that node's own chain has grown by `bound` blocks since, and
/// by [`PATIENCE`]. What waits for a block is in memory only, so a node that was restarted
/// meanwhile is not blamed.
pub fn given_up(
    record: &Record,
    places: &Places,
    reorgs: &Reorgs,
    (last, bound): (usize, u64),
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let tree = &record.tree;
    let tip = record.looks[last].tip;
    let patience = i64::try_from(bound.max(PATIENCE)).unwrap_or(i64::MAX);
    // The looks at which a node had a block, and had it no more.
    let mut left: FxHashMap<Rank, (usize, usize)> = FxHashMap::default();
    for reorg in &reorgs.replaced {
        let (before, after) = (record.looks[reorg.before], record.looks[reorg.after]);
        let Some(&end) = record.by_node[reorg.node].last() else {
            continue;
        };
        let end = record.looks[end];
        let grown = tree.height(end.tip) - tree.height(after.tip);
        if grown < patience || record.restarted(reorg.node, before.call, end.ret) {
            continue;
        }
        let mut block = before.tip;
        for _ in 0..reorg.blocks {
            meter.tick(32 * left.len() as u64)?;
            left.entry(block).or_insert((reorg.before, reorg.after));
            block = tree.parent(block);
        }
    }
    for all in places.each() {
        meter.tick(0)?;
        if all.iter().any(|place| tree.is_prefix(place.block, tip)) {
            continue;
        }
        let gone = all
            .iter()
            .find_map(|place| Some((place, left.get(&place.block)?)));
        if let Some((place, &(before, after))) = gone {
            let reason = format!(
                "transaction {} was in {}, which {} had and gave up (op {}); {} more blocks later it is in no \
                 block of {}'s chain",
                places.name(place.tx),
                record.what(place.block),
                record.who(before),
                record.looks[after].op,
                tree.height(tip) - tree.height(record.looks[after].tip),
                record.who(last)
            );
            let ops = [before, after, last].map(|look| record.looks[look].op);
            found.of("transaction given up", ops.to_vec(), reason);
        }
    }
    Ok(())
}
