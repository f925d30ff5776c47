//! Workloads: what is asked of a system, and how the answers are judged.

use std::collections::VecDeque;
use std::iter::repeat_n;
use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::agreement::Agreement;
use checkers::availability::Availability;
use checkers::chain::{self, Chain};
use checkers::vacuity::Vacuity;
use harness::client::{Client, Completion, Connect, Invocation, OpError, REJECTED};
use harness::cluster::Node;
use harness::generator::{Context, Generator, Next, Offer};
use history::{Name, Value};
use thiserror::Error;

use crate::append::Append;
use crate::bank::Bank;
use crate::cas_register::CasRegister;
use crate::interface::{Consistency, Interface, Kv, Offers, OpenKv};
use crate::kv::Store;
use crate::ledger::Entries;
use crate::nearest::nearest;
use crate::params::{Kind, Param, Params, hint};
use crate::register::Register;
use crate::set::Set;

/// A way to put a system under load, for which correct answers can be told from wrong ones.
pub trait Workload: Send + Sync {
    fn name(&self) -> &'static str;

    /// One line for people.
    fn about(&self) -> &'static str;

    fn params(&self) -> Vec<Param>;

    /// The interfaces that a system must have to be asked this.
    fn needs(&self) -> &'static [Interface];

    /// What to ask, in the main phase and at the end.
    fn load(&self, params: &Params) -> Load;

    /// Who asks it.
    ///
    /// # Errors
    /// If the system lacks an interface that the workload needs.
    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking>;

    /// Who judges the answers. Needs neither generator nor system: old runs are judged with it too.
    fn checkers(&self, params: &Params) -> Vec<Box<dyn Checker>>;
}

/// The generators of one run. Each offers an operation whenever it is asked; rate and end are put
/// around them by whoever runs them.
pub struct Load {
    pub main: Box<dyn Generator>,
    /// Reads of everything that the main phase asked about, once for each worker that is free when
    /// it is first asked: where every node has one worker, every node is read. It shares with `main`
    /// what that has asked, so it is of use only afterwards.
    pub closing: Box<dyn Generator>,
}

/// What `main` leaves for `closing`: a list of reads, made when the first is asked for.
pub(crate) struct Closing<F> {
    /// The operations, as `f` and value.
    list: F,
    left: Option<VecDeque<(&'static str, Value)>>,
}

impl<F> Closing<F> {
    pub(crate) fn new(list: F) -> Closing<F> {
        Closing { list, left: None }
    }
}

impl<F> Generator for Closing<F>
where
    F: FnMut() -> Vec<(&'static str, Value)> + Send,
{
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let left = self.left.get_or_insert_with(|| {
            let workers = context.free.max(1);
            let reads = (self.list)().into_iter();
            reads.flat_map(|read| repeat_n(read, workers)).collect()
        });
        match left.pop_front() {
            None => Next::Done,
            Some((f, value)) => Next::Offer(Offer {
                f: f.into(),
                value,
                at: context.now,
            }),
        }
    }
}

/// A system without an interface that a workload needs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("workload {workload} needs the interface {interface}, which the system does not offer")]
pub struct Lacking {
    pub workload: &'static str,
    pub interface: Interface,
}

/// There is no such workload.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no workload {name:?}{}; `schism workloads` lists them", hint(.nearest))]
pub struct NoWorkload {
    pub name: String,
    pub nearest: Option<String>,
}

/// Every workload there is.
pub const WORKLOADS: &[&dyn Workload] = &[
    &Register,
    &CasRegister,
    &Store,
    &Set,
    &Append,
    &Entries,
    &Bank,
];

/// The workload of this name.
///
/// # Errors
/// With the nearest name, if there is no such workload.
pub fn find(name: &str) -> Result<&'static dyn Workload, NoWorkload> {
    WORKLOADS
        .iter()
        .find(|workload| workload.name() == name)
        .copied()
        .ok_or_else(|| NoWorkload {
            name: name.into(),
            nearest: nearest(name, WORKLOADS.iter().map(|workload| workload.name())),
        })
}

/// What the judges want to know of a run beyond its history.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// What the system offered.
    pub offered: Vec<Interface>,
    /// Every node of the cluster.
    pub nodes: Vec<Name>,
    /// Whether faults were asked for.
    pub faults: bool,
    /// Of a chain: the depth at which it gives its answers.
    pub confirmations: Option<u64>,
    /// Of a chain: what its own rules say of blocks.
    pub chain_rules: chain::Rules,
    /// Whether the nodes are machines, each with a monotonic clock of its own.
    pub separate_clocks: bool,
}

/// Everybody who judges a run of `workload`: the workload's own checkers, those of the interfaces
/// that the system offers, and those that every run has.
pub fn judges(
    workload: &dyn Workload,
    params: &Params,
    circumstances: Circumstances,
) -> Vec<Box<dyn Checker>> {
    let Circumstances {
        offered,
        nodes,
        faults,
        confirmations,
        chain_rules,
        separate_clocks,
    } = circumstances;
    let mut judges = workload.checkers(params);
    if offered.contains(&Interface::Log) {
        let agreement = Agreement::new().with_nodes(nodes.len());
        judges.push(Box::new(match separate_clocks {
            true => agreement.with_separate_clocks(),
            false => agreement,
        }));
    }
    if offered.contains(&Interface::Chain) {
        let judge = Chain::new()
            .with_nodes(nodes.iter().cloned())
            .with_rules(chain_rules);
        judges.push(Box::new(match confirmations {
            Some(depth) => judge.with_confirmations(depth),
            None => judge,
        }));
    }
    judges.push(Box::new(Availability::default()));
    judges.push(Box::new(Vacuity {
        nodes,
        faults,
        ..Vacuity::default()
    }));
    judges
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
        interface: Interface::Kv,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::SYSTEMS;

    #[test]
    fn names_are_found_and_wrong_ones_answered_with_the_nearest() {
        for workload in WORKLOADS {
            assert_eq!(find(workload.name()).unwrap().name(), workload.name());
        }
        let error = find("cas-registr").err().unwrap();
        assert_eq!(error.nearest.as_deref(), Some("cas-register"));
    }

    #[test]
    fn parameters_do_not_overlap_and_can_be_their_defaults() {
        for workload in WORKLOADS {
            for system in SYSTEMS {
                let params = [system.params.to_vec(), workload.params()].concat();
                let defaults = params.iter().map(|param| (param.name, param.default));
                let resolved = Params::resolve(&params, defaults).unwrap();
                let names = resolved.iter().count();
                assert_eq!(names, params.len(), "{} {}", system.name, workload.name());
            }
        }
    }

    #[test]
    fn a_system_without_the_interface_is_turned_away() {
        for workload in WORKLOADS {
            let params = Params::resolve(&workload.params(), []).unwrap();
            let error = workload.connect(&params, &Offers::default()).err().unwrap();
            assert_eq!(error.interface, workload.needs()[0]);
        }
    }
}
