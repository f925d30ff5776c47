//! Lists that are appended to, in the form of transactions, as Elle takes them (Kingsbury and
//! Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020).
//!
//! Every transaction has one operation: `[["append", k, v]]` or `[["r", k, nil]]`. A read gives the
//! whole list, and with it the order of all appends before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::Roles;
use checkers::transactions::ListAppend;
use harness::client::{Connect, Invocation, OpError};
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;
use rand::RngExt;

use crate::interface::{Call, Consistency, Interface, Kv, Offers};
use crate::params::{Kind, Param, Params};
use crate::register::KEYS;
use crate::txn;
use crate::workload::{self, KvOperations, Lacking, Load, Workload, not_ours};

pub(crate) struct Append;

/// Bounds the length of a list, and with it what a read costs.
const APPENDS_PER_KEY: Param = Param {
    name: "appends-per-key",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000,
    },
    default: "200",
    about: "appends to a key before a new key takes its place",
};

impl Workload for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn about(&self) -> &'static str {
        "appends to lists and reads of whole lists"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, APPENDS_PER_KEY, workload::CONSISTENCY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Read, Call::Append]
    }

    fn load(&self, params: &Params) -> Load {
        let used = Used::default();
        let keys = params.count(KEYS.name) as i64;
        let main = Lists {
            active: (0..keys).collect(),
            next_key: keys,
            appends_per_key: params.count(APPENDS_PER_KEY.name),
            used: used.clone(),
            burst: None,
        };
        let (appended, mut writes) = (used.clone(), 0);
        // One list after the other.
        let write = move || {
            let mut used = appended.lock().expect("no panic while held");
            let key = used.keys().nth(writes % used.len().max(1)).copied();
            writes += 1;
            Some(transaction(append(&mut used, key.unwrap_or(0)).0))
        };
        let reads = move || {
            let used = used.lock().expect("no panic while held");
            used.keys().map(|key| transaction(read(*key))).collect()
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(write),
                reads: Box::new(reads),
            },
        }
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            consistency: workload::consistency(params),
        };
        workload::kv_clients(self.name(), offers, operations)
    }

    fn roles(&self) -> Roles {
        &txn::role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(ListAppend::new())]
    }
}

fn read(key: i64) -> Value {
    micro("r", key.into(), Value::Nil)
}

/// A transaction of one operation.
fn micro(f: &str, key: Value, value: Value) -> Value {
    Value::List(vec![Value::List(vec![f.into(), key, value])])
}

fn transaction(value: Value) -> Invocation {
    Invocation {
        f: "txn".into(),
        value,
    }
}

/// Keys that were asked about, with the number of appends that each has been asked for: its next
/// element is one more, so that elements are unique for their key.
type Used = Arc<Mutex<BTreeMap<i64, u64>>>;

/// The next append to a list, and how many it has been asked for with it.
fn append(used: &mut BTreeMap<i64, u64>, key: i64) -> (Value, u64) {
    let appends = used.entry(key).or_default();
    *appends += 1;
    let element = Value::Int(*appends as i64);
    (micro("append", key.into(), element), *appends)
}

struct Lists {
    /// Keys in use.
    active: Vec<i64>,
    next_key: i64,
    appends_per_key: u64,
    used: Used,
    /// The last burst, and the place of its key: what is due at once is on one key.
    burst: Option<(u64, usize)>,
}

impl Generator for Lists {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let again = self
            .burst
            .filter(|(burst, _)| Some(*burst) == context.burst);
        let at = match again {
            Some((_, at)) => at,
            None => context.rng.random_range(0..self.active.len()),
        };
        self.burst = context.burst.map(|burst| (burst, at));
        let key = self.active[at];
        let mut used = self.used.lock().expect("no panic while held");
        used.entry(key).or_default();
        let value = match context.rng.random_range(0..2) {
            0 => read(key),
            _ => {
                let (append, appends) = append(&mut used, key);
                if appends >= self.appends_per_key {
                    self.active[at] = self.next_key;
                    self.next_key += 1;
                }
                append
            }
        };
        Next::Offer(Offer {
            f: "txn".into(),
            value,
            at: context.now,
        })
    }
}

struct Operations {
    consistency: Consistency,
}

/// The only operation of a transaction: what, on which key, with which value.
fn only(value: &Value) -> Option<(&str, &Value, &Value)> {
    match value.as_list()? {
        [one] => match one.as_list()? {
            [f, key, value] => Some((f.as_text()?, key, value)),
            _ => None,
        },
        _ => None,
    }
}

#[async_trait]
impl KvOperations for Operations {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        match only(&operation.value) {
            Some(("append", key, element)) => {
                kv.append(&format!("append-{key}"), element).await?;
                Ok(operation.value.clone())
            }
            Some(("r", key, _)) => {
                let list = kv.get(&format!("append-{key}"), self.consistency).await?;
                // A key without a value reads as nil, which Elle takes for the empty list.
                Ok(micro("r", key.clone(), list.unwrap_or_default()))
            }
            _ => Err(not_ours(operation)),
        }
    }

    fn reads_only(&self, operation: &Invocation) -> bool {
        only(&operation.value).is_some_and(|(f, _, _)| f == "r")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use checkers::role::Role;
    use harness::generator::{Combine, sim};
    use history::{Event, Kind};

    use super::*;

    fn load(given: &[(&str, &str)]) -> Load {
        let params = Params::resolve(&Append.params(), given.iter().copied()).unwrap();
        Append.load(&params)
    }

    fn asked(events: &[Event]) -> Vec<(&str, i64, &Value)> {
        events
            .iter()
            .filter(|event| event.kind == Kind::Invoke)
            .map(|event| {
                assert_eq!(event.f, "txn");
                let (f, key, value) = only(&event.value).unwrap();
                (f, key.as_int().unwrap(), value)
            })
            .collect()
    }

    #[test]
    fn elements_are_unique_for_their_key_and_lists_stay_short() {
        let load = load(&[("keys", "3"), ("appends-per-key", "20")]);
        let events = sim::imperfect(load.main.limit(3_000), 10, 1);
        let mut appended: BTreeMap<i64, HashSet<&Value>> = BTreeMap::new();
        for (f, key, value) in asked(&events) {
            if f == "append" {
                assert!(
                    appended.entry(key).or_default().insert(value),
                    "{key} {value}"
                );
            }
        }
        assert!(appended.len() > 60 && appended.values().all(|elements| elements.len() <= 20));
        let (appends, reads): (Vec<_>, Vec<_>) = asked(&events)
            .into_iter()
            .partition(|(f, _, _)| *f == "append");
        assert!(appends.len() > 1_300 && reads.len() > 1_300);
    }

    #[test]
    fn at_the_end_lists_get_new_elements_and_every_list_is_read_that_was_used() {
        let Load { main, mut closing } = load(&[("appends-per-key", "20")]);
        let events = sim::perfect(main.limit(500), 5);
        let asked = asked(&events);
        let used: BTreeSet<i64> = asked.iter().map(|(_, key, _)| *key).collect();
        let appends = asked.iter().filter(|(f, ..)| *f == "append");
        let mut elements: HashSet<(i64, Value)> = appends
            .map(|(_, key, value)| (*key, (*value).clone()))
            .collect();
        for _ in 0..20 {
            let last = (closing.write)().unwrap();
            let (f, key, value) = only(&last.value).unwrap();
            assert_eq!(f, "append");
            assert_eq!(txn::role(&last.f, &last.value), Role::writes(key.clone()));
            assert!(elements.insert((key.as_int().unwrap(), value.clone())));
        }
        let reads = (closing.reads)();
        let read = reads.iter().map(|read| txn::role(&read.f, &read.value));
        assert!(read.eq(used.iter().map(|key| Role::reads(*key))));
    }
}
