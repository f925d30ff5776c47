//! Runs that are cut short: nothing recorded is lost, and nothing is left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ended, HISTORY, Place, eventually, history_of, write_history};

/// A long run that has come to its main phase, with a fault in force.
pub fn in_mid_run(place: &Place) -> Child {
    let schedule = "version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"50s\"\n\
        family = \"partition\"\nshape = \"one-node\"\ntargets = [\"n1\"]\n\
        [[fault]]\nat = \"1s\"\nlasts = \"50s\"\nfamily = \"pause\"\ntargets = [\"n2\"]\n\
        [[fault]]\nat = \"55s\"\nlasts = \"1s\"\nfamily = \"pause\"\ntargets = [\"n2\"]\n";
    let schedule = place.file("long.toml", schedule);
    let args = [
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
    ];
    until(place.command(&args), |line| {
        line.contains("in force") && line.contains("pause")
    })
}

/// Starts it, and returns once it has said this on stderr.
fn until(mut command: Command, said: impl Fn(&str) -> bool) -> Child {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("schism starts");
    let stderr = child.stderr.take().expect("it is piped");
    let mut lines = BufReader::new(stderr).lines();
    let mut seen = Vec::new();
    let begun = lines.by_ref().map_while(Result::ok).any(|line| {
        seen.push(line.clone());
        said(&line)
    });
    assert!(begun, "the run ended before that was said: {seen:#?}");
    // Somebody must go on reading, or the run would block on its own progress.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

pub fn signal(child: &Child, signal: Signal) {
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

    // What was recorded is there although its last frame has no end. Now with a torn line, too.
    let text = history_of(&place.latest());
    assert!(text.lines().count() > 50);
    let file = std::fs::read(place.latest().join(HISTORY)).unwrap();
    assert!(zstd::decode_all(&file[..]).is_err(), "it was not ended");
    let whole = text.rfind('\n').unwrap();
    write_history(&place.latest(), &text[..whole - 5]);
    place.schism(&["check", "latest"]);
    let ended = place.schism(&["check", "latest"]);
    let torn = ended.stdout.matches("is torn and was left out").count();
    assert_eq!(torn, 1, "however often it is judged: {ended:#?}");
    assert!(ended.stdout.contains("linearizable"), "{ended:#?}");
}

#[test]
fn sigterm_heals_and_judges_what_there_is_and_is_unknown_at_best() {
    let place = Place::new();
    let child = in_mid_run(&place);
    signal(&child, Signal::TERM);
    let ended = Ended::of(child.wait_with_output().unwrap()).exits(2);
    let ended = ended.prints(&[
        "UNKNOWN",
        "linearizable",
        "recovery",
        "completeness: stopped after ",
        " of 60 s, 2 of 3 faults begun (SIGTERM)",
        "report",
    ]);
    assert!(!ended.stdout.contains("invalid"), "{ended:#?}");
    place.assert_nothing_left();
    let history = history_of(&place.latest());
    assert!(history.contains("\"heal\""), "the faults were healed");
    let says = "of 60 s, 2 of 3 faults begun";
    place.schism(&["list"]).exits(0).prints(&["unknown", says]);
    place.schism(&["check", "latest"]).exits(2).prints(&[says]);
    let report = std::fs::read_to_string(place.latest().join("report.html")).unwrap();
    assert!(report.contains(says));
    assert!(place.results().to_string().contains(says));
}

#[test]
fn a_second_signal_in_mid_run_leaves_at_once_with_what_was_recorded() {
    let place = Place::new();
    let child = in_mid_run(&place);
    twice(&child);
    let ended = Ended::of(child.wait_with_output().unwrap()).exits(2);
    let text = "stopped after ";
    let ended = ended.prints(&["UNKNOWN", text, "it was left at once", "linearizable"]);
    assert!(!ended.stdout.contains(" 0 operations"), "{ended:#?}");
    place.assert_nothing_left();
    let history = history_of(&place.latest());
    assert!(history.lines().count() > 50);
}

/// Signals of one kind that nobody has heard yet are one: the second must be another, or come
/// later.
fn twice(child: &Child) {
    signal(child, Signal::INT);
    signal(child, Signal::TERM);
}

/// A program that never serves: the run stays where it starts the system.
fn never_serves(place: &Place) -> std::path::PathBuf {
    place.script("never.sh", "exec sleep 600")
}

#[test]
fn before_the_main_phase_one_signal_ends_the_run_and_its_folder_says_so() {
    for times in [1, 2] {
        let place = Place::new();
        let mut command = place.command(&["run", "paxos-kv", "--nodes", "3"]);
        command.env("SCHISM_PAXOS_KV", never_serves(&place));
        let child = until(command, |line| line.starts_with("starting paxos-kv"));
        match times {
            1 => signal(&child, Signal::INT),
            _ => twice(&child),
        }
        Ended::of(child.wait_with_output().unwrap()).exits(4);
        place.assert_nothing_left();
        let says = "stopped before the main phase had begun";
        place.schism(&["list"]).exits(0).prints(&["infra", says]);
        place.schism(&["check"]).exits(4).prints(&["INFRA", says]);
    }
}

/// Both nodes of three that were killed do not come back: the run waits for them.
#[test]
fn while_nodes_are_waited_for_one_signal_ends_the_waiting() {
    for times in [1, 2] {
        let place = Place::new();
        let schedule = place.file(
            "kill.toml",
            "version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"1s\"\nfamily = \"kill\"\n\
             targets = [\"n1\", \"n2\"]\n",
        );
        let mut command = place.command(&[
            "run",
            "paxos-kv",
            "--nodes",
            "3",
            "--time-limit",
            "3s",
            "--recovery-time",
            "10m",
            "--schedule",
            schedule.to_str().unwrap(),
        ]);
        let hangs = "[ -e started ] && exec sleep 600; touch started; exec REAL \"$@\"";
        command.env("SCHISM_PAXOS_KV", place.script("hangs.sh", hangs));
        let child = until(command, |line| line.starts_with("waiting until every node"));
        match times {
            1 => signal(&child, Signal::INT),
            _ => twice(&child),
        }
        let ended = Ended::of(child.wait_with_output().unwrap());
        // It served for a third of its time: that may be too little.
        assert!([2, 3].contains(&ended.code), "{ended:#?}");
        let says = "stopped after the main phase, before every node had served again";
        ended.prints(&[says, "SIG"]);
        place.assert_nothing_left();
    }
}

/// Thousands of keys, each to be read from every node: that takes a while.
#[test]
fn during_the_last_operations_one_signal_ends_them() {
    for times in [1, 2] {
        let place = Place::new();
        let command = place.command(&[
            "run",
            "paxos-kv",
            "--nodes",
            "3",
            "--nemesis",
            "none",
            "--param",
            "keys=50000",
            "--time-limit",
            "4s",
            "--rate",
            "2500",
            "--concurrency",
            "30",
        ]);
        let child = until(command, |line| line.starts_with("final operations"));
        match times {
            1 => signal(&child, Signal::TERM),
            _ => twice(&child),
        }
        let ended = Ended::of(child.wait_with_output().unwrap()).exits(2);
        ended.prints(&[
            "UNKNOWN",
            "stopped during the last operations",
            "linearizable",
        ]);
        place.assert_nothing_left();
    }
}

/// Processes below this one that run this program, as this process counts.
fn below(root: u32, program: &str) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok()
    };
    let runs = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).next() == Some(program.as_bytes())
    };
    let entries = std::fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(runs)
        .filter(|pid| std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|pid| pid == root))
        .collect()
}

/// It cannot keep its lease, and nobody inside of its node can end it.
#[test]
fn a_node_of_the_lab_whose_agent_is_stopped_ends_by_the_lease() {
    let place = Place::new();
    let mut child = in_mid_run(&place);
    let agents = || below(child.id(), "/srv/schism/bin/schism-agent");
    let all = agents();
    assert_eq!(all.len(), 5, "{all:?}");
    let stopped = all[0];
    let pid = Pid::from_raw(stopped as i32).expect("a pid is not zero");
    kill_process(pid, Signal::STOP).expect("it is ours");
    eventually("the stopped agent is gone", || !agents().contains(&stopped));
    assert_eq!(agents().len(), 4, "and no other");
    assert!(child.try_wait().expect("it is ours").is_none());
    signal(&child, Signal::TERM);
    let ended = Ended::of(child.wait_with_output().unwrap()).exits(4);
    ended.prints(&["INFRA", "the agent is gone"]);
    place.assert_nothing_left();
}
