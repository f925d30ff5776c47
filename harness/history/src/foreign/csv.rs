//! Operations with their call and their return, one a line, after a line that names the columns.

use std::borrow::Cow;

use super::events::Events;
use super::operations::{self, FIELDS, Field, Fields, Operations};
use crate::edn::{Next, Reader, Wrong};
use crate::jsonl::{Loaded, ReadError};
use crate::word::{Arena, Word};
use crate::{Exhausted, Meter};

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut operations = Operations::new(&mut events);
    let mut columns: Option<Vec<Field>> = None;
    let mut stack = Vec::new();
    let mut cells: Vec<Cell> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let at = |column: usize, reason: String| ReadError::Event {
            line: number as u64 + 1,
            column: column as u64 + 1,
            reason,
        };
        // Cells that are quoted are copies, in strings that grow by doubling.
        let held = operations.bytes() + 2 * line.len() as u64;
        let mut meter = events.left().without(held);
        let most = columns.as_ref().map_or(MOST_COLUMNS, Vec::len);
        cut(line, most, &mut cells, &mut meter).map_err(|uncut| match uncut {
            Uncut::Unclosed(from) => at(from, "this quote is never closed".into()),
            Uncut::Exhausted(why) => operations.exhausted(&events, why),
        })?;
        let Some(fields) = &columns else {
            columns = Some(named(&cells).map_err(|why| at(0, why))?);
            continue;
        };
        if cells.len() != fields.len() {
            let found = match cells.len() > fields.len() {
                true => "more".to_string(),
                false => cells.len().to_string(),
            };
            let reason = format!("expected {} columns, found {found}", fields.len());
            return Err(at(0, reason));
        }
        let mut told = Fields::default();
        for (field, cell) in fields.iter().zip(&cells) {
            let word = cell.word(&mut events.chunk.arena, &mut stack, &meter);
            let word = word.map_err(|w| match w.exhausted {
                Some(why) => operations.exhausted(&events, why),
                None => at(cell.from, w.reason),
            })?;
            told.0[*field as usize] = Some(word);
        }
        let pushed = operations.push(&told, number as u32 + 1, &mut events)?;
        pushed.map_err(|why| at(0, why))?;
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

/// What the first line says.
fn named(cells: &[Cell]) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    for cell in cells {
        let name = cell.text.trim().to_lowercase();
        let field = Field::of(&name);
        let field =
            field.ok_or_else(|| format!("no column {name:?}: an operation has {FIELDS}"))?;
        if fields.contains(&field) {
            return Err(format!("two columns {name:?}"));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// More than there are fields.
const MOST_COLUMNS: usize = 16;

/// Why a line is not cut into cells.
enum Uncut {
    /// The quote that begins here.
    Unclosed(usize),
    Exhausted(Exhausted),
}

struct Cell<'a> {
    /// Where it begins.
    from: usize,
    text: Cow<'a, str>,
    quoted: bool,
}

/// Cuts a line into cells, no more than one beyond `most`.
fn cut<'a>(
    line: &'a str,
    most: usize,
    cells: &mut Vec<Cell<'a>>,
    meter: &mut Meter,
) -> Result<(), Uncut> {
    cells.clear();
    if line.contains('"') {
        return cut_quoted(line, most, cells, meter);
    }
    meter.tick(0).map_err(Uncut::Exhausted)?;
    let (mut from, mut depth) = (0, 0usize);
    let cell = |from, until| Cell {
        from,
        text: Cow::Borrowed(&line[from..until]),
        quoted: false,
    };
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            // Commas within brackets belong to the value.
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                cells.push(cell(from, at));
                from = at + 1;
                if cells.len() > most {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    cells.push(cell(from, line.len()));
    Ok(())
}

fn cut_quoted<'a>(
    line: &'a str,
    most: usize,
    cells: &mut Vec<Cell<'a>>,
    meter: &mut Meter,
) -> Result<(), Uncut> {
    let mut rest = line.char_indices().peekable();
    loop {
        let from = rest.peek().map_or(line.len(), |(at, _)| *at);
        let mut cell = String::new();
        let quoted = rest.next_if(|(_, c)| *c == '"').is_some();
        let mut open = quoted;
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
        cells.push(Cell {
            from,
            text: cell.into(),
            quoted,
        });
        if ended || cells.len() > most {
            return Ok(());
        }
    }
}

/// No longer than any number that surely fits into 64 bits.
const PLAIN: usize = 18;

fn plain_number(cell: &str) -> Option<i64> {
    let mut n = 0;
    for byte in cell.bytes() {
        n = match byte {
            b'0'..=b'9' => 10 * n + i64::from(byte - b'0'),
            _ => return None,
        };
    }
    Some(n)
}

impl Cell<'_> {
    /// A number, a list or a word; nothing is nil. What is quoted and no list is text.
    fn word(&self, arena: &mut Arena, stack: &mut Vec<Word>, meter: &Meter) -> Result<Word, Wrong> {
        let cell = self.text.trim();
        match cell {
            "" if self.quoted => return Ok(arena.text("")),
            "" | "nil" | "null" => return Ok(Word::NIL),
            _ => {}
        }
        // Most cells are small numbers and plain words.
        if !self.quoted && cell.len() <= PLAIN {
            if let Some(n) = plain_number(cell) {
                return Ok(arena.int(n));
            }
            let named = ["true", "false"].contains(&cell);
            if !named && cell.bytes().all(|b| b.is_ascii_alphabetic()) {
                return Ok(arena.text(cell));
            }
        }
        let mut reader = Reader::new(cell).with_null().within(meter.clone());
        if self.quoted && !cell.starts_with('[') {
            reader.hold_text(cell)?;
            return Ok(arena.text(cell));
        }
        stack.clear();
        let word = reader.half(arena, stack)?;
        match reader.upcoming() {
            Ok(Next::End) => Ok(word),
            // Several words are one text.
            _ => {
                reader.hold_text(cell)?;
                Ok(arena.text(cell))
            }
        }
    }
}
