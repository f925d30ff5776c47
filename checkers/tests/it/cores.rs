//! Refutations: what has no order is confirmed, what has one is not, with the reason.

use checkers::choice::{Choice, Model};
use checkers::transactions::{Consistency, Scope};
use checkers::{
    Budget, Core, Doubt, Proof, Refutation, Stretch, Verdict, confirmed, drawing, refute,
};
use history::Value;

use crate::subjects;

#[test]
fn every_anomaly_is_confirmed_and_nothing_that_is_valid() {
    subjects::run("cores", 3_000).has_at_least(10, &[Verdict::Valid, Verdict::Invalid]);
}

fn doubt(model: Model, drawn: &str, ops: &[u64], stretch: Option<Stretch>) -> String {
    let refutation = Refutation {
        model,
        keyed: false,
        initial: Value::Nil,
        scope: Scope::Realtime,
        cores: vec![Core {
            key: None,
            ops: ops.to_vec(),
            stretch,
        }],
    };
    let history = drawing::history(drawn).unwrap();
    match refute(&history, &refutation, &Budget::default()) {
        Ok(()) => "none".into(),
        Err(why) => why.to_string(),
    }
}

/// Two clients; the second reads what was overwritten, and later the first's value is lost.
const STALE: &str = "
    P0  |-write 1-|  |-write 2-|                 |-write 3-?
    P1                            |-read 1-|  |-read 2-|      |-read 3-|
    ";

#[test]
fn a_core_has_all_that_it_takes() {
    let doubt = |ops: &[u64]| doubt(Model::Register, STALE, ops, None);
    // Writes 0 and 2, reads 4, 6 and 10, and write 7.
    assert_eq!(doubt(&[2, 4]), "ops [2, 4] have an order");
    assert_eq!(doubt(&[0, 4]), "ops [0, 4] have an order");
    assert_eq!(doubt(&[0, 2, 4]), "none");
    assert_eq!(doubt(&[0, 2, 4, 6, 7]), "none");
    assert_eq!(doubt(&[0, 2, 6, 10]), "ops [0, 2, 6, 10] have an order");
    assert_eq!(doubt(&[]), "ops [] have an order");
    assert_eq!(doubt(&[1]), "op 1 is no operation of a register");
    assert_eq!(doubt(&[99]), "op 99 is no operation of a register");
}

#[test]
fn a_stretch_is_looked_at_alone() {
    let stretch = |after, until, ops: &[u64]| {
        doubt(Model::Register, STALE, ops, Some(Stretch { after, until }))
    };
    assert_eq!(stretch(None, 4, &[0, 2, 4]), "none");
    assert_eq!(stretch(None, 2, &[0, 2]), "ops [0, 2] have an order");
    assert_eq!(stretch(None, 2, &[4]), "op 4 was invoked later");
    // From when 0 had returned, what it wrote may be there, but not after 2 as well.
    assert_eq!(stretch(Some(0), 4, &[2, 4]), "none");
    assert_eq!(stretch(Some(2), 4, &[4]), "ops [4] have an order");
    assert_eq!(
        stretch(None, 7, &[0, 2, 4]),
        "nobody knows when op 7 returned"
    );
    let queue = "P0 |-enqueue 1-| |-dequeue 2-|";
    let stretch = Stretch {
        after: Some(0),
        until: 2,
    };
    assert_eq!(
        doubt(Model::Queue, queue, &[2], Some(stretch)),
        "a queue may hold much at any moment but the first"
    );
}

/// What an engine names tells the story; who took the value at last is needed for the proof.
#[test]
fn what_a_core_lacks_is_added() {
    let drawn = "
        P0  |-enqueue 1-|                     |-dequeue 1-|
        P1                  |-dequeue nil-|
        P2  |-enqueue 5-?                        |-enqueue 6-|
        ";
    let history = drawing::history(drawn).unwrap();
    let choice = Choice::of(&history).unwrap();
    let budget = Budget::default();
    let found = choice.checker(&history).check(&history, &budget);
    let mut refutation = choice.refutation(&history, &found).unwrap();
    let at = |f: &str| {
        let ops = history.ops().iter().filter(|op| op.f == f);
        ops.map(|op| op.index).collect::<Vec<u64>>()
    };
    let (enqueues, dequeues) = (at("enqueue"), at("dequeue"));
    refutation.cores[0].ops = vec![enqueues[0], dequeues[0]];
    assert!(refute(&history, &refutation, &budget).is_err());
    let sure = confirmed(&history, &refutation, &budget).unwrap();
    assert_eq!(sure.cores[0].ops, [enqueues[0], dequeues[0], dequeues[1]]);
    assert_eq!(refute(&history, &sure, &budget), Ok(()));
}

#[test]
fn what_promises_no_order_is_not_refuted_by_one() {
    let history = drawing::history("P0 |-txn [[append 1 1]]-| |-txn [[r 1 []]]-|").unwrap();
    let budget = Budget::default();
    let refutation = |consistency| {
        let choice = Choice {
            consistency,
            ..Choice::of(&history).unwrap()
        };
        let found = choice.checker(&history).check(&history, &budget);
        let refutation = choice.refutation(&history, &found)?;
        confirmed(&history, &refutation, &budget).map_err(|why| why.to_string())
    };
    let strict = refutation(Consistency::StrictSerializable).unwrap();
    assert_eq!(strict.cores[0].ops, [2, 0]);
    assert_eq!(
        refutation(Consistency::StrongSnapshotIsolation),
        Err("strong-snapshot-isolation promises no serial order".into())
    );
    // Without regard to time they have an order.
    let serial = Refutation {
        scope: Scope::Data,
        ..strict
    };
    assert_eq!(
        refute(&history, &serial, &budget),
        Err(Doubt::Wrong("ops [2, 0] have an order".into()))
    );
}

#[test]
fn a_file_holds_orders_or_cores() {
    let read = |rest: &str| {
        let text = format!("{{\"model\": \"lock\", \"keyed\": false, \"initial\": null{rest}}}");
        serde_json::from_str::<Proof>(&text).map_err(|why| why.to_string())
    };
    let orders = read(", \"orders\": []").unwrap();
    let cores = read(", \"cores\": [{\"ops\": [3], \"stretch\": {\"until\": 3}}]").unwrap();
    for proof in [&orders, &cores] {
        let text = serde_json::to_string(proof).unwrap();
        assert_eq!(&serde_json::from_str::<Proof>(&text).unwrap(), proof);
    }
    assert!(matches!(
        (orders, cores),
        (Proof::Order(_), Proof::Cores(_))
    ));
    for wrong in ["", ", \"orders\": [], \"cores\": []"] {
        assert_eq!(
            read(wrong).unwrap_err(),
            "there should be `orders`, `accounts` or `cores`, and one of them"
        );
    }
    assert!(read(", \"orders\": [], \"more\": 1").is_err());
}
