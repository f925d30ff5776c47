//! The command line as a whole: which commands there are. Each has its own arguments in its own
//! file.

use clap::{Parser, Subcommand};

use crate::bisect::BisectArgs;
use crate::certificate::VerifyArgs;
use crate::check::CheckArgs;
use crate::client_check::ClientCheckArgs;
use crate::compare::CompareArgs;
use crate::complete::CompletionsArgs;
use crate::convert::ConvertArgs;
use crate::doctor::DoctorArgs;
use crate::explain::ExplainArgs;
use crate::heal::HealArgs;
use crate::import::ImportArgs;
use crate::install::InstallArgs;
use crate::list::ListArgs;
use crate::listings::{FlawsArgs, ListingArgs, NemesesArgs};
use crate::matrix::fingerprint::FingerprintArgs;
use crate::matrix::{MatrixArgs, MergeArgs};
use crate::new_system::NewSystemArgs;
use crate::pack::{PackArgs, UnpackArgs};
use crate::prove::ProveArgs;
use crate::prune::PruneArgs;
use crate::replay::ReplayArgs;
use crate::report::ReportArgs;
use crate::run::RunArgs;
use crate::schema::SchemaArgs;
use crate::serve::ServeArgs;
use crate::shrink::ShrinkArgs;
use crate::sweep::SweepArgs;
use crate::vagrant::VagrantArgs;

/// Puts consensus systems on trial: real nodes, real faults, a verdict with its evidence.
#[derive(Debug, Parser)]
#[command(name = "schism", version, after_help = crate::exit::table(), max_term_width = 100)]
pub struct Cli {
    /// Where to look for systems that are folders, by name
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "SCHISM_SYSTEMS",
        hide_short_help = true,
        value_delimiter = ':',
        hide_env_values = true
    )]
    pub systems: Vec<std::path::PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test and judge it
    Run(Box<RunArgs>),
    /// Judge a recorded run again, or a history file of this or another tool
    Check(CheckArgs),
    /// Check a certificate against its history
    Verify(VerifyArgs),
    /// Write a history in another format
    Convert(ConvertArgs),
    /// Write a run's report again
    Report(ReportArgs),
    /// Run a recorded run again, several times: how often does it end as it did?
    Replay(ReplayArgs),
    /// Tell what happened around an anomaly, on one clock
    Explain(ExplainArgs),
    /// Find the smallest run that goes wrong in the same way: fewest faults, shortest, least load
    Shrink(ShrinkArgs),
    /// Find the first of several versions in which a run goes wrong
    Bisect(BisectArgs),
    /// Print the fingerprint of a run's anomaly, for known.toml
    Fingerprint(FingerprintArgs),
    /// List the recorded runs
    List(ListArgs),
    /// Show a store in the browser: runs, reports, two side by side, and what was decided of them
    Serve(ServeArgs),
    /// Put a run into one file, without the nodes' data
    Pack(PackArgs),
    /// Put packed runs into the store
    Unpack(UnpackArgs),
    /// Remove old runs from the store
    Prune(PruneArgs),
    /// List the systems that can be tested, with their parameters
    Systems(ListingArgs),
    /// Print how a system is installed on this machine, or install it
    Install(InstallArgs),
    /// Write a system's folder from a compose file or a systemd unit
    Import(ImportArgs),
    /// Write the folder of a new system, to be filled in
    NewSystem(NewSystemArgs),
    /// Try a client program: does it keep the protocol, and how fast is it?
    ClientCheck(ClientCheckArgs),
    /// List the workloads
    Workloads(ListingArgs),
    /// List the fault families and their shapes
    Nemeses(NemesesArgs),
    /// List the flaws that can be planted in a system
    Flaws(FlawsArgs),
    /// List the error codes of operations, and what each says of the operation
    Errors(ListingArgs),
    /// Run every planted flaw, and its clean twin, over many seeds: does the instrument work?
    Prove(ProveArgs),
    /// Run a night: systems, workloads, faults and seeds, with a verdict that CI can trust
    Matrix(Box<MatrixArgs>),
    /// Put the shards of a night together
    Merge(MergeArgs),
    /// Put two systems under the same seeds and faults, side by side on one page
    Compare(Box<CompareArgs>),
    /// Run a system along the values of a parameter: where is it best, and how flat is it there?
    Sweep(Box<SweepArgs>),
    /// Bring virtual machines up with Vagrant, look at them, take them away
    Cluster(VagrantArgs),
    /// Say what this machine offers, and how to get what is missing
    Doctor(DoctorArgs),
    /// Undo what a dead agent left on this machine
    Heal(HealArgs),
    /// Print the JSON schema of what --json prints, or list them
    Schema(SchemaArgs),
    /// Print what makes a shell complete systems, faults, flaws, runs and so on
    Completions(CompletionsArgs),
}

/// What is wrong with a command line. The standard library words errors of numbers for whoever
/// writes programs.
pub fn plain(error: &clap::Error) -> String {
    let words = [
        ("invalid float literal", "not a number"),
        ("invalid digit found in string", "not a whole number from 0"),
        (
            "cannot parse float from empty string",
            "a number is missing",
        ),
        (
            "cannot parse integer from empty string",
            "a number is missing",
        ),
        (
            "number too large to fit in target type",
            "too large a number",
        ),
        (
            "number too small to fit in target type",
            "too small a number",
        ),
    ];
    let mut text = error.to_string();
    for (theirs, ours) in words {
        text = text.replace(theirs, ours);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_called_so() {
        for (args, said) in [
            (["run", "--rate", "abc"], "not a number"),
            (["run", "--rate", ""], "a number is missing"),
            (["run", "--concurrency", "1.5"], "not a whole number from 0"),
            (
                ["run", "--seed", "99999999999999999999"],
                "too large a number",
            ),
        ] {
            let words = ["schism"].into_iter().chain(args);
            let error = Cli::try_parse_from(words).expect_err("no number");
            let text = plain(&error);
            assert!(text.contains(said), "{text}");
        }
    }
}
