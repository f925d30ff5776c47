//! Partition: packets between nodes are dropped, in one direction or both.
//!
//! A topology says who no longer hears whom (its *grudge*); a pure function works that out. Packets
//! are dropped where they arrive, and not where they leave: a sender whose own firewall drops its
//! packets gets errors from its kernel, which no real network gives. Rules name peers' addresses,
//! or the port on which clients are answered, so none can match the control path.
//!
//! ```text
//! halves            n1 n2 | n3 n4 n5         one-way-in    n1  x<--  all others, n1 -> them is alive
//! majorities-ring   n1-n2-n3-n4-n5-(n1)      one-way-out   n1 --x>   all others, they -> n1 is alive
//! bridge            n1 n2 - n3 - n4 n5       partial       n1 x n2, all else alive
//! ```

mod topology;

use std::sync::Arc;

use agent::protocol::{self, Connected, Direction, Drop};
use async_trait::async_trait;
use harness::nemesis::{Fault, FaultError, World};
use history::Name;
use history::fault::Loss;

use self::topology::Topology;
use crate::aim::{Aim, Sizes};
use crate::apply::{Applied, Orders, Policy};
use crate::ask::{Mechanisms, nodes, on_each};
use crate::family::{Family, Grip, Reach, Shape, What};
use crate::probes::{self, connect};
use crate::reach::{WHOLE, deafened};
use crate::sights::Sights;
use crate::targets::{Grudge, Targets, majority};

pub static FAMILY: Family = Family {
    name: "partition",
    does: "cuts the network between nodes, in one direction or both",
    example: "partition:one-way-in",
    shapes: SHAPES,
    named: None,
    in_all: Some("partition"),
};

const SHAPES: &[Shape] = &[
    split(
        "halves",
        14,
        2,
        |nodes| nodes / 2..=nodes.div_ceil(2),
        "two halves that cannot hear each other",
    ),
    split(
        "one-node",
        10,
        2,
        |_| 1..=1,
        "one node alone, all others together",
    ),
    split(
        "majority-minority",
        12,
        3,
        |nodes| 1..=nodes - majority(nodes),
        "a majority on one side, a minority of any size on the other",
    ),
    split(
        "minority-third",
        6,
        3,
        |nodes| nodes / 3..=nodes / 3,
        "a third of the nodes on one side, the others on the other",
    ),
    Shape {
        name: "majorities-ring",
        percent: 10,
        least_nodes: 4,
        aim: Aim::Ring,
        reach: |what, nodes| hearing(&ring(what), nodes),
        ..cut(
            "every node hears a majority, no two nodes the same one, and no majority is whole",
            |what| made(ring(what)),
        )
    },
    Shape {
        name: "bridge",
        percent: 10,
        least_nodes: 3,
        aim: Aim::Bridge,
        reach: |what, nodes| hearing(&bridge(what), nodes),
        ..cut(
            "two halves that only one node, the bridge, can hear and reach",
            |what| made(bridge(what)),
        )
    },
    Shape {
        name: "leader",
        percent: 12,
        least_nodes: 2,
        aim: Aim::Leader,
        ..cut("whoever leads when the fault begins, alone", |_| {
            made(Topology::Leader)
        })
    },
    Shape {
        name: "one-way-in",
        percent: 8,
        least_nodes: 2,
        aim: Aim::Peers { all: false },
        reach: |what, nodes| hearing(&one_way_in(what), nodes),
        ..cut("the targets hear nobody else, but are heard", |what| {
            made(one_way_in(what))
        })
    },
    Shape {
        name: "one-way-out",
        percent: 8,
        least_nodes: 2,
        aim: Aim::Peers { all: false },
        reach: |what, nodes| hearing(&one_way_out(what), nodes),
        ..cut(
            "the targets hear everybody, but nobody else hears them",
            |what| made(one_way_out(what)),
        )
    },
    Shape {
        name: "partial",
        percent: 6,
        least_nodes: 3,
        aim: Aim::Pair,
        reach: |what, nodes| hearing(&pair(what), nodes),
        ..cut(
            "two nodes cannot hear each other; all others hear and reach both",
            |what| made(pair(what)),
        )
    },
    Shape {
        name: "no-response",
        percent: 4,
        aim: Aim::Peers { all: true },
        ..cut(
            "requests reach the targets, and every answer from their client port is dropped",
            |what| {
                made(Topology::NoResponse {
                    targets: what.targets.clone(),
                })
            },
        )
    },
];

const fn cut(does: &'static str, make: fn(&What) -> Arc<dyn Fault>) -> Shape {
    Shape {
        needs: &[&["nft"]],
        ..Shape::new(does, Grip::Around, make)
    }
}

const fn split(
    name: &'static str,
    percent: u32,
    least_nodes: usize,
    sizes: Sizes,
    does: &'static str,
) -> Shape {
    Shape {
        name,
        percent,
        least_nodes,
        aim: Aim::Side(sizes),
        reach: |what, nodes| hearing(&sides(what), nodes),
        ..cut(does, |what| made(sides(what)))
    }
}

fn sides(what: &What) -> Topology {
    Topology::Split {
        shape: what.shape.name,
        side: named(what),
    }
}

fn ring(what: &What) -> Topology {
    Topology::MajoritiesRing { order: named(what) }
}

fn bridge(what: &What) -> Topology {
    Topology::Bridge {
        bridge: what
            .bridge
            .clone()
            .expect("a bridge is named: it is read and drawn with it"),
        side: named(what),
    }
}

fn one_way_in(what: &What) -> Topology {
    Topology::OneWayIn {
        targets: what.targets.clone(),
    }
}

fn one_way_out(what: &What) -> Topology {
    Topology::OneWayOut {
        targets: what.targets.clone(),
    }
}

fn pair(what: &What) -> Topology {
    let [a, b] = <[Name; 2]>::try_from(named(what)).expect("a pair is checked to be one");
    Topology::Partial { a, b }
}

/// The names of a shape whose nodes are never left to the run.
fn named(what: &What) -> Vec<Name> {
    match &what.targets {
        Targets::Nodes(names) => names.clone(),
        Targets::Leader => Vec::new(),
    }
}

fn made(topology: Topology) -> Arc<dyn Fault> {
    Arc::new(Applied::new(Partition { topology }))
}

/// Whoever leads is cut off in one direction or both, so it is in no connected set with others.
fn hearing(topology: &Topology, nodes: &[Name]) -> Reach {
    match topology.asks_for_leader() {
        true => Reach::Leader,
        false => Reach::Hearing(topology.grudge(nodes, None)),
    }
}

/// Cuts the network as a topology says.
struct Partition {
    topology: Topology,
}

#[async_trait]
impl Policy for Partition {
    type Before = ();

    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn label(&self) -> String {
        self.topology.label(None, None)
    }

    async fn orders(&self, world: &World) -> Result<Orders<()>, FaultError> {
        let names = names(world);
        let leader = match self.topology.asks_for_leader() {
            true => Targets::Leader.resolve(world).await?.pop(),
            false => None,
        };
        let targets = self.topology.targets(leader.as_ref());
        let mechanisms = match &self.topology {
            Topology::NoResponse { .. } => on_each(world, &targets, &drop_replies(world))?,
            _ => cuts(world, &self.topology.grudge(&names, leader.as_ref()))?,
        };
        Ok(Orders {
            label: self.topology.label(Some(&names), leader.as_ref()),
            targets,
            mechanisms,
            before: (),
        })
    }

    fn takes_away(&self, orders: &Orders<()>, world: &World) -> Loss {
        Loss {
            deaf: deafened(&orders.mechanisms, world),
            ..Loss::default()
        }
    }

    async fn witness(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        if let Topology::NoResponse { .. } = self.topology {
            // Requests still arrive: that the network itself is whole is part of what is claimed.
            probes::witness(world, &Grudge::new(), sights).await;
            let silent = |answer: &Connected| *answer == Connected::TimedOut;
            return connect(&orders.mechanisms, world, sights, silent).await;
        }
        // Whoever led when the orders were given leads the grudge, whoever leads now.
        let leader = orders.targets.first();
        let grudge = self.topology.grudge(&names(world), leader);
        probes::witness(world, &grudge, sights).await;
    }

    async fn witness_healed(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        probes::witness(world, &Grudge::new(), sights).await;
        if let Topology::NoResponse { .. } = self.topology {
            // A refusal is an answer too: the daemon may be down by another fault.
            let answers =
                |answer: &Connected| matches!(answer, Connected::Yes | Connected::Refused);
            connect(&orders.mechanisms, world, sights, answers).await;
        }
    }
}

fn names(world: &World) -> Vec<Name> {
    world.nodes.iter().map(|n| n.name.clone()).collect()
}

/// A grudge as rules: each node drops what comes from the peers that it must not hear.
fn cuts(world: &World, grudge: &Grudge) -> Result<Mechanisms, FaultError> {
    let mut mechanisms = Vec::new();
    for (name, unheard) in grudge {
        let peers: Vec<Name> = unheard.iter().cloned().collect();
        let rules = nodes(world, &peers)?
            .into_iter()
            .map(|peer| Drop {
                direction: Direction::In,
                peer: Some(peer.address),
                local_port: None,
                per_million: WHOLE,
            })
            .collect();
        let node = nodes(world, std::slice::from_ref(name))?.remove(0);
        mechanisms.push((node, protocol::Fault::Cut { rules }));
    }
    Ok(mechanisms)
}

/// Clients are not peers and have no address that is known here: the port says which packets.
fn drop_replies(world: &World) -> protocol::Fault {
    protocol::Fault::Cut {
        rules: vec![Drop {
            direction: Direction::Out,
            peer: None,
            local_port: Some(world.system.client_port()),
            per_million: WHOLE,
        }],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cluster(n: usize) -> Vec<Name> {
        (1..=n).map(|i| Name::new(format!("n{i}"))).collect()
    }

    fn side(numbers: &[usize]) -> Vec<Name> {
        let name = |i: &usize| Name::new(format!("n{i}"));
        numbers.iter().map(name).collect()
    }

    fn cut(shape: &str, targets: Targets, bridge: Option<usize>) -> What {
        What {
            family: &FAMILY,
            shape: FAMILY.shape(shape).expect("a shape of the family"),
            targets,
            bridge: bridge.map(|i| Name::new(format!("n{i}"))),
            figures: Vec::new(),
        }
    }

    fn between(shape: &str, names: Vec<Name>) -> What {
        cut(shape, Targets::Nodes(names), None)
    }

    #[test]
    fn every_split_has_sides_of_its_sizes_and_cuts_all_between_them() {
        for n in 2..=9 {
            let nodes = cluster(n);
            for shape in FAMILY.shapes.iter().filter(|s| s.least_nodes <= n) {
                let Aim::Side(sizes) = shape.aim else {
                    continue;
                };
                for size in 1..n {
                    let what = between(shape.name, cluster(size));
                    let fits = sizes(n).contains(&size);
                    let checked = what.check(&nodes, None);
                    assert_eq!(checked.is_ok(), fits, "{what:?} of {n}: {checked:?}");
                    if let (true, Reach::Hearing(grudge)) = (fits, (shape.reach)(&what, &nodes)) {
                        let cut: usize = grudge.values().map(BTreeSet::len).sum();
                        assert_eq!(cut, 2 * size * (n - size), "{what:?} of {n}");
                    }
                }
            }
        }
    }

    /// The table of which shape needs how many nodes, for the smallest clusters.
    #[test]
    fn too_few_nodes_are_refused_with_the_number_that_is_needed() {
        let of = |n: usize| -> Vec<What> {
            let one = |shape| between(shape, side(&[1]));
            vec![
                between("halves", cluster(n / 2)),
                one("one-node"),
                one("majority-minority"),
                one("minority-third"),
                cut("leader", Targets::Leader, None),
                between("majorities-ring", cluster(n)),
                cut("bridge", Targets::Nodes(side(&[1])), Some(2)),
                one("one-way-in"),
                one("one-way-out"),
                between("partial", side(&[1, 2])),
                one("no-response"),
            ]
        };
        let fit = |n: usize| -> Vec<&str> {
            let nodes = cluster(n);
            let fit = of(n).into_iter().filter(|w| w.check(&nodes, None).is_ok());
            fit.map(|w| w.shape.name).collect()
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
        assert_eq!(fit(4).len(), FAMILY.shapes.len());
        let (key, why) = between("majorities-ring", cluster(3))
            .check(&cluster(3), None)
            .unwrap_err();
        let needs = "majorities-ring needs 4 nodes or more, and there are 3";
        assert_eq!((key, why.as_str()), ("shape", needs));
    }

    #[test]
    fn names_that_make_no_sense_are_refused() {
        for (what, key, says) in [
            (between("halves", side(&[1, 9])), "targets", "n9"),
            (between("halves", side(&[1, 1])), "targets", "twice"),
            (between("halves", side(&[1])), "targets", "2 to 3"),
            (between("partial", side(&[1])), "targets", "1 are named"),
            (
                between("one-way-in", cluster(5)),
                "targets",
                "nothing is cut",
            ),
            (
                between("majorities-ring", side(&[1, 2, 3])),
                "targets",
                "3 are named",
            ),
            (
                cut("bridge", Targets::Nodes(side(&[1, 2])), Some(1)),
                "targets",
                "is the bridge",
            ),
            (
                cut("bridge", Targets::Nodes(side(&[2, 3, 4, 5])), Some(1)),
                "targets",
                "nobody",
            ),
            (
                cut("bridge", Targets::Nodes(side(&[2])), Some(9)),
                "bridge",
                "n9",
            ),
        ] {
            let (at, why) = what.check(&cluster(5), None).unwrap_err();
            assert_eq!(at, key, "{what:?}");
            assert!(why.contains(says), "{what:?}: {why}");
        }
    }
}
