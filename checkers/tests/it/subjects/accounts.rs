//! Leases and total queues, which are judged without an order, against what they promise.

use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::{Budget, Checker, Verdict};
use history::{History, Kind, Op, Outcome, Process, Value};

use super::Counts;
use crate::random::{Random, Recorder, precedes, show};

const MS: i64 = 1_000_000;

/// Processes that hold a lease in turn, most of them, in half milliseconds.
pub fn leases(random: &mut Random) -> History {
    let mut recorder = Recorder::default();
    let told = random.percent(60);
    let unit = if told { MS / 2 } else { 1 };
    let mut now = 0;
    for _ in 0..2 + random.below(7) {
        let process = random.below(3);
        let f = *random.pick(&["acquire", "renew", "acquire", "release"]);
        recorder.record(process, Kind::Invoke, f, Value::Nil);
        let steps = random.below(3) as i64;
        recorder.advance((steps * unit) as u64);
        now += steps;
        let (from, len) = (now - random.below(2) as i64, random.below(14) as i64 - 1);
        let answer = match (f, told) {
            ("release", _) => Value::Nil,
            (_, false) => Value::Int(len),
            (_, true) => Value::pair(from * unit, (from + len) * unit),
        };
        let kind = *random.pick(&[Kind::Ok, Kind::Ok, Kind::Ok, Kind::Info]);
        recorder.record(process, kind, f, answer);
        let steps = random.below(5) as i64;
        recorder.advance((steps * unit) as u64);
        now += steps;
    }
    recorder.history()
}

/// Whether some two processes held at once, whichever of them is moved by the slack.
fn overlap(history: &History) -> bool {
    let ns = |time: history::Time| time.as_nanos() as i64;
    let mut slack = 0;
    let mut leases: Vec<(Process, i64, i64)> = Vec::new();
    for (i, op) in history.ops().iter().enumerate() {
        if op.f == "release" || op.outcome != Outcome::Ok {
            continue;
        }
        let (from, until) = match op.output.as_pair() {
            Some((from, until)) => {
                slack = MS;
                (from.as_int().unwrap(), until.as_int().unwrap())
            }
            None => (ns(op.ret), ns(op.call) + op.output.as_int().unwrap()),
        };
        let later = history.ops()[i..].iter();
        let released = later.filter(|r| r.f == "release" && r.process == op.process);
        let until = released.map(|r| ns(r.call)).chain([until]).min().unwrap();
        if from <= until {
            leases.push((op.process, from, until));
        }
    }
    let apart = |(p, from, until): &(Process, i64, i64),
                 (q, from2, until2): &(Process, i64, i64)| {
        p == q || *until <= from2 + slack || *until2 <= from + slack
    };
    let others = |lease| leases.iter().all(|other| apart(lease, other));
    !leases.iter().all(others)
}

/// Judges the history of a seed, and panics where every two leases say something else, or two are
/// told of twice.
pub fn judge_leases(seed: u64, counts: &mut Counts) {
    let history = leases(&mut Random::new(seed));
    let found = Objects::single(Model::Lease).check(&history, &Budget::default());
    counts.add("lease", found.verdict);
    if found.verdict == Verdict::Vacuous {
        return;
    }
    let expected = match overlap(&history) {
        true => Verdict::Invalid,
        false => Verdict::Valid,
    };
    assert_eq!(found.verdict, expected, "{found:?}\n{}", show(&history));
    let mut told: Vec<Vec<u64>> = found.anomalies.into_iter().map(|a| a.ops).collect();
    told.iter_mut().for_each(|ops| ops.sort_unstable());
    told.sort();
    let count = told.len();
    told.dedup();
    assert_eq!(told.len(), count, "told twice\n{}", show(&history));
}

/// A bag of a few values, some of them put in twice, that loses some; at its end it may be drained.
pub fn bag(random: &mut Random) -> History {
    let mut recorder = Recorder::any(random, 18);
    let mut open: Vec<Option<(&str, Value)>> = vec![None; 3];
    let mut names: Vec<u64> = vec![0, 1, 2];
    let mut held: Vec<Value> = Vec::new();
    let drains = *random.pick(&[0, 10, 30]);
    let lost = *random.pick(&[0, 10, 30]);
    for _ in 0..6 + random.below(12) {
        recorder.advance(random.below(2));
        let who = random.below(3) as usize;
        let Some((f, input)) = open[who].take() else {
            let value = Value::Int(random.below(4) as i64);
            let (f, input) = match random.below(100) {
                n if n < drains => ("drain", Value::Nil),
                n if n < 60 => ("enqueue", value),
                _ => ("dequeue", Value::Nil),
            };
            recorder.record(names[who], Kind::Invoke, f, input.clone());
            open[who] = Some((f, input));
            continue;
        };
        let answer = match f {
            "enqueue" => {
                if random.percent(90) {
                    held.push(input.clone());
                }
                input.clone()
            }
            "drain" => Value::List(std::mem::take(&mut held)),
            _ if random.percent(5) => Value::Int(random.below(4) as i64),
            _ => held.pop().unwrap_or_default(),
        };
        let (kind, value) = match random.below(100) {
            n if n < lost => (Kind::Info, input),
            n if n > 95 => (Kind::Fail, input),
            _ => (Kind::Ok, answer),
        };
        if kind == Kind::Info {
            names[who] += 3;
        }
        recorder.record(
            names[who] - 3 * u64::from(kind == Kind::Info),
            kind,
            f,
            value,
        );
    }
    recorder.history()
}

/// What a total queue promises: what comes out went in, and what was acknowledged before it was
/// found empty came out, whichever values the takes without an answer took.
fn promised(history: &History) -> Verdict {
    let ops: Vec<&Op> = history
        .ops()
        .iter()
        .filter(|op| op.outcome != Outcome::Fail)
        .collect();
    let ok = |op: &&&Op| op.outcome == Outcome::Ok;
    let puts = |value: &Value| -> Vec<&&Op> {
        let puts = ops
            .iter()
            .filter(|op| op.f == "enqueue" && op.input == *value);
        puts.collect()
    };
    let takes: Vec<(Value, &Op)> = ops
        .iter()
        .filter(|op| op.f != "enqueue" && ok(op))
        .flat_map(|op| match op.output.as_list() {
            Some(list) => list.iter().map(|value| (value.clone(), *op)).collect(),
            None if op.output.is_nil() => Vec::new(),
            None => vec![(op.output.clone(), *op)],
        })
        .collect();
    for (value, take) in &takes {
        if puts(value).iter().all(|put| precedes(take, put)) {
            return Verdict::Invalid;
        }
    }
    let found_empty = |op: &&&Op| op.f == "drain" || op.f == "dequeue" && op.output.is_nil();
    let emptied: Vec<&&Op> = ops.iter().filter(ok).filter(found_empty).collect();
    // How many of each are gone, and how many may be there still.
    let (mut gone, mut left) = (Vec::new(), 0);
    for value in (0..4).map(Value::Int) {
        let acknowledged: Vec<&&Op> = puts(&value).into_iter().filter(ok).collect();
        let out = takes.iter().filter(|(taken, _)| *taken == value).count();
        let count = acknowledged.len().saturating_sub(out);
        let then_empty = |put: &&&Op| emptied.iter().any(|op| precedes(put, op));
        match acknowledged.iter().all(then_empty) {
            true => gone.push(count),
            false => left += count,
        }
    }
    let lost = |f: &str| ops.iter().filter(|op| op.f == f && !ok(op)).count();
    /// Whether so many takes can have had them all.
    fn taken(gone: &mut [usize], takes: usize) -> bool {
        gone.iter().all(|n| *n == 0)
            || takes > 0
                && (0..gone.len()).any(|i| {
                    if gone[i] == 0 {
                        return false;
                    }
                    gone[i] -= 1;
                    let rest = taken(gone, takes - 1);
                    gone[i] += 1;
                    rest
                })
    }
    match gone.iter().sum::<usize>() {
        0 if left == 0 => Verdict::Valid,
        0 => Verdict::Unknown,
        _ if lost("drain") > 0 || taken(&mut gone, lost("dequeue")) => Verdict::Unknown,
        _ => Verdict::Invalid,
    }
}

/// Judges the history of a seed, and panics where it is something else that was promised.
pub fn judge_total_queues(seed: u64, counts: &mut Counts) {
    let history = bag(&mut Random::new(seed));
    let found = Objects::single(Model::TotalQueue).check(&history, &Budget::default());
    counts.add("total-queue", found.verdict);
    if found.verdict != Verdict::Vacuous {
        let expected = promised(&history);
        assert_eq!(found.verdict, expected, "{found:?}\n{}", show(&history));
    }
}
