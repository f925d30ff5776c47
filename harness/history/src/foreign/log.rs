//! Jepsen's logs and its table of a history, one event a line.
//!
//! ```text
//! INFO  jepsen.util - 4\t:invoke\t:read\tnil                                                  long ago
//! INFO [2021-04-13 23:32:29,761] jepsen worker 0 - jepsen.util 4\t:invoke\t:read\tnil          on the console
//! 2023-02-22 17:37:12,345{GMT}\tINFO\t[jepsen worker 4] jepsen.util: 4\t:invoke\t:read\tnil   in jepsen.log
//! 4\t:invoke\t:read\tnil                                                                      in history.txt
//! ```
//!
//! A line is an event if a process, a type and a function stand in it one after another, behind the
//! name of a logger or at its beginning. Other lines are passed over.

use super::events::{Events, Told, Who};
use super::{kind_of, wrong};
use crate::edn::{Next, Reader};
use crate::jsonl::{Loaded, ReadError};
use crate::word::Word;

/// Where the parts of an event stand in its line.
struct Found<'a> {
    process: &'a str,
    kind: crate::Kind,
    /// From the end of the type.
    rest: &'a str,
}

/// The event of a line, if it is one.
fn find(line: &str) -> Option<Found<'_>> {
    let mut before: [Option<&str>; 2] = [None, None];
    for word in line.split_ascii_whitespace() {
        let [logger, process] = before;
        if let (Some(process), Some(kind)) = (process, word.strip_prefix(':').and_then(kind_of))
            && logger.is_none_or(is_logger)
            && is_process(process)
        {
            let end = word.as_ptr() as usize + word.len() - line.as_ptr() as usize;
            return Some(Found {
                process,
                kind,
                rest: &line[end..],
            });
        }
        before = [process, Some(word)];
    }
    None
}

/// `-`, or a name such as `jepsen.util:`, or what ends with the dash of one.
fn is_logger(word: &str) -> bool {
    let name = word.strip_suffix(':').unwrap_or(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-$".contains(c);
    word == "-"
        || name.contains('.') && name.starts_with(char::is_alphabetic) && name.chars().all(plain)
}

/// A number or a name; `:type` is what stands before a type in a map.
fn is_process(word: &str) -> bool {
    let begins = |c: char| c.is_alphanumeric() || ":\"-".contains(c);
    word.starts_with(begins) && word != "-" && word != ":type"
}

/// Whether a line looks like one of these.
pub fn is_event(line: &str) -> bool {
    find(line).is_some()
}

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut start = 0;
    let mut stack = Vec::new();
    // In a table every line is an event; in a log there are others.
    let (mut is_table, mut others) = (true, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        events.hold(0)?;
        let from = start;
        start += line.len();
        let Some(found) = find(line) else {
            others += u64::from(!line.trim().is_empty());
            continue;
        };
        is_table &= line.starts_with(found.process);
        let process = found.process.strip_prefix(':');
        let process = process.unwrap_or(found.process).trim_matches('"');
        let mut fields = found.rest.split_ascii_whitespace();
        let Some(f) = fields.next() else {
            let end = from + line.trim_end().len();
            return Err(wrong(text, end, "expected a function, such as :read"));
        };
        let after = f.as_ptr() as usize - text.as_ptr() as usize + f.len();
        let rest = &text[after..start];
        let mut reader = Reader::new(rest).within(events.left());
        stack.clear();
        let value = match reader.upcoming() {
            Ok(Next::End) => Word::NIL,
            _ => {
                let value = reader.word(&mut events.chunk.arena, &mut stack);
                value.map_err(|w| events.wrong(text, after, w))?
            }
        };
        // What follows the value says why it went wrong, and is not EDN.
        let error = rest[reader.at().min(rest.len())..].trim();
        let timed_out = events.chunk.arena.get(value).is_text("timed-out");
        let told = Told {
            time: None,
            who: Who::of(process),
            kind: found.kind,
            f: f.trim_start_matches(':'),
            value: if timed_out { Word::NIL } else { value },
            error: match (timed_out, error) {
                (true, _) => Some("timed-out"),
                (false, "") => None,
                (false, error) => Some(error),
            },
            node: None,
            version: None,
            due: None,
        };
        events.tell(&told, number as u64 + 1)?;
    }
    if events.len() == 0 && others > 0 {
        return Err(wrong(
            text,
            0,
            "no line of this log is an event, such as `INFO  jepsen.util - 4 :invoke :read nil`",
        ));
    }
    if is_table && others > 0 {
        let note = format!("{others} lines of the table are no events, and were passed over");
        events.notes.push(note);
    }
    events.history(None, |line| line)
}
