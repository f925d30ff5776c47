//! Faults on a schedule. This module knows when; `nemeses` knows what.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use history::Name;
use history::fault::{Loss, Receipt};
use thiserror::Error;

use crate::cluster::Node;
use crate::control::ControlError;
use crate::system::System;

/// What a fault has to work with.
#[derive(Clone)]
pub struct World {
    pub nodes: Vec<Node>,
    pub system: Arc<dyn System>,
    /// Name of the system's daemon, the same on every node.
    pub daemon: String,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("nodes", &self.nodes)
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}

impl World {
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name == name)
    }
}

/// What an injection did.
#[derive(Clone, Debug)]
pub struct Injected {
    /// One line for people, with what was decided only now: who the leader was.
    pub label: String,
    pub targets: Vec<Name>,
    pub loss: Loss,
    pub receipt: Receipt,
    /// When the first node said that its part of it was done: from then on it can be felt, though
    /// the receipt comes later.
    pub in_force: Option<Instant>,
}

/// Why a fault could not be injected or healed; every node's reason.
#[derive(Debug, Error)]
pub enum FaultError {
    #[error("{}", .0.iter().map(|e| e.to_string()).collect::<Vec<_>>().join("; "))]
    Control(Vec<ControlError>),
    /// There was nobody to do it to, such as no leader. Recorded, and the run goes on.
    #[error("no target: {0}")]
    NoTarget(String),
}

/// One fault: a family's mechanism with its targets chosen, or how to choose them.
#[async_trait]
pub trait Fault: Send + Sync {
    /// `partition`, `pause`, `kill`, `clock`, `packet`.
    fn family(&self) -> &str;

    /// One line for people, before it is injected.
    fn label(&self) -> String;

    /// Puts it in force. `number` names it towards the agents, for [`Fault::heal`].
    async fn inject(&self, number: u64, world: &World) -> Result<Injected, FaultError>;

    /// Takes it back. Healing what was injected in part, or not at all, is fine.
    async fn heal(&self, number: u64, world: &World) -> Result<Receipt, FaultError>;
}

/// A fault with its times, both since the start of the main phase.
#[derive(Clone)]
pub struct Planned {
    pub number: u64,
    pub at: Duration,
    /// None: until the end of the main phase.
    pub lasts: Option<Duration>,
    pub fault: Arc<dyn Fault>,
}

impl Planned {
    /// When it ends; none: with the main phase.
    pub fn ends(&self) -> Option<Duration> {
        self.lasts.map(|lasts| self.at + lasts)
    }
}
