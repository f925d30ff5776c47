//! The history of one register by value, its blocks, and what contradicts them.

use super::{Kind, NONE, NotUnique, Op, Violation};
use crate::linearizable::model::{Action, INITIAL};
use crate::linearizable::search::NEVER;
use crate::{Exhausted, Meter};

/// What the history says of one value.
#[derive(Clone, Copy)]
pub(super) struct Value {
    pub producer: u32,
    /// Its readers: the last to be called, and the first to return.
    last_read: u32,
    first_read: u32,
}

/// The first return and the last call.
#[derive(Clone, Copy)]
pub(super) struct Zone {
    pub f: u32,
    pub s: u32,
}

impl Zone {
    fn extend(&mut self, op: &Op) {
        self.f = self.f.min(op.ret);
        self.s = self.s.max(op.call);
    }
}

/// What compare-and-sets say of one value.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// One that has found it, or a reader of what came of it.
    seen_by: u32,
    /// The one that replaced it.
    replaced_by: u32,
}

/// A chain of values, or a single one.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub root: u32,
    /// When an operation of it returns first; 0 for the initial value, which was always there.
    pub f: u32,
    /// When one is called last.
    pub s: u32,
}

impl Block {
    pub fn begin(&self) -> u32 {
        self.f.min(self.s)
    }

    pub fn is_forward(&self) -> bool {
        self.f < self.s
    }
}

/// The operations of a block that return first and are called last.
pub(super) struct Ends {
    /// None for the initial value.
    first: u32,
    last: u32,
}

/// What the history says of each value, by its number.
pub(super) struct Table<'a> {
    pub ops: &'a [Op],
    pub values: Vec<Value>,
    /// When the first operation on each returns, and when the last one is called. They are as well
    /// to be had from the operations, but those are far away by then.
    zones: Vec<Zone>,
    /// Whether a value was seen before it was written.
    foreseen: bool,
    /// Empty if there are no compare-and-sets.
    links: Vec<Link>,
}

impl<'a> Table<'a> {
    pub fn new(
        ops: &'a [Op],
        values: usize,
        meter: &mut Meter,
    ) -> Result<Result<Table<'a>, NotUnique>, Exhausted> {
        let unknown = Value {
            producer: NONE,
            last_read: NONE,
            first_read: NONE,
        };
        let mut table = Table {
            ops,
            values: vec![unknown; values],
            zones: vec![Zone { f: NEVER, s: 0 }; values],
            foreseen: false,
            links: Vec::new(),
        };
        let mut links = false;
        for (i, op) in ops.iter().enumerate() {
            meter.tick(0)?;
            let i = i as u32;
            match op.op {
                Action::Write(v) | Action::Cas(_, v) => {
                    links |= matches!(op.op, Action::Cas(..));
                    let value = &mut table.values[v as usize];
                    let first = value.producer;
                    if v == INITIAL {
                        return Ok(Err(NotUnique::Initial { op: i }));
                    }
                    if first != NONE {
                        let second = i;
                        return Ok(Err(NotUnique::Twice {
                            value: v,
                            first,
                            second,
                        }));
                    }
                    value.producer = i;
                    // Whoever is called later does not return earlier.
                    table.foreseen |=
                        value.first_read != NONE && ops[value.first_read as usize].ret < op.call;
                    table.zones[v as usize].extend(op);
                }
                Action::Read(v) => {
                    let value = &mut table.values[v as usize];
                    // By call, so the last so far is the last called.
                    value.last_read = i;
                    if value.first_read == NONE || op.ret < ops[value.first_read as usize].ret {
                        value.first_read = i;
                    }
                    table.zones[v as usize].extend(op);
                }
            }
        }
        if links {
            table.see_through();
        }
        Ok(Ok(table))
    }

    /// What compare-and-sets that happened show of the values that they found.
    fn see_through(&mut self) {
        let unknown = Link {
            seen_by: NONE,
            replaced_by: NONE,
        };
        self.links = vec![unknown; self.values.len()];
        // An operation that returned has happened, and so has what it found.
        for (i, op) in self.ops.iter().enumerate() {
            if let Action::Cas(from, _) = op.op
                && op.ret != NEVER
                && self.seen_by(from) == NONE
            {
                self.links[from as usize].seen_by = i as u32;
            }
        }
        // Through lost compare-and-sets that were seen, back to what they found.
        for v in 0..self.values.len() as u32 {
            let mut v = v;
            while let Some(op) = self.producer(v)
                && let Action::Cas(from, _) = op.op
                && op.ret == NEVER
                && self.seen_by(v) != NONE
                && self.seen_by(from) == NONE
            {
                self.links[from as usize].seen_by = self.seen_by(v);
                v = from;
            }
        }
    }

    /// An operation that has seen a value, which proves that it was written; the reader if there is
    /// one.
    fn seen_by(&self, value: u32) -> u32 {
        match self.values[value as usize].last_read {
            NONE => self.links.get(value as usize).map_or(NONE, |l| l.seen_by),
            reader => reader,
        }
    }

    fn producer(&self, value: u32) -> Option<&'a Op> {
        self.ops.get(self.values[value as usize].producer as usize)
    }

    /// Whether the operation that writes this value happened.
    fn happened(&self, value: u32) -> bool {
        match self.producer(value) {
            None => value == INITIAL,
            Some(op) => op.ret != NEVER || self.seen_by(value) != NONE,
        }
    }

    /// What shows that a write of unknown outcome happened.
    pub fn shown_by(&self, op: u32) -> u32 {
        self.seen_by(self.value(op))
    }

    /// Values that were seen and that nobody wrote.
    pub fn nowhere(&self) -> Vec<Violation> {
        (INITIAL + 1..self.values.len() as u32)
            .filter(|v| self.values[*v as usize].producer == NONE)
            .map(|value| (value, self.seen_by(value)))
            .filter(|(_, seen_by)| *seen_by != NONE)
            .map(|(value, by)| Violation::new(Kind::FromNowhere { value }, vec![by]))
            .collect()
    }

    /// Joins values by the compare-and-sets that happened.
    pub fn link(&mut self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if self.links.is_empty() {
            return violations;
        }
        for v in 0..self.values.len() as u32 {
            let Some(Action::Cas(from, _)) = self.producer(v).map(|op| op.op) else {
                continue;
            };
            if !self.happened(v) {
                continue;
            }
            let (this, other) = (
                self.values[v as usize].producer,
                self.links[from as usize].replaced_by,
            );
            if other == NONE {
                self.links[from as usize].replaced_by = this;
                continue;
            }
            let kind = Kind::LostUpdate { value: from };
            violations.push(Violation::new(kind, vec![this.min(other), this.max(other)]));
        }
        violations
    }

    /// The values of the chain that begins with `root`.
    pub fn chain(&self, root: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(root), |v| {
            let next = self.links.get(*v as usize)?.replaced_by;
            self.ops.get(next as usize)?.op.written()
        })
    }

    /// Walks every chain, checking its own order against time.
    pub fn blocks(&mut self, meter: &mut Meter) -> Result<(Vec<Block>, Vec<Violation>), Exhausted> {
        let zones = std::mem::take(&mut self.zones);
        if self.links.is_empty() && !self.foreseen {
            return Ok((self.single_blocks(&zones, meter)?, Vec::new()));
        }
        let mut blocks = Vec::new();
        let mut violations = Vec::new();
        let mut reached = vec![false; self.links.len()];
        for root in 0..self.values.len() as u32 {
            let begins = match self.producer(root).map(|op| op.op) {
                None => root == INITIAL,
                Some(action) => matches!(action, Action::Write(_)),
            };
            if !begins || !self.happened(root) {
                continue;
            }
            meter.tick(0)?;
            if !reached.is_empty() {
                for value in self.chain(root) {
                    meter.tick(0)?;
                    reached[value as usize] = true;
                }
            }
            let inverted = |late, early| violations.push(self.inverted(late, early));
            blocks.push(self.block(root, inverted).0);
        }
        for v in INITIAL + 1..reached.len() as u32 {
            if !reached[v as usize] && self.happened(v) && self.producer(v).is_some() {
                violations.push(self.circle(v, &mut reached));
            }
        }
        Ok((blocks, violations))
    }

    /// The same where each value is a block, and its own order is right.
    fn single_blocks(&self, zones: &[Zone], meter: &mut Meter) -> Result<Vec<Block>, Exhausted> {
        let mut blocks = Vec::with_capacity(zones.len());
        for (root, zone) in zones.iter().enumerate() {
            meter.tick(0)?;
            let f = match root as u32 {
                INITIAL => 0,
                _ => zone.f,
            };
            // A lost write that nobody saw is all that never returns.
            if f != NEVER {
                let (root, s) = (root as u32, zone.s);
                blocks.push(Block { root, f, s });
            }
        }
        Ok(blocks)
    }

    /// Walks the chain of `root`. Pairs of operations that time has inverted are told to
    /// `inverted`.
    fn block(&self, root: u32, mut inverted: impl FnMut(u32, u32)) -> (Block, Ends) {
        let f = if root == INITIAL { 0 } else { NEVER };
        let mut block = Block { root, f, s: 0 };
        let mut ends = Ends {
            first: NONE,
            last: NONE,
        };
        for value in self.chain(root) {
            let Value {
                producer,
                last_read,
                first_read,
            } = self.values[value as usize];
            // The producer follows all before it, and every reader follows the producer;
            // readers among themselves are free.
            for (first, last) in [(producer, producer), (first_read, last_read)] {
                let (Some(one), Some(other)) =
                    (self.ops.get(first as usize), self.ops.get(last as usize))
                else {
                    continue;
                };
                if one.ret < block.s {
                    inverted(ends.last, first);
                }
                if one.ret < block.f {
                    (ends.first, block.f) = (first, one.ret);
                }
                if other.call > block.s || ends.last == NONE {
                    (ends.last, block.s) = (last, other.call);
                }
            }
        }
        (block, ends)
    }

    fn ends(&self, block: &Block) -> Ends {
        self.block(block.root, |_, _| {}).1
    }

    /// `early` returned before `late` was called, and must stand behind it.
    fn inverted(&self, late: u32, early: u32) -> Violation {
        let (origin, value) = (self.value(late), self.value(early));
        match self.ops[late as usize].op {
            Action::Read(stale) => Violation::new(
                Kind::StaleInChain {
                    newer: value,
                    stale,
                },
                vec![early, late],
            ),
            Action::Write(_) | Action::Cas(..) => {
                Violation::new(Kind::Future { value, origin }, vec![late, early])
            }
        }
    }

    /// A value that no write leads to: going back by what was found comes round.
    fn circle(&self, from: u32, reached: &mut [bool]) -> Violation {
        let before = |v: u32| match self.producer(v).map(|op| op.op) {
            Some(Action::Cas(found, _)) => found,
            _ => unreachable!("only compare-and-sets lead to a value that no chain reaches"),
        };
        // Each value has one predecessor and one successor, so this one is on the circle itself.
        let mut circle = vec![from];
        reached[from as usize] = true;
        let mut at = before(from);
        while at != from {
            reached[at as usize] = true;
            circle.push(at);
            at = before(at);
        }
        circle.reverse();
        let producers = circle.iter().map(|v| self.values[*v as usize].producer);
        let (value, length) = (circle[0], circle.len() as u32);
        Violation::new(Kind::Circle { value, length }, producers.take(4).collect())
    }

    /// The value that an operation leaves current.
    fn value(&self, op: u32) -> u32 {
        match self.ops[op as usize].op {
            Action::Read(v) | Action::Write(v) | Action::Cas(_, v) => v,
        }
    }

    /// Gibbons and Korach's two conditions; blocks by their beginning.
    pub fn zones(&self, blocks: &[Block]) -> Vec<Violation> {
        let mut crossed = Vec::new();
        let mut within = Vec::new();
        // Of the forward blocks that began, the one whose zone reaches furthest: it covers whatever
        // an earlier one does.
        let mut zone: Option<&Block> = None;
        for block in blocks {
            let covers = zone.filter(|zone| block.begin() < zone.s);
            match (block.is_forward(), covers) {
                (true, Some(zone)) => crossed.push((zone, block)),
                (false, Some(zone)) if zone.f < block.s && block.f < zone.s => {
                    within.push((zone, block))
                }
                _ => {}
            }
            if block.is_forward() && covers.is_none_or(|zone| block.s > zone.s) {
                zone = Some(block);
            }
        }
        if !crossed.is_empty() {
            let crossed = crossed.into_iter();
            return crossed.map(|(a, b)| self.crossed(a, b)).collect();
        }
        let interrupted = |(zone, block): (&Block, &Block)| {
            let (outer, inner) = (self.ends(zone), self.ends(block));
            self.interrupted(outer.first, inner.last, inner.first, outer.last)
        };
        within.into_iter().map(interrupted).collect()
    }

    /// `one.f <= other.f < one.s`, and both are forward.
    fn crossed(&self, one: &Block, other: &Block) -> Violation {
        let ops = self.ops;
        let call = |op: u32| ops[op as usize].call;
        let Ends { first: x, last: y } = self.ends(one);
        let Ends { first: z, last: w } = self.ends(other);
        // Three are enough if an operation stands by itself between two of the other value.
        if call(z) > one.f {
            return self.interrupted(x, z, z, y);
        }
        if ops[w as usize].ret < one.s {
            return self.interrupted(x, w, w, y);
        }
        if ops[y as usize].ret < other.s {
            return self.interrupted(z, y, y, w);
        }
        Violation::new(
            Kind::Crossed {
                one: self.value(y),
                other: self.value(w),
            },
            vec![x, w, z, y],
        )
    }

    /// `before` returned ahead of `first`'s call, `last` ahead of `after`'s.
    fn interrupted(&self, before: u32, first: u32, last: u32, after: u32) -> Violation {
        let precedes = |a: u32, b: u32| self.ops[a as usize].ret < self.ops[b as usize].call;
        // One of the two may stand between by itself.
        let (first, last) = match before {
            NONE => (last, last),
            _ if precedes(before, last) => (last, last),
            _ if precedes(first, after) => (first, first),
            _ => (first, last),
        };
        let value = if before == NONE {
            INITIAL
        } else {
            self.value(before)
        };
        let (between, later) = (self.value(last), self.value(after));
        let (ops, kind) = if before == NONE {
            // The initial value was there before everything, so it does not matter when it began.
            (
                vec![last, after],
                Kind::Interrupted {
                    value,
                    between,
                    later,
                },
            )
        } else if first == last {
            (
                vec![before, last, after],
                Kind::Interrupted {
                    value,
                    between,
                    later,
                },
            )
        } else {
            (
                vec![before, first, last, after],
                Kind::InterruptedByTwo {
                    value,
                    between,
                    later,
                },
            )
        };
        Violation::new(kind, ops)
    }
}
