//! What is measured of a chain, in the order in which it is to be read.

use crate::figure::{Gauge, Part};

pub const COMMON_PREFIX: Gauge = Gauge::new(
    "common prefix",
    "blocks",
    &[Part::of("k")
        .called(
            "common prefix from k",
            "The fewest blocks to be cut from the end of any node's chain so that it is a prefix of \
             every later one: common prefix holds for this k and for no smaller one. A node that lags, \
             because it is paused or cut off, counts as much as one on another branch.",
        )
        .lower()
        .headline()],
);

pub const REORGANISATIONS: Gauge = Gauge::new(
    "reorganisations",
    "blocks",
    &[
        Part::of("deepest")
            .called(
                "deepest reorganisation",
                "The most blocks of its chain that a node left at once for others.",
            )
            .lower()
            .headline(),
        Part::of("count")
            .called(
                "reorganisations",
                "How often a node left blocks that it had called its chain.",
            )
            .in_unit("")
            .lower()
            .headline(),
        Part::of("nodes/*/count").in_unit(""),
        Part::of("nodes/*/deepest"),
        Part::of("nodes/*/became shorter").in_unit(""),
    ],
);

pub const PERSISTENCE: Gauge = Gauge::new(
    "persistence",
    "blocks",
    &[
        Part::of("acknowledged gone")
            .called(
                "lost acknowledgements",
                "Writes that were acknowledged and whose transaction is not in the last chain.",
            )
            .in_unit("writes")
            .lower()
            .headline(),
        Part::of("acknowledged moved")
            .called(
                "rolled-back acknowledgements",
                "Writes whose block was left after they had been acknowledged, and that another block took in.",
            )
            .in_unit("writes")
            .lower()
            .headline(),
        Part::of("k")
            .called(
                "persistence from depth",
                "No transaction that was seen this deep vanished or moved; one a block less deep did, unless it \
                 is 1.",
            )
            .lower()
            .headline(),
        Part::of("acknowledged writes").in_unit("writes"),
        Part::of("acknowledged too late to tell").in_unit("writes"),
        Part::of("transactions vanished").in_unit("transactions"),
        Part::of("transactions moved").in_unit("transactions"),
        Part::of("confirmations for none"),
    ],
);

pub const LINEARIZABLE_FROM: Gauge = Gauge::new(
    "ledger linearizable from",
    "confirmations",
    &[
        Part::of("k")
            .called(
                "ledger linearizable from depth",
                "The fewest confirmations with which all answers together are linearizable.",
            )
            .lower()
            .headline(),
        Part::of("operations").in_unit("operations"),
    ],
);

pub const REFUSED: Gauge = Gauge::new(
    "blocks refused",
    "blocks",
    &[
        Part::of("count")
            .called(
                "blocks refused",
                "How often a node refused a block, whatever the rule, as the nodes count it themselves. A block \
                 that three nodes refuse counts three times.",
            )
            .lower(),
        Part::of("by rule/*")
            .called(
                "blocks refused as *",
                "How often a node refused a block by this rule, as the nodes count it themselves.",
            )
            .lower(),
        // Which node it is, is another thing under every seed.
        Part::of("nodes/*/*").apart(),
    ],
);

const CONFIRMED: &str =
    "From a write's call to its being as deep as the client asked, at every node.";

pub const LIVENESS: Gauge = Gauge::new(
    "liveness",
    "s",
    &[
        Part::of("all/p50")
            .called("confirmed after, median", CONFIRMED)
            .lower(),
        Part::of("all/p99")
            .called("confirmed after, p99", CONFIRMED)
            .lower()
            .headline(),
        Part::of("*/p50"),
        Part::of("*/p90"),
        Part::of("*/p99"),
        Part::of("*/u"),
        Part::of("*/count").in_unit("transactions").apart(),
        Part::of("*/slowest op").apart(),
        Part::of("confirmations").in_unit("blocks"),
        Part::of("unfinished").in_unit("transactions"),
    ],
);

pub const GROWTH: Gauge = Gauge::new(
    "chain growth",
    "blocks/s",
    &[
        Part::of("with faults/tau")
            .called(
                "slowest growth under faults",
                "Blocks a second that the slowest honest chain grew by in the worst window that touches a fault.",
            )
            .higher()
            .headline(),
        Part::of("without faults/tau"),
        Part::of("window").apart(),
    ],
);

pub const INTERVAL: Gauge = Gauge::new(
    "block interval",
    "s",
    &[Part::WHOLE
        .called(
            "block interval",
            "Mean time from one block of the last chain to the next.",
        )
        .headline()],
);

pub const QUALITY: Gauge = Gauge::new(
    "chain quality",
    "share",
    &[
        Part::of("mu")
            .called(
                "chain quality (\u{3bc})",
                "The least share of blocks that the nodes themselves mined, of any window of the last chain.",
            )
            .higher(),
        Part::of("window").apart(),
    ],
);

pub const LOOKS: Gauge = Gauge::count("looks");
pub const BLOCKS: Gauge = Gauge::count("blocks");
pub const OFF_CHAIN: Gauge = Gauge::count("blocks off the last chain");
pub const LAST_CHAIN: Gauge = Gauge::new("last chain", "", &[Part::of("height")]);
pub const ENOUGH: Gauge = Gauge::new("confirmations enough", "blocks", &[Part::WHOLE]);

pub const AGREEMENT: Gauge = Gauge::new(
    "agreement",
    "blocks",
    &[
        Part::of("k"),
        Part::of("forks").in_unit(""),
        Part::of("looks off the highest chain").in_unit("looks"),
    ],
);

pub const EVENTUAL: Gauge = Gauge::new("eventual prefix", "", &[Part::of("*").apart()]);

pub const MINERS: Gauge = Gauge::new(
    "blocks by miner",
    "",
    &[
        Part::of("*/on chain"),
        Part::of("*/share"),
        Part::of("*/fair"),
        Part::of("*/stale"),
    ],
);

pub const COMPARED: Gauge = Gauge::count("answers held against the ledger");

pub const FINALITY: Gauge = Gauge::new(
    "finality",
    "",
    &[Part::of("looks"), Part::of("contradictions")],
);

pub const GAUGES: &[Gauge] = &[
    COMMON_PREFIX,
    REORGANISATIONS,
    PERSISTENCE,
    LINEARIZABLE_FROM,
    REFUSED,
    LIVENESS,
    GROWTH,
    INTERVAL,
    QUALITY,
    LOOKS,
    BLOCKS,
    OFF_CHAIN,
    LAST_CHAIN,
    ENOUGH,
    AGREEMENT,
    EVENTUAL,
    MINERS,
    COMPARED,
    FINALITY,
];
