//! Generators made of generators.

use std::time::Duration;

use history::{Event, Value};
use rand::RngExt;

use super::{Context, Generator, Next, Offer};

impl Generator for Box<dyn Generator> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        (**self).next(context)
    }

    fn update(&mut self, event: &Event) {
        (**self).update(event);
    }
}

/// A generator from a function that always has something to ask.
pub fn from_fn<F>(ask: F) -> FromFn<F>
where
    F: FnMut(&mut Context<'_>) -> (&'static str, Value) + Send,
{
    FromFn(ask)
}

/// See [`from_fn`].
pub struct FromFn<F>(F);

impl<F> Generator for FromFn<F>
where
    F: FnMut(&mut Context<'_>) -> (&'static str, Value) + Send,
{
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let (f, value) = (self.0)(context);
        Next::Offer(Offer {
            f: f.into(),
            value,
            at: context.now,
        })
    }
}

/// What every generator can become.
pub trait Combine: Generator + Sized {
    /// At most `n` offers.
    fn limit(self, n: u64) -> Limit<Self> {
        Limit {
            inner: self,
            left: n,
        }
    }

    /// No offer at or after `end`.
    fn until(self, end: Duration) -> Until<Self> {
        Until { inner: self, end }
    }

    /// All of this, then all of `after`.
    fn then<G: Generator>(self, after: G) -> Then<Self, G> {
        Then {
            first: self,
            after,
            first_done: false,
        }
    }
}

impl<G: Generator> Combine for G {}

/// See [`Combine::limit`].
pub struct Limit<G> {
    inner: G,
    left: u64,
}

impl<G: Generator> Generator for Limit<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        let next = self.inner.next(context);
        if matches!(next, Next::Offer(_)) {
            self.left -= 1;
        }
        next
    }

    fn update(&mut self, event: &Event) {
        self.inner.update(event);
    }
}

/// See [`Combine::until`].
pub struct Until<G> {
    inner: G,
    end: Duration,
}

impl<G: Generator> Generator for Until<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        if context.now >= self.end {
            return Next::Done;
        }
        match self.inner.next(context) {
            Next::Offer(offer) if offer.at >= self.end => Next::Done,
            Next::Pending(at) => Next::Pending(Some(at.unwrap_or(self.end).min(self.end))),
            next => next,
        }
    }

    fn update(&mut self, event: &Event) {
        self.inner.update(event);
    }
}

/// See [`Combine::then`].
pub struct Then<A, B> {
    first: A,
    after: B,
    first_done: bool,
}

impl<A: Generator, B: Generator> Generator for Then<A, B> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        if !self.first_done {
            match self.first.next(context) {
                Next::Done => self.first_done = true,
                next => return next,
            }
        }
        self.after.next(context)
    }

    fn update(&mut self, event: &Event) {
        match self.first_done {
            false => self.first.update(event),
            true => self.after.update(event),
        }
    }
}

/// One of several, drawn by weight for each offer. What is done or pending is passed over; all done
/// is done.
pub fn mix(parts: Vec<(u32, Box<dyn Generator>)>) -> Mix {
    Mix { parts }
}

/// See [`mix`].
pub struct Mix {
    parts: Vec<(u32, Box<dyn Generator>)>,
}

impl Generator for Mix {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let mut asked_again: Option<Duration> = None;
        let mut candidates: Vec<usize> = (0..self.parts.len()).collect();
        let mut done = Vec::new();
        let next = loop {
            let total: u32 = candidates.iter().map(|&i| self.parts[i].0).sum();
            if total == 0 {
                break None;
            }
            let mut draw = context.rng.random_range(0..total);
            let at = candidates
                .iter()
                .position(|&i| {
                    let weight = self.parts[i].0;
                    let hit = draw < weight;
                    draw = draw.saturating_sub(weight);
                    hit
                })
                .expect("the draw is below the sum of the weights");
            let part = candidates.swap_remove(at);
            match self.parts[part].1.next(context) {
                Next::Offer(offer) => break Some(offer),
                Next::Done => done.push(part),
                Next::Pending(at) => {
                    asked_again = match (asked_again, at) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
            }
        };
        done.sort_unstable_by(|a, b| b.cmp(a));
        for part in done {
            self.parts.remove(part);
        }
        match next {
            Some(offer) => Next::Offer(offer),
            None if self.parts.iter().all(|(weight, _)| *weight == 0) => Next::Done,
            None => Next::Pending(asked_again),
        }
    }

    fn update(&mut self, event: &Event) {
        for (_, part) in &mut self.parts {
            part.update(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sim;
    use super::*;
    use history::{Kind, Process};

    fn counter() -> impl Generator {
        let mut n = 0;
        from_fn(move |_| {
            n += 1;
            ("write", Value::Int(n))
        })
    }

    fn invoked(events: &[Event]) -> Vec<(u64, i64)> {
        events
            .iter()
            .filter(|e| e.kind == Kind::Invoke)
            .map(|e| (e.time.0 / 1_000_000, e.value.as_int().unwrap()))
            .collect()
    }

    #[test]
    fn limit_offers_so_many_and_all_complete() {
        // Two workers, 10 ms each: 1 2, then 3 4, then 5.
        let events = sim::perfect(counter().limit(5), 2);
        assert_eq!(
            invoked(&events),
            [(0, 1), (0, 2), (10, 3), (10, 4), (20, 5)]
        );
        assert_eq!(events.len(), 10);
    }

    #[test]
    fn until_offers_nothing_at_or_after_the_end() {
        let events = sim::perfect(counter().until(Duration::from_millis(30)), 1);
        assert_eq!(invoked(&events), [(0, 1), (10, 2), (20, 3)]);
    }

    #[test]
    fn then_runs_one_after_the_other() {
        let events = sim::perfect(counter().limit(2).then(counter().limit(1)), 1);
        assert_eq!(invoked(&events), [(0, 1), (10, 2), (20, 1)]);
    }

    #[test]
    fn mix_draws_by_weight_and_ends_when_all_have_ended() {
        let events = sim::perfect(
            mix(vec![
                (3, Box::new(from_fn(|_| ("read", Value::Int(0))))),
                (1, Box::new(from_fn(|_| ("write", Value::Int(0))))),
            ])
            .limit(4000),
            10,
        );
        let reads = events
            .iter()
            .filter(|e| e.kind == Kind::Invoke && e.f == "read")
            .count();
        assert!((2850..=3150).contains(&reads), "{reads} of 4000");

        let ends = sim::perfect(
            mix(vec![
                (1, Box::new(counter().limit(3))),
                (1, Box::new(counter().limit(4))),
            ]),
            2,
        );
        assert_eq!(invoked(&ends).len(), 7);
    }

    #[test]
    fn an_unknown_outcome_retires_the_process() {
        let events = sim::imperfect(counter().limit(100), 3, 7);
        let history = history::History::new(events.clone()).unwrap();
        assert_eq!(history.ops().len(), 100);
        for event in events.iter().filter(|e| e.kind == Kind::Info) {
            assert!(
                !events[event.index as usize + 1..]
                    .iter()
                    .any(|later| later.process == event.process),
                "process {} acts after its unknown outcome",
                event.process
            );
        }
        // The three workers' processes never meet: number modulo 3 is the worker.
        assert!(events.iter().any(|e| e.process > Process::Client(2)));
    }

    #[test]
    fn the_first_offers_go_to_different_workers() {
        let events = sim::imperfect(counter().limit(5), 5, 3);
        let mut processes: Vec<_> = events
            .iter()
            .filter(|e| e.kind == Kind::Invoke)
            .map(|e| e.process)
            .collect();
        processes.sort();
        processes.dedup();
        assert_eq!(processes.len(), 5);
    }
}
