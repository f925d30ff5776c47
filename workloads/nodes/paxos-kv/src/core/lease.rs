//! Leases of clients: a key that somebody holds for some time, and for longer if they renew it in
//! time.
//!
//! Whoever holds counts from when it asked, so a lease must be there until its time has passed
//! since then (Gray and Cheriton 1989). The state has no clock. So the end of a lease is a command
//! too: the leader proposes it when the lease's time has passed by its own monotonic clock, since
//! it saw the grant or the last renewal applied. By then the time has passed since anybody asked. A
//! new leader begins to count when it begins to lead.
//!
//! The command names how often the lease had been renewed. If it comes late, from a leader that was
//! deposed meanwhile, and the lease was renewed since, it ends nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::message::*;
use super::{Core, Request, election, nanos};
use crate::flaws::Flaw;

/// Ids of the node's own requests begin here; those of clients are below.
const OWN: RequestId = 1 << 39;

/// A key that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// No other lease has this number.
    pub id: u64,
    /// Who holds it, in its own words, which are JSON.
    pub holder: String,
    ttl_ms: u64,
    renewals: u64,
}

/// All keys that are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    held: OrdMap<String, Lease>,
    granted: u64,
}

impl Leases {
    pub fn get(&self, key: &str) -> Option<&Lease> {
        self.held.get(key)
    }

    pub(super) fn grant(&mut self, key: &str, holder: &str, ttl_ms: u64) -> Outcome {
        if let Some(lease) = self.held.get(key) {
            let holder = lease.holder.clone();
            return Outcome::Held { holder };
        }
        self.granted += 1;
        let lease = Lease {
            id: self.granted,
            holder: holder.to_owned(),
            ttl_ms,
            renewals: 0,
        };
        let outcome = lease.granted();
        self.held.insert(key.to_owned(), lease);
        outcome
    }

    pub(super) fn renew(&mut self, key: &str, id: u64) -> Outcome {
        match self.held.get_mut(key) {
            Some(lease) if lease.id == id => {
                lease.renewals += 1;
                lease.granted()
            }
            _ => Outcome::NotHeld,
        }
    }

    /// Ends a lease. With a number of renewals only if it was not renewed since.
    pub(super) fn end(&mut self, key: &str, id: u64, renewals: Option<u64>) -> Outcome {
        match self.held.get(key) {
            Some(lease) if lease.id == id && renewals.is_none_or(|n| n == lease.renewals) => {
                self.held.remove(key);
                Outcome::Ended
            }
            _ => Outcome::NotHeld,
        }
    }
}

impl Lease {
    fn granted(&self) -> Outcome {
        let (lease, ttl_ms) = (self.id, self.ttl_ms);
        Outcome::Granted { lease, ttl_ms }
    }
}

/// When a lease is over, by this node's clock.
#[derive(Clone)]
struct Timer {
    /// The lease and its last renewal.
    stamp: (u64, u64),
    due: u64,
    /// When its end was asked for.
    asked: Option<u64>,
}

/// The leader's timers, by key.
#[derive(Clone, Default)]
pub(super) struct Timers {
    timers: BTreeMap<String, Timer>,
    /// How many requests this node has made itself.
    asked: u64,
}

/// Whether a request is the node's own, and nobody waits for its answer.
pub(super) fn is_own(id: RequestId) -> bool {
    id >= OWN
}

impl Core {
    /// How long a lease runs by this node's clock, in nanoseconds. This clock may be faster than
    /// the holder's, by less than `max_drift` in the length of a leader's lease.
    fn span(&self, ttl_ms: u64) -> u64 {
        let ttl = nanos(Duration::from_millis(ttl_ms));
        let (drift, per) = (self.config.max_drift, self.config.lease);
        let drift = u128::from(ttl) * drift.as_nanos() / per.as_nanos().max(1);
        ttl.saturating_add(u64::try_from(drift).unwrap_or(u64::MAX))
    }

    /// Counts the time of all leases, and asks for the end of those that are over.
    pub(super) fn tick_leases(&mut self) {
        let leads = matches!(self.role, election::State::Leader(_));
        // FLAW renewal-not-replicated: every node counts from when it saw the grant.
        if leads || self.config.flaws.has(Flaw::RenewalNotReplicated) {
            self.set_timers();
        }
        // FLAW expired-by-old-leader: one that was deposed looks at its timers once more.
        if leads || self.config.flaws.has(Flaw::ExpiredByOldLeader) {
            self.end_leases();
        }
        if !leads && !self.config.flaws.has(Flaw::RenewalNotReplicated) {
            self.forget_timers();
        }
    }

    /// Every lease that was granted or renewed since the last look begins to count now.
    fn set_timers(&mut self) {
        let mut before = std::mem::take(&mut self.timers.timers);
        for (key, lease) in &self.kv.leases.held {
            let stamp = (lease.id, lease.renewals);
            let known = before.remove(key).filter(|timer| timer.stamp == stamp);
            let timer = known.unwrap_or_else(|| Timer {
                stamp,
                due: self.now.saturating_add(self.span(lease.ttl_ms)),
                asked: None,
            });
            self.timers.timers.insert(key.clone(), timer);
        }
    }

    fn end_leases(&mut self) {
        let (now, again) = (self.now, nanos(self.config.request_timeout));
        let mut over = Vec::new();
        for (key, timer) in &mut self.timers.timers {
            let asked = timer.asked.is_some_and(|at| now < at.saturating_add(again));
            if now >= timer.due && !asked {
                timer.asked = Some(now);
                over.push((key.clone(), timer.stamp));
            }
        }
        // FLAW expired-by-old-leader: nor does it matter whether the lease was renewed since.
        let whatever = self.config.flaws.has(Flaw::ExpiredByOldLeader);
        for (key, (lease, renewals)) in over {
            let renewals = (!whatever).then_some(renewals);
            self.timers.asked += 1;
            let id = OWN + self.timers.asked;
            let op = Op::Expire {
                key,
                lease,
                renewals,
            };
            self.request(id, Request::Write(None, op));
        }
    }

    /// Whatever was counted is void. Whoever leads begins anew.
    pub(super) fn forget_timers(&mut self) {
        self.timers.timers.clear();
    }

    /// FLAW renewal-not-replicated: the leader alone knows that the lease runs on.
    pub(super) fn renew_here(&mut self, key: &str, id: u64) -> Answer {
        let lease = self.kv.leases.get(key).filter(|lease| lease.id == id);
        let known = lease.map(|lease| (self.span(lease.ttl_ms), lease.granted()));
        let timer = self.timers.timers.get_mut(key);
        let timer = timer.filter(|timer| timer.stamp.0 == id && timer.asked.is_none());
        let outcome = match (known, timer) {
            (Some((span, granted)), Some(timer)) => {
                timer.due = self.now.saturating_add(span);
                granted
            }
            _ => Outcome::NotHeld,
        };
        Answer {
            slot: self.kv.applied,
            outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(outcome: &Outcome) -> u64 {
        match outcome {
            Outcome::Granted { lease, .. } => *lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_held_by_one_until_it_is_released() {
        let mut leases = Leases::default();
        let one = id(&leases.grant("k", "1", 500));
        let holder = "1".to_owned();
        assert_eq!(leases.grant("k", "2", 500), Outcome::Held { holder });
        assert_eq!(id(&leases.renew("k", one)), one);
        assert_eq!(leases.end("k", one + 1, None), Outcome::NotHeld);
        assert_eq!(leases.end("k", one, None), Outcome::Ended);
        assert_eq!(leases.renew("k", one), Outcome::NotHeld);
        let two = id(&leases.grant("k", "2", 500));
        assert_eq!(
            leases.end("k", one, None),
            Outcome::NotHeld,
            "it is another lease"
        );
        assert_ne!(one, two);
    }

    #[test]
    fn an_end_that_comes_late_ends_nothing() {
        let mut leases = Leases::default();
        let lease = id(&leases.grant("k", "1", 500));
        leases.renew("k", lease);
        assert_eq!(leases.end("k", lease, Some(0)), Outcome::NotHeld);
        assert_eq!(leases.end("k", lease, Some(1)), Outcome::Ended);
    }
}
