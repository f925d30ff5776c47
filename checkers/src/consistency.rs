//! What each consistency model forbids.
//!
//! Anomalies have a class, each weaker than the one before, and a scope; a model forbids classes up
//! to one and scopes up to one. The table with its sources is in `harness/docs/isolation.md`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad: an anomaly of a class is one of every later class too, but that `Prefix` is none of
/// `Single`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// No order of versions explains what was read: forbidden by every model.
    Broken,
    /// G0: a cycle of writes (Adya 1999).
    DirtyWrite,
    /// G1: aborted, intermediate and circular reads (Adya 1999).
    DirtyRead,
    /// What was seen of a transaction is gone later in the same one: OTV (Bailis et al. 2014).
    Vanished,
    /// A transaction is seen in part (Bailis et al. 2014, RAMP).
    Fractured,
    /// What a transaction must have known of, by its session or by what it read, is missing (Biswas
    /// and Enea 2019).
    Causal,
    /// No order of all has snapshots that are beginnings of it (Burckhardt et al. 2015). Not a kind
    /// of the next.
    Prefix,
    /// G-single: a cycle with one anti-dependency (Adya 1999).
    Single,
    /// A cycle without two anti-dependencies in a row (Cerone and Gotsman 2016).
    Nonadjacent,
    /// G2-item: any cycle (Adya 1999).
    Item,
}

impl Class {
    /// Whether whoever forbids the other forbids this.
    pub fn is_kind_of(self, other: Class) -> bool {
        self <= other && !(self == Class::Prefix && other == Class::Single)
    }
}

/// What orders transactions beside what they wrote and read.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Data,
    /// And what each process did before.
    Process,
    /// And what had returned before.
    #[default]
    Realtime,
}

impl Scope {
    pub fn suffix(self) -> &'static str {
        match self {
            Scope::Data => "",
            Scope::Process => "-process",
            Scope::Realtime => "-realtime",
        }
    }
}

/// A consistency model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Consistency {
    ReadUncommitted,
    ReadCommitted,
    MonotonicAtomicView,
    ReadAtomic,
    TransactionalCausal,
    Prefix,
    ConsistentView,
    ParallelSnapshotIsolation,
    SnapshotIsolation,
    StrongSessionSnapshotIsolation,
    StrongSnapshotIsolation,
    RepeatableRead,
    Serializable,
    StrongSessionSerializable,
    #[default]
    StrictSerializable,
}

impl Consistency {
    /// All, a weaker one never behind a stronger.
    pub const ALL: [Consistency; 15] = [
        Consistency::ReadUncommitted,
        Consistency::ReadCommitted,
        Consistency::MonotonicAtomicView,
        Consistency::ReadAtomic,
        Consistency::TransactionalCausal,
        Consistency::Prefix,
        Consistency::ConsistentView,
        Consistency::ParallelSnapshotIsolation,
        Consistency::SnapshotIsolation,
        Consistency::StrongSessionSnapshotIsolation,
        Consistency::StrongSnapshotIsolation,
        Consistency::RepeatableRead,
        Consistency::Serializable,
        Consistency::StrongSessionSerializable,
        Consistency::StrictSerializable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Consistency::ReadUncommitted => "read-uncommitted",
            Consistency::ReadCommitted => "read-committed",
            Consistency::MonotonicAtomicView => "monotonic-atomic-view",
            Consistency::ReadAtomic => "read-atomic",
            Consistency::TransactionalCausal => "transactional-causal",
            Consistency::Prefix => "prefix",
            Consistency::ConsistentView => "consistent-view",
            Consistency::ParallelSnapshotIsolation => "parallel-snapshot-isolation",
            Consistency::SnapshotIsolation => "snapshot-isolation",
            Consistency::StrongSessionSnapshotIsolation => "strong-session-snapshot-isolation",
            Consistency::StrongSnapshotIsolation => "strong-snapshot-isolation",
            Consistency::RepeatableRead => "repeatable-read",
            Consistency::Serializable => "serializable",
            Consistency::StrongSessionSerializable => "strong-session-serializable",
            Consistency::StrictSerializable => "strict-serializable",
        }
    }

    /// The last class and the last scope that it forbids.
    pub fn forbids_up_to(self) -> (Class, Scope) {
        match self {
            Consistency::ReadUncommitted => (Class::DirtyWrite, Scope::Data),
            Consistency::ReadCommitted => (Class::DirtyRead, Scope::Data),
            Consistency::MonotonicAtomicView => (Class::Vanished, Scope::Data),
            Consistency::ReadAtomic => (Class::Fractured, Scope::Data),
            Consistency::TransactionalCausal => (Class::Causal, Scope::Process),
            Consistency::Prefix => (Class::Prefix, Scope::Process),
            Consistency::ConsistentView => (Class::Single, Scope::Data),
            Consistency::ParallelSnapshotIsolation => (Class::Single, Scope::Process),
            Consistency::SnapshotIsolation => (Class::Nonadjacent, Scope::Data),
            Consistency::StrongSessionSnapshotIsolation => (Class::Nonadjacent, Scope::Process),
            Consistency::StrongSnapshotIsolation => (Class::Nonadjacent, Scope::Realtime),
            // All that is read here is read by its key, so nothing is left that only
            // serializability forbids.
            Consistency::RepeatableRead | Consistency::Serializable => (Class::Item, Scope::Data),
            Consistency::StrongSessionSerializable => (Class::Item, Scope::Process),
            Consistency::StrictSerializable => (Class::Item, Scope::Realtime),
        }
    }

    /// Serializability that agrees with so much of time.
    pub fn serializable_within(scope: Scope) -> Consistency {
        match scope {
            Scope::Data => Consistency::Serializable,
            Scope::Process => Consistency::StrongSessionSerializable,
            Scope::Realtime => Consistency::StrictSerializable,
        }
    }

    pub fn forbids(self, class: Class, scope: Scope) -> bool {
        let (last, widest) = self.forbids_up_to();
        class.is_kind_of(last) && scope <= widest
    }

    /// Whether every history that this allows is one that the other allows.
    pub fn implies(self, other: Consistency) -> bool {
        let (class, scope) = other.forbids_up_to();
        self.forbids(class, scope)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stronger_models_come_later_and_strict_serializability_is_the_strongest() {
        for (i, a) in Consistency::ALL.iter().enumerate() {
            assert!(Consistency::StrictSerializable.implies(*a));
            assert!(a.implies(Consistency::ReadUncommitted));
            for b in &Consistency::ALL[..i] {
                let same = a.forbids_up_to() == b.forbids_up_to();
                assert!(same || !b.implies(*a), "{b} implies {a}");
            }
        }
        // As in the literature: neither implies the other.
        let (a, b) = (
            Consistency::StrongSnapshotIsolation,
            Consistency::Serializable,
        );
        assert!(!a.implies(b) && !b.implies(a));
    }
}
