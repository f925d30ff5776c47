//! Isolation by its definitions: every set of transactions that may have committed, every order of versions.
//!
//! The phenomena are those of Adya (1999): G0, G1a, G1b, G1c, G-single, G2-item, with edges of sessions or of real time
//! where a model has them; observed transactions that vanish and fractured reads of Bailis et al. (VLDB 2014, SIGMOD 2014); a
//! cycle without two anti-dependencies in a row of Cerone and Gotsman (PODC 2016); causality and prefixes of Biswas and Enea (OOPSLA
//! 2019), the latter as cycles of what a transaction comes after, then perhaps an anti-dependency, and overwriting, as Cerone, Gotsman and
//! Yang have them (CONCUR 2017). A history is allowed by a model iff some choice of both shows none of what the model forbids.

use checkers::transactions::Consistency;
use history::{History, Op, Outcome, Value};

use super::serial::Before;

/// How many transactions there may be, those that failed not counted.
const TXNS: usize = 8;

/// As many orders of all versions are tried.
const ORDERS: usize = 20_000;

/// Of each transaction, the set of those that come after it.
type Rows = [u8; TXNS];

#[derive(Clone, Copy, PartialEq)]
enum Micro<'h> {
    Read(i64, &'h Value),
    Write(i64, i64),
}

struct Txn<'h> {
    op: &'h Op,
    micros: Vec<Micro<'h>>,
}

/// A read of what others wrote: of which transaction, or of the start.
#[derive(Clone, Copy)]
struct Read {
    reader: usize,
    key: i64,
    writer: Option<usize>,
}

/// What the committed transactions read, whatever the order of versions.
#[derive(Default)]
struct Committed {
    set: u8,
    reads: Vec<Read>,
    wr: Rows,
    /// Read what nobody wrote, or not what they had written themselves.
    broken: bool,
    /// Read what never was a committed version.
    dirty: bool,
}

/// What one order of one key's versions comes to.
#[derive(Clone, Copy)]
struct Ordered {
    /// Whether somebody read what is no committed version.
    dirty: bool,
    ww: Rows,
    rw: Rows,
    vanishes: bool,
    fractured: bool,
    acausal: bool,
}

pub struct Defined<'h> {
    txns: Vec<Txn<'h>>,
    failed: Vec<Txn<'h>>,
    lists: bool,
    sessions: Rows,
    realtime: Rows,
    pub allowed: [bool; Consistency::ALL.len()],
    /// Whether a list was read in a way that no version of it has, if only dirty reads are allowed: what read
    /// uncommitted says of that is not defined.
    pub undefined: bool,
}

/// What each model of [`Consistency::ALL`] says; none if there are too many orders to try.
pub fn defined(history: &History, lists: bool) -> Option<Defined<'_>> {
    let txn = |op| Txn {
        op,
        micros: micros(op),
    };
    let (failed, others): (Vec<_>, Vec<_>) =
        (history.ops().iter().map(txn)).partition(|txn| txn.op.outcome == Outcome::Fail);
    assert!(others.len() <= TXNS, "brute force is for small histories");
    let mut defined = Defined {
        sessions: rows(&others, Before::Session),
        realtime: rows(&others, Before::Realtime),
        txns: others,
        failed,
        lists,
        allowed: [false; Consistency::ALL.len()],
        undefined: false,
    };
    let is = |outcome| {
        let these = defined.txns.iter().enumerate();
        let these = these.filter(move |(_, txn)| txn.op.outcome == outcome);
        these.fold(0u8, |set, (i, _)| set | 1 << i)
    };
    let (must, may) = (is(Outcome::Ok), is(Outcome::Info));
    let mut extra = may;
    loop {
        defined.try_all(must | extra)?;
        if extra == 0 {
            return Some(defined);
        }
        extra = (extra - 1) & may;
    }
}

fn micros(op: &Op) -> Vec<Micro<'_>> {
    let is_ok = op.outcome == Outcome::Ok;
    let told = if is_ok { &op.output } else { &op.input };
    let micros = told.as_list().expect("a list").iter();
    let micros = micros.filter_map(|micro| match micro.as_list() {
        Some([f, Value::Int(key), value]) if f.as_text() == Some("r") => {
            is_ok.then_some(Micro::Read(*key, value))
        }
        Some([_, Value::Int(key), Value::Int(value)]) => Some(Micro::Write(*key, *value)),
        _ => panic!("not a micro-operation: {micro}"),
    });
    micros.collect()
}

fn rows(txns: &[Txn], before: Before) -> Rows {
    let mut rows = Rows::default();
    for (a, row) in txns.iter().zip(&mut rows) {
        for (b, i) in txns.iter().zip(0..) {
            if a.op.outcome == Outcome::Ok && before.orders(a.op, b.op) {
                *row |= 1 << i;
            }
        }
    }
    rows
}

impl<'h> Txn<'h> {
    fn writes(&self, key: i64) -> impl Iterator<Item = i64> {
        self.micros.iter().filter_map(move |micro| match micro {
            Micro::Write(k, value) if *k == key => Some(*value),
            _ => None,
        })
    }
}

impl Defined<'_> {
    fn try_all(&mut self, set: u8) -> Option<()> {
        let committed = match self.lists {
            true => self.read_lists(set),
            false => self.read_registers(set),
        };
        if committed.broken {
            return Some(());
        }
        let mut orders = Vec::new();
        let mut count = 1usize;
        for key in 0..3 {
            let of_key = self.orders(key, &committed);
            count = count.saturating_mul(of_key.len());
            orders.push(of_key);
        }
        if count > ORDERS {
            return None;
        }
        for a in &orders[0] {
            for b in &orders[1] {
                for c in &orders[2] {
                    self.try_order(&committed, [*a, *b, *c]);
                }
            }
        }
        Some(())
    }

    fn read_registers(&self, set: u8) -> Committed {
        let mut committed = Committed {
            set,
            ..Committed::default()
        };
        for (reader, txn) in self.committed(set) {
            for (at, micro) in txn.micros.iter().enumerate() {
                let Micro::Read(key, found) = *micro else {
                    continue;
                };
                let wrote = |other: &&Micro| matches!(other, Micro::Write(k, _) if *k == key);
                let own = txn.micros[..at].iter().rfind(wrote);
                let value = match found {
                    Value::Nil => None,
                    value => Some(value.as_int().expect("a number")),
                };
                if let Some(own) = own {
                    committed.broken |= value.is_none_or(|value| *own != Micro::Write(key, value));
                    continue;
                }
                let Some(value) = value else {
                    committed.saw(reader, key, None);
                    continue;
                };
                let has = |txn: &Txn| txn.writes(key).any(|v| v == value);
                match self.txns.iter().position(has) {
                    None if self.failed.iter().any(has) => committed.dirty = true,
                    None => committed.broken = true,
                    Some(writer) => {
                        let last = self.txns[writer].writes(key).last();
                        committed.dirty |= writer == reader || last != Some(value);
                        committed.saw(reader, key, Some(writer));
                    }
                }
            }
        }
        committed
    }

    fn read_lists(&mut self, set: u8) -> Committed {
        let mut committed = Committed {
            set,
            ..Committed::default()
        };
        for (reader, txn) in self.committed(set) {
            for (at, micro) in txn.micros.iter().enumerate() {
                let Micro::Read(key, found) = *micro else {
                    continue;
                };
                let found = numbers(found);
                let own = txn.micros[..at].iter().filter_map(|micro| match micro {
                    Micro::Write(k, value) if *k == key => Some(*value),
                    _ => None,
                });
                let own: Vec<i64> = own.collect();
                let Some(others) = found.strip_suffix(&own[..]) else {
                    committed.broken = true;
                    continue;
                };
                let has = |value: i64| move |txn: &Txn| txn.writes(key).any(|v| v == value);
                for (at, value) in found.iter().enumerate() {
                    let somebodys = self.txns.iter().chain(&self.failed).any(has(*value));
                    committed.broken |= !somebodys || found[..at].contains(value);
                }
                // What it appends to it sees as well.
                let last = others.last();
                let writer = last.and_then(|last| self.txns.iter().position(has(*last)));
                if last.is_none() || writer.is_some() {
                    committed.saw(reader, key, writer);
                }
            }
        }
        committed
    }

    /// Those that committed and whose reads are known.
    fn committed(&self, set: u8) -> impl Iterator<Item = (usize, &Txn<'_>)> {
        let txns = self.txns.iter().enumerate();
        txns.filter(move |(i, _)| set & 1 << i != 0)
    }

    /// All orders of a key's versions that fit what was read of it.
    fn orders(&mut self, key: i64, committed: &Committed) -> Vec<Ordered> {
        let writers = self.committed(committed.set);
        let writers = writers.filter(|(_, txn)| txn.writes(key).next().is_some());
        let writers: Vec<usize> = writers.map(|(i, _)| i).collect();
        let mut all = Vec::new();
        permute(&writers, &mut Vec::new(), &mut |order| {
            let Some(dirty) = self.explains(key, order, committed.set) else {
                return;
            };
            all.push(Ordered {
                dirty,
                ..self.order(key, order, committed)
            });
        });
        self.undefined |= all.is_empty();
        all
    }

    /// Whether every read of a list is the beginning of what is appended in this order, what was undone left out; and whether any
    /// ends in the midst of a transaction or has something undone.
    fn explains(&self, key: i64, order: &[usize], set: u8) -> Option<bool> {
        if !self.lists {
            return Some(false);
        }
        let whole: Vec<(i64, usize)> = order
            .iter()
            .flat_map(|txn| self.txns[*txn].writes(key).map(|value| (value, *txn)))
            .collect();
        let mut is_dirty = false;
        for (reader, txn) in self.committed(set) {
            let mut own = 0;
            for micro in &txn.micros {
                let found = match *micro {
                    Micro::Write(k, _) => {
                        own += usize::from(k == key);
                        continue;
                    }
                    Micro::Read(k, _) if k != key => continue,
                    Micro::Read(_, found) => numbers(found),
                };
                let others = &found[..found.len() - own];
                let stands = |value: &&i64| whole.iter().any(|(v, _)| v == *value);
                let standing: Vec<i64> = others.iter().filter(stands).copied().collect();
                let begins = standing.iter().zip(&whole).all(|(a, (b, _))| a == b);
                if standing.len() > whole.len() || !begins {
                    return None;
                }
                let next = whole.get(standing.len());
                let last = standing.len().checked_sub(1).map(|last| whole[last].1);
                is_dirty |= standing.len() < others.len();
                if own > 0 {
                    // What it appends to is what stands before its own.
                    if next.map(|(_, txn)| *txn) != Some(reader) || last == Some(reader) {
                        return None;
                    }
                } else {
                    let is_midst = last.is_some() && next.map(|(_, txn)| *txn) == last;
                    is_dirty |=
                        is_midst || whole[..standing.len()].iter().any(|(_, t)| *t == reader);
                }
            }
        }
        Some(is_dirty)
    }

    fn order(&self, key: i64, order: &[usize], committed: &Committed) -> Ordered {
        let mut ordered = Ordered {
            ww: [0; TXNS],
            rw: [0; TXNS],
            dirty: false,
            vanishes: false,
            fractured: false,
            acausal: false,
        };
        for pair in order.windows(2) {
            ordered.ww[pair[0]] |= 1 << pair[1];
        }
        let place = |txn: usize| order.iter().position(|o| *o == txn);
        // Which version a read found, from 0 on, which is the start.
        let version = |read: &Read| read.writer.map_or(Some(0), |w| place(w).map(|p| p + 1));
        let mut before = committed.wr;
        join(&mut before, &self.sessions);
        let before = closed(before);
        for (at, read) in committed.reads.iter().enumerate() {
            let Some(found) = version(read).filter(|_| read.key == key) else {
                continue;
            };
            let reader = read.reader;
            if let Some(next) = order.get(found).filter(|next| **next != reader) {
                ordered.rw[reader] |= 1 << next;
            }
            let newer = &order[found..];
            for (other_at, other) in committed.reads.iter().enumerate() {
                let knows = other
                    .writer
                    .is_some_and(|w| w != reader && newer.contains(&w));
                if other.reader == reader && knows {
                    ordered.vanishes |= other_at < at;
                    ordered.fractured = true;
                }
            }
            let causes = |w: &usize| *w != reader && before[*w] & 1 << reader != 0;
            ordered.acausal |= newer.iter().any(causes);
        }
        ordered
    }

    fn try_order(&mut self, committed: &Committed, of_keys: [Ordered; 3]) {
        let (mut ww, mut rw) = ([0; TXNS], [0; TXNS]);
        for of_key in &of_keys {
            join(&mut ww, &of_key.ww);
            join(&mut rw, &of_key.rw);
        }
        let any = |is: fn(&Ordered) -> bool| of_keys.iter().any(is);
        let mut seen = ww;
        join(&mut seen, &committed.wr);
        let with = |more: &Rows| {
            let mut rows = seen;
            join(&mut rows, more);
            rows
        };
        let scopes = [seen, with(&self.sessions), with(&self.realtime)];
        let g1 = committed.dirty || any(|o| o.dirty) || is_cyclic(seen);
        // A cycle with one anti-dependency at most: paths that no version may go against.
        let single = |scope: usize| {
            let paths = closed(scopes[scope]);
            let back = |a: usize| (0..TXNS).any(|b| rw[a] & 1 << b != 0 && paths[b] & 1 << a != 0);
            is_cyclic(scopes[scope]) || (0..TXNS).any(back)
        };
        let nonadjacent = |scope: usize| is_cyclic(then(&scopes[scope], &rw));
        let item = |scope: usize| {
            let mut all = scopes[scope];
            join(&mut all, &rw);
            is_cyclic(all)
        };
        let mut caused = committed.wr;
        join(&mut caused, &self.sessions);
        let mut steps = then(&caused, &rw);
        join(&mut steps, &ww);
        let prefix = is_cyclic(steps);
        for (model, allowed) in Consistency::ALL.iter().zip(&mut self.allowed) {
            use Consistency::*;
            *allowed |= match model {
                ReadUncommitted => !is_cyclic(ww),
                _ if g1 => false,
                ReadCommitted => true,
                MonotonicAtomicView => !any(|o| o.vanishes),
                ReadAtomic => !any(|o| o.fractured),
                TransactionalCausal => !any(|o| o.acausal) && !is_cyclic(scopes[1]),
                Prefix => !prefix,
                ConsistentView => !single(0),
                ParallelSnapshotIsolation => !single(1),
                SnapshotIsolation => !nonadjacent(0),
                StrongSessionSnapshotIsolation => !nonadjacent(1),
                StrongSnapshotIsolation => !nonadjacent(2),
                RepeatableRead | Serializable => !item(0),
                StrongSessionSerializable => !item(1),
                StrictSerializable => !item(2),
            };
        }
    }
}

impl Committed {
    fn saw(&mut self, reader: usize, key: i64, writer: Option<usize>) {
        match writer {
            // What is undone was written by nobody.
            Some(writer) if self.set & 1 << writer == 0 => {
                self.dirty = true;
                return;
            }
            Some(writer) if writer != reader => self.wr[writer] |= 1 << reader,
            _ => {}
        }
        self.reads.push(Read {
            reader,
            key,
            writer,
        });
    }
}

fn numbers(list: &Value) -> Vec<i64> {
    let items = list.as_list().unwrap_or_default().iter();
    items.map(|item| item.as_int().expect("a number")).collect()
}

fn permute(left: &[usize], order: &mut Vec<usize>, each: &mut impl FnMut(&[usize])) {
    if order.len() == left.len() {
        return each(order);
    }
    for next in left {
        if !order.contains(next) {
            order.push(*next);
            permute(left, order, each);
            order.pop();
        }
    }
}

fn join(rows: &mut Rows, more: &Rows) {
    rows.iter_mut()
        .zip(more)
        .for_each(|(row, more)| *row |= more);
}

/// Everything that can be reached (Warshall 1962).
fn closed(mut rows: Rows) -> Rows {
    for by in 0..TXNS {
        for a in 0..TXNS {
            if rows[a] & 1 << by != 0 {
                rows[a] |= rows[by];
            }
        }
    }
    rows
}

fn is_cyclic(rows: Rows) -> bool {
    let closed = closed(rows);
    (0..TXNS).any(|a| closed[a] & 1 << a != 0)
}

/// Each step of the first kind, alone or followed by one of the second.
fn then(first: &Rows, second: &Rows) -> Rows {
    let mut rows = *first;
    for (row, first) in rows.iter_mut().zip(first) {
        for by in (0..TXNS).filter(|by| first & 1 << by != 0) {
            *row |= second[by];
        }
    }
    rows
}
