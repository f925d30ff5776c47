//! What all pages share, and the page of one run.

use std::fmt::Write;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use history::store::Run;
use maud::{DOCTYPE, Markup, html};
use report::harmless;

use super::decision::{self, What};
use super::{Shared, files, live, search};
use crate::judged::{Repeats, load_results};
use crate::list::Row;
use crate::matrix::fingerprint;
use crate::spec::Spec;

const STYLE: &str = include_str!("style.css");

/// Anomalies of one run that are listed; its report has them all.
const MOST: usize = 20;

pub fn page(title: &str, content: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Schism" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                nav {
                    a href="/" { "Runs" }
                    a href="/trends" { "Trends" }
                    a href="/search" { "Search" }
                    a href="/known.toml" { "known.toml" }
                }
                main { h1 { (title) } (content) }
            }
        }
    };
    Html(harmless(page)).into_response()
}

pub fn missing(why: &str) -> Response {
    (
        StatusCode::NOT_FOUND,
        page("Not here", html! { p { (why) } }),
    )
        .into_response()
}

pub fn trouble(why: &str) -> Response {
    let page = page("That did not work", html! { p { (why) } });
    (StatusCode::BAD_REQUEST, page).into_response()
}

/// Text as a part of an address.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => write!(out, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    out
}

/// A path as a part of an address: its own `/` stay.
pub fn path(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(encoded).collect();
    parts.join("/")
}

/// Where the page of a run is.
pub fn of_run(name: &str) -> String {
    format!("/run/{}", encoded(name))
}

/// A verdict's word, or why there is none.
pub fn ended(row: &Row) -> &'static str {
    match (row.verdict, row.live) {
        (_, true) => "live",
        (Some(verdict), false) => verdict.word(),
        (None, false) => "unfinished",
    }
}

pub async fn run(State(viewer): Shared, Path(name): Path<String>) -> Response {
    let Some(run) = files::run(&viewer.store, &name) else {
        return missing("There is no such run.");
    };
    let spec = Spec::load(&run);
    let title = match &spec {
        Ok(spec) => spec.title(),
        Err(_) => name.clone(),
    };
    let known = fingerprint::of_run(&run).ok().flatten();
    let alike = known.as_ref().map_or(Vec::new(), |known| {
        decision::of_alike(&viewer, &known.id, &run)
    });
    let is_live = run.is_live();
    let mut page = page(
        &title,
        html! {
            @if is_live { (live::section(&run)) } @else { (facts(&run, &name)) }
            (anomalies(&run))
            (links(&run))
            h2 { "Decision" }
            @if let Some(known) = &known {
                p.lead { "Known again by fingerprint " code { (known.id) } ": " (known.kind) ", " (known.shape) "." }
            }
            @for (other, decision) in &alike {
                p {
                    "Of " a href=(of_run(other)) { (other) } ", with the same fingerprint, it was decided on "
                    (decision.on) ": " b { (decision.what.words()) } " " (decision.link) " " (decision.note)
                }
            }
            (form(&run))
        },
    );
    if is_live {
        live::allow(&mut page);
    }
    page
}

fn facts(run: &Run, name: &str) -> Markup {
    let judged = load_results(run);
    let repeats = Repeats::load(run).map(Repeats::words);
    html! {
        @match &judged {
            Ok(judged) => {
                p { span class={ "sign " (judged.verdict.word()) } { (judged.verdict.word()) } " · " (name) }
                @for analysis in judged.analyses.iter().filter(|a| a.verdict == judged.verdict).take(4) {
                    p { b { (analysis.checker) } ": " (analysis.summary) }
                }
            }
            Err(why) => p { (why.to_string()) },
        }
        @if let Some(repeats) = repeats { p { "It ended so again " (repeats) "." } }
    }
}

fn anomalies(run: &Run) -> Markup {
    let judged = load_results(run).ok();
    let found: Vec<_> = judged
        .iter()
        .flat_map(|judged| &judged.analyses)
        .flat_map(|analysis| &analysis.anomalies)
        .collect();
    html! {
        @if !found.is_empty() {
            h2 { "Anomalies" }
            ul {
                @for anomaly in found.iter().take(MOST) {
                    li {
                        b { (anomaly.kind) }
                        @if let Some(object) = &anomaly.object { " of " (object) }
                        ": " (anomaly.reason)
                    }
                }
            }
        }
    }
}

fn links(run: &Run) -> Markup {
    let name = run.name();
    let own = [
        "report.html",
        "spec.json",
        "schedule.toml",
        "results.json",
        "history.jsonl.zst",
    ];
    let own = own
        .into_iter()
        .filter(|file| run.path().join(file).is_file());
    let mut all: Vec<String> = own.map(str::to_string).collect();
    all.extend(search::log_files(run));
    html! {
        h2 { "Files" }
        ul {
            @for file in &all {
                li { a href={ (of_run(&name)) "/file/" (path(file)) } { (file) } }
            }
        }
    }
}

fn form(run: &Run) -> Markup {
    let decided = decision::of(run);
    let chosen = decided.as_ref().map(|decision| decision.what);
    html! {
        @if let Some(decision) = &decided {
            p { "Decided on " (decision.on) ": " b { (decision.what.words()) } }
        }
        form.decision method="post" action={ (of_run(&run.name())) "/decision" } {
            select name="what" aria-label="What it is" {
                @for what in What::ALL {
                    option value=(what.name()) selected[chosen == Some(what)] { (what.words()) }
                }
            }
            input name="link" placeholder="link to the issue" aria-label="Link"
                value=(decided.as_ref().map_or("", |d| d.link.as_str()));
            input name="note" placeholder="note" aria-label="Note"
                value=(decided.as_ref().map_or("", |d| d.note.as_str()));
            button type="submit" { "Keep" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_address_says_nothing_else() {
        assert_eq!(encoded("a b/..?x=1&y"), "a%20b%2F..%3Fx%3D1%26y");
        assert_eq!(encoded("20261129T1-paxos_kv.~"), "20261129T1-paxos_kv.~");
        assert_eq!(path("nodes/n 1/a?.log"), "nodes/n%201/a%3F.log");
    }
}
