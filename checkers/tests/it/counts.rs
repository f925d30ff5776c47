//! One wrong answer is one anomaly, every wrong key is named, and what is counted is said with its
//! number.

use checkers::linearizable::Registers;
use checkers::objects::Objects;
use checkers::set::GrowOnlySet;
use checkers::{Analysis, Budget, Checker, Verdict, choice::Model};
use history::{Event, History, Kind, Process, Time, Value};

/// Operations one after the other: f, key, value. A read's value is its answer.
fn run(ops: &[(&str, i64, i64)]) -> Analysis {
    let mut events = Vec::new();
    for (at, (f, key, value)) in (0..).zip(ops) {
        let asked = match *f {
            "read" => Value::pair(*key, Value::Nil),
            _ => Value::pair(*key, *value),
        };
        for (index, kind, value) in [
            (2 * at, Kind::Invoke, asked),
            (2 * at + 1, Kind::Ok, Value::pair(*key, *value)),
        ] {
            events.push(Event {
                index,
                time: Time(10 * index),
                process: Process::Client(0),
                kind,
                f: (*f).into(),
                value,
                error: None,
                node: None,
                version: None,
                due: None,
            });
        }
    }
    let history = History::new(events).unwrap();
    Registers::keyed().check(&history, &Budget::default())
}

fn figure<'a>(found: &'a Analysis, name: &str) -> Option<&'a serde_json::Value> {
    let figure = found.figures.iter().find(|f| f.name == name)?;
    Some(&figure.value)
}

#[test]
fn one_stale_read_is_one_anomaly_however_much_was_written_since() {
    let mut ops: Vec<(&str, i64, i64)> = (1..=20).map(|value| ("write", 0, value)).collect();
    ops.push(("read", 0, 1));
    ops.push(("read", 0, 20));
    let found = run(&ops);
    assert_eq!(found.verdict, Verdict::Invalid);
    assert_eq!((found.anomalies.len(), found.found()), (1, 1), "{found:?}");
    assert_eq!(found.anomalies[0].kind, "stale read");
    assert!(found.anomalies[0].ops.contains(&40), "{found:?}");
    assert_eq!(
        found.summary,
        "22 operations on 1 key; key 0 is wrong (by zones); 1 anomaly: stale read"
    );
}

/// What was stale does not make what came after it wrong, and each stale read counts, of one value
/// or of many.
#[test]
fn every_stale_read_counts_once() {
    let ops = [
        ("write", 0, 1),
        ("write", 0, 2),
        ("read", 0, 1),
        ("read", 0, 2),
        ("read", 0, 1),
        ("write", 0, 3),
        ("read", 0, 1),
        ("read", 0, 2),
        ("read", 0, 3),
    ];
    let found = run(&ops);
    let wrong: Vec<u64> = found
        .anomalies
        .iter()
        .map(|a| *a.ops.iter().max().unwrap())
        .collect();
    assert_eq!(wrong, [4, 8, 12, 14], "{found:?}");
    assert_eq!(found.found(), 4);
    assert!(found.anomalies.iter().all(|a| a.kind == "stale read"));
}

#[test]
fn a_value_that_nobody_wrote_and_one_from_the_future_count_by_read() {
    let found = run(&[
        ("write", 0, 1),
        ("read", 0, 9),
        ("read", 0, 9),
        ("read", 0, 5),
        ("read", 0, 5),
        ("write", 0, 5),
        ("read", 0, 5),
    ]);
    let kinds: Vec<&str> = found.anomalies.iter().map(|a| a.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "value from nowhere",
            "value from nowhere",
            "future read",
            "future read"
        ],
        "{found:?}"
    );
}

#[test]
fn all_wrong_keys_are_named_earliest_first() {
    let mut ops = Vec::new();
    for key in [7, 3, 9] {
        ops.extend((1..=12).map(|value| ("write", key, value)));
    }
    // The later keys' first.
    for key in [9, 3, 7] {
        ops.push(("read", key, 1));
    }
    ops.push(("write", 8, 1));
    let found = run(&ops);
    assert_eq!(
        found.summary,
        "40 operations on 4 keys; 3 keys are wrong: 9, 3 and 7 (by zones); 3 anomalies, the first: stale read"
    );
    let keys: Vec<&str> = found
        .anomalies
        .iter()
        .filter_map(|a| a.object.as_deref())
        .collect();
    assert_eq!(keys, ["9", "3", "7"]);
    assert_eq!(
        figure(&found, "wrong keys"),
        Some(&serde_json::json!(["9", "3", "7"]))
    );
}

/// Of more than can be shown, each wrong key is shown before a second of any, and the rest is
/// counted.
#[test]
fn what_is_not_shown_is_counted() {
    let mut ops = Vec::new();
    for key in 0..12 {
        ops.extend([("write", key, 1), ("write", key, 2)]);
    }
    ops.extend([("read", 0, 1); 30]);
    ops.extend((1..12).map(|key| ("read", key, 1)));
    let found = run(&ops);
    assert_eq!(
        (found.anomalies.len(), found.found()),
        (16, 41),
        "{}",
        found.summary
    );
    for key in 0..12 {
        let name = key.to_string();
        assert!(
            found
                .anomalies
                .iter()
                .any(|a| a.object.as_ref() == Some(&name)),
            "{key}"
        );
    }
    assert!(
        found.summary.contains(
            "12 keys are wrong: 0, 1, 2, 3, 4, 5, 6, 7 and 4 more (by zones); 41 anomalies, the first: stale read"
        ),
        "{}",
        found.summary
    );
    assert_eq!(
        figure(&found, "wrong keys")
            .and_then(|keys| keys.as_array())
            .map(Vec::len),
        Some(12)
    );
}

/// The engine is named; why another key took a search says nothing of the key that is wrong.
#[test]
fn the_parenthesis_names_engines_and_no_reasons() {
    let found = run(&[
        ("write", 1, 5),
        ("write", 1, 5),
        ("write", 2, 1),
        ("write", 2, 2),
        ("read", 2, 1),
    ]);
    assert_eq!(
        found.summary,
        "5 operations on 2 keys; key 2 is wrong (1 by zones, 1 by frontier); 1 anomaly: stale read"
    );
}

/// Nought, one and two of what is counted.
#[test]
fn sentences_have_their_number() {
    let one = |f, key, value| run(&[(f, key, value)]).summary;
    assert_eq!(
        one("write", 0, 1),
        "1 operation on 1 key has an order that explains every answer (by zones)"
    );
    assert_eq!(
        run(&[("write", 0, 1), ("write", 1, 1)]).summary,
        "2 operations on 2 keys have an order that explains every answer (by zones)"
    );
    let drawn = |text: &str| checkers::drawing::history(text).unwrap();
    let queue = Objects::single(Model::Queue);
    for (text, said) in [
        (
            "P0  |-enqueue 1-|",
            "1 operation has an order that explains every answer (by spans of values)",
        ),
        (
            "P0  |-enqueue 1-| |-enqueue 2-| |-dequeue 2-| |-dequeue 1-|",
            "4 operations: no order explains them (by spans of values); 1 anomaly: order inverted",
        ),
    ] {
        assert_eq!(queue.check(&drawn(text), &Budget::default()).summary, said);
    }
    let set = drawn("P0  |-add 1-| |-read []-|");
    let found = GrowOnlySet.check(&set, &Budget::default());
    assert_eq!(
        found.summary,
        "1 add (1 acknowledged) and 1 read: 1 element is lost; 1 anomaly: lost element"
    );
}
