//! What clients were told of their requests, and what the ledger answers.

use checkers::Verdict;
use history::Value;
use serde_json::json;

use super::{check, figure, forked, get, kinds, promised, put, sound, write};
use crate::story::{Asked, chain};

/// What a user feels: it was done, and then it was not.
#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    let mut story = forked(4, 9);
    let lost = story.path(story.looks[3].tip)[4];
    story.blocks[lost].transactions.push(put("t0", 7));
    story.asked.push(write("n3", 1.6, 7, (lost, "t0")));
    let found = check(promised(5), &story);
    assert_eq!(kinds(&found), ["acknowledged write gone"], "{found:?}");
    let reason = &found.anomalies[0].reason;
    assert!(
        reason.contains("acknowledged by n3 at 2.100 s") && reason.contains("4 deep"),
        "{reason}"
    );
    let persistence = figure(&found, "persistence");
    assert_eq!(persistence["acknowledged gone"], json!(1));
    assert_eq!(persistence["confirmations for none"], json!(5));

    // Mined again on the branch that won, it is there, but not where it was.
    let again = story.path(story.looks.last().unwrap().tip)[14];
    story.blocks[again].transactions.push(put("t0", 7));
    let found = check(promised(5), &story);
    assert_eq!(kinds(&found), ["acknowledged write moved"], "{found:?}");

    // One that is acknowledged after the last look may be anywhere.
    story.asked[0].ret = 99_000_000_000;
    let found = check(promised(5), &story);
    assert_eq!(
        figure(&found, "persistence")["acknowledged too late to tell"],
        json!(1)
    );
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
}

/// Six blocks were promised, and the write was answered when its own was the head.
#[test]
fn an_acknowledgement_that_comes_too_early_is_found() {
    let mut story = sound();
    // Mined at 3 s, and 6 deep at 8 s.
    story.blocks[4].transactions.push(put("t0", 7));
    story.asked.push(write("n1", 2.9, 7, (4, "t0")));
    let found = check(promised(6), &story);
    assert_eq!(kinds(&found), ["acknowledged too early"], "{found:?}");
    story.asked[0].ret = 8_500_000_000;
    assert_eq!(check(promised(6), &story).verdict, Verdict::Valid);

    // From the mempool, before there was a block: no place is named.
    story.asked[0].call = 1_500_000_000;
    story.asked[0].ret = 1_600_000_000;
    story.asked[0].at = Some((usize::MAX, "t0".to_string()));
    let found = check(promised(1), &story);
    assert_eq!(kinds(&found), ["acknowledged too early"], "{found:?}");
}

/// A read on n1's branch does not see what n3 wrote on its own, four deep: five were needed.
#[test]
fn the_ledger_is_linearizable_from_below_the_deepest_fork() {
    let mut story = forked(4, 9);
    let lost = story.path(story.looks[3].tip)[4];
    story.blocks[lost].transactions.push(put("t0", 7));
    story.asked.push(write("n3", 1.6, 7, (lost, "t0")));
    let kept = story.path(story.looks[4].tip)[5];
    story.blocks[kept].transactions.push(get("t1"));
    let nothing = Value::pair("x", Value::Nil);
    story.asked.push(Asked {
        f: "read",
        input: nothing.clone(),
        output: nothing,
        ..write("n1", 2.05, 0, (kept, "t1"))
    });
    let found = check(chain(), &story);
    let smallest = figure(&found, "ledger linearizable from");
    assert_eq!(
        (&smallest["k"], &smallest["operations"]),
        (&json!(5), &json!(2)),
        "{found:?}"
    );
    let refused = smallest["refused"].as_str().unwrap();
    assert!(
        refused.starts_with("with 4 confirmations: stale read of \"x\", op "),
        "{refused}"
    );
}
