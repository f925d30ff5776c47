//! A run that goes on: what it is doing, what came of it so far, and the last lines of its nodes'
//! logs. The page asks for this part of itself again and again, until the run has ended.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path as FilePath;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use history::file;
use history::store::Run;
use maud::{Markup, PreEscaped, html};
use report::harmless;
use sha2::{Digest, Sha256};

use super::{Shared, files, guard, pages, search};
use crate::judged::load_results;
use crate::live::Live;
use crate::logs::NOT_TOLD;

/// Fetches the part anew, and nothing else.
const SCRIPT: &str = include_str!("live.js");

/// It is written more often than this, if all is well.
const OLD: Duration = Duration::from_secs(5);

/// Of a log the end, and of that the last lines.
const TAIL: u64 = 16 << 10;
const LINES: usize = 6;
const MOST_CHARS: usize = 300;
/// Logs that are shown.
const MOST_LOGS: usize = 12;

/// What stands on the page of a run that goes on.
pub fn section(run: &Run) -> Markup {
    let own = pages::of_run(&run.name());
    html! {
        section #live data-at={ (own) "/now" } { (now(run)) }
        p #live-note role="status" {}
        noscript { p.lead { "Without scripts: load the page again to see how far it is." } }
        script { (PreEscaped(SCRIPT)) }
    }
}

/// Lets the page run this script, and no other, and ask this viewer.
pub fn allow(response: &mut Response) {
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    let policy = format!(
        "{}; script-src 'sha256-{hash}'; connect-src 'self'",
        guard::POLICY
    );
    let policy = HeaderValue::from_str(&policy).expect("it is plain text");
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
}

/// The part that is fetched anew.
pub async fn part(State(viewer): Shared, Path(name): Path<String>) -> Response {
    match files::run(&viewer.store, &name) {
        Some(run) => Html(harmless(now(&run))).into_response(),
        None => pages::missing("There is no such run."),
    }
}

fn now(run: &Run) -> Markup {
    if !run.is_live() {
        return over(run);
    }
    let live = Live::load(run);
    html! {
        p { span.sign.live { "live" } " " @if let Some((live, _)) = &live { "· " (live.phase) } }
        @match &live {
            Some((live, age)) => {
                @if *age > OLD {
                    p.lead { "It has said nothing for " (age.as_secs()) " s." }
                }
                (time(live))
                (counts(live))
                (list("Faults in force", &live.faults))
                (list("What it had to say", &live.said))
            }
            None => p.lead { "It does not say how far it is." },
        }
        (logs(run))
    }
}

/// Whatever came of it. `data-over` tells the script that there is nothing more to ask.
fn over(run: &Run) -> Markup {
    let own = pages::of_run(&run.name());
    html! {
        p data-over {
            "It has ended: "
            @match load_results(run) {
                Ok(judged) => span class={ "sign " (judged.verdict.word()) } { (judged.verdict.word()) },
                Err(_) => "nobody has judged it",
            }
            ". "
            @if run.report().is_file() {
                a href={ (own) "/file/report.html" } { "Its report" }
                " and "
            }
            a href=(own) { "all of it" }
        }
    }
}

fn time(live: &Live) -> Markup {
    let s = |ms: u64| ms / 1000;
    let elapsed = live.elapsed_ms;
    html! {
        p {
            @match (live.planned_ms, live.at_most_ms) {
                (Some(planned), _) if elapsed <= planned => {
                    progress max=(planned) value=(elapsed) {} " "
                    (s(elapsed)) " of " (s(planned)) " s, " ((planned - elapsed).div_ceil(1000)) " s left"
                }
                (Some(planned), _) => { (s(elapsed)) " s, " (s(planned)) " s were planned" }
                (None, Some(most)) => { (s(elapsed)) " s, at most " (s(most)) " s" }
                (None, None) => { (s(elapsed)) " s" }
            }
        }
    }
}

fn counts(live: &Live) -> Markup {
    html! {
        p {
            (live.ok.saturating_add(live.fail).saturating_add(live.info)) " operations: "
            b #live-ok { (live.ok) } " ok, " b { (live.fail) } " fail, " b { (live.info) } " info"
        }
    }
}

fn list(of: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            h2 { (of) }
            ul { @for line in lines.iter().take(50) { li { (clipped(line)) } } }
        }
    }
}

fn logs(run: &Run) -> Markup {
    let is_told = |log: &String| !NOT_TOLD.contains(&log.rsplit('/').next().unwrap_or_default());
    let logs: Vec<String> = search::log_files(run).into_iter().filter(is_told).collect();
    let own = pages::of_run(&run.name());
    html! {
        @if logs.is_empty() {
            p.lead { "No log is here yet. Those of machines over SSH are fetched when the run ends." }
        } @else {
            h2 { "Last lines of the logs" }
            @for log in logs.iter().take(MOST_LOGS) {
                p.lead { a href={ (own) "/file/" (pages::path(log)) } { (log) } }
                pre { @for line in tail(&run.path().join(log)) { (clipped(&line)) "\n" } }
            }
            @if logs.len() > MOST_LOGS {
                p.lead { (logs.len() - MOST_LOGS) " more logs are left out." }
            }
        }
    }
}

/// The last lines of a file, which may grow.
fn tail(path: &FilePath) -> Vec<String> {
    let read = || {
        let mut file = file::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.take(TAIL).read_to_end(&mut end)?;
        std::io::Result::Ok(end)
    };
    let end = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&end);
    let mut lines: Vec<String> = text.lines().rev().take(LINES).map(str::to_string).collect();
    lines.reverse();
    lines
}

/// Text is text on a page, but what rearranges it is not shown as it is.
fn clipped(line: &str) -> String {
    crate::terminal::clipped(line, MOST_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_its_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let lines: String = (0..5000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        let last: Vec<String> = (4994..5000).map(|n| format!("line {n}")).collect();
        assert_eq!(tail(&path), last);
        assert!(tail(folder.path()).is_empty(), "a folder is no log");
        assert!(tail(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn what_is_left_is_never_less_than_nothing() {
        let of = |elapsed_ms, planned_ms| {
            let live = Live {
                elapsed_ms,
                planned_ms: Some(planned_ms),
                ..Live::default()
            };
            time(&live).into_string()
        };
        assert!(of(12_300, 60_000).contains("12 of 60 s, 48 s left"));
        assert!(of(60_000, 60_000).contains("60 of 60 s, 0 s left"));
        assert!(of(25_000, 20_000).contains("25 s, 20 s were planned"));
        assert!(of(u64::MAX, 0).contains("0 s were planned"));
    }
}
