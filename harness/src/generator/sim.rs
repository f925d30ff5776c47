//! Generators run without threads, clients or time: for their tests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use history::{Event, Kind, Process, Time};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Generator;
use crate::scheduler::{Scheduler, Step};
use crate::seed::Seed;

/// Everything takes 10 ms and succeeds.
pub fn perfect(generator: impl Generator + 'static, workers: usize) -> Vec<Event> {
    simulate(generator, workers, |_| {
        (Duration::from_millis(10), Kind::Ok)
    })
}

/// Everything takes 1 to 100 ms; a third each succeeds, fails and stays unknown.
pub fn imperfect(generator: impl Generator + 'static, workers: usize, seed: u64) -> Vec<Event> {
    let mut rng = Seed(seed).stream("world");
    simulate(generator, workers, move |_| {
        let takes = Duration::from_millis(rng.random_range(1..=100));
        let kind = [Kind::Ok, Kind::Fail, Kind::Info][rng.random_range(0..3)];
        (takes, kind)
    })
}

/// The world answers each invocation with how long it takes and how it ends. Stops after a million
/// events, so that a generator that never ends can be tested too.
pub fn simulate(
    generator: impl Generator + 'static,
    workers: usize,
    mut world: impl FnMut(&Event) -> (Duration, Kind),
) -> Vec<Event> {
    let rng: ChaCha8Rng = Seed(0).stream("operations");
    let mut scheduler = Scheduler::new(Box::new(generator), rng, workers, 0);
    let mut now = Duration::ZERO;
    let mut events: Vec<Event> = Vec::new();
    // By time, then by the invocation's index: completions at one instant keep their order.
    let mut open: BinaryHeap<Reverse<(Duration, u64, usize)>> = BinaryHeap::new();
    let mut ends = Vec::new();
    while events.len() < 1_000_000 {
        match scheduler.step(now) {
            Step::Finished => break,
            Step::Invoke {
                worker,
                process,
                offer,
            } => {
                let event = Event {
                    index: events.len() as u64,
                    time: Time::from(now),
                    process: Process::Client(process),
                    kind: Kind::Invoke,
                    f: offer.f,
                    value: offer.value,
                    error: None,
                    node: None,
                    version: None,
                    due: None,
                };
                let (takes, kind) = world(&event);
                open.push(Reverse((now + takes, event.index, worker)));
                ends.resize(events.len() + 1, Kind::Invoke);
                ends[events.len()] = kind;
                events.push(event);
            }
            Step::Wait(until) => {
                let completes = open.peek().map(|Reverse((at, ..))| *at);
                match (completes, until) {
                    (Some(at), until) if until.is_none_or(|u| at <= u) => {
                        let Some(Reverse((at, invocation, worker))) = open.pop() else {
                            break;
                        };
                        now = now.max(at);
                        let mut event = events[invocation as usize].clone();
                        event.index = events.len() as u64;
                        event.time = Time::from(now);
                        event.kind = ends[invocation as usize];
                        events.push(event);
                        scheduler.complete(worker, &events[events.len() - 1]);
                    }
                    (_, Some(until)) => now = now.max(until),
                    (_, None) => panic!("the generator is pending for ever, with nothing open"),
                }
            }
        }
    }
    events
}
