//! What was measured, as figures: what they mean is in `gauges` and in `harness/docs/chains.md`.

use serde_json::{Map, Value as Json, json};

use super::depth::Smallest;
use super::eventual::Eventual;
use super::gauges;
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
        let head = tree.block(tip).hash;
        let last = json!({"head": head, "height": tree.height(tip), "seen": record.who(self.last)});
        let mut figures = vec![
            gauges::LOOKS.figure(record.looks.len()),
            gauges::BLOCKS.figure(tree.len()),
            gauges::OFF_CHAIN.figure(tree.len() - on_chain),
            gauges::INTERVAL.figure(self.interval.map(|i| i.as_secs_f64())),
            gauges::LAST_CHAIN.figure(last),
            gauges::ENOUGH.figure(self.enough()),
            gauges::COMMON_PREFIX.figure(self.common_prefix_figure()),
            gauges::AGREEMENT.figure(self.agreement_figure()),
            gauges::REORGANISATIONS.figure(self.reorg_figure()),
        ];
        if let Some(eventual) = &self.eventual {
            figures.push(gauges::EVENTUAL.figure(self.eventual_figure(eventual)));
        }
        figures.extend([
            gauges::GROWTH.figure(self.growth_figure()),
            gauges::QUALITY.figure(self.quality_figure()),
            gauges::MINERS.figure(self.shares_figure()),
            gauges::PERSISTENCE.figure(self.persistence_figure()),
            gauges::LIVENESS.figure(self.liveness_figure()),
        ]);
        if let Some(smallest) = &self.smallest {
            figures.push(gauges::LINEARIZABLE_FROM.figure(self.smallest_figure(smallest)));
        }
        figures.push(gauges::COMPARED.figure(self.compared));
        if self.finality.0 > 0 {
            let (looks, found) = (self.finality.0, self.finality.1.len());
            let figure = json!({"looks": looks, "contradictions": found});
            figures.push(gauges::FINALITY.figure(figure));
        }
        if let Some(refused) = &self.refused {
            figures.push(gauges::REFUSED.figure(refused_figure(refused)));
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
