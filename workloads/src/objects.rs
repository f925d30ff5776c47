//! What the workloads over [`Objects`] have in common: their clients, and which of their keys have
//! been used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::client::{Client, Completion, Connect, Invocation, OpError, REJECTED};
use harness::cluster::Node;
use history::{Event, Kind, Process, Value};

use crate::interface::{Call, Interface, Objects, Offers, OpenObjects};
use crate::workload::{Lacking, Need, not_ours};

/// Clients of a workload's objects: `f [key value]` is asked of the object `PREFIX-key`, and
/// without a key, `f value` of the object `PREFIX`.
pub(crate) fn clients(
    workload: &'static str,
    offers: &Offers,
    calls: &'static [Call],
) -> Result<Arc<dyn Connect>, Lacking> {
    clients_of(workload, offers, calls, &["read"])
}

/// The same, where it is said which of the calls change nothing: what of them did not succeed has
/// failed.
pub(crate) fn clients_of(
    workload: &'static str,
    offers: &Offers,
    calls: &'static [Call],
    reads: &'static [&'static str],
) -> Result<Arc<dyn Connect>, Lacking> {
    let open = offers.objects.clone().ok_or(Lacking {
        workload,
        need: Need::Interface(Interface::Objects),
    })?;
    Ok(Arc::new(Clients {
        open,
        prefix: workload,
        calls,
        reads,
        ttl: None,
    }))
}

/// The same, of leases that are asked for so long.
pub(crate) fn holders(
    workload: &'static str,
    offers: &Offers,
    calls: &'static [Call],
    ttl: Duration,
) -> Result<Arc<dyn Connect>, Lacking> {
    let open = offers.leases.clone().ok_or(Lacking {
        workload,
        need: Need::Interface(Interface::Leases),
    })?;
    Ok(Arc::new(Clients {
        open,
        prefix: workload,
        calls,
        reads: &[],
        ttl: Some(ttl),
    }))
}

struct Clients {
    open: Arc<dyn OpenObjects>,
    prefix: &'static str,
    calls: &'static [Call],
    reads: &'static [&'static str],
    /// Of leases.
    ttl: Option<Duration>,
}

struct ObjectClient {
    objects: Box<dyn Objects>,
    prefix: &'static str,
    calls: &'static [Call],
    reads: &'static [&'static str],
    /// Who asks, in the words of a lock or a lease.
    who: Value,
}

#[async_trait]
impl Connect for Clients {
    async fn connect(&self, node: &Node, process: u64) -> Box<dyn Client> {
        let process = process as i64;
        Box::new(ObjectClient {
            objects: self.open.open(node),
            prefix: self.prefix,
            calls: self.calls,
            reads: self.reads,
            who: match self.ttl {
                None => process.into(),
                Some(ttl) => Value::pair(process, ttl.as_millis() as i64),
            },
        })
    }
}

impl ObjectClient {
    async fn perform(&mut self, operation: &Invocation) -> Result<Value, OpError> {
        let mut calls = self.calls.iter();
        let called = calls.find(|call| call.word() == operation.f.as_str());
        let call = *called.ok_or_else(|| not_ours(operation))?;
        let (key, value) = match operation.value.as_pair() {
            Some((key, value)) => (format!("{}-{key}", self.prefix), value),
            None => (self.prefix.to_string(), &operation.value),
        };
        // Who holds a lock is a process.
        let value = match call {
            Call::Acquire | Call::Renew | Call::Release => &self.who,
            _ => value,
        };
        let answer = self.objects.perform(call, &key, value).await?;
        // What only changes something is answered with what was asked.
        let answer = match call {
            Call::Enqueue | Call::Add | Call::Release => return Ok(operation.value.clone()),
            _ => answer,
        };
        Ok(match operation.value.as_pair() {
            Some((key, _)) => Value::pair(key.clone(), answer),
            None => answer,
        })
    }
}

#[async_trait]
impl Client for ObjectClient {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        let reads_only = self.reads.contains(&operation.f.as_str());
        match self.perform(operation).await {
            Ok(value) => Completion::ok(value).at(self.objects.version()),
            Err(error) => error.completion(operation, reads_only),
        }
    }
}

/// Refuses a call that the workloads of such objects do not make.
pub(crate) fn never_asked(object: &str, call: Call) -> OpError {
    let why = format!("no {object} is asked to {}", call.word());
    OpError::new(REJECTED, why)
}

/// An operation on a key.
pub(crate) fn of_key(call: Call, key: i64, value: impl Into<Value>) -> Invocation {
    Invocation {
        f: call.word().into(),
        value: Value::pair(key, value.into()),
    }
}

/// Keys that have been used, each with what a workload counts there.
pub(crate) type Used<T> = Arc<Mutex<BTreeMap<i64, T>>>;

/// What was answered: the operation, its key, and the answer.
pub(crate) fn answered(event: &Event) -> Option<(&str, i64, &Value)> {
    let (key, value) = event.value.as_pair()?;
    (event.kind == Kind::Ok).then_some((event.f.as_str(), key.as_int()?, value))
}

/// One used key after the other; the first, if there is none.
pub(crate) fn in_turn<T>(used: &BTreeMap<i64, T>, turn: usize) -> i64 {
    let key = used.keys().nth(turn % used.len().max(1));
    key.copied().unwrap_or(0)
}

/// By lock, who was given it last and has not given it back.
#[derive(Default)]
pub(crate) struct Held(BTreeMap<i64, Process>);

impl Held {
    pub(crate) fn contains(&self, key: i64) -> bool {
        self.0.contains_key(&key)
    }

    pub(crate) fn update(&mut self, event: &Event) {
        match answered(event) {
            Some(("acquire", key, _)) => _ = self.0.insert(key, event.process),
            Some(("release", key, _)) if self.0.get(&key) == Some(&event.process) => {
                self.0.remove(&key);
            }
            _ => {}
        }
    }
}
