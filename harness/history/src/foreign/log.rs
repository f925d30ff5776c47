//! Jepsen's log, one event a line: `INFO  jepsen.util - 4 :invoke :read nil`.

use super::{Events, kind_of, wrong};
use crate::edn::{Next, Reader};
use crate::jsonl::{Loaded, ReadError};
use crate::{Event, Process, Time, Value};

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        events.hold(0)?;
        let from = start;
        start += line.len();
        // Log lines of other kinds are passed over.
        let Some(at) = line.find(" - ") else { continue };
        let fields = &line[at + 3..];
        let mut words = fields.split_whitespace();
        let (Some(process), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        let Some(kind) = kind.strip_prefix(':').and_then(kind_of) else {
            continue;
        };
        let bad = |w: &str, reason: &str| {
            let at = w.as_ptr() as usize - text.as_ptr() as usize;
            wrong(text, at, reason)
        };
        let process_number = match process.parse() {
            Ok(n) => Process::Client(n),
            Err(_) if process.starts_with(':') => Process::Nemesis,
            Err(_) => return Err(bad(process, "expected a process: a number or :nemesis")),
        };
        let Some(f) = words.next() else {
            return Err(wrong(
                text,
                from + line.trim_end().len(),
                "expected a function, such as :read",
            ));
        };
        let after = f.as_ptr() as usize - text.as_ptr() as usize + f.len();
        let rest = &text[after..start];
        let mut reader = Reader::new(rest).within(events.left());
        let value = match reader.upcoming() {
            Ok(Next::End) => Value::Nil,
            _ => reader.value().map_err(|w| events.wrong(text, after, w))?,
        };
        let timed_out = value.as_text() == Some("timed-out");
        let index = events.len() as u64;
        let event = Event {
            index,
            time: Time(index),
            process: process_number,
            kind,
            f: f.trim_start_matches(':').into(),
            value: if timed_out { Value::Nil } else { value },
            error: timed_out.then(|| "timed-out".to_string()),
            node: None,
            version: None,
            due: None,
        };
        events.push(event, number as u64 + 1)?;
    }
    events.history(None)
}
