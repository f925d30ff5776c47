//! A cluster without namespaces: every node is an address of its own in 127/8 and a real agent.
//!
//! When the test dies, the agents' input ends, and they stop their daemons and exit.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent::protocol::{Request, Started};
use async_trait::async_trait;
use harness::cluster::{Cluster, ClusterError, Node, Program};
use harness::control::Agent;
use harness::system::System;
use history::Name;
use rand::RngExt;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

pub const LIMIT: Duration = Duration::from_secs(60);

/// Ports that are free, now, on every node's address.
#[derive(Clone, Copy)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

pub struct Loopback {
    folder: TempDir,
    addresses: Vec<IpAddr>,
    agents: Vec<(Agent, Child)>,
}

impl Loopback {
    pub fn new(nodes: usize) -> (Loopback, Ports) {
        let (addresses, ports) = free(nodes);
        let loopback = Loopback {
            folder: tempfile::tempdir().unwrap(),
            addresses,
            agents: Vec::new(),
        };
        (loopback, ports)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Brings the nodes up with `system` installed, started and ready.
    pub async fn start(&mut self, system: &dyn System) -> Vec<Node> {
        let nodes = self.up(&system.programs()).await.unwrap();
        for node in &nodes {
            system.install(node, &nodes).await.unwrap();
            let daemon = system.daemon(node, &nodes);
            let _: Started = node.agent.call(Request::Start { daemon }).await.unwrap();
        }
        for node in &nodes {
            wait_for("every node is ready", || async {
                system.ready(node).await.is_ok()
            })
            .await;
        }
        nodes
    }
}

/// Random addresses in 127/8, away from 127.0.0.x, and random ports: another cluster on this
/// machine has others, and the bind finds out about everybody else.
fn free(nodes: usize) -> (Vec<IpAddr>, Ports) {
    let mut rng = rand::rng();
    for _ in 0..100 {
        let [a, b] = [rng.random_range(1..=254), rng.random_range(0..=255)];
        let addresses: Vec<IpAddr> = (1..=nodes as u8)
            .map(|node| Ipv4Addr::new(127, a, b, node).into())
            .collect();
        // Below the range from which outgoing connections get their ports.
        let client = rng.random_range(10_000..30_000);
        let ports = Ports {
            client,
            peer: client + 1,
        };
        let bind = |port| {
            addresses
                .iter()
                .all(|at| TcpListener::bind((*at, port)).is_ok())
        };
        if bind(ports.client) && bind(ports.peer) {
            return (addresses, ports);
        }
    }
    panic!("no free addresses in 127/8");
}

/// A program of this workspace, beside the tests.
fn built(program: &str, package: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(program);
    assert!(
        path.is_file(),
        "{} is missing: build it with `cargo build -p {package}`",
        path.display()
    );
    path
}

/// Asks until it is so.
pub async fn wait_for<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, asking).await;
    in_time.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"));
}

#[async_trait]
impl Cluster for Loopback {
    fn name(&self) -> &str {
        "loopback"
    }

    async fn up(&mut self, programs: &[Program]) -> Result<Vec<Node>, ClusterError> {
        let agent = built("schism-agent", "agent");
        let mut nodes = Vec::new();
        for (i, address) in self.addresses.iter().enumerate() {
            let name = Name::from(format!("n{}", i + 1));
            let dir = self.folder.path().join(&name);
            std::fs::create_dir_all(dir.join("bin")).unwrap();
            for program in programs {
                std::os::unix::fs::symlink(&program.from, dir.join("bin").join(&program.name))
                    .unwrap();
            }
            let mut child = Command::new(&agent)
                .arg("--dir")
                .arg(dir.join("agent"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (from, to) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
            let session = Agent::new(name.clone(), from, to, mpsc::unbounded_channel().0);
            session.hello(Duration::from_secs(60)).await.unwrap();
            self.agents.push((session.clone(), child));
            nodes.push(Node {
                name,
                address: *address,
                agent: session,
                dir,
                machine: None,
            });
        }
        Ok(nodes)
    }

    async fn collect(&mut self) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn down(&mut self) -> Result<(), ClusterError> {
        for (session, mut agent) in self.agents.drain(..) {
            session.call::<()>(Request::Shutdown).await.unwrap();
            assert!(agent.wait().await.unwrap().success());
        }
        Ok(())
    }
}
