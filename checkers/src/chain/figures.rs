//! What was measured, as figures: names, units and what they mean are in `harness/docs/chains.md`.

use serde_json::{Map, Value as Json, json};

use super::depth::Smallest;
use super::eventual::Eventual;
use super::growth::Slowest;
use super::record::short;
use super::refused::Refused;
use super::tell::{Told, seconds};
use super::tree::NOTHING;
use crate::Figure;
use history::wording::counted;

/// To three decimals: what a person reads. Nought has no sign.
fn rounded(x: f64) -> f64 {
    (x * 1e3).round() / 1e3 + 0.0
}

impl Told<'_, '_> {
    pub fn figures(&self) -> Vec<Figure> {
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
        if let Some(refused) = &self.refused {
            figures.push(Figure::new(
                "blocks refused",
                refused_figure(refused),
                "blocks",
            ));
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
        let reorgs = &self.reorgs.replaced;
        let shortened = &self.reorgs.shortened;
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
                "became shorter": shortened.iter().filter(|reorg| reorg.node == node).count(),
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
                "with {}: {}{of}, {}",
                counted(refused.confirmations, "confirmation"),
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

fn refused_figure(refused: &Refused) -> Json {
    let first = refused.first.iter().map(|(rule, (node, op))| {
        let seen = format!("{node} (op {}, {})", op.index, op.ret);
        (rule.to_string(), Json::from(seen))
    });
    let all = refused.rules.values();
    json!({
        "count": all.fold(0u64, |sum, n| sum.saturating_add(*n)),
        "by rule": refused.rules,
        "nodes": refused.nodes,
        "first seen": first.collect::<Map<_, _>>(),
    })
}
