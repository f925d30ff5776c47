//! Small graphs, all of whose cycles are counted.

use std::collections::BTreeSet;

use super::*;
use crate::Budget;
use crate::splitmix::Random;
use crate::transactions::graph::{Edges, Group};

/// A graph, and all its edges one by one, those of real time too.
struct Drawn {
    graph: Graph,
    edges: BTreeSet<(u32, u32, u8)>,
    calls: Vec<Time>,
    rets: Vec<Time>,
}

const KINDS: [Kind; 5] = [Kind::Ww, Kind::Wr, Kind::Rw, Kind::Process, Kind::Realtime];

fn number(kind: Kind) -> u8 {
    KINDS.iter().position(|k| *k == kind).expect("it is there") as u8
}

fn draw(random: &mut Random) -> Drawn {
    let n = 2 + random.below(5) as u32;
    let node = |random: &mut Random| random.below(n.into()) as u32;
    let mut edges = Edges::new(n as usize);
    let mut all = BTreeSet::new();
    // Mostly of one kind or two: else every cycle has some rw.
    let kinds = [1, 2, 3, 4, 4][random.below(5) as usize];
    for _ in 0..random.below(2 * u64::from(n) + 1) {
        let (from, to) = (node(random), node(random));
        let kind = KINDS[random.below(kinds) as usize];
        edges.add(from, to, kind, 0);
        if from != to {
            all.insert((from, to, number(kind)));
        }
    }
    if random.below(2) == 0 {
        let members: Vec<(u32, u32)> = (0..n)
            .filter(|_| random.below(2) == 0)
            .map(|m| (m, m))
            .collect();
        let readers: Vec<u32> = (0..n).filter(|_| random.below(3) == 0).collect();
        if !members.is_empty() {
            let mut group = Group::new(members.clone());
            for reader in readers {
                group.before(reader, &mut edges);
                let others = members.iter().filter(|(m, _)| *m != reader);
                all.extend(others.map(|(m, _)| (reader, *m, number(Kind::Rw))));
            }
        }
    }
    let calls: Vec<Time> = (0..n).map(|_| Time(random.below(12))).collect();
    let long = 1 + random.below(12);
    let rets: Vec<Time> = calls
        .iter()
        .map(|call| match random.below(8) {
            0 => Time::MAX,
            _ => Time(call.0 + random.below(long)),
        })
        .collect();
    for a in 0..n {
        for b in (0..n).filter(|b| rets[a as usize] < calls[*b as usize]) {
            all.insert((a, b, number(Kind::Realtime)));
        }
    }
    let mut meter = Budget::default().start();
    Drawn {
        graph: edges.graph(&mut meter).unwrap(),
        edges: all,
        calls,
        rets,
    }
}

/// Class, scope and length of every cycle, by the definitions.
fn count(drawn: &Drawn) -> BTreeSet<(Class, Scope, usize)> {
    fn walk(
        drawn: &Drawn,
        path: &mut Vec<(u32, u8)>,
        at: u32,
        found: &mut BTreeSet<(Class, Scope, usize)>,
    ) {
        let begin = path.first().map_or(at, |(from, _)| *from);
        for (_, to, kind) in drawn.edges.range((at, 0, 0)..(at + 1, 0, 0)) {
            path.push((at, *kind));
            if *to == begin {
                found.insert(defined(path));
            } else if *to > begin && path.iter().all(|(from, _)| from != to) {
                walk(drawn, path, *to, found);
            }
            path.pop();
        }
    }
    let mut found = BTreeSet::new();
    for begin in 0..drawn.calls.len() as u32 {
        walk(drawn, &mut Vec::new(), begin, &mut found);
    }
    found
}

fn defined(path: &[(u32, u8)]) -> (Class, Scope, usize) {
    let kinds: Vec<Kind> = path.iter().map(|(_, kind)| KINDS[*kind as usize]).collect();
    let has = |kind| kinds.contains(&kind);
    let rw: Vec<usize> = (0..kinds.len()).filter(|i| kinds[*i] == Kind::Rw).collect();
    let row = rw.iter().any(|i| kinds[(i + 1) % kinds.len()] == Kind::Rw);
    let class = match rw.len() {
        0 if !has(Kind::Wr) => Class::DirtyWrite,
        0 => Class::DirtyRead,
        1 => Class::Single,
        _ if !row => Class::Nonadjacent,
        _ => Class::Item,
    };
    let scope = if has(Kind::Realtime) {
        Scope::Realtime
    } else if has(Kind::Process) {
        Scope::Process
    } else {
        Scope::Data
    };
    (class, scope, kinds.len())
}

#[test]
fn what_is_found_is_what_there_is() {
    let mut seen = BTreeSet::new();
    for seed in 0..4_000 {
        let drawn = draw(&mut Random(seed));
        let times = Times {
            calls: &drawn.calls,
            rets: &drawn.rets,
        };
        let mut search = Search::new(&drawn.graph, times);
        search
            .run(Scope::Realtime, &mut Budget::default().start())
            .unwrap();
        let all = count(&drawn);
        // The same models are refuted.
        for (class, _) in CLASSES {
            for scope in [Scope::Data, Scope::Process, Scope::Realtime] {
                let is_within = |c: Class, s: Scope| c <= class && s <= scope;
                let expected = all.iter().any(|(c, s, _)| is_within(*c, *s));
                let found = search.found.iter().any(|f| is_within(f.class, f.scope));
                assert_eq!(
                    found, expected,
                    "seed {seed}, {class:?}, {scope:?}: {all:?}, {:?}",
                    search.found
                );
            }
        }
        // Each cycle is one, and named rightly; of the worst class, the shortest is there.
        for found in &search.found {
            let cycle = &found.cycle;
            let mut path = Vec::new();
            for (i, step) in cycle.iter().enumerate() {
                let to = cycle[(i + 1) % cycle.len()].txn;
                let edge = (step.txn, to, number(step.kind));
                assert!(drawn.edges.contains(&edge), "seed {seed}: {edge:?}");
                path.push((step.txn, number(step.kind)));
            }
            assert_eq!(
                defined(&path),
                (found.class, found.scope, cycle.len()),
                "seed {seed}"
            );
            seen.insert((found.class, found.scope));
        }
        let data = |(c, s, n): &(Class, Scope, usize)| (*s == Scope::Data).then_some((*c, *n));
        let shortest = search
            .found
            .iter()
            .map(|f| (f.class, f.scope, f.cycle.len()));
        let shortest = shortest.collect::<Vec<_>>();
        assert_eq!(
            shortest.iter().filter_map(data).min(),
            all.iter().filter_map(data).min(),
            "seed {seed}"
        );
        // Without any within a scope there is an order.
        for scope in [Scope::Data, Scope::Process, Scope::Realtime] {
            if all.iter().any(|(_, s, _)| *s <= scope) {
                continue;
            }
            let mut search = Search::new(&drawn.graph, times);
            let order = search.run(scope, &mut Budget::default().start());
            let order = order.unwrap().by_time(&times);
            let at = |node: u32| order.iter().position(|n| *n == node);
            for (from, to, kind) in &drawn.edges {
                if defined(&[(*from, *kind)]).1 <= scope {
                    assert!(at(*from) < at(*to), "seed {seed} {scope:?}");
                }
            }
        }
    }
    // Every class in every scope, but that graphs so small hardly have room for one of them.
    assert!(seen.len() >= 14, "{seen:?}");
}
