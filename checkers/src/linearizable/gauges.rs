//! What is counted of registers, by the engine that judged.

use crate::counts::{JUDGED, KEYS, KEYS_FOUND_WRONG, KEYS_UNDECIDED, UNKNOWN_OUTCOME, WRONG_KEYS};
use crate::figure::Gauge;

pub const BY_ZONES: Gauge = Gauge::count("keys judged by zones");
pub const BY_VERSIONS: Gauge = Gauge::count("keys judged by versions");
pub const BY_FRONTIER: Gauge = Gauge::count("keys judged by frontier");
pub const BY_SEARCH: Gauge = Gauge::count("keys judged by search");

pub const GAUGES: &[Gauge] = &[
    JUDGED,
    UNKNOWN_OUTCOME,
    KEYS,
    BY_ZONES,
    BY_VERSIONS,
    BY_FRONTIER,
    BY_SEARCH,
    KEYS_FOUND_WRONG,
    KEYS_UNDECIDED,
    WRONG_KEYS,
];
