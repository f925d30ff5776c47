//! Transactions by session, of which nothing is known but their order within it: what checkers of
//! isolation read.
//!
//! ```text
//! w(1,5,0,3)                                        PolySI and IsoVista: key, value, session, transaction
//! r(1,5,2,7)
//! [[{"events":[{"Write":{"variable":1,"version":5}}],"committed":true}], ...]                        dbcop
//! {"params":{...},"data":[[{"events":[{"write":true,"variable":1,"value":5}],"success":true}], ...]}   before
//! ```
//!
//! Transactions of different sessions overlap, since no time is told: all have the same. What was
//! never written begins as 0, and a read of it is a read of nothing.

use std::collections::HashSet;

use super::events::{Events, Told, Who};
use super::wrong;
use crate::edn::Reader;
use crate::jsonl::{Loaded, ReadError};
use crate::wording::counted;
use crate::{Kind, Value};

/// One transaction of a session.
struct Txn {
    session: Value,
    micros: Vec<Value>,
    kind: Kind,
    /// Where it stands in the text.
    place: usize,
}

/// Whether a line is one of PolySI.
pub fn is_line(line: &str) -> bool {
    parts(line).is_some()
}

/// The function and what stands within the parentheses.
fn parts(line: &str) -> Option<(&'static str, [&str; 4])> {
    let line = line.trim();
    let f = match line.get(..2)? {
        "r(" => "r",
        "w(" => "w",
        _ => return None,
    };
    let mut within = line[2..].strip_suffix(')')?.split(',').map(str::trim);
    let mut next = || within.next().filter(|part| !part.is_empty());
    let all = [next()?, next()?, next()?, next()?];
    within.next().is_none().then_some((f, all))
}

pub fn read_lines(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut txns: Vec<Txn> = Vec::new();
    let mut numbers = std::collections::HashMap::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let place = start;
        start += line.len();
        if line.trim().is_empty() {
            continue;
        }
        let Some((f, [key, value, session, txn])) = parts(line) else {
            let reason = "expected r(key,value,session,transaction) or w(...)";
            return Err(wrong(text, place, reason));
        };
        events.hold(400 * txns.len() as u64 + 4 * start as u64)?;
        let at = *numbers.entry((session, txn)).or_insert_with(|| {
            txns.push(Txn {
                session: atom(session),
                micros: Vec::new(),
                kind: Kind::Ok,
                place,
            });
            txns.len() - 1
        });
        let micro = [Value::text(f), atom(key), atom(value)];
        txns[at].micros.push(Value::List(micro.to_vec()));
    }
    history(text, txns, events)
}

fn atom(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::text(text), Value::Int)
}

pub fn read_dbcop(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut reader = Reader::json(text).within(events.left());
    let file = reader.value().map_err(|w| events.wrong(text, 0, w))?;
    events.hold(2 * file.bytes() as u64)?;
    let bad = |why: String| wrong(text, 0, why);
    let sessions = file.get("data").unwrap_or(&file).as_list();
    let sessions =
        sessions.ok_or_else(|| bad("expected sessions: a list, or one under \"data\"".into()))?;
    let mut txns = Vec::new();
    for (n, session) in sessions.iter().enumerate() {
        let list = session.as_list();
        let list =
            list.ok_or_else(|| bad(format!("session {n}: expected a list of transactions")))?;
        for (i, txn) in list.iter().enumerate() {
            let at = |why: String| bad(format!("session {n}, transaction {i}: {why}"));
            let list = txn.get("events").and_then(Value::as_list);
            let list = list.ok_or_else(|| at("expected \"events\"".into()))?;
            let committed = ["committed", "success"]
                .iter()
                .find_map(|name| txn.get(name));
            let kind = match committed.map(Value::as_bool) {
                None | Some(Some(true)) => Kind::Ok,
                Some(Some(false)) => Kind::Fail,
                Some(None) => return Err(at("\"committed\" is not true or false".into())),
            };
            let micros: Result<Vec<Value>, String> = list
                .iter()
                .filter(|event| event.get("success").and_then(Value::as_bool) != Some(false))
                .map(|event| {
                    micro(event)
                        .ok_or_else(|| format!("{event} is not a read or write of a variable"))
                })
                .collect();
            txns.push(Txn {
                session: Value::Int(n as i64),
                micros: micros.map_err(at)?,
                kind,
                place: 0,
            });
        }
    }
    history(text, txns, events)
}

/// `{"Write":{"variable":1,"version":5}}`, or `{"write":true,"variable":1,"value":5}`.
fn micro(event: &Value) -> Option<Value> {
    let tagged = [("Write", "w"), ("Read", "r")];
    let tagged = tagged
        .iter()
        .find_map(|(tag, f)| Some((*f, event.get(tag)?)));
    let (f, of) = match tagged {
        Some(found) => found,
        None => match event.get("write")?.as_bool()? {
            true => ("w", event),
            false => ("r", event),
        },
    };
    let value = of.get("version").or_else(|| of.get("value"));
    let parts = [
        Value::text(f),
        of.get("variable")?.clone(),
        value.cloned().unwrap_or_default(),
    ];
    Some(Value::List(parts.to_vec()))
}

/// Whether a micro-operation reads 0, and of what.
fn reads_zero(micro: &Value) -> Option<&Value> {
    match micro.as_list()? {
        [f, key, Value::Int(0)] if f.as_text() == Some("r") => Some(key),
        _ => None,
    }
}

fn history(text: &str, mut txns: Vec<Txn>, mut events: Events) -> Result<Loaded, ReadError> {
    let micros = txns.iter().flat_map(|txn| &txn.micros);
    let zeros = micros.filter_map(|micro| match micro.as_list()? {
        [f, key, Value::Int(0)] if f.as_text() == Some("w") => Some(key.clone()),
        _ => None,
    });
    let written: HashSet<Value> = zeros.collect();
    let mut nothing = 0usize;
    for micro in txns.iter_mut().flat_map(|txn| &mut txn.micros) {
        let unwritten = reads_zero(micro).is_some_and(|key| !written.contains(key));
        if let (true, Value::List(parts)) = (unwritten, &mut *micro) {
            parts[2] = Value::Nil;
            nothing += 1;
        }
    }
    if nothing > 0 {
        let note = format!(
            "{} of 0, which nobody wrote there, {} of nothing",
            counted(nothing, "read"),
            match nothing {
                1 => "is a read",
                _ => "are reads",
            }
        );
        events.notes.push(note);
    }
    events.by_their_times();
    for txn in txns {
        let value = Value::List(txn.micros);
        events.hold(2 * value.bytes() as u64)?;
        let value = events.chunk.arena.value(&value);
        let session = txn.session.to_string();
        let who = match txn.session {
            Value::Int(n @ 0..) => Who::Number(n as u64),
            _ => Who::Named(session.trim_matches('"')),
        };
        for kind in [Kind::Invoke, txn.kind] {
            let told = Told {
                time: Some(0),
                who,
                kind,
                f: "txn",
                value,
                error: None,
                node: None,
                version: None,
                due: None,
            };
            events.tell(&told, txn.place as u64)?;
        }
    }
    events.history(None, |place| {
        Reader::line_and_column(text, place as usize).0
    })
}
