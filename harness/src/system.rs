//! Systems under test.

use std::time::Duration;

use agent::protocol::Daemon;
use async_trait::async_trait;
use history::{Name, Value};

use crate::cluster::{Node, Program};
use crate::control::ControlError;

/// What is looked at again and again while a run goes on: see [`crate::watcher`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What the operations are called in the history.
    pub f: Name,
    /// Time between an answer and the next question to the same node.
    pub every: Duration,
}

/// A distributed system that can be put on trial: how to install it, start it, and ask it things
/// that are not operations. What can be asked *of* it is the business of the interfaces in
/// `workloads`.
#[async_trait]
pub trait System: Send + Sync {
    fn name(&self) -> &str;

    /// Programs to be provided on every node.
    fn programs(&self) -> Vec<Program>;

    /// The daemon of one node, ready to be started; called once all nodes are up.
    fn daemon(&self, node: &Node, all: &[Node]) -> Daemon;

    /// Writes what the daemon wants to find, before its first start.
    async fn install(&self, node: &Node, all: &[Node]) -> Result<(), ControlError>;

    /// Whether the node serves clients now, and has caught up with the others where it answers from
    /// what it holds itself: reads of a node that lags are no evidence of loss. Asked again until
    /// all nodes do or time is out.
    async fn ready(&self, node: &Node) -> bool;

    /// Whether its clients can work, where that is not this program's own business. Asked once, of
    /// a node that is ready.
    ///
    /// # Errors
    /// What is wrong with them, and what to do.
    async fn clients_work(&self, _node: &Node) -> Result<(), String> {
        Ok(())
    }

    /// How long the whole system may take from start to ready.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// How long a node may take to serve again once everything is healed, and then a client's write
    /// there to be answered: what takes longer has failed.
    fn recovery_time(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Who leads, in the opinion of most nodes, if the system has leaders and they agree.
    async fn leader(&self, _nodes: &[Node]) -> Option<Name> {
        None
    }

    /// TCP port on which clients are answered: where replies are dropped.
    fn client_port(&self) -> u16;

    /// Wall clock of the node's daemon in nanoseconds since 1970, if it can be asked: evidence for
    /// clock faults by a second path.
    async fn wall_clock(&self, _node: &Node) -> Option<i64> {
        None
    }

    /// What every node shows while the run goes on, if there is anything to see between the
    /// operations: [`System::look`] is then called again and again.
    fn watch(&self) -> Option<Watch> {
        None
    }

    /// What the node shows now. It must give up by itself on a node that does not answer.
    ///
    /// # Errors
    /// Why it could not be seen, for the history.
    async fn look(&self, node: &Node) -> Result<Value, String> {
        Err(format!("{} has nothing to look at", node.name))
    }

    /// What is read from the node at the end, as events for the history: pairs of `f` and value,
    /// such as its decided log. The node may be asked over its agent too.
    async fn final_reads(&self, _node: &Node) -> Vec<(Name, Result<Value, String>)> {
        Vec::new()
    }

    /// Versions of what was tested, for the report: asked of the programs, never assumed.
    async fn version(&self, node: &Node) -> Result<String, ControlError>;
}
