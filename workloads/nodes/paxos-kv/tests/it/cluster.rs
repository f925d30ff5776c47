//! Real processes on loopback, with ports of the kernel's choice, and a client for them.

use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::time::Duration;

use nodekit::testing::processes::Processes;
use nodekit::testing::{self, until};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_paxos-kv");

/// A command that dies with this process.
pub fn program() -> Command {
    testing::program(PROGRAM)
}

/// A cluster; its processes and files end with it.
pub struct Cluster(Processes);

impl Deref for Cluster {
    type Target = Processes;

    fn deref(&self) -> &Processes {
        &self.0
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Processes {
        &mut self.0
    }
}

impl Cluster {
    /// Starts so many nodes with these flags beside the necessary ones.
    pub fn start(nodes: usize, flags: &[&str]) -> Cluster {
        let more: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let hosts = vec![Ipv4Addr::LOCALHOST; nodes];
        let patience = Duration::from_secs(10);
        let processes = Processes::start(PROGRAM, &hosts, patience, move |folder, node| {
            let trace = folder.join(format!("n{}.trace", node + 1));
            let trace = format!("--trace={}", trace.display());
            [trace].into_iter().chain(more.clone()).collect()
        });
        Cluster(processes)
    }

    pub fn put(&self, node: usize, key: &str, value: &Value) -> Option<(u16, Value)> {
        self.ask(node, "PUT", &format!("/kv/{key}"), "", &value.to_string())
    }

    /// Puts, again and again until it is acknowledged.
    pub fn put_surely(&self, node: usize, key: &str, value: &Value) {
        self.0.put_surely(node, key, value, "");
    }

    /// The node that leads, when a majority agrees.
    pub fn leader(&self) -> usize {
        let nodes = self.count();
        until("a leader", || {
            let votes: Vec<String> = (0..nodes)
                .filter(|&node| self.is_up(node))
                .filter_map(|node| Some(self.status(node)?["leader"].as_str()?.to_owned()))
                .collect();
            (0..nodes).find(|&node| {
                let name = format!("n{}", node + 1);
                self.is_up(node) && votes.iter().filter(|vote| **vote == name).count() > nodes / 2
            })
        })
    }
}
