//! `schism heal`: what a dead agent left on this machine is undone.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::exit::Failure;
use crate::terminal;

#[derive(Debug, Args)]
pub struct HealArgs {
    /// The agent's folder: where its undo journal lies
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// The agent itself knows how.
pub fn command(args: &HealArgs) -> Result<ExitCode, Failure> {
    let agent = harness::cluster::lab::agent_program().map_err(Failure::Infra)?;
    let healed = Command::new(&agent)
        .arg("heal")
        .arg("--dir")
        .arg(&args.dir)
        .output()
        .map_err(|e| Failure::Infra(format!("cannot start {}: {e}", agent.display())))?;
    terminal::print(&String::from_utf8_lossy(&healed.stdout));
    match healed.status.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::Infra(format!(
            "{} heal: {}: {}",
            agent.display(),
            healed.status,
            String::from_utf8_lossy(&healed.stderr).trim_end()
        ))),
    }
}
