//! Reads at the leader: confirmed by a quorum (read-index, section 6.4 of Ongaro's thesis, 2014) or
//! by a lease (Gray and Cheriton 1989).

use super::message::*;
use super::{Core, Event, Waiter, election, nanos};
use crate::flaws::Flaw;
use std::time::Duration;

/// A read that waits for proof that this leader still leads.
#[derive(Clone)]
pub(super) struct PendingRead {
    query: Query,
    pub(super) waiter: Waiter,
    /// The heartbeat round that will prove it: one that began after the read came. None until one
    /// begins.
    pub(super) round: Option<u64>,
}

impl Core {
    pub(super) fn submit_read(&mut self, query: Query, mode: ReadMode, waiter: Waiter) -> bool {
        let now = self.now;
        let election::State::Leader(leader) = &mut self.role else {
            return false;
        };
        let leased = mode == ReadMode::Lease
            && now < leader.lease_until
            && self.kv.applied >= leader.barrier;
        // FLAW stale-read-leader: nobody is asked.
        if leased || self.config.flaws.has(Flaw::StaleReadLeader) {
            if leased {
                self.trace_lease(true);
            }
            let answer = self.read_leading(&query);
            self.answer(waiter, answer);
        } else if !leader.reads.iter().any(|read| read.waiter == waiter) {
            leader.reads.push(PendingRead {
                query,
                waiter,
                round: None,
            });
        }
        true
    }

    /// Begins a round for the reads that came since the last, unless one is on its way.
    pub(super) fn begin_read_round(&mut self) {
        let election::State::Leader(leader) = &self.role else {
            return;
        };
        if leader.confirmed == leader.round && leader.reads.iter().any(|read| read.round.is_none())
        {
            self.send_heartbeat(false);
        }
    }

    /// Answers the reads whose round is confirmed. The state must have reached the barrier, for
    /// only then does it hold all that earlier leaders may have acknowledged.
    pub(super) fn serve_reads(&mut self) {
        let applied = self.kv.applied;
        // FLAW read-before-recovery: it need not have.
        let early = self.config.flaws.has(Flaw::ReadBeforeRecovery);
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.reads.is_empty() || applied < leader.barrier && !early {
            return;
        }
        let confirmed = leader.confirmed;
        let ready: Vec<PendingRead> = leader
            .reads
            .extract_if(.., |read| {
                read.round.is_some_and(|round| round <= confirmed)
            })
            .collect();
        for read in ready {
            let answer = self.read_leading(&read.query);
            self.answer(read.waiter, answer);
        }
    }

    /// The answer of this node's own state.
    pub(super) fn read_here(&self, query: &Query) -> Answer {
        Answer {
            slot: self.kv.applied,
            outcome: self.kv.read(query),
        }
    }

    /// Tells the trace how far the lease reaches when it was prolonged, and that it was used. Not
    /// every time, for one event in half a heartbeat tells the same.
    pub(super) fn trace_lease(&mut self, used: bool) {
        let (now, lease_reads) = (self.now, self.config.lease_reads);
        let lease = nanos(self.config.lease).saturating_sub(nanos(self.config.max_drift));
        let step = nanos(self.config.heartbeat_interval) / 2;
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        let traced = if used {
            &mut leader.use_traced
        } else {
            &mut leader.lease_traced
        };
        if now.abs_diff(*traced) < step || !lease_reads && !used {
            return;
        }
        *traced = now;
        let ballot = leader.ballot;
        if used {
            return self.trace(Event::LeaseUsed { ballot });
        }
        let from = leader.lease_until.saturating_sub(lease);
        let age = Duration::from_nanos(now.saturating_sub(from));
        let left = Duration::from_nanos(leader.lease_until.saturating_sub(now));
        self.trace(Event::Lease { ballot, age, left });
    }
}
