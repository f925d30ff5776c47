//! Anomalies of registers.

use super::Case;
use checkers::transactions::Consistency;

/// Drawn from the definitions, as those of lists.
pub fn cases() -> Vec<Case> {
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
        // It read what it wrote, and then does not any more.
        Case {
            kind: "internal",
            allowed: &[],
            bad: "P0 |-txn [[w 1 1] [r 1 1] [r 1 nil]]-|",
            good: "P0 |-txn [[w 1 1] [r 1 1] [r 1 1]]-|",
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
        // The second time it reads what had failed.
        Case {
            kind: "G1a",
            allowed: &[ReadUncommitted],
            bad: "
            P0  |-txn [[w 1 1]]-|
            P1  |-txn [[w 1 2]]-!
            P2                     |-txn [[r 1 1] [r 1 2]]-|",
            good: "
            P0  |-txn [[w 1 1]]-|
            P1  |-txn [[w 1 2]]-!
            P2                     |-txn [[r 1 1] [r 1 1]]-|",
        },
        // What it sees was overwritten twice since then, the second time by whom it saw.
        Case {
            kind: "fractured read",
            allowed: &[MonotonicAtomicView],
            bad: "
            P0  |-txn [[r 1 nil] [w 1 1]]-| |-txn [[r 1 1] [w 1 2]]-| |-txn [[r 1 2] [w 1 3] [w 2 9]]-|
            P1  |-txn [[r 1 1] [r 2 9]]------------------------------------------------------------------|",
            good: "
            P0  |-txn [[r 1 nil] [w 1 1]]-| |-txn [[r 1 1] [w 1 2]]-| |-txn [[r 1 2] [w 1 3] [w 2 9]]-|
            P1  |-txn [[r 1 3] [r 2 9]]------------------------------------------------------------------|",
        },
        // The same, and it had seen him before.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[r 1 nil] [w 1 1]]-| |-txn [[r 1 1] [w 1 2]]-| |-txn [[r 1 2] [w 1 3] [w 2 9]]-|
            P1  |-txn [[r 2 9] [r 1 1]]------------------------------------------------------------------|",
            good: "
            P0  |-txn [[r 1 nil] [w 1 1]]-| |-txn [[r 1 1] [w 1 2]]-| |-txn [[r 1 2] [w 1 3] [w 2 9]]-|
            P1  |-txn [[r 2 9] [r 1 3]]------------------------------------------------------------------|",
        },
        // Blind writes of one process stand in its order.
        Case {
            kind: "causality violation",
            allowed: &[SnapshotIsolation, Serializable],
            bad: "P0  |-txn [[w 1 1]]-| |-txn [[w 1 2]]-| |-txn [[r 1 1]]-|",
            good: "P0  |-txn [[w 1 1]]-| |-txn [[w 1 2]]-| |-txn [[r 1 2]]-|",
        },
        // It sees an effect without its cause.
        Case {
            kind: "causality violation",
            allowed: &[ConsistentView, ReadAtomic, SnapshotIsolation, Serializable],
            bad: "
            P0  |-txn [[w 1 1]]-| |-txn [[w 2 1]]-|
            P1  |-txn [[r 2 1]]-| |-txn [[r 1 nil]]-|",
            good: "
            P0  |-txn [[w 1 1]]-| |-txn [[w 2 1]]-|
            P1  |-txn [[r 2 nil]]-| |-txn [[r 1 1]]-|",
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
        // What P0 overwrote is seen afterwards, and what was there at the start before.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P2  |-txn [[w 2 5]]----------------------------------|
            P0  |-txn [[r 2 5] [w 1 1] [w 2 1]]------------------|
            P1  |-txn [[r 2 nil] [r 1 1] [r 2 5]]----------------|",
            good: "
            P2  |-txn [[w 2 5]]----------------------------------|
            P0  |-txn [[r 2 5] [w 1 1] [w 2 1]]------------------|
            P1  |-txn [[r 2 1] [r 1 1] [r 2 1]]------------------|",
        },
        // At last it sees all of it.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[w 1 1] [w 2 1]]---------------|
            P1  |-txn [[r 1 1] [r 2 nil] [r 2 1]]-----|",
            good: "
            P0  |-txn [[w 1 1] [w 2 1]]---------------|
            P1  |-txn [[r 1 1] [r 2 1] [r 2 1]]-------|",
        },
        // It had looked before, too.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[w 1 1] [w 2 1]]---------------|
            P1  |-txn [[r 2 nil] [r 1 1] [r 2 nil]]---|",
            good: "
            P0  |-txn [[w 1 1] [w 2 1]]---------------|
            P1  |-txn [[r 2 1] [r 1 1] [r 2 1]]-------|",
        },
        // What is seen of one register and then not any more.
        Case {
            kind: "observed transaction vanishes",
            allowed: &[ReadCommitted],
            bad: "
            P0  |-txn [[w 1 1]]-------------------|
            P1  |-txn [[r 1 1] [r 2 nil] [r 1 nil]]-|",
            good: "
            P0  |-txn [[w 1 1]]-------------------|
            P1  |-txn [[r 1 1] [r 2 nil] [r 1 1]]-|",
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
            allowed: &[Prefix],
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
