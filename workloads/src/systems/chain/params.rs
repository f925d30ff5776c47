//! What a chain can be set up with, and where its rules read a clock.

use crate::params::{Kind, Param};
use crate::systems::{CONFIRMATIONS, TimeRule};

pub(in crate::systems) const RETARGET_EVERY: &str = "retarget-every";
pub(in crate::systems) const MAX_FUTURE_DRIFT: &str = "max-future-drift";

pub(in crate::systems) const BLOCK_INTERVAL: Param = Param {
    name: "block-interval",
    kind: Kind::Duration,
    default: "500ms",
    about: "time between two blocks of the whole network, on average",
};

/// The flags of the daemon by the same names.
pub(super) const PARAMS: &[Param] = &[
    BLOCK_INTERVAL,
    CONFIRMATIONS,
    Param {
        name: "hash-rate",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000_000,
        },
        default: "20000",
        about: "hashes a second that each node tries at most",
    },
    Param {
        name: RETARGET_EVERY,
        kind: Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        default: "50",
        about: "blocks between changes of the difficulty; 0: never",
    },
    Param {
        name: MAX_FUTURE_DRIFT,
        kind: Kind::Duration,
        default: "2h",
        about: "a block whose time is further ahead of a node's clock is refused by it",
    },
    Param {
        name: "reads",
        kind: Kind::Choice(&["ordered", "local"]),
        default: "ordered",
        about: "ordered reads are transactions; local ones are of the node's own chain, and stale by design",
    },
    Param {
        name: "accounts",
        kind: Kind::Count {
            min: 2,
            max: 100_000,
        },
        default: "8",
        about: "accounts in the ledger",
    },
    Param {
        name: "balance",
        kind: Kind::Count {
            min: 0,
            max: 1_000_000_000_000,
        },
        default: "100",
        about: "what each account has at first",
    },
    Param {
        name: "request-timeout",
        kind: Kind::Duration,
        default: "30s",
        about: "how long a node waits before it answers that it does not know",
    },
    Param {
        name: "ban-time",
        kind: Kind::Duration,
        default: "10s",
        about: "how long a node does not talk to a peer that misbehaved",
    },
];

const DRIFT_RULE: &str = "a node refuses a block whose time is more than --max-future-drift ahead of its own wall \
     clock, and builds on another branch until then";

const MEDIAN_RULE: &str = "a block must be later than the median of the eleven before it, and its miner writes down \
     its own wall clock";

const RETARGET_RULE: &str = "every --retarget-every blocks the difficulty follows the times that miners wrote into \
     blocks by their own wall clocks, by a factor of 4 at most";

const TOO_NEW: &str = "chain/blocks refused/by rule/time-too-new";
const TOO_OLD: &str = "chain/blocks refused/by rule/time-too-old";

const fn by_drift(figure: &'static str) -> TimeRule {
    TimeRule {
        figure,
        rule: DRIFT_RULE,
        uses: Some(TOO_NEW),
    }
}

/// Nobody counts how far a change of the difficulty was due to a clock.
const fn by_retarget(figure: &'static str) -> TimeRule {
    TimeRule {
        figure,
        rule: RETARGET_RULE,
        uses: None,
    }
}

/// A block's time is its miner's wall clock, and that is all that the rules of a chain have of
/// time. A miner whose clock is behind the median writes down the median's next millisecond, so
/// blocks that are too old come from nodes that break the rule.
pub(super) const TIME_RULES: &[TimeRule] = &[
    by_drift(TOO_NEW),
    TimeRule {
        figure: TOO_OLD,
        rule: MEDIAN_RULE,
        uses: Some(TOO_OLD),
    },
    by_drift("chain/common prefix/k"),
    by_drift("chain/reorganisations/count"),
    by_drift("chain/blocks off the last chain"),
    by_drift("chain/liveness/all/p99"),
    by_retarget("chain/chain growth/with faults/tau"),
    by_retarget("availability/throughput"),
];
