//! Lost operations: equal ones are interchangeable, so a configuration counts how many it used.

use rustc_hash::FxHashMap;

use super::super::model::Action;
use super::super::search::{NEVER, Timed};
use super::NONE;
use super::configs::{Front, Index, mix};
use crate::{Exhausted, Meter};

/// Lost operations that are equal.
pub struct Class {
    pub from: Option<u32>,
    pub to: u32,
    /// By call.
    members: Vec<u32>,
    /// So many of them.
    called: u32,
    /// The last return of an operation that it can help, perhaps through other lost ones.
    until: u32,
    /// If not, it can be used as often as wanted once one was called, which allows more than there
    /// is.
    counted: bool,
}

/// The classes, and the numbers for how many of each are used.
pub struct Lost {
    classes: Vec<Class>,
    /// Operations and their classes by call, the first one last, that were not called yet.
    coming: Vec<(u32, u32)>,
    write_of: FxHashMap<u32, u32>,
    cas_from: FxHashMap<u32, Vec<u32>>,
    /// By end, the first one last.
    ends: Vec<(u32, u32)>,
    usages: Usages,
    /// From a usage, by one more of a class.
    more: FxHashMap<(u32, u32), u32>,
}

/// How many of which classes are used, by class, numbered; number 0 is none of any. All lie in one
/// piece: there can be millions, and to let go of each by itself takes longer than a time limit may
/// be passed by.
struct Usages {
    counts: Vec<(u32, u32)>,
    /// Where each ends.
    ends: Vec<usize>,
    index: Index,
    scratch: Vec<(u32, u32)>,
}

impl Usages {
    fn new() -> Usages {
        let mut usages = Usages {
            counts: Vec::new(),
            ends: Vec::new(),
            index: Index::default(),
            scratch: Vec::new(),
        };
        usages.number();
        usages
    }

    fn get(&self, id: u32) -> &[(u32, u32)] {
        Usages::of(&self.counts, &self.ends, id)
    }

    fn of<'a>(counts: &'a [(u32, u32)], ends: &[usize], id: u32) -> &'a [(u32, u32)] {
        let begin = id.checked_sub(1).map_or(0, |before| ends[before as usize]);
        &counts[begin..ends[id as usize]]
    }

    /// The number of what lies in `scratch`.
    fn number(&mut self) -> u32 {
        let mixed = |hash, (class, count): &(u32, u32)| {
            mix(hash ^ (u64::from(*class) << 32 | u64::from(*count)))
        };
        let hash = self.scratch.iter().fold(self.scratch.len() as u64, mixed);
        let (counts, ends, scratch) = (&self.counts, &self.ends, &self.scratch);
        let known = self
            .index
            .get(hash, |id| Usages::of(counts, ends, id) == scratch);
        if *known == NONE {
            *known = self.ends.len() as u32;
            self.counts.extend_from_slice(&self.scratch);
            self.ends.push(self.counts.len());
        }
        *known
    }

    fn bytes(&self) -> usize {
        8 * self.counts.capacity() + 8 * self.ends.capacity() + self.index.bytes()
    }
}

impl Lost {
    /// Counts those that give one of the values for which `counted` holds.
    pub fn new(
        ops: &[Timed<Action>],
        values: usize,
        counted: impl Fn(u32) -> bool,
        meter: &mut Meter,
    ) -> Result<Lost, Exhausted> {
        let mut lost = Lost {
            classes: Vec::new(),
            coming: Vec::new(),
            write_of: FxHashMap::default(),
            cas_from: FxHashMap::default(),
            ends: Vec::new(),
            usages: Usages::new(),
            more: FxHashMap::default(),
        };
        let mut ids: FxHashMap<Action, u32> = FxHashMap::default();
        for (i, timed) in ops.iter().enumerate().filter(|(_, op)| op.ret == NEVER) {
            meter.tick(0)?;
            // A lost read helps nobody.
            let Some(to) = timed.op.written() else {
                continue;
            };
            let next = lost.classes.len() as u32;
            let id = *ids.entry(timed.op).or_insert(next);
            if id == next {
                lost.classes.push(Class {
                    from: timed.op.found(),
                    to,
                    members: Vec::new(),
                    called: 0,
                    until: 0,
                    counted: counted(to),
                });
                match timed.op.found() {
                    None => drop(lost.write_of.insert(to, id)),
                    Some(from) => lost.cas_from.entry(from).or_default().push(id),
                }
            }
            lost.coming.push((i as u32, id));
            lost.classes[id as usize].members.push(i as u32);
        }
        lost.coming.reverse();
        if !lost.classes.is_empty() {
            lost.find_ends(ops, values, meter)?;
        }
        Ok(lost)
    }

    /// What a lost compare-and-set needs is needed as long as what it gives.
    fn find_ends(
        &mut self,
        ops: &[Timed<Action>],
        values: usize,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let mut until = vec![0; values];
        for op in ops.iter().filter(|op| op.ret != NEVER) {
            meter.tick(0)?;
            if let Some(v) = op.op.found() {
                until[v as usize] = op.ret.max(until[v as usize]);
            }
        }
        let mut givers: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for class in &self.classes {
            meter.tick(0)?;
            if let Some(from) = class.from {
                givers.entry(class.to).or_default().push(from);
            }
        }
        // What is needed longest comes first, so that nothing is prolonged twice.
        let mut changed: Vec<u32> = givers.keys().copied().collect();
        changed.sort_unstable_by_key(|value| until[*value as usize]);
        while let Some(value) = changed.pop() {
            for from in givers.get(&value).into_iter().flatten() {
                meter.tick(0)?;
                if until[*from as usize] < until[value as usize] {
                    until[*from as usize] = until[value as usize];
                    changed.push(*from);
                }
            }
        }
        for class in &mut self.classes {
            class.until = until[class.to as usize];
        }
        self.ends = self.classes.iter().map(|c| c.until).zip(0..).collect();
        self.ends
            .sort_unstable_by_key(|end| std::cmp::Reverse(*end));
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Lost operations have to be called in order.
    pub fn call(&mut self, op: u32) {
        if let Some((_, class)) = self.coming.pop_if(|(next, _)| *next == op) {
            self.classes[class as usize].called += 1;
        }
    }

    pub fn class(&self, id: u32) -> &Class {
        &self.classes[id as usize]
    }

    /// The class of lost writes of a value.
    pub fn write_of(&self, value: u32) -> Option<u32> {
        self.write_of.get(&value).copied()
    }

    /// Classes of lost compare-and-sets that found a value.
    pub fn cas_from(&self, value: u32) -> &[u32] {
        self.cas_from.get(&value).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub fn cas(&self) -> impl Iterator<Item = u32> {
        let is_cas = |id: &u32| self.classes[*id as usize].from.is_some();
        (0..self.classes.len() as u32).filter(is_cas)
    }

    /// Until when lost compare-and-sets may need a value.
    pub fn needed_until(&self, value: u32) -> u32 {
        let ends = self.cas_from(value).iter();
        ends.map(|id| self.classes[*id as usize].until)
            .max()
            .unwrap_or(0)
    }

    /// Whether a lost operation gives this value, at whatever time.
    pub fn gives(&self, value: u32) -> bool {
        self.write_of(value).is_some() || self.classes.iter().any(|c| c.to == value)
    }

    fn used(&self, usage: u32, class: u32) -> u32 {
        let usage = self.usages.get(usage);
        let at = usage.iter().find(|(id, _)| *id == class);
        at.map_or(0, |(_, count)| *count)
    }

    /// The one that would be used next, if it was called and can still help.
    pub fn next(&self, usage: u32, class: u32, now: u32) -> Option<u32> {
        let used = self.used(usage, class);
        let class = &self.classes[class as usize];
        (used < class.called && class.until >= now).then(|| class.members[used as usize])
    }

    /// The usage with one more of a class.
    pub fn with(&mut self, usage: u32, class: u32) -> u32 {
        if !self.classes[class as usize].counted {
            return usage;
        }
        if let Some(known) = self.more.get(&(usage, class)) {
            return *known;
        }
        let Usages {
            counts,
            ends,
            scratch,
            ..
        } = &mut self.usages;
        scratch.clear();
        scratch.extend_from_slice(Usages::of(counts, ends, usage));
        match scratch.binary_search_by_key(&class, |(id, _)| *id) {
            Ok(at) => scratch[at].1 += 1,
            Err(at) => scratch.insert(at, (class, 1)),
        }
        let id = self.usages.number();
        self.more.insert((usage, class), id);
        id
    }

    /// Whether one usage has no more of any class than another.
    pub fn at_most(&self, one: u32, other: u32) -> bool {
        one == other
            || one == 0
            || self
                .usages
                .get(one)
                .iter()
                .all(|(class, count)| *count <= self.used(other, *class))
    }

    pub fn total(&self, usage: u32) -> u32 {
        self.usages.get(usage).iter().map(|(_, n)| n).sum()
    }

    /// Forgets how many were used of what can help nobody who returns now or later.
    pub fn forget(&mut self, now: u32, front: &mut Front) {
        let before = self.ends.len();
        while self.ends.pop_if(|(until, _)| *until < now).is_some() {}
        if self.ends.len() == before {
            return;
        }
        for entry in &mut front.entries {
            let classes = &self.classes;
            let is_over = |(class, _): &(u32, u32)| classes[*class as usize].until < now;
            let Usages {
                counts,
                ends,
                scratch,
                ..
            } = &mut self.usages;
            let usage = Usages::of(counts, ends, entry.config.lost);
            if usage.iter().any(is_over) {
                scratch.clear();
                scratch.extend(usage.iter().copied().filter(|used| !is_over(used)));
                entry.config.lost = self.usages.number();
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.usages.bytes()
            + self.more.capacity() * 13
            + self.coming.capacity() * 8
            + self.classes.len() * size_of::<Class>()
    }
}
