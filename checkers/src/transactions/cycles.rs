//! Cycles among transactions, by how much they refute.
//!
//! Edges of data and of processes make a graph; one pass of Tarjan's algorithm finds its knots
//! (strongly connected components), and every further search stays within one of them. Real time is
//! no edge: a cycle that needs it needs it once (proof in `harness/docs/isolation.md`), so it is
//! enough to know, for each transaction, the latest call of those that must come before it.

use std::collections::VecDeque;

use history::Time;
use rustc_hash::FxHashMap;

use super::consistency::{Class, Scope};
use super::graph::{Components, Graph, Half, Kind, NONE, View, Walk};
use crate::{Exhausted, Meter};

/// A transaction of a cycle, and the edge to the next; the last one's leads to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub txn: u32,
    pub kind: Kind,
    /// What tells why, unless it is time.
    pub version: u32,
}

/// A cycle, and what it refutes.
#[derive(Clone, Debug)]
pub struct Found {
    pub class: Class,
    pub scope: Scope,
    pub cycle: Vec<Step>,
}

/// When transactions were invoked and had returned.
#[derive(Clone, Copy)]
pub struct Times<'t> {
    pub calls: &'t [Time],
    pub rets: &'t [Time],
}

/// Edges that are looked at for a shorter cycle than the one at hand, in one search.
const STEPS: u64 = 2_000_000;

/// As many cycles of a class and scope are kept.
const MOST: usize = 16;

const CLASSES: [(Class, Walk); 5] = [
    (Class::DirtyWrite, Walk::Writes),
    (Class::DirtyRead, Walk::Dependencies),
    (Class::Single, Walk::OneRw),
    (Class::Nonadjacent, Walk::NoTwoRw),
    (Class::Item, Walk::All),
];

/// All that must not be. What was found before a limit was met stands.
pub struct Search<'g> {
    graph: &'g Graph,
    times: Times<'g>,
    pub found: Vec<Found>,
    /// How many there were of each kind, kept or not.
    pub counts: FxHashMap<(Class, Scope), usize>,
    /// The worst class that was found in the knot of a transaction.
    worst: FxHashMap<u32, Class>,
    paths: Paths,
}

impl<'g> Search<'g> {
    pub fn new(graph: &'g Graph, times: Times<'g>) -> Search<'g> {
        Search {
            graph,
            times,
            found: Vec::new(),
            counts: FxHashMap::default(),
            worst: FxHashMap::default(),
            paths: Paths::default(),
        }
    }

    /// Looks for all cycles. What it returns tells for each transaction the latest call among those
    /// that come before it, and how they can be ordered if nothing was found within a scope.
    pub fn run(&mut self, scope: Scope, meter: &mut Meter) -> Result<Order, Exhausted> {
        let view = View::new(self.graph, Walk::All, true);
        let components = Components::of(&view, meter)?;
        let mut knots: Vec<Vec<u32>> = components.knots().map(<[u32]>::to_vec).collect();
        knots.iter_mut().for_each(|knot| knot.sort_unstable());
        knots.sort_unstable();
        let mut place = match knots.is_empty() {
            true => Vec::new(),
            false => vec![NONE; self.graph.nodes()],
        };
        for knot in &knots {
            self.knot(knot, &mut place, meter)?;
        }
        let latest = latest(&view, &components, &self.times, meter)?;
        let rets = self.times.rets.iter().enumerate();
        let mut late = rets.filter(|(a, ret)| is_late(**ret, latest[*a], &self.times));
        if late.next().is_some() {
            self.real_time(meter)?;
        }
        if scope == Scope::Data && !knots.is_empty() {
            let view = View::new(self.graph, Walk::All, false);
            let components = Components::of(&view, meter)?;
            let latest = self::latest(&view, &components, &self.times, meter)?;
            return Ok(Order { components, latest });
        }
        Ok(Order { components, latest })
    }

    /// The shortest cycle of each class within a knot; with edges of processes, of classes that are
    /// worse than all without.
    fn knot(
        &mut self,
        knot: &[u32],
        place: &mut [u32],
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        meter.tick(self.graph.bytes())?;
        let graph = self.graph.part(knot, place);
        let mut worst = None;
        for processes in [false, true] {
            for (class, walk) in CLASSES {
                if processes && worst.is_some_and(|worst| worst <= class) {
                    break;
                }
                let view = View::new(&graph, walk, processes);
                let cycle = match walk {
                    Walk::OneRw => self.paths.with_one_rw(&view, meter)?,
                    _ => self.paths.shortest_cycle(&view, meter)?,
                };
                let Some(mut cycle) = cycle else { continue };
                for step in &mut cycle {
                    step.txn = knot[step.txn as usize];
                }
                if self.keep(class, cycle) {
                    worst = Some(worst.map_or(class, |worst: Class| worst.min(class)));
                }
            }
        }
        if let Some(worst) = worst {
            self.worst.extend(knot.iter().map(|node| (*node, worst)));
        }
        Ok(())
    }

    /// Unless the cycle is of a worse class, which has its own.
    fn keep(&mut self, class: Class, cycle: Vec<Step>) -> bool {
        let (exact, scope) = classify(&cycle);
        if exact != class {
            return false;
        }
        let count = self.counts.entry((class, scope)).or_default();
        *count += 1;
        if *count <= MOST {
            let first = (0..cycle.len()).min_by_key(|i| cycle[*i].txn).unwrap_or(0);
            let mut cycle = cycle;
            // Told from the same transaction wherever the search began, but time comes last.
            if scope != Scope::Realtime {
                cycle.rotate_left(first);
            }
            self.found.push(Found {
                class,
                scope,
                cycle,
            });
        }
        true
    }

    /// Cycles with real time, one class after the other: paths from a transaction to one that had
    /// returned before the first was invoked.
    fn real_time(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        let reversed = self.graph.reversed(meter)?;
        let mut told: FxHashMap<u32, Class> = FxHashMap::default();
        for (class, walk) in CLASSES {
            let forwards = View::new(self.graph, walk, true);
            let components = Components::of(&forwards, meter)?;
            let latest = latest(&forwards, &components, &self.times, meter)?;
            let backwards = View {
                backwards: true,
                ..View::new(&reversed, walk, true)
            };
            let mut steps = STEPS;
            let mut cycles: Vec<Vec<Step>> = Vec::new();
            for end in 0..forwards.places() as u32 {
                meter.tick(0)?;
                let a = forwards.node(end);
                let Some(ret) = self.times.rets.get(a as usize).copied() else {
                    break;
                };
                let known = self.worst.get(&a).or(told.get(&a));
                if !is_late(ret, latest[end as usize], &self.times)
                    || known.is_some_and(|known| *known <= class)
                {
                    continue;
                }
                // The nearest of those that come before it and were invoked after it.
                let calls = self.times.calls;
                let begins = |place: u32| {
                    let b = backwards.node(place) as usize;
                    backwards.memory(place) == 0 && calls.get(b).is_some_and(|call| *call > ret)
                };
                // Shorter ones only, once there are as many as anybody will look at.
                let most = match cycles.len() < MOST {
                    true => u32::MAX,
                    false => cycles.iter().map(Vec::len).max().unwrap_or(0) as u32 - 2,
                };
                let path = self.paths.path(
                    &backwards,
                    end,
                    None,
                    begins,
                    |_| true,
                    most,
                    &mut steps,
                    meter,
                )?;
                if let Some(path) = path {
                    let cycle = backwards_to_cycle(self.graph, &path);
                    if classify(&cycle).0 == class {
                        cycles.push(cycle);
                    }
                }
                let shortest = cycles.len() >= MOST && cycles.iter().all(|c| c.len() == 2);
                if shortest || (steps == 0 && !(cycles.is_empty() && told.is_empty())) {
                    break;
                }
            }
            cycles.sort_by_key(|cycle| (cycle.len(), cycle.iter().map(|s| s.txn).max()));
            for cycle in cycles {
                // Each transaction is in one of them.
                if cycle.iter().any(|step| told.contains_key(&step.txn)) {
                    continue;
                }
                told.extend(cycle.iter().map(|step| (step.txn, class)));
                self.keep(class, cycle);
            }
        }
        Ok(())
    }
}

/// The shortest cycle of each knot, whatever its edges are.
pub fn shortest_cycles(graph: &Graph, meter: &mut Meter) -> Result<Vec<Vec<Step>>, Exhausted> {
    let components = Components::of(&View::new(graph, Walk::All, true), meter)?;
    let mut paths = Paths::default();
    let mut place = Vec::new();
    let mut cycles = Vec::new();
    for knot in components.knots() {
        place.resize(graph.nodes(), NONE);
        let mut knot = knot.to_vec();
        knot.sort_unstable();
        let part = graph.part(&knot, &mut place);
        if let Some(mut cycle) = paths.shortest_cycle(&View::new(&part, Walk::All, true), meter)? {
            for step in &mut cycle {
                step.txn = knot[step.txn as usize];
            }
            cycles.push(cycle);
        }
    }
    Ok(cycles)
}

/// Whether something that must come before was invoked only after the return.
#[inline]
fn is_late(ret: Time, latest: u32, times: &Times) -> bool {
    latest != NONE && ret < times.calls[latest as usize]
}

/// For each place, which of the transactions that walk there, itself included, was invoked last.
fn latest(
    view: &View,
    components: &Components,
    times: &Times,
    meter: &mut Meter,
) -> Result<Vec<u32>, Exhausted> {
    meter.tick(view.graph.bytes() + 20 * view.places() as u64)?;
    let mut latest = vec![NONE; view.places()];
    let later = |a: u32, b: u32| match (a, b) {
        (NONE, _) => b,
        (_, NONE) => a,
        _ if times.calls[b as usize] > times.calls[a as usize] => b,
        _ => a,
    };
    for component in (0..components.len()).rev() {
        let members = components.members(component);
        let mut last = NONE;
        for place in members {
            meter.tick(0)?;
            last = later(last, latest[*place as usize]);
            let node = view.node(*place);
            if view.memory(*place) == 0 && view.graph.is_transaction(node) {
                last = later(last, node);
            }
        }
        for place in members {
            latest[*place as usize] = last;
            for half in view.graph.edges(view.node(*place)) {
                meter.tick(0)?;
                if let Some(to) = view.to(*place, *half) {
                    latest[to as usize] = later(latest[to as usize], last);
                }
            }
        }
    }
    Ok(latest)
}

/// What a cycle is, by its edges.
pub fn classify(cycle: &[Step]) -> (Class, Scope) {
    let count = |kind| cycle.iter().filter(|step| step.kind == kind).count();
    let rw = |i: usize| cycle[i % cycle.len()].kind == Kind::Rw;
    let class = match (count(Kind::Rw), count(Kind::Wr)) {
        (0, 0) => Class::DirtyWrite,
        (0, _) => Class::DirtyRead,
        (1, _) => Class::Single,
        _ if (0..cycle.len()).all(|i| !rw(i) || !rw(i + 1)) => Class::Nonadjacent,
        _ => Class::Item,
    };
    let scope = match (count(Kind::Realtime), count(Kind::Process)) {
        (0, 0) => Scope::Data,
        (0, _) => Scope::Process,
        _ => Scope::Realtime,
    };
    (class, scope)
}

/// How transactions can be ordered, if there is no cycle.
pub struct Order {
    components: Components,
    latest: Vec<u32>,
}

impl Order {
    /// Transactions in an order that every edge agrees with.
    pub fn by_edges(&self) -> impl Iterator<Item = u32> {
        self.components.order.iter().rev().copied()
    }

    /// And real time: by the latest call of those before, and then by the edges.
    pub fn by_time(&self, times: &Times) -> Vec<u32> {
        let mut order: Vec<u32> = self.by_edges().collect();
        let call = |node: &u32| match self.latest[*node as usize] {
            NONE => None,
            latest => Some(times.calls[latest as usize]),
        };
        order.sort_by_key(call);
        order
    }
}

/// An edge of a path, from a node of the graph.
type Edge = (u32, Half);

/// A path that was searched backwards, closed by real time.
fn backwards_to_cycle(graph: &Graph, path: &[Edge]) -> Vec<Step> {
    // From each node the path goes back to the next one's.
    let mut forwards: Vec<(u32, Kind, u32)> = path
        .iter()
        .rev()
        .map(|(_, half)| (half.to, half.kind(), half.version()))
        .collect();
    forwards.push((path[0].0, Kind::Realtime, 0));
    steps(graph, forwards)
}

/// Edges by way of helpers become one.
fn steps(graph: &Graph, edges: impl IntoIterator<Item = (u32, Kind, u32)>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (node, kind, version) in edges {
        match steps.last_mut() {
            Some(last) if !graph.is_transaction(node) => last.version = version,
            _ => steps.push(Step {
                txn: node,
                kind,
                version,
            }),
        }
    }
    steps
}

/// Searches for shortest paths, one after another, in the same memory.
#[derive(Default)]
struct Paths {
    round: u32,
    /// In which round a place was reached, how far it was, and from where.
    reached: Vec<(u32, u32)>,
    back: Vec<(u32, Option<Half>)>,
    queue: VecDeque<(u32, u32)>,
}

impl Paths {
    /// The path with the fewest transactions; steps to helpers cost nothing (0-1 breadth-first
    /// search). Its first edge is of the kind `first`, if that is given; it is at most `most` long.
    /// `steps` counts down.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of them differ from search to search"
    )]
    fn path(
        &mut self,
        view: &View,
        start: u32,
        first: Option<Kind>,
        goal: impl Fn(u32) -> bool,
        within: impl Fn(u32) -> bool,
        most: u32,
        steps: &mut u64,
        meter: &mut Meter,
    ) -> Result<Option<Vec<Edge>>, Exhausted> {
        if self.reached.len() < view.places() {
            meter.tick(24 * view.places() as u64)?;
            self.reached.resize(view.places(), (0, 0));
            self.back.resize(view.places(), (0, None));
        }
        self.round += 1;
        self.queue.clear();
        // The start of a cycle is not reached until the cycle is closed.
        self.queue.push_back((start, 0));
        let mut begun = false;
        while let Some((place, far)) = self.queue.pop_front() {
            if begun && self.reached[place as usize] != (self.round, far) {
                continue;
            }
            for (next, half) in view.next(place) {
                meter.tick(0)?;
                *steps = steps.saturating_sub(1);
                if !begun && first.is_some_and(|first| half.kind() != first) {
                    continue;
                }
                let is_transaction = view.graph.is_transaction(view.node(next));
                let far = far + u32::from(is_transaction);
                let (round, before) = self.reached[next as usize];
                if far > most || (round == self.round && before <= far) || !within(next) {
                    continue;
                }
                self.reached[next as usize] = (self.round, far);
                self.back[next as usize] = (place, Some(half));
                // Places are taken up by distance, so the first way to get there is a shortest.
                if is_transaction && goal(next) {
                    return Ok(Some(self.way(view, start, next)));
                }
                match is_transaction {
                    true => self.queue.push_back((next, far)),
                    false => self.queue.push_front((next, far)),
                }
            }
            begun = true;
        }
        Ok(None)
    }

    fn way(&self, view: &View, start: u32, end: u32) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut at = end;
        while let (before, Some(half)) = self.back[at as usize] {
            edges.push((view.node(before), half));
            at = before;
            if at == start {
                break;
            }
        }
        edges.reverse();
        edges
    }

    fn cycle(graph: &Graph, path: Vec<Edge>) -> Vec<Step> {
        let edges = path.into_iter();
        steps(
            graph,
            edges.map(|(node, half)| (node, half.kind(), half.version())),
        )
    }

    /// The shortest closed walk. It is a cycle: at a node that came twice one could stay behind.
    fn shortest_cycle(
        &mut self,
        view: &View,
        meter: &mut Meter,
    ) -> Result<Option<Vec<Step>>, Exhausted> {
        let components = Components::of(view, meter)?;
        let mut begins: Vec<u32> = components
            .knots()
            .flatten()
            .copied()
            // A closed walk that takes no two Rw in a row comes by a place where the last was none.
            .filter(|p| view.memory(*p) == 0 && view.graph.is_transaction(view.node(*p)))
            .collect();
        begins.sort_unstable();
        let mut best: Option<Vec<Edge>> = None;
        let mut length = u32::MAX;
        let mut steps = STEPS;
        for begin in begins {
            let component = components.of[begin as usize];
            let within = |place: u32| components.of[place as usize] == component;
            let goal = |place| place == begin;
            let path = self.path(
                view,
                begin,
                None,
                goal,
                within,
                length - 1,
                &mut steps,
                meter,
            )?;
            if let Some(path) = path {
                length = transactions(view.graph, &path);
                best = Some(path);
            }
            if length <= 2 || (steps == 0 && best.is_some()) {
                break;
            }
        }
        Ok(best.map(|path| Paths::cycle(view.graph, path)))
    }

    /// The shortest cycle with one `Rw`.
    fn with_one_rw(
        &mut self,
        view: &View,
        meter: &mut Meter,
    ) -> Result<Option<Vec<Step>>, Exhausted> {
        // Such a cycle has no two Rw in a row, and apart from one edge it is of dependencies: both
        // say quickly where none can be.
        let loose = View {
            walk: Walk::NoTwoRw,
            ..*view
        };
        let on_cycle = Components::of(&loose, meter)?;
        if on_cycle.knots().next().is_none() {
            return Ok(None);
        }
        let dependencies = View {
            walk: Walk::Dependencies,
            ..*view
        };
        let rank = Components::of(&dependencies, meter)?.of;
        let mut best: Option<Vec<Edge>> = None;
        let mut length = u32::MAX;
        let mut steps = STEPS;
        for node in 0..view.graph.nodes() as u32 {
            if !view.graph.is_transaction(node) || !on_cycle.on_cycle(loose.place(node, 0)) {
                continue;
            }
            // Components that lead to another have the higher number.
            let within = |place: u32| {
                let at = view.node(place);
                !view.graph.is_transaction(at) || rank[at as usize] >= rank[node as usize]
            };
            let goal = |place| place == view.place(node, 1);
            let start = view.place(node, 0);
            let first = Some(Kind::Rw);
            let path = self.path(
                view,
                start,
                first,
                goal,
                within,
                length - 1,
                &mut steps,
                meter,
            )?;
            if let Some(path) = path {
                length = transactions(view.graph, &path);
                best = Some(path);
            }
            if length <= 2 || (steps == 0 && best.is_some()) {
                break;
            }
        }
        Ok(best.map(|path| Paths::cycle(view.graph, path)))
    }
}

/// How many transactions a closed path goes through.
fn transactions(graph: &Graph, path: &[Edge]) -> u32 {
    path.iter()
        .filter(|(node, _)| graph.is_transaction(*node))
        .count() as u32
}

#[cfg(test)]
mod tests;
