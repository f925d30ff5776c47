//! The protocol under many seeds: clean, nothing is wrong; with a planted bug, its fault shows it.

use std::time::Duration;

use chain::flaws::Flaw;
use nodekit::flaws::Planted;

use crate::judge::judge;
use crate::sim::{Fault, Plan, Run, run};

fn plan(seed: u64, fault: Fault) -> Plan {
    Plan {
        seed,
        nodes: 5,
        fault,
        flaw: None,
        confirmations: 4,
        retarget_every: 0,
        length: Duration::from_secs(80),
    }
}

fn good(plan: &Plan) -> Run {
    let run = run(plan);
    let answered = run
        .operations
        .iter()
        .filter(|operation| !operation.answers.is_empty());
    let answered = answered.count();
    assert!(
        answered > 100,
        "{plan:?}: only {answered} of {} requests were answered",
        run.operations.len()
    );
    let found = judge(plan, &run);
    assert!(found.is_empty(), "{plan:?}: {found:#?}");
    run
}

/// Seeds for the clean runs. More can be asked for: `CHAIN_SEEDS=500 cargo test -p chain`.
fn seeds() -> u64 {
    std::env::var("CHAIN_SEEDS").map_or(6, |text| text.parse().expect("CHAIN_SEEDS is a number"))
}

#[test]
fn nothing_is_wrong_under_all_faults() {
    let (mut reorgs, mut restarts) = (0, 0);
    for seed in 0..seeds() {
        let run = good(&plan(seed, Fault::All));
        reorgs += run.reorgs;
        restarts += run.restarts;
    }
    assert!(
        reorgs > 0 && restarts > 0,
        "{reorgs} reorganisations, {restarts} restarts"
    );
}

#[test]
fn nothing_is_wrong_under_any_one_fault() {
    for seed in 0..seeds().div_ceil(3) {
        good(&plan(100 + seed, Fault::Partition));
        good(&plan(200 + seed, Fault::Pause));
        good(&plan(300 + seed, Fault::Kill));
        good(&plan(400 + seed, Fault::Clock));
    }
}

#[test]
fn nothing_is_wrong_when_the_difficulty_changes() {
    for seed in 0..seeds().div_ceil(2) {
        let plan = Plan {
            retarget_every: 10,
            nodes: 3,
            ..plan(500 + seed, Fault::All)
        };
        let run = good(&plan);
        let works = run.ends[0].chain.iter().map(|(_, block)| block.header.work);
        let works: std::collections::BTreeSet<u64> = works.collect();
        assert!(works.len() > 3, "the work was only ever one of {works:?}");
    }
}

/// Flaws that other tests lead to: `catching_up.rs` to what takes a fork and a restart,
/// `abandoned.rs` to what this world's judge does not look at or its clients do not ask for.
const SCRIPTED: [Flaw; 4] = [
    Flaw::PruneOnReplay,
    Flaw::ForgetAbandoned,
    Flaw::LastSeenWins,
    Flaw::AmountWraps,
];

/// The fault that a flaw's catalogue entry names.
fn fault(flaw: Flaw) -> Fault {
    match flaw.entry().fault {
        "partition" => Fault::Partition,
        // What needs no fault shows under any.
        "pause" | "none" => Fault::Pause,
        "kill" => Fault::Kill,
        "clock" => Fault::Clock,
        other => panic!("{flaw}: no fault family {other}"),
    }
}

/// The seeds are those of the clean runs, so each flaw has its clean twin.
#[test]
fn every_flaw_is_found_by_its_fault() {
    let mut missed = Vec::new();
    for &flaw in Flaw::ALL {
        if SCRIPTED.contains(&flaw) {
            continue;
        }
        let fault = fault(flaw);
        let params = flaw.entry().params;
        let retarget_every = params
            .get("retarget-every")
            .map_or(0, |text| text.parse().unwrap());
        let first = 100 * (fault as u64 + 1);
        let found = (0..8).find_map(|seed| {
            let plan = Plan {
                flaw: Some(flaw),
                retarget_every,
                ..plan(first + seed, fault)
            };
            let found = judge(&plan, &run(&plan));
            (!found.is_empty()).then_some((seed + 1, found))
        });
        match found {
            Some((seeds, found)) => println!("{flaw}: in {seeds} seeds: {found:#?}"),
            None => missed.push(flaw.name()),
        }
    }
    assert!(missed.is_empty(), "not found in 8 seeds: {missed:?}");
}
