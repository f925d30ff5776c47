//! Chains, against definitions written down as they are read: every pair, every window.

use std::time::Duration;

use checkers::{Budget, Checker};
use history::{Event, History, Kind, Process, Time, Value};
use serde_json::json;

use crate::brute;
use crate::chains::figure;
use crate::random::{Random, seeds, show};
use crate::story::{Asked, Look, NODES, Story, chain};

/// Forks, looks that jump between them, and transactions that are in several blocks.
pub fn random_story(random: &mut Random) -> Story {
    let mut story = Story::default();
    let first = story.block(None, "");
    let blocks = 2 + random.below(12) as usize;
    for _ in 0..blocks {
        let last = story.blocks.len() - 1;
        let parent = match random.percent(70) {
            true => last,
            false => random.below(last as u64 + 1) as usize,
        };
        let miner = *random.pick(&["n1", "n2", "n3", "other"]);
        let block = story.block(Some(parent), miner);
        story.blocks[block].work = *random.pick(&[1, 1, 2]);
    }
    let nodes = 1 + random.below(3) as usize;
    for node in &NODES[..nodes] {
        let mut time = random.below(5) * 1_000_000_000;
        let mut tip = first;
        for _ in 0..random.below(7) {
            let call = time + random.below(4) * 500_000_000;
            let ret = call + random.below(3) * 500_000_000;
            tip = match random.percent(60) {
                // On, if there is anything above.
                true => story
                    .blocks
                    .iter()
                    .rposition(|b| b.parent == Some(tip))
                    .unwrap_or(tip),
                false => random.below(story.blocks.len() as u64) as usize,
            };
            story.looks.push(Look {
                node,
                call,
                ret,
                tip,
                finalised: None,
                heaviest: None,
            });
            time = ret + 1;
        }
    }
    transactions(random, &mut story, nodes);
    if random.percent(50) {
        let from = random.below(8) * 1_000_000_000;
        let until = from + random.below(4) * 1_000_000_000;
        story.faults.push((from, until, "partition", "n1"));
    }
    story
}

fn transactions(random: &mut Random, story: &mut Story, nodes: usize) {
    for number in 0..random.below(7) as usize {
        let name = format!("t{number}");
        let key = *random.pick(&["x", "x", "y"]);
        let value = Value::Int(100 + number as i64);
        let before = Value::Int(100 + random.below(5) as i64);
        let (f, input, tail): (_, Value, Vec<Value>) = match random.below(5) {
            0 | 1 => (
                "read",
                Value::pair(key, Value::Nil),
                vec!["get".into(), key.into()],
            ),
            2 => (
                "cas",
                Value::pair(key, Value::pair(before.clone(), value.clone())),
                vec!["cas".into(), key.into(), before, value],
            ),
            _ => (
                "write",
                Value::pair(key, value.clone()),
                vec!["put".into(), key.into(), value],
            ),
        };
        let mut inside = Vec::new();
        for _ in 0..1 + random.below(4) {
            let block = random.below(story.blocks.len() as u64) as usize;
            // Once on a branch.
            let path =
                |a: usize, b: usize| story.path(a).contains(&b) || story.path(b).contains(&a);
            if inside.iter().any(|other| path(*other, block)) {
                continue;
            }
            let transaction = [Value::text(&name)].into_iter().chain(tail.clone());
            story.blocks[block]
                .transactions
                .push(Value::List(transaction.collect()));
            inside.push(block);
        }
        let call = random.below(12) * 500_000_000;
        let told = random.percent(75);
        story.asked.push(Asked {
            node: NODES[random.below(nodes as u64) as usize],
            call,
            ret: call + (1 + random.below(12)) * 500_000_000,
            kind: if told { Kind::Ok } else { Kind::Info },
            f,
            output: input.clone(),
            input,
            at: told.then(|| (*random.pick(&inside), name)),
            told: (None, None),
        });
    }
}

/// The definitions, on the story itself.
pub struct Brute<'a> {
    pub story: &'a Story,
    /// In the order of calls, as the history has them.
    pub looks: Vec<&'a Look>,
}

impl Brute<'_> {
    pub fn new(story: &Story) -> Brute<'_> {
        // A look at a block that nobody showed is none, and every look shows all of its chain.
        let mut looks: Vec<&Look> = story.looks.iter().collect();
        looks.sort_by_key(|look| look.call);
        Brute { story, looks }
    }

    pub fn common(&self, a: usize, b: usize) -> usize {
        let (a, b) = (self.story.path(a), self.story.path(b));
        a.iter().zip(&b).take_while(|(x, y)| x == y).count()
    }

    pub fn length(&self, tip: usize) -> usize {
        self.story.path(tip).len()
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&Look, &Look)> {
        self.looks
            .iter()
            .flat_map(|a| self.looks.iter().map(|b| (*a, *b)))
    }

    /// C1 without its last k is a prefix of C2, for r1 before r2.
    fn common_prefix(&self) -> usize {
        let holds = |k: usize| {
            self.pairs()
                .filter(|(a, b)| a.ret < b.call)
                .all(|(a, b)| self.length(a.tip).saturating_sub(k) <= self.common(a.tip, b.tip))
        };
        (0..).find(|k| holds(*k)).unwrap()
    }

    /// C1 and C2 without their last k are prefixes, one of the other.
    fn agreement(&self) -> usize {
        let holds = |k: usize| {
            self.pairs().all(|(a, b)| {
                let cut = |tip| self.length(tip).saturating_sub(k);
                cut(a.tip).min(cut(b.tip)) <= self.common(a.tip, b.tip)
            })
        };
        (0..).find(|k| holds(*k)).unwrap()
    }

    pub fn of_node<'b>(&'b self, node: &'b str) -> Vec<&'b Look> {
        self.looks
            .iter()
            .filter(|look| look.node == node)
            .copied()
            .collect()
    }

    /// Count and depth of reorganisations, and how often a chain only became shorter.
    fn reorgs(&self) -> (usize, usize, usize) {
        let (mut count, mut deepest, mut shorter) = (0, 0, 0);
        for node in NODES {
            for pair in self.of_node(node).windows(2) {
                let common = self.common(pair[0].tip, pair[1].tip);
                let [old, new] = [self.length(pair[0].tip), self.length(pair[1].tip)];
                match (old > common, new > common) {
                    (true, true) => {
                        count += 1;
                        deepest = deepest.max(old - common);
                    }
                    (true, false) => shorter += 1,
                    _ => {}
                }
            }
        }
        (count, deepest, shorter)
    }

    /// The least growth in windows of so many nanoseconds, without and with faults.
    fn growth(&self, window: u64) -> [Option<i64>; 2] {
        let mut least = [None; 2];
        for node in NODES {
            let looks = self.of_node(node);
            for (i, a) in looks.iter().enumerate() {
                let Some(b) = looks[i..].iter().find(|b| b.call >= a.ret + window) else {
                    continue;
                };
                let grown = self.length(b.tip) as i64 - self.length(a.tip) as i64;
                let faults = &self.story.faults;
                let faulty = faults
                    .iter()
                    .any(|(from, until, ..)| *from <= b.ret && a.call <= *until);
                let least = &mut least[usize::from(faulty)];
                *least = Some(least.map_or(grown, |known: i64| known.min(grown)));
            }
        }
        least
    }

    /// The fewest blocks of the nodes' own in a stretch of any chain, the first block left out.
    fn quality(&self, length: usize, nodes: &[&str]) -> Option<usize> {
        let own = |block: &usize| nodes.contains(&self.story.blocks[*block].miner);
        let chains = self.looks.iter().map(|look| self.story.path(look.tip));
        let stretches = chains.flat_map(|path| {
            let counts = path[1..]
                .windows(length)
                .map(|w| w.iter().filter(|b| own(b)).count());
            counts.collect::<Vec<_>>()
        });
        stretches.min()
    }

    /// The last looks' chain of most work, then highest, then seen first.
    pub fn last(&self) -> Option<&Look> {
        let mut best: Option<(i64, usize, &Look)> = None;
        for node in NODES {
            let Some(look) = self.of_node(node).last().copied() else {
                continue;
            };
            let path = self.story.path(look.tip);
            let work = path
                .iter()
                .map(|block| self.story.blocks[*block].work)
                .sum();
            let better = |(w, l, known): (i64, usize, &Look)| {
                (work, path.len(), std::cmp::Reverse(look.call))
                    > (w, l, std::cmp::Reverse(known.call))
            };
            if best.is_none_or(better) {
                best = Some((work, path.len(), look));
            }
        }
        best.map(|(_, _, look)| look)
    }

    pub fn blocks_of(&self, name: &str) -> Vec<usize> {
        let has = |block: &usize| {
            let transactions = &self.story.blocks[*block].transactions;
            transactions
                .iter()
                .any(|t| t.as_list().unwrap()[0].as_text() == Some(name))
        };
        (0..self.story.blocks.len()).filter(has).collect()
    }

    /// How deep the block ever was: 1 at the head.
    pub fn depth(&self, block: usize) -> usize {
        let paths = self.looks.iter().map(|look| self.story.path(look.tip));
        let depths =
            paths.filter_map(|path| Some(path.len() - path.iter().position(|b| *b == block)?));
        depths.max().unwrap_or(0)
    }

    /// One more than the deepest at which a transaction was seen where it is not in the end, and
    /// how many there are that are nowhere and elsewhere.
    fn persistence(&self) -> (usize, usize, usize) {
        let end = self.story.path(self.last().unwrap().tip);
        let (mut deepest, mut vanished, mut moved) = (0, 0, 0);
        for number in 0..self.story.asked.len() {
            let blocks = self.blocks_of(&format!("t{number}"));
            let off = blocks.iter().filter(|block| !end.contains(block));
            let depth = off.map(|block| self.depth(*block)).max().unwrap_or(0);
            if depth > 0 {
                match blocks.iter().any(|block| end.contains(block)) {
                    true => moved += 1,
                    false => vanished += 1,
                }
            }
            deepest = deepest.max(depth);
        }
        (deepest + 1, vanished, moved)
    }

    /// When the look at `node` returned that was the first to have the transaction so deep, and the
    /// block.
    fn deep(&self, node: &str, name: &str, k: usize) -> Option<(u64, usize)> {
        let blocks = self.blocks_of(name);
        self.of_node(node).iter().find_map(|look| {
            let path = self.story.path(look.tip);
            let deep = &path[..path.len().saturating_sub(k - 1)];
            Some((look.ret, *deep.iter().find(|block| blocks.contains(block))?))
        })
    }

    /// Nanoseconds from the call until k deep at every node that was looked at.
    fn liveness(&self, k: usize) -> (Vec<u64>, usize) {
        let mut times = Vec::new();
        let mut unfinished = 0;
        for asked in &self.story.asked {
            let Some((_, name)) = &asked.at else { continue };
            let nodes = NODES.iter().filter(|node| !self.of_node(node).is_empty());
            let all: Option<Vec<u64>> = nodes
                .map(|node| self.deep(node, name, k).map(|(at, _)| at))
                .collect();
            match all.and_then(|all| all.into_iter().max()) {
                Some(at) => times.push(at.saturating_sub(asked.call)),
                None => unfinished += 1,
            }
        }
        times.sort_unstable();
        (times, unfinished)
    }

    /// What a transaction answers at the end of a chain's prefix: the value it finds.
    fn found(&self, block: usize, name: &str, key: &str) -> Value {
        let mut now = Value::Nil;
        for block in self.story.path(block) {
            for transaction in &self.story.blocks[block].transactions {
                let parts = transaction.as_list().unwrap();
                if parts[0].as_text() == Some(name) {
                    return now;
                }
                match parts {
                    [_, what, k, value] if k.as_text() == Some(key) => {
                        assert_eq!(what.as_text(), Some("put"));
                        now = value.clone();
                    }
                    [_, _, k, from, to] if k.as_text() == Some(key) && *from == now => {
                        now = to.clone();
                    }
                    _ => {}
                }
            }
        }
        panic!("{name} is in the block")
    }

    /// The history in which every operation answers k deep.
    fn derived(&self, k: usize) -> History {
        let mut events: Vec<(u64, bool, u64, Event)> = Vec::new();
        let event = |time: u64, process: u64, kind, f: &str, value| Event {
            index: 0,
            time: Time(time),
            process: Process::Client(process),
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        };
        let keyed = |key: &str, value| Value::pair(if key == "x" { 0 } else { 1 }, value);
        for (number, asked) in self.story.asked.iter().enumerate() {
            let name = format!("t{number}");
            let process = number as u64;
            let (key, content) = asked.input.as_pair().unwrap();
            let key = key.as_text().unwrap();
            let known = self.known(asked);
            let deep = self.deep(asked.node, &name, k).filter(|_| known);
            let mut f = asked.f;
            let mut answer = content.clone();
            if let Some((_, block)) = deep {
                let found = self.found(block, &name, key);
                let failed = content.as_pair().is_some_and(|(from, _)| *from != found);
                if f == "read" || (f == "cas" && failed) {
                    f = "read";
                    answer = found;
                }
            }
            // Who gave up may have asked at any time.
            let call = if known { asked.call } else { 0 };
            if !(f == "read" && deep.is_none()) {
                let ask = if f == "read" {
                    Value::Nil
                } else {
                    content.clone()
                };
                events.push((
                    call,
                    false,
                    process,
                    event(call, process, Kind::Invoke, f, keyed(key, ask)),
                ));
            }
            if let Some((at, _)) = deep {
                let at = at.max(call);
                events.push((
                    at,
                    true,
                    process,
                    event(at, process, Kind::Ok, f, keyed(key, answer)),
                ));
            }
        }
        events.sort_by_key(|(time, completes, process, _)| (*time, *completes, *process));
        let numbered = events.into_iter().enumerate();
        let events = numbered.map(|(index, (.., event))| Event {
            index: index as u64,
            ..event
        });
        History::new(events.collect()).unwrap()
    }

    /// Whether it is known when it was asked, and by looks at its node when it was deep enough.
    fn known(&self, asked: &Asked) -> bool {
        asked.at.is_some() && !self.of_node(asked.node).is_empty()
    }

    /// The smallest k from which on all are linearizable; none if there is nothing to judge.
    fn linearizable_from(&self) -> Option<usize> {
        let known = self.story.asked.iter().enumerate();
        known
            .filter(|(_, asked)| self.known(asked))
            .find(|(number, _)| {
                self.blocks_of(&format!("t{number}"))
                    .iter()
                    .any(|block| self.depth(*block) > 0)
            })?;
        let top = self.agreement() + 1;
        let right = |k: usize| {
            let history = self.derived(k);
            (0..2).all(|key| brute::linearizable(&history, key, None))
        };
        Some(
            (1..=top)
                .rev()
                .take_while(|k| right(*k))
                .last()
                .unwrap_or(0),
        )
    }
}

#[test]
fn figures_are_what_the_definitions_say() {
    let window = Duration::from_secs(2);
    let mut forks = 0;
    let mut refused = 0;
    for seed in seeds(1_500) {
        let mut random = Random::new(seed);
        let story = random_story(&mut random);
        let brute = Brute::new(&story);
        if brute.looks.is_empty() {
            continue;
        }
        let stretch = 1 + random.below(4) as usize;
        // Bounds that always hold: they only set the windows.
        let chain = chain().with_growth(-1e9, window).with_quality(0.0, stretch);
        let history = story.history();
        let found = chain.check(&history, &Budget::default());
        let say = || format!("seed {seed}\n{story:?}\n{}{found:?}", show(&history));

        assert_eq!(
            figure(&found, "common prefix")["k"],
            json!(brute.common_prefix()),
            "{}",
            say()
        );
        let agreement = brute.agreement();
        forks += usize::from(agreement > 0);
        assert_eq!(
            figure(&found, "agreement")["k"],
            json!(agreement),
            "{}",
            say()
        );
        assert_eq!(
            figure(&found, "agreement")["strong prefix"],
            json!(agreement == 0),
            "{}",
            say()
        );
        let (count, deepest, shorter) = brute.reorgs();
        let reorgs = figure(&found, "reorganisations");
        assert_eq!(reorgs["count"], json!(count), "{}", say());
        assert_eq!(reorgs["deepest"], json!(deepest), "{}", say());
        let by_node = reorgs["nodes"].as_object().unwrap().values();
        let all: u64 = by_node
            .map(|node| node["became shorter"].as_u64().unwrap())
            .sum();
        assert_eq!(all, shorter as u64, "{}", say());
        let growth = figure(&found, "chain growth");
        for (name, least) in ["without faults", "with faults"]
            .iter()
            .zip(brute.growth(2_000_000_000))
        {
            let tau = least.map(|blocks| blocks as f64 / 2.0);
            assert_eq!(growth[name]["tau"].as_f64(), tau, "{}", say());
        }
        let nodes: Vec<&str> = NODES
            .into_iter()
            .filter(|node| !brute.of_node(node).is_empty())
            .collect();
        let mu = brute
            .quality(stretch, &nodes)
            .map(|own| own as f64 / stretch as f64);
        let quality = figure(&found, "chain quality")["mu"].as_f64();
        assert_eq!(
            quality.map(|mu| (mu * 1e3).round()),
            mu.map(|mu| (mu * 1e3).round()),
            "{}",
            say()
        );
        let (enough, vanished, moved) = brute.persistence();
        let persistence = figure(&found, "persistence");
        assert_eq!(persistence["k"], json!(enough), "{}", say());
        assert_eq!(
            persistence["transactions vanished"],
            json!(vanished),
            "{}",
            say()
        );
        assert_eq!(persistence["transactions moved"], json!(moved), "{}", say());
        let (times, unfinished) = brute.liveness(6);
        let liveness = figure(&found, "liveness");
        assert_eq!(liveness["unfinished"], json!(unfinished), "{}", say());
        let u = times.last().map(|ns| (*ns as f64 / 1e6).round() / 1e3);
        assert_eq!(liveness["all"]["u"].as_f64(), u, "{}", say());
        let smallest = found
            .figures
            .iter()
            .find(|f| f.name == "ledger linearizable from");
        let smallest = smallest.map(|f| f.value["k"].as_u64().unwrap_or(0) as usize);
        refused += usize::from(smallest.is_some_and(|k| k > 1));
        assert_eq!(smallest, brute.linearizable_from(), "{}", say());
    }
    // It would mean nothing if the stories had no forks.
    assert!(forks > 150 && refused > 5, "{forks} {refused}");
}
