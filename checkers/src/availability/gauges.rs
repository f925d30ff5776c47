//! What availability measures, in the order in which it is to be read.

use crate::figure::{Gauge, Part};

const NO_ANSWER: &[Part] = &[
    Part::of("0.1 s")
        .called(
            "time without an answer for 0.1 s",
            "Share of the time in which something was asked that lies in waits of 0.1 s or more. A wait \
             lasts from one success, or the first call after it, to the next success of anybody. A chain \
             answers once a block, and so spends nearly all its time in such waits without any fault.",
        )
        .lower()
        .headline(),
    Part::of("1 s")
        .called(
            "time without an answer for 1 s",
            "The same, of waits of 1 s or more.",
        )
        .lower()
        .headline(),
];

/// What was due and never offered is left out of others, which look the better for it.
const LEFT_OUT: &str = "not offered/share";

pub const WITHOUT_ANSWER: Gauge = Gauge::new("time without an answer", "%", NO_ANSWER);

pub const ANSWERED: Gauge = Gauge::new(
    "answered",
    "%",
    &[Part::WHOLE
        .called(
            "operations answered",
            "Share of all operations that succeeded, of those that were offered.",
        )
        .higher()
        .headline()
        .bent_by(LEFT_OUT)],
);

pub const ANSWERED_OF_DUE: Gauge = Gauge::new(
    "answered of what was due",
    "%",
    &[Part::WHOLE
        .called(
            "answered of what was due",
            "Share of the operations that were due by the plan that succeeded: what nobody was free to ask \
             counts as not answered.",
        )
        .higher()
        .headline()],
);

pub const NOT_OFFERED: Gauge = Gauge::new(
    "not offered",
    "%",
    &[
        Part::of("share")
            .called(
                "never offered",
                "Share of the operations that were due and were never invoked: no client was free at their node \
                 for 20 ms, or the harness was late itself. A system that hangs is asked less, and looks the \
                 better in what counts only operations that were offered.",
            )
            .headline(),
        Part::of("due").apart(),
        Part::of("harness late").apart(),
        Part::of("no client free/*").apart(),
    ],
);

pub const THROUGHPUT: Gauge = Gauge::new(
    "throughput",
    "ops/s",
    &[Part::WHOLE
        .called(
            "throughput",
            "Operations that succeeded for each second in which something was asked. Never more than \
             what was offered (--rate), so it is not what the system could do.",
        )
        .higher()
        .headline()
        .bent_by(LEFT_OUT)],
);

pub const LATENCY: Gauge = Gauge::new(
    "latency",
    "ms",
    &[
        Part::of("*/p50")
            .called(
                "latency of *, median",
                "From when it was due to the answer, of operations that succeeded.",
            )
            .lower()
            .headline()
            .bent_by(LEFT_OUT),
        Part::of("*/p99")
            .called(
                "latency of *, p99",
                "What 99 % of the operations that succeeded did not exceed. Those that never did are in \
                 the figures above.",
            )
            .lower()
            .headline()
            .bent_by(LEFT_OUT),
        Part::of("*/p90").bent_by(LEFT_OUT),
        Part::of("*/max").bent_by(LEFT_OUT),
    ],
);

const FROM_HEAL: &str = "From the end of healing to the first success of an operation that was called after it; \
                         of the run's faults the median.";

/// Of how many faults, and in how many of them it had not ended.
const OF: Part = Part::of("of").apart();
const UNFINISHED: Part = Part::of("unfinished").in_unit("faults");
const MEDIAN: Part = Part::of("p50");
const WORST: Part = Part::of("max");

pub const WAIT: Gauge = Gauge::new(
    "longest wait of a fault",
    "s",
    &[
        MEDIAN
            .called(
                "longest wait of a fault, median",
                "For each fault that held the longest wait that it touched, from when the first agent had done its \
                 part to the next success of anybody, even after the heal; of these the median of the run. ≥ \
                 where nothing succeeded any more.",
            )
            .lower()
            .headline(),
        WORST
            .called(
                "longest wait of a fault, worst",
                "The same, of the run's worst fault.",
            )
            .lower()
            .headline(),
        OF,
        UNFINISHED,
    ],
);

pub const AFTER_HEAL: Gauge = Gauge::new(
    "first answer after heal",
    "s",
    &[
        MEDIAN
            .called("first answer after heal, median", FROM_HEAL)
            .lower(),
        WORST
            .called(
                "first answer after heal, worst",
                "From the end of healing to the first success of an operation that was called after it; \
                 of the run's worst fault. ≥ where none succeeded any more.",
            )
            .lower()
            .headline(),
        OF,
        UNFINISHED,
    ],
);

pub const WAIT_OF_NODE: Gauge = Gauge::new(
    "longest wait of a fault, worst node",
    "s",
    &[
        MEDIAN
            .called(
                "longest wait of a fault at its worst node, median",
                "The longest wait of a fault as the clients of one node saw it, of the node where it was longest: \
                 what those saw who were on the wrong side of a cut.",
            )
            .lower()
            .headline(),
        WORST
            .called(
                "longest wait of a fault at its worst node, worst",
                "The same, of the run's worst fault.",
            )
            .lower(),
        OF,
        UNFINISHED,
    ],
);

pub const WAIT_OF_CLIENT: Gauge = Gauge::new(
    "longest wait of a fault, worst client",
    "s",
    &[
        MEDIAN
            .called(
                "longest wait of a fault of its worst client, median",
                "The longest wait of a fault as one client saw it, of the client that waited longest. A client is \
                 asked seldom, so it is longer than a node's.",
            )
            .lower(),
        WORST,
        OF,
        UNFINISHED,
    ],
);

pub const AFTER_HEAL_OF_NODE: Gauge = Gauge::new(
    "first answer after heal, worst node",
    "s",
    &[
        WORST
            .called(
                "first answer after heal at its worst node, worst",
                "From the end of healing to the first success at the node where that took longest.",
            )
            .lower(),
        MEDIAN,
        OF,
        UNFINISHED,
    ],
);

pub const AFTER_HEAL_OF_CLIENT: Gauge = Gauge::new(
    "first answer after heal, worst client",
    "s",
    &[MEDIAN, WORST, OF, UNFINISHED],
);

pub const OVERLAP: Gauge = Gauge::new(
    "overlap",
    "%",
    &[
        Part::of("writes").called(
            "writes that overlapped",
            "Share of the writes during which another operation on their key was open: bugs of concurrency show \
             in no others.",
        ),
        Part::of("open").in_unit("").called(
            "operations open",
            "How many operations were open at a time, on average.",
        ),
    ],
);

pub const TIME_ASKED: Gauge = Gauge::new("time asked", "s", &[Part::WHOLE]);
pub const OPERATIONS: Gauge = Gauge::new(
    "operations",
    "",
    &[Part::of("*/ok"), Part::of("*/fail"), Part::of("*/info")],
);
pub const PER_SECOND: Gauge = Gauge::new("ok per second", "ops/s", &[]);
pub const WITHOUT_SUCCESS: Gauge = Gauge::new("without success", "s", &[]);
pub const AFTER_FAULTS: Gauge = Gauge::new("first ok after faults", "s", &[]);

pub const GAUGES: &[Gauge] = &[
    WITHOUT_ANSWER,
    ANSWERED,
    ANSWERED_OF_DUE,
    NOT_OFFERED,
    THROUGHPUT,
    LATENCY,
    WAIT,
    AFTER_HEAL,
    WAIT_OF_NODE,
    WAIT_OF_CLIENT,
    AFTER_HEAL_OF_NODE,
    AFTER_HEAL_OF_CLIENT,
    OVERLAP,
    TIME_ASKED,
    OPERATIONS,
    PER_SECOND,
    WITHOUT_SUCCESS,
    AFTER_FAULTS,
];
