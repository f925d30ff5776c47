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

/// An operation of a system's own that can be asked for as a fault, such as to compact its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Whether it can be taken back; else what was done stays when the fault ends.
    pub is_undone: bool,
    /// Whether it can be looked whether it is in force.
    pub is_checked: bool,
    /// Whether the daemon is stopped in good order before either and started again after it.
    pub restarts: bool,
    /// Whether the node serves nobody meanwhile.
    pub takes_node_away: bool,
}

impl Operation {
    /// Words that say whom a fault is done to, so that no operation is called so.
    const TAKEN: [&str; 5] = ["one", "minority", "majority", "leader", "all"];

    /// Whether it may be called so: `remove-member`.
    pub fn is_name(name: &str) -> bool {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        name.len() <= 40
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(plain)
            && !Operation::TAKEN.contains(&name)
    }
}

/// A part of an operation on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Do,
    /// Asked for even where [`Step::Do`] did not work: it may have been done in part.
    Undo,
    /// Whether it is in force.
    Check,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operated {
    pub worked: bool,
    /// One line for people.
    pub told: String,
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
    ///
    /// # Errors
    /// Why it is not ready: what was asked of it, and what came of that.
    async fn ready(&self, node: &Node) -> Result<(), String>;

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

    /// What can be done to it as faults of the family `admin`.
    fn operations(&self) -> Vec<Operation> {
        Vec::new()
    }

    /// Does a part of one of them on a node. It must end by itself.
    ///
    /// # Errors
    /// If the node cannot be asked. What the system refuses is no error, but has not worked.
    async fn operate(
        &self,
        operation: &str,
        _step: Step,
        _node: &Node,
        _all: &[Node],
    ) -> Result<Operated, ControlError> {
        unreachable!("{} offers no operation {operation}", self.name())
    }

    /// What is read from the node at the end, as events for the history: pairs of `f` and value,
    /// such as its decided log. The node may be asked over its agent too.
    async fn final_reads(&self, _node: &Node) -> Vec<(Name, Result<Value, String>)> {
        Vec::new()
    }

    /// Versions of what was tested, for the report: asked of the programs, never assumed.
    async fn version(&self, node: &Node) -> Result<String, ControlError>;
}
