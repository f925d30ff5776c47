//! Why a history is linearizable: the order itself, and who checks it.

use history::{History, Op, Outcome, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

/// Orders that explain every answer, one for each register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    /// What every register holds at the start.
    pub initial: Value,
    pub orders: Vec<Order>,
}

/// An order of one register's operations that explains every answer. Operations whose outcome
/// nobody knows may be left out: then they did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which register; none if the history has only one.
    pub key: Option<Value>,
    /// Indices of invocations, in the order in which they took effect.
    pub ops: Vec<u64>,
}

/// Replays a certificate against the history. It knows nothing of how it was found, shares no
/// code with the engines, and is short enough to be believed: every operation that happened is
/// there once, every answer is what a register would answer, and nothing stands behind an operation
/// that was invoked only after it had returned.
///
/// # Errors
/// What is wrong with the first order that is wrong.
pub fn verify(history: &History, certificate: &Certificate) -> Result<(), String> {
    const NAMES: [&str; 6] = ["read", "get", "write", "put", "cas", "append"];
    let judged = |op: &&Op| NAMES.contains(&op.f.as_str()) && op.outcome != Outcome::Fail;
    let ops = history.ops().iter().filter(judged);
    let mut ops: FxHashMap<u64, &Op> = ops.map(|op| (op.index, op)).collect();
    let mut keys = FxHashSet::default();
    for order in &certificate.orders {
        if !keys.insert(&order.key) || order.key.is_some() != certificate.keyed {
            return Err(format!("one order for each key, not {:?}", order.key));
        }
        let inner = |value: &Value| match &order.key {
            None => Ok(value.clone()),
            Some(key) => match value.as_pair() {
                Some((k, inner)) if k == key => Ok(inner.clone()),
                _ => Err(format!("{value} does not belong to key {key}")),
            },
        };
        let mut now = certificate.initial.clone();
        let mut latest_call = None;
        for index in &order.ops {
            let op = ops
                .remove(index)
                .ok_or(format!("op {index} is not to be placed"))?;
            if latest_call.is_some_and(|call| op.ret < call) {
                return Err(format!(
                    "op {index} returned before one placed ahead of it was invoked"
                ));
            }
            latest_call = latest_call.max(Some(op.call));
            match op.f.as_str() {
                "write" | "put" => now = inner(&op.input)?,
                "append" => match (inner(&op.input)?.as_text(), now.as_text()) {
                    (Some(more), Some(text)) => now = Value::text(format!("{text}{more}")),
                    _ => return Err(format!("op {index}: append {} finds {now}", op.input)),
                },
                "cas" => match inner(&op.input)?.as_pair() {
                    Some((from, to)) if *from == now => now = to.clone(),
                    _ => return Err(format!("op {index}: cas {} finds {now}", op.input)),
                },
                _ if inner(&op.output)? == now => {}
                _ => return Err(format!("op {index} read {}, not {now}", op.output)),
            }
        }
    }
    match ops
        .values()
        .filter(|op| op.outcome == Outcome::Ok)
        .map(|op| op.index)
        .min()
    {
        Some(index) => Err(format!("op {index} happened, but is not placed")),
        None => Ok(()),
    }
}
