//! What was asked and answered in the main phase: a run in which too little was is vacuous.

use super::*;

#[test]
fn answers_before_and_after_do_not_make_up_for_a_main_phase_without_any() {
    // All are paused from 0.3 s to the end; the last operations succeed.
    let tape = run_where(|at, _| match at {
        0..300 => Some(Kind::Ok),
        _ if at % 200 == 0 => Some(Kind::Info),
        _ => None,
    });
    let found = check(&vacuity(), &tape);
    assert_eq!(found.verdict, Verdict::Vacuous);
    let kinds = [
        "too few successes",
        "too few successes",
        "too few successes",
        "too little answered",
    ];
    is(
        &found,
        Verdict::Vacuous,
        &kinds,
        "6 operations succeeded, and at least 30 must",
    );
    is(
        &found,
        Verdict::Vacuous,
        &kinds,
        "answered in 1 of 10 equal parts of the main phase",
    );
}

#[test]
fn service_at_the_beginning_alone_is_too_little() {
    let tape = run_where(|at, _| Some(if at < 2_000 { Kind::Ok } else { Kind::Fail }));
    is(
        &check(&vacuity(), &tape),
        Verdict::Vacuous,
        &["too little answered"],
        "answered in 2 of 10 equal parts",
    );
}

#[test]
fn a_small_share_of_answers_is_too_little() {
    // One in fifty, all along.
    let mut tape = run_where(|_, _| None);
    for (turn, at) in (0..10_000).step_by(5).enumerate() {
        let (f, node) = (["read", "write"][turn / 50 % 2], NODES[turn / 50 % 3]);
        let kind = if turn % 50 == 0 { Kind::Ok } else { Kind::Fail };
        tape.op(at, at + 1, node, f, 0, kind);
    }
    is(
        &check(&vacuity(), &tape),
        Verdict::Vacuous,
        &["too little answered"],
        "40 of 2000 operations that were due in the main phase were answered, and at least 10 % must be",
    );
}

/// A system that hangs keeps its clients busy, so that little is offered; what is answered of that
/// may be all.
#[test]
fn what_was_never_offered_was_not_answered() {
    for (left_out, verdict) in [(1_000, Verdict::Valid), (3_000, Verdict::Vacuous)] {
        let mut tape = good();
        let mark = Mark::Offered(Offered {
            due: 200 + left_out,
            offered: 200,
            busy: [("n1".into(), left_out)].into(),
            ..Offered::default()
        });
        tape.mark(10_050, mark);
        let (kinds, says): (&[&str], _) = match verdict {
            Verdict::Valid => (&[], ""),
            _ => (&["too little answered"], "(3000 never offered)"),
        };
        is(&check(&vacuity(), &tape), verdict, kinds, says);
    }
}

#[test]
fn few_writes_or_reads_are_too_few() {
    for (few, many) in [("write", "read"), ("read", "write")] {
        let mut tape = run_where(|_, _| None);
        for at in (0..10_000).step_by(100) {
            let f = if at % 5_000 == 0 { few } else { many };
            tape.op(at, at + 20, NODES[(at / 100 % 3) as usize], f, 0, Kind::Ok);
        }
        let says = format!("2 {few}s succeeded in the main phase, and at least 10 must");
        is(
            &check(&vacuity(), &tape),
            Verdict::Vacuous,
            &["too few successes"],
            &says,
        );
    }
}

#[test]
fn a_fault_that_nobody_tried_though_a_quorum_was_whole_shows_nothing() {
    let quiet = |at: u64, _: &str| (!(4_000..6_000).contains(&at)).then_some(Kind::Ok);
    let mut tape = run_where(quiet);
    tape.fault(0, "kill", 3_950, 6_010, down(&["n1"]), true);
    // The one operation that was called in its time is enough to have tried.
    is(&check(&vacuity(), &tape), Verdict::Valid, &[], "");
    let mut tape = run_where(quiet);
    tape.fault(0, "kill", 4_010, 5_990, down(&["n1"]), true);
    let says = "nothing was tried of the rest while fault 0 (kill something) held, from 4.010 s";
    let kinds = ["fault not tried"];
    is(&check(&vacuity(), &tape), Verdict::Vacuous, &kinds, says);
    // All clients wait for the one that was killed, and none asks the others.
    tape.op(3_990, 6_500, "n1", "read", 0, Kind::Info);
    is(&check(&vacuity(), &tape), Verdict::Vacuous, &kinds, says);
    // One waits for the others all the while: they elect a leader, say.
    tape.op(3_990, 6_500, "n2", "read", 0, Kind::Info);
    is(&check(&vacuity(), &tape), Verdict::Valid, &[], "");
    // Of a minority nothing can be expected.
    let mut tape = run_where(quiet);
    tape.fault(0, "kill", 4_010, 5_990, down(&["n1", "n2"]), true);
    is(&check(&vacuity(), &tape), Verdict::Valid, &[], "");
}

#[test]
fn a_node_served_nothing_is_forgiven_only_where_faults_held_it() {
    let without = |_: u64, node: &str| (node != "n2").then_some(Kind::Ok);
    let mut tape = run_where(without);
    tape.fault(0, "kill", 1_000, 4_000, down(&["n2"]), true);
    let says = "n2 never served an operation of the main phase";
    is(
        &check(&vacuity(), &tape),
        Verdict::Vacuous,
        &["node never served"],
        says,
    );
    tape.fault(1, "kill", 5_000, 7_500, down(&["n2"]), true);
    is(&check(&vacuity(), &tape), Verdict::Valid, &[], "");
}

/// Others hold all that there is to hold.
#[test]
fn a_node_that_only_says_no_serves_and_one_whose_clients_never_asked_does_not() {
    let failing = |_: u64, node: &str| Some(if node == "n2" { Kind::Fail } else { Kind::Ok });
    for (code, verdict) in [
        ("conflict", Verdict::Valid),
        ("not-held", Verdict::Vacuous),
        ("unavailable", Verdict::Vacuous),
    ] {
        let mut tape = run_where(failing);
        for event in tape.events.iter_mut().filter(|e| e.error.is_some()) {
            event.error = Some(code.into());
        }
        let (kinds, says): (&[&str], _) = match verdict {
            Verdict::Valid => (&[], "3 of 3 nodes served"),
            _ => (&["node never served"], "n2 never served"),
        };
        is(&check(&vacuity(), &tape), verdict, kinds, says);
    }
}
