//! What is measured of decided logs and traces, in the order in which it is to be read.

use crate::figure::{Gauge, Part};

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
];
