//! How far a night goes, on generated results: the plan of many cells over many shards, the merge
//! of many shards, the list of many runs. `make build && cargo bench -p cli --bench scale`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const CELLS: usize = 100_000;
const SHARDS: usize = 1_000;

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("schism-scale-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary folder is writable");
    plan(&dir);
    merge(&dir);
    list(&dir);
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

/// Runs it, and says how long it took.
fn timed(what: &str, dir: &Path, args: &[&str]) -> Vec<u8> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/schism");
    let begun = Instant::now();
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("make build comes first");
    let took = begun.elapsed().as_secs_f64();
    println!("{what:<60} {took:6.2} s");
    assert!(
        output.status.code().is_some_and(|c| c < 64),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn plan(dir: &Path) {
    // Of several lengths, so that there is something to deal.
    let mut text = format!(
        "version = 1\nseeds = {}\nnemeses = [\"partition\", \"kill\"]\n",
        CELLS / 20
    );
    for n in 0..10 {
        let _ = write!(
            text,
            "[[system]]\nname = \"paxos-kv\"\nlabel = \"s{n}\"\nrun = {{ time-limit = \"{}s\" }}\n",
            20 + 13 * n
        );
    }
    std::fs::write(dir.join("m.toml"), text).expect("ours");
    let shard = format!("1/{SHARDS}");
    let args = ["matrix", "plan", "m.toml", "--json", "--shard", &shard];
    let out = timed("plan of 100,000 cells over 1,000 shards", dir, &args);
    let plan: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(plan["all_cells"], CELLS);
    let shares = plan["shards_expected_s"].as_array().expect("shares");
    let shares: Vec<f64> = shares
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    let least = shares.iter().copied().fold(f64::MAX, f64::min);
    println!(
        "{:<60} {:6.2} %",
        "  longest shard above the shortest",
        100.0 * (most / least - 1.0)
    );
}

fn merge(dir: &Path) {
    for shard in 1..=SHARDS {
        let folder = dir.join(format!("in/{shard}"));
        std::fs::create_dir_all(&folder).expect("ours");
        let ids: Vec<String> = (0..CELLS / SHARDS)
            .map(|n| format!("s{}/w/none/{}", n % 10, shard * 1000 + n))
            .collect();
        let cells: Vec<serde_json::Value> = ids
            .iter()
            .map(|id| {
                serde_json::json!({"id": id, "system": id.split('/').next(), "workload": "w",
                    "nemesis": "none", "seed": 1, "expected_s": 70.0})
            })
            .collect();
        let head = serde_json::json!({
            "type": "night", "version": 1, "name": "scale", "night": "n", "matrix": "m", "started": "",
            "shard": [shard, SHARDS], "file": "m.toml", "store": "store", "known": [], "left_out": 0,
            "gate": {"verdicts": 90.0, "infra_retries": 2, "confirm": 3}, "cells": cells,
        });
        let mut text = format!("{head}\n");
        for id in &ids {
            let figures: serde_json::Map<String, serde_json::Value> = (0..15)
                .map(|n| {
                    (
                        format!("availability/figure {n}"),
                        serde_json::json!(n as f64 * 1.37),
                    )
                })
                .collect();
            let run = serde_json::json!({
                "type": "run", "cell": id, "purpose": "first", "ending": "valid", "run": "a-run-of-it",
                "took_s": 69.5, "again": "schism run s --seed 1", "figures": figures,
            });
            let _ = writeln!(text, "{run}");
        }
        std::fs::write(folder.join("runs.jsonl"), text).expect("ours");
    }
    timed(
        "merge of 1,000 shards with 100 cells each",
        dir,
        &["merge", "in", "--output", "out"],
    );
}

fn list(dir: &Path) {
    let spec = r#"{"schism":"0","created":"","machine":{"kernel":"","arch":"","cores":1},"cluster":"lab",
        "system":"paxos-kv","workload":"register","nemesis":"none","nodes":3,"time_limit_ms":10000,
        "op_timeout_ms":3000,"rate":200.0,"concurrency":3,"seed":1,"params":{},"flaws":[]}"#;
    let results = r#"{"verdict":"valid","analyses":[{"checker":"linearizable","verdict":"valid","summary":"all"}],
        "notes":{"versions":[],"failures":[],"warnings":[],"recorder_delay":null,"main_from_ns":0,"main_until_ns":1}}"#;
    for n in 0..CELLS {
        let run = dir.join(format!("store/20260101T{n:06}-paxos-kv-register"));
        std::fs::create_dir_all(&run).expect("ours");
        std::fs::write(run.join("spec.json"), spec).expect("ours");
        std::fs::write(run.join("results.json"), results).expect("ours");
    }
    timed("list of 100,000 runs, without an index", dir, &["list"]);
    timed("list of 100,000 runs, with it", dir, &["list"]);
}
