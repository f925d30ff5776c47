//! What people build from compare-and-set where a store has nothing better: queues, counters,
//! identifiers, locks. Each operation reads what is under a key and changes it if it is still that,
//! and tries again if it is not.
//!
//! A store that is linearizable makes these linearizable. So they are one more question to it, in
//! which a lost or a doubled change shows as what it does to people: two have one identifier, two
//! hold one lock.

mod lock;
mod queue;
mod sums;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use checkers::role::Role;
use harness::client::{CONFLICT, Invocation, MALFORMED, OpError, UNAVAILABLE};
use harness::generator::{Context, Generator, Next, Offer};
use history::{Event, Kind, Value};
use rand::RngExt;

use crate::interface::{Call, Consistency, Kv};
use crate::registers::{Chooser, Keys};

pub(crate) use lock::Lock;
pub(crate) use queue::Queue;
pub(crate) use sums::{Counter, UniqueIds};

/// What they ask of a store.
const CALLS: &[Call] = &[Call::Read, Call::Cas];
/// As often somebody else may have been there first.
const TRIES: usize = 8;

/// Changes what is under the key to what `change` makes of it, if nobody else does meanwhile, and
/// returns what it says of that. Where it says why not, nothing is changed.
async fn changed<T>(
    kv: &mut dyn Kv,
    key: &str,
    mut change: impl FnMut(Option<&Value>) -> Result<(Value, T), OpError> + Send,
) -> Result<T, OpError> {
    for _ in 0..TRIES {
        let found = looked(kv, key).await?;
        let (to, said) = change(found.as_ref())?;
        if kv.cas(key, found.as_ref(), &to).await? {
            return Ok(said);
        }
    }
    let why = format!("somebody else was there first, {TRIES} times");
    Err(OpError::new(CONFLICT, why))
}

/// What is under the key. If it cannot be read, nothing has happened.
async fn looked(kv: &mut dyn Kv, key: &str) -> Result<Option<Value>, OpError> {
    let found = kv.get(key, Consistency::Linearizable).await;
    found.map_err(|e| match e.code.definite {
        true => e,
        false => OpError::new(
            UNAVAILABLE,
            format!("nothing was changed: {}: {}", e.code.code, e.detail),
        ),
    })
}

/// What nobody has written there.
fn strange(found: &Value) -> OpError {
    OpError::new(MALFORMED, format!("{found} was under the key"))
}

/// How often each key was asked to be given something and to give it, as far as that succeeded.
type Counts = Arc<Mutex<BTreeMap<i64, [i64; 2]>>>;

/// Two operations, one as often as the other, on keys in rotation.
struct Turns {
    chooser: Chooser,
    names: [&'static str; 2],
    /// What the first is asked with.
    give: Box<dyn FnMut() -> Value + Send>,
    counts: Counts,
}

impl Turns {
    fn new(
        keys: Keys,
        names: [&'static str; 2],
        give: impl FnMut() -> Value + Send + 'static,
        counts: &Counts,
    ) -> Turns {
        Turns {
            chooser: Chooser::new(keys),
            names,
            give: Box::new(give),
            counts: counts.clone(),
        }
    }
}

impl Generator for Turns {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        let second = context.rng.random_bool(0.5);
        let mut counts = self.counts.lock().expect("no panic while held");
        let count = counts.entry(key).or_default();
        let value = match second {
            true => Value::Nil,
            false => {
                count[0] += 1;
                (self.give)()
            }
        };
        Next::Offer(Offer {
            f: self.names[usize::from(second)].into(),
            value: Value::pair(key, value),
            at: context.now,
        })
    }

    fn update(&mut self, event: &Event) {
        let Some((Value::Int(key), value)) = event.value.as_pair() else {
            return;
        };
        let mut counts = self.counts.lock().expect("no panic while held");
        let count = counts.entry(*key).or_default();
        match (
            event.kind,
            self.names.iter().position(|name| event.f == *name),
        ) {
            (Kind::Fail, Some(0)) => count[0] -= 1,
            (Kind::Ok, Some(1)) if !value.is_nil() => count[1] += 1,
            _ => {}
        }
    }
}

fn asked(f: &'static str, key: i64, value: impl Into<Value>) -> Invocation {
    Invocation {
        f: f.into(),
        value: Value::pair(key, value.into()),
    }
}

/// The key of an operation, and what is asked of it.
fn of_key(operation: &Invocation) -> Option<(i64, &Value)> {
    let (key, value) = operation.value.as_pair()?;
    Some((key.as_int()?, value))
}

fn role(f: &str, asked: &Value) -> Role {
    let Some((key, _)) = asked.as_pair() else {
        return Role::default();
    };
    let key = || vec![key.clone()];
    match f {
        "read" => Role {
            reads: key(),
            writes: Vec::new(),
        },
        "enqueue" | "add" => Role {
            reads: Vec::new(),
            writes: key(),
        },
        "dequeue" | "acquire" | "release" => Role {
            reads: key(),
            writes: key(),
        },
        _ => Role::default(),
    }
}

#[cfg(test)]
mod tests;
