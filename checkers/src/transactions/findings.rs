//! What was found, and how it is told.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::consistency::{Class, Consistency, Scope};
use super::cycles::{Found, Step};
use super::graph::Kind;
use super::polygraph::Refuted;
use crate::Anomaly;
use crate::picture::{Edge, Picture};

/// As many of each kind as a person will look at.
const MOST_OF_A_KIND: usize = 4;

/// What the transactions of a cycle did to each other, in words.
pub trait Tell {
    /// The index of a transaction's invocation.
    fn op(&self, txn: u32) -> u64;

    /// The key of a version.
    fn key(&self, version: u32) -> u32;

    /// `register 3`.
    fn object(&self, key: u32) -> String;

    /// What a version added or wrote.
    fn shown(&self, version: u32) -> String;

    /// Whether nobody knows that it was not undone.
    fn is_doubtful(&self, txn: u32) -> bool;

    /// Why `a`, the transaction of this step, is before `b`; not asked about time.
    fn why(&self, step: Step, a: &str, b: &str) -> String;
}

#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<(Class, Scope, Anomaly)>,
    counts: BTreeMap<(Class, Scope, String), usize>,
    /// Pairs of transactions, the lower number first, that were told of already, in which scope.
    pairs: FxHashSet<(u32, u32, Scope)>,
    /// The transactions of each cycle of writes.
    writes: FxHashSet<Vec<u32>>,
}

fn txns(cycle: &[Step]) -> Vec<u32> {
    let mut txns: Vec<u32> = cycle.iter().map(|step| step.txn).collect();
    txns.sort_unstable();
    txns
}

impl Findings {
    pub fn add(
        &mut self,
        kind: &str,
        class: Class,
        object: Option<String>,
        ops: Vec<u64>,
        reason: String,
    ) {
        let anomaly = Anomaly {
            object,
            ops,
            reason,
            ..Anomaly::default()
        };
        self.add_scoped(kind, (class, Scope::Data), anomaly);
    }

    pub fn add_scoped(&mut self, kind: &str, (class, scope): (Class, Scope), anomaly: Anomaly) {
        let count = self
            .counts
            .entry((class, scope, kind.to_string()))
            .or_default();
        *count += 1;
        if *count <= MOST_OF_A_KIND {
            let anomaly = Anomaly {
                kind: kind.to_string(),
                ..anomaly
            };
            self.list.push((class, scope, anomaly));
        }
    }

    /// Remembers that a cycle of these two in this scope, or a wider one, needs not be told.
    pub fn told(&mut self, a: u32, b: u32, scope: Scope) {
        self.pairs.insert((a.min(b), a.max(b), scope));
    }

    fn is_told(&self, a: u32, b: u32, scope: Scope) -> bool {
        let within = [Scope::Data, Scope::Realtime]
            .into_iter()
            .filter(|s| *s <= scope);
        within
            .into_iter()
            .any(|s| self.pairs.contains(&(a.min(b), a.max(b), s)))
    }

    pub fn add_cycle(&mut self, found: &Found, tell: &impl Tell) {
        let cycle = &found.cycle;
        if let [a, b] = &cycle[..]
            && found.class >= Class::Single
            && self.is_told(a.txn, b.txn, found.scope)
        {
            return;
        }
        let (class, scope) = (found.class, found.scope);
        // What was undone is in no cycle of writes; but what was seen and is undone is as bad as
        // the next class.
        let class = match class {
            Class::DirtyWrite if cycle.iter().any(|step| tell.is_doubtful(step.txn)) => {
                Class::DirtyRead
            }
            Class::DirtyWrite if !self.writes.insert(txns(cycle)) => return,
            class => class,
        };
        let same_key = matches!(&cycle[..], [a, b] if tell.key(a.version) == tell.key(b.version));
        let forks = |pair: &[Step]| pair[0].kind == Kind::Wr && pair[1].kind == Kind::Rw;
        let turned = [&cycle[1..], &cycle[..1]].concat();
        let is_fork = cycle.len() == 4 && [cycle, &turned].iter().any(|c| c.chunks(2).all(forks));
        // Those with a name of their own.
        let (kind, class, also) = match class {
            Class::Single | Class::Item if scope == Scope::Data && same_key => {
                ("lost update", Class::Single, "G-single: ")
            }
            Class::Nonadjacent if scope == Scope::Data && is_fork => {
                ("long fork", class, "G-nonadjacent: ")
            }
            Class::Item if scope == Scope::Data && cycle.len() == 2 => {
                ("write skew", class, "G2-item: ")
            }
            Class::DirtyWrite => ("G0", class, ""),
            Class::DirtyRead if cycle.iter().all(|step| step.kind != Kind::Wr) => ("G0", class, ""),
            Class::DirtyRead => ("G1c", class, ""),
            Class::Single => ("G-single", class, ""),
            Class::Nonadjacent => ("G-nonadjacent", class, ""),
            _ => ("G2-item", class, ""),
        };
        let mut seen = vec![false; cycle.len()];
        let mut name = |i: usize| match std::mem::replace(&mut seen[i], true) {
            true => format!("T{}", i + 1),
            false => format!("T{} (op {})", i + 1, tell.op(cycle[i].txn)),
        };
        let mut told = String::new();
        let mut edges = Vec::new();
        for (i, step) in cycle.iter().enumerate() {
            let to = (i + 1) % cycle.len();
            let (from, until) = (name(i), name(to));
            let (a, b) = (format!("T{}", i + 1), format!("T{}", to + 1));
            let why = match step.kind {
                Kind::Realtime => format!("{a} had returned when {b} was invoked"),
                Kind::Process => format!("one process asked for {a} and then for {b}"),
                _ => tell.why(*step, &a, &b),
            };
            told += &format!("{from} < {until}, since {why}; ");
            edges.push(Edge {
                from: tell.op(step.txn),
                to: tell.op(cycle[to].txn),
                relation: step.kind.relation(),
                why,
            });
        }
        let reason = format!("{also}{}: a contradiction", told.trim_end_matches("; "));
        let anomaly = Anomaly {
            ops: cycle.iter().map(|step| tell.op(step.txn)).collect(),
            reason,
            picture: Some(Box::new(Picture::Cycle { edges })),
            ..Anomaly::default()
        };
        let kind = format!("{kind}{}", scope.suffix());
        self.add_scoped(&kind, (class, scope), anomaly);
    }

    /// That no order of versions has none of what the model forbids.
    pub fn add_refuted(&mut self, refuted: &Refuted, told: String, tell: &impl Tell) {
        let kind = match refuted.class {
            Class::Prefix => "prefix violation",
            Class::Single => "G-single",
            Class::Nonadjacent => "G-nonadjacent",
            _ => "G2-item",
        };
        let ops = refuted.txns.iter().map(|txn| tell.op(*txn)).collect();
        let kind = match refuted.class {
            // It is about sessions anyhow.
            Class::Prefix => kind.to_string(),
            _ => format!("{kind}{}", refuted.scope.suffix()),
        };
        let anomaly = Anomaly {
            ops,
            reason: told,
            ..Anomaly::default()
        };
        self.add_scoped(&kind, (refuted.class, refuted.scope), anomaly);
    }

    /// Whether the model forbids anything that was found.
    pub fn refute(&self, model: Consistency) -> bool {
        self.counts
            .keys()
            .any(|(class, scope, _)| model.forbids(*class, *scope))
    }

    /// Whether anything of this class, or worse, was found within a scope.
    pub fn refute_all(&self, class: Class, widest: Scope) -> bool {
        let mut counts = self.counts.keys();
        counts.any(|(found, scope, _)| found.is_kind_of(class) && *scope <= widest)
    }

    /// Whether anything was found within a scope.
    pub fn any_within(&self, widest: Scope) -> bool {
        self.counts.keys().any(|(_, scope, _)| *scope <= widest)
    }

    /// Whether anything of this kind was found.
    pub fn has(&self, kind: &str) -> bool {
        self.counts.keys().any(|(_, _, k)| k == kind)
    }

    /// How many of each kind, the worst first.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.counts
            .iter()
            .map(|((_, _, kind), count)| (kind.as_str(), *count))
    }

    /// The worst that a model forbids.
    pub fn first_against(&self, model: Consistency) -> Option<&Anomaly> {
        let list = self.list.iter();
        let forbidden = list.filter(|(class, scope, _)| model.forbids(*class, *scope));
        let first = forbidden.min_by_key(|(class, scope, _)| (*class, *scope));
        first.map(|(_, _, anomaly)| anomaly)
    }

    /// Those that the model forbids, the worst first.
    pub fn against(mut self, model: Consistency) -> Vec<Anomaly> {
        self.list.sort_by_key(|(class, scope, _)| (*class, *scope));
        let forbidden = self.list.into_iter();
        let forbidden = forbidden.filter(|(class, scope, _)| model.forbids(*class, *scope));
        forbidden.map(|(_, _, anomaly)| anomaly).collect()
    }
}
