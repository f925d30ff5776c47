//! Bad input, one test each: a clear message, the right exit code, nothing left behind.

mod histories;

use std::fs;
use std::process::Command;

use crate::support::{Ended, Place, spec};

const USAGE: i32 = 64;
const INFRA: i32 = 4;

const HEADER: &str = "{\"schism\":\"history\",\"version\":1}\n";

fn event(index: usize, process: usize, kind: &str, value: &str) -> String {
    format!(
        "{{\"index\":{index},\"time\":{index},\"process\":{process},\"type\":\"{kind}\",\"f\":\"write\",\"value\":{value}}}\n"
    )
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let place = Place::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "paxoskv"], &["paxoskv", "paxos-kv"]),
        (
            &["run", "paxos-kv", "--workload", "registr"],
            &["registr", "register"],
        ),
        (
            &["run", "paxos-kv", "--nemesis", "partitoin"],
            &["partitoin", "partition"],
        ),
        (
            &["run", "paxos-kv", "--nemesis", "partition:halfs"],
            &["halfs", "halves"],
        ),
        (
            &["run", "paxos-kv", "--flaw", "stale-read"],
            &["stale-read", "stale-read-"],
        ),
        (
            &["run", "paxos-kv", "--param", "election-timout=1s"],
            &["election-timout", "election-timeout"],
        ),
        (
            &["run", "paxos-kv", "--param", "election-timeout=soon"],
            &["election-timeout", "soon", "duration"],
        ),
        (
            &["run", "paxos-kv", "--nemisis", "pause"],
            &["--nemisis", "--nemesis"],
        ),
        (&["rum"], &["rum", "run"]),
    ];
    for (args, words) in cases {
        place.schism(args).exits(USAGE).says(words);
    }
    assert!(!place.store().exists(), "nothing was begun");
}

#[test]
fn numbers_out_of_range_name_the_flag_and_the_range() {
    let place = Place::new();
    let run = |flag, value| place.schism(&["run", "paxos-kv", flag, value]).exits(USAGE);
    run("--nodes", "0").says(&["--nodes 0", "1 to 9"]);
    run("--nodes", "2000").says(&["--nodes 2000", "1 to 9"]);
    run("--rate", "0").says(&["--rate 0"]);
    run("--rate", "-5").says(&["-5"]);
    run("--concurrency", "0").says(&["--concurrency 0"]);
    run("--time-limit", "500ms").says(&["--time-limit 500ms", "1s"]);
    run("--time-limit", "soon").says(&["--time-limit", "soon", "500ms"]);
    run("--seed", "-1").says(&["--seed"]);
    assert!(!place.store().exists(), "nothing was begun");
}

#[test]
fn a_bad_schedule_names_file_and_line() {
    let place = Place::new();
    let fault = "[[fault]]\nat = \"5s\"\nlasts = \"2s\"\nfamily = \"pause\"\ntargets = [\"n1\"]\n";
    let cases = [
        (
            "keys",
            format!("version = 1\n{fault}colour = \"red\"\n"),
            "colour",
            ":7",
        ),
        (
            "order",
            format!("version = 1\n{fault}{}", fault.replace("5s", "1s")),
            "order",
            ":8",
        ),
        (
            "nodes",
            format!("version = 1\n{}", fault.replace("n1", "n7")),
            "n7",
            ":6",
        ),
        (
            "family",
            format!("version = 1\n{}", fault.replace("pause", "paus")),
            "pause",
            ":5",
        ),
        ("version", "version = 9\n".to_string(), "9", ":1"),
        ("binary", "\u{1}\u{2}\u{3}".to_string(), "", ":1"),
    ];
    for (name, text, word, line) in cases {
        let file = place.file(&format!("{name}.toml"), text);
        let file = file.to_str().unwrap();
        place
            .schism(&["run", "paxos-kv", "--nodes", "5", "--schedule", file])
            .exits(USAGE)
            .says(&[&format!("{name}.toml"), word, line]);
    }
    place
        .schism(&["run", "paxos-kv", "--schedule", "nowhere.toml"])
        .exits(USAGE)
        .says(&["nowhere.toml", "No such file"]);
    let long = place.file("long.toml", format!("version = 1\n{fault}"));
    place
        .schism(&[
            "run",
            "paxos-kv",
            "--time-limit",
            "3s",
            "--schedule",
            long.to_str().unwrap(),
        ])
        .exits(USAGE)
        .says(&["--time-limit"]);
    assert!(!place.store().exists(), "nothing was begun");
}

#[test]
fn nobody_aims_at_the_leader_of_a_system_that_has_none() {
    let place = Place::new();
    let aimed = "version = 1\n[[fault]]\nat = \"5s\"\nlasts = \"2s\"\nfamily = \"pause\"\ntargets = \"leader\"\n";
    let file = place.file("aimed.toml", aimed);
    let file = file.to_str().unwrap();
    let refused = |args: &[&str], words: &[&str]| {
        place.schism(args).exits(USAGE).says(words);
    };
    refused(
        &["run", "chain", "--schedule", file],
        &["aimed.toml: fault 1 aims at the leader, and chain has none"],
    );
    for nemesis in ["kill:leader", "partition:leader", "clock:jump:leader"] {
        let why = "aims at a leader, and there is none";
        refused(&["run", "chain", "--nemesis", nemesis], &[nemesis, why]);
        refused(
            &["run", "paxos-kv", "--no-leader", "--nemesis", nemesis],
            &[nemesis, why],
        );
        // What one of the two cannot have, neither has.
        refused(
            &["compare", "paxos-kv", "chain", "--nemesis", nemesis],
            &[nemesis, why],
        );
    }
    assert!(!place.store().exists(), "nothing was begun");
}

#[test]
fn a_missing_agent_and_a_missing_node_program_say_how_to_get_them() {
    let place = Place::new();
    let run = |variable: &str, value: &str| {
        let mut command = place.command(&["run", "paxos-kv", "--nodes", "3", "--time-limit", "5s"]);
        Ended::of(command.env(variable, value).output().unwrap())
    };
    run("SCHISM_AGENT", "/nonexistent/agent")
        .exits(INFRA)
        .says(&["/nonexistent/agent", "build"]);
    run("SCHISM_PAXOS_KV", "/nonexistent/paxos-kv")
        .exits(USAGE)
        .says(&["/nonexistent/paxos-kv", "build"]);
    place.assert_nothing_left();
}

#[test]
fn a_daemon_that_will_not_start_shows_its_last_words() {
    let place = Place::new();
    let script = place.file(
        "paxos-kv",
        "#!/bin/sh\necho 'the disk has eaten the configuration' >&2\nexit 3\n",
    );
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = place.command(&["run", "paxos-kv", "--nodes", "3", "--time-limit", "5s"]);
    Ended::of(command.env("SCHISM_PAXOS_KV", &script).output().unwrap())
        .exits(INFRA)
        .says(&[
            "n1:",
            "n3:",
            "the disk has eaten the configuration",
            "has ended",
        ]);
    place.assert_nothing_left();
}

#[test]
fn a_store_that_cannot_be_written_is_said_before_anything_starts() {
    let place = Place::new();
    place
        .schism(&["run", "paxos-kv", "--store", "/proc/store"])
        .exits(INFRA)
        .says(&["/proc/store"]);
    place.assert_nothing_left();
}

/// A file system that is full in mid-run: what was recorded until then is judged.
#[test]
fn a_full_disk_ends_the_run_and_what_was_recorded_is_judged() {
    let place = Place::new();
    fs::create_dir(place.store()).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m none {store} && \"$@\"; code=$?; \
         echo; ls {store}/latest/; exit $code",
        store = place.store().display()
    );
    let ended = Ended::of(
        Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .arg(env!("CARGO_BIN_EXE_schism"))
            .args([
                "run",
                "paxos-kv",
                "--nodes",
                "3",
                "--time-limit",
                "30s",
                "--rate",
                "500",
            ])
            .args(["--nemesis", "none", "--seed", "1"])
            .current_dir(place.path())
            .output()
            .expect("unshare is part of util-linux"),
    );
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, INFRA, "{ended:#?}");
    assert!(said.contains("No space left"), "{ended:#?}");
    assert!(ended.stdout.contains("history.jsonl"), "{ended:#?}");
    place.assert_nothing_left();
}

#[test]
fn help_has_examples_and_every_exit_code() {
    let place = Place::new();
    let help = place.schism(&["--help"]).exits(0);
    for word in [
        "valid", "invalid", "unknown", "vacuous", "infra", "usage", "64",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
    place
        .schism(&["run", "--help"])
        .exits(0)
        .prints(&["Examples:", "--nemesis"]);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        place
            .schism(&["completions", shell])
            .exits(0)
            .prints(&["SCHISM_COMPLETE"]);
    }
    place
        .schism(&["completions", "tcsh"])
        .exits(64)
        .says(&["one of bash, elvish, fish, powershell, zsh"]);
}
