//! Consistency models of registers, by what each promises. Who judges by them is for
//! [`crate::guarantees`].

use std::fmt;

/// A consistency model of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Guarantee {
    ReadYourWrites,
    MonotonicReads,
    MonotonicWrites,
    WritesFollowReads,
    PerKeySequential,
    Causal,
    Sequential,
    #[default]
    Linearizable,
}

impl Guarantee {
    /// All, a weaker one never behind a stronger.
    pub const ALL: [Guarantee; 8] = [
        Guarantee::ReadYourWrites,
        Guarantee::MonotonicReads,
        Guarantee::MonotonicWrites,
        Guarantee::WritesFollowReads,
        Guarantee::PerKeySequential,
        Guarantee::Causal,
        Guarantee::Sequential,
        Guarantee::Linearizable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Guarantee::ReadYourWrites => "read-your-writes",
            Guarantee::MonotonicReads => "monotonic-reads",
            Guarantee::MonotonicWrites => "monotonic-writes",
            Guarantee::WritesFollowReads => "writes-follow-reads",
            Guarantee::PerKeySequential => "per-key-sequential",
            Guarantee::Causal => "causal",
            Guarantee::Sequential => "sequential",
            Guarantee::Linearizable => "linearizable",
        }
    }

    /// By its name or by one that others have for it.
    pub fn named(name: &str) -> Option<Guarantee> {
        let name = name.to_lowercase();
        let own = Guarantee::ALL.into_iter().find(|g| g.name() == name);
        own.or(match name.as_str() {
            "ryw" | "read-my-writes" => Some(Guarantee::ReadYourWrites),
            "mr" => Some(Guarantee::MonotonicReads),
            "mw" => Some(Guarantee::MonotonicWrites),
            "wfr" | "session-causality" => Some(Guarantee::WritesFollowReads),
            "coherence" | "cache-consistency" => Some(Guarantee::PerKeySequential),
            "causal-consistency" | "causal-convergence" | "causal-plus" | "ccv" => {
                Some(Guarantee::Causal)
            }
            "sequential-consistency" | "sc" => Some(Guarantee::Sequential),
            "linearizability" | "atomic" => Some(Guarantee::Linearizable),
            _ => None,
        })
    }

    /// What the next weaker ones are.
    pub(crate) fn weaker(self) -> &'static [Guarantee] {
        match self {
            Guarantee::Linearizable => &[Guarantee::Sequential],
            Guarantee::Sequential => &[Guarantee::PerKeySequential, Guarantee::Causal],
            Guarantee::PerKeySequential => &[Guarantee::ReadYourWrites, Guarantee::MonotonicReads],
            Guarantee::Causal => &[
                Guarantee::ReadYourWrites,
                Guarantee::MonotonicReads,
                Guarantee::MonotonicWrites,
                Guarantee::WritesFollowReads,
            ],
            _ => &[],
        }
    }

    /// Whether every history that this allows is one that the other allows.
    pub fn implies(self, other: Guarantee) -> bool {
        self == other || self.weaker().iter().any(|weaker| weaker.implies(other))
    }

    /// What it says, in one clause.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Guarantee::ReadYourWrites => "a session sees what it wrote",
            Guarantee::MonotonicReads => "a session keeps seeing what it has seen",
            Guarantee::MonotonicWrites => {
                "whoever saw a write of a session sees the writes that this session made before"
            }
            Guarantee::WritesFollowReads => {
                "whoever saw a write sees what the write's session had read before"
            }
            Guarantee::PerKeySequential => {
                "the operations of each key have an order that keeps the order of sessions"
            }
            Guarantee::Causal => "whoever sees a write sees what came before it",
            Guarantee::Sequential => {
                "all operations have an order that keeps the order of sessions"
            }
            Guarantee::Linearizable => "all operations have an order that keeps the order of time",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
