//! What all nodes of a network must agree on: its parameters, and when a block is valid.

use std::time::Duration;

use thiserror::Error;

use super::block::{Block, Hash, Header, Op, Transaction};
use super::message::{ID_MAX, TRANSACTION_MAX};
use super::tree::Tree;
use crate::flaws::{Flaw, Flaws};

/// About what a block takes at most; see [`Block::size`].
pub const BLOCK_MAX: usize = 4 << 20;
/// Bytes of a miner's name.
pub const NAME_MAX: usize = 64;
/// A block's time must be later than the median of so many before it.
const MEDIAN_OF: usize = 11;
/// The difficulty changes by this factor at most, as in Bitcoin.
const RETARGET_FACTOR: u64 = 4;

/// The parameters of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What the difficulty aims at, for the whole network.
    pub block_interval: Duration,
    /// The work of the first blocks.
    pub first_work: u64,
    /// Blocks between changes of the difficulty; 0: never.
    pub retarget_every: u64,
    /// Accounts `a0`, `a1`, ... and what each has in genesis.
    pub accounts: u64,
    pub balance: u64,
}

/// Why a block is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    #[error("time-too-new: {ahead_ms} ms ahead")]
    TimeTooNew { ahead_ms: u64 },
    #[error("time-too-old: {behind_ms} ms behind the median of the blocks before it")]
    TimeTooOld { behind_ms: u64 },
    #[error("bad-work: {claimed} instead of {expected}")]
    BadWork { claimed: u64, expected: u64 },
    #[error("low-work: the hash does not prove {claimed}")]
    LowWork { claimed: u64 },
    #[error("bad-parent: {0}")]
    BadParent(String),
    #[error("duplicate-transaction: {0}")]
    DuplicateTransaction(String),
    #[error("malformed: {0}")]
    Malformed(String),
}

impl Reason {
    /// All names, for counting.
    pub const NAMES: [&'static str; 7] = [
        "time-too-new",
        "time-too-old",
        "bad-work",
        "low-work",
        "bad-parent",
        "duplicate-transaction",
        "malformed",
    ];

    pub fn name(&self) -> &'static str {
        let index = match self {
            Reason::TimeTooNew { .. } => 0,
            Reason::TimeTooOld { .. } => 1,
            Reason::BadWork { .. } => 2,
            Reason::LowWork { .. } => 3,
            Reason::BadParent(_) => 4,
            Reason::DuplicateTransaction(_) => 5,
            Reason::Malformed(_) => 6,
        };
        Reason::NAMES[index]
    }
}

impl Rules {
    /// The block that all agree on without work: its `transactions` are the hash of the rules
    /// themselves, so that networks with other rules have another genesis.
    pub fn genesis(&self) -> Block {
        let rules = format!("{self:?}");
        Block {
            header: Header {
                parent: Hash::NONE,
                height: 0,
                time_ms: 0,
                work: self.first_work,
                miner: String::new(),
                transactions: Hash::of(rules.as_bytes()),
                nonce: 0,
            },
            transactions: Vec::new(),
        }
    }

    /// The work of the block after `parent`. Every `retarget_every` blocks it becomes what would
    /// have made the last so many blocks take the interval each. Genesis, which was mined at no
    /// time, is left out; and as each span begins where the one before it ended, no time falls
    /// between two (as it does in Bitcoin).
    pub(super) fn next_work(&self, tree: &Tree, parent: Hash, flaws: Flaws) -> u64 {
        let header = tree.header(parent);
        let height = header.height + 1;
        if self.retarget_every == 0 || !height.is_multiple_of(self.retarget_every) {
            return header.work;
        }
        let first = header.height.saturating_sub(self.retarget_every).max(1);
        let Some(blocks) = header
            .height
            .checked_sub(first)
            .filter(|&blocks| blocks > 0)
        else {
            return header.work;
        };
        // FLAW time-warp: the span begins with its own first block, so that the time before that
        // one is in no span.
        let first = first + u64::from(flaws.has(Flaw::TimeWarp));
        let began = tree.header(tree.ancestor(parent, first)).time_ms;
        let took_us = u128::from(header.time_ms.saturating_sub(began).max(1)) * 1000;
        let aimed_us = u128::from(blocks) * self.block_interval.as_micros();
        let work = u128::from(header.work) * aimed_us / took_us;
        let least = (header.work / RETARGET_FACTOR).max(1);
        let most = header.work.saturating_mul(RETARGET_FACTOR);
        u64::try_from(work).unwrap_or(u64::MAX).clamp(least, most)
    }

    /// Whether a header may follow its parent, which the tree has. `latest_ms` is how late its time
    /// may be.
    pub(super) fn check_header(
        &self,
        tree: &Tree,
        header: &Header,
        hash: Hash,
        latest_ms: u64,
        flaws: Flaws,
    ) -> Result<(), Reason> {
        // FLAW unchecked-work: not looked at.
        if !hash.proves(header.work) && !flaws.has(Flaw::UncheckedWork) {
            return Err(Reason::LowWork {
                claimed: header.work,
            });
        }
        if header.miner.is_empty() || header.miner.len() > NAME_MAX {
            return Err(Reason::Malformed("the miner's name".to_owned()));
        }
        let parent = tree.header(header.parent);
        if header.height != parent.height + 1 {
            return Err(Reason::BadParent(format!(
                "height {} upon {}",
                header.height, parent.height
            )));
        }
        let expected = self.next_work(tree, header.parent, flaws);
        if header.work != expected {
            return Err(Reason::BadWork {
                claimed: header.work,
                expected,
            });
        }
        let median = median_time_past(tree, header.parent);
        // FLAW median-unchecked: any time will do.
        if header.time_ms <= median && !flaws.has(Flaw::MedianUnchecked) {
            return Err(Reason::TimeTooOld {
                behind_ms: median - header.time_ms,
            });
        }
        if header.time_ms > latest_ms {
            return Err(Reason::TimeTooNew {
                ahead_ms: header.time_ms - latest_ms,
            });
        }
        Ok(())
    }

    /// Whether a block's transactions are what its header says, and each makes sense by itself.
    pub(super) fn check_body(&self, block: &Block) -> Result<(), Reason> {
        if block.size() > BLOCK_MAX {
            return Err(Reason::Malformed(format!("{} bytes", block.size())));
        }
        if Block::transactions_hash(&block.transactions) != block.header.transactions {
            return Err(Reason::Malformed(
                "the transactions are not those of the header".to_owned(),
            ));
        }
        for transaction in &block.transactions {
            check_transaction(transaction).map_err(Reason::Malformed)?;
        }
        Ok(())
    }
}

/// The median of the times of a block and the ten before it.
pub(super) fn median_time_past(tree: &Tree, tip: Hash) -> u64 {
    let mut times: Vec<u64> = tree
        .ancestry(tip)
        .take(MEDIAN_OF)
        .map(|(_, node)| node.header.time_ms)
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Whether a transaction can be applied to any state at all.
///
/// # Errors
/// What is wrong with it.
pub fn check_transaction(transaction: &Transaction) -> Result<(), String> {
    if transaction.id.is_empty() || transaction.id.len() > ID_MAX {
        return Err(format!("a name of {} bytes", transaction.id.len()));
    }
    if transaction.size() > TRANSACTION_MAX {
        return Err(format!("a transaction of {} bytes", transaction.size()));
    }
    let json = |text: &String| {
        // No more than that it can be put into a list and into an answer: which of several texts
        // stands for a number is for the client's node to say.
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if is_json && text.trim_ascii() == text {
            Ok(())
        } else {
            Err(format!("{}: a value that is not JSON", transaction.id))
        }
    };
    match &transaction.op {
        Op::Put { value, .. } => json(value),
        Op::Append { element, .. } => json(element),
        Op::Cas { from, to, .. } => from.as_ref().map_or(Ok(()), json).and_then(|()| json(to)),
        Op::Delete { .. }
        | Op::Get { .. }
        | Op::Range { .. }
        | Op::Transfer { .. }
        | Op::Balances => Ok(()),
    }
}
