//! Real processes on loopback, with ports of the kernel's choice, and a client for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nodekit::testing::{self, free_addresses, until};
use serde_json::{Value, json};

/// A command that dies with this process.
pub fn program() -> Command {
    testing::program(env!("CARGO_BIN_EXE_paxos-kv"))
}

/// A cluster; its processes and files end with it.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    flags: Vec<String>,
    clients: Vec<SocketAddr>,
    pub peers: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts so many nodes with these flags beside the necessary ones.
    pub fn start(nodes: usize, flags: &[&str]) -> Cluster {
        let addresses = free_addresses(std::iter::repeat_n(Ipv4Addr::LOCALHOST, 2 * nodes));
        let mut cluster = Cluster {
            folder: tempfile::tempdir().unwrap(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            clients: addresses[..nodes].to_vec(),
            peers: addresses[nodes..].to_vec(),
            children: (0..nodes).map(|_| None).collect(),
        };
        (0..nodes).for_each(|node| cluster.start_node(node));
        cluster
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{}", node + 1))
    }

    pub fn command(&self, node: usize) -> Command {
        let peers: Vec<_> = (1..)
            .zip(&self.peers)
            .map(|(number, address)| format!("n{number}={address}"))
            .collect();
        let mut command = program();
        command
            .arg(format!("--id=n{}", node + 1))
            .arg(format!("--data={}", self.data(node).display()))
            .arg(format!("--client-addr={}", self.clients[node]))
            .arg(format!("--peer-addr={}", self.peers[node]))
            .arg(format!("--peers={}", peers.join(",")))
            .arg(format!(
                "--trace={}",
                self.folder
                    .path()
                    .join(format!("n{}.trace", node + 1))
                    .display()
            ))
            .args(&self.flags)
            .stdin(Stdio::null());
        command
    }

    pub fn start_node(&mut self, node: usize) {
        let log = self.folder.path().join(format!("n{}.log", node + 1));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        self.children[node] = Some(self.command(node).stderr(log).spawn().unwrap());
    }

    pub fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("n{}.log", node + 1)))
            .unwrap_or_default()
    }

    pub fn kill(&mut self, node: usize) {
        let mut child = self.children[node].take().expect("the node runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, node: usize, signal: i32) {
        let id = self.children[node].as_ref().expect("the node runs").id();
        // SAFETY: the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(id as i32, signal) }, 0);
    }

    /// One request. `None` when there was no whole answer.
    pub fn ask(
        &self,
        node: usize,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Option<(u16, Value)> {
        let patience = Duration::from_secs(10);
        testing::ask(self.clients[node], method, path, headers, body, patience)
    }

    pub fn get(&self, node: usize, path: &str) -> Option<(u16, Value)> {
        self.ask(node, "GET", path, "", "")
    }

    pub fn put(&self, node: usize, key: &str, value: &Value) -> Option<(u16, Value)> {
        self.ask(node, "PUT", &format!("/kv/{key}"), "", &value.to_string())
    }

    /// Puts, again and again until it is acknowledged.
    pub fn put_surely(&self, node: usize, key: &str, value: &Value) {
        until(&format!("a put of {key} at node {node}"), || {
            self.put(node, key, value)
                .filter(|(status, _)| *status == 200)
        });
    }

    /// Reads, until there is an answer.
    pub fn value(&self, node: usize, key: &str) -> Value {
        until(&format!("a read of {key} at node {node}"), || {
            match self.get(node, &format!("/kv/{key}"))? {
                (200, answer) => Some(answer["value"].clone()),
                (404, _) => Some(json!(null)),
                _ => None,
            }
        })
    }

    pub fn status(&self, node: usize) -> Option<Value> {
        self.get(node, "/debug/status").map(|(_, status)| status)
    }

    /// The node that leads, when a majority agrees.
    pub fn leader(&self) -> usize {
        let nodes = self.children.len();
        until("a leader", || {
            let votes: Vec<String> = (0..nodes)
                .filter(|&node| self.children[node].is_some())
                .filter_map(|node| Some(self.status(node)?["leader"].as_str()?.to_owned()))
                .collect();
            (0..nodes).find(|node| {
                let name = format!("n{}", node + 1);
                self.children[*node].is_some()
                    && votes.iter().filter(|vote| **vote == name).count() > nodes / 2
            })
        })
    }

    pub fn client_address(&self, node: usize) -> SocketAddr {
        self.clients[node]
    }

    pub fn runs(&mut self, node: usize) -> bool {
        self.children[node]
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // It may be dead already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
