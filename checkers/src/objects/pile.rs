//! Objects into which values are put and from which they are taken: queues, stacks, priority
//! queues.
//!
//! Where every value is put in once, it has a *span*: it goes in within one interval and comes out
//! within another.
//!
//! ```text
//! put   |------|                      take within [take_call, take_ret]
//!       put_call  put_ret  <- surely in ->  take_call
//! ```
//!
//! A value is taken from when it can be in, at the earliest. Whether there is an order is then a
//! question about spans alone, which each discipline answers in its own way ([`super::fifo`],
//! [`super::lifo`], [`super::least`]) in O(n log n), after Lee and Mathur, "Efficient
//! decrease-and-conquer linearizability monitoring" (OOPSLA 2025), and Abdulla et al., "Efficient
//! linearizability monitoring" (PLDI 2025), who show that it can be done; the conditions and their
//! proofs are in `harness/docs/proofs.md`.
//!
//! A put of unknown outcome happened iff its value was taken. A take of unknown outcome may have
//! taken any value that nobody else took: each is given to the value that is in the way first
//! ([`super::takes`]). If that explains the history, it is explained; if not, a queue's has no
//! order. Nor has that of another, if it is not explained even when each such value may be taken as
//! early as by the earliest of these takes; else search decides.

use history::wording::counted;
use history::{Op, Value};
use rustc_hash::FxHashMap;

use super::takes::{self, Taken};
use super::{Call, Finding, Found, Judged, Part, fifo, least, lifo, searched};
use crate::linearizable::model::Model;
use crate::linearizable::search::NEVER;
use crate::{Exhausted, Meter};

/// In which order values come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A queue.
    Fifo,
    /// A stack.
    Lifo,
    /// A priority queue: the least first.
    Least,
}

/// Where a value goes in and comes out, by ranks. The least first: spans are sorted by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub put_call: u32,
    /// [`NEVER`] if nobody knows the outcome.
    pub put_ret: u32,
    /// Not earlier than `put_call`; [`NEVER`] if the value stays.
    pub take_call: u32,
    pub take_ret: u32,
}

impl Span {
    /// Whether nobody is known to have taken it.
    pub fn stays(&self) -> bool {
        self.take_call == NEVER
    }

    /// If a take that was called then took it.
    pub fn taken_from(self, call: u32) -> Span {
        Span {
            take_call: call.max(self.put_call),
            ..self
        }
    }
}

/// Why there is no order: these values, together with an empty take if that is what cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub spans: Vec<u32>,
    pub empty: Option<u32>,
}

/// An operation in an order of spans. What stays is taken last, by a take of unknown outcome or by
/// nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Put(u32),
    Take(u32),
    Empty(u32),
}

impl Kind {
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::Fifo => ("enqueue", "dequeue", "queue"),
            Kind::Lifo => ("push", "pop", "stack"),
            Kind::Least => ("insert", "delete-min", "priority queue"),
        }
    }

    fn past(self) -> (&'static str, &'static str) {
        match self {
            Kind::Fifo => ("enqueued", "dequeued"),
            Kind::Lifo => ("pushed", "popped"),
            Kind::Least => ("inserted", "deleted"),
        }
    }

    /// Until when each must be out because of others, or [`NEVER`].
    pub fn deadlines(self, spans: &[Span]) -> Vec<u32> {
        match self {
            Kind::Fifo => fifo::deadlines(spans),
            Kind::Lifo => lifo::deadlines(spans),
            Kind::Least => least::deadlines(spans),
        }
    }

    /// An order of all of them, or some that have none. Empty takes are intervals.
    pub fn solve(self, spans: &[Span], empties: &[(u32, u32)]) -> Result<Vec<Event>, Bad> {
        match self {
            Kind::Fifo => fifo::solve(spans, empties),
            Kind::Lifo => lifo::solve(spans, empties),
            Kind::Least => least::solve(spans, empties),
        }
    }
}

/// One value of the history.
struct Item {
    put: u32,
    take: Option<u32>,
}

/// A history of unique values.
struct Pile<'a, 'h> {
    kind: Kind,
    calls: &'a [Call<'h>],
    /// What is put in and may have been; sorted by value.
    items: Vec<Item>,
    empties: Vec<u32>,
    /// Takes that nobody knows what they took, by call.
    lost: Vec<u32>,
}

/// A value that was put in twice.
struct NotUnique(String);

/// A value was taken that nobody put; `failed` is who tried to.
fn unput(kind: Kind, value: &Value, op: u64, failed: Option<&Op>) -> Finding {
    let (put_past, taken) = kind.past();
    match failed {
        None => Finding {
            kind: "value from nowhere",
            ops: vec![op],
            reason: format!("{value} was {taken} (op {op}), but nobody {put_past} it"),
            ..Finding::default()
        },
        Some(put) => Finding {
            kind: "aborted value",
            ops: vec![op, put.index],
            reason: format!(
                "{value} was {taken} (op {op}), but its {} (op {}) failed: it did not happen",
                put.f, put.index
            ),
            ..Finding::default()
        },
    }
}

fn twice(kind: Kind, value: &Value, before: u64, op: u64) -> Finding {
    let (_, _, object) = kind.names();
    let (put_past, taken) = kind.past();
    Finding {
        kind: "taken twice",
        ops: vec![before, op],
        reason: format!(
            "{value} was {taken} twice (op {before} and op {op}), but {put_past} only once: a \
             {object} hands out a value once"
        ),
        ..Finding::default()
    }
}

fn early(kind: Kind, value: &Value, op: u64, put: u64) -> Finding {
    let (_, taken) = kind.past();
    Finding {
        kind: "taken too early",
        ops: vec![op, put],
        reason: format!(
            "{value} was {taken} (op {op}) before its {} (op {put}) was invoked",
            kind.names().0
        ),
        ..Finding::default()
    }
}

impl<'a, 'h> Pile<'a, 'h> {
    fn new(
        kind: Kind,
        part: &'a Part<'h>,
        meter: &mut Meter,
    ) -> Result<Result<(Pile<'a, 'h>, Vec<Finding>), NotUnique>, Exhausted> {
        let calls = &part.calls[..];
        let (put, take, _) = kind.names();
        let (put_past, _) = kind.past();
        let mut numbers: FxHashMap<&Value, u32> = FxHashMap::default();
        let mut items: Vec<Item> = Vec::new();
        for (i, call) in calls.iter().enumerate().filter(|(_, c)| c.op.f == put) {
            // Numbers, spans and what solving them needs.
            meter.tick(200 * items.len() as u64)?;
            if let Some(before) = numbers.insert(call.input, items.len() as u32) {
                let before = calls[items[before as usize].put as usize].op.index;
                let (value, again) = (call.input, call.op.index);
                let why = format!("{value} is {put_past} twice, by op {before} and op {again}");
                return Ok(Err(NotUnique(why)));
            }
            items.push(Item {
                put: i as u32,
                take: None,
            });
        }
        let failed: FxHashMap<&Value, &Op> = part
            .failed
            .iter()
            .filter(|op| op.f == put)
            .filter_map(|op| Some((content(op, part.key)?, *op)))
            .collect();
        let mut findings = Vec::new();
        let (mut empties, mut lost) = (Vec::new(), Vec::new());
        for (i, call) in calls.iter().enumerate().filter(|(_, c)| c.op.f == take) {
            let op = call.op.index;
            let Some(value) = call.output else {
                lost.push(i as u32);
                continue;
            };
            if value.is_nil() {
                empties.push(i as u32);
                continue;
            }
            let Some(item) = numbers.get(value).map(|n| &mut items[*n as usize]) else {
                findings.push(unput(kind, value, op, failed.get(value).copied()));
                continue;
            };
            let put = &calls[item.put as usize];
            if let Some(before) = item.take.replace(i as u32) {
                let before = calls[before as usize].op.index;
                findings.push(twice(kind, value, before, op));
            }
            if call.ret < put.call {
                findings.push(early(kind, value, op, put.op.index));
            }
        }
        items.sort_by_key(|item| calls[item.put as usize].input);
        let pile = Pile {
            kind,
            calls,
            items,
            empties,
            lost,
        };
        Ok(Ok((pile, findings)))
    }

    fn spans(&self) -> Vec<Span> {
        let span = |item: &Item| {
            let put = &self.calls[item.put as usize];
            let take = item.take.map(|take| &self.calls[take as usize]);
            let (take_call, take_ret) = take.map_or((NEVER, NEVER), |take| (take.call, take.ret));
            Span {
                put_call: put.call,
                put_ret: put.ret,
                take_call: take_call.max(put.call),
                take_ret,
            }
        };
        self.items.iter().map(span).collect()
    }

    fn empties(&self) -> Vec<(u32, u32)> {
        let interval = |i: &u32| (self.calls[*i as usize].call, self.calls[*i as usize].ret);
        self.empties.iter().map(interval).collect()
    }

    fn order(&self, events: &[Event], taken: &Taken) -> Vec<u32> {
        let op = |event: &Event| match *event {
            Event::Put(i) => Some(self.items[i as usize].put),
            Event::Take(i) => {
                let lost = || taken[i as usize].map(|take| self.lost[take as usize]);
                self.items[i as usize].take.or_else(lost)
            }
            Event::Empty(i) => Some(self.empties[i as usize]),
        };
        events.iter().filter_map(op).collect()
    }

    /// Each value with who put and who took it, and whether one of them was never taken. Adds
    /// their operations to `ops`.
    fn told(&self, values: &[u32], ops: &mut Vec<u64>) -> (Vec<String>, bool) {
        let (put_past, taken) = self.kind.past();
        let mut told = Vec::new();
        let mut stays = false;
        for i in values {
            let item = &self.items[*i as usize];
            let put = &self.calls[item.put as usize];
            ops.push(put.op.index);
            let value = put.input;
            match item.take.map(|take| self.calls[take as usize].op.index) {
                Some(take) => {
                    ops.push(take);
                    told.push(format!(
                        "{value} ({put_past} by op {}, {taken} by op {take})",
                        put.op.index
                    ));
                }
                None => {
                    stays = true;
                    told.push(format!(
                        "{value} ({put_past} by op {}, never {taken})",
                        put.op.index
                    ));
                }
            }
        }
        (told, stays)
    }

    /// How many takes without an answer had been asked for when the last of these values was taken,
    /// or the empty take returned: later ones cannot have taken what was missing then.
    fn asked_before(&self, values: &[u32], empty: Option<u32>) -> usize {
        let takes = values.iter().filter_map(|i| self.items[*i as usize].take);
        let empty = empty.map(|i| self.empties[i as usize]);
        let last = takes.chain(empty).map(|at| self.calls[at as usize].ret);
        let last = last.max().unwrap_or(u32::MAX);
        let calls = self.lost.iter().map(|at| self.calls[*at as usize].call);
        calls.filter(|call| *call < last).count()
    }

    /// The fewest of the values that have no order, and why. `is_bad` tells it of spans with empty
    /// takes.
    fn finding(
        &self,
        spans: &[Span],
        bad: Bad,
        is_bad: impl Fn(&[Span], &[(u32, u32)]) -> bool,
        meter: &mut Meter,
    ) -> Finding {
        let empties: Vec<(u32, u32)> = bad
            .empty
            .map(|i| self.empties()[i as usize])
            .into_iter()
            .collect();
        let is_bad = |kept: &[u32]| {
            let spans: Vec<Span> = kept.iter().map(|i| spans[*i as usize]).collect();
            is_bad(&spans, &empties)
        };
        let (values, minimal) = shrink(bad.spans, is_bad, meter);
        let (_, take, object) = self.kind.names();
        let (_, taken) = self.kind.past();
        let mut ops = Vec::new();
        ops.extend(
            bad.empty
                .map(|i| self.calls[self.empties[i as usize] as usize].op.index),
        );
        let (told, stays) = self.told(&values, &mut ops);
        let told = match &told[..] {
            [first, second] if bad.empty.is_none() => format!("{first} and {second}"),
            all => all.join(", "),
        };
        let lost = match (stays, self.asked_before(&values, bad.empty)) {
            (false, _) | (_, 0) => String::new(),
            (true, n) => {
                let unanswered = counted(n, &format!("unanswered {take}"));
                format!(", whatever the {unanswered} took that had been asked for by then")
            }
        };
        let more = match minimal {
            true => "",
            false => " (the budget ended before the list could be made shorter)",
        };
        let (kind, reason) = match bad.empty {
            Some(_) => (
                "wrongly empty",
                format!(
                    "a {take} (op {}) found nothing, but something was in the {object} at every moment of \
                     the operation: {told}{lost}{more}",
                    ops[0]
                ),
            ),
            None if stays => (
                "value lost",
                format!(
                    "{told}: the value that was never {taken} should have come first{lost}{more}"
                ),
            ),
            None => (
                "order inverted",
                format!("no {object} hands out in this order: {told}{more}"),
            ),
        };
        Finding {
            kind,
            ops,
            reason,
            ..Finding::default()
        }
    }

    fn judge(&self, meter: &mut Meter) -> Result<Option<Found>, Exhausted> {
        let (kind, spans, empties) = (self.kind, self.spans(), self.empties());
        let lost: Vec<u32> = self
            .lost
            .iter()
            .map(|i| self.calls[*i as usize].call)
            .collect();
        meter.tick(0)?;
        let bad = match takes::solve(kind, &spans, &empties, &lost) {
            Ok((events, taken)) => return Ok(Some(Found::Order(self.order(&events, &taken)))),
            Err(bad) => bad,
        };
        meter.tick(0)?;
        // Whatever the lost takes took, no value was out sooner than this.
        let soonest = |span: &Span| match lost.first() {
            Some(call) if span.stays() => span.taken_from(*call),
            _ => *span,
        };
        let soonest: Vec<Span> = spans.iter().map(soonest).collect();
        let finding = match (kind.solve(&soonest, &empties), kind) {
            (Err(bad), _) => {
                let is_bad = |spans: &[Span], empties: &[_]| kind.solve(spans, empties).is_err();
                self.finding(&soonest, bad, is_bad, meter)
            }
            (Ok(_), Kind::Fifo) => {
                let is_bad = |spans: &[Span], empties: &[_]| {
                    takes::solve(kind, spans, empties, &lost).is_err()
                };
                self.finding(&spans, bad, is_bad, meter)
            }
            (Ok(_), _) => return Ok(None),
        };
        Ok(Some(Found::Wrong(vec![finding])))
    }
}

/// What a failed operation asked for.
fn content<'h>(op: &'h Op, key: Option<&Value>) -> Option<&'h Value> {
    match key {
        None => Some(&op.input),
        Some(_) => op.input.as_pair().map(|(_, value)| value),
    }
}

/// As much work as may go into making an explanation short, in spans that are solved again. A fixed
/// number, and not a time, so that the same history is always explained by the same operations.
const EFFORT: usize = 4_000_000;

/// Leaves out what is not needed: by halves, then quarters, down to single ones. What is bad stays
/// bad with more in it, so one pass is enough. Whether it is the least is said.
fn shrink(
    mut kept: Vec<u32>,
    is_bad: impl Fn(&[u32]) -> bool,
    meter: &mut Meter,
) -> (Vec<u32>, bool) {
    let mut effort = 0;
    let mut chunk = kept.len().next_power_of_two();
    while chunk > 0 {
        let mut at = 0;
        while at < kept.len() {
            effort += kept.len();
            if effort > EFFORT || meter.tick(0).is_err() {
                return (kept, false);
            }
            let end = (at + chunk).min(kept.len());
            let rest = [&kept[..at], &kept[end..]].concat();
            match is_bad(&rest) {
                true => kept = rest,
                false => at = end,
            }
        }
        chunk /= 2;
    }
    (kept, true)
}

pub fn judge(
    kind: Kind,
    part: &Part,
    by_search: bool,
    meter: &mut Meter,
) -> Result<Judged, Exhausted> {
    let (put, take, _) = kind.names();
    let nil = |call: &&Call| call.op.f == put && call.input.is_nil();
    if let Some(call) = part.calls.iter().find(nil) {
        let op = call.op.index;
        let why = format!("op {op} puts in nil, which is what a {take} answers that finds nothing");
        return Ok(Judged::new(Found::Unknown(why), "undecided"));
    }
    let why = match Pile::new(kind, part, meter)? {
        _ if by_search => "it was asked for".to_string(),
        Err(NotUnique(why)) => why,
        Ok((pile, findings)) => {
            let how = "by spans of values";
            if !findings.is_empty() {
                return Ok(Judged::new(Found::Wrong(findings), how));
            }
            match pile.judge(meter)? {
                Some(found) => return Ok(Judged::new(found, how)),
                None => format!(
                    "{} takes are of unknown outcome, and what they took can be chosen in more than \
                     one way",
                    pile.lost.len()
                ),
            }
        }
    };
    let (model, ops) = Sequential::new(kind, part);
    Ok(searched(&model, part, ops, &why, meter))
}

/// The object itself, for the general search. Values are numbers in their order.
struct Sequential(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Put(u32),
    /// None: it was empty.
    Took(Option<u32>),
    TookSomething,
}

impl Sequential {
    fn new(kind: Kind, part: &Part) -> (Sequential, Vec<(u32, Action)>) {
        let (put, _, _) = kind.names();
        let mut values: Vec<&Value> = part
            .calls
            .iter()
            .flat_map(|call| [Some(call.input), call.output])
            .flatten()
            .collect();
        values.sort_unstable();
        values.dedup();
        let number = |value: &Value| values.binary_search(&value).unwrap_or_default() as u32;
        let action = |call: &Call| match call.output {
            _ if call.op.f == put => Action::Put(number(call.input)),
            None => Action::TookSomething,
            Some(Value::Nil) => Action::Took(None),
            Some(value) => Action::Took(Some(number(value))),
        };
        let actions = part.calls.iter().enumerate();
        let actions = actions.map(|(i, call)| (i as u32, action(call)));
        (Sequential(kind), actions.collect())
    }
}

impl Model for Sequential {
    /// From where they are put in, or sorted.
    type State = Vec<u32>;
    type Op = Action;

    fn init(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u32>, op: &Action) -> Option<Vec<u32>> {
        let next = match self.0 {
            Kind::Fifo | Kind::Least => 0,
            Kind::Lifo => state.len().saturating_sub(1),
        };
        let mut then = state.clone();
        match *op {
            Action::Put(value) => {
                let at = match self.0 {
                    Kind::Fifo | Kind::Lifo => state.len(),
                    Kind::Least => state.partition_point(|v| *v < value),
                };
                then.insert(at, value);
            }
            Action::Took(None) => return state.is_empty().then_some(then),
            Action::TookSomething if state.is_empty() => {}
            Action::TookSomething => drop(then.remove(next)),
            Action::Took(Some(value)) if state.get(next) == Some(&value) => {
                then.remove(next);
            }
            Action::Took(Some(_)) => return None,
        }
        Some(then)
    }

    fn reads_only(&self, op: &Action) -> bool {
        *op == Action::Took(None)
    }
}
