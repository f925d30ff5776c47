//! What came out, in figures and sentences, and the verdict.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::confirmed::{Liveness, Persistence};
use super::depth::Smallest;
use super::eventual::{Converged, Eventual};
use super::growth::{Growth, Poorest, Share, Slowest};
use super::ledger::{Clients, Places};
use super::prefix::{Above, Depth, Reorg, Unfinal};
use super::record::{Record, short};
use super::tree::NOTHING;
use super::{Chain, Findings};
use crate::{Analysis, Anomaly, Figure, Verdict};

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
    pub reorgs: (Vec<Reorg>, Vec<usize>),
    pub finality: (usize, Vec<Unfinal>),
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
    let anomalies = found.told();
    let looks = record
        .history
        .ops()
        .iter()
        .filter(|op| op.f == "head")
        .count();
    let mut why = match looks {
        0 => "the history has no operation head: nobody looked at the nodes' chains".to_string(),
        n => format!("none of the {n} looks at the nodes' heads can be judged"),
    };
    if !record.lacking.is_empty() {
        why += &format!(": {}", record.lacking.join("; "));
    }
    Analysis {
        verdict: match anomalies.is_empty() {
            true => Verdict::Unknown,
            false => Verdict::Invalid,
        },
        anomalies,
        ..Analysis::unknown(crate::Checker::name(chain), why)
    }
}

/// Nanoseconds as seconds.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// To three decimals: what a person reads.
fn rounded(x: f64) -> f64 {
    (x * 1e3).round() / 1e3
}

impl Told<'_, '_> {
    pub fn analysis(&self, mut found: Findings) -> Analysis {
        let mut unknown = self.record.lacking.clone();
        self.judge_confirmed(&mut found);
        self.judge_finality(&mut found);
        self.judge_convergence(&mut found, &mut unknown);
        self.judge_bounds(&mut found);
        let anomalies = found.told();
        let verdict = match (&anomalies[..], &unknown[..]) {
            ([], []) => Verdict::Valid,
            ([], _) => Verdict::Unknown,
            _ => Verdict::Invalid,
        };
        Analysis {
            checker: crate::Checker::name(self.chain).to_string(),
            verdict,
            summary: self.summary(&anomalies, &unknown),
            anomalies,
            figures: self.figures(),
        }
    }

    fn summary(&self, anomalies: &[Anomaly], unknown: &[String]) -> String {
        let promised = match self.chain.confirmations {
            Some(promised) => format!("{promised} confirmations were promised"),
            None => "no depth was promised".to_string(),
        };
        let mut summary = format!(
            "{} blocks in {} looks at {} nodes: {promised}, and {} would have been enough",
            self.record.tree.len(),
            self.record.looks.len(),
            self.record.nodes.len(),
            self.enough()
        );
        if let Some(first) = anomalies.first() {
            summary += &format!("; first a finding of {}", first.kind);
        }
        for why in unknown {
            summary += &format!("; {why}");
        }
        summary
    }

    /// The smallest number of confirmations at which nothing confirmed was ever undone: one more than
    /// the deepest fork, reorganisation or lost transaction.
    fn enough(&self) -> u64 {
        let reorg = self
            .reorgs
            .0
            .iter()
            .map(|reorg| reorg.blocks)
            .max()
            .unwrap_or(0);
        reorg
            .max(self.above.deepest().blocks)
            .max(self.persistence.deepest)
            + 1
    }

    /// What was as deep as promised stays: on every node, against every other, and for clients.
    fn judge_confirmed(&self, found: &mut Findings) {
        let Some(promised) = self.chain.confirmations else {
            return;
        };
        let record = self.record;
        let too_deep = |depth: u64| depth >= promised.max(1);
        let mut forks: Vec<_> = self
            .above
            .forks
            .iter()
            .filter(|f| too_deep(f.1.blocks))
            .collect();
        forks.sort_by_key(|(_, depth)| std::cmp::Reverse(depth.blocks));
        for (parting, depth) in forks {
            let Some((a, b)) = depth.looks else { continue };
            let reason = format!(
                "{} was {} deep at {}, and another block at the same height {} deep at {}: the chains part \
                 after {}, and {promised} confirmations were promised",
                record.what(self.first_beyond(a, b)),
                self.depth_beyond(a, b),
                record.who(a),
                self.depth_beyond(b, a),
                record.who(b),
                record.what(*parting)
            );
            let ops = vec![record.looks[a].op, record.looks[b].op];
            found.add("conflicting confirmed blocks", ops, reason);
        }
        let mut reorgs: Vec<&Reorg> = self
            .reorgs
            .0
            .iter()
            .filter(|reorg| too_deep(reorg.blocks))
            .collect();
        reorgs.sort_by_key(|reorg| std::cmp::Reverse(reorg.blocks));
        for reorg in reorgs {
            let reason = format!(
                "{}; {promised} confirmations were promised",
                self.reorg(reorg)
            );
            let ops = vec![record.looks[reorg.before].op, record.looks[reorg.after].op];
            found.add("confirmed block undone", ops, reason);
        }
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
            found.add(kind, vec![client.op.index, last.op], reason);
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

    fn reorg(&self, reorg: &Reorg) -> String {
        let record = self.record;
        format!(
            "{} had {} and gave up {} blocks for {} (op {}, {})",
            record.who(reorg.before),
            record.what(record.looks[reorg.before].tip),
            reorg.blocks,
            record.what(record.looks[reorg.after].tip),
            record.looks[reorg.after].op,
            record.looks[reorg.after].call
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
                        "{} and {}, of which neither follows the other",
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
            };
            let ops = looks.iter().map(|look| record.looks[*look].op).collect();
            found.add(kind, ops, reason);
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
                    "{:.1} s after the last heal {} had {}, and later {} had {}, without the last {} blocks of \
                     the first; {} are granted",
                    eventual.quiet.as_secs_f64(),
                    record.who(*a),
                    record.what(record.looks[*a].tip),
                    record.who(*b),
                    record.what(record.looks[*b].tip),
                    eventual.apart,
                    self.bound
                );
                let ops = vec![record.looks[*a].op, record.looks[*b].op];
                found.add("chains do not converge", ops, reason);
            }
            Converged::Stuck => {
                let reason = format!(
                    "in {:.1} s after the last heal the nodes' common prefix did not advance",
                    eventual.quiet.as_secs_f64()
                );
                let ops = vec![record.looks[self.last].op];
                found.add("common prefix stuck", ops, reason);
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
            found.add("common prefix violated", ops, reason);
        }
        if let (Some((rate, window)), Some(slow)) = (self.chain.growth, self.growth.calm)
            && (slow.blocks as f64) < rate * window.as_secs_f64()
        {
            let reason = format!("{}; the bound is {rate} blocks/s", self.slow(&slow));
            let ops = vec![record.looks[slow.looks.0].op, record.looks[slow.looks.1].op];
            found.add("chain growth violated", ops, reason);
        }
        if let (Some((share, _)), Some(poor)) = (self.chain.quality, self.quality)
            && (poor.own as f64) < share * self.length as f64
        {
            let reason = format!("{}; the bound is a share of {share}", self.poor(&poor));
            let ops = vec![record.tree.block(poor.end).op];
            found.add("chain quality violated", ops, reason);
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
                found.add("liveness violated", vec![op.index], reason);
            }
        }
    }

    fn stands_off(&self, a: usize, b: usize) -> String {
        let record = self.record;
        let how = match record
            .tree
            .is_prefix(record.looks[b].tip, record.looks[a].tip)
        {
            true => "which is behind",
            false => "on another branch",
        };
        format!(
            "{} had {}, and {} after it {}, {how}: {} blocks of the first are not in the second",
            record.who(a),
            record.what(record.looks[a].tip),
            record.who(b),
            record.what(record.looks[b].tip),
            self.depth_beyond(a, b)
        )
    }

    fn slow(&self, slow: &Slowest) -> String {
        let record = self.record;
        let (a, b) = slow.looks;
        format!(
            "from {} to {} the chain grew by {} blocks in a window of {:.1} s",
            record.who(a),
            record.who(b),
            slow.blocks,
            self.window.as_secs_f64()
        )
    }

    fn poor(&self, poor: &Poorest) -> String {
        format!(
            "of the {} blocks up to {} the nodes mined {}",
            self.length,
            self.record.what(poor.end),
            poor.own
        )
    }

    fn figures(&self) -> Vec<Figure> {
        let record = self.record;
        let tree = &record.tree;
        let tip = record.looks[self.last].tip;
        let base = tree.height(NOTHING) + 1;
        let on_chain = (tree.height(tip) - base + 1) as usize;
        let mut figures = vec![
            Figure::new("looks", record.looks.len(), ""),
            Figure::new("blocks", tree.len(), ""),
            Figure::new("blocks off the last chain", tree.len() - on_chain, ""),
            Figure::new(
                "block interval",
                self.interval.map(|i| i.as_secs_f64()),
                "s",
            ),
            Figure::new(
                "last chain",
                json!({"head": tree.block(tip).hash, "height": tree.height(tip), "seen": record.who(self.last)}),
                "",
            ),
            Figure::new("confirmations enough", self.enough(), "blocks"),
            Figure::new("common prefix", self.common_prefix_figure(), "blocks"),
            Figure::new("agreement", self.agreement_figure(), "blocks"),
            Figure::new("reorganisations", self.reorg_figure(), "blocks"),
        ];
        if let Some(eventual) = &self.eventual {
            figures.push(Figure::new(
                "eventual prefix",
                self.eventual_figure(eventual),
                "",
            ));
        }
        figures.push(Figure::new(
            "chain growth",
            self.growth_figure(),
            "blocks/s",
        ));
        figures.push(Figure::new("chain quality", self.quality_figure(), "share"));
        figures.push(Figure::new("blocks by miner", self.shares_figure(), ""));
        figures.push(Figure::new(
            "persistence",
            self.persistence_figure(),
            "blocks",
        ));
        figures.push(Figure::new("liveness", self.liveness_figure(), "s"));
        if let Some(smallest) = &self.smallest {
            let figure = self.smallest_figure(smallest);
            figures.push(Figure::new(
                "ledger linearizable from",
                figure,
                "confirmations",
            ));
        }
        figures.push(Figure::new(
            "answers held against the ledger",
            self.compared,
            "",
        ));
        if self.finality.0 > 0 {
            let (looks, found) = (self.finality.0, self.finality.1.len());
            let figure = json!({"looks": looks, "contradictions": found});
            figures.push(Figure::new("finality", figure, ""));
        }
        figures
    }

    fn common_prefix_figure(&self) -> Json {
        let witness = self.common_prefix.looks.map(|(a, b)| self.stands_off(a, b));
        json!({"k": self.common_prefix.blocks, "witness": witness})
    }

    fn agreement_figure(&self) -> Json {
        let deepest = self.above.deepest();
        let witness = deepest.looks.map(|(a, b)| {
            let record = self.record;
            let parting = record.tree.common(record.looks[a].tip, record.looks[b].tip);
            format!(
                "{} had {} and {} had {}, which part after {}",
                record.who(a),
                record.what(record.looks[a].tip),
                record.who(b),
                record.what(record.looks[b].tip),
                record.what(parting)
            )
        });
        let off = super::prefix::off_the_highest(self.record);
        json!({
            "k": deepest.blocks,
            "witness": witness,
            "forks": self.above.forks.len(),
            "strong prefix": off == 0,
            "looks off the highest chain": off,
        })
    }

    fn reorg_figure(&self) -> Json {
        let (reorgs, shorter) = &self.reorgs;
        let mut nodes = Map::new();
        for (node, name) in self.record.nodes.iter().enumerate() {
            let of = || {
                reorgs
                    .iter()
                    .filter(|reorg| reorg.node == node)
                    .map(|reorg| reorg.blocks)
            };
            let figure = json!({
                "count": of().count(),
                "deepest": of().max().unwrap_or(0),
                "became shorter": shorter[node],
            });
            nodes.insert(name.to_string(), figure);
        }
        let deepest = reorgs.iter().rev().max_by_key(|reorg| reorg.blocks);
        json!({
            "count": reorgs.len(),
            "deepest": deepest.map_or(0, |reorg| reorg.blocks),
            "witness": deepest.map(|reorg| self.reorg(reorg)),
            "nodes": nodes,
        })
    }

    fn eventual_figure(&self, eventual: &Eventual) -> Json {
        json!({
            "last heal": rounded(eventual.from.as_secs_f64()),
            "quiet": rounded(eventual.quiet.as_secs_f64()),
            "apart": eventual.apart,
            "granted": self.bound,
            "advanced": eventual.advanced,
            "settled after": eventual.settled.map(|time| rounded(time.as_secs_f64())),
        })
    }

    fn growth_figure(&self) -> Json {
        let window = self.window.as_secs_f64();
        let figure = |slowest: &Option<Slowest>| {
            slowest.as_ref().filter(|_| window > 0.0).map(|slow| {
                json!({"tau": rounded(slow.blocks as f64 / window), "witness": self.slow(slow)})
            })
        };
        json!({
            "window": rounded(window),
            "without faults": figure(&self.growth.calm),
            "with faults": figure(&self.growth.faulty),
        })
    }

    fn quality_figure(&self) -> Json {
        let mu = self
            .quality
            .map(|poor| rounded(poor.own as f64 / self.length as f64));
        json!({
            "window": self.length,
            "mu": mu,
            "witness": self.quality.map(|poor| self.poor(&poor)),
        })
    }

    fn shares_figure(&self) -> Json {
        let total: usize = self.shares.iter().map(|share| share.on_chain).sum();
        let fair = rounded(1.0 / self.record.nodes.len().max(1) as f64);
        let miners: Map<String, Json> = self
            .shares
            .iter()
            .map(|share| {
                let own = self.record.nodes.contains(&share.miner);
                let figure = json!({
                    "on chain": share.on_chain,
                    "share": rounded(share.on_chain as f64 / total.max(1) as f64),
                    "fair": if own { fair } else { 0.0 },
                    "stale": share.stale,
                });
                (share.miner.to_string(), figure)
            })
            .collect();
        miners.into()
    }

    fn persistence_figure(&self) -> Json {
        let persistence = &self.persistence;
        let witness = persistence.witness.map(|(tx, block)| {
            format!(
                "transaction {} was {} deep in {}, which the last chain does not have",
                short(self.places.name(tx)),
                persistence.deepest,
                self.record.what(block)
            )
        });
        let moved = persistence
            .undone
            .iter()
            .filter(|undone| undone.moved_to.is_some())
            .count();
        let enough = persistence
            .undone
            .iter()
            .map(|undone| undone.depth + 1)
            .max();
        json!({
            "k": persistence.deepest + 1,
            "witness": witness,
            "transactions vanished": persistence.vanished,
            "transactions moved": persistence.moved,
            "acknowledged writes": persistence.acknowledged,
            "acknowledged gone": persistence.undone.len() - moved,
            "acknowledged moved": moved,
            "acknowledged too late to tell": persistence.undecided,
            "confirmations for none": enough.unwrap_or(1),
        })
    }

    fn liveness_figure(&self) -> Json {
        let quantiles = |times: &[(u64, usize)]| {
            let at = |percent: usize| {
                let rank = (times.len() * percent).div_ceil(100).max(1);
                rounded(seconds(times[rank - 1].0))
            };
            let worst = times.last()?;
            let op = self.clients.all[worst.1].op.index;
            Some(json!({
                "count": times.len(), "p50": at(50), "p90": at(90), "p99": at(99),
                "u": at(100), "slowest op": op,
            }))
        };
        json!({
            "confirmations": self.confirmations,
            "all": quantiles(&self.liveness.all),
            "without faults": quantiles(&self.liveness.calm),
            "unfinished": self.liveness.unfinished.len(),
        })
    }

    fn smallest_figure(&self, smallest: &Smallest) -> Json {
        let refused = smallest.refused.as_ref().map(|refused| {
            let ops: Vec<String> = refused.ops.iter().map(|op| format!("op {op}")).collect();
            let of = match &refused.key {
                Some(key) => format!(" of {key}"),
                None => String::new(),
            };
            format!(
                "with {} confirmations a {}{of}: {}",
                refused.confirmations,
                refused.kind,
                ops.join(", ")
            )
        });
        json!({
            "k": smallest.confirmations,
            "operations": smallest.operations,
            "refused": refused,
            "gave up": smallest.gave_up,
        })
    }
}
