//! Kill: SIGKILL to every process of a daemon; undone by starting it again. What was not synced to
//! disk by then is only as safe as the page cache: the machine itself does not go down. Daemons that
//! were killed together are started together, all at once.

use std::collections::BTreeMap;

use agent::protocol::{self, State};
use async_trait::async_trait;
use harness::nemesis::{FaultError, World};

use crate::apply::{Orders, Policy, Sights, on_each, witness_state};
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
        };
        Ok(Orders {
            label: match self.targets {
                Targets::Leader => format!("kill the leader {}", join(&targets)),
                Targets::Nodes(_) => self.label(),
            },
            mechanisms: on_each(world, &targets, &mechanism)?,
            targets,
            offsets_before: BTreeMap::new(),
        })
    }

    async fn witness(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let gone = |s: &State| matches!(s, State::Stopped { .. });
        witness_state(orders, world, sights, gone).await;
    }

    async fn witness_healed(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        let running = |s: &State| matches!(s, State::Running { .. });
        witness_state(orders, world, sights, running).await;
    }
}
