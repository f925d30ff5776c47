//! Isolation by its definitions: every set of transactions that may have committed, every order of
//! versions.
//!
//! The phenomena are those of Adya (1999): G0, G1a, G1b, G1c, G-single, G2-item, with edges of
//! sessions or of real time where a model has them; observed transactions that vanish and fractured
//! reads of Bailis et al. (VLDB 2014, SIGMOD 2014); a cycle without two anti-dependencies in a row
//! of Cerone and Gotsman (PODC 2016); causality and prefixes of Biswas and Enea (OOPSLA 2019), the
//! latter as cycles of what a transaction comes after, then perhaps an anti-dependency, and
//! overwriting, as Cerone, Gotsman and Yang have them (CONCUR 2017). A history is allowed by a
//! model iff some choice of both shows none of what the model forbids.

use checkers::transactions::Consistency;
use history::{History, Op, Outcome, Value};

use super::serial::Before;

/// How many transactions there may be, those that failed not counted.
const TXNS: usize = 8;

/// As many orders of all versions are tried.
const ORDERS: usize = 20_000;

/// Which transactions come before which: a row of eight bits for each, of those that come after it.
#[derive(Clone, Copy, Default)]
struct Relation(u64);

/// The first bit of each row.
const COLUMN: u64 = 0x0101_0101_0101_0101;

/// Whoever comes before itself.
const DIAGONAL: u64 = 0x8040_2010_0804_0201;

#[derive(PartialEq)]
enum Micro {
    /// What was found: the elements of a list; the value of a register, if it had one.
    Read(i64, Vec<i64>),
    Write(i64, i64),
}

struct Txn<'h> {
    op: &'h Op,
    micros: Vec<Micro>,
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
    wr: Relation,
    /// Who comes before whom by what was read and by sessions.
    causes: Relation,
    /// Read what nobody wrote, or not what they had written themselves.
    broken: bool,
    /// Read what never was a committed version.
    dirty: bool,
}

/// A read of a list: what others had appended that was not undone.
struct ListRead {
    reader: usize,
    standing: Vec<i64>,
    /// Whether nothing that it found was undone.
    is_whole: bool,
    /// Whether its transaction had appended to the list before.
    appended: bool,
}

/// What one order of one key's versions comes to.
#[derive(Default)]
struct Ordered {
    /// Whether somebody read what is no committed version.
    dirty: bool,
    ww: Relation,
    rw: Relation,
    vanishes: bool,
    fractured: bool,
    acausal: bool,
}

pub struct Defined<'h> {
    txns: Vec<Txn<'h>>,
    failed: Vec<Txn<'h>>,
    lists: bool,
    sessions: Relation,
    realtime: Relation,
    pub allowed: [bool; Consistency::ALL.len()],
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
        sessions: relation(&others, Before::Session),
        realtime: relation(&others, Before::Realtime),
        txns: others,
        failed,
        lists,
        allowed: [false; Consistency::ALL.len()],
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
        if extra == 0 || defined.allows_all() {
            return Some(defined);
        }
        extra = (extra - 1) & may;
    }
}

fn micros(op: &Op) -> Vec<Micro> {
    let is_ok = op.outcome == Outcome::Ok;
    let told = if is_ok { &op.output } else { &op.input };
    let micros = told.as_list().expect("a list").iter();
    let micros = micros.filter_map(|micro| match micro.as_list() {
        Some([f, Value::Int(key), value]) if f.as_text() == Some("r") => {
            is_ok.then(|| Micro::Read(*key, numbers(value)))
        }
        Some([_, Value::Int(key), Value::Int(value)]) => Some(Micro::Write(*key, *value)),
        _ => panic!("not a micro-operation: {micro}"),
    });
    micros.collect()
}

fn relation(txns: &[Txn], before: Before) -> Relation {
    let mut relation = Relation::default();
    for (a, i) in txns.iter().zip(0..) {
        for (b, j) in txns.iter().zip(0..) {
            if a.op.outcome == Outcome::Ok && before.orders(a.op, b.op) {
                relation.add(i, j);
            }
        }
    }
    relation
}

impl Txn<'_> {
    fn writes(&self, key: i64) -> impl Iterator<Item = i64> {
        self.micros.iter().filter_map(move |micro| match micro {
            Micro::Write(k, value) if *k == key => Some(*value),
            _ => None,
        })
    }
}

impl Defined<'_> {
    fn allows_all(&self) -> bool {
        self.allowed.iter().all(|allowed| *allowed)
    }

    fn try_all(&mut self, set: u8) -> Option<()> {
        let mut committed = match self.lists {
            true => self.read_lists(set),
            false => self.read_registers(set),
        };
        if committed.broken {
            return Some(());
        }
        committed.causes = committed.wr.or(self.sessions).closed();
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
                    self.try_order(&committed, [a, b, c]);
                    // No other order could tell more.
                    if self.allows_all() {
                        return Some(());
                    }
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
                let Micro::Read(key, ref found) = *micro else {
                    continue;
                };
                let wrote = |other: &&Micro| matches!(other, Micro::Write(k, _) if *k == key);
                let own = txn.micros[..at].iter().rfind(wrote);
                let value = found.first().copied();
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

    fn read_lists(&self, set: u8) -> Committed {
        let mut committed = Committed {
            set,
            ..Committed::default()
        };
        for (reader, txn) in self.committed(set) {
            for (at, micro) in txn.micros.iter().enumerate() {
                let Micro::Read(key, ref found) = *micro else {
                    continue;
                };
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
    fn orders(&self, key: i64, committed: &Committed) -> Vec<Ordered> {
        let writers = self.committed(committed.set);
        let writers = writers.filter(|(_, txn)| txn.writes(key).next().is_some());
        let writers: Vec<usize> = writers.map(|(i, _)| i).collect();
        let mut all = Vec::new();
        let reads = self.reads_of_list(key, committed.set, &writers);
        let may_begin = |order: &[usize]| reads.iter().all(|read| self.begins(read, key, order));
        permute(&writers, &mut Vec::new(), &may_begin, &mut |order| {
            let Some(dirty) = self.explains(key, order, &reads) else {
                return;
            };
            all.push(Ordered {
                dirty,
                ..self.order(key, order, committed)
            });
        });
        all
    }

    /// What was read of a list.
    fn reads_of_list(&self, key: i64, set: u8, writers: &[usize]) -> Vec<ListRead> {
        let mut reads = Vec::new();
        if !self.lists {
            return reads;
        }
        let is_standing = |value: &i64| {
            let mut writers = writers.iter().map(|txn| self.txns[*txn].writes(key));
            writers.any(|mut writes| writes.any(|v| v == *value))
        };
        for (reader, txn) in self.committed(set) {
            let mut own = 0;
            for micro in &txn.micros {
                match micro {
                    Micro::Write(k, _) => own += usize::from(*k == key),
                    Micro::Read(k, found) if *k == key => {
                        let others = &found[..found.len() - own];
                        let standing = others.iter().copied().filter(is_standing);
                        let standing: Vec<i64> = standing.collect();
                        reads.push(ListRead {
                            reader,
                            appended: own > 0,
                            is_whole: standing.len() == others.len(),
                            standing,
                        });
                    }
                    Micro::Read(..) => {}
                }
            }
        }
        reads
    }

    /// Whether a read is the beginning of what is appended in this order, or the other way around.
    fn begins(&self, read: &ListRead, key: i64, order: &[usize]) -> bool {
        let appended = order.iter().flat_map(|txn| self.txns[*txn].writes(key));
        read.standing.iter().zip(appended).all(|(a, b)| *a == b)
    }

    /// Whether every read of a list is the beginning of what is appended in this order, what was
    /// undone left out; and whether any ends in the midst of a transaction or has something undone.
    fn explains(&self, key: i64, order: &[usize], reads: &[ListRead]) -> Option<bool> {
        let whole: Vec<usize> = order
            .iter()
            .flat_map(|txn| self.txns[*txn].writes(key).map(|_| *txn))
            .collect();
        let mut is_dirty = false;
        for read in reads {
            let standing = read.standing.len();
            if standing > whole.len() || !self.begins(read, key, order) {
                return None;
            }
            let next = whole.get(standing);
            let last = standing.checked_sub(1).map(|last| whole[last]);
            is_dirty |= !read.is_whole;
            if read.appended {
                // What it appends to is what stands before its own.
                if next != Some(&read.reader) || last == Some(read.reader) {
                    return None;
                }
            } else {
                let is_midst = last.is_some() && next.copied() == last;
                is_dirty |= is_midst || whole[..standing].contains(&read.reader);
            }
        }
        Some(is_dirty)
    }

    fn order(&self, key: i64, order: &[usize], committed: &Committed) -> Ordered {
        let mut ordered = Ordered::default();
        for pair in order.windows(2) {
            ordered.ww.add(pair[0], pair[1]);
        }
        let place = |txn: usize| order.iter().position(|o| *o == txn);
        // Which version a read found, from 0 on, which is the start.
        let version = |read: &Read| read.writer.map_or(Some(0), |w| place(w).map(|p| p + 1));
        for (at, read) in committed.reads.iter().enumerate() {
            let Some(found) = version(read).filter(|_| read.key == key) else {
                continue;
            };
            let reader = read.reader;
            if let Some(next) = order.get(found).filter(|next| **next != reader) {
                ordered.rw.add(reader, *next);
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
            let causes = |w: &usize| *w != reader && committed.causes.has(*w, reader);
            ordered.acausal |= newer.iter().any(causes);
        }
        ordered
    }

    fn try_order(&mut self, committed: &Committed, of_keys: [&Ordered; 3]) {
        let join = |of: fn(&Ordered) -> Relation| {
            let rows = of_keys.iter().map(|o| of(o));
            rows.fold(Relation::default(), Relation::or)
        };
        let (ww, rw) = (join(|o| o.ww), join(|o| o.rw));
        let any = |is: fn(&Ordered) -> bool| of_keys.iter().any(|o| is(o));
        let seen = ww.or(committed.wr);
        let scopes = [seen, seen.or(self.sessions), seen.or(self.realtime)];
        let g1 = committed.dirty || any(|o| o.dirty) || seen.is_cyclic();
        // A cycle with one anti-dependency at most: paths that no version may go against.
        let single = |scope: usize| {
            let paths = scopes[scope].closed();
            paths.loops() || rw.then(paths).loops()
        };
        let nonadjacent = |scope: usize| scopes[scope].or(scopes[scope].then(rw)).is_cyclic();
        let item = |scope: usize| scopes[scope].or(rw).is_cyclic();
        let caused = committed.wr.or(self.sessions);
        let prefix = || caused.or(caused.then(rw)).or(ww).is_cyclic();
        for (model, allowed) in Consistency::ALL.iter().zip(&mut self.allowed) {
            use Consistency::*;
            if *allowed {
                continue;
            }
            *allowed = match model {
                ReadUncommitted => !ww.is_cyclic(),
                _ if g1 => false,
                ReadCommitted => true,
                MonotonicAtomicView => !any(|o| o.vanishes),
                ReadAtomic => !any(|o| o.fractured),
                TransactionalCausal => !any(|o| o.acausal) && !scopes[1].is_cyclic(),
                Prefix => !prefix(),
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
            Some(writer) if writer != reader => self.wr.add(writer, reader),
            _ => {}
        }
        self.reads.push(Read {
            reader,
            key,
            writer,
        });
    }
}

impl Relation {
    fn add(&mut self, before: usize, after: usize) {
        self.0 |= 1 << (TXNS * before + after);
    }

    fn has(self, before: usize, after: usize) -> bool {
        self.0 >> (TXNS * before + after) & 1 == 1
    }

    fn or(self, other: Relation) -> Relation {
        Relation(self.0 | other.0)
    }

    /// A step of this and then one of the other, both by way of one transaction.
    fn by(self, other: Relation, way: usize) -> Relation {
        let to_way = (self.0 >> way & COLUMN) * 0xff;
        let from_way = (other.0 >> (TXNS * way) & 0xff) * COLUMN;
        Relation(to_way & from_way)
    }

    /// A step of this and then one of the other.
    fn then(self, other: Relation) -> Relation {
        let ways = (0..TXNS).map(|way| self.by(other, way));
        ways.fold(Relation::default(), Relation::or)
    }

    /// Everything that can be reached (Warshall 1962).
    fn closed(self) -> Relation {
        (0..TXNS).fold(self, |closed, way| closed.or(closed.by(closed, way)))
    }

    fn loops(self) -> bool {
        self.0 & DIAGONAL != 0
    }

    fn is_cyclic(self) -> bool {
        self.closed().loops()
    }
}

/// The elements of a list, or the value of a register, if it has one.
fn numbers(found: &Value) -> Vec<i64> {
    let number = |item: &Value| item.as_int().expect("a number");
    match found {
        Value::Nil => Vec::new(),
        Value::List(items) => items.iter().map(number).collect(),
        value => vec![number(value)],
    }
}

/// All orders, but for those that begin as none may.
fn permute(
    left: &[usize],
    order: &mut Vec<usize>,
    may_begin: &impl Fn(&[usize]) -> bool,
    each: &mut impl FnMut(&[usize]),
) {
    if order.len() == left.len() {
        return each(order);
    }
    for next in left {
        if !order.contains(next) {
            order.push(*next);
            if may_begin(order) {
                permute(left, order, may_begin, each);
            }
            order.pop();
        }
    }
}
