//! What was read goes through what is written, unchanged where the form can say it.

use history::foreign::{Format, read, write_edn};
use history::{Event, History, Process, Value, jsonl};

/// JSON has no keys but texts.
pub fn with_text_keys(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(with_text_keys).collect()),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| {
                let key = match key {
                    Value::Text(_) => key.clone(),
                    other => Value::text(other.to_string()),
                };
                (key, with_text_keys(value))
            };
            Value::Map(entries.iter().map(entry).collect())
        }
        plain => plain.clone(),
    }
}

/// The history with text keys alone; for most it is the same.
pub fn as_json_can_say(history: &History) -> Vec<Event> {
    let event = |event: &Event| Event {
        value: with_text_keys(&event.value),
        version: event.version.as_ref().map(with_text_keys),
        ..event.clone()
    };
    history.events().iter().map(event).collect()
}

/// Whether each part of a transaction is a micro-operation: what others' are called is rewritten
/// where the first transaction of a file has only such, and which is first the place says.
fn is_txn(value: &Value) -> bool {
    let mut parts = value.as_list().unwrap_or_default().iter();
    parts.all(|part| matches!(part.as_list(), Some([_, _] | [_, _, _])))
}

/// Numbers of EDN are read as 64 bits with a sign, and events in their places: of two no time is
/// the same.
fn edn_can_say(history: &History) -> bool {
    let mut txns = history.events().iter().filter(|event| event.f == "txn");
    if !txns.all(|event| is_txn(&event.value)) {
        return false;
    }
    let fits = |n: u64| i64::try_from(n).is_ok();
    let events = history.events();
    let in_places = events.windows(2).all(|pair| pair[0].time < pair[1].time);
    in_places
        && events.iter().all(|event| {
            let process = match event.process {
                Process::Client(n) => fits(n),
                Process::Nemesis => true,
            };
            fits(event.time.0) && event.due.is_none_or(|due| fits(due.0)) && process
        })
}

pub fn stored(history: &History) -> History {
    let mut stored = Vec::new();
    jsonl::write(&mut stored, history).expect("a vector takes all");
    let again = jsonl::read(&stored[..]).expect("what is written is read");
    assert_eq!(again.torn, None);
    assert_eq!(again.history.began_ns(), history.began_ns());
    again.history
}

pub fn as_edn(history: &History) -> Option<History> {
    let mut written = Vec::new();
    let told = write_edn(history, &mut written);
    if told.is_err() || !edn_can_say(history) {
        return None;
    }
    assert!(history.events().is_empty() || Format::sniff(&written) == Some(Format::Edn));
    let again = read(Format::Edn, &written[..]).expect("what is written is read");
    assert_eq!(again.torn, None);
    Some(again.history)
}

pub fn kept(history: &History) {
    assert_eq!(stored(history).events(), as_json_can_say(history));
    if let Some(again) = as_edn(history) {
        assert_eq!(again.events(), history.events());
    }
}
