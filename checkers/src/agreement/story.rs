//! The picture of an anomaly. Of one in a slot it is what every node says of that slot: what it
//! accepted and decided, in the order of time, and what its log holds there in the end.

use std::collections::BTreeMap;

use history::Value;

use super::ballots::What;
use super::logs::Log;
use super::{Recorded, acts, show};
use crate::Anomaly;
use crate::picture::{Cell, Picture, Row, Table};

/// Moments at the beginning, and at the end, that are shown.
const MOST: usize = 20;

/// None if it is about no slot, command or node.
pub fn picture(recorded: &Recorded, anomaly: &Anomaly) -> Option<Picture> {
    let object = anomaly.object.as_deref()?;
    let trace = |node: &str| recorded.traces.iter().find(|trace| trace.node == node);
    let table = match object.split_once(' ') {
        Some(("slot", slot)) => of_slot(recorded, slot.parse().ok()?),
        Some(("command", command)) => of_command(recorded, command),
        _ => match (trace(object), object.split_once(" and ")) {
            (Some(trace), _) => acts::of_node(recorded, trace, &anomaly.reason),
            (None, Some((a, b))) => acts::of_leases(recorded, [trace(a)?, trace(b)?]),
            (None, None) => None,
        },
    };
    table.map(Picture::Table)
}

fn of_slot(recorded: &Recorded, slot: i64) -> Option<Table> {
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
    (!table.rows.is_empty()).then_some(table)
}

/// The slots in which logs have a command, by its name.
fn of_command(recorded: &Recorded, command: &str) -> Option<Table> {
    let mut slots: BTreeMap<i64, Vec<Cell>> = BTreeMap::new();
    for (column, log) in recorded.logs.iter().enumerate() {
        for entry in &log.entries {
            let applied = entry.commands.unwrap_or_default();
            if applied.iter().any(|of| is_named(of, command)) {
                slots.entry(entry.slot).or_default().push(Cell {
                    column,
                    text: "applied".to_string(),
                    value: Some(0),
                });
            }
        }
    }
    let rows = slots.into_iter().map(|(slot, cells)| Row {
        at: format!("slot {slot}"),
        cells,
    });
    let table = Table {
        of: format!("Where each log has command {command}"),
        columns: recorded
            .logs
            .iter()
            .map(|log| log.node.to_string())
            .collect(),
        rows: rows.collect(),
        untold: 0,
    };
    (!table.rows.is_empty()).then_some(table)
}

fn is_named(command: &Value, name: &str) -> bool {
    let of = super::logs::name(command);
    of.is_some_and(|(client, number)| {
        Value::pair(client.clone(), number.clone()).to_string() == name
    })
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
