//! Workloads: what is asked of a system, and how the answers are judged.

use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::agreement::Agreement;
use checkers::availability::Availability;
use checkers::chain::{self, Chain};
use checkers::completeness::Completeness;
use checkers::crashes::Crashes;
use checkers::lateness::{Depends, LengthBound, OF_CHAINS};
use checkers::recovery::Recovery;
use checkers::role::Roles;
use checkers::vacuity::{Service, Vacuity};
use harness::client::{Client, Completion, Connect, Invocation, OpError, REJECTED};
use harness::closing::Closing;
use harness::cluster::Node;
use harness::generator::Generator;
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

    /// What each of its operations reads and writes.
    fn roles(&self) -> Roles;

    /// Whether the main phase reads too.
    fn reads_all_along(&self) -> bool {
        true
    }

    /// Who judges the answers. Needs neither generator nor system: old runs are judged with it too.
    fn checkers(&self, params: &Params) -> Vec<Box<dyn Checker>>;
}

/// What is asked in one run. Rate and end are put around it by whoever runs it.
pub struct Load {
    /// Offers an operation whenever it is asked.
    pub main: Box<dyn Generator>,
    /// The last write, and reads of everything that was written. It shares with `main` what that has
    /// asked, so it is of use only afterwards.
    pub closing: Closing,
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
    /// Whether a daemon may end by itself.
    pub may_crash: bool,
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
        may_crash,
    } = circumstances;
    let mut judges = workload.checkers(params);
    // What a chain promises, it promises for partitions that last no longer than they were to.
    if confirmations.is_some() {
        let bound = |inner| LengthBound {
            inner,
            depends: Depends::All,
        };
        let all = judges.into_iter();
        judges = all.map(|inner| Box::new(bound(inner)) as _).collect();
    }
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
        let judge = match confirmations {
            Some(depth) => judge.with_confirmations(depth),
            None => judge,
        };
        judges.push(Box::new(LengthBound {
            inner: Box::new(judge),
            depends: OF_CHAINS,
        }));
    }
    let roles = workload.roles();
    let mut service = Service::of(roles);
    if !workload.reads_all_along() {
        service.least_reads = 0;
    }
    let run: [Box<dyn Checker>; 5] = [
        Box::new(Crashes { allowed: may_crash }),
        Box::new(Recovery {
            roles: Some(roles),
            may_crash,
        }),
        Box::new(Completeness { roles: Some(roles) }),
        Box::new(Availability::of_run(roles)),
        Box::new(Vacuity::of_run(service, nodes, faults)),
    ];
    judges.extend(run);
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
