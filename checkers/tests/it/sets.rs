//! The grow-only set against brute force.

use std::collections::{BTreeSet, HashSet};

use checkers::set::GrowOnlySet;
use checkers::{Budget, Checker, Verdict, drawing, verify};
use history::{History, Kind, Op, Outcome, Value};

use crate::random::{Random, Recorder, seeds, show};

/// Processes that add and read a real set, and answers that are spoilt here and there.
fn random_history(random: &mut Random) -> History {
    let mut recorder = Recorder::default();
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
        if (0..ops.len()).any(|j| is_open(j) && must(j) && ops[j].ret < ops[i].call) {
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

#[test]
fn agrees_with_brute_force() {
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(2_000) {
        let history = random_history(&mut Random::new(seed));
        let found = GrowOnlySet.check(&history, &Budget::default());
        if found.verdict == Verdict::Vacuous {
            continue;
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
        match expected {
            Verdict::Valid => valid += 1,
            _ => invalid += 1,
        }
        assert_eq!(
            found.verdict,
            expected,
            "seed {seed}: {found:?}\n{}",
            show(&history)
        );
        if expected == Verdict::Valid {
            let order = GrowOnlySet.certify(&history, &Budget::default());
            let order = order.expect("it was found to be valid");
            verify(&history, &order)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}: {order:?}\n{}", show(&history)));
        }
    }
    assert!(
        valid > 200 && invalid > 200,
        "{valid} valid, {invalid} invalid"
    );
}

#[test]
fn findings_have_their_names() {
    for (kind, drawn) in [
        (
            "lost element",
            "
            P0  |-add 1-| |-add 2-|
            P1                      |-read [2]-|",
        ),
        (
            "stale read",
            "
            P0  |-add 1-|                  |-read [1]-|
            P1            |-read []-|",
        ),
        (
            "future read",
            "
            P0  |-read [1]-|
            P1                |-add 1-|",
        ),
        (
            "order inverted",
            "
            P0  |-add 1-| |-add 2-|
            P1     |---read [2]---------|",
        ),
        (
            "incomparable reads",
            "
            P0  |---add 1--------------|
            P1  |---add 2--------------|
            P2     |-read [1]-|
            P3     |-read [2]-|",
        ),
        (
            "element from nowhere",
            "
            P0  |-add 1-| |-read [1 2]-|",
        ),
        (
            "aborted read",
            "
            P0  |-add 1-! |-read [1]-|",
        ),
        (
            "duplicate element",
            "
            P0  |-add 1-| |-read [1 1]-|",
        ),
    ] {
        let history = drawing::history(drawn).unwrap();
        let found = GrowOnlySet.check(&history, &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{kind}");
        assert_eq!(found.anomalies[0].kind, kind, "{found:#?}");
    }
}
