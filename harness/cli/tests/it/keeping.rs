//! What becomes of runs afterwards: packed, unpacked, pruned, shrunk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::{Ended, HISTORY, Place, eventually, history_of, recorded, write_history};

const USAGE: i32 = 64;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("is there").flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_that_was_packed_is_the_same_elsewhere_without_the_nodes_data() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-bad", "2");
    for (file, text) in [
        ("data/wal", "x".repeat(100_000)),
        ("log/data", "a line\n".into()),
    ] {
        let path = run.join("nodes/n1").join(file);
        fs::create_dir_all(path.parent().unwrap()).expect("ours");
        fs::write(path, text).expect("ours");
    }
    std::os::unix::fs::symlink("/etc/passwd", run.join("nodes/link")).expect("ours");
    place.schism(&["check"]).exits(1);
    place
        .schism(&["pack"])
        .exits(0)
        .prints(&["20260101T000000-bad.tar.zst"]);
    let packed = "20260101T000000-bad.tar.zst";
    place
        .schism(&["unpack", packed, "--store", "other"])
        .exits(0);
    let other = place.path().join("other/20260101T000000-bad");
    for file in [
        "spec.json",
        HISTORY,
        "results.json",
        "report.html",
        "nodes/n1/log/data",
    ] {
        assert_eq!(
            fs::read(run.join(file)).unwrap(),
            fs::read(other.join(file)).unwrap(),
            "{file}"
        );
    }
    assert!(!other.join("nodes/n1/data").exists());
    assert!(other.join("nodes/link").symlink_metadata().is_err());
    place
        .schism(&["check", "20260101T000000-bad", "--store", "other"])
        .exits(1)
        .prints(&["INVALID"]);
    // It is there, and stays as it is.
    place
        .schism(&["unpack", packed, "--store", "other"])
        .exits(USAGE)
        .says(&["already there"]);
    // Cut short: nothing is in the store.
    let bytes = fs::read(place.path().join(packed)).expect("it is there");
    place.file("cut.tar.zst", &bytes[..bytes.len() / 2]);
    place
        .schism(&["unpack", "cut.tar.zst", "--store", "third"])
        .exits(USAGE)
        .says(&["cut.tar.zst"]);
    assert!(names(&place.path().join("third")).is_empty());
    place.file("text", "no archive");
    place
        .schism(&["unpack", "text", "--store", "third"])
        .exits(USAGE)
        .says(&["text"]);
    place
        .schism(&["pack", "nothing"])
        .exits(USAGE)
        .says(&["nothing"]);
}

/// A file as somebody would make it who wants to write elsewhere.
fn hostile(place: &Place, name: &str, entries: &[(&str, tar::EntryType)]) -> PathBuf {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind) in entries {
        let mut header = tar::Header::new_gnu();
        let field = &mut header.as_gnu_mut().expect("it is one").name;
        field[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(0);
        header.set_mode(0o644);
        if matches!(kind, tar::EntryType::Symlink) {
            header.set_link_name("/tmp").expect("short");
        }
        header.set_cksum();
        tar.append(&header, std::io::empty()).expect("in memory");
    }
    let bytes = tar.into_inner().expect("in memory");
    place.file(name, zstd::bulk::compress(&bytes, 1).expect("in memory"))
}

#[test]
fn a_packed_run_of_somebody_else_leads_nowhere_else() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let place = Place::new();
    let cases: &[(&[(&str, tar::EntryType)], &str)] = &[
        (&[("../evil", Regular)], "is no name in a run's folder"),
        (&[("/tmp/evil", Regular)], "is no name in a run's folder"),
        (
            &[("run/../../evil", Regular)],
            "is no name in a run's folder",
        ),
        (&[("latest", Directory)], "is no name in a run's folder"),
        (&[(".hidden", Directory)], "is no name in a run's folder"),
        (&[("run", Directory), ("run/link", Symlink)], "is no file"),
        (
            &[("run", Directory), ("other", Directory)],
            "more than one run",
        ),
        (&[("run", Directory)], "spec.json"),
        (&[], "there is nothing in it"),
    ];
    for (entries, says) in cases {
        hostile(&place, "evil.tar.zst", entries);
        place
            .schism(&["unpack", "evil.tar.zst"])
            .exits(USAGE)
            .says(&[says]);
        assert!(names(&place.store()).is_empty(), "{entries:?}");
    }
    assert_eq!(names(place.path()), ["evil.tar.zst", "store"]);
}

#[test]
fn old_runs_go_and_red_and_live_ones_stay() {
    let place = Place::new();
    let old = SystemTime::now() - Duration::from_secs(40 * 24 * 3600);
    let run = |name: &str, read: &str, is_old: bool| {
        let run = recorded(&place, name, read);
        place.schism(&["check", name]);
        if is_old {
            let spec = fs::File::options()
                .write(true)
                .open(run.join("spec.json"))
                .expect("ours");
            spec.set_modified(old).expect("ours");
        }
        run
    };
    run("20260101T000000-old", "1", true);
    run("20260102T000000-red", "2", true);
    let live = run("20260103T000000-live", "1", true);
    run("20260104T000000-new", "1", false);
    let held = fs::File::open(&live).expect("ours");
    held.lock().expect("nobody holds it");
    place.schism(&["prune"]).exits(USAGE).says(&["--keep AGE"]);
    place
        .schism(&["prune", "--keep", "soon"])
        .exits(USAGE)
        .says(&["30d"]);
    let keep = ["prune", "--keep", "30d", "--keep-red"];
    let dry = place.schism(&[&keep[..], &["--dry-run"]].concat()).exits(0);
    dry.prints(&["20260101T000000-old"])
        .says(&["1 run would go"]);
    assert_eq!(names(&place.store()).len(), 5);
    place
        .schism(&keep)
        .exits(0)
        .says(&["1 run gone", "3 runs left"]);
    let left = names(&place.store());
    assert_eq!(
        left,
        [
            "20260102T000000-red",
            "20260103T000000-live",
            "20260104T000000-new",
            "latest"
        ]
    );
    // However young: until no more than this is left, the oldest first.
    place
        .schism(&["prune", "--cap", "0"])
        .exits(0)
        .says(&["2 runs gone", "1 run left"]);
    assert_eq!(names(&place.store()), ["20260103T000000-live"]);
    drop(held);
}

#[test]
fn of_the_nodes_disks_stays_what_was_asked_for() {
    let place = Place::new();
    let run = [
        "run",
        "paxos-kv",
        "--nodes",
        "3",
        "--time-limit",
        "2s",
        "--nemesis",
        "none",
    ];
    let run_with = |keep: &[&str]| place.schism(&[&run[..], keep].concat()).exits(0);
    run_with(&[]);
    let node = place.latest().join("nodes/n1");
    assert!(node.join("log").exists() && !node.join("data").exists());
    run_with(&["--keep", "data"]);
    assert!(
        !place.latest().join("nodes/n1/data").exists(),
        "it is valid"
    );
    run_with(&["--keep", "all"]);
    assert!(place.latest().join("nodes/n1/data").exists());
    place
        .schism(&[&run[..], &["--keep", "some"]].concat())
        .exits(USAGE)
        .says(&["logs"]);
}

/// The first node's daemon ends by itself when it is woken from a pause, for then more time has
/// passed than in any other loop: only that fault matters.
const DIES_OF_PAUSES: &str = "case \"$*\" in *\"--id n1 \"*) (last=$(date +%s%N); while sleep 0.1; do \
    now=$(date +%s%N); [ $((now - last)) -gt 1100000000 ] && kill -ABRT $$ && exit; last=$now; done) & esac\n\
    exec REAL \"$@\"";

#[test]
fn a_run_is_shrunk_to_the_fault_that_matters() {
    let place = Place::new();
    let fault = |at: &str, family: &str, node: &str| {
        format!(
            "[[fault]]\nat = \"{at}\"\nlasts = \"1.5s\"\nfamily = \"{family}\"\ntargets = [\"{node}\"]\n"
        )
    };
    let faults = [
        fault("300ms", "pause", "n1"),
        fault("2100ms", "pause", "n2"),
    ];
    place.file("s.toml", format!("version = 1\n{}", faults.concat()));
    let schism = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("SCHISM_PAXOS_KV", place.script("double.sh", DIES_OF_PAUSES));
        Ended::of(command.output().expect("schism starts"))
    };
    let run = [
        "run",
        "paxos-kv",
        "--nodes",
        "3",
        "--time-limit",
        "4200ms",
        "--schedule",
        "s.toml",
    ];
    schism(
        &[
            &run[..],
            &["--recovery-time", "1s", "--seed", "1", "--rate", "50"],
        ]
        .concat(),
    )
    .exits(1);
    let name = place
        .latest()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let shrink = [
        "shrink", &name, "--output", "small", "--jobs", "1", "--most", "20",
    ];
    let ended = schism(&shrink).exits(0);
    eventually("nothing of the runs is left", || {
        place.processes().is_empty()
    });
    ended.prints(&[
        "1 fault of 2",
        "1. pause of n1 at 0.3 s",
        "without it in 0 of",
        "goes wrong in",
    ]);
    let text = fs::read_to_string(place.path().join("small.toml")).expect("it is kept");
    assert_eq!(text.matches("[[fault]]").count(), 1, "{text}");
    schism(&["run", "--spec", "small.json"]).exits(1);
}

#[test]
fn only_what_is_invalid_is_shrunk() {
    let place = Place::new();
    recorded(&place, "20260101T000000-good", "1");
    place.schism(&["check"]);
    place
        .schism(&["shrink"])
        .exits(USAGE)
        .says(&["only what is invalid is shrunk"]);
    place
        .schism(&["shrink", "nothing"])
        .exits(USAGE)
        .says(&["nothing"]);
}

#[test]
fn the_first_version_in_which_a_run_goes_wrong_is_found() {
    let place = Place::new();
    let (right, wrong) = (
        "exec REAL \"$@\"",
        "case \"$*\" in *\"--id n1 \"*) (sleep 1; kill -ABRT $$) & esac; exec REAL \"$@\"",
    );
    for (name, body) in [("v1", right), ("v2", right), ("v3", wrong), ("v4", wrong)] {
        place.script(name, body);
    }
    let run = [
        "run",
        "paxos-kv",
        "--nodes",
        "3",
        "--time-limit",
        "2s",
        "--nemesis",
        "none",
    ];
    let mut command = place.command(&[&run[..], &["--recovery-time", "1s"]].concat());
    command.env("SCHISM_PAXOS_KV", place.path().join("v4"));
    Ended::of(command.output().expect("schism starts")).exits(1);
    let name = place
        .latest()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let bisect = |more: &[&str]| place.schism(&[&["bisect", &name], more].concat());
    let found = bisect(&["v1", "v2", "v3", "v4"]).exits(0);
    found.prints(&[
        "the first in which it goes wrong is v3, the last before in which it is right v2",
    ]);
    bisect(&["v3", "v4"])
        .exits(2)
        .prints(&["goes wrong too often to be called right in the oldest: v3"]);
    bisect(&["v3", "v1"])
        .exits(2)
        .prints(&["does not go wrong often enough to be sure in the newest: v1"]);
    bisect(&["v1", "nowhere"])
        .exits(USAGE)
        .says(&["nowhere is no program"]);
    bisect(&["1", "4", "--build", "echo made; echo v{}"])
        .exits(0)
        .prints(&["is 4,"]);
    bisect(&["1", "9", "--build", "echo v{}"])
        .exits(4)
        .says(&["9: --build ended", "v9"]);
    place.assert_nothing_left();
}

#[test]
fn a_run_is_told_around_its_anomaly_and_around_any_operation() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-bad", "2");
    // With a fault in force and a daemon that ended, shortly before the end.
    let text = history_of(&run);
    let (head, last) = text.trim_end().rsplit_once('\n').expect("lines");
    let crash = "{\"index\":360,\"time\":3595000000,\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"crash\",\
        \"value\":{\"daemon\":\"paxos-kv\",\"pid\":7,\"status\":\"signal 6\"},\"node\":\"n1\"}";
    // What n1's clock showed at the beginning, and that n2 led for a while.
    let clock = "{\"index\":361,\"time\":3595000000,\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"clock\",\
        \"value\":{\"wall_ns\":1795974397000000000,\"at_ns\":0,\"within_ns\":1},\"node\":\"n1\"}";
    let asked = "{\"index\":362,\"time\":3596000000,\"process\":9,\"type\":\"invoke\",\"f\":\"trace\",\"value\":null,\
        \"node\":\"n2\"}";
    let trace = "{\"index\":363,\"time\":3597000000,\"process\":9,\"type\":\"ok\",\"f\":\"trace\",\"node\":\"n2\",\
        \"value\":{\"node\":\"n2\",\"events\":[{\"event\":\"lead\",\"t_ns\":1003400000000,\"ballot\":[4,\"n2\"]},\
        {\"event\":\"step-down\",\"t_ns\":1003550000000}]}}";
    let head = head.replacen(
        "\"version\":1",
        "\"version\":1,\"began_ns\":1000000000000",
        1,
    );
    let lines = [&head, last, crash, clock, asked, trace, ""].join("\n");
    write_history(&run, &lines);
    let log = run.join("nodes/n1/log");
    fs::create_dir_all(&log).expect("ours");
    let said =
        "1795974397.100000 INFO  long before\n1795974400.500000 WARN  lost n2\n  and more of it\n";
    fs::write(log.join("paxos-kv.log"), said).expect("ours");
    place.schism(&["check"]).exits(1);
    let told = place.schism(&["explain"]).exits(0);
    let told = told.prints(&[
        "INVALID  paxos-kv register",
        // The last operation reads what nobody wrote.
        ">     3.580      358  n3   2 asks read [0 nil], until 3.590: ok [0 2]",
        "asks write [0 1]",
        "n1   paxos-kv ended by itself: signal 6",
        "3.500           n1   log: WARN  lost n2\n",
        "3.500           n1   log:   and more of it\n",
        "3.400           n2   leads from here on, ballot [4 \"n2\"]\n",
        "3.550           n2   leads no more, ballot [4 \"n2\"]\n",
    ]);
    assert!(!told.stdout.contains("long before"), "{told:#?}");
    let json = |args: &[&str]| -> serde_json::Value {
        let ended = place
            .schism(&[&["explain", "--json"], args].concat())
            .exits(0);
        serde_json::from_str(&ended.stdout).expect("it is JSON")
    };
    let marked = |story: &serde_json::Value| -> Vec<u64> {
        let lines = story["lines"].as_array().expect("lines").iter();
        lines
            .filter(|line| line["core"] == true)
            .filter_map(|line| line["op"].as_u64())
            .collect()
    };
    let story = json(&[]);
    assert!(marked(&story).contains(&358));
    // One operation each 20 ms, from 0.3 s before.
    let ops = story["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .filter(|line| line["what"] == "op");
    assert_eq!((ops.count(), &story["untold"]), (16, &0.into()));
    let around = json(&["--around", "0"]);
    assert_eq!(marked(&around), [0]);
    assert_eq!(around["kind"], serde_json::Value::Null);
    assert!(
        around["until_s"].as_f64().is_some_and(|s| s < 0.5),
        "{around}"
    );
    place
        .schism(&["explain", "--around", "1"])
        .exits(USAGE)
        .says(&["no operation begins with event 1"]);
    recorded(&place, "20260102T000000-good", "1");
    place.schism(&["check"]);
    place
        .schism(&["explain"])
        .exits(USAGE)
        .says(&["without an anomaly", "--around OP"]);
    place
        .schism(&["explain", "nothing"])
        .exits(USAGE)
        .says(&["nothing"]);
}
