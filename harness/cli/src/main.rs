//! The `schism` command: the only place that names concrete things, prints, and exits.

// Whatever is printed goes through `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod batch;
mod bisect;
mod certificate;
mod chance;
mod check;
mod cli;
mod client_check;
mod cluster;
mod compare;
mod complete;
mod convert;
mod display;
mod doctor;
mod domain;
mod exit;
mod experiment;
mod explain;
mod flags;
mod grid;
mod heal;
mod import;
mod input;
mod install;
mod judged;
mod judges;
mod led;
mod list;
mod listings;
mod live;
mod load;
mod logs;
mod machines;
mod matrix;
mod measures;
mod new_system;
mod open;
mod output;
mod own_model;
mod pack;
mod packed;
mod plan;
mod prompt;
mod prove;
mod prune;
mod question;
mod replay;
mod report;
mod run;
mod schema;
mod serve;
mod shrink;
mod spec;
mod stream;
mod summary;
mod sweep;
mod terminal;
mod vagrant;
mod wanted;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use exit::Failure;

fn main() -> ExitCode {
    // The lab starts this executable again for each node, before anything else can run.
    harness::cluster::lab::helper();
    complete::answer(Cli::command);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            if e.use_stderr() {
                return Failure::CommandLine(cli::plain(&e)).report(wants_json());
            }
            // Help and version are no errors. A reader that has gone has read enough.
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
    };
    let empty = |folder: &std::path::PathBuf| folder.as_os_str().is_empty();
    let folders = cli.systems.into_iter().filter(|folder| !empty(folder));
    workloads::systems::folder::search_in(folders.collect());
    workloads::image::tell_by(|text| terminal::tell(text));
    let result = match cli.command {
        Command::Run(args) => run::command(*args),
        Command::Check(args) => check::check(args),
        Command::Verify(args) => certificate::verify(&args),
        Command::Convert(args) => convert::command(&args),
        Command::Report(args) => report::command(args),
        Command::Replay(args) => replay::command(args),
        Command::Explain(args) => explain::command(&args),
        Command::Shrink(args) => shrink::command(&args),
        Command::Bisect(args) => bisect::command(&args),
        Command::Fingerprint(args) => matrix::fingerprint::command(&args),
        Command::List(args) => list::command(args),
        Command::Serve(args) => serve::command(&args),
        Command::Pack(args) => pack::pack(&args),
        Command::Unpack(args) => pack::unpack(&args),
        Command::Prune(args) => prune::command(&args),
        Command::Systems(args) => listings::systems(args.json),
        Command::Install(args) => install::command(&args),
        Command::Import(args) => import::command(&args),
        Command::NewSystem(args) => new_system::command(&args),
        Command::ClientCheck(args) => client_check::command(&args),
        Command::Workloads(args) => listings::workloads(args.json),
        Command::Nemeses(args) => listings::nemeses(&args),
        Command::Flaws(args) => listings::flaws(&args.system, args.json),
        Command::Errors(args) => listings::errors(args.json),
        Command::Prove(args) => prove::command(args),
        Command::Matrix(args) => matrix::command(*args),
        Command::Merge(args) => matrix::merge(&args),
        Command::Compare(args) => compare::command(*args),
        Command::Sweep(args) => sweep::command(*args),
        Command::Cluster(args) => vagrant::command(&args),
        Command::Doctor(args) => doctor::command(&args),
        Command::Heal(args) => heal::command(&args),
        Command::Schema(args) => schema::command(&args),
        Command::Completions(args) => complete::command(&args),
    };
    result.unwrap_or_else(|failure| failure.report(wants_json()))
}

/// Asked before the command line is understood, for whoever reads the answer is a program then too.
fn wants_json() -> bool {
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    words.any(|word| word == "--json")
}
