//! Staleness by its definitions: every order that agrees with time, for every Δ that can make a
//! difference.

use checkers::staleness::Staleness;
use checkers::{Budget, Checker};
use history::{History, Kind, Op, Outcome, Value};

use super::Counts;
use crate::random::{Random, Recorder, show};

/// A write or a read that happened, and its value; 0 is what was there at the start.
struct Timed {
    call: i64,
    ret: i64,
    value: i64,
    is_read: bool,
    /// Nobody knows whether it happened.
    lost: bool,
}

/// The smallest k with reads called so much earlier, at most `most`; every order of writes and
/// reads is tried.
fn smallest_k(ops: &[Timed], earlier: i64, most: usize) -> Option<usize> {
    let call = |op: &Timed| op.call - if op.is_read { earlier } else { 0 };
    let precedes = |a: &Timed, b: &Timed| a.ret < call(b);
    let before: Vec<u32> = (ops.iter())
        .map(|b| {
            (0..ops.len())
                .filter(|a| precedes(&ops[*a], b))
                .map(|a| 1 << a)
                .sum()
        })
        .collect();
    (1..=most).find(|k| extends(ops, &before, 0, &mut vec![0], *k))
}

fn extends(ops: &[Timed], before: &[u32], done: u32, writes: &mut Vec<i64>, k: usize) -> bool {
    let left = |i: usize| done & 1 << i == 0;
    if (0..ops.len()).all(|i| !left(i) || ops[i].lost) {
        return true;
    }
    for i in (0..ops.len()).filter(|i| left(*i)) {
        if before[i] & !done != 0 {
            continue;
        }
        let then = done | 1 << i;
        if ops[i].is_read {
            if writes
                .iter()
                .rev()
                .take(k)
                .any(|value| *value == ops[i].value)
                && extends(ops, before, then, writes, k)
            {
                return true;
            }
            continue;
        }
        writes.push(ops[i].value);
        let found = extends(ops, before, then, writes, k);
        writes.pop();
        if found {
            return true;
        }
    }
    false
}

/// The smallest Δ for which there is an order.
fn smallest_delta(ops: &[Timed]) -> Option<i64> {
    let reads = ops.iter().filter(|op| op.is_read);
    let gaps = reads.flat_map(|read| ops.iter().map(move |op| read.call.saturating_sub(op.ret)));
    let mut deltas: Vec<i64> = gaps.filter(|delta| *delta > 0).chain([0]).collect();
    deltas.sort_unstable();
    deltas
        .into_iter()
        .find(|delta| smallest_k(ops, *delta, 1).is_some())
}

fn timed(op: &Op) -> Option<Timed> {
    let is_read = op.f == "read";
    let value = match (is_read, op.outcome) {
        (true, Outcome::Ok) => &op.output,
        (false, Outcome::Ok | Outcome::Info) => &op.input,
        _ => return None,
    };
    let value = value.as_pair().expect("they have keys").1;
    Some(Timed {
        call: op.call.0 as i64,
        ret: op.ret.0.min(i64::MAX as u64) as i64,
        value: value.as_int().unwrap_or(0),
        is_read,
        lost: op.outcome == Outcome::Info,
    })
}

/// Up to seven operations by up to four processes, of one key; reads return anything that was asked
/// to be written so far.
fn history(random: &mut Random) -> History {
    let mut recorder = Recorder::default();
    let processes = 1 + random.below(4);
    let mut open: Vec<Option<Option<i64>>> = vec![None; processes as usize];
    let (mut left, mut written) = (3 + random.below(5), 0);
    let lost = *random.pick(&[0, 0, 20]);
    while left > 0 || open.iter().any(Option::is_some) {
        recorder.advance(random.below(5));
        let process = random.below(processes);
        let key = |value: Value| Value::pair(1, value);
        match open[process as usize].take() {
            Some(Some(value)) => {
                let kind = if random.percent(lost) {
                    Kind::Info
                } else {
                    Kind::Ok
                };
                recorder.record(process, kind, "write", key(value.into()));
            }
            Some(None) => {
                let back = random.below(4).min(written as u64) as i64;
                let value = match written - back {
                    0 => Value::Nil,
                    value => value.into(),
                };
                recorder.record(process, Kind::Ok, "read", key(value));
            }
            None if left > 0 => {
                left -= 1;
                let write = random.percent(55);
                written += i64::from(write);
                let f = if write { "write" } else { "read" };
                let asked = if write { written.into() } else { Value::Nil };
                recorder.record(process, Kind::Invoke, f, key(asked));
                open[process as usize] = Some(write.then_some(written));
            }
            None => {}
        }
    }
    recorder.history()
}

pub fn judge(seed: u64, counts: &mut Counts) {
    let history = history(&mut Random::new(seed));
    let ops: Vec<Timed> = history.ops().iter().filter_map(timed).collect();
    let found = Staleness.check(&history, &Budget::default());
    let figure = |name: &str| found.figures.iter().find(|f| f.name == name);
    let Some(delta) = figure("staleness") else {
        assert!(ops.iter().all(|op| !op.is_read), "{}", show(&history));
        return;
    };
    let right = smallest_delta(&ops).expect("reads return what was asked for before");
    let told = delta.value["max"].as_f64().expect("it is a number");
    assert_eq!(told, right as f64 / 1e9, "delta\n{}", show(&history));
    let p99 = delta.value["p99"].as_f64().expect("it is a number");
    assert!(p99 <= told, "a read is staler than all\n{}", show(&history));
    let k = smallest_k(&ops, 0, 10).expect("all writes are few");
    let told = figure("smallest k").expect("it is measured with the other");
    assert_eq!(told.value.as_u64(), Some(k as u64), "k\n{}", show(&history));
    let what = ["1-atomic", "2-atomic", "3-atomic", "4-atomic and more"];
    counts.add(what[(k - 1).min(3)], checkers::Verdict::Valid);
}
