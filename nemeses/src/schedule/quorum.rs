//! When a quorum was whole and connected, going by the schedule: liveness is owed only then.
//!
//! A set of nodes is whole when none of them is stopped, killed, cut off from its clients, or has
//! its clock or its packets disturbed; it is connected when all of them hear each other. If a
//! majority is both, a system that tolerates failures of a minority has to make progress, whatever
//! the others do. This errs on the side of asking too little: where the target is "the leader",
//! every node may be it.

use std::collections::BTreeMap;
use std::time::Duration;

use history::Name;

use super::{Entry, Schedule};
use crate::family::{Reach, What};
use crate::targets::{Grudge, majority};

/// A time in which a majority was whole and connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Since the start of the main phase, as all times of a schedule.
    pub from: Duration,
    /// None: to the end of the main phase, and beyond.
    pub until: Option<Duration>,
}

/// More nodes have too many sets of nodes to be tried.
const MOST_NODES: usize = 16;

/// All such times, in order; neighbours are joined. Of more than 16 nodes nothing is known.
pub fn quorum_whole(schedule: &Schedule, nodes: &[Name]) -> Vec<Whole> {
    if nodes.len() > MOST_NODES {
        return Vec::new();
    }
    let mut edges: Vec<Duration> = schedule
        .entries
        .iter()
        .flat_map(|e| [Some(e.at), ends(e)])
        .flatten()
        .chain([Duration::ZERO])
        .collect();
    edges.sort_unstable();
    edges.dedup();

    let mut spans: Vec<Whole> = Vec::new();
    for (i, from) in edges.iter().enumerate() {
        let in_force = |e: &&Entry| e.at <= *from && ends(e).is_none_or(|end| *from < end);
        let faults: Vec<&What> = schedule
            .entries
            .iter()
            .filter(in_force)
            .map(|e| &e.what)
            .collect();
        if !whole(&faults, nodes) {
            continue;
        }
        let until = edges.get(i + 1).copied();
        match spans.last_mut() {
            Some(last) if last.until == Some(*from) => last.until = until,
            _ => spans.push(Whole { from: *from, until }),
        }
    }
    spans
}

/// What is never made up outlives its fault.
fn ends(entry: &Entry) -> Option<Duration> {
    entry.ends().filter(|_| !entry.what.shape.stays)
}

/// Whether a majority is whole and connected under these faults, whoever leads.
fn whole(faults: &[&What], nodes: &[Name]) -> bool {
    let n = nodes.len();
    let mut touched = 0u32;
    let mut leaders = 0;
    let mut hears = vec![(1u32 << n) - 1; n];
    for what in faults {
        match (what.shape.reach)(what, nodes) {
            Reach::Leader => leaders += 1,
            Reach::Nodes(names) => touched |= mask(nodes, &names),
            Reach::Hearing(grudge) => {
                for (all, now) in hears.iter_mut().zip(mutual(nodes, &grudge)) {
                    *all &= now;
                }
            }
        }
    }
    let connected = |set: u32| (0..n).all(|i| set & (1 << i) == 0 || set & !hears[i] == 0);
    let sets = || 0..1u32 << n;
    // All sets of so few nodes can be tried, and trying all is easy to believe.
    let quorums: Vec<u32> = sets()
        .filter(|set| set.count_ones() as usize >= majority(n))
        .filter(|set| set & touched == 0 && connected(*set))
        .collect();
    sets()
        .filter(|lost| lost.count_ones() as usize <= leaders)
        .all(|lost| quorums.iter().any(|set| set & lost == 0))
}

/// The largest sets of nodes in which all hear each other are what a quorum can be made of: this is
/// the hearing of `nodes` under a grudge, as bit masks of mutual hearing.
fn mutual(nodes: &[Name], grudge: &Grudge) -> Vec<u32> {
    let place: BTreeMap<&Name, usize> = nodes.iter().enumerate().map(|(i, n)| (n, i)).collect();
    let mut hears = vec![(1u32 << nodes.len()) - 1; nodes.len()];
    for (to, unheard) in grudge {
        for from in unheard {
            if let (Some(&a), Some(&b)) = (place.get(to), place.get(from)) {
                hears[a] &= !(1 << b);
                hears[b] &= !(1 << a);
            }
        }
    }
    hears
}

fn mask(nodes: &[Name], names: &[Name]) -> u32 {
    (0..nodes.len())
        .filter(|i| names.contains(&nodes[*i]))
        .fold(0, |mask, i| mask | 1 << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(which: &[usize]) -> Vec<Name> {
        which.iter().map(|i| Name::new(format!("n{i}"))).collect()
    }

    fn five() -> Vec<Name> {
        names(&[1, 2, 3, 4, 5])
    }

    /// A fault on five nodes as a file has it, from 1 s for 2 s.
    fn fault(keys: &str) -> What {
        let text = format!("version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"2s\"\n{keys}\n");
        let schedule = Schedule::parse(&text, &five()).expect(keys);
        schedule.entries[0].what.clone()
    }

    fn on(family: &str, targets: &str) -> What {
        fault(&format!("family = \"{family}\"\ntargets = {targets}"))
    }

    fn cut(shape: &str, targets: &str) -> What {
        fault(&format!(
            "family = \"partition\"\nshape = \"{shape}\"\ntargets = {targets}"
        ))
    }

    fn kill(which: &[usize]) -> What {
        let names: Vec<String> = which.iter().map(|i| format!("\"n{i}\"")).collect();
        on("kill", &format!("[{}]", names.join(", ")))
    }

    #[test]
    fn which_faults_leave_a_quorum() {
        let leader = || on("pause", "\"leader\"");
        let halves = || cut("halves", "[\"n1\", \"n2\"]");
        let pair = || cut("partial", "[\"n1\", \"n2\"]");
        let bridge = || cut("bridge", "[\"n1\", \"n2\"]\nbridge = \"n3\"");
        let alone = || fault("family = \"partition\"\nshape = \"leader\"");
        let three = "[\"n1\", \"n2\", \"n3\"]";
        for (faults, expected) in [
            (vec![], true),
            (vec![kill(&[1, 2])], true),
            (vec![kill(&[1, 2, 3])], false),
            (vec![halves()], true),
            (vec![halves(), kill(&[1])], true),
            (vec![halves(), kill(&[3])], false),
            (vec![leader()], true),
            (vec![leader(), kill(&[1])], true),
            (vec![leader(), kill(&[1, 2])], false),
            (vec![leader(), halves()], false),
            (vec![alone(), kill(&[4])], true),
            (vec![pair()], true),
            (vec![pair(), kill(&[3, 4])], false),
            (vec![pair(), kill(&[1, 4])], true),
            (vec![bridge()], true),
            (vec![bridge(), kill(&[3])], false),
            (
                vec![cut(
                    "majorities-ring",
                    "[\"n1\", \"n2\", \"n3\", \"n4\", \"n5\"]",
                )],
                false,
            ),
            (vec![cut("one-way-in", "[\"n1\"]")], true),
            (vec![cut("one-way-out", "[\"n1\", \"n2\"]")], true),
            (vec![cut("no-response", "[\"n1\", \"n2\"]")], true),
            (vec![cut("no-response", three)], false),
        ] {
            let refs: Vec<&What> = faults.iter().collect();
            assert_eq!(whole(&refs, &five()), expected, "{faults:?}");
        }
    }

    #[test]
    fn spans_are_joined_and_end_where_the_last_quorum_is_lost() {
        let s = Duration::from_secs;
        let entry = |at, lasts, what| Entry {
            at: s(at),
            lasts: Some(s(lasts)),
            what,
        };
        let frozen = on("clock", "[\"n1\"]\nshape = \"freeze-kept\"\npause = \"1s\"");
        let schedule = Schedule {
            seed: 0,
            entries: vec![
                entry(2, 2, kill(&[1])),
                entry(5, 3, kill(&[1, 2, 3])),
                entry(10, 2, frozen),
                entry(20, 2, kill(&[2, 3])),
            ],
        };
        let span = |from, until: Option<u64>| Whole {
            from: s(from),
            until: until.map(s),
        };
        assert_eq!(
            quorum_whole(&schedule, &five()),
            // The kept lag of n1 makes the last kill one node too many.
            [span(0, Some(5)), span(8, Some(20)), span(22, None)]
        );
        assert_eq!(quorum_whole(&Schedule::default(), &five()), [span(0, None)]);
    }
}
