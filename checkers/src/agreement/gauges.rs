//! What is measured of decided logs and traces, in the order in which it is to be read.

use serde_json::json;

use super::votes::Hasty;
use crate::Figure;
use crate::figure::{Gauge, Part};

pub const HASTY: Gauge = Gauge::new(
    "decided by leaders without a quorum",
    "",
    &[
        Part::of("count").called(
            "decided by leaders without a quorum",
            "Slots that a leader decided although no majority had accepted.",
        ),
        Part::of("accepted").called(
            "accepted by then",
            "How many nodes had accepted when a leader decided without a quorum: what is so most often.",
        ),
        Part {
            unit: Some("ms"),
            ..Part::of("waited_ms").called(
                "waited before deciding without a quorum",
                "From the last of those accepts to the leader's decision: the median.",
            )
        },
    ],
);

/// None if there are none.
pub fn hasty(mut all: Vec<Hasty>) -> Option<Figure> {
    all.sort_by_key(|hasty| hasty.waited_ns);
    let waited_ns = all.get(all.len() / 2)?.waited_ns;
    let times = |n: usize| all.iter().filter(|hasty| hasty.accepted == n).count();
    let accepted = all.iter().map(|hasty| hasty.accepted);
    let accepted = accepted.max_by_key(|n| (times(*n), std::cmp::Reverse(*n)))?;
    let waited_ms = (waited_ns as f64 / 1e3).round() / 1e3;
    Some(HASTY.figure(json!({"count": all.len(), "accepted": accepted, "waited_ms": waited_ms})))
}

pub const NEEDLESS: Gauge = Gauge::new(
    "needless elections",
    "",
    &[Part::WHOLE
        .called(
            "needless elections",
            "Elections though the leader before was up, ran, and heard and was heard by a quorum when \
             its reign ended.",
        )
        .lower()
        .headline()],
);

pub const ELECTIONS: Gauge = Gauge::new(
    "elections",
    "",
    &[Part::WHOLE
        .called(
            "elections",
            "How often a node began to lead, without the first time.",
        )
        .headline()],
);

pub const LOGS: Gauge = Gauge::count("logs");
pub const ENTRIES: Gauge = Gauge::count("log entries");
pub const SLOTS: Gauge = Gauge::count("slots");
pub const TRACES: Gauge = Gauge::count("traces");
pub const PROMISES: Gauge = Gauge::count("promises");
pub const ACCEPTS: Gauge = Gauge::count("accepts");
pub const CHOSEN: Gauge = Gauge::count("slots chosen by a majority");
pub const DECIDED_COMPARED: Gauge = Gauge::count("decided slots held against accepts");
pub const ENTRIES_COMPARED: Gauge = Gauge::count("log entries held against the node's trace");
pub const COMMANDS_COMPARED: Gauge = Gauge::count("commands held against clients");
pub const LEASES: Gauge = Gauge::count("leases");

pub const GAUGES: &[Gauge] = &[
    NEEDLESS,
    ELECTIONS,
    LOGS,
    ENTRIES,
    SLOTS,
    TRACES,
    PROMISES,
    ACCEPTS,
    CHOSEN,
    DECIDED_COMPARED,
    ENTRIES_COMPARED,
    COMMANDS_COMPARED,
    LEASES,
    HASTY,
];
