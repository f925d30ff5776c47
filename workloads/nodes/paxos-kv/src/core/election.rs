//! Standing for election: asking around first, then phase 1, and stepping down.

use std::collections::{BTreeMap, BTreeSet};

use super::leader::Leader;
use super::message::*;
use super::{Core, Event, nanos};
use crate::flaws::Flaw;

/// The patience of phase 1 is doubled so often at most: 64 times half the election timeout.
const MOST_DOUBLINGS: u32 = 6;

/// The role a node plays beside being an acceptor.
#[derive(Clone)]
pub(super) enum State {
    Follower,
    /// Asks whether a candidacy would succeed.
    PreCandidate {
        ballot: Ballot,
        granted: BTreeSet<NodeIndex>,
    },
    /// Runs phase 1.
    Candidate {
        ballot: Ballot,
        promises: BTreeMap<NodeIndex, (Slot, Vec<Accepted>)>,
    },
    Leader(Box<Leader>),
}

/// When and how patiently this node stands for election.
#[derive(Clone, Default)]
pub(super) struct Campaign {
    due: u64,
    /// Phases 1 in a row, this node's and others', that did not end in time, such as on slow disks;
    /// and whether there was one since this node last waited for a leader in vain.
    pub(super) unfinished: u32,
    pub(super) phase_1_seen: bool,
    /// FLAW duelling-leaders: this node has led or seen a leader go, and wants to lead.
    rival: bool,
}

impl Core {
    /// Sets the time at which this node gives up waiting for a leader.
    pub(super) fn reset_election(&mut self) {
        let timeout = nanos(self.config.election_timeout);
        self.campaign.due =
            self.now + (timeout << self.campaign.unfinished) + self.random.below(timeout / 2);
    }

    pub(super) fn tick_election(&mut self) {
        if matches!(self.role, State::Leader(_)) || self.now < self.campaign.due {
            return;
        }
        self.leader = None;
        // Whoever tried and failed tries again sooner than at first, and after a random time, so
        // that of two candidates one is first. A quorum that was there to vote but did not promise
        // in time may have disks that need longer: each such phase 1 gives the next one twice the
        // time.
        if std::mem::take(&mut self.campaign.phase_1_seen) {
            self.campaign.unfinished = (self.campaign.unfinished + 1).min(MOST_DOUBLINGS);
        }
        let timeout = nanos(self.config.election_timeout);
        let patience = (timeout / 2) << self.campaign.unfinished;
        self.campaign.due = self.now + patience + self.random.below(timeout / 2);
        let ballot = Ballot {
            round: self.round.max(self.promised.round) + 1,
            node: self.config.me,
        };
        // FLAW duelling-leaders: nobody is asked first.
        if self.config.flaws.has(Flaw::DuellingLeaders) {
            return self.stand(ballot);
        }
        self.role = State::PreCandidate {
            ballot,
            granted: BTreeSet::new(),
        };
        self.broadcast(Message::PreVote { ballot });
    }

    pub(super) fn on_pre_vote(&mut self, from: NodeIndex, ballot: Ballot) {
        let hears_a_leader = matches!(self.role, State::Leader(_))
            || self.leader.is_some() && self.now < self.heard + nanos(self.config.election_timeout);
        let granted =
            ballot > self.promised && !hears_a_leader && !self.granted_to_other(ballot.node);
        let promised = self.promised;
        self.send(
            from,
            Message::PreVoteReply {
                ballot,
                granted,
                promised,
            },
        );
    }

    pub(super) fn on_pre_vote_reply(
        &mut self,
        from: NodeIndex,
        asked: Ballot,
        yes: bool,
        promised: Ballot,
    ) {
        self.round = self.round.max(promised.round);
        let quorum = self.quorum();
        let State::PreCandidate { ballot, granted } = &mut self.role else {
            return;
        };
        if *ballot != asked || !yes {
            return;
        }
        granted.insert(from);
        if granted.len() >= quorum {
            self.stand(asked);
        }
    }

    /// Begins phase 1.
    fn stand(&mut self, ballot: Ballot) {
        self.elections += 1;
        self.campaign.phase_1_seen = true;
        self.campaign.rival = true;
        self.role = State::Candidate {
            ballot,
            promises: BTreeMap::new(),
        };
        self.broadcast(Message::Prepare { ballot });
    }

    pub(super) fn on_promise(
        &mut self,
        from: NodeIndex,
        promised: Ballot,
        decided: Slot,
        accepted: Vec<Accepted>,
    ) {
        let quorum = self.quorum();
        let State::Candidate { ballot, promises } = &mut self.role else {
            return;
        };
        if *ballot != promised {
            return;
        }
        promises.insert(from, (decided, accepted));
        if promises.len() >= quorum {
            let promises = std::mem::take(promises);
            self.become_leader(promised, promises);
        }
    }

    /// Somebody promised a higher ballot than one of ours.
    pub(super) fn on_reject(&mut self, from: NodeIndex, ballot: Ballot, promised: Ballot) {
        self.round = self.round.max(promised.round);
        // FLAW stale-ballot-decides: a leader that is refused takes itself for one that is behind,
        // catches up, and goes on.
        let goes_on = self.config.flaws.has(Flaw::StaleBallotDecides);
        if goes_on && matches!(self.role, State::Leader(_)) {
            return self.fetch(from);
        }
        if self.own_ballot() == Some(ballot) && promised > ballot {
            self.step_down_below(promised);
        }
    }

    fn own_ballot(&self) -> Option<Ballot> {
        match &self.role {
            State::Follower => None,
            State::PreCandidate { ballot, .. } | State::Candidate { ballot, .. } => Some(*ballot),
            State::Leader(leader) => Some(leader.ballot),
        }
    }

    /// Gives up whatever this node does in a ballot below `ballot`.
    pub(super) fn step_down_below(&mut self, ballot: Ballot) {
        match &self.role {
            State::Leader(leader) if leader.ballot < ballot => {
                self.step_down("a higher ballot was promised")
            }
            State::Candidate { ballot: own, .. } | State::PreCandidate { ballot: own, .. }
                if *own < ballot =>
            {
                self.role = State::Follower;
            }
            _ => {}
        }
    }

    /// A leader becomes a follower; requests it has not proposed go back to where they came from.
    pub(super) fn step_down(&mut self, reason: &str) {
        let State::Leader(leader) = std::mem::replace(&mut self.role, State::Follower) else {
            return;
        };
        self.trace(Event::StepDown {
            ballot: leader.ballot,
        });
        self.note(format!(
            "follower: {reason} (ballot {})",
            leader.ballot.round
        ));
        if self.leader == Some(leader.ballot) {
            self.leader = None;
        }
        self.reset_election();
        self.hand_back(*leader);
    }

    /// The highest ballot that was promised, or in which somebody leads.
    pub(super) fn highest_known(&self) -> Ballot {
        self.leader
            .map_or(self.promised, |leader| leader.max(self.promised))
    }

    /// Says no to a ballot that is below what was promised, or below that of a leader already
    /// known.
    pub(super) fn refuses(&mut self, from: NodeIndex, ballot: Ballot) -> bool {
        let highest = self.highest_known();
        if ballot < highest {
            self.send(
                from,
                Message::Reject {
                    ballot,
                    promised: highest,
                },
            );
        }
        ballot < highest
    }

    /// Takes the owner of `ballot`, which was not refused, for the leader.
    pub(super) fn follow(&mut self, ballot: Ballot) {
        self.campaign.rival |= self.leader.is_some_and(|before| before != ballot);
        self.step_down_below(ballot);
        if ballot.node != self.config.me {
            self.role = State::Follower;
        }
        (self.campaign.unfinished, self.campaign.phase_1_seen) = (0, false);
        if self.leader != Some(ballot) {
            if ballot.node != self.config.me {
                let name = self.name(ballot.node).to_owned();
                self.note(format!("follower of {name} (ballot {})", ballot.round));
            }
            self.leader = Some(ballot);
            self.heard = self.now;
            self.reset_election();
            self.route_all();
        }
        // FLAW duelling-leaders: whoever wants to lead does not leave it to another.
        let duels = self.config.flaws.has(Flaw::DuellingLeaders) && self.campaign.rival;
        if duels && ballot.node != self.config.me {
            self.stand(Ballot {
                round: self.round.max(ballot.round) + 1,
                node: self.config.me,
            });
        }
    }

    pub(super) fn on_heartbeat(
        &mut self,
        from: NodeIndex,
        ballot: Ballot,
        round: u64,
        decided: Slot,
    ) {
        self.round = self.round.max(ballot.round);
        if self.refuses(from, ballot) {
            return;
        }
        // A lease that this node gave to another does not matter now: the new leader's quorum had
        // to wait for it.
        self.follow(ballot);
        self.heard = self.now;
        self.reset_election();
        self.grant.to = ballot.node;
        self.grant.until = self.now + nanos(self.config.lease);
        self.send(from, Message::HeartbeatReply { ballot, round });
        self.learn_commit(from, ballot, decided);
    }

    /// FLAW wall-clock-lease, lease-checked-early, lease-from-reply: "while I hold the lease nobody
    /// else can lead", so a leader takes no notice of messages which say otherwise.
    pub(super) fn trusts_its_lease_over(&self, message: &Message) -> bool {
        let wrong = [
            Flaw::WallClockLease,
            Flaw::LeaseCheckedEarly,
            Flaw::LeaseFromReply,
        ];
        if !wrong.into_iter().any(|flaw| self.config.flaws.has(flaw)) {
            return false;
        }
        let State::Leader(leader) = &self.role else {
            return false;
        };
        let other = match message {
            Message::Prepare { ballot }
            | Message::Accept { ballot, .. }
            | Message::Heartbeat { ballot, .. } => *ballot,
            Message::Reject { promised, .. } => *promised,
            _ => return false,
        };
        other > leader.ballot && self.now < leader.lease_until
    }
}
