//! What a described system's clients are: plain HTTP, programs, or Maelstrom's messages.

use std::path::PathBuf;

use harness::cluster::Node;

use super::super::answers;
use super::super::description::Client;
use super::super::maelstrom::{self, Spoken};
use super::super::process::{Greeting, Process};
use super::super::template::Template;
use super::Described;
use crate::http::Patience;
use crate::interface::{
    Bank, Kv, Ledger, Objects, OpenBank, OpenKv, OpenLedger, OpenObjects, OpenTransactions,
    Transactions,
};
use crate::systems::at;

impl OpenKv for Described {
    fn open(&self, node: &Node) -> Box<dyn Kv> {
        match &self.description.client {
            Client::Http(calls) => {
                let names = ["name", "address", "index", "port"].map(String::from);
                let params = self.params.iter().map(|(name, _)| format!("param.{name}"));
                let nodes = self.nodes.get().map(Vec::as_slice).unwrap_or_default();
                let index = 1 + nodes.iter().take_while(|(n, _)| *n != node.name).count();
                let value = |name: String| {
                    let value = self.of_node(node, index, &name).unwrap_or_default();
                    (name, value)
                };
                Box::new(answers::Client {
                    http: self.http(node, Patience::CLIENT),
                    calls: calls.clone(),
                    names: names.into_iter().chain(params).map(value).collect(),
                })
            }
            Client::Command(command) => Box::new(self.process(command, node)),
            Client::Maelstrom(spoken) => Box::new(self.maelstrom(*spoken, node)),
        }
    }
}

impl Described {
    /// A client that is a program.
    pub(super) fn process(&self, command: &[Template], node: &Node) -> Process {
        let folder = self.description.folder.display().to_string();
        let fill = |template: &Template| template.fill(|_| folder.clone());
        let nodes = self.nodes.get().map(Vec::as_slice).unwrap_or_default();
        let mut all = self.idle.lock().expect("no panic while held");
        let idle = all.entry(node.name.clone()).or_default().clone();
        drop(all);
        let params = self.params.iter().map(|(k, v)| (k.into(), v.into()));
        Process::new(
            command.iter().map(fill).collect(),
            PathBuf::from(&folder),
            Greeting {
                node: node.name.clone(),
                address: node.address,
                port: self.description.port,
                nodes: nodes.iter().cloned().collect(),
                params: params.collect(),
                workload: self.workload.clone(),
            },
            idle,
        )
    }

    fn maelstrom(&self, spoken: Spoken, node: &Node) -> maelstrom::Client {
        maelstrom::Client::new(at(node, self.description.port), &node.name, spoken)
    }
}

impl OpenObjects for Described {
    fn open(&self, node: &Node) -> Box<dyn Objects> {
        match &self.description.client {
            Client::Command(command) => Box::new(self.process(command, node)),
            Client::Maelstrom(spoken) => Box::new(self.maelstrom(*spoken, node)),
            Client::Http(_) => unreachable!("its objects are composed"),
        }
    }
}

impl OpenTransactions for Described {
    fn open(&self, node: &Node) -> Box<dyn Transactions> {
        match &self.description.client {
            Client::Command(command) => Box::new(self.process(command, node)),
            Client::Maelstrom(spoken) => Box::new(self.maelstrom(*spoken, node)),
            Client::Http(_) => unreachable!("it offers no transactions"),
        }
    }
}

impl OpenLedger for Described {
    fn open(&self, node: &Node) -> Box<dyn Ledger> {
        match &self.description.client {
            Client::Maelstrom(spoken) => Box::new(self.maelstrom(*spoken, node)),
            _ => unreachable!("theirs are composed"),
        }
    }
}

impl OpenBank for Described {
    fn open(&self, node: &Node) -> Box<dyn Bank> {
        match &self.description.client {
            Client::Command(command) => Box::new(self.process(command, node)),
            _ => unreachable!("accounts are offered by programs alone"),
        }
    }
}
