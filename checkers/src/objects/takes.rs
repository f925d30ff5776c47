//! Takes of unknown outcome: each may have taken one of the values that nobody else took, or
//! nothing.
//!
//! A value must be out by some moment if what was put in after it is out by then, or if the object
//! was found empty. So takes are given to values in the order of these deadlines, as they were
//! called; if one comes too late there is no order. What this proves, and for which kinds, is in
//! `harness/docs/proofs.md`.

use std::cmp::Reverse;

use super::fifo::{self, Run};
use super::pile::{Bad, Event, Kind, Span};
use crate::linearizable::search::NEVER;

/// By which take each value that stays was taken, as a place among those of unknown outcome.
pub type Taken = Vec<Option<u32>>;

/// An order of spans and empty takes, in which takes that were called at `lost`, sorted, may have
/// taken what stays. Of a queue it is found if there is one.
pub fn solve(
    kind: Kind,
    spans: &[Span],
    empties: &[(u32, u32)],
    lost: &[u32],
) -> Result<(Vec<Event>, Taken), Bad> {
    if lost.is_empty() {
        return Ok((kind.solve(spans, empties)?, vec![None; spans.len()]));
    }
    let mut until = kind.deadlines(spans);
    // From when on a value that is surely in must be out, and until when.
    let gaps = match kind {
        Kind::Fifo => {
            assign(spans, &until, lost).map_err(|late| fifo::overtaken(spans, late))?;
            let moments = moments(spans, empties, lost)?;
            moments.into_iter().map(|moment| (moment, moment)).collect()
        }
        Kind::Lifo | Kind::Least => empties.to_vec(),
    };
    found_empty(spans, gaps, &mut until);
    let taken = assign(spans, &until, lost).map_err(|spans| Bad { spans, empty: None })?;
    let span = |(span, taken): (&Span, &Option<u32>)| match taken {
        Some(take) => span.taken_from(lost[*take as usize]),
        None => *span,
    };
    let spans: Vec<Span> = spans.iter().zip(&taken).map(span).collect();
    Ok((kind.solve(&spans, empties)?, taken))
}

/// For each span, when the first take returns of those that are called only when it is surely in,
/// and whose spans have one of the first so many places in a row.
pub fn soonest(spans: &[Span], place: &[usize], within: &[usize]) -> Vec<u32> {
    let latest_first = |key: fn(&Span) -> u32| {
        let mut order: Vec<u32> = (0..spans.len() as u32).collect();
        order.sort_unstable_by_key(|i| Reverse(key(&spans[*i as usize])));
        order
    };
    let by_take = latest_first(|span| span.take_call);
    // A binary indexed tree (Fenwick 1994).
    let mut first = vec![NEVER; spans.len() + 1];
    let mut until = vec![NEVER; spans.len()];
    let mut next = 0;
    for i in latest_first(|span| span.put_ret) {
        while let Some(other) = by_take.get(next)
            && spans[*other as usize].take_call > spans[i as usize].put_ret
        {
            let mut at = place[*other as usize] + 1;
            while at < first.len() {
                first[at] = first[at].min(spans[*other as usize].take_ret);
                at += at & at.wrapping_neg();
            }
            next += 1;
        }
        let mut at = within[i as usize];
        while at > 0 {
            until[i as usize] = until[i as usize].min(first[at]);
            at -= at & at.wrapping_neg();
        }
    }
    until
}

/// Lowers the deadlines of what was surely in when the object was found empty.
fn found_empty(spans: &[Span], mut gaps: Vec<(u32, u32)>, until: &mut [u32]) {
    gaps.sort_unstable();
    for (span, until) in spans.iter().zip(until) {
        let after = gaps.partition_point(|(from, _)| *from < span.put_ret);
        *until = gaps
            .get(after)
            .map_or(*until, |(_, end)| (*until).min(*end));
    }
}

/// Gives the takes to values that must be out, the most urgent first. Or those of which one is too
/// many.
fn assign(spans: &[Span], until: &[u32], lost: &[u32]) -> Result<Taken, Vec<u32>> {
    let mut urgent: Vec<u32> = (0..spans.len() as u32)
        .filter(|i| spans[*i as usize].stays() && until[*i as usize] != NEVER)
        .collect();
    urgent.sort_unstable_by_key(|i| (until[*i as usize], *i));
    let mut taken = vec![None; spans.len()];
    for (take, i) in urgent.iter().enumerate() {
        match lost.get(take).filter(|call| **call <= until[*i as usize]) {
            Some(_) => taken[*i as usize] = Some(take as u32),
            None => return Err(urgent[..=take].to_vec()),
        }
    }
    Ok(taken)
}

/// A moment for each empty take of a queue: then nothing is surely in that was taken, and no more
/// that stays than takes of unknown outcome have been called.
fn moments(spans: &[Span], empties: &[(u32, u32)], lost: &[u32]) -> Result<Vec<u32>, Bad> {
    let runs = fifo::runs(spans.iter().filter(|span| !span.stays()));
    let staying = spans.iter().filter(|span| span.stays());
    let mut staying: Vec<u32> = staying.map(|span| span.put_ret).collect();
    staying.sort_unstable();
    // Only at these does a moment become better than those shortly before it.
    let mut moments: Vec<u32> = empties.iter().map(|(call, _)| *call).collect();
    moments.extend(lost);
    moments.extend(runs.iter().map(|run| run.end));
    moments.sort_unstable();
    moments.retain(|moment| {
        let put = staying.partition_point(|ret| ret < moment);
        let called = lost.partition_point(|call| call <= moment);
        Run::free(&runs, *moment) == *moment && put <= called
    });
    let moment = |(i, (call, ret)): (usize, &(u32, u32))| {
        let first = moments.partition_point(|moment| moment < call);
        let moment = moments.get(first).filter(|moment| *moment <= ret);
        moment.copied().ok_or_else(|| Bad {
            spans: (0..spans.len() as u32).collect(),
            empty: Some(i as u32),
        })
    };
    empties.iter().enumerate().map(moment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u32) -> impl FnMut(u32) -> u32 {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        move |n| {
            // Xorshift (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % n
        }
    }

    /// Spans of any kind, of which one in so many stays.
    fn spans(below: &mut impl FnMut(u32) -> u32, stays: u32) -> Vec<Span> {
        let span = |_| {
            let put_call = 2 * below(15);
            let put_ret = put_call + 1 + 2 * below(5);
            let take_call = put_call.max(2 * below(25));
            let (take_call, take_ret) = match below(stays) {
                0 => (NEVER, NEVER),
                _ => (take_call, take_call + 1 + 2 * below(8)),
            };
            Span {
                put_call,
                put_ret,
                take_call,
                take_ret,
            }
        };
        (0..7).map(span).collect()
    }

    #[test]
    fn deadlines_are_those_of_every_two_spans() {
        for seed in 0..2_000 {
            let spans = spans(&mut random(seed), 4);
            for kind in [Kind::Fifo, Kind::Lifo, Kind::Least] {
                let deadline = |i: usize| {
                    let own = &spans[i];
                    let others = spans.iter().enumerate().filter(|(j, other)| {
                        let while_in = other.take_call > own.put_ret;
                        match kind {
                            Kind::Fifo => own.put_ret < other.put_call,
                            Kind::Lifo => other.put_ret < own.put_call && while_in,
                            Kind::Least => *j > i && while_in,
                        }
                    });
                    others.map(|(_, other)| other.take_ret).min()
                };
                let every = (0..spans.len()).map(|i| deadline(i).unwrap_or(NEVER));
                let every: Vec<u32> = every.collect();
                assert_eq!(kind.deadlines(&spans), every, "{kind:?} {spans:?}");
            }
        }
    }

    /// Whether there is an order for some choice of what each take took.
    fn any(spans: &mut Vec<Span>, at: usize, empties: &[(u32, u32)], lost: &[u32]) -> bool {
        let Some(span) = spans.get(at).copied() else {
            return Kind::Fifo.solve(spans, empties).is_ok();
        };
        if any(spans, at + 1, empties, lost) {
            return true;
        }
        for i in 0..lost.len() {
            if !span.stays() {
                break;
            }
            let mut others = lost.to_vec();
            spans[at] = span.taken_from(others.remove(i));
            let found = any(spans, at + 1, empties, &others);
            spans[at] = span;
            if found {
                return true;
            }
        }
        false
    }

    #[test]
    fn of_a_queue_some_choice_is_found_if_there_is_one() {
        let mut counts = [0; 2];
        for seed in 0..3_000 {
            let mut below = random(seed);
            let mut spans = spans(&mut below, 2);
            let mut lost: Vec<u32> = (0..1 + below(4)).map(|_| 2 * below(25)).collect();
            lost.sort_unstable();
            let empty = |_| {
                let call = 2 * below(25);
                (call, call + 1 + 2 * below(8))
            };
            let empties: Vec<(u32, u32)> = (0..3).map(empty).collect();
            let found = solve(Kind::Fifo, &spans, &empties, &lost).is_ok();
            let all = spans.clone();
            assert_eq!(
                any(&mut spans, 0, &empties, &lost),
                found,
                "seed {seed}: {all:?} {empties:?} {lost:?}"
            );
            counts[usize::from(found)] += 1;
        }
        assert!(counts.iter().all(|n| *n > 100), "{counts:?}");
    }
}
