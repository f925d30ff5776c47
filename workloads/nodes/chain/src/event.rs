//! What the node's threads and tasks tell the one that owns the protocol.

use tokio::sync::oneshot;

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

/// What happens to the node.
#[derive(Debug)]
pub enum Event {
    /// A connection is there.
    PeerUp(PeerId, Link),
    /// It is not there any more.
    PeerDown(PeerId, End),
    /// A peer sent a frame.
    Frame(PeerId, Payload),
    /// A client asks.
    Request(Request, oneshot::Sender<Reply>),
    /// Somebody looks; nothing comes back if it is not there.
    Inspect(Inspect, oneshot::Sender<Option<String>>),
    /// Time passes.
    Tick,
    /// The block store is on the disk up to here.
    Durable(u64),
    /// The disk fails.
    Disk(String),
    /// The miner found a nonce.
    Solved { template: u64, nonce: u64 },
    /// Somebody wants the node to stop.
    Stop,
}
