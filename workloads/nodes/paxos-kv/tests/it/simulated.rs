//! The protocol under many seeds: clean, nothing is wrong; with a planted bug, its fault shows it.

use std::time::Duration;

use paxos_kv::core::message::ReadMode;
use paxos_kv::flaws::Flaw;

use crate::judge::judge;
use crate::sim::{Fault, Plan, run};

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        nodes: 5,
        fault: Fault::All,
        reads: ReadMode::Quorum,
        flaw: None,
        snapshot_every: 1_000,
        length: Duration::from_secs(14),
    }
}

fn good(plan: &Plan) {
    let run = run(plan);
    let done = run
        .operations
        .iter()
        .filter(|operation| operation.seen.is_some())
        .count();
    assert!(
        done > 300,
        "{plan:?}: only {done} operations ended, too few to judge"
    );
    let found = judge(&run);
    assert!(found.is_empty(), "{plan:?}: {found:#?}");
}

/// Seeds for the clean runs. More can be asked for: `PAXOS_KV_SEEDS=500 cargo test -p paxos-kv`.
fn seeds() -> u64 {
    std::env::var("PAXOS_KV_SEEDS")
        .map_or(12, |text| text.parse().expect("PAXOS_KV_SEEDS is a number"))
}

#[test]
fn nothing_is_wrong_under_all_faults() {
    for seed in 0..seeds() {
        good(&plan(seed));
    }
}

#[test]
fn nothing_is_wrong_with_three_nodes_and_leases() {
    for seed in 0..seeds() {
        good(&Plan {
            nodes: 3,
            reads: ReadMode::Lease,
            ..plan(1_000 + seed)
        });
    }
}

#[test]
fn nothing_is_wrong_with_small_snapshots_and_log_reads() {
    for seed in 0..seeds() {
        good(&Plan {
            reads: ReadMode::Log,
            snapshot_every: 40,
            ..plan(2_000 + seed)
        });
    }
}

#[test]
fn nothing_is_wrong_with_leases_under_pauses_and_clocks() {
    for seed in 0..seeds() / 2 {
        good(&Plan {
            reads: ReadMode::Lease,
            fault: Fault::Pause,
            ..plan(3_000 + seed)
        });
        good(&Plan {
            reads: ReadMode::Lease,
            fault: Fault::Clock,
            ..plan(4_000 + seed)
        });
    }
}

/// How many seeds until the flaw shows under the fault that its catalogue entry names.
fn seeds_until_found(flaw: Flaw, most: u64) -> Option<(u64, Vec<String>)> {
    let entry = flaw.entry();
    let fault = match entry.fault {
        "partition" => Fault::Partition,
        "pause" => Fault::Pause,
        "kill" => Fault::Kill,
        "clock" => Fault::Clock,
        other => panic!("{flaw}: no fault family {other}"),
    };
    let reads = match entry.reads {
        None => ReadMode::Quorum,
        Some("lease") => ReadMode::Lease,
        Some(other) => panic!("{flaw}: no read mode {other}"),
    };
    let snapshot_every = entry
        .params
        .get("snapshot-every")
        .map_or(1_000, |text| text.parse().unwrap());
    (0..most).find_map(|seed| {
        let plan = Plan {
            fault,
            reads,
            flaw: Some(flaw),
            snapshot_every,
            ..plan(seed)
        };
        let found = judge(&run(&plan));
        (!found.is_empty()).then_some((seed + 1, found))
    })
}

#[test]
fn every_flaw_is_found_by_its_fault() {
    let mut missed = Vec::new();
    for flaw in Flaw::ALL {
        match seeds_until_found(flaw, 12) {
            Some((seeds, found)) => println!("{flaw}: in {seeds} seeds: {}", found[0]),
            None => missed.push(flaw.name()),
        }
    }
    assert!(missed.is_empty(), "not found in 12 seeds: {missed:?}");
}
