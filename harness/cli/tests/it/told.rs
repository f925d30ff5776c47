//! What the terminal says of each verdict and each kind of anomaly, whole: from recorded histories,
//! so that it is the same on every machine. `cargo insta review`, or `INSTA_UPDATE=always`, takes a
//! new text; read it as a user would before you do.

use std::path::{Path, PathBuf};

use crate::support::{Ended, Place, recorded, write_history};

/// Where the checkers' own small histories are.
fn recorded_history(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checkers/tests/histories");
    folder.join(format!("{name}.jsonl"))
}

/// All that was said, without the folder that the test happened to have.
fn told(place: &Place, ended: &Ended) -> String {
    let Ended {
        code,
        stdout,
        stderr,
    } = ended;
    let folder = std::fs::canonicalize(place.path()).unwrap();
    let text = format!("{stdout}--- on stderr\n{stderr}--- exit code {code}\n");
    text.replace(&folder.display().to_string(), "/place")
}

#[track_caller]
fn snapshot(name: &str, place: &Place, ended: &Ended) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, told(place, ended)));
}

/// A copy in the test's own folder, so that its name is all that is said of it.
fn check(name: &str, more: &[&str], code: i32) {
    let place = Place::new();
    let file = format!("{name}.jsonl");
    std::fs::copy(recorded_history(name), place.path().join(&file)).unwrap();
    let ended = place.schism(&[&["check", file.as_str()], more].concat());
    snapshot(name, &place, &ended);
    assert_eq!(ended.code, code, "{name}");
}

#[test]
fn what_is_valid() {
    for name in [
        "registers-sound",
        "append-sound",
        "queue-sound",
        "lock-sound",
    ] {
        check(name, &[], 0);
    }
}

#[test]
fn each_kind_of_anomaly() {
    for name in [
        "stale-read",
        "lost-update",
        "aborted-read",
        "future-read",
        "value-from-nowhere",
        "few-values-stale",
        "set-loses-an-element",
        "elements-added-twice",
        "append-acknowledged-and-gone",
        "append-half-a-transaction",
        "append-two-orders",
        "bank-transfer-twice",
        "queue-overtaken",
        "queue-empty-though-not",
        "lock-held-twice",
        "lock-token-goes-back",
        "semaphore-too-many",
        "lease-held-by-two",
        "counter-goes-back",
        "unique-ids-twice",
    ] {
        check(name, &[], 1);
    }
    check("total-queue-loses-a-value", &["--model", "total-queue"], 1);
}

/// What nodes showed of themselves is judged in a run.
fn run_of(place: &Place, system: &str, name: &str) {
    let run = recorded(place, name, "1");
    let spec = run.join("spec.json");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, text.replace("paxos-kv", system)).unwrap();
    write_history(
        &run,
        &std::fs::read_to_string(recorded_history(name)).unwrap(),
    );
}

#[test]
fn each_kind_of_anomaly_of_nodes() {
    for (system, name) in [
        ("paxos-kv", "logs-differ-in-a-slot"),
        ("paxos-kv", "decided-without-a-quorum"),
        ("paxos-kv", "leases-overlap"),
        ("chain", "chain-fork-deeper-than-promised"),
        ("chain", "chain-acknowledged-write-gone"),
        ("chain", "chain-never-comes-together"),
    ] {
        let place = Place::new();
        run_of(&place, system, name);
        let ended = place.schism(&["check", name]);
        snapshot(name, &place, &ended);
        assert_eq!(ended.code, 1, "{name}");
    }
}

#[test]
fn what_says_nothing_of_the_system() {
    check(
        "run-whose-fault-did-not-hold",
        &["--workload", "register"],
        3,
    );
    check("run-with-a-silent-node", &["--workload", "register"], 3);
    check("run-whose-fault-stayed", &["--workload", "register"], 4);
}

#[test]
fn what_is_not_known() {
    let place = Place::new();
    let file = recorded_history("few-values-sound");
    std::fs::copy(file, place.path().join("h.jsonl")).unwrap();
    let ended = place.schism(&["check", "h.jsonl", "--check-memory", "0"]);
    snapshot("out-of-memory", &place, &ended);
    assert_eq!(ended.code, 2);
}

/// A run that never began: the harness could not do its work.
#[test]
fn what_the_harness_could_not_do() {
    let place = Place::new();
    let run = recorded(&place, "none", "1");
    std::fs::remove_file(run.join(crate::support::HISTORY)).unwrap();
    let notes = serde_json::json!({"versions": [], "failures": [], "warnings": [], "recorder_delay": null,
        "main_from_ns": 0, "main_until_ns": 0});
    let analysis = serde_json::json!({"checker": "harness", "verdict": "infra",
        "summary": "the cluster did not come up: no room"});
    let results = serde_json::json!({"verdict": "infra", "notes": notes, "analyses": [analysis]});
    std::fs::write(run.join("results.json"), results.to_string()).unwrap();
    let ended = place.schism(&["check", "none"]);
    snapshot("never-began", &place, &ended);
    assert_eq!(ended.code, 4);
}

#[test]
fn what_somebody_got_wrong() {
    let place = Place::new();
    place.file(
        "half.edn",
        "{:process 0, :type :invoke, :f :read, :value [1 }\n",
    );
    place.file(
        "odd.jsonl",
        "{\"schism\":\"history\",\"version\":1}\n{\"index\":0,\"time\":\"soon\"}\n",
    );
    let faults = "version = 1\n[[fault]]\nat = \"soon\"\nfamily = \"pause\"\n";
    place.file("faults.toml", faults);
    for (name, args) in [
        ("wrong-flag", &["run", "paxos-kv", "--nemsis", "pause"][..]),
        ("wrong-system", &["run", "paxoskv"]),
        (
            "wrong-fault",
            &["run", "paxos-kv", "--nemesis", "partision"],
        ),
        ("wrong-number", &["run", "paxos-kv", "--rate", "many"]),
        (
            "wrong-schedule",
            &["run", "paxos-kv", "--schedule", "faults.toml"],
        ),
        ("wrong-edn", &["check", "half.edn"]),
        ("wrong-jsonl", &["check", "odd.jsonl"]),
        ("no-such-run", &["check", "yesterday"]),
    ] {
        let ended = place.schism(args);
        snapshot(name, &place, &ended);
        assert_eq!(ended.code, 64, "{name}");
    }
}
