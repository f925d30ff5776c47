//! `paxos-kv`: one node of a replicated key-value store, and the catalogue of its planted bugs.

use std::process::ExitCode;

use nodekit::program::Program;
use paxos_kv::flaws::Flaw;
use paxos_kv::node;
use paxos_kv::params::Params;

fn main() -> ExitCode {
    let program = Program {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        about: "A replicated key-value node: Multi-Paxos, HTTP for clients",
        check: Params::check,
        run: node::run,
    };
    program.main::<Flaw>()
}
