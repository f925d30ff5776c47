//! The leader: collects commands into slots, proposes them, counts accepts, keeps its followers and
//! its lease.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use super::message::*;
use super::read::PendingRead;
use super::{Core, Event, Waiter, election, nanos};
use crate::flaws::Flaw;

/// Slots on their way at once. More gains nothing: what waits meanwhile makes the next batch
/// bigger.
const PIPELINE: usize = 8;
/// A batch is closed when its values reach this size.
const BATCH_BYTES: usize = 256 << 10;
/// Commands that may wait for a slot.
const QUEUE: usize = 16_384;

/// A slot on its way to being decided.
#[derive(Clone)]
struct Proposal {
    batch: Arc<Batch>,
    accepted_by: BTreeSet<NodeIndex>,
    /// FLAW acks-counted-twice: the messages that said so.
    acks: usize,
    /// When it was last sent.
    sent: u64,
}

/// What only a leader knows.
#[derive(Clone)]
pub(super) struct Leader {
    pub(super) ballot: Ballot,
    /// When it began to lead.
    since: u64,
    next: Slot,
    /// Up to here everything was decided when it began to lead, maybe unknown to it.
    pub(super) floor: Slot,
    /// Reads wait for this slot: everything that earlier leaders decided is below.
    pub(super) barrier: Slot,
    proposals: BTreeMap<Slot, Proposal>,
    pub(super) queue: VecDeque<Command>,
    /// Commands in the queue or on their way, so that a repetition is not proposed twice.
    proposed: HashSet<(String, u64)>,

    pub(super) heartbeat_due: u64,
    /// The last heartbeat round that was sent, and when those not yet confirmed were.
    pub(super) round: u64,
    sent: BTreeMap<u64, u64>,
    /// The last round each node answered.
    answered: Vec<u64>,
    /// The last round that a quorum answered.
    pub(super) confirmed: u64,
    /// When that round was sent: the leader surely was leader then.
    contact: u64,
    pub(super) lease_until: u64,
    pub(super) lease_traced: u64,
    pub(super) use_traced: u64,
    pub(super) reads: Vec<PendingRead>,
}

impl Core {
    /// Phase 1 is won: carries on what the promises report, and opens for requests.
    pub(super) fn become_leader(
        &mut self,
        ballot: Ballot,
        promises: BTreeMap<NodeIndex, (Slot, Vec<Accepted>)>,
    ) {
        let (mut floor, mut ahead) = (self.kv.applied, self.config.me);
        let mut found: BTreeMap<Slot, Accepted> = BTreeMap::new();
        for (node, (decided, accepted)) in promises {
            if decided > floor {
                (floor, ahead) = (decided, node);
            }
            for accepted in accepted {
                let best = found
                    .entry(accepted.slot)
                    .or_insert_with(|| accepted.clone());
                // FLAW any-reported-value: any will do, and the oldest is as good as another.
                let any = self.config.flaws.has(Flaw::AnyReportedValue);
                let (this, that) = (accepted.ballot, best.ballot);
                if this > that && !any || this < that && any {
                    *best = accepted;
                }
            }
        }
        // FLAW ignore-accepted: phase 1 is taken for a mere election.
        if self.config.flaws.has(Flaw::IgnoreAccepted) {
            found.clear();
        }
        let last = found
            .keys()
            .next_back()
            .copied()
            .unwrap_or(floor)
            .max(floor);
        self.trace(Event::Lead { ballot });
        self.note(format!(
            "leader (ballot {}), {} slots to finish after {floor}",
            ballot.round,
            last - floor
        ));
        self.leader = Some(ballot);
        self.heard = self.now;
        (self.campaign.unfinished, self.campaign.phase_1_seen) = (0, false);
        self.role = election::State::Leader(Box::new(Leader {
            ballot,
            since: self.now,
            next: floor + 1,
            floor,
            barrier: last + 1,
            proposals: BTreeMap::new(),
            queue: VecDeque::new(),
            proposed: HashSet::new(),
            heartbeat_due: self.now,
            round: 0,
            sent: BTreeMap::new(),
            answered: vec![0; self.config.names.len()],
            confirmed: 0,
            contact: self.now,
            lease_until: 0,
            lease_traced: 0,
            use_traced: 0,
            reads: Vec::new(),
        }));
        self.send_heartbeat(true);
        // Slots up to the floor are decided, if not known here. Above it the value of the highest
        // ballot goes on, holes are filled with no-ops, and one more no-op is the barrier for
        // reads. FLAW read-before-recovery: that is not hurried, and left to what sends unanswered
        // proposals again.
        let hurry = !self.config.flaws.has(Flaw::ReadBeforeRecovery);
        for slot in floor + 1..=last + 1 {
            let batch = found
                .remove(&slot)
                .map(|accepted| accepted.batch)
                .unwrap_or_default();
            self.propose(batch, hurry);
        }
        if ahead != self.config.me {
            self.fetch(ahead);
        }
        self.route_all();
    }

    /// Gives the batch the next slot, and sends it unless that is left to the resending.
    fn propose(&mut self, batch: Arc<Batch>, send: bool) {
        let decided = self.commit_to_tell(false);
        let now = self.now;
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        let (slot, ballot) = (leader.next, leader.ballot);
        leader.next += 1;
        leader.proposals.insert(
            slot,
            Proposal {
                batch: batch.clone(),
                accepted_by: BTreeSet::new(),
                acks: 0,
                sent: now,
            },
        );
        if send {
            self.broadcast(Message::Accept {
                ballot,
                slot,
                batch,
                decided,
            });
        }
    }

    /// Queues a request at the leader. Returns false when there is too much to do.
    pub(super) fn submit(&mut self, ask: Ask, waiter: Waiter) -> bool {
        let mut command = match ask {
            Ask::Read(query, mode) => return self.submit_read(query, mode, waiter),
            Ask::Write(command) => command,
        };
        let name = (command.session.clone(), command.sequence);
        let dedup = !self.config.flaws.has(Flaw::DuplicateApply);
        if dedup
            && let Some((slot, outcome)) = self.kv.remembered(&command.session, command.sequence)
        {
            self.answer(waiter, Answer { slot, outcome });
            return true;
        }
        // FLAW cas-not-atomic: compared now, swapped later.
        if self.config.flaws.has(Flaw::CasNotAtomic)
            && let Op::Cas { key, from, to } = &command.op
        {
            let (matches, actual) = self.kv.compare(key, from.as_ref());
            if !matches {
                let answer = Answer {
                    slot: self.kv.applied,
                    outcome: Outcome::NotSwapped { actual },
                };
                self.answer(waiter, answer);
                return true;
            }
            command.op = Op::SwapUnchecked {
                key: key.clone(),
                to: to.clone(),
            };
        }
        // FLAW renewal-not-replicated: what the leader knows is enough.
        if self.config.flaws.has(Flaw::RenewalNotReplicated)
            && let Op::Renew { key, lease } = &command.op
        {
            let answer = self.renew_here(key, *lease);
            self.answer(waiter, answer);
            return true;
        }
        let election::State::Leader(leader) = &mut self.role else {
            return false;
        };
        let repeated = dedup && leader.proposed.contains(&name);
        if !repeated && leader.queue.len() >= QUEUE {
            return false;
        }
        let waiters = self.awaiting.entry(name.clone()).or_default();
        if !waiters.contains(&waiter) {
            waiters.push(waiter);
        }
        if !repeated {
            leader.proposed.insert(name);
            leader.queue.push_back(command);
        }
        true
    }

    /// Turns the queue into slots, as far as the pipeline has room.
    pub(super) fn propose_queued(&mut self) {
        loop {
            let max_batch = self.config.max_batch;
            let election::State::Leader(leader) = &mut self.role else {
                return;
            };
            if leader.queue.is_empty() || leader.proposals.len() >= PIPELINE {
                return;
            }
            let (mut commands, mut bytes) = (Vec::new(), 0);
            while commands.len() < max_batch && bytes < BATCH_BYTES {
                let Some(command) = leader.queue.pop_front() else {
                    break;
                };
                bytes += command.op.size();
                commands.push(command);
            }
            self.propose(Arc::new(Batch { commands }), true);
            // The leader's own accept may refuse the ballot, and then the role is another.
            self.drain_local();
        }
    }

    /// Phase 2b.
    pub(super) fn on_accept_reply(&mut self, from: NodeIndex, ballot: Ballot, slots: &[Slot]) {
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.ballot != ballot {
            return;
        }
        for slot in slots {
            if let Some(proposal) = leader.proposals.get_mut(slot) {
                proposal.accepted_by.insert(from);
                proposal.acks += 1;
            }
        }
        self.decide_proposals();
    }

    /// Decides, in order, what a quorum has accepted.
    pub(super) fn decide_proposals(&mut self) {
        // FLAW early-ack: the leader's own accept is enough.
        let alone = self.config.flaws.has(Flaw::EarlyAck);
        let (quorum, me) = (self.quorum(), self.config.me);
        loop {
            let next = self.kv.applied + 1;
            let election::State::Leader(leader) = &mut self.role else {
                return;
            };
            // Slots that were learned by catching up need no more accepts.
            while leader
                .proposals
                .first_key_value()
                .is_some_and(|(&slot, _)| slot < next)
            {
                leader.proposals.pop_first();
            }
            let Some(proposal) = leader.proposals.get(&next) else {
                break;
            };
            // FLAW acks-counted-twice: it is messages that count.
            let accepts = if self.config.flaws.has(Flaw::AcksCountedTwice) {
                proposal.acks
            } else {
                proposal.accepted_by.len()
            };
            let chosen = accepts >= quorum || alone && proposal.accepted_by.contains(&me);
            if !chosen {
                break;
            }
            let ballot = leader.ballot;
            if let Some(proposal) = leader.proposals.remove(&next) {
                self.keep(Accepted {
                    slot: next,
                    ballot,
                    batch: proposal.batch,
                });
                self.decide_next();
            }
        }
        self.serve_reads();
    }

    /// The answer of a leader to a read.
    pub(super) fn read_leading(&self, query: &Query) -> Answer {
        // FLAW dirty-read: from the state that its proposals will make, should they be decided.
        if let election::State::Leader(leader) = &self.role
            && self.config.flaws.has(Flaw::DirtyRead)
        {
            let mut kv = self.kv.clone();
            while let Some(proposal) = leader.proposals.get(&(kv.applied + 1)) {
                let batch = &proposal.batch;
                kv.apply(kv.applied + 1, batch, batch.digest(), true);
            }
            return Answer {
                slot: kv.applied,
                outcome: kv.read(query),
            };
        }
        self.read_here(query)
    }

    /// A command of this session was applied, so a repetition would be recognised by the state.
    pub(super) fn forget_proposed(&mut self, name: &(String, u64)) {
        if let election::State::Leader(leader) = &mut self.role {
            leader.proposed.remove(name);
        }
    }

    pub(super) fn tick_leader(&mut self) {
        let (now, timeout) = (self.now, nanos(self.config.election_timeout));
        let resend_after = 2 * nanos(self.config.heartbeat_interval);
        let decided = self.commit_to_tell(false);
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        // FLAW stale-read-leader: nor does it notice that it has lost the quorum.
        if now >= leader.contact.saturating_add(timeout)
            && !self.config.flaws.has(Flaw::StaleReadLeader)
        {
            return self.step_down("no quorum answers");
        }
        if self.kv.applied < leader.floor && now >= leader.since.saturating_add(4 * timeout) {
            // Whoever knows the slots before this leader's own may be gone. Phase 1 without it
            // finds their values.
            return self.step_down("cannot catch up");
        }
        let ballot = leader.ballot;
        // FLAW acks-counted-twice: nor is it known who need not be asked again.
        let all = self.config.flaws.has(Flaw::AcksCountedTwice);
        let mut again = Vec::new();
        for (&slot, proposal) in &mut leader.proposals {
            if now >= proposal.sent.saturating_add(resend_after) {
                proposal.sent = now;
                for to in (0..self.config.names.len() as NodeIndex)
                    .filter(|to| all || !proposal.accepted_by.contains(to))
                {
                    again.push((
                        to,
                        Message::Accept {
                            ballot,
                            slot,
                            batch: proposal.batch.clone(),
                            decided,
                        },
                    ));
                }
            }
        }
        let due = now >= leader.heartbeat_due;
        for (to, message) in again {
            self.send(to, message);
        }
        if due {
            self.send_heartbeat(true);
        }
    }

    /// The commit index for a message to the followers.
    fn commit_to_tell(&self, regular: bool) -> Slot {
        // FLAW read-before-recovery: only the regular heartbeat tells it, so whoever leads next
        // lags behind.
        let late = self.config.flaws.has(Flaw::ReadBeforeRecovery) && !regular;
        if late { 0 } else { self.kv.applied }
    }

    /// Begins a heartbeat round, the regular one or one between for reads. It also confirms the
    /// leadership for the reads that wait for that.
    pub(super) fn send_heartbeat(&mut self, regular: bool) {
        let now = self.now;
        let decided = self.commit_to_tell(regular);
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        leader.round += 1;
        if regular {
            leader.heartbeat_due = now + nanos(self.config.heartbeat_interval);
        }
        leader.sent.insert(leader.round, now);
        let (ballot, round) = (leader.ballot, leader.round);
        for read in &mut leader.reads {
            read.round.get_or_insert(round);
        }
        self.broadcast(Message::Heartbeat {
            ballot,
            round,
            decided,
        });
    }

    pub(super) fn on_heartbeat_reply(&mut self, from: NodeIndex, ballot: Ballot, round: u64) {
        let quorum = self.quorum();
        let lease = nanos(self.config.lease).saturating_sub(nanos(self.config.max_drift));
        let election::State::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.ballot != ballot || round > leader.round {
            return;
        }
        let answered = &mut leader.answered[usize::from(from)];
        *answered = round.max(*answered);
        let mut rounds = leader.answered.clone();
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        // An answer to a round also confirms the earlier ones: it was given after they were sent.
        let confirmed = rounds[quorum - 1];
        if confirmed <= leader.confirmed {
            return;
        }
        leader.confirmed = confirmed;
        if let Some(&sent) = leader.sent.get(&confirmed) {
            // The lease counts from when the round was sent, before any follower began to count.
            // FLAW lease-from-reply: from now.
            let late = self.config.flaws.has(Flaw::LeaseFromReply);
            let from = if late { self.now } else { sent };
            leader.contact = leader.contact.max(from);
            leader.lease_until = leader.lease_until.max(from + lease);
        }
        leader.sent = leader.sent.split_off(&(confirmed + 1));
        self.trace_lease(false);
        self.serve_reads();
    }

    /// Every time that the leader remembers is void.
    pub(super) fn reset_leader_clock(&mut self) {
        let now = self.now;
        if let election::State::Leader(leader) = &mut self.role {
            leader.heartbeat_due = now;
            leader.sent.clear();
            leader.contact = now;
            leader.since = now;
            leader.lease_until = 0;
            leader.lease_traced = 0;
            leader.use_traced = 0;
            leader
                .proposals
                .values_mut()
                .for_each(|proposal| proposal.sent = now);
        }
    }
}
