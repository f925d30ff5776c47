//! A history in memory, and its operations: invocations joined to their completions.

use std::collections::HashMap;

use thiserror::Error;

use crate::{Event, Kind, Name, Process, Time, Value};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// Nobody knows; also an operation that the end of the run cut off.
    Info,
}

/// Operations by which the harness looks at a system, and asks nothing of it: decided logs and traces
/// at the end, heads of chains all along. They are no service, and no client's.
pub const OBSERVATIONS: [&str; 3] = ["log", "trace", "head"];

/// An invocation with its completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Index of the invocation's event: the operation's name in reports.
    pub index: u64,
    /// Index of the completion's event; none if the history ends first.
    pub completion: Option<u64>,
    pub process: Process,
    pub node: Option<Name>,
    pub f: Name,
    /// What was asked.
    pub input: Value,
    /// What was answered; nil unless `outcome` is ok.
    pub output: Value,
    pub outcome: Outcome,
    pub call: Time,
    /// When the answer came; [`Time::MAX`] unless `outcome` is ok or fail: what is unknown may
    /// still take effect at any later time.
    pub ret: Time,
    pub error: Option<String>,
    /// Where in the system's own order it took effect, if the answer said; none unless `outcome` is ok.
    pub version: Option<Value>,
}

impl Op {
    /// Whether the harness looked at the system; else it is a client's.
    pub fn observes(&self) -> bool {
        OBSERVATIONS.contains(&self.f.as_str())
    }
}

/// Why a list of events is not a history.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("event {at}: process {process} invokes {f} while its operation {open} is still open")]
    TwoAtOnce {
        at: u64,
        process: Process,
        f: Name,
        open: u64,
    },
    #[error("event {at}: process {process} completes {f}, but has no operation open")]
    NoInvocation { at: u64, process: Process, f: Name },
    #[error(
        "event {at}: process {process} completes {f}, but its open operation {open} is {open_f}"
    )]
    OtherOperation {
        at: u64,
        process: Process,
        f: Name,
        open: u64,
        open_f: Name,
    },
    #[error("event {at}: time goes backwards, from {before} to {after}")]
    TimeBackwards { at: u64, before: Time, after: Time },
    #[error("event at position {position} has index {index}: events are missing or out of order")]
    Index { position: u64, index: u64 },
}

/// Everything that was recorded, in the order in which the recorder saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    events: Vec<Event>,
    ops: Vec<Op>,
}

impl History {
    /// Pairs invocations with completions and checks the order.
    pub fn new(events: Vec<Event>) -> Result<History, Malformed> {
        let ops = pair(&events)?;
        Ok(History { events, ops })
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Operations of clients and [`OBSERVATIONS`], by invocation. The nemesis's are in
    /// [`crate::fault::spans`].
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The operation whose invocation is event `index`.
    pub fn op(&self, index: u64) -> Option<&Op> {
        self.ops
            .binary_search_by_key(&index, |op| op.index)
            .ok()
            .map(|i| &self.ops[i])
    }

    /// Time of the last event.
    pub fn end(&self) -> Time {
        self.events.last().map_or(Time(0), |e| e.time)
    }
}

fn pair(events: &[Event]) -> Result<Vec<Op>, Malformed> {
    let mut ops: Vec<Op> = Vec::with_capacity(events.len() / 2);
    let mut open: HashMap<Process, usize> = HashMap::new();
    let mut before = Time(0);
    for (position, event) in events.iter().enumerate() {
        if event.index != position as u64 {
            return Err(Malformed::Index {
                position: position as u64,
                index: event.index,
            });
        }
        if event.time < before {
            return Err(Malformed::TimeBackwards {
                at: event.index,
                before,
                after: event.time,
            });
        }
        before = event.time;
        if event.process == Process::Nemesis {
            continue;
        }
        if event.kind == Kind::Invoke {
            if let Some(at) = open.insert(event.process, ops.len()) {
                return Err(Malformed::TwoAtOnce {
                    at: event.index,
                    process: event.process,
                    f: event.f.clone(),
                    open: ops[at].index,
                });
            }
            ops.push(Op {
                index: event.index,
                completion: None,
                process: event.process,
                node: event.node.clone(),
                f: event.f.clone(),
                input: event.value.clone(),
                output: Value::Nil,
                outcome: Outcome::Info,
                call: event.time,
                ret: Time::MAX,
                error: None,
                version: None,
            });
            continue;
        }
        let Some(at) = open.remove(&event.process) else {
            return Err(Malformed::NoInvocation {
                at: event.index,
                process: event.process,
                f: event.f.clone(),
            });
        };
        let op = &mut ops[at];
        if op.f != event.f {
            return Err(Malformed::OtherOperation {
                at: event.index,
                process: event.process,
                f: event.f.clone(),
                open: op.index,
                open_f: op.f.clone(),
            });
        }
        op.completion = Some(event.index);
        op.error = event.error.clone();
        match event.kind {
            Kind::Ok => {
                op.outcome = Outcome::Ok;
                op.output = event.value.clone();
                op.version = event.version.clone();
                op.ret = event.time;
            }
            Kind::Fail => {
                op.outcome = Outcome::Fail;
                op.ret = event.time;
            }
            Kind::Info => op.outcome = Outcome::Info,
            Kind::Invoke => unreachable!("handled above"),
        }
    }
    Ok(ops)
}
