//! What can be seen of a node from outside, for the debug endpoints and for tests.

use super::message::*;
use super::{Core, Entry, election};

/// A page of the log ends with the slot that makes it this long.
const PAGE_BYTES: usize = 1 << 20;

/// The role in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// A node's idea of itself and of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its role.
    pub role: Role,
    /// The leader's ballot, as far as known.
    pub leader: Option<Ballot>,
    /// The highest ballot promised.
    pub promised: Ballot,
    /// Everything up to this slot is decided and applied.
    pub decided: Slot,
    /// The first slot whose batch is still in the log.
    pub first_retained: Slot,
    /// The slot of the newest snapshot, 0 without one.
    pub snapshot_slot: Slot,
    /// A leader's lease: whether it holds now, and for how many more nanoseconds.
    pub lease_left_ns: Option<u64>,
    /// How often it went into phase 1.
    pub elections: u64,
    /// The rolling hash up to `decided`.
    pub chain: Digest,
}

/// One decided slot.
pub struct Decided<'a> {
    /// Where.
    pub slot: Slot,
    /// The ballot in which this node accepted or learned it.
    pub ballot: Ballot,
    /// The batch's hash.
    pub digest: Digest,
    /// The rolling hash up to here.
    pub chain: Digest,
    /// The batch.
    pub batch: &'a Batch,
    /// By command whether it was applied here, and was no read and no repetition.
    pub ran: &'a [bool],
}

/// A part of the decided log.
pub struct LogPage<'a> {
    /// The first slot asked for, or the first retained if that is later.
    pub first: Slot,
    /// Consecutive slots from there.
    pub entries: Vec<Decided<'a>>,
    /// The last decided slot.
    pub decided_upto: Slot,
}

impl Core {
    /// The node's idea of itself.
    pub fn status(&self) -> Status {
        let (role, lease_left_ns) = match &self.role {
            election::State::Follower => (Role::Follower, None),
            election::State::PreCandidate { .. } | election::State::Candidate { .. } => {
                (Role::Candidate, None)
            }
            election::State::Leader(leader) => (
                Role::Leader,
                Some(leader.lease_until.saturating_sub(self.now)),
            ),
        };
        Status {
            role,
            leader: self.leader,
            promised: self.promised,
            decided: self.kv.applied,
            first_retained: self.truncated + 1,
            snapshot_slot: self.snapshots.last.as_ref().map_or(0, |(slot, _)| *slot),
            lease_left_ns,
            elections: self.elections,
            chain: self.kv.chain,
        }
    }

    /// At most `limit` decided slots from `from` on, and no more after the one that makes the page
    /// a megabyte long.
    pub fn log_page(&self, from: Slot, limit: usize) -> LogPage<'_> {
        let first = from.max(self.truncated + 1);
        let decided_upto = self.kv.applied;
        let mut bytes = 0;
        let entries = self
            .log
            .range(first..=decided_upto.max(first))
            .take(limit)
            .take_while(|(_, entry)| {
                let fits = bytes < PAGE_BYTES;
                bytes += entry.batch.size();
                fits
            })
            .filter_map(|(&slot, entry)| {
                let Entry {
                    ballot,
                    digest,
                    chain,
                    batch,
                    ran,
                } = entry;
                Some(Decided {
                    slot,
                    ballot: *ballot,
                    digest: *digest,
                    chain: (*chain)?,
                    batch,
                    ran,
                })
            })
            .collect();
        LogPage {
            first,
            entries,
            decided_upto,
        }
    }

    /// The state, to look at.
    pub fn kv(&self) -> &super::kv::Kv {
        &self.kv
    }
}
