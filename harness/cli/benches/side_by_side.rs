//! paxos-kv beside etcd: the same lab, load and faults, turn and turn about in one run, so that
//! whatever else the machine does hits both. `make build && cargo bench -p cli`.
//!
//! Throughput and latency: as many clients as are said, each asking again as soon as it is
//! answered. Failover: the leader is killed again and again under a steady load; the longest time
//! without an answered write while it was dead. `-- throughput` or `-- failover` runs one of the
//! two.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

/// System, and what makes it ready for the race: its trace for the judges would be half the work.
const SYSTEMS: &[(&str, &[&str])] = &[("paxos-kv", &["--param", "trace=off"]), ("etcd", &[])];
const ROUNDS: u64 = 3;

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| {
        let mut parts = ["throughput", "failover"].iter();
        !parts.any(|p| asked.iter().any(|a| a == p)) || asked.iter().any(|a| a == part)
    };
    let dir = std::env::temp_dir().join(format!("schism-side-by-side-{}", std::process::id()));
    let mut found: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for round in 1..=ROUNDS {
        for (system, params) in SYSTEMS {
            let mut note = |what, value| found.entry((what, *system)).or_default().push(value);
            let loads = [
                (
                    "1",
                    ["writes/s, 1 client", "p50 ms, 1 client", "p99 ms, 1 client"],
                ),
                (
                    "50",
                    [
                        "writes/s, 50 clients",
                        "p50 ms, 50 clients",
                        "p99 ms, 50 clients",
                    ],
                ),
            ];
            for (clients, names) in loads.into_iter().filter(|_| wanted("throughput")) {
                let load = [
                    "--nemesis",
                    "none",
                    "--rate",
                    "1000000",
                    "--time-limit",
                    "10s",
                ];
                let (_, outcome) = run(&dir, system, round, params, &load, clients);
                let latency = figure(&outcome, "latency");
                let counts = figure(&outcome, "operations");
                // Half of the operations are writes; the other half, reads, are answered as well.
                note(
                    names[0],
                    counts["write"]["ok"].as_f64().unwrap_or(0.0) / 10.0,
                );
                note(
                    names[1],
                    latency["write"]["p50"].as_f64().unwrap_or(f64::NAN),
                );
                note(
                    names[2],
                    latency["write"]["p99"].as_f64().unwrap_or(f64::NAN),
                );
            }
            let load = [
                "--nemesis",
                "kill:leader",
                "--rate",
                "500",
                "--time-limit",
                "40s",
            ];
            let (path, _) = run(&dir, system, round, params, &load, "20");
            for seconds in failovers(Path::new(&path)) {
                note("failover s", seconds);
            }
        }
    }
    let systems: Vec<&str> = SYSTEMS.iter().map(|(name, _)| *name).collect();
    println!(
        "| median of all rounds (lowest to highest) | {} |",
        systems.join(" | ")
    );
    println!("| --- |{}", " ---: |".repeat(systems.len()));
    let mut names: Vec<&str> = found.keys().map(|(what, _)| *what).collect();
    names.dedup();
    for what in names {
        let cells = systems.iter().map(|system| {
            let mut values = found.get(&(what, *system)).cloned().unwrap_or_default();
            values.sort_by(f64::total_cmp);
            match (values.first(), values.last()) {
                (Some(least), Some(most)) => {
                    format!("{:.2} ({least:.2} to {most:.2})", values[values.len() / 2])
                }
                _ => "-".into(),
            }
        });
        println!("| {what} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    std::fs::remove_dir_all(&dir).expect("the folder is ours");
}

/// Runs it and returns the run's folder and what `--json` printed.
fn run(
    store: &Path,
    system: &str,
    seed: u64,
    params: &[&str],
    load: &[&str],
    clients: &str,
) -> (String, Json) {
    let output = Command::new(env!("CARGO_BIN_EXE_schism"))
        .args(["run", system, "--json", "--concurrency", clients])
        .args(["--seed", &seed.to_string(), "--store"])
        .arg(store)
        .args(params)
        .args(load)
        .output()
        .expect("schism starts");
    let outcome: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{system}: {e}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    // A wrong answer given fast wins no race.
    assert!(
        outcome["anomalies"]
            .as_array()
            .is_none_or(|a| a.iter().all(|kind| {
                kind.as_str()
                    .is_some_and(|k| k.contains("fault") || k.contains("succe"))
            })),
        "{outcome}"
    );
    let path = outcome["run"].as_str().expect("a folder").to_string();
    (path, outcome)
}

fn figure(outcome: &Json, name: &str) -> Json {
    let analyses = outcome["judged"]["analyses"].as_array().expect("a list");
    let figures = analyses
        .iter()
        .filter_map(|a| a["figures"].as_array())
        .flatten();
    let mut found = figures.filter(|f| f["name"] == name);
    found.next().expect("availability has it")["value"].clone()
}

/// The longest time without an answered write, while each killed leader was dead.
fn failovers(run: &Path) -> Vec<f64> {
    let loaded = history::store::load(&run.join("history.jsonl.zst")).expect("it was recorded");
    let history = loaded.history;
    let writes = history.ops().iter().filter(|op| op.f == "write");
    let mut answered: Vec<_> = writes
        .filter(|op| op.outcome == history::Outcome::Ok)
        .map(|op| op.ret)
        .collect();
    answered.sort();
    history::fault::spans(&history)
        .iter()
        .filter(|span| span.held())
        .filter_map(|span| {
            let during: Vec<_> = answered
                .iter()
                .copied()
                .filter(|at| (span.from..=span.until).contains(at))
                .collect();
            let ends = during.iter().copied().chain([span.until]);
            let begins = [span.from].into_iter().chain(during.iter().copied());
            let gaps = begins.zip(ends).map(|(from, to)| to.since(from));
            gaps.max().map(|gap| gap.as_secs_f64())
        })
        .collect()
}
