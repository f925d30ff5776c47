//! The cluster of a run: the lab, hosts over SSH, or Vagrant's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent::protocol::Note;
use harness::cluster::lab::Lab;
use harness::cluster::ssh::{self, Options, Ssh, Target};
use harness::cluster::{Cluster, ClusterError};
use harness::progress::{Lasts, Progress};
use history::Name;
use tokio::sync::mpsc::UnboundedSender;

use crate::exit::Failure;
use crate::machines::{Kind, split};
use crate::spec::Spec;
use crate::{prompt, vagrant};

/// Everything about a run that its cluster needs.
pub struct Wanted<'a> {
    pub spec: &'a Spec,
    /// `nodes/` of the run.
    pub folder: PathBuf,
    pub lease: Duration,
    pub notes: UnboundedSender<(Name, Note)>,
    pub progress: Arc<Progress>,
}

/// The cluster, not up yet. Vagrant's machines are brought up here, for what they are is known only
/// then.
pub async fn build(wanted: Wanted<'_>) -> Result<Box<dyn Cluster>, Failure> {
    let names = wanted.spec.node_names();
    let mut machines = Vec::new();
    let (hosts, access) = match wanted.spec.cluster {
        Kind::Lab => {
            let lab = Lab::new(names, wanted.folder, wanted.lease, wanted.notes);
            return Ok(Box::new(lab.map_err(Failure::usage)?));
        }
        Kind::Ssh => (wanted.spec.hosts.clone(), wanted.spec.access.clone()),
        Kind::Vagrant => {
            wanted.progress.phase("vagrant up", Lasts::Unknown);
            let found = vagrant::machines(names.len(), &wanted.progress).await?;
            machines = found.machines;
            (found.hosts, found.access)
        }
    };
    let mut machines = machines.into_iter();
    let target = |(name, host): (Name, &String)| {
        let (host, address) = split(host);
        Target {
            name,
            host: host.to_string(),
            address: address.and_then(|a| a.parse().ok()),
            machine: machines.next().flatten(),
        }
    };
    let progress = wanted.progress;
    let options = Options {
        targets: names.into_iter().zip(&hosts).map(target).collect(),
        access: access.access(),
        dir: access.remote_dir.clone().unwrap_or_else(|| ssh::DIR.into()),
        clocks: access.clocks(),
        folder: wanted.folder,
        lease: wanted.lease,
        ask: Arc::new(prompt::passphrase),
        say: Arc::new(move |text| progress.remark(text)),
        notes: wanted.notes,
    };
    let cluster = Ssh::new(options).map_err(|e| match e {
        ClusterError::Whole(why) => Failure::Usage(why),
        e => Failure::infra(e),
    })?;
    Ok(Box::new(cluster))
}
