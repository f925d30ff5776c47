//! Serializability and snapshot isolation by trying everything: the definitions, written down.
//!
//! A transaction begins, and reads; it commits, and writes. In a serial order nothing is between
//! the two. With snapshots (Berenson et al. 1995) others may be, but nobody who writes what it
//! writes commits there.

use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashSet;

/// What must come before what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Before {
    Nothing,
    /// What the same process did before.
    Session,
    /// What had returned before.
    Realtime,
}

impl Before {
    pub fn orders(self, a: &Op, b: &Op) -> bool {
        let returned = a.outcome == Outcome::Ok;
        match self {
            Before::Nothing => false,
            Before::Session => returned && a.process == b.process && a.index < b.index,
            Before::Realtime => a.ret < b.call || Before::Session.orders(a, b),
        }
    }
}

/// How many transactions, keys and values (from 1 on) there may be.
const TXNS: usize = 8;
const KEYS: i64 = 3;
const VALUES: usize = 40;

/// A content of a key by number; 0 is that of the start.
type Content = u16;

#[derive(Clone, Copy)]
enum Micro {
    Read { key: u32, found: Content },
    Write { key: u32, value: usize },
}

struct Txn {
    /// Whether it happened, and what it read is known.
    must: bool,
    /// Its micro-operations among all.
    micros: std::ops::Range<usize>,
    /// Keys that it writes.
    writes: u8,
    /// Which must come before it, by nothing, by sessions, by real time.
    before: [u8; 3],
}

/// A moment: what the keys hold, 16 bits each, who began and did not commit, and who committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Moment {
    keys: u64,
    running: u8,
    done: u8,
}

/// Which models explain a history. One is used for many, so that it need not be made anew.
#[derive(Default)]
pub struct Brute {
    txns: Vec<Txn>,
    micros: Vec<Micro>,
    /// What a content becomes with a value, if somebody asked.
    then: Vec<[Content; VALUES]>,
    seen: FxHashSet<Moment>,
    stack: Vec<Moment>,
}

/// What explains a history: in each, by nothing, by sessions, by real time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explained {
    pub serially: [bool; 3],
    pub by_snapshots: [bool; 3],
}

impl Brute {
    /// At most eight transactions that did not fail, keys from 0 to 2 and values from 1 to 39.
    pub fn explained(&mut self, history: &History) -> Explained {
        self.read(history);
        let mut explained = Explained {
            serially: [false; 3],
            by_snapshots: [false; 3],
        };
        for by in (0..3).rev() {
            // What agrees with more of time agrees with less, and a serial order is one of
            // snapshots.
            let narrower = explained.serially.get(by + 1) == Some(&true);
            explained.serially[by] = narrower || self.search(by, false);
            let narrower = explained.by_snapshots.get(by + 1) == Some(&true);
            explained.by_snapshots[by] =
                narrower || explained.serially[by] || self.search(by, true);
        }
        explained
    }

    fn read(&mut self, history: &History) {
        let happened = |op: &&Op| op.outcome != Outcome::Fail;
        let ops: Vec<&Op> = history.ops().iter().filter(happened).collect();
        assert!(ops.len() <= TXNS, "brute force is for small histories");
        self.txns.clear();
        self.micros.clear();
        self.then.clear();
        self.then.push([0; VALUES]);
        for op in &ops {
            let must = op.outcome == Outcome::Ok;
            let (begin, mut writes) = (self.micros.len(), 0);
            let told = if must { &op.output } else { &op.input };
            for micro in told.as_list().expect("a list") {
                let Some([f, Value::Int(key), value]) = micro.as_list() else {
                    panic!("not a micro-operation: {micro}");
                };
                assert!((0..KEYS).contains(key));
                let key = *key as u32;
                let micro = match f.as_text() {
                    // Nobody knows what it read.
                    Some("r") if !must => continue,
                    Some("r") => Micro::Read {
                        key,
                        found: self.content(value),
                    },
                    f => {
                        writes |= 1 << key;
                        // A register forgets what it held.
                        let value = number(value) + usize::from(f == Some("w")) * VALUES;
                        Micro::Write { key, value }
                    }
                };
                self.micros.push(micro);
            }
            let before = [Before::Nothing, Before::Session, Before::Realtime].map(|before| {
                let orders = |o: &Op| o.outcome == Outcome::Ok && before.orders(o, op);
                let these = ops.iter().enumerate().filter(|(_, o)| orders(o));
                these.fold(0, |mask, (i, _)| mask | 1 << i)
            });
            self.txns.push(Txn {
                must,
                micros: begin..self.micros.len(),
                writes,
                before,
            });
        }
    }

    /// The number of what a read found.
    fn content(&mut self, found: &Value) -> Content {
        match found {
            Value::List(list) => list.iter().fold(0, |c, v| self.with(c, number(v))),
            Value::Nil => 0,
            value => self.with(0, number(value)),
        }
    }

    fn with(&mut self, content: Content, value: usize) -> Content {
        let (content, value) = match value.checked_sub(VALUES) {
            Some(written) => (0, written),
            None => (content, value),
        };
        let then = self.then[content as usize][value];
        if then != 0 {
            return then;
        }
        let fresh = Content::try_from(self.then.len()).expect("histories are small");
        self.then[content as usize][value] = fresh;
        self.then.push([0; VALUES]);
        fresh
    }

    /// What the keys hold after a transaction; none if it does not read what it read.
    fn after(&mut self, txn: usize, keys: u64, reads: bool) -> Option<u64> {
        let mut keys = keys;
        for at in self.txns[txn].micros.clone() {
            match self.micros[at] {
                Micro::Read { key, found } => {
                    if reads && (keys >> (16 * key)) as u16 != found {
                        return None;
                    }
                }
                Micro::Write { key, value } => {
                    let now = (keys >> (16 * key)) as u16;
                    let then = self.with(now, value);
                    keys ^= u64::from(now ^ then) << (16 * key);
                }
            }
        }
        Some(keys)
    }

    fn search(&mut self, by: usize, snapshots: bool) -> bool {
        let all = (0..self.txns.len()).filter(|i| self.txns[*i].must);
        let all: u8 = all.fold(0, |mask, i| mask | 1 << i);
        self.seen.clear();
        self.stack.clear();
        self.stack.push(Moment {
            keys: 0,
            running: 0,
            done: 0,
        });
        while let Some(now) = self.stack.pop() {
            if now.done & all == all {
                return true;
            }
            if !self.seen.insert(now) {
                continue;
            }
            for i in 0..self.txns.len() {
                let bit = 1 << i;
                let (writes, before) = (self.txns[i].writes, self.txns[i].before[by]);
                if now.done & bit != 0 {
                    continue;
                }
                if now.running & bit != 0 {
                    // Whoever began before and writes the same could not commit any more.
                    let conflicts = |j: usize| {
                        j != i && now.running & 1 << j != 0 && self.txns[j].writes & writes != 0
                    };
                    if !(0..self.txns.len()).any(conflicts) {
                        let keys = self.after(i, now.keys, false);
                        self.stack.push(Moment {
                            keys: keys.expect("it does not read"),
                            running: now.running & !bit,
                            done: now.done | bit,
                        });
                    }
                    continue;
                }
                if before & !now.done != 0 {
                    continue;
                }
                let Some(keys) = self.after(i, now.keys, true) else {
                    continue;
                };
                // One that writes nothing is in nobody's way.
                self.stack.push(match snapshots && writes != 0 {
                    true => Moment {
                        running: now.running | bit,
                        ..now
                    },
                    false => Moment {
                        keys,
                        done: now.done | bit,
                        ..now
                    },
                });
            }
        }
        false
    }
}

fn number(value: &Value) -> usize {
    let number = value.as_int().and_then(|n| usize::try_from(n).ok());
    number
        .filter(|n| (1..VALUES).contains(n))
        .expect("a small value")
}
