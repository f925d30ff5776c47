//! What the blocks themselves must be like: the rules of validity, and what nodes say they refused.

use std::time::Duration;

use checkers::chain::{Retarget, Rules};
use checkers::{Budget, Checker, Verdict};
use history::{Event, History, Kind, Process, Value};
use serde_json::json;

use super::{check, figure, get, kinds, promised, put, sound, write};
use crate::story::{Asked, NODES, Story, chain};

#[test]
fn each_rule_of_validity_is_held_against_the_blocks() {
    type Spoil = fn(&mut Story);
    let broken: [(&str, Spoil); 11] = [
        ("first block with a parent", |story| {
            story.parents.push((0, "abc"))
        }),
        ("two first blocks", |story| {
            let other = story.block(None, "n2");
            story.blocks[other].hash = "other".to_string();
            story.looks[20].tip = other;
        }),
        ("answer names a wrong place", |story| {
            story.asked[0].told.0 = Some(3)
        }),
        ("answer names a wrong place", |story| {
            story.asked[0].told.1 = Some(1)
        }),
        ("time not past the median", |story| {
            story.blocks[15].time_ms = story.blocks[9].time_ms;
        }),
        ("work not proven", |story| {
            story.blocks[15].hash = format!("{:0<64}", "5555555555555556");
            story.blocks[15].work = 3;
        }),
        ("transaction twice", |story| {
            story.blocks[6].transactions.push(put("t0", 7));
        }),
        ("transaction twice in one block", |story| {
            story.blocks[4].transactions.push(put("t0", 7));
        }),
        ("transaction from nowhere", |story| {
            story.blocks[4].transactions.push(put("t9", 8));
        }),
        ("answer names a wrong place", |story| {
            story.asked[0].at = Some((5, "t0".to_string()));
        }),
        ("answer not of the ledger", |story| {
            story.blocks[5].transactions.push(get("t1"));
            let old = Value::pair("x", Value::Nil);
            story.asked.push(Asked {
                f: "read",
                input: old.clone(),
                output: old,
                ret: 11_500_000_000,
                ..write("n1", 6.0, 0, (5, "t1"))
            });
        }),
    ];
    for (kind, spoil) in broken {
        let mut story = sound();
        story.blocks[4].transactions.push(put("t0", 7));
        story.asked.push(write("n1", 2.0, 7, (4, "t0")));
        story.asked[0].ret = 9_500_000_000;
        let found = check(promised(6), &story);
        assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
        spoil(&mut story);
        let found = check(promised(6), &story);
        assert_eq!(kinds(&found).first(), Some(&kind), "{found:?}");
    }
}

/// A third of 2^64 is as large as a hash may be that proves a work of three.
#[test]
fn a_hash_that_is_just_small_enough_proves_its_work() {
    let mut story = sound();
    story.blocks[15].hash = format!("{:0<64}", "5555555555555555");
    story.blocks[15].work = 3;
    assert_eq!(check(chain(), &story).verdict, Verdict::Valid);
}

/// Blocks are retargeted every ten, by the times that they say: a second each, as is aimed at.
#[test]
fn work_follows_from_the_blocks_before() {
    let rules = Rules {
        retarget: Some(Retarget {
            every: 10,
            interval: Duration::from_secs(2),
        }),
        ..Rules::default()
    };
    let chain = || chain().with_rules(rules);
    let mut story = sound();
    for (number, block) in story.blocks.iter_mut().enumerate() {
        // Twice as fast as they should be: twice the work, and twice again.
        block.work = match number {
            ..10 => 8,
            10..20 => 16,
            _ => 32,
        };
    }
    let found = check(chain(), &story);
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
    for (block, work) in [(5, 7), (5, 9), (10, 8), (12, 1), (20, 16)] {
        let mut story = story.clone();
        story.blocks[block].work = work;
        let found = check(chain(), &story);
        assert_eq!(
            kinds(&found).first(),
            Some(&"work not of the rule"),
            "{block} {found:?}"
        );
    }
    let never = Rules {
        retarget: rules.retarget.map(|r| Retarget { every: 0, ..r }),
        ..rules
    };
    let found = check(chain().with_rules(never), &story);
    assert_eq!(found.found(), 2, "{found:?}");
}

#[test]
fn a_block_from_the_future_is_found_where_no_clock_was_touched() {
    let rules = Rules {
        max_future_drift: Some(Duration::from_secs(7_200)),
        ..Rules::default()
    };
    let ahead = |hours: i64, faults: &[(u64, u64, &'static str, &'static str)]| {
        let mut story = sound();
        story.blocks[15].time_ms += hours * 3_600_000;
        story.faults.extend(faults);
        let found = check(chain().with_rules(rules), &story);
        kinds(&found)
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(ahead(3, &[]), ["block from the future"]);
    assert!(ahead(1, &[]).is_empty());
    let second = 1_000_000_000;
    let clock = |from: u64, node| (from * second, (from + 2) * second, "clock", node);
    // Every node may have taken it by a clock that was wrong.
    let all = NODES.map(|node| clock(9, node));
    assert!(ahead(3, &all).is_empty());
    // One may not.
    assert_eq!(ahead(3, &all[..2]), ["block from the future"]);
    assert_eq!(
        ahead(3, &[(9 * second, 10 * second, "pause", "n1")]),
        ["block from the future"]
    );
}

/// Looks 0, 3, 6, ... of the sound story are n1's, 1, 4, 7, ... n2's.
pub fn refusing() -> Story {
    let mut story = sound();
    let none = vec![("too-new", 0), ("bad-work", 0)];
    story.refused = vec![
        (0, none.clone()),
        (1, none),
        (9, vec![("too-new", 2), ("bad-work", 0)]),
        (12, vec![("too-new", 5), ("bad-work", 0)]),
        // Restarted: one was refused since.
        (18, vec![("too-new", 1), ("bad-work", 0)]),
        (31, vec![("too-new", 1), ("bad-work", 1)]),
    ];
    story
}

#[test]
fn refusals_are_added_up_over_looks_and_restarts() {
    let found = check(chain(), &refusing());
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
    let refused = figure(&found, "blocks refused");
    assert_eq!(refused["count"], json!(8), "{refused}");
    assert_eq!(refused["by rule"], json!({"too-new": 7, "bad-work": 1}));
    assert_eq!(
        refused["nodes"],
        json!({"n1": {"too-new": 6}, "n2": {"too-new": 1, "bad-work": 1}})
    );
    // The look at 3 s was the fourth at n1.
    let first = refused["first seen"]["too-new"].as_str().unwrap();
    assert!(
        first.starts_with("n1 (op ") && first.ends_with("3.010 s)"),
        "{first}"
    );
}

#[test]
fn where_no_node_counts_refusals_there_is_no_figure_of_them() {
    let found = check(chain(), &sound());
    assert!(found.figures.iter().all(|f| f.name != "blocks refused"));
}

/// As it is read from a log that restarts do not cut.
#[test]
fn refusals_that_are_told_once_at_the_end_count_too() {
    let mut events = sound().history().events().to_vec();
    let at = events.last().unwrap().time;
    for (kind, value) in [
        (Kind::Invoke, Value::Nil),
        (
            Kind::Ok,
            Value::from(json!({"node": "n3", "refused": {"time-too-new": 12}})),
        ),
    ] {
        events.push(Event {
            index: events.len() as u64,
            time: at,
            process: Process::Client(7),
            kind,
            f: "refused".into(),
            value,
            error: None,
            node: Some("n3".into()),
            version: None,
            due: None,
        });
    }
    let history = History::new(events).unwrap();
    let found = chain().check(&history, &Budget::default());
    assert_eq!(
        figure(&found, "blocks refused")["nodes"],
        json!({"n3": {"time-too-new": 12}})
    );
}
