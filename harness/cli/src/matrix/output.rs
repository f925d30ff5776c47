//! What a night writes beside `runs.jsonl`, all of it made anew from that: for programs
//! (`results.jsonl`, `night.json`), for CI (`junit.xml`, `summary.md`, annotations) and for people
//! (`index.html`).

mod junit;
mod markdown;
mod page;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use history::file::NewFile;
use serde::Serialize;

use super::cells::Expected;
use super::fingerprint::Fingerprint;
use super::gate::{Colour, Judged, Reason, Shown};
use super::record::{Ending, VERSION};
use super::trend::Trend;

pub use markdown::{annotations, text};

/// `night.json`, and what `--json` prints.
#[derive(Serialize)]
pub struct Night<'a> {
    version: u32,
    name: &'a str,
    night: &'a str,
    matrix: &'a str,
    started: &'a str,
    /// 0: all of them, put together.
    shard: usize,
    shards: usize,
    missing_shards: &'a [usize],
    green: bool,
    reasons: &'a [Reason],
    notes: &'a [String],
    cells: usize,
    /// Cells by colour, and by how they ended.
    colours: BTreeMap<&'static str, usize>,
    endings: BTreeMap<String, usize>,
    /// Runs that went wrong and were made again.
    infra_retried: usize,
    trend: &'a Trend,
}

/// A line of `results.jsonl`.
#[derive(Serialize)]
struct Result<'a> {
    version: u32,
    id: &'a str,
    system: &'a str,
    workload: &'a str,
    nemesis: &'a str,
    seed: u64,
    expect: &'static str,
    colour: Colour,
    ending: Option<Ending>,
    why: &'a str,
    anomalies: &'a [String],
    fingerprint: Option<&'a Fingerprint>,
    known: Option<&'a str>,
    /// Further runs that were invalid too, of those with a verdict.
    confirmed: Option<Confirmed>,
    infra: usize,
    run: Option<&'a str>,
    took_s: Option<f64>,
    again: Option<&'a str>,
    figures: Option<&'a BTreeMap<String, f64>>,
}

#[derive(Serialize)]
struct Confirmed {
    again: usize,
    of: usize,
}

pub fn night<'a>(judged: &'a Judged, trend: &'a Trend) -> Night<'a> {
    let head = judged.head;
    let all = Ending::ALL.into_iter().map(|e| (word(e), judged.ended(e)));
    Night {
        version: VERSION,
        name: &head.name,
        night: &head.night,
        matrix: &head.matrix,
        started: &head.started,
        shard: head.shard.0,
        shards: head.shard.1,
        missing_shards: &judged.missing_shards,
        green: judged.is_green(),
        reasons: &judged.reasons,
        notes: &judged.notes,
        cells: judged.cells.len(),
        colours: Colour::ALL
            .into_iter()
            .map(|c| (c.word(), judged.count(c)))
            .collect(),
        endings: all.collect(),
        infra_retried: judged.infra_retried(),
        trend,
    }
}

/// As it is written in JSON.
fn word(ending: Ending) -> String {
    ending.word().replace(' ', "-")
}

fn result<'a>(shown: &'a Shown) -> Result<'a> {
    let cell = shown.cell;
    let came = shown.came.as_ref();
    let by = came.and_then(|came| came.by.as_ref());
    Result {
        version: VERSION,
        id: &cell.id,
        system: &cell.system,
        workload: &cell.workload,
        nemesis: &cell.nemesis,
        seed: cell.seed,
        expect: match cell.expect {
            Expected::Valid => "valid",
            Expected::Invalid(_) => "invalid",
        },
        colour: shown.colour,
        ending: came.map(|came| came.ending),
        why: &shown.why,
        anomalies: by.map_or(&[], |ran| &ran.anomalies),
        fingerprint: by.and_then(|ran| ran.fingerprint.as_ref()),
        known: shown.issue.map(|issue| issue.link.as_str()),
        confirmed: came
            .and_then(|came| came.confirmed)
            .map(|(again, of)| Confirmed { again, of }),
        infra: came.map_or(0, |came| came.infra),
        run: by.and_then(|ran| ran.run.as_deref()),
        took_s: by.map(|ran| ran.took_s),
        again: by.map(|ran| ran.again.as_str()),
        figures: by.map(|ran| &ran.figures),
    }
}

/// How often it failed, in words.
fn again(shown: &Shown) -> String {
    match shown.came.as_ref().and_then(|came| came.confirmed) {
        None => String::new(),
        Some((_, 0)) => "no run that was to confirm it had a verdict".into(),
        Some((k, n)) => format!("invalid again in {k} of {n} further runs"),
    }
}

/// Writes all of them into the night's folder.
pub fn write(folder: &Path, judged: &Judged, trend: &Trend) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for shown in &judged.cells {
        serde_json::to_writer(&mut lines, &result(shown))?;
        lines.push(b'\n');
    }
    let mut whole = serde_json::to_vec_pretty(&night(judged, trend))?;
    whole.push(b'\n');
    put(&folder.join("results.jsonl"), &lines)?;
    put(&folder.join("night.json"), &whole)?;
    put(&folder.join("junit.xml"), junit::xml(judged)?.as_bytes())?;
    put(
        &folder.join("summary.md"),
        markdown::summary(judged, trend).as_bytes(),
    )?;
    put(
        &folder.join("index.html"),
        page::html(judged, trend).as_bytes(),
    )
}

fn put(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut new = NewFile::at(path)?;
    new.write_all(content)?;
    new.keep()
}
