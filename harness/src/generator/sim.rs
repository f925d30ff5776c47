//! Generators run without threads, clients or time: for their tests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use history::{Event, Kind, Name, Process, Time};
use rand::RngExt;

use super::Generator;
use crate::scheduler::{Pace, Scheduler, Step, Tally};
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
    world: impl FnMut(&Event) -> (Duration, Kind),
) -> Vec<Event> {
    let place = (workers, 1);
    let scheduler = Scheduler::new(Box::new(generator), Seed(0), "operations", None, place, 0);
    run(scheduler, world).0
}

/// The same at a pace, until `end`, by `workers` workers at `nodes` nodes, which are called n1, n2
/// and so on; with what became of the plan.
pub fn paced(
    generator: impl Generator + 'static,
    pace: Pace,
    (workers, nodes): (usize, usize),
    end: Duration,
    world: impl FnMut(&Event) -> (Duration, Kind),
) -> (Vec<Event>, Tally) {
    let mut scheduler = Scheduler::new(
        Box::new(generator),
        Seed(0),
        "operations",
        Some(pace),
        (workers, nodes),
        0,
    );
    scheduler.set_end(end);
    let (events, scheduler) = run(scheduler, world);
    let tally = scheduler.tally().expect("it had a pace").clone();
    (events, tally)
}

fn run(
    mut scheduler: Scheduler,
    mut world: impl FnMut(&Event) -> (Duration, Kind),
) -> (Vec<Event>, Scheduler) {
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
                node,
                process,
                offer,
                due,
            } => {
                let event = Event {
                    index: events.len() as u64,
                    time: Time::from(now),
                    process: Process::Client(process),
                    kind: Kind::Invoke,
                    f: offer.f,
                    value: offer.value,
                    error: None,
                    node: Some(Name::new(format!("n{}", node + 1))),
                    version: None,
                    due: due.map(Time::from),
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
                        event.due = None;
                        events.push(event);
                        scheduler.complete(worker, &events[events.len() - 1]);
                    }
                    (_, Some(until)) => now = now.max(until),
                    (_, None) => panic!("the generator is pending for ever, with nothing open"),
                }
            }
        }
    }
    (events, scheduler)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use history::Value;

    use super::*;
    use crate::generator::{Shape, from_fn};
    use crate::scheduler::{Clients, SLACK};

    fn counter() -> impl Generator {
        let mut n = 0;
        from_fn(move |_| {
            n += 1;
            ("write", Value::Int(n))
        })
    }

    fn pace(per_second: f64, clients: Clients) -> Pace {
        Pace {
            per_second,
            shape: Shape::Even,
            clients,
        }
    }

    /// How many operations were invoked at each node.
    fn by_node(events: &[Event]) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for event in events.iter().filter(|e| e.kind == Kind::Invoke) {
            *counts
                .entry(event.node.as_deref().unwrap().to_string())
                .or_default() += 1;
        }
        counts
    }

    const MINUTE: Duration = Duration::from_secs(60);

    /// One of five nodes refuses at once, the others take their time: it is asked as often as they
    /// are.
    #[test]
    fn a_node_that_refuses_at_once_is_asked_no_more_often_than_others() {
        for clients in Clients::ALL {
            let (events, tally) =
                paced(
                    counter(),
                    pace(100.0, clients),
                    (500, 5),
                    MINUTE,
                    |e| match e.node.as_deref() {
                        Some("n1") => (Duration::from_micros(100), Kind::Fail),
                        _ => (Duration::from_millis(700), Kind::Ok),
                    },
                );
            assert_eq!(tally.not_offered(), 0);
            for (node, asked) in by_node(&events) {
                let share = asked as f64 / tally.due as f64;
                assert!((share - 0.2).abs() < 0.02, "{clients}, {node}: {share}");
            }
        }
    }

    /// Its clients all wait: what else was due at it is counted there, and no other node is asked
    /// instead.
    #[test]
    fn what_finds_no_client_at_its_node_is_counted_there_and_goes_nowhere_else() {
        let pace = pace(100.0, Clients::Sticky);
        let (events, tally) = paced(counter(), pace, (10, 5), MINUTE, |e| {
            match e.node.as_deref() {
                Some("n1") => (Duration::from_secs(10), Kind::Info),
                _ => (Duration::from_millis(1), Kind::Ok),
            }
        });
        let asked = by_node(&events);
        // Two clients, each for ten seconds at a time.
        assert!((12..=14).contains(&asked["n1"]), "{asked:?}");
        assert_eq!(asked.values().sum::<u64>(), tally.offered);
        assert_eq!(tally.due, tally.offered + tally.not_offered());
        assert_eq!(tally.late, 0);
        assert_eq!(tally.busy[0], tally.not_offered());
        let at_first = asked["n1"] + tally.busy[0];
        assert!(
            (at_first as f64 / tally.due as f64 - 0.2).abs() < 0.02,
            "{at_first}"
        );
        let wanted = 100.0 * MINUTE.as_secs_f64();
        assert!((tally.due as f64 - wanted).abs() < 0.05 * wanted);
    }

    #[test]
    fn sticky_clients_stay_at_their_node_and_roaming_ones_do_not() {
        for clients in Clients::ALL {
            let (events, _) = paced(counter(), pace(100.0, clients), (10, 5), MINUTE, |_| {
                (Duration::from_millis(5), Kind::Ok)
            });
            let mut nodes: BTreeMap<Process, BTreeMap<Option<Name>, u64>> = BTreeMap::new();
            for event in &events {
                let seen = nodes.entry(event.process).or_default();
                *seen.entry(event.node.clone()).or_default() += 1;
            }
            let wanted = match clients {
                Clients::Sticky => 1,
                Clients::Roaming => 5,
            };
            assert_eq!(nodes.len(), 10);
            assert!(nodes.values().all(|seen| seen.len() == wanted), "{nodes:?}");
        }
    }

    #[test]
    fn each_operation_says_when_it_was_due_and_waits_no_longer_than_the_slack() {
        let pace = pace(200.0, Clients::Sticky);
        let (events, tally) = paced(counter(), pace, (2, 1), MINUTE, |_| {
            (Duration::from_millis(15), Kind::Ok)
        });
        let invocations = || events.iter().filter(|e| e.kind == Kind::Invoke);
        let waited = |e: &Event| e.time.since(e.due.expect("it was planned"));
        assert!(invocations().all(|e| waited(e) <= SLACK));
        assert!(invocations().any(|e| waited(e) > Duration::from_millis(5)));
        // Two clients that take 15 ms each can do 133 of 200 a second.
        let share = tally.not_offered() as f64 / tally.due as f64;
        assert!((0.3..0.4).contains(&share), "{tally:?}");
    }

    /// A world that hangs for a while is met by what is due then, and not by what it has missed.
    #[test]
    fn there_is_no_burst_after_a_stall() {
        let pace = pace(100.0, Clients::Sticky);
        let (events, tally) = paced(counter(), pace, (1, 1), Duration::from_secs(10), |_| {
            (Duration::from_secs(1), Kind::Ok)
        });
        let offered = events.iter().filter(|e| e.kind == Kind::Invoke).count();
        assert!(offered <= 11, "{offered}");
        assert!(tally.busy[0] > 900, "{tally:?}");
    }

    /// A plan is the seed's: what is asked, when and where does not depend on who answers how.
    #[test]
    fn the_same_seed_asks_the_same_at_the_same_time_and_place_whatever_the_world_does() {
        let plan = |world_seed| {
            let mut rng = Seed(world_seed).stream("world");
            let pace = Pace {
                per_second: 50.0,
                shape: Shape::Varied,
                clients: Clients::Sticky,
            };
            let drawn = from_fn(|c| ("write", Value::Int(c.rng.random_range(0..1000))));
            let (events, _) = paced(drawn, pace, (300, 5), MINUTE, move |_| {
                let takes = Duration::from_millis(rng.random_range(1..=2000));
                (
                    takes,
                    [Kind::Ok, Kind::Fail, Kind::Info][rng.random_range(0..3)],
                )
            });
            let invocations = events.into_iter().filter(|e| e.kind == Kind::Invoke);
            let plan = invocations.map(|e| (e.value, e.due, e.node));
            plan.collect::<Vec<_>>()
        };
        assert!(plan(1).len() > 2_000);
        assert_eq!(plan(1), plan(2));
    }

    #[test]
    fn a_harness_that_is_late_itself_says_so() {
        let mut scheduler = Scheduler::new(
            Box::new(counter()),
            Seed(1),
            "operations",
            Some(pace(1_000.0, Clients::Sticky)),
            (10_000, 5),
            0,
        );
        // Nobody looked for a second.
        let second = Duration::from_secs(1);
        while let Step::Invoke { due, .. } = scheduler.step(second) {
            assert!(due.unwrap() + SLACK >= second);
        }
        let tally = scheduler.tally().unwrap();
        assert!((900..1_100).contains(&tally.due), "{tally:?}");
        assert!(tally.late > 900, "{tally:?}");
        assert!(tally.busy.iter().all(|n| *n == 0));
    }
}
