//! The five verdicts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run is worth. Ordered by how bad it is: the worst of several wins, and `Invalid`
/// outranks all, because an anomaly with its evidence stands whatever else went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was checked held.
    Valid,
    /// Time, memory or information ran out before it could be decided.
    Unknown,
    /// Green would mean nothing: too few operations succeeded, or a fault never took hold.
    Vacuous,
    /// The harness could not do its work.
    Infra,
    /// An anomaly was found, and its evidence is given.
    Invalid,
}

impl Verdict {
    pub const ALL: [Verdict; 5] = [
        Verdict::Valid,
        Verdict::Invalid,
        Verdict::Unknown,
        Verdict::Vacuous,
        Verdict::Infra,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Invalid => "invalid",
            Verdict::Unknown => "unknown",
            Verdict::Vacuous => "vacuous",
            Verdict::Infra => "infra",
        }
    }

    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Valid => 0,
            Verdict::Invalid => 1,
            Verdict::Unknown => 2,
            Verdict::Vacuous => 3,
            Verdict::Infra => 4,
        }
    }

    /// One sentence for help texts and docs.
    pub fn meaning(self) -> &'static str {
        match self {
            Verdict::Valid => "everything that was checked held, under faults that took hold",
            Verdict::Invalid => "an anomaly was found; the operations that show it are given",
            Verdict::Unknown => "time, memory or information ran out before it could be decided",
            Verdict::Vacuous => {
                "green would mean nothing: too few operations succeeded, or a fault never took hold"
            }
            Verdict::Infra => "the harness could not do its work",
        }
    }

    pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        verdicts.into_iter().max().unwrap_or(Verdict::Valid)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
