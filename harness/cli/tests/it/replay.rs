//! Runs once more: how often do they end as they did?

use serde_json::Value;

use crate::support::{Ended, Place};

/// The first node's daemon aborts after two seconds.
const DIES: &str =
    "case \"$*\" in *\"--id n1 \"*) (sleep 2; kill -ABRT $$) & esac; exec REAL \"$@\"";
const MENDED: &str = "exec REAL \"$@\"";

fn schism(place: &Place, args: &[&str], program: &str) -> Ended {
    let mut command = place.command(args);
    command.env("SCHISM_PAXOS_KV", place.script("double.sh", program));
    let ended = Ended::of(command.output().expect("schism starts"));
    place.assert_nothing_left();
    ended
}

#[test]
fn a_run_that_always_fails_is_soon_known_to_and_one_that_was_mended_too() {
    let place = Place::new();
    let args = ["run", "paxos-kv", "--nodes", "3", "--time-limit", "3s"];
    let more = ["--nemesis", "none", "--recovery-time", "2s", "--seed", "1"];
    schism(&place, &[&args[..], &more].concat(), DIES).exits(1);
    let first = place.latest();
    let first = first.file_name().unwrap().to_str().unwrap();

    let again = ["replay", first, "--runs", "6", "--jobs", "1", "--json"];
    let json = |ended: Ended| serde_json::from_str::<Value>(&ended.stdout).expect("it is JSON");
    let often = json(schism(&place, &again, DIES).exits(0));
    assert_eq!(often["verdict"], "invalid");
    // Two of two are enough for the sequential test.
    assert_eq!((&often["alike"], &often["of"]), (&2.into(), &2.into()));
    assert_eq!(often["clear"], "often");
    assert_eq!(often["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(often["changed"].as_array().map(Vec::len), Some(0));
    // Its own report says so from now on.
    let report = std::fs::read_to_string(place.store().join(first).join("report.html")).unwrap();
    let said = "It ended so again in 2 of 2 repeats (16 to 100 % with 95 % confidence).";
    assert!(report.contains(said), "{first}");

    assert_eq!(
        often["anomalies"],
        serde_json::json!(["crashed", "never served again"])
    );

    // Another program, in which nothing dies: it says so, and finds out.
    let text = schism(&place, &again[..6], MENDED).exits(0);
    text.prints(&[
        "was INVALID; of 5 runs more, 0 ended alike: 0 to 52 %",
        "stopped early, for it was clear: at most one run in twenty ends so",
        "paxos-kv is not the program that the run had",
    ]);
}

#[test]
fn what_cannot_be_run_again_is_refused() {
    let place = Place::new();
    place.schism(&["replay"]).exits(64).says(&["latest"]);
    place
        .schism(&["replay", "nothing"])
        .exits(64)
        .says(&["nothing"]);
    place
        .schism(&["replay", "latest", "--runs", "0"])
        .exits(64)
        .says(&["1..=1000"]);
}
