//! A history as a trace that <https://ui.perfetto.dev> and `chrome://tracing` open: the JSON of the
//! Trace Event Format, with a process for the faults and one for each node, in microseconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use history::fault::Span;
use history::mark::marks;
use history::{History, Name, Op, Outcome, Process, Time, Value, fault};
use serde_json::{Value as Json, json};

use crate::text::clip;

/// The process of what concerns no node.
const RUN: usize = 0;

/// In the process of a node, its reigns as a leader stand before its clients.
const LEADS: u64 = 0;

/// Writes the trace of a history.
///
/// # Errors
/// What writing it met.
pub fn write(out: &mut impl Write, history: &History) -> io::Result<()> {
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
    for op in history.ops() {
        let pid = op.node.as_ref().map_or(RUN, |node| nodes[node]);
        if op.f == "trace" {
            for reign in reigns(op, history) {
                trace.event(&json!({
                    "ph": "X", "pid": pid, "tid": LEADS, "name": "leads",
                    "ts": us(reign.0), "dur": us(reign.1) - us(reign.0),
                }))?;
            }
        }
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

/// When a node took itself for the leader, by its own trace.
fn reigns(op: &Op, history: &History) -> Vec<(Time, Time)> {
    let Some(began) = history.began_ns() else {
        return Vec::new();
    };
    let events = op.output.get("events").and_then(Value::as_list);
    let mut reigns = Vec::new();
    let mut since = None;
    for event in events.unwrap_or_default() {
        let t_ns = event.get("t_ns").and_then(Value::as_int);
        let Some(t_ns) = t_ns.and_then(|t_ns| u64::try_from(t_ns).ok()) else {
            continue;
        };
        let at = Time(t_ns.saturating_sub(began));
        match event.get("event").and_then(Value::as_text) {
            Some("lead") => since = since.or(Some(at)),
            Some("step-down" | "start") => reigns.extend(since.take().map(|from| (from, at))),
            _ => {}
        }
    }
    reigns.extend(since.map(|from| (from, op.call.max(from))));
    reigns
}
