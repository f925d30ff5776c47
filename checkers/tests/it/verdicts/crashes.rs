//! Daemons that end by themselves: whose failure that is.

use super::*;

impl Tape {
    /// The receipt of a fault's injection says that it did not take hold.
    fn denies(&mut self, number: u64) {
        let injected =
            |event: &&mut Event| event.process == Process::Nemesis && event.kind == Kind::Ok;
        for event in self.events.iter_mut().filter(injected) {
            let Ok(mut note) = event.value.to_serde::<Note>() else {
                continue;
            };
            if note.fault == number && note.action == Action::Inject {
                note.receipt.as_mut().unwrap().held = false;
                event.value = Value::from_serde(&note).unwrap();
            }
        }
    }
}

#[test]
fn a_daemon_that_ends_by_itself_makes_the_run_invalid_unless_it_may() {
    let mut tape = good();
    tape.fault(3, "partition", 4_000, 6_000, Loss::default(), true);
    let crash = Crash {
        daemon: "d".into(),
        pid: Some(12),
        status: "signal 6".into(),
        log: vec!["assertion failed".into()],
        disk_full: false,
    };
    tape.mark(5_000, Mark::Crash("n2".into(), crash));
    let found = check(&Crashes::default(), &tape);
    is(
        &found,
        Verdict::Invalid,
        &["crashed"],
        "d of n2 (pid 12) ended by itself at 5.000 s: signal 6",
    );
    is(
        &found,
        Verdict::Invalid,
        &["crashed"],
        "in force was fault 3",
    );
    is(&found, Verdict::Invalid, &["crashed"], "| assertion failed");
    assert_eq!(found.anomalies[0].object.as_deref(), Some("n2"));
    let found = check(&Crashes { allowed: true }, &tape);
    is(&found, Verdict::Valid, &[], "that is allowed");
}

#[test]
fn a_daemon_that_ends_on_a_full_disk_of_the_run_is_nobodys_failure() {
    let crash = |disk_full| Crash {
        status: "exit 1".into(),
        disk_full,
        ..Crash::default()
    };
    let mut tape = good();
    tape.mark(5_000, Mark::Crash("n2".into(), crash(true)));
    let found = check(&Crashes::default(), &tape);
    is(&found, Verdict::Unknown, &[], "was full then");
    // It does not excuse one that ended before.
    let mut tape = good();
    tape.mark(4_000, Mark::Crash("n1".into(), crash(false)));
    tape.mark(5_000, Mark::Crash("n2".into(), crash(true)));
    let found = check(&Crashes::default(), &tape);
    is(&found, Verdict::Invalid, &["crashed", "crashed"], "of n1");
}

#[test]
fn a_daemon_that_may_crash_need_not_come_back() {
    let mut tape = good();
    tape.events
        .retain(|event| event.f != "recovery" || event.node.as_deref() != Some("n1"));
    tape.mark(5_000, Mark::Crash("n1".into(), Crash::default()));
    tape.mark(15_200, recovery("n1", false, 5_000));
    let allowed = Recovery {
        roles: Some(&role),
        may_crash: true,
    };
    is(&check(&allowed, &tape), Verdict::Valid, &[], "2 of 3 nodes");
    is(
        &recovered(&tape),
        Verdict::Invalid,
        &["never served again"],
        "n1",
    );
}

/// The harness started it again, and it did not stay.
#[test]
fn a_daemon_that_ends_when_it_is_started_again_is_no_failure_of_the_harness() {
    let mut tape = good();
    tape.fault(0, "kill", 2_000, 3_000, down(&["n1"]), false);
    is(
        &check(&vacuity(), &tape),
        Verdict::Infra,
        &["fault not undone"],
        "still seen",
    );
    let crash = Crash {
        status: "exit 3".into(),
        ..Crash::default()
    };
    tape.mark(3_000, Mark::Crash("n1".into(), crash));
    is(&check(&vacuity(), &tape), Verdict::Valid, &[], "");
    is(
        &check(&Crashes::default(), &tape),
        Verdict::Invalid,
        &["crashed"],
        "exit 3",
    );
}

/// What has ended by itself cannot be killed, and the other kills were kills.
#[test]
fn a_kill_that_found_a_daemon_that_had_ended_takes_nothing_from_the_others() {
    let of = |family: &str, nodes: &[&str], ends: &[(&str, u64)]| {
        let mut tape = good();
        tape.fault(0, family, 2_000, 3_000, down(&["n2"]), true);
        tape.fault(1, family, 6_000, 7_000, down(nodes), true);
        tape.denies(1);
        for (node, at) in ends {
            tape.mark(*at, Mark::Crash((*node).into(), Crash::default()));
        }
        tape
    };
    let found = |family: &str, nodes: &[&str], ends: &[(&str, u64)]| {
        check(&vacuity(), &of(family, nodes, ends))
    };
    let excused = found("kill", &["n1"], &[("n1", 5_000)]);
    is(&excused, Verdict::Valid, &[], "1 of 2 faults held");
    let both = [("n1", 5_000), ("n3", 5_500)];
    let excused = found("kill", &["n1", "n3"], &both);
    is(&excused, Verdict::Valid, &[], "1 of 2 faults held");
    for (why, found) in [
        ("nobody had ended", found("kill", &["n1"], &[])),
        ("another had", found("kill", &["n1"], &[("n2", 5_000)])),
        ("it ended later", found("kill", &["n1"], &[("n1", 7_100)])),
        (
            "it was started since",
            found("kill", &["n2"], &[("n2", 1_000)]),
        ),
        ("one of two lived", found("kill", &["n1", "n3"], &both[..1])),
        ("no kill", found("partition", &["n1"], &[("n1", 5_000)])),
    ] {
        assert_eq!(found.verdict, Verdict::Vacuous, "{why}: {found:#?}");
    }
    // Of no kill at all is known that it was one.
    let mut tape = of("kill", &["n1"], &[("n1", 5_000)]);
    tape.denies(0);
    assert_eq!(check(&vacuity(), &tape).verdict, Verdict::Vacuous);
}
