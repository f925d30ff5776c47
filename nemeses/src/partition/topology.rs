//! Who no longer hears whom.

use history::Name;

use crate::targets::{Grudge, Targets, join, majority};

/// How the network is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// `side` here, all others there.
    Split {
        shape: &'static str,
        side: Vec<Name>,
    },
    /// Whoever leads, alone.
    Leader,
    /// All nodes in a ring; each hears its nearest neighbours, so many that it has a majority.
    MajoritiesRing { order: Vec<Name> },
    /// `side` and all others cannot hear each other; both hear `bridge`, and it them.
    Bridge { bridge: Name, side: Vec<Name> },
    /// The targets hear only each other.
    OneWayIn { targets: Targets },
    /// Nobody but each other hears the targets.
    OneWayOut { targets: Targets },
    /// These two do not hear each other.
    Partial { a: Name, b: Name },
    /// The targets hear all, but what their client port answers is dropped.
    NoResponse { targets: Targets },
}

impl Topology {
    /// Who hears whom no longer. The names have been checked, and `leader` is given where the
    /// topology asks for it.
    pub fn grudge(&self, nodes: &[Name], leader: Option<&Name>) -> Grudge {
        let mut grudge = Grudge::new();
        let mut deafen = |to: &Name, from: &Name| {
            if to != from {
                grudge.entry(to.clone()).or_default().insert(from.clone());
            }
        };
        let named = |targets: &Targets| -> Vec<Name> {
            match targets {
                Targets::Leader => leader.into_iter().cloned().collect(),
                Targets::Nodes(names) => names.clone(),
            }
        };
        let others = |side: &[Name]| -> Vec<Name> {
            let other = |n: &&Name| !side.contains(n);
            nodes.iter().filter(other).cloned().collect()
        };
        match self {
            Topology::Split { side, .. } => {
                both_ways(side, &others(side), &mut deafen);
            }
            Topology::Leader => {
                let side = named(&Targets::Leader);
                both_ways(&side, &others(&side), &mut deafen);
            }
            Topology::MajoritiesRing { order } => {
                let n = order.len();
                let reach = ring_reach(n);
                for (i, a) in order.iter().enumerate() {
                    for (j, b) in order.iter().enumerate() {
                        let around = i.abs_diff(j);
                        if around.min(n - around) > reach {
                            deafen(a, b);
                        }
                    }
                }
            }
            Topology::Bridge { bridge, side } => {
                let mut rest = others(side);
                rest.retain(|n| n != bridge);
                both_ways(side, &rest, &mut deafen);
            }
            Topology::OneWayIn { targets } => {
                let targets = named(targets);
                for to in &targets {
                    others(&targets).iter().for_each(|from| deafen(to, from));
                }
            }
            Topology::OneWayOut { targets } => {
                let targets = named(targets);
                for to in &others(&targets) {
                    targets.iter().for_each(|from| deafen(to, from));
                }
            }
            Topology::Partial { a, b } => {
                deafen(a, b);
                deafen(b, a);
            }
            Topology::NoResponse { .. } => {}
        }
        grudge
    }

    /// Whether it has to be asked who leads.
    pub fn asks_for_leader(&self) -> bool {
        match self {
            Topology::Leader => true,
            Topology::OneWayIn { targets }
            | Topology::OneWayOut { targets }
            | Topology::NoResponse { targets } => *targets == Targets::Leader,
            _ => false,
        }
    }

    /// Nodes that are singled out: those on the named side, or the pair.
    pub fn targets(&self, leader: Option<&Name>) -> Vec<Name> {
        match self {
            Topology::Split { side, .. } => side.clone(),
            Topology::Leader => leader.into_iter().cloned().collect(),
            Topology::MajoritiesRing { order } => order.clone(),
            Topology::Bridge { bridge, .. } => vec![bridge.clone()],
            Topology::Partial { a, b } => vec![a.clone(), b.clone()],
            Topology::OneWayIn { targets }
            | Topology::OneWayOut { targets }
            | Topology::NoResponse { targets } => match targets {
                Targets::Leader => leader.into_iter().cloned().collect(),
                Targets::Nodes(names) => names.clone(),
            },
        }
    }

    /// One line for people. `nodes` are named where they are known.
    pub fn label(&self, nodes: Option<&[Name]>, leader: Option<&Name>) -> String {
        let rest = |side: &[Name]| match nodes {
            Some(nodes) => format!("[{}]", join(nodes.iter().filter(|n| !side.contains(n)))),
            None => "the others".into(),
        };
        let who = |targets: &Targets| match (targets, leader) {
            (Targets::Leader, Some(leader)) => format!("the leader {leader}"),
            _ => targets.to_string(),
        };
        match self {
            Topology::Split { shape, side } => {
                format!("{shape}: [{}] | {}", join(side), rest(side))
            }
            Topology::Leader => match leader {
                Some(leader) => {
                    let side = [leader.clone()];
                    format!("leader alone: [{leader}] | {}", rest(&side))
                }
                None => "leader alone".into(),
            },
            Topology::MajoritiesRing { order } => {
                let order: Vec<&str> = order.iter().map(Name::as_str).collect();
                format!("majorities-ring: {}", order.join(" - "))
            }
            Topology::Bridge { bridge, side } => {
                let mut apart = side.clone();
                apart.push(bridge.clone());
                format!("bridge {bridge}: [{}] | {}", join(side), rest(&apart))
            }
            Topology::OneWayIn { targets } => {
                format!("one-way-in: nobody else is heard by {}", who(targets))
            }
            Topology::OneWayOut { targets } => {
                format!("one-way-out: nobody else hears {}", who(targets))
            }
            Topology::Partial { a, b } => format!("partial: {a} and {b} cannot hear each other"),
            Topology::NoResponse { targets } => {
                format!("no-response: answers of {} are dropped", who(targets))
            }
        }
    }
}

fn both_ways(side: &[Name], others: &[Name], deafen: &mut impl FnMut(&Name, &Name)) {
    for a in side {
        for b in others {
            deafen(a, b);
            deafen(b, a);
        }
    }
}

/// How many neighbours on each side a node of the ring hears: the fewest that make a majority with
/// itself. The same number on both sides, so that hearing is mutual.
fn ring_reach(nodes: usize) -> usize {
    (majority(nodes) - 1).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn name(i: usize) -> Name {
        Name::new(format!("n{i}"))
    }

    fn cluster(n: usize) -> Vec<Name> {
        (1..=n).map(name).collect()
    }

    fn first(n: usize) -> Vec<Name> {
        cluster(n)
    }

    /// Who hears whom, a row for each listener: `.` hears, `x` does not.
    fn drawn(topology: &Topology, n: usize, leader: Option<&Name>) -> Vec<String> {
        let nodes = cluster(n);
        let grudge = topology.grudge(&nodes, leader);
        nodes
            .iter()
            .map(|to| {
                let unheard = |from: &Name| grudge.get(to).is_some_and(|g| g.contains(from));
                nodes
                    .iter()
                    .map(|from| if unheard(from) { 'x' } else { '.' })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn topologies_of_five_nodes() {
        let split = |shape, side| Topology::Split { shape, side };
        for (topology, rows) in [
            (
                split("halves", first(2)),
                ["..xxx", "..xxx", "xx...", "xx...", "xx..."],
            ),
            (
                split("one-node", vec![name(3)]),
                ["..x..", "..x..", "xx.xx", "..x..", "..x.."],
            ),
            (
                split("majority-minority", first(1)),
                [".xxxx", "x....", "x....", "x....", "x...."],
            ),
            (
                split("minority-third", first(1)),
                [".xxxx", "x....", "x....", "x....", "x...."],
            ),
            (
                Topology::Leader,
                ["...x.", "...x.", "...x.", "xxx.x", "...x."],
            ),
            (
                Topology::MajoritiesRing { order: cluster(5) },
                ["..xx.", "...xx", "x...x", "xx...", ".xx.."],
            ),
            (
                Topology::Bridge {
                    bridge: name(3),
                    side: first(2),
                },
                ["...xx", "...xx", ".....", "xx...", "xx..."],
            ),
            (
                Topology::OneWayIn {
                    targets: Targets::Nodes(first(2)),
                },
                ["..xxx", "..xxx", ".....", ".....", "....."],
            ),
            (
                Topology::OneWayOut {
                    targets: Targets::Nodes(first(2)),
                },
                [".....", ".....", "xx...", "xx...", "xx..."],
            ),
            (
                Topology::OneWayOut {
                    targets: Targets::Leader,
                },
                ["...x.", "...x.", "...x.", ".....", "...x."],
            ),
            (
                Topology::Partial {
                    a: name(2),
                    b: name(4),
                },
                [".....", "...x.", ".....", ".x...", "....."],
            ),
            (
                Topology::NoResponse {
                    targets: Targets::Nodes(first(2)),
                },
                [".....", ".....", ".....", ".....", "....."],
            ),
        ] {
            assert_eq!(drawn(&topology, 5, Some(&name(4))), rows, "{topology:?}");
        }
    }

    #[test]
    fn every_node_of_a_ring_hears_a_majority_of_its_own_and_no_majority_is_whole() {
        for n in 4..=9 {
            let nodes = cluster(n);
            let ring = Topology::MajoritiesRing {
                order: nodes.clone(),
            };
            let grudge = ring.grudge(&nodes, None);
            let heard: BTreeSet<BTreeSet<&Name>> = nodes
                .iter()
                .map(|to| {
                    nodes
                        .iter()
                        .filter(|from| !grudge[to].contains(*from))
                        .collect()
                })
                .collect();
            assert_eq!(heard.len(), n, "two of {n} nodes hear the same");
            assert!(
                heard.iter().all(|h| h.len() >= majority(n)),
                "{n}: {heard:?}"
            );
            let among = |set: u32| (0..n).filter(move |i| set & (1 << i) != 0);
            let hears = |a: usize, b: usize| !grudge[&nodes[a]].contains(&nodes[b]);
            let whole = (0u32..1 << n).any(|set| {
                set.count_ones() as usize >= majority(n)
                    && among(set).all(|a| among(set).all(|b| hears(a, b)))
            });
            assert!(!whole, "{n}: a majority is whole");
        }
    }
}
