//! `schism install`: how what a system needs gets onto this machine, and doing so.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use harness::nearest::nearest;
use workloads::systems::{self, Entry, SetupError, Version};

use crate::exit::Failure;
use crate::terminal;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism install etcd              print the command
  sudo schism install etcd --yes   run it
  schism install nats --version 2.12.1 --yes
  schism install ./my-system --yes")]
pub struct InstallArgs {
    /// Which system: see `schism systems`
    pub system: String,
    /// One of its other versions
    #[arg(long, value_name = "NAME")]
    pub version: Option<String>,
    /// Run the command
    #[arg(long, short)]
    pub yes: bool,
}

pub fn command(args: &InstallArgs) -> Result<ExitCode, Failure> {
    let entry = systems::find(&args.system).map_err(Failure::usage)?;
    let part = match &args.version {
        Some(version) => Part::Version(find(entry, version)?),
        None => Part::Own(entry),
    };
    let what = match part {
        Part::Own(entry) => entry.name.to_string(),
        Part::Version(version) => format!("{} {}", entry.name, version.name),
    };
    let Some(missing) = part.missing() else {
        terminal::tell(format!("{what} is installed here"));
        return Ok(ExitCode::SUCCESS);
    };
    let install = part.install();
    if install.is_empty() {
        return Err(Failure::usage(missing));
    }
    let root = rustix::process::geteuid().is_root();
    if args.yes {
        run(
            install,
            entry.folder.map(|origin| origin.path.as_path()),
            root,
        )?;
        return match part.missing() {
            None => {
                terminal::tell(format!("{what} is installed here"));
                Ok(ExitCode::SUCCESS)
            }
            Some(missing) => Err(Failure::Infra(format!(
                "{install} ended well, and still {missing}"
            ))),
        };
    }
    terminal::line(install);
    let who = match needs_root(install) && !root {
        true => "sudo ",
        false => "",
    };
    let version = args.version.as_ref();
    let version = version.map(|version| format!(" --version {version}"));
    terminal::tell(format!(
        "`{who}schism install {}{} --yes` runs it",
        args.system,
        version.unwrap_or_default()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What is installed at once.
enum Part<'a> {
    Own(&'a Entry),
    Version(&'a Version),
}

impl Part<'_> {
    fn missing(&self) -> Option<SetupError> {
        match self {
            Part::Own(entry) => entry.missing(),
            Part::Version(version) => version.missing(),
        }
    }

    fn install(&self) -> &'static str {
        match self {
            Part::Own(entry) => entry.install,
            Part::Version(version) => version.install,
        }
    }
}

fn find<'a>(entry: &'a Entry, name: &str) -> Result<&'a Version, Failure> {
    let mut all = entry.versions.iter();
    all.find(|version| version.name == name).ok_or_else(|| {
        let known: Vec<&str> = entry.versions.iter().map(|version| version.name).collect();
        let system = entry.name;
        Failure::Usage(
            match (nearest(name, known.iter().copied()), known.is_empty()) {
                (_, true) => format!("--version {name}: {system} has one version"),
                (Some(near), _) => format!("--version {name}: did you mean {near:?}?"),
                (None, _) => format!("--version {name}: there are {}", known.join(", ")),
            },
        )
    })
}

fn run(install: &str, folder: Option<&Path>, root: bool) -> Result<(), Failure> {
    if needs_root(install) && !root {
        return Err(Failure::Usage(format!(
            "only root can do this: sudo {install}"
        )));
    }
    terminal::tell(install);
    let mut shell = Command::new("sh");
    shell.args(["-c", install]).stdin(Stdio::null());
    if let Some(folder) = folder {
        shell.current_dir(folder);
    }
    let status = shell.status().map_err(Failure::infra)?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Infra(format!("{install}: {status}"))),
    }
}

/// Whether the distribution's packages are changed.
fn needs_root(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    ["apt", "apt-get", "dnf", "yum", "zypper", "pacman", "apk"].contains(&program)
}

#[cfg(test)]
mod tests {
    use super::needs_root;

    #[test]
    fn packages_are_roots() {
        assert!(needs_root("apt-get install x"));
        assert!(!needs_root("docker save -o x.tar x"));
        assert!(!needs_root("sudo apt-get install x"));
        assert!(!needs_root(""));
    }
}
