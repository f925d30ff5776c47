//! What a chain's threads and tasks tell the one that owns the protocol, and what is asked of it.

use nodekit::event::{self, Protocol};

use crate::core::block::Hash;
use crate::core::message::{PeerId, Reply, Request};
use crate::link::{End, Link, Payload};

/// What an endpoint for looking shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspect {
    Head,
    /// A block and its ancestors; none: from the head.
    Blocks {
        tip: Option<Hash>,
        limit: usize,
    },
    Tips,
    Peers,
    /// The node's idea of itself.
    Status,
}

/// What only a chain's threads and tasks tell.
#[derive(Debug)]
pub enum News {
    /// A connection is there.
    PeerUp(PeerId, Link),
    /// It is not there any more.
    PeerDown(PeerId, End),
    /// A peer sent a frame.
    Frame(PeerId, Payload),
    /// The miner found a nonce.
    Solved { template: u64, nonce: u64 },
}

/// The words of this protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain;

impl Protocol for Chain {
    type Request = Request;
    type Reply = Reply;
    type Inspect = Inspect;
    type News = News;
}

/// What happens to the node.
pub type Event = event::Event<Chain>;
