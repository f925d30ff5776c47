//! The bank against its definition, and against brute force.

use std::collections::{BTreeMap, HashSet};

use checkers::bank::Bank;
use checkers::{Budget, Checker, Verdict};
use history::{History, Kind, Op, Outcome, Value};

use super::Counts;
use crate::random::{Random, Recorder, precedes, show};

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
pub fn random_history(random: &mut Random) -> History {
    let mut recorder = Recorder::any(random, 9);
    let mut bank: Balances = ACCOUNTS.iter().map(|a| (a.to_string(), 10)).collect();
    recorder.record(99, Kind::Invoke, "read", Value::Nil);
    recorder.advance(1);
    recorder.record(99, Kind::Ok, "read", shown(&bank));
    // It comes before all others, whatever the grain of the stamps.
    recorder.advance(1_000);
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

/// The checker's definition, written down: every read is what the accounts had at first, all
/// transfers that had returned before it, and some choice among those that may have happened by
/// then.
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
            if precedes(transfer, read) {
                apply(&mut must, transfer);
            } else if !precedes(read, transfer) {
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
        if (0..ops.len()).any(|j| is_open(j) && must(j) && precedes(ops[j], ops[i])) {
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

/// Judges the history of a seed, and panics where the definition says something else, or a history
/// is accused that has an order.
pub fn judge(seed: u64, counts: &mut Counts) {
    let history = random_history(&mut Random::new(seed));
    let found = Bank.check(&history, &Budget::default());
    counts.add("bank", found.verdict);
    if found.verdict == Verdict::Vacuous {
        return;
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
    assert_eq!(found.verdict, expected, "{found:?}\n{}", show(&history));
    if expected == Verdict::Invalid {
        let bank = ACCOUNTS.iter().map(|a| (a.to_string(), 10)).collect();
        let possible = linearizable(&ops, 0, &bank, &mut HashSet::new());
        assert!(!possible, "{found:?}\n{}", show(&history));
    }
}
