use nodekit::http::canonical;

use super::*;

fn command(session: &str, sequence: u64, settled: u64, op: Op) -> Command {
    Command {
        session: session.into(),
        sequence,
        settled,
        op,
    }
}

fn append(element: &str) -> Op {
    Op::Append {
        key: "k".into(),
        element: element.into(),
    }
}

fn apply(kv: &mut Kv, command: Command) -> (Slot, Outcome) {
    let batch = Batch {
        commands: vec![command],
    };
    let applied = kv
        .apply(kv.applied + 1, &batch, batch.digest(), true)
        .remove(0);
    (applied.slot, applied.outcome)
}

#[test]
fn a_repeated_command_is_answered_as_before_and_applied_once() {
    let mut kv = Kv::default();
    assert_eq!(
        apply(&mut kv, command("a", 1, 1, append("7"))),
        (
            1,
            Outcome::Appended {
                length: 1,
                revision: 1
            }
        )
    );
    assert_eq!(
        apply(&mut kv, command("b", 1, 1, append("8"))),
        (
            2,
            Outcome::Appended {
                length: 2,
                revision: 2
            }
        )
    );
    assert_eq!(
        apply(&mut kv, command("a", 1, 1, append("7"))),
        (
            1,
            Outcome::Appended {
                length: 1,
                revision: 1
            }
        )
    );
    assert_eq!(
        kv.read(&Query::Get { key: "k".into() }),
        Outcome::Value(Some("[7,8]".into()))
    );
}

#[test]
fn what_ran_is_told_from_what_was_known() {
    let mut kv = Kv::default();
    let get = Op::Read(Query::Get { key: "k".into() });
    let commands = [
        command("a", 1, 1, append("7")),
        command("a", 1, 1, append("7")),
        command("b", 1, 1, get),
    ];
    let batch = Batch {
        commands: commands.to_vec(),
    };
    let ran = |kv: &mut Kv, dedup| -> Vec<bool> {
        let applied = kv.apply(kv.applied + 1, &batch, batch.digest(), dedup);
        applied.into_iter().map(|applied| applied.ran).collect()
    };
    assert_eq!(ran(&mut kv, true), [true, false, false]);
    assert_eq!(ran(&mut kv, true), [false, false, false]);
    assert_eq!(ran(&mut kv, false), [true, true, false]);
}

#[test]
fn what_is_settled_is_forgotten_and_never_applied_late() {
    let mut kv = Kv::default();
    apply(&mut kv, command("a", 3, 3, append("3")));
    assert_eq!(
        apply(&mut kv, command("a", 2, 2, append("2"))).1,
        Outcome::Superseded
    );
    apply(&mut kv, command("a", 4, 3, append("4")));
    assert_eq!(
        kv.remembered("a", 3),
        Some((
            1,
            Outcome::Appended {
                length: 1,
                revision: 1
            }
        )),
        "3 is not settled yet"
    );
    apply(&mut kv, command("a", 5, 5, append("5")));
    assert_eq!(
        kv.remembered("a", 3).map(|known| known.1),
        Some(Outcome::Superseded)
    );
    assert_eq!(
        kv.read(&Query::Get { key: "k".into() }),
        Outcome::Value(Some("[3,4,5]".into()))
    );
}

#[test]
fn compare_and_set_compares_canonical_texts() {
    let mut kv = Kv::default();
    let cas = |from: Option<&str>, to: &str| Op::Cas {
        key: "k".into(),
        from: from.map(|text| canonical(text.as_bytes()).unwrap()),
        to: canonical(to.as_bytes()).unwrap(),
    };
    assert_eq!(
        apply(
            &mut kv,
            command("a", 1, 1, cas(None, "{\"b\": 1, \"a\": [ 2 ]}"))
        )
        .1,
        Outcome::Swapped { revision: 1 }
    );
    assert_eq!(
        apply(&mut kv, command("a", 2, 2, cas(None, "1"))).1,
        Outcome::NotSwapped {
            actual: Some("{\"a\":[2],\"b\":1}".into())
        }
    );
    assert_eq!(
        apply(
            &mut kv,
            command("a", 3, 3, cas(Some("{\"a\":[2],\"b\":1}"), "1"))
        )
        .1,
        Outcome::Swapped { revision: 2 }
    );
    assert_eq!(
        apply(&mut kv, command("a", 4, 4, append("1"))).1,
        Outcome::NotAList
    );
}

#[test]
fn appends_go_on_from_a_list_that_was_put() {
    let mut kv = Kv::default();
    apply(
        &mut kv,
        command(
            "a",
            1,
            1,
            Op::Put {
                key: "k".into(),
                value: "[]".into(),
            },
        ),
    );
    assert_eq!(
        apply(&mut kv, command("a", 2, 2, append("[1]"))).1,
        Outcome::Appended {
            length: 1,
            revision: 2
        }
    );
    apply(
        &mut kv,
        command(
            "a",
            3,
            3,
            Op::Put {
                key: "k".into(),
                value: "[1,[2,3]]".into(),
            },
        ),
    );
    assert_eq!(
        apply(&mut kv, command("a", 4, 4, append("4"))).1,
        Outcome::Appended {
            length: 3,
            revision: 4
        }
    );
    assert_eq!(
        kv.read(&Query::Get { key: "k".into() }),
        Outcome::Value(Some("[1,[2,3],4]".into()))
    );
}

#[test]
fn ranges_hold_exactly_the_prefix() {
    let mut kv = Kv::default();
    for (sequence, key) in ["a", "b", "b/1", "b/2", "c"].iter().enumerate() {
        let op = Op::Put {
            key: (*key).into(),
            value: "1".into(),
        };
        apply(&mut kv, command("s", sequence as u64, 0, op));
    }
    let page = |prefix: &str, after: Option<&str>, limit| {
        let query = Query::Range {
            prefix: prefix.into(),
            after: after.map(str::to_owned),
            limit,
        };
        match kv.read(&query) {
            Outcome::Entries { entries, more } => {
                let keys: Vec<_> = entries.into_iter().map(|(key, _)| key).collect();
                (keys.join(" "), more)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page("b/", None, 9), ("b/1 b/2".into(), false));
    assert_eq!(page("b", None, 9), ("b b/1 b/2".into(), false));
    assert_eq!(page("d", None, 9), (String::new(), false));
    assert_eq!(page("", None, 9).0.len(), 13);
    // Page by page.
    assert_eq!(page("b", None, 2), ("b b/1".into(), true));
    assert_eq!(page("b", Some("b/1"), 2), ("b/2".into(), false));
    assert_eq!(page("b", Some("a"), 1), ("b".into(), true));
    assert_eq!(page("b", Some("c"), 1), (String::new(), false));
}

#[test]
fn a_page_and_a_list_have_a_greatest_length() {
    let mut kv = Kv::default();
    for n in 0..5 {
        let (key, value) = (
            format!("k{n}"),
            format!("\"{}\"", "x".repeat(RANGE_BYTES / 2)),
        );
        apply(&mut kv, command("s", n, 0, Op::Put { key, value }));
    }
    let all = Query::Range {
        prefix: String::new(),
        after: None,
        limit: u32::MAX,
    };
    match kv.read(&all) {
        Outcome::Entries { entries, more } => assert_eq!((entries.len(), more), (2, true)),
        other => panic!("{other:?}"),
    }
    let mut length = 0;
    let outcome = (5..).find_map(|n| {
        let element = format!("\"{}\"", "x".repeat(VALUE_MAX / 8));
        let key = "list".to_owned();
        match apply(&mut kv, command("s", n, 0, Op::Append { key, element })).1 {
            Outcome::Appended { length: grown, .. } => {
                length = grown;
                None
            }
            other => Some(other),
        }
    });
    assert_eq!((outcome, length), (Some(Outcome::TooLong), 7));
}

#[test]
fn a_long_value_is_not_remembered_with_a_session() {
    let mut kv = Kv::default();
    let (key, value) = ("k".to_owned(), "7".repeat(REMEMBERED + 1));
    apply(
        &mut kv,
        command(
            "a",
            1,
            1,
            Op::Put {
                key: key.clone(),
                value: value.clone(),
            },
        ),
    );
    let swap = command(
        "b",
        1,
        1,
        Op::Cas {
            key,
            from: None,
            to: "1".into(),
        },
    );
    let told = Outcome::NotSwapped {
        actual: Some(value),
    };
    assert_eq!(apply(&mut kv, swap.clone()).1, told);
    assert_eq!(apply(&mut kv, swap).1, Outcome::NotSwappedFromLong);
}

#[test]
fn old_sessions_are_forgotten_in_a_bounded_table() {
    let mut kv = Kv::default();
    for n in 0..SESSIONS + 10 {
        apply(&mut kv, command(&format!("s{n}"), 1, 1, append("1")));
        assert!(kv.sessions.len() <= SESSIONS);
    }
    assert_eq!(kv.remembered("s0", 1), None);
    assert!(kv.remembered(&format!("s{SESSIONS}"), 1).is_some());
}

#[test]
fn snapshots_round_trip_and_refuse_garbage() {
    let mut kv = Kv::default();
    apply(&mut kv, command("a", 1, 1, append("7")));
    let bytes = kv.encode();
    assert_eq!(Kv::decode(&bytes), Ok(kv));
    assert!(Kv::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(Kv::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn every_change_of_a_key_makes_a_revision_and_nothing_else_does() {
    let mut kv = Kv::default();
    let key = || "k".to_owned();
    let cas = |from: Option<&str>| Op::Cas {
        key: key(),
        from: from.map(str::to_owned),
        to: "2".into(),
    };
    let put = Op::Put {
        key: key(),
        value: "1".into(),
    };
    let commands = [
        command("a", 1, 1, put),
        command("a", 2, 2, cas(None)),
        command("a", 3, 3, cas(Some("1"))),
        command("a", 3, 3, cas(Some("1"))),
        command("a", 4, 4, append("7")),
        command("a", 5, 5, Op::Delete { key: key() }),
        command("a", 6, 6, Op::Delete { key: key() }),
        command("a", 7, 7, append("8")),
        command("a", 8, 8, Op::Read(Query::Get { key: key() })),
    ];
    let batch = Batch {
        commands: commands.to_vec(),
    };
    let applied = kv.apply(1, &batch, batch.digest(), true);
    let made: Vec<_> = applied.iter().map(|applied| applied.revision).collect();
    let expected = [
        Some(1),
        None,
        Some(2),
        None,
        None,
        Some(3),
        None,
        Some(4),
        None,
    ];
    assert_eq!((made.as_slice(), kv.revision), (expected.as_slice(), 4));
    let nothing = Outcome::Written { revision: 3 };
    assert_eq!(applied[6].outcome, nothing, "there was nothing to delete");
}
