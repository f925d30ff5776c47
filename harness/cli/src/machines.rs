//! Which machines a run has, as the command line says it: their number, or which hosts, and how to
//! get in.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use harness::cluster::lab;
use harness::cluster::ssh::{self, Access, Clocks};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// What nodes are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Namespaces on this machine
    #[default]
    Lab,
    /// Machines that are there, over SSH
    Ssh,
    /// Virtual machines that Vagrant starts
    Vagrant,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lab => "lab",
            Kind::Ssh => "ssh",
            Kind::Vagrant => "vagrant",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct ClusterArgs {
    /// What the nodes are [default: lab]
    #[arg(help_heading = "Machines", long, value_enum)]
    pub cluster: Option<Kind>,
    /// How many nodes, or which hosts [default: as many as the system's file says, else 5]
    ///
    /// 1 to 9; with `--cluster ssh` the hosts, by comma: `HOST`, `USER@HOST`, or `HOST=ADDRESS`
    /// if peers reach the host at another address than SSH does.
    #[arg(help_heading = "Machines", long, short)]
    pub nodes: Option<String>,
    /// Hosts from a file, one a line
    #[arg(
        help_heading = "Machines",
        long,
        value_name = "FILE",
        hide_short_help = true,
        conflicts_with = "nodes"
    )]
    pub nodes_file: Option<PathBuf>,
    #[command(flatten)]
    pub access: AccessArgs,
}

/// How to get in: all that is not given comes from `~/.ssh/config`.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessArgs {
    /// Log in as this user; root, or one with sudo without a password
    #[arg(help_heading = "SSH", hide_short_help = true, long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Port of sshd
    #[arg(help_heading = "SSH", hide_short_help = true, long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Key file; its passphrase is asked for, or taken from SCHISM_SSH_PASSPHRASE
    #[arg(
        help_heading = "SSH",
        hide_short_help = true,
        long,
        value_name = "FILE"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// Go through this host, as with `ssh -J`
    #[arg(
        help_heading = "SSH",
        hide_short_help = true,
        long,
        value_name = "HOST"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// Read this instead of `~/.ssh/config`
    #[arg(
        help_heading = "SSH",
        hide_short_help = true,
        long,
        value_name = "FILE"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<PathBuf>,
    /// Enter keys of hosts that are not in known_hosts yet; changed keys are refused all the same
    #[arg(help_heading = "SSH", hide_short_help = true, long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accept_new_host_keys: bool,
    /// Where everything is put on a node [default: /var/lib/schism]
    #[arg(help_heading = "SSH", hide_short_help = true, long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_dir: Option<PathBuf>,
    /// Whose clocks clock faults shift: the machine's own, each process's, or the machine's where
    /// it has one that may be set [default: auto]
    #[arg(help_heading = "SSH", hide_short_help = true, long, value_name = "WHOSE", value_parser = ["auto", "machine", "process"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clocks: Option<String>,
}

impl AccessArgs {
    pub fn is_default(&self) -> bool {
        *self == AccessArgs::default()
    }

    /// The flags as they were given, to be given again.
    pub fn words(&self) -> Vec<String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let flags = [
            ("--user", self.user.clone()),
            ("--port", self.port.map(|port| port.to_string())),
            ("--identity", path(&self.identity)),
            ("--jump", self.jump.clone()),
            ("--ssh-config", path(&self.ssh_config)),
            ("--remote-dir", path(&self.remote_dir)),
            ("--clocks", self.clocks.clone()),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(flag, v)| Some([flag.to_string(), v?]));
        let keys = self
            .accept_new_host_keys
            .then(|| "--accept-new-host-keys".to_string());
        given.flatten().chain(keys).collect()
    }

    pub fn access(&self) -> Access {
        Access {
            user: self.user.clone(),
            port: self.port,
            identity: self.identity.clone(),
            jump: self.jump.clone(),
            config: self.ssh_config.clone(),
            accept_new_host_keys: self.accept_new_host_keys,
        }
    }

    pub fn clocks(&self) -> Clocks {
        match self.clocks.as_deref() {
            Some("machine") => Clocks::Machine,
            Some("process") => Clocks::Process,
            _ => Clocks::Auto,
        }
    }
}

/// How many nodes, and which hosts they are if they are hosts.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    /// None: as many as the system has where nobody says.
    pub count: Option<usize>,
    pub hosts: Vec<String>,
}

impl ClusterArgs {
    pub fn kind(&self) -> Kind {
        self.cluster.unwrap_or_default()
    }

    /// Whether nothing is said of the machines.
    pub fn is_default(&self) -> bool {
        *self == ClusterArgs::default()
    }

    /// Checks what was given; `scenario` is the number of nodes that a scenario wants.
    pub fn choose(&self, scenario: Option<usize>) -> Result<Chosen, Failure> {
        if self.kind() != Kind::Ssh && !self.access.is_default() {
            let flags = self.access.words().join(" ");
            return Err(Failure::Usage(format!(
                "{flags}: only --cluster ssh knows what to do with it"
            )));
        }
        if self.kind() == Kind::Ssh {
            let hosts = match (&self.nodes, &self.nodes_file) {
                (Some(list), _) => list.split(',').map(|h| h.trim().to_string()).collect(),
                (None, Some(file)) => hosts_of(file)?,
                (None, None) => {
                    return Err(Failure::Usage(
                        "--cluster ssh: say which hosts, with --nodes a,b,c or --nodes-file FILE"
                            .into(),
                    ));
                }
            };
            check(&hosts)?;
            return Ok(Chosen {
                count: Some(hosts.len()),
                hosts,
            });
        }
        if self.nodes_file.is_some() {
            return Err(Failure::Usage(
                "--nodes-file: only with --cluster ssh".into(),
            ));
        }
        let count = match &self.nodes {
            None => scenario,
            Some(text) => Some(text.parse().map_err(|_| {
                Failure::Usage(format!(
                    "--nodes {text}: a number; hosts are for --cluster ssh"
                ))
            })?),
        };
        if let Some(count) = count.filter(|count| !(1..=lab::MOST).contains(count)) {
            let of = match self.kind() {
                Kind::Lab => "a lab",
                _ => "a cluster of Vagrant's",
            };
            return Err(Failure::Usage(format!(
                "--nodes {count}: {of} has 1 to {} nodes",
                lab::MOST
            )));
        }
        Ok(Chosen {
            count,
            hosts: Vec::new(),
        })
    }
}

fn hosts_of(file: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::Usage(format!("cannot read {}: {e}", file.display())))?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

fn check(hosts: &[String]) -> Result<(), Failure> {
    if !(1..=ssh::MOST).contains(&hosts.len()) {
        return Err(Failure::Usage(format!(
            "{} hosts: a cluster has 1 to {}",
            hosts.len(),
            ssh::MOST
        )));
    }
    for (place, host) in hosts.iter().enumerate() {
        let (name, address) = split(host);
        if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
            return Err(Failure::Usage(format!("{host:?} cannot be a host")));
        }
        if let Some(address) = address
            && address.parse::<IpAddr>().is_err()
        {
            return Err(Failure::Usage(format!(
                "{host}: {address:?} is no IP address"
            )));
        }
        if hosts[..place].contains(host) {
            return Err(Failure::Usage(format!("{host} is named twice")));
        }
    }
    Ok(())
}

/// The host, and the address that may stand behind it.
pub fn split(host: &str) -> (&str, Option<&str>) {
    match host.split_once('=') {
        Some((name, address)) => (name, Some(address)),
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(cluster: Kind, nodes: &str) -> ClusterArgs {
        ClusterArgs {
            cluster: Some(cluster),
            nodes: Some(nodes.into()),
            ..ClusterArgs::default()
        }
    }

    fn refused(args: &ClusterArgs) -> String {
        match args.choose(None) {
            Err(Failure::Usage(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hosts_are_for_ssh_and_numbers_for_the_others() {
        let chosen = args(Kind::Ssh, "a, me@b,c=10.0.0.3").choose(None);
        let hosts = ["a", "me@b", "c=10.0.0.3"].map(String::from).to_vec();
        assert_eq!(
            chosen.expect("is fine"),
            Chosen {
                count: Some(3),
                hosts
            }
        );
        let flag = args(Kind::Lab, "3").choose(Some(4));
        assert_eq!(flag.expect("is fine").count, Some(3));
        let scenario = ClusterArgs::default().choose(Some(4));
        assert_eq!(scenario.expect("is fine").count, Some(4));
        assert_eq!(
            ClusterArgs::default().choose(None).expect("fine").count,
            None
        );
        assert!(refused(&args(Kind::Lab, "a,b")).contains("--cluster ssh"));
        assert!(refused(&args(Kind::Lab, "10")).contains("1 to 9"));
        for (wrong, word) in [
            ("a,,b", "cannot be a host"),
            ("a,-oProxyCommand=x", "cannot be a host"),
            ("a,a", "named twice"),
            ("a=b", "no IP address"),
        ] {
            assert!(refused(&args(Kind::Ssh, wrong)).contains(word), "{wrong}");
        }
    }

    #[test]
    fn a_flag_that_does_nothing_is_said_to() {
        let mut lab = args(Kind::Lab, "3");
        lab.access.user = Some("root".into());
        assert!(refused(&lab).contains("--user root"));
    }

    #[test]
    fn a_file_of_hosts_may_have_remarks() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("hosts");
        std::fs::write(&file, "# ours\na\n\n b=10.0.0.2 # the slow one\n").expect("writes");
        let args = ClusterArgs {
            cluster: Some(Kind::Ssh),
            nodes_file: Some(file),
            ..ClusterArgs::default()
        };
        assert_eq!(args.choose(None).expect("fine").hosts, ["a", "b=10.0.0.2"]);
    }
}
