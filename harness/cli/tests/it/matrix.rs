//! Nights: what is planned, run, gone on with, judged and put together.

mod files;
mod memory;
mod merging;
mod planning;
mod running;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::Place;

/// Nothing is wrong with the night.
const GREEN: i32 = 0;
const RED: i32 = 1;
const TOO_FEW: i32 = 3;
const INFRA: i32 = 4;
const CANARY: i32 = 5;
const USAGE: i32 = 64;

/// The first node's daemon aborts after two seconds.
const DIES: &str =
    "case \"$*\" in *\"--id n1 \"*) (sleep 2; kill -ABRT $$) & esac; exec REAL \"$@\"";
/// A daemon that is never ready.
const NEVER: &str = "exec sleep 1000";

/// Cells that take as little time as cells can.
const QUICK: &str = "version = 1\nnemeses = [\"none\"]\n[run]\ntime-limit = \"2s\"\nnodes = 3\n\
    recovery-time = \"2s\"\n";

/// The lines of a file of JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let parse = |line: &str| serde_json::from_str(line).expect("a line is JSON");
    text.lines().map(parse).collect()
}

/// The only folder of a night in the store.
fn night(place: &Place) -> PathBuf {
    let nights = std::fs::read_dir(place.store().join("nights")).expect("there are nights");
    let mut nights: Vec<PathBuf> = nights.map(|e| e.expect("an entry").path()).collect();
    assert_eq!(nights.len(), 1, "{nights:?}");
    nights.remove(0)
}

/// Cells by their ids, from `results.jsonl`.
fn results(folder: &Path) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_string();
    let of = |cell: &Value| {
        (
            text(&cell["id"]),
            text(&cell["colour"]),
            text(&cell["ending"]),
        )
    };
    lines(&folder.join("results.jsonl"))
        .iter()
        .map(of)
        .collect()
}

/// The runs of a night: which cell, why, how it ended.
fn runs(folder: &Path) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_string();
    let all = lines(&folder.join("runs.jsonl"));
    let runs = all.iter().filter(|line| line["type"] == "run");
    runs.map(|run| {
        (
            text(&run["cell"]),
            text(&run["purpose"]),
            text(&run["ending"]),
        )
    })
    .collect()
}

/// A cell of a night that nobody runs.
fn cell(id: &str, expect: Value) -> Value {
    let parts: Vec<&str> = id.split('/').collect();
    json!({
        "id": id, "system": parts[0], "workload": parts[1], "nemesis": parts[2],
        "seed": parts[3].parse::<u64>().expect("a seed"), "expect": expect, "expected_s": 10.0,
    })
}

/// A run of such a cell.
fn ran(cell: &str, ending: &str) -> Value {
    let print = (ending == "invalid").then(|| {
        json!({
            "id": "0123456789ab", "kind": "stale read", "system": "s", "workload": "w",
            "shape": "linearizable of read+write",
        })
    });
    json!({
        "type": "run", "cell": cell, "purpose": "first", "ending": ending, "run": "some-run",
        "anomalies": if ending == "invalid" { vec!["stale read"] } else { Vec::new() },
        "fingerprint": print, "why": format!("because of {ending}"), "took_s": 9.0,
        "again": "schism run s --seed 1",
    })
}

/// A shard's folder below the place, with these cells and runs.
fn shard(
    place: &Place,
    name: &str,
    shard: (usize, usize),
    cells: &[Value],
    runs: &[Value],
) -> PathBuf {
    let head = json!({
        "type": "night", "version": 1, "name": "test", "night": "n1", "matrix": "00ff00ff00ff00ff",
        "started": "", "shard": [shard.0, shard.1], "file": "m.toml", "store": "store",
        "gate": { "verdicts": 90.0, "infra_retries": 0, "confirm": 0 }, "known": [],
        "cells": cells, "left_out": 0,
    });
    let folder = place.path().join(name);
    std::fs::create_dir_all(&folder).expect("the folder is writable");
    let lines: Vec<String> = [&head]
        .into_iter()
        .chain(runs)
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(folder.join("runs.jsonl"), lines.concat()).expect("the folder is writable");
    folder
}
