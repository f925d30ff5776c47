//! What may happen before an operation returns.

use super::configs::{Config, Entry, Front, Index, mix};
use super::lost::Lost;
use super::order::{Step, Trail};
use super::{Action, DEAD, Later, Mask, NONE, Open};
use crate::{Exhausted, Meter};

/// The operation that returns.
pub struct Target {
    pub op: u32,
    pub bit: Mask,
    pub action: Action,
    pub now: u32,
}

impl Target {
    fn is_write(&self) -> bool {
        matches!(self.action, Action::Write(_))
    }
}

/// A configuration on the way to the target's place.
#[derive(Clone, Copy)]
struct State {
    config: Config,
    /// Nobody has seen the value yet, so only a compare-and-set can follow.
    unseen: bool,
    /// The operation that led here, and from which state; the first state of all has none, and the
    /// trail of the entry instead.
    op: u32,
    before: u32,
}

/// From each configuration a beam tries so many states, the nearest first, by its width: what takes
/// effect long before it must seldom stays in a beam. Where operations are lost the ways are
/// longer, and a narrow beam that follows them so far gets further than a wide one.
fn most_states(width: usize, is_lost: bool) -> usize {
    match is_lost {
        false => width.div_ceil(8),
        true => (width / 16).saturating_add(7),
    }
}

/// The states of one return.
#[derive(Default)]
pub struct Closure {
    states: Vec<State>,
    known: Index,
    wanted: Vec<u32>,
    moves: Vec<State>,
    /// Whether something was left out because it cannot succeed later.
    pub foresaw: bool,
    /// Whether something was left out because a beam is narrow.
    pub cut: bool,
}

/// All that moves depend on.
struct Scene<'a> {
    target: &'a Target,
    open: &'a Open,
    later: &'a Later,
    lost: &'a mut Lost,
    front: &'a mut Front,
    trail: Option<&'a mut Trail>,
    /// Leaves out what cannot succeed later: right for the verdict, but then the place where
    /// nothing survives may be too early.
    foresee: bool,
    /// Writes whose value no operation needs that is called later.
    fading: Mask,
}

/// Each bit of a mask, as its position.
fn bits(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = mask.trailing_zeros() as usize;
        mask &= mask.checked_sub(1)?;
        Some(at)
    })
}

impl Closure {
    /// Replaces the front's configurations by those in which the target has its place.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &mut self,
        target: &Target,
        open: &Open,
        later: &Later,
        lost: &mut Lost,
        front: &mut Front,
        trail: Option<&mut Trail>,
        foresee: bool,
        width: usize,
        held: u64,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        if target.action.written().is_none() && front.all_done(target.bit) {
            return meter.tick(held);
        }
        self.states.clear();
        self.known.clear();
        front.begin();
        let mut scene = Scene {
            target,
            open,
            later,
            lost,
            front,
            trail,
            foresee,
            fading: 0,
        };
        scene.fading = scene.fading();
        let most = most_states(width, !scene.lost.is_empty());
        for at in 0..scene.front.entries.len() {
            let entry = scene.front.entries[at];
            let config = entry.config;
            if config.done & target.bit != 0 {
                scene.keep(config, entry.trail);
                // A write that nobody saw has its last chance to be seen.
                let spent = target.action.written().is_none() || config.used & target.bit != 0;
                if spent || !scene.is_needed(&config, target.action) {
                    meter.tick(held)?;
                    continue;
                }
            }
            let first = self.states.len();
            self.push(State {
                config,
                unseen: false,
                op: NONE,
                before: entry.trail,
            });
            let mut at = first;
            while at < self.states.len() {
                if at - first >= most {
                    self.cut = true;
                    break;
                }
                // Comparing configurations can be more work than finding them.
                for _ in 0..scene.front.take_work() {
                    meter.tick(held)?;
                }
                let held = held + self.bytes() as u64 + scene.front.bytes() as u64;
                meter.tick(held)?;
                self.expand(at as u32, &mut scene);
                at += 1;
            }
        }
        front.turn();
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<State>() + self.known.bytes()
    }

    fn push(&mut self, state: State) {
        let hash = mix(state.config.hash() ^ u64::from(state.unseen));
        let states = &self.states;
        let known = self.known.get(hash, |at| {
            let known = &states[at as usize];
            known.config == state.config && known.unseen == state.unseen
        });
        if *known == NONE {
            *known = self.states.len() as u32;
            self.states.push(state);
        }
    }

    /// Makes every move from a state; those that place the target end in the front.
    fn expand(&mut self, at: u32, scene: &mut Scene) {
        let state = self.states[at as usize];
        self.moves.clear();
        scene.want(&state.config, &mut self.wanted);
        scene.list_cas(&state, at, &self.wanted, &mut self.moves);
        let free = if state.unseen {
            None
        } else {
            scene.list_writes(&state, at, &self.wanted, &mut self.moves)
        };
        for i in 0..self.moves.len() {
            let next = self.moves[i];
            if scene.foresee && scene.is_stuck(&state.config, &next.config) {
                self.foresaw = true;
                continue;
            }
            // A read is placed as soon as it fits; others are when they are the move.
            let placed = match scene.target.action {
                Action::Read(_) => next.config.done & scene.target.bit != 0,
                _ => next.op == scene.target.op,
            };
            // What was forced in front of a write has hidden it.
            let hidden = free == Some(i) && scene.target.is_write();
            if placed || hidden {
                self.arrive(&next, scene);
            }
            if !placed {
                self.push(next);
            }
        }
    }

    fn arrive(&self, last: &State, scene: &mut Scene) {
        let Some(trail) = &mut scene.trail else {
            return scene.keep(last.config, NONE);
        };
        let mut ops = vec![last.op];
        let mut before = last.before;
        let root = loop {
            let state = &self.states[before as usize];
            before = state.before;
            match state.op {
                NONE => break state.before,
                op => ops.push(op),
            }
        };
        let now = scene.target.now;
        let step = |before, op: &u32| trail.push(before, Step { op: *op, now });
        let trail = ops.iter().rev().fold(root, step);
        scene.keep(last.config, trail);
    }
}

impl Scene<'_> {
    fn fading(&self) -> Mask {
        let fades = |slot: &usize| {
            let value = self.open.to[*slot];
            self.later.needed[value as usize] < self.target.now
                && self.lost.needed_until(value) < self.target.now
        };
        let slots = bits(self.open.writes & !self.target.bit).filter(fades);
        slots.fold(0, |mask, slot| mask | 1 << slot)
    }

    /// Adds a configuration in which the target has its place, in its simplest form.
    fn keep(&mut self, mut config: Config, trail: u32) {
        let bit = self.target.bit;
        let (done, used) = (config.done | bit, config.used | bit);
        let waits = |value: u32| {
            let value = value as usize;
            (self.open.reads_of[value] & !done) | (self.open.cas_from[value] & !used) != 0
        };
        if config.value != DEAD
            && self.later.needed[config.value as usize] < self.target.now
            && self.lost.needed_until(config.value) < self.target.now
            && !waits(config.value)
        {
            config.value = DEAD;
        }
        for slot in bits(self.fading & config.done & !config.used) {
            if !waits(self.open.to[slot]) {
                config.used |= 1 << slot;
            }
        }
        config.done &= !bit;
        config.used &= !bit;
        let cas = self.open.cas & !bit;
        self.front.add(Entry { config, trail }, cas, self.lost);
    }

    /// Whether what the target leaves is needed by an operation that has not returned yet.
    fn is_needed(&self, config: &Config, action: Action) -> bool {
        let Some(value) = action.written() else {
            return false;
        };
        let v = value as usize;
        self.later.needed[v] > self.target.now
            || self.open.reads_of[v] & !config.done != 0
            || self.open.cas_from[v] & !config.used & !self.target.bit != 0
            || self.lost.needed_until(value) >= self.target.now
    }

    /// Open reads that wait for a value.
    fn waiting(&self, config: &Config, value: u32) -> bool {
        self.open.reads_of[value as usize] & !config.done != 0
    }

    /// Values that an open operation waits for, perhaps through lost ones.
    fn want(&self, config: &Config, wanted: &mut Vec<u32>) {
        wanted.clear();
        let reads = self.open.all & !self.open.writes & !self.open.cas & !config.done;
        let cas = self.open.cas & !config.used;
        for slot in bits(reads | cas) {
            let value = self.open.found[slot];
            if !wanted.contains(&value) {
                wanted.push(value);
            }
        }
        if self.lost.is_empty() {
            return;
        }
        let mut changed = true;
        while changed {
            changed = false;
            for id in self.lost.cas() {
                let class = self.lost.class(id);
                if let Some(from) = class.from
                    && wanted.contains(&class.to)
                    && !wanted.contains(&from)
                    && self.lost.next(config.lost, id, self.target.now).is_some()
                {
                    wanted.push(from);
                    changed = true;
                }
            }
        }
    }

    fn list_cas(&mut self, state: &State, at: u32, wanted: &[u32], moves: &mut Vec<State>) {
        let config = state.config;
        if config.value == DEAD {
            return;
        }
        let open = self.open.cas_from[config.value as usize] & !config.used;
        for slot in bits(open) {
            let equal = |other: &usize| self.open.to[*other] == self.open.to[slot];
            // Of equal ones, the one that returns first; optional ones are not equal to others.
            let sooner = |other: usize| {
                other != slot
                    && self.open.ret[other] < self.open.ret[slot]
                    && (config.done >> other) & 1 == (config.done >> slot) & 1
            };
            if bits(open).filter(equal).any(sooner) {
                continue;
            }
            let to = self.open.to[slot];
            let bit = 1 << slot;
            let optional = config.done & bit != 0;
            let target = bit == self.target.bit;
            if target && optional && !self.is_needed(&config, self.target.action) {
                continue;
            }
            moves.push(State {
                config: Config {
                    done: config.done | bit | self.open.reads_of[to as usize],
                    used: config.used | bit,
                    value: to,
                    ..config
                },
                unseen: optional && !target && !self.waiting(&config, to),
                op: self.open.op[slot],
                before: at,
            });
        }
        for i in 0..self.lost.cas_from(config.value).len() {
            let id = self.lost.cas_from(config.value)[i];
            let to = self.lost.class(id).to;
            if let Some(op) = self.lost.next(config.lost, id, self.target.now)
                && wanted.contains(&to)
                && to != config.value
            {
                moves.push(State {
                    config: Config {
                        done: config.done | self.open.reads_of[to as usize],
                        used: config.used,
                        value: to,
                        lost: self.lost.with(config.lost, id),
                    },
                    unseen: !self.waiting(&config, to),
                    op,
                    before: at,
                });
            }
        }
    }

    /// Returns which of them is free: it costs nothing, so it comes before all others.
    fn list_writes(
        &mut self,
        state: &State,
        at: u32,
        wanted: &[u32],
        moves: &mut Vec<State>,
    ) -> Option<usize> {
        let config = state.config;
        let written = match self.target.action {
            Action::Write(value) => Some(value),
            _ => None,
        };
        let first = moves.len();
        for value in wanted.iter().copied() {
            // Of those of one value the one that returns first, which is the target if it is one.
            if written == Some(value) {
                continue;
            }
            // Nobody sees the same value again, but it can hide writes that must have a place.
            let hidden = self.open.writes & !config.done;
            if value == config.value && hidden == 0 {
                continue;
            }
            let open = self.open.writes_of[value as usize] & !config.used;
            let (op, bit, lost) = match bits(open).min_by_key(|slot| self.open.ret[*slot]) {
                Some(slot) => (self.open.op[slot], 1 << slot, config.lost),
                None => {
                    let class = self.lost.write_of(value);
                    let now = self.target.now;
                    let next = class.and_then(|id| self.lost.next(config.lost, id, now));
                    match (class, next) {
                        (Some(id), Some(op)) => (op, 0, self.lost.with(config.lost, id)),
                        _ => continue,
                    }
                }
            };
            let waiting = self.waiting(&config, value);
            let next = State {
                config: self.written(&config, value, bit, lost),
                unseen: !waiting,
                op,
                before: at,
            };
            // What only open reads can need is best given them before any other write.
            if waiting
                && self.later.needed[value as usize] < self.target.now
                && self.open.cas_from[value as usize] & !config.used == 0
                && self.lost.needed_until(value) < self.target.now
            {
                moves.truncate(first);
                moves.push(next);
                return Some(first);
            }
            moves.push(next);
        }
        if let Some(value) = written
            && (config.done & self.target.bit == 0 || self.is_needed(&config, self.target.action))
        {
            moves.push(State {
                config: self.written(&config, value, self.target.bit, config.lost),
                unseen: false,
                op: self.target.op,
                before: at,
            });
        }
        None
    }

    /// A write settles every open write: those that are not used up can stand in front of it.
    fn written(&self, config: &Config, value: u32, bit: Mask, lost: u32) -> Config {
        Config {
            done: config.done | self.open.writes | self.open.reads_of[value as usize],
            used: config.used | bit,
            value,
            lost,
        }
    }

    /// Whether the value that was left is still needed, and nobody can bring it back.
    fn is_stuck(&self, before: &Config, after: &Config) -> bool {
        let value = before.value;
        if value == DEAD || value == after.value {
            return false;
        }
        let v = value as usize;
        let needed = self.later.needed[v] > self.target.now
            || self.open.cas_from[v] & !after.done != 0
            || self.open.reads_of[v] & !after.done != 0;
        needed
            && self.later.given[v] < self.target.now
            && self.open.writes_of[v] & !after.used == 0
            && !self.lost.gives(value)
            && !bits(self.open.cas & !after.used).any(|slot| self.open.to[slot] == value)
    }
}
