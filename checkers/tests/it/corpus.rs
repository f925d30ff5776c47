//! Every history of the corpus has the verdict that `expected.tsv` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use checkers::agreement::Agreement;
use checkers::availability::Availability;
use checkers::bank::Bank;
use checkers::choice::Model;
use checkers::linearizable::Registers;
use checkers::objects::Objects;
use checkers::set::GrowOnlySet;
use checkers::transactions::ListAppend;
use checkers::vacuity::Vacuity;
use checkers::{Analysis, Budget, Checker};
use history::{Value, store};

/// Checkers under the names of the table.
pub fn checkers() -> Vec<Box<dyn Checker>> {
    let objects = [
        Model::Set,
        Model::Queue,
        Model::TotalQueue,
        Model::Stack,
        Model::PriorityQueue,
        Model::Lock,
        Model::Semaphore,
        Model::Lease,
        Model::Counter,
        Model::UniqueIds,
    ];
    let objects = objects.map(|model| -> Box<dyn Checker> {
        let permits = if model == Model::Semaphore {
            2.into()
        } else {
            Value::Nil
        };
        Box::new(Objects::single(model).with_initial(permits))
    });
    let mut checkers: Vec<Box<dyn Checker>> = vec![
        Box::new(Registers::keyed()),
        Box::new(GrowOnlySet),
        Box::new(ListAppend::new()),
        Box::new(Bank),
        Box::new(Agreement::new()),
        Box::new(crate::story::chain().with_confirmations(6)),
        Box::new(Availability::default()),
        Box::new(Vacuity {
            faults: true,
            ..Vacuity::default()
        }),
    ];
    checkers.extend(objects);
    checkers
}

#[test]
fn every_history_is_judged_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let table = fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let checkers = checkers();
    let mut named = BTreeSet::new();
    let mut judged: BTreeSet<(&str, bool)> = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in table.lines().filter(|line| !line.starts_with('#')) {
        let [name, checker, verdict, anomaly] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {row}");
        };
        let loaded = store::load(&folder.join(format!("{name}.jsonl"))).unwrap();
        let checker = checkers.iter().find(|c| c.name() == checker).unwrap();
        let found: Analysis = checker.check(&loaded.history, &Budget::default());
        let kind = found.anomalies.first().map_or("-", |a| a.kind.as_str());
        if (found.verdict.word(), kind) != (verdict, anomaly) {
            wrong.push(format!("{row}\n  {found:?}"));
        }
        named.insert(format!("{name}.jsonl"));
        judged.insert((checker.name(), verdict == "valid"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jsonl"))
        .collect();
    assert_eq!(named, there);
    // Availability has no verdict of its own to give.
    for checker in checkers.iter().filter(|c| c.name() != "availability") {
        for accepts in [true, false] {
            assert!(
                judged.contains(&(checker.name(), accepts)),
                "{} {accepts}",
                checker.name()
            );
        }
    }
}
