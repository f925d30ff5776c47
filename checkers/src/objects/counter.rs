//! Counters: `add` a number, `read` the sum.
//!
//! Where all additions are of one number, the order is decided exactly: each is made as late as it
//! can be, at its return or that of a read which needs it, those of unknown outcome last. Linear
//! after sorting.
//!
//! Else to decide it is to solve subset sums (NP-hard). What is asked first is whether every read
//! lies between the least and the greatest sum that can have been there during it (Jepsen's
//! `counter`), which is necessary; then the general search tries.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use history::Value;
use rustc_hash::FxHashMap;

use super::{Finding, Found, Judged, Part, searched};
use crate::linearizable::model::Model;
use crate::{Exhausted, Meter};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Add(i64),
    /// It returned this.
    Read(i64),
}

/// The sum, for the general search.
struct Sum(i64);

impl Model for Sum {
    type State = i64;
    type Op = Action;

    fn init(&self) -> i64 {
        self.0
    }

    fn step(&self, state: &i64, op: &Action) -> Option<i64> {
        match *op {
            Action::Add(n) => Some(state.wrapping_add(n)),
            Action::Read(n) => (*state == n).then_some(n),
        }
    }

    fn reads_only(&self, op: &Action) -> bool {
        matches!(op, Action::Read(_) | Action::Add(0))
    }
}

pub fn judge(
    part: &Part,
    initial: i64,
    by_search: bool,
    meter: &mut Meter,
) -> Result<Judged, Exhausted> {
    let mut ops: Vec<(u32, Action)> = Vec::with_capacity(part.calls.len());
    for (i, call) in part.calls.iter().enumerate() {
        meter.tick(100 * i as u64)?;
        let (f, value) = match call.op.f.as_str() {
            "add" => ("add", Some(call.input)),
            _ => ("read", call.output),
        };
        match (f, value.map(Value::as_int)) {
            ("add", Some(Some(n))) => ops.push((i as u32, Action::Add(n))),
            (_, Some(Some(n))) => ops.push((i as u32, Action::Read(n))),
            // A read that nobody answered.
            (_, None) => {}
            (_, Some(None)) => {
                let (op, value) = (call.op.index, value.unwrap_or(&Value::Nil));
                let why = format!("op {op} is of {value}, not a number");
                return Ok(Judged::new(Found::Unknown(why), "undecided"));
            }
        }
    }
    let mut numbers = ops.iter().filter_map(|(_, action)| match action {
        Action::Add(n) => Some(*n),
        Action::Read(_) => None,
    });
    let first = numbers.next().unwrap_or(1);
    let one = first != 0 && numbers.all(|n| n == first);
    if !by_search {
        let findings = bounds(part, initial, &ops);
        if !findings.is_empty() {
            return Ok(Judged::new(Found::Wrong(findings), "by bounds"));
        }
    }
    if by_search || !one {
        let why = match by_search {
            true => "it was asked for",
            false => "additions of different numbers; every read is within its bounds",
        };
        return Ok(searched(&Sum(initial), part, ops, why, meter));
    }
    let found = match count(part, initial, first, &ops) {
        Ok(order) => Found::Order(order),
        Err(finding) => Found::Wrong(vec![finding]),
    };
    Ok(Judged::new(found, "by counting"))
}

/// Reads of what the sum cannot have been at any moment of them, whatever the order. A sum that is
/// too low for a while was an old one; one that stays so has lost something.
fn bounds(part: &Part, initial: i64, ops: &[(u32, Action)]) -> Vec<Finding> {
    // Sums of what had been called, and of what had returned, by rank, of either sign.
    let sums = |by_call: bool, positive: bool| {
        let mut at: Vec<(u32, i128)> = ops
            .iter()
            .filter_map(|(i, action)| match action {
                Action::Add(n) if (*n > 0) == positive => {
                    let call = &part.calls[*i as usize];
                    let rank = if by_call { call.call } else { call.ret };
                    Some((rank, i128::from(*n)))
                }
                _ => None,
            })
            .collect();
        at.sort_unstable();
        let mut sum = 0;
        for (_, n) in &mut at {
            sum += *n;
            *n = sum;
        }
        at
    };
    let before = |sums: &[(u32, i128)], rank: u32| {
        let count = sums.partition_point(|(at, _)| *at < rank);
        count.checked_sub(1).map_or(0, |last| sums[last].1)
    };
    let (more_called, more_returned) = (sums(true, true), sums(false, true));
    let (less_called, less_returned) = (sums(true, false), sums(false, false));
    // The last call of a read that was right: what was too low before it came right by then.
    let mut right = 0;
    let mut wrong = Vec::new();
    for (i, action) in ops {
        let Action::Read(read) = *action else {
            continue;
        };
        let call = &part.calls[*i as usize];
        let initial = i128::from(initial);
        let least = initial + before(&more_returned, call.call) + before(&less_called, call.ret);
        let most = initial + before(&more_called, call.ret) + before(&less_returned, call.call);
        if (least..=most).contains(&i128::from(read)) {
            right = right.max(call.call);
            continue;
        }
        let is_low = i128::from(read) < least;
        let op = call.op.index;
        let reason = format!(
            "the read (op {op}) returned {read}, but by what had been added before it and what \
             was added until it returned, the sum was at least {least} and at most {most}"
        );
        wrong.push((call.ret, is_low, op, reason));
    }
    // Where something is taken away, a sum that is too low may have had that twice.
    let only_added = less_called.is_empty();
    let finding = |(ret, is_low, op, reason): (u32, bool, u64, String)| Finding {
        kind: match is_low {
            true if only_added && ret < right => "stale read",
            true => "sum too low",
            false => "sum too high",
        },
        ops: vec![op],
        reason,
        ..Finding::default()
    };
    let mut findings: Vec<Finding> = wrong.into_iter().map(finding).collect();
    // What is lost for good says more than what was late.
    findings.sort_by_key(|finding| finding.kind == "stale read");
    findings
}

/// An order where every addition is of `one`.
fn count(part: &Part, initial: i64, one: i64, ops: &[(u32, Action)]) -> Result<Vec<u32>, Finding> {
    let call = |op: u32| &part.calls[ops[op as usize].0 as usize];
    let mut events: Vec<(u32, u32)> = Vec::with_capacity(2 * ops.len());
    for op in 0..ops.len() as u32 {
        events.push((call(op).call, op));
        events.extend((!call(op).lost()).then_some((call(op).ret, op)));
    }
    events.sort_unstable();
    let mut counting = Counting {
        count: 0,
        due: BinaryHeap::new(),
        waiting: FxHashMap::default(),
        placed: vec![false; ops.len()],
        order: Vec::with_capacity(ops.len()),
    };
    // What was seen last: what the count is at least.
    let mut last_read: Option<u64> = None;
    for (rank, op) in events {
        let returns = rank == call(op).ret;
        let index = call(op).op.index;
        match ops[op as usize].1 {
            _ if counting.placed[op as usize] => {}
            Action::Add(_) if returns => counting.add(Some(op)).unwrap_or_default(),
            Action::Add(_) => counting.due.push(Reverse((call(op).ret, op))),
            Action::Read(sum) => {
                let more = i128::from(sum) - i128::from(initial);
                let one = i128::from(one);
                let finding = |kind, reason: String| Finding {
                    kind,
                    ops: last_read.into_iter().chain([index]).collect(),
                    reason,
                    ..Finding::default()
                };
                if more % one != 0 {
                    let reason = format!(
                        "the read (op {index}) returned {sum}, which no number of additions of {one} makes"
                    );
                    return Err(finding("sum that cannot be", reason));
                }
                let target = i64::try_from(more / one).unwrap_or(i64::MIN);
                if target < counting.count {
                    let reason = format!(
                        "the read (op {index}) returned {sum}, but {} additions of {one} had taken \
                         effect before: they had returned, or were read",
                        counting.count
                    );
                    return Err(finding("stale read", reason));
                }
                if target == counting.count {
                    counting.place(op);
                } else if !returns {
                    counting.waiting.entry(target).or_default().push(op);
                } else {
                    while counting.count < target {
                        let Some(()) = counting.add(None) else {
                            let reason = format!(
                                "the read (op {index}) returned {sum}, but only {} additions of \
                                 {one} can have taken effect by then",
                                counting.count
                            );
                            return Err(finding("future read", reason));
                        };
                    }
                }
                if counting.placed[op as usize] {
                    last_read = Some(index);
                }
            }
        }
    }
    let order = counting.order.iter();
    Ok(order.map(|op| ops[*op as usize].0).collect())
}

struct Counting {
    count: i64,
    /// Additions that are open, by return; those of unknown outcome last.
    due: BinaryHeap<Reverse<(u32, u32)>>,
    /// Reads, by the count that they wait for.
    waiting: FxHashMap<i64, Vec<u32>>,
    placed: Vec<bool>,
    order: Vec<u32>,
}

impl Counting {
    /// Adds once, by this operation or one that is open. None if there is none.
    fn add(&mut self, by: Option<u32>) -> Option<()> {
        let by = by.or_else(|| {
            loop {
                match self.due.pop() {
                    Some(Reverse((_, due))) if self.placed[due as usize] => {}
                    Some(Reverse((_, due))) => return Some(due),
                    None => return None,
                }
            }
        })?;
        self.count += 1;
        self.place(by);
        for read in self.waiting.remove(&self.count).unwrap_or_default() {
            self.place(read);
        }
        Some(())
    }

    fn place(&mut self, op: u32) {
        self.placed[op as usize] = true;
        self.order.push(op);
    }
}
