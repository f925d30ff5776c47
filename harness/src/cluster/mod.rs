//! Clusters: machines with an agent on each. The lab makes them out of namespaces; over SSH they
//! are what is there.

pub mod lab;
pub mod ssh;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use history::Name;
use thiserror::Error;

use crate::at_once::at_once;
use crate::control::Agent;

/// A machine of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// `n1`, `n2`, ...
    pub name: Name,
    /// Where its peers and the controller reach it.
    pub address: IpAddr,
    pub agent: Agent,
    /// What can be done to it from outside, where it is a virtual machine of ours.
    pub machine: Option<Arc<dyn Machine>>,
    /// A folder on the node, as the node sees it: `bin/` has the provided programs, `data/` is for
    /// daemons, `log/` is collected into the run's folder at the end.
    pub dir: PathBuf,
}

/// A virtual machine, by its hypervisor.
#[async_trait]
pub trait Machine: fmt::Debug + Send + Sync {
    /// Lets it stand still between two instructions. If the controller dies, it goes on.
    async fn suspend(&self) -> Result<(), String>;

    /// Lets it go on, as if nothing had been. Fine where it does.
    async fn resume(&self) -> Result<(), String>;

    /// What the hypervisor says of it: `running`, `paused`.
    async fn state(&self) -> Result<String, String>;

    /// Starts it anew, as its reset button: what is not on its disk is lost.
    async fn reset(&self) -> Result<(), String>;
}

impl Node {
    /// What can be done to it: what its agent said, and what its machine is able to.
    pub fn offers(&self) -> Vec<String> {
        let greeting = self.agent.greeting();
        let mut offers = greeting.map(|hello| hello.offers).unwrap_or_default();
        if self.machine.is_some() {
            offers.extend(["suspend", "reset"].map(String::from));
        }
        offers
    }

    /// A provided program, as the node sees it.
    pub fn bin(&self, program: &str) -> PathBuf {
        self.dir.join("bin").join(program)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn log(&self, file: &str) -> PathBuf {
        self.dir.join("log").join(file)
    }
}

/// A program that a system needs on every node; in the lab it may be a whole folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it is called in the node's `bin/`.
    pub name: String,
    /// Where the controller has it.
    pub from: PathBuf,
}

/// Machines that can be brought up and taken down.
#[async_trait]
pub trait Cluster: Send {
    /// `lab`, `ssh`, `vagrant`.
    fn name(&self) -> &str;

    /// Brings all nodes up, with a greeted agent and the programs in place. Every node's failure is
    /// in the error, not the first.
    async fn up(&mut self, programs: &[Program]) -> Result<Vec<Node>, ClusterError>;

    /// Brings what the nodes wrote under `log/` into the run's `nodes/NAME/` folders.
    async fn collect(&mut self) -> Result<(), ClusterError>;

    /// Takes everything away that [`Cluster::up`] made.
    async fn down(&mut self) -> Result<(), ClusterError>;
}

/// What went wrong, node by node.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error("{}", .0.iter().map(|(node, why)| format!("{node}: {why}")).collect::<Vec<_>>().join("; "))]
    Nodes(Vec<(Name, String)>),
    #[error("{0}")]
    Whole(String),
}

/// Runs one future for each node, all at once, and returns their results in the nodes' order, or
/// every node's failure.
async fn on_all<T, F>(work: impl Iterator<Item = (Name, F)>) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let named = work.map(|(name, work)| async move { (name, work.await) });
    let mut failed = Vec::new();
    let mut done = Vec::new();
    for (name, result) in at_once(named).await {
        match result {
            Ok(value) => done.push(value),
            Err(why) => failed.push((name, why)),
        }
    }
    match failed.is_empty() {
        true => Ok(done),
        false => Err(ClusterError::Nodes(failed)),
    }
}
