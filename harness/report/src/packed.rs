//! Every operation, fault and anomaly of a history, packed for the script.
//!
//! A million operations are columns of small numbers, since an operation is seldom far from the one
//! before it:
//!
//! ```text
//! base64(gzip(
//!   u32 n  n bytes   JSON: the tables that columns point into, faults, anomalies, leaders, tips, logs
//!   u32 n  n bytes   the texts of values, one a line
//!   u32 n  n bytes   a column; there are as many as COLUMNS
//!   ..
//! ))
//! ```
//!
//! Lengths are little-endian. A column is the lowest byte of each of its numbers, then the second
//! byte of each, as far as the largest needs it: bytes of one kind side by side are what gzip does
//! best with. Places in a table are one more than they are, where 0 says that there is none.

use std::collections::HashMap;
use std::io::Write;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use checkers::Anomaly;
use flate2::Compression;
use flate2::write::GzEncoder;
use history::{Name, Op, Outcome, Time, Value};
use maud::{Markup, html};
use serde_json::{Value as Json, json};

use crate::palette;
use crate::reading::transaction;
use crate::stats;
use crate::svg::in_force;
use crate::text::plain;
use crate::timeline;
use crate::{Findings, Run};

/// Longest text of a value, of an error and of an anomaly's sentence, in characters; and of a value
/// where there are so many operations that nobody reads them one by one.
const MAX_VALUE: usize = 120;
const MAX_VALUE_OF_MANY: usize = 48;
const MANY: usize = 300_000;
const MAX_ERROR: usize = 300;
const MAX_REASON: usize = 600;

/// So many errors are told in full; of others, which are no two alike, the code.
const MOST_ERRORS: usize = 10_000;

/// What the columns hold, in their order.
///
/// | column | of each operation |
/// | --- | --- |
/// | index | how much more its event's number is than that of the operation before |
/// | call | how much later it was called than the one before, in ns |
/// | took | one more than the ns until its end; 0 if the run ended first |
/// | process, node, key, error | its place in the table of that name |
/// | f | three times its place in the table, and its outcome: 0 ok, 1 fail, 2 info |
/// | asked | 0 nil, 1 the next text, else one more than how many texts back |
/// | answered | 0 nil, 1 what was asked, 2 the next text, else two more than how many texts back |
const COLUMNS: [&str; 10] = [
    "index", "call", "took", "process", "node", "key", "error", "f", "asked", "answered",
];

/// The element that holds all of it. Nothing in it can end the element.
pub fn element(run: &Run, findings: &Findings) -> Markup {
    let bytes = pack(run, findings);
    html! {
        script type="application/octet-stream" id="packed" { (Base64Display::new(&bytes, &STANDARD)) }
    }
}

fn pack(run: &Run, findings: &Findings) -> Vec<u8> {
    let ops: Vec<&Op> = run.listed.iter().map(|at| &run.ops()[*at]).collect();
    let mut columns = Columns {
        longest: if ops.len() > MANY {
            MAX_VALUE_OF_MANY
        } else {
            MAX_VALUE
        },
        ..Columns::default()
    };
    let keyed = is_keyed(&ops);
    for op in &ops {
        columns.push(run, op, keyed);
    }
    let head = json!({
        "n": ops.len(),
        "length": run.stats.end.as_nanos(),
        "columns": COLUMNS,
        "fs": columns.fs.texts,
        "processes": columns.processes.texts,
        "nodes": columns.nodes.texts,
        "keys": columns.keys.texts,
        "errors": columns.errors.texts,
        "faults": faults(run),
        "anomalies": anomalies(run, findings),
        "led": led(run),
        "tips": tips(run),
        "log": log(run),
        "untold": run.input.told.untold,
        "shifted": run.input.told.shifted.iter().map(|n| plain(n, 40)).collect::<Vec<_>>(),
    });
    let mut out = GzEncoder::new(Vec::new(), Compression::new(6));
    let mut block = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("a history in memory is no longer");
        out.write_all(&length.to_le_bytes())
            .and_then(|()| out.write_all(bytes))
            .expect("memory takes all");
    };
    block(head.to_string().as_bytes());
    block(columns.values.lines.as_bytes());
    columns.numbers.iter().for_each(|of| block(&planes(of)));
    out.finish().expect("memory takes all")
}

/// Whether all operations carry `[key, ..]`: many objects, each with its key.
fn is_keyed(ops: &[&Op]) -> bool {
    let key = |op: &&Op| matches!(op.input.as_pair(), Some((key, _)) if is_scalar(key));
    let mut asked = ops.iter().filter(|op| !op.observes()).peekable();
    asked.peek().is_some() && asked.all(key)
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Int(_) | Value::Text(_))
}

/// Texts by their places.
#[derive(Default)]
struct Table {
    places: HashMap<String, u64>,
    texts: Vec<String>,
}

impl Table {
    fn place(&mut self, text: String) -> u64 {
        let next = self.texts.len() as u64;
        *self.places.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }
}

/// Texts that are mostly new or were used a short while ago.
#[derive(Default)]
struct Values {
    places: HashMap<String, u64>,
    lines: String,
}

impl Values {
    /// 0 for one that is new, else how many texts back it is, from 1.
    fn back(&mut self, text: String) -> u64 {
        let next = self.places.len() as u64;
        if let Some(place) = self.places.get(&text) {
            return next - place;
        }
        if next > 0 {
            self.lines.push('\n');
        }
        self.lines.push_str(&text);
        self.places.insert(text, next);
        0
    }
}

#[derive(Default)]
struct Columns {
    numbers: [Vec<u64>; COLUMNS.len()],
    fs: Table,
    processes: Table,
    nodes: Table,
    keys: Table,
    errors: Table,
    values: Values,
    /// Characters of a value.
    longest: usize,
    /// Of the operation before.
    index: u64,
    call: u64,
}

impl Columns {
    fn push(&mut self, run: &Run, op: &Op, keyed: bool) {
        let pair = |value| Some(value).filter(|_| keyed).and_then(Value::as_pair);
        let (key, asked) = match pair(&op.input) {
            Some((key, rest)) => (Some(key), rest),
            None => (None, &op.input),
        };
        let answered = match pair(&op.output) {
            Some((other, rest)) if Some(other) == key => rest,
            _ => &op.output,
        };
        let outcome = match op.outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Info => 2,
        };
        let name = |name: &Name| plain(name, 40);
        let key = key.map(|key| {
            key.as_text()
                .map_or_else(|| value(key, 60), |t| plain(t, 60))
        });
        let ended = stats::ended(run.input.history, op);
        let row = [
            op.index - self.index,
            op.call.0 - self.call,
            ended.map_or(0, |end| end.0.saturating_sub(op.call.0) + 1),
            1 + self.processes.place(op.process.to_string()),
            op.node
                .as_ref()
                .map_or(0, |n| 1 + self.nodes.place(name(n))),
            key.map_or(0, |key| 1 + self.keys.place(key)),
            op.error.as_ref().map_or(0, |e| 1 + self.error(e)),
            3 * self.fs.place(name(&op.f)) + outcome,
            match asked.is_nil() {
                true => 0,
                false => 1 + self.values.back(value(asked, self.longest)),
            },
            match (op.outcome, answered) {
                (Outcome::Fail | Outcome::Info, _) | (_, Value::Nil) => 0,
                (_, answered) if answered == asked => 1,
                (_, answered) => 2 + self.values.back(value(answered, self.longest)),
            },
        ];
        (self.index, self.call) = (op.index, op.call.0);
        for (column, number) in self.numbers.iter_mut().zip(row) {
            column.push(number);
        }
    }

    fn error(&mut self, error: &str) -> u64 {
        match self.errors.texts.len() < MOST_ERRORS {
            true => self.errors.place(plain(error, MAX_ERROR)),
            false => self.errors.place(plain(stats::code(error), MAX_ERROR)),
        }
    }
}

/// One line.
fn value(value: &Value, longest: usize) -> String {
    match transaction(value) {
        Some(words) => plain(words, longest),
        None => plain(value, longest),
    }
}

/// The lowest byte of each number, then the second, as far as the largest needs it.
fn planes(numbers: &[u64]) -> Vec<u8> {
    let largest = numbers.iter().max().copied().unwrap_or(0);
    let planes = (64 - largest.leading_zeros()).div_ceil(8);
    let plane = |at: u32| numbers.iter().map(move |number| (number >> (8 * at)) as u8);
    (0..planes).flat_map(plane).collect()
}

/// Number, class, words, and when: tried, in force, over, whether it held and was healed.
fn faults(run: &Run) -> Vec<Json> {
    let end = run.stats.end;
    let fault = |span: &history::fault::Span| {
        let (from, until) = in_force(span);
        json!([
            span.fault,
            palette::class(&span.family),
            plain(&span.family, 40),
            plain(span.told(), 160),
            from.as_nanos(),
            until.min(end).as_nanos(),
            span.held(),
            span.healed(),
            span.targets
                .iter()
                .map(|n| plain(n, 40))
                .collect::<Vec<_>>(),
        ])
    };
    run.spans.iter().map(fault).collect()
}

/// Title, sentence, when it was there to be seen, and the operations that it names.
fn anomalies(run: &Run, findings: &Findings) -> Vec<Json> {
    let anomaly = |(analysis, anomaly): &(&checkers::Analysis, &Anomaly)| {
        json!([
            plain(&anomaly.kind, 80),
            anomaly.object.as_ref().map(|object| plain(object, 80)),
            plain(&anomaly.reason, MAX_REASON),
            plain(&analysis.checker, 60),
            timeline::seen_at(run, anomaly).map(Time::as_nanos),
            anomaly.ops,
        ])
    };
    findings.iter().map(anomaly).collect()
}

fn led(run: &Run) -> Vec<Json> {
    let led = run.input.told.led.iter();
    led.map(|led| {
        json!([
            plain(&led.node, 40),
            led.from.as_nanos(),
            led.until.min(run.stats.end).as_nanos(),
            led.ballot.as_ref().map(|ballot| plain(ballot, 60)),
            led.sure,
        ])
    })
    .collect()
}

/// Each with the number of its block, in the order in which they were seen first.
fn tips(run: &Run) -> Vec<Json> {
    let mut blocks: HashMap<&str, usize> = HashMap::new();
    let tips = run.input.told.tips.iter();
    tips.map(|tip| {
        let next = blocks.len();
        let block = *blocks.entry(&tip.hash).or_insert(next);
        json!([
            plain(&tip.node, 40),
            tip.from.as_nanos(),
            tip.until.min(run.stats.end).as_nanos(),
            plain(&tip.hash, 16),
            tip.height,
            block,
        ])
    })
    .collect()
}

fn log(run: &Run) -> Vec<Json> {
    let said = run.input.told.log.iter();
    said.map(|line| {
        json!([
            plain(&line.node, 40),
            line.at.as_nanos(),
            line.level as u8,
            plain(&line.text, MAX_ERROR),
        ])
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_as_many_planes_as_its_largest_number_has_bytes() {
        assert_eq!(planes(&[1, 2, 255]), [1, 2, 255]);
        // 256 and 258: the low bytes, then the high ones.
        assert_eq!(planes(&[256, 258, 3]), [0, 2, 3, 1, 1, 0]);
        assert_eq!(planes(&[u64::MAX]), [255; 8]);
        assert!(planes(&[0, 0]).is_empty());
    }

    #[test]
    fn a_text_is_new_once_and_then_so_many_back() {
        let mut values = Values::default();
        let back: Vec<u64> = ["a", "b", "a", "c", "a", "c"]
            .map(|text| values.back(text.to_string()))
            .to_vec();
        assert_eq!(back, [0, 0, 2, 0, 3, 1]);
        assert_eq!(values.lines, "a\nb\nc");
    }
}
