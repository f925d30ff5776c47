//! Lists that are appended to: a read tells the order of the appends before it, so nothing about
//! versions has to be guessed (Kingsbury and Alvaro, "Elle", VLDB 2020).
//!
//! Values appended to one key are unique. Every read of a key is a prefix of its longest, whose
//! appends have their **positions** in it; appends that nobody saw come after all that were seen. A
//! transaction of unknown outcome takes part iff one of its appends was read.

mod anomalies;

use history::word::Stored;
use history::{History, Time};

use super::cycles::Step;
use super::findings::Tell;
use super::graph::{Edges, Group, Kind, MOST_VERSIONS, NONE};
use super::read::{self, Asked, Interned, Outcome, Scratch, Txns};
use super::seen::{START, Saw, Seen, Wrote};
use super::visibility::Forced;
use crate::{Exhausted, Meter};

/// What a transaction does, in its order.
#[derive(Clone, Copy)]
enum Micro {
    /// Number of the append.
    Append(u32),
    /// Number of the read.
    Read(u32),
}

/// The same as the history has it, with the key's name.
type Parsed<'h> = (Stored<'h>, Told<'h>);

#[derive(Clone, Copy)]
enum Told<'h> {
    Append(Stored<'h>),
    /// And how long the list is.
    Read(Stored<'h>, u32),
}

/// What a transaction does; reads only if they were answered.
fn parse<'h>(asked: &Asked<'h>, micros: &mut Vec<Parsed<'h>>) -> Result<(), String> {
    for micro in asked.micros()? {
        let [f, name, value] = micro?;
        if f.is_text("append") {
            micros.push((name, Told::Append(value)));
        } else if !f.is_text("r") {
            let f = f.to_value();
            return Err(format!("{f} is neither append nor r"));
        } else if asked.is_ok() {
            // An empty list may be written as nil.
            let len = match (value.items(), value.is_nil()) {
                (Some(items), _) => items.len() as u32,
                (None, true) => 0,
                (None, false) => {
                    let value = value.to_value();
                    return Err(format!("what was read, {value}, is not a list"));
                }
            };
            micros.push((name, Told::Read(value, len)));
        }
    }
    Ok(())
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
    /// What its transaction appended to the key just before, if anything.
    before: u32,
    /// Whether several transactions may have appended it: then it is nobody's, and says nothing.
    ambiguous: bool,
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
    /// Those of them that belong to transactions which did not fail, with how many stand before
    /// each in `order`.
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
    values: Interned,
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
            values: Interned::default(),
        };
        let mut keys = Interned::default();
        let mut count = 0u64;
        let mut micros = Vec::new();
        read::each(history, meter, |asked, meter| {
            count += 1;
            if count.is_multiple_of(64) {
                meter.tick(lists.bytes() + keys.bytes())?;
            }
            micros.clear();
            match parse(&asked, &mut micros) {
                Ok(()) => lists.add(&asked, &micros, &mut keys, meter),
                Err(why) => {
                    lists.doubt(&asked, &mut keys);
                    lists.txns.not_judged(asked.op, why, true);
                    Ok(())
                }
            }
        })?;
        if lists.appends.len() >= MOST_VERSIONS {
            return Ok(Err(
                "there are more appends than this program numbers".into()
            ));
        }
        lists.orders(meter)?;
        Ok(Ok(lists))
    }

    fn bytes(&self) -> u64 {
        let sizes = self.micros.capacity() * size_of::<Micro>()
            + self.appends.capacity() * size_of::<Append>()
            + self.reads.capacity() * size_of::<Read>()
            + self.keys.capacity() * size_of::<Key>();
        self.txns.bytes() + self.values.bytes() + sizes as u64
    }

    fn key(&mut self, name: Stored<'h>, keys: &mut Interned) -> u32 {
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
        key
    }

    /// Whatever can be told of an operation that cannot be judged it may have appended, or not.
    fn doubt(&mut self, asked: &Asked<'h>, keys: &mut Interned) {
        for [f, name, value] in asked.legible() {
            if f.is_text("append") {
                let key = self.key(name, keys);
                let number = self.append(key, value);
                self.appends[number as usize].ambiguous = true;
            }
        }
    }

    fn add(
        &mut self,
        asked: &Asked<'h>,
        micros: &[Parsed<'h>],
        keys: &mut Interned,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let txn = match asked.outcome {
            Outcome::Fail => NONE,
            _ => self.txns.len() as u32,
        };
        for (name, parsed) in micros {
            meter.tick(0)?;
            let key = self.key(*name, keys);
            match *parsed {
                Told::Append(value) => {
                    let number = self.append(key, value);
                    let append = &mut self.appends[number as usize];
                    if txn == NONE {
                        append.failed = asked.op;
                        continue;
                    }
                    if append.txn != NONE {
                        append.ambiguous = true;
                        let (value, name) = (value.to_value(), name.to_value());
                        let why = format!("{value} is appended to {name} a second time");
                        self.txns.not_judged(asked.op, why, false);
                    }
                    append.txn = txn;
                    self.micros.push(Micro::Append(number));
                }
                Told::Read(list, len) => {
                    let number = self.reads.len() as u32;
                    self.reads.push(Read { list, key, len });
                    self.micros.push(Micro::Read(number));
                    let of = &mut self.keys[key as usize];
                    if of.longest == NONE || len > self.reads[of.longest as usize].len {
                        (of.longest, of.longest_by) = (number, txn);
                    }
                }
            }
        }
        if txn != NONE {
            self.txns.push(asked, self.micros.len());
        }
        Ok(())
    }

    fn append(&mut self, key: u32, value: Stored<'h>) -> u32 {
        let (number, new) = self.values.number(key, value);
        if new {
            self.appends.push(Append {
                value,
                key,
                txn: NONE,
                failed: NONE,
                position: NONE,
                before: NONE,
                ambiguous: false,
                last: true,
            });
        }
        number
    }

    /// Takes each key's longest read for the order of its appends.
    fn orders(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        for append in self.appends.iter_mut().filter(|append| append.ambiguous) {
            append.txn = NONE;
        }
        let mut held = self.bytes();
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
                let number = self.append(key, value);
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
        // Which append of a transaction to a key is its last, and what came before each.
        let mut last: Scratch<Option<u32>> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(held)?;
                let Micro::Append(number) = self.micros[at] else {
                    continue;
                };
                let append = &mut self.appends[number as usize];
                append.before = NONE;
                let before = last.of(txn, append.key).replace(number);
                if append.ambiguous {
                    continue;
                }
                if append.position == NONE && self.txns.happened[txn as usize] {
                    self.keys[append.key as usize].unseen.push(number);
                }
                if let Some(before) = before {
                    append.before = before;
                    self.appends[before as usize].last = false;
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

    fn happened(&self, txn: u32) -> bool {
        self.txns.happened[txn as usize]
    }

    pub fn object(&self, key: u32) -> String {
        format!("list {}", self.keys[key as usize].name.to_value())
    }

    fn shown(&self, append: u32) -> String {
        self.appends[append as usize].value.to_value().to_string()
    }

    /// What orders transactions, real time apart.
    pub fn edges(&self, meter: &mut Meter) -> Result<Edges, Exhausted> {
        let mut edges = Edges::new(self.txns.len());
        // Of each key, those whose appends nobody read.
        let mut unseen: Vec<Option<Group>> = Vec::with_capacity(self.keys.len());
        self.known(&mut edges, meter)?;
        for key in &self.keys {
            if key.broken {
                unseen.push(None);
                continue;
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
                let next = self.standing_before(key, seen);
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

    /// What transactions read of each other and appended. An element without a transaction is
    /// nobody's; one list that has no order is left out.
    pub fn seen(&self, meter: &mut Meter) -> Result<Seen, Exhausted> {
        let mut seen = Seen::new();
        let mut own: Scratch<u32> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for micro in &self.micros[self.txns.range(txn)] {
                meter.tick(seen.bytes())?;
                match *micro {
                    Micro::Append(number) => {
                        let key = self.appends[number as usize].key;
                        *own.of(txn, key) += 1;
                        let is_its = self.writer(number) == txn;
                        if is_its
                            && self.txns.happened[txn as usize]
                            && !self.keys[key as usize].broken
                        {
                            seen.write(Wrote {
                                key,
                                version: number,
                            });
                        }
                    }
                    Micro::Read(read) => {
                        let read = &self.reads[read as usize];
                        let key = &self.keys[read.key as usize];
                        if key.broken {
                            continue;
                        }
                        let others = read.len.saturating_sub(*own.of(txn, read.key));
                        let shown = others
                            .checked_sub(1)
                            .and_then(|at| key.order.get(at as usize));
                        if shown.is_some_and(|number| self.appends[*number as usize].ambiguous) {
                            // Whose version it read is not known, and that it is an earlier one
                            // neither.
                            continue;
                        }
                        let last = self.standing_before(key, others).checked_sub(1);
                        let version = last.map_or(NONE, |last| key.standing[last]);
                        let writer = last.map_or(START, |_| self.writer(version));
                        if writer != txn {
                            seen.read(Saw {
                                key: read.key,
                                version,
                                writer,
                            });
                        }
                    }
                }
            }
            seen.close();
        }
        Ok(seen)
    }

    /// How many of a list's standing appends are among its first elements.
    #[inline]
    fn standing_before(&self, key: &Key, elements: u32) -> usize {
        match key.standing.len() == key.order.len() {
            true => elements as usize,
            false => key
                .standing
                .partition_point(|n| self.appends[*n as usize].position < elements),
        }
    }

    /// The order of versions, as far as it was read; what nobody read comes behind.
    pub fn known(&self, edges: &mut Edges, meter: &mut Meter) -> Result<(), Exhausted> {
        for key in self.keys.iter().filter(|key| !key.broken) {
            let mut add = |a: u32, b: u32| {
                meter.tick(edges.bytes())?;
                edges.add(self.writer(a), self.writer(b), Kind::Ww, b);
                Ok(())
            };
            for pair in key.standing.windows(2) {
                add(pair[0], pair[1])?;
            }
            for number in &key.unseen {
                if let Some(last) = key.standing.last() {
                    add(*last, *number)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the one append is known to stand behind the other, or before it.
    pub fn follows(&self, older: u32, newer: u32) -> Option<bool> {
        let [older, newer] = [older, newer].map(|n| self.appends[n as usize].position);
        (older != newer).then_some(older < newer)
    }

    /// What somebody read although it knew of more.
    pub fn missed(&self, forced: &Forced) -> String {
        let Forced {
            reader,
            saw,
            from,
            newer,
            missed,
            ..
        } = *forced;
        let (op, writer) = (self.op(reader), self.op(from));
        let (there, other) = (self.object(missed.key), self.shown(newer));
        match saw {
            Some(saw) => {
                let (value, here) = (self.shown(saw.version), self.object(saw.key));
                format!(
                    "op {op} read {value} in {here}, which op {writer} appended, but not {other}, which that one appended to {there}"
                )
            }
            None => format!(
                "op {op} comes after op {writer} by what was read and by sessions, but does not read {other}, which that one appended to {there}"
            ),
        }
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

    fn object(&self, key: u32) -> String {
        Lists::object(self, key)
    }

    fn shown(&self, version: u32) -> String {
        Lists::shown(self, version)
    }

    fn is_doubtful(&self, txn: u32) -> bool {
        self.txns.rets[txn as usize] == Time::MAX
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
