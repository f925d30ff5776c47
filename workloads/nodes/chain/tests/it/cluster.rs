//! Real processes on loopback, each with an IP of its own, and a client for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nodekit::testing::{self, free_addresses, until};
use serde_json::{Value, json};

/// Blocks come ten times a second, from as little hashing as a debug build can do beside other
/// tests.
const QUICK: [&str; 3] = [
    "--block-interval=100ms",
    "--hash-rate=2000",
    "--confirmations=2",
];

/// A command that dies with this process.
pub fn program() -> Command {
    testing::program(env!("CARGO_BIN_EXE_chain"))
}

/// A network; its processes and files end with it.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    flags: Vec<String>,
    clients: Vec<SocketAddr>,
    pub peers: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts so many nodes that mine quickly, with these flags besides or instead.
    pub fn start(nodes: usize, flags: &[&str]) -> Cluster {
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        let instead = |quick: &&str| flags.iter().all(|flag| name(flag) != name(quick));
        let quick = QUICK.into_iter().filter(instead);
        Cluster::start_with(
            nodes,
            &quick.chain(flags.iter().copied()).collect::<Vec<_>>(),
        )
    }

    /// Starts so many nodes with these flags beside the necessary ones, and waits until they
    /// answer.
    pub fn start_with(nodes: usize, flags: &[&str]) -> Cluster {
        let hosts = || (2..).map(|last| Ipv4Addr::new(127, 0, 0, last)).take(nodes);
        let addresses = free_addresses(hosts().chain(hosts()));
        let mut cluster = Cluster {
            folder: tempfile::tempdir().unwrap(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            clients: addresses[..nodes].to_vec(),
            peers: addresses[nodes..].to_vec(),
            children: (0..nodes).map(|_| None).collect(),
        };
        (0..nodes).for_each(|node| cluster.start_node(node));
        for node in 0..nodes {
            cluster.height(node);
        }
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

    /// The process's id. It has not been waited for, so the id is still its own.
    fn id(&self, node: usize) -> u32 {
        self.children[node].as_ref().expect("the node runs").id()
    }

    pub fn signal(&self, node: usize, signal: i32) {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::kill(self.id(node) as i32, signal) }, 0);
    }

    /// The most memory that the process had at any time.
    pub fn peak_memory_kib(&self, node: usize) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id(node))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.unwrap().trim().split(' ').next().unwrap();
        number.parse().unwrap()
    }

    pub fn runs(&mut self, node: usize) -> bool {
        self.children[node]
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
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
        let patience = Duration::from_secs(40);
        testing::ask(self.clients[node], method, path, headers, body, patience)
    }

    pub fn get(&self, node: usize, path: &str) -> Option<(u16, Value)> {
        self.ask(node, "GET", path, "", "")
    }

    /// Puts, again and again under the same name until it is acknowledged, and returns the answer.
    pub fn put_surely(&self, node: usize, key: &str, value: &Value) -> Value {
        let name = format!("Transaction: put-{key}-{value}\r\n");
        until(&format!("a put of {key} at node {node}"), || {
            let (path, body) = (format!("/kv/{key}"), value.to_string());
            let (status, answer) = self.ask(node, "PUT", &path, &name, &body)?;
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

    pub fn head(&self, node: usize) -> Option<Value> {
        self.get(node, "/chain/head").map(|(_, head)| head)
    }

    pub fn height(&self, node: usize) -> u64 {
        let height = || self.head(node)?["height"].as_u64();
        until("a height", height)
    }

    /// Waits until so many blocks are in the node's chain.
    pub fn wait_for_height(&self, node: usize, height: u64) {
        until(&format!("height {height} at node {node}"), || {
            (self.height(node) >= height).then_some(())
        });
    }

    /// Waits until these nodes have the same head, not below a height, and returns it.
    pub fn agree(&self, nodes: &[usize], height: u64) -> Value {
        until("the same head everywhere", || {
            let heads: Option<Vec<Value>> = nodes.iter().map(|&node| self.head(node)).collect();
            let heads = heads?;
            let same = heads.iter().all(|head| head["head"] == heads[0]["head"]);
            (same && heads[0]["height"].as_u64()? >= height).then(|| heads[0].clone())
        })
    }

    /// A block and its ancestors, newest first.
    pub fn blocks(&self, node: usize, tip: &str) -> Vec<Value> {
        let path = format!("/chain/blocks?tip={tip}&limit=1000");
        let answer = until("blocks", || self.get(node, &path));
        assert_eq!(answer.0, 200, "{tip}: {}", answer.1);
        answer.1["blocks"].as_array().unwrap().clone()
    }

    pub fn status(&self, node: usize) -> Value {
        until("a status", || self.get(node, "/debug/status")).1
    }

    pub fn client_address(&self, node: usize) -> SocketAddr {
        self.clients[node]
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
