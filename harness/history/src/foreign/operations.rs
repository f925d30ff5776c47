//! Operations with their call and their return, one a line, as JSON.

use std::collections::BTreeMap;

use super::events::{Events, Told, Who};
use super::{kind_of, wrong};
use crate::edn::{Next, Reader, Wrong};
use crate::jsonl::{Loaded, ReadError};
use crate::sort::sort_within;
use crate::word::{Arena, Stored, Word};
use crate::{Exhausted, Kind, Process};

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut operations = Operations::new(&mut events);
    let mut stack = Vec::new();
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let from = start;
        start += line.len();
        if line.trim().is_empty() {
            continue;
        }
        let mut reader = Reader::json(line).within(events.left().without(operations.bytes()));
        let arena = &mut events.chunk.arena;
        let fields = match object(&mut reader, arena, &mut stack) {
            Ok(fields) => fields,
            Err(Bad::Form(Wrong {
                exhausted: Some(why),
                ..
            })) => return Err(operations.exhausted(&events, why)),
            Err(Bad::Form(w)) => return Err(wrong(text, from + w.at, w.reason)),
            Err(Bad::Field(why)) => return Err(wrong(text, from, why)),
        };
        let line = number as u32 + 1;
        operations
            .push(&fields, line, &mut events)?
            .map_err(|why| wrong(text, from, why))?;
    }
    history(operations, events)
}

enum Bad {
    Form(Wrong),
    Field(String),
}

impl From<Wrong> for Bad {
    fn from(w: Wrong) -> Bad {
        Bad::Form(w)
    }
}

/// The fields of one object, which is all that is there.
fn object(reader: &mut Reader, arena: &mut Arena, stack: &mut Vec<Word>) -> Result<Fields, Bad> {
    stack.clear();
    if !reader.eat(b'{')? {
        return Err(Bad::Field(format!("expected an object with {FIELDS}")));
    }
    let mut fields = Fields::default();
    while !reader.eat(b'}')? {
        let name = reader.text()?.unwrap_or_default();
        let Some(field) = Field::of(&name) else {
            let why = format!("no field {name:?}: an operation has {FIELDS}");
            return Err(Bad::Field(why));
        };
        fields.0[field as usize] = Some(reader.half(arena, stack)?);
    }
    match reader.upcoming()? {
        Next::End => Ok(fields),
        _ => Err(Bad::Field("expected one object a line".into())),
    }
}

pub const FIELDS: &str = "process, f, key, input, output, value, call, return and status";

/// What an operation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Process,
    F,
    Key,
    Input,
    Output,
    Value,
    Call,
    Return,
    Status,
}

impl Field {
    pub fn of(name: &str) -> Option<Field> {
        Some(match name {
            "process" => Field::Process,
            "f" | "op" => Field::F,
            "key" => Field::Key,
            "input" => Field::Input,
            "output" => Field::Output,
            "value" => Field::Value,
            "call" => Field::Call,
            "return" => Field::Return,
            "status" => Field::Status,
            _ => return None,
        })
    }
}

/// What is told of an operation, in the arena of the events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields(pub [Option<Word>; 9]);

impl Fields {
    fn get(&self, field: Field) -> Option<Word> {
        self.0[field as usize]
    }
}

/// An operation on one line.
struct Operation {
    process: Option<u64>,
    call: u64,
    /// [`NEVER`] if it did not return.
    ret: u64,
    /// What is asked, and what is answered, with the key.
    asked: Word,
    answered: Word,
    line: u32,
    f: u32,
    kind: Kind,
}

const NEVER: u64 = u64::MAX;

/// Operations being collected.
pub struct Operations {
    list: Vec<Operation>,
    names: Vec<String>,
}

impl Operations {
    pub fn new(events: &mut Events) -> Operations {
        events.by_their_times();
        Operations {
            list: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Adds what the fields of a line tell, or says why they tell nothing.
    pub fn push(
        &mut self,
        fields: &Fields,
        line: u32,
        events: &mut Events,
    ) -> Result<Result<(), String>, ReadError> {
        let operation = match self.operation(fields, line, events) {
            Ok(operation) => operation,
            Err(why) => return Ok(Err(why)),
        };
        self.list.push(operation);
        let ticked = events
            .meter
            .tick(self.bytes() + events.chunk.arena.bytes() as u64);
        ticked.map_err(|why| self.exhausted(events, why))?;
        Ok(Ok(()))
    }

    fn operation(
        &mut self,
        fields: &Fields,
        line: u32,
        events: &mut Events,
    ) -> Result<Operation, String> {
        let arena = &mut events.chunk.arena;
        let shown = |arena: &Arena, word: Word| arena.get(word).to_value().to_string();
        let word = |field| fields.get(field).unwrap_or(Word::NIL);
        let time = |name: &str, field| match (arena.get(word(field)).as_int(), word(field)) {
            (_, Word::NIL) => Ok(None),
            (Some(n), _) if n >= 0 => Ok(Some(n as u64)),
            (_, other) => Err(format!(
                "{name}: {} is not a time: an integer from 0",
                shown(arena, other)
            )),
        };
        let f = word(Field::F);
        let known = self
            .names
            .iter()
            .position(|name| arena.get(f).is_text(name));
        let f = match known {
            Some(at) => at,
            None => {
                let name = arena.get(f).as_text();
                let name =
                    name.ok_or_else(|| format!("f: expected a name, not {}", shown(arena, f)))?;
                self.names.push(name.to_string());
                self.names.len() - 1
            }
        };
        let call = time("call", Field::Call)?.ok_or("call: expected a time: an integer from 0")?;
        let ret = time("return", Field::Return)?;
        if ret.is_some_and(|ret| ret < call) {
            return Err("it returns before it is called".into());
        }
        let kind = kind(arena.get(word(Field::Status)), ret)?;
        let is_read = matches!(self.names[f].as_str(), "read" | "get" | "dequeue" | "pop");
        let value = word(Field::Value);
        let (input, output) = match is_read {
            true => (
                word(Field::Input),
                fields.get(Field::Output).unwrap_or(value),
            ),
            false => (
                fields.get(Field::Input).unwrap_or(value),
                word(Field::Output),
            ),
        };
        let answered = match kind == Kind::Ok && (output != Word::NIL || input == Word::NIL) {
            true => output,
            false => input,
        };
        let mut keyed = |content| match word(Field::Key) {
            Word::NIL => content,
            key => arena.list(&[key, content]),
        };
        let (asked, answered) = match input == answered {
            true => {
                let both = keyed(input);
                (both, both)
            }
            false => (keyed(input), keyed(answered)),
        };
        let process = process(word(Field::Process), events);
        Ok(Operation {
            process,
            call,
            ret: ret.unwrap_or(NEVER),
            asked,
            answered,
            line,
            f: f as u32,
            kind,
        })
    }

    /// Bytes that they take: twice, since the list grows by doubling.
    pub fn bytes(&self) -> u64 {
        (2 * self.list.len() * size_of::<Operation>()) as u64
    }

    pub fn exhausted(&self, events: &Events, why: Exhausted) -> ReadError {
        ReadError::Exhausted {
            why,
            // An operation is a call and mostly a return.
            events: 2 * self.list.len() as u64,
            bytes: events.bytes,
        }
    }
}

/// A call or a return, and where it stands among those of its time:
///
/// ```text
/// calls of those who had nothing open | returns, and what the same clients called then | returns of all others
/// ```
///
/// So operations of different clients that touch overlap by their places too, as far as places can
/// say it.
#[derive(Clone, Copy)]
struct Moment {
    time: u64,
    /// Which of the three; then, among them, clients one after another in the order of their
    /// operations.
    stage: u8,
    is_ret: bool,
    client: u32,
    nth: u32,
    op: u32,
}

/// For an operation: its moments in a vector that has grown, a buffer to sort them, and its place
/// among its client's.
const BYTES_WHEN_SORTED: u64 = 5 * size_of::<Moment>() as u64 + 96;

/// Calls and returns by time. Those of one time overlap; but a client's operations follow each
/// other.
pub fn history(operations: Operations, mut events: Events) -> Result<Loaded, ReadError> {
    let names = operations.names;
    let operations = operations.list;
    let taken = operations.capacity() * size_of::<Operation>();
    let bytes = taken as u64 + operations.len() as u64 * BYTES_WHEN_SORTED;
    events.hold(bytes + events.chunk.arena.bytes() as u64)?;
    let moments = moments(&operations, &mut events)?;
    events.chunk.reserve(moments.len());
    // What follows an operation that never returned is of another process: it cannot have the first
    // one's number.
    let mut retired: BTreeMap<u64, u64> = BTreeMap::new();
    let mut named = events.first_free();
    let mut processes: Vec<u64> = vec![0; operations.len()];
    for moment in moments {
        let op = &operations[moment.op as usize];
        let process = &mut processes[moment.op as usize];
        if !moment.is_ret {
            *process = match op.process {
                Some(process) => *retired.get(&process).unwrap_or(&process),
                None => {
                    named += 1;
                    named - 1
                }
            };
            if let (Some(process), NEVER) = (op.process, op.ret) {
                retired.insert(process, named);
                named += 1;
            }
        }
        let told = Told {
            time: Some(moment.time),
            who: Who::Known(*process),
            kind: if moment.is_ret { op.kind } else { Kind::Invoke },
            f: &names[op.f as usize],
            value: if moment.is_ret { op.answered } else { op.asked },
            error: None,
            node: None,
            version: None,
            due: None,
        };
        events.tell(&told, u64::from(op.line))?;
    }
    events.history(None, |line| line)
}

/// All calls and returns, in their order.
fn moments(operations: &[Operation], events: &mut Events) -> Result<Vec<Moment>, ReadError> {
    let meter = &mut events.left();
    let mut busy: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (i, op) in operations.iter().enumerate() {
        if let Some(process) = op.process {
            busy.entry(process).or_default().push(i as u32);
        }
    }
    // Which client, its how-manieth operation, and whether it touches the one before or behind.
    let mut places: Vec<(u32, u32, bool, bool)> = (0..operations.len() as u32)
        .map(|i| (busy.len() as u32 + i, 0, false, false))
        .collect();
    for (client, ops) in busy.values_mut().enumerate() {
        let sorted = sort_within(
            ops,
            |i| (operations[*i as usize].call, operations[*i as usize].ret),
            meter,
        );
        sorted.map_err(|why| events.exhausted(why))?;
        for (nth, i) in ops.iter().enumerate() {
            places[*i as usize] = (client as u32, nth as u32, false, false);
        }
        for pair in ops.windows(2) {
            let (a, b) = (pair[0] as usize, pair[1] as usize);
            let (before, after) = (&operations[a], &operations[b]);
            if after.call < before.ret && before.ret != NEVER {
                let reason = format!(
                    "its process has another operation open, of line {}",
                    before.line
                );
                return Err(ReadError::Event {
                    line: after.line.into(),
                    column: 1,
                    reason,
                });
            }
            let touches = after.call == before.ret;
            places[a].3 = touches;
            places[b].2 = touches;
        }
    }
    let mut moments: Vec<Moment> = Vec::with_capacity(2 * operations.len());
    for (i, op) in operations.iter().enumerate() {
        let (client, nth, before, behind) = places[i];
        let moment = |time, stage, is_ret| Moment {
            time,
            stage,
            is_ret,
            client,
            nth,
            op: i as u32,
        };
        moments.push(moment(op.call, u8::from(before), false));
        if op.ret != NEVER {
            moments.push(moment(op.ret, if behind { 1 } else { 2 }, true));
        }
    }
    let key = |m: &Moment| (m.time, m.stage, m.client, m.nth, m.is_ret);
    let sorted = sort_within(&mut moments, key, meter);
    sorted.map_err(|why| events.exhausted(why))?;
    Ok(moments)
}

/// The outcome: as it is stated, or as the return shows it.
fn kind(status: Stored, ret: Option<u64>) -> Result<Kind, String> {
    match (status.as_text(), ret) {
        (None, _) if !status.is_nil() => Err(format!(
            "status: {} is not ok, fail or info",
            status.to_value()
        )),
        (None, Some(_)) => Ok(Kind::Ok),
        (None, None) => Ok(Kind::Info),
        (Some(status), ret) => match (kind_of(&status), ret) {
            (None | Some(Kind::Invoke), _) => {
                Err(format!("status: {status:?} is not ok, fail or info"))
            }
            (Some(Kind::Ok | Kind::Fail), None) => Err(format!("status: {status} needs a return")),
            (Some(kind), _) => Ok(kind),
        },
    }
}

/// The number of a process that has one, or a name.
fn process(word: Word, events: &mut Events) -> Option<u64> {
    let process = events.chunk.arena.get(word);
    let process = match (process.as_int(), process.as_text()) {
        _ if process.is_nil() => None,
        (Some(n), _) if n >= 0 => Some((Who::Number(n as u64), None)),
        (_, Some(name)) => Some((Who::Nobody, Some(name.to_string()))),
        _ => Some((Who::Nobody, Some(process.to_value().to_string()))),
    };
    let (number, name) = process?;
    let who = name.as_deref().map_or(number, Who::of);
    match events.process(who) {
        Process::Client(n) => Some(n),
        // Its events are no operations; here it is one more that has a name.
        Process::Nemesis => match events.process(Who::Named("nemesis")) {
            Process::Client(n) => Some(n),
            Process::Nemesis => None,
        },
    }
}
