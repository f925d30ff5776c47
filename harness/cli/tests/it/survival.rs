//! Runs that are cut short: nothing recorded is lost, and nothing is left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ended, Place, eventually};

/// A long run that has come to its main phase, with a fault in force.
fn in_mid_run(place: &Place) -> Child {
    let schedule = "version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"50s\"\n\
        family = \"partition\"\nshape = \"one-node\"\ntargets = [\"n1\"]\n\
        [[fault]]\nat = \"1s\"\nlasts = \"50s\"\nfamily = \"pause\"\ntargets = [\"n2\"]\n";
    let schedule = place.file("long.toml", schedule);
    let mut child = place
        .command(&[
            "run",
            "paxos-kv",
            "--nodes",
            "5",
            "--time-limit",
            "60s",
            "--seed",
            "3",
            "--schedule",
            schedule.to_str().unwrap(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("schism starts");
    let stderr = child.stderr.take().expect("it is piped");
    let mut lines = BufReader::new(stderr).lines();
    let begun = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("in force") && line.contains("pause"));
    assert!(begun, "the run ended before a fault was in force");
    // Somebody must go on reading, or the run would block on its own progress.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a pid is not zero");
    kill_process(pid, signal).expect("it still runs");
}

#[test]
fn sigkill_leaves_nothing_and_loses_nothing() {
    let place = Place::new();
    let mut child = in_mid_run(&place);
    let live = place.schism(&["check", "latest"]).exits(2);
    live.prints(&["UNKNOWN", "still goes on"]);
    assert!(!place.latest().join("results.json").exists());
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    place.assert_nothing_left();

    // The last line may be torn; tear it for certain.
    let history = place.latest().join("history.jsonl");
    let text = std::fs::read(&history).unwrap();
    let whole = text.iter().rposition(|b| *b == b'\n').unwrap();
    std::fs::write(&history, &text[..whole - 5]).unwrap();
    place.schism(&["check", "latest"]);
    let ended = place.schism(&["check", "latest"]);
    let torn = ended.stdout.matches("is torn and was left out").count();
    assert_eq!(torn, 1, "however often it is judged: {ended:#?}");
    assert!(ended.stdout.contains("linearizable"), "{ended:#?}");
}

#[test]
fn sigterm_heals_and_judges_what_there_is() {
    let place = Place::new();
    let child = in_mid_run(&place);
    signal(&child, Signal::TERM);
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert!((0..=3).contains(&ended.code), "{ended:#?}");
    let ended = ended.prints(&["linearizable", "report"]);
    assert!(!ended.stdout.contains("INVALID"), "{ended:#?}");
    place.assert_nothing_left();
    let history = std::fs::read_to_string(place.latest().join("history.jsonl")).unwrap();
    assert!(history.contains("\"heal\""), "the faults were healed");
}

#[test]
fn a_second_signal_leaves_at_once_and_leaves_nothing() {
    let place = Place::new();
    let mut child = in_mid_run(&place);
    signal(&child, Signal::TERM);
    signal(&child, Signal::TERM);
    // The second may come before the first was heard; then it counts as the first.
    eventually("it has ended", || {
        let ended = child.try_wait().unwrap().is_some();
        if !ended {
            signal(&child, Signal::TERM);
        }
        ended
    });
    place.assert_nothing_left();
}
