//! Histories as Jepsen, Knossos and Elle keep them: events as maps of EDN.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{Events, kind_of, wrong};
use crate::edn::{self, Next, Reader};
use crate::jsonl::{Loaded, ReadError, Torn};
use crate::{Event, History, Kind, Name, Process, Time, Value};

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut reader = Reader::new(text).within(events.left());
    // One vector or list around all events, which is closed by its own kind of bracket.
    let mut around = None;
    // Lines are counted as they are passed, not anew for each event.
    let (mut line, mut counted) = (1, 0);
    let mut torn = None;
    loop {
        let next = reader.upcoming().map_err(|w| events.wrong(text, 0, w))?;
        let start = reader.at();
        line += text.as_bytes()[counted..start]
            .iter()
            .filter(|b| **b == b'\n')
            .count() as u64;
        counted = start;
        match (next, around) {
            (Next::Form, _) => match reader.value() {
                Ok(value) => {
                    let index = events.len() as u64;
                    let event = event(index, value).map_err(|e| wrong(text, start, e))?;
                    events.push(event, line)?;
                    reader = reader.within(events.left());
                }
                // Only the writer's death leaves a last event that is not whole.
                Err(w) if w.torn && around.is_none() => {
                    let bytes = (text.len() - start) as u64;
                    torn = Some(Torn { line, bytes });
                    break;
                }
                Err(w) => return Err(events.wrong(text, 0, w)),
            },
            (Next::Open(open), None) if events.len() == 0 => {
                around = Some((if open == b'[' { b']' } else { b')' }, start));
                reader.bracket();
            }
            (Next::Open(_), _) => {
                return Err(wrong(text, start, "expected an event, {:process ...}"));
            }
            (Next::Close(close), Some((end, _))) if close == end => {
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
            (Next::End, Some((_, start))) => {
                return Err(wrong(text, start, "this is never closed"));
            }
            (Next::End, None) => break,
        }
    }
    events.history(torn)
}

fn event(index: u64, mut value: Value) -> Result<Event, String> {
    let Value::Map(entries) = &mut value else {
        return Err(format!("expected an event, {{:process ...}}, not {value}"));
    };
    // It may be large, so it is moved and not copied.
    let mut entries = entries.iter_mut();
    let content = entries.find(|(key, _)| key.as_text() == Some("value"));
    let content = content.map(|(_, content)| std::mem::take(content));
    let of = |key: &str| value.get(key).filter(|v| !v.is_nil());
    let kind = match of("type") {
        Some(kind) => kind_of(kind.as_text().unwrap_or_default())
            .ok_or_else(|| format!("{kind} is not :invoke, :ok, :fail or :info"))?,
        None => return Err("expected a :type: :invoke, :ok, :fail or :info".into()),
    };
    let process = match of("process") {
        None => Process::Client(0),
        Some(Value::Int(n)) => match u64::try_from(*n) {
            Ok(n) => Process::Client(n),
            Err(_) => return Err(format!("{n} is not a process: a number from 0, or a name")),
        },
        Some(_) => Process::Nemesis,
    };
    let time = match of("time") {
        None => index,
        Some(Value::Int(n)) if *n >= 0 => *n as u64,
        Some(other) => return Err(format!("{other} is not a time: nanoseconds from 0")),
    };
    let due = match of("due") {
        None => None,
        Some(Value::Int(n)) if *n >= 0 => Some(Time(*n as u64)),
        Some(other) => return Err(format!("{other} is not a time: nanoseconds from 0")),
    };
    let name = |v: &Value| match v {
        Value::Text(name) => name.clone(),
        other => Name::from(other.to_string()),
    };
    let content = content.unwrap_or_default();
    Ok(Event {
        index,
        time: Time(time),
        process,
        kind,
        f: of("f").map_or("txn".into(), name),
        value: match of("key") {
            None => content,
            Some(key) => Value::pair(key.clone(), content),
        },
        error: of("error").map(|e| name(e).to_string()),
        node: of("node").map(name),
        version: of("version").cloned(),
        due,
    })
}

/// Writes a history as Jepsen's `history.edn`: one event a line.
pub fn write_edn(history: &History, to: &mut impl Write) -> io::Result<()> {
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
