//! What looks at a chain's nodes, some a second, tell of how they ended.

use std::collections::{BTreeMap, BTreeSet};

use history::{History, Name, Op, Outcome, Value};

/// Headers are there before their blocks, and one node has a block before another, but not for so
/// many looks.
pub const LOOKS: usize = 10;

/// The looks that were answered, in their order.
fn looks(history: &History) -> impl Iterator<Item = (&Name, &Op)> {
    let answered = |op: &&Op| op.f == "head" && op.outcome == Outcome::Ok;
    let looks = history.ops().iter().filter(answered);
    looks.filter_map(|look| Some((look.node.as_ref()?, look)))
}

/// Whether a node knew of a branch of more work than its own at the end, and for a while before.
pub fn knows_better(history: &History) -> bool {
    let mut last: BTreeMap<&Name, usize> = BTreeMap::new();
    for (node, look) in looks(history) {
        let knew = last.entry(node).or_default();
        *knew = match look.output.get("best_header") {
            Some(_) => *knew + 1,
            None => 0,
        };
    }
    last.into_values().any(|looks| looks >= LOOKS)
}

/// Whether two nodes of a chain had no head in common at the end, and for a while before.
pub fn parted(history: &History) -> bool {
    let mut heads: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
    for (node, look) in looks(history) {
        let head = look.output.get("head").and_then(Value::as_text);
        heads.entry(node).or_default().extend(head);
    }
    let last = |heads: Vec<_>| heads.iter().rev().take(LOOKS).copied().collect();
    let long = heads.into_values().filter(|heads| heads.len() >= LOOKS);
    let last: Vec<BTreeSet<&str>> = long.map(last).collect();
    let mut pairs = last.iter().flat_map(|a| last.iter().map(move |b| (a, b)));
    pairs.any(|(a, b)| a.is_disjoint(b))
}
