//! What the debug endpoints show, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use nodekit::clocks::{Reading, kernel_monotonic_ns, process_monotonic_ns};
use nodekit::http::json_value;
use serde_json::{Value, json};

use crate::core::Core;
use crate::core::block::{Block, Hash, Op, Transaction};
use crate::core::message::PeerId;
use crate::link::{Direction, Link};
use crate::params::{Params, Reads};
use crate::transport::Hub;

/// A page of blocks ends before it is longer than this.
const PAGE_MAX: usize = 16 << 20;

/// A number that JSON's readers understand; only absurd ones are cut.
fn number(work: u128) -> u64 {
    u64::try_from(work).unwrap_or(u64::MAX)
}

/// `/chain/head`.
pub fn head(core: &Core, params: &Params) -> String {
    let head = core.head();
    json!({
        "node": params.place.id, "head": head.hash.to_string(), "height": head.height, "total_work": number(head.total_work),
        "heaviest": core.heaviest().hash.to_string(), "best_header": core.best_header().to_string(), "refused": core.refused(),
    })
    .to_string()
}

/// `/chain/blocks`, or nothing if the tree does not have the tip.
pub fn blocks(core: &Core, tip: Option<Hash>, limit: usize) -> Option<String> {
    let mut size = 0;
    let shown: Vec<Value> = core
        .blocks(tip, limit)?
        .into_iter()
        .take_while(|(_, block)| {
            let first = size == 0;
            size += block.size();
            first || size <= PAGE_MAX
        })
        .map(|(hash, block)| show_block(hash, &block))
        .collect();
    Some(json!({ "blocks": shown }).to_string())
}

fn show_block(hash: Hash, block: &Block) -> Value {
    let header = &block.header;
    let transactions = block.transactions.iter();
    json!({
        "hash": hash.to_string(),
        "parent": header.parent.to_string(),
        "height": header.height,
        "time_ms": header.time_ms,
        "work": header.work,
        "miner": header.miner,
        "transactions": transactions.map(|transaction| show(transaction)).collect::<Vec<_>>(),
    })
}

/// A transaction: its name, what it does, and with what.
fn show(transaction: &Transaction) -> Value {
    let id = &transaction.id;
    match &transaction.op {
        Op::Put { key, value } => json!([id, "put", key, json_value(value)]),
        Op::Cas { key, from, to } => {
            json!([
                id,
                "cas",
                key,
                from.as_deref().map(json_value),
                json_value(to)
            ])
        }
        Op::Append { key, element } => json!([id, "append", key, json_value(element)]),
        Op::Delete { key } => json!([id, "delete", key]),
        Op::Get { key } => json!([id, "get", key]),
        Op::Range {
            prefix,
            after: None,
        } => json!([id, "range", prefix]),
        Op::Range {
            prefix,
            after: Some(after),
        } => json!([id, "page", prefix, after]),
        Op::Transfer { from, to, amount } => json!([id, "transfer", from, to, amount]),
        Op::Balances => json!([id, "balances"]),
    }
}

/// `/chain/tips`.
pub fn tips(core: &Core) -> String {
    let tips = core.tips().into_iter().map(|tip| {
        json!({
            "hash": tip.hash.to_string(),
            "height": tip.height,
            "total_work": number(tip.total_work),
            "branch": tip.branch,
            "status": if tip.active { "active" } else { "fork" },
        })
    });
    json!({ "tips": tips.collect::<Vec<_>>() }).to_string()
}

/// `/chain/peers`: those that said hello, and those that are not talked to.
pub fn peers(core: &Core, links: &BTreeMap<PeerId, Link>, hub: &Hub) -> String {
    let now = kernel_monotonic_ns();
    let peers = core.peers().into_iter().filter_map(|peer| {
        let link = links.get(&peer.id)?;
        let connected = Duration::from_nanos(now.saturating_sub(link.since_ns));
        Some(json!({
            "address": link.address.to_string(),
            "node": peer.node,
            "height": peer.height,
            "direction": match link.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            "connected_s": connected.as_secs(),
        }))
    });
    let refused = hub.refused().into_iter().map(|(whom, reason, left)| {
        json!({"address": whom.to_string(), "reason": reason, "for_s": left.as_secs_f64()})
    });
    json!({"peers": peers.collect::<Vec<_>>(), "refused": refused.collect::<Vec<_>>()}).to_string()
}

/// `/debug/status`.
pub fn status(core: &Core, params: &Params, clocks: Reading) -> String {
    let status = core.status();
    let ms = |span: Duration| format!("{}ms", span.as_millis());
    let refusals = status.last_refused.iter().map(|refusal| {
        json!({
            "hash": refusal.hash.to_string(), "height": refusal.height, "reason": refusal.reason, "from": refusal.from,
        })
    });
    json!({
        "node": params.place.id,
        "head": status.head.hash.to_string(),
        "height": status.head.height,
        "total_work": number(status.head.total_work),
        "mempool": status.mempool,
        "orphans": status.orphans,
        "work": status.work,
        "clock": {
            "wall_ns": clocks.wall.as_nanos() as u64,
            "monotonic_ns": process_monotonic_ns(),
            "median_time_past_ms": status.median_time_past_ms,
        },
        "reorgs": {"count": status.reorgs, "deepest": status.deepest_reorg},
        "refused": status.refused,
        "last_refused": refusals.collect::<Vec<_>>(),
        "mined": status.mined,
        "stale": status.stale,
        "flaws": params.flaws().names(),
        "params": {
            "peers": params.place.names(),
            "block-interval": ms(params.block_interval),
            "hash-rate": params.hash_rate,
            "miners": params.miners(),
            "retarget-every": params.retarget_every,
            "max-future-drift": ms(params.max_future_drift),
            "confirmations": params.confirmations,
            "reads": match params.reads {
                Reads::Ordered => "ordered",
                Reads::Local => "local",
            },
            "accounts": params.accounts,
            "balance": params.balance,
            "request-timeout": ms(params.request_timeout),
            "ban-time": ms(params.ban_time),
        },
    })
    .to_string()
}
