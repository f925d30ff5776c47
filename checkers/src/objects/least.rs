//! Priority queues: the least value first. Spans are sorted by value.

use super::pile::{Bad, Event, Span};
use crate::linearizable::search::NEVER;

/// Until when a value must be out, because a larger one that is taken while it would surely be in is
/// taken by then.
pub fn deadlines(spans: &[Span]) -> Vec<u32> {
    let mut by_take: Vec<u32> = (0..spans.len() as u32).collect();
    by_take.sort_unstable_by_key(|i| std::cmp::Reverse(spans[*i as usize].take_call));
    let mut by_put: Vec<u32> = (0..spans.len() as u32).collect();
    by_put.sort_unstable_by_key(|i| std::cmp::Reverse(spans[*i as usize].put_ret));
    // The soonest return of takes of larger values, as a binary indexed tree (Fenwick 1994) from the
    // largest down.
    let mut soonest = vec![NEVER; spans.len() + 1];
    let mut until = vec![NEVER; spans.len()];
    let mut next = 0;
    for i in by_put {
        while let Some(larger) = by_take.get(next)
            && spans[*larger as usize].take_call > spans[i as usize].put_ret
        {
            let mut at = spans.len() - *larger as usize;
            while at < soonest.len() {
                soonest[at] = soonest[at].min(spans[*larger as usize].take_ret);
                at += at & at.wrapping_neg();
            }
            next += 1;
        }
        let mut at = spans.len() - i as usize - 1;
        while at > 0 {
            until[i as usize] = until[i as usize].min(soonest[at]);
            at -= at & at.wrapping_neg();
        }
    }
    until
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
    // Moment, what stands first there, the value, and whether it is out.
    let mut events: Vec<(u32, u32, u32, u32, Event)> = Vec::with_capacity(2 * spans.len());
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
        // What goes in and comes out at one moment stands together.
        events.push((put, i, 0, i, Event::Put(i)));
        if take != NEVER {
            events.push((take, i, 1, i, Event::Take(i)));
        }
        let covered = at(put + u32::from(put != NEVER));
        free.cover(covered, taken);
    }
    for (i, (call, ret)) in empties.iter().enumerate() {
        let moment = moments.get(free.first(at(*call))).copied();
        let Some(moment) = moment.filter(|m| *m <= *ret && *m != NEVER) else {
            return Err(Bad {
                spans: (0..spans.len() as u32).collect(),
                empty: Some(i as u32),
            });
        };
        events.push((moment, u32::MAX, 0, i as u32, Event::Empty(i as u32)));
    }
    events.sort_unstable_by_key(|(moment, value, out, i, _)| (*moment, *value, *out, *i));
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
