//! A judged run to one HTML page.
//!
//! [`render`] takes what a run's folder holds and returns a file that needs nothing else: style,
//! script and pictures are inside, nothing is fetched, and it opens from a disk. It is written for
//! somebody who was not there. First the verdict, then why: the operations that contradict each
//! other drawn on a time axis with the faults behind them; then the run at a glance, the faults
//! with their receipts, the checkers, what was asked, and a table of operations.
//!
//! Nothing is left out: every operation, fault and anomaly is in the page, packed to some ten bytes
//! an operation (`packed`), and the script shows them on a timeline from the whole run down to a
//! single one. All other pictures are drawn here, of a size that depends on the picture and not on
//! the run, so the page can be printed and read without its script.
//!
//! [`experiment`] has the pages of many runs: two systems side by side, one along a parameter.
//!
//! Read `page` for the order of things, `reading`, `scene` and `timeline` for the drawing of an
//! anomaly, `charts` for the run at a glance.

mod arrow;
mod charts;
pub mod experiment;
mod operations;
mod packed;
mod page;
mod palette;
pub mod perfetto;
mod picture;
mod reading;
mod sample;
mod scale;
mod scene;
mod sentence;
mod stats;
mod svg;
mod tables;
mod text;
mod timeline;
pub mod trend;
mod why;

use std::collections::HashSet;

use checkers::{Analysis, Anomaly, Verdict};
use history::fault::{self, Span};
use history::{History, Name, Op, Time};
use serde_json::Value as Json;

use stats::Stats;
pub use text::harmless;

/// A judged run.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What was tested: `paxos-kv`.
    pub system: &'a str,
    /// What was asked of it: `register`.
    pub workload: &'a str,
    pub origin: Origin,
    /// The command line that repeats the run, or judges the file again; empty if there is none.
    pub command: &'a str,
    /// How often it ended alike when it was run again, where somebody tried.
    pub repeated: Option<&'a str>,
    /// What was asked, as the run's folder keeps it: seed, versions, parameters, nemeses, flaws.
    /// Any shape; an object is shown as a table of dotted names.
    pub spec: &'a Json,
    /// The schedule as text, where there was one.
    pub schedule: Option<&'a str>,
    /// Every node, in the order to show; those that only the history knows are added behind.
    pub nodes: &'a [Name],
    pub history: &'a History,
    pub analyses: &'a [Analysis],
    /// What all of it comes to. Not derived from `analyses`: the run may know more.
    pub verdict: Verdict,
    /// What the nodes themselves tell.
    pub told: &'a Told,
    /// What the reader must know beside the verdict: a torn history, an interrupted run.
    pub warnings: &'a [String],
}

/// What nodes tell of themselves, on the history's clock.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub led: Vec<Led>,
    pub tips: Vec<Tip>,
    /// In the order of time.
    pub log: Vec<Said>,
    /// Lines that are not among them.
    pub untold: usize,
    /// Nodes whose clocks were shifted at some time: their lines stand where their clocks said.
    pub shifted: Vec<Name>,
}

/// A node took itself for the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    pub node: Name,
    pub from: Time,
    /// Until it stepped down or started again; [`Time::MAX`] if it did neither.
    pub until: Time,
    /// What its ballot, or term, was, as text.
    pub ballot: Option<String>,
    /// Whether it is known. Where nodes were asked now and then, it led at the ends of such a span,
    /// or at one of them, and what it did between is not known.
    pub sure: bool,
}

/// A node of a chain had this block for its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    pub node: Name,
    /// The first answer that named it, and the last.
    pub from: Time,
    pub until: Time,
    pub hash: String,
    pub height: Option<i64>,
}

impl Led {
    pub fn at_any_time(&self, from: Time, until: Time) -> bool {
        self.from <= until && from <= self.until
    }
}

/// A line of a node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub node: Name,
    pub at: Time,
    pub level: Level,
    pub text: String,
}

/// How loud a line of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Plain = 0,
    Warning = 1,
    Error = 2,
}

/// Where a history comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A run of ours: what was done to the system is known.
    Run,
    /// A file: nothing is known but what is in it.
    File,
}

/// The page of a judged history, complete.
pub fn render(input: &Input) -> String {
    harmless(page::whole(&Run::new(input)))
}

/// The input with what every section needs of it, worked out once.
struct Run<'a> {
    input: Input<'a>,
    spans: Vec<Span>,
    stats: Stats,
    /// Positions in `history.ops()` of the operations that the page lists: of clients, and those of
    /// the harness that an anomaly names.
    listed: Vec<usize>,
}

/// Every anomaly with the checker that found it, the checkers in their order.
type Findings<'a> = [(&'a Analysis, &'a Anomaly)];

impl<'a> Run<'a> {
    fn new(input: &Input<'a>) -> Run<'a> {
        let spans = fault::spans(input.history);
        let stats = Stats::of(input.history, &spans, input.nodes);
        Run {
            input: *input,
            spans,
            stats,
            listed: listed(input),
        }
    }

    fn ops(&self) -> &'a [Op] {
        self.input.history.ops()
    }
}

fn listed(input: &Input) -> Vec<usize> {
    let anomalies = input.analyses.iter().flat_map(|a| &a.anomalies);
    let named: HashSet<u64> = anomalies.flat_map(|a| &a.ops).copied().collect();
    let ops = input.history.ops().iter().enumerate();
    ops.filter(|(_, op)| !op.observes() || named.contains(&op.index))
        .map(|(at, _)| at)
        .collect()
}
