//! A verdict is never lost: whoever does not listen any more, and whatever cannot be written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Ended, HISTORY, Place, REGISTER, recorded, write_history};

const INVALID: i32 = 1;
const UNKNOWN: i32 = 2;
const INFRA: i32 = 4;
const USAGE: i32 = 64;

/// Where output may go that nobody will ever read.
fn lost(to: &str) -> Stdio {
    match to {
        "full" => fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has one")
            .into(),
        "gone" => {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            writer.into()
        }
        other => unreachable!("{other}"),
    }
}

#[test]
fn output_that_nobody_takes_changes_no_exit_code_and_is_not_spoken_of() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-good", "1");
    recorded(&place, "20260101T000001-bad", "2");
    let history = run.join(HISTORY);
    let history = history.to_str().expect("text");
    place.file("register.edn", REGISTER);
    let order = ["check", "register.edn", "--certificate", "order.json"];
    place.schism(&order).exits(0);
    let commands: &[&[&str]] = &[
        &["check", "20260101T000000-good"],
        &["check", "20260101T000001-bad"],
        &["check", "20260101T000001-bad", "--json"],
        &["check", "register.edn"],
        &["check", "register.edn", "--check-memory", "0"],
        &["check", "no-such-run"],
        &["verify", "register.edn", "order.json"],
        &["verify", "register.edn", history],
        &["convert", history, "--to", "edn", "--output", "out.edn"],
        &["report", "20260101T000000-good"],
        &["report", "no-such-run", "--json"],
        &["list"],
        &["list", "--json"],
        &["systems"],
        &["systems", "--json"],
        &["workloads"],
        &["nemeses"],
        &["flaws"],
        &["flaws", "etcd"],
        &["errors"],
        &["doctor"],
        &["completions", "bash"],
        &["cluster", "status"],
        &["heal", "no-such-folder"],
        &["prove", "--scenarios", "."],
        &["compare", "paxos-kv", "no-such-system"],
        &["sweep", "paxos-kv", "--param", "lease=no..yes"],
        &["run", "no-such-system"],
        &["run", "--no-such-flag"],
        &["--help"],
        &["--version"],
    ];
    for args in commands {
        let code = place.schism(args).code;
        for to in ["full", "gone"] {
            let mut quiet = place.command(args);
            let ended = Ended::of(quiet.stdout(lost(to)).output().expect("it starts"));
            assert_eq!(ended.code, code, "{args:?}, stdout {to}: {ended:#?}");
            assert!(!ended.stderr.contains("panic"), "{args:?}: {ended:#?}");
            let mut mute = place.command(args);
            let ended = Ended::of(mute.stderr(lost(to)).output().expect("it starts"));
            assert_eq!(ended.code, code, "{args:?}, stderr {to}: {ended:#?}");
            let mut both = place.command(args);
            let both = both.stdout(lost(to)).stderr(lost(to));
            let ended = both.status().expect("it starts");
            assert_eq!(ended.code(), Some(code), "{args:?}, both {to}");
        }
    }
    // What is written to stdout in place of a file is missed, unless its reader has had enough.
    let convert = ["convert", history, "--to", "edn"];
    let to = |to| Ended::of(place.command(&convert).stdout(lost(to)).output().unwrap());
    to("gone").exits(0);
    to("full").exits(USAGE).says(&["No space left"]);
}

#[test]
fn a_run_tells_its_verdict_to_nobody() {
    let place = Place::new();
    let args = ["run", "paxos-kv", "--nodes", "3", "--time-limit", "2s"];
    let args = [&args[..], &["--nemesis", "none", "--seed", "1"]].concat();
    for to in ["full", "gone"] {
        let mut run = place.command(&args);
        let ended = run.stdout(lost(to)).stderr(lost(to)).status();
        assert_eq!(ended.expect("it starts").code(), Some(0), "{to}");
        assert_eq!(place.results()["verdict"], "valid");
        fs::remove_dir_all(place.store()).expect("it is ours");
    }
}

/// `schism` with these arguments, by the shell, after this script.
fn after(place: &Place, script: &str, args: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{script}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_schism"))
        .args(args)
        .current_dir(place.path())
        .stdin(Stdio::null());
    shell
}

#[test]
fn a_run_is_judged_where_nothing_can_be_written() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-bad", "2");
    place.schism(&["check", "latest"]).exits(INVALID);
    let before = fs::read(run.join("results.json")).expect("it was written");
    let listing = || fs::read_dir(&run).expect("is there").count();
    let files = listing();

    // Like a full disk: no file may grow.
    let full = "trap '' XFSZ; ulimit -f 0";
    let ended = after(&place, full, &["check", "latest"]).output();
    Ended::of(ended.expect("sh starts"))
        .exits(INVALID)
        .prints(&["INVALID", "linearizable"])
        .says(&["cannot write", "results.json"]);
    assert_eq!(fs::read(run.join("results.json")).unwrap(), before);
    assert_eq!(listing(), files, "nothing half written is left");

    // Read-only for root too.
    let store = place.store();
    let script = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}'",
        store.display()
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]);
    let shell = after(&place, &script, &["check", "latest", "--json"]);
    unshare.arg("sh").args(shell.get_args());
    let ended = unshare.current_dir(place.path()).output();
    let ended = Ended::of(ended.expect("it starts")).exits(INVALID).says(&[
        "cannot write",
        "results.json",
        "Read-only",
    ]);
    let judged: Value = serde_json::from_str(&ended.stdout).expect("one object");
    assert_eq!(judged["verdict"], "invalid");
    assert_eq!(fs::read(run.join("results.json")).unwrap(), before);
}

#[test]
fn a_judgement_that_did_not_come_as_far_replaces_none() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-bad", "2");
    let stored = || {
        let text = fs::read(run.join("results.json")).expect("it was judged");
        let json: Value = serde_json::from_slice(&text).expect("JSON");
        json["verdict"].as_str().expect("a word").to_string()
    };
    // The first is kept, whatever it is.
    let brief = ["check", "latest", "--check-memory", "0"];
    place.schism(&brief).exits(UNKNOWN);
    assert_eq!(stored(), "unknown");
    place.schism(&["check", "latest"]).exits(INVALID);
    assert_eq!(stored(), "invalid");
    let report = fs::read(run.join("report.html")).expect("it was written");
    place
        .schism(&brief)
        .exits(UNKNOWN)
        .says(&["nothing was written", "more is known", "INVALID"]);
    assert_eq!(stored(), "invalid");
    assert_eq!(fs::read(run.join("report.html")).unwrap(), report);
    // However the verdict is, with so little time it does not come as far.
    place.schism(&["check", "latest", "--check-time", "1ms"]);
    assert_eq!(stored(), "invalid");
}

#[test]
fn a_run_that_goes_on_is_called_so_and_nothing_is_written_into_it() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-good", "1");
    let files = || {
        let names = fs::read_dir(&run).expect("is there").flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    // As the run itself does it.
    let held = hold(&run);
    place
        .schism(&["check", "latest"])
        .exits(UNKNOWN)
        .prints(&["UNKNOWN", "still goes on"])
        .says(&["still goes on", "nothing was written"]);
    place.schism(&["list"]).exits(0).prints(&["live"]);
    let listed = place.schism(&["list", "--json"]).exits(0);
    let row: Value = serde_json::from_str(&listed.stdout).expect("one row");
    assert_eq!(
        (&row["live"], &row["verdict"]),
        (&true.into(), &Value::Null)
    );
    place
        .schism(&["report"])
        .exits(USAGE)
        .says(&["still goes on"]);
    // What it has shown already it has shown.
    let bad = recorded(&place, "20260101T000001-bad", "2");
    let also = hold(&bad);
    place.schism(&["check", "latest"]).exits(INVALID);
    assert!(!bad.join("results.json").exists());
    // Before its main phase there is no history yet.
    fs::remove_file(bad.join(HISTORY)).expect("it is ours");
    place.schism(&["check", "latest"]).exits(UNKNOWN);
    assert_eq!(files(), before);
    drop((held, also));
    let over = place.schism(&["check", "20260101T000000-good"]);
    assert!(!over.stdout.contains("still goes on"), "{over:#?}");
    assert!(run.join("results.json").exists());
}

fn hold(run: &Path) -> fs::File {
    let folder = fs::File::open(run).expect("is there");
    folder.lock().expect("nobody else has it");
    folder
}

#[test]
fn json_is_one_object_whatever_goes_wrong() {
    let place = Place::new();
    let broken = recorded(&place, "20260101T000000-broken", "1");
    write_history(&broken, "no history\n");
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (
            &["run", "no-such-system", "--json"],
            USAGE,
            "usage",
            "no-such-system",
        ),
        (
            &["run", "paxos-kv", "--no-such-flag", "--json"],
            USAGE,
            "usage",
            "--no-such-flag",
        ),
        (
            &["check", "no-such-run", "--json"],
            USAGE,
            "usage",
            "no-such-run",
        ),
        (&["check", "latest", "--json"], USAGE, "usage", HISTORY),
        (
            &["flaws", "no-such-system", "--json"],
            USAGE,
            "usage",
            "no-such-system",
        ),
        // The store is a file: what the harness needs it cannot have.
        (
            &[
                "run", "paxos-kv", "--nodes", "3", "--store", "file", "--json",
            ],
            INFRA,
            "infra",
            "file",
        ),
    ];
    place.file("file", "");
    for (args, code, word, says) in cases {
        let ended = place.schism(args).exits(*code).says(&[says]);
        let object: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ended.stdout));
        assert_eq!(object["verdict"], *word, "{args:?}");
        assert_eq!(object["exit_code"], *code, "{args:?}");
        let error = object["error"].as_str().expect("a text");
        assert!(error.contains(says), "{args:?}: {error}");
    }
    // A word after `--` is none of ours.
    let ended = place.schism(&["check", "--", "--json"]).exits(USAGE);
    assert_eq!(ended.stdout, "");
}

fn scenario(place: &Place, name: &str, rate: &str, expect: &str) -> String {
    let text = format!(
        "about = \"a test\"\nsystem = \"paxos-kv\"\nworkload = \"register\"\nnodes = 3\n\
         nemesis = \"none\"\ntime-limit = \"2s\"\nrate = {rate}\nconcurrency = 3\n\
         [expect]\nverdict = \"{expect}\"\n"
    );
    let path = place.file(name, text);
    path.to_str().expect("text").to_string()
}

#[test]
fn under_expect_the_exit_code_says_whether_it_came_as_the_scenario_says() {
    let place = Place::new();
    let run = |file: &str, more: &[&str]| {
        let args = ["run", "--scenario", file, "--seed", "3"];
        place.schism(&[&args[..], more].concat())
    };
    // Nothing is asked, so nothing is shown.
    let idle = scenario(&place, "idle.toml", "0.001", "vacuous");
    run(&idle, &[])
        .exits(3)
        .prints(&["as the scenario expects"]);
    run(&idle, &["--expect"])
        .exits(0)
        .prints(&["VACUOUS", "as the scenario expects"]);
    let busy = scenario(&place, "busy.toml", "100", "invalid");
    run(&busy, &[]).exits(0);
    let ended = run(&busy, &["--expect", "--json"]).exits(1);
    let object: Value = serde_json::from_str(&ended.stdout).expect("one object");
    assert_eq!(object["verdict"], "valid");
    assert_eq!(object["unmet"][0], "the verdict is valid, not invalid");

    run(&busy, &["--expect", "--nemesis", "pause"])
        .exits(USAGE)
        .says(&["--expect"]);
    place.schism(&["run", "paxos-kv", "--expect"]).exits(USAGE);
}

#[test]
fn one_broken_run_hides_no_other() {
    let place = Place::new();
    let write = |name: &str, spec: &str| {
        let run = recorded(&place, name, "1");
        fs::write(run.join("spec.json"), spec).expect("it is ours");
        run
    };
    write("20260101T000000-torn", "{\"schism\":");
    write("20260101T000001-empty", "");
    let piped = write("20260101T000002-piped", "");
    fs::remove_file(piped.join("spec.json")).expect("it is ours");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        piped.join("spec.json"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe");
    let linked = write("20260101T000003-linked", "");
    fs::remove_file(linked.join("spec.json")).expect("it is ours");
    symlink("/", linked.join("spec.json")).expect("a link");
    recorded(&place, "20260101T000004-bad", "2");
    place.schism(&["check"]).exits(INVALID);
    let listed = place.schism(&["list"]).exits(0);
    let rows: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(rows.len(), 5, "{}", listed.stdout);
    for (row, name) in rows.iter().zip(["torn", "empty", "piped", "linked"]) {
        assert!(row.contains(name) && row.contains("spec.json"), "{row}");
    }
    assert!(rows[4].starts_with("invalid"), "{}", rows[4]);
    let listed = place.schism(&["list", "--json"]).exits(0);
    for (row, broken) in listed.stdout.lines().zip([true, true, true, true, false]) {
        let row: Value = serde_json::from_str(row).expect("JSON");
        assert_eq!(row["problem"].is_string(), broken, "{row}");
    }
}
