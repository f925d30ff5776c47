//! A world for the protocol core: time, network, disks and clients, all drawn from one seed.
//!
//! Nothing here waits: a queue of events in the order of their time is worked off. Messages are delayed, lost,
//! repeated and overtaken; nodes crash and lose what was not synced, stop and go on; clocks run at different rates
//! and the wall clock jumps. What clients saw and what nodes reported is kept for `judge.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use paxos_kv::core::message::{Message, Op, Outcome, Query, ReadMode, Record, RequestId, Slot};
use paxos_kv::core::{Config, Core, Effect, Event, Input, Now, Recovered, Reply, Request, Role};
use paxos_kv::flaws::{Flaw, Flaws};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// A client gives up after this.
const CLIENT_TIMEOUT: u64 = 1_200 * MS;
/// Long enough after the last fault for everything to be well again.
const QUIET: u64 = 6 * SECOND;

/// A family of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Partition,
    Pause,
    Kill,
    Clock,
    /// Any of them.
    All,
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub fault: Fault,
    pub reads: ReadMode,
    pub flaw: Option<Flaw>,
    pub snapshot_every: u64,
    pub length: Duration,
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Put(u64),
    Cas(Option<u64>, u64),
    Get,
    Append(u64),
    List,
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Written,
    Swapped(bool),
    Value(Option<u64>),
    List(Vec<u64>),
    /// It surely did not happen.
    Failed,
}

/// One operation of a client. `seen` and `end` are missing when nobody knows.
#[derive(Clone, Debug)]
pub struct Operation {
    pub key: String,
    pub ask: Ask,
    pub start: u64,
    pub end: Option<u64>,
    pub seen: Option<Seen>,
}

/// Everything that is judged.
pub struct Run {
    pub operations: Vec<Operation>,
    /// Time, node, event, in the order of time.
    pub events: Vec<(u64, usize, Event)>,
    /// Decided slot, chain and state of each node at the end.
    pub ends: Vec<(Slot, String, Vec<u8>)>,
    pub names: usize,
}

enum Happening {
    Deliver {
        from: usize,
        to: usize,
        message: Message,
    },
    PeerUp {
        node: usize,
        peer: usize,
    },
    Tick {
        node: usize,
    },
    DiskDone {
        node: usize,
        life: u64,
        records: Vec<Record>,
        number: Option<u64>,
    },
    SnapshotDone {
        node: usize,
        life: u64,
        slot: Slot,
        bytes: Arc<Vec<u8>>,
    },
    Client {
        client: usize,
    },
    GiveUp {
        client: usize,
        operation: usize,
    },
    Fault,
    Heal {
        number: u64,
    },
    Restart {
        node: usize,
    },
    Resume {
        node: usize,
    },
}

#[derive(Default)]
struct Disk {
    records: Vec<Record>,
    snapshot: Option<Arc<Vec<u8>>>,
    incarnation: u64,
    /// When the last write in the queue is done.
    busy_until: u64,
    /// Writes that are not done, for a crash to do or to lose.
    queued: Vec<(u64, Vec<Record>)>,
}

struct Node {
    core: Option<Core>,
    life: u64,
    disk: Disk,
    paused: bool,
    /// What came while it was paused.
    inbox: Vec<Input>,
    rate_ppm: i64,
    wall_jump: i64,
    requests: BTreeMap<RequestId, (usize, usize)>,
    next_request: RequestId,
}

struct Client {
    /// The operation that it waits for.
    waits: Option<usize>,
}

pub struct Sim {
    plan: Plan,
    rng: ChaCha8Rng,
    now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    nodes: Vec<Node>,
    cut: Vec<Vec<bool>>,
    cuts: u64,
    clients: Vec<Client>,
    operations: Vec<Operation>,
    events: Vec<(u64, usize, Event)>,
    value: u64,
}

/// Runs the plan to its end.
pub fn run(plan: &Plan) -> Run {
    let mut sim = Sim::new(plan.clone());
    let end = plan.length.as_nanos() as u64;
    sim.run_until(end);
    sim.mend();
    sim.run_until(end + QUIET);
    let ends = sim.nodes.iter().map(|node| {
        let core = node.core.as_ref().expect("all nodes run after mend()");
        (
            core.status().decided,
            core.status().chain.to_string(),
            core.kv().encode(),
        )
    });
    Run {
        ends: ends.collect(),
        operations: sim.operations,
        events: sim.events,
        names: plan.nodes,
    }
}

impl Sim {
    fn new(plan: Plan) -> Sim {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let nodes = (0..plan.nodes).map(|_| Node {
            core: None,
            life: 0,
            disk: Disk::default(),
            paused: false,
            inbox: Vec::new(),
            // Two clocks then drift by at most 2 percent, of a lease of 400 ms: 8 ms of the 50 allowed.
            rate_ppm: rng.random_range(-10_000..=10_000),
            wall_jump: 0,
            requests: BTreeMap::new(),
            next_request: 1,
        });
        let mut sim = Sim {
            nodes: nodes.collect(),
            cut: vec![vec![false; plan.nodes]; plan.nodes],
            rng,
            plan,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            cuts: 0,
            clients: (0..5).map(|_| Client { waits: None }).collect(),
            operations: Vec::new(),
            events: Vec::new(),
            value: 0,
        };
        for node in 0..sim.nodes.len() {
            sim.start(node);
            sim.after(0, 20 * MS, Happening::Tick { node });
        }
        for client in 0..sim.clients.len() {
            sim.after(SECOND, 2 * SECOND, Happening::Client { client });
        }
        sim.after(2 * SECOND, 3 * SECOND, Happening::Fault);
        sim
    }

    /// Something happens between `least` and `most` from now.
    fn after(&mut self, least: u64, most: u64, happening: Happening) {
        let time = self.now + self.rng.random_range(least..=most);
        self.order += 1;
        self.queue.push(Reverse((time, self.order)));
        self.happenings.insert(self.order, happening);
    }

    fn run_until(&mut self, end: u64) {
        while let Some(&Reverse((time, order))) = self.queue.peek() {
            if time > end {
                break;
            }
            self.queue.pop();
            self.now = time;
            let happening = self.happenings.remove(&order).expect("queued with it");
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { from, to, message } => {
                if !self.cut[from][to] {
                    self.input(to, Input::Message(from as u16, message));
                }
            }
            Happening::PeerUp { node, peer } => {
                if !self.cut[node][peer] && self.nodes[peer].core.is_some() {
                    self.input(node, Input::PeerUp(peer as u16));
                }
            }
            Happening::Tick { node } => {
                if !self.nodes[node].paused {
                    self.input(node, Input::Tick);
                }
                self.after(19 * MS, 21 * MS, Happening::Tick { node });
            }
            Happening::DiskDone {
                node,
                life,
                records,
                number,
            } => {
                if self.nodes[node].life == life {
                    self.nodes[node]
                        .disk
                        .queued
                        .retain(|(queued, _)| Some(*queued) != number);
                    self.nodes[node].disk.records.extend(records);
                    if let Some(number) = number {
                        self.input(node, Input::Durable(number));
                    }
                }
            }
            Happening::SnapshotDone {
                node,
                life,
                slot,
                bytes,
            } => {
                if self.nodes[node].life == life {
                    self.nodes[node].disk.snapshot = Some(bytes);
                    self.input(node, Input::SnapshotSaved(slot));
                }
            }
            Happening::Client { client } => self.ask(client),
            Happening::GiveUp { client, operation } => {
                if self.clients[client].waits == Some(operation) {
                    self.clients[client].waits = None;
                    self.after(MS, 20 * MS, Happening::Client { client });
                }
            }
            Happening::Fault => self.fault(),
            Happening::Heal { number } => {
                if number == self.cuts {
                    self.heal();
                }
            }
            Happening::Restart { node } => self.start(node),
            Happening::Resume { node } => self.resume(node),
        }
    }

    fn clock(&self, node: usize) -> Now {
        let node = &self.nodes[node];
        let monotonic =
            SECOND + self.now + (self.now / 1_000_000).saturating_mul(node.rate_ppm.unsigned_abs());
        let monotonic = if node.rate_ppm < 0 {
            SECOND + self.now - (self.now / 1_000_000) * node.rate_ppm.unsigned_abs()
        } else {
            monotonic
        };
        let wall = (1_800_000_000 * SECOND + self.now).saturating_add_signed(node.wall_jump);
        Now {
            monotonic_ns: monotonic,
            wall_ns: wall,
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].core.is_some() {
            return;
        }
        let config = Config {
            me: node as u16,
            names: (1..=self.nodes.len()).map(|n| format!("n{n}")).collect(),
            election_timeout: Duration::from_millis(500),
            heartbeat_interval: Duration::from_millis(100),
            lease: Duration::from_millis(400),
            max_drift: Duration::from_millis(50),
            request_timeout: Duration::from_secs(2),
            tick: Duration::from_millis(20),
            lease_reads: self.plan.reads == ReadMode::Lease,
            snapshot_every: self.plan.snapshot_every,
            max_batch: 16,
            flaws: Flaws::from_iter(self.plan.flaw),
            seed: self.rng.random(),
        };
        let now = self.clock(node);
        let disk = &mut self.nodes[node].disk;
        disk.incarnation += 1;
        disk.busy_until = 0;
        let recovered = Recovered {
            incarnation: disk.incarnation,
            snapshot: disk.snapshot.clone(),
            records: disk.records.clone(),
        };
        let core = Core::new(config, recovered, now).expect("the disk holds what was written");
        self.nodes[node].core = Some(core);
        self.nodes[node].life += 1;
        self.carry_out(node);
        for peer in (0..self.nodes.len()).filter(|&peer| peer != node) {
            self.after(MS, 100 * MS, Happening::PeerUp { node, peer });
            self.after(
                MS,
                100 * MS,
                Happening::PeerUp {
                    node: peer,
                    peer: node,
                },
            );
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        if self.nodes[node].paused {
            self.nodes[node].inbox.push(input);
            return;
        }
        let now = self.clock(node);
        if let Some(core) = &mut self.nodes[node].core {
            core.step(now, input);
            self.carry_out(node);
        }
    }

    fn carry_out(&mut self, node: usize) {
        let Some(core) = &mut self.nodes[node].core else {
            return;
        };
        for effect in core.effects() {
            match effect {
                Effect::Trace(event) => self.events.push((self.now, node, event)),
                Effect::Note(_) => {}
                Effect::Send(to, message) => self.transmit(node, usize::from(to), message),
                Effect::Broadcast(message) => {
                    for to in (0..self.nodes.len()).filter(|&to| to != node) {
                        self.transmit(node, to, message.clone());
                    }
                }
                Effect::Persist { records, durability } => self.persist(node, records, durability),
                Effect::SaveSnapshot { slot, bytes } => {
                    let life = self.nodes[node].life;
                    self.after(MS, 50 * MS, Happening::SnapshotDone { node, life, slot, bytes });
                }
                Effect::Truncate(until) => self.nodes[node].disk.records.retain(
                    |record| !matches!(record, Record::Accepted(accepted) if accepted.slot <= until),
                ),
                Effect::Reply(id, reply) => self.reply(node, id, reply),
            }
        }
    }

    fn persist(&mut self, node: usize, records: Vec<Record>, durability: Result<u64, u64>) {
        let life = self.nodes[node].life;
        match durability {
            Ok(number) => {
                // Writes are done one after the other.
                let wait = self.nodes[node].disk.busy_until.saturating_sub(self.now);
                let time = wait + self.rng.random_range(MS / 10..=3 * MS);
                self.nodes[node].disk.busy_until = self.now + time;
                self.nodes[node].disk.queued.push((number, records.clone()));
                self.after(
                    time,
                    time,
                    Happening::DiskDone {
                        node,
                        life,
                        records,
                        number: Some(number),
                    },
                );
            }
            Err(delay) => self.after(
                delay,
                delay,
                Happening::DiskDone {
                    node,
                    life,
                    records,
                    number: None,
                },
            ),
        }
    }

    fn transmit(&mut self, from: usize, to: usize, message: Message) {
        // A request that one node sends for its client travels at most once; see `Pending::unanswered`.
        let once = matches!(
            message,
            Message::Forward { .. } | Message::ForwardReply { .. }
        );
        if self.cut[from][to] || self.rng.random_ratio(1, 200) {
            return;
        }
        let slow = if self.rng.random_ratio(1, 50) {
            60 * MS
        } else {
            2 * MS
        };
        if !once && self.rng.random_ratio(1, 100) {
            self.after(
                MS / 5,
                100 * MS,
                Happening::Deliver {
                    from,
                    to,
                    message: message.clone(),
                },
            );
        }
        self.after(MS / 5, slow, Happening::Deliver { from, to, message });
    }

    fn ask(&mut self, client: usize) {
        let node = self.rng.random_range(0..self.nodes.len());
        self.value += 1;
        let value = self.value;
        let register = format!("r{}", self.operations.len() / 200);
        let (key, ask) = match self.rng.random_range(0..100) {
            0..20 => (register, Ask::Put(value)),
            20..30 => (register.clone(), Ask::Cas(self.last_seen(&register), value)),
            30..50 => (register, Ask::Get),
            50..75 => ("list".to_owned(), Ask::Append(value)),
            _ => ("list".to_owned(), Ask::List),
        };
        let operation = self.operations.len();
        let request = request(&key, &ask, self.plan.reads);
        self.operations.push(Operation {
            key,
            ask,
            start: self.now,
            end: None,
            seen: None,
        });
        if self.nodes[node].core.is_none() {
            // The connection is refused.
            return self.done(client, operation, Seen::Failed);
        }
        self.clients[client].waits = Some(operation);
        self.after(
            CLIENT_TIMEOUT,
            CLIENT_TIMEOUT,
            Happening::GiveUp { client, operation },
        );
        let id = self.nodes[node].next_request;
        self.nodes[node].next_request += 1;
        self.nodes[node].requests.insert(id, (client, operation));
        self.input(node, Input::Request(id, request));
    }

    /// What a client that compares would compare with.
    fn last_seen(&self, key: &str) -> Option<u64> {
        self.operations
            .iter()
            .rev()
            .take(50)
            .filter(|operation| operation.key == key)
            .find_map(|operation| match (&operation.ask, &operation.seen) {
                (_, Some(Seen::Value(value))) => *value,
                (Ask::Put(value), Some(Seen::Written))
                | (Ask::Cas(_, value), Some(Seen::Swapped(true))) => Some(*value),
                _ => None,
            })
    }

    fn reply(&mut self, node: usize, id: RequestId, reply: Reply) {
        let Some((client, operation)) = self.nodes[node].requests.remove(&id) else {
            return;
        };
        if self.clients[client].waits != Some(operation) {
            return;
        }
        let seen = match reply {
            Reply::NoLeader | Reply::Overloaded => Seen::Failed,
            Reply::Timeout => {
                self.clients[client].waits = None;
                return self.after(MS, 20 * MS, Happening::Client { client });
            }
            Reply::Done(answer) => match answer.outcome {
                Outcome::Written | Outcome::Appended { .. } => Seen::Written,
                Outcome::Swapped => Seen::Swapped(true),
                Outcome::NotSwapped { .. } => Seen::Swapped(false),
                Outcome::Value(value) => match self.operations[operation].ask {
                    Ask::List => Seen::List(
                        value.map_or(Vec::new(), |text| serde_json::from_str(&text).unwrap()),
                    ),
                    _ => Seen::Value(value.map(|text| text.parse().unwrap())),
                },
                other => panic!("no client asked for {other:?}"),
            },
        };
        self.done(client, operation, seen);
    }

    fn done(&mut self, client: usize, operation: usize, seen: Seen) {
        self.operations[operation].end = Some(self.now);
        self.operations[operation].seen = Some(seen);
        self.clients[client].waits = None;
        self.after(MS, 50 * MS, Happening::Client { client });
    }

    fn leader(&self) -> Option<usize> {
        let leads = |node: &Node| {
            node.core
                .as_ref()
                .is_some_and(|core| core.status().role == Role::Leader)
        };
        self.nodes.iter().position(leads)
    }

    /// One to all nodes, the leader more often than by chance.
    fn targets(&mut self) -> Vec<usize> {
        let count = self.nodes.len();
        let mut nodes: Vec<usize> = (0..count).collect();
        match (self.rng.random_range(0..6), self.leader()) {
            (0..=1, Some(leader)) => vec![leader],
            (2, _) => nodes,
            (choice, _) => {
                for index in (1..count).rev() {
                    let other = self.rng.random_range(0..=index);
                    nodes.swap(index, other);
                }
                nodes.truncate(match choice {
                    3 => 1,
                    4 => count / 2,
                    _ => count / 2 + 1,
                });
                nodes
            }
        }
    }

    fn fault(&mut self) {
        let length = self.rng.random_range(300 * MS..4 * SECOND);
        let family = match self.plan.fault {
            Fault::All => [Fault::Partition, Fault::Pause, Fault::Kill, Fault::Clock]
                [self.rng.random_range(0..4)],
            family => family,
        };
        let targets = self.targets();
        match family {
            Fault::Partition => {
                self.heal();
                let one_way = self.rng.random_ratio(1, 4);
                for from in 0..self.nodes.len() {
                    for to in 0..self.nodes.len() {
                        let (a, b) = (targets.contains(&from), targets.contains(&to));
                        self.cut[from][to] = if one_way { a && !b } else { a != b };
                    }
                }
                let number = self.cuts;
                self.after(length, length, Happening::Heal { number });
            }
            Fault::Pause => {
                for node in targets {
                    if !self.nodes[node].paused && self.nodes[node].core.is_some() {
                        self.nodes[node].paused = true;
                        self.after(length, length, Happening::Resume { node });
                    }
                }
            }
            Fault::Kill => {
                for node in targets {
                    self.kill(node);
                    self.after(length, length + 300 * MS, Happening::Restart { node });
                }
            }
            Fault::Clock => {
                for node in targets {
                    let jump = self.rng.random_range(50 * MS..10 * SECOND) as i64;
                    self.nodes[node].wall_jump += if self.rng.random() { jump } else { -jump };
                }
            }
            Fault::All => unreachable!("drawn above"),
        }
        let pause = self.rng.random_range(500 * MS..2 * SECOND);
        self.after(length + pause, length + pause, Happening::Fault);
    }

    fn kill(&mut self, node: usize) {
        let rng = &mut self.rng;
        let node = &mut self.nodes[node];
        if node.paused || node.core.take().is_none() {
            return;
        }
        node.life += 1;
        node.requests.clear();
        // Of the writes that were not done a part may have been.
        for (_, records) in std::mem::take(&mut node.disk.queued) {
            if rng.random() {
                break;
            }
            node.disk.records.extend(records);
        }
    }

    fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for input in std::mem::take(&mut self.nodes[node].inbox) {
            self.input(node, input);
        }
        self.input(node, Input::Tick);
    }

    fn heal(&mut self) {
        self.cuts += 1;
        for node in 0..self.nodes.len() {
            for peer in 0..self.nodes.len() {
                if std::mem::take(&mut self.cut[node][peer]) {
                    self.after(MS, 300 * MS, Happening::PeerUp { node, peer });
                }
            }
        }
    }

    /// Ends all faults for good.
    fn mend(&mut self) {
        self.happenings.iter_mut().for_each(|(_, happening)| {
            if matches!(happening, Happening::Fault) {
                // The place in the queue stays; what happens there is nothing.
                *happening = Happening::Heal { number: u64::MAX };
            }
        });
        self.heal();
        for node in 0..self.nodes.len() {
            if self.nodes[node].paused {
                self.resume(node);
            }
            self.start(node);
        }
    }
}

fn request(key: &str, ask: &Ask, reads: ReadMode) -> Request {
    let key = key.to_owned();
    match ask {
        Ask::Put(value) => Request::Write(
            None,
            Op::Put {
                key,
                value: value.to_string(),
            },
        ),
        Ask::Cas(from, to) => Request::Write(
            None,
            Op::Cas {
                key,
                from: from.map(|value| value.to_string()),
                to: to.to_string(),
            },
        ),
        Ask::Append(value) => Request::Write(
            None,
            Op::Append {
                key,
                element: value.to_string(),
            },
        ),
        Ask::Get | Ask::List => Request::Read(Query::Get { key }, reads),
    }
}
