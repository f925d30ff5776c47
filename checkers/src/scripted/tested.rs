//! Whether a history could have been wrong by a script.
//!
//! An order says nothing if the script takes every operation in every state, whatever it was
//! answered. So some operations are asked again: with another answer, and in other states of the
//! order. One that is refused is enough.

use history::{Outcome, Value};
use rustc_hash::FxHashMap;

use super::spec::Spec;
use super::{Part, Placed};
use crate::Order;
use crate::linearizable::model::Model;

/// As many as are asked again.
const MOST: usize = 500;

/// Other states in which each is asked.
const STATES: usize = 4;

/// `orders` are those of the parts, each.
pub fn tested<'h>(spec: &Spec<'_, 'h>, parts: &[Part<'h>], orders: &[Order]) -> bool {
    let mut left = MOST;
    let found = parts.iter().zip(orders).any(|(part, order)| {
        let ops: FxHashMap<u64, &Placed> = part.ops.iter().map(|op| (op.0.index, op)).collect();
        let mut states = vec![0];
        for index in &order.ops {
            if left == 0 {
                // Enough were asked; to say that nothing was tested takes all.
                return true;
            }
            let Some((op, _, number)) = ops.get(index) else {
                continue;
            };
            let now = states[states.len() - 1];
            if op.outcome == Outcome::Ok {
                left -= 1;
                let other = spec.takes(now, op, &another(&op.output));
                let mut elsewhere = states.iter().rev().take(STATES);
                if other == Some(false) || elsewhere.any(|state| spec.step(state, number).is_none())
                {
                    return true;
                }
            }
            match spec.step(&now, number) {
                Some(then) if !states.contains(&then) || then != now => states.push(then),
                _ => {}
            }
        }
        false
    });
    spec.go_on();
    found
}

/// Another answer of the same kind.
fn another(answer: &Value) -> Value {
    match answer {
        Value::Nil => Value::Int(1),
        Value::Bool(b) => Value::Bool(!b),
        Value::Int(n) => Value::Int(n.wrapping_add(1)),
        Value::Text(text) => Value::text(format!("{text}?")),
        Value::List(items) => {
            let mut items = items.clone();
            match items.pop() {
                None => items.push(Value::Int(1)),
                Some(last) => items.push(another(&last)),
            }
            Value::List(items)
        }
        Value::Map(entries) => {
            let mut entries = entries.clone();
            if let Some((_, value)) = entries.last_mut() {
                *value = another(value);
            }
            Value::Map(entries)
        }
    }
}
