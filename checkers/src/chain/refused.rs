//! Blocks that nodes refused, by the rule that they broke, as the nodes count them.

use std::collections::BTreeMap;

use history::{History, Op, Outcome, Value};

type Counts<'h> = BTreeMap<&'h str, u64>;

/// What the nodes said of it. A node counts from its start, so a count that fell began anew; what
/// it refused between the last look before its end and that end is not known.
#[derive(Debug, Default, PartialEq)]
pub struct Refused<'h> {
    /// By rule, those that nothing broke among them. A block that three nodes refuse is three
    /// refusals.
    pub rules: Counts<'h>,
    /// By node; what nothing broke there is left out.
    pub nodes: BTreeMap<&'h str, Counts<'h>>,
    /// By rule, the node and the operation that showed the first refusal.
    pub first: BTreeMap<&'h str, (&'h str, &'h Op)>,
}

/// None if no node tells.
pub fn refused(history: &History) -> Option<Refused<'_>> {
    let mut refused: Option<Refused> = None;
    let mut last: BTreeMap<&str, Counts> = BTreeMap::new();
    let answered = history.ops().iter().filter(|op| op.outcome == Outcome::Ok);
    for op in answered.filter(|op| matches!(op.f.as_str(), "head" | "refused")) {
        let Some((node, counts)) = told(op) else {
            continue;
        };
        let refused = refused.get_or_insert_default();
        let before = last.insert(node, counts.clone()).unwrap_or_default();
        let had = |counts: &Counts, rule: &str| counts.get(rule).copied().unwrap_or(0);
        let restarted = before.iter().any(|(rule, n)| had(&counts, rule) < *n);
        for (rule, now) in counts {
            let new = match restarted {
                true => now,
                false => now - had(&before, rule),
            };
            let all = refused.rules.entry(rule).or_default();
            *all = all.saturating_add(new);
            if new > 0 {
                refused.first.entry(rule).or_insert((node, op));
                let here = refused.nodes.entry(node).or_default();
                let here = here.entry(rule).or_default();
                *here = here.saturating_add(new);
            }
        }
    }
    refused
}

/// The node and what it has refused since its start. What is no count is left out.
fn told(op: &Op) -> Option<(&str, Counts<'_>)> {
    let node = op.output.get("node").and_then(Value::as_text);
    let Value::Map(entries) = op.output.get("refused")? else {
        return None;
    };
    let counts = entries.iter().filter_map(|(rule, n)| {
        let n = n.as_int().and_then(|n| u64::try_from(n).ok())?;
        Some((rule.as_text()?, n))
    });
    Some((node.or(op.node.as_deref())?, counts.collect()))
}
