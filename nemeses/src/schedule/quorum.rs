//! When a quorum was whole and connected, going by the schedule: liveness is owed only then.
//!
//! A set of nodes is whole when none of them is stopped, killed, cut off from its clients, or has its
//! clock or its packets disturbed; it is connected when all of them hear each other. If a majority is
//! both, a system that tolerates failures of a minority has to make progress, whatever the others do.
//! This errs on the side of asking too little: where the target is "the leader", every node may be it.

use std::time::Duration;

use history::Name;

use super::{Entry, Schedule, What};
use crate::clock::Warp;
use crate::partition::{Topology, mutual};
use crate::probes::Grudge;
use crate::targets::{Targets, majority};

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

/// A lag that is never made up outlives its fault.
fn ends(entry: &Entry) -> Option<Duration> {
    match &entry.what {
        What::Clock(c) if matches!(c.warp, Warp::Freeze { kept: true, .. }) => None,
        _ => entry.ends(),
    }
}

/// Whether a majority is whole and connected under these faults, whoever leads.
fn whole(faults: &[&What], nodes: &[Name]) -> bool {
    let n = nodes.len();
    let mut touched = 0u32;
    let mut leaders = 0;
    let mut hears = vec![(1u32 << n) - 1; n];
    for what in faults {
        match (what, what.targets()) {
            (_, Some(Targets::Leader)) => leaders += 1,
            (_, Some(Targets::Nodes(names))) => touched |= mask(nodes, names),
            (What::Partition(p), None) => {
                if p.topology.asks_for_leader() {
                    // Cut off in one direction or both, it is in no connected set with others.
                    leaders += 1;
                } else if let Topology::NoResponse {
                    targets: Targets::Nodes(names),
                } = &p.topology
                {
                    touched |= mask(nodes, names);
                } else {
                    let grudge: Grudge = p.topology.grudge(nodes, None);
                    for (all, now) in hears.iter_mut().zip(mutual(nodes, &grudge)) {
                        *all &= now;
                    }
                }
            }
            (_, None) => unreachable!("all others have targets"),
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

fn mask(nodes: &[Name], names: &[Name]) -> u32 {
    (0..nodes.len())
        .filter(|i| names.contains(&nodes[*i]))
        .fold(0, |mask, i| mask | 1 << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::kill::Kill;
    use crate::partition::Partition;
    use crate::pause::Pause;

    fn names(which: &[usize]) -> Vec<Name> {
        which.iter().map(|i| Name::new(format!("n{i}"))).collect()
    }

    fn five() -> Vec<Name> {
        names(&[1, 2, 3, 4, 5])
    }

    fn kill(which: &[usize]) -> What {
        let targets = Targets::Nodes(names(which));
        What::Kill(Kill { targets })
    }

    fn cut(topology: Topology) -> What {
        What::Partition(Partition { topology })
    }

    fn halves(which: &[usize]) -> What {
        let side = names(which);
        cut(Topology::Split {
            shape: "halves",
            side,
        })
    }

    #[test]
    fn which_faults_leave_a_quorum() {
        let leader = || {
            What::Pause(Pause {
                targets: Targets::Leader,
            })
        };
        let pair = |a: usize, b: usize| {
            cut(Topology::Partial {
                a: names(&[a]).remove(0),
                b: names(&[b]).remove(0),
            })
        };
        let bridge = || {
            cut(Topology::Bridge {
                bridge: names(&[3]).remove(0),
                side: names(&[1, 2]),
            })
        };
        for (faults, expected) in [
            (vec![], true),
            (vec![kill(&[1, 2])], true),
            (vec![kill(&[1, 2, 3])], false),
            (vec![halves(&[1, 2])], true),
            (vec![halves(&[1, 2]), kill(&[1])], true),
            (vec![halves(&[1, 2]), kill(&[3])], false),
            (vec![leader()], true),
            (vec![leader(), kill(&[1])], true),
            (vec![leader(), kill(&[1, 2])], false),
            (vec![leader(), halves(&[1, 2])], false),
            (vec![cut(Topology::Leader), kill(&[4])], true),
            (vec![pair(1, 2)], true),
            (vec![pair(1, 2), kill(&[3, 4])], false),
            (vec![pair(1, 2), kill(&[1, 4])], true),
            (vec![bridge()], true),
            (vec![bridge(), kill(&[3])], false),
            (vec![cut(Topology::MajoritiesRing { order: five() })], false),
            (
                vec![cut(Topology::OneWayIn {
                    targets: Targets::Nodes(names(&[1])),
                })],
                true,
            ),
            (
                vec![cut(Topology::OneWayOut {
                    targets: Targets::Nodes(names(&[1, 2])),
                })],
                true,
            ),
            (
                vec![cut(Topology::NoResponse {
                    targets: Targets::Nodes(names(&[1, 2])),
                })],
                true,
            ),
            (
                vec![cut(Topology::NoResponse {
                    targets: Targets::Nodes(names(&[1, 2, 3])),
                })],
                false,
            ),
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
        let frozen = What::Clock(Clock {
            warp: Warp::Freeze {
                pause: s(1),
                kept: true,
            },
            targets: Targets::Nodes(names(&[1])),
        });
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
