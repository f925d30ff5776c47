//! `schism install`: how what a system needs gets onto this machine, and doing so.

use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use workloads::systems::{self, Entry};

use crate::exit::Failure;
use crate::terminal;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism install etcd              print the command
  sudo schism install etcd --yes   run it
  schism install ./my-system --yes")]
pub struct InstallArgs {
    /// Which system: see `schism systems`
    pub system: String,
    /// Run the command
    #[arg(long, short)]
    pub yes: bool,
}

pub fn command(args: &InstallArgs) -> Result<ExitCode, Failure> {
    let entry = systems::find(&args.system).map_err(Failure::usage)?;
    let Some(missing) = entry.missing() else {
        terminal::tell(format!("{} is installed here", entry.name));
        return Ok(ExitCode::SUCCESS);
    };
    if entry.install.is_empty() {
        return Err(Failure::usage(missing));
    }
    let root = rustix::process::geteuid().is_root();
    if args.yes {
        return run(entry, root);
    }
    terminal::line(entry.install);
    let who = if needs_root(entry.install) && !root {
        "sudo "
    } else {
        ""
    };
    terminal::tell(format!(
        "`{who}schism install {} --yes` runs it",
        args.system
    ));
    Ok(ExitCode::SUCCESS)
}

fn run(entry: &Entry, root: bool) -> Result<ExitCode, Failure> {
    if needs_root(entry.install) && !root {
        return Err(Failure::Usage(format!(
            "only root can do this: sudo {}",
            entry.install
        )));
    }
    terminal::tell(entry.install);
    let mut shell = Command::new("sh");
    shell.args(["-c", entry.install]).stdin(Stdio::null());
    if let Some(origin) = entry.folder {
        shell.current_dir(&origin.path);
    }
    let status = shell.status().map_err(Failure::infra)?;
    if !status.success() {
        return Err(Failure::Infra(format!("{}: {status}", entry.install)));
    }
    match entry.missing() {
        None => {
            terminal::tell(format!("{} is installed here", entry.name));
            Ok(ExitCode::SUCCESS)
        }
        Some(missing) => Err(Failure::Infra(format!(
            "{} ended well, and still {missing}",
            entry.install
        ))),
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
