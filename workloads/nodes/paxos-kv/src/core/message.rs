//! The words of the protocol: ballots, slots, commands, what nodes say to each other and what they
//! keep on disk.
//!
//! Everything here is plain data with a serde encoding; `codec.rs` frames it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A place in the replicated log. The first is 1; 0 stands for "none yet".
pub type Slot = u64;

/// A node's place in the sorted list of the cluster's names.
pub type NodeIndex = u16;

/// Names one client request at the node that received it, for the life of the cluster.
pub type RequestId = u64;

/// A Paxos ballot. Ordered by round, then by node, so no two nodes ever own the same one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ballot {
    /// Counts attempts to lead; 0 is before any.
    pub round: u64,
    /// The node that owns the ballot.
    pub node: NodeIndex,
}

/// A question about the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The value of one key.
    Get { key: String },
    /// Entries whose key begins with a prefix, in key order: those after a key, if one is given,
    /// and no more than a page of them.
    Range {
        prefix: String,
        after: Option<String>,
        limit: u32,
    },
}

/// What a command does to the state. Values are JSON texts in canonical form
/// (`nodekit::http::canonical`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Sets a key.
    Put { key: String, value: String },
    /// Sets a key if its value is `from` (`None`: if it is absent).
    Cas {
        key: String,
        from: Option<String>,
        to: String,
    },
    /// Adds an element to the list under a key; an absent key is an empty list.
    Append { key: String, element: String },
    /// Removes a key.
    Delete { key: String },
    /// A read that goes through the log.
    Read(Query),
    /// Sets a key and answers like a swap. Only proposed by the flaw `cas-not-atomic`.
    SwapUnchecked { key: String, to: String },
    /// Gives a key that nobody holds to somebody, for so long unless it is renewed.
    Grant {
        key: String,
        holder: String,
        ttl_ms: u64,
    },
    /// The lease of this number begins anew.
    Renew { key: String, lease: u64 },
    /// Its holder gives it back.
    Release { key: String, lease: u64 },
    /// Its time has passed since it was renewed so often. Without a number it ends in any case:
    /// that is only proposed by the flaw `expired-by-old-leader`.
    Expire {
        key: String,
        lease: u64,
        renewals: Option<u64>,
    },
}

/// One client's operation in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Who asks. Within a session each sequence number is applied once.
    pub session: String,
    /// Which of the session's requests this is.
    pub sequence: u64,
    /// The session will not ask again for anything below this, so its outcomes may be forgotten.
    pub settled: u64,
    /// What to do.
    pub op: Op,
}

/// The value of one slot: any number of commands. None at all is the no-op that fills holes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Applied in this order.
    pub commands: Vec<Command>,
}

/// 128 bits of SHA-256.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The hash of `parts`, one after the other.
    pub fn of(parts: &[&[u8]]) -> Digest {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Digest(bytes)
    }

    /// The rolling hash after one more slot.
    pub fn chain(self, slot: Slot, digest: Digest) -> Digest {
        Digest::of(&[&self.0, &slot.to_be_bytes(), &digest.0])
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Op {
    /// About how many bytes it carries.
    pub fn size(&self) -> usize {
        match self {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Cas { key, from, to } => {
                key.len() + from.as_ref().map_or(0, String::len) + to.len()
            }
            Op::Append { key, element } => key.len() + element.len(),
            Op::SwapUnchecked { key, to } => key.len() + to.len(),
            Op::Grant { key, holder, .. } => key.len() + holder.len(),
            Op::Delete { key }
            | Op::Renew { key, .. }
            | Op::Release { key, .. }
            | Op::Expire { key, .. } => key.len(),
            Op::Read(_) => 0,
        }
    }
}

impl Batch {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let commands = self.commands.iter();
        commands.map(|command| 64 + command.op.size()).sum()
    }

    /// The batch's hash, by which nodes compare what they decided.
    pub fn digest(&self) -> Digest {
        Digest::of(&[&postcard::to_stdvec(self).expect("plain data has an encoding")])
    }
}

/// What applying an operation gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A put or a delete went through. With the revision after it.
    Written { revision: u64 },
    /// The compare-and-set swapped, and made this revision.
    Swapped { revision: u64 },
    /// It did not, because the value was another.
    NotSwapped { actual: Option<String> },
    /// The same of a request that is repeated, where the value was too long to be remembered.
    NotSwappedFromLong,
    /// The list's new length, and the revision that this made.
    Appended { length: u64, revision: u64 },
    /// An append to something that is no list.
    NotAList,
    /// An append that would make the list longer than a value may be.
    TooLong,
    /// The lease is held, for so long from when this was asked for.
    Granted { lease: u64, ttl_ms: u64 },
    /// Somebody holds the key.
    Held { holder: String },
    /// The lease is over, and was before.
    NotHeld,
    /// The lease is over now.
    Ended,
    /// A key's value.
    Value(Option<String>),
    /// Entries in key order, and whether there are more after them.
    Entries {
        entries: Vec<(String, String)>,
        more: bool,
    },
    /// The session has moved past this sequence number; whether it was applied is forgotten.
    Superseded,
}

/// An outcome with the slot after which it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The slot of the write, or the state that a read saw.
    pub slot: Slot,
    /// What happened or was seen.
    pub outcome: Outcome,
}

/// How a read makes sure that it is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadMode {
    /// The leader asks a quorum whether it still leads.
    Quorum,
    /// The read is a command in the log.
    Log,
    /// The leader trusts its lease, and falls back on `Quorum` without one.
    Lease,
    /// The node's own state, however old.
    Local,
}

/// What a node sends to the leader for its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Put this into the log.
    Write(Command),
    /// Read at the leader; the mode is `Quorum` or `Lease`.
    Read(Query, ReadMode),
}

/// The leader's reply to a forwarded request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardReply {
    /// It happened.
    Done(Answer),
    /// This node does not lead; it has not proposed the request.
    NotLeader,
    /// This node has too much to do; it has not proposed the request.
    Overloaded,
}

/// What an acceptor accepted in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Where.
    pub slot: Slot,
    /// In which ballot.
    pub ballot: Ballot,
    /// What.
    pub batch: Arc<Batch>,
}

/// What nodes say to each other. Messages may be lost, delayed, repeated and overtaken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Would you promise this ballot? Asked first, so that a node which merely missed heartbeats
    /// disturbs nobody.
    PreVote { ballot: Ballot },
    /// Yes or no, and what was promised so far.
    PreVoteReply {
        ballot: Ballot,
        granted: bool,
        promised: Ballot,
    },
    /// Phase 1a, over the whole undecided part of the log.
    Prepare { ballot: Ballot },
    /// Phase 1b: everything up to `decided` is chosen; above it, this is what I accepted.
    Promise {
        ballot: Ballot,
        decided: Slot,
        accepted: Vec<Accepted>,
    },
    /// Phase 2a, with the leader's commit index.
    Accept {
        ballot: Ballot,
        slot: Slot,
        batch: Arc<Batch>,
        decided: Slot,
    },
    /// Phase 2b, for several slots that became durable together.
    AcceptReply { ballot: Ballot, slots: Vec<Slot> },
    /// `ballot` is too low: `promised` was promised.
    Reject { ballot: Ballot, promised: Ballot },
    /// The leader lives. Asks at once for the confirmation of leadership and of the lease.
    Heartbeat {
        ballot: Ballot,
        round: u64,
        decided: Slot,
    },
    /// I have promised nothing above `ballot`, and will not for the length of a lease.
    HeartbeatReply { ballot: Ballot, round: u64 },
    /// Send me what was decided from this slot on.
    Fetch { from: Slot },
    /// Consecutive decided entries.
    Entries {
        first: Slot,
        entries: Vec<(Ballot, Arc<Batch>)>,
        decided: Slot,
    },
    /// Send me a piece of your snapshot; `slot` names the one that I have begun, 0 the newest.
    FetchSnapshot { slot: Slot, offset: u64 },
    /// A piece of the snapshot at `slot`.
    SnapshotChunk {
        slot: Slot,
        offset: u64,
        total: u64,
        bytes: Vec<u8>,
    },
    /// A client's request, from the node that received it.
    Forward { id: RequestId, ask: Ask },
    /// What became of it.
    ForwardReply { id: RequestId, reply: ForwardReply },
}

impl Message {
    /// Whether it must not come twice: for each sending of a client's request there is at most one
    /// answer, for a node counts the sendings that nobody has answered.
    pub fn travels_once(&self) -> bool {
        matches!(self, Message::Forward { .. } | Message::ForwardReply { .. })
    }
}

/// What a node keeps on its disk, in order. Reading them back in any order that keeps, for each
/// slot, the highest ballot gives the acceptor's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The process started for the n-th time.
    Started { incarnation: u64 },
    /// A ballot was promised.
    Promised { ballot: Ballot },
    /// A batch was accepted, or learned as decided.
    Accepted(Accepted),
    /// Everything up to here is decided. A hint: losing it costs only a catch-up.
    Decided { slot: Slot },
}
