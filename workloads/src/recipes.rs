//! Queues, locks, counters and identifiers made of compare-and-sets, for systems that have keys and
//! values only. They are what a user of such a system writes by hand.
//!
//! ```text
//! object       value of its key
//! queue        the list of what is in it
//! lock         [token, who holds it or nil]: the token grows with every acquisition
//! counter      the sum
//! identifiers  the last one
//! ```
//!
//! Each change reads the value, works out the next one and puts it there if nobody has changed it
//! since; if somebody has, it begins anew. What a call tells is true at the moment of its last
//! step, so if the store is linearizable, the object is.

use std::sync::Arc;

use async_trait::async_trait;
use harness::client::{CONFLICT, MALFORMED, OpError, UNAVAILABLE};
use harness::cluster::Node;
use history::Value;

use crate::interface::{Call, Consistency, Kv, Objects, OpenKv, OpenObjects};
use crate::objects::never_asked;

/// Compare-and-sets that lose before a call gives up. With as many clients as runs have, one that
/// loses so often has met a store that never lets it win.
const ATTEMPTS: usize = 100;

/// Objects over any key-value store with compare-and-set.
pub struct ObjectsOverKv(pub Arc<dyn OpenKv>);

struct Recipes(Box<dyn Kv>);

impl OpenObjects for ObjectsOverKv {
    fn open(&self, node: &Node) -> Box<dyn Objects> {
        Box::new(Recipes(self.0.open(node)))
    }
}

/// What a step finds out.
#[derive(Debug, PartialEq)]
enum Step {
    /// The answer: nothing has to be changed.
    Answer(Value),
    /// What is to be put there, and the answer once it is.
    Put(Value, Value),
}

/// One step of a recipe, from what is under the key.
fn step(call: Call, found: Option<&Value>, value: &Value) -> Result<Step, OpError> {
    let other = || OpError::new(MALFORMED, format!("the key holds {found:?}"));
    let number = |found: Option<&Value>| match found {
        None => Ok(0),
        Some(found) => found.as_int().ok_or_else(other),
    };
    match call {
        Call::Enqueue | Call::Dequeue => {
            let mut list = match found {
                None => Vec::new(),
                Some(found) => found.as_list().ok_or_else(other)?.to_vec(),
            };
            Ok(match call {
                Call::Enqueue => {
                    list.push(value.clone());
                    Step::Put(Value::List(list), Value::Nil)
                }
                _ if list.is_empty() => Step::Answer(Value::Nil),
                _ => {
                    let first = list.remove(0);
                    Step::Put(Value::List(list), first)
                }
            })
        }
        Call::Acquire | Call::Release => {
            let (token, holder) = match found {
                None => (0, Value::Nil),
                Some(found) => {
                    let (token, holder) = found.as_pair().ok_or_else(other)?;
                    (token.as_int().ok_or_else(other)?, holder.clone())
                }
            };
            let is_free = holder.is_nil();
            match call {
                Call::Acquire if is_free => {
                    let token = token + 1;
                    Ok(Step::Put(Value::pair(token, value.clone()), token.into()))
                }
                Call::Release if holder == *value => {
                    Ok(Step::Put(Value::pair(token, Value::Nil), Value::Nil))
                }
                _ => Err(OpError::new(CONFLICT, format!("held by {holder}"))),
            }
        }
        Call::Add => {
            let more = value.as_int().ok_or_else(other)?;
            let sum = number(found)?.wrapping_add(more);
            Ok(Step::Put(sum.into(), Value::Nil))
        }
        Call::Read => Ok(Step::Answer(number(found)?.into())),
        Call::Generate => {
            let next = number(found)?.wrapping_add(1);
            Ok(Step::Put(next.into(), next.into()))
        }
        _ => Err(never_asked("object", call)),
    }
}

#[async_trait]
impl Objects for Recipes {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError> {
        for _ in 0..ATTEMPTS {
            let found = self.0.get(key, Consistency::Linearizable).await;
            // Nothing has been changed so far, whatever became of the read.
            let found = found.map_err(|e| match e.code.definite {
                true => e,
                false => OpError::new(
                    UNAVAILABLE,
                    format!("reading before the change: {}: {}", e.code.code, e.detail),
                ),
            })?;
            match step(call, found.as_ref(), value)? {
                Step::Answer(answer) => return Ok(answer),
                Step::Put(next, answer) => {
                    if self.0.cas(key, found.as_ref(), &next).await? {
                        return Ok(answer);
                    }
                }
            }
        }
        let lost = format!("lost against others {ATTEMPTS} times");
        Err(OpError::new(UNAVAILABLE, lost))
    }
}
