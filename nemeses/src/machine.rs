//! Faults of whole machines, by their hypervisor: suspension, and the reset button.
//!
//! **Suspend.** The machine stands still between two instructions and goes on later, as in a live
//! migration or under a hypervisor that is short of processors. To the machine no time has passed:
//! its monotonic clock says so, and so a lease that is measured by it has not run out when the rest
//! of the world has long given it to somebody else. Its wall clock lags by as much; healing sets it
//! right by what the controller measured.
//!
//! **Reboot.** What was not on the disk is lost: the kernel's page cache with it, unlike in a kill.
//! The daemon is started again when the fault is healed.
//!
//! Agents cannot do this to themselves, so there are no orders for them here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::protocol::{Clocks, Evidence, Ran, Request};
use async_trait::async_trait;
use harness::at_once::at_once;
use harness::cluster::{Machine as Hypervisor, Node};
use harness::control::ControlError;
use harness::nemesis::{Fault, FaultError, Injected, World};
use history::fault::{Loss, Receipt};

use crate::ask::nodes;
use crate::daemons;
use crate::family::{Family, Grip, Shape, What};
use crate::targets::{Targets, join};

/// A node that answers within this time does not stand still.
const SILENT: Duration = Duration::from_secs(1);
/// How exactly clocks are read: the closest of so many looks.
const LOOKS: usize = 5;

pub static FAMILY: Family = Family {
    name: "machine",
    does: "stops or restarts whole virtual machines",
    example: "machine:suspend:leader",
    shapes: &[
        Shape {
            name: "suspend",
            percent: 60,
            needs: &[&["suspend"]],
            ..Shape::new(
                "the machine and its clocks stand still, and go on later; its wall clock is set right then",
                Grip::Suspended,
                |what| made(what, Blow::Suspend),
            )
        },
        Shape {
            name: "reboot",
            percent: 40,
            needs: &[&["reset"]],
            ..Shape::new(
                "the machine is reset: what is not on its disk is lost; its daemon is started when the fault ends",
                Grip::Reset,
                |what| made(what, Blow::Reboot),
            )
        },
    ],
    named: None,
    // Few clusters have machines that can be had.
    in_all: None,
};

fn made(what: &What, blow: Blow) -> Arc<dyn Fault> {
    Arc::new(Struck {
        targets: what.targets.clone(),
        blow,
        struck: Mutex::default(),
    })
}

/// What is done to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Suspend,
    Reboot,
}

impl Blow {
    fn verb(self) -> &'static str {
        match self {
            Blow::Suspend => "suspend",
            Blow::Reboot => "reboot",
        }
    }
}

/// What was known of a machine before, by which it is told what became of it.
#[derive(Clone, Debug)]
struct Before {
    node: Node,
    machine: Arc<dyn Hypervisor>,
    /// Which start of its kernel it was.
    boot: String,
    clock: Look,
}

/// Suspends or reboots the machines of some nodes; with a memory of whom it hit.
struct Struck {
    targets: Targets,
    blow: Blow,
    struck: Mutex<BTreeMap<u64, Vec<Before>>>,
}

impl Struck {
    fn known(&self, number: u64) -> Vec<Before> {
        let struck = self.struck.lock().expect("no panic while held");
        struck.get(&number).cloned().unwrap_or_default()
    }
}

/// When the first machine had been struck.
#[derive(Clone, Default)]
struct First(Arc<Mutex<Option<Instant>>>);

impl First {
    fn now(&self) {
        let mut first = self.0.lock().expect("no panic while held");
        first.get_or_insert_with(Instant::now);
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().expect("no panic while held")
    }
}

/// What was seen on a node: whether it is as it should be, and what tells so.
type Seen = Result<(bool, Vec<String>), ControlError>;

#[async_trait]
impl Fault for Struck {
    fn family(&self) -> &str {
        FAMILY.name
    }

    fn label(&self) -> String {
        format!("{} the machine of {}", self.blow.verb(), self.targets)
    }

    async fn inject(&self, number: u64, world: &World) -> Result<Injected, FaultError> {
        let targets = self.targets.resolve(world).await?;
        let looks = nodes(world, &targets)?.into_iter().map(before);
        let (before, errors) = apart(at_once(looks).await);
        if !errors.is_empty() {
            return Err(FaultError::Control(errors));
        }
        // Remembered before anything is done, so that a failure half way is healed too.
        self.struck
            .lock()
            .expect("no panic while held")
            .insert(number, before.clone());
        let blow = self.blow;
        let first = First::default();
        let blows = before.into_iter().map(|before| {
            let first = first.clone();
            async move {
                match blow {
                    Blow::Suspend => suspend(&before, &first).await,
                    Blow::Reboot => reboot(&before, &first).await,
                }
            }
        });
        let receipt = receipt(at_once(blows).await)?;
        Ok(Injected {
            label: format!("{} the machine of {}", blow.verb(), join(&targets)),
            loss: Loss {
                down: targets.clone(),
                ..Loss::default()
            },
            targets,
            receipt,
            in_force: first.get(),
        })
    }

    async fn heal(&self, number: u64, world: &World) -> Result<Receipt, FaultError> {
        let before = self.known(number);
        let blow = self.blow;
        let healed = before.into_iter().map(|before| {
            let world = world.clone();
            async move {
                match blow {
                    Blow::Suspend => resume(&before).await,
                    Blow::Reboot => Ok((true, vec![daemons::start(&before.node, &world).await?])),
                }
            }
        });
        let receipt = receipt(at_once(healed).await)?;
        // Forgotten only now: a heal that failed is tried again with the same nodes.
        let mut struck = self.struck.lock().expect("no panic while held");
        struck.remove(&number);
        Ok(receipt)
    }
}

fn apart<T>(results: Vec<Result<T, ControlError>>) -> (Vec<T>, Vec<ControlError>) {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => done.push(value),
            Err(error) => errors.push(error),
        }
    }
    (done, errors)
}

fn receipt(seen: Vec<Seen>) -> Result<Receipt, FaultError> {
    let (seen, errors) = apart(seen);
    match errors.is_empty() {
        false => Err(FaultError::Control(errors)),
        true => Ok(Receipt {
            held: seen.iter().all(|(held, _)| *held),
            evidence: seen.into_iter().flat_map(|(_, lines)| lines).collect(),
            ..Receipt::default()
        }),
    }
}

/// A hypervisor that does not do what it is told.
fn failed(node: &Node, what: &str) -> impl Fn(String) -> ControlError {
    let (node, request) = (node.name.clone(), what.to_string());
    move |reason| ControlError::Refused {
        node: node.clone(),
        request: request.clone(),
        reason,
    }
}

async fn before(node: Node) -> Result<Before, ControlError> {
    let none = || "its machine cannot be had from here".to_string();
    let machine = node.machine.clone().ok_or_else(none);
    Ok(Before {
        machine: machine.map_err(failed(&node, "machine"))?,
        boot: boot(&node).await?,
        clock: look(&node).await?,
        node,
    })
}

async fn boot(node: &Node) -> Result<String, ControlError> {
    let ran: Ran = node
        .agent
        .call(Request::Run {
            argv: ["cat", "/proc/sys/kernel/random/boot_id"]
                .map(String::from)
                .to_vec(),
            stdin: String::new(),
            timeout_ms: 10_000,
        })
        .await?;
    Ok(ran.stdout.trim().to_string())
}

/// A machine's monotonic clock, read between two looks at the controller's.
#[derive(Clone, Copy, Debug)]
struct Look {
    own_ns: i128,
    /// In the middle of the two looks.
    ours: Instant,
    error: Duration,
}

impl Look {
    /// How much less time has passed there than here, and how exactly that is known, in ns.
    fn lost_until(&self, later: &Look) -> (i128, i128) {
        let here = later.ours.duration_since(self.ours).as_nanos() as i128;
        let there = later.own_ns - self.own_ns;
        let error = (self.error + later.error).as_nanos() as i128;
        (here - there, error)
    }
}

async fn look(node: &Node) -> Result<Look, ControlError> {
    let mut best: Option<Look> = None;
    for _ in 0..LOOKS {
        let asked = Instant::now();
        let clocks: Clocks = node.agent.call(Request::Clocks { daemon: None }).await?;
        let half = asked.elapsed() / 2;
        if best.is_none_or(|best| half < best.error) {
            best = Some(Look {
                own_ns: clocks.monotonic_ns.into(),
                ours: asked + half,
                error: half,
            });
        }
    }
    Ok(best.expect("there is more than one look"))
}

async fn suspend(before: &Before, first: &First) -> Seen {
    let Before { node, machine, .. } = before;
    node.agent.leave();
    let stopped = machine.suspend().await;
    stopped.map_err(failed(node, "suspend"))?;
    first.now();
    let state = machine.state().await;
    let state = state.map_err(failed(node, "state"))?;
    let answers = node.agent.answers(SILENT).await;
    let name = &node.name;
    Ok((
        state == "paused" && !answers,
        vec![
            format!("{name}: its hypervisor says that it is {state}"),
            match answers {
                true => format!("{name}: its agent answers"),
                false => format!("{name}: its agent does not answer for {SILENT:?}"),
            },
        ],
    ))
}

async fn resume(before: &Before) -> Seen {
    let Before { node, machine, .. } = before;
    let resumed = machine.resume().await;
    // Whatever came of it: whoever waits for the node is to learn how it is.
    node.agent.come_back();
    resumed.map_err(failed(node, "resume"))?;
    let (lost_ns, error_ns) = before.clock.lost_until(&look(node).await?);
    let ms = |ns: i128| ns as f64 / 1e6;
    let name = &node.name;
    let mut lines = vec![format!(
        "{name}: its monotonic clock missed {:.1} ms (error {:.1} ms)",
        ms(lost_ns),
        ms(error_ns)
    )];
    // A clock that went on, as some hypervisors have it, needs nothing.
    if lost_ns > error_ns {
        let lost_ns = i64::try_from(lost_ns).unwrap_or(i64::MAX);
        match node
            .agent
            .call::<Evidence>(Request::MakeUp { lost_ns })
            .await
        {
            Ok(made_up) => {
                let made_up = made_up.evidence.into_iter();
                lines.extend(made_up.map(|line| format!("{name}: {line}")));
            }
            Err(ControlError::Refused { reason, .. }) => {
                lines.push(format!("{name}: its wall clock lags: {reason}"));
            }
            Err(e) => return Err(e),
        }
    }
    Ok((true, lines))
}

/// Returns when it is there again, with another agent and without its daemon.
async fn reboot(before: &Before, first: &First) -> Seen {
    let Before { node, machine, .. } = before;
    let began = Instant::now();
    node.agent.leave();
    let reset = machine.reset().await;
    if let Err(reason) = reset {
        node.agent.come_back();
        return Err(failed(node, "reset")(reason));
    }
    first.now();
    node.agent.restart().await?;
    let now = boot(node).await?;
    let (name, was) = (&node.name, &before.boot);
    Ok((
        now != *was,
        vec![format!(
            "{name}: boot id {now} after {:.1} s, before it was {was}",
            began.elapsed().as_secs_f64()
        )],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_missed_is_known_as_exactly_as_both_looks() {
        let began = Instant::now();
        let look = |own_ms: i128, ours_ms: u64, error_ms: u64| Look {
            own_ns: own_ms * 1_000_000,
            ours: began + Duration::from_millis(ours_ms),
            error: Duration::from_millis(error_ms),
        };
        // Ten seconds here, two there.
        let (lost, error) = look(500, 0, 3).lost_until(&look(2_500, 10_000, 4));
        assert_eq!((lost, error), (8_000_000_000, 7_000_000));
        let (lost, _) = look(500, 0, 3).lost_until(&look(10_500, 10_000, 4));
        assert_eq!(lost, 0);
    }
}
