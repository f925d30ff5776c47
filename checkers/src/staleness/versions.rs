//! The smallest k for which a register is k-atomic: there is an order that agrees with real time,
//! in which every read returns one of the last k values written before it (Aiyer, Alvisi and Bazzi
//! 2005; Golab, Hurwitz and Li, "On the k-atomicity-verification problem", ICDCS 2013).
//!
//! Let `f` be the first return among a value's write and reads, `c` the call of its write, and `s`
//! the last call of its reads. Reads can be put in as early as time allows, so that only writes
//! have to be ordered, and an order is right iff
//!
//! - `v` comes before `w` wherever `f(v) < c(w)`, and
//! - whatever has `f(w) < s(v)` comes at most k - 1 places behind `v`: one read of `v` has to
//!   follow it.
//!
//! Writes are placed one after the other. What has been placed leaves thresholds: in so many places
//! everything that first returned before such a time has to be there. Once nothing is left that a
//! threshold asks for, what was placed can be forgotten: the rest of a k-atomic history is
//! k-atomic, and an order of it can stand behind. So the search goes back no further than to the
//! last such point. For k = 2 each choice at such a point forces all that follow, as in the paper,
//! and no more than a square of steps is taken; for k > 2 it can be exponential in the number of
//! writes open at once, and has a limit.

use rustc_hash::FxHashSet;

use super::Cluster;
use crate::{Exhausted, Meter};

/// As many steps are taken for one key.
const MOST_STEPS: u64 = 20_000_000;

/// What is known of the smallest k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    Exactly(usize),
    AtLeast(usize),
}

impl Versions {
    pub fn number(self) -> usize {
        match self {
            Versions::Exactly(k) | Versions::AtLeast(k) => k,
        }
    }

    /// The larger, of two keys.
    pub fn and(self, other: Versions) -> Versions {
        let k = self.number().max(other.number());
        let open = |of: Versions| matches!(of, Versions::AtLeast(_));
        match open(self) || open(other) {
            true => Versions::AtLeast(k),
            false => Versions::Exactly(k),
        }
    }
}

/// The smallest k. Clusters are sorted by their first return, and none was read before it was
/// written.
pub fn smallest(clusters: &[Cluster], meter: &Meter) -> Result<Versions, Exhausted> {
    let mut steps = meter.with_steps(MOST_STEPS);
    let mut k = 1;
    let end = |why, k| match why {
        Exhausted::Steps => Ok(Versions::AtLeast(k)),
        why => Err(why),
    };
    for cluster in clusters {
        match surely_between(clusters, cluster, &mut steps) {
            Ok(between) => k = k.max(between + 1),
            Err(why) => return end(why, k),
        }
    }
    let search = Search::new(clusters);
    loop {
        match search.fits(k, &mut steps) {
            Ok(true) => return Ok(Versions::Exactly(k)),
            Ok(false) => k += 1,
            Err(why) => return end(why, k),
        }
    }
}

/// How many writes come behind that of a value and before its last read, in every order.
fn surely_between(
    clusters: &[Cluster],
    of: &Cluster,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let Some(last) = of.read else {
        return Ok(0);
    };
    let later = clusters.partition_point(|other| other.first <= of.first);
    let mut between = 0;
    for other in &clusters[later..] {
        meter.tick(0)?;
        if other.first >= last {
            break;
        }
        between += usize::from(of.first < other.called);
    }
    Ok(between)
}

struct Search<'a> {
    clusters: &'a [Cluster],
    by_call: Vec<u32>,
}

/// What has been placed.
#[derive(Clone)]
struct Placed {
    /// All in front of this one, and these behind it, in order.
    all: usize,
    beyond: Vec<u32>,
    /// Those that may come next, and how many, by call, ever could.
    open: Vec<u32>,
    admitted: usize,
    /// In so many places all that first returned before this has to be placed; 0 asks for nothing.
    thresholds: Vec<u64>,
}

impl<'a> Search<'a> {
    fn new(clusters: &'a [Cluster]) -> Search<'a> {
        let mut by_call: Vec<u32> = (0..clusters.len() as u32).collect();
        by_call.sort_by_key(|i| clusters[*i as usize].called);
        Search { clusters, by_call }
    }

    fn fits(&self, k: usize, meter: &mut Meter) -> Result<bool, Exhausted> {
        let mut start = Placed {
            all: 0,
            beyond: Vec::new(),
            open: Vec::new(),
            admitted: 0,
            thresholds: vec![0; k],
        };
        self.admit(&mut start);
        let mut seen: FxHashSet<(usize, Vec<u32>, Vec<u64>)> = FxHashSet::default();
        let mut stack = vec![start];
        while let Some(state) = stack.pop() {
            if state.all == self.clusters.len() {
                return Ok(true);
            }
            if state.thresholds.iter().all(|threshold| *threshold == 0) {
                // Nothing is asked for: whatever else was tried need not be.
                stack.clear();
                seen.clear();
            }
            let mut next: Vec<Placed> = Vec::new();
            for write in &state.open {
                meter.tick((64 + 8 * k as u64) * (stack.len() + seen.len()) as u64)?;
                if let Some(then) = self.place(&state, *write, meter)? {
                    let known = (then.all, then.beyond.clone(), then.thresholds.clone());
                    if seen.insert(known) {
                        next.push(then);
                    }
                }
            }
            // The one that returns first is tried first.
            next.reverse();
            stack.extend(next);
        }
        Ok(false)
    }

    /// With this write behind; none if a threshold cannot be met any more.
    fn place(
        &self,
        state: &Placed,
        write: u32,
        meter: &mut Meter,
    ) -> Result<Option<Placed>, Exhausted> {
        let mut then = state.clone();
        then.open.retain(|open| *open != write);
        let at = then.beyond.partition_point(|other| *other < write);
        then.beyond.insert(at, write);
        let run = then.beyond.iter().zip(then.all as u32..);
        let run = run.take_while(|(placed, next)| **placed == *next).count();
        then.beyond.drain(..run);
        then.all += run;
        self.admit(&mut then);
        then.thresholds.remove(0);
        let read = self.clusters[write as usize].read;
        then.thresholds.push(read.unwrap_or(0));
        let mut widest = 0;
        for places in 0..then.thresholds.len() {
            widest = then.thresholds[places].max(widest);
            match self.missing(&then, widest, places, meter)? {
                0 => then.thresholds[places] = 0,
                missing if missing > places => return Ok(None),
                _ => then.thresholds[places] = widest,
            }
        }
        Ok(Some(then))
    }

    /// How many that first returned before a time are not placed; one more than enough is enough.
    fn missing(
        &self,
        state: &Placed,
        before: u64,
        enough: usize,
        meter: &mut Meter,
    ) -> Result<usize, Exhausted> {
        let mut missing = 0;
        let mut beyond = state.beyond.iter().peekable();
        for at in state.all..self.clusters.len() {
            meter.tick(0)?;
            if self.clusters[at].first >= before || missing > enough {
                break;
            }
            match beyond.next_if(|placed| **placed as usize == at) {
                Some(_) => {}
                None => missing += 1,
            }
        }
        Ok(missing)
    }

    /// Adds those that nothing that is not placed precedes.
    fn admit(&self, state: &mut Placed) {
        let Some(first) = self.clusters.get(state.all) else {
            return;
        };
        while let Some(next) = self.by_call.get(state.admitted)
            && self.clusters[*next as usize].called <= first.first
        {
            let at = state.open.partition_point(|open| open < next);
            state.open.insert(at, *next);
            state.admitted += 1;
        }
    }
}
