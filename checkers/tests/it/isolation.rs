//! Anomalies of transactions, each drawn by hand, with a twin that has none.

mod lists;
mod registers;

use checkers::picture::{Picture, Relation};
use checkers::transactions::{Consistency, ListAppend, RwRegister};
use checkers::{Analysis, Anomaly, Budget, Checker, Verdict, drawing};
use history::foreign::{self, Format};

fn judge(drawn: &str, model: Consistency) -> Analysis {
    ListAppend::by(model).check(&drawing::history(drawn).unwrap(), &Budget::default())
}

fn judge_registers(drawn: &str, model: Consistency) -> Analysis {
    RwRegister::by(model).check(&drawing::history(drawn).unwrap(), &Budget::default())
}

/// A kind, the strongest models that allow it, a history that has it, and one that has not.
struct Case {
    kind: &'static str,
    allowed: &'static [Consistency],
    bad: &'static str,
    good: &'static str,
}

/// The models that allow all that a model allows: written down here from the literature named in
/// `harness/docs/isolation.md`, since the checker's own table is what is tested.
fn implied_by(model: Consistency) -> Vec<Consistency> {
    use Consistency::*;
    let up_to_view = [
        ReadUncommitted,
        ReadCommitted,
        MonotonicAtomicView,
        ReadAtomic,
        ConsistentView,
    ];
    let others: &[Consistency] = match model {
        ReadUncommitted => return up_to_view[..1].to_vec(),
        ReadCommitted => return up_to_view[..2].to_vec(),
        MonotonicAtomicView => return up_to_view[..3].to_vec(),
        ReadAtomic => return up_to_view[..4].to_vec(),
        TransactionalCausal => return [&up_to_view[..4], &[TransactionalCausal]].concat(),
        Prefix => return [&up_to_view[..4], &[TransactionalCausal, Prefix]].concat(),
        ConsistentView => &[],
        ParallelSnapshotIsolation => &[TransactionalCausal, ParallelSnapshotIsolation],
        SnapshotIsolation => &[SnapshotIsolation],
        StrongSessionSnapshotIsolation => &[
            TransactionalCausal,
            Prefix,
            ParallelSnapshotIsolation,
            SnapshotIsolation,
            StrongSessionSnapshotIsolation,
        ],
        StrongSnapshotIsolation => &[
            TransactionalCausal,
            Prefix,
            ParallelSnapshotIsolation,
            SnapshotIsolation,
            StrongSessionSnapshotIsolation,
            StrongSnapshotIsolation,
        ],
        // Without predicates they are the same.
        RepeatableRead | Serializable => &[SnapshotIsolation, RepeatableRead, Serializable],
        StrongSessionSerializable => &[
            TransactionalCausal,
            Prefix,
            ParallelSnapshotIsolation,
            SnapshotIsolation,
            StrongSessionSnapshotIsolation,
            RepeatableRead,
            Serializable,
            StrongSessionSerializable,
        ],
        StrictSerializable => return Consistency::ALL.to_vec(),
    };
    [&up_to_view, others].concat()
}

#[test]
fn models_imply_what_the_literature_says() {
    for model in Consistency::ALL {
        let implied = implied_by(model);
        for other in Consistency::ALL {
            assert_eq!(
                model.implies(other),
                implied.contains(&other),
                "{model} implies {other}"
            );
        }
    }
}

#[test]
fn each_anomaly_has_its_name_and_its_models() {
    let lists = lists::cases()
        .into_iter()
        .map(|case| (case, judge as fn(&str, Consistency) -> Analysis));
    let registers = registers::cases().into_iter();
    let registers =
        registers.map(|case| (case, judge_registers as fn(&str, Consistency) -> Analysis));
    for (case, judge) in lists.chain(registers) {
        for model in Consistency::ALL {
            let found = judge(case.bad, model);
            let allowed = case.allowed.iter().any(|a| implied_by(*a).contains(&model));
            let expected = match allowed {
                true => Verdict::Valid,
                false => Verdict::Invalid,
            };
            let context = format!("{}, {model}: {found:#?}", case.kind);
            // A list without an order tells nothing of cycles among writes.
            let unknown =
                case.kind == "incompatible order" && model == Consistency::ReadUncommitted;
            if unknown && found.verdict == Verdict::Unknown {
                continue;
            }
            assert_eq!(found.verdict, expected, "{context}");
            // What is a cycle for others is told of these as what they promise.
            let own: &[&str] = match model {
                Consistency::TransactionalCausal => &["causality violation"],
                Consistency::Prefix => &["causality violation", "prefix violation"],
                _ => &[],
            };
            let named = |a: &Anomaly| a.kind == case.kind || own.contains(&a.kind.as_str());
            if !allowed {
                assert!(found.anomalies.iter().any(named), "{context}");
            }
        }
        let found = judge(case.good, Consistency::StrictSerializable);
        assert_eq!(found.verdict, Verdict::Valid, "{}: {found:#?}", case.kind);
    }
}

#[test]
fn a_cycle_is_told_edge_by_edge() {
    let drawn = "
        P0  |-txn [[append x 1]]-| |-txn [[r x [1]]]-----|
        P1                               |-txn [[r x []]]-|";
    let found = judge(drawn, Consistency::StrictSerializable);
    assert_eq!(found.anomalies.len(), 1);
    assert_eq!(found.anomalies[0].kind, "G-single-realtime");
    assert_eq!(
        found.anomalies[0].reason,
        "T1 (op 3) < T2 (op 0), since T1 read list \"x\" without 1, which T2 appended; \
         T2 < T1, since T2 had returned when T1 was invoked: a contradiction"
    );
    let Some(Picture::Cycle { edges }) = found.anomalies[0].picture.as_deref() else {
        panic!("{found:?}");
    };
    let edges: Vec<_> = edges.iter().map(|e| (e.from, e.to, e.relation)).collect();
    assert_eq!(edges, [(3, 0, Relation::Rw), (0, 3, Relation::RealTime)]);
    assert_eq!(
        found.summary,
        "3 transactions on 1 list are not strict-serializable, the first anomaly: G-single-realtime; \
         what holds: strong-session-serializable"
    );
}

#[test]
fn an_answer_to_another_question_is_not_judged() {
    let judged = |asked: &str, told: &str| {
        let text = format!(r#"{{"f":"txn","call":0,"return":1,"input":{asked},"output":{told}}}"#);
        let history = foreign::read(Format::Operations, text.as_bytes());
        ListAppend::by(Consistency::StrictSerializable)
            .check(&history.unwrap().history, &Budget::default())
    };
    let asked = r#"[["append","x",1],["r","x",null]]"#;
    let found = judged(asked, r#"[["append","x",1],["r","x",[1]]]"#);
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    for told in [
        r#"[["append","x",2],["r","x",[2]]]"#,
        r#"[["append","y",1],["r","y",[1]]]"#,
        r#"[["r","x",[]],["append","x",1]]"#,
        r#"[["append","x",1]]"#,
        r#"[["append","x",1],["r","x",[1]],["r","x",[1]]]"#,
    ] {
        let found = judged(asked, told);
        assert_eq!(found.verdict, Verdict::Unknown, "{told}: {found:#?}");
        assert_eq!(
            found.summary,
            "operation 0 cannot be judged: it is answered with other micro-operations than it asked for"
        );
    }
}

#[test]
fn a_value_that_is_appended_twice_is_not_judged() {
    let again = "P0 |-txn [[append 1 1]]-| |-txn [[append 1 1]]-|";
    let found = judge(again, Consistency::StrictSerializable);
    assert_eq!(found.verdict, Verdict::Unknown);
    assert_eq!(
        found.summary,
        "operation 2 cannot be judged: 1 is appended to 1 a second time"
    );
}

#[test]
fn what_nobody_knows_of_and_nobody_saw_is_nothing() {
    for model in Consistency::ALL {
        let found = judge("P0 |-txn [[append 1 1]]-?", model);
        assert_eq!(found.verdict, Verdict::Vacuous, "{found:#?}");
        let found = judge_registers("P0 |-txn [[w 1 1]]-?", model);
        assert_eq!(found.verdict, Verdict::Vacuous, "{found:#?}");
    }
}

#[test]
fn what_no_order_of_unread_appends_explains_is_not_valid() {
    // A long fork, which consistent view allows; but the two also appended to list 3, in whatever
    // order: with that, the reader who missed the first is in a cycle with one anti-dependency.
    let drawn = "
        P0  |-txn [[append 1 1] [append 3 1]]-|
        P1  |-txn [[append 2 2] [append 3 2]]-|
        P2  |-txn [[r 1 [1]] [r 2 []]]--------|
        P3  |-txn [[r 1 []] [r 2 [2]]]--------|";
    for model in Consistency::ALL {
        let found = judge(drawn, model);
        let expected = match model {
            _ if Consistency::TransactionalCausal.implies(model) => Verdict::Valid,
            _ => Verdict::Invalid,
        };
        assert_eq!(found.verdict, expected, "{model}: {found:#?}");
    }
}

#[test]
fn a_wrong_guess_at_unread_appends_refutes_nothing() {
    // P1 saw P0's append, and so appended to list 3 after it, but returned first.
    let drawn = "
        P0  |-txn [[append 1 1] [append 3 1]]---------------|
        P1     |-txn [[r 1 [1]] [append 3 2]]----|";
    for model in Consistency::ALL {
        let found = judge(drawn, model);
        assert_eq!(found.verdict, Verdict::Valid, "{model}: {found:#?}");
    }
}

#[test]
fn what_no_order_of_blind_writes_explains_is_not_valid() {
    // P2 saw all of P0 only if P1 overwrote its 1 in register 2, P3 all of P1 only if it was the
    // other way round.
    let drawn = "
        P0  |-txn [[w 1 1] [w 2 1]]---|
        P1  |-txn [[w 3 3] [w 2 2]]---|
        P2  |-txn [[r 1 1] [r 2 2]]---|
        P3  |-txn [[r 3 3] [r 2 1]]---|";
    for model in Consistency::ALL {
        let found = judge_registers(drawn, model);
        let expected = match model {
            Consistency::ReadUncommitted | Consistency::ReadCommitted => Verdict::Valid,
            _ => Verdict::Invalid,
        };
        assert_eq!(found.verdict, expected, "{model}: {found:#?}");
    }
}

#[test]
fn what_blind_writes_leave_open_is_said() {
    // By time 1 was written last, but P2 and P3 saw 1 of the one and 2 of the other register.
    let drawn = "
        P0  |-txn [[w 1 1] [w 2 1]]---|
        P1  |-txn [[w 1 2] [w 2 2]]---|
        P2  |-txn [[r 1 1]]-----------|
        P3  |-txn [[r 2 2]]-----------|";
    let found = judge_registers(drawn, Consistency::ReadCommitted);
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    // An order of versions that explains it is found.
    let found = judge_registers(drawn, Consistency::StrictSerializable);
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    let again = "P0 |-txn [[w 1 1]]-| |-txn [[w 1 1]]-|";
    let found = judge_registers(again, Consistency::StrictSerializable);
    assert_eq!(found.verdict, Verdict::Unknown);
    assert_eq!(
        found.summary,
        "operation 2 cannot be judged: 1 is written to 1, but was written to it before: \
         only unique values tell who was read"
    );
}
