//! What nodes hold at one index of their log.

use checkers::replicas::Replicas;
use checkers::{Analysis, Budget, Checker, Verdict};
use history::{Event, History, Kind, Process, Time, Value};

/// An index and the hash at it, or why they could not be read.
type Shown<'a> = Result<(i64, i64), &'a str>;

/// One operation `replica` of each node.
fn check(read: &[(&str, Shown)]) -> Analysis {
    let mut events = Vec::new();
    for (process, (node, read)) in (0..).zip(read) {
        let (kind, value, error) = match read {
            Ok((index, hash)) => {
                let holds = Value::Map(vec![("hash".into(), (*hash).into())]);
                let value = Value::Map(vec![
                    ("node".into(), (*node).into()),
                    ("index".into(), (*index).into()),
                    ("holds".into(), holds),
                ]);
                (Kind::Ok, value, None)
            }
            Err(why) => (Kind::Fail, Value::Nil, Some((*why).into())),
        };
        for (kind, value, error) in [(Kind::Invoke, Value::Nil, None), (kind, value, error)] {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time: Time(index),
                process: Process::Client(process),
                kind,
                f: "replica".into(),
                value,
                error,
                node: Some((*node).into()),
                version: None,
                due: None,
            });
        }
    }
    Replicas.check(&History::new(events).unwrap(), &Budget::default())
}

#[test]
fn nodes_at_one_index_that_hold_the_same_are_valid() {
    let found = check(&[("n1", Ok((9, 5))), ("n2", Ok((9, 5))), ("n3", Ok((9, 5)))]);
    assert_eq!((found.verdict, found.word()), (Verdict::Valid, "valid"));
    assert!(found.summary.starts_with("3 of 3 nodes"), "{found:#?}");
}

#[test]
fn nodes_at_one_index_that_hold_different_things_have_diverged() {
    let found = check(&[("n1", Ok((9, 5))), ("n2", Ok((8, 7))), ("n3", Ok((9, 6)))]);
    assert_eq!(found.verdict, Verdict::Invalid);
    let [anomaly] = &found.anomalies[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(anomaly.kind, "replicas diverge");
    // The operations of n1 and n3.
    assert_eq!(anomaly.ops, [0, 4]);
    assert!(anomaly.reason.contains("n1 and n3"), "{anomaly:#?}");
}

/// Nothing follows from what two nodes hold at two indices.
#[test]
fn nodes_at_different_indices_are_not_compared() {
    let found = check(&[("n1", Ok((9, 5))), ("n2", Ok((8, 7))), ("n3", Err("gone"))]);
    assert_eq!((found.verdict, found.word()), (Verdict::Valid, "measured"));
    assert!(found.summary.contains("no two nodes"), "{found:#?}");
    assert!(found.summary.contains("n3") && found.summary.contains("gone"));
}

#[test]
fn where_half_of_the_nodes_do_not_tell_nobody_knows() {
    let gone = Err("gone");
    let half = check(&[("n1", Ok((9, 5))), ("n2", gone)]);
    assert_eq!(half.verdict, Verdict::Unknown);
    assert!(
        half.summary
            .contains("what n2 holds could not be read (gone)")
    );
    let alike = check(&[
        ("n1", Ok((9, 5))),
        ("n2", Ok((9, 5))),
        ("n3", gone),
        ("n4", gone),
    ]);
    assert_eq!(alike.verdict, Verdict::Unknown);
    // What is seen is seen.
    let differ = check(&[
        ("n1", Ok((9, 5))),
        ("n2", Ok((9, 6))),
        ("n3", gone),
        ("n4", gone),
    ]);
    assert_eq!(differ.verdict, Verdict::Invalid);
}
