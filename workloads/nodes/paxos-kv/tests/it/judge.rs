//! What must hold of every simulated run: agreement, ballots, linearizable registers, lists without
//! loss or repetition, and a cluster that is well again in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use paxos_kv::core::feed::{Became, Told};
use paxos_kv::core::kv::Kv;
use paxos_kv::core::message::{Ballot, Digest, Op, Slot};
use paxos_kv::core::{Core, Event};

use crate::sim::{Ask, Operation, Run, Seen};

/// States the search for a linearization visits before it gives up on a key.
const STATES: usize = 1_000_000;

/// Everything that is wrong with a run. Empty for a good one.
pub fn judge(run: &Run) -> Vec<String> {
    let mut found = run.wrong.clone();
    found.extend(lists(run));
    found.extend(registers(run));
    // A run that was ended by what was wrong with it had no time to recover.
    if run.wrong.is_empty() {
        found.extend(recovery(run));
    }
    found
}

/// A slot that somebody decided, and the state after it.
#[derive(Clone)]
struct Chosen {
    digest: Digest,
    chain: Digest,
    state: Digest,
}

/// What must hold after every step: one value a slot; every node's state is what the chosen values
/// before it make, and never goes back; a promise never sinks and an accept is never below it,
/// across restarts; nor is either forgotten.
#[derive(Clone)]
pub struct Watch {
    /// Slots from 1 on, without a hole, and the state that they make.
    chosen: Vec<Chosen>,
    replayed: Kv,
    /// What changed, by revision from 1 on.
    changes: Vec<(String, Became)>,
    /// By leased key, which client takes itself for its holder, and until when.
    holders: BTreeMap<String, (usize, u64)>,
    promised: Vec<Ballot>,
    accepted: Vec<Slot>,
    /// What each node has applied in this life.
    applied: Vec<Slot>,
    led: HashSet<Ballot>,
    pub wrong: Vec<String>,
}

impl Watch {
    pub fn new(nodes: usize) -> Watch {
        Watch {
            chosen: Vec::new(),
            replayed: Kv::default(),
            changes: Vec::new(),
            holders: BTreeMap::new(),
            promised: vec![Ballot::default(); nodes],
            accepted: vec![0; nodes],
            applied: vec![0; nodes],
            led: HashSet::new(),
            wrong: Vec::new(),
        }
    }

    fn at(&self, slot: Slot) -> Option<&Chosen> {
        self.chosen.get(usize::try_from(slot.checked_sub(1)?).ok()?)
    }

    pub fn event(&mut self, time: u64, node: usize, core: &Core, event: &Event) {
        match event {
            Event::Decide { slot, digest, .. } => self.decides(time, node, core, *slot, *digest),
            Event::Promise { ballot } => self.sinks(time, node, *ballot, "promised"),
            Event::Accept { ballot, slot, .. } => {
                self.sinks(time, node, *ballot, "accepted in");
                self.accepted[node] = self.accepted[node].max(*slot);
            }
            Event::Start {
                promised, accepted, ..
            } => {
                self.sinks(time, node, *promised, "started with");
                if *accepted < self.accepted[node] {
                    self.wrong.push(format!(
                        "ballots: node {node} lost accepts after slot {accepted} at {time}"
                    ));
                }
                self.accepted[node] = *accepted;
                self.applied[node] = 0;
            }
            Event::Lead { ballot } if !self.led.insert(*ballot) => {
                let text = format!("ballots: {ballot:?} led twice, at {time} again");
                self.wrong.push(text);
            }
            _ => {}
        }
    }

    fn sinks(&mut self, time: u64, node: usize, ballot: Ballot, what: &str) {
        if ballot < self.promised[node] {
            let before = self.promised[node];
            let text = format!("ballots: node {node} {what} {ballot:?} below {before:?} at {time}");
            self.wrong.push(text);
        }
        self.promised[node] = ballot;
    }

    fn decides(&mut self, time: u64, node: usize, core: &Core, slot: Slot, digest: Digest) {
        if let Some(chosen) = self.at(slot) {
            if chosen.digest != digest {
                self.wrong.push(format!(
                    "agreement: slot {slot} has two values; node {node} decided another at {time}"
                ));
            }
            return;
        }
        let page = core.log_page(slot, 1);
        match page.entries.first() {
            Some(entry) if slot == self.replayed.applied + 1 => {
                let applied = self.replayed.apply(slot, entry.batch, digest, true);
                for (command, applied) in entry.batch.commands.iter().zip(applied) {
                    let made = applied.revision.map(|_| change(&command.op));
                    self.changes.extend(made);
                }
                self.chosen.push(Chosen {
                    digest,
                    chain: self.replayed.chain,
                    state: Digest::of(&[&self.replayed.encode()]),
                });
            }
            _ => self.wrong.push(format!(
                "agreement: node {node} decided slot {slot} at {time}, and nobody the one before"
            )),
        }
    }

    /// A node as it is after a step, or after its start.
    pub fn state(&mut self, time: u64, node: usize, core: &Core) {
        let kv = core.kv();
        let before = std::mem::replace(&mut self.applied[node], kv.applied);
        if kv.applied < before {
            self.wrong.push(format!(
                "agreement: the state of node {node} goes back from slot {before} to {} at {time}",
                kv.applied
            ));
        }
        let chain = self
            .at(kv.applied)
            .map_or(Digest::default(), |chosen| chosen.chain);
        if kv.chain != chain {
            self.wrong.push(format!(
                "agreement: the state of node {node} at {time} is not what the chosen values up to \
                 slot {} make",
                kv.applied
            ));
        }
    }

    /// A node tells a client of the changes after a revision. They must be those that the chosen
    /// values make, in this order and without a hole.
    pub fn told(&mut self, time: u64, node: usize, after: u64, told: &Told) {
        let Told::Changes { upto, changes } = told else {
            return;
        };
        let chosen = self.changes.get(after as usize..*upto as usize);
        let told = changes.iter().map(|change| {
            let (key, became) = (change.key.clone(), change.became.clone());
            (change.revision, (key, became))
        });
        let chosen = chosen.map(|chosen| (after + 1..).zip(chosen.iter().cloned()));
        if chosen.is_none_or(|chosen| !chosen.eq(told)) {
            self.wrong.push(format!(
                "watch: what node {node} tells at {time} of the revisions after {after} up to \
                 {upto} is not what the chosen values make"
            ));
        }
    }

    /// A client is told that it holds a lease until some time. Nobody else may hold it now.
    pub fn holds(&mut self, time: u64, key: &str, client: usize, until: u64) {
        if until <= time {
            return;
        }
        let before = self.holders.insert(key.to_owned(), (client, until));
        let other = before.filter(|(other, until)| *other != client && *until > time);
        if let Some((other, until)) = other {
            self.wrong.push(format!(
                "leases: client {client} holds {key} from {time} on, and client {other} until {until}"
            ));
        }
    }

    /// A client holds a lease no more.
    pub fn gives_back(&mut self, key: &str, client: usize) {
        if self
            .holders
            .get(key)
            .is_some_and(|(holder, _)| *holder == client)
        {
            self.holders.remove(key);
        }
    }

    pub fn snapshot(&mut self, time: u64, node: usize, slot: Slot, bytes: &[u8]) {
        if self
            .at(slot)
            .is_none_or(|chosen| chosen.state != Digest::of(&[bytes]))
        {
            self.wrong.push(format!(
                "agreement: the snapshot of slot {slot} that node {node} saves at {time} holds \
                 another state than the chosen values make"
            ));
        }
    }
}

/// What a command that changed something made of which key.
fn change(op: &Op) -> (String, Became) {
    match op {
        Op::Put { key, value: to } | Op::Cas { key, to, .. } | Op::SwapUnchecked { key, to } => {
            (key.clone(), Became::Set(to.clone()))
        }
        Op::Append { key, element } => (key.clone(), Became::Longer(element.clone())),
        Op::Delete { key } => (key.clone(), Became::Gone),
        other => panic!("{other:?} changes no key"),
    }
}

/// Elements are unique and lists only grow, so every read must be a beginning of the longest one,
/// and hold all that was acknowledged before it began.
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
                // A read sees nothing of a read's future: what it lacks, no read that ended before
                // it began had.
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

/// Linearizability of each register, by brute force with memoisation (Wing and Gong 1993; Lowe
/// 2017).
fn registers(run: &Run) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in run
        .operations
        .iter()
        .filter(|operation| matches!(operation.ask, Ask::Put(_) | Ask::Cas(..) | Ask::Get))
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

/// In the end no node is behind, and clients are served.
fn recovery(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    for (node, decided) in run.ends.iter().enumerate() {
        // Clients go on to the end, so nodes may differ by what is on its way.
        if run.ends[0].abs_diff(*decided) > 50 {
            let first = run.ends[0];
            found.push(format!(
                "recovery: node {node} is at slot {decided}, node 0 at {first}"
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
