//! Stacks: spans that are nested or apart.
//!
//! ```text
//! covered   |=====================|        |====|     moments at which something is surely in
//! outermost |---------------------|        |----|     one span from end to end of each run
//! without it   |=======|   |====|                     what it covered alone falls apart, and so on
//! ```

use super::fifo::empty_moments;
use super::pile::{Bad, Event, Span};
use super::takes::soonest;
use super::tree::Tree;
use crate::linearizable::search::NEVER;

/// Until when a value must be out, because one that was surely put in before it, and is taken while
/// it would surely be in, is taken by then.
pub fn deadlines(spans: &[Span]) -> Vec<u32> {
    let mut puts: Vec<u32> = spans.iter().map(|s| s.put_ret).collect();
    puts.sort_unstable();
    let before = |moment: u32| puts.partition_point(|ret| *ret < moment);
    let place: Vec<usize> = spans.iter().map(|s| before(s.put_ret)).collect();
    let below: Vec<usize> = spans.iter().map(|s| before(s.put_call)).collect();
    soonest(spans, &place, &below)
}

/// What has no number, or must not be found.
const FAR: i64 = 1 << 40;

/// A run of moments that are covered without a gap.
struct Run {
    /// Spans that begin in it, by `put_ret`: `from..to`.
    from: usize,
    to: usize,
    begin: u32,
    end: u32,
    depth: u32,
}

/// Spans that cover something, and what is left of them.
struct Peeling<'a> {
    spans: &'a [Span],
    /// By `put_ret`.
    order: Vec<u32>,
    /// Ends of spans, where runs can end.
    ends: Vec<u32>,
    /// How many spans cover each of them; the last is never covered.
    cover: Tree,
    /// From each place in the order to the next that is left.
    next: Vec<u32>,
    /// When those that are left can be put in; [`FAR`] once it is not later than their run's begin.
    unready: Tree,
    /// When those can be out that can be put in by their run's begin, as a negative number.
    ready: Tree,
}

impl Peeling<'_> {
    fn new(spans: &[Span]) -> Peeling<'_> {
        let mut order: Vec<u32> = (0..spans.len() as u32)
            .filter(|i| spans[*i as usize].put_ret < spans[*i as usize].take_call)
            .collect();
        order.sort_unstable_by_key(|i| (spans[*i as usize].put_ret, *i));
        let mut ends: Vec<u32> = order.iter().map(|i| spans[*i as usize].take_call).collect();
        ends.push(NEVER);
        ends.sort_unstable();
        ends.dedup();
        let calls = order.iter().map(|i| i64::from(spans[*i as usize].put_call));
        let mut peeling = Peeling {
            spans,
            cover: Tree::new(&vec![0; ends.len()]),
            next: (0..=order.len() as u32).collect(),
            unready: Tree::new(&calls.collect::<Vec<_>>()),
            ready: Tree::new(&vec![FAR; order.len()]),
            order,
            ends,
        };
        for place in 0..peeling.order.len() {
            peeling.cover(place, 1);
        }
        peeling
    }

    fn cover(&mut self, place: usize, by: i64) {
        let span = &self.spans[self.order[place] as usize];
        let end = |moment: u32| self.ends.partition_point(|end| *end < moment);
        let (from, to) = (end(span.put_ret), end(span.take_call));
        self.cover.add(from..to, by);
    }

    /// The first that is left, from here.
    fn left(&mut self, from: usize) -> usize {
        let mut left = from;
        while self.next[left] as usize != left {
            left = self.next[left] as usize;
        }
        let mut at = from;
        while at != left {
            at = std::mem::replace(&mut self.next[at], left as u32) as usize;
        }
        left
    }

    /// The runs of what is left in a part of the order.
    fn runs(&mut self, from: usize, to: usize, depth: u32, runs: &mut Vec<Run>) {
        let mut from = self.left(from);
        while from < to {
            let begin = self.spans[self.order[from] as usize].put_ret;
            let at = self.ends.partition_point(|end| *end <= begin);
            let end = self.ends[self.cover.least(at..self.ends.len()).1];
            let spans = self.spans;
            let to = self
                .order
                .partition_point(|i| spans[*i as usize].put_ret < end);
            runs.push(Run {
                from,
                to,
                begin,
                end,
                depth,
            });
            from = self.left(to);
        }
    }

    /// Takes away one that can reach from end to end of a run.
    fn peel(&mut self, run: &Run) -> Result<u32, Bad> {
        loop {
            let (call, place) = self.unready.least(run.from..run.to);
            if call > i64::from(run.begin) {
                break;
            }
            self.unready.add(place..place + 1, FAR);
            let ret = self.spans[self.order[place] as usize].take_ret;
            self.ready.add(place..place + 1, -FAR - i64::from(ret));
        }
        let (ret, place) = self.ready.least(run.from..run.to);
        if -ret < i64::from(run.end) {
            let left = (run.from..run.to).filter(|place| self.next[*place] as usize == *place);
            return Err(Bad {
                spans: left.map(|place| self.order[place]).collect(),
                empty: None,
            });
        }
        self.ready.add(
            place..place + 1,
            FAR + i64::from(self.spans[self.order[place] as usize].take_ret),
        );
        self.next[place] = place as u32 + 1;
        self.cover(place, -1);
        Ok(self.order[place])
    }
}

/// An order of the spans, in and out, with the empty takes at moments at which no span is surely
/// in.
pub fn solve(spans: &[Span], empties: &[(u32, u32)]) -> Result<Vec<Event>, Bad> {
    let moments = empty_moments(spans, empties)?;
    // At one moment: the outer go in before the inner and come out after them, what goes in and out
    // at once stands together, and it is empty last.
    let mut events: Vec<(u32, u32, u32, u32, Event)> = Vec::with_capacity(2 * spans.len());
    let mut peeling = Peeling::new(spans);
    let mut runs = Vec::new();
    peeling.runs(0, peeling.order.len(), 0, &mut runs);
    while let Some(run) = runs.pop() {
        let i = peeling.peel(&run)?;
        events.push((run.begin, 0, run.depth, 0, Event::Put(i)));
        events.push((run.end, 0, u32::MAX - run.depth, 0, Event::Take(i)));
        peeling.runs(run.from, run.to, run.depth + 1, &mut runs);
    }
    for (i, span) in spans.iter().enumerate() {
        if span.put_ret >= span.take_call {
            events.push((span.take_call, 1, i as u32, 0, Event::Put(i as u32)));
            events.push((span.take_call, 1, i as u32, 1, Event::Take(i as u32)));
        }
    }
    for (i, moment) in moments.iter().enumerate() {
        events.push((*moment, 2, i as u32, 0, Event::Empty(i as u32)));
    }
    events.sort_unstable_by_key(|(moment, which, depth, out, _)| (*moment, *which, *depth, *out));
    Ok(events.into_iter().map(|(.., event)| event).collect())
}
