//! A number under a key: counters, and identifiers, which are a counter's successive values.

use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::{Role, Roles};
use harness::client::{Connect, Invocation, OpError};
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;

use super::{CALLS, Counts, Turns, asked, changed, looked, of_key, strange};
use crate::interface::{Call, Interface, Kv, Offers};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::workload::{self, KvOperations, Lacking, Load, Workload, not_ours};

pub(crate) struct Counter;

impl Workload for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn about(&self) -> &'static str {
        "a few counters: one is added by compare-and-set, and the sum is read"
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
        let counts = Counts::default();
        let main = Turns::new(
            register::keys(params),
            ["add", "read"],
            || 1.into(),
            &counts,
        );
        let used = counts.clone();
        let mut writes = 0;
        let write = move || {
            let mut counts = used.lock().expect("no panic while held");
            let key = counts.keys().nth(writes % counts.len().max(1)).copied();
            let key = key.unwrap_or(0);
            counts.entry(key).or_default();
            writes += 1;
            Some(asked("add", key, 1))
        };
        let reads = move || {
            let counts = counts.lock().expect("no panic while held");
            let read = |key: &i64| asked("read", *key, Value::Nil);
            counts.keys().map(read).collect()
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
        workload::kv_clients(self.name(), offers, Sums)
    }

    fn roles(&self) -> Roles {
        super::role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(
            Objects::keyed(Model::Counter).with_initial(0.into()),
        )]
    }
}

pub(super) struct Sums;

/// The number that was found, and the next.
fn next(found: Option<&Value>) -> Result<(Value, Value), OpError> {
    match found {
        None => Ok((1.into(), 0.into())),
        Some(Value::Int(n)) => Ok((n.saturating_add(1).into(), (*n).into())),
        Some(other) => Err(strange(other)),
    }
}

#[async_trait]
impl KvOperations for Sums {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        let Some((number, value)) = of_key(operation) else {
            return Err(not_ours(operation));
        };
        let key = format!("counter-{number}");
        match (operation.f.as_str(), value) {
            ("add", Value::Int(1)) => {
                changed(kv, &key, next).await?;
                Ok(operation.value.clone())
            }
            ("read", _) => {
                let sum = looked(kv, &key).await?;
                Ok(Value::pair(number, sum.unwrap_or(0.into())))
            }
            _ => Err(not_ours(operation)),
        }
    }

    fn reads_only(&self, operation: &Invocation) -> bool {
        operation.f == "read"
    }
}

pub(crate) struct UniqueIds;

impl Workload for UniqueIds {
    fn name(&self) -> &'static str {
        "unique-ids"
    }

    fn about(&self) -> &'static str {
        "identifiers that nobody else is given, drawn from a number by compare-and-set"
    }

    fn params(&self) -> Vec<Param> {
        Vec::new()
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        CALLS
    }

    fn load(&self, _params: &Params) -> Load {
        Load {
            main: Box::new(Generates),
            closing: Closing {
                write: Box::new(|| Some(generate())),
                reads: Box::new(|| vec![generate()]),
            },
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        workload::kv_clients(self.name(), offers, Ids)
    }

    fn roles(&self) -> Roles {
        |f, _| match f {
            "generate" => Role {
                reads: vec![Value::Nil],
                writes: vec![Value::Nil],
            },
            _ => Role::default(),
        }
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Objects::single(Model::UniqueIds))]
    }
}

fn generate() -> Invocation {
    Invocation {
        f: "generate".into(),
        value: Value::Nil,
    }
}

struct Generates;

impl Generator for Generates {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let Invocation { f, value } = generate();
        Next::Offer(Offer {
            f,
            value,
            at: context.now,
        })
    }
}

pub(super) struct Ids;

#[async_trait]
impl KvOperations for Ids {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        match operation.f.as_str() {
            "generate" => changed(kv, "unique-ids", next).await,
            _ => Err(not_ours(operation)),
        }
    }

    fn reads_only(&self, _operation: &Invocation) -> bool {
        false
    }
}
