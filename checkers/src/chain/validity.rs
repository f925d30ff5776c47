//! Validity: every block is one that the rules allow, and what is in it was asked for.

use std::cmp::Ordering;

use history::{Op, Outcome, Time, Value};
use rustc_hash::FxHashMap;

use super::ledger::{Clients, Places};
use super::prefix::Reorgs;
use super::record::{Record, short};
use super::rules::Rules;
use super::tree::{NOTHING, Rank};
use crate::findings::Findings;
use crate::{Exhausted, Meter};

/// Blocks before a block whose median time it must be past.
const MEDIAN_OF: usize = 11;

/// Rules that need no transactions.
pub fn blocks(record: &Record, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
    let tree = &record.tree;
    for (hash, first, second) in &record.ambiguous {
        let reason = format!(
            "two different blocks were shown under the hash {} (ops {first} and {second})",
            short(hash)
        );
        found.of("two blocks under one hash", vec![*first, *second], reason);
    }
    // A lost answer may have shown the parent.
    for block in tree.loose.iter().filter(|_| !record.torn) {
        let reason = format!(
            "block {} says that it is at height {} and follows {}, which no node ever showed (op {})",
            short(block.hash),
            block.height,
            short(block.parent),
            block.op
        );
        found.of("unknown parent", vec![block.op], reason);
    }
    for (op, said, counted) in &record.misjudged {
        let reason = format!("the head is said to be at height {said}, but {counted} is its place");
        found.of("wrong height", vec![*op], format!("{reason} (op {op})"));
    }
    let whole = tree.height(NOTHING) < 0;
    if whole {
        roots(record, found);
    }
    let base = tree.height(NOTHING) + 1;
    let mut times: Vec<i64> = Vec::new();
    let mut recent = Vec::with_capacity(MEDIAN_OF);
    for rank in tree.ranks() {
        meter.tick(0)?;
        let block = tree.block(rank);
        let depth = (tree.height(rank) - base) as usize;
        if block.height != tree.height(rank) {
            let reason = format!(
                "block {} says that it is at height {}, but follows a block at height {} (op {})",
                short(block.hash),
                block.height,
                tree.height(rank) - 1,
                block.op
            );
            found.of("wrong height", vec![block.op], reason);
        }
        times.truncate(depth);
        recent.clear();
        recent.extend_from_slice(&times[depth.saturating_sub(MEDIAN_OF)..]);
        recent.sort_unstable();
        if depth > 0 && (whole || recent.len() == MEDIAN_OF) {
            let median = recent[recent.len() / 2];
            if block.time_ms <= median {
                let reason = format!(
                    "{} (op {}) has the time {} ms, which is not past {median} ms, the median of the {} \
                     blocks before it",
                    record.what(rank),
                    block.op,
                    block.time_ms,
                    recent.len()
                );
                found.of("time not past the median", vec![block.op], reason);
            }
        }
        times.push(block.time_ms);
        if depth > 0 && proves(block.hash, block.work) == Some(false) {
            let reason = format!(
                "{} (op {}) claims the work of {} hashes, but its hash begins with {}, above {:016x}, so \
                 that it does not prove as much",
                record.what(rank),
                block.op,
                block.work,
                &block.hash[..16],
                u64::MAX / block.work
            );
            found.of("work not proven", vec![block.op], reason);
        }
    }
    Ok(())
}

/// There is one first block, and it follows none.
fn roots(record: &Record, found: &mut Findings) {
    let tree = &record.tree;
    let mut roots = tree.ranks().filter(|rank| tree.parent(*rank) == NOTHING);
    let mut first: Option<Rank> = None;
    for root in &mut roots {
        let block = tree.block(root);
        if !block.parent.bytes().all(|byte| byte == b'0') {
            let reason = format!(
                "{} (op {}) is a first block, and says that it follows {}",
                record.what(root),
                block.op,
                short(block.parent)
            );
            found.of("first block with a parent", vec![block.op], reason);
        }
        match first {
            None => first = Some(root),
            Some(first) => {
                let other = tree.block(first);
                let reason = format!(
                    "{} (op {}) and {} (op {}) are both first blocks, and a chain has one",
                    record.what(first),
                    other.op,
                    record.what(root),
                    block.op
                );
                found.of("two first blocks", vec![other.op, block.op], reason);
            }
        }
    }
}

/// Whether a hash is as small as the work demands. None: it is not a hash that shows work.
fn proves(hash: &str, work: u64) -> Option<bool> {
    if hash.len() != 64 || work <= 1 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let first = u64::from_str_radix(&hash[..16], 16).ok()?;
    Some(first <= u64::MAX / work)
}

/// A node that goes over to another branch goes over to more work; to as much only where the
/// chain's rules leave open which of equals it takes. One that was restarted may have lost its
/// blocks, so looks with a fault between them that restarts it are not compared.
pub fn fork_choice(record: &Record, reorgs: &Reorgs, rules: &Rules, found: &mut Findings) {
    let tree = &record.tree;
    if tree.ranks().all(|rank| tree.block(rank).work <= 1) {
        return;
    }
    let mut total: Vec<u128> = vec![0; tree.len() + 1];
    for rank in tree.ranks() {
        let before = total[tree.parent(rank) as usize];
        total[rank as usize] = before + u128::from(tree.block(rank).work);
    }
    for reorg in &reorgs.replaced {
        let (before, after) = (record.looks[reorg.before], record.looks[reorg.after]);
        let (old, new) = (total[before.tip as usize], total[after.tip as usize]);
        let node = record.nodes[reorg.node];
        let restarted = record.restarted(reorg.node, before.call, after.ret);
        let kind = match new.cmp(&old) {
            Ordering::Less => "left for less work",
            Ordering::Equal if rules.first_seen => "left for equal work",
            _ => continue,
        };
        if !restarted {
            let reason = format!(
                "{node} left {} (op {}), of {old} total work, for {} (op {}) on another branch, of {new}",
                record.what(before.tip),
                before.op,
                record.what(after.tip),
                after.op
            );
            found.of(kind, vec![before.op, after.op], reason);
        }
    }
    stayed(record, reorgs, &total, found);
}

/// A node goes over to the branch of most work as soon as it has it.
fn stayed(record: &Record, reorgs: &Reorgs, total: &[u128], found: &mut Findings) {
    // Never, or only now and then: two rules that nodes can have.
    let (kind, but) = match reorgs.replaced.is_empty() {
        true => ("heavier branch never taken", "no node ever gave up a block"),
        false => (
            "heavier branch not taken",
            "other branches were given up in this run",
        ),
    };
    for (number, look) in record.looks.iter().enumerate() {
        let Some(heaviest) = look.heaviest else {
            continue;
        };
        let (has, knows) = (total[look.tip as usize], total[heaviest as usize]);
        if has >= knows {
            continue;
        }
        let reason = format!(
            "{} stayed on {}, of {has} total work, though it had {}, of {knows}; {but}",
            record.who(number),
            record.what(look.tip),
            record.what(heaviest)
        );
        found.of(kind, vec![look.op], reason);
    }
}

/// No transaction twice on one branch; none that was not asked for; each where the answer says.
pub fn transactions(
    record: &Record,
    places: &Places,
    clients: &Clients,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    repeated(record, places, found, meter)?;
    unasked(record, places, found, meter)?;
    misplaced(record, places, clients, found, meter)
}

/// Transactions that one branch has twice.
fn repeated(
    record: &Record,
    places: &Places,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let tree = &record.tree;
    for repeated in places.each().filter(|places| places.len() > 1) {
        // By rank, so that an ancestor comes before what is under it: a stack of open subtrees.
        let mut open: Vec<Rank> = Vec::new();
        for place in repeated {
            meter.tick(0)?;
            while open
                .last()
                .is_some_and(|above| !tree.is_prefix(*above, place.block))
            {
                open.pop();
            }
            if let Some(above) = open.last() {
                let (first, second) = (tree.block(*above), tree.block(place.block));
                let (name, here) = (places.name(place.tx), record.what(place.block));
                if *above == place.block {
                    let reason =
                        format!("transaction {name} is twice in {here} (op {})", second.op);
                    found.of("transaction twice in one block", vec![second.op], reason);
                } else {
                    let reason = format!(
                        "transaction {name} is in {} (op {}) and again in {here} (op {}) of the same branch",
                        record.what(*above),
                        first.op,
                        second.op
                    );
                    found.of("transaction twice", vec![first.op, second.op], reason);
                }
            }
            open.push(place.block);
        }
    }
    Ok(())
}

/// Transactions that write what nobody asked for, or not yet.
fn unasked(
    record: &Record,
    places: &Places,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let tree = &record.tree;
    let asked = Asked::of(record.history.ops());
    for place in places.all() {
        meter.tick(0)?;
        let Some(asked) = &asked else { break };
        let block = tree.block(place.block);
        let Some(written) = places.written(place) else {
            continue;
        };
        let name = places.name(place.tx);
        let seen = record.history.op(block.op).map_or(Time::MAX, |op| op.ret);
        match asked.first.get(written) {
            None => {
                let reason = format!(
                    "transaction {name} in {} (op {}) writes {written}, which nobody asked for",
                    record.what(place.block),
                    block.op
                );
                found.of("transaction from nowhere", vec![block.op], reason);
            }
            Some(first) if seen < first.call => {
                let reason = format!(
                    "transaction {name} in {} was seen (op {}) before anybody asked to write {written} \
                     (op {})",
                    record.what(place.block),
                    block.op,
                    first.index
                );
                found.of(
                    "transaction from the future",
                    vec![block.op, first.index],
                    reason,
                );
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Answers that name a place where the transaction is not.
fn misplaced(
    record: &Record,
    places: &Places,
    clients: &Clients,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let tree = &record.tree;
    for client in &clients.all {
        meter.tick(0)?;
        let Some(block) = client.block else {
            continue;
        };
        let wrong = |what: &str, said: &Value, is: String| {
            let reason = format!(
                "the answer of op {} says that it took effect at {what} {said}, and it is {is} of {}",
                client.op.index,
                record.what(block)
            );
            (vec![client.op.index, tree.block(block).op], reason)
        };
        let height = tree.height(block);
        if let Some(said) = client.height.filter(|said| said.as_int() != Some(height)) {
            let (ops, reason) = wrong("height", said, format!("at height {height}"));
            found.of("answer names a wrong place", ops, reason);
        }
        let Some(tx) = client.tx else { continue };
        let here = || places.of(tx).iter().filter(|place| place.block == block);
        let said = client.position.map(|said| (said, said.as_int()));
        let is_there = |said| here().any(|place| Some(i64::from(place.position)) == said);
        if let (Some((said, number)), Some(place)) = (said, here().next())
            && !is_there(number)
        {
            let is = format!("transaction {}", place.position);
            let (ops, reason) = wrong("position", said, is);
            found.of("answer names a wrong place", ops, reason);
        }
        if !places.of(tx).iter().any(|place| place.block == block) {
            let reason = format!(
                "the answer of op {} says that its transaction {} is in {}, which does not have it",
                client.op.index,
                places.name(tx),
                record.what(block)
            );
            let ops = vec![client.op.index, tree.block(block).op];
            found.of("answer names a wrong place", ops, reason);
        }
    }
    Ok(())
}

/// Values in what clients asked, each with the operation that was called first.
struct Asked<'h> {
    first: FxHashMap<&'h Value, &'h Op>,
}

impl<'h> Asked<'h> {
    /// None if there are no clients: then somebody asked whom the history does not know.
    fn of(ops: &'h [Op]) -> Option<Asked<'h>> {
        let mut first = FxHashMap::default();
        let mut clients = ops.iter().filter(|op| !op.observes()).peekable();
        clients.peek()?;
        for op in clients {
            let mut left = vec![&op.input];
            while let Some(value) = left.pop() {
                first.entry(value).or_insert(op);
                if let Value::Map(entries) = value {
                    left.extend(entries.iter().map(|(_, value)| value));
                }
                left.extend(value.as_list().unwrap_or_default());
            }
            debug_assert!(op.outcome != Outcome::Ok || op.ret >= op.call);
        }
        Some(Asked { first })
    }
}
