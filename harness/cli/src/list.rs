//! `schism list`: the recorded runs.

mod index;

use std::collections::BTreeMap;
use std::process::ExitCode;

use checkers::Verdict;
use clap::Args;
use harness::run::Judged;
use history::store::{Run, Store};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::judged::load_results;
use crate::measures;
use crate::spec::Spec;
use crate::terminal::{self, word};

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Rows that are printed together.
const AT_ONCE: usize = 500;
/// A reason that is longer is read elsewhere.
const MOST_CHARS: usize = 120;

#[derive(Clone, Serialize, Deserialize)]
pub struct Row {
    pub run: String,
    /// None: the run was cut short before it was judged.
    pub verdict: Option<Verdict>,
    /// It still goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// Why it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub title: String,
    pub nemesis: String,
    pub seed: Option<u64>,
    /// What was measured, by the names by which runs are compared: what is shown as a picture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// What is wrong with its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

pub fn command(args: ListArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let rows = rows(&store)?;
    // Of many runs the printing is most of the work, line by line.
    for some in rows.chunks(AT_ONCE) {
        match args.json {
            true => some.iter().for_each(terminal::json),
            false => {
                let lines = some.iter().map(|row| text(row) + "\n");
                terminal::print(&lines.collect::<String>());
            }
        }
    }
    if rows.is_empty() && !args.json {
        terminal::tell(format!("no runs in {}", store.root().display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Every run of a store, oldest first.
pub fn rows(store: &Store) -> Result<Vec<Row>, Failure> {
    index::rows(store, row).map_err(Failure::infra)
}

/// One run that is broken hides no other.
fn row(run: &Run) -> Row {
    let empty = Row {
        run: run.name(),
        verdict: None,
        live: run.is_live(),
        title: String::new(),
        nemesis: String::new(),
        seed: None,
        figures: BTreeMap::new(),
        why: None,
        problem: None,
    };
    let spec = match Spec::load(run) {
        Ok(spec) => spec,
        Err(why) => {
            return Row {
                problem: Some(why.to_string()),
                ..empty
            };
        }
    };
    let (judged, problem) = match load_results(run) {
        Ok(judged) => (Some(judged), None),
        // It is not over, or was cut short.
        Err(_) if !run.results().exists() => (None, None),
        Err(why) => (None, Some(why.to_string())),
    };
    Row {
        verdict: judged.as_ref().map(|judged| judged.verdict),
        why: judged.as_ref().and_then(why),
        figures: judged
            .as_ref()
            .map_or_else(BTreeMap::new, |judged| measures::headline(&judged.analyses)),
        problem,
        title: spec.title(),
        nemesis: spec.nemesis.unwrap_or_else(|| "(schedule)".into()),
        seed: Some(spec.seed),
        ..empty
    }
}

fn text(row: &Row) -> String {
    let verdict = match (row.verdict, row.live) {
        (Some(verdict), _) => verdict.word(),
        (None, true) => "live",
        (None, false) => "-",
    };
    let mut text = format!("{verdict:<8} {:<44}", word(&row.run));
    if let Some(seed) = row.seed {
        let (title, nemesis) = (word(&row.title), word(&row.nemesis));
        text += &format!(" {title:<28} {nemesis:<24} seed {seed}");
    }
    for more in [&row.why, &row.problem].into_iter().flatten() {
        text += &format!("  {}", word(more));
    }
    text
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
