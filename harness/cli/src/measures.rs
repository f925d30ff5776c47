//! What is measured in a run: every number that a checker gives, by its name. A system whose checkers
//! do not give a figure does not have it, which is another thing than nought.

use std::collections::{BTreeMap, BTreeSet};

use checkers::Analysis;
use report::experiment::{Better, Measure};
use serde_json::Value as Json;

/// A figure that is known beforehand: what it is called, which way is good, and what it means. A `*`
/// stands for one part of the path, such as the name of an operation.
struct Known {
    path: &'static str,
    label: &'static str,
    better: Better,
    headline: bool,
    about: &'static str,
}

/// What was due and never offered is left out of these, which look the better for it.
const BENT: &[&str] = &[
    "availability/answered",
    "availability/throughput",
    "availability/latency/*/*",
];

const NOT_OFFERED: &str = "availability/not offered/share";

const KNOWN: &[Known] = &[
    Known {
        path: "availability/time without an answer/0.1 s",
        label: "time without an answer for 0.1 s",
        better: Better::Lower,
        headline: true,
        about: "Share of the time in which something was asked that lies in waits of 0.1 s or more. A wait \
                lasts from one success, or the first call after it, to the next success of anybody. A chain \
                answers once a block, and so spends nearly all its time in such waits without any fault.",
    },
    Known {
        path: "availability/time without an answer/1 s",
        label: "time without an answer for 1 s",
        better: Better::Lower,
        headline: true,
        about: "The same, of waits of 1 s or more.",
    },
    Known {
        path: "availability/answered",
        label: "operations answered",
        better: Better::Higher,
        headline: true,
        about: "Share of all operations that succeeded, of those that were offered.",
    },
    Known {
        path: "availability/answered of what was due",
        label: "answered of what was due",
        better: Better::Higher,
        headline: true,
        about: "Share of the operations that were due by the plan that succeeded: what nobody was free to ask \
                counts as not answered.",
    },
    Known {
        path: NOT_OFFERED,
        label: "never offered",
        better: Better::Neither,
        headline: true,
        about: "Share of the operations that were due and were never invoked: no client was free at their node \
                for 20 ms, or the harness was late itself. A system that hangs is asked less, and looks the \
                better in what counts only operations that were offered.",
    },
    Known {
        path: "availability/throughput",
        label: "throughput",
        better: Better::Higher,
        headline: true,
        about: "Operations that succeeded for each second in which something was asked. Never more than \
                what was offered (--rate), so it is not what the system could do.",
    },
    Known {
        path: "availability/latency/*/p50",
        label: "latency of *, median",
        better: Better::Lower,
        headline: true,
        about: "From when it was due to the answer, of operations that succeeded.",
    },
    Known {
        path: "availability/latency/*/p99",
        label: "latency of *, p99",
        better: Better::Lower,
        headline: true,
        about: "What 99 % of the operations that succeeded did not exceed. Those that never did are in \
                the figures above.",
    },
    Known {
        path: "availability/longest wait of a fault/p50",
        label: "longest wait of a fault, median",
        better: Better::Lower,
        headline: true,
        about: "For each fault that held the longest wait that it touched, from when the first agent had done its \
                part to the next success of anybody, even after the heal; of these the median of the run. ≥ \
                where nothing succeeded any more.",
    },
    Known {
        path: "availability/longest wait of a fault/max",
        label: "longest wait of a fault, worst",
        better: Better::Lower,
        headline: true,
        about: "The same, of the run's worst fault.",
    },
    Known {
        path: "availability/first answer after heal/p50",
        label: "first answer after heal, median",
        better: Better::Lower,
        headline: false,
        about: "From the end of healing to the first success of an operation that was called after it; \
                of the run's faults the median.",
    },
    Known {
        path: "availability/first answer after heal/max",
        label: "first answer after heal, worst",
        better: Better::Lower,
        headline: true,
        about: "From the end of healing to the first success of an operation that was called after it; \
                of the run's worst fault. ≥ where none succeeded any more.",
    },
    Known {
        path: "availability/longest wait of a fault, worst node/p50",
        label: "longest wait of a fault at its worst node, median",
        better: Better::Lower,
        headline: true,
        about: "The longest wait of a fault as the clients of one node saw it, of the node where it was longest: \
                what those saw who were on the wrong side of a cut.",
    },
    Known {
        path: "availability/longest wait of a fault, worst node/max",
        label: "longest wait of a fault at its worst node, worst",
        better: Better::Lower,
        headline: false,
        about: "The same, of the run's worst fault.",
    },
    Known {
        path: "availability/longest wait of a fault, worst client/p50",
        label: "longest wait of a fault of its worst client, median",
        better: Better::Lower,
        headline: false,
        about: "The longest wait of a fault as one client saw it, of the client that waited longest. A client is \
                asked seldom, so it is longer than a node's.",
    },
    Known {
        path: "availability/first answer after heal, worst node/max",
        label: "first answer after heal at its worst node, worst",
        better: Better::Lower,
        headline: false,
        about: "From the end of healing to the first success at the node where that took longest.",
    },
    Known {
        path: "availability/overlap/writes",
        label: "writes that overlapped",
        better: Better::Neither,
        headline: false,
        about: "Share of the writes during which another operation on their key was open: bugs of concurrency show \
                in no others.",
    },
    Known {
        path: "availability/overlap/open",
        label: "operations open",
        better: Better::Neither,
        headline: false,
        about: "How many operations were open at a time, on average.",
    },
    Known {
        path: "agreement/needless elections",
        label: "needless elections",
        better: Better::Lower,
        headline: true,
        about: "Elections though the leader before was up, ran, and heard and was heard by a quorum when \
                its reign ended.",
    },
    Known {
        path: "agreement/elections",
        label: "elections",
        better: Better::Neither,
        headline: true,
        about: "How often a node began to lead, without the first time.",
    },
    Known {
        path: "staleness/stale reads",
        label: "stale reads",
        better: Better::Lower,
        headline: true,
        about: "Share of the reads whose value had surely been overwritten: a later write had returned \
                before the read was called.",
    },
    Known {
        path: "staleness/staleness/max",
        label: "staleness, worst",
        better: Better::Lower,
        headline: true,
        about: "How long before the read that later write had returned (a lower bound of \u{394} in \
                \u{394}-atomicity).",
    },
    Known {
        path: "set/elements lost",
        label: "lost acknowledgements",
        better: Better::Lower,
        headline: true,
        about: "Elements whose addition was acknowledged and that a later read does not show.",
    },
    Known {
        path: "chain/common prefix/k",
        label: "common prefix from k",
        better: Better::Lower,
        headline: true,
        about: "The fewest blocks to be cut from the end of any node's chain so that it is a prefix of \
                every later one: common prefix holds for this k and for no smaller one. A node that lags, \
                because it is paused or cut off, counts as much as one on another branch.",
    },
    Known {
        path: "chain/reorganisations/deepest",
        label: "deepest reorganisation",
        better: Better::Lower,
        headline: true,
        about: "The most blocks of its chain that a node left at once for others.",
    },
    Known {
        path: "chain/reorganisations/count",
        label: "reorganisations",
        better: Better::Lower,
        headline: true,
        about: "How often a node left blocks that it had called its chain.",
    },
    Known {
        path: "chain/persistence/acknowledged gone",
        label: "lost acknowledgements",
        better: Better::Lower,
        headline: true,
        about: "Writes that were acknowledged and whose transaction is not in the last chain.",
    },
    Known {
        path: "chain/persistence/acknowledged moved",
        label: "rolled-back acknowledgements",
        better: Better::Lower,
        headline: true,
        about: "Writes whose block was left after they had been acknowledged, and that another block took in.",
    },
    Known {
        path: "chain/persistence/k",
        label: "persistence from depth",
        better: Better::Lower,
        headline: true,
        about: "No transaction that was seen this deep vanished or moved; one a block less deep did, unless it \
                is 1.",
    },
    Known {
        path: "chain/ledger linearizable from/k",
        label: "ledger linearizable from depth",
        better: Better::Lower,
        headline: true,
        about: "The fewest confirmations with which all answers together are linearizable.",
    },
    Known {
        path: "chain/blocks refused/count",
        label: "blocks refused",
        better: Better::Lower,
        headline: false,
        about: "How often a node refused a block, whatever the rule, as the nodes count it themselves. A block \
                that three nodes refuse counts three times.",
    },
    Known {
        path: "chain/blocks refused/by rule/*",
        label: "blocks refused as *",
        better: Better::Lower,
        headline: false,
        about: "How often a node refused a block by this rule, as the nodes count it themselves.",
    },
    Known {
        path: "chain/liveness/all/p50",
        label: "confirmed after, median",
        better: Better::Lower,
        headline: false,
        about: "From a write's call to its being as deep as the client asked, at every node.",
    },
    Known {
        path: "chain/liveness/all/p99",
        label: "confirmed after, p99",
        better: Better::Lower,
        headline: true,
        about: "From a write's call to its being as deep as the client asked, at every node.",
    },
    Known {
        path: "chain/chain growth/with faults/tau",
        label: "slowest growth under faults",
        better: Better::Higher,
        headline: true,
        about: "Blocks a second that the slowest honest chain grew by in the worst window that touches a fault.",
    },
    Known {
        path: "chain/block interval",
        label: "block interval",
        better: Better::Neither,
        headline: true,
        about: "Mean time from one block of the last chain to the next.",
    },
    Known {
        path: "chain/chain quality/mu",
        label: "chain quality (\u{3bc})",
        better: Better::Higher,
        headline: false,
        about: "The least share of blocks that the nodes themselves mined, of any window of the last chain.",
    },
];

/// Of the run and not of the system, or numbers that only name something.
const APART: &[&str] = &[
    "vacuity/*",
    "vacuity/*/*",
    "availability/not offered/due",
    "availability/not offered/harness late",
    "availability/not offered/no client free/*",
    "availability/*/of",
    "chain/*/*/slowest op",
    "chain/liveness/*/count",
    "chain/eventual prefix/*",
    // Which node it is, is another thing under every seed.
    "chain/blocks refused/nodes/*/*",
    "*/*/window",
];

/// Parts of a figure that are not counted in its unit.
const COUNTED: &[(&str, &str)] = &[
    ("availability/*/unfinished", "faults"),
    ("availability/overlap/open", ""),
    ("chain/persistence/acknowledged writes", "writes"),
    ("chain/persistence/acknowledged gone", "writes"),
    ("chain/persistence/acknowledged moved", "writes"),
    ("chain/persistence/acknowledged too late to tell", "writes"),
    ("chain/persistence/transactions vanished", "transactions"),
    ("chain/persistence/transactions moved", "transactions"),
    ("chain/reorganisations/count", ""),
    ("chain/reorganisations/nodes/*/count", ""),
    ("chain/reorganisations/nodes/*/became shorter", ""),
    ("chain/agreement/forks", ""),
    ("chain/agreement/looks off the highest chain", "looks"),
    ("chain/liveness/confirmations", "blocks"),
    ("chain/liveness/unfinished", "transactions"),
    ("chain/liveness/*/count", "transactions"),
    ("chain/ledger linearizable from/operations", "operations"),
];

/// Every number of a judged run: `checker/figure`, and further names where a figure has parts.
pub fn figures(analyses: &[Analysis]) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for analysis in analyses {
        for figure in &analysis.figures {
            let path = format!("{}/{}", analysis.checker, figure.name);
            flatten(&path, &figure.value, &mut found);
        }
    }
    found.retain(|path, _| !APART.iter().any(|pattern| star(pattern, path).is_some()));
    found
}

/// Those of them that are at least so large: a figure names the parts of it that are in `at least`.
pub fn bounds(analyses: &[Analysis]) -> BTreeSet<String> {
    let of = |analysis: &Analysis, figure: &checkers::Figure| -> Vec<String> {
        let parts = figure.value.get("at least").and_then(Json::as_array);
        let parts = parts.into_iter().flatten().filter_map(Json::as_str);
        let (checker, name) = (&analysis.checker, &figure.name);
        parts
            .map(|part| format!("{checker}/{name}/{part}"))
            .collect()
    };
    let figures = |analysis: &Analysis| -> Vec<String> {
        let figures = analysis.figures.iter();
        figures.flat_map(|figure| of(analysis, figure)).collect()
    };
    analyses.iter().flat_map(figures).collect()
}

fn flatten(path: &str, value: &Json, found: &mut BTreeMap<String, f64>) {
    match value {
        Json::Number(number) => {
            found.extend(number.as_f64().map(|n| (path.to_string(), n)));
        }
        Json::Object(parts) => {
            for (name, part) in parts {
                flatten(&format!("{path}/{name}"), part, found);
            }
        }
        // Lists are one number a second, a fault or a gap: what they come to is a figure of its own.
        _ => {}
    }
}

/// The units of all figures, by path.
pub fn units(analyses: &[Analysis]) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    for analysis in analyses {
        for figure in &analysis.figures {
            let one = Analysis {
                figures: vec![figure.clone()],
                ..analysis.clone()
            };
            let paths = figures(&[one]).into_keys();
            units.extend(paths.map(|path| {
                let part = COUNTED.iter().find(|(part, _)| star(part, &path).is_some());
                let unit = part.map_or(figure.unit.clone(), |(_, unit)| unit.to_string());
                (path, unit)
            }));
        }
    }
    units
}

/// Measures for these figures, with their units: those that are known first and in their order, the
/// others under their own names.
pub fn measures(units: &BTreeMap<String, String>) -> Vec<Measure> {
    let mut measures: Vec<(usize, Measure)> = units
        .iter()
        .map(|(id, unit)| {
            let known = KNOWN
                .iter()
                .enumerate()
                .find_map(|(at, known)| Some((at, known, star(known.path, id)?)));
            let measure = |label, better, headline, about: &str| Measure {
                id: id.clone(),
                label,
                unit: unit.clone(),
                better,
                headline,
                bent_by: BENT
                    .iter()
                    .any(|bent| star(bent, id).is_some())
                    .then(|| NOT_OFFERED.to_string()),
                about: about.to_string(),
            };
            match known {
                Some((at, known, part)) => {
                    let label = known.label.replace('*', &part);
                    (
                        at,
                        measure(label, known.better, known.headline, known.about),
                    )
                }
                None => {
                    let label = id.replacen('/', ": ", 1).replace('/', ", ");
                    (KNOWN.len(), measure(label, Better::Neither, false, ""))
                }
            }
        })
        .collect();
    measures.sort_by_key(|(at, _)| *at);
    measures.into_iter().map(|(_, measure)| measure).collect()
}

/// What the star of a pattern stands for in a path; nothing where the pattern has none. None if the
/// path is not of the pattern.
fn star(pattern: &str, path: &str) -> Option<String> {
    let (patterns, parts): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.split('/').collect());
    if patterns.len() != parts.len() {
        return None;
    }
    let mut found = "";
    for (pattern, part) in patterns.into_iter().zip(parts) {
        match pattern {
            "*" => found = part,
            same if same == part => {}
            _ => return None,
        }
    }
    Some(found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkers::Figure;
    use serde_json::json;

    fn analysis() -> Analysis {
        Analysis::valid("availability", "")
            .with_figure(Figure::new("answered", 97.5, "%"))
            .with_figure(Figure::new(
                "latency",
                json!({"read": {"p50": 1.0, "p99": 9.0}, "write": {"p50": 2.0}}),
                "ms",
            ))
            .with_figure(Figure::new("ok per second", json!([1, 2]), "ops/s"))
            .with_figure(Figure::new("colour", "red", ""))
    }

    #[test]
    fn every_number_has_a_path_and_lists_have_none() {
        let figures = figures(&[analysis()]);
        let expected = [
            ("availability/answered", 97.5),
            ("availability/latency/read/p50", 1.0),
            ("availability/latency/read/p99", 9.0),
            ("availability/latency/write/p50", 2.0),
        ];
        assert_eq!(
            figures,
            expected.map(|(path, v)| (path.to_string(), v)).into()
        );
    }

    #[test]
    fn what_is_a_bound_and_what_was_left_out_are_known_by_their_paths() {
        let waits = json!({"p50": 1.0, "max": 9.0, "of": 4, "at least": ["max"], "unfinished": 1});
        let analysis = analysis()
            .with_figure(Figure::new("longest wait of a fault", waits, "s"))
            .with_figure(Figure::new(
                "not offered",
                json!({"share": 3.0, "due": 9}),
                "%",
            ));
        let analyses = [analysis];
        assert_eq!(
            bounds(&analyses).into_iter().collect::<Vec<_>>(),
            ["availability/longest wait of a fault/max"]
        );
        let units = units(&analyses);
        assert!(!units.contains_key("availability/longest wait of a fault/of"));
        assert_eq!(
            units["availability/longest wait of a fault/unfinished"],
            "faults"
        );
        let bent: Vec<String> = measures(&units)
            .into_iter()
            .filter(|m| m.bent_by.as_deref() == Some(NOT_OFFERED))
            .map(|m| m.id)
            .collect();
        assert_eq!(
            bent,
            [
                "availability/answered",
                "availability/latency/read/p50",
                "availability/latency/write/p50",
                "availability/latency/read/p99",
            ]
        );
    }

    #[test]
    fn known_measures_come_first_and_unknown_ones_under_their_own_names() {
        let chain = Analysis::valid("chain", "")
            .with_figure(Figure::new("forks", json!({"deep": 3}), ""))
            .with_figure(Figure::new(
                "common prefix",
                json!({"k": 2, "witness": "n1"}),
                "blocks",
            ))
            .with_figure(Figure::new(
                "liveness",
                json!({"all": {"slowest op": 7}}),
                "",
            ));
        let measures = measures(&units(&[chain, analysis()]));
        let labels: Vec<&str> = measures.iter().map(|m| m.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "operations answered",
                "latency of read, median",
                "latency of write, median",
                "latency of read, p99",
                "common prefix from k",
                "chain: forks, deep",
            ]
        );
        assert_eq!(measures[4].unit, "blocks");
        let parts = json!({"k": 3, "acknowledged gone": 2});
        let persistence =
            Analysis::valid("chain", "").with_figure(Figure::new("persistence", parts, "blocks"));
        let units = units(&[persistence]);
        assert_eq!(units["chain/persistence/k"], "blocks");
        assert_eq!(units["chain/persistence/acknowledged gone"], "writes");
        assert!(measures[4].headline && !measures[5].headline);
    }
}
