//! `schism client-check`: tries a client program before a run does.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::Verdict;
use clap::Args;
use serde_json::json;
use workloads::systems::folder::rehearsal::{self, Finding, Program, Rehearsal};

use crate::exit::Failure;
use crate::terminal;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism client-check python3 client.py
  schism client-check --system ./my-system
  schism client-check --system ./my-system --address 127.0.0.1:8000
  schism client-check --address 127.0.0.1:8000 -- python3 client.py --verbose")]
pub struct ClientCheckArgs {
    /// The program with its arguments
    #[arg(
        required_unless_present = "system",
        trailing_var_arg = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
    /// The folder of a system, whose client is tried
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub system: Option<PathBuf>,
    /// Where a node of the system serves: its answers are looked at too [default: nobody serves]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub address: Option<SocketAddr>,
    /// Print the findings as JSON lines
    #[arg(long)]
    pub json: bool,
}

pub fn command(args: &ClientCheckArgs) -> Result<ExitCode, Failure> {
    let folder = args.system.clone().unwrap_or_else(|| PathBuf::from("."));
    let folder = folder
        .canonicalize()
        .map_err(|e| Failure::Usage(format!("{}: {e}", folder.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::infra)?;
    let program = match &args.system {
        None => Some(Program {
            argv: args.command.clone(),
            own: Vec::new(),
        }),
        Some(_) => rehearsal::program(&folder).map_err(Failure::usage)?,
    };
    let Some(program) = program else {
        let at = args.address.ok_or_else(|| of_requests(&folder))?;
        let tried = runtime.block_on(rehearsal::requests(&folder, at));
        let findings = tried.map_err(Failure::usage)?;
        return Ok(tell(
            &findings.ok_or_else(|| of_requests(&folder))?,
            args.json,
        ));
    };
    // A port that was free just now.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|held| held.local_addr());
    let nobody = nobody.map_err(Failure::infra)?;
    let rehearsal = Rehearsal {
        argv: &program.argv,
        own: &program.own,
        folder: &folder,
        at: args.address.unwrap_or(nobody),
        serves: args.address.is_some(),
    };
    Ok(tell(&runtime.block_on(rehearsal.run()), args.json))
}

/// Prints what was found; the exit code is that of the worst of it.
fn tell(findings: &[Finding], as_json: bool) -> ExitCode {
    for finding in findings {
        let (what, wrong) = (finding.what, finding.wrong);
        match as_json {
            true => terminal::json(&json!({
                "what": what, "wrong": wrong, "detail": finding.detail,
            })),
            false => {
                let state = if wrong { "wrong" } else { "fine" };
                let detail = terminal::word(&finding.detail);
                terminal::line(format!("{state:<6} {what:<18} {detail}"));
            }
        }
    }
    match findings.iter().any(|finding| finding.wrong) {
        true => ExitCode::from(Verdict::Invalid.exit_code()),
        false => ExitCode::SUCCESS,
    }
}

fn of_requests(folder: &Path) -> Failure {
    Failure::Usage(format!(
        "{} has no client program. If its clients are [client.http], they are tried on a node that serves: \
         give its --address",
        folder.display()
    ))
}
