//! Which elections were needless: three nodes, their traces, and a fault. Times are milliseconds.

use checkers::agreement::Agreement;
use checkers::{Budget, Checker};
use history::fault::{Action, Loss, Note};
use history::{Event, History, Kind, Name, Process, Time, Value};
use serde_json::json;

/// What the monotonic clock showed at time 0.
const BEGAN_NS: u64 = 5_000_000_000;

fn event(ms: u64, process: Process, kind: Kind, f: &str, value: Value) -> Event {
    Event {
        index: 0,
        time: Time(ms * 1_000_000),
        process,
        kind,
        f: f.into(),
        value,
        error: None,
        node: None,
        version: None,
        due: None,
    }
}

fn elections(traces: &[(&str, i64, &str)], loss: Loss) -> Option<(u64, u64)> {
    let found = Agreement::new().check(&history(traces, loss), &Budget::default());
    let figure = |name| {
        let figure = found.figures.iter().find(|f| f.name == name)?;
        figure.value.as_u64()
    };
    Some((figure("elections")?, figure("needless elections")?))
}

/// `traces`: who, when (from time 0, or before it), and the event. The fault holds from 1000 to
/// 2000.
pub fn history(traces: &[(&str, i64, &str)], loss: Loss) -> History {
    let mut events = Vec::new();
    let note = |action| {
        let note = Note {
            fault: 0,
            action,
            label: String::new(),
            targets: Vec::new(),
            loss: loss.clone(),
            receipt: None,
            in_force_ns: None,
        };
        Value::from_serde(&note).unwrap()
    };
    for (ms, kind, action) in [
        (1_000, Kind::Invoke, Action::Inject),
        (1_010, Kind::Ok, Action::Inject),
        (1_990, Kind::Invoke, Action::Heal),
        (2_000, Kind::Ok, Action::Heal),
    ] {
        events.push(event(ms, Process::Nemesis, kind, "fault", note(action)));
    }
    for (process, node) in (0..).zip(["n1", "n2", "n3"]) {
        let of_node = traces.iter().filter(|(name, ..)| *name == node);
        let lines: Vec<_> = of_node
            .map(|(_, ms, what)| {
                let t_ns = BEGAN_NS as i64 + ms * 1_000_000;
                json!({"event": what, "t_ns": t_ns, "ballot": [1, node], "accepted_upto": 0})
            })
            .collect();
        let trace = Value::from_serde(&json!({"node": node, "events": lines})).unwrap();
        let client = Process::Client(process);
        events.push(event(9_000, client, Kind::Invoke, "trace", Value::Nil));
        events.push(event(9_000, client, Kind::Ok, "trace", trace));
    }
    for (index, event) in (0..).zip(&mut events) {
        event.index = index;
    }
    let history = History::new(events).unwrap();
    history.with_began_ns(Some(BEGAN_NS))
}

fn down(nodes: &[&str]) -> Loss {
    Loss {
        down: nodes.iter().map(|n| Name::from(*n)).collect(),
        deaf: vec![],
    }
}

fn deaf(pairs: &[(&str, &str)]) -> Loss {
    Loss {
        down: vec![],
        deaf: pairs
            .iter()
            .map(|(a, b)| ((*a).into(), (*b).into()))
            .collect(),
    }
}

#[test]
fn the_first_leader_was_not_elected_over_another_and_what_was_before_the_run_is_not_told() {
    let none = Loss::default;
    assert_eq!(elections(&[("n1", 100, "lead")], none()), Some((0, 0)));
    let early = [
        ("n1", -300, "lead"),
        ("n2", -200, "lead"),
        ("n3", 100, "lead"),
    ];
    assert_eq!(elections(&early, none()), Some((1, 1)));
}

#[test]
fn an_election_is_needless_if_the_leader_before_could_have_gone_on() {
    let over = |ms| [("n1", 100, "lead"), ("n2", ms, "lead")];
    let both_ways = |node| {
        ["n1", "n2", "n3"]
            .into_iter()
            .filter(|other| *other != node)
            .flat_map(|other| [(node, other), (other, node)])
            .collect::<Vec<_>>()
    };
    for (ms, loss, needless) in [
        (500, Loss::default(), 1),
        // It was stopped or dead, from the beginning of the injection to the end of the healing.
        (1_500, down(&["n1"]), 0),
        (1_005, down(&["n1"]), 0),
        (1_995, down(&["n1"]), 0),
        // Not yet, and no longer.
        (999, down(&["n1"]), 1),
        (2_001, down(&["n1"]), 1),
        // Another was, which leaves a majority; both others, which does not.
        (1_500, down(&["n3"]), 1),
        (1_500, down(&["n2", "n3"]), 0),
        // Cut off from both others; from one of them; a direction is enough to be cut off.
        (1_500, deaf(&both_ways("n1")), 0),
        (1_500, deaf(&both_ways("n3")), 1),
        (1_500, deaf(&[("n1", "n2"), ("n1", "n3")]), 0),
        (1_500, deaf(&[("n2", "n1"), ("n3", "n1")]), 0),
        (1_500, deaf(&[("n1", "n2")]), 1),
        // Something that takes nothing away: a clock.
        (1_500, Loss::default(), 1),
    ] {
        let found = elections(&over(ms), loss.clone());
        assert_eq!(found, Some((1, needless)), "{ms}: {loss:?}");
    }
}

#[test]
fn what_counts_is_when_the_reign_ended() {
    // It stepped down when it was cut off, and the next was elected long after.
    let traces = [
        ("n1", 100, "lead"),
        ("n1", 1_500, "step-down"),
        ("n2", 2_500, "lead"),
    ];
    let cut = || deaf(&[("n1", "n2"), ("n1", "n3")]);
    assert_eq!(elections(&traces, cut()), Some((1, 0)));
    assert_eq!(elections(&traces, Loss::default()), Some((1, 1)));
    // Its process ended, for whatever reason.
    let traces = [
        ("n1", 100, "lead"),
        ("n1", 700, "start"),
        ("n2", 800, "lead"),
    ];
    assert_eq!(elections(&traces, Loss::default()), Some((1, 0)));
    // It was elected again itself.
    let traces = [
        ("n1", 100, "lead"),
        ("n1", 700, "step-down"),
        ("n1", 800, "lead"),
    ];
    assert_eq!(elections(&traces, Loss::default()), Some((1, 1)));
}
