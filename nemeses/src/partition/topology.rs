//! Who no longer hears whom.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use history::Name;

use crate::probes::Grudge;
use crate::registry::{Family, Shape};
use crate::targets::{self, Targets, join, majority};

/// How the network is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// `side` here, all others there. `shape` says how large the side is: see [`SPLITS`].
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

/// How large a side may be, of so many nodes.
pub type Sizes = fn(usize) -> RangeInclusive<usize>;

/// The shapes with two sides, and the sizes that the first may have among `nodes`.
pub const SPLITS: &[(&str, Sizes)] = &[
    ("halves", |nodes| nodes / 2..=nodes.div_ceil(2)),
    ("one-node", |_| 1..=1),
    ("majority-minority", |nodes| 1..=nodes - majority(nodes)),
    ("minority-third", |nodes| nodes / 3..=nodes / 3),
];

impl Topology {
    /// Its row in the table of shapes.
    pub fn shape(&self) -> &'static Shape {
        let name = match self {
            Topology::Split { shape, .. } => shape,
            Topology::Leader => "leader",
            Topology::MajoritiesRing { .. } => "majorities-ring",
            Topology::Bridge { .. } => "bridge",
            Topology::OneWayIn { .. } => "one-way-in",
            Topology::OneWayOut { .. } => "one-way-out",
            Topology::Partial { .. } => "partial",
            Topology::NoResponse { .. } => "no-response",
        };
        Family::Partition
            .shape(name)
            .expect("every topology is in the table: a test walks them")
    }

    /// Whether it makes sense on these nodes; if not, why.
    pub fn check(&self, nodes: &[Name]) -> Result<(), String> {
        let shape = self.shape();
        if nodes.len() < shape.least_nodes {
            return Err(format!(
                "{} needs {} nodes or more, and there are {}",
                shape.name,
                shape.least_nodes,
                nodes.len()
            ));
        }
        match self {
            Topology::Leader => Ok(()),
            Topology::Split { shape, side } => {
                targets::check(side, nodes)?;
                let (_, sizes) = SPLITS
                    .iter()
                    .find(|(name, _)| name == shape)
                    .expect("a split's shape is one of SPLITS: a test walks them");
                let sizes = sizes(nodes.len());
                match sizes.contains(&side.len()) {
                    true => Ok(()),
                    false => Err(format!(
                        "{shape} of {} nodes has {} on its side, and {} are named",
                        nodes.len(),
                        range(sizes),
                        side.len()
                    )),
                }
            }
            Topology::MajoritiesRing { order } => {
                targets::check(order, nodes)?;
                match order.len() == nodes.len() {
                    true => Ok(()),
                    false => Err(format!(
                        "majorities-ring names all {} nodes in the order of the ring, and {} are named",
                        nodes.len(),
                        order.len()
                    )),
                }
            }
            Topology::Bridge { bridge, side } => {
                targets::check(std::slice::from_ref(bridge), nodes)?;
                targets::check(side, nodes)?;
                if side.contains(bridge) {
                    return Err(format!("{bridge} is the bridge, and on one side of it too"));
                }
                match side.len() + 1 < nodes.len() {
                    true => Ok(()),
                    false => Err("nobody is left for the other side of the bridge".into()),
                }
            }
            Topology::OneWayIn { targets } | Topology::OneWayOut { targets } => match targets {
                Targets::Leader => Ok(()),
                Targets::Nodes(names) => {
                    targets::check(names, nodes)?;
                    match names.len() < nodes.len() {
                        true => Ok(()),
                        false => Err("with all nodes as targets nothing is cut".into()),
                    }
                }
            },
            Topology::Partial { a, b } => targets::check(&[a.clone(), b.clone()], nodes),
            Topology::NoResponse { targets } => match targets {
                Targets::Leader => Ok(()),
                Targets::Nodes(names) => targets::check(names, nodes),
            },
        }
    }

    /// Who hears whom no longer. [`Topology::check`] has been passed, and `leader` is given where the
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

fn range(sizes: RangeInclusive<usize>) -> String {
    match sizes.start() == sizes.end() {
        true => sizes.start().to_string(),
        false => format!("{} to {}", sizes.start(), sizes.end()),
    }
}

/// The largest sets of nodes in which all hear each other are what a quorum can be made of: this is
/// the hearing of `nodes` under a grudge, as bit masks of mutual hearing.
pub(crate) fn mutual(nodes: &[Name], grudge: &Grudge) -> Vec<u32> {
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
        topology.check(&nodes).unwrap();
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
            ring.check(&nodes).unwrap();
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
            let hears = mutual(&nodes, &grudge);
            let whole = (0u32..1 << n).any(|set| {
                set.count_ones() as usize >= majority(n)
                    && (0..n).all(|i| set & (1 << i) == 0 || set & !hears[i] == 0)
            });
            assert!(!whole, "{n}: a majority is whole");
        }
    }

    #[test]
    fn every_split_has_sides_of_its_sizes_and_cuts_all_between_them() {
        for n in 2..=9 {
            let nodes = cluster(n);
            for (shape, sizes) in SPLITS {
                if n < Family::Partition.shape(shape).unwrap().least_nodes {
                    continue;
                }
                for size in 1..n {
                    let topology = Topology::Split {
                        shape,
                        side: first(size),
                    };
                    let fits = sizes(n).contains(&size);
                    assert_eq!(
                        topology.check(&nodes).is_ok(),
                        fits,
                        "{shape} {size} of {n}"
                    );
                    if fits {
                        let grudge = topology.grudge(&nodes, None);
                        let cut: usize = grudge.values().map(BTreeSet::len).sum();
                        assert_eq!(cut, 2 * size * (n - size), "{shape} {size} of {n}");
                    }
                }
            }
        }
    }

    /// The table of which topology needs how many nodes, for the smallest clusters.
    #[test]
    fn too_few_nodes_are_refused_with_the_number_that_is_needed() {
        let of = |n: usize| -> Vec<Topology> {
            let split = |shape| Topology::Split {
                shape,
                side: first(1),
            };
            vec![
                Topology::Split {
                    shape: "halves",
                    side: first(n / 2),
                },
                split("one-node"),
                split("majority-minority"),
                split("minority-third"),
                Topology::Leader,
                Topology::MajoritiesRing { order: cluster(n) },
                Topology::Bridge {
                    bridge: name(2),
                    side: first(1),
                },
                Topology::OneWayIn {
                    targets: Targets::Nodes(first(1)),
                },
                Topology::OneWayOut {
                    targets: Targets::Nodes(first(1)),
                },
                Topology::Partial {
                    a: name(1),
                    b: name(2),
                },
                Topology::NoResponse {
                    targets: Targets::Nodes(first(1)),
                },
            ]
        };
        let fit = |n: usize| -> Vec<&str> {
            let nodes = cluster(n);
            of(n)
                .iter()
                .filter(|t| t.check(&nodes).is_ok())
                .map(|t| t.shape().name)
                .collect()
        };
        let two = [
            "halves",
            "one-node",
            "leader",
            "one-way-in",
            "one-way-out",
            "no-response",
        ];
        assert_eq!(fit(1), ["no-response"]);
        assert_eq!(fit(2), two);
        assert_eq!(fit(3).len(), 10);
        assert!(!fit(3).contains(&"majorities-ring"));
        assert_eq!(fit(4).len(), of(4).len());
        let why = Topology::MajoritiesRing { order: cluster(3) }
            .check(&cluster(3))
            .unwrap_err();
        assert_eq!(
            why,
            "majorities-ring needs 4 nodes or more, and there are 3"
        );
    }

    #[test]
    fn names_that_make_no_sense_are_refused() {
        let nodes = cluster(5);
        let why = |t: Topology| t.check(&nodes).unwrap_err();
        let side = |names: &[usize]| names.iter().map(|i| name(*i)).collect::<Vec<_>>();
        assert!(
            why(Topology::Split {
                shape: "halves",
                side: side(&[1, 9])
            })
            .contains("n9")
        );
        assert!(
            why(Topology::Split {
                shape: "halves",
                side: side(&[1, 1])
            })
            .contains("twice")
        );
        assert!(
            why(Topology::Split {
                shape: "halves",
                side: side(&[1])
            })
            .contains("2 to 3")
        );
        assert!(
            why(Topology::Bridge {
                bridge: name(1),
                side: side(&[1, 2])
            })
            .contains("bridge")
        );
        assert!(
            why(Topology::Bridge {
                bridge: name(1),
                side: side(&[2, 3, 4, 5])
            })
            .contains("nobody")
        );
        assert!(
            why(Topology::OneWayIn {
                targets: Targets::Nodes(nodes.clone())
            })
            .contains("nothing is cut")
        );
        assert!(
            why(Topology::MajoritiesRing {
                order: side(&[1, 2, 3])
            })
            .contains("3 are named")
        );
    }
}
