//! Blocks and transactions, as they are hashed, sent and stored.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256d: SHA-256 of SHA-256, as Bitcoin hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The parent of the genesis block.
    pub const NONE: Hash = Hash([0; 32]);

    pub fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(Sha256::digest(bytes)).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    /// Enough to tell blocks apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is hashed to prove work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub parent: Hash,
    /// Distance from genesis, which has 0.
    pub height: u64,
    /// The miner's wall clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// Hashes that finding such a block takes on average: the first 64 bits of its hash, as a
    /// big-endian number, are at most `u64::MAX / work`.
    pub work: u64,
    /// Name of the node that mined it.
    pub miner: String,
    /// Hash of the transactions, in order.
    pub transactions: Hash,
    pub nonce: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub header: Header,
    pub transactions: Vec<Arc<Transaction>>,
}

/// A change to the ledger, or a question that is answered at its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Unique; a transaction is applied at most once on any branch.
    pub id: String,
    pub op: Op,
}

/// Values are JSON texts in one canonical form: no spaces, object keys sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Put {
        key: String,
        value: String,
    },
    /// `from` none: if the key is absent.
    Cas {
        key: String,
        from: Option<String>,
        to: String,
    },
    Append {
        key: String,
        element: String,
    },
    Delete {
        key: String,
    },
    Get {
        key: String,
    },
    Range {
        prefix: String,
    },
    /// Refused, and without effect, if `from` has less than `amount`.
    Transfer {
        from: String,
        to: String,
        amount: u64,
    },
    Balances,
}
