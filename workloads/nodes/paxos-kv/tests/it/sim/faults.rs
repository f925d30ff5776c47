//! What goes wrong in the simulated world, and how it is well again in the end.

use paxos_kv::core::{Input, Role};
use rand::RngExt;

use super::{Fault, Happening, MS, Node, Rough, SECOND, Sim};

impl Sim {
    fn leader(&self) -> Option<usize> {
        let leads = |node: &Node| {
            node.core
                .as_ref()
                .is_some_and(|core| core.status().role == Role::Leader)
        };
        self.nodes.iter().position(leads)
    }

    /// One to all nodes, the leader and the one that is furthest behind more often than by chance.
    fn targets(&mut self) -> Vec<usize> {
        let count = self.nodes.len();
        let choice = self.fault_rng.random_range(0..7);
        let mut nodes: Vec<usize> = (0..count).collect();
        for index in (1..count).rev() {
            let other = self.fault_rng.random_range(0..=index);
            nodes.swap(index, other);
        }
        match (choice, self.leader()) {
            (0..=1, Some(leader)) => vec![leader],
            (2, _) => nodes,
            // Whoever is furthest behind is catching up.
            (3, _) => self.furthest_behind().into_iter().collect(),
            (choice, _) => {
                nodes.truncate(match choice {
                    4 => 1,
                    5 => count / 2,
                    _ => count / 2 + 1,
                });
                nodes
            }
        }
    }

    pub(super) fn fault(&mut self) {
        let rough = self.plan.rough;
        let most = rough.fault_ms * MS;
        let length = self.fault_rng.random_range(most / 13..most);
        let begun = if rough.gap_ms == 0 {
            length + self.fault_rng.random_range(500 * MS..2 * SECOND)
        } else {
            self.fault_rng.random_range(0..rough.gap_ms * MS)
        };
        self.after(begun, begun, Happening::Fault);
        self.faults += 1;
        let family = match self.plan.fault {
            Fault::All => [Fault::Partition, Fault::Pause, Fault::Kill, Fault::Clock]
                [self.fault_rng.random_range(0..4)],
            family => family,
        };
        let targets = self.targets();
        // What is left out is drawn all the same, so that the others are the same without it.
        let one_way = self.fault_rng.random_ratio(1, 4);
        let jump = self.fault_rng.random_range(50 * MS..10 * SECOND) as i64;
        let jump = if self.fault_rng.random() { jump } else { -jump };
        if self.plan.without.contains(&(self.faults - 1)) {
            return;
        }
        match family {
            Fault::Partition => {
                self.heal();
                self.cuts.part(&targets, one_way);
                let number = self.cuts.number();
                self.after(length, length, Happening::Heal { number });
            }
            Fault::Pause => {
                for node in targets {
                    if !self.nodes[node].paused && self.nodes[node].core.is_some() {
                        self.nodes[node].paused = true;
                        self.after(length, length, Happening::Resume { node });
                    }
                }
            }
            Fault::Kill => {
                for node in targets {
                    self.kill(node);
                    self.after(length, length + 300 * MS, Happening::Restart { node });
                }
            }
            Fault::Clock => {
                for node in targets {
                    self.nodes[node].wall_jump += jump;
                }
            }
            Fault::All => unreachable!("drawn above"),
        }
    }

    pub(super) fn kill(&mut self, node: usize) {
        let rng = &mut self.rng;
        let node = &mut self.nodes[node];
        if node.core.take().is_none() {
            return;
        }
        node.life += 1;
        node.paused = false;
        node.inbox.clear();
        node.disk.saving = false;
        node.disk.next_save = None;
        node.requests.clear();
        // Of the writes that were not done a part may have been.
        for (_, records) in std::mem::take(&mut node.disk.queued) {
            if rng.random() {
                break;
            }
            node.disk.records.extend(records);
        }
    }

    pub(super) fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for input in std::mem::take(&mut self.nodes[node].inbox) {
            self.input(node, input);
        }
        self.input(node, Input::Tick);
    }

    pub(super) fn heal(&mut self) {
        for (node, peer) in self.cuts.heal() {
            self.after(MS, 300 * MS, Happening::PeerUp { node, peer });
        }
    }

    /// In a hostile world half of the heals are followed by the death of the node that is furthest
    /// behind, while it learns what it missed.
    pub(super) fn strike_whoever_catches_up(&mut self) {
        let kills = self.plan.fault.kills();
        let (strikes, delay) = (
            self.fault_rng.random(),
            self.fault_rng.random_range(5 * MS..600 * MS),
        );
        if let (true, true, Some(node)) = (
            kills && self.plan.rough.gap_ms > 0,
            strikes,
            self.furthest_behind(),
        ) {
            self.after(delay, delay, Happening::Strike { node });
        }
    }

    /// Of the nodes that run.
    fn furthest_behind(&self) -> Option<usize> {
        let slots = self.nodes.iter().enumerate();
        let slots = slots.filter_map(|(node, it)| Some((it.core.as_ref()?.kv().applied, node)));
        slots.min().map(|(_, node)| node)
    }

    /// Ends all faults for good.
    pub(super) fn mend(&mut self) {
        for happening in self.agenda.to_come() {
            if matches!(happening, Happening::Fault | Happening::Strike { .. }) {
                // The place in the queue stays; what happens there is nothing.
                *happening = Happening::Heal { number: u64::MAX };
            }
        }
        self.plan.rough = Rough::MILD;
        self.heal();
        for node in 0..self.nodes.len() {
            if self.nodes[node].paused {
                self.resume(node);
            }
            self.start(node);
        }
    }
}
