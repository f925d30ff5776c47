//! The acceptor: promises and accepts, and says so only when the disk has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::message::*;
use super::{Core, Effect, Entry, Event};
use crate::flaws::Flaw;

/// So long the flaws `unsynced-accept` and `unsynced-promise` keep records in memory.
const ACCEPT_DELAY_NS: u64 = 3_000_000_000;
const PROMISE_DELAY_NS: u64 = 15_000_000_000;

/// What waits for the disk.
#[derive(Clone, Debug)]
pub(super) enum Gated {
    Promise {
        to: NodeIndex,
        ballot: Ballot,
    },
    Accept {
        ballot: Ballot,
        slot: Slot,
        digest: Digest,
    },
}

/// What goes to the disk, and what waits for it.
#[derive(Clone)]
pub(super) struct Journal {
    /// The number of the last write that was handed to the disk, and of the last that is on it.
    persisted: u64,
    durable: u64,
    /// What the next write will hold.
    records: Vec<Record>,
    /// The commit index that the disk knows.
    decided_written: Slot,
    gated: VecDeque<(u64, Gated)>,
}

impl Journal {
    /// The disk knows that the slots up to this one are decided.
    pub(super) fn new(decided: Slot) -> Journal {
        Journal {
            persisted: 0,
            durable: 0,
            records: Vec::new(),
            decided_written: decided,
            gated: VecDeque::new(),
        }
    }
}

/// A lease that was granted: until then nobody but `to` gets a promise, not even this node.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) until: u64,
    pub(super) to: NodeIndex,
}

/// No node has this index: what is granted to it is granted to none.
const NOBODY: NodeIndex = NodeIndex::MAX;

impl Default for Grant {
    fn default() -> Grant {
        Grant {
            until: 0,
            to: NOBODY,
        }
    }
}

impl Core {
    /// Phase 1a. Grants over the whole log, unless a higher ballot or another leader's lease
    /// forbids it.
    pub(super) fn on_prepare(&mut self, from: NodeIndex, ballot: Ballot) {
        self.round = self.round.max(ballot.round);
        if self.refuses(from, ballot) {
            return;
        }
        if self.granted_to_other(ballot.node) {
            return;
        }
        if ballot > self.promised {
            self.promised = ballot;
            self.step_down_below(ballot);
            self.campaign.phase_1_seen = true;
            self.reset_election();
            self.persist_promise(ballot);
        }
        self.gate(Gated::Promise { to: from, ballot });
    }

    /// Whether a lease given to another node still runs.
    pub(super) fn granted_to_other(&self, node: NodeIndex) -> bool {
        // FLAW duelling-leaders: whoever wants to lead is let.
        let duels = self.config.flaws.has(Flaw::DuellingLeaders);
        self.now < self.grant.until && self.grant.to != node && !duels
    }

    /// Phase 2a.
    pub(super) fn on_accept(
        &mut self,
        from: NodeIndex,
        ballot: Ballot,
        slot: Slot,
        batch: Arc<Batch>,
        decided: Slot,
    ) {
        self.round = self.round.max(ballot.round);
        // FLAW accept-below-promise: what was promised meanwhile is not looked at.
        let below =
            ballot < self.highest_known() && self.config.flaws.has(Flaw::AcceptBelowPromise);
        if !below {
            if self.refuses(from, ballot) {
                return;
            }
            self.follow(ballot);
        }
        if ballot > self.promised {
            self.promised = ballot;
            self.persist_promise(ballot);
        }
        if slot > self.kv.applied {
            let known = self
                .log
                .get(&slot)
                .is_some_and(|entry| entry.ballot == ballot);
            if !known {
                let accepted = Accepted {
                    slot,
                    ballot,
                    batch,
                };
                self.keep(accepted.clone());
                self.persist(Record::Accepted(accepted));
            }
            let digest = self.log[&slot].digest;
            self.gate(Gated::Accept {
                ballot,
                slot,
                digest,
            });
        } else {
            // The slot is decided here, so what this leader proposes is the same value: nothing to
            // store.
            self.send(
                from,
                Message::AcceptReply {
                    ballot,
                    slots: vec![slot],
                },
            );
        }
        self.learn_commit(from, ballot, decided);
    }

    /// Puts an accepted batch into the log, unless a higher ballot's is there.
    pub(super) fn keep(&mut self, accepted: Accepted) {
        let Accepted {
            slot,
            ballot,
            batch,
        } = accepted;
        if self
            .log
            .get(&slot)
            .is_some_and(|entry| entry.ballot > ballot)
        {
            return;
        }
        self.log.insert(slot, Entry::accepted(ballot, batch));
    }

    fn persist_promise(&mut self, ballot: Ballot) {
        self.persist(Record::Promised { ballot });
    }

    /// Queues a record for the disk.
    pub(super) fn persist(&mut self, record: Record) {
        // FLAW unsynced-accept, unsynced-promise: it stays in memory for a while and nobody waits
        // for it.
        let delay_ns = match &record {
            Record::Accepted(_) if self.config.flaws.has(Flaw::UnsyncedAccept) => {
                Some(ACCEPT_DELAY_NS)
            }
            Record::Promised { .. } if self.config.flaws.has(Flaw::UnsyncedPromise) => {
                Some(PROMISE_DELAY_NS)
            }
            _ => None,
        };
        match delay_ns {
            Some(delay_ns) => self.effects.push(Effect::Persist {
                records: vec![record],
                durability: Err(delay_ns),
            }),
            None => self.journal.records.push(record),
        }
    }

    /// Holds something back until all records so far are on the disk.
    fn gate(&mut self, gated: Gated) {
        let number = if self.journal.records.is_empty() {
            self.journal.persisted
        } else {
            self.journal.persisted + 1
        };
        if number <= self.journal.durable {
            let mut replies = BTreeMap::new();
            self.release(gated, &mut replies);
            self.send_accept_replies(replies);
        } else {
            self.journal.gated.push_back((number, gated));
        }
    }

    /// Hands the collected records to the disk, as one write.
    pub(super) fn flush_records(&mut self) {
        if self.journal.records.is_empty() {
            return;
        }
        self.journal.persisted += 1;
        // Not worth a write of its own, but it spares a restarted node a catch-up: it applies the
        // log up to this slot without asking anybody. So the disk must hold the chosen value of
        // each slot up to it, as it does not while an installed snapshot is still being saved. FLAW
        // snapshot-decided-early: that is not awaited.
        let provable = self.snapshots.installing.is_none()
            || self.config.flaws.has(Flaw::SnapshotDecidedEarly);
        if provable && self.journal.decided_written < self.kv.applied {
            self.journal.decided_written = self.kv.applied;
            self.journal.records.push(Record::Decided {
                slot: self.kv.applied,
            });
        }
        let records = std::mem::take(&mut self.journal.records);
        self.effects.push(Effect::Persist {
            records,
            durability: Ok(self.journal.persisted),
        });
    }

    /// The disk has caught up.
    pub(super) fn on_durable(&mut self, number: u64) {
        self.journal.durable = self.journal.durable.max(number);
        let mut replies = BTreeMap::new();
        while self
            .journal
            .gated
            .front()
            .is_some_and(|(number, _)| *number <= self.journal.durable)
        {
            if let Some((_, gated)) = self.journal.gated.pop_front() {
                self.release(gated, &mut replies);
            }
        }
        self.send_accept_replies(replies);
    }

    fn release(&mut self, gated: Gated, replies: &mut BTreeMap<Ballot, Vec<Slot>>) {
        match gated {
            Gated::Promise { to, ballot } => {
                self.trace(Event::Promise { ballot });
                // A higher ballot may have come meanwhile; then this one's candidate is better not
                // helped.
                if ballot == self.promised {
                    let decided = self.kv.applied;
                    let accepted = self
                        .log
                        .range(decided + 1..)
                        .map(|(&slot, entry)| Accepted {
                            slot,
                            ballot: entry.ballot,
                            batch: entry.batch.clone(),
                        })
                        .collect();
                    self.send(
                        to,
                        Message::Promise {
                            ballot,
                            decided,
                            accepted,
                        },
                    );
                }
            }
            Gated::Accept {
                ballot,
                slot,
                digest,
            } => {
                self.trace(Event::Accept {
                    slot,
                    ballot,
                    digest,
                });
                replies.entry(ballot).or_default().push(slot);
            }
        }
    }

    fn send_accept_replies(&mut self, replies: BTreeMap<Ballot, Vec<Slot>>) {
        for (ballot, slots) in replies {
            self.send(ballot.node, Message::AcceptReply { ballot, slots });
        }
    }
}
