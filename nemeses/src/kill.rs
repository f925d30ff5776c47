//! Kill: SIGKILL to every process of a daemon, and to whoever serves in its place; undone by
//! starting it again. What was not synced to disk by then is only as safe as the page cache: the
//! machine itself does not go down. Daemons that were killed together are started together, all at
//! once.

use std::sync::Arc;

use agent::protocol::{self, Connected, State};
use async_trait::async_trait;
use harness::nemesis::{FaultError, World};
use history::fault::Loss;

use crate::apply::{Applied, Orders, Policy};
use crate::ask::witness_state;
use crate::daemons;
use crate::family::{Family, Grip, Shape};
use crate::probes::connect;
use crate::sights::Sights;
use crate::targets::Targets;

pub static FAMILY: Family = Family {
    name: "kill",
    does: "kills every process of a daemon, and starts it again later",
    example: "kill:all",
    shapes: &[Shape::new("", Grip::Killed, |what| {
        let targets = what.targets.clone();
        Arc::new(Applied::new(Kill { targets }))
    })],
    named: None,
    in_all: Some("kill"),
};

/// Kills the daemons of some nodes.
struct Kill {
    targets: Targets,
}

#[async_trait]
impl Policy for Kill {
    type Before = ();

    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn label(&self) -> String {
        format!("kill {}", self.targets)
    }

    async fn orders(&self, world: &World) -> Result<Orders<()>, FaultError> {
        let fault = |daemon, ports| protocol::Fault::Kill { daemon, ports };
        daemons::orders("kill", &self.targets, world, fault).await
    }

    fn takes_away(&self, orders: &Orders<()>, _: &World) -> Loss {
        daemons::down(&orders.targets)
    }

    async fn witness(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        let gone = |s: &State| matches!(s, State::Stopped { .. });
        witness_state(&orders.mechanisms, world, sights, gone).await;
        // Whoever answers there, the service is not dead.
        let silent = |answer: &Connected| *answer != Connected::Yes;
        connect(&orders.mechanisms, world, sights, silent).await;
    }

    async fn witness_last(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        let mut seen = Sights::default();
        let silent = |answer: &Connected| *answer != Connected::Yes;
        connect(&orders.mechanisms, world, &mut seen, silent).await;
        sights.take_back(seen);
    }

    async fn witness_healed(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        let running = |s: &State| matches!(s, State::Running { .. });
        witness_state(&orders.mechanisms, world, sights, running).await;
    }
}
