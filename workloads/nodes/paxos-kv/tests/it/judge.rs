//! What must hold of every simulated run: agreement, ballots, linearizable registers, lists without loss or
//! repetition, and a cluster that is well again in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use paxos_kv::core::Event;
use paxos_kv::core::message::Ballot;

use crate::sim::{Ask, Operation, Run, Seen};

/// States the search for a linearization visits before it gives up on a key.
const STATES: usize = 1_000_000;

/// Everything that is wrong with a run. Empty for a good one.
pub fn judge(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(agreement(run));
    found.extend(ballots(run));
    found.extend(lists(run));
    found.extend(registers(run));
    found.extend(recovery(run));
    found
}

/// One value per slot; one slot's value, one chain.
fn agreement(run: &Run) -> Vec<String> {
    let mut decided = HashMap::new();
    let mut found = Vec::new();
    for (time, node, event) in &run.events {
        if let Event::Decide { slot, digest, .. } = event
            && *decided.entry(*slot).or_insert(*digest) != *digest
        {
            found.push(format!(
                "agreement: slot {slot} has two values; node {node} decided another at {time}"
            ));
        }
    }
    found.truncate(3);
    found
}

/// A promise never sinks and an accept is never below it, across restarts; nor is either forgotten.
fn ballots(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    let mut promised = vec![Ballot::default(); run.names];
    let mut accepted = vec![0; run.names];
    let mut led: HashSet<Ballot> = HashSet::new();
    for (time, node, event) in &run.events {
        let mut sinks = |ballot: Ballot, what: &str| {
            if ballot < promised[*node] {
                found.push(format!(
                    "ballots: node {node} {what} {ballot:?} below {:?} at {time}",
                    promised[*node]
                ));
            }
            promised[*node] = ballot;
        };
        match event {
            Event::Promise { ballot } => sinks(*ballot, "promised"),
            Event::Accept { ballot, slot, .. } => {
                sinks(*ballot, "accepted in");
                accepted[*node] = accepted[*node].max(*slot);
            }
            Event::Start {
                promised: ballot,
                accepted: restored,
                ..
            } => {
                sinks(*ballot, "started with");
                if *restored < accepted[*node] {
                    found.push(format!(
                        "ballots: node {node} lost accepts after slot {restored} at {time}"
                    ));
                }
                accepted[*node] = *restored;
            }
            Event::Lead { ballot } if !led.insert(*ballot) => {
                found.push(format!("ballots: {ballot:?} led twice, at {time} again"));
            }
            _ => {}
        }
    }
    found.truncate(3);
    found
}

/// Elements are unique and lists only grow, so every read must be a beginning of the longest one, and hold all
/// that was acknowledged before it began.
fn lists(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    let operations: Vec<&Operation> = run
        .operations
        .iter()
        .filter(|operation| operation.key == "list")
        .collect();
    let mut longest: &[u64] = &[];
    for operation in &operations {
        if let Some(Seen::List(list)) = &operation.seen
            && list.len() > longest.len()
        {
            longest = list;
        }
    }
    let mut place = HashMap::new();
    for (index, element) in longest.iter().enumerate() {
        if place.insert(*element, index).is_some() {
            found.push(format!("lists: element {element} is there twice"));
        }
    }
    for operation in &operations {
        match (&operation.ask, &operation.seen) {
            (Ask::Append(element), Some(Seen::Failed)) if place.contains_key(element) => {
                found.push(format!(
                    "lists: {element} was said to have failed, but is there"
                ));
            }
            (Ask::List, Some(Seen::List(list))) => {
                if !longest.starts_with(list) {
                    found.push(format!(
                        "lists: the read at {} is no beginning of the longest",
                        operation.start
                    ));
                }
                if let Some((element, _)) = operations.iter().find_map(|other| match &other.ask {
                    Ask::Append(element)
                        if other.seen == Some(Seen::Written)
                            && other.end < Some(operation.start)
                            && !list.contains(element) =>
                    {
                        Some((element, other))
                    }
                    _ => None,
                }) {
                    found.push(format!(
                        "lists: the read at {} lacks the acknowledged {element}",
                        operation.start
                    ));
                }
                // A read sees nothing of a read's future: what it lacks, no read that ended before it began had.
                if let Some(other) = operations.iter().find(|other| {
                    other.end < Some(operation.start)
                        && matches!(&other.seen, Some(Seen::List(earlier)) if earlier.len() > list.len())
                }) {
                    found.push(format!("lists: the read at {} lacks what that at {} had", operation.start, other.start));
                }
            }
            _ => {}
        }
    }
    found.truncate(3);
    found
}

/// Linearizability of each register, by brute force with memoisation (Wing and Gong 1993; Lowe 2017).
fn registers(run: &Run) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in run
        .operations
        .iter()
        .filter(|operation| operation.key != "list")
    {
        let unknown_read = operation.ask == Ask::Get && operation.seen.is_none();
        if operation.seen != Some(Seen::Failed) && !unknown_read {
            keys.entry(&operation.key).or_default().push(operation);
        }
    }
    let wrong = keys
        .into_iter()
        .filter(|(_, operations)| !linearizable(operations));
    wrong
        .map(|(key, _)| format!("registers: {key} is not linearizable"))
        .take(3)
        .collect()
}

fn linearizable(operations: &[&Operation]) -> bool {
    assert!(operations.len() <= 256, "the bit set has so many places");
    let mut seen: HashSet<([u128; 2], Option<u64>)> = HashSet::new();
    let has = |done: &[u128; 2], index: usize| done[index / 128] & (1 << (index % 128)) != 0;
    let mut stack = vec![([0u128; 2], None)];
    while let Some((done, value)) = stack.pop() {
        if !seen.insert((done, value)) || seen.len() > STATES {
            if seen.len() > STATES {
                return true;
            }
            continue;
        }
        let open = || (0..operations.len()).filter(|&index| !has(&done, index));
        // Whoever did not end may never have happened.
        if open().all(|index| operations[index].seen.is_none()) {
            return true;
        }
        // The next to happen began before any other ended.
        let bound = open()
            .filter_map(|index| {
                operations[index]
                    .end
                    .filter(|_| operations[index].seen.is_some())
            })
            .min();
        for index in open().filter(|&index| bound.is_none_or(|end| operations[index].start <= end))
        {
            if let Some(after) = apply(operations[index], value) {
                let mut done = done;
                done[index / 128] |= 1 << (index % 128);
                stack.push((done, after));
            }
        }
    }
    false
}

/// The value after an operation, if it may see what it saw.
fn apply(operation: &Operation, value: Option<u64>) -> Option<Option<u64>> {
    match (&operation.ask, &operation.seen) {
        (Ask::Put(new), _) => Some(Some(*new)),
        (Ask::Get, Some(Seen::Value(seen))) => (*seen == value).then_some(value),
        (Ask::Cas(from, to), None) => Some(if *from == value { Some(*to) } else { value }),
        (Ask::Cas(from, to), Some(Seen::Swapped(true))) => (*from == value).then_some(Some(*to)),
        (Ask::Cas(from, _), Some(Seen::Swapped(false))) => (*from != value).then_some(value),
        other => panic!("{other:?} is no operation on a register"),
    }
}

/// In the end all nodes have the same state, and clients are served.
fn recovery(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    let (decided, chain, _) = &run.ends[0];
    for (node, (other_decided, other_chain, _)) in run.ends.iter().enumerate() {
        // Clients go on to the end, so nodes may differ by what is on its way.
        if decided.abs_diff(*other_decided) > 50 {
            found.push(format!(
                "recovery: node {node} is at slot {other_decided}, node 0 at {decided}"
            ));
        }
        if decided == other_decided && chain != other_chain {
            found.push(format!(
                "chains: node {node} and node 0 differ at slot {decided}"
            ));
        }
    }
    let last = run
        .operations
        .iter()
        .filter(|operation| matches!(operation.seen, Some(Seen::Written)))
        .map(|o| o.end);
    let end = run.operations.last().map_or(0, |operation| operation.start);
    if last
        .max()
        .flatten()
        .is_none_or(|last| last + 1_000 * crate::sim::MS < end)
    {
        found.push("recovery: no write was acknowledged in the last second".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(ask: Ask, start: u64, end: u64, seen: Seen) -> Operation {
        Operation {
            key: "r0".into(),
            ask,
            start,
            end: Some(end),
            seen: Some(seen),
        }
    }

    #[test]
    fn a_stale_read_is_no_linearizable_one() {
        // P0 |--put 1--|  |--put 2--|
        // P1                           |--get--|
        let puts = [
            operation(Ask::Put(1), 0, 1, Seen::Written),
            operation(Ask::Put(2), 2, 3, Seen::Written),
        ];
        for (value, verdict) in [(1, false), (2, true), (3, false)] {
            let get = operation(Ask::Get, 4, 5, Seen::Value(Some(value)));
            assert_eq!(
                linearizable(&[&puts[0], &puts[1], &get]),
                verdict,
                "{value}"
            );
        }
    }

    #[test]
    fn an_operation_without_an_end_may_happen_late_or_never() {
        let mut put = operation(Ask::Put(1), 0, 1, Seen::Written);
        (put.end, put.seen) = (None, None);
        let get = |start, value| operation(Ask::Get, start, start + 1, Seen::Value(value));
        let (early, late) = (get(5, None), get(7, Some(1)));
        assert!(linearizable(&[&put, &early, &late]));
        let back = get(9, None);
        assert!(!linearizable(&[&put, &early, &late, &back]));
    }

    #[test]
    fn two_swaps_from_one_value_cannot_both_succeed() {
        let one = operation(Ask::Cas(None, 1), 0, 10, Seen::Swapped(true));
        let two = operation(Ask::Cas(None, 2), 0, 10, Seen::Swapped(true));
        assert!(!linearizable(&[&one, &two]));
    }
}
