//! Pause: SIGSTOP to every process of a daemon, SIGCONT to undo it. What a long garbage collection,
//! a swapped-out process or a starved scheduler looks like from outside: connections stay open,
//! nothing is answered, and afterwards the daemon goes on in the middle of what it did.

use std::sync::Arc;

use agent::protocol::{self, State};
use async_trait::async_trait;
use harness::nemesis::{FaultError, World};
use history::fault::Loss;

use crate::apply::{Applied, Orders, Policy};
use crate::ask::witness_state;
use crate::daemons;
use crate::family::{Family, Grip, Shape};
use crate::sights::Sights;
use crate::targets::Targets;

pub static FAMILY: Family = Family {
    name: "pause",
    does: "stops every process of a daemon, and resumes them later",
    example: "pause:leader",
    shapes: &[Shape::new("", Grip::Paused, |what| {
        let targets = what.targets.clone();
        Arc::new(Applied::new(Pause { targets }))
    })],
    named: None,
    in_all: Some("pause"),
};

/// Stops the daemons of some nodes.
struct Pause {
    targets: Targets,
}

#[async_trait]
impl Policy for Pause {
    type Before = ();

    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn label(&self) -> String {
        format!("pause {}", self.targets)
    }

    async fn orders(&self, world: &World) -> Result<Orders<()>, FaultError> {
        let fault = |daemon, ports| protocol::Fault::Pause { daemon, ports };
        daemons::orders("pause", &self.targets, world, fault).await
    }

    fn takes_away(&self, orders: &Orders<()>, _: &World) -> Loss {
        daemons::down(&orders.targets)
    }

    async fn witness(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        let paused = |s: &State| matches!(s, State::Paused { .. });
        witness_state(&orders.mechanisms, world, sights, paused).await;
    }

    async fn witness_healed(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        let running = |s: &State| matches!(s, State::Running { .. });
        witness_state(&orders.mechanisms, world, sights, running).await;
    }
}
