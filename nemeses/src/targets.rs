//! Whom a fault hits: nodes by name, or whoever leads when it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use harness::nemesis::{FaultError, World};
use history::Name;
use tokio::time::{Instant, sleep, timeout_at};

/// How long to look for a leader. Elections are often going on when a fault is to begin.
const LEADER_PATIENCE: Duration = Duration::from_secs(3);
const LEADER_POLL: Duration = Duration::from_millis(100);

/// Who does not hear whom: for a node, the peers whose packets it drops. (Jepsen's word.)
pub type Grudge = BTreeMap<Name, BTreeSet<Name>>;

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Decided when the fault begins.
    Leader,
    Nodes(Vec<Name>),
}

impl Targets {
    /// The names, now. A leader is asked for until one is known or patience ends.
    pub(crate) async fn resolve(&self, world: &World) -> Result<Vec<Name>, FaultError> {
        match self {
            Targets::Nodes(names) => Ok(names.clone()),
            Targets::Leader => Ok(vec![leader(world).await?]),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Targets::Leader => f.write_str("the leader"),
            Targets::Nodes(names) => f.write_str(&join(names)),
        }
    }
}

async fn leader(world: &World) -> Result<Name, FaultError> {
    let deadline = Instant::now() + LEADER_PATIENCE;
    loop {
        match timeout_at(deadline, world.system.leader(&world.nodes)).await {
            Ok(Some(name)) if world.node(&name).is_some() => return Ok(name),
            Ok(Some(name)) => {
                return Err(FaultError::NoTarget(format!(
                    "{} says that {name} leads, which is no node of this run",
                    world.system.name()
                )));
            }
            Ok(None) if Instant::now() + LEADER_POLL < deadline => sleep(LEADER_POLL).await,
            Ok(None) | Err(_) => {
                return Err(FaultError::NoTarget(format!(
                    "{} named no leader within {} s",
                    world.system.name(),
                    LEADER_PATIENCE.as_secs()
                )));
            }
        }
    }
}

/// Names for people, in the order of the cluster's numbering: `n2 n10`.
pub(crate) fn join<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    let mut names: Vec<&str> = names.into_iter().map(Name::as_str).collect();
    names.sort_by_key(|n| (n.len(), *n));
    names.join(" ")
}

/// The smallest number of nodes that is more than half of them.
pub(crate) fn majority(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// Checks names that a person may have written: each a node, none twice, at least one.
pub(crate) fn check(targets: &[Name], nodes: &[Name]) -> Result<(), String> {
    if targets.is_empty() {
        return Err("no targets are named".into());
    }
    let mut seen = BTreeSet::new();
    for name in targets {
        if !nodes.contains(name) {
            return Err(format!(
                "there is no node {name:?}: the nodes are {}",
                join(nodes)
            ));
        }
        if !seen.insert(name) {
            return Err(format!("{name} is named twice"));
        }
    }
    Ok(())
}
