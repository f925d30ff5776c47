//! Who does what next, and where: a pure state machine between a generator and the workers.
//!
//! The interpreter drives it with real time and real clients, the simulators of
//! [`crate::generator::sim`] with neither.
//!
//! Three things are drawn, each from a stream of its own: when an operation is due ([`Arrivals`]),
//! what it is (the generator), and at which node it is asked. None of them depends on how fast
//! anybody answers, so a node that refuses at once is asked no more often than one that takes its
//! time. What finds no client free at its node waits [`SLACK`]; then it is not offered at all, and
//! counted: a system that hangs must not be met by a burst when it comes back, and must not be
//! flattered by what it was never asked either.
//!
//! Without a pace there is no plan: every worker that is free is given the next operation, in the
//! order in which they became free, at the node that it is bound to.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use history::{Event, Kind, Process};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::generator::{Arrival, Arrivals, Context, Generator, Next, Offer, Shape};
use crate::seed::Seed;

/// How long an operation that is due waits for a client: timers are a millisecond coarse, a busy
/// machine wakes late, and a client may be just about to be free.
pub const SLACK: Duration = Duration::from_millis(20);

/// How clients and nodes belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    /// Each stays at its node.
    #[default]
    Sticky,
    /// Each operation may be at another node.
    Roaming,
}

impl Clients {
    pub const ALL: [Clients; 2] = [Clients::Sticky, Clients::Roaming];

    pub fn word(self) -> &'static str {
        match self {
            Clients::Sticky => "sticky",
            Clients::Roaming => "roaming",
        }
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Clients {
    type Err = String;

    fn from_str(text: &str) -> Result<Clients, String> {
        let named = Clients::ALL.into_iter().find(|c| c.word() == text);
        named.ok_or_else(|| "`sticky` or `roaming`".into())
    }
}

/// How operations come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// So many a second, on average.
    pub per_second: f64,
    pub shape: Shape,
    pub clients: Clients,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Give this to that worker, which acts as this process, at this node.
    Invoke {
        worker: usize,
        node: usize,
        process: u64,
        offer: Offer,
        /// When it was to be invoked, if there is a plan.
        due: Option<Duration>,
    },
    /// Nothing until something completes, or until this time.
    Wait(Option<Duration>),
    /// Everything was offered and everything offered is completed.
    Finished,
}

/// What became of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations whose time has come.
    pub due: u64,
    pub offered: u64,
    /// By node: no client was free there in time.
    pub busy: Vec<u64>,
    /// The harness itself was late.
    pub late: u64,
}

impl Tally {
    pub fn not_offered(&self) -> u64 {
        self.late + self.busy.iter().sum::<u64>()
    }
}

pub struct Scheduler {
    generator: Box<dyn Generator>,
    rng: ChaCha8Rng,
    /// How many nodes there are to ask.
    nodes: usize,
    /// By worker: as which process it acts.
    processes: Vec<u64>,
    /// In the order in which they became free.
    free: VecDeque<usize>,
    plan: Option<Plan>,
    /// Of a phase without a plan: what was offered and cannot be given out yet.
    in_hand: Option<Offer>,
    end: Option<Duration>,
    /// Nothing more is asked of the generator.
    dry: bool,
}

/// What a pace adds.
struct Plan {
    clients: Clients,
    arrivals: Arrivals,
    /// Which node each operation is asked at.
    draw: ChaCha8Rng,
    next: Arrival,
    /// What is due and has no client yet, in its order.
    waiting: VecDeque<Due>,
    tally: Tally,
}

struct Due {
    at: Duration,
    node: usize,
    offer: Offer,
}

impl Scheduler {
    /// `workers` workers at `nodes` nodes, who begin as the processes from `first_process` on. What
    /// is drawn comes from streams of `seed` whose names begin with `stream`.
    pub fn new(
        generator: Box<dyn Generator>,
        seed: Seed,
        stream: &str,
        pace: Option<Pace>,
        (workers, nodes): (usize, usize),
        first_process: u64,
    ) -> Scheduler {
        // Where there are fewer workers than nodes, the others have no clients at all.
        let nodes = match pace.is_some_and(|pace| pace.clients == Clients::Roaming) {
            true => nodes,
            false => nodes.min(workers),
        };
        let plan = pace.map(|pace| {
            let times = seed.stream(&format!("{stream}: times"));
            let mut arrivals = Arrivals::new(pace.per_second, pace.shape, times);
            Plan {
                clients: pace.clients,
                next: arrivals.next().expect("there is always another"),
                arrivals,
                draw: seed.stream(&format!("{stream}: nodes")),
                waiting: VecDeque::new(),
                tally: Tally {
                    busy: vec![0; nodes],
                    ..Tally::default()
                },
            }
        });
        Scheduler {
            generator,
            rng: seed.stream(stream),
            nodes,
            processes: (first_process..).take(workers).collect(),
            free: (0..workers).collect(),
            plan,
            in_hand: None,
            end: None,
            dry: false,
        }
    }

    /// What to do at `now`, since the start of the phase. Call again after each `Invoke`.
    pub fn step(&mut self, now: Duration) -> Step {
        match self.plan.is_some() {
            true => self.step_of_plan(now),
            false => self.step_at_once(now),
        }
    }

    fn step_of_plan(&mut self, now: Duration) -> Step {
        let ask_again = self.take_what_is_due(now);
        let ended = self.ended(now);
        let Scheduler {
            processes,
            free,
            plan: Some(plan),
            ..
        } = self
        else {
            unreachable!("it has a plan");
        };
        plan.give_up(now);
        if let Some((due, worker)) = plan.next_with_a_client(free) {
            plan.tally.offered += 1;
            return Step::Invoke {
                worker,
                node: due.node,
                process: processes[worker],
                offer: due.offer,
                due: Some(due.at),
            };
        }
        let idle = plan.waiting.is_empty() && free.len() == processes.len();
        if idle && ended {
            return Step::Finished;
        }
        let upcoming = match ended {
            true => None,
            false => Some(ask_again.unwrap_or(plan.next.due)),
        };
        let given_up = plan.waiting.front().map(|due| due.at + SLACK + TICK);
        let moments = upcoming.into_iter().chain(given_up);
        Step::Wait(moments.chain(self.end).filter(|at| *at > now).min())
    }

    /// Whether nothing more will be due, as far as is known.
    fn ended(&self, now: Duration) -> bool {
        self.dry || self.end.is_some_and(|end| now >= end)
    }

    /// Draws what has become due. Where the generator has nothing to ask yet, says when to ask
    /// again.
    fn take_what_is_due(&mut self, now: Duration) -> Option<Duration> {
        let plan = self.plan.as_mut()?;
        while !self.dry && plan.next.due <= now && self.end.is_none_or(|end| plan.next.due < end) {
            let next = self.generator.next(&mut Context {
                now,
                free: self.free.len(),
                burst: plan.next.burst,
                rng: &mut self.rng,
            });
            match next {
                Next::Done => self.dry = true,
                // The pause is the generator's own, so nobody is late.
                Next::Pending(at) => {
                    plan.next.due = now;
                    return Some(at.unwrap_or(now + SLACK));
                }
                Next::Offer(offer) => {
                    let at = plan.next.due;
                    let node = plan.draw.random_range(0..self.nodes);
                    plan.tally.due += 1;
                    match now > at + SLACK {
                        true => plan.tally.late += 1,
                        false => plan.waiting.push_back(Due { at, node, offer }),
                    }
                    plan.next = plan.arrivals.next().expect("there is always another");
                }
            }
        }
        None
    }

    fn step_at_once(&mut self, now: Duration) -> Step {
        let mut ask_again = None;
        if self.in_hand.is_none() && !self.ended(now) && !self.free.is_empty() {
            let next = self.generator.next(&mut Context {
                now,
                free: self.free.len(),
                burst: None,
                rng: &mut self.rng,
            });
            match next {
                Next::Offer(offer) => self.in_hand = Some(offer),
                Next::Pending(at) => ask_again = at,
                Next::Done => self.dry = true,
            }
        }
        match self.in_hand.take() {
            Some(offer) if offer.at > now => {
                let at = offer.at;
                self.in_hand = Some(offer);
                Step::Wait(Some(at))
            }
            Some(offer) => match self.free.pop_front() {
                Some(worker) => Step::Invoke {
                    worker,
                    node: worker % self.nodes,
                    process: self.processes[worker],
                    offer,
                    due: None,
                },
                None => {
                    self.in_hand = Some(offer);
                    Step::Wait(None)
                }
            },
            None if self.ended(now) && self.free.len() == self.processes.len() => Step::Finished,
            None => Step::Wait(ask_again.into_iter().chain(self.end).min()),
        }
    }

    /// The worker is free again. An `info` retires its process: a new number takes its place.
    /// Returns whether it did.
    pub fn complete(&mut self, worker: usize, event: &Event) -> bool {
        self.generator.update(event);
        self.free.push_back(worker);
        let retired = event.kind == Kind::Info;
        if retired {
            self.processes[worker] += self.processes.len() as u64;
        }
        debug_assert!(event.process != Process::Nemesis);
        retired
    }

    /// Nothing is due at or after this time. It may be moved as long as it has not come.
    pub fn set_end(&mut self, end: Duration) {
        self.end = Some(end);
    }

    /// Offers nothing more.
    pub fn stop(&mut self) {
        self.dry = true;
        self.in_hand = None;
        if let Some(plan) = &mut self.plan {
            // Nobody gave it the time that it had.
            plan.tally.due -= plan.waiting.len() as u64;
            plan.waiting.clear();
        }
    }

    /// What became of the plan so far; none without one.
    pub fn tally(&self) -> Option<&Tally> {
        self.plan.as_ref().map(|plan| &plan.tally)
    }

    /// One past the highest process number that was used.
    pub fn next_process(&self) -> u64 {
        self.processes.iter().max().map_or(0, |p| p + 1)
    }
}

/// Past a moment, not at it.
const TICK: Duration = Duration::from_micros(1);

impl Plan {
    /// Passes over what has waited long enough.
    fn give_up(&mut self, now: Duration) {
        while let Some(due) = self.waiting.front().filter(|due| now > due.at + SLACK) {
            self.tally.busy[due.node] += 1;
            self.waiting.pop_front();
        }
    }

    /// The first that waits for a client and can have one. At each node they take turns.
    fn next_with_a_client(&mut self, free: &mut VecDeque<usize>) -> Option<(Due, usize)> {
        let nodes = self.tally.busy.len();
        let sticky = self.clients == Clients::Sticky;
        let client = |due: &Due| {
            let mut free = free.iter();
            free.position(|worker| !sticky || worker % nodes == due.node)
        };
        let mut waiting = self.waiting.iter().enumerate();
        let (at, place) = waiting.find_map(|(at, due)| Some((at, client(due)?)))?;
        let worker = free.remove(place).expect("it was found there");
        let due = self.waiting.remove(at).expect("it was found there");
        Some((due, worker))
    }
}
