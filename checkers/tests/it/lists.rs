//! Transactions on lists against brute force.

use std::collections::{BTreeMap, HashSet};

use checkers::append::ListAppend;
use checkers::{Budget, Checker, Verdict, drawing};
use history::{History, Kind, Op, Outcome, Value};

use crate::random::{Random, Recorder, seeds, show};

type Lists = BTreeMap<i64, Vec<Value>>;

fn mop(f: &str, key: i64, value: Value) -> Value {
    Value::List(vec![f.into(), key.into(), value])
}

/// Does what a transaction asks for, and returns its answer.
fn apply(lists: &mut Lists, asked: &Value) -> Value {
    let mops = asked.as_list().expect("a list").iter().map(|asked| {
        let [f, Value::Int(key), value] = asked.as_list().expect("a list") else {
            panic!("not a mop: {asked}");
        };
        let list = lists.entry(*key).or_default();
        match f.as_text() {
            Some("r") => mop("r", *key, Value::List(list.clone())),
            _ => {
                list.push(value.clone());
                asked.clone()
            }
        }
    });
    Value::List(mops.collect())
}

fn random_history(random: &mut Random) -> History {
    let mut recorder = Recorder::default();
    let mut lists = Lists::new();
    // As it was some time ago, for stale reads.
    let mut old = Lists::new();
    let (ops, processes) = (2 + random.below(6), 1 + random.below(4));
    let (lost, wrong) = (*random.pick(&[0, 20]), *random.pick(&[0, 15, 40]));
    let mut open: Vec<Option<(Value, Option<Value>)>> = vec![None; processes as usize];
    let mut names: Vec<u64> = (0..processes).collect();
    let (mut invoked, mut fresh) = (0, 0);
    while invoked < ops || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        if random.percent(20) {
            old = lists.clone();
        }
        let who = random.below(processes) as usize;
        match open[who].take() {
            None if invoked < ops => {
                invoked += 1;
                let mops = (0..1 + random.below(3)).map(|_| {
                    let key = random.below(2) as i64;
                    match random.percent(50) {
                        true => mop("r", key, Value::Nil),
                        false => {
                            fresh += 1;
                            mop("append", key, Value::Int(fresh))
                        }
                    }
                });
                let asked = Value::List(mops.collect());
                recorder.record(names[who], Kind::Invoke, "txn", asked.clone());
                open[who] = Some((asked, None));
            }
            None => {}
            Some((asked, None)) if random.percent(8) => {
                recorder.record(names[who], Kind::Fail, "txn", asked);
            }
            Some((asked, None)) => {
                let mut answer = apply(&mut lists, &asked);
                if random.percent(wrong) {
                    // Reads an old state; half of the time its appends are lost too.
                    answer = apply(&mut old.clone(), &asked);
                    if random.percent(50) {
                        lists = old.clone();
                    }
                }
                open[who] = Some((asked, Some(answer)));
            }
            Some((asked, _)) if random.percent(lost) => {
                recorder.record(names[who], Kind::Info, "txn", asked);
                names[who] = names.iter().max().expect("there are processes") + 1;
            }
            Some((asked, _)) if random.percent(wrong / 4) => {
                recorder.record(names[who], Kind::Fail, "txn", asked);
            }
            Some((asked, answer)) => {
                recorder.record(names[who], Kind::Ok, "txn", answer.unwrap_or(asked));
            }
        }
    }
    recorder.history()
}

/// Whether some order explains the history: the definition, written down.
fn explained(ops: &[&Op], placed: u32, lists: &Lists, seen: &mut HashSet<(u32, Lists)>) -> bool {
    let is_open = |i: usize| placed & (1 << i) == 0;
    let must = |i: usize| ops[i].outcome == Outcome::Ok;
    if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
        return true;
    }
    if !seen.insert((placed, lists.clone())) {
        return false;
    }
    (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
        if (0..ops.len()).any(|j| is_open(j) && must(j) && ops[j].ret < ops[i].call) {
            return false;
        }
        let mut then = lists.clone();
        let answer = apply(&mut then, &ops[i].input);
        then.retain(|_, list| !list.is_empty());
        (!must(i) || answer == ops[i].output) && explained(ops, placed | (1 << i), &then, seen)
    })
}

#[test]
fn agrees_with_brute_force() {
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(2_000) {
        let history = random_history(&mut Random::new(seed));
        let found = ListAppend.check(&history, &Budget::default());
        if found.verdict == Verdict::Vacuous {
            continue;
        }
        let ops: Vec<&Op> = history
            .ops()
            .iter()
            .filter(|o| o.outcome != Outcome::Fail)
            .collect();
        let expected = match explained(&ops, 0, &Lists::new(), &mut HashSet::new()) {
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
    }
    assert!(
        valid > 200 && invalid > 200,
        "{valid} valid, {invalid} invalid"
    );
}

#[test]
fn findings_have_their_names() {
    for (kind, drawn) in [
        // Appends of two transactions are interleaved.
        (
            "G0",
            "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[append 1 2] [append 2 2]]-|
            P2  |-txn [[r 1 [1 2]] [r 2 [2 1]]]---|",
        ),
        (
            "G1a",
            "
            P0  |-txn [[append 1 1]]-!
            P1  |-txn [[r 1 [1]]]-|",
        ),
        (
            "G1b",
            "
            P0  |-txn [[append 1 1] [append 1 2]]-|
            P1  |-txn [[r 1 [1]]]-| |-txn [[r 1 [1 2]]]-|",
        ),
        // Each sees the other's append.
        (
            "G1c",
            "
            P0  |-txn [[append 1 1] [r 2 [2]]]-|
            P1  |-txn [[append 2 2] [r 1 [1]]]-|",
        ),
        // One read sees half of a transaction.
        (
            "G-single",
            "
            P0  |-txn [[append 1 1] [append 2 1]]-|
            P1  |-txn [[r 1 [1]] [r 2 []]]-|  |-txn [[r 2 [1]]]-|",
        ),
        // Write skew: neither sees the other's append.
        (
            "G2-item",
            "
            P0  |-txn [[r 1 []] [append 2 2]]-|
            P1  |-txn [[r 2 []] [append 1 1]]-|
            P2                                  |-txn [[r 1 [1]] [r 2 [2]]]-|",
        ),
        (
            "lost update",
            "
            P0  |-txn [[r 1 []] [append 1 1]]-|
            P1  |-txn [[r 1 []] [append 1 2]]-|
            P2                                  |-txn [[r 1 [1 2]]]-|",
        ),
        // Serializable, but what had returned is not seen.
        (
            "G-single-realtime",
            "
            P0  |-txn [[append 1 1]]-| |-txn [[append 1 2]]-|
            P1                                                 |-txn [[r 1 [1]]]-|",
        ),
        (
            "incompatible order",
            "
            P0  |-txn [[append 1 1]]-------------|
            P1  |-txn [[append 1 2]]-------------|
            P2  |-txn [[r 1 [1]]]----------------|
            P3  |-txn [[r 1 [2]]]----------------|",
        ),
        (
            "duplicate elements",
            "
            P0  |-txn [[append 1 1]]-| |-txn [[r 1 [1 1]]]-|",
        ),
        (
            "element from nowhere",
            "
            P0  |-txn [[append 1 1]]-| |-txn [[r 1 [1 7]]]-|",
        ),
        (
            "internal",
            "
            P0  |-txn [[append 1 1] [r 1 []]]-|",
        ),
    ] {
        let history = drawing::history(drawn).unwrap();
        let found = ListAppend.check(&history, &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{kind}");
        let kinds: Vec<&str> = found.anomalies.iter().map(|a| a.kind.as_str()).collect();
        assert!(kinds.contains(&kind), "{kind}: {found:#?}");
    }
}

#[test]
fn a_cycle_is_told_edge_by_edge() {
    let history = drawing::history(
        "
        P0  |-txn [[append x 1]]-|
        P1                         |-txn [[r x []]]-|
        ",
    )
    .unwrap();
    let found = ListAppend.check(&history, &Budget::default());
    assert_eq!(found.anomalies.len(), 1);
    assert_eq!(
        found.anomalies[0].reason,
        "transactions in a circle: 2 before 0, since 2 read list \"x\" without what 0 appended; \
         0 before 2, since 0 had returned when 2 was invoked"
    );
}
