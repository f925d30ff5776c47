//! `schism doctor`: what this machine offers.

use clap::Args;
use std::borrow::Cow;
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

/// Whether the programs of each system are there: of this program's, and of the folders on the
/// search path.
fn systems() -> Vec<Finding> {
    let own = systems::SYSTEMS.iter().map(own);
    let names = systems::names().into_iter().skip(systems::SYSTEMS.len());
    own.chain(names.map(in_folder)).collect()
}

fn own(entry: &systems::Entry) -> Finding {
    let params = Params::resolve(entry.params, []).expect("defaults are what they can be");
    let setup = Setup {
        params,
        ..Setup::default()
    };
    let seen = entry.set_up(&setup).map(|ready| {
        let programs = ready.system.programs();
        let paths = programs.iter().map(|p| p.from.display().to_string());
        paths.collect::<Vec<_>>().join(", ")
    });
    finding(entry.name, seen)
}

/// A folder is only looked at: setting it up could unpack an image.
fn in_folder(name: String) -> Finding {
    let seen = systems::find(&name).and_then(|entry| match entry.missing() {
        Some(missing) => Err(missing),
        None => Ok(entry
            .folder
            .map_or_else(String::new, |folder| folder.path.display().to_string())),
    });
    finding(name, seen)
}

fn finding(what: impl Into<Cow<'static, str>>, seen: Result<String, SetupError>) -> Finding {
    let (state, detail, remedy) = match seen {
        Ok(detail) => (State::Works, detail, None),
        Err(SetupError::NoProgram { looked, remedy, .. }) => {
            (State::Missing, looked, Some(remedy.to_string()))
        }
        Err(e) => (State::Unknown, e.to_string(), None),
    };
    Finding {
        what: what.into(),
        purpose: "trials of this system",
        state,
        detail,
        remedy,
    }
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
