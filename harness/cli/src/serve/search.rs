//! Words in what runs explain and in their nodes' logs: the newest runs first, as far as a moment's
//! patience goes.

use std::fs::{self, FileType};
use std::path::Path;
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::response::Response;
use history::file;
use history::store::Run;
use maud::html;
use serde::Deserialize;

use super::{Shared, pages};
use crate::judged::load_results;

const MOST_HITS: usize = 300;
const PATIENCE: Duration = Duration::from_secs(5);

/// Of a log that is longer only this much is looked at.
const MOST_BYTES: u64 = 16 << 20;
const MOST_CHARS: usize = 240;

#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    q: String,
}

struct Hit {
    run: String,
    /// A file of the run, or none for an explanation.
    file: Option<String>,
    line: String,
}

pub async fn page(State(viewer): Shared, Query(wanted): Query<Wanted>) -> Response {
    let words = wanted.q.to_lowercase();
    let began = Instant::now();
    let mut runs = viewer.store.list().unwrap_or_default();
    runs.reverse();
    let (mut hits, mut looked) = (Vec::new(), 0);
    // Others are answered meanwhile.
    tokio::task::block_in_place(|| {
        for run in runs.iter().take_while(|_| began.elapsed() < PATIENCE) {
            if words.trim().is_empty() || hits.len() >= MOST_HITS {
                break;
            }
            looked += 1;
            explanations(run, &words, &mut hits);
            logs(run, &words, &mut hits);
        }
    });
    hits.truncate(MOST_HITS);
    pages::page(
        "Search",
        html! {
            form.filter method="get" {
                input type="search" name="q" value=(wanted.q) aria-label="Words";
                button type="submit" { "Search" }
            }
            p.lead { (hits.len()) " lines in the newest " (looked) " of " (runs.len()) " runs." }
            table {
                tbody {
                    @for hit in &hits {
                        tr {
                            td { a href=(pages::of_run(&hit.run)) { (hit.run) } }
                            td {
                                @if let Some(file) = &hit.file {
                                    a href={ (pages::of_run(&hit.run)) "/file/" (pages::path(file)) } { (file) }
                                } @else { "explanation" }
                            }
                            td { code { (hit.line) } }
                        }
                    }
                }
            }
        },
    )
}

fn explanations(run: &Run, words: &str, hits: &mut Vec<Hit>) {
    let judged = load_results(run).ok();
    let analyses = judged.iter().flat_map(|judged| &judged.analyses);
    let told = analyses.flat_map(|analysis| {
        let reasons = analysis.anomalies.iter().map(|anomaly| &anomaly.reason);
        reasons.chain([&analysis.summary])
    });
    hits.extend(
        told.flat_map(|text| text.lines())
            .filter(|line| has(line, words))
            .map(|line| Hit {
                run: run.name(),
                file: None,
                line: clipped(line),
            }),
    );
}

fn has(line: &str, words: &str) -> bool {
    line.to_lowercase().contains(words)
}

fn clipped(line: &str) -> String {
    line.chars().take(MOST_CHARS).collect()
}

/// The nodes' logs, by their paths in the run's folder: `nodes/n1/log/daemon.log`.
pub fn log_files(run: &Run) -> Vec<String> {
    let names = |folder: &Path, is: fn(&FileType) -> bool| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let kept = entries.filter(move |entry| entry.file_type().is_ok_and(|kind| is(&kind)));
        kept.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut files = Vec::new();
    for node in names(&run.path().join("nodes"), FileType::is_dir) {
        let logs = run.path().join("nodes").join(&node).join("log");
        let logs = names(&logs, FileType::is_file);
        files.extend(logs.map(|log| format!("nodes/{node}/log/{log}")));
    }
    files.sort();
    files
}

fn logs(run: &Run, words: &str, hits: &mut Vec<Hit>) {
    for name in log_files(run) {
        let Ok(text) = file::read(&run.path().join(&name), MOST_BYTES) else {
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| has(line, words)).take(20);
        hits.extend(lines.map(|line| Hit {
            run: run.name(),
            file: Some(name.clone()),
            line: clipped(line),
        }));
    }
}
