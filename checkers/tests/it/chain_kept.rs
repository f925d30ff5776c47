//! Rules that a chain may have besides: the first seen of equals is kept, and what was in blocks
//! that were given up comes into others.

use checkers::chain::Rules;
use checkers::{Analysis, Budget, Checker};
use history::Value;

use crate::story::{NODES, Story, chain};

const NS: u64 = 1_000_000_000;

fn check(rules: Rules, story: &Story) -> Analysis {
    let judge = chain().with_rules(rules).with_confirmations(6);
    judge.check(&story.history(), &Budget::default())
}

fn kinds(found: &Analysis) -> Vec<&str> {
    found.anomalies.iter().map(|a| a.kind.as_str()).collect()
}

/// `n3` has `own` blocks alone, the first of them with a transaction, and then joins the others,
/// who have `theirs`. All go on for so many `more` blocks.
fn joined(own: usize, theirs: usize, more: usize) -> Story {
    let mut story = Story::default();
    let first = story.block(None, "");
    let base = story.chain(first, 3, "n1");
    for node in NODES {
        story.look(node, 1.0, base);
    }
    let begun = story.block(Some(base), "n3");
    let put = ["t7".into(), "put".into(), "k".into(), 7.into()];
    story.blocks[begun].transactions = vec![Value::List(put.to_vec())];
    let lost = story.chain(begun, own - 1, "n3");
    let mut kept = story.chain(base, theirs, "n2");
    let partition = (3 * NS / 2, 3 * NS, "partition", "n3");
    story.faults.push(partition);
    story.look("n3", 2.0, lost);
    story.look("n1", 2.1, kept);
    for number in 0..more {
        for (node, name) in NODES.iter().enumerate() {
            let at = 4.0 + number as f64 + 0.1 * node as f64;
            story.look(name, at, kept);
        }
        kept = story.block(Some(kept), "n1");
    }
    // Without any work told, no branch has less.
    story.blocks.iter_mut().for_each(|block| block.work = 2);
    story
}

#[test]
fn a_node_that_goes_over_to_as_much_work_breaks_the_rule_of_the_first_seen() {
    let first_seen = Rules {
        first_seen: true,
        ..Rules::default()
    };
    let equal = joined(2, 2, 5);
    let found = check(first_seen, &equal);
    assert_eq!(kinds(&found), ["left for equal work"], "{found:?}");
    // Where the chain has no such rule, where there is more work, and where nobody knows what the
    // node remembers.
    assert!(kinds(&check(Rules::default(), &equal)).is_empty());
    assert!(kinds(&check(first_seen, &joined(2, 3, 5))).is_empty());
    let mut killed = equal.clone();
    killed.faults[0].2 = "kill";
    assert!(kinds(&check(first_seen, &killed)).is_empty());
}

#[test]
fn a_transaction_of_a_block_that_was_given_up_is_missed_after_a_while() {
    let gives_back = Rules {
        gives_back: true,
        ..Rules::default()
    };
    let lost = joined(2, 4, 22);
    let found = check(gives_back, &lost);
    assert_eq!(kinds(&found), ["transaction given up"], "{found:?}");
    let reason = &found.anomalies[0].reason;
    assert!(
        reason.starts_with("transaction t7 was in block"),
        "{reason}"
    );
    assert!(reason.contains("which n3 (op"), "{reason}");
    // It may still come; it came; it was forgotten with the node's memory; nobody promised it.
    assert!(kinds(&check(gives_back, &joined(2, 4, 20))).is_empty());
    let mut back = lost.clone();
    let transactions = back.blocks[4].transactions.clone();
    let late = back.blocks.len() - 3;
    back.blocks[late].transactions = transactions;
    assert!(kinds(&check(gives_back, &back)).is_empty());
    let mut killed = lost.clone();
    killed.faults.push((9 * NS, 10 * NS, "kill", "n3"));
    assert!(kinds(&check(gives_back, &killed)).is_empty());
    killed.faults[1].3 = "n1";
    assert_eq!(kinds(&check(gives_back, &killed)), ["transaction given up"]);
    assert!(kinds(&check(Rules::default(), &lost)).is_empty());
}
