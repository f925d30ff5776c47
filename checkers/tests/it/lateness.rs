//! Faults that lasted longer than they were to, and verdicts that depend on it.

use checkers::lateness::{Depends, LengthBound};
use checkers::linearizable::Registers;
use checkers::{Analysis, Budget, Checker, Verdict, drawing};
use history::fault::{Action, Note, Receipt};
use history::{Event, History, Kind, Process, Time, Value};

/// One second each, from 0: a write that is lost, and a read that does not see it, with a fault
/// from 1 s to `healed` that was to last until `due`.
fn history(lost_at: u64, healed: u64, due: u64) -> History {
    let drawn = "P0 |write 1| |read nil|";
    let mut events = drawing::history(drawn).unwrap().events().to_vec();
    for (event, at) in events.iter_mut().zip([0, 500, lost_at, lost_at + 500]) {
        event.time = Time(at * 1_000_000);
    }
    let note = |action| Note {
        fault: 0,
        action,
        label: "n1 n2 n3 | n4 n5".into(),
        targets: vec!["n1".into()],
        loss: Default::default(),
        receipt: Some(Receipt {
            held: true,
            evidence: vec![],
            ..Receipt::default()
        }),
        in_force_ns: None,
    };
    let second = 1_000;
    for (at, kind, action, due) in [
        (second, Kind::Invoke, Action::Inject, Some(second)),
        (second, Kind::Ok, Action::Inject, None),
        (healed, Kind::Invoke, Action::Heal, Some(due)),
        (healed, Kind::Ok, Action::Heal, None),
    ] {
        events.push(Event {
            index: 0,
            time: Time(at * 1_000_000),
            process: Process::Nemesis,
            kind,
            f: "partition".into(),
            value: Value::from_serde(&note(action)).unwrap(),
            error: None,
            node: None,
            version: None,
            due: due.map(|due| Time(due * 1_000_000)),
        });
    }
    events.sort_by_key(|event| event.time);
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index as u64;
    }
    History::new(events).unwrap()
}

fn judged(depends: Depends, history: &History) -> Analysis {
    let checker = LengthBound {
        inner: Box::new(Registers::single()),
        depends,
    };
    checker.check(history, &Budget::default())
}

#[test]
fn what_a_partition_did_that_lasted_too_long_is_unknown_with_the_reason() {
    // Meant for 5 s, healed after 20: the read is wrong after 21 s.
    let found = judged(Depends::All, &history(21_000, 20_000, 6_000));
    assert_eq!(found.verdict, Verdict::Unknown);
    assert!(!found.anomalies.is_empty(), "what was found is kept");
    for said in ["fault 0", "was in force 19.0 s", "has it for 5.0 s"] {
        assert!(found.summary.contains(said), "{}", found.summary);
    }
}

#[test]
fn what_no_late_heal_excuses_stays_invalid() {
    let verdict = |depends, history: &History| judged(depends, history).verdict;
    // Healed in time, within what receipts take.
    for healed in [6_000, 7_900] {
        let punctual = history(21_000, healed, 6_000);
        assert_eq!(verdict(Depends::All, &punctual), Verdict::Invalid);
    }
    // Complete before the fault had lasted too long.
    assert_eq!(
        verdict(Depends::All, &history(5_000, 20_000, 6_000)),
        Verdict::Invalid
    );
    // Of another kind than a long partition can cause.
    assert_eq!(
        verdict(Depends::Only(&["another"]), &history(21_000, 20_000, 6_000)),
        Verdict::Invalid
    );
}

#[test]
fn a_run_of_another_tool_says_nothing_of_its_schedule() {
    let mut events = history(21_000, 20_000, 6_000).events().to_vec();
    for event in &mut events {
        event.due = None;
    }
    let found = judged(Depends::All, &History::new(events).unwrap());
    assert_eq!(found.verdict, Verdict::Invalid);
}
