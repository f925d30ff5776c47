//! The longest prefix of a wrong history that has an order: what Porcupine's users look at first.
//!
//! Whichever engine found that a history has no order, and however, the general
//! [`search`](crate::linearizable::search) is asked here for the first return up to which there is
//! none, with the sequential object that certificates are held against ([`crate::replay`]). All
//! that returned before has an order; one such order is kept, with what the object holds in it, and
//! why the operations that were open at that moment cannot come next.
//!
//! It is a picture and no judgement: if the search ends without an answer the verdict stays, and
//! the picture says how far the search came.

use std::hash::{Hash, Hasher};

use history::{History, Name, Op, Outcome, Process, Value};
use rustc_hash::FxHashMap;

use crate::guarantee::Guarantee;
use crate::linearizable::model::Model;
use crate::linearizable::search::{Found, NEVER, Timed, search_after};
use crate::model::{self, Choice};
use crate::picture::{Next, Picture, Placed, Prefix};
use crate::ranks::{self, Ranks};
use crate::replay::{self, Object, Step};
use crate::{Analysis, Anomaly, Exhausted, Meter, Verdict};

/// Objects of which it is looked for: one picture helps, a hundred do not.
const MOST_OBJECTS: usize = 3;

/// Steps of the search. A fixed number, and not a time, so that the same history always has the
/// same picture.
const STEPS: u64 = 200_000;

/// At each step what the object holds is written down: of a container, one step counts as one for
/// every so many operations.
const WRITTEN_DOWN: usize = 50;

/// As much of an order and of what is open as anybody reads: the end of the one, the beginning of
/// the other.
const MOST_PLACED: usize = 400;
const MOST_NEXT: usize = 24;

/// Adds the picture to the first anomaly of each wrong object that has none.
pub fn add(choice: &Choice, history: &History, analysis: &mut Analysis, meter: &Meter) {
    let by_order = choice.guarantee == Guarantee::Linearizable && !choice.model.is_txn();
    let initial = choice.initial.clone().unwrap_or_default();
    // A picture is worth no more memory than there is.
    let room = meter.look(history.bytes() + history.ops_bytes());
    if analysis.verdict != Verdict::Invalid || !by_order || room.is_err() {
        return;
    }
    let Ok(start) = replay::object(choice.model, &initial) else {
        return;
    };
    let mut seen: Vec<Option<String>> = Vec::new();
    for anomaly in &mut analysis.anomalies {
        if seen.len() == MOST_OBJECTS || seen.contains(&anomaly.object) {
            continue;
        }
        seen.push(anomaly.object.clone());
        if anomaly.picture.is_some() {
            continue;
        }
        let sequential = Sequential {
            start: start.copy(),
            registers: matches!(
                choice.model,
                model::Model::Register | model::Model::CasRegister
            ),
        };
        let prefix = of_object(&sequential, choice.keyed, anomaly, history, meter);
        anomaly.picture = prefix.map(|prefix| Box::new(Picture::Prefix(prefix)));
    }
}

/// An operation as the object sees it: without its key. A number stands for its value where it only
/// has one, so that the search knows what depends on what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    f: Name,
    process: Process,
    input: Value,
    output: Option<Value>,
    needs: Option<u32>,
    gives: Option<u32>,
}

impl Asked {
    fn step(&self) -> Step<'_> {
        Step {
            f: &self.f,
            process: self.process,
            input: &self.input,
            output: self.output.as_ref(),
        }
    }

    fn reads_only(&self) -> bool {
        matches!(self.f.as_str(), "read" | "get" | "contains")
    }
}

/// An object, with how it is written down: two that are written alike are the same.
#[derive(Debug)]
struct State {
    object: Box<dyn Object>,
    written: String,
}

impl State {
    fn of(object: Box<dyn Object>) -> State {
        let written = format!("{object:?}");
        State { object, written }
    }
}

impl Clone for State {
    fn clone(&self) -> State {
        State {
            object: self.object.copy(),
            written: self.written.clone(),
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        self.written == other.written
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
    }
}

struct Sequential {
    start: Box<dyn Object>,
    registers: bool,
}

impl Model for Sequential {
    type State = State;
    type Op = Asked;

    fn init(&self) -> State {
        State::of(self.start.copy())
    }

    fn step(&self, state: &State, op: &Asked) -> Option<State> {
        let mut object = state.object.copy();
        object.step(&op.step()).ok()?;
        Some(State::of(object))
    }

    fn reads_only(&self, op: &Asked) -> bool {
        op.reads_only()
    }

    fn gives(&self, op: &Asked) -> Option<u32> {
        if self.registers { op.gives } else { Some(0) }
    }

    fn needs(&self, op: &Asked) -> Option<u32> {
        if self.registers { op.needs } else { Some(0) }
    }
}

/// One object's operations, by call.
struct Part {
    ops: Vec<Timed<Asked>>,
    /// Indices of their invocations.
    ids: Vec<u64>,
    awaits: Vec<u32>,
}

impl Part {
    fn of(object: &dyn Object, keyed: bool, key: Option<&str>, history: &History) -> Part {
        let ranks = Ranks::new(history);
        let mut sessions = ranks.sessions();
        let mut values = Values::default();
        let (mut ops, mut follows) = (Vec::new(), Vec::new());
        for op in history.ops() {
            let known = object.operations().contains(&op.f.as_str());
            let Some(asked) = asked(op, keyed, key, &mut values) else {
                continue;
            };
            if !known || op.outcome == Outcome::Fail {
                continue;
            }
            let ret = match (op.outcome, op.completion) {
                (Outcome::Ok, Some(at)) => ranks.ret(at as u32),
                // What nobody was told says nothing.
                _ if asked.reads_only() => continue,
                _ => NEVER,
            };
            let call = ranks.call(op.index as u32);
            let place = ops.len() as u32;
            let before = sessions.follows(0, op.process, place, (call, ret));
            follows.extend(before.map(|before| (before, place)));
            ops.push((
                Timed {
                    op: asked,
                    call,
                    ret,
                },
                op.index,
            ));
        }
        // Those of one time need not be invoked in the order of their calls.
        let mut order: Vec<u32> = (0..ops.len() as u32).collect();
        order.sort_by_key(|at| ops[*at as usize].0.call);
        let mut place = vec![0; order.len()];
        (0..)
            .zip(&order)
            .for_each(|(to, from)| place[*from as usize] = to);
        let follows: Vec<(u32, u32)> = follows
            .into_iter()
            .map(|(a, b): (u32, u32)| (place[a as usize], place[b as usize]))
            .collect();
        let mut sorted: Vec<_> = ops.into_iter().collect();
        sorted.sort_by_key(|(timed, _)| timed.call);
        let awaits = ranks::awaits(&follows, sorted.len());
        let (ops, ids) = sorted.into_iter().unzip();
        Part { ops, ids, awaits }
    }
}

/// As much of a text as anybody reads.
fn short(text: String) -> String {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Values by number.
#[derive(Default)]
struct Values(FxHashMap<Value, u32>);

impl Values {
    fn number(&mut self, value: &Value) -> Option<u32> {
        let next = self.0.len() as u32;
        Some(*self.0.entry(value.clone()).or_insert(next))
    }
}

/// Without its key, if it is of the object.
fn asked(op: &Op, keyed: bool, key: Option<&str>, values: &mut Values) -> Option<Asked> {
    let (of, input) = model::unwrapped(&op.input, keyed, Value::as_pair)?;
    if keyed && of.map(Value::to_string).as_deref() != key {
        return None;
    }
    let output = match op.outcome {
        Outcome::Ok => {
            // Whoever only writes may be answered with nothing.
            let answer = model::unwrapped(&op.output, keyed, Value::as_pair);
            Some(answer.map_or(&op.output, |(_, output)| output).clone())
        }
        _ => None,
    };
    let (needs, gives) = match (op.f.as_str(), input.as_pair()) {
        ("read" | "get", _) => (output.as_ref().and_then(|v| values.number(v)), None),
        ("cas", Some((from, to))) => (values.number(from), values.number(to)),
        _ => (None, values.number(input)),
    };
    let is_of_a_lock = matches!(op.f.as_str(), "acquire" | "release");
    Some(Asked {
        f: op.f.clone(),
        // Nobody else cares who asks, and what is alike is tried once.
        process: if is_of_a_lock {
            op.process
        } else {
            Process::Client(0)
        },
        input: input.clone(),
        output,
        needs,
        gives,
    })
}

/// None if this object has an order, by which the anomaly is of another kind.
fn of_object(
    sequential: &Sequential,
    keyed: bool,
    anomaly: &Anomaly,
    history: &History,
    meter: &Meter,
) -> Option<Prefix> {
    let object = &*sequential.start;
    let part = Part::of(object, keyed, anomaly.object.as_deref(), history);
    if part.ops.is_empty() {
        return None;
    }
    let weight = match sequential.registers {
        true => 1,
        false => 1 + part.ops.len() / WRITTEN_DOWN,
    };
    let of = part.ops.iter().filter(|op| op.ret != NEVER).count();
    let ended = |explained: usize, why: Exhausted| Prefix {
        explained,
        of,
        ended: Some(why.to_string()),
        ..Prefix::default()
    };
    let mut meter = meter.with_steps(STEPS / weight as u64);
    match search_after(sequential, &part.ops, &part.awaits, &mut meter) {
        Ok(Found::Order(_)) => None,
        Err(gave_up) => Some(ended(gave_up.explained, gave_up.why)),
        Ok(Found::Blocked(blocked)) => {
            let before = Before::new(&part, blocked);
            match before.order(sequential, &mut meter) {
                Ok(order) => Some(before.told(sequential, &order, of)),
                Err(why) => Some(ended(before.explained, why)),
            }
        }
    }
}

/// A part as it was seen just before a return: what is open by then may have happened.
struct Before<'p> {
    part: &'p Part,
    blocked: u32,
    /// Those of the part that are there, by place.
    ids: Vec<u32>,
    ops: Vec<Timed<Asked>>,
    explained: usize,
}

impl Before<'_> {
    fn new(part: &Part, blocked: u32) -> Before<'_> {
        let end = (part.ops[blocked as usize].ret, blocked);
        let (mut ids, mut ops, mut explained) = (Vec::new(), Vec::new(), 0);
        for (at, timed) in (0..).zip(&part.ops) {
            if timed.call > end.0 {
                break;
            }
            let returned = (timed.ret, at) < end;
            explained += usize::from(returned);
            if !returned && timed.op.reads_only() {
                continue;
            }
            let ret = if returned { timed.ret } else { NEVER };
            ids.push(at);
            ops.push(Timed {
                ret,
                ..timed.clone()
            });
        }
        Before {
            part,
            blocked,
            ids,
            ops,
            explained,
        }
    }

    fn order(&self, sequential: &Sequential, meter: &mut Meter) -> Result<Vec<u32>, Exhausted> {
        let all = &self.part.awaits;
        let place = |of: u32| self.ids.binary_search(&of).map_or(NEVER, |at| at as u32);
        let awaits: Vec<u32> = match all.is_empty() {
            true => Vec::new(),
            false => self.ids.iter().map(|at| place(all[*at as usize])).collect(),
        };
        match search_after(sequential, &self.ops, &awaits, meter) {
            Ok(Found::Order(order)) => Ok(order),
            // What the other search said there is.
            Ok(Found::Blocked(_)) => Err(Exhausted::Steps),
            Err(gave_up) => Err(gave_up.why),
        }
    }

    fn told(&self, sequential: &Sequential, order: &[u32], of: usize) -> Prefix {
        let mut object = sequential.start.copy();
        let mut placed = Vec::new();
        for at in order {
            // It was placed with what it answered, if it had; one still open is placed without.
            let _ = object.step(&self.ops[*at as usize].op.step());
            placed.push(Placed {
                op: self.part.ids[self.ids[*at as usize] as usize],
                then: short(object.holds()),
            });
        }
        let untold = placed.len().saturating_sub(MOST_PLACED);
        placed.drain(..untold);
        Prefix {
            explained: self.explained,
            of,
            placed,
            untold,
            holds: short(object.holds()),
            next: self.next(&*object, order),
            ended: None,
        }
    }

    /// The operation whose return ends the prefix, and the others that were open then and are not
    /// in the order.
    fn next(&self, object: &dyn Object, order: &[u32]) -> Vec<Next> {
        let end = self.part.ops[self.blocked as usize].ret;
        let used: Vec<u32> = order.iter().map(|at| self.ids[*at as usize]).collect();
        let open = (0..).zip(&self.part.ops).filter(|(at, timed)| {
            timed.call <= end
                && (timed.ret, *at) > (end, self.blocked)
                && timed.ret != NEVER
                && !used.contains(at)
        });
        let first = (self.blocked, &self.part.ops[self.blocked as usize]);
        let all = std::iter::once(first).chain(open).take(MOST_NEXT);
        all.map(|(at, timed)| Next {
            op: self.part.ids[at as usize],
            why: object.copy().step(&timed.op.step()).err(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
