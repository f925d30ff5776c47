//! The runs of a store, the newest first, by what they are and how they ended.

use std::fs;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Shared, decision, files, pages};
use crate::list::{self, Row};

/// Runs of one page.
const AT_ONCE: usize = 100;

#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    verdict: String,
    /// Words, each of which must be somewhere in the row.
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: usize,
}

impl Wanted {
    fn takes(&self, row: &Row) -> bool {
        let text = format!(
            "{} {} {} {} seed {}",
            row.run,
            row.title,
            row.nemesis,
            row.why.as_deref().unwrap_or_default(),
            row.seed.unwrap_or_default()
        );
        let text = text.to_lowercase();
        let words = self.q.to_lowercase();
        (self.verdict.is_empty() || self.verdict == pages::ended(row))
            && words.split_whitespace().all(|word| text.contains(word))
    }
}

pub async fn page(State(viewer): Shared, Query(wanted): Query<Wanted>) -> Response {
    let rows = match list::rows(&viewer.store) {
        Ok(rows) => rows,
        Err(why) => return pages::trouble(&why.to_string()),
    };
    let all = rows.len();
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| wanted.takes(row)).collect();
    rows.reverse();
    let found = rows.len();
    let rows = rows.into_iter().skip(wanted.page * AT_ONCE).take(AT_ONCE);
    let rows: Vec<(Row, Option<decision::Decision>)> = rows
        .map(|row| {
            let run = files::run(&viewer.store, &row.run);
            let decided = run.and_then(|run| decision::of(&run));
            (row, decided)
        })
        .collect();
    let nights = nights(viewer.store.root());
    pages::page(
        "Runs",
        html! {
            (form(&wanted))
            p.lead {
                (found) " of " (all) " runs. Tick two to see them side by side."
            }
            form action="/beside" method="get" {
                (table(&rows))
                p { button type="submit" { "Side by side" } }
            }
            (turn(&wanted, found))
            @if !nights.is_empty() {
                h2 { "Nights" }
                ul {
                    @for night in &nights {
                        li { a href={ "/night/" (night) "/index.html" } { (night) } }
                    }
                }
            }
        },
    )
}

fn form(wanted: &Wanted) -> Markup {
    html! {
        form.filter method="get" {
            input type="search" name="q" value=(wanted.q) placeholder="system, workload, fault, anomaly, seed" aria-label="Words";
            select name="verdict" aria-label="Verdict" {
                option value="" { "any verdict" }
                @for verdict in ["valid", "invalid", "unknown", "vacuous", "infra", "live", "unfinished"] {
                    option value=(verdict) selected[wanted.verdict == verdict] { (verdict) }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

fn table(rows: &[(Row, Option<decision::Decision>)]) -> Markup {
    html! {
        table {
            thead {
                tr { th {} th { "verdict" } th { "run" } th { "what" } th { "faults" } th.n { "seed" } th { "why" } th { "decided" } }
            }
            tbody {
                @for (row, decided) in rows {
                    tr {
                        td { input type="checkbox" name="run" value=(row.run) aria-label={ "Compare " (row.run) }; }
                        td { span class={ "sign " (pages::ended(row)) } { (pages::ended(row)) } }
                        td { a href={ "/run/" (row.run) } { (row.run) } }
                        td { (row.title) }
                        td { (row.nemesis) }
                        td.n { @if let Some(seed) = row.seed { (seed) } }
                        td { (row.why.as_deref().or(row.problem.as_deref()).unwrap_or_default()) }
                        td { @if let Some(decided) = decided { (decided.what.words()) } }
                    }
                }
            }
        }
    }
}

/// To the pages before and after.
fn turn(wanted: &Wanted, found: usize) -> Markup {
    let link = |page: usize| {
        let query = [("q", &wanted.q), ("verdict", &wanted.verdict)];
        let query = query.map(|(name, value)| format!("{name}={}", pages::encoded(value)));
        format!("/?{}&page={page}", query.join("&"))
    };
    html! {
        p {
            @if wanted.page > 0 { a href=(link(wanted.page - 1)) { "newer" } " " }
            @if (wanted.page + 1) * AT_ONCE < found { a href=(link(wanted.page + 1)) { "older" } }
        }
    }
}

fn nights(root: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("nights")).into_iter().flatten();
    let named = entries
        .flatten()
        .filter(|e| e.path().join("index.html").is_file());
    let mut nights: Vec<String> = named
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    nights.sort();
    nights.reverse();
    nights
}
