//! Transactions run one after another, by what is known, and by return where nothing is: a writer
//! waits while somebody still has to read what it would overwrite.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use history::Time;
use rustc_hash::FxHashMap;

use super::Polygraph;
use crate::transactions::graph::NONE;
use crate::transactions::seen::START;
use crate::{Exhausted, Meter};

/// Two writers of a key, of which the first was before the second, and that went no further.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stuck {
    pub first: u32,
    pub second: u32,
}

/// What a key holds, and who is about to change it.
#[derive(Clone)]
struct Key {
    now: u32,
    /// Who began and has not committed.
    held: u32,
    waiting: Vec<u32>,
}

struct Run<'p> {
    polygraph: &'p Polygraph<'p>,
    keys: Vec<Key>,
    /// Of each key and writer, how many did not read it yet that have to.
    left: FxHashMap<(u32, u32), u32>,
    /// Reads begin here for each transaction.
    starts: Vec<u32>,
    ready: BinaryHeap<Reverse<(Time, u32)>>,
}

impl Polygraph<'_> {
    /// An order of the transactions, by their commits, that gives every read; or two of which it
    /// does not know who was first.
    pub fn schedule(&self, meter: &mut Meter) -> Result<Result<Vec<u32>, Vec<Stuck>>, Exhausted> {
        let mut before = vec![0u32; self.nodes];
        for edge in &self.edges {
            before[edge.to as usize] += 1;
        }
        let mut run = Run::new(self);
        let adjacent = super::saturation::Adjacent::new(self.nodes, &self.edges);
        for node in (0..self.nodes as u32).filter(|node| before[*node as usize] == 0) {
            run.push(node);
        }
        let mut order = Vec::new();
        let mut done = 0;
        let mut blocked: FxHashMap<u32, Stuck> = FxHashMap::default();
        while let Some(Reverse((_, node))) = run.ready.pop() {
            meter.tick(self.bytes() + run.left.capacity() as u64 * 16)?;
            if let Some((key, stuck)) = run.waits(node) {
                run.keys[key as usize].waiting.push(node);
                blocked.insert(node, stuck);
                continue;
            }
            blocked.remove(&node);
            done += 1;
            run.step(node, &mut order);
            for edge in adjacent.of(node) {
                let to = self.edges[*edge as usize].to;
                before[to as usize] -= 1;
                if before[to as usize] == 0 {
                    run.push(to);
                }
            }
        }
        if done == self.nodes {
            return Ok(Ok(order));
        }
        let mut stuck: Vec<(u32, Stuck)> = blocked.into_iter().collect();
        stuck.sort_unstable_by_key(|(node, _)| (run.when(*node), *node));
        Ok(Err(stuck.into_iter().map(|(_, stuck)| stuck).collect()))
    }
}

impl<'p> Run<'p> {
    fn new(polygraph: &'p Polygraph<'p>) -> Run<'p> {
        let mut left: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        let mut starts = vec![0u32; polygraph.txns.len() + 1];
        for read in &polygraph.reads {
            *left.entry((read.saw.key, read.saw.writer)).or_default() += 1;
            starts[read.reader as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let key = Key {
            now: START,
            held: NONE,
            waiting: Vec::new(),
        };
        Run {
            polygraph,
            keys: vec![key; polygraph.writers.len()],
            left,
            starts,
            ready: BinaryHeap::new(),
        }
    }

    /// Who only reads is in nobody's way; nor is a moment.
    fn when(&self, node: u32) -> Time {
        match self.polygraph.txn(node) {
            Some(txn) if !self.polygraph.seen.wrote(txn).is_empty() => {
                match self.polygraph.txns.rets[txn as usize] {
                    Time::MAX => self.polygraph.txns.calls[txn as usize],
                    ret => ret,
                }
            }
            _ => Time(0),
        }
    }

    fn push(&mut self, node: u32) {
        self.ready.push(Reverse((self.when(node), node)));
    }

    fn reads(&self, txn: u32) -> &'p [super::Read] {
        let at = txn as usize;
        &self.polygraph.reads[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The key for which a point has to wait, and for whom.
    fn waits(&self, node: u32) -> Option<(u32, Stuck)> {
        let polygraph = self.polygraph;
        let txn = polygraph.txn(node)?;
        let (begins, commits) = (node == polygraph.begin(txn), node == polygraph.commit(txn));
        for wrote in polygraph.seen.wrote(txn) {
            let key = &self.keys[wrote.key as usize];
            let stuck = |first: u32| {
                let second = txn;
                Some((wrote.key, Stuck { first, second }))
            };
            if begins && polygraph.rules.conflict && key.held != NONE {
                return stuck(key.held);
            }
            let own = self.reads(txn).iter().filter(|read| {
                commits && begins && (read.saw.key, read.saw.writer) == (wrote.key, key.now)
            });
            let left = self.left.get(&(wrote.key, key.now)).copied().unwrap_or(0);
            if commits && left > own.count() as u32 {
                return stuck(key.now);
            }
        }
        None
    }

    fn step(&mut self, node: u32, order: &mut Vec<u32>) {
        let polygraph = self.polygraph;
        let Some(txn) = polygraph
            .txn(node)
            .filter(|t| polygraph.txns.happened[*t as usize])
        else {
            return;
        };
        if node == polygraph.begin(txn) {
            for read in self.reads(txn) {
                let left = self.left.entry((read.saw.key, read.saw.writer));
                let left = left.or_insert(1);
                *left -= 1;
                // Who has to read it as well as to overwrite it waits for one more.
                if *left <= 1 {
                    self.wake(read.saw.key);
                }
            }
            for wrote in polygraph.seen.wrote(txn) {
                self.keys[wrote.key as usize].held = txn;
            }
        }
        if node == polygraph.commit(txn) {
            order.push(txn);
            for wrote in polygraph.seen.wrote(txn) {
                let key = &mut self.keys[wrote.key as usize];
                (key.now, key.held) = (txn, NONE);
                self.wake(wrote.key);
            }
        }
    }

    fn wake(&mut self, key: u32) {
        for node in std::mem::take(&mut self.keys[key as usize].waiting) {
            self.push(node);
        }
    }
}
