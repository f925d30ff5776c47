//! Lists that are appended to: a read tells the order of the appends before it, so nothing about
//! versions has to be guessed (Kingsbury and Alvaro, "Elle", VLDB 2020).
//!
//! Values appended to one key are unique. Every read of a key is a prefix of its longest, whose
//! appends have their **positions** in it; appends that nobody saw come after all that were seen. A transaction
//! of unknown outcome takes part iff one of its appends was read.

mod anomalies;

use history::History;
use history::word::Stored;

use super::cycles::Step;
use super::findings::Tell;
use super::graph::{Edges, Group, Kind, MOST_VERSIONS, NONE};
use super::read::{self, Asked, Interned, Outcome, Scratch, Txns};
use crate::{Exhausted, Meter};

/// What a transaction does, in its order.
#[derive(Clone, Copy)]
enum Micro {
    /// Number of the append.
    Append(u32),
    /// Number of the read.
    Read(u32),
}

struct Append<'h> {
    value: Stored<'h>,
    key: u32,
    /// Number of the transaction; none if all that tried failed, or nobody did.
    txn: u32,
    /// The invocation of one that failed.
    failed: u32,
    /// Position in the key's order, if it was read.
    position: u32,
    /// Its place among the transaction's micro-operations.
    place: u32,
    /// Whether the transaction appends nothing to the key afterwards.
    last: bool,
}

struct Read<'h> {
    list: Stored<'h>,
    key: u32,
    len: u32,
}

struct Key<'h> {
    name: Stored<'h>,
    /// Number of the longest read, and of the transaction that made it.
    longest: u32,
    longest_by: u32,
    /// Appends of the longest read.
    order: Vec<u32>,
    /// Those of them that belong to transactions which did not fail, with how many stand before each in `order`.
    standing: Vec<u32>,
    /// Appends that happened and that nobody read.
    unseen: Vec<u32>,
    /// Whether reads contradict each other, so that there is no order.
    broken: bool,
    /// Whether every value of the longest read is equal to another iff their words are.
    whole: bool,
}

/// All transactions on lists.
pub struct Lists<'h> {
    pub txns: Txns,
    micros: Vec<Micro>,
    appends: Vec<Append<'h>>,
    reads: Vec<Read<'h>>,
    keys: Vec<Key<'h>>,
}

impl<'h> Lists<'h> {
    /// Reads them. The inner error is what cannot be judged.
    pub fn new(
        history: &'h History,
        meter: &mut Meter,
    ) -> Result<Result<Lists<'h>, String>, Exhausted> {
        let mut lists = Lists {
            txns: Txns::new(),
            micros: Vec::new(),
            appends: Vec::new(),
            reads: Vec::new(),
            keys: Vec::new(),
        };
        let (mut keys, mut values) = (Interned::default(), Interned::default());
        let mut count = 0u64;
        let read = read::each(history, meter, |asked, meter| {
            count += 1;
            if count.is_multiple_of(64) {
                meter.tick(lists.bytes() + keys.bytes() + values.bytes())?;
            }
            lists.add(&asked, &mut keys, &mut values, meter)
        })?;
        if let Err(why) = read {
            return Ok(Err(why));
        }
        if lists.appends.len() >= MOST_VERSIONS {
            return Ok(Err(
                "there are more appends than this program numbers".into()
            ));
        }
        lists.orders(&mut values, meter)?;
        Ok(Ok(lists))
    }

    fn bytes(&self) -> u64 {
        let sizes = self.micros.capacity() * size_of::<Micro>()
            + self.appends.capacity() * size_of::<Append>()
            + self.reads.capacity() * size_of::<Read>()
            + self.keys.capacity() * size_of::<Key>();
        self.txns.bytes() + sizes as u64
    }

    fn add(
        &mut self,
        asked: &Asked<'h>,
        keys: &mut Interned,
        values: &mut Interned,
        meter: &mut Meter,
    ) -> Result<Result<(), String>, Exhausted> {
        let txn = match asked.outcome {
            Outcome::Fail => NONE,
            _ => self.txns.len() as u32,
        };
        let begin = self.micros.len();
        let micros = match asked.micros() {
            Ok(micros) => micros,
            Err(why) => return Ok(Err(why)),
        };
        for micro in micros {
            meter.tick(0)?;
            let [f, name, value] = match micro {
                Ok(micro) => micro,
                Err(why) => return Ok(Err(why)),
            };
            let (key, new) = keys.number(0, name);
            if new {
                self.keys.push(Key {
                    name,
                    longest: NONE,
                    longest_by: NONE,
                    order: Vec::new(),
                    standing: Vec::new(),
                    unseen: Vec::new(),
                    broken: false,
                    whole: true,
                });
            }
            if f.is_text("append") {
                let number = self.append(key, value, values);
                let append = &mut self.appends[number as usize];
                if txn == NONE {
                    append.failed = asked.op;
                    continue;
                }
                if append.txn != NONE {
                    let (value, name) = (value.to_value(), name.to_value());
                    return Ok(Err(format!("{value} is appended to {name} a second time")));
                }
                append.txn = txn;
                append.place = (self.micros.len() - begin) as u32;
                self.micros.push(Micro::Append(number));
            } else if f.is_text("r") {
                if !asked.is_ok() {
                    continue;
                }
                // An empty list may be written as nil.
                let len = match (value.items(), value.is_nil()) {
                    (Some(items), _) => items.len() as u32,
                    (None, true) => 0,
                    (None, false) => {
                        let value = value.to_value();
                        return Ok(Err(format!("what was read, {value}, is not a list")));
                    }
                };
                let number = self.reads.len() as u32;
                self.reads.push(Read {
                    list: value,
                    key,
                    len,
                });
                self.micros.push(Micro::Read(number));
                let of = &mut self.keys[key as usize];
                if of.longest == NONE || len > self.reads[of.longest as usize].len {
                    (of.longest, of.longest_by) = (number, txn);
                }
            } else {
                let f = f.to_value();
                return Ok(Err(format!("{f} is neither append nor r")));
            }
        }
        if txn != NONE {
            self.txns.push(asked, self.micros.len());
        }
        Ok(Ok(()))
    }

    fn append(&mut self, key: u32, value: Stored<'h>, values: &mut Interned) -> u32 {
        let (number, new) = values.number(key, value);
        if new {
            self.appends.push(Append {
                value,
                key,
                txn: NONE,
                failed: NONE,
                position: NONE,
                place: 0,
                last: true,
            });
        }
        number
    }

    /// Takes each key's longest read for the order of its appends.
    fn orders(&mut self, values: &mut Interned, meter: &mut Meter) -> Result<(), Exhausted> {
        let mut held = self.bytes() + values.bytes();
        for key in 0..self.keys.len() as u32 {
            let longest = self.keys[key as usize].longest;
            if longest == NONE {
                continue;
            }
            let list = self.reads[longest as usize].list;
            let mut order = Vec::with_capacity(self.reads[longest as usize].len as usize);
            let mut whole = true;
            for value in list.items().into_iter().flatten() {
                meter.tick(held)?;
                whole &= value.word().is_whole();
                let number = self.append(key, value, values);
                order.push(number);
                let append = &mut self.appends[number as usize];
                // The first place counts, if it is there twice.
                if append.position == NONE {
                    append.position = order.len() as u32 - 1;
                }
                if append.txn != NONE {
                    self.txns.happened[append.txn as usize] = true;
                }
            }
            let appends = &self.appends;
            let standing = order
                .iter()
                .copied()
                .filter(|n| appends[*n as usize].txn != NONE);
            let standing: Vec<u32> = standing.collect();
            held += 8 * order.len() as u64;
            let of = &mut self.keys[key as usize];
            (of.order, of.standing, of.whole) = (order, standing, whole);
        }
        // Which append of a transaction to a key is its last.
        let mut last: Scratch<u32> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn).rev() {
                meter.tick(held)?;
                let Micro::Append(number) = self.micros[at] else {
                    continue;
                };
                let append = &mut self.appends[number as usize];
                let later = last.of(txn, append.key);
                append.last = *later == 0;
                *later += 1;
                if append.position == NONE && self.txns.happened[txn as usize] {
                    self.keys[append.key as usize].unseen.push(number);
                }
            }
        }
        Ok(())
    }

    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    pub fn appends(&self) -> usize {
        self.appends.len()
    }

    /// Appends that happened and that nobody read.
    pub fn unseen(&self) -> usize {
        self.keys.iter().map(|key| key.unseen.len()).sum()
    }

    /// Lists with more than one such append: their order is not known.
    pub fn unordered(&self) -> usize {
        self.keys.iter().filter(|key| key.unseen.len() > 1).count()
    }

    fn op(&self, txn: u32) -> u64 {
        self.txns.ops[txn as usize].into()
    }

    fn object(&self, key: u32) -> String {
        format!("list {}", self.keys[key as usize].name.to_value())
    }

    fn shown(&self, append: u32) -> String {
        self.appends[append as usize].value.to_value().to_string()
    }

    /// What orders transactions, real time apart; and what would, if those that nobody saw had appended in the order in
    /// which they returned.
    pub fn edges(&self, guess: bool, meter: &mut Meter) -> Result<Edges, Exhausted> {
        let mut edges = Edges::new(self.txns.len());
        // Of each key, those whose appends nobody read.
        let mut unseen: Vec<Option<Group>> = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            if key.broken {
                unseen.push(None);
                continue;
            }
            for pair in key.standing.windows(2) {
                meter.tick(edges.bytes())?;
                edges.add(
                    self.writer(pair[0]),
                    self.writer(pair[1]),
                    Kind::Ww,
                    pair[1],
                );
            }
            if guess && key.unseen.len() > 1 {
                let mut order = key.unseen.clone();
                order.sort_by_key(|n| (self.txns.rets[self.writer(*n) as usize], *n));
                for pair in order.windows(2) {
                    edges.add(
                        self.writer(pair[0]),
                        self.writer(pair[1]),
                        Kind::Ww,
                        pair[1],
                    );
                }
            }
            for number in &key.unseen {
                meter.tick(edges.bytes())?;
                if let Some(last) = key.standing.last() {
                    edges.add(self.writer(*last), self.writer(*number), Kind::Ww, *number);
                }
            }
            let mut members: Vec<(u32, u32)> = Vec::with_capacity(key.unseen.len());
            for number in &key.unseen {
                match members.last() {
                    Some((txn, _)) if *txn == self.writer(*number) => {}
                    _ => members.push((self.writer(*number), *number)),
                }
            }
            unseen.push((!members.is_empty()).then(|| Group::new(members)));
        }
        let mut own: Scratch<u32> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            if self.txns.happened[txn as usize] && self.txns.before[txn as usize] != NONE {
                edges.add(self.txns.before[txn as usize], txn, Kind::Process, 0);
            }
            for micro in &self.micros[self.txns.range(txn)] {
                meter.tick(edges.bytes())?;
                let read = match micro {
                    Micro::Append(number) => {
                        *own.of(txn, self.appends[*number as usize].key) += 1;
                        continue;
                    }
                    Micro::Read(read) => &self.reads[*read as usize],
                };
                let k = read.key as usize;
                let key = &self.keys[k];
                if key.broken {
                    continue;
                }
                // Its own appends say nothing about others.
                let seen = read.len.saturating_sub(*own.of(txn, read.key));
                let next = match key.standing.len() == key.order.len() {
                    true => seen as usize,
                    false => key
                        .standing
                        .partition_point(|n| self.appends[*n as usize].position < seen),
                };
                if let Some(last) = next.checked_sub(1) {
                    let last = key.standing[last];
                    edges.add(self.writer(last), txn, Kind::Wr, last);
                }
                if let Some(next) = key.standing.get(next) {
                    edges.add(txn, self.writer(*next), Kind::Rw, *next);
                    continue;
                }
                if let Some(group) = &mut unseen[k] {
                    group.before(txn, &mut edges);
                }
            }
        }
        Ok(edges)
    }

    #[inline]
    fn writer(&self, append: u32) -> u32 {
        self.appends[append as usize].txn
    }
}

impl Tell for Lists<'_> {
    fn op(&self, txn: u32) -> u64 {
        Lists::op(self, txn)
    }

    fn key(&self, version: u32) -> u32 {
        self.appends[version as usize].key
    }

    fn why(&self, step: Step, a: &str, b: &str) -> String {
        let append = &self.appends[step.version as usize];
        let (value, list) = (self.shown(step.version), self.object(append.key));
        match step.kind {
            Kind::Ww => {
                // The nearest before it of that transaction.
                let order = &self.keys[append.key as usize].order;
                let until = (append.position as usize).min(order.len());
                let before = order[..until].iter().rev();
                let before = before.copied().find(|n| self.writer(*n) == step.txn);
                let before = before.map_or("an element".to_string(), |n| self.shown(n));
                format!("{b} appended {value} to {list} behind {before}, which {a} appended")
            }
            Kind::Wr => format!("{b} read {value}, which {a} appended to {list}"),
            _ => format!("{a} read {list} without {value}, which {b} appended"),
        }
    }
}
