//! Sets whose operations concern one element each: `add`, `remove`, `contains`, with an answer that
//! says whether it was added, removed, there.
//!
//! A set is as many bits as there are elements, and linearizability is local (Herlihy and Wing
//! 1990). A bit changes to and fro, so that its order is known but for which addition it was that
//! turned it on. Every change is made as late as it can be, at the return of something that needs
//! it, by the operation that must return first: linear after sorting, after Abdulla et al.,
//! "Efficient linearizability monitoring" (PLDI 2025), with lost operations added. An operation of
//! unknown outcome has no such haste, so it comes last.
//!
//! An addition that does not say whether it found the element may or may not have changed the bit:
//! such elements are searched.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use history::Value;
use rustc_hash::FxHashMap;

use super::{Call, Finding, Found, Judged, Part, searched};
use crate::linearizable::model::Model;
use crate::{Exhausted, Meter};

/// What an operation does to its element's bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// It found this, and left it.
    Found(bool),
    /// It made it this, and it had been the other.
    Change(bool),
    /// It made it this, whatever it had been.
    Set(bool),
}

impl Action {
    /// None: it tells nothing and does nothing.
    fn of(call: &Call) -> Option<Action> {
        let success = call.output.and_then(Value::as_bool);
        let to = call.op.f == "add";
        match (call.op.f.as_str(), success) {
            ("contains", success) => success.map(Action::Found),
            (_, Some(true)) => Some(Action::Change(to)),
            (_, Some(false)) => Some(Action::Found(to)),
            (_, None) => Some(Action::Set(to)),
        }
    }
}

/// The bit of an element, for the general search.
struct Bit;

impl Model for Bit {
    type State = bool;
    type Op = Action;

    fn init(&self) -> bool {
        false
    }

    fn step(&self, state: &bool, op: &Action) -> Option<bool> {
        match *op {
            Action::Found(bit) => (*state == bit).then_some(bit),
            Action::Change(bit) => (*state != bit).then_some(bit),
            Action::Set(bit) => Some(bit),
        }
    }

    fn reads_only(&self, op: &Action) -> bool {
        matches!(op, Action::Found(_))
    }
}

/// What is done to each element, by the number of the call; or why it cannot be said.
type ByElement = Vec<Vec<(u32, Action)>>;

fn by_element(calls: &[Call], meter: &mut Meter) -> Result<Result<ByElement, String>, Exhausted> {
    let mut numbers: FxHashMap<&Value, u32> = FxHashMap::default();
    let mut elements: ByElement = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        meter.tick(60 * i as u64)?;
        if call.op.f == "read" {
            let op = call.op.index;
            let why = format!(
                "op {op} reads the whole set, which is judged only where elements are not removed \
                 and not asked for one by one"
            );
            return Ok(Err(why));
        }
        let said = call.output.is_some_and(|output| output.as_bool().is_some());
        if call.op.f == "contains" && !call.lost() && !said {
            let (op, output) = (call.op.index, call.output.unwrap_or(&Value::Nil));
            let why = format!("op {op} is a contains that answers {output}, not true or false");
            return Ok(Err(why));
        }
        let Some(action) = Action::of(call) else {
            continue;
        };
        let number = *numbers.entry(call.input).or_insert_with(|| {
            elements.push(Vec::new());
            elements.len() as u32 - 1
        });
        elements[number as usize].push((i as u32, action));
    }
    Ok(Ok(elements))
}

pub fn judge(part: &Part, by_search: bool, meter: &mut Meter) -> Result<Judged, Exhausted> {
    let calls = &part.calls[..];
    let elements = match by_element(calls, meter)? {
        Ok(elements) => elements,
        Err(why) => return Ok(Judged::new(Found::Unknown(why), "undecided")),
    };
    if by_search && !part.follows.is_empty() {
        return Ok(whole(part, elements, meter));
    }
    // Where each stands: the latest call up to it, in its element's order.
    let mut points: Vec<(u32, u32)> = Vec::with_capacity(calls.len());
    let (mut wrong, mut unknown, mut search) = (Vec::new(), None, None);
    for ops in elements {
        let blind = |(at, action): &&(u32, Action)| {
            matches!(action, Action::Set(_)) && !calls[*at as usize].lost()
        };
        let why = match ops.iter().find(blind) {
            _ if by_search => Some("it was asked for".to_string()),
            None => None,
            Some((at, _)) => {
                let op = calls[*at as usize].op;
                Some(format!(
                    "the {} of {} by op {} does not say whether it found it",
                    op.f, op.input, op.index
                ))
            }
        };
        let found = match why {
            None => match toggle(calls, &ops) {
                Ok(order) => Found::Order(order),
                Err(stuck) => explain(part, ops, stuck, meter),
            },
            Some(why) => {
                let Judged { found, how } = searched(&Bit, part, ops, &why, meter);
                search = search.or(Some(how));
                found
            }
        };
        match found {
            Found::Wrong(found) => wrong.extend(found),
            Found::Sound(_) => {}
            Found::Unknown(why) => unknown = unknown.or(Some(why)),
            Found::Order(order) => {
                let mut latest = 0;
                points.extend(order.into_iter().map(|at| {
                    latest = latest.max(calls[at as usize].call);
                    (latest, at)
                }));
            }
        }
    }
    points.sort_by_key(|(point, _)| *point);
    let found = match (wrong.is_empty(), unknown) {
        (false, _) => Found::Wrong(wrong),
        (true, Some(why)) => Found::Unknown(why),
        (true, None) => Found::Order(points.into_iter().map(|(_, at)| at).collect()),
    };
    let how = search.unwrap_or_else(|| "element by element".to_string());
    Ok(Judged { found, how })
}

/// All elements together: what a process does to one follows what it did to another, and that is
/// more than intervals say here, so that elements cannot be judged one by one.
struct Whole;

impl Model for Whole {
    /// What is in it, sorted.
    type State = Vec<u32>;
    type Op = (u32, Action);

    fn init(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u32>, (element, action): &(u32, Action)) -> Option<Vec<u32>> {
        let at = state.binary_search(element);
        let bit = Bit.step(&at.is_ok(), action)?;
        let mut then = state.clone();
        match (at, bit) {
            (Err(at), true) => then.insert(at, *element),
            (Ok(at), false) => drop(then.remove(at)),
            _ => {}
        }
        Some(then)
    }

    fn reads_only(&self, (_, action): &(u32, Action)) -> bool {
        Bit.reads_only(action)
    }
}

fn whole(part: &Part, elements: Vec<Vec<(u32, Action)>>, meter: &mut Meter) -> Judged {
    let all = elements.into_iter().zip(0..).flat_map(|(ops, element)| {
        let of = move |(at, action)| (at, (element, action));
        ops.into_iter().map(of)
    });
    let mut all: Vec<(u32, (u32, Action))> = all.collect();
    all.sort_by_key(|(at, _)| *at);
    let why = "some processes ask again at the very time of their last answer";
    searched(&Whole, part, all, why, meter)
}

/// The state of one element while its events go by.
struct Toggle {
    bit: bool,
    /// What turns it off, and what turns it on, by return; operations of unknown outcome last.
    changes: [BinaryHeap<Reverse<(u32, u32)>>; 2],
    /// Reads that wait for it to be off, and on.
    waiting: [Vec<u32>; 2],
    placed: Vec<bool>,
    order: Vec<u32>,
}

impl Toggle {
    /// Changes the bit, by this operation or one that is open.
    fn flip(&mut self, by: Option<u32>) -> bool {
        let changes = &mut self.changes[usize::from(!self.bit)];
        let by = by.or_else(|| {
            loop {
                match changes.pop() {
                    Some(Reverse((_, due))) if self.placed[due as usize] => {}
                    Some(Reverse((_, due))) => return Some(due),
                    None => return None,
                }
            }
        });
        let Some(by) = by else {
            return false;
        };
        self.bit = !self.bit;
        self.place(by);
        for read in std::mem::take(&mut self.waiting[usize::from(self.bit)]) {
            self.place(read);
        }
        true
    }

    fn place(&mut self, op: u32) {
        self.placed[op as usize] = true;
        self.order.push(op);
    }
}

/// An order of one element's operations, or the one that cannot return.
fn toggle(calls: &[Call], ops: &[(u32, Action)]) -> Result<Vec<u32>, u32> {
    let call = |op: u32| &calls[ops[op as usize].0 as usize];
    let mut events: Vec<(u32, u32)> = Vec::with_capacity(2 * ops.len());
    for op in 0..ops.len() as u32 {
        events.push((call(op).call, op));
        events.extend((!call(op).lost()).then_some((call(op).ret, op)));
    }
    events.sort_unstable();
    let mut element = Toggle {
        bit: false,
        changes: Default::default(),
        waiting: Default::default(),
        placed: vec![false; ops.len()],
        order: Vec::with_capacity(ops.len()),
    };
    for (rank, op) in events {
        let returns = rank == call(op).ret;
        match ops[op as usize].1 {
            _ if element.placed[op as usize] => {}
            Action::Found(bit) if !returns && bit == element.bit => element.place(op),
            Action::Found(bit) if !returns => element.waiting[usize::from(bit)].push(op),
            Action::Change(to) | Action::Set(to) if !returns => {
                element.changes[usize::from(to)].push(Reverse((call(op).ret, op)));
            }
            Action::Found(_) => {
                if !element.flip(None) {
                    return Err(op);
                }
            }
            Action::Change(to) | Action::Set(to) => {
                if element.bit == to && !element.flip(None) || !element.flip(Some(op)) {
                    return Err(op);
                }
            }
        }
    }
    Ok(element.order.iter().map(|op| ops[*op as usize].0).collect())
}

/// Few operations that show it.
fn explain(part: &Part, ops: Vec<(u32, Action)>, stuck: u32, meter: &mut Meter) -> Found {
    let (at, action) = ops[stuck as usize];
    let stuck = part.calls[at as usize].op;
    let kind = match action {
        Action::Found(true) => "element from nowhere",
        Action::Found(false) => "lost removal",
        Action::Change(true) | Action::Set(true) => "added twice",
        Action::Change(false) | Action::Set(false) => "removed twice",
    };
    let what = match action {
        Action::Found(true) => "found it, but nothing open then can have added it",
        Action::Found(false) => "did not find it, but nothing open then can have removed it",
        Action::Change(true) | Action::Set(true) => {
            "added it, but it was there and nothing open then can have removed it"
        }
        Action::Change(false) | Action::Set(false) => {
            "removed it, but it was not there and nothing open then can have added it"
        }
    };
    let (element, op) = (&stuck.input, stuck.index);
    // Those that must be looked at together, if the general engine can tell.
    let (others, until) = match searched(&Bit, part, ops, "", meter).found {
        Found::Wrong(mut found) => found
            .pop()
            .map(|found| (found.ops, found.until))
            .unwrap_or_default(),
        Found::Unknown(_) => (Vec::new(), None),
        Found::Order(_) | Found::Sound(_) => {
            let why = format!("a bug: {op} was found to have no place, and by search it has");
            return Found::Unknown(why);
        }
    };
    let others: Vec<u64> = others.into_iter().filter(|other| *other != op).collect();
    let with = match others.is_empty() {
        true => String::new(),
        false => format!(" (with ops {others:?})"),
    };
    Found::Wrong(vec![Finding {
        kind,
        ops: [vec![op], others].concat(),
        reason: format!("the {} of {element} (op {op}) {what}{with}", stuck.f),
        until,
    }])
}
