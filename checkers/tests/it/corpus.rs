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
use checkers::picture::{Cell, Picture};
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
        // Operations that ask for a trace show nothing of what is in it.
        let bare = found.anomalies.iter().find(|a| a.picture.is_none());
        if let ("agreement", Some(bare)) = (checker.name(), bare) {
            wrong.push(format!("{row}\n  no picture of {bare:?}"));
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

/// What the picture of an anomaly of the corpus says: columns, texts, and whether in colour.
fn told(name: &str) -> Vec<(usize, String, bool)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let loaded = store::load(&folder.join(format!("{name}.jsonl"))).unwrap();
    let found = Agreement::new().check(&loaded.history, &Budget::default());
    let Some(Picture::Table(table)) = found.anomalies[0].picture.as_deref() else {
        panic!("{found:?}");
    };
    assert_eq!(table.untold, 0);
    let cells = table.rows.iter().flat_map(|row| &row.cells);
    let told = |cell: &Cell| (cell.column, cell.text.clone(), cell.value.is_some());
    cells.map(told).collect()
}

#[test]
fn a_node_that_forgets_tells_what_it_had_done_and_two_that_lead_when() {
    let act = |text: &str| (0, text.to_string(), true);
    assert_eq!(
        told("promise-forgotten"),
        [
            act("starts with accepted slots up to 0"),
            act("promises ballot 1 of n1"),
            act("promises ballot 2 of n2"),
            act("starts with ballot 1 of n1, accepted slots up to 0"),
        ]
    );
    // Of another node, which applied it once, too.
    let applied = |node| (node, "applied".to_string(), true);
    assert_eq!(
        told("logs-apply-a-command-twice"),
        [applied(0), applied(1), applied(1)]
    );
    assert_eq!(
        told("leases-overlap"),
        [
            (
                0,
                "holds the lease until 0.050 s by its clock".to_string(),
                true
            ),
            (
                1,
                "holds the lease until 0.090 s by its clock".to_string(),
                true
            ),
        ]
    );
}

#[test]
fn a_final_block_that_is_undone_is_drawn_with_the_one_that_undid_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let loaded = store::load(&folder.join("chain-final-block-undone.jsonl")).unwrap();
    let found = crate::story::chain().check(&loaded.history, &Budget::default());
    let Some(Picture::Tree { blocks }) = found.anomalies[0].picture.as_deref() else {
        panic!("{found:?}");
    };
    let told: Vec<(i64, &str)> = blocks
        .iter()
        .flat_map(|block| block.notes.iter().map(|note| (block.height, note.as_str())))
        .collect();
    assert_eq!(
        told,
        [
            (3, "last final block of n1 (op 60, 10.000 s)"),
            (8, "last final block of n1 (op 54, 9.000 s)"),
            (10, "head of n1 (op 54, 9.000 s)"),
            (11, "head of n1 (op 60, 10.000 s)"),
        ]
    );
}
