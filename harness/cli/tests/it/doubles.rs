//! Systems that lie to the run as a whole: all their answers are right, and yet they fail. Each is
//! a double of paxos-kv, with the verdict that is due.

use crate::support::{Ended, Place, history_of};

const KILL_TWO: &str = "version = 1
[[fault]]
at = \"2s\"
lasts = \"1s\"
family = \"kill\"
targets = [\"n1\", \"n2\"]
";

/// Six seconds of three nodes of this program.
fn run(place: &Place, program: &str, more: &[&str]) -> Ended {
    let three = ["--nodes", "3", "--time-limit", "6s", "--seed", "1"];
    let mut args = vec!["run", "paxos-kv"];
    args.extend(three);
    args.extend(more);
    let mut command = place.command(&args);
    command.env("SCHISM_PAXOS_KV", place.script("double.sh", program));
    let ended = Ended::of(command.output().expect("schism starts"));
    place.assert_nothing_left();
    ended
}

#[test]
fn nodes_that_hang_after_their_restart_never_served_again() {
    let place = Place::new();
    let schedule = place.file("kill.toml", KILL_TWO);
    let more = [
        "--recovery-time",
        "3s",
        "--schedule",
        schedule.to_str().unwrap(),
    ];
    let hangs = "[ -e started ] && exec sleep 600; touch started; exec REAL \"$@\"";
    run(&place, hangs, &more).exits(1).prints(&[
        "INVALID",
        "never served again: n1 did not serve again: it had 3.0 s from the last heal on",
        "but does not serve",
        "the fault before was 0 (kill n1 n2)",
        "its log ends:",
    ]);
    place
        .schism(&["check"])
        .exits(1)
        .prints(&["never served again: n1"]);
    let report = std::fs::read_to_string(place.latest().join("report.html")).unwrap();
    assert!(report.contains("n1 did not serve again"));
}

#[test]
fn nodes_that_end_at_once_after_their_restart_crashed_and_the_harness_is_not_to_blame() {
    let place = Place::new();
    let schedule = place.file("kill.toml", KILL_TWO);
    let ends = "[ -e started ] && { echo no, not again; exit 3; }; touch started; exec REAL \"$@\"";
    let more = [
        "--recovery-time",
        "3s",
        "--schedule",
        schedule.to_str().unwrap(),
    ];
    let ended = run(&place, ends, &more).exits(1);
    let ended = ended.prints(&["INVALID", "crashed of n1", "exit 3", "| no, not again"]);
    assert!(!ended.stdout.contains("infra"), "{ended:#?}");
}

/// The first node's daemon aborts after four seconds, and nobody asked it to.
const DIES: &str =
    "case \"$*\" in *\"--id n1 \"*) (sleep 4; kill -ABRT $$) & esac; exec REAL \"$@\"";

#[test]
fn a_daemon_that_dies_without_any_fault_crashed() {
    let place = Place::new();
    let ended = run(
        &place,
        DIES,
        &["--nemesis", "none", "--recovery-time", "3s"],
    )
    .exits(1);
    ended.prints(&[
        "INVALID",
        "crashed of n1: paxos-kv of n1",
        "signal 6; no fault was in force",
        "never served again: n1",
    ]);
    let history = history_of(&place.latest());
    assert!(history.contains("\"f\":\"crash\""));
}

#[test]
fn a_daemon_that_may_die_makes_nothing_invalid() {
    let place = Place::new();
    let more = ["--nemesis", "none", "--recovery-time", "3s", "--may-crash"];
    run(&place, DIES, &more)
        .exits(0)
        .prints(&["VALID", "signal 6", "that is allowed"]);
    place.schism(&["check"]).exits(0);
}

#[test]
fn a_system_that_does_not_start_leaves_why_in_the_runs_folder() {
    let place = Place::new();
    let says = "paxos-kv has ended (exit 7)";
    let ended = run(&place, "echo no licence; exit 7", &["--nemesis", "none"]);
    ended.exits(4).says(&[says, "no licence"]);
    place
        .schism(&["list"])
        .exits(0)
        .prints(&["infra", "ended at its start: n1: paxos-kv has ended"]);
    place
        .schism(&["check"])
        .exits(4)
        .prints(&["INFRA", says, "no licence"]);
}

/// Its port answers either way. Whoever puts himself into the background ends well.
#[test]
fn what_a_failed_daemon_leaves_behind_is_no_daemon() {
    let place = Place::new();
    let calm = ["--nemesis", "none"];
    let more = |status: u8| format!("REAL \"$@\" & exit {status}");
    run(&place, &more(0), &calm).exits(0).prints(&["VALID"]);
    let failed = run(&place, &more(3), &calm).exits(4);
    failed.says(&["ended at its start", "paxos-kv has ended (exit 3)"]);
}

/// All nodes stand still from the beginning to the end of the main phase. That the last operations
/// succeed says nothing of it.
#[test]
fn a_run_that_was_paused_all_along_is_vacuous() {
    let place = Place::new();
    let schedule = place.file(
        "pause.toml",
        "version = 1\n[[fault]]\nat = \"10ms\"\nfamily = \"pause\"\n\
         targets = [\"n1\", \"n2\", \"n3\"]\n",
    );
    let more = ["--schedule", schedule.to_str().unwrap()];
    let ended = run(&place, "exec REAL \"$@\"", &more).exits(3);
    ended.prints(&["VACUOUS", "and at least"]);
}
