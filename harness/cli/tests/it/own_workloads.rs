//! Workloads that come with a system: asked in a person's own words, judged by a person's script.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Place, example};

const FILES: [&str; 5] = [
    "system.toml",
    "reservations.toml",
    "stock.rhai",
    "server.py",
    "client.py",
];

/// The example, copied to where it can be changed.
fn stock(place: &Place) -> PathBuf {
    let example = example("stock");
    let own = place.path().join("stock");
    fs::create_dir(&own).expect("the folder is writable");
    for file in FILES {
        fs::copy(example.join(file), own.join(file)).expect("the example has it");
    }
    own
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a text");
    assert!(text.contains(from), "{}: {from}", file.display());
    fs::write(file, text.replace(from, to)).expect("the folder is writable");
}

// Few clients: each is a program that has to start, on a machine that may be busy.
const RUN: [&str; 10] = [
    "run", "./stock", "--nodes", "1", "-t", "10s", "-c", "4", "-r", "100",
];
const KILLS: [&str; 8] = [
    "--nemesis",
    "kill",
    "--fault-gap",
    "1s",
    "--fault-length",
    "500ms",
    "--seed",
    "5",
];

#[test]
fn a_stock_that_is_sound_is_valid_and_one_that_looks_too_early_is_not() {
    let place = Place::new();
    let own = stock(&place);
    let with = |more: &[&'static str]| [&RUN[..], more].concat();
    place
        .schism(&with(&KILLS))
        .exits(0)
        .prints(&["VALID", "stock reservations", "by stock.rhai"]);
    let sound = place.latest();
    place
        .schism(&with(&["--nemesis", "none", "--param", "look=outside"]))
        .exits(1)
        .prints(&["INVALID", "not linearizable", " left"]);
    place.assert_nothing_left();

    // Runs are judged as they were asked, whatever has become of the folder.
    fs::write(own.join("stock.rhai"), "fn nothing() {}").expect("the folder is writable");
    fs::remove_dir_all(&own).expect("it is ours");
    place.schism(&["check", "latest"]).exits(1);
    let sound = sound.display().to_string();
    place
        .schism(&["check", &sound])
        .exits(0)
        .prints(&["by stock.rhai"]);
}

#[test]
fn what_does_not_go_together_is_said_before_anything_starts() {
    let place = Place::new();
    let own = stock(&place);
    let run = [&RUN[..], &["--nemesis", "none"]].concat();
    let refused = |said: &[&str]| {
        place.schism(&run).exits(64).says(said);
    };
    // A script that does not know what is asked.
    change(&own.join("stock.rhai"), "\"put-back\" =>", "\"put\" =>");
    refused(&[
        "reservations.toml:4:9",
        "put-back is no operation of the stock",
    ]);
    change(&own.join("stock.rhai"), "\"put\" =>", "\"put-back\" =>");
    // A workload that is nowhere.
    change(
        &own.join("system.toml"),
        "[\"reservations\"]",
        "[\"reservation\"]",
    );
    refused(&["system.toml:7:14", "reservation.toml is not beside it"]);
    change(
        &own.join("system.toml"),
        "[\"reservation\"]",
        "[\"reservations\"]",
    );
    // A system that cannot be asked such a thing.
    place
        .schism(&["run", "paxos-kv", "-w", "reservations"])
        .exits(64)
        .says(&["there is no workload \"reservations\""]);
    change(
        &own.join("system.toml"),
        "command = [\"python3\", \"client.py\"]",
        "maelstrom = \"lin-kv\"",
    );
    refused(&["reservations is not asked of such a node"]);
}

/// It is known before the run, from the client's own answer to `init`.
#[test]
fn a_client_that_does_not_know_an_operation_is_seen_before_the_run() {
    let place = Place::new();
    let own = stock(&place);
    change(
        &own.join("client.py"),
        "\"reserve\", \"put-back\"",
        "\"reserve\"",
    );
    place
        .schism(&[&RUN[..], &["--nemesis", "none"]].concat())
        .says(&[
            "offers reserve, left",
            "workload reservations asks for put-back",
        ])
        .exits(4);
}

#[test]
fn a_client_is_tried_by_itself_with_the_operations_of_its_system() {
    let place = Place::new();
    stock(&place);
    place
        .schism(&["client-check", "--system", "stock"])
        .exits(0)
        .prints(&["offers reserve, put-back, left"]);
    let client = place.path().join("stock/client.py").display().to_string();
    place
        .schism(&["client-check", "--", "python3", &client])
        .exits(1)
        .prints(&["offers \"reserve\", which is none of read"]);
}
