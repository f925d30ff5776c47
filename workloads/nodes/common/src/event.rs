//! What the threads and tasks of a node tell the one task that owns its protocol.

use std::fmt::Debug;

use tokio::sync::oneshot;

/// The words that a node's protocol has of its own.
pub trait Protocol: Debug + 'static {
    /// What a client asks for.
    type Request: Debug + Send;
    /// What the node answers.
    type Reply: Debug + Send;
    /// What can be looked at.
    type Inspect: Debug + Send;
    /// What only this protocol's threads and tasks have to tell.
    type News: Debug + Send;
}

/// Who is waiting for the answer to a look; nothing comes back if what was to be seen is not there.
pub type Looking = oneshot::Sender<Option<String>>;

/// What happens to a node.
#[derive(Debug)]
pub enum Event<P: Protocol> {
    /// A client asks.
    Request(P::Request, oneshot::Sender<P::Reply>),
    /// Somebody looks.
    Inspect(P::Inspect, Looking),
    /// Time passes.
    Tick,
    /// What was to be written is on the disk up to this number.
    Durable(u64),
    /// The disk fails.
    Disk(String),
    /// Somebody wants the node to stop.
    Stop,
    /// What the protocol's own threads and tasks tell.
    News(P::News),
}
