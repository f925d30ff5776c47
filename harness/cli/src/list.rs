//! `schism list`: the recorded runs.

use std::process::ExitCode;

use checkers::Verdict;
use harness::run::Judged;
use history::store::{Run, Store};
use serde::Serialize;

use crate::args::List;
use crate::exit::Failure;
use crate::run::load_results;
use crate::spec::Spec;

/// A reason that is longer is read elsewhere.
const MOST_CHARS: usize = 120;

#[derive(Serialize)]
struct Row {
    run: String,
    /// None: the run was cut short before it was judged.
    verdict: Option<Verdict>,
    /// Why it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
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
                "{:<8} {:<44} {:<28} {:<24} seed {}{}",
                row.verdict.map_or("-", Verdict::word),
                row.run,
                row.title,
                row.nemesis,
                row.seed,
                row.why
                    .as_ref()
                    .map_or(String::new(), |why| format!("  {why}"))
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
    let judged = load_results(run).ok();
    Ok(Row {
        run: run.name(),
        verdict: judged.as_ref().map(|judged| judged.verdict),
        why: judged.as_ref().and_then(why),
        title: spec.title(),
        nemesis: spec.nemesis.unwrap_or_else(|| "(schedule)".into()),
        seed: spec.seed,
    })
}

/// The first line of what decided the verdict; none if it is valid.
fn why(judged: &Judged) -> Option<String> {
    let mut worst = judged
        .analyses
        .iter()
        .filter(|a| judged.verdict != Verdict::Valid && a.verdict == judged.verdict);
    let first = worst.next()?.summary.lines().next()?;
    Some(match first.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}…", &first[..at]),
        None => first.to_string(),
    })
}
