//! The grow-only set, which is read whole, against brute force.

use std::collections::{BTreeSet, HashSet};

use checkers::set::GrowOnlySet;
use checkers::{Budget, Checker, Verdict, verify};
use history::{History, Kind, Op, Outcome, Value};

use super::Counts;
use crate::random::{Random, Recorder, precedes, show};

/// Processes that add and read a real set, and answers that are spoilt here and there.
pub fn random_history(random: &mut Random) -> History {
    let mut recorder = Recorder::any(random, 9);
    let mut set: BTreeSet<i64> = BTreeSet::new();
    let (ops, processes) = (3 + random.below(6), 1 + random.below(4));
    let (lost, wrong) = (*random.pick(&[0, 20]), *random.pick(&[0, 20, 50]));
    // The element of an add or none for a read, and what it will answer when it has happened.
    type Open = (Option<i64>, Option<Vec<i64>>);
    let mut open: Vec<Option<Open>> = vec![None; processes as usize];
    let mut names: Vec<u64> = (0..processes).collect();
    let mut invoked = 0;
    let list = |elements: Vec<i64>| Value::List(elements.into_iter().map(Value::Int).collect());
    while invoked < ops || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        let who = random.below(processes) as usize;
        let f = |element: Option<i64>| if element.is_some() { "add" } else { "read" };
        match open[who].take() {
            None if invoked < ops => {
                invoked += 1;
                // Now and then an element that was added before.
                let element = match random.below(10) {
                    0..4 => None,
                    4 => Some(random.below(invoked) as i64),
                    _ => Some(invoked as i64),
                };
                let asked = element.map_or(Value::Nil, Value::Int);
                recorder.record(names[who], Kind::Invoke, f(element), asked);
                open[who] = Some((element, None));
            }
            None => {}
            Some((Some(element), None)) if random.percent(10) => {
                recorder.record(names[who], Kind::Fail, "add", Value::Int(element));
            }
            Some((element, None)) => {
                if !random.percent(wrong / 4) {
                    set.extend(element);
                }
                let mut seen: Vec<i64> = set.iter().copied().collect();
                if random.percent(wrong) && !seen.is_empty() {
                    seen.remove(random.below(seen.len() as u64) as usize);
                }
                if random.percent(wrong / 4) {
                    seen.push(random.below(9) as i64);
                }
                open[who] = Some((element, Some(seen)));
            }
            Some((element, _)) if random.percent(lost) => {
                let asked = element.map_or(Value::Nil, Value::Int);
                recorder.record(names[who], Kind::Info, f(element), asked);
                names[who] = names.iter().max().expect("there are processes") + 1;
            }
            Some((element, seen)) => {
                let answer = element.map_or_else(|| list(seen.unwrap_or_default()), Value::Int);
                recorder.record(names[who], Kind::Ok, f(element), answer);
            }
        }
    }
    recorder.history()
}

/// Whether some order explains the history: the definition, written down.
fn explained(
    ops: &[&Op],
    placed: u32,
    set: &BTreeSet<Value>,
    seen: &mut HashSet<(u32, BTreeSet<Value>)>,
) -> bool {
    let is_open = |i: usize| placed & (1 << i) == 0;
    let must = |i: usize| ops[i].outcome == Outcome::Ok;
    if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
        return true;
    }
    if !seen.insert((placed, set.clone())) {
        return false;
    }
    (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
        if (0..ops.len()).any(|j| is_open(j) && must(j) && precedes(ops[j], ops[i])) {
            return false;
        }
        let mut then = set.clone();
        if ops[i].f == "add" {
            then.insert(ops[i].input.clone());
        } else {
            let read = ops[i].output.as_list().unwrap_or_default();
            let distinct: BTreeSet<Value> = read.iter().cloned().collect();
            if !must(i) || read.len() != set.len() || distinct != *set {
                return false;
            }
        }
        explained(ops, placed | (1 << i), &then, seen)
    })
}

/// Judges the history of a seed, replays the order that explains it, and panics where brute force
/// says something else.
pub fn judge(seed: u64, counts: &mut Counts) {
    let history = random_history(&mut Random::new(seed));
    let found = GrowOnlySet.check(&history, &Budget::default());
    counts.add("set-whole", found.verdict);
    if found.verdict == Verdict::Vacuous {
        return;
    }
    let ops: Vec<&Op> = history
        .ops()
        .iter()
        .filter(|o| o.outcome != Outcome::Fail)
        .collect();
    let expected = match explained(&ops, 0, &BTreeSet::new(), &mut HashSet::new()) {
        true => Verdict::Valid,
        false => Verdict::Invalid,
    };
    assert_eq!(found.verdict, expected, "{found:?}\n{}", show(&history));
    if expected == Verdict::Valid {
        let order = GrowOnlySet.certify(&history, &Budget::default());
        let order = order.expect("it was found to be valid");
        verify(&history, &order).unwrap_or_else(|e| panic!("{e}: {order:?}\n{}", show(&history)));
    }
}
