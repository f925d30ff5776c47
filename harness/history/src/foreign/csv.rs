//! Operations with their call and their return, one a line, after a line that names the columns.

use super::Events;
use super::operations::{self, FIELDS, Operation, Operations};
use crate::edn::{Next, Reader, Wrong};
use crate::jsonl::{Loaded, ReadError};
use crate::{Exhausted, Meter, Value};

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut operations = Operations::default();
    let mut columns: Option<Vec<String>> = None;
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_number = number as u64 + 1;
        let at = |column: usize, reason: String| ReadError::Event {
            line: line_number,
            column: column as u64 + 1,
            reason,
        };
        // Cells are copies of what is in the line, in strings that grow by doubling.
        let held = operations.bytes() + 2 * line.len() as u64;
        let mut meter = events.left().without(held);
        let most = columns.as_ref().map_or(MOST_COLUMNS, Vec::len);
        let cells = cells(line, most, &mut meter).map_err(|uncut| match uncut {
            Uncut::Unclosed(from) => at(from, "this quote is never closed".into()),
            Uncut::Exhausted(why) => operations.exhausted(&events, why),
        })?;
        let Some(names) = &columns else {
            let names: Vec<String> = cells
                .into_iter()
                .map(|(_, name, _)| name.trim().to_lowercase())
                .collect();
            let known = |name: &String| FIELDS.split([',', ' ']).any(|f| f == name) || name == "op";
            for (i, name) in names.iter().enumerate() {
                if !known(name) {
                    let reason = format!("no column {name:?}: an operation has {FIELDS}");
                    return Err(at(0, reason));
                }
                if names[..i].contains(name) {
                    return Err(at(0, format!("two columns {name:?}")));
                }
            }
            columns = Some(names);
            continue;
        };
        if cells.len() != names.len() {
            let found = match cells.len() > names.len() {
                true => "more".to_string(),
                false => cells.len().to_string(),
            };
            let reason = format!("expected {} columns, found {found}", names.len());
            return Err(at(0, reason));
        }
        let mut fields: Vec<(&str, Value)> = Vec::new();
        for (name, (from, cell, quoted)) in names.iter().zip(&cells) {
            let value = cell_value(cell, *quoted, &meter).map_err(|w| match w.exhausted {
                Some(why) => operations.exhausted(&events, why),
                None => at(*from, w.reason),
            })?;
            fields.push((name, value));
        }
        let field = |name: &str| {
            fields
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.clone())
        };
        let op = Operation::new(line_number, field).map_err(|e| at(0, e))?;
        operations.push(op, &mut events)?;
    }
    match columns {
        Some(_) => operations::history(operations, events),
        None => Err(ReadError::Event {
            line: 1,
            column: 1,
            reason: format!("expected a line that names the columns: {FIELDS}"),
        }),
    }
}

/// More than there are fields.
const MOST_COLUMNS: usize = 16;

/// Why a line is not cut into cells.
enum Uncut {
    /// The quote that begins here.
    Unclosed(usize),
    Exhausted(Exhausted),
}

/// Where each cell begins, what it says, and whether it was quoted; no more than one beyond `most`.
fn cells(line: &str, most: usize, meter: &mut Meter) -> Result<Vec<(usize, String, bool)>, Uncut> {
    let mut cells = Vec::new();
    let mut rest = line.char_indices().peekable();
    loop {
        let from = rest.peek().map_or(line.len(), |(at, _)| *at);
        let mut cell = String::new();
        let quoted = rest.next_if(|(_, c)| *c == '"').is_some();
        let mut open = quoted;
        // Commas within brackets belong to the value.
        let mut depth = 0usize;
        let mut ended = true;
        while let Some((_, c)) = rest.next() {
            meter.tick(0).map_err(Uncut::Exhausted)?;
            match c {
                '"' if open && rest.next_if(|(_, c)| *c == '"').is_some() => cell.push('"'),
                '"' if open => open = false,
                ',' if !open && depth == 0 => {
                    ended = false;
                    break;
                }
                c => {
                    if !open {
                        depth = match c {
                            '[' => depth + 1,
                            ']' => depth.saturating_sub(1),
                            _ => depth,
                        };
                    }
                    cell.push(c);
                }
            }
        }
        if open {
            return Err(Uncut::Unclosed(from));
        }
        cells.push((from, cell, quoted));
        if ended || cells.len() > most {
            return Ok(cells);
        }
    }
}

/// A number, a list or a word; nothing is nil. What is quoted and no list is text.
fn cell_value(cell: &str, quoted: bool, meter: &Meter) -> Result<Value, Wrong> {
    let cell = cell.trim();
    match cell {
        "" if quoted => return Ok(Value::text("")),
        "" | "nil" | "null" => return Ok(Value::Nil),
        _ => {}
    }
    if quoted && !cell.starts_with('[') {
        return Ok(Value::text(cell));
    }
    let mut reader = Reader::new(cell).within(meter.clone());
    let value = reader.value()?;
    match reader.upcoming() {
        Ok(Next::End) => Ok(value),
        // Several words are one text.
        _ => Ok(Value::text(cell)),
    }
}
