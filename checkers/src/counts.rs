//! What several checkers count, and how wrong keys are told.

use history::wording::listed;

use crate::figure::Gauge;

pub const JUDGED: Gauge = Gauge::count("operations judged");
pub const UNKNOWN_OUTCOME: Gauge = Gauge::count("of unknown outcome");
pub const KEYS: Gauge = Gauge::count("keys");
pub const KEYS_FOUND_WRONG: Gauge = Gauge::count("keys found wrong");
pub const KEYS_UNDECIDED: Gauge = Gauge::count("keys undecided");
/// Their names; `KEYS_FOUND_WRONG` says how many.
pub const WRONG_KEYS: Gauge = Gauge::without_numbers("wrong keys");

/// As many wrong keys as a sentence names; a figure has them all.
const MOST_NAMED: usize = 8;

/// `key 4 is wrong`, `3 keys are wrong: 4, 7 and 9`.
pub(crate) fn told_wrong(keys: &[&str]) -> String {
    match keys {
        [key] => format!("key {key} is wrong"),
        keys => format!(
            "{} keys are wrong: {}",
            keys.len(),
            listed(keys, MOST_NAMED)
        ),
    }
}
