//! What conclusions leave open is tried.

use super::saturation::{Adjacent, Clocks, Core};
use super::schedule::Stuck;
use super::{Edge, Polygraph, Why, Writer};
use crate::transactions::consistency::{Class, Scope};
use crate::{Exhausted, Meter};

/// As many steps may be spent on trying.
const STEPS: u64 = 200_000_000;

/// As many choices may hang on each other.
const DEEPEST: usize = 500;

/// No order of versions has none of what the model forbids.
#[derive(Clone, Debug)]
pub struct Refuted {
    pub core: Core,
    /// The weakest class and the narrowest scope that it refutes.
    pub class: Class,
    pub scope: Scope,
    /// Transactions that it is about.
    pub txns: Vec<u32>,
    /// Pairs of writers of which either order leads to a contradiction.
    pub cases: usize,
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// With a serial order, if that is what there is.
    Holds(Vec<u32>),
    Refuted(Box<Refuted>),
    /// The steps were used up.
    Open,
}

impl Polygraph<'_> {
    /// Whether some order of versions leaves no cycle.
    pub fn decide(&mut self, class: Class, meter: &mut Meter) -> Result<Answer, Exhausted> {
        let mut clocks = Clocks::default();
        if let Err(core) = self.saturate(&mut clocks, meter)? {
            return Ok(Answer::Refuted(Box::new(self.refuted(core, class))));
        }
        let mut limited = meter.with_steps(STEPS.min(meter.steps()));
        match self.attempt(class, &mut clocks, 0, &mut limited) {
            Err(Exhausted::Steps) => Ok(Answer::Open),
            answer => answer,
        }
    }

    /// What is left after all conclusions.
    fn attempt(
        &mut self,
        class: Class,
        clocks: &mut Clocks,
        depth: usize,
        meter: &mut Meter,
    ) -> Result<Answer, Exhausted> {
        let stuck = match self.rules.total {
            true => match self.schedule(meter)? {
                Ok(order) => return Ok(Answer::Holds(order)),
                Err(stuck) => stuck,
            },
            false => match self.complete(clocks, meter)? {
                Ok(()) => return Ok(Answer::Holds(Vec::new())),
                Err(stuck) => stuck,
            },
        };
        let is_open = |pair: &&Stuck| {
            let both = [(pair.first, pair.second), (pair.second, pair.first)];
            let commits = both.map(|(a, b)| (self.commit(a), self.commit(b)));
            !commits.into_iter().any(|(a, b)| clocks.reaches(a, b))
        };
        let Some(pair) = stuck.iter().find(is_open).copied() else {
            return Ok(Answer::Open);
        };
        if depth >= DEEPEST {
            return Ok(Answer::Open);
        }
        let known = self.edges.len();
        let mut merged: Option<Refuted> = None;
        // The way it was tried did not go on, so the other first.
        for (first, second) in [(pair.second, pair.first), (pair.first, pair.second)] {
            let (from, to) = (self.commit(first), self.overwrites(second));
            self.add(from, to, Why::Guess);
            let answer = match self.saturate(clocks, meter)? {
                Err(core) => Answer::Refuted(Box::new(self.refuted(core, class))),
                Ok(()) => self.attempt(class, clocks, depth + 1, meter)?,
            };
            self.edges.truncate(known);
            match answer {
                Answer::Refuted(refuted) => {
                    let mut refuted = *refuted;
                    refuted.cases += 1;
                    refuted.txns.extend([first, second]);
                    merged = Some(match merged {
                        None => refuted,
                        Some(other) => refuted.and(other),
                    });
                }
                other => return Ok(other),
            }
        }
        Ok(merged.map_or(Answer::Open, |refuted| Answer::Refuted(Box::new(refuted))))
    }

    /// An order of all points: how many stand before each.
    fn some_order(&self, meter: &mut Meter) -> Result<Vec<u32>, Exhausted> {
        let adjacent = Adjacent::new(self.nodes, &self.edges);
        let order = self.order(&adjacent, meter)?.unwrap_or_default();
        let mut places = vec![0; self.nodes];
        for (node, place) in order.into_iter().zip(0..) {
            places[node as usize] = place;
        }
        Ok(places)
    }

    /// Takes the writers of every key as an order of all has them; if that goes wrong, those pairs
    /// that it went wrong for.
    fn complete(
        &mut self,
        clocks: &mut Clocks,
        meter: &mut Meter,
    ) -> Result<Result<(), Vec<Stuck>>, Exhausted> {
        let order = self.some_order(meter)?;
        let known = self.edges.len();
        for key in 0..self.writers.len() {
            let mut writers: Vec<u32> = self.writers[key].iter().map(|w: &Writer| w.txn).collect();
            writers.sort_unstable_by_key(|txn| order[self.commit(*txn) as usize]);
            for pair in writers.windows(2) {
                meter.tick(0)?;
                let (from, to) = (self.commit(pair[0]), self.overwrites(pair[1]));
                self.add(from, to, Why::Guess);
            }
        }
        let done = self.saturate(clocks, meter)?;
        self.edges.truncate(known);
        let Err(core) = done else {
            return Ok(Ok(()));
        };
        self.saturate(clocks, meter)?.expect("it was saturated");
        let guesses = core.cycle.iter().chain(&core.because);
        let guesses = guesses.filter(|edge| edge.why == Why::Guess);
        let pair = |edge: &Edge| {
            let (first, second) = (self.txn(edge.from)?, self.txn(edge.to)?);
            Some(Stuck { first, second })
        };
        Ok(Err(guesses.filter_map(pair).collect()))
    }

    fn refuted(&self, core: Core, class: Class) -> Refuted {
        let mut edges: Vec<Edge> = core.because.clone();
        edges.extend(&core.cycle);
        let uses = |is: fn(&Why) -> bool| edges.iter().any(|edge| is(&edge.why));
        let closes = core
            .cycle
            .iter()
            .filter(|e| matches!(e.why, Why::Unseen(..)));
        // One anti-dependency closes a cycle of the weakest kind; concluded from, it needs an order
        // of all.
        let unseen = edges
            .iter()
            .filter(|e| matches!(e.why, Why::Unseen(..)))
            .count();
        let is_total = self.rules.total && unseen > 0 && (unseen > 1 || closes.count() != 1);
        let conflicts = uses(|why| matches!(why, Why::Conflict(_)));
        let class = match is_total || conflicts || class == Class::Prefix {
            true => class,
            false => Class::Single,
        };
        let scope = match () {
            () if uses(|why| *why == Why::Time) => Scope::Realtime,
            () if uses(|why| *why == Why::Process) => Scope::Process,
            () => Scope::Data,
        };
        let mut txns: Vec<u32> = Vec::new();
        for edge in &edges {
            txns.extend(self.txn(edge.from));
            txns.extend(self.txn(edge.to));
            if let Why::Older(read, other) | Why::Unseen(read, other) = edge.why {
                let read = self.reads[read as usize];
                txns.extend([read.reader, other]);
                txns.extend(Some(read.saw.writer).filter(|w| *w != super::START));
            }
        }
        txns.sort_unstable();
        txns.dedup();
        Refuted {
            core,
            class,
            scope,
            txns,
            cases: 0,
        }
    }
}

impl Refuted {
    /// One in the one case, one in the other.
    fn and(mut self, other: Refuted) -> Refuted {
        self.class = self.class.max(other.class);
        self.scope = self.scope.max(other.scope);
        self.txns.extend(other.txns);
        self.txns.sort_unstable();
        self.txns.dedup();
        self.cases += other.cases;
        self
    }
}
