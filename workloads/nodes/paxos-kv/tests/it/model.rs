//! All schedules of a small world, one after the other: three nodes, two elections, two slots, one
//! crash.
//!
//! The simulation draws schedules; here none is left out that is no longer than the bound. A step
//! is one of: a node stands for election and another one promises; a message arrives; a node dies,
//! also of a message, with what that had it write or without, and starts again; a leader's timer
//! fires. Messages arrive in any order, or never. After every step the invariants of the simulation
//! must hold.
//!
//! Two schedules that give every node the same inputs in the same order lead to one state, for what
//! a node does depends on its inputs alone, and what is on its way is what was sent and has not
//! arrived. So a state is known by its nodes' pasts, and is visited once.
//!
//! What is left out: votes before an election are granted; of phase 1 only one promise beside the
//! candidate's own is heard of; disks write at once, unless the node dies; refusals, catching up
//! and heartbeats that tell no decision are lost; there are no leases and no snapshots. With three
//! nodes `stale-ballot-decides` cannot show: whoever promised the higher ballot had told it what
//! the lower one's leader had it accept, or refuses to accept that later.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use paxos_kv::core::message::{Ballot, Message, Op, Record, Slot};
use paxos_kv::core::{Config, Core, Effect, Event, Input, Now, Recovered, Request, Role};
use paxos_kv::flaws::{Flaw, Flaws};

use crate::judge::Watch;

const NODES: usize = 3;
/// Messages of later slots are lost.
const SLOTS: Slot = 2;
const ELECTION: Duration = Duration::from_millis(500);
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How far the exploration goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    steps: u32,
    elections: u8,
    crashes: u8,
    /// Firings of leaders' timers, at which they tell what is decided and ask again who did not
    /// answer.
    timers: u8,
}

/// A node, its disk and its clock.
#[derive(Clone)]
struct Node {
    core: Core,
    now: Duration,
    disk: Vec<Record>,
    incarnation: u64,
    /// A hash of all that ever happened to it.
    past: u64,
}

#[derive(Clone)]
struct Packet {
    from: usize,
    to: usize,
    message: Arc<Message>,
    /// Of its content.
    hash: u64,
}

#[derive(Clone)]
struct World {
    nodes: [Arc<Node>; NODES],
    flying: Vec<Packet>,
    watch: Watch,
    left: Bounds,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    /// Stands for election, and the other one is the first to promise.
    Elect(usize, usize),
    Deliver(usize),
    Die(usize),
    /// The receiver of this packet dies of it, and what it writes is done, or is not.
    DieOf(usize, bool),
    Timer(usize),
}

/// What an exploration saw.
#[derive(Default, Debug)]
struct Explored {
    states: usize,
    /// States in which a second leader leads, in which a node has decided the last slot, and after
    /// a crash.
    second_leader: usize,
    all_decided: usize,
    crashed: usize,
    /// What was wrong, and the steps that led there.
    wrong: Option<(Vec<String>, Vec<Step>)>,
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn config(node: usize, flaw: Option<Flaw>) -> Config {
    Config {
        me: node as u16,
        names: (1..=NODES).map(|n| format!("n{n}")).collect(),
        election_timeout: ELECTION,
        heartbeat_interval: HEARTBEAT,
        // Without leases nobody refuses a candidate because of the time.
        lease: Duration::ZERO,
        max_drift: Duration::ZERO,
        request_timeout: Duration::from_secs(3_600),
        tick: Duration::from_millis(20),
        lease_reads: false,
        snapshot_every: 1_000,
        max_batch: 16,
        flaws: Flaws::from_iter(flaw),
        seed: 7,
    }
}

impl Node {
    fn started(node: usize, flaw: Option<Flaw>, incarnation: u64, disk: Vec<Record>) -> Node {
        let recovered = Recovered {
            incarnation,
            snapshot: None,
            records: disk.clone(),
        };
        let core = Core::new(config(node, flaw), recovered, Now::default());
        Node {
            core: core.expect("there is no snapshot to be damaged"),
            now: Duration::ZERO,
            disk,
            incarnation,
            past: incarnation,
        }
    }

    fn leads(&self) -> bool {
        self.core.status().role == Role::Leader
    }
}

impl World {
    fn new(flaw: Option<Flaw>, left: Bounds) -> World {
        let node = |node| Arc::new(Node::started(node, flaw, 1, Vec::new()));
        let mut world = World {
            nodes: [node(0), node(1), node(2)],
            flying: Vec::new(),
            watch: Watch::new(NODES),
            left,
        };
        (0..NODES).for_each(|node| world.settle(node));
        world
    }

    fn key(&self) -> u64 {
        hash_of(self.nodes.each_ref().map(|node| node.past))
    }

    /// Everything that may happen next.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.left.steps == 0 {
            return steps;
        }
        let deliveries = 0..self.flying.len();
        steps.extend(deliveries.filter_map(|index| {
            let packet = &self.flying[index];
            // Of two packets that are the same it does not matter which comes.
            let same = |other: &Packet| other.hash == packet.hash;
            let again = self.flying[..index].iter().any(same);
            (!again && self.matters(packet)).then_some(Step::Deliver(index))
        }));
        for (index, node) in self.nodes.iter().enumerate() {
            if self.left.elections > 0 && !node.leads() {
                // Names are symmetric, so of those who know nothing yet the first stands, and the
                // second promises.
                let fresh = self.nodes.iter().all(|node| node.past == node.incarnation);
                let voters = (0..NODES).filter(|&voter| voter != index);
                let elections = voters.map(|voter| Step::Elect(index, voter));
                steps.extend(elections.filter(|step| !fresh || *step == Step::Elect(0, 1)));
            }
            if self.left.timers > 0 && node.leads() {
                steps.push(Step::Timer(index));
            }
            if self.left.crashes > 0 && node.past != node.incarnation {
                steps.push(Step::Die(index));
            }
        }
        if self.left.crashes > 0 {
            let deliveries = steps.clone().into_iter();
            steps.extend(deliveries.flat_map(|step| match step {
                Step::Deliver(index) => vec![Step::DieOf(index, false), Step::DieOf(index, true)],
                _ => Vec::new(),
            }));
        }
        steps
    }

    fn take(&mut self, step: Step, flaw: Option<Flaw>) {
        self.left.steps -= 1;
        match step {
            Step::Elect(node, voter) => {
                self.left.elections -= 1;
                self.elect(node, voter);
            }
            Step::Deliver(index) => {
                let (to, past, input) = self.arrives(index);
                self.input(to, past, input);
            }
            Step::Die(node) => self.die(node, flaw),
            Step::DieOf(index, written) => {
                let (to, past, input) = self.arrives(index);
                let it = Arc::make_mut(&mut self.nodes[to]);
                it.past = hash_of((it.past, past, written));
                it.core.step(now(it.now), input);
                let records = self
                    .carry_out(to)
                    .map_or(Vec::new(), |(records, _)| records);
                if written {
                    Arc::make_mut(&mut self.nodes[to]).disk.extend(records);
                }
                self.die(to, flaw);
            }
            Step::Timer(node) => {
                self.left.timers -= 1;
                Arc::make_mut(&mut self.nodes[node]).now += 2 * HEARTBEAT;
                self.input(node, 4, Input::Tick);
            }
        }
    }

    /// Whether its receiver could do anything with it but refuse it.
    fn matters(&self, packet: &Packet) -> bool {
        let status = self.nodes[packet.to].core.status();
        match &*packet.message {
            Message::Promise { .. } => status.role == Role::Candidate,
            Message::AcceptReply { ballot, .. } => {
                status.role == Role::Leader && status.leader == Some(*ballot)
            }
            _ => true,
        }
    }

    fn arrives(&mut self, index: usize) -> (usize, u64, Input) {
        let Packet {
            from,
            to,
            message,
            hash,
        } = self.flying.remove(index);
        let message = Arc::unwrap_or_clone(message);
        (to, hash, Input::Message(from as u16, message))
    }

    /// Dies and starts again.
    fn die(&mut self, node: usize, flaw: Option<Flaw>) {
        self.left.crashes -= 1;
        let it = &self.nodes[node];
        let mut again = Node::started(node, flaw, it.incarnation + 1, it.disk.clone());
        (again.past, again.now) = (hash_of((it.past, "dies")), it.now);
        self.nodes[node] = Arc::new(again);
        self.settle(node);
    }

    /// Its patience is over, and a quorum would vote for it.
    fn elect(&mut self, node: usize, voter: usize) {
        Arc::make_mut(&mut self.nodes[node]).now += 100 * ELECTION;
        self.input(node, 5, Input::Tick);
        let status = self.nodes[node].core.status();
        let round = status.promised.round;
        // It asks in the round after the highest that it has heard of, which is one of these.
        for round in round + 1..=round + 3 {
            let ballot = Ballot {
                round,
                node: node as u16,
            };
            let (granted, promised) = (true, status.promised);
            let vote = Message::PreVoteReply {
                ballot,
                granted,
                promised,
            };
            self.input(node, 6, Input::Message(voter as u16, vote));
        }
        // The way there and back as one step: what others do meanwhile they may as well do before
        // or after.
        for (from, to) in [(node, voter), (voter, node)] {
            let phase_1 = |packet: &Packet| {
                let message = &*packet.message;
                (packet.from, packet.to) == (from, to)
                    && matches!(message, Message::Prepare { .. } | Message::Promise { .. })
            };
            if let Some(index) = self.flying.iter().rposition(phase_1) {
                let (to, past, input) = self.arrives(index);
                self.input(to, past, input);
            }
        }
        // Whoever is not asked hears of the ballot when it is to accept something.
        let asked = |packet: &Packet| matches!(&*packet.message, Message::Prepare { .. });
        self.flying.retain(|packet| !asked(packet));
    }

    fn input(&mut self, node: usize, past: u64, input: Input) {
        let it = Arc::make_mut(&mut self.nodes[node]);
        it.past = hash_of((it.past, past));
        it.core.step(now(it.now), input);
        self.settle(node);
    }

    /// Does what the node wants, and has its disk write until there is nothing to write.
    fn settle(&mut self, node: usize) {
        while let Some((records, number)) = self.carry_out(node) {
            let it = Arc::make_mut(&mut self.nodes[node]);
            it.disk.extend(records);
            it.core.step(now(it.now), Input::Durable(number));
        }
    }

    /// What is to be written, and the number to say so with.
    fn carry_out(&mut self, node: usize) -> Option<(Vec<Record>, u64)> {
        let it = Arc::make_mut(&mut self.nodes[node]);
        let effects = it.core.effects();
        let mut write = None;
        let mut leads = false;
        for effect in &effects {
            if let Effect::Trace(event) = effect {
                leads |= matches!(event, Event::Lead { .. });
                self.watch.event(0, node, &it.core, event);
            }
        }
        self.watch.state(0, node, &it.core);
        for effect in effects {
            match effect {
                Effect::Persist {
                    records,
                    durability: Ok(number),
                } => write = Some((records, number)),
                Effect::Send(to, message) => self.flying.extend(packet(node, to.into(), &message)),
                Effect::Broadcast(message) => {
                    let others = (0..NODES).filter(|&to| to != node);
                    self.flying
                        .extend(others.filter_map(|to| packet(node, to, &message)));
                }
                // What a flaw keeps in memory is lost in a crash, and nobody waits for it.
                _ => {}
            }
        }
        if leads {
            let ballot = self.nodes[node].core.status().leader;
            let op = Op::Put {
                key: "k".to_owned(),
                value: format!("\"{ballot:?}\""),
            };
            let it = Arc::make_mut(&mut self.nodes[node]);
            it.core
                .step(now(it.now), Input::Request(1, Request::Write(None, op)));
            if let Some((more, number)) = self.carry_out(node) {
                let mut records = write.map_or(Vec::new(), |(records, _)| records);
                records.extend(more);
                write = Some((records, number));
            }
        }
        write
    }
}

fn now(since: Duration) -> Now {
    let ns = since.as_nanos() as u64;
    Now {
        monotonic_ns: ns,
        wall_ns: ns,
    }
}

/// A message on its way, unless it is one of those that are lost.
fn packet(from: usize, to: usize, message: &Message) -> Option<Packet> {
    let kept = match message {
        Message::Prepare { .. } | Message::Promise { .. } => true,
        Message::Accept { slot, .. } => *slot <= SLOTS,
        Message::AcceptReply { slots, .. } => slots.iter().any(|slot| *slot <= SLOTS),
        Message::Heartbeat { decided, .. } => *decided > 0,
        _ => false,
    };
    let bytes = || postcard::to_stdvec(message).expect("plain data has an encoding");
    kept.then(|| Packet {
        from,
        to,
        message: Arc::new(message.clone()),
        hash: hash_of((from, to, bytes())),
    })
}

/// Visits every state within the bounds, or stops at the first in which something is wrong.
fn explore(flaw: Option<Flaw>, bounds: Bounds) -> Explored {
    let mut explored = Explored::default();
    let mut visited = HashSet::new();
    let mut stack = vec![(World::new(flaw, bounds), Vec::new())];
    while let Some((world, path)) = stack.pop() {
        if !visited.insert(world.key()) {
            continue;
        }
        explored.states += 1;
        let statuses = world.nodes.each_ref().map(|node| node.core.status());
        let leads = statuses.iter().filter(|status| status.role == Role::Leader);
        explored.second_leader += usize::from(world.left.elections == 0 && leads.count() > 0);
        explored.all_decided += usize::from(statuses.iter().any(|s| s.decided >= SLOTS));
        explored.crashed += usize::from(world.left.crashes < bounds.crashes);
        if !world.watch.wrong.is_empty() {
            explored.wrong = Some((world.watch.wrong, path));
            break;
        }
        for step in world.steps() {
            let (mut next, mut path) = (world.clone(), path.clone());
            next.take(step, flaw);
            path.push(step);
            stack.push((next, path));
        }
    }
    explored
}

/// Two leaders, and enough steps for each to have both slots decided.
const ELECTIONS: Bounds = Bounds {
    steps: 11,
    elections: 2,
    crashes: 0,
    timers: 0,
};

/// One node dies besides.
const CRASH: Bounds = Bounds {
    steps: 8,
    crashes: 1,
    ..ELECTIONS
};

/// A leader's timer fires besides.
const TIMER: Bounds = Bounds {
    steps: 8,
    timers: 1,
    ..ELECTIONS
};

#[test]
fn no_schedule_of_a_small_world_is_wrong() {
    for bounds in [ELECTIONS, CRASH, TIMER] {
        let begun = std::time::Instant::now();
        let explored = explore(None, bounds);
        let seconds = begun.elapsed().as_secs_f64();
        println!("{bounds:?}: {explored:?} in {seconds:.1} s");
        assert!(explored.wrong.is_none(), "{:#?}", explored.wrong);
        // A world in which nothing happens is never wrong.
        assert!(explored.second_leader > 1_000 && explored.all_decided > 100);
        assert_eq!(explored.crashed > 0, bounds.crashes > 0);
    }
}

#[test]
fn some_schedule_of_a_small_world_shows_each_of_these_flaws() {
    for (flaw, bounds) in [
        (Flaw::HalfQuorum, ELECTIONS),
        (Flaw::EarlyAck, ELECTIONS),
        (Flaw::IgnoreAccepted, ELECTIONS),
        (Flaw::AcceptBelowPromise, ELECTIONS),
        (Flaw::BallotReuse, CRASH),
        (Flaw::UnsyncedPromise, CRASH),
        (Flaw::UnsyncedAccept, CRASH),
        (Flaw::RejoinEmpty, CRASH),
        (Flaw::AcksCountedTwice, TIMER),
        (Flaw::CommitAnyBallot, TIMER),
    ] {
        let explored = explore(Some(flaw), bounds);
        let Some((wrong, path)) = explored.wrong else {
            panic!("{flaw}: nothing is wrong in {} states", explored.states);
        };
        println!(
            "{flaw}: after {} states: {}: {path:?}",
            explored.states, wrong[0]
        );
    }
}
