//! Kill: SIGKILL to every process of a daemon, and to whoever serves in its place; undone by starting it again. What was not synced to
//! disk by then is only as safe as the page cache: the machine itself does not go down. Daemons that
//! were killed together are started together, all at once.

use std::collections::BTreeMap;

use agent::protocol::{self, Connected, State};
use async_trait::async_trait;
use harness::nemesis::{FaultError, World};

use crate::apply::{Orders, Policy, Sights, on_each, witness_state};
use crate::probes::connect;
use crate::registry::Family;
use crate::targets::{Targets, join};

/// Kills the daemons of some nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub targets: Targets,
}

#[async_trait]
impl Policy for Kill {
    fn family(&self) -> Family {
        Family::Kill
    }

    fn label(&self) -> String {
        format!("kill {}", self.targets)
    }

    async fn orders(&self, world: &World) -> Result<Orders, FaultError> {
        let targets = self.targets.resolve(world).await?;
        let mechanism = protocol::Fault::Kill {
            daemon: world.daemon.clone(),
            ports: vec![world.system.client_port()],
        };
        Ok(Orders {
            label: match self.targets {
                Targets::Leader => format!("kill the leader {}", join(&targets)),
                Targets::Nodes(_) => self.label(),
            },
            mechanisms: on_each(world, &targets, &mechanism)?,
            targets,
            offsets_before: BTreeMap::new(),
            logs: BTreeMap::new(),
        })
    }

    async fn witness(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let gone = |s: &State| matches!(s, State::Stopped { .. });
        witness_state(orders, world, sights, gone).await;
        // Whoever answers there, the service is not dead.
        let silent = |answer: &Connected| *answer != Connected::Yes;
        connect(orders, world, sights, silent).await;
    }

    async fn witness_last(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let mut seen = Sights::default();
        let silent = |answer: &Connected| *answer != Connected::Yes;
        connect(orders, world, &mut seen, silent).await;
        sights.take_back(seen);
    }

    async fn witness_healed(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let running = |s: &State| matches!(s, State::Running { .. });
        witness_state(orders, world, sights, running).await;
    }
}
