//! `schism list`: the recorded runs.

use std::process::ExitCode;

use checkers::Verdict;
use history::store::{Run, Store};
use serde::Serialize;

use crate::args::List;
use crate::exit::Failure;
use crate::run::load_results;
use crate::spec::Spec;

#[derive(Serialize)]
struct Row {
    run: String,
    /// None: the run was cut short before it was judged.
    verdict: Option<Verdict>,
    title: String,
    nemesis: String,
    seed: u64,
}

pub fn command(args: List) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let runs = store.list().map_err(Failure::infra)?;
    let rows: Vec<Row> = runs.iter().map(row).collect::<Result<_, _>>()?;
    for row in &rows {
        match args.json {
            true => println!("{}", serde_json::to_string(row).map_err(Failure::infra)?),
            false => println!(
                "{:<8} {:<44} {:<28} {:<24} seed {}",
                row.verdict.map_or("-", Verdict::word),
                row.run,
                row.title,
                row.nemesis,
                row.seed
            ),
        }
    }
    if rows.is_empty() && !args.json {
        eprintln!("no runs in {}", store.root().display());
    }
    Ok(ExitCode::SUCCESS)
}

fn row(run: &Run) -> Result<Row, Failure> {
    let spec = Spec::load(run)?;
    Ok(Row {
        run: run.name(),
        verdict: load_results(run).ok().map(|judged| judged.verdict),
        title: spec.title(),
        nemesis: spec.nemesis.unwrap_or_else(|| "(schedule)".into()),
        seed: spec.seed,
    })
}
