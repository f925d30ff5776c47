//! All conclusions, and why there is no order if they have a cycle.
//!
//! To know who comes before whom, the points are laid out in **chains**, few if there are few
//! sessions. What comes before a point is then a number for each chain: how many of its points do.
//! With those numbers a rule looks at the last writer of each chain that comes before a reader, and
//! the first that comes after a writer: others follow from them. Each round draws all conclusions
//! from what is known, and takes time by points and chains.

use std::collections::BTreeSet;

use history::Time;
use rustc_hash::FxHashSet;

use super::{Edge, Polygraph, Read, Why, Writer};
use crate::transactions::consistency::Scope;
use crate::transactions::cycles::shortest_cycles;
use crate::transactions::graph::{Edges, Kind, NONE};
use crate::transactions::seen::START;
use crate::{Exhausted, Meter};

/// Why there is no order.
#[derive(Clone, Debug, Default)]
pub struct Core {
    /// A cycle; each edge leads to where the next begins.
    pub cycle: Vec<Edge>,
    /// All that its conclusions were drawn from.
    pub because: Vec<Edge>,
}

/// Points in chains, and what comes before each.
#[derive(Debug, Default)]
pub struct Clocks {
    chains: usize,
    /// Of each point its chain and its place there.
    at: Vec<(u32, u32)>,
    /// Of each point and chain, how many come before, itself included.
    before: Vec<u32>,
    /// The same as it was a round ago, and which points know more since then.
    was: Vec<u32>,
    learned: Vec<bool>,
}

/// Edges by where they begin.
pub(super) struct Adjacent {
    starts: Vec<u32>,
    edges: Vec<u32>,
}

impl Adjacent {
    pub(super) fn new(nodes: usize, edges: &[Edge]) -> Adjacent {
        let mut starts = vec![0u32; nodes + 2];
        for edge in edges {
            starts[edge.from as usize + 2] += 1;
        }
        for at in 2..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut sorted = vec![0u32; edges.len()];
        for (edge, number) in edges.iter().zip(0..) {
            let at = &mut starts[edge.from as usize + 1];
            sorted[*at as usize] = number;
            *at += 1;
        }
        starts.pop();
        Adjacent {
            starts,
            edges: sorted,
        }
    }

    #[inline]
    pub(super) fn of(&self, node: u32) -> &[u32] {
        &self.edges[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }
}

impl Clocks {
    /// How many of a chain's points come before this one.
    #[inline]
    fn known(&self, node: u32, chain: u32) -> u32 {
        self.before[node as usize * self.chains + chain as usize]
    }

    #[inline]
    pub fn reaches(&self, from: u32, to: u32) -> bool {
        let (chain, place) = self.at[from as usize];
        from != to && self.known(to, chain) > place
    }
}

impl Polygraph<'_> {
    /// Draws conclusions until there are no more, or a cycle.
    pub fn saturate(
        &mut self,
        clocks: &mut Clocks,
        meter: &mut Meter,
    ) -> Result<Result<(), Core>, Exhausted> {
        // What was taken back makes the last round's knowledge worthless.
        clocks.before.clear();
        loop {
            let adjacent = Adjacent::new(self.nodes, &self.edges);
            let Some(order) = self.order(&adjacent, meter)? else {
                return Ok(Err(self.cycle(meter)?));
            };
            if clocks.at.is_empty() {
                self.chain(&order, clocks);
            }
            self.tell(&order, &adjacent, clocks, meter)?;
            let mut more = More {
                known: self.edges.len() as u32,
                clocks,
                there: FxHashSet::default(),
                edges: Vec::new(),
            };
            if let Some((read, other)) = self.conclude(&mut more, meter)? {
                return Ok(Err(self.beginning(read, other, meter)?));
            }
            if more.edges.is_empty() {
                return Ok(Ok(()));
            }
            let edges = more.edges;
            self.edges.extend(edges);
        }
    }

    /// Kahn 1962; none if there is a cycle.
    pub(super) fn order(
        &self,
        adjacent: &Adjacent,
        meter: &mut Meter,
    ) -> Result<Option<Vec<u32>>, Exhausted> {
        let mut before = vec![0u32; self.nodes];
        for edge in &self.edges {
            before[edge.to as usize] += 1;
        }
        let mut order: Vec<u32> = Vec::with_capacity(self.nodes);
        order.extend((0..self.nodes as u32).filter(|node| before[*node as usize] == 0));
        let mut next = 0;
        while let Some(node) = order.get(next).copied() {
            next += 1;
            meter.tick(self.bytes())?;
            for edge in adjacent.of(node) {
                let to = self.edges[*edge as usize].to;
                before[to as usize] -= 1;
                if before[to as usize] == 0 {
                    order.push(to);
                }
            }
        }
        Ok((order.len() == self.nodes).then_some(order))
    }

    /// Lays out the points in chains: each goes on from one that comes before it, if that is the
    /// end of its chain; or, by time, from one that had returned.
    fn chain(&mut self, order: &[u32], clocks: &mut Clocks) {
        clocks.at = vec![(NONE, 0); self.nodes];
        let mut ends: Vec<u32> = Vec::new();
        let (by_session, by_time) = (
            self.rules.scope >= Scope::Process,
            self.rules.scope == Scope::Realtime,
        );
        let mut coming: Vec<Vec<u32>> = vec![Vec::new(); self.nodes];
        for edge in &self.edges {
            // Who leaves a session for what it read, or for a moment, leaves it without its chain.
            let goes_on = match edge.why {
                Why::Inside | Why::Process => true,
                Why::Time => self.txn(edge.from).is_none() && self.txn(edge.to).is_none(),
                _ => !by_session,
            };
            if goes_on {
                coming[edge.to as usize].push(edge.from);
            }
        }
        let mut idle: BTreeSet<(Time, u32)> = BTreeSet::new();
        for node in order {
            let is_there = |txn: u32| self.txns.happened[txn as usize];
            if self.txn(*node).is_some_and(|txn| !is_there(txn)) {
                clocks.at[*node as usize] = (0, 0);
                continue;
            }
            let before = coming[*node as usize].iter();
            let mut before = before.filter_map(|from| {
                let (chain, _) = clocks.at[*from as usize];
                (ends[chain as usize] == *from).then_some(chain)
            });
            let txn = self.txn(*node);
            let by_edge = before.next();
            let chain = by_edge.or_else(|| {
                let call = self.txns.calls[txn.filter(|_| by_time)? as usize];
                let (ret, chain) = idle.range(..(call, 0)).next_back().copied()?;
                idle.remove(&(ret, chain));
                Some(chain)
            });
            let chain = chain.unwrap_or_else(|| {
                ends.push(NONE);
                ends.len() as u32 - 1
            });
            let end = std::mem::replace(&mut ends[chain as usize], *node);
            let place = match end {
                NONE => 0,
                end => clocks.at[end as usize].1 + 1,
            };
            if let Some(txn) = self.txn(end).filter(|_| end != NONE) {
                idle.remove(&(self.txns.rets[txn as usize], chain));
            }
            clocks.at[*node as usize] = (chain, place);
            if let Some(txn) = txn.filter(|txn| self.commit(*txn) == *node) {
                idle.insert((self.txns.rets[txn as usize], chain));
            }
        }
        clocks.chains = ends.len().max(1);
        for key in 0..self.writers.len() {
            for at in 0..self.writers[key].len() {
                let txn = self.writers[key][at].txn;
                let (chain, place) = clocks.at[self.commit(txn) as usize];
                self.writers[key][at] = Writer { chain, place, txn };
            }
            self.writers[key].sort_unstable_by_key(|w| (w.chain, w.place));
        }
    }

    /// What comes before each point.
    fn tell(
        &self,
        order: &[u32],
        adjacent: &Adjacent,
        clocks: &mut Clocks,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let chains = clocks.chains;
        meter.tick(self.nodes as u64 * chains as u64 * 8 + self.bytes())?;
        std::mem::swap(&mut clocks.before, &mut clocks.was);
        clocks.before.clear();
        clocks.before.resize(self.nodes * chains, 0);
        for node in order {
            let (chain, place) = clocks.at[*node as usize];
            let here = *node as usize * chains;
            clocks.before[here + chain as usize] = place + 1;
            for edge in adjacent.of(*node) {
                meter.tick(0)?;
                let to = self.edges[*edge as usize].to as usize * chains;
                let (from, into) = match here < to {
                    true => {
                        let (a, b) = clocks.before.split_at_mut(to);
                        (&a[here..here + chains], &mut b[..chains])
                    }
                    false => {
                        let (a, b) = clocks.before.split_at_mut(here);
                        (&b[..chains], &mut a[to..to + chains])
                    }
                };
                for (into, from) in into.iter_mut().zip(from) {
                    *into = (*into).max(*from);
                }
            }
        }
        let is_first = clocks.was.len() != clocks.before.len();
        let rows = clocks.before.chunks(chains).enumerate();
        let learned = rows
            .map(|(node, now)| is_first || *now != clocks.was[node * chains..(node + 1) * chains]);
        clocks.learned = learned.collect();
        Ok(())
    }

    /// One round; or a read of the start, and a writer that came before it.
    fn conclude(
        &self,
        more: &mut More,
        meter: &mut Meter,
    ) -> Result<Option<(u32, u32)>, Exhausted> {
        let lanes = |key: u32| {
            let writers = &self.writers[key as usize];
            writers.chunk_by(|a, b| a.chain == b.chain)
        };
        // Where nothing was learned, nothing follows.
        let learned = |node: u32| more.clocks.learned[node as usize];
        let learned_of: Vec<bool> = (self.writers.iter())
            .map(|writers| writers.iter().any(|w| learned(self.commit(w.txn))))
            .collect();
        for (Read { reader, saw }, number) in self.reads.iter().zip(0..) {
            let begin = self.begin(*reader);
            if !learned_of[saw.key as usize] && !more.clocks.learned[begin as usize] {
                continue;
            }
            for lane in lanes(saw.key) {
                meter.tick(0)?;
                let known = more.clocks.known(begin, lane[0].chain);
                let until = lane.partition_point(|writer| writer.place < known);
                let mut before = lane[..until].iter().rev().filter(|w| w.txn != *reader);
                if let Some(other) = before.next().filter(|w| w.txn != saw.writer) {
                    if saw.writer == START {
                        return Ok(Some((number, other.txn)));
                    }
                    more.add(
                        self.commit(other.txn),
                        self.overwrites(saw.writer),
                        Why::Older(number, other.txn),
                    );
                }
                if !self.rules.total {
                    continue;
                }
                let first = match saw.writer {
                    START => 0,
                    writer => {
                        let (chain, place) = more.clocks.at[self.commit(writer) as usize];
                        let follows =
                            |w: &Writer| more.clocks.known(self.commit(w.txn), chain) > place;
                        lane.partition_point(|writer| !follows(writer))
                    }
                };
                let mut after = lane[first..].iter().filter(|w| w.txn != saw.writer);
                if let Some(other) = after.next().filter(|w| w.txn != *reader) {
                    let why = Why::Unseen(number, other.txn);
                    more.add(begin, self.commit(other.txn), why);
                }
            }
        }
        for key in (0..self.writers.len() as u32).filter(|_| self.rules.conflict) {
            for writer in &self.writers[key as usize] {
                let commit = self.commit(writer.txn);
                if !more.clocks.learned[commit as usize] {
                    continue;
                }
                for lane in lanes(key) {
                    meter.tick(0)?;
                    // Right before a commit is the same transaction's begin.
                    let known = more.clocks.known(commit, lane[0].chain);
                    let until = lane.partition_point(|w| w.place <= known);
                    let mut before = lane[..until].iter().rev();
                    if let Some(other) = before.find(|w| w.txn != writer.txn) {
                        let began = self.begin(other.txn);
                        if more.clocks.reaches(began, commit) {
                            let to = self.begin(writer.txn);
                            more.add(self.commit(other.txn), to, Why::Conflict(key));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// The shortest cycle that can be found soon.
    fn cycle(&self, meter: &mut Meter) -> Result<Core, Exhausted> {
        let mut edges = Edges::new(self.nodes);
        for (edge, number) in self.edges.iter().zip(0..) {
            meter.tick(edges.bytes())?;
            edges.add(edge.from, edge.to, Kind::Ww, number);
        }
        let cycles = shortest_cycles(&edges.graph(meter)?, meter)?;
        let shortest = cycles.into_iter().min_by_key(Vec::len).unwrap_or_default();
        let cycle: Vec<u32> = shortest.iter().map(|step| step.version).collect();
        self.core(&cycle, meter)
    }

    /// A reader of what was there at the start, behind somebody who overwrote it.
    fn beginning(&self, read: u32, other: u32, meter: &mut Meter) -> Result<Core, Exhausted> {
        let adjacent = Adjacent::new(self.nodes, &self.edges);
        let begin = self.begin(self.reads[read as usize].reader);
        let commit = self.commit(other);
        let way = self.way(&adjacent, commit, begin, self.edges.len(), meter)?;
        let mut core = self.core(&way, meter)?;
        core.cycle.push(Edge {
            from: begin,
            to: commit,
            why: Why::Unseen(read, other),
            known: self.edges.len() as u32,
        });
        Ok(core)
    }

    /// All that these edges were concluded from, too.
    fn core(&self, cycle: &[u32], meter: &mut Meter) -> Result<Core, Exhausted> {
        let adjacent = Adjacent::new(self.nodes, &self.edges);
        let mut todo: Vec<u32> = cycle.to_vec();
        let mut done: FxHashSet<u32> = FxHashSet::default();
        while let Some(number) = todo.pop() {
            if !done.insert(number) {
                continue;
            }
            let edge = self.edges[number as usize];
            // Only what was known before can be why it is there.
            let limit = edge.known as usize;
            let premise = match edge.why {
                Why::Older(read, other) => {
                    let reader = self.reads[read as usize].reader;
                    (self.commit(other), self.begin(reader))
                }
                Why::Unseen(read, other) => match self.reads[read as usize].saw.writer {
                    START => continue,
                    writer => (self.commit(writer), self.commit(other)),
                },
                // From the begin of the one to the commit of the other.
                Why::Conflict(_) => (edge.from - 1, edge.to + 1),
                _ => continue,
            };
            todo.extend(self.way(&adjacent, premise.0, premise.1, limit, meter)?);
        }
        let edge = |number: &u32| self.edges[*number as usize];
        let mut because: Vec<u32> = done.into_iter().collect();
        because.sort_unstable();
        Ok(Core {
            cycle: cycle.iter().map(edge).collect(),
            because: because.iter().map(edge).collect(),
        })
    }

    /// A shortest way by edges below a number.
    fn way(
        &self,
        adjacent: &Adjacent,
        from: u32,
        to: u32,
        limit: usize,
        meter: &mut Meter,
    ) -> Result<Vec<u32>, Exhausted> {
        let mut by = vec![NONE; self.nodes];
        let mut queue = vec![from];
        let mut next = 0;
        while let Some(node) = queue.get(next).copied() {
            next += 1;
            meter.tick(8 * self.nodes as u64)?;
            if node == to {
                break;
            }
            for number in adjacent.of(node).iter().filter(|n| (**n as usize) < limit) {
                let end = self.edges[*number as usize].to;
                if end != from && by[end as usize] == NONE {
                    by[end as usize] = *number;
                    queue.push(end);
                }
            }
        }
        let mut way = Vec::new();
        let mut at = to;
        while at != from && by[at as usize] != NONE {
            way.push(by[at as usize]);
            at = self.edges[by[at as usize] as usize].from;
        }
        way.reverse();
        Ok(way)
    }
}

/// What was concluded in a round.
struct More<'c> {
    /// How many edges there were.
    known: u32,
    clocks: &'c Clocks,
    there: FxHashSet<(u32, u32)>,
    edges: Vec<Edge>,
}

impl More<'_> {
    fn add(&mut self, from: u32, to: u32, why: Why) {
        if from != to && !self.clocks.reaches(from, to) && self.there.insert((from, to)) {
            self.edges.push(Edge {
                from,
                to,
                why,
                known: self.known,
            });
        }
    }
}
