//! What every node says of one slot: what it accepted and decided, in the order of time, and what
//! its log holds there in the end.

use history::Value;

use super::ballots::What;
use super::logs::Log;
use super::{Recorded, show};
use crate::Anomaly;
use crate::picture::{Cell, Picture, Row, Table};

/// Moments at the beginning, and at the end, that are shown.
const MOST: usize = 20;

/// None if it is about no slot.
pub fn picture(recorded: &Recorded, anomaly: &Anomaly) -> Option<Picture> {
    let slot = anomaly
        .object
        .as_ref()?
        .strip_prefix("slot ")?
        .parse()
        .ok()?;
    let mut columns: Vec<&str> = recorded.traces.iter().map(|trace| trace.node).collect();
    columns.extend(recorded.logs.iter().map(|log| log.node));
    columns.sort_unstable();
    columns.dedup();
    let mut digests = Digests::default();
    let mut moments = moments(recorded, slot, &columns, &mut digests);
    let untold = moments.len().saturating_sub(2 * MOST);
    if untold > 0 {
        moments.drain(MOST..MOST + untold);
    }
    let row = |(t_ns, cell): (i64, Cell)| Row {
        at: recorded.at(t_ns),
        cells: vec![cell],
    };
    let mut rows: Vec<Row> = moments.into_iter().map(row).collect();
    let ends = ends(recorded, slot, &columns, &mut digests);
    if !ends.is_empty() {
        rows.push(Row {
            at: "log at the end".to_string(),
            cells: ends,
        });
    }
    let table = Table {
        of: format!("What each node says of slot {slot}"),
        columns: columns.into_iter().map(str::to_string).collect(),
        rows,
        untold,
    };
    (!table.rows.is_empty()).then_some(Picture::Table(table))
}

/// The values that were seen, in the order in which they were.
#[derive(Default)]
struct Digests<'a>(Vec<&'a Value>);

impl<'a> Digests<'a> {
    fn number(&mut self, digest: &'a Value) -> usize {
        let known = self.0.iter().position(|known| *known == digest);
        known.unwrap_or_else(|| {
            self.0.push(digest);
            self.0.len() - 1
        })
    }
}

/// What traces have of a slot, in the order of time.
fn moments<'a>(
    recorded: &'a Recorded,
    slot: i64,
    columns: &[&str],
    digests: &mut Digests<'a>,
) -> Vec<(i64, Cell)> {
    let mut moments: Vec<(i64, Cell)> = Vec::new();
    for (column, trace) in placed(&recorded.traces, columns, |trace| trace.node) {
        for event in &trace.events {
            let (text, digest) = match &event.what {
                What::Accept {
                    ballot,
                    slot: of,
                    digest,
                } if *of == slot => (format!("accepts under {}", show(ballot)), *digest),
                What::Decide { slot: of, digest } if *of == slot => {
                    ("decides".to_string(), *digest)
                }
                _ => continue,
            };
            let cell = Cell {
                column,
                text: format!("{text}: {}", brief(digest)),
                value: Some(digests.number(digest)),
            };
            moments.push((event.t_ns, cell));
        }
    }
    moments.sort_by_key(|(t_ns, cell)| (*t_ns, cell.column));
    moments
}

/// What logs have in it.
fn ends<'a>(
    recorded: &'a Recorded,
    slot: i64,
    columns: &[&str],
    digests: &mut Digests<'a>,
) -> Vec<Cell> {
    let cell = |(column, log): (usize, &'a Log)| {
        let entry = log.entries.iter().find(|entry| entry.slot == slot);
        Cell {
            column,
            text: match entry {
                Some(entry) => brief(entry.digest),
                None => "not in its log".to_string(),
            },
            value: entry.map(|entry| digests.number(entry.digest)),
        }
    };
    placed(&recorded.logs, columns, |log| log.node)
        .map(cell)
        .collect()
}

/// Each with the column of its node.
fn placed<'a, T>(
    all: &'a [T],
    columns: &[&str],
    node: impl Fn(&T) -> &str,
) -> impl Iterator<Item = (usize, &'a T)> {
    all.iter().filter_map(move |one| {
        let column = columns.binary_search(&node(one)).ok()?;
        Some((column, one))
    })
}

/// As much of a digest as a person compares.
fn brief(digest: &Value) -> String {
    const SHOWN: usize = 12;
    let text = match digest {
        Value::Text(text) => text.to_string(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
