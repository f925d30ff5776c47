//! Persistence and liveness: what becomes of transactions that were deep enough.

use history::Time;

use super::ledger::{Action, Clients, Places};
use super::prefix::Above;
use super::record::Record;
use super::tree::{NOTHING, Rank};
use crate::{Exhausted, Meter};

/// No look.
pub const NEVER: u32 = u32::MAX;

/// For each block the first look at `node` that has it `depth` deep; 1 is the head.
///
/// What is deep enough at a look is a path from the root, and so is what was marked before: each
/// block is marked once, so a node costs as many steps as it has blocks, and one cut a look.
pub fn first_deep(
    record: &Record,
    node: usize,
    depth: u64,
    meter: &mut Meter,
) -> Result<Vec<u32>, Exhausted> {
    let tree = &record.tree;
    let mut first = vec![NEVER; tree.len() + 1];
    for &look in &record.by_node[node] {
        let mut at = tree.cut(record.looks[look].tip, depth.saturating_sub(1));
        while at != NOTHING && first[at as usize] == NEVER {
            meter.tick(4 * first.len() as u64)?;
            first[at as usize] = look as u32;
            at = tree.parent(at);
        }
    }
    Ok(first)
}

/// A write that a client was told is done, and that is not where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Number of the client's operation in [`Clients::all`].
    pub client: usize,
    /// How deep its transaction was ever seen off the last chain; 0 if never.
    pub depth: u64,
    /// Where it is now.
    pub moved_to: Option<Rank>,
}

#[derive(Clone, Debug, Default)]
pub struct Persistence {
    /// Transactions in blocks that the last chain does not have, and not in it elsewhere.
    pub vanished: usize,
    /// The same, but elsewhere in it.
    pub moved: usize,
    /// The deepest at which one of them was seen, with its number and the block.
    pub deepest: u64,
    pub witness: Option<(u32, Rank)>,
    /// Writes of clients that were judged.
    pub acknowledged: usize,
    pub undone: Vec<Undone>,
    /// Writes too late for the last looks to tell.
    pub undecided: usize,
}

/// Holds everything that was seen against the chain that the run ended with.
pub fn persistence(
    record: &Record,
    places: &Places,
    clients: &Clients,
    above: &Above,
    last: usize,
    meter: &mut Meter,
) -> Result<Persistence, Exhausted> {
    let tree = &record.tree;
    let tip = record.looks[last].tip;
    let mut persistence = Persistence::default();
    for all in places.each() {
        meter.tick(0)?;
        let off = all.iter().filter(|place| !tree.is_prefix(place.block, tip));
        let deepest = off
            .map(|place| (above.depth(record, place.block), *place))
            .max();
        let Some((depth, place)) = deepest.filter(|(depth, _)| *depth > 0) else {
            continue;
        };
        match all.iter().any(|place| tree.is_prefix(place.block, tip)) {
            true => persistence.moved += 1,
            false => persistence.vanished += 1,
        }
        if depth > persistence.deepest {
            persistence.deepest = depth;
            persistence.witness = Some((place.tx, place.block));
        }
    }
    for (number, client) in clients.all.iter().enumerate() {
        meter.tick(0)?;
        let here = client.tx.map_or(&[][..], |tx| places.of(tx));
        let reads = match here.first().map(|place| places.action(place)) {
            None | Some(Action::Untold) => client.op.f == "read",
            Some(action) => action.reads_only(),
        };
        if client.name.is_none() || reads {
            continue;
        }
        let on = here.iter().find(|place| tree.is_prefix(place.block, tip));
        let same = on.is_some_and(|on| !client.placed || client.block == Some(on.block));
        // The node that answered was looked at since, and so was the one that has the last chain:
        // else the block may be where nobody looked.
        let seen = |look: usize| record.looks[look].call > client.op.ret;
        let asked = client.node.and_then(|node| record.by_node[node].last());
        let decided = seen(last) && asked.is_some_and(|look| seen(*look));
        if !same && !decided {
            persistence.undecided += 1;
            continue;
        }
        persistence.acknowledged += 1;
        if !same {
            let off = here
                .iter()
                .filter(|place| !tree.is_prefix(place.block, tip));
            persistence.undone.push(Undone {
                client: number,
                depth: off
                    .map(|place| above.depth(record, place.block))
                    .max()
                    .unwrap_or(0),
                moved_to: on.map(|on| on.block),
            });
        }
    }
    Ok(persistence)
}

/// Operations that were acknowledged before their transaction was `depth` deep at the node that
/// did: its first look afterwards has the transaction's branch, and less of it. The look is named
/// too.
///
/// A node that was restarted meanwhile may have had more, so it is not blamed.
pub fn early(
    record: &Record,
    places: &Places,
    clients: &Clients,
    depth: u64,
) -> Vec<(usize, usize)> {
    let tree = &record.tree;
    let mut early = Vec::new();
    for (number, client) in clients.all.iter().enumerate() {
        let (Some(tx), Some(node)) = (client.tx, client.node) else {
            continue;
        };
        // Its block may have been gone before anybody looked.
        if client.placed && client.block.is_none() {
            continue;
        }
        let looks = &record.by_node[node];
        let after = looks.partition_point(|look| record.looks[*look].call <= client.op.ret);
        let Some(&after) = looks.get(after) else {
            continue;
        };
        let look = &record.looks[after];
        if record.restarted(node, client.op.call, look.ret) {
            continue;
        }
        let deep =
            |block: Rank| (tree.height(look.tip) - tree.height(block) + 1).max(0) as u64 >= depth;
        let here = places.of(tx);
        let of_branch = |block| tree.is_prefix(block, look.tip) || tree.is_prefix(look.tip, block);
        let all_here = here.iter().all(|place| of_branch(place.block));
        if all_here && !here.iter().any(|place| deep(place.block)) {
            early.push((number, after));
        }
    }
    early
}

/// From the call of a client's operation until its transaction was seen deep enough at every node.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    /// Nanoseconds and number of the client's operation, ascending.
    pub all: Vec<(u64, usize)>,
    /// Those in whose time no fault was in force.
    pub calm: Vec<(u64, usize)>,
    /// Operations whose transaction was not deep enough everywhere by the end.
    pub unfinished: Vec<usize>,
}

pub fn liveness(
    record: &Record,
    places: &Places,
    clients: &Clients,
    depth: u64,
    meter: &mut Meter,
) -> Result<Liveness, Exhausted> {
    // By client the last node's first look, or none.
    let mut done: Vec<Option<Time>> = vec![Some(Time(0)); clients.all.len()];
    for node in 0..record.nodes.len() {
        if record.by_node[node].is_empty() {
            continue;
        }
        let first = first_deep(record, node, depth, meter)?;
        for (client, done) in clients.all.iter().zip(&mut done) {
            meter.tick(0)?;
            let here = client.tx.map_or(&[][..], |tx| places.of(tx));
            let looks = here.iter().map(|place| first[place.block as usize]);
            let seen = looks.min().filter(|look| *look != NEVER);
            let at = seen.map(|look| record.looks[look as usize].ret);
            *done = done.zip(at).map(|(a, b)| a.max(b));
        }
    }
    let mut liveness = Liveness::default();
    for (number, (client, done)) in clients.all.iter().zip(done).enumerate() {
        if client.name.is_none() {
            continue;
        }
        let Some(done) = done else {
            liveness.unfinished.push(number);
            continue;
        };
        let took = done.since(client.op.call).as_nanos() as u64;
        liveness.all.push((took, number));
        if record.calm(client.op.call, done) {
            liveness.calm.push((took, number));
        }
    }
    liveness.all.sort_unstable();
    liveness.calm.sort_unstable();
    Ok(liveness)
}
