//! Texts that grow.

use checkers::linearizable::Texts;
use checkers::{Budget, Checker, Verdict, drawing};
use history::{Event, History, Kind, Process, Time, Value};

use crate::subjects;

#[test]
fn agrees_with_brute_force() {
    subjects::run("kv", 1_000).has_at_least(100, &[Verdict::Valid, Verdict::Invalid]);
}

/// Fifty clients that append and read at once, as Porcupine's tests of a key-value store do, and
/// one read that misses what another had seen: no search comes to an end with such, and four
/// operations tell it.
#[test]
fn many_clients_are_told_apart_by_their_pieces() {
    let clients = 50;
    let mut events = Vec::new();
    let mut push = |process: usize, kind, f: &str, text: &str| {
        events.push(Event {
            index: events.len() as u64,
            time: Time(events.len() as u64),
            process: Process::Client(process as u64),
            kind,
            f: f.into(),
            value: match (kind, f) {
                (Kind::Invoke, "get") => Value::Nil,
                _ => Value::text(text),
            },
            error: None,
            node: None,
            version: None,
            due: None,
        });
    };
    let mut text = String::new();
    let mut before = String::new();
    for round in 0..20 {
        let piece = |client: usize| format!("x {client} {round} y");
        (0..clients).for_each(|c| push(c, Kind::Invoke, "append", &piece(c)));
        (0..clients).for_each(|c| text += &piece(c));
        (0..clients).for_each(|c| push(c, Kind::Ok, "append", &piece(c)));
        (0..clients).for_each(|c| push(c, Kind::Invoke, "get", ""));
        for client in 0..clients {
            let stale = round == 15 && client == 7;
            push(client, Kind::Ok, "get", if stale { &before } else { &text });
        }
        before.clone_from(&text);
    }
    let history = History::new(events).unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Invalid);
    // The read, and an append that had returned before.
    assert_eq!(found.anomalies[0].ops.len(), 2, "{:?}", found.anomalies);
    assert!(!found.anomalies[0].reason.contains("could be shorter"));
}

#[test]
fn what_is_wrong_is_said() {
    let history = drawing::history("P0 |-put 1-|").unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Unknown);
    let why = "operation 0 cannot be read: 1 is no text";
    assert!(found.summary.ends_with(why), "{}", found.summary);
    // A read that is no text hides no other's answer.
    let history = drawing::history("P0 |-put a-| |-get b-| |-get 1-|").unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    // Whose only question was lost has asked nothing.
    let history = drawing::history("P0 |-get nil-?").unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Vacuous);
}

#[test]
fn nothing_is_what_a_text_is_at_the_start() {
    let verdict = |texts: Texts, drawn: &str| {
        let history = drawing::history(drawn).unwrap();
        texts.check(&history, &Budget::default()).verdict
    };
    let drawn = "P0 |-read nil-| |-append b-| |-read b-|";
    assert_eq!(verdict(Texts::single(), drawn), Verdict::Valid);
    // It is known to have begun as something.
    let begun = Texts::single().with_initial("a".into());
    assert_eq!(
        verdict(begun.clone(), "P0 |-read nil-| |-append b-| |-read ab-|"),
        Verdict::Unknown
    );
    assert_eq!(verdict(begun, drawn), Verdict::Invalid);
    let drawn = "P0 |-append b-| |-read nil-|";
    assert_eq!(verdict(Texts::single(), drawn), Verdict::Invalid);
}
