//! What all families share: tell the agents, remember whom, take it back, and put the evidence
//! together.
//!
//! A family is a [`Policy`]: it decides whom and what, and looks by a second path. [`Applied`]
//! makes a [`Fault`] of it. Healing goes to every node that injection was sent to, whether or not
//! that node said that it worked: an agent that did not answer may have applied it all the same.
//!
//! A healing can take back that the fault held: what no program noticed, and what there was nobody
//! to do to (`reach`), was no fault.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use agent::protocol::Request;
use async_trait::async_trait;
use harness::cluster::Node;
use harness::nemesis::{Fault, FaultError, Injected, World};
use history::Name;
use history::fault::{Loss, Receipt};
use tokio::time::{Instant, sleep};

use crate::ask::{Mechanisms, Told, tell};
use crate::family::Family;
use crate::reach::Lives;
use crate::sights::Sights;

/// How long a fault that was undone may seem to be there, and how often that is looked at.
const GONE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What an injection is going to do, with everything decided.
#[derive(Clone, Debug)]
pub(crate) struct Orders<B> {
    pub label: String,
    pub targets: Vec<Name>,
    pub mechanisms: Mechanisms,
    /// What the family has to know of the nodes as they were before.
    pub before: B,
}

/// A family's part of a fault.
#[async_trait]
pub(crate) trait Policy: Send + Sync {
    /// What is noted before the fault, to be compared with later; `()` where nothing is.
    type Before: Clone + Send + Sync;

    fn family(&self) -> &'static Family;

    /// One line for people, before anything is decided.
    fn label(&self) -> String;

    /// Decides what is left to decide.
    async fn orders(&self, world: &World) -> Result<Orders<Self::Before>, FaultError>;

    /// Notes what has to be known of the moment in which the fault began.
    async fn begun(&self, _orders: &mut Orders<Self::Before>, _world: &World) {}

    /// Whether it is seen at every look while it is in force: then one look that does not see it is
    /// proof enough that it is gone.
    fn is_steady(&self) -> bool {
        true
    }

    /// What it takes away from the nodes' protocol while it is in force.
    fn takes_away(&self, _orders: &Orders<Self::Before>, _world: &World) -> Loss {
        Loss::default()
    }

    /// Looks, by another path than the one that did it, whether the fault is in force.
    async fn witness(&self, orders: &Orders<Self::Before>, world: &World, sights: &mut Sights);

    /// Looks at what can only be seen before the fault is taken back.
    async fn witness_last(
        &self,
        _orders: &Orders<Self::Before>,
        _world: &World,
        _sights: &mut Sights,
    ) {
    }

    /// Looks whether the fault is gone.
    async fn witness_healed(
        &self,
        orders: &Orders<Self::Before>,
        world: &World,
        sights: &mut Sights,
    );
}

/// A policy as a fault: with a memory of what was injected under which number.
pub(crate) struct Applied<P: Policy> {
    policy: P,
    injected: Mutex<BTreeMap<u64, Injection<P::Before>>>,
}

/// What was ordered, and what is known of the nodes from then.
#[derive(Clone)]
struct Injection<B> {
    orders: Orders<B>,
    /// Which daemons lived when it had been injected; none yet.
    lives: Option<Lives>,
}

impl<P: Policy> Applied<P> {
    pub fn new(policy: P) -> Applied<P> {
        Applied {
            policy,
            injected: Mutex::default(),
        }
    }
}

impl<P: Policy> Applied<P> {
    /// Looks whether the fault is gone, and again if it does not seem so: a machine that has too
    /// much to do loses probes and answers late, and that passes.
    async fn look_healed(&self, orders: &Orders<P::Before>, world: &World) -> Sights {
        let began = Instant::now();
        for look in 1_u32.. {
            let mut sights = Sights::default();
            self.policy.witness_healed(orders, world, &mut sights).await;
            let again = self.policy.is_steady() && began.elapsed() < GONE;
            if sights.agree() || !again {
                if look > 1 {
                    let after = began.elapsed().as_secs_f64();
                    sights.note(format!("look {look}, {after:.1} s after healing"));
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
        self.policy.family().name
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
        let lives = Lives::look(&orders.mechanisms, world).await;
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
            loss: self.policy.takes_away(&orders, world),
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
                && let Some(after) = Lives::look(&orders.mechanisms, world).await
                && let Some(why) = before.and(&after).out_of_reach(&orders.mechanisms, world)
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
