//! `chain`: one node of a proof-of-work blockchain, and the catalogue of its planted bugs.

use std::process::ExitCode;

use chain::flaws::Flaw;
use chain::node;
use chain::params::Params;
use clap::{Parser, Subcommand};
use nodekit::log::log;

/// The command line was wrong.
const USAGE: u8 = 64;
/// The node could not start, or had to stop.
const FAILED: u8 = 1;

/// A proof-of-work blockchain node with a key-value ledger, HTTP for clients.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    params: Option<Params>,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the planted bugs, one JSON object a line.
    Flaws,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes. A terminal that is gone cannot be told.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Some(Command::Flaws) = cli.command {
        for flaw in Flaw::ALL {
            println!("{}", serde_json::json!(flaw.entry()));
        }
        return ExitCode::SUCCESS;
    }
    let Some(mut params) = cli.params else {
        eprintln!(
            "error: --id, --data, --client-addr, --peer-addr and --peers are needed; see --help"
        );
        return ExitCode::from(USAGE);
    };
    if let Err(mistakes) = params.check() {
        mistakes
            .lines()
            .for_each(|mistake| eprintln!("error: {mistake}"));
        return ExitCode::from(USAGE);
    }
    match node::run(&params) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log("ERROR", &error.to_string());
            ExitCode::from(FAILED)
        }
    }
}
