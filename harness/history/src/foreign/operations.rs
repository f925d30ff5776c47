//! Operations with their call and their return, one a line, as JSON.

use std::collections::{BTreeMap, HashMap};

use super::{Events, kind_of};
use crate::edn::DEEPEST;
use crate::json::{self, Unread};
use crate::jsonl::{Loaded, ReadError};
use crate::sort::sort_within;
use crate::{Event, Exhausted, Kind, Name, Process, Time, Value};

pub fn read(text: &str, mut events: Events) -> Result<Loaded, ReadError> {
    let mut operations = Operations::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_number = number as u64 + 1;
        let at = |column: u64, reason: String| ReadError::Event {
            line: line_number,
            column,
            reason,
        };
        let object = json::from_line(line.as_bytes(), operations.bytes, &mut events.meter);
        let object: Value = object.map_err(|unread| match unread {
            Unread::Exhausted(why) => operations.exhausted(&events, why),
            Unread::Wrong(e) => at(e.column() as u64, json::reason(&e)),
        })?;
        let Value::Map(entries) = &object else {
            return Err(at(1, format!("expected an object with {FIELDS}")));
        };
        let known = |name: &str| FIELDS.split([',', ' ']).any(|f| f == name) || name == "op";
        if let Some((name, _)) = entries
            .iter()
            .find(|(k, _)| !k.as_text().is_some_and(known))
        {
            return Err(at(1, format!("no field {name}: an operation has {FIELDS}")));
        }
        let op = Operation::new(line_number, |name| object.get(name).cloned());
        operations.push(op.map_err(|e| at(1, e))?, &mut events)?;
    }
    history(operations, events)
}

/// An operation on one line.
pub struct Operation {
    line: u64,
    process: Option<u64>,
    f: Name,
    key: Option<Value>,
    input: Value,
    output: Value,
    call: u64,
    ret: Option<u64>,
    kind: Kind,
}

pub const FIELDS: &str = "process, f, key, input, output, value, call, return and status";

impl Operation {
    /// From fields by name.
    pub fn new(line: u64, field: impl Fn(&str) -> Option<Value>) -> Result<Operation, String> {
        let time = |name: &str| match field(name) {
            None | Some(Value::Nil) => Ok(None),
            Some(Value::Int(n)) if n >= 0 => Ok(Some(n as u64)),
            Some(other) => Err(format!("{name}: {other} is not a time: an integer from 0")),
        };
        let f = match field("f").or_else(|| field("op")) {
            Some(Value::Text(f)) => f,
            other => {
                return Err(format!(
                    "f: expected a name, not {}",
                    other.unwrap_or_default()
                ));
            }
        };
        let call = time("call")?.ok_or("call: expected a time: an integer from 0")?;
        let ret = time("return")?;
        if ret.is_some_and(|ret| ret < call) {
            return Err("it returns before it is called".into());
        }
        let kind = match (field("status").unwrap_or_default(), ret) {
            (Value::Nil, Some(_)) => Kind::Ok,
            (Value::Nil, None) => Kind::Info,
            (Value::Text(status), ret) => match (kind_of(&status), ret) {
                (None | Some(Kind::Invoke), _) => {
                    return Err(format!("status: {status:?} is not ok, fail or info"));
                }
                (Some(Kind::Ok | Kind::Fail), None) => {
                    return Err(format!("status: {status} needs a return"));
                }
                (Some(kind), _) => kind,
            },
            (other, _) => return Err(format!("status: {other} is not ok, fail or info")),
        };
        let process = match field("process") {
            None | Some(Value::Nil) => None,
            Some(Value::Int(n)) if n >= 0 => Some(n as u64),
            Some(other) => return Err(format!("process: {other} is not a number from 0")),
        };
        let value = field("value").unwrap_or_default();
        let is_read = matches!(f.as_str(), "read" | "get" | "dequeue" | "pop");
        let (input, output) = match is_read {
            true => (
                field("input").unwrap_or_default(),
                field("output").unwrap_or(value),
            ),
            false => (
                field("input").unwrap_or(value),
                field("output").unwrap_or_default(),
            ),
        };
        let key = field("key").filter(|key| !key.is_nil());
        if [&input, &output]
            .into_iter()
            .chain(&key)
            .any(|value| value.depth() > DEEPEST)
        {
            return Err(format!("nested more than {DEEPEST} deep"));
        }
        Ok(Operation {
            line,
            process,
            f,
            key,
            input,
            output,
            call,
            ret,
            kind,
        })
    }
}

/// Operations being collected.
#[derive(Default)]
pub struct Operations {
    list: Vec<Operation>,
    bytes: u64,
}

impl Operations {
    pub fn push(&mut self, op: Operation, events: &mut Events) -> Result<(), ReadError> {
        let values = [&op.input, &op.output].into_iter().chain(&op.key);
        let values: usize = values.map(Value::bytes).sum();
        // Twice, since the list grows by doubling.
        self.bytes += (values + 2 * size_of::<Operation>()) as u64;
        self.list.push(op);
        let ticked = events.meter.tick(self.bytes);
        ticked.map_err(|why| self.exhausted(events, why))
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        self.bytes
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

/// When, the operation's call and end, which operation, and whether this is its return.
type Moment = (u64, u64, u64, usize, bool);

/// For an operation: its moments in a vector that has grown, and what is held by process.
const BYTES_WHEN_SORTED: u64 = 4 * size_of::<Moment>() as u64 + 96;

/// Calls and returns by time. Events of one time overlap, whatever their order; but those of one
/// process stay in theirs.
pub fn history(operations: Operations, mut events: Events) -> Result<Loaded, ReadError> {
    events.hold(operations.bytes + operations.list.len() as u64 * BYTES_WHEN_SORTED)?;
    let meter = &mut events.left();
    let operations = operations.list;
    let mut moments: Vec<Moment> = Vec::new();
    // In the order of processes, so that the first that is wrong is always the same one.
    let mut busy: BTreeMap<u64, Vec<(u64, u64, usize)>> = BTreeMap::new();
    for (i, op) in operations.iter().enumerate() {
        events.hold(0)?;
        let until = op.ret.unwrap_or(u64::MAX);
        moments.push((op.call, op.call, until, i, false));
        moments.extend(op.ret.map(|ret| (ret, op.call, until, i, true)));
        if let Some(process) = op.process {
            busy.entry(process).or_default().push((op.call, until, i));
        }
    }
    let sorted = sort_within(&mut moments, |moment| *moment, meter);
    sorted.map_err(|why| events.exhausted(why))?;
    for ops in busy.values_mut() {
        let sorted = sort_within(ops, |op| *op, meter);
        sorted.map_err(|why| events.exhausted(why))?;
        for pair in ops.windows(2) {
            let ((_, until, before), (call, _, after)) = (pair[0], pair[1]);
            if call < until && operations[before].ret.is_some() {
                return Err(ReadError::Event {
                    line: operations[after].line,
                    column: 1,
                    reason: format!(
                        "its process has another operation open, of line {}",
                        operations[before].line
                    ),
                });
            }
        }
    }
    let last = operations.iter().filter_map(|op| op.process).max();
    let mut named: u64 = last.map_or(0, |n| n.saturating_add(1));
    let mut names: Vec<u64> = vec![0; operations.len()];
    let mut current: HashMap<u64, u64> = HashMap::new();
    for (time, _, _, i, is_ret) in moments {
        let op = &operations[i];
        if !is_ret {
            names[i] = match op.process {
                // One that never returned retires its process, and the next goes by another name.
                Some(process) => *current.entry(process).or_insert(process),
                None => {
                    named += 1;
                    named - 1
                }
            };
            if let (Some(process), None) = (op.process, op.ret) {
                current.insert(process, named);
                named += 1;
            }
        }
        let content = match (is_ret, op.kind) {
            (true, Kind::Ok) if !op.output.is_nil() || op.input.is_nil() => op.output.clone(),
            _ => op.input.clone(),
        };
        let event = Event {
            index: events.len() as u64,
            time: Time(time),
            process: Process::Client(names[i]),
            kind: if is_ret { op.kind } else { Kind::Invoke },
            f: op.f.clone(),
            value: match &op.key {
                None => content,
                Some(key) => Value::pair(key.clone(), content),
            },
            error: None,
            node: None,
            version: None,
        };
        events.push(event, op.line)?;
    }
    events.history(None)
}
