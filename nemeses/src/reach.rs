//! Whether there was anybody to act on.
//!
//! A cut between nodes whose daemons are dead drops nothing that anybody would have sent, and so
//! with everything else that is done to packets. Whether a daemon lives is looked at when the fault
//! has been injected and before it is taken back; of one that is seen alive at neither it is said
//! that it was not there.

use std::collections::BTreeMap;

use agent::protocol::{Direction, Drop, Fault, Request, State};
use harness::at_once::at_once;
use harness::nemesis::World;
use history::Name;

use crate::ask::Mechanisms;

/// How a daemon was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Dead,
    /// Its kernel answers for it, and it sends nothing by itself.
    Paused,
    Runs,
}

/// How the daemons of all nodes were seen, each at its best look. Nobody is held for dead whose
/// agent did not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lives(BTreeMap<Name, Life>);

impl Lives {
    /// None for a fault that acts on no packets: the agents themselves know what it found.
    pub async fn look(mechanisms: &Mechanisms, world: &World) -> Option<Lives> {
        let acts_on_packets =
            |fault: &Fault| matches!(fault, Fault::Cut { .. } | Fault::Packet { .. });
        if !mechanisms.iter().any(|(_, f)| acts_on_packets(f)) {
            return None;
        }
        let looks = at_once(world.nodes.iter().cloned().map(|node| {
            let daemon = world.daemon.clone();
            async move {
                let state = node.agent.call::<State>(Request::State { daemon }).await;
                let life = match state {
                    Ok(State::Stopped { .. }) => Life::Dead,
                    Ok(State::Paused { .. }) => Life::Paused,
                    Ok(State::Running { .. }) | Err(_) => Life::Runs,
                };
                (node.name, life)
            }
        }));
        Some(Lives(looks.await.into_iter().collect()))
    }

    /// The better of two looks.
    pub fn and(mut self, later: &Lives) -> Lives {
        for (name, life) in &later.0 {
            let known = self.0.entry(name.clone()).or_insert(*life);
            *known = (*known).max(*life);
        }
        self
    }

    fn of(&self, name: &Name) -> Life {
        self.0.get(name).copied().unwrap_or(Life::Runs)
    }

    /// Whether what two nodes would have said to each other can have been touched.
    fn talk(&self, a: &Name, b: &Name) -> bool {
        let (a, b) = (self.of(a), self.of(b));
        a.min(b) > Life::Dead && a.max(b) == Life::Runs
    }

    /// Why nothing of a fault can have reached anybody.
    pub fn out_of_reach(&self, mechanisms: &Mechanisms, world: &World) -> Option<String> {
        let named = |address| world.nodes.iter().find(|n| n.address == address);
        let others = |name: &Name| {
            let others = world.nodes.iter().map(|n| n.name.clone());
            let own = name.clone();
            others.filter(move |other| *other != own).collect()
        };
        let reaches = mechanisms.iter().any(|(node, fault)| match fault {
            Fault::Cut { rules } => rules.iter().any(|rule| match rule.peer {
                Some(peer) => named(peer).is_none_or(|peer| self.talk(&node.name, &peer.name)),
                // What clients are answered.
                None if rule.direction == Direction::Out => self.of(&node.name) == Life::Runs,
                None => self.of(&node.name) > Life::Dead,
            }),
            Fault::Packet { peers, .. } => {
                let peers: Vec<Name> = match peers.is_empty() {
                    true => others(&node.name),
                    false => peers
                        .iter()
                        .filter_map(|p| Some(named(*p)?.name.clone()))
                        .collect(),
                };
                peers.iter().any(|peer| self.talk(&node.name, peer))
            }
            _ => true,
        });
        (!reaches).then(|| {
            let still = self.0.iter().filter(|(_, life)| **life != Life::Runs);
            let still: Vec<String> = still
                .map(|(name, life)| match life {
                    Life::Dead => format!("{name} is dead"),
                    _ => format!("{name} is stopped"),
                })
                .collect();
            format!(
                "it could reach no daemon: at its beginning and its end {}",
                still.join(", ")
            )
        })
    }
}

/// A rule that drops every packet, in millionths.
pub(crate) const WHOLE: u32 = 1_000_000;

/// Who no longer hears whom, going by the rules that were given.
pub(crate) fn deafened(mechanisms: &Mechanisms, world: &World) -> Vec<(Name, Name)> {
    let mut deaf = Vec::new();
    for (node, mechanism) in mechanisms {
        let Fault::Cut { rules } = mechanism else {
            continue;
        };
        let whole = |rule: &&Drop| rule.direction == Direction::In && rule.per_million == WHOLE;
        let peer = |rule: &Drop| world.nodes.iter().find(|n| Some(n.address) == rule.peer);
        let peers = rules.iter().filter(whole).filter_map(peer);
        deaf.extend(peers.map(|peer| (node.name.clone(), peer.name.clone())));
    }
    deaf
}
