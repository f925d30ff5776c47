//! Small random histories of queues, stacks, sets, locks and the like, most of them nearly right;
//! and what each object is, written down a second time.

use std::collections::HashSet;

use checkers::choice::Model;
use history::{History, Kind, Op, Outcome, Process, Value};

use crate::random::{Random, Recorder, precedes};

/// The models that have an order.
pub const MODELS: [Model; 8] = [
    Model::Queue,
    Model::Stack,
    Model::PriorityQueue,
    Model::Set,
    Model::Lock,
    Model::Semaphore,
    Model::Counter,
    Model::UniqueIds,
];

/// What kind of histories.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub ops: u64,
    pub processes: u64,
    /// Whether values are put in once, additions say whether they found the element and are of one
    /// number, and processes are gone after a lost operation.
    pub plain: bool,
    pub lost_percent: u64,
    /// The same of what takes values out, beside that.
    pub lost_takes_percent: u64,
    pub failed_percent: u64,
    pub wrong_percent: u64,
    /// Whether many events have one time, so that they overlap.
    pub coarse: bool,
}

impl Shape {
    pub fn random(random: &mut Random, most: u64) -> Shape {
        Shape {
            ops: 3 + random.below(most - 2),
            processes: 1 + random.below(4),
            plain: random.percent(75),
            lost_percent: *random.pick(&[0, 0, 10, 30]),
            lost_takes_percent: 0,
            failed_percent: *random.pick(&[0, 8]),
            wrong_percent: *random.pick(&[0, 10, 30, 60]),
            coarse: random.percent(25),
        }
    }

    /// Of unique values, many of whose takes are lost, and many others answered wrongly: or nearly
    /// all histories would be explained.
    pub fn losing_takes(self) -> Shape {
        Shape {
            plain: true,
            lost_percent: 0,
            lost_takes_percent: 30,
            wrong_percent: 150,
            ..self
        }
    }
}

/// How the objects of a model begin.
pub fn initial(model: Model) -> Value {
    match model {
        Model::Semaphore => Value::Int(2),
        _ => Value::Nil,
    }
}

/// What an object holds: values, holders, or a sum; and a lock's last token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    held: Vec<Value>,
    token: i64,
}

/// An operation: its process, what it asks, and what it is told, if anybody knows.
struct Asked<'a> {
    process: u64,
    f: &'a str,
    input: &'a Value,
    /// Whether answers of additions and removals are true or false.
    told: bool,
}

/// The object after an operation, and its answer; none if it must wait. Locks answer with the next
/// token.
fn step(model: Model, state: &State, asked: &Asked) -> Option<(State, Value)> {
    let mut then = state.clone();
    let held = &mut then.held;
    let input = asked.input.clone();
    let take = |held: &mut Vec<Value>, at: Option<usize>| at.map(|at| held.remove(at));
    let answer = match (model, asked.f) {
        (_, "enqueue" | "push" | "insert") => {
            held.push(input.clone());
            input
        }
        (_, "dequeue") => take(held, (!held.is_empty()).then_some(0)).unwrap_or_default(),
        (_, "pop") => held.pop().unwrap_or_default(),
        (_, "delete-min") => {
            let least = (0..held.len()).min_by(|a, b| held[*a].cmp(&held[*b]));
            take(held, least).unwrap_or_default()
        }
        (Model::Set, f) => {
            let at = held.iter().position(|element| *element == input);
            let success = match (f, at) {
                ("add", None) => {
                    held.push(input.clone());
                    held.sort();
                    true
                }
                ("remove", Some(at)) => {
                    held.remove(at);
                    true
                }
                ("contains", at) => at.is_some(),
                _ => false,
            };
            match asked.told || f == "contains" {
                true => Value::Bool(success),
                false => input,
            }
        }
        (_, "acquire") => {
            let permits = if model == Model::Semaphore { 2 } else { 1 };
            if held.len() == permits {
                return None;
            }
            held.push(Value::Int(asked.process as i64));
            held.sort();
            then.token += 1;
            Value::Int(then.token)
        }
        (_, "release") => {
            let own = Value::Int(asked.process as i64);
            let at = held.iter().position(|holder| *holder == own)?;
            held.remove(at);
            Value::Nil
        }
        (Model::Counter, f) => {
            let sum = held.first().and_then(Value::as_int).unwrap_or(0);
            match f {
                "add" => {
                    *held = vec![Value::Int(sum + input.as_int()?)];
                    input
                }
                _ => Value::Int(sum),
            }
        }
        (_, "generate") => {
            then.token += 1;
            Value::Int(then.token)
        }
        (_, other) => unreachable!("{other} is asked of nothing"),
    };
    Some((then, answer))
}

/// What a process might ask next.
fn ask(
    model: Model,
    random: &mut Random,
    shape: Shape,
    fresh: i64,
    holds: bool,
) -> (&'static str, Value) {
    let value = Value::Int(match shape.plain {
        // Not in the order in which they are put.
        true if fresh % 2 == 0 => fresh,
        true => 100 - fresh,
        false => random.below(3) as i64 + 1,
    });
    let puts = random.percent(55);
    match (model, puts) {
        (Model::Queue, true) => ("enqueue", value),
        (Model::Queue, false) => ("dequeue", Value::Nil),
        (Model::Stack, true) => ("push", value),
        (Model::Stack, false) => ("pop", Value::Nil),
        (Model::PriorityQueue, true) => ("insert", value),
        (Model::PriorityQueue, false) => ("delete-min", Value::Nil),
        // One element is asked for so often that there is more than one way to order its changes.
        (Model::Set, _) => {
            let element = Value::Int(random.below(4).saturating_sub(1) as i64);
            match (puts, random.percent(70)) {
                (true, true) => ("add", element),
                (false, true) => ("remove", element),
                (_, false) => ("contains", element),
            }
        }
        (Model::Lock | Model::Semaphore, _) => {
            // Now and then what it should not ask.
            let right = !random.percent(shape.wrong_percent / 10);
            (
                if holds != right { "acquire" } else { "release" },
                Value::Nil,
            )
        }
        (Model::Counter, true) if shape.plain => ("add", Value::Int(1)),
        (Model::Counter, true) => ("add", Value::Int(*random.pick(&[1, 2, 3, -1]))),
        (Model::Counter, false) => ("read", Value::Nil),
        (_, _) => ("generate", Value::Nil),
    }
}

/// Plays processes against a real object, one step at a time, and spoils some answers.
pub fn history(model: Model, random: &mut Random, shape: Shape) -> History {
    struct Open {
        f: &'static str,
        input: Value,
        answer: Option<Value>,
    }
    let mut recorder = Recorder::any(random, shape.ops);
    let mut state = State::default();
    let mut open: Vec<Option<Open>> = (0..shape.processes).map(|_| None).collect();
    let mut names: Vec<u64> = (0..shape.processes).collect();
    let mut holds = vec![false; shape.processes as usize];
    let told = shape.plain;
    let tokens = random.percent(50);
    let mut answered: Vec<Value> = vec![Value::Nil];
    let is_lost = |random: &mut Random, f: &str| {
        let takes = matches!(f, "dequeue" | "pop" | "delete-min");
        let more = if takes { shape.lost_takes_percent } else { 0 };
        random.percent(shape.lost_percent) || more > 0 && random.percent(more)
    };
    let (mut invoked, mut turns) = (0, 0);
    while (invoked < shape.ops || open.iter().any(Option::is_some)) && turns < 200 + 20 * shape.ops
    {
        turns += 1;
        recorder.advance(match shape.coarse {
            true => u64::from(random.percent(25)),
            false => random.below(3),
        });
        let who = random.below(shape.processes) as usize;
        let asked = |process: u64, op: &Open, state: &State| {
            let (f, input) = (op.f, &op.input);
            let asked = Asked {
                process,
                f,
                input,
                told,
            };
            step(model, state, &asked)
        };
        match open[who].take() {
            None if invoked < shape.ops => {
                invoked += 1;
                let (f, input) = ask(model, random, shape, invoked as i64, holds[who]);
                answered.push(input.clone());
                recorder.record(names[who], Kind::Invoke, f, input.clone());
                open[who] = Some(Open {
                    f,
                    input,
                    answer: None,
                });
            }
            None => {}
            Some(op) if is_lost(random, op.f) => {
                if op.answer.is_none() && random.percent(50) {
                    state = asked(names[who], &op, &state).map_or(state, |(then, _)| then);
                }
                recorder.record(names[who], Kind::Info, op.f, op.input);
                // One that goes on does not know whether it holds.
                holds[who] = !shape.plain && random.percent(50);
                if shape.plain || random.percent(50) {
                    holds[who] = false;
                    names[who] = names.iter().max().expect("there are processes") + 1;
                }
            }
            Some(mut op) if op.answer.is_none() => {
                if random.percent(shape.failed_percent) {
                    recorder.record(names[who], Kind::Fail, op.f, op.input);
                    continue;
                }
                let done = asked(names[who], &op, &state);
                let wrong = random.percent(shape.wrong_percent / 3);
                op.answer = match done {
                    // It claims to have happened.
                    Some((_, answer)) if wrong => Some(answer),
                    None if wrong => Some(Value::Int(state.token + random.below(2) as i64)),
                    Some((then, answer)) => {
                        state = then;
                        Some(answer)
                    }
                    None => None,
                };
                open[who] = Some(op);
            }
            Some(op) => {
                let mut answer = op.answer.unwrap_or_default();
                if random.percent(shape.wrong_percent / 3) {
                    answer = match (&answer, op.f) {
                        (Value::Bool(success), _) => Value::Bool(!success),
                        (_, "read") => Value::Int(random.below(5) as i64),
                        (_, "dequeue" | "pop" | "delete-min") if random.percent(50) => Value::Nil,
                        (_, "dequeue" | "pop" | "delete-min" | "generate") => {
                            random.pick(&answered).clone()
                        }
                        _ => answer,
                    };
                }
                answered.push(answer.clone());
                match op.f {
                    "acquire" => {
                        holds[who] = true;
                        if !tokens {
                            answer = Value::Nil;
                        }
                    }
                    "release" => holds[who] = false,
                    _ => {}
                }
                recorder.record(names[who], Kind::Ok, op.f, answer);
            }
        }
    }
    recorder.history()
}

/// Whether some order explains the history: every order is tried.
pub fn explained(model: Model, history: &History) -> bool {
    explained_of(model, history, &|_| true)
}

/// The same of some of its operations.
pub fn explained_of(model: Model, history: &History, kept: &dyn Fn(&Op) -> bool) -> bool {
    let ops: Vec<&Op> = history
        .ops()
        .iter()
        .filter(|op| op.outcome != Outcome::Fail && kept(op))
        .collect();
    explore(model, &ops, 0, &State::default(), &mut HashSet::new())
}

fn explore(
    model: Model,
    ops: &[&Op],
    placed: u32,
    state: &State,
    seen: &mut HashSet<(u32, State)>,
) -> bool {
    let is_open = |i: usize| placed & (1 << i) == 0;
    let must = |i: usize| ops[i].outcome == Outcome::Ok;
    if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
        return true;
    }
    if !seen.insert((placed, state.clone())) {
        return false;
    }
    (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
        if (0..ops.len()).any(|j| is_open(j) && must(j) && precedes(ops[j], ops[i])) {
            return false;
        }
        let then = after(model, state, ops[i]);
        then.is_some_and(|then| explore(model, ops, placed | (1 << i), &then, seen))
    })
}

/// The object after an operation of a history, if its answer is right.
fn after(model: Model, state: &State, op: &Op) -> Option<State> {
    let Process::Client(process) = op.process else {
        return None;
    };
    let known = op.outcome == Outcome::Ok;
    let asked = Asked {
        process,
        f: &op.f,
        input: &op.input,
        told: op.output.as_bool().is_some(),
    };
    let (mut then, answer) = step(model, state, &asked)?;
    match (model, op.f.as_str(), op.output.as_int()) {
        (_, _, _) if !known => {}
        (Model::UniqueIds, ..) => {
            if then.held.contains(&op.output) {
                return None;
            }
            then.held.push(op.output.clone());
        }
        (Model::Semaphore, "acquire", _) | (_, "release", _) => {}
        // What is in `token` is the last that anybody saw.
        (_, "acquire", None) => {}
        (_, "acquire", Some(token)) if token <= state.token => return None,
        (_, "acquire", Some(token)) => {
            then.token = token;
            return Some(then);
        }
        _ if op.output == answer => {}
        _ => return None,
    }
    then.token = state.token;
    Some(then)
}
