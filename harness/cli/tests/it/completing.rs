//! What a shell is given for the word that is being typed.

use crate::support::{Ended, Place, recorded};

/// The proposals for the last word, without their explanations.
fn proposed(place: &Place, words: &[&str]) -> Vec<String> {
    let line = [&["--", "schism"], words].concat();
    let mut shell = place.command(&line);
    let ended = Ended::of(shell.env("SCHISM_COMPLETE", "fish").output().expect("runs"));
    assert_eq!(ended.code, 0, "{ended:#?}");
    let lines = ended.stdout.lines();
    let name = |line: &str| line.split('\t').next().unwrap_or_default().to_string();
    lines.map(name).collect()
}

#[test]
fn systems_faults_flaws_parameters_and_runs_are_proposed() {
    let place = Place::new();
    place.file("mine.rhai", "");
    for (words, wanted) in [
        (&["run", "pax"][..], "paxos-kv"),
        (&["run", "--workload", "reg"], "register"),
        (&["run", "--nemesis", "part"], "partition"),
        (
            &["run", "--nemesis", "partition:one-w"],
            "partition:one-way-in",
        ),
        (&["run", "--nemesis", "pause,kill:a"], "pause,kill:all"),
        (&["run", "--nemesis", "n"], "none"),
        (&["run", "--flaw", "stale-read-l"], "stale-read-leader"),
        (&["run", "--param", "election-t"], "election-timeout="),
        (&["check", "x.jsonl", "--model", "q"], "queue"),
        (&["check", "x.jsonl", "--model", "./m"], "./mine.rhai"),
        (&["nemeses", "mach"], "machine"),
        (&["explain", "la"], "latest"),
    ] {
        let all = proposed(&place, words);
        assert!(all.iter().any(|name| name == wanted), "{words:?}: {all:?}");
    }
    // Shapes only once their family stands there.
    let families = proposed(&place, &["run", "--nemesis", ""]);
    assert!(
        families.iter().all(|name| !name.contains(':')),
        "{families:?}"
    );
}

#[test]
fn the_runs_of_the_store_are_proposed_but_for_names_that_a_terminal_obeys() {
    let place = Place::new();
    let name = "20260101T000000-paxos-kv-register";
    let run = recorded(&place, name, "1");
    let evil = run.with_file_name("2026\u{1b}[2J");
    std::fs::create_dir(&evil).expect("a folder");
    std::fs::copy(run.join("spec.json"), evil.join("spec.json")).expect("a copy");
    assert_eq!(proposed(&place, &["explain", "2"]), [name]);
}
