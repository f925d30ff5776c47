//! One connection to another node, as the protocol's side holds it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nodekit::frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::core::message::{MESSAGE_MAX, Message};

/// Bytes that wait to be sent to a peer; one that reads so slowly is hung up on.
const UNSENT_MAX: usize = 4 * MESSAGE_MAX;

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// Whom a refusal concerns. Nodes that share an IP, as on one machine, must not answer for one
/// another: there only the port that this node dials stands for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    Ip(IpAddr),
    Dialled(SocketAddr),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whom::Ip(ip) => ip.fmt(f),
            Whom::Dialled(address) => address.fmt(f),
        }
    }
}

/// How a connection ended, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It broke, was closed, or was too slow: that happens to honest peers.
    Lost(String),
    /// What came is nothing that an honest peer sends.
    Misbehaved(String),
}

/// The node's end of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Link {
    pub address: SocketAddr,
    pub direction: Direction,
    /// What it says its name is.
    pub node: Option<String>,
    /// None for a stranger whose address says nothing about it.
    pub whom: Option<Whom>,
    /// By the kernel's clock.
    pub since_ns: u64,
    pub frames: mpsc::UnboundedSender<Vec<u8>>,
    pub unsent: Arc<AtomicUsize>,
    pub open: oneshot::Sender<()>,
}

impl Link {
    /// Queues a message.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn send(&self, message: &Message) -> Result<(), String> {
        let frame = frame::encode(message);
        let unsent = self.unsent.fetch_add(frame.len(), Ordering::Relaxed) + frame.len();
        if unsent > UNSENT_MAX {
            return Err(format!("{unsent} bytes wait for it and it does not read"));
        }
        // A connection that just broke is reported by its own task.
        let _ = self.frames.send(frame);
        Ok(())
    }
}

/// A frame's payload, and the room that it takes until it is dropped.
#[derive(Debug)]
pub struct Payload {
    pub bytes: Vec<u8>,
    pub room: OwnedSemaphorePermit,
}
