//! Who judges a run.

use std::path::PathBuf;

use checkers::Checker;
use history::store::Store;
use workloads::catalogue::{self, Circumstances};
use workloads::interface::Interface;
use workloads::params::Params;

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::machines::Kind;
use crate::spec::Spec;

/// A run's history, and who judges it: as its own workload says, or another.
pub fn of_run(
    store: &StoreArgs,
    name: &str,
    workload: Option<&str>,
) -> Result<(PathBuf, Vec<Box<dyn Checker>>), Failure> {
    let store = Store::new(&store.store);
    let run = store.open(name).map_err(Failure::usage)?;
    let spec = Spec::load(&run)?;
    let workload = workload.unwrap_or(&spec.workload);
    let params: Vec<_> = spec.params.clone().into_iter().collect();
    let checkers = judges(workload, &params, Some(&spec))?;
    Ok((run.history(), checkers))
}

/// What a run's specification says by itself.
fn of(spec: &Spec) -> Circumstances {
    Circumstances {
        nodes: spec.node_names(),
        faults: spec.nemesis.as_deref() != Some("none"),
        separate_clocks: spec.cluster != Kind::Lab,
        may_crash: spec.may_crash,
        ..Circumstances::default()
    }
}

/// The checkers of a workload, and those that every run has.
pub fn judges(
    workload: &str,
    params: &[(String, String)],
    spec: Option<&Spec>,
) -> Result<Vec<Box<dyn Checker>>, Failure> {
    let workload = match spec {
        Some(spec) => spec.workload_named(workload)?,
        None => catalogue::find(workload).map_err(Failure::usage)?,
    };
    let own = workload.params();
    let given = params
        .iter()
        .filter(|(k, _)| own.iter().any(|p| p.name == k))
        .map(|(k, v)| (k.as_str(), v.as_str()));
    let params = Params::resolve(&own, given).map_err(Failure::usage)?;
    let circumstances = match spec {
        None => Circumstances::default(),
        // What a folder says that matters here stands in the specification.
        Some(spec) if spec.folder.is_some() => Circumstances {
            offered: spec
                .replicas
                .then_some(Interface::Replicas)
                .into_iter()
                .collect(),
            ..of(spec)
        },
        Some(spec) => {
            let entry = spec.entry().map_err(Failure::usage)?;
            let given = spec.params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let params = entry.own_params(given).map_err(Failure::usage)?;
            Circumstances {
                offered: entry.interfaces.to_vec(),
                confirmations: entry.confirmations(&params),
                chain_rules: entry.chain_rules(&params),
                may_crash: spec.may_crash || entry.may_crash,
                gentle: nemeses::gentle().map(Into::into).collect(),
                ..of(spec)
            }
        }
    };
    Ok(catalogue::judges(workload, &params, circumstances))
}
