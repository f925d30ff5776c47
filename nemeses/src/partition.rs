//! Partition: packets between nodes are dropped, in one direction or both.
//!
//! A topology says who no longer hears whom (its *grudge*); a pure function works that out. Packets
//! are dropped where they arrive, and not where they leave: a sender whose own firewall drops its
//! packets gets errors from its kernel, which no real network gives. Rules name peers' addresses, or
//! the port on which clients are answered, so none can match the control path.
//!
//! ```text
//! halves            n1 n2 | n3 n4 n5         one-way-in    n1  x<--  all others, n1 -> them is alive
//! majorities-ring   n1-n2-n3-n4-n5-(n1)      one-way-out   n1 --x>   all others, they -> n1 is alive
//! bridge            n1 n2 - n3 - n4 n5       partial       n1 x n2, all else alive
//! ```

mod topology;

use std::collections::BTreeMap;

use agent::protocol::{self, Connected, Direction, Drop};
use async_trait::async_trait;
use harness::nemesis::{FaultError, World};
use history::Name;

pub(crate) use self::topology::mutual;
pub use self::topology::{SPLITS, Sizes, Topology};
use crate::apply::{Orders, Policy, Sights, nodes, on_each};
use crate::probes::{self, Grudge, connect};
use crate::registry::Family;
use crate::targets::Targets;

/// Cuts the network as a topology says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub topology: Topology,
}

#[async_trait]
impl Policy for Partition {
    fn family(&self) -> Family {
        Family::Partition
    }

    fn label(&self) -> String {
        self.topology.label(None, None)
    }

    async fn orders(&self, world: &World) -> Result<Orders, FaultError> {
        let names = names(world);
        let leader = match self.topology.asks_for_leader() {
            true => Targets::Leader.resolve(world).await?.pop(),
            false => None,
        };
        self.topology.check(&names).map_err(FaultError::NoTarget)?;
        let targets = self.topology.targets(leader.as_ref());
        let mechanisms = match &self.topology {
            Topology::NoResponse { .. } => on_each(world, &targets, &drop_replies(world))?,
            _ => cuts(world, &self.topology.grudge(&names, leader.as_ref()))?,
        };
        Ok(Orders {
            label: self.topology.label(Some(&names), leader.as_ref()),
            targets,
            mechanisms,
            offsets_before: BTreeMap::new(),
            logs: BTreeMap::new(),
        })
    }

    async fn witness(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        if let Topology::NoResponse { .. } = self.topology {
            // Requests still arrive: that the network itself is whole is part of what is claimed.
            probes::witness(world, &Grudge::new(), sights).await;
            let silent = |answer: &Connected| *answer == Connected::TimedOut;
            return connect(orders, world, sights, silent).await;
        }
        // Whoever led when the orders were given leads the grudge, whoever leads now.
        let leader = orders.targets.first();
        let grudge = self.topology.grudge(&names(world), leader);
        probes::witness(world, &grudge, sights).await;
    }

    async fn witness_healed(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        probes::witness(world, &Grudge::new(), sights).await;
        if let Topology::NoResponse { .. } = self.topology {
            // A refusal is an answer too: the daemon may be down by another fault.
            let answers =
                |answer: &Connected| matches!(answer, Connected::Yes | Connected::Refused);
            connect(orders, world, sights, answers).await;
        }
    }
}

fn names(world: &World) -> Vec<Name> {
    world.nodes.iter().map(|n| n.name.clone()).collect()
}

/// A grudge as rules: each node drops what comes from the peers that it must not hear.
fn cuts(
    world: &World,
    grudge: &Grudge,
) -> Result<Vec<(harness::cluster::Node, protocol::Fault)>, FaultError> {
    let mut mechanisms = Vec::new();
    for (name, unheard) in grudge {
        let peers: Vec<Name> = unheard.iter().cloned().collect();
        let rules = nodes(world, &peers)?
            .into_iter()
            .map(|peer| Drop {
                direction: Direction::In,
                peer: Some(peer.address),
                local_port: None,
                per_million: 1_000_000,
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
            per_million: 1_000_000,
        }],
    }
}
