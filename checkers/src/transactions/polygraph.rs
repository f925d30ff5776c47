//! Orders of versions that nothing tells: which of them do the strong models leave?
//!
//! A **polygraph** (Papadimitriou 1979) has edges that are known, from what was read, sessions and
//! time, and for each two writers of a key a choice of who was first. To find out whether some
//! choice leaves no cycle is NP-hard, but most choices are forced (Biswas and Enea, OOPSLA 2019).
//! If `r` read `x` from `w`, and `o` wrote `x` too, then
//!
//! ```text
//! o before r  =>  o before w        it was overwritten when r read
//! w before o  =>  r before o        r did not see it
//! ```
//!
//! `saturation` draws these conclusions until there are no more: a cycle refutes, and its edges say
//! why. If there is none, `schedule` runs the transactions in an order that takes what is open as
//! it comes. Where it gets stuck on two writers, `search` tries one before the other and then the
//! reverse, with all conclusions, for a limited number of steps.
//!
//! Models differ in what is a point of time. Serializable transactions are one point each; with
//! snapshots they begin at one, where they read, and commit at another, where they write, and of
//! two that write the same key one commits before the other begins; with prefixes the same, but two
//! that write a key may run at once. Consistent view and parallel snapshot isolation know no order
//! of all, so there `r before o` is no conclusion: only a path back from `o` to `r` is forbidden,
//! which is the first rule.

mod saturation;
mod schedule;
mod search;

use super::consistency::{Class, Scope};
use super::findings::Tell;
use super::graph::{Edges, NONE};
use super::read::Txns;
use super::seen::{START, Saw, Seen};
use crate::{Exhausted, Meter};

pub use self::search::{Answer, Refuted};

/// A read of what another transaction wrote.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub reader: u32,
    pub saw: Saw,
}

/// Why one point comes before another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// A transaction begins before it commits.
    Inside,
    /// Number of the read.
    Read(u32),
    /// Number of the version that is known to be later.
    Version(u32),
    Process,
    Time,
    /// What this read found was overwritten by that transaction, which came before the reader; so
    /// it wrote before.
    Older(u32, u32),
    /// What this read found was overwritten by that transaction later, so the reader did not see
    /// it.
    Unseen(u32, u32),
    /// Both wrote a key, and the first began before the second committed.
    Conflict(u32),
    /// Tried, and not known.
    Guess,
}

#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: u32,
    pub to: u32,
    pub why: Why,
    /// How many edges were known when it was concluded.
    pub known: u32,
}

/// What the models ask for.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Whether transactions begin and commit at different points.
    apart: bool,
    /// Whether two that write the same key may not both be running.
    conflict: bool,
    /// Whether there is one order of all.
    total: bool,
    scope: Scope,
}

/// A writer of a key on a chain of points, and the place of its commit there.
#[derive(Clone, Copy, Debug)]
struct Writer {
    chain: u32,
    place: u32,
    txn: u32,
}

pub struct Polygraph<'t> {
    txns: &'t Txns,
    rules: Rules,
    reads: Vec<Read>,
    /// Who wrote each key; by chains, as soon as there are any.
    writers: Vec<Vec<Writer>>,
    seen: &'t Seen,
    edges: Vec<Edge>,
    nodes: usize,
}

impl<'t> Polygraph<'t> {
    /// What is known by a model that forbids these. `known` has the order of versions where it was
    /// read as such.
    pub fn new(
        txns: &'t Txns,
        seen: &'t Seen,
        keys: usize,
        known: &Edges,
        (class, scope): (Class, Scope),
        meter: &mut Meter,
    ) -> Result<Polygraph<'t>, Exhausted> {
        let rules = Rules {
            apart: matches!(class, Class::Prefix | Class::Nonadjacent),
            conflict: class == Class::Nonadjacent,
            total: class != Class::Single,
            scope,
        };
        let mut polygraph = Polygraph {
            txns,
            rules,
            reads: Vec::new(),
            writers: vec![Vec::new(); keys],
            seen,
            edges: Vec::new(),
            nodes: txns.len() << u32::from(rules.apart),
        };
        for txn in 0..txns.len() as u32 {
            meter.tick(polygraph.bytes())?;
            polygraph.transaction(txn);
        }
        for (a, b, version) in known.all() {
            meter.tick(polygraph.bytes())?;
            let (from, to) = (polygraph.commit(a), polygraph.overwrites(b));
            polygraph.add(from, to, Why::Version(version));
        }
        if scope == Scope::Realtime {
            polygraph.time(meter)?;
        }
        Ok(polygraph)
    }

    fn bytes(&self) -> u64 {
        (self.reads.capacity() * size_of::<Read>() + self.edges.capacity() * size_of::<Edge>())
            as u64
    }

    /// Its reads and writes, its session.
    fn transaction(&mut self, txn: u32) {
        if !self.txns.happened[txn as usize] {
            return;
        }
        if self.rules.apart {
            self.add(self.begin(txn), self.commit(txn), Why::Inside);
        }
        let before = self.txns.before[txn as usize];
        if self.rules.scope >= Scope::Process && before != NONE {
            self.add(self.commit(before), self.begin(txn), Why::Process);
        }
        // What it read of a key again is the same, or was refuted.
        let mut saw = self.seen.saw(txn).to_vec();
        saw.sort_by_key(|saw| saw.key);
        saw.dedup_by_key(|saw| saw.key);
        for saw in saw {
            let read = self.reads.len() as u32;
            self.reads.push(Read { reader: txn, saw });
            if saw.writer != START {
                self.add(self.commit(saw.writer), self.begin(txn), Why::Read(read));
            }
        }
        for wrote in self.seen.wrote(txn) {
            self.writers[wrote.key as usize].push(Writer {
                chain: 0,
                place: 0,
                txn,
            });
        }
    }

    /// Nodes that stand for moments between returns and calls, in a row: what had returned comes
    /// before, what was invoked afterwards behind.
    fn time(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        let happened = |txn: &u32| self.txns.happened[*txn as usize];
        let all: Vec<u32> = (0..self.txns.len() as u32).filter(happened).collect();
        let (calls, rets) = (&self.txns.calls, &self.txns.rets);
        let mut by_ret = all.clone();
        by_ret.retain(|txn| rets[*txn as usize] != history::Time::MAX);
        by_ret.sort_unstable_by_key(|txn| rets[*txn as usize]);
        let mut by_call = all;
        by_call.sort_unstable_by_key(|txn| calls[*txn as usize]);
        let mut returned = by_ret.into_iter().peekable();
        let mut moment = None;
        for txn in by_call {
            let call = calls[txn as usize];
            let mut fresh = None;
            while let Some(done) = returned.next_if(|done| rets[*done as usize] < call) {
                meter.tick(self.edges.capacity() as u64 * size_of::<Edge>() as u64)?;
                let node = *fresh.get_or_insert(self.nodes as u32);
                let from = self.commit(done);
                self.add(from, node, Why::Time);
            }
            if let Some(node) = fresh {
                self.nodes += 1;
                if let Some(before) = moment.replace(node) {
                    self.add(before, node, Why::Time);
                }
            }
            if let Some(moment) = moment {
                self.add(moment, self.begin(txn), Why::Time);
            }
        }
        Ok(())
    }

    fn add(&mut self, from: u32, to: u32, why: Why) {
        if from != to {
            self.edges.push(Edge {
                from,
                to,
                why,
                known: 0,
            });
        }
    }

    /// Where a transaction reads.
    #[inline]
    fn begin(&self, txn: u32) -> u32 {
        txn << u32::from(self.rules.apart)
    }

    /// Where it writes.
    #[inline]
    fn commit(&self, txn: u32) -> u32 {
        match self.rules.apart {
            true => txn << 1 | 1,
            false => txn,
        }
    }

    /// What must come behind the commit of whom a transaction overwrites.
    #[inline]
    fn overwrites(&self, txn: u32) -> u32 {
        match self.rules.conflict {
            true => self.begin(txn),
            false => self.commit(txn),
        }
    }

    /// The transaction of a point; none for a moment.
    #[inline]
    fn txn(&self, node: u32) -> Option<u32> {
        let txn = node >> u32::from(self.rules.apart);
        ((txn as usize) < self.txns.len()).then_some(txn)
    }
}

/// Why there is no order, edge by edge.
pub fn told(polygraph: &Polygraph, refuted: &Refuted, tell: &impl Tell) -> String {
    let name = |node: u32| {
        let txn = polygraph.txn(node);
        txn.map(|txn| format!("op {}", tell.op(txn)))
    };
    let shown = |read: u32| {
        let Read { reader, saw } = polygraph.reads[read as usize];
        let (reader, object) = (tell.op(reader), tell.object(saw.key));
        match saw.writer {
            START => format!("op {reader} read {object} as it was at the start"),
            writer => format!(
                "op {reader} read {} in {object}, which op {} wrote",
                tell.shown(saw.version),
                tell.op(writer)
            ),
        }
    };
    let mut steps: Vec<String> = Vec::new();
    let mut open: Option<String> = None;
    for edge in &refuted.core.cycle {
        let other = |txn: u32| tell.op(txn);
        let (from, to) = (open.take().or_else(|| name(edge.from)), name(edge.to));
        let (Some(from), Some(to)) = (from.clone(), to) else {
            // By way of moments.
            open = from;
            continue;
        };
        steps.push(match edge.why {
            Why::Inside => continue,
            Why::Read(read) => format!("{from} < {to}, since {}", shown(read)),
            Why::Version(version) => {
                format!(
                    "{from} < {to}, which wrote {} behind it",
                    tell.shown(version)
                )
            }
            Why::Process => format!("one process asked for {from} and then for {to}"),
            Why::Time => format!("{from} had returned when {to} was invoked"),
            Why::Older(read, by) => format!(
                "{from} < {to}, since {}, after op {}, which wrote there too",
                shown(read),
                other(by)
            ),
            Why::Unseen(read, by) => format!(
                "{from} < {to}, since {}, before op {} wrote there",
                shown(read),
                other(by)
            ),
            Why::Conflict(key) => {
                format!("{from} < {to}, which wrote {} too", tell.object(key))
            }
            Why::Guess => format!("{from} < {to}, or the other way round, which fails too"),
        });
    }
    format!("{}: a contradiction", steps.join("; "))
}
