//! The connections of the simulated world.

use chain::core::message::{Input, Message, PeerId};
use rand::RngExt;

use super::{Happening, MS, Sim};

#[derive(Clone)]
pub(super) enum Parcel {
    Message(Message),
    Hangup,
}

/// A connection; its number is the peer's id at both ends.
pub(super) struct Connection {
    pub(super) ends: [usize; 2],
    open: [bool; 2],
    /// When the last parcel to each end arrives.
    last: [u64; 2],
    /// What a cut holds back on its way to each end.
    pub(super) held: [Vec<Parcel>; 2],
}

impl Sim {
    pub(super) fn transmit(&mut self, from: usize, connection: PeerId, parcel: Parcel) {
        let delay = self.rng.random_range(MS..=20 * MS);
        let Some(link) = self.connections.get_mut(&connection) else {
            return;
        };
        let end = usize::from(link.ends[0] == from);
        let time = link.last[end].max(self.agenda.now() + delay);
        link.last[end] = time;
        let to = link.ends[end];
        self.agenda.add(
            time,
            Happening::Deliver {
                connection,
                to,
                parcel,
            },
        );
    }

    pub(super) fn deliver(&mut self, connection: PeerId, to: usize, parcel: Parcel) {
        let Some(link) = self.connections.get_mut(&connection) else {
            return;
        };
        let end = usize::from(link.ends[1] == to);
        let from = link.ends[1 - end];
        if self.cuts.between(from, to) {
            return link.held[end].push(parcel);
        }
        if !link.open[end] {
            return;
        }
        match parcel {
            Parcel::Message(message) => self.input(to, Input::Message(connection, message)),
            Parcel::Hangup => {
                link.open[end] = false;
                self.input(to, Input::PeerDown(connection));
            }
        }
    }

    /// One end closes the connection.
    pub(super) fn close(&mut self, node: usize, connection: PeerId) {
        if let Some(link) = self.connections.get_mut(&connection) {
            let end = usize::from(link.ends[1] == node);
            if std::mem::take(&mut link.open[end]) {
                self.transmit(node, connection, Parcel::Hangup);
            }
        }
    }

    /// Pairs without a connection make one, if they can.
    pub(super) fn connect(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let open = |link: &Connection| link.ends == [a, b] && link.open[0];
                let runs =
                    |node: usize| self.nodes[node].core.is_some() && !self.nodes[node].paused;
                let banned = self
                    .banned
                    .get(&(a, b))
                    .is_some_and(|&until| self.agenda.now() < until);
                if banned
                    || self.cuts.between(a, b)
                    || self.cuts.between(b, a)
                    || !runs(a)
                    || !runs(b)
                    || self.connections.values().any(open)
                {
                    continue;
                }
                let number = self.next_connection;
                self.next_connection += 1;
                let link = Connection {
                    ends: [a, b],
                    open: [true, true],
                    last: [self.agenda.now(); 2],
                    held: [Vec::new(), Vec::new()],
                };
                self.connections.insert(number, link);
                self.input(a, Input::PeerUp(number));
                self.input(b, Input::PeerUp(number));
            }
        }
        self.connections
            .retain(|_, link| link.open != [false, false]);
        self.after(200 * MS, 500 * MS, Happening::Connect);
    }
}
