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

    /// Whether a block of this hash proves so much work.
    pub fn proves(&self, work: u64) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) <= u64::MAX / work.max(1)
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

impl Header {
    /// The bytes that are hashed. The nonce is the last eight, little-endian, for a miner to count
    /// up in place.
    pub fn preimage(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(self.parent.0);
        bytes.extend(self.height.to_le_bytes());
        bytes.extend(self.time_ms.to_le_bytes());
        bytes.extend(self.work.to_le_bytes());
        put(&mut bytes, &self.miner);
        bytes.extend(self.transactions.0);
        bytes.extend(self.nonce.to_le_bytes());
        bytes
    }

    pub fn hash(&self) -> Hash {
        Hash::of(&self.preimage())
    }
}

/// A text with its length before it, so that no two sequences of texts have the same bytes.
fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
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
    /// Entries in key order, from the first after `after` on, if it is given, as far as one answer
    /// goes.
    Range {
        prefix: String,
        after: Option<String>,
    },
    /// Refused, and without effect, if `from` has less than `amount`.
    Transfer {
        from: String,
        to: String,
        amount: u64,
    },
    Balances,
}

impl Block {
    /// The hash that the header must have of the transactions. All of them are hashed at once: a
    /// tree as Bitcoin's, which repeats the last of an odd number, gives two lists one hash
    /// (CVE-2012-2459).
    pub fn transactions_hash(transactions: &[Arc<Transaction>]) -> Hash {
        let mut bytes = Vec::new();
        for transaction in transactions {
            transaction.put(&mut bytes);
        }
        Hash::of(&bytes)
    }

    /// About what it takes in a message or in the store.
    pub fn size(&self) -> usize {
        let transactions = self.transactions.iter();
        256 + transactions
            .map(|transaction| transaction.size())
            .sum::<usize>()
    }
}

impl Transaction {
    fn put(&self, bytes: &mut Vec<u8>) {
        put(bytes, &self.id);
        let (tag, texts, amount): (u8, [Option<&String>; 3], u64) = match &self.op {
            Op::Put { key, value } => (0, [Some(key), Some(value), None], 0),
            Op::Cas { key, from, to } => (1, [Some(key), from.as_ref(), Some(to)], 0),
            Op::Append { key, element } => (2, [Some(key), Some(element), None], 0),
            Op::Delete { key } => (3, [Some(key), None, None], 0),
            Op::Get { key } => (4, [Some(key), None, None], 0),
            Op::Range { prefix, after } => (5, [Some(prefix), after.as_ref(), None], 0),
            Op::Transfer { from, to, amount } => (6, [Some(from), Some(to), None], *amount),
            Op::Balances => (7, [None, None, None], 0),
        };
        bytes.push(tag);
        for text in texts {
            bytes.push(u8::from(text.is_some()));
            if let Some(text) = text {
                put(bytes, text);
            }
        }
        bytes.extend(amount.to_le_bytes());
    }

    /// About what it takes in a message or in the store.
    pub fn size(&self) -> usize {
        let texts = match &self.op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Cas { key, from, to } => {
                key.len() + from.as_ref().map_or(0, String::len) + to.len()
            }
            Op::Append { key, element } => key.len() + element.len(),
            Op::Delete { key } | Op::Get { key } => key.len(),
            Op::Range { prefix, after } => prefix.len() + after.as_ref().map_or(0, String::len),
            Op::Transfer { from, to, .. } => from.len() + to.len(),
            Op::Balances => 0,
        };
        64 + self.id.len() + texts
    }
}
