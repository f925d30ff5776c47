//! What faults of whole daemons have in common: whom they meet, and what they take away.

use agent::protocol::{self, Request, Started};
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::{FaultError, World};
use history::Name;
use history::fault::Loss;

use crate::apply::Orders;
use crate::ask::on_each;
use crate::targets::{Targets, join};

/// `verb` is what is done to the daemons of these nodes. `fault` says it to their agents, with the
/// ports at which a daemon is known.
pub(crate) async fn orders(
    verb: &str,
    targets: &Targets,
    world: &World,
    fault: fn(String, Vec<u16>) -> protocol::Fault,
) -> Result<Orders<()>, FaultError> {
    let met = targets.resolve(world).await?;
    let mechanism = fault(world.daemon.clone(), vec![world.system.client_port()]);
    Ok(Orders {
        label: match targets {
            Targets::Leader => format!("{verb} the leader {}", join(&met)),
            Targets::Nodes(_) => format!("{verb} {targets}"),
        },
        mechanisms: on_each(world, &met, &mechanism)?,
        targets: met,
        before: (),
    })
}

/// Starts the daemon of a node again. Returns what there is to say of it.
pub(crate) async fn start(node: &Node, world: &World) -> Result<String, ControlError> {
    let daemon = world.system.daemon(node, &world.nodes);
    let started: Started = node.agent.call(Request::Start { daemon }).await?;
    Ok(format!(
        "{}: {} runs, pid {}",
        node.name, world.daemon, started.pid
    ))
}

/// While the fault lasts these nodes serve nobody.
pub(crate) fn down(nodes: &[Name]) -> Loss {
    Loss {
        down: nodes.to_vec(),
        ..Loss::default()
    }
}
