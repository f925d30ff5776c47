//! Clients' requests at the node that received them: routed to the leader, sent again when the
//! leader changes, and answered exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::leader::Leader;
use super::message::*;
use super::{Core, Effect, Reply, Request, Waiter, election, lease, nanos};
use crate::flaws::Flaw;

/// Requests that may wait at one node.
const PENDING: usize = 16_384;
/// What the flaw `duplicate-apply` sends again.
const REPLAY: usize = 64;

#[derive(Clone)]
struct Pending {
    ask: Ask,
    /// When it is given up.
    deadline: u64,
    /// When it is given up if it has not been sent to anybody.
    deadline_unsent: u64,
    /// Sendings that nobody has answered: if there is one, the request may happen.
    unanswered: u32,
    /// The leader it was last sent to, and when.
    sent: Option<(Ballot, u64)>,
}

/// The requests of this node's clients.
#[derive(Clone)]
pub(super) struct Requests {
    session: String,
    sequence: u64,
    /// Sequence numbers of the node's own session that are not settled.
    open: BTreeSet<u64>,
    pending: BTreeMap<RequestId, Pending>,
    /// The ids that peers see: they differ from one start of the process to the next.
    base: u64,
    replay: VecDeque<(RequestId, Ask)>,
}

impl Requests {
    pub(super) fn new(session: String, incarnation: u64) -> Self {
        Requests {
            session,
            sequence: 0,
            open: BTreeSet::new(),
            pending: BTreeMap::new(),
            base: incarnation << 40,
            replay: VecDeque::new(),
        }
    }

    fn command(&mut self, session: Option<(String, u64)>, op: Op) -> Command {
        match session {
            // A client has one request at a time, so all before this one are settled.
            Some((session, sequence)) => Command {
                session,
                sequence,
                settled: sequence,
                op,
            },
            None => {
                self.sequence += 1;
                let sequence = self.sequence;
                self.open.insert(sequence);
                let settled = self.open.first().copied().unwrap_or(sequence);
                Command {
                    session: self.session.clone(),
                    sequence,
                    settled,
                    op,
                }
            }
        }
    }
}

impl Core {
    pub(super) fn request(&mut self, id: RequestId, request: Request) {
        let leads = matches!(self.role, election::State::Leader(_));
        let ask = match request {
            Request::Read(query, mode) => {
                // FLAW stale-read-follower: followers answer as if they knew.
                let here = self.config.flaws.has(Flaw::StaleReadFollower) && !leads;
                if mode == ReadMode::Local || here {
                    let answer = self.read_here(&query);
                    return self.effects.push(Effect::Reply(id, Reply::Done(answer)));
                }
                match mode {
                    ReadMode::Log => Ask::Write(self.requests.command(None, Op::Read(query))),
                    mode => Ask::Read(query, mode),
                }
            }
            Request::Write(session, op) => Ask::Write(self.requests.command(session, op)),
            Request::Watch {
                prefix,
                after,
                wait,
            } => return self.follow_changes(id, prefix, after, nanos(wait)),
        };
        if self.requests.pending.len() >= PENDING {
            if let Ask::Write(command) = &ask {
                self.settle(command.session.clone(), command.sequence);
            }
            if !lease::is_own(id) {
                self.effects.push(Effect::Reply(id, Reply::Overloaded));
            }
            return;
        }
        if let Ask::Write(command) = &ask {
            let name = (command.session.clone(), command.sequence);
            self.awaiting
                .entry(name)
                .or_default()
                .push(Waiter::Local(id));
        }
        let (timeout, election) = (
            nanos(self.config.request_timeout),
            nanos(self.config.election_timeout),
        );
        let deadline = self.now + timeout;
        let deadline_unsent = deadline.min(self.now + 2 * election);
        self.requests.pending.insert(
            id,
            Pending {
                ask,
                deadline,
                deadline_unsent,
                unanswered: 0,
                sent: None,
            },
        );
        self.route(id);
    }

    /// Sends a request to the leader, if there is one.
    fn route(&mut self, id: RequestId) {
        let (now, me) = (self.now, self.config.me);
        let Some(leader) = self.leader else { return };
        let Some(pending) = self.requests.pending.get_mut(&id) else {
            return;
        };
        pending.sent = Some((leader, now));
        pending.unanswered += 1;
        let ask = pending.ask.clone();
        if leader.node != me {
            let id = self.requests.base + id;
            if self.config.flaws.has(Flaw::DuplicateApply) && matches!(ask, Ask::Write(_)) {
                self.requests.replay.push_back((id, ask.clone()));
                if self.requests.replay.len() > REPLAY {
                    self.requests.replay.pop_front();
                }
            }
            self.send(leader.node, Message::Forward { id, ask });
        } else if !self.submit(ask, Waiter::Local(id)) {
            self.refused(id, ForwardReply::Overloaded);
        }
    }

    /// There is a new leader: everything that was not sent to it goes there.
    pub(super) fn route_all(&mut self) {
        let leader = self.leader;
        let ids: Vec<_> = self
            .requests
            .pending
            .iter()
            .filter(|(_, pending)| pending.sent.map(|(ballot, _)| ballot) != leader)
            .map(|(&id, _)| id)
            .collect();
        ids.into_iter().for_each(|id| self.route(id));
    }

    /// The connection to the leader is back: what was sent over the old one may be lost.
    pub(super) fn on_peer_up(&mut self, peer: NodeIndex) {
        if self.leader.is_none_or(|leader| leader.node != peer) {
            return;
        }
        // FLAW duplicate-apply: even what was answered is sent again.
        if self.config.flaws.has(Flaw::DuplicateApply) {
            for (id, ask) in self.requests.replay.clone() {
                self.send(peer, Message::Forward { id, ask });
            }
        }
        let ids: Vec<_> = self.requests.pending.keys().copied().collect();
        ids.into_iter().for_each(|id| self.route(id));
    }

    /// Another node's client asks.
    pub(super) fn on_forward(&mut self, from: NodeIndex, id: RequestId, ask: Ask) {
        let reply = if !matches!(self.role, election::State::Leader(_)) {
            ForwardReply::NotLeader
        } else if self.submit(ask, Waiter::Remote(from, id)) {
            return;
        } else {
            ForwardReply::Overloaded
        };
        self.send(from, Message::ForwardReply { id, reply });
    }

    pub(super) fn on_forward_reply(&mut self, id: RequestId, reply: ForwardReply) {
        // An answer to a request of an earlier life of this process concerns nobody.
        let Some(id) = id.checked_sub(self.requests.base) else {
            return;
        };
        match reply {
            ForwardReply::Done(answer) => self.answer(Waiter::Local(id), answer),
            refusal => self.refused(id, refusal),
        }
    }

    /// One sending of a request was refused, so that one will not happen.
    fn refused(&mut self, id: RequestId, refusal: ForwardReply) {
        let Some(pending) = self.requests.pending.get_mut(&id) else {
            return;
        };
        pending.unanswered = pending.unanswered.saturating_sub(1);
        if refusal == ForwardReply::Overloaded && pending.unanswered == 0 {
            self.finish(id, Reply::Overloaded);
        } else if pending.unanswered == 0 {
            pending.sent = None;
        }
    }

    /// Tells whoever waits.
    pub(super) fn answer(&mut self, waiter: Waiter, answer: Answer) {
        match waiter {
            Waiter::Local(id) => self.finish(id, Reply::Done(answer)),
            Waiter::Remote(node, id) => {
                self.send(
                    node,
                    Message::ForwardReply {
                        id,
                        reply: ForwardReply::Done(answer),
                    },
                );
            }
        }
    }

    fn finish(&mut self, id: RequestId, reply: Reply) {
        let Some(pending) = self.requests.pending.remove(&id) else {
            return;
        };
        if let Ask::Write(command) = pending.ask {
            if let Some(waiters) = self
                .awaiting
                .get_mut(&(command.session.clone(), command.sequence))
            {
                waiters.retain(|waiter| *waiter != Waiter::Local(id));
                if waiters.is_empty() {
                    self.awaiting
                        .remove(&(command.session.clone(), command.sequence));
                }
            }
            self.settle(command.session, command.sequence);
        }
        if !lease::is_own(id) {
            self.effects.push(Effect::Reply(id, reply));
        }
    }

    fn settle(&mut self, session: String, sequence: u64) {
        if session == self.requests.session {
            self.requests.open.remove(&sequence);
        }
    }

    pub(super) fn tick_requests(&mut self) {
        let (now, resend_after) = (self.now, nanos(self.config.election_timeout) / 2);
        // FLAW timeout-is-failure: who did not answer did nothing.
        let failed = self.config.flaws.has(Flaw::TimeoutIsFailure);
        let (mut over, mut again) = (Vec::new(), Vec::new());
        for (&id, pending) in &self.requests.pending {
            let unsent = pending.unanswered == 0;
            if now >= pending.deadline || unsent && now >= pending.deadline_unsent {
                over.push((
                    id,
                    if unsent || failed {
                        Reply::NoLeader
                    } else {
                        Reply::Timeout
                    },
                ));
            } else if pending
                .sent
                .is_none_or(|(_, at)| now >= at.saturating_add(resend_after))
            {
                again.push(id);
            }
        }
        over.into_iter()
            .for_each(|(id, reply)| self.finish(id, reply));
        again.into_iter().for_each(|id| self.route(id));
    }

    /// A leader steps down. What it has not proposed did not happen, and its askers may go
    /// elsewhere.
    pub(super) fn hand_back(&mut self, leader: Leader) {
        let mut refused = Vec::new();
        for command in leader.queue {
            let name = (command.session, command.sequence);
            if let Some(waiters) = self.awaiting.get(&name) {
                refused.extend(waiters.iter().copied());
            }
        }
        refused.extend(leader.reads.into_iter().map(|read| read.waiter));
        // Others ask the next leader themselves; only this node's clients go on waiting here.
        self.awaiting.retain(|_, waiters| {
            waiters.retain(|waiter| matches!(waiter, Waiter::Local(_)));
            !waiters.is_empty()
        });
        for waiter in refused {
            match waiter {
                Waiter::Local(id) => self.refused(id, ForwardReply::NotLeader),
                Waiter::Remote(node, id) => {
                    self.send(
                        node,
                        Message::ForwardReply {
                            id,
                            reply: ForwardReply::NotLeader,
                        },
                    );
                }
            }
        }
    }

    /// Every deadline is void: they begin anew.
    pub(super) fn reset_request_clock(&mut self) {
        let (now, timeout) = (self.now, nanos(self.config.request_timeout));
        for pending in self.requests.pending.values_mut() {
            pending.deadline = now + timeout;
            pending.deadline_unsent = now + timeout;
            pending.sent = pending.sent.map(|(ballot, _)| (ballot, now));
        }
    }
}
