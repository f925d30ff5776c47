//! Sets that only grow: is anything that was added ever missing?
//!
//! `add [k v]` adds v to set k, `read [k nil]` gives all of set k. Each element is a key of its own
//! under the set's prefix, so that adding is a blind write and reading is a scan.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkers::Checker;
use harness::client::{Connect, Invocation, OpError};
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;
use rand::RngExt;

use crate::interface::{Consistency, Interface, Kv, Offers};
use crate::params::{Kind, Param, Params};
use crate::workload::{self, Closing, KvOperations, Lacking, Load, Workload, not_ours};

pub(crate) struct Set;

/// Bounds the size of a set, and with it what a read costs.
const ADDS_PER_SET: Param = Param {
    name: "adds-per-set",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000,
    },
    default: "1000",
    about: "elements added to a set before a new set takes its place",
};

const ADDS_PER_READ: Param = Param {
    name: "adds-per-read",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000,
    },
    default: "5",
    about: "adds for each read, on average",
};

impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn about(&self) -> &'static str {
        "adds to sets and reads of whole sets; every element is added once"
    }

    fn params(&self) -> Vec<Param> {
        vec![ADDS_PER_SET, ADDS_PER_READ, workload::CONSISTENCY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn load(&self, params: &Params) -> Load {
        let used = Arc::new(Mutex::new(BTreeSet::new()));
        let main = Sets {
            set: 0,
            added: 0,
            adds_per_set: params.count(ADDS_PER_SET.name) as i64,
            adds_per_read: params.count(ADDS_PER_READ.name),
            used: used.clone(),
        };
        let reads = move || {
            let used = used.lock().expect("no panic while held");
            let read = |set: &i64| ("read", Value::pair(*set, Value::Nil));
            used.iter().map(read).collect()
        };
        Load {
            main: Box::new(main),
            closing: Box::new(Closing::new(reads)),
        }
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            consistency: workload::consistency(params),
        };
        workload::kv_clients(self.name(), offers, operations)
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        Vec::new()
    }
}

struct Sets {
    set: i64,
    /// Elements that the set was asked to take: 0, 1, 2, ...
    added: i64,
    adds_per_set: i64,
    adds_per_read: u64,
    used: Arc<Mutex<BTreeSet<i64>>>,
}

impl Generator for Sets {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        if self.added == self.adds_per_set {
            (self.set, self.added) = (self.set + 1, 0);
        }
        self.used
            .lock()
            .expect("no panic while held")
            .insert(self.set);
        let (f, value) = match context.rng.random_range(0..=self.adds_per_read) {
            0 => ("read", Value::Nil),
            _ => {
                self.added += 1;
                ("add", Value::Int(self.added - 1))
            }
        };
        Next::Offer(Offer {
            f: f.into(),
            value: Value::pair(self.set, value),
            at: context.now,
        })
    }
}

struct Operations {
    consistency: Consistency,
}

#[async_trait]
impl KvOperations for Operations {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        let Some((set, element)) = operation.value.as_pair() else {
            return Err(not_ours(operation));
        };
        let prefix = format!("set-{set}-");
        match operation.f.as_str() {
            "add" => {
                kv.put(&format!("{prefix}{element}"), element).await?;
                Ok(operation.value.clone())
            }
            "read" => {
                let entries = kv.scan(&prefix, self.consistency).await?;
                let mut elements: Vec<Value> = entries.into_iter().map(|(_, v)| v).collect();
                elements.sort_unstable();
                Ok(Value::pair(set.clone(), elements))
            }
            _ => Err(not_ours(operation)),
        }
    }

    fn reads_only(&self, operation: &Invocation) -> bool {
        operation.f == "read"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use harness::generator::{Combine, sim};
    use history::Kind;

    use super::*;

    #[test]
    fn every_element_is_added_once_and_sets_stay_small() {
        let given = [("adds-per-set", "30"), ("adds-per-read", "2")];
        let params = Params::resolve(&Set.params(), given).unwrap();
        let Load { main, closing } = Set.load(&params);
        let events = sim::imperfect(main.limit(1_000), 10, 1);
        let asked = events.iter().filter(|event| event.kind == Kind::Invoke);
        let (adds, reads): (Vec<_>, Vec<_>) = asked.partition(|event| event.f == "add");
        let elements: HashSet<&Value> = adds.iter().map(|event| &event.value).collect();
        assert_eq!(elements.len(), adds.len());
        assert!((600..=730).contains(&adds.len()), "{} of 1000", adds.len());
        assert_eq!(adds.len() + reads.len(), 1_000);
        let sets: BTreeSet<i64> = elements
            .iter()
            .map(|value| value.as_pair().unwrap().0.as_int().unwrap())
            .collect();
        // A new set begins when the one before it is full, and not sooner.
        assert_eq!(sets.len(), adds.len().div_ceil(30));

        let reads = sim::perfect(closing, 3);
        let asked = reads.iter().filter(|event| event.kind == Kind::Invoke);
        assert_eq!(asked.count(), 3 * sets.len());
    }
}
