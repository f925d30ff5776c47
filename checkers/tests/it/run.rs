//! What is said of a run as a whole.

use std::time::Duration;

use checkers::availability::Availability;
use checkers::role::Role;
use checkers::vacuity::Vacuity;
use checkers::{Analysis, Budget, Checker, Verdict, drawing};
use history::fault::{Action, Note, Receipt};
use history::mark::Mark;
use history::offered::Offered;
use history::{Event, History, Kind, Name, Process, Time, Value};
use serde_json::json;

fn figure<'a>(found: &'a Analysis, name: &str) -> &'a serde_json::Value {
    &found
        .figures
        .iter()
        .find(|f| f.name == name)
        .expect("the figure is there")
        .value
}

/// The drawn history, with a fault that holds from one time to another.
fn with_fault(drawn: &str, held: u64, healed: u64) -> History {
    let mut events = drawing::history(drawn).unwrap().events().to_vec();
    let note = |action| Note {
        fault: 0,
        action,
        label: "n1 | n2".into(),
        targets: vec!["n1".into()],
        loss: Default::default(),
        receipt: Some(Receipt {
            held: true,
            evidence: vec![],
            ..Receipt::default()
        }),
        in_force_ns: None,
    };
    for (time, kind, action) in [
        (held - 1, Kind::Invoke, Action::Inject),
        (held, Kind::Ok, Action::Inject),
        (healed - 1, Kind::Invoke, Action::Heal),
        (healed, Kind::Ok, Action::Heal),
    ] {
        events.push(Event {
            index: 0,
            time: Time(time),
            process: Process::Nemesis,
            kind,
            f: "partition".into(),
            value: Value::from_serde(&note(action)).unwrap(),
            error: None,
            node: None,
            version: None,
            due: None,
        });
    }
    events.sort_by_key(|event| event.time);
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index as u64;
        // A column of the drawing is a tenth of a second.
        event.time = Time(event.time.0 * 100_000_000);
    }
    History::new(events).unwrap()
}

fn is_about(value: &serde_json::Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|v| (v - expected).abs() < 1e-9)
}

#[test]
fn availability_measures_service_and_recovery() {
    //   0         1         2         3         4         5
    //   0123456789012345678901234567890123456789012345678901234
    let history = with_fault(
        "P0  |write 1|  |write 2!         |write 3|   |write 4?",
        18,
        30,
    );
    let found = Availability::default().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid);
    assert_eq!(
        figure(&found, "operations"),
        &json!({"write": {"ok": 2, "fail": 1, "info": 1}})
    );
    // Columns 4..12 and 33..41, so both took 0.8 s.
    assert_eq!(
        figure(&found, "latency"),
        &json!({"write": {"p50": 800.0, "p90": 800.0, "p99": 800.0, "max": 800.0}})
    );
    assert_eq!(figure(&found, "ok per second"), &json!([0, 1, 0, 0, 1, 0]));
    // From the call of the second operation, which failed, to the success of the third. Of the last
    // one nobody waited for a second.
    assert_eq!(
        figure(&found, "without success"),
        &json!([{"from": 1.5, "until": 4.1}])
    );
    // Waits: columns 4..12, 15..41 and 45..53; asked was from 4 to 53.
    assert_eq!(figure(&found, "answered"), &json!(50.0));
    assert!(is_about(figure(&found, "time asked"), 4.9));
    let without = figure(&found, "time without an answer");
    assert!(is_about(&without["0.1 s"], 100.0 * 4.2 / 4.9));
    assert!(is_about(&without["1 s"], 100.0 * 2.6 / 4.9));
    assert!(is_about(figure(&found, "throughput"), 2.0 / 4.9));
    // The fault held from column 18, and healed in column 30.
    assert_eq!(
        figure(&found, "longest wait of a fault"),
        &json!({"p50": 2.3, "max": 2.3, "of": 1})
    );
    assert_eq!(
        figure(&found, "first answer after heal"),
        &json!({"p50": 1.1, "max": 1.1, "of": 1})
    );
    let recovery = &figure(&found, "first ok after faults")[0];
    assert_eq!(recovery["after injection"], json!(2.3));
    assert_eq!(recovery["after heal"], json!(1.1));
    assert_eq!(
        found.summary,
        "2 of 4 operations succeeded; once 1.0 s or more without a success, at most 2.6 s"
    );
}

/// Nothing was asked from column 23 on, so nobody waited until the last operation was called,
/// though the one before had failed.
#[test]
fn a_pause_in_the_asking_is_no_wait() {
    //   0         1         2         3         4         5
    //   0123456789012345678901234567890123456789012345678901234
    let drawn = "P0  |write 1|  |write 2!                      |write 3|";
    let found = Availability::default().check(&with_fault(drawn, 2, 20), &Budget::default());
    // Columns 4..23 and 46..54.
    assert!(is_about(figure(&found, "time asked"), 2.7));
    assert_eq!(figure(&found, "without success"), &json!([]));
    // The wait of columns 15..23 began before the heal, and counts whole; it was given up, not
    // answered.
    assert_eq!(
        figure(&found, "longest wait of a fault"),
        &json!({"p50": 0.8, "max": 0.8, "of": 1, "at least": ["p50", "max"], "unfinished": 1})
    );
    assert_eq!(
        figure(&found, "first answer after heal"),
        &json!({"p50": 3.4, "max": 3.4, "of": 1})
    );
}

/// Two at once: a wait ends with the success of either, and the next begins there.
#[test]
fn a_success_of_any_client_ends_a_wait() {
    //   0         1         2         3         4
    //   0123456789012345678901234567890123456789012345
    let history = with_fault(
        "P0  |write 1                   |\nP1    |write 2|  |write 3|",
        18,
        20,
    );
    let found = Availability::default().check(&history, &Budget::default());
    // 4..31.
    assert!(is_about(figure(&found, "time asked"), 2.7));
    assert_eq!(
        figure(&found, "without success"),
        &json!([{"from": 0.4, "until": 1.4}, {"from": 1.4, "until": 2.5}])
    );
    assert_eq!(
        figure(&found, "longest wait of a fault"),
        &json!({"p50": 0.7, "max": 0.7, "of": 1})
    );
}

/// From when the first agent confirmed it, column 12, and not from when all receipts were there,
/// column 18.
#[test]
fn a_wait_of_a_fault_counts_from_the_first_agents_word() {
    let drawn = "P0  |write 1|  |write 2!         |write 3|   |write 4?";
    let mut events = with_fault(drawn, 18, 30).events().to_vec();
    let injected = |e: &&mut Event| e.process == Process::Nemesis && e.kind == Kind::Ok;
    let event = events.iter_mut().find(injected).unwrap();
    let mut note = Note::of(event).unwrap();
    note.in_force_ns = Some(1_600_000_000);
    event.value = Value::from_serde(&note).unwrap();
    let history = History::new(events).unwrap();
    let found = Availability::default().check(&history, &Budget::default());
    // The wait of columns 15 to 41, from column 16 on.
    assert!(is_about(
        &figure(&found, "longest wait of a fault")["max"],
        2.5
    ));
}

/// Nothing succeeded after the fault: its wait lasted until nobody asked any more, and would have
/// lasted on.
#[test]
fn what_had_not_ended_is_at_least_so_long_and_is_not_left_out() {
    //   0         1         2         3         4
    //   0123456789012345678901234567890123456789012345
    let drawn = "P0  |write 1|  |write 2!   |write 3?\nP1  |write 4|     |write 5!   |write 6!";
    let found = Availability::default().check(&with_fault(drawn, 14, 20), &Budget::default());
    // From column 15, the call after the last success, to column 38; from the heal in column 20.
    let [wait, answer] = ["longest wait of a fault", "first answer after heal"]
        .map(|name| figure(&found, name).clone());
    assert!(
        is_about(&wait["max"], 2.3) && is_about(&answer["max"], 1.8),
        "{wait} {answer}"
    );
    for spread in [wait, answer] {
        assert_eq!(spread["at least"], json!(["p50", "max"]));
        assert_eq!(
            (&spread["of"], &spread["unfinished"]),
            (&json!(1), &json!(1))
        );
    }
    let gap = &figure(&found, "without success")[0];
    assert_eq!(gap["unfinished"], json!(true));
    let of_fault = &figure(&found, "first ok after faults")[0];
    assert!(of_fault["after heal"]["at least"].is_number(), "{of_fault}");
}

/// Those at n1 are cut off; those at n2 are served all the while, and so is the system as a whole.
#[test]
fn the_one_on_the_wrong_side_of_the_cut_is_seen() {
    //   0         1         2         3         4
    //   0123456789012345678901234567890123456789012345
    let drawn = "
        P1  |w 1|       |w 2                 |   // n1
        P2    |w 3||w 4||w 5||w 6||w 7||w 8||w 9|";
    let mut events = with_fault(drawn, 15, 30).events().to_vec();
    for event in &mut events {
        if let Process::Client(process) = event.process {
            event.node = Some(Name::new(format!("n{process}")));
        }
    }
    let found = Availability::default().check(&History::new(events).unwrap(), &Budget::default());
    let max = |name: &str| figure(&found, name)["max"].as_f64().unwrap();
    assert!(max("longest wait of a fault") < 0.6);
    assert!(max("longest wait of a fault, worst node") > 2.0);
    assert!(max("longest wait of a fault, worst client") > 2.0);
    let by_node = &figure(&found, "first ok after faults")[0]["longest wait by node"];
    assert!(by_node["n1"].as_f64() > Some(2.0), "{by_node}");
    assert!(by_node["n2"].as_f64() < Some(0.6), "{by_node}");
}

/// Two writes of five that were due.
pub fn not_all_offered() -> History {
    let mut events = drawing::history("P0 |write 1| |write 2|")
        .unwrap()
        .events()
        .to_vec();
    let calls = events.iter_mut().filter(|e| e.kind == Kind::Invoke);
    for (event, due) in calls.zip([0, 13]) {
        event.due = Some(Time(due));
    }
    let offered = Offered {
        due: 5,
        offered: 2,
        busy: [("n1".into(), 2)].into(),
        late: 1,
        workers: 1,
        first_process: 0,
    };
    events.push(Event {
        index: events.len() as u64,
        time: events.last().unwrap().time,
        process: Process::Nemesis,
        kind: Kind::Info,
        f: "offered".into(),
        value: Mark::Offered(offered).value(),
        error: None,
        node: None,
        version: None,
        due: None,
    });
    History::new(events).unwrap()
}

/// An operation that had to wait for its turn took that long too; and what never had one is told.
#[test]
fn latency_counts_from_when_it_was_due_and_what_was_not_offered_is_a_figure() {
    let found = Availability::default().check(&not_all_offered(), &Budget::default());
    // Columns 3 to 11 and 13 to 21; the first was due in column 0.
    assert_eq!(figure(&found, "latency")["write"]["max"], json!(11.0 / 1e6));
    assert_eq!(figure(&found, "latency")["write"]["p50"], json!(8.0 / 1e6));
    assert_eq!(
        figure(&found, "not offered"),
        &json!({"share": 60.0, "due": 5, "no client free": {"n1": 2}, "harness late": 1})
    );
    assert_eq!(figure(&found, "answered"), &json!(100.0));
    assert_eq!(figure(&found, "answered of what was due"), &json!(40.0));
    assert!(
        found
            .summary
            .contains("(3 of 5 that were due never offered)"),
        "{}",
        found.summary
    );
}

fn of_registers(f: &str, asked: &Value) -> Role {
    let key = asked.as_pair().map_or(Value::Nil, |(key, _)| key.clone());
    match f {
        "write" => Role::writes(key),
        _ => Role::reads(key),
    }
}

#[test]
fn overlap_is_counted_on_each_key_and_too_little_of_it_is_said() {
    let availability = Availability::of_run(&of_registers);
    let check =
        |drawn: &str| availability.check(&drawing::history(drawn).unwrap(), &Budget::default());
    // Writes 1 and 2 meet on key x; 3 meets only what is on y; a read meets 4.
    let found = check(
        "
         P0 |x:write 1|  |x:write 3|  |y:write 4   |
         P1    |x:write 2|
         P2                |z:read 1|     |y:read 4|",
    );
    assert_eq!(figure(&found, "overlap")["writes"], json!(75.0));
    let open = figure(&found, "overlap")["open"].as_f64().unwrap();
    assert!((1.0..2.0).contains(&open), "{open}");
    // One after the other: nothing that happens only at once could be seen.
    let writes: String = (0..30).map(|n| format!("|x:write {n}| ")).collect();
    let found = check(&format!("P0 {writes}"));
    assert!(
        found
            .summary
            .contains("0 of 30 writes overlapped another operation on their key"),
        "{}",
        found.summary
    );
}

#[test]
fn quantiles_are_of_the_nearest_rank() {
    // Latencies of 11, 16, ..., 56 columns.
    let drawn: String = (1..=10)
        .map(|n| format!("P{n}  |read 1{}|\n", " ".repeat(5 * n - 1)))
        .collect();
    let found =
        Availability::default().check(&drawing::history(&drawn).unwrap(), &Budget::default());
    let ns = |columns: f64| columns / 1e6;
    assert_eq!(
        figure(&found, "latency")["read"],
        json!({"p50": ns(31.0), "p90": ns(51.0), "p99": ns(56.0), "max": ns(56.0)})
    );
}

#[test]
fn each_lack_is_named() {
    let drawn = "P0 |write 1| |read 1| |cas 1 2!";
    let vacuity = Vacuity {
        least_ok: 3,
        least_ok_of_each: 1,
        service: None,
        nodes: vec!["n7".into()],
        faults: true,
    };
    let found = vacuity.check(&drawing::history(drawn).unwrap(), &Budget::default());
    assert_eq!(found.verdict, Verdict::Vacuous);
    let reasons: Vec<&str> = found.anomalies.iter().map(|a| a.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "faults were asked for, and none was injected",
            "2 operations succeeded, and at least 3 must",
            "0 operations cas succeeded, and at least 1 must",
            "n7 never served an operation of the main phase",
        ]
    );
}

/// Nobody led when the leader was to be cut off: that alone is no reason to distrust the run,
/// unless it happened to every fault of the family.
#[test]
fn a_fault_that_found_no_target_counts_only_if_none_of_its_family_held() {
    let drawn = "P0 |write 1| |read 1| |write 2| |read 2| |write 3|";
    let skipped = |history: &History, fault: u64| {
        let mut events = history.events().to_vec();
        let note = Note {
            fault,
            action: Action::Inject,
            label: "the leader".into(),
            targets: vec![],
            loss: Default::default(),
            receipt: None,
            in_force_ns: None,
        };
        for (kind, error) in [
            (Kind::Invoke, None),
            (Kind::Info, Some("no target: no leader")),
        ] {
            events.push(Event {
                index: events.len() as u64,
                time: history.end(),
                process: Process::Nemesis,
                kind,
                f: "partition".into(),
                value: Value::from_serde(&note).unwrap(),
                error: error.map(String::from),
                node: None,
                version: None,
                due: None,
            });
        }
        History::new(events).unwrap()
    };
    let vacuity = Vacuity {
        least_ok: 1,
        faults: true,
        ..Vacuity::default()
    };
    let check = |history: &History| vacuity.check(history, &Budget::default());
    let found = check(&skipped(&with_fault(drawn, 5, 9), 1));
    assert_eq!(found.verdict, Verdict::Valid, "{}", found.summary);
    let found = check(&skipped(&drawing::history(drawn).unwrap(), 0));
    assert_eq!(found.verdict, Verdict::Vacuous);
    assert!(found.summary.contains("no leader"), "{}", found.summary);
}

#[test]
fn no_time_is_unknown_and_not_a_guess() {
    let history = drawing::history("P0 |write 1| |read 1|").unwrap();
    let none = Budget {
        time: Duration::ZERO,
        memory_bytes: 1 << 20,
    };
    let found = checkers::linearizable::Registers::single().check(&history, &none);
    assert_eq!(found.verdict, Verdict::Unknown);
    assert!(
        found.summary.contains("the time limit was reached"),
        "{}",
        found.summary
    );
}
