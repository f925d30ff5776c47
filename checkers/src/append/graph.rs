//! Transactions as nodes, what orders them as edges, and the cycles that must not be.
//!
//! Real time would be n² edges. Instead there is a node for each moment at which something returned,
//! in a chain:
//!
//! ```text
//! T1 returns ─▶ moment ─▶ moment ─▶ T2 is invoked
//! ```
//!
//! so that a path through the chain is one edge of real time. The same trick serves the readers of a
//! key's last known version, all of which precede all the appends that nobody saw.

use std::collections::VecDeque;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use rustc_hash::FxHashMap;

use crate::{Exhausted, Meter};

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its append is in front of the other's.
    Ww,
    /// Its append was read by the other.
    Wr,
    /// It did not see the other's append.
    Rw,
    /// It had returned before the other was invoked.
    Rt,
    /// The rest of an edge that goes by way of a helper.
    Tail,
}

/// `value` is the number of an append, of the edge's earlier transaction for `Ww` and `Wr`, of the
/// later one for `Rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub kind: Kind,
    pub value: u32,
}

/// A cycle: each transaction with the edge to the next; the last one's leads to the first.
pub type Cycle = Vec<(u32, Edge)>;

/// Steps that may be spent on looking for a more telling cycle in one knot.
const STEPS: u64 = 3_000_000;

/// So many nodes of a knot are tried as the beginning of its shortest cycle.
const BEGINNINGS: usize = 200;

pub struct Dependencies {
    graph: DiGraph<(), Edge>,
    transactions: usize,
}

impl Dependencies {
    /// The first nodes are transactions; helpers come after.
    pub fn new(transactions: usize) -> Dependencies {
        let mut graph = DiGraph::with_capacity(2 * transactions, 5 * transactions);
        for _ in 0..transactions {
            graph.add_node(());
        }
        Dependencies {
            graph,
            transactions,
        }
    }

    pub fn helper(&mut self) -> u32 {
        self.graph.add_node(()).index() as u32
    }

    pub fn edge(&mut self, from: u32, to: u32, kind: Kind, value: u32) {
        if from != to {
            let edge = Edge { kind, value };
            self.graph.add_edge(
                NodeIndex::new(from as usize),
                NodeIndex::new(to as usize),
                edge,
            );
        }
    }

    pub fn bytes(&self) -> u64 {
        // petgraph's node and edge, and what the search for components holds.
        (self.graph.node_count() * 32 + self.graph.edge_count() * 32) as u64
    }

    /// One cycle for every knot (strongly connected component), the most telling that is found.
    pub fn cycles(&self, meter: &mut Meter) -> Result<Vec<Cycle>, Exhausted> {
        meter.tick(self.bytes())?;
        let mut cycles = Vec::new();
        for knot in kosaraju_scc(&self.graph) {
            meter.tick(self.bytes())?;
            if knot.len() > 1 {
                cycles.push(self.most_telling(&knot, meter));
            }
        }
        Ok(cycles)
    }

    fn is_transaction(&self, node: NodeIndex) -> bool {
        node.index() < self.transactions
    }

    /// Tries the edges that break the weakest promises first.
    fn most_telling(&self, knot: &[NodeIndex], meter: &Meter) -> Cycle {
        use Kind::{Rt, Rw, Tail, Wr, Ww};
        let mut meter = meter.with_steps(STEPS);
        let knot = Knot::new(self, knot);
        for real_time in [&[][..], &[Rt]] {
            let with = |kinds: &[Kind]| [kinds, real_time].concat();
            for kinds in [with(&[Ww]), with(&[Ww, Wr])] {
                if let Ok(Some(cycle)) = knot.shortest(&kinds, &mut meter) {
                    return cycle;
                }
            }
            if let Ok(Some(cycle)) = knot.with_one_rw(&with(&[Ww, Wr, Tail]), &mut meter) {
                return cycle;
            }
            if let Ok(Some(cycle)) = knot.shortest(&with(&[Ww, Wr, Rw, Tail]), &mut meter) {
                return cycle;
            }
        }
        // The steps were used up. There is a cycle, and any node is on one.
        knot.any()
    }
}

/// One strongly connected component, with numbers of its own.
struct Knot<'a> {
    of: &'a Dependencies,
    nodes: Vec<NodeIndex>,
    numbers: FxHashMap<NodeIndex, u32>,
}

impl<'a> Knot<'a> {
    fn new(of: &'a Dependencies, nodes: &[NodeIndex]) -> Knot<'a> {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        let numbers = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| (*node, i as u32))
            .collect();
        Knot { of, nodes, numbers }
    }

    /// Edges inside, from a node by its number.
    fn edges(&self, node: u32) -> impl Iterator<Item = (u32, Edge)> {
        let edges = self.of.graph.edges(self.nodes[node as usize]);
        edges.filter_map(|e| Some((*self.numbers.get(&e.target())?, *e.weight())))
    }

    /// The shortest cycle of edges of these kinds, over the beginnings that are tried.
    fn shortest(&self, kinds: &[Kind], meter: &mut Meter) -> Result<Option<Cycle>, Exhausted> {
        let mut graph: DiGraph<(), ()> = DiGraph::new();
        for _ in &self.nodes {
            graph.add_node(());
        }
        for node in 0..self.nodes.len() as u32 {
            for (to, edge) in self.edges(node) {
                meter.tick(0)?;
                if kinds.contains(&edge.kind) {
                    graph.add_edge(
                        NodeIndex::new(node as usize),
                        NodeIndex::new(to as usize),
                        (),
                    );
                }
            }
        }
        let mut parts: Vec<Vec<NodeIndex>> = kosaraju_scc(&graph);
        parts.retain(|part| part.len() > 1);
        parts.sort_by_key(Vec::len);
        let Some(part) = parts.first() else {
            return Ok(None);
        };
        let mut beginnings: Vec<u32> = part
            .iter()
            .map(|n| n.index() as u32)
            .filter(|n| self.of.is_transaction(self.nodes[*n as usize]))
            .collect();
        beginnings.sort_unstable();
        let mut best: Option<Cycle> = None;
        for node in beginnings.into_iter().take(BEGINNINGS) {
            let found = self.path(node, node, kinds, meter);
            let length = best.as_ref().map_or(usize::MAX, Vec::len);
            match found {
                Ok(Some(cycle)) if cycle.len() < length => best = Some(cycle),
                // Better a cycle that may not be the shortest than none.
                Err(_) if best.is_some() => break,
                Err(why) => return Err(why),
                Ok(_) => {}
            }
        }
        Ok(best)
    }

    /// The shortest cycle with one edge `Rw` and otherwise edges of these kinds.
    fn with_one_rw(&self, kinds: &[Kind], meter: &mut Meter) -> Result<Option<Cycle>, Exhausted> {
        let mut best: Option<Cycle> = None;
        for from in 0..self.nodes.len() as u32 {
            for (to, edge) in self.edges(from) {
                if edge.kind != Kind::Rw {
                    continue;
                }
                let Some(rest) = self.path(to, from, kinds, meter)? else {
                    continue;
                };
                let begin = self.nodes[from as usize].index() as u32;
                let mut cycle = vec![(begin, edge)];
                cycle.extend(rest);
                if best.as_ref().is_none_or(|best| cycle.len() < best.len()) {
                    best = Some(cycle);
                }
            }
            if best.as_ref().is_some_and(|best| best.len() == 2) {
                break;
            }
        }
        Ok(best)
    }

    fn any(&self) -> Cycle {
        use Kind::{Rt, Rw, Tail, Wr, Ww};
        let is_transaction = |n: &u32| self.of.is_transaction(self.nodes[*n as usize]);
        let node = (0..self.nodes.len() as u32)
            .find(is_transaction)
            .expect("helpers alone are in no cycle: their chain has one direction");
        let mut unlimited = crate::Budget {
            time: std::time::Duration::MAX,
            memory_bytes: u64::MAX,
        }
        .start();
        self.path(node, node, &[Ww, Wr, Rw, Rt, Tail], &mut unlimited)
            .ok()
            .flatten()
            .expect("every node of a strongly connected component is on a cycle")
    }

    /// The path with the fewest transactions; steps to helpers cost nothing (0-1 breadth-first
    /// search). Edges by way of helpers come out as one.
    fn path(
        &self,
        from: u32,
        to: u32,
        kinds: &[Kind],
        meter: &mut Meter,
    ) -> Result<Option<Cycle>, Exhausted> {
        const FAR: u32 = u32::MAX;
        let mut distance = vec![FAR; self.nodes.len()];
        let mut back: Vec<Option<(u32, Edge)>> = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([(from, 0)]);
        // The beginning of a cycle is not reached until the cycle is closed.
        if from != to {
            distance[from as usize] = 0;
        }
        'search: while let Some((node, far)) = queue.pop_front() {
            if distance[node as usize] < far {
                continue;
            }
            for (next, edge) in self.edges(node) {
                meter.tick(0)?;
                if !kinds.contains(&edge.kind) {
                    continue;
                }
                let is_transaction = self.of.is_transaction(self.nodes[next as usize]);
                let far = far + u32::from(is_transaction);
                if far >= distance[next as usize] {
                    continue;
                }
                distance[next as usize] = far;
                back[next as usize] = Some((node, edge));
                match is_transaction {
                    true => queue.push_back((next, far)),
                    false => queue.push_front((next, far)),
                }
                // Nodes are taken up by distance, so the first way to get there is a shortest.
                if next == to {
                    break 'search;
                }
            }
        }
        let mut steps = Vec::new();
        let mut at = to;
        while let Some((before, edge)) = back[at as usize] {
            steps.push((before, edge));
            at = before;
            if at == from {
                break;
            }
        }
        if steps.is_empty() {
            return Ok(None);
        }
        steps.reverse();
        let by_index = steps
            .into_iter()
            .map(|(node, edge)| (self.nodes[node as usize], edge));
        Ok(Some(
            by_index
                .filter(|(node, _)| self.of.is_transaction(*node))
                .map(|(node, edge)| (node.index() as u32, edge))
                .collect(),
        ))
    }
}
