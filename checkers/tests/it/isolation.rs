//! Anomalies of transactions, each drawn by hand, with a twin that has none.

use checkers::transactions::{Consistency, ListAppend, RwRegister};
use checkers::{Analysis, Budget, Checker, Verdict, drawing};
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
        ConsistentView => &[],
        ParallelSnapshotIsolation => &[ParallelSnapshotIsolation],
        SnapshotIsolation => &[SnapshotIsolation],
        StrongSessionSnapshotIsolation => &[
            ParallelSnapshotIsolation,
            SnapshotIsolation,
            StrongSessionSnapshotIsolation,
        ],
        StrongSnapshotIsolation => &[
            ParallelSnapshotIsolation,
            SnapshotIsolation,
            StrongSessionSnapshotIsolation,
            StrongSnapshotIsolation,
        ],
        // Without predicates they are the same.
        RepeatableRead | Serializable => &[SnapshotIsolation, RepeatableRead, Serializable],
        StrongSessionSerializable => &[
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

/// Drawn from the definitions; which models allow what is the table in `harness/docs/isolation.md`.
fn cases() -> Vec<Case> {
    use Consistency::*;
    vec![
        Case {
            kind: "duplicate elements",
            allowed: &[],
            bad: "P0 |-txn [[append 1 1]]-| |-txn [[r 1 [1 1]]]-|",
            good: "P0 |-txn [[append 1 1]]-| |-txn [[r 1 [1]]]-|",
        },
        Case {
            kind: "element from nowhere",
            allowed: &[],
            bad: "P0 |-txn [[append 1 1]]-| |-txn [[r 1 [1 7]]]-|",
            good: "P0 |-txn [[append 1 1]]-| |-txn [[append 1 7]]-| |-txn [[r 1 [1 7]]]-|",
        },
        // It does not read what it appended.
        Case {
            kind: "internal",
            allowed: &[],
            bad: "P0 |-txn [[append 1 1] [r 1 []]]-|",
            good: "P0 |-txn [[r 1 []] [append 1 1] [r 1 [1]]]-|",
        },
        // Its appends stand in another order than it made them.
        Case {
            kind: "internal",
            allowed: &[],
            bad: "
            P0 |-txn [[append 1 1] [append 1 2]]-|
            P1 |-txn [[append 1 3]]-----------------| |-txn [[r 1 [2 1 3]]]-|",
            good: "
            P0 |-txn [[append 1 1] [append 1 2]]-|
            P1 |-txn [[append 1 3]]-----------------| |-txn [[r 1 [1 2 3]]]-|",
        },
        // Appends of two transactions are interleaved.
        Case {
            kind: "G0",
            allowed: &[],
            bad: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[append 1 2] [append 2 2]]-|
            P2  |-txn [[r 1 [1 2]]]---|
            P3  |-txn [[r 2 [2 1]]]---|",
            good: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[append 1 2] [append 2 2]]-|
            P2  |-txn [[r 1 [1 2]]]---|
            P3  |-txn [[r 2 [1 2]]]---|",
        },
        Case {
            kind: "G1a",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[append 1 1]]-!
            P1  |-txn [[r 1 [1]]]-|",
            good: "
            P0  |-txn [[append 1 1]]-?
            P1  |-txn [[r 1 [1]]]-|",
        },
        // Nobody reads up to the append that failed, but it is under another.
        Case {
            kind: "dirty update",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[append 1 1]]-!
            P1                           |-txn [[append 1 2]]-| |-txn [[r 1 [1 2]]]-|",
            good: "
            P0  |-txn [[append 1 1]]-!
            P1                           |-txn [[append 1 2]]-| |-txn [[r 1 [2]]]-|",
        },
        Case {
            kind: "G1b",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[append 1 1] [append 1 2]]-|
            P1  |-txn [[r 1 [1]]]-| |-txn [[r 1 [1 2]]]-|",
            good: "
            P0  |-txn [[append 1 1] [append 1 2]]-|
            P1  |-txn [[r 1 []]]-| |-txn [[r 1 [1 2]]]-|",
        },
        // Each sees the other's append.
        Case {
            kind: "G1c",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[append 1 1] [r 2 [2]]]-|
            P1  |-txn [[append 2 2] [r 1 [1]]]-|",
            good: "
            P0  |-txn [[append 1 1] [r 2 []]]-|
            P1  |-txn [[append 2 2] [r 1 [1]]]-|",
        },
        Case {
            kind: "future read",
            allowed: &[ReadUncommitted],
            bad: "P0  |-txn [[r 1 [1]] [append 1 1]]-|",
            good: "P0  |-txn [[r 1 []] [append 1 1]]-|",
        },
        Case {
            kind: "incompatible order",
            allowed: &[],
            bad: "
            P0  |-txn [[append 1 1]]-------------|
            P1  |-txn [[append 1 2]]-------------|
            P2  |-txn [[r 1 [1]]]----------------|
            P3  |-txn [[r 1 [2]]]----------------|",
            good: "
            P0  |-txn [[append 1 1]]-------------|
            P1  |-txn [[append 1 2]]-------------|
            P2  |-txn [[r 1 [1]]]----------------|
            P3  |-txn [[r 1 [1 2]]]----------------|",
        },
        // After it saw one append, it does not see the other.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 [1]] [r 2 []]]-|",
            good: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 [1]] [r 2 [1]]]-|",
        },
        // The same, but what is missing was read first.
        Case {
            kind: "fractured read",
            allowed: &[MonotonicAtomicView],
            bad: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 2 []] [r 1 [1]]]-|",
            good: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 2 []] [r 1 []]]-|",
        },
        Case {
            kind: "non-repeatable read",
            allowed: &[MonotonicAtomicView],
            bad: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[r 1 []] [r 1 [1]]]-|",
            good: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[r 1 [1]] [r 1 [1]]]-|",
        },
        // P2 sees what followed from an append, but not the append itself.
        Case {
            kind: "G-single",
            allowed: &[ReadAtomic],
            bad: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[r 1 [1]] [append 2 2]]-|
            P2  |-txn [[r 1 []] [r 2 [2]]]-|",
            good: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[r 1 [1]] [append 2 2]]-|
            P2  |-txn [[r 1 [1]] [r 2 [2]]]-|",
        },
        Case {
            kind: "lost update",
            allowed: &[ReadAtomic],
            bad: "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 []] [append 1 2]]-|
            P2                                  |-txn [[r 1 [1 2]]]-|",
            good: "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 [1]] [append 1 2]]-|
            P2                                  |-txn [[r 1 [1 2]]]-|",
        },
        // And nobody looks afterwards.
        Case {
            kind: "lost update",
            allowed: &[ReadAtomic],
            bad: "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 []] [append 1 2]]-|",
            good: "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 []] [append 2 2]]-|",
        },
        // Two readers see two appends in different orders.
        Case {
            kind: "long fork",
            allowed: &[ParallelSnapshotIsolation],
            bad: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[append 2 2]]-|
            P2  |-txn [[r 1 [1]] [r 2 []]]-|
            P3  |-txn [[r 1 []] [r 2 [2]]]-|",
            good: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[append 2 2]]-|
            P2  |-txn [[r 1 [1]] [r 2 []]]-|
            P3  |-txn [[r 1 [1]] [r 2 [2]]]-|",
        },
        // The same with a third reader in the circle.
        Case {
            kind: "G-nonadjacent",
            allowed: &[ParallelSnapshotIsolation],
            bad: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[append 2 2]]-|
            P2  |-txn [[append 3 3]]-|
            P3  |-txn [[r 1 [1]] [r 2 []]]-|
            P4  |-txn [[r 2 [2]] [r 3 []]]-|
            P5  |-txn [[r 3 [3]] [r 1 []]]-|",
            good: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[append 2 2]]-|
            P2  |-txn [[append 3 3]]-|
            P3  |-txn [[r 1 [1]] [r 2 []]]-|
            P4  |-txn [[r 2 [2]] [r 3 []]]-|
            P5  |-txn [[r 3 [3]] [r 1 [1]]]-|",
        },
        // Neither sees the other's append.
        Case {
            kind: "write skew",
            allowed: &[StrongSnapshotIsolation],
            bad: "
            P0  |-txn [[r 1 []] [append 2 2]]-|
            P1  |-txn [[r 2 []] [append 1 1]]-|
            P2                                  |-txn [[r 1 [1]] [r 2 [2]]]-|",
            good: "
            P0  |-txn [[r 1 []] [append 2 2]]-|
            P1  |-txn [[r 2 [2]] [append 1 1]]-|
            P2                                  |-txn [[r 1 [1]] [r 2 [2]]]-|",
        },
        Case {
            kind: "G2-item",
            allowed: &[StrongSnapshotIsolation],
            bad: "
            P0  |-txn [[r 1 []] [append 2 2]]-|
            P1  |-txn [[r 2 []] [append 3 3]]-|
            P2  |-txn [[r 3 []] [append 1 1]]-|",
            good: "
            P0  |-txn [[r 1 []] [append 2 2]]-|
            P1  |-txn [[r 2 []] [append 3 3]]-|
            P2  |-txn [[r 3 [3]] [append 1 1]]-|",
        },
        // A process does not see what it did before.
        Case {
            kind: "G-single-process",
            allowed: &[SnapshotIsolation, Serializable],
            bad: "
            P0  |-txn [[append 1 1]]-| |-txn [[r 1 []]]-|
            P1  |-txn [[r 1 [1]]]-----------------------------|",
            good: "
            P0  |-txn [[append 1 1]]-| |-txn [[r 1 [1]]]-|
            P1  |-txn [[r 1 []]]-----------------------------|",
        },
        // A process appends twice, and what it appended later is in front.
        Case {
            kind: "G0-process",
            allowed: &[SnapshotIsolation, Serializable],
            bad: "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-|
            P1  |-txn [[r 1 [2 1]]]------------------------------|",
            good: "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-|
            P1  |-txn [[r 1 [1 2]]]------------------------------|",
        },
        // A process reads what it appends only in its next transaction.
        Case {
            kind: "G1c-process",
            allowed: &[SnapshotIsolation, Serializable],
            bad: "P0  |-txn [[r 1 [1]]]-| |-txn [[append 1 1]]-|",
            good: "P0  |-txn [[r 1 []]]-| |-txn [[append 1 1]]-|",
        },
        // The second of P0 saw nothing of P1, which saw nothing of the first of P0.
        Case {
            kind: "G2-item-process",
            allowed: &[StrongSnapshotIsolation, Serializable],
            bad: "
            P0  |-txn [[append 3 3]]-|  |-txn [[r 1 []]]-|
            P1  |-txn [[r 3 []] [append 1 1]]----------------|",
            good: "
            P0  |-txn [[append 3 3]]-|  |-txn [[r 1 [1]]]-|
            P1  |-txn [[r 3 []] [append 1 1]]----------------|",
        },
        // Two processes go on from one append each, and the orders do not fit.
        Case {
            kind: "G-nonadjacent-process",
            allowed: &[SnapshotIsolation, ParallelSnapshotIsolation, Serializable],
            bad: "
            P0  |-txn [[append 1 1]]-| |-txn [[r 2 []]]-|
            P1  |-txn [[append 2 2]]-| |-txn [[r 1 []]]-|
            P2  |-txn [[r 1 [1]]]-------------------------------|
            P3  |-txn [[r 2 [2]]]-------------------------------|",
            good: "
            P0  |-txn [[append 1 1]]-| |-txn [[r 2 [2]]]-|
            P1  |-txn [[append 2 2]]-| |-txn [[r 1 [1]]]-|
            P2  |-txn [[r 1 [1]]]-------------------------------|
            P3  |-txn [[r 2 [2]]]-------------------------------|",
        },
        // What had returned is not seen, though others see it.
        Case {
            kind: "G-single-realtime",
            allowed: &[StrongSessionSerializable],
            bad: "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-|
            P1                                                 |-txn [[r 1 [1]]]-|
            P2  |-txn [[r 1 [1 2]]]----------------------------------------------------|",
            good: "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-|
            P1                                            |-txn [[r 1 [1]]]-|
            P2  |-txn [[r 1 [1 2]]]----------------------------------------------------|",
        },
        // Nobody ever sees it.
        Case {
            kind: "lost element",
            allowed: &[StrongSessionSerializable],
            bad: "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-|
            P1                                                 |-txn [[r 1 [1]]]-|",
            good: "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-?
            P1                                                 |-txn [[r 1 [1]]]-|",
        },
        // Later appends are in front.
        Case {
            kind: "G0-realtime",
            allowed: &[StrongSessionSerializable],
            bad: "
            P0  |-txn [[append 1 1]]-|
            P1                          |-txn [[append 1 2]]-|
            P2  |-txn [[r 1 [2 1]]]--------------------------------|",
            good: "
            P0  |-txn [[append 1 1]]-|
            P1                          |-txn [[append 1 2]]-|
            P2  |-txn [[r 1 [1 2]]]--------------------------------|",
        },
        // It read before the append was asked for.
        Case {
            kind: "G1c-realtime",
            allowed: &[StrongSessionSerializable],
            bad: "
            P0  |-txn [[r 1 [1]]]-|
            P1                      |-txn [[append 1 1]]-|",
            good: "
            P0  |-txn [[r 1 [1]]]----|
            P1                      |-txn [[append 1 1]]-|",
        },
        // P0 saw nothing of P1, which saw nothing of P2, which had returned before P0 began.
        Case {
            kind: "G2-item-realtime",
            allowed: &[StrongSnapshotIsolation, StrongSessionSerializable],
            bad: "
            P0                          |-txn [[r 1 []]]-|
            P1  |-txn [[r 3 []] [append 1 1]]----------------|
            P2  |-txn [[append 3 3]]-|",
            good: "
            P0                       |-txn [[r 1 []]]-|
            P1  |-txn [[r 3 []] [append 1 1]]----------------|
            P2  |-txn [[append 3 3]]-|",
        },
    ]
}

/// The same of registers.
fn register_cases() -> Vec<Case> {
    use Consistency::*;
    vec![
        Case {
            kind: "value from nowhere",
            allowed: &[],
            bad: "P0 |-txn [[w 1 1]]-| |-txn [[r 1 7]]-|",
            good: "P0 |-txn [[w 1 1]]-| |-txn [[r 1 1]]-|",
        },
        Case {
            kind: "internal",
            allowed: &[],
            bad: "P0 |-txn [[w 1 1] [r 1 nil]]-|",
            good: "P0 |-txn [[r 1 nil] [w 1 1] [r 1 1]]-|",
        },
        Case {
            kind: "G1a",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[w 1 1]]-!
            P1  |-txn [[r 1 1]]-|",
            good: "
            P0  |-txn [[w 1 1]]-?
            P1  |-txn [[r 1 1]]-|",
        },
        Case {
            kind: "G1b",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[w 1 1] [w 1 2]]-|
            P1  |-txn [[r 1 1]]-|",
            good: "
            P0  |-txn [[w 1 1] [w 1 2]]-|
            P1  |-txn [[r 1 2]]-|",
        },
        Case {
            kind: "G1c",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[w 1 1] [r 2 2]]-|
            P1  |-txn [[w 2 2] [r 1 1]]-|",
            good: "
            P0  |-txn [[w 1 1] [r 2 nil]]-|
            P1  |-txn [[w 2 2] [r 1 1]]-|",
        },
        Case {
            kind: "future read",
            allowed: &[ReadUncommitted],
            bad: "P0  |-txn [[r 1 1] [w 1 1]]-|",
            good: "P0  |-txn [[r 1 nil] [w 1 1]]-|",
        },
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[w 1 1] [w 2 1]]-|
            P1  |-txn [[r 1 1] [r 2 nil]]-|",
            good: "
            P0  |-txn [[w 1 1] [w 2 1]]-|
            P1  |-txn [[r 1 1] [r 2 1]]-|",
        },
        // What P1 overwrote is seen beside what it wrote.
        Case {
            kind: "fractured read",
            allowed: &[MonotonicAtomicView],
            bad: "
            P0  |-txn [[w 2 1]]-|
            P1                    |-txn [[w 1 2] [r 2 1] [w 2 2]]-|
            P2                       |-txn [[r 2 1] [r 1 2]]-|",
            good: "
            P0  |-txn [[w 2 1]]-|
            P1                    |-txn [[w 1 2] [r 2 1] [w 2 2]]-|
            P2                       |-txn [[r 2 2] [r 1 2]]-|",
        },
        Case {
            kind: "non-repeatable read",
            allowed: &[MonotonicAtomicView],
            bad: "
            P0  |-txn [[w 1 1]]-|
            P1  |-txn [[r 1 nil] [r 1 1]]-|",
            good: "
            P0  |-txn [[w 1 1]]-|
            P1  |-txn [[r 1 1] [r 1 1]]-|",
        },
        Case {
            kind: "lost update",
            allowed: &[ReadAtomic],
            bad: "
            P0  |-txn [[r 1 nil] [w 1 1]]-|
            P1  |-txn [[r 1 nil] [w 1 2]]-|",
            good: "
            P0  |-txn [[r 1 nil] [w 1 1]]-|
            P1  |-txn [[r 1 1] [w 1 2]]---|",
        },
        Case {
            kind: "long fork",
            allowed: &[ParallelSnapshotIsolation],
            bad: "
            P0  |-txn [[w 1 1]]-|
            P1  |-txn [[w 2 2]]-|
            P2  |-txn [[r 1 1] [r 2 nil]]-|
            P3  |-txn [[r 1 nil] [r 2 2]]-|",
            good: "
            P0  |-txn [[w 1 1]]-|
            P1  |-txn [[w 2 2]]-|
            P2  |-txn [[r 1 1] [r 2 nil]]-|
            P3  |-txn [[r 1 1] [r 2 2]]-|",
        },
        Case {
            kind: "write skew",
            allowed: &[StrongSnapshotIsolation],
            bad: "
            P0  |-txn [[r 1 nil] [r 2 nil] [w 2 2]]-|
            P1  |-txn [[r 2 nil] [r 1 nil] [w 1 1]]-|",
            good: "
            P0  |-txn [[r 1 nil] [r 2 nil] [w 2 2]]-|
            P1  |-txn [[r 2 2] [r 1 nil] [w 1 1]]---|",
        },
        // A process does not see what it did before.
        Case {
            kind: "G-single-process",
            allowed: &[SnapshotIsolation, Serializable],
            bad: "
            P0  |-txn [[r 1 nil] [w 1 1]]-| |-txn [[r 1 nil]]-|
            P1  |-txn [[r 1 1]]-----------------------------------|",
            good: "
            P0  |-txn [[r 1 nil] [w 1 1]]-| |-txn [[r 1 1]]-|
            P1  |-txn [[r 1 nil]]-----------------------------|",
        },
        // What had returned is not seen.
        Case {
            kind: "G-single-realtime",
            allowed: &[StrongSessionSerializable],
            bad: "
            P0  |-txn [[r 1 nil] [w 1 1]]-|
            P1                                |-txn [[r 1 nil]]-|",
            good: "
            P0  |-txn [[r 1 nil] [w 1 1]]-|
            P1                            |-txn [[r 1 nil]]-|",
        },
    ]
}

#[test]
fn each_anomaly_has_its_name_and_its_models() {
    let lists = cases()
        .into_iter()
        .map(|case| (case, judge as fn(&str, Consistency) -> Analysis));
    let registers = register_cases().into_iter();
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
            // A list without an order tells nothing of cycles among writes; and what two wrote over the same
            // version of a register has no order that anybody knows.
            let unknown = match case.kind {
                "incompatible order" => model == Consistency::ReadUncommitted,
                "lost update" => model.implies(Consistency::MonotonicAtomicView) && allowed,
                _ => false,
            };
            if unknown && found.verdict == Verdict::Unknown {
                continue;
            }
            assert_eq!(found.verdict, expected, "{context}");
            if !allowed {
                assert!(
                    found.anomalies.iter().any(|a| a.kind == case.kind),
                    "{context}"
                );
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
    assert_eq!(
        found.summary,
        "3 transactions on 1 lists are not strict-serializable, first a G-single-realtime; \
         not refuted: strong-session-serializable"
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
