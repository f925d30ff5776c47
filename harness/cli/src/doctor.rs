//! `schism doctor`: what this machine offers.

use clap::Args;
use std::process::ExitCode;

use harness::cluster::lab::LabError;
use harness::doctor::{self, Finding, State};
use workloads::params::Params;
use workloads::systems::{self, Setup, SetupError};

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::terminal;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the findings as JSON lines
    #[arg(long)]
    pub json: bool,
}

pub fn command(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let findings = doctor::examine(&args.store.store);
    for finding in findings.iter().chain(&systems()) {
        match args.json {
            true => terminal::json(finding),
            false => terminal::line(line(finding)),
        }
    }
    let missing = doctor::missing(doctor::LAB, &findings);
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<_> = missing
        .iter()
        .map(|lacking| lacking.need.join(" or "))
        .collect();
    Err(Failure::Infra(format!(
        "the lab cannot work here without {}",
        names.join(", ")
    )))
}

/// Whether the programs of each system are there.
fn systems() -> Vec<Finding> {
    let look = |entry: &systems::Entry| {
        let params = Params::resolve(entry.params, []).expect("defaults are what they can be");
        let setup = Setup {
            params,
            ..Setup::default()
        };
        let (state, detail, remedy) = match entry.set_up(&setup) {
            Ok(ready) => {
                let programs = ready.system.programs();
                let paths = programs.iter().map(|p| p.from.display().to_string());
                (State::Works, paths.collect::<Vec<_>>().join(", "), None)
            }
            Err(SetupError::NoProgram { looked, remedy, .. }) => {
                (State::Missing, looked, Some(remedy.to_string()))
            }
            Err(e) => (State::Unknown, e.to_string(), None),
        };
        Finding {
            what: entry.name,
            purpose: "trials of this system",
            state,
            detail,
            remedy,
        }
    };
    systems::SYSTEMS.iter().map(look).collect()
}

fn line(finding: &Finding) -> String {
    let state = match finding.state {
        State::Works => "works",
        State::Missing => "missing",
        State::Forbidden => "forbidden",
        State::Unknown => "unknown",
    };
    let mut text = format!("{state:<10} {:<18} {}", finding.what, finding.detail);
    if finding.state != State::Works {
        text += &format!("\n{:>29} for {}", "", finding.purpose);
        if let Some(remedy) = &finding.remedy {
            text += &format!("\n{:>29} remedy: {remedy}", "");
        }
    }
    text
}

/// The lab could not be set up: what is wrong with this machine, and what to do.
pub fn explain(error: &LabError, store: &std::path::Path) -> Failure {
    let mut text = error.to_string();
    for lacking in doctor::missing(doctor::LAB, &doctor::examine(store)) {
        text += &format!("\n{lacking}");
    }
    Failure::Infra(text)
}
