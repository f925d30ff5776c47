//! Queues that promise only that what was put in comes out, after Jepsen's `total-queue`: accounts,
//! and no order.
//!
//! | figure | what |
//! | --- | --- |
//! | recovered | taken although its `enqueue` was not acknowledged |
//! | duplicated | taken more often than put in, which a queue that delivers at least once may do |
//! | lost | acknowledged, never taken, and not there when the queue was drained |
//!
//! To find nothing tells only of what was put in before. So a value is missing if after its
//! `enqueue` had returned a `drain`, or a `dequeue` that found nothing, was invoked; it is lost if
//! there are more missing ones than takes of unknown outcome, each of which may have had one.

use std::cmp::Reverse;

use history::wording::{counted, either};

use history::{Op, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Call, Finding, Found, Judged, Part};
use crate::figure::Gauge;
use crate::linearizable::search;
use crate::{Exhausted, Figure, Meter, ranks};

const LOST: Gauge = Gauge::count("values lost");
const MISSING_OR_LEFT: Gauge = Gauge::count("values missing or left");
const RECOVERED: Gauge = Gauge::count("values recovered");
const DUPLICATED: Gauge = Gauge::count("values duplicated");

#[derive(Default)]
struct Account<'h> {
    /// Those that happened or may have, by call.
    puts: Vec<(u32, Call<'h>)>,
    acknowledged: usize,
    failed: Option<&'h Op>,
    taken: Vec<Call<'h>>,
}

/// What the calls say of a queue's values.
struct Queue<'h> {
    accounts: FxHashMap<&'h Value, Account<'h>>,
    /// Every value that was put.
    order: Vec<&'h Value>,
    /// The last call that found the queue empty.
    drained: Option<u32>,
    /// What precedes one that found it empty, though ranks do not say so.
    before_empty: FxHashSet<u32>,
    /// Takes that may have had something.
    lost_takes: usize,
    lost_drains: usize,
}

impl<'h> Queue<'h> {
    /// None, and why, if an answer is not understood.
    fn read(part: &Part<'h>, meter: &mut Meter) -> Result<Result<Queue<'h>, String>, Exhausted> {
        let mut accounts = of_failed(part);
        let mut order: Vec<&Value> = Vec::new();
        let (mut drained, mut lost_takes, mut lost_drains) = (None::<u32>, 0, 0);
        let mut before_empty: FxHashSet<u32> = FxHashSet::default();
        let awaits = ranks::awaits(&part.follows, part.calls.len());
        let mut found_empty = |at: usize| {
            let mut before = search::awaited(&awaits, at as u32);
            while let Some(op) = before.filter(|op| before_empty.insert(*op)) {
                before = search::awaited(&awaits, op);
            }
            drained = drained.max(Some(part.calls[at].call));
        };
        for (at, call) in part.calls.iter().enumerate() {
            meter.tick(200 * accounts.len() as u64)?;
            match (call.op.f.as_str(), call.output) {
                ("enqueue", output) => {
                    let account = accounts.entry(call.input).or_default();
                    order.push(call.input);
                    account.puts.push((at as u32, *call));
                    account.acknowledged += usize::from(output.is_some());
                }
                ("dequeue", None) => lost_takes += 1,
                (_, None) => lost_drains += 1,
                ("dequeue", Some(Value::Nil)) => found_empty(at),
                ("dequeue", Some(value)) => accounts.entry(value).or_default().taken.push(*call),
                (_, Some(list)) => {
                    found_empty(at);
                    let Some(values) = list.as_list() else {
                        if !list.is_nil() {
                            let why = format!("op {} drained {list}, not a list", call.op.index);
                            return Ok(Err(why));
                        }
                        continue;
                    };
                    for value in values {
                        accounts.entry(value).or_default().taken.push(*call);
                    }
                }
            }
        }
        order.sort_unstable();
        order.dedup();
        Ok(Ok(Queue {
            accounts,
            order,
            drained,
            before_empty,
            lost_takes,
            lost_drains,
        }))
    }
}

/// The judgement, and the figures.
pub fn judge(part: &Part, meter: &mut Meter) -> Result<(Judged, Vec<Figure>), Exhausted> {
    let Queue {
        accounts,
        order,
        drained,
        before_empty,
        lost_takes,
        lost_drains,
    } = match Queue::read(part, meter)? {
        Ok(queue) => queue,
        Err(why) => {
            let judged = Judged::new(Found::Unknown(why), "undecided");
            return Ok((judged, Vec::new()));
        }
    };
    let mut findings = unexpected(part, &accounts);
    let (mut missing, mut waiting, mut recovered, mut duplicated) = (Vec::new(), 0, 0, 0);
    for value in order {
        let account = &accounts[value];
        let (puts, taken) = (account.puts.len(), account.taken.len());
        duplicated += taken.saturating_sub(puts);
        recovered += taken.min(puts).saturating_sub(account.acknowledged);
        let told = || account.puts.iter().filter(|(_, put)| !put.lost());
        if let Some((_, put)) = told().max_by_key(|(at, put)| (put.ret, Reverse(*at)))
            && taken < account.acknowledged
        {
            let precedes = |(at, put): &(u32, Call)| {
                drained.is_some_and(|drained| put.ret < drained) || before_empty.contains(at)
            };
            match told().all(precedes) {
                true => missing.push((value, put.op, account.acknowledged - taken)),
                false => waiting += account.acknowledged - taken,
            }
        }
    }
    let count: usize = missing.iter().map(|(_, _, count)| count).sum();
    let surely_lost = lost_drains == 0 && count > lost_takes;
    if surely_lost {
        let lost = missing.iter();
        findings.extend(lost.map(|(value, put, _)| value_lost(value, put, lost_takes, count)));
    }
    let found = verdict(findings, count, waiting, duplicated);
    let lost = if surely_lost { count } else { 0 };
    let figures = [
        (LOST, lost),
        (MISSING_OR_LEFT, count + waiting - lost),
        (RECOVERED, recovered),
        (DUPLICATED, duplicated),
    ];
    let figures = figures.map(|(gauge, count)| gauge.figure(count));
    Ok((Judged::new(found, "by accounts"), figures.to_vec()))
}

/// What is known of values whose enqueues failed.
fn of_failed<'h>(part: &Part<'h>) -> FxHashMap<&'h Value, Account<'h>> {
    let mut accounts: FxHashMap<&Value, Account> = FxHashMap::default();
    for op in part.failed.iter().filter(|op| op.f == "enqueue") {
        let value = match part.key {
            None => Some(&op.input),
            Some(_) => op.input.as_pair().map(|(_, value)| value),
        };
        if let Some(value) = value {
            accounts.entry(value).or_default().failed = Some(op);
        }
    }
    accounts
}

/// What was taken and cannot have been there.
fn unexpected(part: &Part, accounts: &FxHashMap<&Value, Account>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unexpected: Vec<(&&Value, &Account)> = accounts.iter().collect();
    unexpected.sort_by_key(|(_, account)| account.taken.first().map(|take| take.op.index));
    for (value, account) in unexpected {
        let precedes = |a: &Call, b: &Call| {
            a.ret < b.call || a.op.process == b.op.process && a.op.index < b.op.index
        };
        let first = account
            .taken
            .iter()
            .min_by_key(|take| (take.ret, take.op.index));
        // Where ranks say all, no other take can precede what the first does not.
        let mut others = account.taken.iter().filter(|_| !part.follows.is_empty());
        let early = |take: &&Call| account.puts.iter().all(|(_, put)| precedes(take, put));
        let Some(take) = first.filter(early).or(others.find(early)).or(first) else {
            continue;
        };
        let op = take.op.index;
        let first = account.puts.first();
        findings.extend(match (first, account.failed) {
            (Some((_, put)), _) if early(&take) => Some(Finding {
                kind: "taken too early",
                ops: vec![op, put.op.index],
                reason: format!(
                    "{value} was taken (op {op}) before its enqueue (op {}) was invoked",
                    put.op.index
                ), ..Finding::default() }),
            (Some(_), _) => None,
            (None, Some(put)) => Some(Finding {
                kind: "aborted value",
                ops: vec![op, put.index],
                reason: format!(
                    "{value} was taken (op {op}), but its enqueue (op {}) failed: it did not happen",
                    put.index
                ), ..Finding::default() }),
            (None, None) => Some(Finding {
                kind: "value from nowhere",
                ops: vec![op],
                reason: format!("{value} was taken (op {op}), but nobody enqueued it"), ..Finding::default() }),
        });
    }
    findings
}

/// So many such values are missing, and so many takes may have had one.
fn value_lost(value: &Value, put: &Op, takes: usize, missing: usize) -> Finding {
    let others = match takes {
        0 => String::new(),
        n => format!(
            "; {} can have had {n} of {}",
            counted(n, "unanswered dequeue"),
            counted(missing, "such value")
        ),
    };
    Finding {
        kind: "value lost",
        ops: vec![put.index],
        reason: format!(
            "{value} was enqueued (op {}, acknowledged) and never taken, though the queue was \
             drained afterwards{others}",
            put.index,
        ),
        ..Finding::default()
    }
}

/// `count` acknowledged values are missing, and so many more may be there still.
fn verdict(findings: Vec<Finding>, count: usize, waiting: usize, duplicated: usize) -> Found {
    match (findings.is_empty(), count, waiting) {
        (false, ..) => Found::Wrong(findings),
        (true, 0, 0) => Found::Sound(match duplicated {
            0 => "everything that was acknowledged was taken".to_string(),
            n => format!(
                "everything that was acknowledged was taken, {} more than once",
                counted(n, "value")
            ),
        }),
        (true, 0, n) => Found::Unknown(format!(
            "{} {} not taken, and the queue was not drained afterwards: {} may be there still",
            counted(n, "acknowledged value"),
            either(n, "was", "were"),
            either(n, "it", "they")
        )),
        (true, n, _) => Found::Unknown(format!(
            "{} {} missing, and takes of unknown outcome may have had {}",
            counted(n, "acknowledged value"),
            either(n, "is", "are"),
            either(n, "it", "them")
        )),
    }
}
