//! The protocol, without clock, disk or network: inputs and the time come in, effects come out.
//!
//! Multi-Paxos (Lamport, "Paxos Made Simple", 2001) with one ballot for the whole log: a leader
//! runs phase 1 once over everything undecided, then phase 2 for many slots at a time.
//! `acceptor.rs` promises and accepts, `election.rs` becomes a leader, `leader.rs` proposes,
//! `replica.rs` applies, catches up and makes snapshots, `read.rs` answers reads, `feed.rs` tells
//! of changes, `lease.rs` ends what clients hold for too long, `request.rs` keeps clients' requests
//! until they have an answer. `recovery.rs` begins with what the disk holds.
//!
//! The caller calls [`Core::step`] for each input and then [`Core::effects`], and carries the
//! effects out **in order**: what must not be said before it is on the disk is held back here,
//! until [`Input::Durable`].

mod acceptor;
mod election;
pub mod feed;
pub mod kv;
mod leader;
mod lease;
pub mod message;
mod read;
mod recovery;
mod replica;
mod request;
mod view;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nodekit::random::Random;

use crate::flaws::{Flaw, Flaws};
use feed::Told;
use kv::Kv;
use message::*;

pub use recovery::Recovered;
pub use view::{LogPage, Role, Status};

/// What the two clocks of the process show. Neither is trusted to be right, only used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of a clock that is meant to run evenly.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
}

/// What a node is told when it starts. All nodes have the same `names`.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's place in `names`.
    pub me: NodeIndex,
    /// All nodes, sorted.
    pub names: Vec<String>,
    /// A follower stands for election after between one and one and a half times this without a
    /// heartbeat; a leader steps down after this without a quorum.
    pub election_timeout: Duration,
    /// Time between heartbeats.
    pub heartbeat_interval: Duration,
    /// So long a follower promises nothing to others after a heartbeat.
    pub lease: Duration,
    /// So much earlier than the followers the leader takes its lease to end.
    pub max_drift: Duration,
    /// A request without an answer is given up after this.
    pub request_timeout: Duration,
    /// Time between [`Input::Tick`]s.
    pub tick: Duration,
    /// Whether reads use leases by default; only then are leases reported to the trace all the
    /// time.
    pub lease_reads: bool,
    /// Slots between snapshots.
    pub snapshot_every: u64,
    /// Commands in one slot at most.
    pub max_batch: usize,
    /// Planted bugs.
    pub flaws: Flaws,
    /// For election timeouts.
    pub seed: u64,
}

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Change something. With the client's own session and sequence number, if it gave them.
    Write(Option<(String, u64)>, Op),
    /// Read something.
    Read(Query, ReadMode),
    /// Follow the changes of the keys with a prefix, as this node applies them: those after a
    /// revision, or from now on. If there is none, wait so long for one.
    Watch {
        prefix: String,
        after: Option<u64>,
        wait: Duration,
    },
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out.
    Done(Answer),
    /// What this node has to tell of changes.
    Told(Told),
    /// It never went anywhere, so it surely did not happen.
    NoLeader,
    /// There is too much to do; it surely did not happen.
    Overloaded,
    /// Nobody knows.
    Timeout,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer says something.
    Message(NodeIndex, Message),
    /// A client asks something; the reply will name the id.
    Request(RequestId, Request),
    /// Time passes.
    Tick,
    /// All records up to this persist number are on the disk.
    Durable(u64),
    /// The connection to a peer is there (again).
    PeerUp(NodeIndex),
    /// The snapshot at this slot is on the disk, as these bytes.
    SnapshotSaved(Slot, Arc<Vec<u8>>),
}

/// An event for the trace. Whoever writes it adds time and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node starts with what it found on its disk. `last` is the hash of the last decided
    /// slot, unless only a snapshot has it.
    Start {
        promised: Ballot,
        accepted: Slot,
        decided: Slot,
        last: Option<Digest>,
    },
    /// The promise is on the disk and now holds.
    Promise { ballot: Ballot },
    /// The accept is on the disk and now counts.
    Accept {
        slot: Slot,
        ballot: Ballot,
        digest: Digest,
    },
    /// Phase 1 is won.
    Lead { ballot: Ballot },
    /// The leader takes its lease to hold from `age` ago for `left` from now, by the clock it uses.
    Lease {
        ballot: Ballot,
        age: Duration,
        left: Duration,
    },
    /// A read was answered under the lease.
    LeaseUsed { ballot: Ballot },
    /// The slot is decided and applied.
    Decide {
        slot: Slot,
        ballot: Ballot,
        digest: Digest,
    },
    /// A leader is none any more.
    StepDown { ballot: Ballot },
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write the records and answer [`Input::Durable`] with the number. `Err` is a number of
    /// nanoseconds for which a flaw keeps the records in memory before it even writes them; it
    /// awaits no answer.
    Persist {
        records: Vec<Record>,
        durability: Result<u64, u64>,
    },
    /// Send, maybe.
    Send(NodeIndex, Message),
    /// Send to all others, maybe.
    Broadcast(Message),
    /// Answer a client.
    Reply(RequestId, Reply),
    /// Encode and save a snapshot of this state, and answer [`Input::SnapshotSaved`].
    SaveSnapshot { slot: Slot, kv: Box<Kv> },
    /// Records of slots up to this one are not needed any more.
    Truncate(Slot),
    /// Tell the trace.
    Trace(Event),
    /// Tell the person who reads the log.
    Note(String),
}

/// A slot as a node knows it.
#[derive(Clone, Debug)]
struct Entry {
    ballot: Ballot,
    batch: Arc<Batch>,
    digest: Digest,
    /// The rolling hash up to here, once the slot is decided.
    chain: Option<Digest>,
    /// Once it is decided, by command whether it changed the state here, or could have.
    ran: Vec<bool>,
}

impl Entry {
    /// What was accepted or learned, and is not decided here yet.
    fn accepted(ballot: Ballot, batch: Arc<Batch>) -> Entry {
        let digest = batch.digest();
        Entry {
            ballot,
            batch,
            digest,
            chain: None,
            ran: Vec::new(),
        }
    }
}

/// Who wants to know how a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    Local(RequestId),
    Remote(NodeIndex, RequestId),
}

/// One node.
#[derive(Clone)]
pub struct Core {
    config: Config,
    random: Random,
    /// The time of the current step in nanoseconds, by the clock that the protocol uses.
    now: u64,
    ticks: u64,
    elections: u64,

    promised: Ballot,
    /// The highest round heard of, so that a new ballot beats it.
    round: u64,
    log: BTreeMap<Slot, Entry>,
    /// Slots up to this one are no longer in the log.
    truncated: Slot,
    kv: Kv,
    snapshots: replica::Snapshots,

    role: election::State,
    /// The ballot of the leader that sent the last heartbeat.
    leader: Option<Ballot>,
    /// When it came.
    heard: u64,
    campaign: election::Campaign,
    grant: acceptor::Grant,

    journal: acceptor::Journal,
    /// Messages of this node to itself.
    local: VecDeque<Message>,
    effects: Vec<Effect>,

    fetching: Option<replica::Fetching>,
    requests: request::Requests,
    /// Who waits for which command to be applied.
    awaiting: HashMap<(String, u64), Vec<Waiter>>,
    feed: feed::Feed,
    timers: lease::Timers,
}

impl Core {
    /// Takes in one thing that happened at `now`.
    pub fn step(&mut self, now: Now, input: Input) {
        if matches!(input, Input::Tick) {
            self.ticks += 1;
        }
        self.advance(now);
        match input {
            Input::Message(from, message) => self.receive(from, message),
            Input::Request(id, request) => self.request(id, request),
            Input::Tick => self.tick(),
            Input::Durable(number) => self.on_durable(number),
            Input::PeerUp(peer) => self.on_peer_up(peer),
            Input::SnapshotSaved(slot, bytes) => self.on_snapshot_saved(slot, bytes),
        }
        self.drain_local();
    }

    /// Proposes what was collected, and hands out everything there is to do.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.propose_queued();
        self.begin_read_round();
        self.drain_local();
        self.flush_records();
        self.tell_watchers();
        std::mem::take(&mut self.effects)
    }

    /// How much there is to do since [`Core::effects`] was called.
    pub fn waiting_effects(&self) -> usize {
        self.effects.len()
    }

    /// The events among that, without those of so many first effects.
    pub fn events_after(&self, effects: usize) -> impl Iterator<Item = &Event> {
        let since = self.effects.iter().skip(effects);
        since.filter_map(|effect| match effect {
            Effect::Trace(event) => Some(event),
            _ => None,
        })
    }

    fn drain_local(&mut self) {
        while let Some(message) = self.local.pop_front() {
            self.receive(self.config.me, message);
        }
    }

    fn receive(&mut self, from: NodeIndex, message: Message) {
        if usize::from(from) >= self.config.names.len() {
            return;
        }
        if self.trusts_its_lease_over(&message) {
            return;
        }
        match message {
            Message::PreVote { ballot } => self.on_pre_vote(from, ballot),
            Message::PreVoteReply {
                ballot,
                granted,
                promised,
            } => {
                self.on_pre_vote_reply(from, ballot, granted, promised);
            }
            Message::Prepare { ballot } => self.on_prepare(from, ballot),
            Message::Promise {
                ballot,
                decided,
                accepted,
            } => self.on_promise(from, ballot, decided, accepted),
            Message::Accept {
                ballot,
                slot,
                batch,
                decided,
            } => self.on_accept(from, ballot, slot, batch, decided),
            Message::AcceptReply { ballot, slots } => self.on_accept_reply(from, ballot, &slots),
            Message::Reject { ballot, promised } => self.on_reject(from, ballot, promised),
            Message::Heartbeat {
                ballot,
                round,
                decided,
            } => self.on_heartbeat(from, ballot, round, decided),
            Message::HeartbeatReply { ballot, round } => {
                self.on_heartbeat_reply(from, ballot, round)
            }
            Message::Fetch { from: slot } => self.on_fetch(from, slot),
            Message::Entries {
                first,
                entries,
                decided,
            } => self.on_entries(from, first, entries, decided),
            Message::FetchSnapshot { slot, offset } => self.on_fetch_snapshot(from, slot, offset),
            Message::SnapshotChunk {
                slot,
                offset,
                total,
                bytes,
            } => {
                self.on_snapshot_chunk(from, slot, offset, total, &bytes);
            }
            Message::Forward { id, ask } => self.on_forward(from, id, ask),
            Message::ForwardReply { id, reply } => self.on_forward_reply(id, reply),
        }
    }

    fn tick(&mut self) {
        self.tick_election();
        self.tick_leader();
        self.tick_fetch();
        self.tick_requests();
        self.tick_watchers();
        self.tick_leases();
    }

    /// The clock that timers and leases use.
    fn protocol_time(&self, now: Now) -> u64 {
        if self.config.flaws.has(Flaw::WallClockLease) {
            // FLAW wall-clock-lease: it can jump.
            now.wall_ns
        } else if self.config.flaws.has(Flaw::LeaseCheckedEarly) {
            // FLAW lease-checked-early: it stands still while the process does.
            self.ticks * nanos(self.config.tick)
        } else {
            now.monotonic_ns
        }
    }

    fn advance(&mut self, now: Now) {
        let time = self.protocol_time(now);
        let backwards = time < self.now;
        self.now = time;
        if backwards && !self.config.flaws.has(Flaw::WallClockLease) {
            // A clock that is meant to be monotonic ran backwards: no deadline means anything now,
            // so every one is set anew, leases given are prolonged and the lease held is dropped.
            self.note("the monotonic clock ran backwards: timers set anew, lease dropped");
            self.grant.until = time + nanos(self.config.lease);
            self.heard = time;
            self.reset_election();
            self.reset_leader_clock();
            self.reset_request_clock();
            self.reset_watchers_clock();
            self.forget_timers();
            if let Some(fetching) = &mut self.fetching {
                fetching.since = time;
            }
        }
    }

    /// How many nodes make a quorum.
    fn quorum(&self) -> usize {
        let nodes = self.config.names.len();
        // FLAW half-quorum: two quorums of half the nodes need not meet.
        if self.config.flaws.has(Flaw::HalfQuorum) {
            (nodes / 2).max(1)
        } else {
            nodes / 2 + 1
        }
    }

    fn send(&mut self, to: NodeIndex, message: Message) {
        if to == self.config.me {
            self.local.push_back(message);
        } else {
            self.effects.push(Effect::Send(to, message));
        }
    }

    /// Sends to all, this node too.
    fn broadcast(&mut self, message: Message) {
        self.effects.push(Effect::Broadcast(message.clone()));
        self.local.push_back(message);
    }

    fn trace(&mut self, event: Event) {
        self.effects.push(Effect::Trace(event));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Note(text.into()));
    }

    fn name(&self, node: NodeIndex) -> &str {
        &self.config.names[usize::from(node)]
    }
}

/// A span in nanoseconds; more than 584 years is none.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4)
}
