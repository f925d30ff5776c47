//! Who does what next: a pure state machine between a generator and the workers.
//!
//! The interpreter drives it with real time and real clients, the simulators of
//! [`crate::generator::sim`] with neither.

use std::collections::VecDeque;
use std::time::Duration;

use history::{Event, Kind, Process};
use rand_chacha::ChaCha8Rng;

use crate::generator::{Context, Generator, Next, Offer};

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Give this to that worker, which acts as this process.
    Invoke {
        worker: usize,
        process: u64,
        offer: Offer,
    },
    /// Nothing until something completes, or until this time.
    Wait(Option<Duration>),
    /// Everything was offered and everything offered is completed.
    Finished,
}

/// Hands offers to free workers, in the order in which the workers became free: the first `n`
/// offers go to `n` different workers, and so to all nodes.
pub struct Scheduler {
    generator: Box<dyn Generator>,
    rng: ChaCha8Rng,
    free: VecDeque<usize>,
    processes: Vec<u64>,
    in_hand: Option<Offer>,
    /// Nothing more is asked of the generator.
    dry: bool,
}

impl Scheduler {
    /// `workers` workers, who begin as the processes from `first_process` on.
    pub fn new(
        generator: Box<dyn Generator>,
        rng: ChaCha8Rng,
        workers: usize,
        first_process: u64,
    ) -> Scheduler {
        Scheduler {
            generator,
            rng,
            free: (0..workers).collect(),
            processes: (first_process..).take(workers).collect(),
            in_hand: None,
            dry: false,
        }
    }

    /// What to do at `now`, since the start of the phase. Call again after each `Invoke`.
    pub fn step(&mut self, now: Duration) -> Step {
        let mut ask_again = None;
        if self.in_hand.is_none() && !self.dry && !self.free.is_empty() {
            let next = self.generator.next(&mut Context {
                now,
                free: self.free.len(),
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
                    process: self.processes[worker],
                    offer,
                },
                None => {
                    self.in_hand = Some(offer);
                    Step::Wait(None)
                }
            },
            None if self.dry && self.free.len() == self.processes.len() => Step::Finished,
            None => Step::Wait(ask_again),
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

    /// Offers nothing more.
    pub fn stop(&mut self) {
        self.dry = true;
        self.in_hand = None;
    }

    /// One past the highest process number that was used.
    pub fn next_process(&self) -> u64 {
        self.processes.iter().max().map_or(0, |p| p + 1)
    }
}
