//! All orders at once, as late as possible: a sweep over time that keeps every configuration that
//! may still lead to an order.
//!
//! ```text
//! P0   |---write 1---|
//! P1      |--read 2----|        when an operation returns, every configuration places it, and in
//! P2        |---write 2----|    front of it only what something that is open waits for
//!                    ^ ^   ^
//! ```
//!
//! Just-in-time linearization (Lowe 2017), with what is special about registers. A configuration is
//! the register's value and two bits for each open operation: is it settled, and is it used up?
//!
//! - A read is settled as soon as the value is there.
//! - A write that takes effect settles all open writes: each of them can stand just in front of it,
//!   where nobody sees it. Such a write may return without a trace, or be used later, where it is
//!   seen.
//! - Before the operation that returns, only writes are placed whose value an open operation waits
//!   for; of writes of one value the one that returns first.
//! - A configuration that differs from another only by having more settled and less used up
//!   dominates it: what can follow the other can follow this one.
//!
//! Lost operations have no bits: equal ones are a class, of which a configuration counts how many
//! it used. Proofs are in `harness/docs/proofs.md`.
//!
//! The sweep ends with an order, or dies at the return that nothing survives; the history until
//! then is the shortest prefix without an order. Two approximations make it cheap. A **beam** keeps
//! only the most promising configurations: if some survive, the answer is yes. A **window** begins
//! late, with everything possible that may have been: if nothing survives, the answer is no.

mod closure;
mod configs;
mod lost;
mod order;

use self::closure::{Closure, Target};
use self::configs::{Entry, Front};
use self::lost::Lost;
use super::model::{Action, INITIAL};
use super::search::{NEVER, Timed, by_ret, slots};
use crate::{Exhausted, Meter};

/// One bit for each operation open at once.
type Mask = u128;

/// So many operations can be open at once.
pub const MOST_OPEN: u32 = Mask::BITS;

const NONE: u32 = u32::MAX;

/// Stands for all values that nothing needs any more.
pub(super) const DEAD: u32 = u32::MAX;

/// Where a sweep begins.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// What the register may hold.
    pub values: &'a [u32],
    /// What was called before may have taken effect already; what returned before is not among the
    /// operations.
    pub from: u32,
    /// Of which values lost operations are counted, as a flag for each; of the others each can be
    /// used as often as wanted. None if all are counted.
    pub counted: Option<&'a [bool]>,
}

impl Start<'_> {
    pub const INITIAL: Start<'static> = Start {
        values: &[INITIAL],
        from: 0,
        counted: None,
    };
}

/// How a sweep ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swept {
    /// An order, if it was asked for.
    Through(Option<Vec<u32>>),
    /// Nothing survived the return of this operation.
    Died { op: u32, by: Death },
}

/// What it means that nothing survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// There is no order, and this return is the first without one.
    Exact,
    /// There is no order; the first return without one may be a later one.
    Foreseen,
    /// Nothing: what was left out of the beam might have survived.
    Cut,
}

/// The open operations.
pub(super) struct Open {
    all: Mask,
    writes: Mask,
    cas: Mask,
    /// By value: who waits for it, and who gives it.
    reads_of: Vec<Mask>,
    writes_of: Vec<Mask>,
    cas_from: Vec<Mask>,
    op: [u32; MOST_OPEN as usize],
    ret: [u32; MOST_OPEN as usize],
    /// What it looks for, and what it leaves.
    found: [u32; MOST_OPEN as usize],
    to: [u32; MOST_OPEN as usize],
}

/// What is needed and given later, by value: the last call of an operation that needs it, or gives
/// it.
pub(super) struct Later {
    needed: Vec<u32>,
    given: Vec<u32>,
}

/// A sweep over the operations of one register.
pub struct Sweep<'a> {
    ops: &'a [Timed<Action>],
    by_ret: Vec<u32>,
    slot: Vec<u32>,
    start: Start<'a>,
    /// The most configurations that are kept.
    width: usize,
    foresee: bool,
    open: Open,
    later: Later,
    lost: Lost,
    front: Front,
    closure: Closure,
    trail: Option<order::Trail>,
    next_call: usize,
    explained: usize,
    largest: usize,
    cut: bool,
}

impl<'a> Sweep<'a> {
    /// Prepares a sweep over `ops`, which are sorted by call and whose values are below `values`;
    /// none if more are open at once than there are bits. It takes time, but no steps. A `width` of
    /// [`usize::MAX`] makes it exact.
    pub fn new(
        ops: &'a [Timed<Action>],
        values: usize,
        start: Start<'a>,
        width: usize,
        meter: &Meter,
    ) -> Result<Option<Sweep<'a>>, Exhausted> {
        let meter = &mut meter.with_steps(u64::MAX);
        let by_ret = by_ret(ops, meter)?;
        let (slot, slots) = slots(ops, &by_ret, meter)?;
        if slots > MOST_OPEN {
            return Ok(None);
        }
        let mut later = Later {
            needed: vec![0; values],
            given: vec![0; values],
        };
        for op in ops.iter().filter(|op| op.ret != NEVER) {
            meter.tick(0)?;
            // Sorted by call: the last one stays.
            if let Some(v) = op.op.found() {
                later.needed[v as usize] = op.call;
            }
            if let Some(v) = op.op.written() {
                later.given[v as usize] = op.call;
            }
        }
        let counted = |value: u32| start.counted.is_none_or(|counted| counted[value as usize]);
        let lost = Lost::new(ops, values, counted, meter)?;
        let mut front = Front::default();
        for value in start.values {
            front.push(Entry::at(*value));
        }
        Ok(Some(Sweep {
            ops,
            by_ret,
            slot,
            start,
            width,
            foresee: false,
            next_call: 0,
            open: Open {
                all: 0,
                writes: 0,
                cas: 0,
                reads_of: vec![0; values],
                writes_of: vec![0; values],
                cas_from: vec![0; values],
                op: [NONE; MOST_OPEN as usize],
                ret: [NEVER; MOST_OPEN as usize],
                found: [NONE; MOST_OPEN as usize],
                to: [NONE; MOST_OPEN as usize],
            },
            later,
            lost,
            front,
            closure: Closure::default(),
            trail: None,
            explained: 0,
            largest: 0,
            cut: false,
        }))
    }

    /// Keeps track of what was placed, so that the answer can be an order.
    pub fn with_order(mut self) -> Self {
        self.trail = Some(order::Trail::default());
        self
    }

    /// Leaves out what must fail later: fewer configurations, if most values are written once.
    pub fn with_foresight(mut self) -> Self {
        self.foresee = true;
        self
    }

    /// So many operations have an order, in order of returns, if the sweep began at the beginning.
    pub fn explained(&self) -> usize {
        self.explained
    }

    /// The most configurations there were at once.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// Sweeps until nothing is left, until all of the first `returns` returns are placed, or until
    /// the budget ends; then it can be called again, and goes on.
    pub fn run(&mut self, returns: usize, meter: &mut Meter) -> Result<Swept, Exhausted> {
        while self.explained < returns.min(self.by_ret.len()) {
            let op = self.by_ret[self.explained];
            let now = self.ops[op as usize].ret;
            while let Some(called) = self.ops.get(self.next_call)
                && called.call < now
            {
                self.call(self.next_call as u32);
                self.next_call += 1;
            }
            self.ret(op, meter)?;
            if self.front.entries.is_empty() {
                let by = match (self.cut, self.closure.foresaw) {
                    (true, _) => Death::Cut,
                    (false, true) => Death::Foreseen,
                    (false, false) => Death::Exact,
                };
                return Ok(Swept::Died { op, by });
            }
            self.explained += 1;
        }
        let order = self.trail.as_ref().map(|trail| {
            let last = self.front.entries.first().map_or(NONE, |e| e.trail);
            order::order(self.ops, self.start, &trail.path(last))
        });
        Ok(Swept::Through(order))
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        let arrays = self.ops.len() * 12 + self.later.needed.len() * (3 * size_of::<Mask>() + 8);
        let trail = self.trail.as_ref().map_or(0, order::Trail::bytes);
        (arrays + trail + self.front.bytes() + self.closure.bytes() + self.lost.bytes()) as u64
    }

    fn call(&mut self, op: u32) {
        let timed = &self.ops[op as usize];
        if timed.ret == NEVER {
            return self.lost.call(op);
        }
        let optional = timed.call < self.start.from;
        let slot = self.slot[op as usize] as usize;
        let bit = 1 << slot;
        let open = &mut self.open;
        (open.op[slot], open.ret[slot]) = (op, timed.ret);
        open.found[slot] = timed.op.found().unwrap_or(NONE);
        open.to[slot] = timed.op.written().unwrap_or(NONE);
        match timed.op {
            Action::Read(_) if optional => return,
            Action::Read(v) => {
                open.reads_of[v as usize] |= bit;
                for entry in self.front.entries.iter_mut() {
                    if entry.config.value == v {
                        entry.config.done |= bit;
                    }
                }
            }
            Action::Write(v) => {
                open.writes |= bit;
                open.writes_of[v as usize] |= bit;
            }
            Action::Cas(from, _) => {
                open.cas |= bit;
                open.cas_from[from as usize] |= bit;
            }
        }
        open.all |= bit;
        if optional {
            for entry in self.front.entries.iter_mut() {
                entry.config.done |= bit;
            }
        }
    }

    fn ret(&mut self, op: u32, meter: &mut Meter) -> Result<(), Exhausted> {
        let timed = self.ops[op as usize];
        let bit: Mask = 1 << self.slot[op as usize];
        if self.open.all & bit == 0 {
            // A read from before the window.
            return meter.tick(self.bytes());
        }
        let target = Target {
            op,
            bit,
            action: timed.op,
            now: timed.ret,
        };
        let held = self.bytes() - (self.front.bytes() + self.closure.bytes()) as u64;
        self.lost.forget(timed.ret, &mut self.front);
        self.closure.run(
            &target,
            &self.open,
            &self.later,
            &mut self.lost,
            &mut self.front,
            self.trail.as_mut(),
            self.foresee,
            self.width,
            held,
            meter,
        )?;
        let open = &mut self.open;
        open.all &= !bit;
        match timed.op {
            Action::Read(v) => open.reads_of[v as usize] &= !bit,
            Action::Write(v) => {
                open.writes &= !bit;
                open.writes_of[v as usize] &= !bit;
            }
            Action::Cas(from, _) => {
                open.cas &= !bit;
                open.cas_from[from as usize] &= !bit;
            }
        }
        self.largest = self.largest.max(self.front.entries.len());
        self.cut |= self.closure.cut;
        self.cut |= self.front.keep_best(self.width, &self.open, &self.lost);
        if let Some(trail) = &mut self.trail {
            trail.compact(&mut self.front.entries);
        }
        Ok(())
    }
}
