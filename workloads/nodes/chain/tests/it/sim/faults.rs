//! What goes wrong in the simulated world, and how it is well again in the end.

use chain::core::message::{Input, PeerId};
use rand::RngExt;

use super::network::Connection;
use super::{Fault, Happening, MS, SECOND, Sim};

impl Sim {
    /// One to all nodes.
    fn targets(&mut self) -> Vec<usize> {
        let count = self.nodes.len();
        let mut nodes: Vec<usize> = (0..count).collect();
        for index in (1..count).rev() {
            let other = self.rng.random_range(0..=index);
            nodes.swap(index, other);
        }
        nodes.truncate(match self.rng.random_range(0..4) {
            0 => 1,
            1 => count / 2,
            2 => count / 2 + 1,
            _ => count,
        });
        nodes
    }

    pub(super) fn fault(&mut self) {
        if self.faults_end {
            return;
        }
        let length = self.rng.random_range(3 * SECOND..14 * SECOND);
        let family = match self.plan.fault {
            Fault::All => [Fault::Partition, Fault::Pause, Fault::Kill, Fault::Clock]
                [self.rng.random_range(0..4)],
            family => family,
        };
        let targets = self.targets();
        match family {
            Fault::Partition => {
                self.heal();
                let one_way = self.rng.random_ratio(1, 5);
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
                    let jump = self.rng.random_range(2_000..300_000);
                    self.nodes[node].offset_ms = if self.rng.random() { jump } else { -jump };
                    self.after(length, length, Happening::SetClock { node });
                }
            }
            Fault::All => unreachable!("drawn above"),
        }
        let pause = self.rng.random_range(4 * SECOND..10 * SECOND);
        self.after(length + pause, length + pause, Happening::Fault);
    }

    fn kill(&mut self, node: usize) {
        if self.nodes[node].paused || self.nodes[node].core.take().is_none() {
            return;
        }
        self.restarts += 1;
        self.nodes[node].life += 1;
        self.nodes[node].requests.clear();
        self.nodes[node].template = None;
        let of_it = |link: &Connection| link.ends.contains(&node);
        let connections = self.connections.iter().filter(|(_, link)| of_it(link));
        for connection in connections.map(|(&number, _)| number).collect::<Vec<_>>() {
            self.close(node, connection);
        }
    }

    pub(super) fn resume(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].paused) {
            return;
        }
        // Timers fire before sockets are read.
        self.input(node, Input::Tick);
        for input in std::mem::take(&mut self.nodes[node].inbox) {
            self.input(node, input);
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.heal();
        let numbers: Vec<PeerId> = self.connections.keys().copied().collect();
        for number in numbers {
            for end in 0..2 {
                let link = self.connections.get_mut(&number).expect("listed");
                let held = std::mem::take(&mut link.held[end]);
                let from = link.ends[1 - end];
                for parcel in held {
                    self.transmit(from, number, parcel);
                }
            }
        }
    }

    /// Ends all faults for good.
    pub(super) fn mend(&mut self) {
        self.faults_end = true;
        self.heal();
        for node in 0..self.nodes.len() {
            self.nodes[node].offset_ms = 0;
            self.resume(node);
            self.start(node);
        }
    }
}
