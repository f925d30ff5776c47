//! Validity of blocks and of what is in them, against the rules written down as they are read.

use std::collections::BTreeMap;

use checkers::{Analysis, Budget, Checker};
use history::{History, Value};

use crate::chain_brute::{Brute, random_story};
use crate::random::{Random, seeds, show};
use crate::story::{Asked, Look, NODES, Story, chain};

/// Findings by kind. A checker shows sixteen of a kind at most.
pub type Kinds = BTreeMap<&'static str, usize>;

const SHOWN: usize = 16;

pub fn found_of(found: &Analysis, kinds: &[&'static str]) -> Kinds {
    let count = |kind: &&'static str| {
        let all = found.anomalies.iter().filter(|a| a.kind == **kind);
        (*kind, all.count())
    };
    kinds.iter().map(count).filter(|(_, n)| *n > 0).collect()
}

pub fn expected(counts: &[(&'static str, usize)]) -> Kinds {
    let shown = counts.iter().map(|(kind, n)| (*kind, (*n).min(SHOWN)));
    shown.filter(|(_, n)| *n > 0).collect()
}

/// How often a test met each kind: it would mean nothing if it never did.
#[derive(Default)]
pub struct Met(BTreeMap<&'static str, usize>);

impl Met {
    pub fn add(&mut self, kinds: &Kinds) {
        for kind in kinds.keys() {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    pub fn at_least(&self, times: usize, kinds: &[&'static str]) {
        for kind in kinds {
            let met = self.0.get(kind).copied().unwrap_or(0);
            assert!(met >= times, "{kind} was met {met} times: {:?}", self.0);
        }
    }
}

const HEADERS: [&str; 6] = [
    "two blocks under one hash",
    "unknown parent",
    "wrong height",
    "time not past the median",
    "work not proven",
    "left for less work",
];

/// Times out of order, hashes that may not prove the work, wrong heights, blocks that are shown
/// twice or never.
fn break_headers(random: &mut Random, story: &mut Story) {
    story.asked.clear();
    for (number, block) in story.blocks.iter_mut().enumerate() {
        block.transactions.clear();
        block.work = *random.pick(&[1, 1, 1, 2, 3, 16]);
        if random.percent(40) {
            block.time_ms = random.below(12) as i64 * 500;
        }
        if random.percent(30) {
            let first = random.below(u64::MAX) >> random.below(3);
            block.hash = format!("{first:016x}{number:048x}");
        }
    }
    // Where none tells of work, no branch has less.
    if random.percent(20) {
        story.blocks.iter_mut().for_each(|block| block.work = 1);
    }
    let any = |random: &mut Random, n: usize| 1 + random.below(n as u64 - 1) as usize;
    let blocks = story.blocks.len();
    if random.percent(30) {
        let height = 1 + random.below(9) as i64;
        story.heights.push((any(random, blocks), height));
    }
    if random.percent(20) {
        story.withheld.push(any(random, blocks));
    }
    if !story.looks.is_empty() && random.percent(30) {
        let look = random.below(story.looks.len() as u64) as usize;
        story.said.push((look, random.below(9) as i64));
    }
    if !story.looks.is_empty() && random.percent(30) {
        let look = random.below(story.looks.len() as u64) as usize;
        let path = story.path(story.looks[look].tip);
        let block = *random.pick(&path);
        if !story.withheld.contains(&block) {
            story.forged.push((look, block));
        }
    }
    if random.percent(50) {
        let from = random.below(8) * 1_000_000_000;
        let until = from + random.below(4) * 1_000_000_000;
        story.faults.push((from, until, "kill", "n2"));
    }
}

/// Whether the first 64 bits of the hash are at most 2^64 / work.
fn proves(hash: &str, work: i64) -> bool {
    hash.len() < 64
        || u128::from_str_radix(&hash[..16], 16).unwrap() * work as u128 <= u128::from(u64::MAX)
}

fn wrong_headers(story: &Story) -> Kinds {
    let brute = Brute::new(story);
    let whole = |block: usize| {
        let path = story.path(block);
        path.iter().all(|above| !story.withheld.contains(above))
    };
    let shown = |block: &usize| {
        let mut tips = story.looks.iter().map(|look| look.tip);
        !story.withheld.contains(block) && tips.any(|tip| story.path(tip).contains(block))
    };
    let blocks: Vec<usize> = (1..story.blocks.len()).filter(shown).collect();
    // Those under a block that nobody showed stand nowhere.
    let placed: Vec<usize> = blocks.iter().copied().filter(|b| whole(*b)).collect();

    let loose = blocks.iter().filter(|block| {
        let parent = story.blocks[**block].parent.unwrap();
        story.withheld.contains(&parent)
    });
    let high = placed.iter().filter(|block| {
        let says = story.heights.iter().find(|(other, _)| other == *block);
        says.is_some_and(|(_, height)| *height != story.path(**block).len() as i64 - 1)
    });
    let said = story.said.iter().filter(|(look, height)| {
        let tip = story.looks[*look].tip;
        whole(tip) && *height != story.path(tip).len() as i64 - 1
    });
    let early = placed.iter().filter(|block| {
        let mut before = story.path(**block);
        before.pop();
        let eleven = &before[before.len().saturating_sub(11)..];
        let mut times: Vec<i64> = eleven.iter().map(|b| story.blocks[*b].time_ms).collect();
        times.sort_unstable();
        story.blocks[**block].time_ms <= times[times.len() / 2]
    });
    let unproven = placed.iter().filter(|block| {
        let block = &story.blocks[**block];
        !proves(&block.hash, block.work)
    });
    let work = |tip| {
        let path = story.path(tip);
        path.iter().map(|b| story.blocks[*b].work).sum::<i64>()
    };
    let told = placed.iter().chain([&0]).any(|b| story.blocks[*b].work > 1);
    let mut left = 0;
    for node in NODES {
        let mut looks = brute.of_node(node);
        looks.retain(|look| whole(look.tip));
        for pair in looks.windows(2) {
            let common = brute.common(pair[0].tip, pair[1].tip);
            let elsewhere =
                common < brute.length(pair[0].tip) && common < brute.length(pair[1].tip);
            let restarted = story.faults.iter().any(|(from, until, family, target)| {
                *family == "kill"
                    && *target == node
                    && *from <= pair[1].ret
                    && pair[0].call <= *until
            });
            let less = work(pair[1].tip) < work(pair[0].tip);
            left += usize::from(told && elsewhere && less && !restarted);
        }
    }
    expected(&[
        (HEADERS[0], story.forged.len()),
        (HEADERS[1], loose.count()),
        (HEADERS[2], high.count() + said.count()),
        (HEADERS[3], early.count()),
        (HEADERS[4], unproven.count()),
        (HEADERS[5], left),
    ])
}

pub fn say(seed: u64, story: &Story, history: &History, found: &Analysis) -> String {
    format!("seed {seed}\n{story:?}\n{}{found:?}", show(history))
}

#[test]
fn headers_that_break_a_rule_are_found_and_no_others() {
    let mut met = Met::default();
    for seed in seeds(800) {
        let mut random = Random::new(seed);
        let mut story = random_story(&mut random);
        break_headers(&mut random, &mut story);
        let history = story.history();
        let found = chain().check(&history, &Budget::default());
        let kinds = wrong_headers(&story);
        assert_eq!(
            found_of(&found, &HEADERS),
            kinds,
            "{}",
            say(seed, &story, &history, &found)
        );
        met.add(&kinds);
    }
    met.at_least(20, &HEADERS);
}

const TRANSACTIONS: [&str; 5] = [
    "transaction twice",
    "transaction twice in one block",
    "transaction from nowhere",
    "transaction from the future",
    "answer names a wrong place",
];

/// Transactions twice on a branch, or of nobody; answers that name another block.
fn break_transactions(random: &mut Random, story: &mut Story) {
    let any = |random: &mut Random, story: &Story| random.below(story.blocks.len() as u64) as usize;
    for number in 0..random.below(3) {
        let block = any(random, story);
        let value = Value::Int(900 + number as i64);
        let transaction = [
            format!("s{number}").as_str().into(),
            "put".into(),
            "x".into(),
            value,
        ];
        story.blocks[block]
            .transactions
            .push(Value::List(transaction.to_vec()));
    }
    let all: Vec<Value> = story
        .blocks
        .iter()
        .flat_map(|b| b.transactions.clone())
        .collect();
    for _ in 0..random.below(3) {
        if !all.is_empty() {
            let block = any(random, story);
            let transaction = random.pick(&all).clone();
            story.blocks[block].transactions.push(transaction);
        }
    }
    for asked in 0..story.asked.len() {
        let block = any(random, story);
        if let Some((at, _)) = &mut story.asked[asked].at
            && random.percent(20)
        {
            *at = block;
        }
    }
}

fn name_of(transaction: &Value) -> &str {
    transaction.as_list().unwrap()[0].as_text().unwrap()
}

fn wrong_transactions(story: &Story) -> Kinds {
    let shower = |block: usize| {
        let has = |look: &&Look| story.path(look.tip).contains(&block);
        story.looks.iter().filter(has).map(|look| look.ret).min()
    };
    let [mut twice, mut here_twice, mut nowhere, mut future] = [0; 4];
    for block in 0..story.blocks.len() {
        let Some(seen) = shower(block) else { continue };
        let mut above = story.path(block);
        above.pop();
        let here = &story.blocks[block].transactions;
        for (position, transaction) in here.iter().enumerate() {
            let name = name_of(transaction);
            let same = |other: &Value| name_of(other) == name;
            let mut before = above.iter().flat_map(|b| &story.blocks[*b].transactions);
            // The nearest one counts.
            match here[..position].iter().any(same) {
                true => here_twice += 1,
                false => twice += usize::from(before.any(same)),
            }
            let parts = transaction.as_list().unwrap();
            let written = match parts[1].as_text() {
                Some("put" | "cas") => parts.last().unwrap(),
                _ => continue,
            };
            let asks = |asked: &&Asked| {
                let content = asked.input.as_pair().unwrap().1;
                let swap = content.as_pair();
                content == written || swap.is_some_and(|(a, b)| a == written || b == written)
            };
            let first = story
                .asked
                .iter()
                .filter(asks)
                .map(|asked| asked.call)
                .min();
            match first {
                // Nobody at all asked: they are not in the history.
                None => nowhere += usize::from(!story.asked.is_empty()),
                Some(call) => future += usize::from(seen < call),
            }
        }
    }
    let elsewhere = story.asked.iter().filter(|asked| {
        let Some((block, name)) = &asked.at else {
            return false;
        };
        let has = |block: usize| {
            let mut all = story.blocks[block].transactions.iter();
            shower(block).is_some() && all.any(|t| name_of(t) == name)
        };
        shower(*block).is_some() && !has(*block) && (0..story.blocks.len()).any(has)
    });
    expected(&[
        (TRANSACTIONS[0], twice),
        (TRANSACTIONS[1], here_twice),
        (TRANSACTIONS[2], nowhere),
        (TRANSACTIONS[3], future),
        (TRANSACTIONS[4], elsewhere.count()),
    ])
}

#[test]
fn transactions_that_break_a_rule_are_found_and_no_others() {
    let mut met = Met::default();
    for seed in seeds(800) {
        let mut random = Random::new(seed);
        let mut story = random_story(&mut random);
        break_transactions(&mut random, &mut story);
        if story.looks.is_empty() {
            continue;
        }
        let history = story.history();
        let found = chain().check(&history, &Budget::default());
        let kinds = wrong_transactions(&story);
        assert_eq!(
            found_of(&found, &TRANSACTIONS),
            kinds,
            "{}",
            say(seed, &story, &history, &found)
        );
        met.add(&kinds);
    }
    met.at_least(20, &TRANSACTIONS);
}
