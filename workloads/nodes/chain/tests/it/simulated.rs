//! The protocol under many seeds: clean, nothing is wrong; with a planted bug, its fault shows it.

use std::time::Duration;

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
