//! Why a history is linearizable: the order itself, and who checks it.

use history::{History, Op, Outcome, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::Registers;

/// An order of one register's operations that explains every answer. Operations whose outcome
/// nobody knows may be left out: then they did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Which register; none if the history has only one.
    pub key: Option<Value>,
    /// Indices of invocations, in the order in which they took effect.
    pub order: Vec<u64>,
}

/// Replays `certificates` against the history. It knows nothing of how they were found, shares no
/// code with the engines, and is short enough to be believed: every operation that happened is
/// there once, every answer is what a register would answer, and nothing stands behind an operation
/// that was invoked only after it had returned.
///
/// # Errors
/// What is wrong with the first certificate that is wrong.
pub fn verify(
    registers: &Registers,
    history: &History,
    certificates: &[Certificate],
) -> Result<(), String> {
    let mut ops: FxHashMap<u64, &Op> = FxHashMap::default();
    for op in history.ops() {
        if matches!(op.f.as_str(), "read" | "write" | "cas") && op.outcome != Outcome::Fail {
            ops.insert(op.index, op);
        }
    }
    let mut keys = FxHashSet::default();
    for certificate in certificates {
        if !keys.insert(&certificate.key) || (certificate.key.is_some() != registers.keyed) {
            return Err(format!("one order for each key, not {:?}", certificate.key));
        }
        let inner = |value: &Value| match &certificate.key {
            None => Ok(value.clone()),
            Some(key) => match value.as_pair() {
                Some((k, inner)) if k == key => Ok(inner.clone()),
                _ => Err(format!("{value} does not belong to key {key}")),
            },
        };
        let mut now = registers.initial.clone();
        let mut latest_call = None;
        for index in &certificate.order {
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
                "write" => now = inner(&op.input)?,
                "cas" => match inner(&op.input)?.as_pair() {
                    Some((from, to)) if *from == now => now = to.clone(),
                    _ => return Err(format!("op {index}: cas {} finds {now}", op.input)),
                },
                _ if inner(&op.output)? == now => {}
                _ => return Err(format!("op {index} read {}, not {now}", op.output)),
            }
        }
    }
    match ops.values().find(|op| op.outcome == Outcome::Ok) {
        Some(op) => Err(format!("op {} happened, but is not placed", op.index)),
        None => Ok(()),
    }
}
