//! A world for the protocol core: time, network, disks and clients, all drawn from one seed.
//!
//! Nothing here waits: a queue of events in the order of their time is worked off. Messages are
//! delayed, lost, repeated and overtaken; nodes crash and lose what was not synced, stop and go on;
//! clocks run at different rates and the wall clock jumps. How much of that, [`Rough`] says. What
//! must hold after every step is looked at after every step; what clients saw is kept for
//! `judge.rs`.

mod clients;
mod disk;
mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nodekit::testing::agenda::{Agenda, Cuts};
use paxos_kv::core::message::{Message, ReadMode, Record, RequestId, Slot};
use paxos_kv::core::{Config, Core, Effect, Event, Input, Now, Recovered};
use paxos_kv::flaws::{Flaw, Flaws};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::judge::Watch;
use disk::Disk;

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

impl Fault {
    fn kills(self) -> bool {
        matches!(self, Fault::Kill | Fault::All)
    }
}

/// How rough the world is. Shares are in millionths.
#[derive(Clone, Copy, Debug)]
pub struct Rough {
    /// Messages that are lost, and that come twice.
    pub loss: u32,
    pub repeat: u32,
    /// Messages that take up to `slow_ms`; the others take up to 2 ms.
    pub slow: u32,
    pub slow_ms: u64,
    /// A write of the log takes up to so long, and to save a snapshot.
    pub sync_ms: u64,
    pub save_ms: u64,
    /// Effects before which the node dies, to start again soon.
    pub crash: u32,
    /// From one fault's beginning to the next one's, and how long one lasts at most. With a gap of
    /// zero the next one begins 0.5 to 2 s after the end.
    pub gap_ms: u64,
    pub fault_ms: u64,
    /// Each clock runs too fast or too slow by up to so much.
    pub drift: i64,
}

impl Rough {
    /// About what machines in one room have.
    pub const MILD: Rough = Rough {
        loss: 5_000,
        repeat: 10_000,
        slow: 20_000,
        slow_ms: 60,
        sync_ms: 3,
        save_ms: 50,
        crash: 0,
        gap_ms: 0,
        fault_ms: 4_000,
        // Two clocks then drift by at most 2 percent, of a lease of 400 ms: 8 ms of the 50 allowed.
        drift: 10_000,
    };

    /// All that the protocol's model of the world allows, more of one thing or of another by seed.
    pub fn hostile(seed: u64) -> Rough {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0b5e_55ed);
        let mut one_of = |choices: &[u64]| choices[rng.random_range(0..choices.len())];
        Rough {
            loss: one_of(&[0, 5_000, 20_000, 100_000]) as u32,
            repeat: one_of(&[0, 10_000, 100_000]) as u32,
            slow: one_of(&[0, 20_000, 200_000]) as u32,
            slow_ms: one_of(&[60, 300, 1_000]),
            sync_ms: one_of(&[3, 3, 40, 400]),
            save_ms: one_of(&[10, 300, 3_000]),
            crash: one_of(&[0, 0, 50, 300]) as u32,
            gap_ms: one_of(&[400, 1_000, 2_000]),
            fault_ms: one_of(&[300, 1_500, 4_000]),
            // Two clocks drift by at most 12 percent, of a lease of 400 ms: 48 ms of the 50
            // allowed.
            drift: one_of(&[0, 10_000, 59_000]) as i64,
        }
    }
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub clients: usize,
    pub fault: Fault,
    pub reads: ReadMode,
    pub flaw: Option<Flaw>,
    pub snapshot_every: u64,
    pub request_timeout: Duration,
    pub length: Duration,
    pub rough: Rough,
    /// Numbers of faults that are left out.
    pub without: Vec<u32>,
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Put(u64),
    Cas(Option<u64>, u64),
    Get,
    Append(u64),
    List,
    /// What changed after this revision.
    Watch(u64),
    Acquire,
    /// The lease of this number.
    Renew(u64),
    Release(u64),
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Written,
    Swapped(bool),
    Value(Option<u64>),
    List(Vec<u64>),
    /// So many changes.
    Told(usize),
    /// The lease is held, or no more, or not by whoever asked.
    Held(bool),
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
    /// What was wrong after a step; the run ends there.
    pub wrong: Vec<String>,
    /// Decided slot of each node at the end.
    pub ends: Vec<Slot>,
    /// How many faults there were, those left out among them.
    pub faults: u32,
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
        installed: bool,
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
    /// The node dies, to start again soon.
    Strike {
        node: usize,
    },
    Restart {
        node: usize,
    },
    Resume {
        node: usize,
    },
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

#[derive(Default)]
struct Client {
    /// The operation that it waits for.
    waits: Option<usize>,
    /// It was told of all changes up to this revision, by whatever nodes.
    told: u64,
    /// By key, the number of the lease that it was given last and has not given back.
    leases: BTreeMap<String, u64>,
}

pub struct Sim {
    plan: Plan,
    rng: ChaCha8Rng,
    /// Faults have a generator of their own: without one of them the others are the same.
    fault_rng: ChaCha8Rng,
    faults: u32,
    agenda: Agenda<Happening>,
    nodes: Vec<Node>,
    cuts: Cuts,
    clients: Vec<Client>,
    operations: Vec<Operation>,
    watch: Watch,
    value: u64,
}

/// Runs the plan to its end.
pub fn run(plan: &Plan) -> Run {
    let mut sim = Sim::new(plan.clone());
    let end = plan.length.as_nanos() as u64;
    sim.run_until(end);
    sim.mend();
    sim.run_until(end + QUIET);
    let decided = |node: &Node| node.core.as_ref().map_or(0, |core| core.kv().applied);
    Run {
        ends: sim.nodes.iter().map(decided).collect(),
        operations: sim.operations,
        wrong: sim.watch.wrong,
        faults: sim.faults,
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
            rate_ppm: rng.random_range(-plan.rough.drift..=plan.rough.drift),
            wall_jump: 0,
            requests: BTreeMap::new(),
            next_request: 1,
        });
        let mut sim = Sim {
            nodes: nodes.collect(),
            cuts: Cuts::new(plan.nodes),
            rng,
            fault_rng: ChaCha8Rng::seed_from_u64(plan.seed ^ 0xfa17),
            faults: 0,
            watch: Watch::new(plan.nodes),
            plan,
            agenda: Agenda::default(),
            clients: Vec::new(),
            operations: Vec::new(),
            value: 0,
        };
        sim.clients.resize_with(sim.plan.clients, Client::default);
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
        let time = self.agenda.now() + self.rng.random_range(least..=most);
        self.agenda.add(time, happening);
    }

    fn run_until(&mut self, end: u64) {
        while self.watch.wrong.is_empty()
            && let Some(happening) = self.agenda.next(end)
        {
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { from, to, message } => {
                if !self.cuts.between(from, to) {
                    self.input(to, Input::Message(from as u16, message));
                }
            }
            Happening::PeerUp { node, peer } => {
                if !self.cuts.between(node, peer) && self.nodes[peer].core.is_some() {
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
                installed,
            } => {
                if self.nodes[node].life == life {
                    // The node may die before the snapshot gets its name, or before it hears of it.
                    // A snapshot that came from a peer is the rarer and the more delicate one.
                    let dies = self.plan.rough.gap_ms > 0
                        && self.plan.fault.kills()
                        && self.rng.random_ratio(1, if installed { 2 } else { 100 });
                    if dies && self.rng.random() {
                        return self.happen(Happening::Strike { node });
                    }
                    let disk = &mut self.nodes[node].disk;
                    disk.snapshot = Some(bytes.clone());
                    if dies {
                        return self.happen(Happening::Strike { node });
                    }
                    disk.saving = false;
                    if let Some((slot, bytes, installed)) = disk.next_save.take() {
                        self.save_snapshot(node, slot, bytes, installed);
                    }
                    self.input(node, Input::SnapshotSaved(slot, bytes));
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
                if number == self.cuts.number() {
                    self.heal();
                    self.strike_whoever_catches_up();
                }
            }
            Happening::Strike { node } => {
                self.kill(node);
                self.after(MS, 500 * MS, Happening::Restart { node });
            }
            Happening::Restart { node } => self.start(node),
            Happening::Resume { node } => self.resume(node),
        }
    }

    fn clock(&self, node: usize) -> Now {
        let node = &self.nodes[node];
        let drift = (self.agenda.now() / 1_000_000) as i64 * node.rate_ppm;
        let monotonic = (SECOND + self.agenda.now()).saturating_add_signed(drift);
        let wall =
            (1_800_000_000 * SECOND + self.agenda.now()).saturating_add_signed(node.wall_jump);
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
            request_timeout: self.plan.request_timeout,
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
        let effects = core.effects();
        // As in the real node what the trace is told comes first, for it is true already.
        for effect in &effects {
            if let Effect::Trace(event) = effect {
                self.watch.event(self.agenda.now(), node, core, event);
            }
        }
        self.watch.state(self.agenda.now(), node, core);
        // A node that comes to a slot without deciding it got it from a peer.
        let decides = |effect: &Effect| matches!(effect, Effect::Trace(Event::Decide { .. }));
        let installed = !effects.iter().any(decides);
        for effect in effects {
            if self.plan.rough.crash > 0 && self.rng.random_ratio(self.plan.rough.crash, 1_000_000)
            {
                self.kill(node);
                return self.after(MS, 500 * MS, Happening::Restart { node });
            }
            match effect {
                Effect::Trace(_) | Effect::Note(_) => {}
                Effect::Send(to, message) => self.transmit(node, usize::from(to), message),
                Effect::Broadcast(message) => {
                    for to in (0..self.nodes.len()).filter(|&to| to != node) {
                        self.transmit(node, to, message.clone());
                    }
                }
                Effect::Persist { records, durability } => self.persist(node, records, durability),
                Effect::SaveSnapshot { slot, kv } => {
                    let bytes = Arc::new(kv.encode());
                    self.watch.snapshot(self.agenda.now(), node, slot, &bytes);
                    self.save_snapshot(node, slot, bytes, installed);
                }
                Effect::Truncate(until) => self.nodes[node].disk.records.retain(
                    |record| !matches!(record, Record::Accepted(accepted) if accepted.slot <= until),
                ),
                Effect::Reply(id, reply) => self.reply(node, id, reply),
            }
        }
    }

    fn transmit(&mut self, from: usize, to: usize, message: Message) {
        let once = message.travels_once();
        let rough = self.plan.rough;
        let mut happens = |share: u32| self.rng.random_ratio(share, 1_000_000);
        if self.cuts.between(from, to) || happens(rough.loss) {
            return;
        }
        let (slow, repeated) = (happens(rough.slow), !once && happens(rough.repeat));
        if repeated {
            let message = message.clone();
            let most = rough.slow_ms.max(100) * MS;
            self.after(MS / 5, most, Happening::Deliver { from, to, message });
        }
        let most = if slow { rough.slow_ms * MS } else { 2 * MS };
        self.after(MS / 5, most, Happening::Deliver { from, to, message });
    }
}
