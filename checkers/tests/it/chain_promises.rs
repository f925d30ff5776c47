//! What a chain promises its users, against definitions written down as they are read: eventual
//! prefix, finality, acknowledged writes, and the ledger's answers.

mod answers;

use std::collections::BTreeMap;
use std::time::Duration;

use checkers::{Budget, Checker, Verdict};
use history::{Kind, Value};
use serde_json::json;

use crate::chain_brute::{Brute, random_story};
use crate::chain_rules::{Met, expected, found_of, say};
use crate::chains::figure;
use crate::random::{Random, seeds};
use crate::story::{Asked, Look, NODES, Story, chain};

const SECOND: u64 = 1_000_000_000;

/// Long branches, and nodes that are now on one, now on another.
fn branches(random: &mut Random) -> Story {
    let mut story = Story::default();
    let first = story.block(None, "");
    let base = story.chain(first, random.below(4) as usize, "n1");
    let tips: Vec<usize> = (0..1 + random.below(3))
        .map(|_| story.chain(base, random.below(16) as usize, "n2"))
        .collect();
    let blocks = story.blocks.len() as u64;
    for (number, node) in NODES.iter().enumerate() {
        // Nobody looks at the same moment as another.
        let mut time = random.below(5) * SECOND + number as u64 * 1_000_000;
        for _ in 0..random.below(8) {
            let ret = time + random.below(3) * SECOND / 2;
            let tip = match random.percent(50) {
                true => *random.pick(&tips),
                false => random.below(blocks) as usize,
            };
            story.looks.push(Look {
                node,
                call: time,
                ret,
                tip,
                finalised: None,
                heaviest: None,
            });
            time = ret + (1 + random.below(4)) * SECOND / 2;
        }
    }
    for _ in 0..random.below(3) {
        let from = random.below(6) * SECOND;
        let until = match random.percent(10) {
            true => u64::MAX,
            false => from + random.below(4) * SECOND,
        };
        story.faults.push((from, until, "partition", "n1"));
    }
    story
}

/// How far the newest looks of the others, taken since `from` and returned before it, are ahead of
/// a look.
fn ahead(brute: &Brute, look: &Look, from: u64) -> usize {
    let others = NODES.iter().filter(|node| **node != look.node);
    let newest = others.filter_map(|node| {
        let mut looks = brute.of_node(node).into_iter();
        looks.rfind(|other| other.ret < look.call)
    });
    let since = newest.filter(|other| other.call >= from);
    let beyond = since.map(|o| brute.length(o.tip) - brute.common(o.tip, look.tip));
    beyond.max().unwrap_or(0)
}

#[test]
fn eventual_prefix_is_what_the_definition_says() {
    let mut met: BTreeMap<(Verdict, &str), usize> = BTreeMap::new();
    for seed in seeds(800) {
        let mut random = Random::new(seed);
        let story = branches(&mut random);
        let brute = Brute::new(&story);
        if brute.looks.is_empty() {
            continue;
        }
        let settle = random.below(12) * SECOND / 2;
        let granted = 6 + random.below(3);
        let chain = chain()
            .with_nodes(NODES.map(Into::into))
            .with_settle(Duration::from_nanos(settle));
        // Only up to the depth of answers, where it is deeper than what is usual.
        let chain = chain.with_confirmations(granted);
        let history = story.history();
        let found = chain.check(&history, &Budget::default());
        let say = || say(seed, &story, &history, &found);

        let healed = story.faults.iter().map(|(_, until, ..)| *until);
        let from = healed.filter(|until| *until < u64::MAX).max().unwrap_or(0);
        let after: Vec<&Look> = brute
            .looks
            .iter()
            .copied()
            .filter(|l| l.call >= from)
            .collect();
        let of = |node: &'static str| after.iter().filter(move |look| look.node == node);
        let last = NODES.map(|node| of(node).next_back());
        let aparts = last.iter().flatten().map(|look| ahead(&brute, look, from));
        let apart = aparts.max().unwrap_or(0);
        let common = |looks: [Option<&&Look>; 3]| {
            let paths: Vec<Vec<usize>> =
                looks.iter().flatten().map(|l| story.path(l.tip)).collect();
            let all = |block: &usize| paths.iter().all(|path| path.contains(block));
            paths
                .first()
                .map_or(1, |path| path.iter().filter(|b| all(b)).count())
        };
        let advanced = common(last) as i64 - common(NODES.map(|node| of(node).next())) as i64;
        let bad = after
            .iter()
            .rposition(|look| ahead(&brute, look, from) > granted as usize);
        let settled = after.get(bad.map_or(0, |bad| bad + 1));
        let settled = settled.map(|look| (look.ret - from) as f64 / 1e9);

        let eventual = figure(&found, "eventual prefix");
        assert_eq!(eventual["apart"], json!(apart), "{}", say());
        assert_eq!(eventual["advanced"], json!(advanced), "{}", say());
        assert_eq!(eventual["settled after"].as_f64(), settled, "{}", say());

        let end = brute.looks.last().unwrap().ret;
        let (verdict, why) = if story.faults.iter().any(|(_, until, ..)| *until == u64::MAX) {
            (Verdict::Unknown, "never healed")
        } else if last.iter().any(Option::is_none) {
            (Verdict::Unknown, "nothing was seen of")
        } else if apart > granted as usize || advanced <= 0 {
            match end.saturating_sub(from) < settle {
                true => (Verdict::Unknown, "are granted to come together"),
                false if apart > granted as usize => (Verdict::Invalid, "chains do not converge"),
                false => (Verdict::Invalid, "common prefix stuck"),
            }
        } else {
            (Verdict::Valid, "")
        };
        let kinds = ["chains do not converge", "common prefix stuck"];
        let kinds: Vec<&str> = found_of(&found, &kinds).into_keys().collect();
        match verdict {
            Verdict::Invalid => assert_eq!(kinds, [why], "{}", say()),
            Verdict::Unknown => {
                assert!(kinds.is_empty(), "{}", say());
                assert!(found.summary.contains(why), "{why} {}", say());
            }
            // Other findings are of what was promised.
            _ => assert!(
                kinds.is_empty() && found.verdict != Verdict::Unknown,
                "{}",
                say()
            ),
        }
        *met.entry((verdict, why)).or_default() += 1;
    }
    assert_eq!(met.len(), 6, "{met:?}");
    assert!(met.values().all(|times| *times > 8), "{met:?}");
}

const FINALITY: [&str; 3] = [
    "final block undone",
    "conflicting final blocks",
    "head off the final chain",
];

#[test]
fn finality_is_what_the_definition_says() {
    let mut met = Met::default();
    let mut sound = 0;
    for seed in seeds(800) {
        let mut random = Random::new(seed);
        let mut story = branches(&mut random);
        // Most call final what is deep in the one chain, so that nothing contradicts it.
        let deepest = story.path(story.blocks.len() - 1);
        for look in &mut story.looks {
            look.finalised = match random.below(20) {
                0 => Some(random.below(story.blocks.len() as u64) as usize),
                1..5 => None,
                _ => {
                    look.tip = *random.pick(&deepest);
                    let length = deepest.iter().position(|b| *b == look.tip).unwrap();
                    let depth = random.below(3) as usize;
                    Some(deepest[length.saturating_sub(depth)])
                }
            };
        }
        for node in NODES.iter().filter(|_| random.percent(70)) {
            forward(&mut story, node);
        }
        let brute = Brute::new(&story);
        if brute.looks.is_empty() {
            continue;
        }
        let history = story.history();
        let found = chain().check(&history, &Budget::default());

        let shown = |block: usize| {
            let mut looks = story.looks.iter();
            looks.any(|look| story.path(look.tip).contains(&block))
        };
        let told: Vec<(&Look, usize)> = (brute.looks.iter())
            .filter_map(|look| Some((*look, look.finalised.filter(|b| shown(*b))?)))
            .collect();
        let prefix = |a: usize, b: usize| story.path(b).contains(&a);
        let pairs = || told.iter().flat_map(|a| told.iter().map(move |b| (*a, *b)));
        let undone = pairs().any(|((a, one), (b, other))| {
            a.node == b.node && a.call < b.call && !prefix(one, other)
        });
        let split = pairs().any(|((_, a), (_, b))| !prefix(a, b) && !prefix(b, a));
        let off = told
            .iter()
            .filter(|(look, block)| !prefix(*block, look.tip));
        // What nobody ever showed is on no chain.
        let unseen = brute
            .looks
            .iter()
            .filter(|l| l.finalised.is_some_and(|b| !shown(b)));
        let unseen = unseen.count();
        let kinds = expected(&[
            (FINALITY[0], usize::from(undone)),
            (FINALITY[1], usize::from(split)),
            (FINALITY[2], off.count() + unseen),
        ]);
        let mut judged = found_of(&found, &FINALITY);
        // Of the first two it is told whether, not by how many looks.
        for kind in [FINALITY[0], FINALITY[1]] {
            judged.entry(kind).and_modify(|n| *n = 1);
        }
        assert_eq!(judged, kinds, "{}", say(seed, &story, &history, &found));
        let looks = found.figures.iter().find(|f| f.name == "finality");
        let looks = looks.map_or(json!(0), |f| f.value["looks"].clone());
        assert_eq!(
            looks,
            json!(told.len() + unseen),
            "{}",
            say(seed, &story, &history, &found)
        );
        sound += usize::from(kinds.is_empty() && told.len() > 3);
        met.add(&kinds);
    }
    met.at_least(30, &FINALITY);
    assert!(sound > 30, "{sound}");
}

/// Puts what a node shows into the order in which a chain grows.
fn forward(story: &mut Story, node: &str) {
    let of: Vec<usize> = (0..story.looks.len())
        .filter(|look| story.looks[*look].node == node)
        .collect();
    let mut shown: Vec<(usize, Option<usize>)> = of
        .iter()
        .map(|look| (story.looks[*look].tip, story.looks[*look].finalised))
        .collect();
    shown.sort_by_key(|(_, finalised)| finalised.map_or(0, |block| story.path(block).len()));
    for (look, (tip, finalised)) in of.into_iter().zip(shown) {
        (story.looks[look].tip, story.looks[look].finalised) = (tip, finalised);
    }
}

const CONFIRMED: [&str; 5] = [
    "acknowledged write gone",
    "acknowledged write moved",
    "acknowledged too early",
    "conflicting confirmed blocks",
    "confirmed block undone",
];

#[test]
fn acknowledged_writes_are_judged_as_the_definitions_say() {
    let mut met = Met::default();
    let mut late = 0;
    for seed in seeds(800) {
        let mut random = Random::new(seed);
        let mut story = random_story(&mut random);
        if random.percent(30) {
            let from = random.below(8) * SECOND;
            story.faults.push((from, from + SECOND, "kill", "n2"));
        }
        let brute = Brute::new(&story);
        let Some(last) = brute.last() else { continue };
        let promised = 1 + random.below(4) as usize;
        let chain = chain().with_confirmations(promised as u64);
        let history = story.history();
        let found = chain.check(&history, &Budget::default());
        let say = || say(seed, &story, &history, &found);

        let end = story.path(last.tip);
        let shown = |block: &usize| {
            story
                .looks
                .iter()
                .any(|l| story.path(l.tip).contains(block))
        };
        let [mut gone, mut moved, mut judged, mut undecided, mut early] = [0; 5];
        let mut enough = 1;
        for asked in &story.asked {
            let Some((told, name)) = &asked.at else {
                continue;
            };
            let here: Vec<usize> = brute.blocks_of(name).into_iter().filter(shown).collect();
            early += usize::from(too_early(&brute, asked, *told, &here, promised));
            // Whether a compare-and-set wrote is not asked: it is a transaction all the same.
            if asked.f == "read" {
                continue;
            }
            let on = here.iter().find(|block| end.contains(block));
            let same = on == Some(told);
            let mut of_node = brute.of_node(asked.node).into_iter();
            let seen = last.call > asked.ret && of_node.any(|look| look.call > asked.ret);
            if !same && !seen {
                undecided += 1;
                continue;
            }
            judged += 1;
            if !same {
                let off = here.iter().filter(|block| !end.contains(block));
                let depth = off.map(|block| brute.depth(*block)).max().unwrap_or(0);
                enough = enough.max(depth + 1);
                match on {
                    Some(_) => moved += 1,
                    None => gone += 1,
                }
            }
        }
        let beyond = |a: usize, b: usize| brute.length(a) - brute.common(a, b);
        let conflict = brute
            .pairs()
            .any(|(a, b)| beyond(a.tip, b.tip) >= promised && beyond(b.tip, a.tip) >= promised);
        let mut undone = 0;
        for node in NODES {
            for pair in brute.of_node(node).windows(2) {
                let left = beyond(pair[0].tip, pair[1].tip);
                let shorter = beyond(pair[1].tip, pair[0].tip) == 0;
                let restarted = story.faults.iter().any(|(from, until, family, target)| {
                    *family == "kill"
                        && *target == node
                        && *from <= pair[1].ret
                        && pair[0].call <= *until
                });
                undone += usize::from(left >= promised && !(shorter && restarted));
            }
        }
        let mut kinds = found_of(&found, &CONFIRMED);
        // One for each block after which chains part, which is not counted here.
        kinds.entry(CONFIRMED[3]).and_modify(|n| *n = 1);
        let expected = expected(&[
            (CONFIRMED[0], gone),
            (CONFIRMED[1], moved),
            (CONFIRMED[2], early),
            (CONFIRMED[3], usize::from(conflict)),
            (CONFIRMED[4], undone),
        ]);
        assert_eq!(kinds, expected, "{}", say());
        let persistence = figure(&found, "persistence");
        for (name, count) in [
            ("acknowledged writes", judged),
            ("acknowledged gone", gone),
            ("acknowledged moved", moved),
            ("acknowledged too late to tell", undecided),
            ("confirmations for none", enough),
        ] {
            assert_eq!(persistence[name], json!(count), "{name} {}", say());
        }
        late += usize::from(undecided > 0);
        met.add(&expected);
    }
    met.at_least(15, &CONFIRMED);
    assert!(late > 30, "{late}");
}

/// The first look at the node after its answer has the transaction's branch, and less of it than
/// was promised. A node that was restarted meanwhile is not blamed, nor one whose block nobody saw.
fn too_early(brute: &Brute, asked: &Asked, told: usize, here: &[usize], promised: usize) -> bool {
    let story = brute.story;
    let seen = story
        .looks
        .iter()
        .any(|l| story.path(l.tip).contains(&told));
    let looks = brute.of_node(asked.node);
    let Some(look) = looks.iter().find(|look| look.call > asked.ret) else {
        return false;
    };
    let restarted = story.faults.iter().any(|(from, until, family, target)| {
        *family == "kill" && *target == asked.node && *from <= look.ret && asked.call <= *until
    });
    let path = story.path(look.tip);
    let one_branch = |block: &usize| path.contains(block) || story.path(*block).contains(&look.tip);
    let deep = |block: &usize| {
        let at = path.iter().position(|b| b == block);
        at.is_some_and(|at| path.len() - at >= promised)
    };
    seen && !here.is_empty() && !restarted && here.iter().all(one_branch) && !here.iter().any(deep)
}
