//! What the debug endpoints show, as JSON.

use std::time::Duration;

use nodekit::clocks::process_monotonic_ns;
use nodekit::http::json_value;
use serde_json::json;

use crate::core::message::{Op, Query, Slot};
use crate::core::{Core, Now, Role};
use crate::params::{Params, Reads};
use crate::trace::ballot_json;
use crate::unreliable::Where;

/// `/debug/status`.
pub fn status(core: &Core, params: &Params, now: Now) -> String {
    let status = core.status();
    let names = params.place.names();
    let ms = |span: Duration| format!("{}ms", span.as_millis());
    let reads = match params.reads {
        Reads::Quorum => "quorum",
        Reads::Log => "log",
        Reads::Lease => "lease",
        Reads::Local => "local",
    };
    json!({
        "node": params.place.id,
        "role": match status.role {
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        },
        "leader": status.leader.map(|ballot| names[usize::from(ballot.node)].clone()),
        "ballot": status.leader.map(|ballot| ballot_json(ballot, &names)),
        "promised": ballot_json(status.promised, &names),
        "committed": status.decided,
        "applied": status.decided,
        "first_retained": status.first_retained,
        "snapshot_slot": status.snapshot_slot,
        "chain": status.chain.to_string(),
        "clock": {"wall_ns": now.wall_ns, "monotonic_ns": process_monotonic_ns()},
        "lease": status.lease_left_ns.map(|left| json!({
            "held": left > 0, "until_ns": process_monotonic_ns() + left,
        })),
        "elections": status.elections,
        "flaws": params.flaws().names(),
        "params": {
            "peers": names,
            "election-timeout": ms(params.election_timeout),
            "heartbeat-interval": ms(params.heartbeat_interval),
            "lease": ms(params.lease),
            "max-drift": ms(params.max_drift),
            "request-timeout": ms(params.request_timeout),
            "reads": reads,
            "snapshot-every": params.snapshot_every,
            "max-batch": params.max_batch,
            "slow-writes": params.slow_writes,
            "failed-syncs": params.failed_syncs,
            "peer-loss": params.hazards.peer_loss,
            "peer-late": params.hazards.peer_late,
            "peer-repeats": params.hazards.peer_repeats,
            "peer-delay": ms(params.hazards.peer_delay),
            "peer-hazards": match params.hazards.peer_hazards {
                Where::All => "all",
                Where::First => "first",
            },
        },
    })
    .to_string()
}

/// `/debug/log`.
pub fn log(core: &Core, params: &Params, from: Slot, limit: usize) -> String {
    let names = params.place.names();
    let page = core.log_page(from, limit);
    let entries: Vec<_> = page
        .entries
        .iter()
        .map(|entry| {
            let commands = entry
                .batch
                .commands
                .iter()
                .zip(entry.ran)
                .map(|(command, ran)| {
                    let mut shown = show(&command.op);
                    shown["session"] = command.session.clone().into();
                    shown["sequence"] = command.sequence.into();
                    shown["applied"] = (*ran).into();
                    shown
                });
            json!({
                "slot": entry.slot,
                "ballot": ballot_json(entry.ballot, &names),
                "digest": entry.digest.to_string(),
                "chain": entry.chain.to_string(),
                "commands": commands.collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"first": page.first, "entries": entries, "decided_upto": page.decided_upto}).to_string()
}

/// A command for the debug log.
fn show(op: &Op) -> serde_json::Value {
    match op {
        Op::Put { key, value: text } => json!({"op": "put", "key": key, "value": json_value(text)}),
        Op::Cas { key, from, to } => {
            json!({"op": "cas", "key": key, "from": from.as_deref().map(json_value), "to": json_value(to)})
        }
        Op::SwapUnchecked { key, to } => {
            json!({"op": "swap-unchecked", "key": key, "to": json_value(to)})
        }
        Op::Append { key, element } => {
            json!({"op": "append", "key": key, "value": json_value(element)})
        }
        Op::Delete { key } => json!({"op": "delete", "key": key}),
        Op::Grant {
            key,
            holder,
            ttl_ms,
        } => json!({"op": "grant", "key": key, "holder": json_value(holder), "ttl": ttl_ms}),
        Op::Renew { key, lease } => json!({"op": "renew", "key": key, "lease": lease}),
        Op::Release { key, lease } => json!({"op": "release", "key": key, "lease": lease}),
        Op::Expire { key, lease, .. } => json!({"op": "expire", "key": key, "lease": lease}),
        Op::Read(Query::Get { key }) => json!({"op": "get", "key": key}),
        Op::Read(Query::Range { prefix, .. }) => json!({"op": "range", "prefix": prefix}),
    }
}
