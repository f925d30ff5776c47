//! A queue: a list under a key, to whose end is added and from whose beginning is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::Roles;
use harness::client::{Connect, Invocation, OpError};
use harness::closing::Closing;
use history::Value;

use super::{CALLS, Counts, Turns, asked, changed, of_key, strange};
use crate::interface::{Call, Interface, Kv, Offers};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::workload::{self, KvOperations, Lacking, Load, Workload, not_ours};

pub(crate) struct Queue;

/// As many are taken out of one queue at the end, and perhaps some stay.
const MOST_LEFT: i64 = 40;

impl Workload for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn about(&self) -> &'static str {
        "enqueues and dequeues of a few queues, each made of compare-and-sets of a list"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        CALLS
    }

    fn load(&self, params: &Params) -> Load {
        let next = Arc::new(AtomicI64::new(1));
        let new = move || next.fetch_add(1, Ordering::Relaxed);
        let counts = Counts::default();
        let main = {
            let new = new.clone();
            let give = move || new().into();
            Turns::new(
                register::keys(params),
                ["enqueue", "dequeue"],
                give,
                &counts,
            )
        };
        let used = counts.clone();
        let mut writes = 0;
        let write = move || {
            let mut counts = used.lock().expect("no panic while held");
            let key = counts.keys().nth(writes % counts.len().max(1)).copied();
            let key = key.unwrap_or(0);
            counts.entry(key).or_default()[0] += 1;
            writes += 1;
            Some(asked("enqueue", key, new()))
        };
        // All that may be left, and once more, for what is empty.
        let reads = move || {
            let counts = counts.lock().expect("no panic while held");
            let drain = |(key, [put, taken]): (&i64, &[i64; 2])| {
                let left = (put - taken).clamp(0, MOST_LEFT) + 1;
                vec![asked("dequeue", *key, Value::Nil); left as usize]
            };
            counts.iter().flat_map(drain).collect()
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(write),
                reads: Box::new(reads),
            },
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        workload::kv_clients(self.name(), offers, Operations)
    }

    fn roles(&self) -> Roles {
        super::role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Objects::keyed(Model::Queue))]
    }
}

pub(super) struct Operations;

#[async_trait]
impl KvOperations for Operations {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        let Some((number, value)) = of_key(operation) else {
            return Err(not_ours(operation));
        };
        let key = format!("queue-{number}");
        let list = |found: Option<&Value>| match found {
            None => Ok(Vec::new()),
            Some(Value::List(list)) => Ok(list.clone()),
            Some(other) => Err(strange(other)),
        };
        match operation.f.as_str() {
            "enqueue" => {
                let put = |found: Option<&Value>| {
                    let mut list = list(found)?;
                    list.push(value.clone());
                    Ok((Value::List(list), ()))
                };
                changed(kv, &key, put).await?;
                Ok(operation.value.clone())
            }
            "dequeue" => {
                let take = |found: Option<&Value>| {
                    let mut list = list(found)?;
                    // To take from an empty queue is to look at it.
                    let taken = match list.is_empty() {
                        true => Value::Nil,
                        false => list.remove(0),
                    };
                    Ok((Value::List(list), taken))
                };
                let taken = changed(kv, &key, take).await?;
                Ok(Value::pair(number, taken))
            }
            _ => Err(not_ours(operation)),
        }
    }

    fn reads_only(&self, _operation: &Invocation) -> bool {
        false
    }
}
