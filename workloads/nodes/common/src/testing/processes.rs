//! Nodes as real processes on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{ask, free_addresses, program, until};

/// So many nodes `n1`, `n2`, ... of one program; the processes and their files end with it.
pub struct Processes {
    program: &'static str,
    pub folder: tempfile::TempDir,
    /// Of the node of this place, beside the flags that every node needs.
    flags: Box<dyn Fn(usize) -> Vec<String> + Send + Sync>,
    pub clients: Vec<SocketAddr>,
    pub peers: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
    /// How long an answer is waited for.
    patience: Duration,
}

impl Processes {
    /// Starts a node on each of these hosts. `flags` are those of the node of a place, beside the
    /// flags that every node needs; it is told the folder of all nodes.
    pub fn start(
        program: &'static str,
        hosts: &[Ipv4Addr],
        patience: Duration,
        flags: impl Fn(&Path, usize) -> Vec<String> + Send + Sync + 'static,
    ) -> Processes {
        let nodes = hosts.len();
        let addresses = free_addresses(hosts.iter().chain(hosts).copied());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let mut processes = Processes {
            program,
            folder,
            flags: Box::new(move |node| flags(&path, node)),
            clients: addresses[..nodes].to_vec(),
            peers: addresses[nodes..].to_vec(),
            children: (0..nodes).map(|_| None).collect(),
            patience,
        };
        (0..nodes).for_each(|node| processes.start_node(node));
        processes
    }

    pub fn count(&self) -> usize {
        self.children.len()
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{}", node + 1))
    }

    /// The command that starts the node.
    pub fn command(&self, node: usize) -> Command {
        let peers: Vec<_> = (1..)
            .zip(&self.peers)
            .map(|(number, address)| format!("n{number}={address}"))
            .collect();
        let mut command = program(self.program);
        command
            .arg(format!("--id=n{}", node + 1))
            .arg(format!("--data={}", self.data(node).display()))
            .arg(format!("--client-addr={}", self.clients[node]))
            .arg(format!("--peer-addr={}", self.peers[node]))
            .arg(format!("--peers={}", peers.join(",")))
            .args((self.flags)(node))
            .stdin(Stdio::null());
        command
    }

    pub fn start_node(&mut self, node: usize) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path(node))
            .expect("a log");
        let child = self.command(node).stderr(log).spawn();
        self.children[node] = Some(child.expect("the program starts"));
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.data(node).with_extension("log")
    }

    pub fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.log_path(node)).unwrap_or_default()
    }

    pub fn kill(&mut self, node: usize) {
        let mut child = self.children[node].take().expect("the node runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it is ours");
    }

    /// Whether the node was started and not killed. It may have ended by itself.
    pub fn is_up(&self, node: usize) -> bool {
        self.children[node].is_some()
    }

    pub fn runs(&mut self, node: usize) -> bool {
        let child = self.children[node].as_mut();
        child.is_some_and(|child| child.try_wait().expect("it is ours").is_none())
    }

    /// The process's id. It has not been waited for, so the id is still its own.
    pub fn id(&self, node: usize) -> u32 {
        self.children[node].as_ref().expect("the node runs").id()
    }

    pub fn signal(&self, node: usize, signal: i32) {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::kill(self.id(node) as i32, signal) }, 0);
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
        ask(
            self.clients[node],
            method,
            path,
            headers,
            body,
            self.patience,
        )
    }

    pub fn get(&self, node: usize, path: &str) -> Option<(u16, Value)> {
        self.ask(node, "GET", path, "", "")
    }

    /// Puts, again and again until it is acknowledged, and returns the answer.
    pub fn put_surely(&self, node: usize, key: &str, value: &Value, headers: &str) -> Value {
        until(&format!("a put of {key} at node {node}"), || {
            let (path, body) = (format!("/kv/{key}"), value.to_string());
            let (status, answer) = self.ask(node, "PUT", &path, headers, &body)?;
            (status == 200).then_some(answer)
        })
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

    pub fn client_address(&self, node: usize) -> SocketAddr {
        self.clients[node]
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // It may be dead already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
