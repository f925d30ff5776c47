//! The `schism` command: the only place that names concrete things, prints, and exits.

mod args;
mod batch;
mod certificate;
mod check;
mod cluster;
mod compare;
mod display;
mod doctor;
mod domain;
mod exit;
mod experiment;
mod grid;
mod input;
mod list;
mod listings;
mod measures;
mod packed;
mod plan;
mod prompt;
mod prove;
mod run;
mod spec;
mod stream;
mod summary;
mod sweep;
mod vagrant;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use exit::{Failure, USAGE};

fn main() -> ExitCode {
    // The lab starts this executable again for each node, before anything else can run.
    harness::cluster::lab::helper();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no errors, and go to stdout.
            let code = if e.use_stderr() { USAGE } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::command(*args),
        Command::Check(args) => check::check(args),
        Command::Verify(args) => certificate::verify(&args),
        Command::Convert(args) => input::convert(&args),
        Command::Report(args) => check::report(args),
        Command::List(args) => list::command(args),
        Command::Systems(args) => listings::systems(args.json),
        Command::Workloads(args) => listings::workloads(args.json),
        Command::Nemeses(args) => listings::nemeses(args.json),
        Command::Flaws(args) => listings::flaws(&args.system, args.json),
        Command::Errors(args) => listings::errors(args.json),
        Command::Prove(args) => prove::command(args),
        Command::Compare(args) => compare::command(*args),
        Command::Sweep(args) => sweep::command(*args),
        Command::Cluster(args) => vagrant::command(&args),
        Command::Doctor(args) => doctor::command(&args),
        Command::Heal(args) => listings::heal(&args.dir),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "schism", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(Failure::report)
}
