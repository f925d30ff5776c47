//! Small histories, drawn by hand: for tests and examples.
//!
//! ```
//! let history = checkers::drawing::history("
//!     P0  |--write 1--|  |--cas 1 2--|
//!     P1       |--read 1-----------|     |-read 2-|
//!     P2   |--write 3--?   // nobody knows
//!     P3   |--write 4--!   // it did not happen
//! ").unwrap();
//! assert_eq!(history.ops().len(), 6);
//! ```
//!
//! The column of a bar is the time of the event; `|` ends what is ok, `?` what is unknown, `!` what
//! failed. Two bars in one column are at the same time. Values are written as reports print them:
//! integers, `nil`, `true`, words, lists in brackets, maps in braces. Two values after the name
//! make a pair. What a `read` shows is its answer, and so is what else only answers (`dequeue`,
//! `pop`, `delete-min`, `drain`, `acquire`, `renew`, `generate`) and what an `r` shows inside a
//! `txn`; the question holds nil in its place. An answer after `->` is another than the question:
//! `add 3 -> true`. A key is written before the name, and wraps the values: `3:read 7` is invoked
//! with `[3 nil]` and answered with `[3 7]`.

use history::{Event, History, Kind, Process, Time, Value};
use thiserror::Error;

/// A drawing that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line} of the drawing: {reason}")]
pub struct Misdrawn {
    pub line: usize,
    pub reason: String,
}

/// Reads a drawing.
///
/// # Errors
/// The line that is not as described above.
pub fn history(drawing: &str) -> Result<History, Misdrawn> {
    let mut events: Vec<Event> = Vec::new();
    for (number, line) in drawing.lines().enumerate() {
        let fail = |reason: &str| Misdrawn {
            line: number + 1,
            reason: reason.to_string(),
        };
        let line = line.split("//").next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        let name = line.trim_start().split(' ').next().unwrap_or_default();
        let process = name
            .strip_prefix('P')
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| fail("it begins with a process: P0, P1, ..."))?;
        let mut at = line.find(name).unwrap_or_default() + name.len();
        while let Some(from) = line[at..].find('|').map(|i| at + i) {
            let until = line[from + 1..]
                .find(['|', '?', '!'])
                .map(|i| from + 1 + i)
                .ok_or_else(|| fail("an operation does not end"))?;
            let op = line[from + 1..until].trim_matches(['-', ' ']);
            let (f, asked, answered) = operation(op).map_err(|e| fail(&e))?;
            let (kind, value) = match &line[until..=until] {
                "|" => (Kind::Ok, answered),
                "!" => (Kind::Fail, asked.clone()),
                _ => (Kind::Info, asked.clone()),
            };
            for (time, kind, value) in [(from, Kind::Invoke, asked), (until, kind, value)] {
                events.push(Event {
                    index: 0,
                    time: Time(time as u64),
                    process: Process::Client(process),
                    kind,
                    f: f.into(),
                    value,
                    error: None,
                    node: None,
                    version: None,
                    due: None,
                });
            }
            at = until + 1;
        }
    }
    events.sort_by_key(|e| (e.time, e.kind != Kind::Invoke));
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index as u64;
    }
    History::new(events).map_err(|e| Misdrawn {
        line: 0,
        reason: e.to_string(),
    })
}

/// Name, question and answer.
fn operation(text: &str) -> Result<(&str, Value, Value), String> {
    let (key, text) = match text.split_once(':') {
        Some((key, rest)) => (Some(value(key)?), rest),
        None => (None, text),
    };
    let (text, told) = match text.split_once("->") {
        Some((asked, told)) => (asked.trim_end(), Some(told)),
        None => (text, None),
    };
    let (f, rest) = text.split_once(' ').unwrap_or((text, "nil"));
    let Value::List(mut values) = value(&format!("[{rest}]"))? else {
        unreachable!("brackets make a list");
    };
    let mut answer = match values.len() {
        1 => values.remove(0),
        _ => Value::List(values),
    };
    let mut question = match f {
        "read" | "dequeue" | "pop" | "delete-min" | "drain" | "acquire" | "renew" | "generate" => {
            Value::Nil
        }
        "txn" => questions(&answer),
        _ => answer.clone(),
    };
    if let Some(told) = told {
        answer = value(told)?;
    }
    if let Some(key) = key {
        question = Value::pair(key.clone(), question);
        answer = Value::pair(key, answer);
    }
    Ok((f, question, answer))
}

/// The reads of a transaction without their answers.
fn questions(mops: &Value) -> Value {
    let mops = mops.as_list().unwrap_or_default().iter();
    let ask = |mop: &Value| match mop.as_list() {
        Some([f, key, _]) if f.as_text() == Some("r") => {
            Value::List(vec![f.clone(), key.clone(), Value::Nil])
        }
        _ => mop.clone(),
    };
    Value::List(mops.map(ask).collect())
}

/// A value as reports print it.
fn value(text: &str) -> Result<Value, String> {
    let spaced = ["[", "]", "{", "}", ","]
        .iter()
        .fold(text.to_string(), |text, c| {
            text.replace(c, &format!(" {} ", c.replace(',', "")))
        });
    let mut open: Vec<(&str, Vec<Value>)> = vec![("", Vec::new())];
    for word in spaced.split_whitespace() {
        let atom = match word {
            "[" | "{" => {
                open.push((word, Vec::new()));
                continue;
            }
            "]" | "}" => match (open.pop(), word) {
                (Some(("[", items)), "]") => Value::List(items),
                (Some(("{", items)), "}") if items.len() % 2 == 0 => Value::Map(
                    items
                        .chunks(2)
                        .map(|e| (e[0].clone(), e[1].clone()))
                        .collect(),
                ),
                _ => return Err(format!("brackets do not match in {text:?}")),
            },
            "nil" => Value::Nil,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            word => match word.parse() {
                Ok(n) => Value::Int(n),
                Err(_) => Value::text(word),
            },
        };
        match open.last_mut() {
            Some((_, items)) => items.push(atom),
            None => return Err(format!("brackets do not match in {text:?}")),
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some((_, mut items)), true) if items.len() == 1 => Ok(items.remove(0)),
        _ => Err(format!("{text:?} is not one value")),
    }
}

#[cfg(test)]
mod tests {
    use history::Outcome;

    use super::*;

    #[test]
    fn columns_are_times_and_bars_are_outcomes() {
        let drawn = history(
            "
            P0  |--3:cas 1 2--|   |-read [1 2]-|
            P1  |--write -1--?
            P2     |--write x--!
            P3  |-txn [[append 1 2] [r 1 [2]]]-|
            ",
        )
        .unwrap();
        let [cas, write, txn, failed, read] = drawn.ops() else {
            panic!("five operations: {drawn:?}");
        };
        assert_eq!(cas.input.to_string(), "[3 [1 2]]");
        assert_eq!((cas.call, write.call), (Time(16), Time(16)));
        assert_eq!(cas.ret, Time(30));
        assert_eq!(
            (write.outcome, &write.input),
            (Outcome::Info, &Value::Int(-1))
        );
        assert_eq!(
            (failed.outcome, &failed.input),
            (Outcome::Fail, &Value::text("x"))
        );
        assert_eq!(
            (&read.input, read.output.to_string()),
            (&Value::Nil, "[1 2]".to_string())
        );
        assert_eq!(txn.input.to_string(), "[[\"append\" 1 2] [\"r\" 1 nil]]");
        assert_eq!(txn.output.to_string(), "[[\"append\" 1 2] [\"r\" 1 [2]]]");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (drawing, reason) in [
            ("Q |-read 1-|", "it begins with a process: P0, P1, ..."),
            ("P0 |-read 1", "an operation does not end"),
            ("P0 |-read [1-|", "brackets do not match in \"[[1]\""),
        ] {
            let error = history(drawing).unwrap_err();
            assert_eq!(error.line, 1);
            assert!(
                error.reason == reason || error.reason.contains("is not one value"),
                "{error}"
            );
        }
    }
}
