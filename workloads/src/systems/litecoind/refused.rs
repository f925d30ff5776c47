//! Blocks that a node refused, from its log, which says so whatever its level (validation.cpp of
//! 0.21):
//!
//! ```text
//! ERROR: AcceptBlockHeader: Consensus::ContextualCheckBlockHeader: HASH, time-too-new, block timestamp ...
//! ERROR: TestBlockValidity: Consensus::ContextualCheckBlockHeader: time-too-new, block timestamp ...
//! ```
//!
//! The first is another node's block, which may be offered again and again; the second one that the
//! node was asked to mine, and could not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use history::{Name, Value};

use crate::systems::TimeRule;

/// Prints what is told of such blocks, and fails only if there is no log.
pub fn command(log: &Path) -> Vec<String> {
    let lines = "s/^.*ERROR: (AcceptBlockHeader|TestBlockValidity): Consensus::[A-Za-z]*: /\\1 /p";
    vec![
        "sed".into(),
        "-nE".into(),
        lines.into(),
        log.display().to_string(),
    ]
}

/// A rule about time that never refused anything is told all the same.
const TOO_NEW: &str = "time-too-new";
/// What the node could not mine is apart: nobody else has seen it.
const OF_ITS_OWN: &str = " of its own";

/// Blocks by the rule that they broke, each counted once, and how often the node could not make
/// one; as the event `refused` has it.
pub fn counted(node: &Name, printed: &str) -> Value {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut counts: BTreeMap<String, i64> = ["", OF_ITS_OWN]
        .map(|whose| (format!("{TOO_NEW}{whose}"), 0))
        .into();
    for line in printed.lines() {
        let Some((whose, told)) = line.split_once(' ') else {
            continue;
        };
        let parts: Vec<&str> = told.split(", ").collect();
        let rule = match (whose, &parts[..]) {
            ("AcceptBlockHeader", [hash, rule, ..]) => match seen.insert(hash) {
                true => rule.to_string(),
                false => continue,
            },
            ("TestBlockValidity", [rule, ..]) => format!("{rule}{OF_ITS_OWN}"),
            _ => continue,
        };
        *counts.entry(rule).or_default() += 1;
    }
    let counts = counts
        .into_iter()
        .map(|(rule, n)| (Value::text(rule), n.into()));
    Value::Map(vec![
        ("node".into(), node.clone().into()),
        ("refused".into(), Value::Map(counts.collect())),
    ])
}

const DRIFT_RULE: &str =
    "a node refuses a block whose time is more than two hours ahead of its own wall clock";

const OWN_RULE: &str = "a block must be later than the median of the eleven before it, and if that is more than two \
     hours ahead of its own wall clock a node cannot make one";

const TOO_NEW_FIGURE: &str = "chain/blocks refused/by rule/time-too-new";
const OWN_FIGURE: &str = "chain/blocks refused/by rule/time-too-new of its own";

const fn by_drift(figure: &'static str) -> TimeRule {
    TimeRule {
        figure,
        rule: DRIFT_RULE,
        uses: Some(TOO_NEW_FIGURE),
    }
}

pub const TIME_RULES: &[TimeRule] = &[
    by_drift(TOO_NEW_FIGURE),
    by_drift("chain/common prefix/k"),
    by_drift("chain/reorganisations/count"),
    by_drift("chain/blocks off the last chain"),
    by_drift("chain/liveness/all/p99"),
    TimeRule {
        figure: OWN_FIGURE,
        rule: OWN_RULE,
        uses: Some(OWN_FIGURE),
    },
    TimeRule {
        figure: "chain/chain growth/with faults/tau",
        rule: OWN_RULE,
        uses: Some(OWN_FIGURE),
    },
];

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const LOG: &str = "\
2026-11-23T16:05:40.1Z UpdateTip: new best=78bc height=1
2026-11-23T16:05:41.1Z ERROR: AcceptBlockHeader: Consensus::ContextualCheckBlockHeader: 78bc, time-too-new, block timestamp too far in the future
2026-11-23T16:05:41.2Z ERROR: TestBlockValidity: Consensus::ContextualCheckBlockHeader: time-too-new, block timestamp too far in the future
2026-11-23T16:05:41.3Z ERROR: AcceptBlockHeader: Consensus::ContextualCheckBlockHeader: 78bc, time-too-new, block timestamp too far in the future
2026-11-23T16:05:41.4Z ERROR: AcceptBlockHeader: Consensus::ContextualCheckBlockHeader: 0d07, time-too-old, block's timestamp is too early
2026-11-23T16:05:41.5Z ERROR: DeserializeFileDB: Failed to open file /srv/schism/data/regtest/peers.dat
2026-11-23T16:05:41.6Z ERROR: TestBlockValidity: Consensus::ContextualCheckBlockHeader: time-too-new, block timestamp too far in the future
";

    fn read(log: &str) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("litecoind.log");
        std::fs::write(&path, log).unwrap();
        let argv = command(&path);
        let ran = Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        counted(&"n2".into(), &String::from_utf8(ran.stdout).unwrap())
    }

    fn expected(counts: &[(&str, i64)]) -> Value {
        let counts = counts.iter().map(|(rule, n)| ((*rule).into(), (*n).into()));
        Value::Map(vec![
            ("node".into(), "n2".into()),
            ("refused".into(), Value::Map(counts.collect())),
        ])
    }

    #[test]
    fn a_block_that_comes_again_counts_once_and_own_ones_each_time() {
        let told = [
            ("time-too-new", 1),
            ("time-too-new of its own", 2),
            ("time-too-old", 1),
        ];
        assert_eq!(read(LOG), expected(&told));
    }

    #[test]
    fn nothing_refused_is_zero_and_not_unknown() {
        let told = [("time-too-new", 0), ("time-too-new of its own", 0)];
        assert_eq!(
            read("2026-11-23T16:05:40.1Z UpdateTip: new best=78bc\n"),
            expected(&told)
        );
    }
}
