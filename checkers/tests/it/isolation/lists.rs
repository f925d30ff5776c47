//! Anomalies of lists.

use super::Case;
use checkers::transactions::Consistency;

/// Drawn from the definitions; which models allow what is the table in `harness/docs/isolation.md`.
pub fn cases() -> Vec<Case> {
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
        // One of its appends is there without the one before.
        Case {
            kind: "internal",
            allowed: &[],
            bad: "
            P0 |-txn [[append 1 1] [append 1 2]]-|
            P1                                      |-txn [[r 1 [2]]]-|",
            good: "
            P0 |-txn [[append 1 1] [append 1 2]]-|
            P1                                      |-txn [[r 1 [1 2]]]-|",
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
        // It read what it appended, and then does not any more.
        Case {
            kind: "internal",
            allowed: &[],
            bad: "P0 |-txn [[append 1 1] [r 1 [1]] [r 1 []]]-|",
            good: "P0 |-txn [[append 1 1] [r 1 [1]] [r 1 [1]]]-|",
        },
        // Two that lost an update are interleaved elsewhere, which is worse.
        Case {
            kind: "G0",
            allowed: &[],
            bad: "
            P0  |-txn [[r 1 []] [append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 []] [append 1 2] [append 2 2]]-|
            P2  |-txn [[r 1 [1 2]]]------------------------|
            P3  |-txn [[r 2 [2 1]]]------------------------|",
            good: "
            P0  |-txn [[r 1 []] [append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 [1]] [append 1 2] [append 2 2]]-|
            P2  |-txn [[r 1 [1 2]]]------------------------|
            P3  |-txn [[r 2 [1 2]]]------------------------|",
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
        // Somebody else sees both.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 [1]] [r 2 []]]--------|
            P2  |-txn [[r 2 [1]]]-----------------|",
            good: "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 []] [r 2 []]]---------|
            P2  |-txn [[r 2 [1]]]-----------------|",
        },
        // It had looked before, too.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[append 1 1] [append 2 1]]-----|
            P1  |-txn [[r 2 []] [r 1 [1]] [r 2 []]]---|",
            good: "
            P0  |-txn [[append 1 1] [append 2 1]]-----|
            P1  |-txn [[r 2 []] [r 1 []] [r 2 []]]----|",
        },
        // It had looked before, and saw less.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[append 1 1] [append 2 1]]------|
            P1  |-txn [[append 2 5]]-------------------|
            P2  |-txn [[r 2 []] [r 1 [1]] [r 2 [5]]]---|
            P3  |-txn [[r 2 [5 1]]]--------------------|",
            good: "
            P0  |-txn [[append 1 1] [append 2 1]]------|
            P1  |-txn [[append 2 5]]-------------------|
            P2  |-txn [[r 2 [5]] [r 1 []] [r 2 [5]]]---|
            P3  |-txn [[r 2 [5 1]]]--------------------|",
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
        // What is seen of one list and then not any more.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[append 1 1]]-------------------|
            P1  |-txn [[r 1 [1]] [r 2 []] [r 1 []]]----|",
            good: "
            P0  |-txn [[append 1 1]]-------------------|
            P1  |-txn [[r 1 [1]] [r 2 []] [r 1 [1]]]---|",
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
            allowed: &[Prefix],
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
            allowed: &[Prefix],
            bad: "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 []] [append 1 2]]-|",
            good: "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 []] [append 2 2]]-|",
        },
        // P2 and P3 lose an update, while a shorter way round leads over the write skew of P0 and
        // P1.
        Case {
            kind: "lost update",
            allowed: &[Prefix],
            bad: "
            P0  |-txn [[r 1 []] [r 3 []] [append 2 2]]-|
            P1  |-txn [[r 2 []] [append 1 1]]----------|
            P2  |-txn [[r 1 []] [r 3 []] [append 3 1]]-|
            P3  |-txn [[r 3 []] [append 3 2]]----------|",
            good: "
            P0  |-txn [[r 1 []] [r 3 []] [append 2 2]]-|
            P1  |-txn [[r 2 [2]] [append 1 1]]---------|
            P2  |-txn [[r 1 []] [r 3 []] [append 3 1]]-|
            P3  |-txn [[r 3 [1]] [append 3 2]]---------|",
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
        // Nor do others who looked before it returned.
        Case {
            kind: "lost element",
            allowed: &[StrongSessionSerializable],
            bad: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[r 1 []]]-|
            P2                          |-txn [[r 1 []]]-|",
            good: "
            P0  |-txn [[append 1 1]]-|
            P1  |-txn [[r 1 []]]-|
            P2                       |-txn [[r 1 []]]-|",
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
