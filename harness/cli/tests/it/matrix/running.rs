//! Nights that are run: with doubles in place of a system, so that it is known what must come of
//! them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{CANARY, DIES, GREEN, INFRA, NEVER, QUICK, RED, TOO_FEW, lines, night, results, runs};
use crate::support::{Ended, Place};

const SYSTEM: &str = "[[system]]\nname = \"paxos-kv\"\n";

fn with_double(place: &Place, args: &[&str], program: &str) -> Command {
    let mut command = place.command(args);
    command.env("SCHISM_PAXOS_KV", place.script("double.sh", program));
    command
}

fn ended(mut command: Command) -> Ended {
    Ended::of(command.output().expect("schism starts"))
}

#[test]
fn a_night_that_is_killed_goes_on_and_runs_nothing_twice() {
    let place = Place::new();
    place.file("m.toml", format!("seeds = 3\n{QUICK}{SYSTEM}"));
    let args = ["matrix", "m.toml", "--jobs", "1"];
    let mut command = place.command(&args);
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut told = stderr.lines().map_while(Result::ok);
    assert!(
        told.any(|line| line.starts_with("1/3")),
        "the first cell is told"
    );
    // The same night a second time, while it goes on.
    place.schism(&args).exits(INFRA).says(&["already goes on"]);
    let pid = Pid::from_raw(child.id() as i32).expect("a pid is not zero");
    kill_process(pid, Signal::KILL).expect("it runs");
    child.wait().expect("it ended");
    place.assert_nothing_left();

    let folder = night(&place);
    let before = runs(&folder);
    assert_eq!(before.len(), 1, "{before:?}");
    // And as if it had been killed in the middle of a line.
    let file = folder.join("runs.jsonl");
    let mut text = std::fs::read(&file).expect("it is there");
    text.extend(b"{\"type\":\"run\",\"cell\":\"paxos");
    std::fs::write(&file, text).expect("it is ours");
    let ended = place.schism(&args).exits(GREEN);
    ended.says(&["continues, with 1 run already made; line 3 is torn, and its run is made again"]);
    let after = runs(&folder);
    assert_eq!(after[..1], before[..]);
    let mut cells: Vec<&str> = after.iter().map(|(cell, ..)| cell.as_str()).collect();
    cells.sort_unstable();
    let all = [1, 2, 3].map(|seed| format!("paxos-kv/register/none/{seed}"));
    assert_eq!(cells, all);
    assert!(
        after
            .iter()
            .all(|(_, why, ending)| (why.as_str(), ending.as_str()) == ("first", "valid"))
    );

    // Another matrix in the same store is another night, and the first is not touched.
    place.file("other.toml", format!("seeds = [9]\n{QUICK}{SYSTEM}"));
    place
        .schism(&["matrix", "other.toml", "--night", "other"])
        .exits(GREEN);
    assert_eq!(runs(&folder), after);
    let nights = std::fs::read_dir(place.store().join("nights"))
        .expect("nights")
        .count();
    assert_eq!(nights, 2);
}

#[test]
fn a_file_that_is_broken_in_its_middle_is_said_and_not_touched() {
    let place = Place::new();
    place.file("m.toml", format!("{QUICK}{SYSTEM}"));
    let args = ["matrix", "m.toml", "--night", "x"];
    place.schism(&args).exits(GREEN);
    let file = night(&place).join("runs.jsonl");
    let whole = std::fs::read_to_string(&file).expect("it is there");
    let broken = whole.replacen("\"type\":\"run\"", "\"type\":\"rn\"", 1);
    std::fs::write(&file, &broken).expect("it is ours");
    place
        .schism(&args)
        .exits(64)
        .says(&["runs.jsonl:2:", "take the line away"]);
    let (_, rest) = whole.split_once('\n').expect("lines");
    std::fs::write(&file, rest).expect("it is ours");
    place
        .schism(&args)
        .exits(64)
        .says(&["runs.jsonl:1:", "the file's beginning is missing"]);
    std::fs::write(&file, &whole[..50]).expect("it is ours");
    place
        .schism(&args)
        .exits(64)
        .says(&["there is no night in it", "remove the folder"]);
    std::fs::write(&file, &whole).expect("it is ours");
    place
        .schism(&args)
        .exits(GREEN)
        .says(&["continues, with 1 run"]);
}

#[test]
fn an_anomaly_is_confirmed_and_red_until_it_is_known_and_for_as_long() {
    let place = Place::new();
    let gate = "[gate]\nconfirm = 2\n";
    place.file("known.toml", "");
    place.file(
        "m.toml",
        format!("known = \"known.toml\"\n{QUICK}{gate}{SYSTEM}"),
    );
    let args = ["matrix", "m.toml", "--night", "x"];
    let first = ended(with_double(&place, &args, DIES)).exits(RED);
    place.assert_nothing_left();
    first.prints(&[
        "1 cell: 1 red",
        "red  paxos-kv/register/none/1",
        "crash",
        "invalid again in 2 of 2 further runs",
        "again    schism run paxos-kv --workload register",
    ]);
    let folder = night(&place);
    let purposes: Vec<String> = runs(&folder)
        .into_iter()
        .map(|(_, purpose, _)| purpose)
        .collect();
    assert_eq!(purposes, ["first", "confirm", "confirm"]);
    let cell = &lines(&folder.join("results.jsonl"))[0];
    assert_eq!(
        cell["confirmed"],
        serde_json::json!({ "again": 2, "of": 2 })
    );
    assert_eq!(cell["anomalies"][0], "crashed");
    let print = cell["fingerprint"]["id"]
        .as_str()
        .expect("it has one")
        .to_string();
    let junit = std::fs::read_to_string(folder.join("junit.xml")).expect("it is there");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    assert!(junit.contains("schism run paxos-kv"), "{junit}");
    let page = std::fs::read_to_string(folder.join("index.html")).expect("it is there");
    assert!(
        page.contains(&print) && page.contains("1 of 1 seeds, the same seed in 100 %"),
        "{page}"
    );

    // Somebody has looked at it: nothing is run again.
    let issue = |until: &str, print: &str| {
        format!(
            "[[issue]]\nfingerprint = \"{print}\"\nlink = \"https://x/7\"\nuntil = \"{until}\"\n"
        )
    };
    place.file("known.toml", issue("2999-01-01", &print));
    let known = ended(with_double(&place, &args, DIES)).exits(GREEN);
    known.prints(&["1 known", "https://x/7"]);
    assert_eq!(runs(&folder).len(), 3);
    let junit = std::fs::read_to_string(folder.join("junit.xml")).expect("it is there");
    assert!(
        junit.contains("failures=\"0\"") && junit.contains("known https://x/7"),
        "{junit}"
    );

    place.file("known.toml", issue("2020-01-01", &print));
    ended(with_double(&place, &args, DIES)).exits(RED).prints(&[
        "known until 2020-01-01 (https://x/7)",
        "was excused until 2020-01-01, and is still there",
    ]);
    place.file("known.toml", issue("2999-01-01", "00000000000f"));
    ended(with_double(&place, &args, DIES))
        .exits(RED)
        .prints(&["known issue 00000000000f (https://x/7) was not seen in this night"]);
}

#[test]
fn a_run_that_does_not_end_is_ended_tried_again_and_no_verdict() {
    let place = Place::new();
    let gate = "[gate]\nwatchdog = \"1s\"\ninfra-retries = 1\n";
    place.file("m.toml", format!("{QUICK}{gate}{SYSTEM}"));
    let ended = ended(with_double(&place, &["matrix", "m.toml"], NEVER)).exits(TOO_FEW);
    place.assert_nothing_left();
    ended.prints(&[
        "1 cell: 1 grey; 2 runs went wrong by the harness's doing",
        "verdicts  a verdict in 0 of 1 cell, 0 %: 90 % are wanted",
    ]);
    let runs = runs(&night(&place));
    let runs: Vec<(&str, &str)> = runs
        .iter()
        .map(|(_, why, end)| (why.as_str(), end.as_str()))
        .collect();
    assert_eq!(runs, [("first", "timeout"), ("retry", "timeout")]);
    let junit = std::fs::read_to_string(night(&place).join("junit.xml")).expect("it is there");
    assert!(junit.contains("did not end within 3 s"), "{junit}");
}

#[test]
fn a_canary_that_stays_green_and_a_system_that_is_missing_are_not_green() {
    let place = Place::new();
    // What is planted is nothing: so there is nothing to be found.
    let canary = "[[include]]\nsystem = \"paxos-kv\"\nlabel = \"canary\"\nnemesis = \"none\"\nexpect = \"invalid\"\n";
    place.file(
        "m.toml",
        format!("{QUICK}[gate]\nverdicts = 40\n[[system]]\nname = \"etcd\"\n{canary}"),
    );
    let mut command = place.command(&["matrix", "m.toml"]);
    command.env("SCHISM_ETCD", "/nowhere/etcd");
    let ended = ended(command).exits(CANARY);
    ended.prints(&[
        "2 cells: 1 silent, 1 grey",
        "canary    canary canary/register/none: nothing was found",
        "note: 1 cell missing: etcd was not found",
    ]);
    let found = results(&night(&place));
    let of = |id: &str, colour: &str, ending: &str| {
        (id.to_string(), colour.to_string(), ending.to_string())
    };
    assert_eq!(
        found,
        [
            of("canary/register/none/1", "silent", "valid"),
            of("etcd/register/none/1", "grey", "missing"),
        ]
    );
    // Only the canary was run.
    assert_eq!(runs(&night(&place)).len(), 1);
    // With the one that is missing there are too few, if nearly all are wanted.
    let text = std::fs::read_to_string(place.path().join("m.toml")).expect("it is ours");
    place.file(
        "m.toml",
        text.replace("verdicts = 40", "verdicts = 90")
            .replace("\"invalid\"", "\"valid\""),
    );
    let mut command = place.command(&["matrix", "m.toml"]);
    command.env("SCHISM_ETCD", "/nowhere/etcd");
    self::ended(command)
        .exits(TOO_FEW)
        .prints(&["a verdict in 1 of 2 cells, 50 %"]);
}

#[test]
fn a_store_that_is_full_ends_the_night_and_loses_nothing() {
    let place = Place::new();
    place.file("m.toml", format!("seeds = 2\n{QUICK}{SYSTEM}"));
    let args = ["matrix", "m.toml", "--night", "x", "--jobs", "1"];
    let full = [&args[..], &["--least-free", "1000000000"]].concat();
    place
        .schism(&full)
        .exits(INFRA)
        .prints(&["the store is full", "2 of 2 cells not run to the end"]);
    assert_eq!(runs(&night(&place)).len(), 0);
    // When there is room again, the same command goes on.
    place.schism(&args).exits(GREEN);
    assert_eq!(runs(&night(&place)).len(), 2);
}

#[test]
fn github_is_told_in_its_own_words() {
    let place = Place::new();
    place.file("m.toml", format!("{QUICK}[gate]\nconfirm = 0\n{SYSTEM}"));
    let summary = place.file("summary", "before\n");
    let mut command = with_double(&place, &["matrix", "m.toml", "--json"], DIES);
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary);
    let ended = ended(command).exits(RED);
    ended.says(&[
        "::error title=red paxos-kv/register/none/1::",
        "%0Aagain: schism run paxos-kv",
    ]);
    let text = std::fs::read_to_string(summary).expect("it is there");
    assert!(
        text.starts_with("before\n# m ") && text.contains("## Red"),
        "{text}"
    );
}

#[test]
fn faults_come_at_the_pace_of_the_matrix() {
    let place = Place::new();
    let pace = "version = 1\nnemeses = [\"pause\"]\n[run]\ntime-limit = \"4s\"\nnodes = 3\n\
        recovery-time = \"5s\"\nfault-length = \"200ms\"\nfault-gap = \"200ms..300ms\"\n";
    place.file("m.toml", format!("{pace}{SYSTEM}"));
    let _ = place.schism(&["matrix", "m.toml", "--night", "x"]);
    let run = &lines(&night(&place).join("runs.jsonl"));
    let run = run.iter().find(|line| line["type"] == "run");
    let name = run.expect("it ran")["run"].as_str().expect("its folder");
    let schedule = std::fs::read_to_string(place.store().join(name).join("schedule.toml"));
    let schedule = schedule.expect("it has faults");
    // By themselves they would last for 2 s and more.
    assert!(schedule.matches("[[fault]]").count() > 5, "{schedule}");
    assert!(schedule.contains("\"200ms\""), "{schedule}");
}
