//! Virtual machines of Vagrant's: brought up, asked about, taken down. From there on they are hosts
//! over SSH like any other.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use clap::{Args, Subcommand};
use harness::cluster::Machine;
use harness::progress::Progress;

use crate::domain::Domain;
use crate::exit::Failure;
use crate::machines::AccessArgs;
use crate::terminal;

#[derive(Debug, Args)]
pub struct VagrantArgs {
    #[command(subcommand)]
    pub command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Bring machines up, and say how to reach them
    Up {
        /// How many
        #[arg(long, short, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=9))]
        nodes: usize,
    },
    /// Say how the machines are
    Status,
    /// Destroy the machines
    Down,
}

/// Says where the Vagrantfile is, if that is not `vagrant/` here.
const VARIABLE: &str = "SCHISM_VAGRANT_DIR";
/// Read by the Vagrantfile.
const NODES: &str = "SCHISM_NODES";

/// `schism cluster up|status|down`.
pub fn command(args: &VagrantArgs) -> Result<ExitCode, Failure> {
    let folder = folder()?;
    match &args.command {
        ClusterCommand::Up { nodes } => {
            up(&folder, *nodes)?;
            terminal::print(&ssh_config(&folder, *nodes)?);
        }
        ClusterCommand::Status => terminal::print(&vagrant(&folder, None, &["status"])?),
        ClusterCommand::Down => terminal::print(&vagrant(&folder, None, &["destroy", "-f"])?),
    }
    Ok(ExitCode::SUCCESS)
}

fn folder() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os(VARIABLE).map_or_else(|| "vagrant".into(), PathBuf::from);
    match folder.join("Vagrantfile").is_file() {
        true => Ok(folder),
        false => Err(Failure::Usage(format!(
            "{}: there is no Vagrantfile: run this in the repository, or say where it is in {VARIABLE}",
            folder.display()
        ))),
    }
}

/// Runs Vagrant to its end and returns what it printed.
fn vagrant(folder: &Path, nodes: Option<usize>, args: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new("vagrant");
    command
        .args(args)
        .current_dir(folder)
        .env("VAGRANT_CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(nodes) = nodes {
        command.env(NODES, nodes.to_string());
    }
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::Infra(
            "there is no program `vagrant` on this machine: vagrant/README.md says how to get it"
                .into(),
        ),
        _ => Failure::Infra(format!("vagrant: {e}")),
    })?;
    let mut stderr = child.stderr.take().expect("it was asked for");
    let complaint = std::thread::spawn(move || {
        let mut text = String::new();
        // What cannot be read is not missed: the exit code decides.
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut said = String::new();
    let mut stdout = child.stdout.take().expect("it was asked for");
    stdout.read_to_string(&mut said).map_err(Failure::infra)?;
    let status = child.wait().map_err(Failure::infra)?;
    let complaint = complaint.join().unwrap_or_default();
    match status.success() {
        true => Ok(said),
        false => Err(Failure::Infra(explain(args, &complaint, &said))),
    }
}

/// What Vagrant complained of, and the way out where there is a usual one.
fn explain(args: &[&str], complaint: &str, said: &str) -> String {
    let why = match complaint.trim() {
        "" => said.trim(),
        complaint => complaint,
    };
    let why = format!("vagrant {}: {why}", args.join(" "));
    let box_is_missing = why.contains("could not be found") && why.contains("box");
    if box_is_missing {
        return format!("{why}\nthe box is missing: build it and add it with `make box`");
    }
    if why.contains("provider") && why.contains("could not be found") {
        return format!("{why}\na provider is missing: vagrant/README.md says how to get one");
    }
    why
}

fn up(folder: &Path, nodes: usize) -> Result<(), Failure> {
    let names: Vec<String> = (1..=nodes).map(|i| format!("n{i}")).collect();
    let mut args = vec!["up", "--no-tty"];
    args.extend(names.iter().map(String::as_str));
    vagrant(folder, Some(nodes), &args).map(|_| ())
}

fn ssh_config(folder: &Path, nodes: usize) -> Result<String, Failure> {
    vagrant(folder, Some(nodes), &["ssh-config"])
}

/// Machines that are up.
pub struct Machines {
    pub hosts: Vec<String>,
    pub access: AccessArgs,
    /// The hypervisor of each, where it is one that can be asked.
    pub machines: Vec<Option<Arc<dyn Machine>>>,
}

/// Brings machines up where they are not, and says how to get in.
pub async fn machines(nodes: usize, progress: &Progress) -> Result<Machines, Failure> {
    let folder = folder()?;
    let work = move || -> Result<(String, PathBuf, PathBuf), Failure> {
        // Asking how to get in costs two seconds and fails if one is down; bringing up what is up
        // costs many.
        let config = match ssh_config(&folder, nodes) {
            Ok(config) if addresses(&config, nodes).is_ok() => config,
            _ => {
                up(&folder, nodes)?;
                ssh_config(&folder, nodes)?
            }
        };
        // Where Vagrant keeps what it knows of these machines.
        let own = std::env::var_os("VAGRANT_DOTFILE_PATH");
        let own = own.map_or_else(|| folder.join(".vagrant"), |path| folder.join(path));
        let file = own.join("ssh-config");
        std::fs::write(&file, &config)
            .map_err(|e| Failure::Infra(format!("{}: {e}", file.display())))?;
        Ok((config, file, own))
    };
    let (config, file, own) = tokio::task::spawn_blocking(work)
        .await
        .expect("it does not panic, and nobody aborts it")?;
    let hosts = addresses(&config, nodes).map_err(Failure::Infra)?;
    progress.remark(format!("Vagrant's machines: {}", hosts.join(" ")));
    let file = std::path::absolute(&file).map_err(Failure::infra)?;
    let machine = |number: usize| {
        let domain = Domain::of(&own.join(format!("machines/n{number}/libvirt/id")))?;
        Some(Arc::new(domain) as Arc<dyn Machine>)
    };
    Ok(Machines {
        machines: (1..=nodes).map(machine).collect(),
        hosts,
        access: AccessArgs {
            ssh_config: Some(file),
            ..AccessArgs::default()
        },
    })
}

/// The machines by the names that Vagrant gives them. Where SSH goes through a port of this machine
/// (VirtualBox), peers reach each other by the private network's address in the Vagrantfile.
fn addresses(config: &str, nodes: usize) -> Result<Vec<String>, String> {
    let mut hosts = Vec::new();
    for number in 1..=nodes {
        let name = format!("n{number}");
        let of = config.split("\nHost ").find(|part| {
            let part = part.strip_prefix("Host ").unwrap_or(part);
            part.lines().next().map(str::trim) == Some(&name)
        });
        let of = of.ok_or_else(|| format!("vagrant ssh-config does not know {name}"))?;
        let address = of
            .lines()
            .find_map(|line| line.trim().strip_prefix("HostName "));
        let address =
            address.ok_or_else(|| format!("vagrant ssh-config: {name} has no HostName"))?;
        hosts.push(match address.trim() {
            "127.0.0.1" => format!("{name}=192.168.56.{}", 10 + number),
            _ => name,
        });
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_found_in_what_vagrant_prints() {
        let config = "Host n1\n  HostName 192.168.121.7\n  User vagrant\n\nHost n2\n  HostName 127.0.0.1\n  Port 2200\n";
        let hosts = addresses(config, 2).expect("both are there");
        assert_eq!(hosts, ["n1", "n2=192.168.56.12"]);
        assert!(addresses(config, 3).expect_err("is not").contains("n3"));
    }

    #[test]
    fn what_usually_is_wrong_has_a_way_out() {
        let said = "The box 'schism/debian12' could not be found or could not be accessed";
        assert!(explain(&["up"], said, "").contains("make box"));
        let said = "The provider 'libvirt' could not be found";
        assert!(explain(&["up"], said, "").contains("vagrant/README.md"));
    }
}
