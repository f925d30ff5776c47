//! Which workloads there are, and who judges a run of one.

use checkers::Checker;
use checkers::agreement::Agreement;
use checkers::availability::Availability;
use checkers::chain::{self, Chain};
use checkers::completeness::Completeness;
use checkers::crashes::Crashes;
use checkers::lateness::{Depends, LengthBound, OF_CHAINS};
use checkers::recovery::Recovery;
use checkers::replicas::Replicas;
use checkers::vacuity::{Service, Vacuity};
use harness::nearest::nearest;
use history::Name;
use thiserror::Error;

use crate::append::Append;
use crate::bank::Bank;
use crate::cas_register::CasRegister;
use crate::counter::Counter;
use crate::interface::Interface;
use crate::kv::Store;
use crate::lease::Lease;
use crate::ledger::Entries;
use crate::lock::Lock;
use crate::params::{Params, hint};
use crate::queue::Queue;
use crate::register::Register;
use crate::set::Set;
use crate::streams::{Log, Watch};
use crate::txn;
use crate::unique_ids::UniqueIds;
use crate::workload::Workload;

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
    &Queue,
    &Lock,
    &Lease,
    &Counter,
    &UniqueIds,
    &txn::LISTS,
    &txn::REGISTERS,
    &Watch,
    &Log,
];

/// The workload of this name: one of `own`, or one of this program.
///
/// # Errors
/// With the nearest name, if there is no such workload.
pub fn find_with(
    own: &[&'static dyn Workload],
    name: &str,
) -> Result<&'static dyn Workload, NoWorkload> {
    let own = own.iter().find(|workload| workload.name() == name);
    own.map_or_else(|| find(name), |own| Ok(*own))
}

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
            nearest: nearest(name, WORKLOADS.iter().map(|workload| workload.name()))
                .map(str::to_string),
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
    /// Families of faults that leave a node's memory as it is.
    pub gentle: Vec<Name>,
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
        gentle,
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
        let mut agreement = Agreement::new().with_nodes(nodes.len());
        if separate_clocks {
            agreement = agreement.with_separate_clocks();
        }
        // What objects are made of are other values than those that were asked for.
        let composed = [Interface::Objects, Interface::Leases];
        if workload.needs().iter().any(|need| composed.contains(need)) {
            agreement = agreement.without_clients();
        }
        judges.push(Box::new(agreement));
    }
    if offered.contains(&Interface::Replicas) {
        judges.push(Box::new(Replicas));
    }
    if offered.contains(&Interface::Chain) {
        let judge = Chain::new()
            .with_nodes(nodes.iter().cloned())
            .with_gentle(gentle)
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

#[cfg(test)]
mod tests {
    use checkers::gauges;

    use super::*;
    use crate::interface::Offers;
    use crate::systems::SYSTEMS;
    use crate::workload::Need;

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
            assert_eq!(error.need, Need::Interface(workload.needs()[0]));
        }
    }

    /// So that experiments, scenarios and systems' time rules find what it measures.
    #[test]
    fn whoever_judges_a_run_has_gauges_if_it_measures_at_all() {
        let known: Vec<&str> = gauges::all().map(|(checker, _)| checker).collect();
        let offered = vec![Interface::Log, Interface::Replicas, Interface::Chain];
        for workload in WORKLOADS {
            let params = Params::resolve(&workload.params(), []).unwrap();
            let circumstances = Circumstances {
                offered: offered.clone(),
                ..Circumstances::default()
            };
            for judge in judges(*workload, &params, circumstances) {
                let name = judge.name();
                assert!(
                    known.contains(&name) || name == "completeness",
                    "{name} of {} is not in the gauges' catalogue",
                    workload.name()
                );
            }
        }
    }

    #[test]
    fn time_rules_show_in_figures_that_there_are() {
        let rules = SYSTEMS.iter().flat_map(|system| system.time_rules);
        let mut shown = 0;
        for figure in rules
            .flat_map(|rule| [Some(rule.figure), rule.uses])
            .flatten()
        {
            assert!(gauges::described(figure).is_some(), "{figure}");
            shown += 1;
        }
        assert!(shown > 0);
    }
}
