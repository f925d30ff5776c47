//! Gauges describe just what is measured: every number is described, and nothing is described that
//! no history shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use checkers::agreement::Agreement;
use checkers::availability::Availability;
use checkers::crashes::Crashes;
use checkers::guarantees::Guarantees;
use checkers::linearizable::Registers;
use checkers::replicas::Replicas;
use checkers::role::Role;
use checkers::staleness::Staleness;
use checkers::streams::Streams;
use checkers::transactions::RwRegister;
use checkers::{Analysis, Budget, Checker, drawing, gauges};
use history::fault::Loss;
use history::{History, Value, store};

use crate::chains::blocks::refusing;
use crate::corpus::checkers;
use crate::elections;
use crate::run::not_all_offered;
use crate::verdicts::all_served_again;

/// What the corpus does not show.
fn drawn() -> Vec<(Box<dyn Checker>, History)> {
    let stale = "P0 |1:write 1| |1:write 2|\nP1                          |1:read 1|";
    let stale_txn = "P0 |-txn [[w 1 1]]-| |-txn [[w 1 2]]-|\n\
                     P1                                     |-txn [[r 1 1]]-|";
    let history = |text: &str| drawing::history(text).unwrap();
    fn by_key(f: &str, _: &Value) -> Role {
        match f {
            "write" => Role::writes(Value::Nil),
            _ => Role::reads(Value::Nil),
        }
    }
    let availability = Availability::of_run(&by_key);
    let guarantees = Guarantees::of(Registers::keyed());
    let elected = elections::history(
        &[("n1", 100, "lead"), ("n2", 1_500, "lead")],
        Loss::default(),
    );
    vec![
        (Box::new(Staleness), history(stale)),
        (Box::new(Streams::watch()), history(stale)),
        (Box::new(Streams::log()), history(stale)),
        (Box::new(RwRegister::new()), history(stale_txn)),
        (Box::new(availability), history(stale)),
        (Box::new(guarantees), history(stale)),
        (Box::new(Crashes::default()), history(stale)),
        (Box::new(Replicas), history(stale)),
        (Box::new(Availability::default()), not_all_offered()),
        (Box::new(Agreement::new()), elected),
        (
            Box::new(Agreement::new()),
            crate::agreement::evidence::hasty(),
        ),
        (Box::new(crate::story::chain()), refusing().history()),
    ]
}

fn analyses() -> Vec<Analysis> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut all: Vec<Box<dyn Checker>> = checkers();
    all.push(Box::new(RwRegister::new()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            let history = store::load(&path).unwrap().history;
            found.extend(all.iter().map(|c| c.check(&history, &Budget::default())));
        }
    }
    let drawn = drawn();
    let drawn = drawn
        .iter()
        .map(|(c, history)| c.check(history, &Budget::default()));
    found.extend(drawn);
    found.push(all_served_again());
    found
}

#[test]
fn every_number_is_described_and_every_description_has_a_number() {
    let of_runs: BTreeSet<&str> = gauges::all().map(|(checker, _)| checker).collect();
    // It takes a key of so many steps that nobody waits for it here.
    let costly = |path: &String| path.ends_with("smallest k/at least");
    let mut missing: BTreeSet<String> = gauges::paths().filter(|path| !costly(path)).collect();
    let analyses = analyses();
    let analyses = analyses
        .iter()
        .filter(|a| of_runs.contains(a.checker.as_str()));
    for analysis in analyses {
        for figure in &analysis.figures {
            for (part, _) in figure.numbers() {
                let path = format!("{}/{}/{part}", analysis.checker, figure.name);
                let path = path.trim_end_matches('/');
                match gauges::described(path) {
                    Some(described) => missing.remove(&described.path()),
                    None => panic!("nobody describes {path}"),
                };
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}
