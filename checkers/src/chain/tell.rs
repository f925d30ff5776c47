//! What came out, in sentences, and the verdict. The figures are in `figures`.

use std::time::Duration;

use history::wording::{self, counted, either};

use super::Chain;
use super::confirmed::{self, Liveness, Persistence};
use super::depth::Smallest;
use super::eventual::{Converged, Eventual};
use super::fork;
use super::growth::{Growth, Poorest, Share, Slowest};
use super::ledger::{Clients, Places};
use super::prefix::{Above, Depth, Reorg, Reorgs, Unfinal};
use super::record::Record;
use super::refused::Refused;
use super::tree::NOTHING;
use crate::Analysis;
use crate::findings::Findings;

/// Blocks of the stretches in which chain quality is measured.
pub const USUAL_STRETCH: usize = 20;

/// Everything that was measured.
pub struct Told<'a, 'h> {
    pub chain: &'a Chain,
    pub record: &'a Record<'h>,
    pub places: &'a Places<'a, 'h>,
    pub clients: &'a Clients<'h>,
    /// The look at the chain that the run ended with.
    pub last: usize,
    /// The depth that liveness is measured at: the promised one, or the usual.
    pub confirmations: u64,
    /// Answers that were held against the ledger.
    pub compared: usize,
    /// From block to block.
    pub interval: Option<Duration>,
    /// Of chain growth.
    pub window: Duration,
    /// Of the stretches of chain quality, in blocks.
    pub length: usize,
    /// How far heads may be above the common prefix in the end.
    pub bound: u64,
    pub common_prefix: Depth,
    pub above: Above,
    pub reorgs: Reorgs,
    pub finality: (usize, Vec<Unfinal>),
    pub refused: Option<Refused<'h>>,
    pub eventual: Option<Eventual>,
    pub growth: Growth,
    pub quality: Option<Poorest>,
    pub shares: Vec<Share<'h>>,
    pub persistence: Persistence,
    pub liveness: Liveness,
    pub smallest: Option<Smallest>,
}

/// No look can be judged.
pub fn nothing(chain: &Chain, record: &Record, found: Findings) -> Analysis {
    let ops = record.history.ops().iter();
    let mut why = match ops.filter(|op| op.f == "head").count() {
        0 => "the history has no operation head: nobody looked at the nodes' chains".to_string(),
        1 => "the only look at a node's head cannot be judged".to_string(),
        n => format!("none of the {n} looks at the nodes' heads can be judged"),
    };
    if !record.lacking.is_empty() {
        why += &format!(": {}", record.lacking.join("; "));
    }
    if !found.is_empty() {
        why += &format!("; {}", found.told());
    }
    found.into_analysis(Analysis::unknown(crate::Checker::name(chain), why))
}

/// `1 confirmation was`, `6 confirmations were`.
fn confirmations(n: u64) -> String {
    format!(
        "{} {}",
        counted(n, "confirmation"),
        either(n, "was", "were")
    )
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Told<'_, '_> {
    pub fn analysis(&self, mut found: Findings) -> Analysis {
        let mut unknown = self.record.lacking.clone();
        self.judge_confirmed(&mut found);
        self.judge_finality(&mut found);
        self.judge_convergence(&mut found, &mut unknown);
        self.judge_bounds(&mut found);
        let summary = self.summary(&found, &unknown);
        let name = crate::Checker::name(self.chain);
        let analysis = match unknown.is_empty() {
            true => Analysis::valid(name, summary),
            false => Analysis::unknown(name, summary),
        };
        let mut analysis = found.into_analysis(analysis);
        for anomaly in &mut analysis.anomalies {
            anomaly.picture = fork::picture(self.record, anomaly).map(Box::new);
        }
        Analysis {
            figures: self.figures(),
            ..analysis
        }
    }

    fn summary(&self, found: &Findings, unknown: &[String]) -> String {
        let enough = self.enough();
        let promised = match self.chain.confirmations {
            Some(promised) if promised < enough => format!(
                "{} promised, and at least {enough} would have been needed",
                confirmations(promised)
            ),
            Some(promised) => format!(
                "{} promised, and {enough} would have been enough",
                confirmations(promised)
            ),
            None => format!("no depth was promised, and {enough} would have been enough"),
        };
        let mut summary = format!(
            "{} in {} at {}: {promised}",
            counted(self.record.tree.len(), "block"),
            counted(self.record.looks.len(), "look"),
            counted(self.record.nodes.len(), "node"),
        );
        if !found.is_empty() {
            summary += &format!("; {}", found.told());
        }
        for why in unknown {
            summary += &format!("; {why}");
        }
        summary
    }

    /// The smallest number of confirmations at which nothing confirmed was ever undone: one more
    /// than the deepest fork, reorganisation or lost transaction. What was acknowledged had as many
    /// as were promised, whatever looks have shown of it.
    pub fn enough(&self) -> u64 {
        let fallen = self.reorgs.fallen(self.record);
        let reorgs = self.reorgs.replaced.iter().chain(fallen);
        let undone = !self.persistence.undone.is_empty();
        let acknowledged = self.chain.confirmations.filter(|_| undone);
        reorgs
            .map(|reorg| reorg.blocks)
            .chain(acknowledged)
            .max()
            .unwrap_or(0)
            .max(self.above.deepest().blocks)
            .max(self.persistence.deepest)
            + 1
    }

    /// What was as deep as promised stays: on every node, against every other, and for clients.
    fn judge_confirmed(&self, found: &mut Findings) {
        let Some(promised) = self.chain.confirmations else {
            return;
        };
        self.conflicting(promised, found);
        self.undone(promised, found);
        self.early(promised, found);
        self.gone(found);
    }

    /// Two blocks of one height, each as deep as was promised on some node's chain.
    fn conflicting(&self, promised: u64, found: &mut Findings) {
        let record = self.record;
        let mut forks: Vec<_> = self
            .above
            .forks
            .iter()
            .filter(|(_, depth)| depth.blocks >= promised.max(1))
            .collect();
        forks.sort_by_key(|(_, depth)| std::cmp::Reverse(depth.blocks));
        for (parting, depth) in forks {
            let Some((a, b)) = depth.looks else { continue };
            let reason = format!(
                "{} was {} deep at {}, and another block at the same height {} deep at {}: the chains part \
                 after {}, and {} promised",
                record.what(self.first_beyond(a, b)),
                self.depth_beyond(a, b),
                record.who(a),
                self.depth_beyond(b, a),
                record.who(b),
                record.what(*parting),
                confirmations(promised)
            );
            let ops = vec![record.looks[a].op, record.looks[b].op];
            found.of("conflicting confirmed blocks", ops, reason);
        }
    }

    /// Blocks that a node's chain had as deep as was promised, and later had not.
    fn undone(&self, promised: u64, found: &mut Findings) {
        let record = self.record;
        let fallen = self.reorgs.fallen(record);
        let reorgs = self.reorgs.replaced.iter().chain(fallen);
        let reorgs = reorgs.filter(|reorg| reorg.blocks >= promised.max(1));
        let mut reorgs: Vec<&Reorg> = reorgs.collect();
        reorgs.sort_by_key(|reorg| std::cmp::Reverse(reorg.blocks));
        for reorg in reorgs {
            let reason = format!(
                "{}; {} promised",
                self.reorg(reorg),
                confirmations(promised)
            );
            let ops = vec![record.looks[reorg.before].op, record.looks[reorg.after].op];
            found.of("confirmed block undone", ops, reason);
        }
    }

    /// Answers that came before the block was as deep as was promised.
    fn early(&self, promised: u64, found: &mut Findings) {
        let record = self.record;
        for (client, look) in confirmed::early(record, self.places, self.clients, promised) {
            let client = &self.clients.all[client];
            let reason = format!(
                "op {} ({} {}) was acknowledged by {} at {}, but at {} that node had {}, in which its \
                 transaction {} is not yet {promised} deep",
                client.op.index,
                client.op.f,
                client.op.input,
                client.op.node.as_deref().unwrap_or("a node"),
                client.op.ret,
                record.looks[look].call,
                record.what(record.looks[look].tip),
                client.name.unwrap_or_default()
            );
            let ops = vec![client.op.index, record.looks[look].op];
            found.of("acknowledged too early", ops, reason);
        }
    }

    /// Acknowledged writes that the chain of the end does not have where they took effect.
    fn gone(&self, found: &mut Findings) {
        let record = self.record;
        for undone in &self.persistence.undone {
            let client = &self.clients.all[undone.client];
            let last = &record.looks[self.last];
            let was = match client.block {
                Some(block) => record.what(block),
                None => "a block that no look has".to_string(),
            };
            let (kind, now) = match undone.moved_to {
                None => ("acknowledged write gone", "is not in".to_string()),
                Some(block) => (
                    "acknowledged write moved",
                    format!("is in {} of", record.what(block)),
                ),
            };
            let reason = format!(
                "op {} ({} {}, acknowledged by {} at {}) took effect in {was}; its transaction {} {now} the \
                 chain that the run ended with, at {}; it was seen {} deep",
                client.op.index,
                client.op.f,
                client.op.input,
                client.op.node.as_deref().unwrap_or("a node"),
                client.op.ret,
                client.name.unwrap_or_default(),
                record.who(self.last),
                undone.depth
            );
            found.of(kind, vec![client.op.index, last.op], reason);
        }
    }

    /// The first block of look `a`'s chain that look `b`'s does not have.
    fn first_beyond(&self, a: usize, b: usize) -> u32 {
        let beyond = self.depth_beyond(a, b);
        self.record
            .tree
            .cut(self.record.looks[a].tip, beyond.saturating_sub(1))
    }

    fn depth_beyond(&self, a: usize, b: usize) -> u64 {
        let looks = &self.record.looks;
        self.record.tree.beyond(looks[a].tip, looks[b].tip)
    }

    pub fn reorg(&self, reorg: &Reorg) -> String {
        let record = self.record;
        let (old, new) = (record.looks[reorg.before], record.looks[reorg.after]);
        let how = match record.tree.is_prefix(new.tip, old.tip) {
            true => "fell back",
            false => "gave up",
        };
        format!(
            "{} had {} and {how} {} for {} (op {}, {})",
            record.who(reorg.before),
            record.what(old.tip),
            counted(reorg.blocks, "block"),
            record.what(new.tip),
            new.op,
            new.call
        )
    }

    fn judge_finality(&self, found: &mut Findings) {
        let record = self.record;
        let finalised = |look: usize| {
            let block = record.looks[look].finalised.unwrap_or(NOTHING);
            format!("{} called {} final", record.who(look), record.what(block))
        };
        for unfinal in &self.finality.1 {
            let (kind, looks, reason) = match *unfinal {
                Unfinal::Undone(a, b) => {
                    let reason = format!(
                        "{}, and later {}, which does not follow it",
                        finalised(a),
                        finalised(b)
                    );
                    ("final block undone", vec![a, b], reason)
                }
                Unfinal::Split(a, b) => {
                    let reason = format!(
                        "{} and {}: neither follows the other",
                        finalised(a),
                        finalised(b)
                    );
                    ("conflicting final blocks", vec![a, b], reason)
                }
                Unfinal::Left(a) => {
                    let head = record.what(record.looks[a].tip);
                    let reason =
                        format!("{}, but its head, {head}, does not follow it", finalised(a));
                    ("head off the final chain", vec![a], reason)
                }
                Unfinal::Unseen(a) => {
                    let reason = format!(
                        "{} called a block final that no node ever showed, so that its head, {}, does not follow it",
                        record.who(a),
                        record.what(record.looks[a].tip)
                    );
                    ("head off the final chain", vec![a], reason)
                }
            };
            let ops = looks.iter().map(|look| record.looks[*look].op).collect();
            found.of(kind, ops, reason);
        }
    }

    fn judge_convergence(&self, found: &mut Findings, unknown: &mut Vec<String>) {
        let Some(eventual) = &self.eventual else {
            return;
        };
        let record = self.record;
        match &eventual.verdict {
            Converged::Yes => {}
            Converged::Unknown(why) => unknown.push(format!("eventual prefix is undecided: {why}")),
            Converged::Apart(a, b) => {
                let reason = format!(
                    "{} after the last heal {} had {}, and later {} had {}, without the last {} of \
                     the first; {} are allowed",
                    wording::seconds(eventual.quiet),
                    record.who(*a),
                    record.what(record.looks[*a].tip),
                    record.who(*b),
                    record.what(record.looks[*b].tip),
                    counted(eventual.apart, "block"),
                    self.bound
                );
                let ops = vec![record.looks[*a].op, record.looks[*b].op];
                found.of("chains do not converge", ops, reason);
            }
            Converged::Stuck => {
                let reason = format!(
                    "in {} after the last heal the nodes' common prefix did not advance",
                    wording::seconds(eventual.quiet)
                );
                let ops = vec![record.looks[self.last].op];
                found.of("common prefix stuck", ops, reason);
            }
        }
    }

    fn judge_bounds(&self, found: &mut Findings) {
        let record = self.record;
        if let (Some(bound), Some((a, b))) = (self.chain.common_prefix, self.common_prefix.looks)
            && self.common_prefix.blocks > bound
        {
            let reason = format!("{}; the bound is {bound}", self.stands_off(a, b));
            let ops = vec![record.looks[a].op, record.looks[b].op];
            found.of("common prefix violated", ops, reason);
        }
        if let (Some((rate, window)), Some(slow)) = (self.chain.growth, self.growth.calm)
            && (slow.blocks as f64) < rate * window.as_secs_f64()
        {
            let reason = format!("{}; the bound is {rate} blocks/s", self.slow(&slow));
            let ops = vec![record.looks[slow.looks.0].op, record.looks[slow.looks.1].op];
            found.of("chain growth violated", ops, reason);
        }
        if let (Some((share, _)), Some(poor)) = (self.chain.quality, self.quality)
            && (poor.own as f64) < share * self.length as f64
        {
            let reason = format!("{}; the bound is a share of {share}", self.poor(&poor));
            let ops = vec![record.tree.block(poor.end).op];
            found.of("chain quality violated", ops, reason);
        }
        if let Some(bound) = self.chain.liveness {
            let late = self
                .liveness
                .calm
                .iter()
                .filter(|(ns, _)| u128::from(*ns) > bound.as_nanos());
            let end = record.looks[self.last].call;
            let never = self.liveness.unfinished.iter().filter(|client| {
                let call = self.clients.all[**client].op.call;
                end.since(call) > bound && record.calm(call, end)
            });
            let late = late.map(|(ns, client)| (*client, format!("after {:.1} s", seconds(*ns))));
            let never = never.map(|client| (*client, "not by the end".to_string()));
            for (client, when) in never.chain(late) {
                let op = &self.clients.all[client].op;
                let reason = format!(
                    "op {} ({} {}) was submitted at {} and {} deep at every node {when}, without any fault; \
                     the bound is {:.1} s",
                    op.index,
                    op.f,
                    op.input,
                    op.call,
                    self.confirmations,
                    bound.as_secs_f64()
                );
                found.of("liveness violated", vec![op.index], reason);
            }
        }
    }

    pub fn stands_off(&self, a: usize, b: usize) -> String {
        let record = self.record;
        let how = match record
            .tree
            .is_prefix(record.looks[b].tip, record.looks[a].tip)
        {
            true => "which is behind",
            false => "on another branch",
        };
        format!(
            "{} had {}, and {} after it {}, {how}: {} of the first {} not in the second",
            record.who(a),
            record.what(record.looks[a].tip),
            record.who(b),
            record.what(record.looks[b].tip),
            counted(self.depth_beyond(a, b), "block"),
            either(self.depth_beyond(a, b), "is", "are")
        )
    }

    pub fn slow(&self, slow: &Slowest) -> String {
        let record = self.record;
        let (a, b) = slow.looks;
        format!(
            "from {} to {} the chain {} in a window of {}",
            record.who(a),
            record.who(b),
            match slow.blocks {
                0 => "did not grow".to_string(),
                n if n < 0 => format!("fell back {}", counted(n.unsigned_abs(), "block")),
                n => format!("grew by {}", counted(n.unsigned_abs(), "block")),
            },
            wording::seconds(self.window)
        )
    }

    pub fn poor(&self, poor: &Poorest) -> String {
        format!(
            "of the {} up to {} the nodes mined {}",
            counted(self.length, "block"),
            self.record.what(poor.end),
            poor.own
        )
    }
}
