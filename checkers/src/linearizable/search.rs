//! The general engine: a search for an order, after Wing and Gong 1993 with Lowe's 2017 memory of
//! what was tried.
//!
//! ```text
//! operations that returned, by return      op0 op1 op2 | op3 op4 op5 ...
//!                                     all placed <──── ^ base: first that is not placed
//! placed beyond the base: only operations open at the moment when the base returns
//! ```
//!
//! So a configuration is the base, one bit for each of the operations open at its return, the
//! state, and how many operations of each class of lost ones were used: some forty bytes, where the
//! usual form of the search keeps a bit for every operation of the history. Exponential in the
//! number of operations open at once (deciding is NP-complete: Gibbons and Korach 1997), linear in
//! the length when few are open.
//!
//! Three rules shorten it:
//!
//! - an operation that only reads is placed as soon as it fits;
//! - a lost operation is placed only if one that must be placed now waits for what it gives,
//!   perhaps through other lost ones: otherwise the order without it is as good;
//! - lost operations that are equal are interchangeable, the earliest first, and are forgotten when
//!   nothing that follows needs what they give.

mod classes;
mod seen;

use history::sort::sort_spread_within;
use rustc_hash::FxHashMap;

use self::classes::{Class, classes};
use self::seen::Seen;
use super::model::Model;
use crate::{Exhausted, Meter};

/// Return of an operation that may take effect at any time, or never.
pub const NEVER: u32 = u32::MAX;

/// An operation and its interval. Ranks of simultaneous events: calls before returns, so that
/// intervals that touch overlap. `a` precedes `b` if `a.ret < b.call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<O> {
    pub op: O,
    pub call: u32,
    pub ret: u32,
}

/// What the search found. Operations are named by their position in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In this order, with lost operations where they are needed.
    Order(Vec<u32>),
    /// There is an order for everything up to any earlier return, but none up to this one's.
    Blocked(u32),
}

/// The search ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp {
    pub why: Exhausted,
    /// The first so many operations to return have an order.
    pub explained: usize,
    /// The most operations open at once, lost ones aside.
    pub open: usize,
    /// Lost operations that may have happened.
    pub lost: usize,
    /// Configurations that were remembered.
    pub configurations: usize,
}

impl GaveUp {
    /// Before the search could begin.
    pub fn at_once(why: Exhausted) -> GaveUp {
        GaveUp {
            why,
            explained: 0,
            open: 0,
            lost: 0,
            configurations: 0,
        }
    }
}

/// Looks for an order of `ops`, which are sorted by call.
pub fn search<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    meter: &mut Meter,
) -> Result<Found, GaveUp> {
    search_after(model, ops, &[], meter)
}

/// The same where intervals say less than is known: each operation awaits another (or [`NONE`]) of
/// its own process, though their intervals overlap. An empty list stands for no such operation.
pub fn search_after<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    awaits: &[u32],
    meter: &mut Meter,
) -> Result<Found, GaveUp> {
    let mut search = Search::after(model, ops, awaits, meter).map_err(GaveUp::at_once)?;
    loop {
        match search.run(u64::MAX, meter) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(why) => return Err(search.gave_up(why)),
        }
    }
}

#[derive(Clone, Copy)]
enum Move {
    Place(u32),
    Lost(u32),
}

struct Frame {
    /// Moves not tried yet: `moves[next..]`; they are the last frame's, so the end is the vector's.
    first: u32,
    next: u32,
    trail: u32,
    base: u32,
    state: u32,
}

/// No operation.
pub const NONE: u32 = u32::MAX;

/// A search that can be interrupted.
pub struct Search<'a, M: Model> {
    model: &'a M,
    ops: &'a [Timed<M::Op>],
    awaits: &'a [u32],
    /// Operations that returned, by return.
    by_ret: Vec<u32>,
    /// Their bit in the mask; no two that overlap have the same.
    slot: Vec<u32>,
    slots: u32,
    placed: Vec<bool>,
    mask: Vec<u64>,
    base: u32,
    furthest: u32,
    /// Unplaced operations by call, as a doubly linked list; the last entry is the anchor.
    after: Vec<u32>,
    before: Vec<u32>,
    classes: Vec<Class<M::Op>>,
    /// Classes by what they give.
    givers: FxHashMap<u32, Vec<u32>>,
    states: Vec<M::State>,
    state_ids: FxHashMap<M::State, u32>,
    state: u32,
    /// What was placed, in order; classes stand behind the operations.
    trail: Vec<u32>,
    frames: Vec<Frame>,
    moves: Vec<Move>,
    seen: Seen,
    key: Vec<u64>,
    /// Classes of the lost operations in the trail, in its order.
    used: Vec<u32>,
    demands: Vec<u32>,
}

impl<'a, M: Model> Search<'a, M> {
    /// Prepares a search for an order of `ops`, which are sorted by call. This takes time, but no
    /// steps.
    pub fn new(model: &'a M, ops: &'a [Timed<M::Op>], meter: &Meter) -> Result<Self, Exhausted> {
        Search::after(model, ops, &[], meter)
    }

    fn after(
        model: &'a M,
        ops: &'a [Timed<M::Op>],
        awaits: &'a [u32],
        meter: &Meter,
    ) -> Result<Self, Exhausted> {
        let n = ops.len();
        debug_assert!(ops.is_sorted_by_key(|o| o.call));
        let meter = &mut meter.with_steps(u64::MAX);
        let mut after = vec![n as u32; n + 1];
        let mut before = vec![n as u32; n + 1];
        let mut previous = n as u32;
        for (i, _) in ops.iter().enumerate().filter(|(_, o)| o.ret != NEVER) {
            meter.tick(0)?;
            after[previous as usize] = i as u32;
            before[i] = previous;
            previous = i as u32;
        }
        before[n] = previous;
        let by_ret = by_ret(ops, meter)?;
        let (slot, slots) = slots(ops, &by_ret, meter)?;

        let (classes, givers) = classes(model, ops, awaits, &by_ret, meter)?;
        let init = model.init();
        let mut state_ids = FxHashMap::default();
        state_ids.insert(init.clone(), 0);
        let mut search = Search {
            model,
            ops,
            awaits,
            slot,
            slots,
            placed: vec![false; n],
            mask: vec![0; slots.div_ceil(64) as usize],
            by_ret,
            base: 0,
            furthest: 0,
            after,
            before,
            classes,
            givers,
            states: vec![init],
            state_ids,
            state: 0,
            trail: Vec::new(),
            frames: Vec::new(),
            moves: Vec::new(),
            seen: Seen::default(),
            key: Vec::new(),
            used: Vec::new(),
            demands: Vec::new(),
        };
        search.place_reads();
        search.enter(0, 0, 0);
        Ok(search)
    }

    /// The first so many operations to return have an order.
    pub fn explained(&self) -> usize {
        self.furthest as usize
    }

    /// Operations that returned, by return.
    pub fn by_ret(&self) -> &[u32] {
        &self.by_ret
    }

    /// What it holds: arrays by operation, the path of the search, which is a few words a step, and
    /// what it remembers.
    pub fn bytes(&self) -> u64 {
        let path = self.moves.len() + self.trail.len();
        (64 * self.ops.len() + 48 * path) as u64 + self.seen.bytes() + self.model.bytes()
    }

    pub fn gave_up(&self, why: Exhausted) -> GaveUp {
        GaveUp {
            why,
            explained: self.explained(),
            open: self.slots as usize,
            lost: self.classes.iter().map(|c| c.members.len()).sum(),
            configurations: self.seen.len(),
        }
    }

    /// Searches on for so many steps; none if there is no answer yet.
    pub fn run(&mut self, steps: u64, meter: &mut Meter) -> Result<Option<Found>, Exhausted> {
        for _ in 0..steps {
            self.model.look()?;
            let Some(frame) = self.frames.last_mut() else {
                return Ok(Some(Found::Blocked(self.by_ret[self.furthest as usize])));
            };
            if self.base as usize == self.by_ret.len() {
                return Ok(Some(Found::Order(self.order())));
            }
            let next = self.moves.get(frame.next as usize).copied();
            frame.next += 1;
            meter.tick(self.bytes())?;
            let Some(next) = next else {
                let frame = self.frames.pop().expect("it was seen above");
                self.moves.truncate(frame.first as usize);
                self.undo(frame.trail, frame.base, frame.state);
                continue;
            };
            let (trail, base, state) = (self.trail.len() as u32, self.base, self.state);
            if !self.apply(next) {
                continue;
            }
            if self.remember() {
                self.enter(trail, base, state);
            } else {
                self.undo(trail, base, state);
            }
        }
        Ok(None)
    }

    /// Opens a frame for the configuration reached; `trail`, `base` and `state` are those to return
    /// to.
    fn enter(&mut self, trail: u32, base: u32, state: u32) {
        let first = self.moves.len() as u32;
        self.list_moves();
        self.frames.push(Frame {
            first,
            next: first,
            trail,
            base,
            state,
        });
    }

    /// Whether the move is possible, of which nothing comes if it is not.
    fn apply(&mut self, next: Move) -> bool {
        let op = match next {
            Move::Place(op) => &self.ops[op as usize].op,
            Move::Lost(class) => &self.classes[class as usize].op,
        };
        let before = &self.states[self.state as usize];
        let Some(state) = self.model.step(before, op) else {
            return false;
        };
        if matches!(next, Move::Lost(_)) && state == *before {
            return false;
        }
        self.state = match self.state_ids.get(&state) {
            Some(id) => *id,
            None => {
                let id = self.states.len() as u32;
                self.states.push(state.clone());
                self.state_ids.insert(state, id);
                id
            }
        };
        match next {
            Move::Place(op) => self.place(op),
            Move::Lost(class) => {
                self.classes[class as usize].used += 1;
                self.used.push(class);
                self.trail.push(self.ops.len() as u32 + class);
            }
        }
        self.place_reads();
        true
    }

    fn place(&mut self, op: u32) {
        let i = op as usize;
        self.placed[i] = true;
        let (before, after) = (self.before[i], self.after[i]);
        self.after[before as usize] = after;
        self.before[after as usize] = before;
        self.trail.push(op);
        let slot = self.slot[i];
        self.mask[slot as usize / 64] |= 1 << (slot % 64);
        while let Some(op) = self.by_ret.get(self.base as usize)
            && self.placed[*op as usize]
        {
            let slot = self.slot[*op as usize];
            self.mask[slot as usize / 64] &= !(1 << (slot % 64));
            self.base += 1;
        }
        self.furthest = self.furthest.max(self.base);
    }

    fn undo(&mut self, trail: u32, base: u32, state: u32) {
        while self.trail.len() > trail as usize {
            let op = self.trail.pop().expect("it is longer than the frame's") as usize;
            if op >= self.ops.len() {
                self.classes[op - self.ops.len()].used -= 1;
                self.used.pop();
                continue;
            }
            let slot = self.slot[op];
            self.mask[slot as usize / 64] &= !(1 << (slot % 64));
            self.placed[op] = false;
            let (before, after) = (self.before[op], self.after[op]);
            self.after[before as usize] = op as u32;
            self.before[after as usize] = op as u32;
        }
        // Only now: a bit that was freed when the base moved may since have stood for another.
        while self.base > base {
            self.base -= 1;
            let op = self.by_ret[self.base as usize] as usize;
            if self.placed[op] {
                self.mask[self.slot[op] as usize / 64] |= 1 << (self.slot[op] % 64);
            }
        }
        self.state = state;
    }

    /// When the first operation not placed returns: whatever is called later must wait for it.
    fn horizon(&self) -> u32 {
        match self.by_ret.get(self.base as usize) {
            Some(op) => self.ops[*op as usize].ret,
            None => NEVER,
        }
    }

    /// Whether what it awaits is placed.
    fn is_due(&self, op: u32) -> bool {
        awaited(self.awaits, op).is_none_or(|before| self.placed[before as usize])
    }

    fn place_reads(&mut self) {
        let anchor = self.ops.len() as u32;
        let mut op = self.after[anchor as usize];
        while op != anchor {
            let timed = &self.ops[op as usize];
            // Placing a read can move the horizon, so it is asked anew.
            if timed.call > self.horizon() {
                break;
            }
            let next = self.after[op as usize];
            if self.model.reads_only(&timed.op)
                && self.is_due(op)
                && self
                    .model
                    .step(&self.states[self.state as usize], &timed.op)
                    .is_some()
            {
                self.place(op);
            }
            op = next;
        }
    }

    fn list_moves(&mut self) {
        let first = self.moves.len();
        let horizon = self.horizon();
        let anchor = self.ops.len() as u32;
        let state = &self.states[self.state as usize];
        // Then whether a move is possible is asked when it is its turn, which may never come.
        let is_costly = self.model.is_costly();
        let mut op = self.after[anchor as usize];
        self.demands.clear();
        while op != anchor {
            let timed = &self.ops[op as usize];
            if timed.call > horizon {
                break;
            }
            if let Some(token) = self.model.needs(&timed.op)
                && !self.demands.contains(&token)
            {
                self.demands.push(token);
            }
            // A read that fits is placed already; one that does not is no move.
            let is_move = !self.model.reads_only(&timed.op) && self.is_due(op);
            if is_move && (is_costly || self.model.step(state, &timed.op).is_some()) {
                self.moves.push(Move::Place(op));
            }
            op = self.after[op as usize];
        }
        // The one that must return first is the likeliest to be next.
        self.moves[first..].sort_by_key(|m| match m {
            Move::Place(op) => self.ops[*op as usize].ret,
            Move::Lost(_) => NEVER,
        });
        let mut at = 0;
        while let Some(token) = self.demands.get(at).copied() {
            at += 1;
            for id in self.givers.get(&token).into_iter().flatten() {
                let class = &self.classes[*id as usize];
                match class.members.get(class.used as usize) {
                    Some(member)
                        if self.ops[*member as usize].call < horizon && self.is_due(*member) => {}
                    _ => continue,
                }
                if is_costly
                    || (self.model.step(state, &class.op)).is_some_and(|next| next != *state)
                {
                    self.moves.push(Move::Lost(*id));
                }
                if let Some(token) = self.model.needs(&class.op)
                    && !self.demands.contains(&token)
                {
                    self.demands.push(token);
                }
            }
        }
    }

    /// Whether the configuration is new.
    fn remember(&mut self) -> bool {
        self.key.clear();
        self.key
            .push(u64::from(self.base) << 32 | u64::from(self.state));
        self.key.extend_from_slice(&self.mask);
        let fixed = self.key.len();
        for id in &self.used {
            let class = &self.classes[*id as usize];
            if class.needed_until > self.base {
                self.key.push(u64::from(*id) << 32 | u64::from(class.used));
            }
        }
        self.key[fixed..].sort_unstable();
        self.seen.insert(&self.key)
    }

    fn order(&self) -> Vec<u32> {
        let n = self.ops.len() as u32;
        let mut used = vec![0; self.classes.len()];
        self.trail
            .iter()
            .map(|&at| match at.checked_sub(n) {
                None => at,
                Some(class) => {
                    used[class as usize] += 1;
                    self.classes[class as usize].members[used[class as usize] - 1]
                }
            })
            .collect()
    }
}

/// The operation that this one awaits.
pub(crate) fn awaited(awaits: &[u32], op: u32) -> Option<u32> {
    awaits.get(op as usize).copied().filter(|op| *op != NONE)
}

/// Operations that returned, by return.
pub(super) fn by_ret<O>(ops: &[Timed<O>], meter: &mut Meter) -> Result<Vec<u32>, Exhausted> {
    let mut returned = Vec::new();
    for (i, op) in ops.iter().enumerate() {
        meter.tick(0)?;
        if op.ret != NEVER {
            returned.push(i as u32);
        }
    }
    let ret = |i: &u32| ops[*i as usize].ret;
    sort_spread_within(returned, |i| u64::from(ret(i)), ret, meter)
}

/// Gives each operation that returned a bit of its own among those that overlap it.
pub(super) fn slots<O>(
    ops: &[Timed<O>],
    by_ret: &[u32],
    meter: &mut Meter,
) -> Result<(Vec<u32>, u32), Exhausted> {
    let mut slot = vec![NONE; ops.len()];
    let mut free: Vec<u32> = Vec::new();
    let mut slots = 0;
    let mut returned = by_ret.iter().peekable();
    for (i, timed) in ops.iter().enumerate().filter(|(_, o)| o.ret != NEVER) {
        meter.tick(0)?;
        while let Some(r) = returned.next_if(|r| ops[**r as usize].ret < timed.call) {
            free.push(slot[*r as usize]);
        }
        slot[i] = free.pop().unwrap_or_else(|| {
            slots += 1;
            slots - 1
        });
    }
    Ok((slot, slots))
}
