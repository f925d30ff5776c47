//! What traces say of why something is wrong: who decided without a quorum, and which promises were
//! lost.

use super::*;

/// A leader that decided without a quorum.
pub fn hasty() -> History {
    alone_in_slot_31().history()
}

/// n1 leads from the beginning, and says so. Slot 31 was accepted by nobody else.
fn alone_in_slot_31() -> Run {
    let mut run = sound();
    let lead = json!({"event": "lead", "t_ns": BEGAN_NS, "node": "n1", "ballot": [1, "n1"]});
    run.events(0).insert(2, lead);
    for node in [1, 2] {
        run.events(node)
            .retain(|e| e["event"] != "accept" || e["slot"] != 31);
    }
    run
}

#[test]
fn who_decided_without_a_quorum_is_told_by_whether_it_led() {
    let kinds = |run: &Run| -> Vec<String> {
        let found = run.check().anomalies.into_iter();
        found.map(|anomaly| anomaly.kind).collect()
    };
    assert_eq!(sound().check().verdict, Verdict::Valid);
    let mut run = alone_in_slot_31();
    assert_eq!(kinds(&run), ["decided without a quorum"]);
    // It accepted at 311 ms and decided at 312.
    let analysis = run.check();
    let figure = |name: &str| analysis.figures.iter().find(|f| f.name == name).cloned();
    let hasty = figure("decided by leaders without a quorum").unwrap().value;
    assert_eq!(hasty, json!({"count": 1, "accepted": 1, "waited_ms": 1.0}));
    // It had stepped down before: nobody who led decided it.
    let down = json!({"event": "step-down", "t_ns": BEGAN_NS + 305 * MS, "node": "n1", "ballot": [1, "n1"]});
    let place = run.events(0).iter().position(|e| e["slot"] == 31).unwrap();
    run.events(0).insert(place, down);
    assert_eq!(kinds(&run), ["decided by followers only"]);
    let analysis = run.check();
    let names: Vec<_> = analysis.figures.iter().map(|f| f.name.as_str()).collect();
    assert!(
        !names.contains(&"decided by leaders without a quorum"),
        "{names:?}"
    );
    // Where nobody says who leads, nobody can tell.
    let says = |e: &Json| e["event"] != "lead" && e["event"] != "step-down";
    run.events(0).retain(says);
    assert_eq!(kinds(&run), ["decided without a quorum"]);
}

#[test]
fn promises_that_are_never_restored_are_told_from_those_that_are_lost_while_young() {
    // Back after so long, remembering this ballot, with all that it had accepted.
    let back = |after_ms: i64, ballot: Json| {
        json!({"event": "start", "t_ns": BEGAN_NS + after_ms * MS, "node": "n2", "ballot": ballot,
               "accepted_upto": SLOTS, "decided_upto": SLOTS})
    };
    let found = |after_ms: i64, n2: Json, n3: Option<Json>| {
        with(|run| {
            run.events(1).push(back(after_ms, n2));
            if let Some(ballot) = n3 {
                let mut start = back(after_ms, ballot);
                start["node"] = "n3".into();
                run.events(2).push(start);
            }
        })
    };
    let none = || json!([0, ""]);
    assert_eq!(found(30_000, json!([1, "n1"]), None), [""; 0]);
    assert_eq!(found(30_000, none(), None), ["no promise restored"]);
    // It may not have been written yet.
    assert_eq!(found(10_000, none(), None), ["promise forgotten"]);
    // Another knew: they are restored, if they are there.
    let other = Some(json!([1, "n1"]));
    assert_eq!(found(30_000, none(), other), ["promise forgotten"]);
}

#[test]
fn a_state_only_goes_back_by_a_restart() {
    let at = |ms: i64, mut event: Json| {
        event["t_ns"] = (BEGAN_NS + ms * MS).into();
        event["node"] = "n2".into();
        event
    };
    let last = format!("d{SLOTS}");
    let again = at(
        2_000,
        json!({"event": "decide", "ballot": [1, "n1"], "slot": SLOTS, "digest": last}),
    );
    let start = at(
        1_900,
        json!({"event": "start", "ballot": [1, "n1"], "accepted_upto": SLOTS, "decided_upto": SLOTS - 1}),
    );
    let back = with(|run| run.events(1).push(again.clone()));
    assert_eq!(back, ["state went back"]);
    let restarted = with(|run| run.events(1).extend([start, again.clone()]));
    assert_eq!(restarted, [""; 0]);
}

#[test]
fn what_a_node_takes_for_decided_when_it_starts_is_held_against_what_others_decided() {
    let starts_with = |digest: Json| {
        with(|run| {
            run.events(1).push(json!({
                "event": "start", "t_ns": BEGAN_NS + 1_900 * MS, "node": "n2", "ballot": [1, "n1"],
                "accepted_upto": SLOTS, "decided_upto": SLOTS, "digest": digest,
            }));
        })
    };
    let never = starts_with(json!("never chosen"));
    assert_eq!(never, ["two values in one slot"]);
    assert_eq!(starts_with(json!(format!("d{SLOTS}"))), [""; 0]);
    assert_eq!(starts_with(Json::Null), [""; 0]);
}
