//! What nodes say to each other, what clients ask, and what the protocol wants done.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::block::{Block, Hash, Header, Transaction};

/// What one message takes at most, as it is sent; a longer one is misbehaviour. The core keeps well
/// below it.
pub const MESSAGE_MAX: usize = 8 << 20;
/// What a client's transaction may take, in about that many bytes of text; see
/// [`Transaction::size`].
pub const TRANSACTION_MAX: usize = (1 << 20) + (8 << 10);
/// Bytes of a transaction's id.
pub const ID_MAX: usize = 128;

/// A connection to a peer; a new number for every connection.
pub type PeerId = u64;
pub type RequestId = u64;

/// What the process's clocks show. Neither is trusted to be right, only used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub monotonic_ns: u64,
    /// Since 1970.
    pub wall_ms: u64,
}

/// Between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// First on every connection, in both directions.
    Hello {
        genesis: Hash,
        node: String,
        head: Hash,
        height: u64,
    },
    /// These blocks are here.
    HaveBlocks(Vec<Hash>),
    /// These transactions are here.
    HaveTransactions(Vec<String>),
    /// The headers that follow the last of `locator` that is on the peer's chain; the locator
    /// begins at the asker's head and goes back in growing steps.
    GetHeaders {
        locator: Vec<Hash>,
    },
    /// Oldest first.
    Headers(Vec<Header>),
    GetBlocks(Vec<Hash>),
    Block(Arc<Block>),
    GetTransactions(Vec<String>),
    Transactions(Vec<Arc<Transaction>>),
    Ping(u64),
    Pong(u64),
}

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Put the transaction into a block and answer when that is `confirmations` deep: 1 is the head
    /// itself, 0 is the mempool.
    Submit {
        transaction: Transaction,
        confirmations: u64,
    },
    /// Answer at once, from this node's own chain without its newest `confirmations - 1` blocks; 0
    /// or 1: from the head.
    Look {
        question: Question,
        confirmations: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Get(String),
    Range {
        prefix: String,
        after: Option<String>,
    },
    Balances,
}

/// What a transaction, or a look, gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Swapped {
        swapped: bool,
        actual: Option<String>,
    },
    Length(u64),
    Value(Option<String>),
    /// In key order, and whether there are more after them.
    Entries {
        entries: Vec<(String, String)>,
        more: bool,
    },
    Transferred(bool),
    Balances(Vec<(String, u64)>),
    /// The transaction made no sense where it was applied: an append to something that is no list.
    Refused(String),
}

/// Where in which chain an answer was true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub block: Hash,
    pub height: u64,
    /// Among the block's transactions, from 0; for a look, their number.
    pub position: u64,
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// No place: it was acknowledged from the mempool.
    Done(Answer, Option<Place>),
    /// It was not taken, and is nowhere else.
    Refused(String),
    Overloaded,
    /// It may be in the chain, or may yet come there.
    Timeout,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection is there. The core says hello first.
    PeerUp(PeerId),
    PeerDown(PeerId),
    Message(PeerId, Message),
    Request(RequestId, Request),
    /// Time passes.
    Tick,
    /// Everything up to this persist number is on the disk.
    Durable(u64),
    /// The miner found a nonce for the template of this number.
    Solved {
        template: u64,
        nonce: u64,
    },
}

/// What a node wants done, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Append to the block store, then answer [`Input::Durable`] with the number. A block is
    /// announced, built upon and counted as confirmation only when it is durable. `delay`: a flaw
    /// keeps it in memory for so long first, and says durable at once.
    Persist {
        number: u64,
        blocks: Vec<Arc<Block>>,
        delay: Option<Duration>,
    },
    Send(PeerId, Message),
    /// Misbehaviour, with the reason for the log: close the connection and do not talk to this
    /// address for a while.
    Drop(PeerId, String),
    /// The peer is silent: close the connection, and connect again as usual. Like [`Effect::Drop`],
    /// the core takes the peer to be gone; a [`Input::PeerDown`] after it does no harm.
    Close(PeerId, String),
    Reply(RequestId, Reply),
    /// Look for a nonce from now on; replaces the template before.
    Mine {
        template: u64,
        header: Header,
    },
    /// Tell the person who reads the log.
    Note(String),
}
