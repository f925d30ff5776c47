//! Eventual prefix (Anceaume et al., SPAA 2019), as far as a finite run can show it: once nothing
//! disturbs the nodes any more, their chains come together and go on together.

use std::time::Duration;

use history::Time;

use super::record::Record;
use super::tree::Rank;

/// What the time after the last heal showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Eventual {
    /// When the last fault was healed; the beginning of the run without any.
    pub from: Time,
    /// From then to the last look.
    pub quiet: Duration,
    /// How far the highest of the last heads is above what all last heads have in common.
    pub apart: u64,
    /// By how much that common prefix grew meanwhile.
    pub advanced: i64,
    /// How long after the heal the heads were within the bound for good.
    pub settled: Option<Duration>,
    pub verdict: Converged,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Converged {
    Yes,
    /// Two nodes' last looks that are furthest apart.
    Apart(usize, usize),
    /// The common prefix of all nodes' last heads is not above that of their first.
    Stuck,
    /// Why it cannot be said.
    Unknown(String),
}

/// Heads must come within `bound` blocks of their common prefix, and that must advance. They are not
/// blamed for what they had less than `settle` to do.
pub fn eventual(record: &Record, bound: u64, settle: Duration) -> Option<Eventual> {
    let (tree, looks) = (&record.tree, &record.looks);
    let end = looks.last()?;
    let unhealed = record.spans.iter().find(|span| !span.healed());
    let from = record
        .spans
        .iter()
        .filter(|span| span.healed())
        .map(|span| span.until)
        .max();
    let from = from.unwrap_or(Time(0));
    let all = |tips: &[Rank]| tips.iter().copied().reduce(|a, b| tree.common(a, b));

    // Every node's heads from then on.
    let after = looks.partition_point(|look| look.call < from);
    let mut first: Vec<Option<usize>> = vec![None; record.nodes.len()];
    let mut now: Vec<Option<usize>> = vec![None; record.nodes.len()];
    let mut settled: Option<Time> = None;
    for (i, look) in looks.iter().enumerate().skip(after) {
        first[look.node].get_or_insert(i);
        now[look.node] = Some(i);
        let tips: Option<Vec<Rank>> = now.iter().map(|at| at.map(|at| looks[at].tip)).collect();
        let within = tips.is_some_and(|tips| {
            let highest = tips.iter().map(|tip| tree.height(*tip)).max();
            let common = all(&tips).map(|common| tree.height(common));
            highest
                .zip(common)
                .is_some_and(|(h, c)| (h - c) as u64 <= bound)
        });
        settled = match within {
            true => settled.or(Some(look.ret)),
            false => None,
        };
    }
    let tips = |at: &[Option<usize>]| -> Vec<Rank> {
        at.iter().flatten().map(|look| looks[*look].tip).collect()
    };
    let common = |at| all(&tips(at)).map_or(0, |common| tree.height(common));
    let highest = tips(&now)
        .iter()
        .map(|tip| tree.height(*tip))
        .max()
        .unwrap_or(0);
    let last = common(&now);
    let quiet = end.ret.since(from);
    let mut eventual = Eventual {
        from,
        quiet,
        apart: (highest - last).max(0) as u64,
        advanced: last - common(&first),
        settled: settled.map(|at| at.since(from)),
        verdict: Converged::Yes,
    };
    let missing: Vec<&str> = (0..now.len())
        .filter(|node| now[*node].is_none())
        .map(|node| record.nodes[node])
        .collect();
    let too_short = |what: String| {
        let (quiet, settle) = (quiet.as_secs_f64(), settle.as_secs_f64());
        Converged::Unknown(format!(
            "{what} {quiet:.1} s after the last heal, but {settle:.1} s are granted to come together"
        ))
    };
    eventual.verdict = if let Some(span) = unhealed {
        Converged::Unknown(format!(
            "fault {} ({}) was never healed",
            span.fault, span.family
        ))
    } else if !missing.is_empty() {
        Converged::Unknown(format!(
            "nothing was seen of {} after the last heal",
            missing.join(", ")
        ))
    } else if eventual.apart > bound {
        let (a, b) = furthest(record, &now);
        match quiet < settle {
            true => too_short(format!("heads were {} blocks apart", eventual.apart)),
            false => Converged::Apart(a, b),
        }
    } else if eventual.advanced <= 0 {
        match quiet < settle {
            true => too_short("the common prefix had not advanced".to_string()),
            false => Converged::Stuck,
        }
    } else {
        Converged::Yes
    };
    Some(eventual)
}

/// Of the looks, the one with the highest head and the one that has least in common with it.
fn furthest(record: &Record, at: &[Option<usize>]) -> (usize, usize) {
    let tree = &record.tree;
    let tip = |look: usize| record.looks[look].tip;
    let looks = || at.iter().flatten().copied();
    let highest = looks()
        .max_by_key(|look| tree.height(tip(*look)))
        .unwrap_or(0);
    let other = looks().max_by_key(|look| tree.beyond(tip(highest), tip(*look)));
    (highest, other.unwrap_or(highest))
}
