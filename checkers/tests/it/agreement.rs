//! A run of three nodes and their clients, sound from end to end, and one lie at a time in what it
//! recorded.

use checkers::agreement::Agreement;
use checkers::picture::{Cell, Picture, Row};
use checkers::{Analysis, Budget, Checker, Verdict};
use history::{Event, History, Kind, Process, Time, Value};
use serde_json::{Value as Json, json};

pub mod evidence;
mod pictures;

/// What the monotonic clock showed at time 0.
const BEGAN_NS: i64 = 5_000_000_000;
const SLOTS: usize = 60;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
const MS: i64 = 1_000_000;

/// What was recorded at the end: an error in place of what could not be read.
struct Run {
    logs: Vec<Result<Json, String>>,
    traces: Vec<Result<Json, String>>,
    /// Operations: process, f, input, outcome, call and return in ms.
    ops: Vec<(u64, &'static str, Json, Kind, u64, u64)>,
}

/// n1 leads. A slot is decided every 10 ms and has one write, of client 0 or 1; n3 accepts every
/// other slot and learns the rest. Client 2 writes once, gets no answer, and its write took effect.
fn sound() -> Run {
    let digest = |slot: usize| format!("d{slot}");
    let at = |slot: usize, ms: i64| BEGAN_NS + (10 * slot as i64 + ms) * MS;
    let mut traces: Vec<Vec<Json>> = Vec::new();
    for node in NODES {
        let t_ns = BEGAN_NS - 50 * MS;
        let start = json!({"event": "start", "t_ns": t_ns, "node": node, "ballot": [0, ""],
                           "accepted_upto": 0, "decided_upto": 0});
        let promise =
            json!({"event": "promise", "t_ns": t_ns + MS, "node": node, "ballot": [1, "n1"]});
        traces.push(vec![start, promise]);
    }
    let mut entries = Vec::new();
    let mut ops = Vec::new();
    for slot in 1..=SLOTS {
        for (i, node) in NODES.iter().enumerate() {
            if i < 2 || slot % 2 == 0 {
                traces[i].push(json!({"event": "accept", "t_ns": at(slot, 1), "node": node,
                                      "ballot": [1, "n1"], "slot": slot, "digest": digest(slot)}));
            }
            traces[i].push(json!({"event": "decide", "t_ns": at(slot, 2), "node": node,
                                  "ballot": [1, "n1"], "slot": slot, "digest": digest(slot)}));
        }
        let command = json!(["n1.1", slot, "put", "register-0", slot]);
        entries.push(json!([
            slot,
            [1, "n1"],
            digest(slot),
            format!("c{slot}"),
            [command]
        ]));
        let lost = slot == 10;
        let (process, outcome) = match lost {
            true => (2, Kind::Info),
            false => (slot as u64 % 2, Kind::Ok),
        };
        let call = 10 * slot as u64;
        ops.push((process, "write", json!([0, slot]), outcome, call, call + 5));
    }
    let log =
        |node: &&str| json!({"node": node, "first": 1, "entries": entries, "decided_upto": SLOTS});
    let trace = |(node, events): (&&str, Vec<Json>)| json!({"node": node, "events": events});
    Run {
        logs: NODES.iter().map(log).map(Ok).collect(),
        traces: NODES.iter().zip(traces).map(trace).map(Ok).collect(),
        ops,
    }
}

impl Run {
    fn history(&self) -> History {
        let mut events: Vec<Event> = Vec::new();
        let mut event = |ns: u64, process, kind, f: &str, value: Value, node: &str| {
            events.push(Event {
                time: Time(ns),
                value,
                node: Some(node.into()),
                ..blank(process, kind, f)
            });
        };
        for (process, f, input, outcome, call, ret) in &self.ops {
            let value = || Value::from_serde(input).unwrap();
            event(call * MS as u64, *process, Kind::Invoke, f, value(), "n1");
            event(ret * MS as u64, *process, *outcome, f, value(), "n1");
        }
        events.sort_by_key(|event| event.time);
        for (i, node) in NODES.iter().enumerate() {
            for (f, read) in [("log", &self.logs[i]), ("trace", &self.traces[i])] {
                let (kind, value, error) = match read {
                    Ok(json) => (Kind::Ok, Value::from_serde(json).unwrap(), None),
                    Err(why) => (Kind::Fail, Value::Nil, Some(why.clone())),
                };
                for (kind, value, error) in [(Kind::Invoke, Value::Nil, None), (kind, value, error)]
                {
                    events.push(Event {
                        time: Time(20_000 * MS as u64),
                        value,
                        error,
                        node: Some((*node).into()),
                        ..blank(100 + i as u64, kind, f)
                    });
                }
            }
        }
        for (index, event) in (0..).zip(&mut events) {
            event.index = index;
        }
        let history = History::new(events).unwrap();
        history.with_began_ns(Some(BEGAN_NS as u64))
    }

    fn check(&self) -> Analysis {
        Agreement::new()
            .with_nodes(3)
            .check(&self.history(), &Budget::default())
    }

    fn log(&mut self, node: usize) -> &mut Json {
        self.logs[node].as_mut().unwrap()
    }

    fn entries(&mut self, node: usize) -> &mut Vec<Json> {
        self.log(node)["entries"].as_array_mut().unwrap()
    }

    fn events(&mut self, node: usize) -> &mut Vec<Json> {
        let trace = self.traces[node].as_mut().unwrap();
        trace["events"].as_array_mut().unwrap()
    }
}

fn blank(process: u64, kind: Kind, f: &str) -> Event {
    Event {
        index: 0,
        time: Time(0),
        process: Process::Client(process),
        kind,
        f: f.into(),
        value: Value::Nil,
        error: None,
        node: None,
        version: None,
        due: None,
    }
}

fn kinds(found: &Analysis) -> Vec<&str> {
    let mut kinds: Vec<&str> = found.anomalies.iter().map(|a| a.kind.as_str()).collect();
    kinds.dedup();
    kinds
}

/// Makes a change and returns the kinds of what is found.
fn with(lie: impl FnOnce(&mut Run)) -> Vec<String> {
    let mut run = sound();
    lie(&mut run);
    let found = run.check();
    kinds(&found).into_iter().map(String::from).collect()
}

#[test]
fn a_sound_run_is_valid_and_all_of_it_is_compared() {
    let found = sound().check();
    assert_eq!(
        (found.verdict, kinds(&found)),
        (Verdict::Valid, vec![]),
        "{found:?}"
    );
    assert_eq!(
        found.summary,
        "3 decided logs (60 slots) and 3 traces of 3 nodes agree"
    );
    let figure = |name: &str| {
        let figure = found.figures.iter().find(|f| f.name == name).unwrap();
        figure.value.as_u64().unwrap()
    };
    assert_eq!(figure("decided slots held against accepts"), 60);
    assert_eq!(figure("log entries held against the node's trace"), 180);
    assert_eq!(figure("commands held against clients"), 60);
}

#[test]
fn what_one_log_alone_says_is_held_against_the_others_and_the_traces() {
    let more = |slot: usize| json!([slot, [1, "n1"], "x", "y", []]);
    // One more entry, that no trace accepted.
    let lie = |run: &mut Run| {
        run.entries(1).push(more(61));
        run.log(1)["decided_upto"] = 61.into();
    };
    assert_eq!(with(lie), ["log entry never decided"]);
    // In all logs.
    let lie = |run: &mut Run| {
        for node in 0..3 {
            run.entries(node).push(more(61));
            run.log(node)["decided_upto"] = 61.into();
        }
    };
    assert_eq!(with(lie), ["log entry never decided"]);
    // Another digest, in all logs.
    let lie = |run: &mut Run| {
        for node in 0..3 {
            run.entries(node)[29][2] = "x".into();
        }
    };
    assert_eq!(
        with(lie),
        [
            "two values in one slot",
            "two values under one ballot",
            "decided without a quorum"
        ]
    );
    // In all logs and in all decisions, so that only the accepts are left to say otherwise.
    let lie = |run: &mut Run| {
        for node in 0..3 {
            run.entries(node)[29][2] = "x".into();
            for event in run.events(node) {
                if event["event"] == "decide" && event["slot"] == 30 {
                    event["digest"] = "x".into();
                }
            }
        }
    };
    assert_eq!(
        with(lie),
        ["two values under one ballot", "decided without a quorum"]
    );
    // Under a ballot of its own: the ballot of a log's entry is checked as well.
    let lie = |run: &mut Run| {
        let entry = &mut run.entries(0)[29];
        entry[1] = json!([7, "n2"]);
        entry[2] = "x".into();
    };
    assert_eq!(
        with(lie),
        ["two values in one slot", "decided without a quorum"]
    );
}

#[test]
fn what_all_nodes_say_of_a_slot_is_shown() {
    let mut run = sound();
    run.entries(1)[29][2] = "x".into();
    let found = run.check();
    let Some(Picture::Table(table)) = found.anomalies[0].picture.as_deref() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (table.of.as_str(), table.untold),
        ("What each node says of slot 30", 0)
    );
    assert_eq!(table.columns, NODES);
    let last = table.rows.last().unwrap();
    let shown = |cell: &Cell| (cell.text.clone(), cell.value.is_some());
    let cells: Vec<_> = last.cells.iter().map(shown).collect();
    let digest = |text: &str| (text.to_string(), true);
    assert_eq!(cells, [digest("d30"), digest("x"), digest("d30")]);
    assert_ne!(last.cells[0].value, last.cells[1].value);
    assert_eq!(last.cells[0].value, last.cells[2].value);
    // Every node accepts and decides it once, and all of that was before the logs were read.
    assert_eq!(table.rows.len(), 2 * NODES.len() + 1);
    let accepts = |row: &&Row| {
        row.cells[0]
            .text
            .starts_with("accepts under ballot 1 of n1: ")
    };
    assert_eq!(table.rows.iter().filter(accepts).count(), NODES.len());
}

#[test]
fn a_log_is_whole_from_its_beginning_to_what_it_calls_decided() {
    for (lie, kind) in [
        (
            &(|run: &mut Run| drop(run.entries(2).remove(20))) as &dyn Fn(&mut Run),
            "hole in a log",
        ),
        (&|run| drop(run.entries(0).remove(0)), "hole in a log"),
        (&|run| run.entries(0).truncate(10), "log ends early"),
        (&|run| run.entries(0).clear(), "log ends early"),
        (
            &|run| run.log(0)["decided_upto"] = 110.into(),
            "log ends early",
        ),
        (
            &|run| run.log(0)["decided_upto"] = 10.into(),
            "log contradicts itself",
        ),
        (
            &|run| run.log(0)["first"] = 5.into(),
            "log contradicts itself",
        ),
        (&|run| run.entries(1).swap(3, 4), "hole in a log"),
        (
            &|run| {
                let again = run.entries(1)[5].clone();
                run.entries(1).insert(6, again);
            },
            "log out of order",
        ),
        // It says less than its own trace knows.
        (
            &|run| {
                run.entries(0).truncate(10);
                run.log(0)["decided_upto"] = 10.into();
            },
            "log ends early",
        ),
    ] {
        assert_eq!(with(lie).first().map(String::as_str), Some(kind));
    }
}

#[test]
fn what_nodes_may_do_is_not_held_against_them() {
    for (what, lie) in [
        (
            "a snapshot has replaced the beginning",
            &(|run: &mut Run| {
                run.entries(1).drain(..40);
                run.log(1)["first"] = 41.into();
            }) as &dyn Fn(&mut Run),
        ),
        ("and all of it", &|run| {
            run.entries(1).clear();
            run.log(1)["first"] = 61.into();
        }),
        ("where a log begins is not told", &|run| {
            run.entries(1).drain(..40);
            run.log(1).as_object_mut().unwrap().remove("first");
        }),
        (
            "a node came back and has not learned yet what it had decided",
            &|run| {
                let t_ns = BEGAN_NS + 1_000 * MS;
                run.events(2)
                    .push(json!({"event": "start", "t_ns": t_ns, "node": "n3",
                    "ballot": [1, "n1"], "accepted_upto": 60, "decided_upto": 50}));
                run.entries(2).truncate(50);
                run.log(2)["decided_upto"] = 50.into();
            },
        ),
        (
            "a node came back with an accept that it had not told of",
            &|run| {
                let t_ns = BEGAN_NS + 1_000 * MS;
                run.events(2)
                    .push(json!({"event": "start", "t_ns": t_ns, "node": "n3",
                    "ballot": [1, "n1"], "accepted_upto": 61, "decided_upto": 60}));
            },
        ),
        (
            "a snapshot came from a peer, so that slots were never decided here",
            &|run| {
                run.events(2)
                    .retain(|e| e["slot"].as_i64().is_none_or(|slot| slot > 40));
                run.entries(2).drain(..40);
                run.log(2)["first"] = 41.into();
            },
        ),
        ("the trace's beginning was overwritten", &|run| {
            drop(run.events(0).drain(..100))
        }),
        (
            "one more slot was decided after the first traces had been read",
            &|run| {
                let late = BEGAN_NS + 21_000 * MS;
                for what in ["accept", "decide"] {
                    run.events(2)
                        .push(json!({"event": what, "t_ns": late, "node": "n3",
                        "ballot": [1, "n1"], "slot": 61, "digest": "d61"}));
                }
                run.entries(2)
                    .push(json!([61, [1, "n1"], "d61", "c61", []]));
                run.log(2)["decided_upto"] = 61.into();
            },
        ),
    ] {
        let mut run = sound();
        lie(&mut run);
        let found = run.check();
        assert_eq!(found.verdict, Verdict::Valid, "{what}: {found:?}");
    }
}

#[test]
fn commands_are_those_that_clients_asked_for() {
    let everywhere = |change: &dyn Fn(&mut Json)| {
        with(|run| {
            for node in 0..3 {
                change(&mut run.entries(node)[29][4]);
            }
        })
    };
    let found = everywhere(&|commands| commands[0][4] = 999.into());
    assert_eq!(found[0], "command that nobody issued");
    let add =
        |command: Json| move |list: &mut Json| list.as_array_mut().unwrap().push(command.clone());
    for command in [
        json!(["ghost", 1]),
        json!("ghost"),
        json!(["n9.1", 7, "put", "register-0", 777]),
    ] {
        assert_eq!(everywhere(&add(command)), ["command that nobody issued"]);
    }
    // Under a new name, what was asked once.
    let again = json!(["n2.1", 1, "put", "register-0", 12]);
    assert_eq!(everywhere(&add(again)), ["applied more often than asked"]);
    let twice = json!(["n1.1", 12, "put", "register-0", 12]);
    assert_eq!(everywhere(&add(twice)), ["applied twice"]);
    // What was acknowledged is gone. The log goes on with what was asked for later.
    let gone = everywhere(&|commands| *commands = json!([]));
    assert_eq!(gone, ["acknowledged command in no slot"]);
    // One log alone applied something else.
    let alone = with(|run| run.entries(1)[29][4] = json!([]));
    assert_eq!(
        alone,
        ["applied differently", "acknowledged command in no slot"]
    );
    // Nobody knows whether client 2's write took effect: both may be.
    let lost = with(|run| {
        for node in 0..3 {
            run.entries(node)[9][4] = json!([]);
        }
    });
    assert!(lost.is_empty(), "{lost:?}");
    // Without what commands do, nobody can tell who asked for them.
    let mut run = sound();
    for node in 0..3 {
        for (slot, entry) in (1..).zip(run.entries(node)) {
            entry[4] = json!([["n1.1", slot]]);
        }
    }
    let found = run.check();
    assert_eq!(found.verdict, Verdict::Valid);
    let why = "the logs do not tell what commands do, so who asked for them is not judged";
    assert!(found.summary.ends_with(why), "{}", found.summary);
}

#[test]
fn logs_that_cannot_be_read_are_said_and_fewer_than_a_majority_are_no_verdict() {
    let unreadable = |logs: &[usize], traces: &[usize]| {
        let mut run = sound();
        for node in logs {
            run.logs[*node] = Err("timeout: no answer".to_string());
        }
        for node in traces {
            run.traces[*node] = Err("no such file".to_string());
        }
        run.check()
    };
    let one = unreadable(&[2], &[]);
    assert_eq!(one.verdict, Verdict::Valid);
    assert_eq!(
        one.summary,
        "2 decided logs (60 slots) and 3 traces of 3 nodes agree; the log of n3 could not be read (timeout: no answer)"
    );
    for (logs, traces, why) in [
        (
            &[1, 2][..],
            &[][..],
            "1 of 3 logs could be read, which is no majority",
        ),
        (
            &[],
            &[0, 2],
            "1 of 3 traces could be read, which is no majority",
        ),
        (
            &[0, 1, 2],
            &[],
            "0 of 3 logs could be read, which is no majority",
        ),
    ] {
        let found = unreadable(logs, traces);
        assert_eq!(found.verdict, Verdict::Unknown, "{found:?}");
        assert!(found.summary.contains(why), "{}", found.summary);
    }
    // One that says to be another's is none.
    let mut run = sound();
    run.log(1)["node"] = "n1".into();
    let found = run.check();
    assert_eq!(found.verdict, Verdict::Valid);
    assert!(
        found
            .summary
            .contains("n2 was asked, and it says that it is of n1"),
        "{}",
        found.summary
    );
    let mut run = sound();
    run.log(1)["node"] = "n1".into();
    run.log(2)["node"] = "n1".into();
    assert_eq!(run.check().verdict, Verdict::Unknown);
    // An anomaly outranks what is lacking.
    let mut run = sound();
    run.logs[1] = Err(String::new());
    run.logs[2] = Err(String::new());
    run.entries(0).remove(20);
    assert_eq!(run.check().verdict, Verdict::Invalid);
}

#[test]
fn accepts_under_two_ballots_are_no_majority() {
    let found = with(|run| {
        for event in run.events(1) {
            if event["event"] == "accept" && event["slot"] == 31 {
                event["ballot"] = json!([2, "n2"]);
            }
        }
        let promise =
            json!({"event": "promise", "t_ns": BEGAN_NS, "node": "n2", "ballot": [1, "n1"]});
        // So that the accept alone is what is wrong with n2.
        run.events(1).retain(|e| e["event"] != "promise");
        run.events(1).insert(1, promise);
        run.events(1)
            .retain(|e| e["event"] != "accept" || e["slot"].as_i64() <= Some(31));
    });
    assert!(
        found.contains(&"decided without a quorum".to_string()),
        "{found:?}"
    );
}

#[test]
fn every_difference_is_counted_and_the_times_are_those_of_the_run() {
    let mut run = sound();
    for slot in 0..40 {
        run.entries(1)[slot][2] = "x".into();
    }
    let found = run.check();
    let different = found
        .anomalies
        .iter()
        .filter(|a| a.kind == "two values in one slot");
    assert_eq!(different.count(), 16);
    assert_eq!(found.found(), 120, "each slot in three ways");
    assert!(
        found
            .summary
            .contains("120 anomalies, the first: two values in one slot"),
        "{}",
        found.summary
    );
    let mut run = sound();
    let t_ns = BEGAN_NS + 12_345 * MS;
    run.events(0)
        .push(json!({"event": "promise", "t_ns": t_ns, "node": "n1", "ballot": [0, "n1"]}));
    let found = run.check();
    assert_eq!(
        found.anomalies[0].reason,
        "n1 promised ballot 0 of n1 at 12.345 s, after it had promised ballot 1 of n1"
    );
}
