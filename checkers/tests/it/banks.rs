//! The bank against brute force.

use std::collections::{BTreeMap, HashSet};

use checkers::bank::Bank;
use checkers::{Budget, Checker, Verdict, drawing};
use history::{History, Kind, Op, Outcome, Value};

use crate::random::{Random, Recorder, seeds, show};

type Balances = BTreeMap<String, i64>;

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

fn shown(balances: &Balances) -> Value {
    let entries = balances.iter();
    Value::List(
        entries
            .map(|(account, balance)| Value::pair(account.as_str(), *balance))
            .collect(),
    )
}

/// A transfer, applied where the account has enough.
fn moved(balances: &mut Balances, transfer: &Value) -> bool {
    let [from, to, amount] = transfer.as_list().expect("a transfer") else {
        panic!("{transfer}");
    };
    let (from, to) = (from.as_text().unwrap(), to.as_text().unwrap());
    let amount = amount.as_int().unwrap();
    if balances[from] < amount {
        return false;
    }
    *balances.get_mut(from).unwrap() -= amount;
    *balances.get_mut(to).unwrap() += amount;
    true
}

/// Processes that use a real bank, some of whose answers and effects are spoilt.
fn random_history(random: &mut Random) -> History {
    let mut recorder = Recorder::default();
    let mut bank: Balances = ACCOUNTS.iter().map(|a| (a.to_string(), 10)).collect();
    recorder.record(99, Kind::Invoke, "read", Value::Nil);
    recorder.advance(1);
    recorder.record(99, Kind::Ok, "read", shown(&bank));
    recorder.advance(1);
    let (ops, processes) = (2 + random.below(7), 1 + random.below(4));
    let (lost, wrong) = (*random.pick(&[0, 30]), *random.pick(&[0, 20, 40]));
    // What was asked, and what it will answer when it has happened: none, if it is refused.
    type Open = (Value, Option<Option<Value>>);
    let mut open: Vec<Option<Open>> = vec![None; processes as usize];
    let mut names: Vec<u64> = (0..processes).collect();
    let mut invoked = 0;
    let f = |asked: &Value| if asked.is_nil() { "read" } else { "transfer" };
    while invoked < ops || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        let who = random.below(processes) as usize;
        match open[who].take() {
            None if invoked < ops => {
                invoked += 1;
                let asked = match random.percent(40) {
                    true => Value::Nil,
                    false => {
                        let from = random.below(3) as usize;
                        let to = (from + 1 + random.below(2) as usize) % 3;
                        let amount = 1 + random.below(6) as i64;
                        let (from, to) = (Value::text(ACCOUNTS[from]), Value::text(ACCOUNTS[to]));
                        Value::List(vec![from, to, amount.into()])
                    }
                };
                recorder.record(names[who], Kind::Invoke, f(&asked), asked.clone());
                open[who] = Some((asked, None));
            }
            None => {}
            Some((asked, None)) if asked.is_nil() => {
                let mut seen = bank.clone();
                if random.percent(wrong) {
                    let account = *random.pick(&ACCOUNTS);
                    *seen.get_mut(account).unwrap() += *random.pick(&[-3, -1, 2]);
                    if random.percent(70) {
                        // The total stays right.
                        let other = *random.pick(&ACCOUNTS);
                        *seen.get_mut(other).unwrap() += 1;
                    }
                }
                open[who] = Some((asked, Some(Some(shown(&seen)))));
            }
            Some((asked, None)) => {
                let done = moved(&mut bank, &asked);
                if done && random.percent(wrong / 2) {
                    // Once more, as a replay would.
                    moved(&mut bank, &asked);
                }
                open[who] = Some((asked.clone(), Some(done.then_some(asked))));
            }
            Some((asked, _)) if random.percent(lost) => {
                recorder.record(names[who], Kind::Info, f(&asked), asked);
                names[who] = names.iter().max().expect("there are processes") + 1;
            }
            Some((asked, Some(answer))) => match answer {
                Some(answer) => recorder.record(names[who], Kind::Ok, f(&asked), answer),
                None => recorder.record(names[who], Kind::Fail, f(&asked), asked),
            },
        }
    }
    recorder.history()
}

/// The checker's definition, written down: every read is what the accounts had at first, all transfers
/// that had returned before it, and some choice among those that may have happened by then.
fn explained(ops: &[&Op]) -> bool {
    let transfers: Vec<&&Op> = ops.iter().filter(|op| op.f == "transfer").collect();
    let apply = |balances: &mut Balances, op: &Op| {
        let [from, to, amount] = op.input.as_list().unwrap() else {
            panic!("{}", op.input);
        };
        let amount = amount.as_int().unwrap();
        *balances.get_mut(from.as_text().unwrap()).unwrap() -= amount;
        *balances.get_mut(to.as_text().unwrap()).unwrap() += amount;
    };
    let reads = ops
        .iter()
        .filter(|op| op.f == "read" && op.outcome == Outcome::Ok);
    reads.into_iter().all(|read| {
        let mut must: Balances = ACCOUNTS.iter().map(|a| (a.to_string(), 10)).collect();
        let mut may = Vec::new();
        for transfer in &transfers {
            if transfer.outcome == Outcome::Ok && transfer.ret < read.call {
                apply(&mut must, transfer);
            } else if transfer.call <= read.ret {
                may.push(transfer);
            }
        }
        let possible = (0..1_u32 << may.len()).any(|choice| {
            let mut balances = must.clone();
            for (i, transfer) in may.iter().enumerate() {
                if choice & (1 << i) != 0 {
                    apply(&mut balances, transfer);
                }
            }
            shown(&balances) == read.output
        });
        let entries = read.output.as_list().unwrap();
        possible
            && entries
                .iter()
                .all(|entry| entry.as_pair().unwrap().1.as_int() >= Some(0))
    })
}

/// Whether some order of the operations, one after the other, gives every answer.
fn linearizable(
    ops: &[&Op],
    placed: u32,
    now: &Balances,
    seen: &mut HashSet<(u32, Vec<i64>)>,
) -> bool {
    let is_open = |i: usize| placed & (1 << i) == 0;
    let must = |i: usize| ops[i].outcome == Outcome::Ok;
    if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
        return true;
    }
    if !seen.insert((placed, now.values().copied().collect())) {
        return false;
    }
    (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
        if (0..ops.len()).any(|j| is_open(j) && must(j) && ops[j].ret < ops[i].call) {
            return false;
        }
        let mut then = now.clone();
        let fits = match ops[i].f.as_str() {
            "transfer" => moved(&mut then, &ops[i].input),
            _ => must(i) && shown(now) == ops[i].output,
        };
        fits && linearizable(ops, placed | (1 << i), &then, seen)
    })
}

#[test]
fn agrees_with_its_definition_and_never_accuses_a_linearizable_history() {
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(2_000) {
        let history = random_history(&mut Random::new(seed));
        let found = Bank.check(&history, &Budget::default());
        if found.verdict == Verdict::Vacuous {
            continue;
        }
        let ops: Vec<&Op> = history
            .ops()
            .iter()
            .filter(|op| op.outcome != Outcome::Fail)
            .collect();
        let expected = match explained(&ops) {
            true => Verdict::Valid,
            false => Verdict::Invalid,
        };
        assert_eq!(
            found.verdict,
            expected,
            "seed {seed}: {found:?}\n{}",
            show(&history)
        );
        let bank = ACCOUNTS.iter().map(|a| (a.to_string(), 10)).collect();
        match expected {
            Verdict::Valid => valid += 1,
            _ => {
                invalid += 1;
                let possible = linearizable(&ops, 0, &bank, &mut HashSet::new());
                assert!(!possible, "seed {seed}: {found:?}\n{}", show(&history));
            }
        }
    }
    assert!(
        valid > 200 && invalid > 200,
        "{valid} valid, {invalid} invalid"
    );
}

#[test]
fn findings_have_their_names() {
    let first = "P9  |-read [[a 10] [b 10]]-|";
    let wide = " ".repeat(first.len());
    for (kind, rest) in [
        (
            "negative balance",
            "|-transfer [a b 5]-| |-read [[a -1] [b 21]]-|",
        ),
        (
            "total changed",
            "|-transfer [a b 5]-| |-read [[a 10] [b 15]]-|",
        ),
        ("accounts changed", "|-transfer [a b 5]-| |-read [[a 20]]-|"),
        // Twice, or not at all.
        (
            "unexplained balance",
            "|-transfer [a b 5]-| |-read [[a 0] [b 20]]-|",
        ),
        (
            "unexplained balance",
            "|-transfer [a b 5]-| |-read [[a 10] [b 10]]-|",
        ),
    ] {
        let drawn = format!("\n{first}\nP0{}{rest}\n", &wide[2..]);
        let history = drawing::history(&drawn).unwrap_or_else(|e| panic!("{e}\n{drawn}"));
        let found = Bank.check(&history, &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{kind}");
        assert_eq!(found.anomalies[0].kind, kind, "{found:#?}");
    }
}

#[test]
fn what_is_unknown_may_have_happened_at_any_time() {
    let history = drawing::history(
        "
        P9  |-read [[a 10] [b 10]]-|
        P0                           |-transfer [a b 5]-?
        P1                                                |-read [[a 10] [b 10]]-| |-read [[a 5] [b 15]]-|
        P2                                                |-transfer [b a 1]-| |-read [[a 6] [b 14]]-|",
    );
    let found = Bank.check(&history.unwrap(), &Budget::default());
    // The first of P1's reads is before everything, the last cannot have missed the transfer of P2.
    assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    assert_eq!(found.anomalies.len(), 1);
}

#[test]
fn without_a_first_read_only_totals_are_judged() {
    let history = drawing::history(
        "
        P0  |-transfer [a b 5]-|
        P1     |-read [[a 1] [b 9]]-| |-read [[a 9] [b 1]]-|",
    );
    let found = Bank.check(&history.unwrap(), &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    assert!(
        found.summary.contains("balances are not judged"),
        "{}",
        found.summary
    );
}

#[test]
fn many_choices_end_in_a_bound_and_not_in_a_search_without_end() {
    let mut recorder = Recorder::default();
    let read = |recorder: &mut Recorder, balances: Value| {
        recorder.record(0, Kind::Invoke, "read", Value::Nil);
        recorder.advance(1);
        recorder.record(0, Kind::Ok, "read", balances);
        recorder.advance(1);
    };
    let balances = |a: i64, b: i64| Value::List(vec![Value::pair("a", a), Value::pair("b", b)]);
    read(&mut recorder, balances(1_000, 1_000));
    let one = |from: &str, to: &str, n: i64| Value::List(vec![from.into(), to.into(), n.into()]);
    recorder.record(1, Kind::Invoke, "transfer", one("a", "b", 2));
    recorder.record(1, Kind::Ok, "transfer", one("a", "b", 2));
    // Even amounts only, both ways: no choice makes an odd difference, and there are 2^60 of them.
    for n in 0..60 {
        let value = match n % 2 {
            0 => one("a", "b", 2 + 2 * n),
            _ => one("b", "a", 2 + 2 * n),
        };
        recorder.record(10 + n as u64, Kind::Invoke, "transfer", value.clone());
        recorder.record(10 + n as u64, Kind::Info, "transfer", value);
    }
    recorder.advance(1);
    read(&mut recorder, balances(995, 1_005));
    let found = Bank.check(&recorder.history(), &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    assert!(
        found.summary.contains("1 reads are only bounded"),
        "{}",
        found.summary
    );
}
