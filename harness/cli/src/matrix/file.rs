//! A matrix as a person writes it: TOML, read as a whole; what is wrong is said with line and
//! column.
//!
//! ```toml
//! version = 1
//! seeds = 3                    # or a list: [1, 2, 7]
//! nemeses = ["partition", "kill+clock"]
//!
//! [run]                        # of every cell
//! time-limit = "60s"
//!
//! [gate]                       # when the night is green
//! verdicts = 90
//!
//! [[system]]
//! name = "paxos-kv"
//! workloads = ["register", "append"]
//!
//! [[exclude]]
//! workload = "append"
//! nemesis = "kill+clock"
//!
//! [[include]]                  # a canary
//! system = "paxos-kv"
//! flaws = ["stale-read-leader"]
//! nemesis = "partition"
//! expect = "invalid"
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use checkers::Verdict;
use harness::generator::Shape;
use nemeses::schedule::Length;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::flags;
use crate::run::Keep;

/// Version of the format. A file of another version is refused.
pub const VERSION: u32 = 1;
/// Bytes of a file that a person writes.
const MOST_BYTES: u64 = 16 << 20;
/// Seeds of one combination.
pub const MOST_SEEDS: u64 = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Matrix {
    pub version: Spanned<u32>,
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    #[serde(default)]
    pub seeds: Option<Spanned<Seeds>>,
    #[serde(default)]
    pub first_seed: Option<u64>,
    #[serde(default)]
    pub workloads: Vec<Spanned<String>>,
    #[serde(default)]
    pub nemeses: Vec<Spanned<String>>,
    /// How long a shard may take.
    #[serde(default)]
    pub budget: Option<Span>,
    #[serde(default)]
    pub jobs: Option<Spanned<usize>>,
    /// What stays of the nodes' disks.
    #[serde(default)]
    pub keep: Keep,
    /// Known issues, beside this file.
    #[serde(default)]
    pub known: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub run: Setting,
    #[serde(default)]
    pub gate: Gate,
    #[serde(default)]
    pub system: Vec<Spanned<System>>,
    #[serde(default)]
    pub include: Vec<Spanned<Include>>,
    #[serde(default)]
    pub exclude: Vec<Spanned<Pattern>>,
    #[serde(default)]
    pub weight: Vec<Spanned<Weight>>,
}

/// So many seeds, or these.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "seeds are a number of them, as 3, or a list, as [1, 2, 7]"
)]
pub enum Seeds {
    Count(u64),
    List(Vec<u64>),
}

/// What a run is given beside its place in the matrix.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setting {
    pub time_limit: Option<Span>,
    pub nodes: Option<usize>,
    pub rate: Option<f64>,
    pub concurrency: Option<usize>,
    pub op_timeout: Option<Span>,
    pub recovery_time: Option<Span>,
    /// Of faults that are drawn, as `--fault-length` and `--fault-gap` take them.
    pub fault_length: Option<Spanned<Length>>,
    pub fault_gap: Option<Spanned<Length>>,
    pub load: Option<Shape>,
    #[serde(default)]
    pub may_crash: bool,
}

impl Setting {
    /// This, and what it leaves open from below.
    pub fn over(&self, below: &Setting) -> Setting {
        Setting {
            time_limit: self.time_limit.or(below.time_limit),
            nodes: self.nodes.or(below.nodes),
            rate: self.rate.or(below.rate),
            concurrency: self.concurrency.or(below.concurrency),
            op_timeout: self.op_timeout.or(below.op_timeout),
            recovery_time: self.recovery_time.or(below.recovery_time),
            fault_length: self.fault_length.clone().or(below.fault_length.clone()),
            fault_gap: self.fault_gap.clone().or(below.fault_gap.clone()),
            load: self.load.or(below.load),
            may_crash: self.may_crash || below.may_crash,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct System {
    pub name: Spanned<String>,
    /// What it is called in the matrix, where one system is there twice.
    pub label: Option<Spanned<String>>,
    /// Programs by version: each is one more system of the matrix.
    #[serde(default)]
    pub versions: BTreeMap<String, PathBuf>,
    #[serde(default)]
    pub workloads: Vec<Spanned<String>>,
    #[serde(default)]
    pub nemeses: Vec<Spanned<String>>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    #[serde(default)]
    pub flaws: Vec<String>,
    #[serde(default)]
    pub run: Setting,
}

/// A combination beside those of the product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Include {
    pub system: Option<Spanned<String>>,
    /// A scenario's file, beside this one: it says what is not said here, and what to expect.
    pub scenario: Option<Spanned<PathBuf>>,
    pub label: Option<Spanned<String>>,
    pub program: Option<PathBuf>,
    pub workload: Option<Spanned<String>>,
    pub nemesis: Option<Spanned<String>>,
    /// A schedule's file, beside this one, instead of a nemesis.
    pub schedule: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    #[serde(default)]
    pub flaws: Vec<String>,
    pub seeds: Option<Spanned<Seeds>>,
    pub expect: Option<Spanned<Verdict>>,
    /// Of an expected anomaly, the kinds of which one has to be found; empty if any will do.
    #[serde(default)]
    pub anomalies: Vec<String>,
    #[serde(default)]
    pub run: Setting,
}

/// What is left out. What a pattern does not say is any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pattern {
    pub system: Option<Spanned<String>>,
    pub workload: Option<Spanned<String>>,
    pub nemesis: Option<Spanned<String>>,
    pub seed: Option<u64>,
    /// Why, for who reads the plan.
    pub why: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Weight {
    pub system: Option<Spanned<String>>,
    pub workload: Option<Spanned<String>>,
    pub nemesis: Option<Spanned<String>>,
    pub weight: Spanned<f64>,
}

/// When a night is green, and what is done for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gate {
    /// Per cent of the cells that must have a verdict on their system.
    pub verdicts: f64,
    pub infra_retries: u32,
    /// Further runs of a cell that is invalid and nobody expected.
    pub confirm: u32,
    /// What a run may take beyond its time limit.
    pub watchdog: Span,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            verdicts: 90.0,
            infra_retries: 2,
            confirm: 3,
            watchdog: Span(Duration::from_secs(300)),
        }
    }
}

/// A span of time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        let text = String::deserialize(from)?;
        let span = long(&text).ok_or(()).or_else(|()| flags::duration(&text));
        span.map(Span).map_err(|hint| {
            serde::de::Error::custom(format!("{text:?} is no span of time: {hint}"))
        })
    }
}

/// Hours, which only a night has.
fn long(text: &str) -> Option<Duration> {
    let hours: f64 = text.strip_suffix('h')?.parse().ok()?;
    (hours > 0.0 && hours <= 10_000.0).then(|| Duration::from_secs_f64(hours * 3600.0))
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub struct Wrong {
    pub at: Range<usize>,
    pub message: String,
}

pub fn wrong(at: Range<usize>, message: impl ToString) -> Wrong {
    Wrong {
        at,
        message: message.to_string(),
    }
}

/// Reads a file that a person wrote.
pub fn text(path: &Path) -> Result<String, String> {
    let bytes = history::file::read(path, MOST_BYTES)
        .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()))
}

/// Reads what a text holds as a table.
pub fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Wrong> {
    toml::from_str(text).map_err(|e| wrong(e.span().unwrap_or_default(), e.message()))
}

/// All that is wrong with a file, each with its line and column, which count from 1.
pub fn complaints(path: &Path, text: &str, mut wrongs: Vec<Wrong>) -> String {
    wrongs.sort_by_key(|wrong| wrong.at.start);
    let lines = wrongs.iter().map(|wrong| {
        let (line, column) = place(text, wrong.at.start);
        format!("{}:{line}:{column}: {}", path.display(), wrong.message)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Line and column of a byte.
pub fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
