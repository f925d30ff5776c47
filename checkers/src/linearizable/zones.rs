//! The engine for registers whose written values are unique: linear after sorting, at any
//! concurrency, with any number of lost operations.
//!
//! After Gibbons and Korach, "Testing shared memories", SIAM J. Comput. 26(4), 1997: where every
//! value is written once, all operations on a value stand together in any order that explains the
//! history, so whole blocks are ordered and not operations. A block spans
//!
//! ```text
//!           f: first return in it     s: last call in it
//!
//! forward   f ───────────── s         one has returned before another is called (f < s):
//!                                     the value is current from f to s, whatever else happens
//! backward  s ───────────── f         all are open at once (s < f): the value is current at some
//!                                     moment, anywhere in between
//! ```
//!
//! and the history is linearizable iff no two forward blocks overlap and no backward block lies
//! within a forward one.
//!
//! Compare-and-set joins blocks: what follows `a -> b` follows everything on `a`, and no other value
//! comes between. A block is then a chain of values in a known order, which is checked by itself by
//! one sweep, and takes part as one.
//!
//! A lost write that nobody saw can be dropped: an order with it is one without it. One that was
//! seen happened, and has no return. A lost compare-and-set happened iff its value was seen, by a
//! reader or by another compare-and-set that happened.
//!
//! Every violation shows in two to four operations: these alone, together with the fact that no
//! other operation writes these values, cannot be ordered.

use history::sort::sort_spread_within;

use super::model::{Action, INITIAL};
use super::search::{NEVER, Timed};
use crate::{Exhausted, Meter};

/// An operation of a register.
pub type Op = Timed<Action>;

/// What is wrong, with operations named by their position in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    /// In the order in which the reason names them.
    pub ops: Vec<u32>,
    /// Those of them whose outcome nobody knows, each with an operation that shows that it happened.
    pub shown: Vec<(u32, u32)>,
}

impl Violation {
    fn new(kind: Kind, ops: Vec<u32>) -> Violation {
        let shown = Vec::new();
        Violation { kind, ops, shown }
    }
}

/// Why operations cannot be ordered. Fields are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[reader]`: nobody wrote it.
    FromNowhere { value: u32 },
    /// `[first, second]`: two compare-and-sets replaced the same value.
    LostUpdate { value: u32 },
    /// `[cas, cas, ...]`: they feed each other, and none can be first.
    Circle { value: u32, length: u32 },
    /// `[producer, reader]`: the reader returned before the value, or one that it derives from, was written.
    Future { value: u32, origin: u32 },
    /// `[newer, stale]`: the newer value had been there, derived from the stale one, before the call.
    StaleInChain { newer: u32, stale: u32 },
    /// `[before, between, after]`: `between` belongs to another value, and stands between two of this
    /// one, or of it and a later one derived from it; `before` is missing if this is the initial value.
    Interrupted {
        value: u32,
        between: u32,
        later: u32,
    },
    /// `[before, first, last, after]`: the same, with two operations of the value in between.
    InterruptedByTwo {
        value: u32,
        between: u32,
        later: u32,
    },
    /// `[a, d, c, b]`: a precedes d, c precedes b, where a and b are of one value and c and d of another.
    Crossed { one: u32, other: u32 },
}

/// The answer, where the engine applies.
pub enum Found<'a> {
    Order(Order<'a>),
    /// In order of time.
    Violations(Vec<Violation>),
}

/// That there is an order; the order itself is made on request.
pub struct Order<'a> {
    table: Table<'a>,
    /// Sorted by [`Block::begin`].
    blocks: Vec<Block>,
}

/// Why the engine does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnique {
    Twice { value: u32, first: u32, second: u32 },
    Initial { op: u32 },
}

const NONE: u32 = u32::MAX;

/// As many as a person will look at.
const MOST_VIOLATIONS: usize = 8;

/// What the history says of one value.
#[derive(Clone, Copy)]
struct Value {
    producer: u32,
    /// Its readers: the last to be called, and the first to return.
    last_read: u32,
    first_read: u32,
}

/// The first return and the last call.
#[derive(Clone, Copy)]
struct Zone {
    f: u32,
    s: u32,
}

impl Zone {
    fn extend(&mut self, op: &Op) {
        self.f = self.f.min(op.ret);
        self.s = self.s.max(op.call);
    }
}

/// What compare-and-sets say of one value.
#[derive(Clone, Copy)]
struct Link {
    /// One that has found it, or a reader of what came of it.
    seen_by: u32,
    /// The one that replaced it.
    replaced_by: u32,
}

/// A chain of values, or a single one.
#[derive(Clone, Copy)]
struct Block {
    root: u32,
    /// When an operation of it returns first; 0 for the initial value, which was always there.
    f: u32,
    /// When one is called last.
    s: u32,
}

impl Block {
    fn begin(&self) -> u32 {
        self.f.min(self.s)
    }

    fn is_forward(&self) -> bool {
        self.f < self.s
    }
}

/// The operations of a block that return first and are called last.
struct Ends {
    /// None for the initial value.
    first: u32,
    last: u32,
}

/// Judges the operations of one register; values are numbers below `values`, and 0 is the initial
/// one. Reads that did not return are not among the operations.
pub fn check<'a>(
    ops: &'a [Op],
    values: usize,
    meter: &mut Meter,
) -> Result<Result<Found<'a>, NotUnique>, Exhausted> {
    // Tables by value, and the final order, whether or not it is asked for.
    let of_value =
        size_of::<Value>() + size_of::<Zone>() + size_of::<Link>() + 2 * size_of::<Block>() + 8;
    meter.look((of_value * values + 8 * ops.len()) as u64)?;
    let mut table = match Table::new(ops, values, meter)? {
        Ok(table) => table,
        Err(not_unique) => return Ok(Err(not_unique)),
    };
    let mut violations = table.nowhere();
    if violations.is_empty() {
        violations = table.link();
    }
    let mut blocks = Vec::new();
    if violations.is_empty() {
        (blocks, violations) = table.blocks(meter)?;
    }
    if violations.is_empty() {
        let begin = |block: &Block| u64::from(block.begin());
        blocks = sort_spread_within(blocks, begin, Block::begin, meter)?;
        violations = table.zones(&blocks);
    }
    if violations.is_empty() {
        return Ok(Ok(Found::Order(Order { table, blocks })));
    }
    // A violation is there to be seen when the last of its operations has been called.
    violations.sort_by_key(|v| v.ops.iter().map(|i| ops[*i as usize].call).max());
    violations.truncate(MOST_VIOLATIONS);
    for violation in &mut violations {
        let lost = violation
            .ops
            .iter()
            .filter(|op| ops[**op as usize].ret == NEVER);
        violation.shown = lost.map(|op| (*op, table.shown_by(*op))).collect();
    }
    Ok(Ok(Found::Violations(violations)))
}

struct Table<'a> {
    ops: &'a [Op],
    values: Vec<Value>,
    /// When the first operation on each returns, and when the last one is called. They are as well to be
    /// had from the operations, but those are far away by then.
    zones: Vec<Zone>,
    /// Whether a value was seen before it was written.
    foreseen: bool,
    /// Empty if there are no compare-and-sets.
    links: Vec<Link>,
}

impl<'a> Table<'a> {
    fn new(
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

    /// An operation that has seen a value, which proves that it was written; the reader if there is one.
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
    fn shown_by(&self, op: u32) -> u32 {
        self.seen_by(self.value(op))
    }

    /// Values that were seen and that nobody wrote.
    fn nowhere(&self) -> Vec<Violation> {
        (INITIAL + 1..self.values.len() as u32)
            .filter(|v| self.values[*v as usize].producer == NONE)
            .map(|value| (value, self.seen_by(value)))
            .filter(|(_, seen_by)| *seen_by != NONE)
            .map(|(value, by)| Violation::new(Kind::FromNowhere { value }, vec![by]))
            .collect()
    }

    /// Joins values by the compare-and-sets that happened.
    fn link(&mut self) -> Vec<Violation> {
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
    fn chain(&self, root: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(root), |v| {
            let next = self.links.get(*v as usize)?.replaced_by;
            self.ops.get(next as usize)?.op.written()
        })
    }

    /// Walks every chain, checking its own order against time.
    fn blocks(&mut self, meter: &mut Meter) -> Result<(Vec<Block>, Vec<Violation>), Exhausted> {
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

    /// Walks the chain of `root`. Pairs of operations that time has inverted are told to `inverted`.
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
    fn zones(&self, blocks: &[Block]) -> Vec<Violation> {
        let mut crossed = Vec::new();
        let mut within = Vec::new();
        // Of the forward blocks that began, the one whose zone reaches furthest: it covers whatever an
        // earlier one does.
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

impl Order<'_> {
    /// An order that explains everything: forward blocks by their zones, backward ones wherever they
    /// reach out of them.
    /// Lost operations that nobody saw are left out.
    pub fn operations(self) -> Vec<u32> {
        let Order { table, mut blocks } = self;
        let mut zone_end = 0;
        for block in &mut blocks {
            // They are sorted by their beginning, so the zone seen last is the one that may cover this.
            match block.is_forward() {
                true => {
                    zone_end = block.s;
                    block.s = block.f;
                }
                false => block.s = block.s.max(zone_end),
            }
        }
        // Now s is each block's place, stable for those of equal place.
        blocks.sort_by_key(|b| b.s);
        // Readers of each value, by call: counted, then dealt.
        let mut ends = vec![0u32; table.values.len() + 1];
        for op in table.ops {
            if let Action::Read(v) = op.op {
                ends[v as usize + 1] += 1;
            }
        }
        for v in 0..table.values.len() {
            ends[v + 1] += ends[v];
        }
        let mut readers = vec![0u32; ends[table.values.len()] as usize];
        let mut next = ends.clone();
        for (i, op) in table.ops.iter().enumerate() {
            if let Action::Read(v) = op.op {
                readers[next[v as usize] as usize] = i as u32;
                next[v as usize] += 1;
            }
        }
        let mut order = Vec::with_capacity(table.ops.len());
        for block in &blocks {
            for value in table.chain(block.root) {
                let v = value as usize;
                if table.values[v].producer != NONE {
                    order.push(table.values[v].producer);
                }
                order.extend_from_slice(&readers[ends[v] as usize..ends[v + 1] as usize]);
            }
        }
        order
    }
}
