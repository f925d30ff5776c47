//! Rules of a chain that are its own, and that it tells: how the work of a block follows from those
//! before it, how far ahead of a node's clock a block may be that the node takes, which of two
//! equal branches it takes, and what it does with the transactions of blocks that it gives up.

use std::time::Duration;

use super::record::Record;
use super::tree::{NOTHING, Rank};
use crate::findings::Findings;
use crate::{Exhausted, Meter};

/// Those that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub retarget: Option<Retarget>,
    /// A block whose time is further ahead of a node's clock is refused by it.
    pub max_future_drift: Option<Duration>,
    /// Of two branches of equal work a node keeps the one that it saw first.
    pub first_seen: bool,
    /// The transactions of a block that is given up wait for another one.
    pub gives_back: bool,
}

/// Every so many blocks the work of a block becomes what would have made the last so many take the
/// interval each, by the times that they say, and a factor of 4 at most. In between it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retarget {
    /// 0: never.
    pub every: u64,
    pub interval: Duration,
}

const FACTOR: u64 = 4;

impl Retarget {
    /// The work of a block after `parent`, of a chain that was shown from its first block on.
    fn next(&self, record: &Record, parent: Rank) -> u64 {
        let tree = &record.tree;
        let (height, work) = (tree.height(parent), tree.block(parent).work);
        let every = i64::try_from(self.every).unwrap_or(i64::MAX);
        if every == 0 || (height + 1) % every != 0 {
            return work;
        }
        // Genesis was mined at no time.
        let first = height.saturating_sub(every).max(1);
        let Ok(blocks @ 1..) = u64::try_from(height - first) else {
            return work;
        };
        let began = tree.block(tree.cut(parent, blocks)).time_ms;
        let took_ms = tree.block(parent).time_ms.saturating_sub(began).max(1);
        let took_us = took_ms.unsigned_abs() as u128 * 1000;
        let aimed_us = u128::from(blocks).saturating_mul(self.interval.as_micros());
        let next = u128::from(work).saturating_mul(aimed_us) / took_us;
        let least = (work / FACTOR).max(1);
        let most = work.saturating_mul(FACTOR).max(least);
        u64::try_from(next).unwrap_or(u64::MAX).clamp(least, most)
    }
}

/// Every block has the work that follows from those before it: less would make a chain cheap, more
/// would make it win.
pub fn work(
    record: &Record,
    rules: &Rules,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let tree = &record.tree;
    let whole = tree.height(NOTHING) < 0;
    let Some(retarget) = rules.retarget.filter(|_| whole) else {
        return Ok(());
    };
    for rank in tree.ranks().filter(|rank| tree.parent(*rank) != NOTHING) {
        meter.tick(0)?;
        let (block, parent) = (tree.block(rank), tree.parent(rank));
        let expected = retarget.next(record, parent);
        if block.work != expected {
            let reason = format!(
                "{} (op {}) has the work of {} hashes, and after {} the rule says {expected}",
                record.what(rank),
                block.op,
                block.work,
                record.what(parent)
            );
            found.of("work not of the rule", vec![block.op], reason);
        }
    }
    Ok(())
}

/// Blocks from which the time of day at the start of the run is taken.
const ENOUGH_BLOCKS: usize = 5;

/// How wrong that may be.
const SLACK_MS: i64 = 10_000;

/// No node whose clock was left alone has a block that is further ahead of that clock than it may
/// be.
///
/// A history has no time of day. It is taken from the blocks that were mined while the run went on
/// and no clock had been touched: the median of how far they are ahead of the moment at which they
/// were first seen.
pub fn future(
    record: &Record,
    rules: &Rules,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let tree = &record.tree;
    let Some(drift) = rules.max_future_drift else {
        return Ok(());
    };
    let drift_ms = i64::try_from(drift.as_millis()).unwrap_or(i64::MAX);
    let clocks = || record.spans.iter().filter(|span| span.family == "clock");
    let ms = |time: history::Time| (time.0 / 1_000_000) as i64;
    let first_look = record.looks.first().map(|look| look.op);
    let seen = |rank: Rank| record.history.op(tree.block(rank).op);
    let mut ahead = Vec::new();
    for rank in tree.ranks().filter(|rank| tree.parent(*rank) != NOTHING) {
        meter.tick(8 * ahead.len() as u64)?;
        let Some(op) = seen(rank).filter(|op| Some(op.index) != first_look) else {
            continue;
        };
        if clocks().all(|span| op.ret < span.from) {
            ahead.push(tree.block(rank).time_ms.saturating_sub(ms(op.ret)));
        }
    }
    if ahead.len() < ENOUGH_BLOCKS {
        return Ok(());
    }
    ahead.sort_unstable();
    let began_ms = ahead[ahead.len() / 2];
    let bound = |at: history::Time| {
        began_ms
            .saturating_add(ms(at))
            .saturating_add(drift_ms)
            .saturating_add(SLACK_MS)
    };
    for rank in tree.ranks() {
        meter.tick(0)?;
        let block = tree.block(rank);
        if seen(rank).is_none_or(|op| block.time_ms <= bound(op.ret)) {
            continue;
        }
        let untouched = |node: usize, at: history::Time| {
            let mut touched = clocks().filter(|span| span.from <= at);
            !touched.any(|span| span.targets.iter().any(|t| t == record.nodes[node]))
        };
        let mut looks = record.looks.iter().enumerate();
        let wrong = looks.find(|(_, look)| {
            tree.is_prefix(rank, look.tip)
                && block.time_ms > bound(look.ret)
                && untouched(look.node, look.ret)
        });
        let Some((number, look)) = wrong else {
            continue;
        };
        let ahead_s = (block.time_ms - began_ms - ms(look.ret)) / 1000;
        let reason = format!(
            "{} has {}, whose time is {ahead_s} s ahead, and its clock was not touched; {} s are allowed",
            record.who(number),
            record.what(rank),
            drift.as_secs_f64()
        );
        found.of("block from the future", vec![look.op], reason);
    }
    Ok(())
}
