//! Configurations, and the set of those that survive.

use super::lost::Lost;
use super::{DEAD, Mask, NONE, Open};

/// What may have happened so far, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Open operations that need no place any more.
    pub done: Mask,
    /// Open operations that have one, and cannot be placed again.
    pub used: Mask,
    pub value: u32,
    /// How many of each class of lost operations were used, as a number that [`Lost`] gives out.
    pub lost: u32,
}

impl Config {
    /// Whether everything that can follow `other` can follow this one.
    fn dominates(&self, other: &Config, lost: &Lost) -> bool {
        self.value == other.value
            && other.done & !self.done == 0
            && self.used & !other.used == 0
            && lost.at_most(self.lost, other.lost)
    }

    pub fn hash(&self) -> u64 {
        let halves = |m: Mask| (m as u64) ^ ((m >> 64) as u64).rotate_left(29);
        let mixed = mix(halves(self.done) ^ 0x9e37_79b9_7f4a_7c15);
        mix(mixed ^ halves(self.used) ^ (u64::from(self.value) << 32 | u64::from(self.lost)))
    }
}

pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 29)
}

/// A configuration and how it came about.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub config: Config,
    pub trail: u32,
}

impl Entry {
    pub fn at(value: u32) -> Entry {
        Entry {
            config: Config {
                done: 0,
                used: 0,
                value,
                lost: 0,
            },
            trail: NONE,
        }
    }
}

/// Positions by hash. It is emptied without touching it, and then not much larger than it was
/// filled: what lies together stays in the cache.
#[derive(Default)]
pub struct Index {
    places: Vec<Place>,
    /// How many of them are in use: a power of two, at most half full.
    size: usize,
    generation: u32,
    filled: usize,
}

#[derive(Clone, Copy, Default)]
struct Place {
    generation: u32,
    position: u32,
    hash: u32,
}

impl Index {
    const LEAST: usize = 64;

    pub fn clear(&mut self) {
        let ample = (4 * self.filled).next_power_of_two();
        self.size = ample.clamp(self.size / 2, self.size);
        self.filled = 0;
        self.begin();
    }

    fn begin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.places.fill(Place::default());
            self.generation = 1;
        }
    }

    /// The position kept under this hash for which `is` holds; [`NONE`], to be replaced, if it is
    /// new.
    pub fn get(&mut self, hash: u64, is: impl Fn(u32) -> bool) -> &mut u32 {
        if 2 * (self.filled + 1) > self.size {
            self.grow();
        }
        let most = self.size - 1;
        let hash = (hash ^ hash >> 32) as u32;
        let mut at = hash as usize & most;
        loop {
            let place = self.places[at];
            if place.generation != self.generation {
                self.filled += 1;
                self.places[at] = Place {
                    generation: self.generation,
                    position: NONE,
                    hash,
                };
                break;
            }
            if place.hash == hash && is(place.position) {
                break;
            }
            at = (at + 1) & most;
        }
        &mut self.places[at].position
    }
    fn grow(&mut self) {
        let now = self.generation;
        let filled = self.places[..self.size].iter().copied();
        let filled: Vec<Place> = filled.filter(|place| place.generation == now).collect();
        self.size = (2 * self.size).max(Self::LEAST);
        if self.size > self.places.len() {
            self.places = vec![Place::default(); self.size];
            self.generation = 0;
        }
        self.begin();
        for place in filled {
            let mut at = place.hash as usize & (self.size - 1);
            while self.places[at].generation == self.generation {
                at = (at + 1) & (self.size - 1);
            }
            self.places[at] = Place {
                generation: self.generation,
                ..place
            };
        }
    }

    pub fn bytes(&self) -> usize {
        // And the next doubling beside it.
        3 * self.places.capacity() * size_of::<Place>()
    }
}

/// The configurations that survive, none of which dominates another.
#[derive(Default)]
pub struct Front {
    pub entries: Vec<Entry>,
    next: Vec<Entry>,
    /// Within `next`: the one before of equal value and compare-and-sets, the only ones to compare
    /// with.
    before: Vec<u32>,
    index: Index,
    /// Comparisons that nobody has asked for yet.
    compared: u64,
}

/// So many comparisons take as long as a step.
const COMPARISONS_A_STEP: u64 = 32;

impl Front {
    /// Steps' worth of comparisons since it was asked last.
    pub fn take_work(&mut self) -> u64 {
        let steps = self.compared / COMPARISONS_A_STEP;
        self.compared %= COMPARISONS_A_STEP;
        steps
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Whether every configuration has settled an operation already, which is then forgotten.
    pub fn all_done(&mut self, bit: Mask) -> bool {
        if self.entries.iter().any(|e| e.config.done & bit == 0) {
            return false;
        }
        self.entries.iter_mut().for_each(|e| e.config.done &= !bit);
        true
    }

    /// Begins the next generation, which [`Front::add`] fills and [`Front::turn`] puts in place.
    pub fn begin(&mut self) {
        self.next.clear();
        self.before.clear();
        self.index.clear();
    }

    /// Whether it survives those added before it.
    pub fn add(&mut self, entry: Entry, cas: Mask, lost: &Lost) -> bool {
        let config = entry.config;
        let group = |c: &Config| (c.value, c.done & cas, c.used & cas);
        let key = Config {
            done: config.done & cas,
            used: config.used & cas,
            lost: 0,
            ..config
        };
        let next = &self.next;
        let head = self.index.get(key.hash(), |at| {
            group(&next[at as usize].config) == group(&config)
        });
        let mut at = *head;
        while at != NONE {
            self.compared += 1;
            if self.next[at as usize].config.dominates(&config, lost) {
                return false;
            }
            at = self.before[at as usize];
        }
        // Those that it dominates stay in the list, marked by a value of their own place.
        let mut link = *head;
        let mut last = NONE;
        while link != NONE {
            let following = self.before[link as usize];
            if config.dominates(&self.next[link as usize].config, lost) {
                self.next[link as usize].config.lost = NONE;
                match last {
                    NONE => *head = following,
                    last => self.before[last as usize] = following,
                }
            } else {
                last = link;
            }
            link = following;
        }
        self.next.push(entry);
        self.before.push(*head);
        *head = self.next.len() as u32 - 1;
        true
    }

    pub fn turn(&mut self) {
        self.next.retain(|entry| entry.config.lost != NONE);
        std::mem::swap(&mut self.entries, &mut self.next);
    }

    /// Whether some had to go.
    pub fn keep_best(&mut self, width: usize, open: &Open, lost: &Lost) -> bool {
        if self.entries.len() <= width {
            return false;
        }
        // Few that wait for a place, few that are used up.
        let cost = |config: &Config| {
            let waiting = open.all & !config.done;
            let (reads, writes) = (waiting & !open.writes, waiting & open.writes);
            let used = config.used & open.writes;
            4 * reads.count_ones()
                + writes.count_ones()
                + used.count_ones()
                + 2 * lost.total(config.lost)
                + u32::from(config.value == DEAD)
        };
        self.entries.sort_by_cached_key(|entry| cost(&entry.config));
        // Those that differ in nothing but what was lost come last: they succeed and fail together.
        self.begin();
        let mut like = Vec::new();
        for entry in self.entries.drain(..) {
            let key = Config {
                lost: 0,
                ..entry.config
            };
            let next = &self.next;
            let same = |at: u32| {
                Config {
                    lost: 0,
                    ..next[at as usize].config
                } == key
            };
            match self.index.get(key.hash(), same) {
                known if *known == NONE => {
                    *known = self.next.len() as u32;
                    self.next.push(entry);
                }
                _ => like.push(entry),
            }
        }
        self.next.append(&mut like);
        self.next.truncate(width);
        std::mem::swap(&mut self.entries, &mut self.next);
        true
    }

    pub fn bytes(&self) -> usize {
        (self.entries.capacity() + self.next.capacity()) * (size_of::<Entry>() + 4)
            + self.index.bytes()
    }
}
