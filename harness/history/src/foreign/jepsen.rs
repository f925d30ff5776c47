//! Histories as Jepsen, Knossos and Elle keep them: events as maps of EDN, or objects of JSON.
//!
//! Both are read by one reader, whose entries may stand in any order.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use super::events::{Events, Told, Who};
use super::{kind_of, wrong};
use crate::edn::{self, Next, Reader, Wrong};
use crate::jsonl::{Loaded, ReadError, Torn};
use crate::word::Word;
use crate::{History, Kind, Process, Value};

/// Reads events one after another, or in one list or vector around all of them.
pub fn read(text: &str, json: bool, mut events: Events) -> Result<Loaded, ReadError> {
    let reader = match json {
        true => Reader::json(text),
        false => Reader::new(text),
    };
    let mut reader = reader.within(events.left());
    // One vector or list around all events, which is closed by its own kind of bracket.
    let mut around = None;
    let mut torn = None;
    let mut stack = Vec::new();
    loop {
        let next = reader.upcoming().map_err(|w| events.wrong(text, 0, w))?;
        let start = reader.at();
        match (next, around) {
            (Next::Form, _) => match event(&mut reader, &mut events, &mut stack) {
                Ok(()) => {
                    if events.grew() {
                        reader.goes_on_within(events.left());
                    }
                }
                // Only the writer's death leaves a last event that is not whole.
                Err(Bad::Form(w)) if w.torn && w.exhausted.is_none() => {
                    torn = Some(cut(text, start));
                    break;
                }
                Err(Bad::Form(w)) => return Err(events.wrong(text, 0, w)),
                Err(Bad::Event(why)) => return Err(wrong(text, start, why)),
                Err(Bad::Events(e)) => return Err(e),
            },
            (Next::Open(open), None) if events.len() == 0 => {
                around = Some(if open == b'[' { b']' } else { b')' });
                reader.bracket();
            }
            (Next::Open(_), _) => {
                return Err(wrong(text, start, "expected an event, {:process ...}"));
            }
            (Next::Close(close), Some(end)) if close == end => {
                reader.bracket();
                // Nothing may follow.
                let next = reader.upcoming().map_err(|w| events.wrong(text, 0, w))?;
                if next != Next::End {
                    return Err(wrong(
                        text,
                        reader.at(),
                        "expected nothing after the history",
                    ));
                }
                break;
            }
            (Next::Close(close), _) => {
                let reason = format!("{} closes nothing", char::from(close));
                return Err(wrong(text, start, reason));
            }
            // What is around the events was cut off with the rest.
            (Next::End, Some(_)) => {
                torn = Some(cut(text, text.len()));
                break;
            }
            (Next::End, None) => break,
        }
    }
    events.history(torn, |place| {
        Reader::line_and_column(text, place as usize).0
    })
}

/// What begins at `start` is not whole.
fn cut(text: &str, start: usize) -> Torn {
    Torn {
        line: Reader::line_and_column(text, start).0,
        bytes: (text.len() - start) as u64,
    }
}

/// Why an event cannot be read.
enum Bad {
    Form(Wrong),
    Event(String),
    Events(ReadError),
}

impl From<Wrong> for Bad {
    fn from(w: Wrong) -> Bad {
        Bad::Form(w)
    }
}

/// What an event's entries say.
struct Entries<'a> {
    kind: Option<Cow<'a, str>>,
    process: Option<Cow<'a, str>>,
    number: Option<u64>,
    time: Option<u64>,
    f: Option<Cow<'a, str>>,
    value: Word,
    key: Option<Word>,
    error: Option<Cow<'a, str>>,
    node: Option<Cow<'a, str>>,
    version: Option<Word>,
    due: Option<u64>,
}

fn event(reader: &mut Reader, events: &mut Events, stack: &mut Vec<Word>) -> Result<(), Bad> {
    reader.tags()?;
    let start = reader.at();
    if !reader.eat(b'{')? {
        let other = reader.value()?;
        let why = format!("expected an event, {{:process ...}}, not {other}");
        return Err(Bad::Event(why));
    }
    let mut entries = Entries {
        kind: None,
        process: None,
        number: None,
        time: None,
        f: None,
        value: Word::NIL,
        key: None,
        error: None,
        node: None,
        version: None,
        due: None,
    };
    stack.clear();
    while !reader.eat(b'}')? {
        entry(reader, events, stack, &mut entries).map_err(|bad| match bad {
            // The end of the text within an event is the end of a whole event that is missing.
            Bad::Form(w) if w.torn && w.exhausted.is_none() => Bad::Form(Wrong { at: start, ..w }),
            bad => bad,
        })?;
    }
    let Some(kind) = &entries.kind else {
        let why = "expected a :type: :invoke, :ok, :fail or :info";
        return Err(Bad::Event(why.into()));
    };
    let Some(kind) = kind_of(kind.strip_prefix(':').unwrap_or(kind)) else {
        let why = format!("{kind:?} is not :invoke, :ok, :fail or :info");
        return Err(Bad::Event(why));
    };
    let value = match entries.key {
        None => entries.value,
        Some(key) => {
            let arena = &mut events.chunk.arena;
            let pair = arena.list(&[key, entries.value]);
            if arena.get(pair).to_value().is_too_deep() {
                let why = format!(
                    "with its :key its :value is nested more than {} deep",
                    edn::DEEPEST
                );
                return Err(Bad::Event(why));
            }
            pair
        }
    };
    let who = match (entries.number, &entries.process) {
        (Some(number), _) => Who::Number(number),
        (None, Some(process)) => Who::of(process),
        (None, None) => Who::Nobody,
    };
    let told = Told {
        time: entries.time,
        who,
        kind,
        f: entries.f.as_deref().unwrap_or("txn"),
        value,
        error: entries.error.as_deref(),
        node: entries.node.as_deref(),
        version: entries.version,
        due: entries.due,
    };
    events.tell(&told, start as u64).map_err(Bad::Events)
}

#[inline]
fn entry<'a>(
    reader: &mut Reader<'a>,
    events: &mut Events,
    stack: &mut Vec<Word>,
    entries: &mut Entries<'a>,
) -> Result<(), Bad> {
    let key = reader.text()?;
    let arena = &mut events.chunk.arena;
    match key.as_deref().unwrap_or_default() {
        "type" => entries.kind = reader.text()?,
        "process" => {
            let number = reader.small_integer()?;
            entries.number = number.and_then(|n| u64::try_from(n).ok());
            entries.process = match number {
                None => reader.text()?,
                Some(n) => entries.number.is_none().then(|| n.to_string().into()),
            };
        }
        "time" => match reader.small_integer()? {
            // What is no number from 0 tells no time; the place does.
            Some(n) => entries.time = u64::try_from(n).ok(),
            None => reader.pass()?,
        },
        "due" => match reader.small_integer()? {
            Some(n) => entries.due = u64::try_from(n).ok(),
            None => reader.pass()?,
        },
        "f" => entries.f = reader.text()?,
        "value" => entries.value = reader.word(arena, stack)?,
        "key" => entries.key = Some(reader.half(arena, stack)?).filter(|key| *key != Word::NIL),
        "version" => {
            entries.version = Some(reader.word(arena, stack)?).filter(|v| *v != Word::NIL);
        }
        "error" => entries.error = reader.text()?,
        "node" => entries.node = reader.text()?,
        // Of what nobody reads, anything may be said.
        _ => {
            if reader.small_integer()?.is_none() {
                reader.pass()?;
            }
        }
    }
    Ok(())
}

/// The first completion and the first invocation after it by somebody else that have the same time.
fn told_by_place(history: &History) -> Option<(u64, u64)> {
    let mut at = None;
    // Whoever completed at this time, first of all and first of the others.
    let mut completed: Vec<(Process, u64)> = Vec::new();
    for row in history.columns().rows() {
        let process = row.process();
        if process == Process::Nemesis {
            continue;
        }
        if at != Some(row.time()) {
            at = Some(row.time());
            completed.clear();
        }
        let index = u64::from(row.index());
        match row.kind() {
            Kind::Invoke => {
                let other = completed.iter().find(|(by, _)| *by != process);
                if let Some((_, before)) = other {
                    return Some((*before, index));
                }
            }
            Kind::Ok | Kind::Fail if completed.len() < 2 => {
                if completed.iter().all(|(by, _)| *by != process) {
                    completed.push((process, index));
                }
            }
            Kind::Ok | Kind::Fail | Kind::Info => {}
        }
    }
    None
}

/// Writes a history as Jepsen's `history.edn`: one event a line.
///
/// # Errors
/// If operations overlap because their stamps are equal, and no order of the events says so: there,
/// the place is the order, and the file would tell one that nobody told.
pub fn write_edn(history: &History, to: &mut impl Write) -> io::Result<()> {
    if let Some((before, after)) = told_by_place(history) {
        return Err(io::Error::other(format!(
            "ops {before} and {after} overlap, for their times are equal, and EDN would have one before the \
             other, for there the place is the order: write jsonl"
        )));
    }
    let keyword = |kind: Kind| match kind {
        Kind::Invoke => "invoke",
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info => "info",
    };
    let mut line = String::new();
    for event in history
        .columns()
        .rows()
        .map(|row| history.columns().event(row))
    {
        line.clear();
        let process = match event.process {
            Process::Client(n) => n.to_string(),
            Process::Nemesis => ":nemesis".to_string(),
        };
        let _ = write!(line, "{{:type :{}, :f ", keyword(event.kind));
        edn::write_name(&event.f, &mut line);
        line.push_str(", :value ");
        let functions: &[&str] = if event.f == "txn" {
            &["append", "r", "w"]
        } else {
            &[]
        };
        edn::write(&event.value, functions, &mut line);
        let _ = write!(
            line,
            ", :process {process}, :time {}, :index {}",
            event.time.0, event.index
        );
        for (key, text) in [
            (":error", event.error.map(Value::text)),
            (":node", event.node.map(Value::Text)),
            (":version", event.version),
        ] {
            if let Some(value) = text {
                let _ = write!(line, ", {key} ");
                edn::write(&value, &[], &mut line);
            }
        }
        if let Some(due) = event.due {
            let _ = write!(line, ", :due {}", due.0);
        }
        line.push_str("}\n");
        to.write_all(line.as_bytes())?;
    }
    Ok(())
}
