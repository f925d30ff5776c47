//! `chain`: one node of a proof-of-work blockchain, and the catalogue of its planted bugs.

use std::process::ExitCode;

use chain::flaws::Flaw;
use chain::node;
use chain::params::Params;
use nodekit::program::Program;

fn main() -> ExitCode {
    let program = Program {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        about: "A proof-of-work blockchain node with a key-value ledger, HTTP for clients",
        check: Params::check,
        run: node::run,
    };
    program.main::<Flaw>()
}
