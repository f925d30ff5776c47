//! Queues: spans in the order in which they can be lined up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pile::{Bad, Event, Span};
use crate::linearizable::search::NEVER;

/// Until when a value must be out, because one that was surely put in after it is taken by then.
pub fn deadlines(spans: &[Span]) -> Vec<u32> {
    let until = |by: Option<u32>| by.map_or(NEVER, |by| spans[by as usize].take_ret);
    overtakers(spans).into_iter().map(until).collect()
}

/// Of those that were surely put in after each, the one that is taken first.
fn overtakers(spans: &[Span]) -> Vec<Option<u32>> {
    let mut puts: Vec<(u32, u32)> = (0..).zip(spans).map(|(i, s)| (s.put_call, i)).collect();
    puts.sort_unstable();
    let take_ret = |i: u32| spans[i as usize].take_ret;
    for at in (1..puts.len()).rev() {
        if take_ret(puts[at].1) < take_ret(puts[at - 1].1) {
            puts[at - 1].1 = puts[at].1;
        }
    }
    let after = |span: &Span| puts.get(puts.partition_point(|(call, _)| *call < span.put_ret));
    let overtaker = |span| after(span).map(|(_, first)| *first);
    spans.iter().map(overtaker).collect()
}

/// Values that stay, one more than can be out by their deadlines, with what tells these.
pub fn overtaken(spans: &[Span], mut staying: Vec<u32>) -> Bad {
    let overtakers = overtakers(spans);
    let by = staying.iter().filter_map(|i| overtakers[*i as usize]);
    let by: Vec<u32> = by.collect();
    staying.extend(by);
    staying.sort_unstable();
    staying.dedup();
    Bad {
        spans: staying,
        empty: None,
    }
}

/// An order of the spans, in and out, with the empty takes at moments at which no span is surely
/// in.
pub fn solve(spans: &[Span], empties: &[(u32, u32)]) -> Result<Vec<Event>, Bad> {
    let moments = empty_moments(spans, empties)?;
    let mut cuts: Vec<u32> = moments.clone();
    cuts.sort_unstable();
    cuts.dedup();
    // A span stands before the first cut that is not earlier than its take can be.
    let mut sections: Vec<Vec<u32>> = vec![Vec::new(); cuts.len() + 1];
    for (i, span) in spans.iter().enumerate() {
        sections[cuts.partition_point(|cut| *cut < span.take_call)].push(i as u32);
    }
    // Section, moment, whether it takes, and its place among the like.
    let mut events: Vec<(usize, u32, u32, usize, Event)> = Vec::with_capacity(2 * spans.len());
    let mut placed = vec![false; spans.len()];
    for (at, section) in sections.iter().enumerate() {
        let (mut put, mut take) = (0, 0);
        for (place, i) in line_up(spans, section, &mut placed)?
            .into_iter()
            .enumerate()
        {
            let span = &spans[i as usize];
            put = put.max(span.put_call);
            take = take.max(span.take_call);
            events.push((at, put, 0, place, Event::Put(i)));
            events.push((at, take, 1, place, Event::Take(i)));
        }
    }
    for (i, moment) in moments.iter().enumerate() {
        let at = cuts.partition_point(|cut| cut < moment);
        events.push((at, *moment, 2, i, Event::Empty(i as u32)));
    }
    events.sort_unstable_by_key(|(at, moment, which, place, _)| (*at, *moment, *which, *place));
    Ok(events.into_iter().map(|(.., event)| event).collect())
}

/// The order of some spans: each is put before those that are put after it had been, and so with
/// takes. If there is none, two of them show it.
fn line_up(spans: &[Span], section: &[u32], placed: &mut [bool]) -> Result<Vec<u32>, Bad> {
    let span = |i: u32| &spans[i as usize];
    let sorted = |key: &dyn Fn(u32) -> u32| {
        let mut order = section.to_vec();
        order.sort_unstable_by_key(|i| (key(*i), *i));
        order
    };
    let by_put_call = sorted(&|i| span(i).put_call);
    let by_put_ret = sorted(&|i| span(i).put_ret);
    let by_take_ret = sorted(&|i| span(i).take_ret);
    let (mut next, mut put, mut take) = (0, 0, 0);
    // Those that no other must be put before, by when they can be taken.
    let mut ready: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
    let mut order = Vec::with_capacity(section.len());
    while order.len() < section.len() {
        while placed[by_put_ret[put] as usize] {
            put += 1;
        }
        while placed[by_take_ret[take] as usize] {
            take += 1;
        }
        let first_put = span(by_put_ret[put]).put_ret;
        while let Some(i) = by_put_call.get(next)
            && span(*i).put_call <= first_put
        {
            ready.push(Reverse((span(*i).take_call, *i)));
            next += 1;
        }
        let Some(Reverse((take_call, i))) = ready.pop() else {
            unreachable!("what is put first is ready");
        };
        let overtaker = by_take_ret[take];
        if span(overtaker).take_ret < take_call {
            let spans = vec![by_put_ret[put], overtaker];
            return Err(Bad { spans, empty: None });
        }
        placed[i as usize] = true;
        order.push(i);
    }
    Ok(order)
}

/// Moments that are covered without a gap, between two at which nothing is surely in.
pub struct Run {
    pub begin: u32,
    pub end: u32,
}

impl Run {
    /// The first moment from this one on that none of them covers.
    pub fn free(runs: &[Run], moment: u32) -> u32 {
        let before = runs.partition_point(|run| run.begin < moment);
        let last = before.checked_sub(1).map_or(0, |last| runs[last].end);
        last.max(moment)
    }
}

/// The runs of moments at which something is surely in.
pub fn runs<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Run> {
    let mut covers: Vec<(u32, u32)> = spans.map(|s| (s.put_ret, s.take_call)).collect();
    covers.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (begin, end) in covers {
        match runs.last_mut() {
            Some(run) if begin < run.end => run.end = run.end.max(end),
            _ => runs.push(Run { begin, end }),
        }
    }
    runs
}

/// A moment for each empty take at which nothing is surely in. For stacks it is the same.
pub fn empty_moments(spans: &[Span], empties: &[(u32, u32)]) -> Result<Vec<u32>, Bad> {
    let runs = runs(spans.iter());
    let moment = |(i, (call, ret)): (usize, &(u32, u32))| match Run::free(&runs, *call) {
        free if free <= *ret => Ok(free),
        _ => Err(Bad {
            spans: chain(spans, *call, *ret),
            empty: Some(i as u32),
        }),
    };
    empties.iter().enumerate().map(moment).collect()
}

/// Few spans that together cover an interval which is covered.
fn chain(spans: &[Span], call: u32, ret: u32) -> Vec<u32> {
    let mut by_put: Vec<u32> = (0..spans.len() as u32).collect();
    by_put.sort_unstable_by_key(|i| spans[*i as usize].put_ret);
    let (mut chain, mut at, mut next) = (Vec::new(), call, 0);
    let mut furthest: Option<u32> = None;
    while at <= ret {
        while let Some(i) = by_put.get(next)
            && spans[*i as usize].put_ret < at
        {
            let reaches = |i: u32| spans[i as usize].take_call;
            if furthest.is_none_or(|known| reaches(known) < reaches(*i)) {
                furthest = Some(*i);
            }
            next += 1;
        }
        // What is covered is covered by what was put before it and reaches furthest.
        let Some(i) = furthest else {
            unreachable!("a covered moment has a span before it");
        };
        chain.push(i);
        at = spans[i as usize].take_call;
    }
    chain
}
