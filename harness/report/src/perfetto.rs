//! A history as a trace that <https://ui.perfetto.dev> and `chrome://tracing` open: the JSON of the
//! Trace Event Format, with a process for the faults and one for each node, in microseconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use history::fault::Span;
use history::mark::marks;
use history::{History, Name, Op, Outcome, Process, Time, fault};
use serde_json::{Value as Json, json};

use crate::Led;
use crate::text::clip;

/// The process of what concerns no node.
const RUN: usize = 0;

/// In the process of a node, its reigns as a leader stand before its clients.
const LEADS: u64 = 0;

/// Writes the trace of a history, and of who led in it.
///
/// # Errors
/// What writing it met.
pub fn write(out: &mut impl Write, history: &History, led: &[Led]) -> io::Result<()> {
    let mut nodes: BTreeMap<&Name, usize> = BTreeMap::new();
    for node in history.ops().iter().filter_map(|op| op.node.as_ref()) {
        let next = nodes.len() + 1;
        nodes.entry(node).or_insert(next);
    }
    let mut trace = Trace { out, begun: false };
    trace.name(RUN, "faults and phases")?;
    for (node, pid) in &nodes {
        trace.name(*pid, node)?;
    }
    let end = history.end();
    for span in fault::spans(history) {
        trace.event(&of_fault(&span, end))?;
    }
    for placed in marks(history) {
        trace.event(&json!({
            "ph": "i", "s": "g", "pid": RUN, "tid": 0, "ts": us(placed.time), "name": placed.mark.f(),
        }))?;
    }
    let known = led.iter().filter(|led| led.sure);
    for led in known.filter(|led| nodes.contains_key(&led.node)) {
        let until = led.until.min(end).max(led.from);
        trace.event(&json!({
            "ph": "X", "pid": nodes[&led.node], "tid": LEADS, "name": "leads",
            "ts": us(led.from), "dur": us(until) - us(led.from),
        }))?;
    }
    for op in history.ops() {
        let pid = op.node.as_ref().map_or(RUN, |node| nodes[node]);
        if !op.observes() {
            trace.event(&of_op(op, pid, end))?;
        }
    }
    trace.end()
}

/// The list of events, while it is written.
struct Trace<'a, W> {
    out: &'a mut W,
    begun: bool,
}

impl<W: Write> Trace<'_, W> {
    fn event(&mut self, event: &Json) -> io::Result<()> {
        let before = match std::mem::replace(&mut self.begun, true) {
            true => ",\n",
            false => "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n",
        };
        write!(self.out, "{before}{event}")
    }

    fn name(&mut self, pid: usize, name: &str) -> io::Result<()> {
        self.event(&json!({
            "ph": "M", "pid": pid, "name": "process_name", "args": {"name": clip(name, 100)},
        }))
    }

    fn end(self) -> io::Result<()> {
        writeln!(self.out, "\n]}}")
    }
}

fn us(time: Time) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn of_fault(span: &Span, end: Time) -> Json {
    let from = span.in_force.unwrap_or(span.from);
    let until = span.until.min(end);
    json!({
        "ph": "X", "pid": RUN, "tid": span.fault + 1, "ts": us(from), "dur": us(until) - us(from),
        "name": format!("{}: {}", span.family, clip(&span.label, 100)),
        "args": {"targets": span.targets, "held": span.held(), "healed": span.healed()},
    })
}

fn of_op(op: &Op, pid: usize, end: Time) -> Json {
    let tid = match op.process {
        Process::Client(client) => client + 1,
        Process::Nemesis => 0,
    };
    let outcome = match op.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
    };
    json!({
        "ph": "X", "pid": pid, "tid": tid, "ts": us(op.call), "dur": us(op.ret.min(end)) - us(op.call),
        "name": format!("{} {}", op.f, clip(&op.input, 60)),
        "args": {
            "index": op.index,
            "outcome": outcome,
            "input": clip(&op.input, 400),
            "output": clip(&op.output, 400),
            "error": op.error.as_deref().map(|error| clip(error, 400)),
        },
    })
}
