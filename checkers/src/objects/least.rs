//! Priority queues: the least value first. Spans are sorted by value.

use super::pile::{Bad, Event, Span};
use super::takes::soonest;
use crate::linearizable::search::NEVER;

/// Until when a value must be out, because a larger one that is taken while it would surely be in
/// is taken by then.
pub fn deadlines(spans: &[Span]) -> Vec<u32> {
    let from_largest: Vec<usize> = (0..spans.len()).rev().collect();
    soonest(spans, &from_largest, &from_largest)
}

/// An order of the spans, in and out, with the empty takes.
pub fn solve(spans: &[Span], empties: &[(u32, u32)]) -> Result<Vec<Event>, Bad> {
    // Moments that matter: at which something can be taken. Each is free until a smaller value is
    // surely in; from one that is not, the way to the next.
    let mut moments: Vec<u32> = spans.iter().map(|s| s.take_call).collect();
    moments.extend(empties.iter().map(|(call, _)| call));
    moments.sort_unstable();
    moments.dedup();
    let at = |moment: u32| moments.partition_point(|m| *m < moment);
    let mut free = Free((0..=moments.len() as u32).collect());
    // Moment, what stands first there, and the value.
    let mut events: Vec<(u32, u32, u32, Event)> = Vec::with_capacity(2 * spans.len());
    for (i, span) in spans.iter().enumerate() {
        let taken = free.first(at(span.take_call));
        let take = moments.get(taken).copied().unwrap_or(NEVER);
        let i = i as u32;
        if take > span.take_ret {
            return Err(Bad {
                spans: (0..=i).collect(),
                empty: None,
            });
        }
        let put = span.put_ret.min(take);
        events.push((put, 0, i, Event::Put(i)));
        events.push((take, 1, i, Event::Take(i)));
        free.cover(at(put), taken);
    }
    for (i, (call, ret)) in empties.iter().enumerate() {
        let moment = moments.get(free.first(at(*call))).copied();
        let Some(moment) = moment.filter(|m| m <= ret) else {
            return Err(Bad {
                spans: (0..spans.len() as u32).collect(),
                empty: Some(i as u32),
            });
        };
        events.push((moment, 2, i as u32, Event::Empty(i as u32)));
    }
    events.sort_unstable_by_key(|(moment, which, i, _)| (*moment, *which, *i));
    Ok(events.into_iter().map(|(.., event)| event).collect())
}

/// Which places are free: from each that is not, a way to one further on.
struct Free(Vec<u32>);

impl Free {
    /// The first that is free, from here; the last always is.
    fn first(&mut self, from: usize) -> usize {
        let mut free = from;
        while self.0[free] as usize != free {
            free = self.0[free] as usize;
        }
        let mut at = from;
        while at != free {
            at = std::mem::replace(&mut self.0[at], free as u32) as usize;
        }
        free
    }

    fn cover(&mut self, from: usize, to: usize) {
        let mut at = self.first(from);
        while at < to {
            self.0[at] = at as u32 + 1;
            at = self.first(at);
        }
    }
}
