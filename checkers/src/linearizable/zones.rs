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
//! Compare-and-set joins blocks: what follows `a -> b` follows everything on `a`, and no other
//! value comes between. A block is then a chain of values in a known order, which is checked by
//! itself by one sweep, and takes part as one.
//!
//! A lost write that nobody saw can be dropped: an order with it is one without it. One that was
//! seen happened, and has no return. A lost compare-and-set happened iff its value was seen, by a
//! reader or by another compare-and-set that happened.
//!
//! Every violation shows in two to four operations: these alone, together with the fact that no
//! other operation writes these values, cannot be ordered.

mod table;

use history::sort::sort_spread_within;

use super::model::Action;
use super::search::{NEVER, Timed};
use crate::{Exhausted, Meter};
use table::{Block, Link, Table, Value, Zone};

/// An operation of a register.
pub type Op = Timed<Action>;

/// What is wrong, with operations named by their position in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    /// In the order in which the reason names them.
    pub ops: Vec<u32>,
    /// Those of them whose outcome nobody knows, each with an operation that shows that it
    /// happened.
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
    /// `[producer, reader]`: the reader returned before the value, or one that it derives from, was
    /// written.
    Future { value: u32, origin: u32 },
    /// `[newer, stale]`: the newer value had been there, derived from the stale one, before the
    /// call.
    StaleInChain { newer: u32, stale: u32 },
    /// `[before, between, after]`: `between` belongs to another value, and stands between two of
    /// this one, or of it and a later one derived from it; `before` is missing if this is the
    /// initial value.
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
    /// `[a, d, c, b]`: a precedes d, c precedes b, where a and b are of one value and c and d of
    /// another.
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

/// As many are told at once: whoever wants them all leaves out what these show, and asks again.
const MOST_VIOLATIONS: usize = 4096;

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

impl Order<'_> {
    /// An order that explains everything: forward blocks by their zones, backward ones wherever
    /// they reach out of them. Lost operations that nobody saw are left out.
    pub fn operations(self) -> Vec<u32> {
        let Order { table, mut blocks } = self;
        let mut zone_end = 0;
        for block in &mut blocks {
            // They are sorted by their beginning, so the zone seen last is the one that may cover
            // this.
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
