//! Who asks the system.

use super::super::answers::HttpCalls;
use super::super::maelstrom::Spoken;
use super::super::template::Template;
use crate::interface::Interface;

pub enum Client {
    Http(HttpCalls),
    Command(Vec<Template>),
    /// The daemon speaks Maelstrom's protocol.
    Maelstrom(Spoken),
}

impl Client {
    /// What a system with such a client offers.
    pub fn interfaces(&self) -> &'static [Interface] {
        match self {
            Client::Command(_) => &[
                Interface::Kv,
                Interface::Ledger,
                Interface::Objects,
                Interface::Transactions,
                Interface::Bank,
                Interface::Leases,
                Interface::Feed,
                Interface::Logs,
            ],
            Client::Maelstrom(_) => &[
                Interface::Kv,
                Interface::Ledger,
                Interface::Objects,
                Interface::Transactions,
                Interface::Logs,
            ],
            // Objects are composed of reads and compare-and-sets.
            Client::Http(_) => &[Interface::Kv, Interface::Ledger, Interface::Objects],
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Client::Command(_) => "a client program",
            Client::Http(_) => "[client.http]",
            Client::Maelstrom(_) => "a node of Maelstrom's",
        }
    }
}
