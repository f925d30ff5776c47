//! Eventual prefix (Anceaume et al., SPAA 2019), as far as a finite run can show it: once nothing
//! disturbs the nodes any more, their chains come together and go on together.

use std::time::Duration;

use history::Time;
use history::wording::{counted, seconds};

use super::record::Record;
use super::tree::Rank;

/// What the time after the last heal showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Eventual {
    /// When the last fault was healed; the beginning of the run without any.
    pub from: Time,
    /// From then to the last look.
    pub quiet: Duration,
    /// Blocks that some node's chain had, and another's last chain, looked at later, does not.
    pub apart: u64,
    /// By how much that common prefix grew meanwhile.
    pub advanced: i64,
    /// How long after the heal the chains were within the bound for good.
    pub settled: Option<Duration>,
    pub verdict: Converged,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Converged {
    Yes,
    /// The two looks that are furthest apart, the later one a node's last.
    Apart(usize, usize),
    /// The common prefix of all nodes' last heads is not above that of their first.
    Stuck,
    /// Why it cannot be said.
    Unknown(String),
}

/// A node's chain must have all of what any node's chain had at an earlier look, but for the last
/// `bound` blocks, and what all have in common must advance. Nodes are not blamed for what they had
/// less than `settle` to do.
pub fn eventual(record: &Record, bound: u64, settle: Duration) -> Option<Eventual> {
    let (tree, looks) = (&record.tree, &record.looks);
    let end = looks.last()?;
    let healed = record.spans.iter().filter(|span| span.healed());
    let from = healed.map(|span| span.until).max().unwrap_or(Time(0));
    let Followed {
        first,
        last,
        settled,
    } = Followed::new(record, from, bound);
    let common = |tips: &mut dyn Iterator<Item = Rank>| {
        let common = tips.reduce(|a, b| tree.common(a, b));
        common.map_or(0, |common| tree.height(common))
    };
    let before = common(&mut first.iter().flatten().map(|look| looks[*look].tip));
    let after = common(&mut last.iter().flatten().map(|last| looks[last.look].tip));
    let furthest = last.iter().flatten().max_by_key(|last| last.apart);
    let furthest = furthest.copied().unwrap_or_default();
    let quiet = end.ret.since(from);
    let judged = |what: String, verdict| match quiet < settle {
        false => verdict,
        true => Converged::Unknown(format!(
            "{what} {} after the last heal, but {} are granted to come together",
            seconds(quiet),
            seconds(settle)
        )),
    };
    let verdict = if let Some(why) = unseen(record, &last) {
        Converged::Unknown(why)
    } else if furthest.apart > bound {
        let what = format!("chains were {} apart", counted(furthest.apart, "block"));
        judged(what, Converged::Apart(furthest.ahead, furthest.look))
    } else if after <= before {
        let what = "the common prefix had not advanced".to_string();
        judged(what, Converged::Stuck)
    } else {
        Converged::Yes
    };
    Some(Eventual {
        from,
        quiet,
        apart: furthest.apart,
        advanced: after - before,
        settled: settled.map(|at| at.since(from)),
        verdict,
    })
}

/// A node's last look, and the earlier look of any node whose chain was furthest ahead of it.
#[derive(Clone, Copy, Default)]
struct Last {
    look: usize,
    apart: u64,
    ahead: usize,
}

/// The looks of every node from some time on.
struct Followed {
    first: Vec<Option<usize>>,
    last: Vec<Option<Last>>,
    /// Since when no chain was more than the bound behind any other.
    settled: Option<Time>,
}

impl Followed {
    fn new(record: &Record, from: Time, bound: u64) -> Followed {
        let (tree, looks) = (&record.tree, &record.looks);
        let nodes = record.nodes.len();
        let starts = record.by_node.iter();
        let starts = starts.map(|all| all.partition_point(|look| looks[*look].call < from));
        // By node, how many of its looks had returned.
        let mut returned: Vec<usize> = starts.collect();
        let first = (0..nodes).map(|node| record.by_node[node].get(returned[node]).copied());
        let first = first.collect();
        let mut last: Vec<Option<Last>> = vec![None; nodes];
        let mut settled: Option<Time> = None;
        for (i, look) in looks.iter().enumerate() {
            if look.call < from {
                continue;
            }
            // How far any node's chain was ahead of this one before this look, and which.
            let mut ahead = (0, i);
            for (node, next) in returned.iter_mut().enumerate() {
                let all = &record.by_node[node];
                while all
                    .get(*next)
                    .is_some_and(|earlier| looks[*earlier].ret < look.call)
                {
                    *next += 1;
                }
                let Some(&earlier) = next.checked_sub(1).and_then(|at| all.get(at)) else {
                    continue;
                };
                if looks[earlier].call >= from && node != look.node {
                    ahead = ahead.max((tree.beyond(looks[earlier].tip, look.tip), earlier));
                }
            }
            let (apart, ahead) = ahead;
            last[look.node] = Some(Last {
                look: i,
                apart,
                ahead,
            });
            settled = match apart <= bound {
                true => settled.or(Some(look.ret)),
                false => None,
            };
        }
        Followed {
            first,
            last,
            settled,
        }
    }
}

/// Why the time after the last heal shows nothing, if it does not.
fn unseen(record: &Record, last: &[Option<Last>]) -> Option<String> {
    if let Some(span) = record.spans.iter().find(|span| !span.healed()) {
        let (fault, family) = (&span.fault, &span.family);
        return Some(format!("fault {fault} ({family}) was never healed"));
    }
    let nodes = record.nodes.iter().zip(last);
    let missing: Vec<&str> = nodes
        .filter(|(_, last)| last.is_none())
        .map(|(node, _)| *node)
        .collect();
    let who = missing.join(", ");
    (!missing.is_empty()).then(|| format!("nothing was seen of {who} after the last heal"))
}
