//! Why a history is linearizable: the order itself, and who checks it.

pub mod replay;

use std::fmt;

use history::{History, Op, Outcome, Process, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::consistency::Scope;
use crate::model::Model;

/// What is asked of a history. A certificate answers one question, and proves nothing of another:
/// under a lock's rules a register's history has no operation at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// What the objects are.
    pub model: Model,
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    /// What every object holds at the start; nil is what the model says.
    pub initial: Value,
    /// What orders agree with beside answers.
    pub scope: Scope,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.name())?;
        if self.keyed {
            f.write_str(", each value with its key")?;
        }
        if !self.initial.is_nil() {
            write!(f, ", at the start {}", self.initial)?;
        }
        f.write_str(match self.scope {
            Scope::Realtime => "",
            Scope::Process => ", transactions in the order of each process",
            Scope::Data => ", transactions in any order",
        })
    }
}

/// Orders that explain every answer, one for each object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificate {
    /// What the objects are.
    pub model: Model,
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    /// What every object holds at the start; nil is what the model says.
    pub initial: Value,
    /// What orders agree with beside answers: less than real time only for transactions.
    pub scope: Scope,
    pub orders: Vec<Order>,
}

impl Certificate {
    pub fn terms(&self) -> Terms {
        Terms {
            model: self.model,
            keyed: self.keyed,
            initial: self.initial.clone(),
            scope: self.scope,
        }
    }
}

/// An order of one object's operations that explains every answer. Operations whose outcome
/// nobody knows may be left out: then they did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which object; none if the history has only one.
    pub key: Option<Value>,
    /// Indices of invocations, in the order in which they took effect.
    pub ops: Vec<u64>,
}

/// Replays a certificate against the history. It knows nothing of how it was found, shares no code
/// with the engines, and is short enough to be believed: every operation that happened is there
/// once, every answer is what the object ([`replay`]) would answer, and nothing stands behind an
/// operation that was invoked only after it had returned: any, or one of the same process, or none
/// at all, as the certificate's scope says.
///
/// # Errors
/// What is wrong with the first order that is wrong.
pub fn verify(history: &History, certificate: &Certificate) -> Result<(), String> {
    let names = replay::object(certificate.model, &certificate.initial)?.operations();
    let serial = matches!(certificate.model, Model::Append | Model::RwRegister);
    if certificate.scope != Scope::Realtime && !serial {
        return Err("only transactions may be placed without regard to time".into());
    }
    let judged = |op: &&Op| names.contains(&op.f.as_str()) && op.outcome != Outcome::Fail;
    let ops = history.ops().iter().filter(judged);
    let mut ops: FxHashMap<u64, &Op> = ops.map(|op| (op.index, op)).collect();
    let mut keys = FxHashSet::default();
    for order in &certificate.orders {
        if !keys.insert(&order.key) || order.key.is_some() != certificate.keyed {
            return Err(format!("one order for each key, not {:?}", order.key));
        }
        let inner = |value| within(order.key.as_ref(), value);
        let mut object = replay::object(certificate.model, &certificate.initial)?;
        let mut latest = Latest::default();
        for index in &order.ops {
            let op = ops
                .remove(index)
                .ok_or(format!("op {index} is not to be placed"))?;
            if latest.begins_after(certificate.scope, op) {
                return Err(format!(
                    "op {index} returned before one placed ahead of it was invoked"
                ));
            }
            latest.place(op);
            // Whoever only writes may be answered with nothing, which has no key.
            let answered = (op.outcome == Outcome::Ok).then(|| match &op.output {
                Value::Nil => Ok(&Value::Nil),
                output => inner(output),
            });
            object
                .step(&replay::Step {
                    f: &op.f,
                    process: op.process,
                    input: inner(&op.input)?,
                    output: answered.transpose()?,
                })
                .map_err(|why| format!("op {index}: {why}"))?;
        }
    }
    let missing = ops.values().filter(|op| op.outcome == Outcome::Ok);
    match missing.map(|op| op.index).min() {
        Some(index) => Err(format!("op {index} happened, but is not placed")),
        None => Ok(()),
    }
}

/// The last that was invoked of those placed: of all, and of each process.
#[derive(Default)]
pub(crate) struct Latest<'h> {
    of_all: Option<&'h Op>,
    of_process: FxHashMap<Process, &'h Op>,
}

impl<'h> Latest<'h> {
    /// Whether it began only after `op` had ended, as far as the scope looks at time.
    pub(crate) fn begins_after(&self, scope: Scope, op: &Op) -> bool {
        let own = self.of_process.get(&op.process).copied();
        let (all, own) = match scope {
            Scope::Realtime => (self.of_all, own),
            Scope::Process => (None, own),
            Scope::Data => (None, None),
        };
        [all, own]
            .into_iter()
            .flatten()
            .any(|late| op.precedes(late))
    }

    pub(crate) fn place(&mut self, op: &'h Op) {
        let later = |late: &&Op| (late.call, late.index) > (op.call, op.index);
        self.of_all = self.of_all.filter(later).or(Some(op));
        let own = self.of_process.entry(op.process).or_insert(op);
        if own.index < op.index {
            *own = op;
        }
    }
}

/// The content of a value that belongs to `key`.
pub fn within<'h>(key: Option<&Value>, value: &'h Value) -> Result<&'h Value, String> {
    match (key, value.as_pair()) {
        (None, _) => Ok(value),
        (Some(key), Some((k, inner))) if k == key => Ok(inner),
        (Some(key), _) => Err(format!("{value} does not belong to key {key}")),
    }
}
