//! What the node's threads and tasks tell the one that owns the protocol.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::core::message::{Message, NodeIndex, Slot};
use crate::core::{Reply, Request};

/// What a debug endpoint shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspect {
    /// The node's idea of itself.
    Status,
    /// A part of the decided log.
    Log { from: Slot, limit: usize },
}

/// What happens to the node.
#[derive(Debug)]
pub enum Event {
    /// A peer says something.
    Message(NodeIndex, Message),
    /// The connection to a peer is there.
    PeerUp(NodeIndex),
    /// A client asks.
    Request(Request, oneshot::Sender<Reply>),
    /// Somebody looks.
    Inspect(Inspect, oneshot::Sender<String>),
    /// Time passes.
    Tick,
    /// The log is on the disk up to here.
    Durable(u64),
    /// So is a snapshot.
    SnapshotSaved(Slot, Arc<Vec<u8>>),
    /// The disk fails.
    Disk(String),
    /// Somebody wants the node to stop.
    Stop,
}
