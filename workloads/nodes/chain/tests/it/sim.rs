//! A world for the protocol core: time, network, disks, miners and clients, all drawn from one
//! seed.
//!
//! Nothing here waits: a queue of events in the order of their time is worked off. Connections are
//! as TCP's: what is sent arrives in order, a cut holds it back, and only an end that gives up
//! loses it. Nodes crash and lose what was not synced, stop and go on; wall clocks are set wrong
//! and right again. Miners find blocks after times drawn from an exponential distribution, and then
//! do the little work that the rules of this world ask for.

mod clients;
mod faults;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chain::core::block::{Block, Hash, Header, Transaction};
use chain::core::message::{
    Answer, Effect, Input, Now, PeerId, Place, Question, Reply, Request, RequestId,
};
use chain::core::{Config, Core, Recovered, Rules};
use chain::flaws::{Flaw, Flaws};
use nodekit::testing::agenda::{Agenda, Cuts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use network::{Connection, Parcel};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;
/// Long enough after the last fault for everything to be well again.
const QUIET: u64 = 60 * SECOND;
/// Nobody connects so soon to a peer that was dropped.
const BAN: u64 = 10 * SECOND;
/// So far ahead a block's time may be.
const DRIFT: Duration = Duration::from_secs(60);
/// In 2026.
const BEGIN_MS: u64 = 1_795_000_000_000;

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
    pub flaw: Option<Flaw>,
    pub confirmations: u64,
    pub retarget_every: u64,
    pub length: Duration,
}

impl Plan {
    pub fn rules(&self) -> Rules {
        Rules {
            block_interval: Duration::from_secs(1),
            first_work: 16,
            retarget_every: self.retarget_every,
            accounts: 4,
            balance: 100,
        }
    }
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub transaction: Transaction,
    pub answers: Vec<(Answer, Option<Place>)>,
}

/// What a node is like in the end.
pub struct End {
    /// From genesis on.
    pub chain: Vec<(Hash, Arc<Block>)>,
    pub entries: Answer,
    pub balances: Answer,
}

/// Everything that is judged.
pub struct Run {
    pub operations: Vec<Operation>,
    /// What was wrong at the moment when it happened.
    pub wrong: Vec<String>,
    pub ends: Vec<End>,
    /// The highest head when the faults ended.
    pub height_mended: u64,
    /// The most blocks that any node ever gave up at once.
    pub deepest_reorg: u64,
    pub reorgs: u64,
    pub restarts: u64,
}

enum Happening {
    Deliver {
        connection: PeerId,
        to: usize,
        parcel: Parcel,
    },
    Connect,
    Tick {
        node: usize,
    },
    DiskDone {
        node: usize,
        life: u64,
        blocks: Vec<Arc<Block>>,
        number: Option<u64>,
    },
    Told {
        node: usize,
        life: u64,
        number: u64,
    },
    Found {
        node: usize,
        life: u64,
        attempt: u64,
    },
    Client {
        client: usize,
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
    SetClock {
        node: usize,
    },
}

pub fn everything() -> Question {
    Question::Range {
        prefix: String::new(),
        after: None,
    }
}

struct Node {
    core: Option<Core>,
    life: u64,
    disk: Vec<Arc<Block>>,
    paused: bool,
    /// What came while it was paused.
    inbox: Vec<Input>,
    offset_ms: i64,
    template: Option<(u64, Header)>,
    attempt: u64,
    requests: BTreeMap<RequestId, usize>,
    head: (Hash, u128),
    /// Blocks in which something was acknowledged here.
    acknowledged: BTreeSet<Hash>,
}

pub struct Sim {
    plan: Plan,
    rng: ChaCha8Rng,
    agenda: Agenda<Happening>,
    nodes: Vec<Node>,
    connections: BTreeMap<PeerId, Connection>,
    next_connection: PeerId,
    banned: BTreeMap<(usize, usize), u64>,
    cuts: Cuts,
    faults_end: bool,
    operations: Vec<Operation>,
    next_request: RequestId,
    wrong: Vec<String>,
    deepest_reorg: u64,
    reorgs: u64,
    restarts: u64,
}

/// Runs the plan to its end.
pub fn run(plan: &Plan) -> Run {
    let mut sim = Sim::new(plan.clone());
    let end = plan.length.as_nanos() as u64;
    sim.run_until(end);
    sim.mend();
    sim.run_until(end + sim.early());
    let heights = sim.nodes.iter().filter_map(|node| node.core.as_ref());
    let height_mended = heights.map(|core| core.head().height).max().unwrap_or(0);
    sim.run_until(sim.agenda.now() + QUIET);
    let ends = (0..sim.nodes.len()).map(|node| sim.end(node)).collect();
    Run {
        ends,
        operations: sim.operations,
        wrong: sim.wrong,
        height_mended,
        deepest_reorg: sim.deepest_reorg,
        reorgs: sim.reorgs,
        restarts: sim.restarts,
    }
}

impl Sim {
    fn new(plan: Plan) -> Sim {
        let genesis = plan.rules().genesis().header.hash();
        let nodes = (0..plan.nodes).map(|_| Node {
            core: None,
            life: 0,
            disk: Vec::new(),
            paused: false,
            inbox: Vec::new(),
            offset_ms: 0,
            template: None,
            attempt: 0,
            requests: BTreeMap::new(),
            head: (genesis, 0),
            acknowledged: BTreeSet::new(),
        });
        let mut sim = Sim {
            nodes: nodes.collect(),
            cuts: Cuts::new(plan.nodes),
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            plan,
            agenda: Agenda::default(),
            connections: BTreeMap::new(),
            next_connection: 1,
            banned: BTreeMap::new(),
            faults_end: false,
            operations: Vec::new(),
            next_request: 1,
            wrong: Vec::new(),
            deepest_reorg: 0,
            reorgs: 0,
            restarts: 0,
        };
        for node in 0..sim.nodes.len() {
            sim.start(node);
            sim.after(0, 50 * MS, Happening::Tick { node });
        }
        for client in 0..16 {
            sim.after(SECOND, 3 * SECOND, Happening::Client { client });
        }
        sim.after(0, 0, Happening::Connect);
        sim.after(5 * SECOND, 8 * SECOND, Happening::Fault);
        sim
    }

    /// Something happens between `least` and `most` from now.
    fn after(&mut self, least: u64, most: u64, happening: Happening) {
        let time = self.agenda.now() + self.rng.random_range(least..=most);
        self.agenda.add(time, happening);
    }

    fn run_until(&mut self, end: u64) {
        while let Some(happening) = self.agenda.next(end) {
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver {
                connection,
                to,
                parcel,
            } => self.deliver(connection, to, parcel),
            Happening::Connect => self.connect(),
            Happening::Tick { node } => {
                if !self.nodes[node].paused {
                    self.input(node, Input::Tick);
                }
                self.after(45 * MS, 55 * MS, Happening::Tick { node });
            }
            Happening::DiskDone {
                node,
                life,
                blocks,
                number,
            } => {
                if self.nodes[node].life == life {
                    self.nodes[node].disk.extend(blocks);
                    if let Some(number) = number {
                        self.input(node, Input::Durable(number));
                    }
                }
            }
            Happening::Told { node, life, number } => {
                if self.nodes[node].life == life {
                    self.input(node, Input::Durable(number));
                }
            }
            Happening::Found {
                node,
                life,
                attempt,
            } => self.found(node, life, attempt),
            Happening::Client { client } => self.ask(client),
            Happening::Fault => self.fault(),
            Happening::Heal { number } => {
                if number == self.cuts.number() {
                    self.heal();
                }
            }
            Happening::Restart { node } => self.start(node),
            Happening::Resume { node } => self.resume(node),
            Happening::SetClock { node } => self.nodes[node].offset_ms = 0,
        }
    }

    fn clock(&self, node: usize) -> Now {
        Now {
            monotonic_ns: SECOND + self.agenda.now(),
            wall_ms: (BEGIN_MS + self.agenda.now() / MS)
                .saturating_add_signed(self.nodes[node].offset_ms),
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].core.is_some() {
            return;
        }
        let config = Config {
            name: format!("n{}", node + 1),
            rules: self.plan.rules(),
            max_future_drift: DRIFT,
            request_timeout: Duration::from_secs(40),
            flaws: Flaws::from_iter(self.plan.flaw),
            seed: self.rng.random(),
        };
        let recovered = Recovered {
            blocks: self.nodes[node].disk.clone(),
        };
        let core = Core::new(config, recovered, self.clock(node));
        let acknowledged = &self.nodes[node].acknowledged;
        let lost = acknowledged
            .iter()
            .filter(|&&hash| core.blocks(Some(hash), 1).is_none());
        let lost = lost.count();
        if lost > 0 {
            self.wrong.push(format!(
                "stored: n{} lost {lost} blocks that it had answered from",
                node + 1
            ));
        }
        self.nodes[node].head = (core.head().hash, core.head().total_work);
        self.nodes[node].core = Some(core);
        self.nodes[node].life += 1;
        self.carry_out(node);
    }

    fn input(&mut self, node: usize, input: Input) {
        if self.nodes[node].paused {
            return self.nodes[node].inbox.push(input);
        }
        let now = self.clock(node);
        if let Some(core) = &mut self.nodes[node].core {
            core.step(now, input);
            self.watch(node);
            self.carry_out(node);
        }
    }

    /// A head never moves to less work.
    fn watch(&mut self, node: usize) {
        let Some(core) = &self.nodes[node].core else {
            return;
        };
        let (head, (old, work)) = (core.head(), self.nodes[node].head);
        if head.hash == old {
            return;
        }
        if head.total_work < work {
            self.wrong.push(format!(
                "work: n{} goes from {work} to {}",
                node + 1,
                head.total_work
            ));
        }
        let new: BTreeSet<Hash> = core
            .blocks(None, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|(hash, _)| hash)
            .collect();
        let given_up = core.blocks(Some(old), usize::MAX).map_or(0, |blocks| {
            blocks
                .iter()
                .take_while(|(hash, _)| !new.contains(hash))
                .count()
        });
        self.reorgs += u64::from(given_up > 0);
        self.deepest_reorg = self.deepest_reorg.max(given_up as u64);
        self.nodes[node].head = (head.hash, head.total_work);
    }

    fn carry_out(&mut self, node: usize) {
        let Some(core) = &mut self.nodes[node].core else {
            return;
        };
        for effect in core.effects() {
            match effect {
                Effect::Note(_) => {}
                Effect::Persist {
                    number,
                    blocks,
                    delay,
                } => self.persist(node, number, blocks, delay),
                Effect::Send(to, message) => self.transmit(node, to, Parcel::Message(message)),
                Effect::Drop(peer, reason) => {
                    let [a, b] = self.connections[&peer].ends;
                    self.wrong.push(format!(
                        "peers: n{} drops a peer of the connection {a}-{b}: {reason}",
                        node + 1
                    ));
                    self.banned.insert((a, b), self.agenda.now() + BAN);
                    self.close(node, peer);
                }
                Effect::Close(peer, _) => self.close(node, peer),
                Effect::Reply(id, reply) => self.reply(node, id, reply),
                Effect::Mine { template, header } => self.mine(node, template, header),
            }
        }
    }

    fn persist(
        &mut self,
        node: usize,
        number: u64,
        blocks: Vec<Arc<Block>>,
        delay: Option<Duration>,
    ) {
        let life = self.nodes[node].life;
        match delay {
            // Writes take the same time each, so they end in order.
            None => self.agenda.add(
                self.agenda.now() + 3 * MS,
                Happening::DiskDone {
                    node,
                    life,
                    blocks,
                    number: Some(number),
                },
            ),
            Some(delay) => {
                self.agenda.add(
                    self.agenda.now() + MS,
                    Happening::Told { node, life, number },
                );
                let time = self.agenda.now() + delay.as_nanos() as u64;
                self.agenda.add(
                    time,
                    Happening::DiskDone {
                        node,
                        life,
                        blocks,
                        number: None,
                    },
                );
            }
        }
    }

    fn mine(&mut self, node: usize, template: u64, header: Header) {
        let rules = self.plan.rules();
        let mean =
            SECOND as f64 * self.plan.nodes as f64 * header.work as f64 / rules.first_work as f64;
        let uniform: f64 = self.rng.random();
        let wait = (-(1.0 - uniform).ln() * mean) as u64;
        self.nodes[node].attempt += 1;
        self.nodes[node].template = Some((template, header));
        let (life, attempt) = (self.nodes[node].life, self.nodes[node].attempt);
        self.agenda.add(
            self.agenda.now() + wait,
            Happening::Found {
                node,
                life,
                attempt,
            },
        );
    }

    fn found(&mut self, node: usize, life: u64, attempt: u64) {
        let miner = &mut self.nodes[node];
        if miner.life != life || miner.attempt != attempt || miner.paused {
            // A process that is stopped computes nothing; what it looked for it looks for again.
            if miner.life == life && miner.attempt == attempt {
                self.after(
                    SECOND,
                    5 * SECOND,
                    Happening::Found {
                        node,
                        life,
                        attempt,
                    },
                );
            }
            return;
        }
        let Some((template, mut header)) = miner.template.take() else {
            return;
        };
        while !header.hash().proves(header.work) {
            header.nonce = header.nonce.wrapping_add(1);
        }
        let nonce = header.nonce;
        self.input(node, Input::Solved { template, nonce });
    }

    /// How long it takes until every block has a time that every node accepts. A block from a node
    /// whose clock was fast is taken by those whose clocks were fast too, and is refused by the
    /// others until then: no node is wrong to do so, and nothing but time mends that split.
    fn early(&self) -> u64 {
        let cores = self.nodes.iter().filter_map(|node| node.core.as_ref());
        let chains = cores.filter_map(|core| core.blocks(None, usize::MAX));
        let times = chains.flatten().map(|(_, block)| block.header.time_ms);
        let latest = times.max().unwrap_or(0);
        latest.saturating_sub(BEGIN_MS + self.agenda.now() / MS + DRIFT.as_millis() as u64) * MS
    }

    fn look(&mut self, node: usize, question: Question) -> Answer {
        let now = self.clock(node);
        let core = self.nodes[node]
            .core
            .as_mut()
            .expect("all run after mend()");
        let request = Request::Look {
            question,
            confirmations: 1,
        };
        core.step(now, Input::Request(RequestId::MAX, request));
        let answers = core.effects().into_iter().find_map(|effect| match effect {
            Effect::Reply(RequestId::MAX, Reply::Done(answer, _)) => Some(answer),
            _ => None,
        });
        answers.expect("a look is answered at once")
    }

    fn end(&mut self, node: usize) -> End {
        let entries = self.look(node, everything());
        let balances = self.look(node, Question::Balances);
        let core = self.nodes[node]
            .core
            .as_ref()
            .expect("all run after mend()");
        let mut chain = core.blocks(None, usize::MAX).expect("the head is there");
        chain.reverse();
        End {
            chain,
            entries,
            balances,
        }
    }
}
