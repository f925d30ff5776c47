//! What somebody decided of a run: `decision.toml` in its folder, which git can carry. What was
//! called a known issue is offered as a `known.toml` for nights.

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{Days, NaiveDate, Utc};
use history::file;
use history::store::Run;
use serde::{Deserialize, Serialize};

use super::{Shared, Viewer, files, pages};
use crate::matrix::fingerprint;
use crate::matrix::known::Issue;

/// Bytes of a decision.
const MOST: u64 = 1 << 16;

/// A known issue is looked at again after so many days.
const KNOWN_FOR: Days = Days::new(90);

/// What a run's anomaly is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    RealBug,
    KnownIssue,
    HarnessFault,
    NotABug,
}

impl What {
    pub const ALL: [What; 4] = [
        What::RealBug,
        What::KnownIssue,
        What::HarnessFault,
        What::NotABug,
    ];

    pub fn words(self) -> &'static str {
        match self {
            What::RealBug => "real bug",
            What::KnownIssue => "known issue",
            What::HarnessFault => "harness fault",
            What::NotABug => "not a bug",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            What::RealBug => "real-bug",
            What::KnownIssue => "known-issue",
            What::HarnessFault => "harness-fault",
            What::NotABug => "not-a-bug",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub what: What,
    #[serde(default)]
    pub link: String,
    #[serde(default)]
    pub note: String,
    /// By what the anomaly is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Its kind.
    #[serde(default)]
    pub about: String,
    pub on: NaiveDate,
}

fn path(run: &Run) -> std::path::PathBuf {
    run.path().join("decision.toml")
}

pub fn of(run: &Run) -> Option<Decision> {
    let text = file::read(&path(run), MOST).ok()?;
    toml::from_str(&String::from_utf8(text).ok()?).ok()
}

#[derive(Debug, Deserialize)]
pub struct Decided {
    what: What,
    #[serde(default)]
    link: String,
    #[serde(default)]
    note: String,
}

pub async fn decide(
    State(viewer): Shared,
    Path(name): Path<String>,
    Form(decided): Form<Decided>,
) -> Response {
    let Some(run) = files::run(&viewer.store, &name) else {
        return pages::missing("There is no such run.");
    };
    let known = fingerprint::of_run(&run).ok().flatten();
    let decision = Decision {
        what: decided.what,
        link: decided.link,
        note: decided.note,
        about: known
            .as_ref()
            .map_or(String::new(), |known| known.kind.clone()),
        fingerprint: known.map(|known| known.id),
        on: Utc::now().date_naive(),
    };
    let text = toml::to_string(&decision).map_err(|e| e.to_string());
    let written = text.and_then(|text| {
        let written = run.write(&path(&run), text.as_bytes());
        written.map_err(|e| e.to_string())
    });
    match written {
        Ok(()) => Redirect::to(&pages::of_run(&name)).into_response(),
        Err(why) => pages::trouble(&format!("The decision was not kept: {why}")),
    }
}

/// What others decided of runs with the same anomaly, the newest first.
pub fn of_alike(viewer: &Viewer, fingerprint: &str, except: &Run) -> Vec<(String, Decision)> {
    let mut alike = all(viewer);
    alike.retain(|(run, decision)| {
        *run != except.name() && decision.fingerprint.as_deref() == Some(fingerprint)
    });
    alike.reverse();
    alike
}

fn all(viewer: &Viewer) -> Vec<(String, Decision)> {
    let runs = viewer.store.list().unwrap_or_default();
    let decided = runs.iter().filter_map(|run| Some((run.name(), of(run)?)));
    decided.collect()
}

pub async fn known(State(viewer): Shared) -> Response {
    let mut response = known_issues(&viewer).into_response();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn known_issues(viewer: &Arc<Viewer>) -> String {
    #[derive(Serialize)]
    struct Known {
        issue: Vec<Issue>,
    }
    let mut issue: Vec<Issue> = Vec::new();
    for (_, decision) in all(viewer) {
        let (What::KnownIssue, Some(fingerprint)) = (decision.what, decision.fingerprint) else {
            continue;
        };
        issue.retain(|known| known.fingerprint != fingerprint);
        issue.push(Issue {
            fingerprint,
            link: decision.link,
            until: decision
                .on
                .checked_add_days(KNOWN_FOR)
                .unwrap_or(decision.on),
            about: decision.about,
        });
    }
    toml::to_string(&Known { issue }).unwrap_or_else(|e| format!("# {e}\n"))
}
