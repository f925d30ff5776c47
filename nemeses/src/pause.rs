//! Pause: SIGSTOP to every process of a daemon, SIGCONT to undo it. What a long garbage collection, a
//! swapped-out process or a starved scheduler looks like from outside: connections stay open, nothing
//! is answered, and afterwards the daemon goes on in the middle of what it did.

use std::collections::BTreeMap;

use agent::protocol::{self, State};
use async_trait::async_trait;
use harness::nemesis::{FaultError, World};

use crate::apply::{Orders, Policy, Sights, on_each, witness_state};
use crate::registry::Family;
use crate::targets::{Targets, join};

/// Stops the daemons of some nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub targets: Targets,
}

#[async_trait]
impl Policy for Pause {
    fn family(&self) -> Family {
        Family::Pause
    }

    fn label(&self) -> String {
        format!("pause {}", self.targets)
    }

    async fn orders(&self, world: &World) -> Result<Orders, FaultError> {
        let targets = self.targets.resolve(world).await?;
        let mechanism = protocol::Fault::Pause {
            daemon: world.daemon.clone(),
            ports: vec![world.system.client_port()],
        };
        Ok(Orders {
            label: match self.targets {
                Targets::Leader => format!("pause the leader {}", join(&targets)),
                Targets::Nodes(_) => self.label(),
            },
            mechanisms: on_each(world, &targets, &mechanism)?,
            targets,
            offsets_before: BTreeMap::new(),
            logs: BTreeMap::new(),
        })
    }

    async fn witness(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let paused = |s: &State| matches!(s, State::Paused { .. });
        witness_state(orders, world, sights, paused).await;
    }

    async fn witness_healed(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let running = |s: &State| matches!(s, State::Running { .. });
        witness_state(orders, world, sights, running).await;
    }
}
