//! Workloads: what is asked of a system, and how the answers are judged.

use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::Roles;
use harness::client::{Client, Completion, Connect, Invocation, OpError, REJECTED};
use harness::closing::Closing;
use harness::cluster::Node;
use harness::generator::Generator;
use history::Value;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::interface::{Call, Consistency, Interface, Kv, Offers, OpenKv};
use crate::params::{Kind, Param, Params};

/// A way to put a system under load, for which correct answers can be told from wrong ones.
pub trait Workload: Send + Sync {
    fn name(&self) -> &'static str;

    /// One line for people.
    fn about(&self) -> &'static str;

    fn params(&self) -> Vec<Param>;

    /// The interfaces that a system must have to be asked this.
    fn needs(&self) -> &'static [Interface];

    /// What it asks of a [`Kv`], or of [`Objects`](crate::interface::Objects).
    fn calls(&self) -> &'static [Call];

    /// What to ask, in the main phase and at the end.
    fn load(&self, params: &Params) -> Load;

    /// Who asks it.
    ///
    /// # Errors
    /// If the system lacks an interface that the workload needs.
    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking>;

    /// What each of its operations reads and writes.
    fn roles(&self) -> Roles;

    /// Whether the main phase reads too.
    fn reads_all_along(&self) -> bool {
        true
    }

    /// The texts that it was read from, if it is not of this program.
    fn texts(&self) -> Option<&Texts> {
        None
    }

    /// Who judges the answers. Needs neither generator nor system: old runs are judged with it too.
    fn checkers(&self, params: &Params) -> Vec<Box<dyn Checker>>;
}

/// A workload that is no part of this program: what it was read from, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    pub name: String,
    pub workload: String,
    /// The script that judges it, by the name of its file.
    pub model: String,
    pub script: String,
}

/// What is asked in one run. Rate and end are put around it by whoever runs it.
pub struct Load {
    /// Offers an operation whenever it is asked.
    pub main: Box<dyn Generator>,
    /// The last write, and reads of everything that was written. It shares with `main` what that
    /// has asked, so it is of use only afterwards.
    pub closing: Closing,
}

/// A system without something that a workload needs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("workload {workload} needs {need}, which the system does not offer")]
pub struct Lacking {
    pub workload: &'static str,
    pub need: Need,
}

/// What a workload needs.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Need {
    #[error("the interface {0}")]
    Interface(Interface),
    #[error("the operation {}", .0.word())]
    Call(Call),
}

/// Every workload over [`Kv`] has this parameter.
pub(crate) const CONSISTENCY: Param = Param {
    name: "consistency",
    kind: Kind::Choice(&["linearizable", "local"]),
    default: "linearizable",
    about: "what reads ask for; local ones, on any system, should be caught by the checkers",
};

pub(crate) fn consistency(params: &Params) -> Consistency {
    match params.text(CONSISTENCY.name) {
        "local" => Consistency::Local,
        _ => Consistency::Linearizable,
    }
}

/// A workload's operations as calls of [`Kv`].
#[async_trait]
pub(crate) trait KvOperations: Send + Sync {
    /// The value of the completed operation.
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError>;

    /// Whether it leaves the system as it is, so that it has failed when it did not succeed.
    fn reads_only(&self, operation: &Invocation) -> bool;
}

/// Clients that perform a workload's operations on a [`Kv`].
pub(crate) fn kv_clients(
    workload: &'static str,
    offers: &Offers,
    operations: impl KvOperations + 'static,
) -> Result<Arc<dyn Connect>, Lacking> {
    let open = offers.kv.clone().ok_or(Lacking {
        workload,
        need: Need::Interface(Interface::Kv),
    })?;
    Ok(Arc::new(KvClients {
        open,
        operations: Arc::new(operations),
    }))
}

struct KvClients {
    open: Arc<dyn OpenKv>,
    operations: Arc<dyn KvOperations>,
}

#[async_trait]
impl Connect for KvClients {
    async fn connect(&self, node: &Node, _process: u64) -> Box<dyn Client> {
        Box::new(KvClient {
            kv: self.open.open(node),
            operations: self.operations.clone(),
        })
    }
}

struct KvClient {
    kv: Box<dyn Kv>,
    operations: Arc<dyn KvOperations>,
}

#[async_trait]
impl Client for KvClient {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match self.operations.perform(&mut *self.kv, operation).await {
            Ok(value) => Completion::ok(value).at(self.kv.version()),
            Err(error) => error.completion(operation, self.operations.reads_only(operation)),
        }
    }
}

/// An operation that is not the workload's: a recorded history replayed against the wrong one.
pub(crate) fn not_ours(operation: &Invocation) -> OpError {
    OpError::new(
        REJECTED,
        format!(
            "the workload has no operation {} {}",
            operation.f, operation.value
        ),
    )
}
