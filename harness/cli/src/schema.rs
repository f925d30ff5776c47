//! `schism schema`: what is printed with `--json`, and written for programs, as JSON schemas. They
//! are published in `harness/docs/schema`, and a test holds everything against them.

use std::process::ExitCode;

use clap::Args;

use crate::exit::Failure;
use crate::terminal;

/// By name; each says in its title what it is of.
const SCHEMAS: &[(&str, &str)] = &[
    ("check", include_str!("../../docs/schema/check.json")),
    ("compare", include_str!("../../docs/schema/compare.json")),
    ("doctor", include_str!("../../docs/schema/doctor.json")),
    ("errors", include_str!("../../docs/schema/errors.json")),
    ("explain", include_str!("../../docs/schema/explain.json")),
    ("failure", include_str!("../../docs/schema/failure.json")),
    ("flaws", include_str!("../../docs/schema/flaws.json")),
    ("list", include_str!("../../docs/schema/list.json")),
    ("nemeses", include_str!("../../docs/schema/nemeses.json")),
    ("night", include_str!("../../docs/schema/night.json")),
    ("plan", include_str!("../../docs/schema/plan.json")),
    ("replay", include_str!("../../docs/schema/replay.json")),
    ("results", include_str!("../../docs/schema/results.json")),
    ("run", include_str!("../../docs/schema/run.json")),
    ("runs", include_str!("../../docs/schema/runs.json")),
    ("sweep", include_str!("../../docs/schema/sweep.json")),
    ("systems", include_str!("../../docs/schema/systems.json")),
    (
        "workloads",
        include_str!("../../docs/schema/workloads.json"),
    ),
];

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which; without, all are listed
    pub name: Option<String>,
}

pub fn command(args: &SchemaArgs) -> Result<ExitCode, Failure> {
    let names = || SCHEMAS.iter().map(|(name, _)| *name);
    match &args.name {
        None => {
            for (name, text) in SCHEMAS {
                terminal::line(format!("{name:<10} {}", title(text)));
            }
        }
        Some(wanted) => match SCHEMAS.iter().find(|(name, _)| name == wanted) {
            Some((_, text)) => terminal::print(text),
            None => {
                let near = harness::nearest::nearest(wanted, names());
                let near = near.map_or_else(
                    || format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean {near:?}?"),
                );
                return Err(Failure::Usage(format!(
                    "there is no schema {wanted:?}; {near}"
                )));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn title(text: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(text).expect("a test reads them all");
    schema["title"].as_str().unwrap_or_default().to_string()
}
