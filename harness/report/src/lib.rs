//! A judged run to one HTML page.
//!
//! [`render`] takes what a run's folder holds and returns a file that needs nothing else: style,
//! script and pictures are inside, nothing is fetched, and it opens from a disk. It is written for
//! somebody who was not there. First the verdict, then why: the operations that contradict each
//! other drawn on a time axis with the faults behind them; then the run at a glance, the faults
//! with their receipts, the checkers, what was asked, and a table of operations.
//!
//! The size of the page depends on the picture and not on the run: a million operations are
//! counted, binned and thinned to what an eye could tell apart, and the table holds those around
//! anomalies, errors and faults and says how many it leaves out. The pictures are drawn here, so
//! the page can be printed and read without its script, which adds the hovering and the table.
//!
//! [`experiment`] has the pages of many runs: two systems side by side, one along a parameter.
//!
//! Read `page` for the order of things, `reading`, `scene` and `timeline` for the drawing of an
//! anomaly, `charts` for the run at a glance.

mod arrow;
mod charts;
pub mod experiment;
mod page;
mod palette;
pub mod perfetto;
mod picture;
mod reading;
mod sample;
mod scale;
mod scene;
mod stats;
mod svg;
mod tables;
mod text;
mod timeline;

use checkers::{Analysis, Verdict};
use history::fault::{self, Span};
use history::{History, Name};
use serde_json::Value as Json;

use stats::Stats;

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
    /// What the reader must know beside the verdict: a torn history, an interrupted run.
    pub warnings: &'a [String],
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
    let mut out = String::with_capacity(1 << 18);
    page::write(&mut out, &Run::new(input)).expect("writing to a String does not fail");
    out
}

/// The input with what every section needs of it, worked out once.
struct Run<'a> {
    input: Input<'a>,
    spans: Vec<Span>,
    stats: Stats,
}

impl<'a> Run<'a> {
    fn new(input: &Input<'a>) -> Run<'a> {
        let spans = fault::spans(input.history);
        let stats = Stats::of(input.history, &spans, input.nodes);
        Run {
            input: *input,
            spans,
            stats,
        }
    }
}
