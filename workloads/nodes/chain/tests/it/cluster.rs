//! Real processes on loopback, each with an IP of its own, and a client for them.

use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::time::Duration;

use nodekit::testing::processes::Processes;
use nodekit::testing::{self, until};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chain");

/// Blocks come ten times a second, from as little hashing as a debug build can do beside other
/// tests.
const QUICK: [&str; 3] = [
    "--block-interval=100ms",
    "--hash-rate=2000",
    "--confirmations=2",
];

/// A command that dies with this process.
pub fn program() -> Command {
    testing::program(PROGRAM)
}

/// A network; its processes and files end with it.
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
        let hosts = (2..).map(|last| Ipv4Addr::new(127, 0, 0, last));
        let hosts: Vec<Ipv4Addr> = hosts.take(nodes).collect();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let patience = Duration::from_secs(40);
        let processes = Processes::start(PROGRAM, &hosts, patience, move |_, _| flags.clone());
        let cluster = Cluster(processes);
        for node in 0..nodes {
            cluster.height(node);
        }
        cluster
    }

    /// The most memory that the process had at any time.
    pub fn peak_memory_kib(&self, node: usize) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id(node))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.unwrap().trim().split(' ').next().unwrap();
        number.parse().unwrap()
    }

    /// Puts, again and again under the same name until it is acknowledged, and returns the answer.
    pub fn put_surely(&self, node: usize, key: &str, value: &Value) -> Value {
        let name = format!("Transaction: put-{key}-{value}\r\n");
        self.0.put_surely(node, key, value, &name)
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
        until("a status", || self.0.status(node))
    }
}
