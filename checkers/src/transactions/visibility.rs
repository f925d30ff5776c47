//! Who saw a part of a transaction must see all of it: monotonic atomic view, read atomic and
//! transactional causal consistency, decided exactly whether or not the order of versions is known.
//!
//! What a reader saw forces an order of writers. If it read `x` from `a`, and knew of another
//! writer `b` of `x`, then `b` wrote before `a`:
//!
//! ```text
//! b  [w x 1] [w y 1]
//! r           [r y 1]  [r x 0]      b before a, where a wrote x 0; if a was before b anyhow, b vanished
//! ```
//!
//! Models differ in what it is to know of `b`: that it was read before `x` was (monotonic atomic
//! view), that it was read at all (read atomic), or that it came before by sessions and reads
//! (causal). In none of them does that depend on the order of versions itself; so a history is
//! right iff what is forced, what was read and what is known of versions has no cycle: then any
//! order of transactions that agrees with it gives an order of versions. This is the saturation of
//! Biswas and Enea (OOPSLA 2019); to look from the side that is smaller, and at the last writer of
//! each session only, is from AWDIT (Møldrup and Pavlogiannis, PLDI 2025).

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::consistency::{Class, Scope};
use super::cycles::{Step, shortest_cycles};
use super::findings::Findings;
use super::graph::{Edges, Graph, Kind, NONE};
use super::objects::Objects;
use super::read::Scratch;
use super::seen::{START, Saw, Seen};
use crate::{Anomaly, Exhausted, Meter};

/// As many transactions are looked at for what lies between two.
const FARTHEST: usize = 10_000;

/// As many entries of the clocks of all sessions are made without being asked for them.
const UNASKED: u64 = 1 << 24;

/// Somebody read `missed` although it knew of `from`, which wrote `newer` to the same key: so
/// `from` is before whoever wrote what was read.
#[derive(Clone, Copy, Debug)]
pub struct Forced {
    pub reader: u32,
    /// What it read of `from`, if that is how it knew of it.
    pub saw: Option<Saw>,
    pub from: u32,
    pub newer: u32,
    pub missed: Saw,
    class: Class,
}

/// Whether causality was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Causal {
    Judged,
    TooLarge,
}

struct Visibility<'a, O> {
    objects: &'a O,
    seen: &'a Seen,
    found: &'a mut Findings,
    forced: Vec<Forced>,
}

/// Adds what is wrong to the findings.
pub fn judge<O: Objects>(
    objects: &O,
    seen: &Seen,
    asked: Class,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<Causal, Exhausted> {
    let mut visibility = Visibility {
        objects,
        seen,
        found,
        forced: Vec::new(),
    };
    visibility.atomic(meter)?;
    visibility.cycles(Class::Vanished, meter)?;
    visibility.cycles(Class::Fractured, meter)?;
    visibility.forced.clear();
    let sessions = Sessions::new(objects, seen);
    let entries = sessions.count as u64 * seen.len() as u64;
    if asked != Class::Causal && entries > UNASKED {
        return Ok(Causal::TooLarge);
    }
    if visibility.causal(&sessions, meter)? {
        visibility.cycles(Class::Causal, meter)?;
    }
    Ok(Causal::Judged)
}

impl<O: Objects> Visibility<'_, O> {
    /// What each transaction knew by its own reads.
    fn atomic(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        // Where a key's reads are among those of the transaction at hand, by key.
        let mut places: Scratch<(u32, u32)> = Scratch::new(self.objects.keys());
        let mut by_key: Vec<(u32, u32)> = Vec::new();
        let mut firsts: Vec<(u32, u32)> = Vec::new();
        let seen = self.seen;
        for txn in 0..seen.len() as u32 {
            let saw = seen.saw(txn);
            if saw.len() < 2 {
                continue;
            }
            meter.tick(self.forced.capacity() as u64 * size_of::<Forced>() as u64)?;
            by_key.clear();
            by_key.extend(saw.iter().zip(0..).map(|(saw, at)| (saw.key, at)));
            by_key.sort_unstable();
            let mut keys: Vec<u32> = Vec::new();
            let mut begin = 0;
            for group in by_key.chunk_by(|a, b| a.0 == b.0) {
                let end = begin + group.len() as u32;
                *places.of(txn, group[0].0) = (begin, end);
                keys.push(group[0].0);
                begin = end;
                self.again(txn, group, meter)?;
            }
            firsts.clear();
            firsts.extend(saw.iter().zip(0..).map(|(saw, at)| (saw.writer, at)));
            firsts.sort_unstable();
            firsts.dedup_by_key(|first| first.0);
            for (from, first) in firsts.iter().copied().filter(|(w, _)| *w != START) {
                let wrote = seen.wrote(from);
                let mut look = |key: u32, newer: u32, meter: &mut Meter| {
                    meter.tick(0)?;
                    let (begin, end) = *places.of(txn, key);
                    let reads = &by_key[begin as usize..end as usize];
                    let later = reads.partition_point(|(_, at)| *at <= first);
                    let before = later.checked_sub(1).map(|at| (reads[at], Class::Fractured));
                    let after = reads.get(later).map(|read| (*read, Class::Vanished));
                    for ((_, at), class) in before.into_iter().chain(after) {
                        let missed = saw[at as usize];
                        // What it reads of one key again and again was looked at.
                        if missed.writer != from && missed.key != saw[first as usize].key {
                            self.force(Forced {
                                reader: txn,
                                saw: Some(saw[first as usize]),
                                from,
                                newer,
                                missed,
                                class,
                            });
                        }
                    }
                    Ok(())
                };
                if wrote.len() <= keys.len() {
                    for wrote in wrote {
                        look(wrote.key, wrote.version, meter)?;
                    }
                } else {
                    for key in &keys {
                        if let Some(wrote) = seen.wrote_to(from, *key) {
                            look(*key, wrote.version, meter)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What a transaction read of one key, time after time.
    fn again(
        &mut self,
        txn: u32,
        reads: &[(u32, u32)],
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let mut differs = false;
        let saw = self.seen.saw(txn);
        for pair in reads.windows(2) {
            meter.tick(0)?;
            let [before, after] = [pair[0], pair[1]].map(|(_, at)| saw[at as usize]);
            if before.writer == after.writer {
                continue;
            }
            differs = true;
            if before.writer != START
                && let Some(wrote) = self.seen.wrote_to(before.writer, before.key)
            {
                self.force(Forced {
                    reader: txn,
                    saw: Some(before),
                    from: before.writer,
                    newer: wrote.version,
                    missed: after,
                    class: Class::Vanished,
                });
            }
        }
        if differs {
            let (op, object) = (
                self.objects.op(txn),
                self.objects.object(saw[reads[0].1 as usize].key),
            );
            let reason =
                format!("op {op} read {object} twice, and what others had written differed");
            let (kind, class) = ("non-repeatable read", Class::Fractured);
            self.found.add(kind, class, Some(object), vec![op], reason);
        }
        Ok(())
    }

    /// Says at once what contradicts a known order.
    fn force(&mut self, forced: Forced) {
        let Forced {
            reader,
            from,
            newer,
            missed,
            class,
            ..
        } = forced;
        let order = match missed.writer {
            START => Some(true),
            _ => self.objects.follows(missed.version, newer),
        };
        match order {
            Some(false) => {}
            None => self.forced.push(forced),
            Some(true) => {
                let (op, writer) = (self.objects.op(reader), self.objects.op(from));
                let reason = self.objects.missed(&forced);
                let scope = scope(class);
                let mut ops = vec![op, writer];
                ops.extend(self.between(&forced));
                self.found.add_scoped(
                    name(class),
                    (class, scope),
                    Anomaly {
                        ops,
                        reason,
                        ..Anomaly::default()
                    },
                );
                self.found.told(reader, from, scope);
            }
        }
    }

    /// What lies on a shortest way by sessions and reads from what a reader missed to the reader.
    fn between(&self, forced: &Forced) -> Vec<u64> {
        if forced.class != Class::Causal {
            return Vec::new();
        }
        let (txns, seen) = (self.objects.txns(), self.seen);
        let mut next: FxHashMap<u32, u32> = FxHashMap::default();
        let mut queue = VecDeque::from([forced.reader]);
        while let Some(txn) = queue.pop_front() {
            if txn == forced.from || next.len() > FARTHEST {
                break;
            }
            let writers = seen.saw(txn).iter().map(|saw| saw.writer);
            let before = txns.before[txn as usize];
            let before = (txns.happened[txn as usize] && before != NONE).then_some(before);
            for earlier in writers.filter(|w| *w != START).chain(before) {
                if earlier != forced.reader && !next.contains_key(&earlier) {
                    next.insert(earlier, txn);
                    queue.push_back(earlier);
                }
            }
        }
        let way = std::iter::successors(next.get(&forced.from), |txn| next.get(txn));
        let way = way.take_while(|txn| **txn != forced.reader);
        way.map(|txn| self.objects.op(*txn)).collect()
    }

    /// The shortest cycle of each knot of what was read, what is known, and what is forced up to a
    /// class.
    fn cycles(&mut self, class: Class, meter: &mut Meter) -> Result<(), Exhausted> {
        if !self.forced.iter().any(|forced| forced.class == class) {
            return Ok(());
        }
        let mut edges = self.base(class == Class::Causal, meter)?;
        for (forced, number) in self.forced.iter().zip(0..) {
            meter.tick(edges.bytes())?;
            if forced.class <= class {
                edges.add(forced.from, forced.missed.writer, Kind::Rw, number);
            }
        }
        let graph = edges.graph(meter)?;
        for cycle in shortest_cycles(&graph, meter)? {
            let worst = cycle.iter().filter(|step| step.kind == Kind::Rw);
            let worst = worst.map(|step| self.forced[step.version as usize].class);
            // Of less than this class it was told.
            if worst.max() == Some(class) {
                self.tell(class, &cycle);
            }
        }
        Ok(())
    }

    fn base(&self, sessions: bool, meter: &mut Meter) -> Result<Edges, Exhausted> {
        let mut edges = Edges::new(self.seen.len());
        self.objects.known(&mut edges, meter)?;
        let txns = self.objects.txns();
        for txn in 0..self.seen.len() as u32 {
            meter.tick(edges.bytes())?;
            for saw in self.seen.saw(txn).iter().filter(|saw| saw.writer != START) {
                edges.add(saw.writer, txn, Kind::Wr, saw.version);
            }
            let before = txns.before[txn as usize];
            if sessions && txns.happened[txn as usize] && before != NONE {
                edges.add(before, txn, Kind::Process, 0);
            }
        }
        Ok(edges)
    }

    fn tell(&mut self, class: Class, cycle: &[Step]) {
        let op = |txn: u32| self.objects.op(txn);
        let mut told = String::new();
        let mut ops: Vec<u64> = Vec::new();
        for (i, step) in cycle.iter().enumerate() {
            let to = cycle[(i + 1) % cycle.len()].txn;
            let [a, b] = [step.txn, to].map(|txn| format!("op {}", op(txn)));
            ops.push(op(step.txn));
            let why = match step.kind {
                Kind::Rw => {
                    let forced = self.forced[step.version as usize];
                    ops.push(op(forced.reader));
                    ops.extend(self.between(&forced));
                    self.objects.missed(&forced)
                }
                Kind::Process => format!("one process asked for {a} and then for {b}"),
                _ => self.objects.why(*step, &a, &b),
            };
            told += &format!("{a} < {b}, since {why}; ");
        }
        ops.sort_unstable();
        ops.dedup();
        let reason = format!("{}: a contradiction", told.trim_end_matches("; "));
        self.found.add_scoped(
            name(class),
            (class, scope(class)),
            Anomaly {
                ops,
                reason,
                ..Anomaly::default()
            },
        );
    }

    /// What each transaction knew by sessions and by what others had read. False if those are no
    /// order themselves, which is told elsewhere.
    fn causal(&mut self, sessions: &Sessions, meter: &mut Meter) -> Result<bool, Exhausted> {
        let seen = self.seen;
        let k = sessions.count;
        let mut edges = Edges::new(seen.len());
        let txns = self.objects.txns();
        for txn in 0..seen.len() as u32 {
            meter.tick(edges.bytes())?;
            for saw in seen.saw(txn).iter().filter(|saw| saw.writer != START) {
                edges.add(saw.writer, txn, Kind::Wr, saw.version);
            }
            let before = txns.before[txn as usize];
            if txns.happened[txn as usize] && before != NONE {
                edges.add(before, txn, Kind::Process, 0);
            }
        }
        let graph = edges.graph(meter)?;
        let Some(order) = topological(&graph, meter)? else {
            return Ok(false);
        };
        // Of each session, how many transactions come before this one.
        let mut clocks = vec![0u32; k * seen.len()];
        meter.tick(4 * clocks.len() as u64)?;
        for txn in order {
            let (session, place) = sessions.of[txn as usize];
            let at = txn as usize * k;
            for saw in seen.saw(txn) {
                for writers in sessions.writers(saw.key) {
                    meter.tick(0)?;
                    let known = clocks[at + writers[0].session as usize];
                    let until = writers.partition_point(|writer| writer.place < known);
                    let Some(last) = until.checked_sub(1) else {
                        continue;
                    };
                    let from = writers[last].txn;
                    if from == saw.writer || from == txn {
                        continue;
                    }
                    let wrote = seen.wrote_to(from, saw.key).expect("it is a writer");
                    self.force(Forced {
                        reader: txn,
                        saw: None,
                        from,
                        newer: wrote.version,
                        missed: *saw,
                        class: Class::Causal,
                    });
                }
            }
            for half in graph.edges(txn) {
                let to = half.to as usize * k;
                for s in 0..k {
                    meter.tick(0)?;
                    clocks[to + s] = clocks[to + s].max(clocks[at + s]);
                }
                let own = &mut clocks[to + session as usize];
                *own = (*own).max(place + 1);
            }
        }
        Ok(true)
    }
}

fn name(class: Class) -> &'static str {
    match class {
        Class::Vanished => "observed transaction vanishes",
        Class::Causal => "causality violation",
        _ => "fractured read",
    }
}

fn scope(class: Class) -> Scope {
    match class {
        Class::Causal => Scope::Process,
        _ => Scope::Data,
    }
}

/// Kahn 1962; none if there is a cycle.
fn topological(graph: &Graph, meter: &mut Meter) -> Result<Option<Vec<u32>>, Exhausted> {
    let nodes = graph.nodes();
    meter.tick(8 * nodes as u64)?;
    let mut before = vec![0u32; nodes];
    for node in 0..nodes as u32 {
        for half in graph.edges(node) {
            meter.tick(0)?;
            before[half.to as usize] += 1;
        }
    }
    let mut order: Vec<u32> = Vec::with_capacity(nodes);
    order.extend((0..nodes as u32).filter(|node| before[*node as usize] == 0));
    let mut next = 0;
    while let Some(node) = order.get(next).copied() {
        next += 1;
        for half in graph.edges(node) {
            meter.tick(0)?;
            before[half.to as usize] -= 1;
            if before[half.to as usize] == 0 {
                order.push(half.to);
            }
        }
    }
    Ok((order.len() == nodes).then_some(order))
}

/// A transaction that writes a key, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Writer {
    session: u32,
    place: u32,
    txn: u32,
}

/// Transactions by sessions. One whose outcome nobody knows is the last of its own.
struct Sessions {
    count: usize,
    /// Of each transaction its session, and its place there.
    of: Vec<(u32, u32)>,
    /// Of each key, by session and place.
    writers: Vec<Vec<Writer>>,
}

impl Sessions {
    fn new(objects: &impl Objects, seen: &Seen) -> Sessions {
        let txns = objects.txns();
        let mut count = 0;
        let mut of: Vec<(u32, u32)> = Vec::with_capacity(seen.len());
        // Whether a session goes on from this transaction.
        let mut ends = vec![false; seen.len()];
        for txn in 0..seen.len() {
            let before = match txns.happened[txn] {
                true => txns.before[txn],
                false => NONE,
            };
            let goes_on = before != NONE && std::mem::take(&mut ends[before as usize]);
            let place = match goes_on {
                true => (of[before as usize].0, of[before as usize].1 + 1),
                false => {
                    count += 1;
                    (count as u32 - 1, 0)
                }
            };
            of.push(place);
            ends[txn] = txns.happened[txn];
        }
        let mut writers = vec![Vec::new(); objects.keys()];
        for txn in 0..seen.len() as u32 {
            let (session, place) = of[txn as usize];
            for wrote in seen.wrote(txn) {
                writers[wrote.key as usize].push(Writer {
                    session,
                    place,
                    txn,
                });
            }
        }
        writers.iter_mut().for_each(|of_key| of_key.sort_unstable());
        Sessions { count, of, writers }
    }

    /// Who writes a key, session by session.
    fn writers(&self, key: u32) -> impl Iterator<Item = &[Writer]> {
        self.writers[key as usize].chunk_by(|a, b| a.session == b.session)
    }
}
