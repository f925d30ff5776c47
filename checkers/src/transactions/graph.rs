//! Transactions as nodes, and what orders them as edges, in two arrays.
//!
//! Some nodes are no transactions but helpers: "all readers of this version come before all those
//! writers" is one edge from each reader and one to each writer by way of a helper, not their
//! product.

use crate::picture::Relation;
use crate::{Exhausted, Meter};

/// No number.
pub const NONE: u32 = u32::MAX;

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The other overwrote, or appended behind, what it wrote.
    Ww,
    /// The other read what it wrote.
    Wr,
    /// The other wrote what it did not see yet.
    Rw,
    /// Its process went on to the other.
    Process,
    /// The rest of an edge `Rw` that goes by way of helpers.
    Tail,
    /// It had returned before the other was invoked. Never an edge of a graph: see `cycles`.
    Realtime,
}

impl Kind {
    pub fn relation(self) -> Relation {
        match self {
            Kind::Ww => Relation::Ww,
            Kind::Wr => Relation::Wr,
            Kind::Rw | Kind::Tail => Relation::Rw,
            Kind::Process => Relation::Process,
            Kind::Realtime => Relation::RealTime,
        }
    }
}

const KINDS: [Kind; 5] = [Kind::Ww, Kind::Wr, Kind::Rw, Kind::Process, Kind::Tail];

/// An edge from a node that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    pub to: u32,
    label: u32,
}

impl Half {
    #[inline]
    pub fn kind(self) -> Kind {
        KINDS[(self.label & 7) as usize]
    }

    /// Number of the version that tells why.
    pub fn version(self) -> u32 {
        self.label >> 3
    }
}

/// Versions have numbers below this.
pub const MOST_VERSIONS: usize = 1 << 29;

/// Edges while they are collected.
#[derive(Debug)]
pub struct Edges {
    transactions: u32,
    nodes: u32,
    list: Vec<(u32, Half)>,
}

impl Edges {
    /// The first nodes are transactions; helpers come after.
    pub fn new(transactions: usize) -> Edges {
        Edges {
            transactions: transactions as u32,
            nodes: transactions as u32,
            list: Vec::new(),
        }
    }

    fn helper(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    /// A transaction is not ordered with itself.
    #[inline]
    pub fn add(&mut self, from: u32, to: u32, kind: Kind, version: u32) {
        if from != to {
            let label = version << 3 | kind as u32;
            self.list.push((from, Half { to, label }));
        }
    }

    /// From, to, and the version that tells why.
    pub fn all(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let list = self.list.iter();
        list.map(|(from, half)| (*from, half.to, half.version()))
    }

    pub fn bytes(&self) -> u64 {
        self.list.capacity() as u64 * 12
    }

    /// Sorts them by where they begin.
    pub fn graph(self, meter: &mut Meter) -> Result<Graph, Exhausted> {
        let nodes = self.nodes as usize;
        meter.tick(self.bytes() + nodes as u64 * 4 + self.list.len() as u64 * 8)?;
        let mut starts = vec![0u32; nodes + 2];
        for (from, _) in &self.list {
            meter.tick(0)?;
            starts[*from as usize + 2] += 1;
        }
        for i in 2..starts.len() {
            starts[i] += starts[i - 1];
        }
        // Where the next edge of each node goes; in the end, where its edges end.
        let nowhere = Half { to: NONE, label: 0 };
        let mut halves = vec![nowhere; self.list.len()];
        for (from, half) in self.list {
            meter.tick(0)?;
            let at = &mut starts[from as usize + 1];
            halves[*at as usize] = half;
            *at += 1;
        }
        starts.pop();
        Ok(Graph {
            transactions: self.transactions,
            starts,
            halves,
        })
    }
}

/// Transactions of which each must come after everybody who is in [`Group::before`]: helpers in a
/// chain stand for the first `i + 1` of them, and others for the last ones.
#[derive(Debug)]
pub struct Group {
    /// With the version that each wrote; in ascending order.
    members: Vec<(u32, u32)>,
    front: u32,
    back: u32,
}

impl Group {
    pub fn new(members: Vec<(u32, u32)>) -> Group {
        Group {
            members,
            front: NONE,
            back: NONE,
        }
    }

    /// Edges `Rw` from a transaction to all members but itself. Together they are linear in number.
    pub fn before(&mut self, txn: u32, edges: &mut Edges) {
        let all = self.members.len();
        if let [(member, version)] = self.members[..] {
            edges.add(txn, member, Kind::Rw, version);
            return;
        }
        let from = self.members.partition_point(|(member, _)| *member < txn);
        let until = self.members.partition_point(|(member, _)| *member <= txn);
        let is_member = from < until;
        // Up to itself, or up to the end.
        let front = if is_member { from } else { all };
        if front > 0 {
            if self.front == NONE {
                self.front = chain(edges, self.members.iter());
            }
            edges.add(
                txn,
                self.front + front as u32 - 1,
                Kind::Rw,
                self.members[0].1,
            );
        }
        if is_member && until < all {
            if self.back == NONE {
                self.back = chain(edges, self.members.iter().rev());
            }
            let rest = (all - until) as u32;
            edges.add(txn, self.back + rest - 1, Kind::Rw, self.members[until].1);
        }
    }
}

/// Helpers with numbers in a row, of which each leads to one of these transactions, and by way of
/// the one before it to all in front. The first one's number.
fn chain<'a>(edges: &mut Edges, to: impl Iterator<Item = &'a (u32, u32)>) -> u32 {
    let first = edges.nodes;
    for (txn, version) in to {
        let helper = edges.helper();
        edges.add(helper, *txn, Kind::Tail, *version);
        if helper > first {
            edges.add(helper, helper - 1, Kind::Tail, *version);
        }
    }
    first
}

#[derive(Debug)]
pub struct Graph {
    transactions: u32,
    starts: Vec<u32>,
    halves: Vec<Half>,
}

impl Graph {
    pub fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn bytes(&self) -> u64 {
        (self.starts.len() * 4 + self.halves.len() * 8) as u64
    }

    #[inline]
    pub fn is_transaction(&self, node: u32) -> bool {
        node < self.transactions
    }

    /// Where a node's edges are.
    #[inline]
    fn range(&self, node: u32) -> std::ops::Range<usize> {
        self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize
    }

    #[inline]
    pub fn edges(&self, node: u32) -> &[Half] {
        &self.halves[self.range(node)]
    }

    /// All edges turned round.
    pub fn reversed(&self, meter: &mut Meter) -> Result<Graph, Exhausted> {
        let mut edges = Edges {
            transactions: self.transactions,
            nodes: self.nodes() as u32,
            list: Vec::with_capacity(self.halves.len()),
        };
        for node in 0..self.nodes() as u32 {
            for half in self.edges(node) {
                meter.tick(0)?;
                let label = half.label;
                edges.list.push((half.to, Half { to: node, label }));
            }
        }
        edges.graph(meter)
    }

    /// The part between these nodes, in ascending order, which get the numbers of their places.
    /// `place` holds a number for every node of the whole, all of them [`NONE`], and does so again
    /// afterwards.
    pub fn part(&self, nodes: &[u32], place: &mut [u32]) -> Graph {
        for (i, node) in nodes.iter().enumerate() {
            place[*node as usize] = i as u32;
        }
        let mut starts = vec![0];
        let mut halves = Vec::new();
        for node in nodes {
            for half in self.edges(*node) {
                let to = place[half.to as usize];
                if to != NONE {
                    halves.push(Half { to, ..*half });
                }
            }
            starts.push(halves.len() as u32);
        }
        for node in nodes {
            place[*node as usize] = NONE;
        }
        let transactions = nodes.partition_point(|node| self.is_transaction(*node));
        Graph {
            transactions: transactions as u32,
            starts,
            halves,
        }
    }
}

/// Which edges a walk may take, and what it has to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// `Ww` alone.
    Writes,
    /// `Ww` and `Wr`.
    Dependencies,
    /// Those, and one `Rw`: remembers whether it took it.
    OneRw,
    /// Those, and `Rw` never twice in a row: remembers whether the last was one.
    NoTwoRw,
    All,
}

impl Walk {
    /// Log of the number of things to remember.
    #[inline]
    fn bits(self) -> u32 {
        u32::from(matches!(self, Walk::OneRw | Walk::NoTwoRw))
    }

    /// What it remembers after an edge; none if it may not take it.
    #[inline]
    fn step(self, memory: u32, kind: Kind, processes: bool) -> Option<u32> {
        match (self, kind) {
            (Walk::All, Kind::Process) => processes.then_some(0),
            (Walk::All, _) => Some(0),
            (Walk::OneRw | Walk::NoTwoRw, Kind::Rw) => (memory == 0).then_some(1),
            (Walk::OneRw | Walk::NoTwoRw, Kind::Tail) => Some(memory),
            (_, Kind::Rw | Kind::Tail) => None,
            (Walk::Writes, Kind::Wr) => None,
            (_, Kind::Process) if !processes => None,
            (Walk::OneRw, _) => Some(memory),
            _ => Some(0),
        }
    }
}

/// A graph as a walk sees it. A **place** is a node and what is remembered there.
#[derive(Clone, Copy, Debug)]
pub struct View<'g> {
    pub graph: &'g Graph,
    pub walk: Walk,
    /// Whether `Process` edges are there.
    pub processes: bool,
    /// Whether the graph is reversed, so that walks are gone from their end.
    pub backwards: bool,
}

impl<'g> View<'g> {
    pub fn new(graph: &'g Graph, walk: Walk, processes: bool) -> View<'g> {
        View {
            graph,
            walk,
            processes,
            backwards: false,
        }
    }

    pub fn places(&self) -> usize {
        self.graph.nodes() << self.walk.bits()
    }

    #[inline]
    pub fn node(&self, place: u32) -> u32 {
        place >> self.walk.bits()
    }

    #[inline]
    pub fn memory(&self, place: u32) -> u32 {
        place & ((1 << self.walk.bits()) - 1)
    }

    #[inline]
    pub fn place(&self, node: u32, memory: u32) -> u32 {
        node << self.walk.bits() | memory
    }

    /// The place that an edge leads to from this one.
    #[inline]
    pub fn to(&self, place: u32, half: Half) -> Option<u32> {
        let memory = self
            .walk
            .step(self.memory(place), half.kind(), self.processes)?;
        Some(self.place(half.to, memory))
    }

    /// Places after this one, with the edges that lead there.
    #[inline]
    pub fn next(&self, place: u32) -> impl Iterator<Item = (u32, Half)> + use<'_, 'g> {
        let here = self.memory(place);
        self.graph
            .edges(self.node(place))
            .iter()
            .flat_map(move |half| {
                // Backwards: all that could have been remembered before.
                let before = (0..1u32 << self.walk.bits()).filter(move |before| {
                    self.backwards
                        && self.walk.step(*before, half.kind(), self.processes) == Some(here)
                });
                let forwards = (!self.backwards).then(|| self.to(place, *half)).flatten();
                before
                    .map(|before| self.place(half.to, before))
                    .chain(forwards)
                    .map(|to| (to, *half))
            })
    }
}

/// Strongly connected components.
#[derive(Debug)]
pub struct Components {
    /// Of each place; a component's number is higher than those of all that it leads to.
    pub of: Vec<u32>,
    /// Places, component by component, from 0.
    pub order: Vec<u32>,
    /// Where each begins in `order`, and the end.
    pub starts: Vec<u32>,
}

impl Components {
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn members(&self, component: usize) -> &[u32] {
        &self.order[self.starts[component] as usize..self.starts[component + 1] as usize]
    }

    /// Whether the place is on a cycle.
    pub fn on_cycle(&self, place: u32) -> bool {
        self.members(self.of[place as usize] as usize).len() > 1
    }

    /// Those with more than one place: knots, of which every place is on a cycle.
    pub fn knots(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.len())
            .map(|c| self.members(c))
            .filter(|m| m.len() > 1)
    }

    /// Tarjan 1972, without recursion. Linear.
    pub fn of(view: &View, meter: &mut Meter) -> Result<Components, Exhausted> {
        struct Frame {
            place: u32,
            /// The next of the node's edges.
            edge: u32,
            /// When it was come to.
            number: u32,
        }
        let places = view.places();
        meter.tick(view.graph.bytes() + places as u64 * 24)?;
        let mut low = vec![0u32; places];
        let mut found = Components {
            of: vec![NONE; places],
            order: Vec::with_capacity(places),
            starts: vec![0],
        };
        let mut open: Vec<u32> = Vec::new();
        let mut frames: Vec<Frame> = Vec::new();
        let mut next = 1;
        for root in 0..places as u32 {
            let mut enter = (low[root as usize] == 0).then_some(root);
            loop {
                if let Some(place) = enter.take() {
                    low[place as usize] = next;
                    open.push(place);
                    frames.push(Frame {
                        place,
                        edge: view.graph.starts[view.node(place) as usize],
                        number: next,
                    });
                    next += 1;
                }
                let Some(frame) = frames.last_mut() else {
                    break;
                };
                meter.tick(0)?;
                let (place, end) = (
                    frame.place,
                    view.graph.starts[view.node(frame.place) as usize + 1],
                );
                let mut lowest = low[place as usize];
                while frame.edge < end {
                    let half = view.graph.halves[frame.edge as usize];
                    frame.edge += 1;
                    let Some(to) = view.to(place, half) else {
                        continue;
                    };
                    if low[to as usize] == 0 {
                        enter = Some(to);
                        break;
                    }
                    if found.of[to as usize] == NONE {
                        lowest = lowest.min(low[to as usize]);
                    }
                }
                low[place as usize] = lowest;
                if enter.is_some() {
                    continue;
                }
                let number = frame.number;
                frames.pop();
                if let Some(parent) = frames.last() {
                    let low_of = &mut low[parent.place as usize];
                    *low_of = (*low_of).min(lowest);
                }
                if lowest == number {
                    let component = found.len() as u32;
                    while let Some(member) = open.pop() {
                        found.of[member as usize] = component;
                        found.order.push(member);
                        if member == place {
                            break;
                        }
                    }
                    found.starts.push(found.order.len() as u32);
                }
            }
        }
        Ok(found)
    }
}
