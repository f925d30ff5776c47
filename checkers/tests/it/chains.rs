//! Chains that were told block by block, each with what must be found in it.

pub mod blocks;
mod requests;

use std::time::Duration;

use checkers::chain::Chain;
use checkers::picture::{Block, Picture};
use checkers::{Analysis, Budget, Checker, Verdict};
use history::{History, Kind, Value};
use serde_json::{Value as Json, json};

use crate::story::{Asked, NODES, Story, chain};

pub fn figure<'a>(found: &'a Analysis, name: &str) -> &'a Json {
    let figure = found.figures.iter().find(|f| f.name == name);
    &figure
        .unwrap_or_else(|| panic!("no figure {name}: {found:?}"))
        .value
}

fn kinds(found: &Analysis) -> Vec<&str> {
    found.anomalies.iter().map(|a| a.kind.as_str()).collect()
}

fn check(chain: Chain, story: &Story) -> Analysis {
    chain.check(&story.history(), &Budget::default())
}

/// Twenty blocks on which three nodes agree, one a second.
fn sound() -> Story {
    let mut story = Story::default();
    let mut tip = story.block(None, "");
    for second in 0..20 {
        tip = story.block(Some(tip), NODES[second % 3]);
        for (number, node) in NODES.iter().enumerate() {
            story.look(node, second as f64 + 0.1 * number as f64, tip);
        }
    }
    story
}

/// `n3` is on its own for the last `own` blocks of a fork, on which the others have `theirs`; then
/// it joins them, and they go on for eleven seconds.
fn forked(own: usize, theirs: usize) -> Story {
    let mut story = Story::default();
    let first = story.block(None, "");
    let base = story.chain(first, 3, "n1");
    for node in NODES {
        story.look(node, 1.0, base);
    }
    let lost = story.chain(base, own, "n3");
    let mut kept = story.chain(base, theirs, "n2");
    story
        .faults
        .push((1_500_000_000, 3_000_000_000, "partition", "n3"));
    story.look("n3", 2.0, lost);
    story.look("n1", 2.1, kept);
    for second in 4..16 {
        kept = story.block(Some(kept), "n1");
        for (number, node) in NODES.iter().enumerate() {
            story.look(node, second as f64 + 0.1 * number as f64, kept);
        }
    }
    story
}

fn promised(depth: u64) -> Chain {
    chain().with_confirmations(depth)
}

/// A write that `n3` acknowledged on its own branch: `at` is where the answer says that it took
/// effect.
fn write(node: &'static str, call: f64, value: i64, at: (usize, &str)) -> Asked {
    let content = Value::pair("x", Value::Int(value));
    Asked {
        node,
        call: (call * 1e9) as u64,
        ret: (call * 1e9) as u64 + 500_000_000,
        kind: Kind::Ok,
        f: "write",
        input: content.clone(),
        output: content,
        at: Some((at.0, at.1.to_string())),
        told: (None, None),
    }
}

fn put(tx: &str, value: i64) -> Value {
    Value::List(vec![tx.into(), "put".into(), "x".into(), Value::Int(value)])
}

fn get(tx: &str) -> Value {
    Value::List(vec![tx.into(), "get".into(), "x".into()])
}

#[test]
fn a_chain_that_all_agree_on_is_valid() {
    let found = check(promised(1), &sound());
    assert_eq!(
        (found.verdict, kinds(&found)),
        (Verdict::Valid, vec![]),
        "{found:?}"
    );
    assert_eq!(figure(&found, "confirmations enough"), &json!(1));
    // The first look that is called ten seconds after another returned is eleven seconds after it.
    let growth = figure(&found, "chain growth");
    assert_eq!(growth["without faults"]["tau"], json!(1.1));
    let shares = figure(&found, "blocks by miner");
    assert_eq!(
        shares["n1"],
        json!({"on chain": 7, "share": 0.35, "fair": 0.333, "stale": 0})
    );
}

#[test]
fn nobody_who_looks_is_unknown() {
    let found = chain().check(&History::default(), &Budget::default());
    assert_eq!(found.verdict, Verdict::Unknown);
    assert!(
        found.summary.contains("no operation head"),
        "{}",
        found.summary
    );
}

/// Four blocks stood against nine: nobody may have been told that one of the four is final.
#[test]
fn a_fork_violates_what_was_promised_if_it_is_as_deep() {
    let story = forked(4, 9);
    for (depth, verdict) in [(5, Verdict::Valid), (4, Verdict::Invalid)] {
        let found = check(promised(depth), &story);
        assert_eq!(found.verdict, verdict, "{depth} {found:?}");
        assert_eq!(figure(&found, "confirmations enough"), &json!(5));
        assert_eq!(figure(&found, "agreement")["k"], json!(4));
        assert_eq!(
            figure(&found, "reorganisations")["nodes"]["n3"]["deepest"],
            json!(4)
        );
        // Nobody looked at n3's four blocks after n1's nine, so these stand off from nothing.
        assert_eq!(figure(&found, "common prefix")["k"], json!(4));
    }
    let found = check(promised(4), &story);
    assert_eq!(
        kinds(&found),
        ["conflicting confirmed blocks", "confirmed block undone"]
    );
    let reason = &found.anomalies[1].reason;
    assert!(
        reason.starts_with("n3 (op 8, 2.000 s) had block b7 at height 7 and gave up 4 blocks"),
        "{reason}"
    );
    // n3's branch of four blocks, and that of the others, from where they part.
    let Some(Picture::Tree { blocks }) = found.anomalies[0].picture.as_deref() else {
        panic!("{found:?}");
    };
    let heads = |block: &&Block| !block.notes.is_empty();
    let tips: Vec<&Block> = blocks.iter().filter(heads).collect();
    assert_eq!(tips.len(), 2, "{blocks:?}");
    let branch = |tip: &Block| {
        let mut path = vec![tip.clone()];
        while let Some(parent) = path.last().and_then(|block| block.parent) {
            path.push(blocks[parent].clone());
        }
        path
    };
    let (one, other) = (branch(tips[0]), branch(tips[1]));
    let shared: Vec<&Block> = one.iter().filter(|block| other.contains(block)).collect();
    assert_eq!(shared[0].height, 3, "they part after block 3: {blocks:?}");
    for (path, tip) in [(&one, tips[0]), (&other, tips[1])] {
        let own = path.iter().filter(|block| !shared.contains(block));
        let own: u64 = own.map(|block| block.blocks).sum();
        assert_eq!(own as i64, tip.height - 3, "{blocks:?}");
    }
}

#[test]
fn a_node_that_leaves_for_less_work_is_found_unless_it_was_restarted() {
    let mut story = forked(4, 9);
    for block in &mut story.blocks {
        block.work = 10;
    }
    // n3's four blocks count for more than all that it goes over to.
    let heavy = story.looks[3].tip;
    story.blocks[heavy].work = 10_000;
    let found = check(chain(), &story);
    assert_eq!(kinds(&found), ["left for less work"], "{found:?}");
    story.faults[0].2 = "kill";
    let found = check(chain(), &story);
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
}

#[test]
fn a_node_that_has_a_heavier_branch_and_stays_is_found() {
    let mut story = forked(4, 9);
    for block in &mut story.blocks {
        block.work = 10;
    }
    assert_eq!(check(chain(), &story).verdict, Verdict::Valid);
    // n3 says in the midst of its own branch that it has the other, and in the end it goes over.
    let (lost, kept) = (story.looks[3].tip, story.looks[4].tip);
    story.looks[3].heaviest = Some(kept);
    let found = check(chain(), &story);
    assert_eq!(kinds(&found), ["heavier branch not taken"], "{found:?}");
    // Of no more work it has no reason to go.
    story.looks[3].heaviest = Some(lost);
    assert_eq!(check(chain(), &story).verdict, Verdict::Valid);
    // It never goes over, and nor does anybody else.
    story.looks[3].heaviest = Some(kept);
    for look in story
        .looks
        .iter_mut()
        .filter(|look| look.node == "n3" && look.call > 1_500_000_000)
    {
        look.tip = lost;
    }
    let found = check(chain(), &story);
    assert_eq!(kinds(&found)[0], "heavier branch never taken", "{found:?}");
}

/// A node's chain is 30 blocks shorter, and then as long as it was, and nobody had stopped it.
#[test]
fn a_head_that_falls_back_further_than_promised_is_found_unless_its_node_was_restarted() {
    let mut story = Story::default();
    let first = story.block(None, "");
    let tip = story.chain(first, 60, "n1");
    for (second, fallen) in [0, 0, 30, 0, 0].into_iter().enumerate() {
        let head = if second == 4 { tip } else { tip - 1 };
        story.look("n1", second as f64 + 0.1, head);
        story.look("n2", second as f64 + 0.2, head - fallen);
        story.look("n3", second as f64 + 0.3, head);
    }
    let found = check(promised(6), &story);
    assert_eq!(kinds(&found), ["confirmed block undone"], "{found:?}");
    let reason = &found.anomalies[0].reason;
    assert!(reason.contains("and fell back 30 blocks for"), "{reason}");
    assert!(
        found
            .summary
            .contains("6 confirmations were promised, and at least 31 would have been needed"),
        "{}",
        found.summary
    );
    assert!(kinds(&check(promised(31), &story)).is_empty());
    story
        .faults
        .push((1_300_000_000, 2_100_000_000, "kill", "n2"));
    assert!(kinds(&check(promised(6), &story)).is_empty());
    story.faults[0].2 = "pause";
    assert_eq!(
        kinds(&check(promised(6), &story)),
        ["confirmed block undone"]
    );
}

#[test]
fn a_summary_does_not_contradict_itself() {
    // What was acknowledged four deep moved, and looks have seen it three deep only.
    let mut story = forked(3, 9);
    let lost = story.path(story.looks[3].tip)[4];
    story.blocks[lost].transactions.push(put("t0", 7));
    story.asked.push(write("n3", 1.6, 7, (lost, "t0")));
    let again = story.path(story.looks.last().unwrap().tip)[14];
    story.blocks[again].transactions.push(put("t0", 7));
    let found = check(promised(4), &story);
    assert!(
        kinds(&found).contains(&"acknowledged write moved"),
        "{found:?}"
    );
    let said = "4 confirmations were promised, and at least 5 would have been needed; ";
    assert!(found.summary.contains(said), "{}", found.summary);
    let found = check(promised(1), &sound());
    let said = "1 confirmation was promised, and 1 would have been enough";
    assert!(found.summary.ends_with(said), "{}", found.summary);
}

#[test]
fn what_a_look_says_of_itself_is_held_against_what_was_asked() {
    let mut story = sound();
    let tips: Vec<usize> = story.looks.iter().map(|look| look.tip).collect();
    for (look, tip) in story.looks.iter_mut().zip(tips) {
        look.finalised = tip.checked_sub(2);
    }
    // A block that hangs nowhere.
    let nowhere = story.block(None, "n1");
    story.blocks[nowhere].hash = "nowhere".to_string();
    story.looks[30].finalised = Some(nowhere);
    let found = check(chain(), &story);
    assert_eq!(kinds(&found), ["head off the final chain"], "{found:?}");
}

#[test]
fn what_is_final_stays() {
    let mut story = sound();
    let tips: Vec<usize> = story.looks.iter().map(|look| look.tip).collect();
    for (look, tip) in story.looks.iter_mut().zip(tips) {
        look.finalised = tip.checked_sub(2);
    }
    let found = check(chain(), &story);
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
    assert_eq!(
        figure(&found, "finality"),
        &json!({"looks": 57, "contradictions": 0})
    );

    let mut back = story.clone();
    back.looks[30].finalised = Some(3);
    let found = check(chain(), &back);
    assert_eq!(kinds(&found), ["final block undone"], "{found:?}");

    let mut split = story.clone();
    let fork = split.chain(5, 2, "n2");
    split.looks[58].tip = fork;
    split.looks[58].finalised = Some(fork);
    let found = check(chain(), &split);
    assert_eq!(
        kinds(&found)[..2],
        ["final block undone", "conflicting final blocks"],
        "{found:?}"
    );

    let mut left = story;
    left.looks[0].finalised = Some(2);
    let found = check(chain(), &left);
    assert_eq!(kinds(&found)[0], "head off the final chain", "{found:?}");
}

/// After the heal n3 stays on its branch, as if nobody told it of the other.
#[test]
fn chains_that_do_not_come_together_are_found_if_they_had_the_time() {
    let mut story = forked(4, 9);
    let mut own = story.looks[3].tip;
    for look in story
        .looks
        .iter_mut()
        .skip(5)
        .filter(|look| look.node == "n3")
    {
        look.tip = own;
    }
    let found = check(chain(), &story);
    assert_eq!(kinds(&found), ["chains do not converge"], "{found:?}");
    let patient = chain().with_settle(Duration::from_secs(13));
    let found = check(patient.clone(), &story);
    assert_eq!(found.verdict, Verdict::Unknown, "{found:?}");
    assert!(
        found.summary.contains("eventual prefix is undecided"),
        "{}",
        found.summary
    );

    // It mines on, and so do the others: they agree on nothing new.
    for look in 5..story.looks.len() {
        if story.looks[look].node == "n3" {
            own = story.block(Some(own), "n3");
            story.looks[look].tip = own;
        }
    }
    let found = check(chain(), &story);
    assert_eq!(kinds(&found), ["chains do not converge"], "{found:?}");

    // What was never healed is not blamed on the nodes.
    story.faults[0].1 = 16_000_000_000;
    let found = check(chain(), &story);
    assert_eq!(found.verdict, Verdict::Unknown, "{found:?}");
}

#[test]
fn a_chain_that_stands_still_after_the_heal_is_found() {
    let mut story = forked(4, 9);
    let tip = story.looks[5].tip;
    for look in story.looks.iter_mut().skip(5) {
        look.tip = tip;
    }
    assert_eq!(kinds(&check(chain(), &story)), ["common prefix stuck"]);
}

#[test]
fn a_bound_makes_a_verdict_of_a_figure() {
    let slow = Duration::from_secs(10);
    for (judge, kind) in [
        (chain().with_common_prefix(2), "common prefix violated"),
        (chain().with_growth(1.2, slow), "chain growth violated"),
        (chain().with_quality(0.5, 4), "chain quality violated"),
        (
            chain()
                .with_confirmations(3)
                .with_liveness(Duration::from_secs(2)),
            "liveness violated",
        ),
    ] {
        let mut story = sound();
        // n3 is three blocks behind at its fifth look, and blocks 6 to 8 are a stranger's.
        story.looks[14].tip -= 3;
        for block in 6..9 {
            story.blocks[block].miner = "stranger";
        }
        story.blocks[4].transactions.push(put("t0", 7));
        story.asked.push(write("n1", 2.5, 7, (4, "t0")));
        story.asked[0].ret = 9_500_000_000;
        let found = check(judge, &story);
        assert_eq!(kinds(&found), [kind], "{found:?}");
        assert_eq!(check(chain(), &story).verdict, Verdict::Valid);
    }
}
