//! What the threads and tasks of Paxos tell the one that owns the protocol, and what is asked of
//! it.

use std::sync::Arc;

use nodekit::event::{self, Protocol};

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

/// What only this protocol's threads and tasks tell.
#[derive(Debug)]
pub enum News {
    /// A peer says something.
    Message(NodeIndex, Message),
    /// The connection to a peer is there.
    PeerUp(NodeIndex),
    /// A snapshot is on the disk.
    SnapshotSaved(Slot, Arc<Vec<u8>>),
}

/// The words of this protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Paxos;

impl Protocol for Paxos {
    type Request = Request;
    type Reply = Reply;
    type Inspect = Inspect;
    type News = News;
}

/// What happens to the node.
pub type Event = event::Event<Paxos>;
