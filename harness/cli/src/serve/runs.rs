//! The runs of a store, the newest first, by what they are and how they ended.

use std::fs;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Shared, Viewer, decision, files, pages, trends};
use crate::exit::Failure;
use crate::list::{self, Row};
use crate::matrix::nights;

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

/// How many runs there are, and those that are wanted, the oldest first.
pub fn pick(viewer: &Viewer, wanted: &Wanted) -> Result<(usize, Vec<Row>), Failure> {
    let rows = list::rows(&viewer.store)?;
    let all = rows.len();
    let rows = rows.into_iter().filter(|row| wanted.takes(row));
    Ok((all, rows.collect()))
}

pub async fn page(State(viewer): Shared, Query(wanted): Query<Wanted>) -> Response {
    let (all, mut rows) = match pick(&viewer, &wanted) {
        Ok(picked) => picked,
        Err(why) => return pages::trouble(&why.to_string()),
    };
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
            (form(&wanted, "/"))
            p.lead {
                (found) " of " (all) " runs. Tick two to see them side by side, or see "
                a href=(query("/trends", &wanted)) { "how they went" } "."
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
                        li { a href=(trends::of_night(night)) { (night) } }
                    }
                }
            }
        },
    )
}

pub fn form(wanted: &Wanted, action: &str) -> Markup {
    html! {
        form.filter method="get" action=(action) {
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
                        td { a href=(pages::of_run(&row.run)) { (row.run) } }
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

/// The address of a page with the same filter.
fn query(page: &str, wanted: &Wanted) -> String {
    let query = [("q", &wanted.q), ("verdict", &wanted.verdict)];
    let query = query.map(|(name, value)| format!("{name}={}", pages::encoded(value)));
    format!("{page}?{}", query.join("&"))
}

/// To the pages before and after.
fn turn(wanted: &Wanted, found: usize) -> Markup {
    let link = |page: usize| format!("{}&page={page}", query("/", wanted));
    html! {
        p {
            @if wanted.page > 0 { a href=(link(wanted.page - 1)) { "newer" } " " }
            @if (wanted.page + 1) * AT_ONCE < found { a href=(link(wanted.page + 1)) { "older" } }
        }
    }
}

fn nights(root: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(nights::root(root)).into_iter().flatten();
    let named = entries.flatten().filter(|e| e.path().is_dir());
    let mut nights: Vec<String> = named
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    nights.sort();
    nights.reverse();
    nights
}
