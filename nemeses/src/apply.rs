//! What all families share: tell the agents, remember whom, take it back, and put the evidence
//! together.
//!
//! A family is a [`Policy`]: it decides whom and what, and looks by a second path. [`Applied`] makes a
//! [`Fault`] of it. Healing goes to every node that injection was sent to, whether or not that node
//! said that it worked: an agent that did not answer may have applied it all the same.
//!
//! A healing can take back that the fault held: what no program noticed, and what there was nobody to
//! do to (`reach`), was no fault.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use agent::protocol::{self, Direction, Evidence, Request, State};
use async_trait::async_trait;
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::{Fault, FaultError, Injected, World};
use history::Name;
use history::fault::{Loss, Receipt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::clock::Reading;
use crate::reach::Lives;
use crate::registry::Family;
use crate::stamps::Marks;

/// A rule that drops every packet, in millionths.
const WHOLE: u32 = 1_000_000;

/// How long a fault that was undone may seem to be there, and how often that is looked at.
const GONE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What an injection is going to do, with everything decided.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub label: String,
    pub targets: Vec<Name>,
    /// What each agent is told. Not only targets: a node is cut off by what its peers drop.
    pub mechanisms: Vec<(Node, protocol::Fault)>,
    /// How far the daemons' wall clocks were off before, where a family has to know: a fault whose
    /// lag is kept may have gone before.
    pub offsets_before: BTreeMap<Name, Reading>,
    /// Where the daemons' logs ended once it was done, where a family reads them.
    pub logs: Marks,
}

/// A family's part of a fault.
#[async_trait]
pub(crate) trait Policy: Send + Sync {
    fn family(&self) -> Family;

    /// One line for people, before anything is decided.
    fn label(&self) -> String;

    /// Decides what is left to decide.
    async fn orders(&self, world: &World) -> Result<Orders, FaultError>;

    /// Notes what has to be known of the moment in which the fault began.
    async fn begun(&self, _orders: &mut Orders, _world: &World) {}

    /// Whether it is seen at every look while it is in force: then one look that does not see it is
    /// proof enough that it is gone.
    fn is_steady(&self) -> bool {
        true
    }

    /// Looks, by another path than the one that did it, whether the fault is in force.
    async fn witness(&self, orders: &Orders, world: &World, sights: &mut Sights);

    /// Looks at what can only be seen before the fault is taken back.
    async fn witness_last(&self, _orders: &Orders, _world: &World, _sights: &mut Sights) {}

    /// Looks whether the fault is gone.
    async fn witness_healed(&self, orders: &Orders, world: &World, sights: &mut Sights);
}

/// Evidence as it comes in. One contradiction is enough: then the receipt does not hold.
#[derive(Debug, Default)]
pub(crate) struct Sights {
    lines: Vec<String>,
    contradicted: bool,
    /// Where looking itself failed.
    unseen: Vec<String>,
    /// Why the fault was none, as seen at its end.
    void: Vec<String>,
}

impl Sights {
    pub fn agrees(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub fn contradicts(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
        self.contradicted = true;
    }

    pub fn see(&mut self, agrees: bool, line: impl Into<String>) {
        match agrees {
            true => self.agrees(line),
            false => self.contradicts(line),
        }
    }

    /// Seen at the fault's end: it had not been in force after all, or there was nothing to act on.
    pub fn voids(&mut self, line: impl Into<String>) {
        self.void.push(line.into());
    }

    /// Looks just before the healing: what contradicts the fault then, takes it back.
    pub fn take_back(&mut self, seen: Sights) {
        match seen.contradicted {
            true => self.void.extend(seen.lines),
            false => self.lines.extend(seen.lines),
        }
        self.lines.extend(seen.unseen);
    }

    /// What was seen elsewhere, after what is here.
    pub fn merge(&mut self, other: Sights) {
        self.lines.extend(other.lines);
        self.contradicted |= other.contradicted;
        self.unseen.extend(other.unseen);
        self.void.extend(other.void);
    }

    /// An agent's own evidence.
    fn agent(&mut self, node: &Name, evidence: Evidence) {
        self.contradicted |= !evidence.held;
        if evidence.evidence.is_empty() {
            self.lines.push(match evidence.held {
                true => format!("{node}: the agent says so"),
                false => format!("{node}: the agent saw no effect"),
            });
        }
        for line in evidence.evidence {
            self.lines.push(format!("{node}: {line}"));
        }
        let void = evidence.void.into_iter();
        self.void.extend(void.map(|why| format!("{node}: {why}")));
    }

    /// Looking itself failed: what was not seen does not count as seen.
    pub fn blind(&mut self, error: &ControlError) {
        self.unseen.push(format!("no evidence: {error}"));
    }

    pub fn agree(&self) -> bool {
        !self.contradicted && self.unseen.is_empty()
    }

    fn receipt(mut self) -> Receipt {
        let held = self.agree();
        self.lines.append(&mut self.unseen);
        Receipt {
            held,
            evidence: self.lines,
            void: self.void,
        }
    }
}

/// A policy as a fault: with a memory of what was injected under which number.
pub(crate) struct Applied<P> {
    policy: P,
    injected: Mutex<BTreeMap<u64, Injection>>,
}

/// What was ordered, and what is known of the nodes from then.
#[derive(Clone)]
struct Injection {
    orders: Orders,
    /// Which daemons lived when it had been injected; none yet.
    lives: Option<Lives>,
}

impl<P> Applied<P> {
    pub fn new(policy: P) -> Applied<P> {
        Applied {
            policy,
            injected: Mutex::default(),
        }
    }
}

impl<P: Policy> Applied<P> {
    /// Looks whether the fault is gone, and again if it does not seem so: a machine that has too much
    /// to do loses probes and answers late, and that passes.
    async fn look_healed(&self, orders: &Orders, world: &World) -> Sights {
        let began = Instant::now();
        for look in 1_u32.. {
            let mut sights = Sights::default();
            self.policy.witness_healed(orders, world, &mut sights).await;
            let again = self.policy.is_steady() && began.elapsed() < GONE;
            if sights.agree() || !again {
                if look > 1 {
                    let after = began.elapsed().as_secs_f64();
                    sights
                        .lines
                        .push(format!("look {look}, {after:.1} s after healing"));
                }
                return sights;
            }
            sleep(LOOK_AGAIN).await;
        }
        unreachable!("it returns at the last look")
    }
}

#[async_trait]
impl<P: Policy> Fault for Applied<P> {
    fn family(&self) -> &str {
        self.policy.family().name()
    }

    fn label(&self) -> String {
        self.policy.label()
    }

    async fn inject(&self, number: u64, world: &World) -> Result<Injected, FaultError> {
        let mut orders = self.policy.orders(world).await?;
        // Remembered before anything is sent, so that a failure half way is healed too.
        self.injected.lock().expect("no panic while held").insert(
            number,
            Injection {
                orders: orders.clone(),
                lives: None,
            },
        );
        let requests = orders.mechanisms.iter().map(|(node, kind)| {
            let kind = kind.clone();
            (
                node.clone(),
                Request::Inject {
                    fault: number,
                    kind,
                },
            )
        });
        let Told { mut sights, first } = tell(requests).await?;
        self.policy.begun(&mut orders, world).await;
        let lives = Lives::look(&orders, world).await;
        if let Some(known) = self
            .injected
            .lock()
            .expect("no panic while held")
            .get_mut(&number)
        {
            known.orders = orders.clone();
            known.lives = lives;
        }
        self.policy.witness(&orders, world, &mut sights).await;
        Ok(Injected {
            loss: loss(&orders, world),
            label: orders.label,
            targets: orders.targets,
            receipt: sights.receipt(),
            in_force: first,
        })
    }

    async fn heal(&self, number: u64, world: &World) -> Result<Receipt, FaultError> {
        let injection = self
            .injected
            .lock()
            .expect("no panic while held")
            .get(&number)
            .cloned();
        let (orders, lives) = match injection {
            Some(Injection { orders, lives }) => (Some(orders), lives),
            None => (None, None),
        };
        let nodes: Vec<Node> = match &orders {
            Some(orders) => orders.mechanisms.iter().map(|(n, _)| n.clone()).collect(),
            // Nothing is known of it here, and undoing what is not there is fine.
            None => world.nodes.clone(),
        };
        let mut last = Sights::default();
        if let Some(orders) = &orders {
            self.policy.witness_last(orders, world, &mut last).await;
            if let Some(before) = lives
                && let Some(after) = Lives::look(orders, world).await
                && let Some(why) = before.and(&after).out_of_reach(orders, world)
            {
                last.voids(why);
            }
        }
        let requests = nodes
            .into_iter()
            .map(|node| (node, Request::Heal { fault: number }));
        last.merge(tell(requests).await?.sights);
        let mut sights = last;
        if let Some(orders) = &orders {
            sights.merge(self.look_healed(orders, world).await);
            // Forgotten only now: a heal that failed is tried again with the same nodes.
            self.injected
                .lock()
                .expect("no panic while held")
                .remove(&number);
        }
        Ok(sights.receipt())
    }
}

/// What the mechanisms take away from the nodes' protocol.
fn loss(orders: &Orders, world: &World) -> Loss {
    let mut loss = Loss::default();
    for (node, mechanism) in &orders.mechanisms {
        match mechanism {
            protocol::Fault::Pause { .. }
            | protocol::Fault::Kill { .. }
            | protocol::Fault::Clock {
                how: protocol::ClockFault::Freeze { .. },
                ..
            } => loss.down.push(node.name.clone()),
            protocol::Fault::Cut { rules } => {
                let whole = rules.iter().filter(|r| r.per_million == WHOLE);
                let from = whole.filter(|r| r.direction == Direction::In);
                let peers =
                    from.filter_map(|r| world.nodes.iter().find(|n| Some(n.address) == r.peer));
                loss.deaf
                    .extend(peers.map(|peer| (node.name.clone(), peer.name.clone())));
            }
            protocol::Fault::Clock { .. } | protocol::Fault::Packet { .. } => {}
        }
    }
    loss
}

/// What agents answered.
struct Told {
    sights: Sights,
    /// When the first of them said that it was done.
    first: Option<std::time::Instant>,
}

/// Tells all agents at once and waits for all of them: one that fails must not leave the others in
/// the middle of it. Every failure is in the error.
async fn tell(requests: impl Iterator<Item = (Node, Request)>) -> Result<Told, FaultError> {
    let answers = at_once(requests.map(|(node, request)| async move {
        let answer = node.agent.call::<Evidence>(request).await;
        (node.name, answer, Instant::now().into_std())
    }))
    .await;
    let mut sights = Sights::default();
    let mut first: Option<std::time::Instant> = None;
    let mut errors = Vec::new();
    for (node, answer, at) in answers {
        match answer {
            Ok(evidence) => {
                sights.agent(&node, evidence);
                first = Some(first.map_or(at, |first| first.min(at)));
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(Told { sights, first }),
        false => Err(FaultError::Control(errors)),
    }
}

/// Runs all of them concurrently; the answers are in the order of the questions.
pub(crate) async fn at_once<F, T>(questions: impl Iterator<Item = F>) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut running = JoinSet::new();
    for (place, question) in questions.enumerate() {
        running.spawn(async move { (place, question.await) });
    }
    let mut answers = running.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The nodes of these names. A name without a node is an error of whoever made the schedule.
pub(crate) fn nodes(world: &World, names: &[Name]) -> Result<Vec<Node>, FaultError> {
    names
        .iter()
        .map(|name| {
            let node = world.node(name).cloned();
            node.ok_or_else(|| FaultError::NoTarget(format!("there is no node {name}")))
        })
        .collect()
}

/// The same mechanism on every target.
pub(crate) fn on_each(
    world: &World,
    targets: &[Name],
    mechanism: &protocol::Fault,
) -> Result<Vec<(Node, protocol::Fault)>, FaultError> {
    let nodes = nodes(world, targets)?;
    Ok(nodes
        .into_iter()
        .map(|node| (node, mechanism.clone()))
        .collect())
}

/// Asks every target's agent how the daemon is, and compares.
pub(crate) async fn witness_state(
    orders: &Orders,
    world: &World,
    sights: &mut Sights,
    wanted: fn(&State) -> bool,
) {
    let daemon = &world.daemon;
    let states = at_once(orders.mechanisms.iter().map(|(node, _)| {
        let (node, daemon) = (node.clone(), daemon.clone());
        async move {
            let state = node.agent.call::<State>(Request::State { daemon }).await;
            (node.name, state)
        }
    }))
    .await;
    for (node, state) in states {
        match state {
            Err(error) => sights.blind(&error),
            Ok(state) => {
                let line = match &state {
                    State::Running { pid } => format!("{node}: {daemon} runs, pid {pid}"),
                    State::Paused { pid } => format!("{node}: {daemon} is stopped, pid {pid}"),
                    State::Stopped { status } => format!("{node}: {daemon} is gone ({status})"),
                };
                sights.see(wanted(&state), line);
            }
        }
    }
}
