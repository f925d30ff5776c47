//! Operations of a system's own as faults: to compact its history, to remove a member and add it
//! again, to upgrade a node in the middle of a run. What an administrator does to a healthy cluster
//! is where many bugs were found.
//!
//! The shapes are the system's: it gives each operation a name and knows how to do it, how to undo
//! it, and how to look whether it is done ([`harness::system::System::operate`]). Whether one can
//! be asked for is only known with the system, so names are checked where that is known.
//!
//! An operation is not journalled by an agent: it acts on what the system itself keeps on the node,
//! and that goes with the system.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent::protocol::{Request, State};
use async_trait::async_trait;
use harness::at_once::at_once;
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::{Fault, FaultError, Injected, World};
use harness::system::{Operated, Operation, Step};
use history::Name;
use history::fault::{Loss, Receipt};
use tokio::time::sleep;

use crate::ask::{Told, nodes};
use crate::daemons;
use crate::family::{Family, Grip, Shape};
use crate::sights::Sights;
use crate::targets::{Targets, join};

/// How long a daemon that is to be started anew may take to end in good order.
const GRACE: Duration = Duration::from_secs(10);
/// How long an operation may take to show, and how often it is looked for.
const SHOWS: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub static FAMILY: Family = Family {
    name: "admin",
    does: "does an operation of the system's own to a node, and undoes it later",
    example: "admin:compact",
    shapes: &[Shape {
        name: "OPERATION",
        ..Shape::new(
            "one that the system offers: `schism systems` lists them",
            Grip::Operated,
            |what| {
                Arc::new(Asked {
                    operation: what.shape.name,
                    targets: what.targets.clone(),
                    done: Mutex::default(),
                })
            },
        )
    }],
    named: Some(shape),
    in_all: None,
};

/// The shape of this name. Each is made once, for shapes live as long as the program.
fn shape(name: &str) -> Option<&'static Shape> {
    static MADE: Mutex<Vec<&'static Shape>> = Mutex::new(Vec::new());
    if !Operation::is_name(name) {
        return None;
    }
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = made.iter().find(|shape| shape.name == name) {
        return Some(known);
    }
    let shape: &'static Shape = Box::leak(Box::new(Shape {
        name: name.to_string().leak(),
        ..FAMILY.shapes[0]
    }));
    made.push(shape);
    Some(shape)
}

/// Does one operation to some nodes; with a memory of whom it was done to.
struct Asked {
    operation: &'static str,
    targets: Targets,
    done: Mutex<BTreeMap<u64, Vec<Name>>>,
}

impl Asked {
    fn operation(&self, world: &World) -> Result<Operation, FaultError> {
        let all = world.system.operations();
        let mut all = all.into_iter();
        let found = all.find(|operation| operation.name == self.operation);
        found.ok_or_else(|| {
            let (system, operation) = (world.system.name(), self.operation);
            FaultError::NoTarget(format!("{system} has no operation {operation}"))
        })
    }

    /// Whom it was done to under this number.
    fn met(&self, number: u64) -> Vec<Name> {
        let done = self.done.lock().expect("no panic while held");
        done.get(&number).cloned().unwrap_or_default()
    }
}

/// One part of an operation on all these nodes at once.
async fn part(
    operation: &Operation,
    step: Step,
    targets: &[Name],
    world: &World,
) -> Result<Told, FaultError> {
    let parts = nodes(world, targets)?.into_iter().map(|node| {
        let (operation, world) = (operation.clone(), world.clone());
        async move {
            let done = on_node(&operation, step, &node, &world).await;
            Ok((done?, Instant::now()))
        }
    });
    Told::of(at_once(parts).await)
}

#[async_trait]
impl Fault for Asked {
    fn family(&self) -> &str {
        FAMILY.name
    }

    fn label(&self) -> String {
        format!("{} {}", self.operation, self.targets)
    }

    async fn inject(&self, number: u64, world: &World) -> Result<Injected, FaultError> {
        let operation = self.operation(world)?;
        let targets = self.targets.resolve(world).await?;
        // Remembered before anything is done, so that a failure half way is undone too.
        self.done
            .lock()
            .expect("no panic while held")
            .insert(number, targets.clone());
        let told = part(&operation, Step::Do, &targets, world).await?;
        Ok(Injected {
            label: match &self.targets {
                Targets::Leader => format!("{} the leader {}", self.operation, join(&targets)),
                Targets::Nodes(_) => self.label(),
            },
            loss: Loss {
                down: match operation.takes_node_away {
                    true => targets.clone(),
                    false => Vec::new(),
                },
                ..Loss::default()
            },
            targets,
            receipt: told.sights.receipt(),
            in_force: told.first,
        })
    }

    async fn heal(&self, number: u64, world: &World) -> Result<Receipt, FaultError> {
        let operation = self.operation(world)?;
        let receipt = match operation.is_undone {
            true => {
                let told = part(&operation, Step::Undo, &self.met(number), world).await?;
                told.sights.receipt()
            }
            false => Receipt {
                held: true,
                evidence: vec!["nothing undoes it".into()],
                stays: true,
                ..Receipt::default()
            },
        };
        // Forgotten only now: a heal that failed is tried again with the same nodes.
        self.done
            .lock()
            .expect("no panic while held")
            .remove(&number);
        Ok(receipt)
    }
}

/// Does or undoes it on one node, with the daemon stopped meanwhile if it must be, and looks
/// whether that shows.
async fn on_node(
    operation: &Operation,
    step: Step,
    node: &Node,
    world: &World,
) -> Result<Sights, ControlError> {
    let mut sights = Sights::default();
    let (name, daemon) = (&node.name, &world.daemon);
    if operation.restarts {
        let stop = Request::Stop {
            daemon: daemon.clone(),
            grace_ms: GRACE.as_millis() as u64,
        };
        node.agent.call::<State>(stop).await?;
    }
    let asked = |step| {
        let system = world.system.clone();
        async move {
            system
                .operate(operation.name, step, node, &world.nodes)
                .await
        }
    };
    let done = asked(step).await;
    if operation.restarts {
        sights.note(daemons::start(node, world).await?);
    }
    let Operated { worked, told } = done?;
    sights.see(worked, format!("{name}: {told}"));
    if !(operation.is_checked && worked) {
        return Ok(sights);
    }
    let wanted = step == Step::Do;
    let began = Instant::now();
    loop {
        let looked = asked(Step::Check).await?;
        let is_so = looked.worked == wanted;
        if is_so || began.elapsed() > SHOWS {
            let is = if looked.worked { "is" } else { "is not" };
            let line = format!("{name}: {} {is} in force: {}", operation.name, looked.told);
            sights.see(is_so, line);
            return Ok(sights);
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operations_name_is_a_word_and_no_kind_of_target() {
        for name in ["compact", "remove-member", "step2"] {
            assert!(shape(name).is_some(), "{name}");
        }
        let whom = crate::WHO.iter().map(|who| who.name);
        for name in ["", "Compact", "2nd", "a b", "-x", "x:y"]
            .into_iter()
            .chain(whom)
        {
            assert!(shape(name).is_none(), "{name}");
        }
        let one = shape("compact").expect("a name");
        assert!(std::ptr::eq(one, shape("compact").expect("a name")));
        assert_ne!(one, shape("defragment").expect("a name"));
    }
}
