//! A set that only grows: is anything that was added ever missing?
//!
//! `add v` adds v, `read` gives all of the set. Each element is a key of its own under the set's
//! prefix, so that adding is a blind write and reading is a scan.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::{Role, Roles};
use checkers::set::GrowOnlySet;
use harness::client::{Connect, Invocation, OpError};
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;
use rand::RngExt;

use crate::interface::{Call, Consistency, Interface, Kv, Offers};
use crate::params::{Kind, Param, Params};
use crate::workload::{self, KvOperations, Lacking, Load, Workload, not_ours};

pub(crate) struct Set;

const ELEMENTS_PER_OP: Param = Param {
    name: "elements-per-op",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000,
    },
    default: "100",
    about: "elements read for each operation, on average: the larger the set, the rarer its reads",
};

impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn about(&self) -> &'static str {
        "adds to a set and reads of all of it; every element is added once"
    }

    fn params(&self) -> Vec<Param> {
        vec![ELEMENTS_PER_OP, workload::CONSISTENCY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Write, Call::Scan]
    }

    fn load(&self, params: &Params) -> Load {
        let next = Arc::new(AtomicI64::new(0));
        Load {
            main: Box::new(Elements {
                next: next.clone(),
                per_op: params.count(ELEMENTS_PER_OP.name) as f64,
            }),
            closing: closing(next),
        }
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            consistency: workload::consistency(params),
        };
        workload::kv_clients(self.name(), offers, operations)
    }

    fn roles(&self) -> Roles {
        &role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(GrowOnlySet)]
    }
}

/// `add` writes the set and `read` reads it: there is one.
pub(crate) fn role(f: &str, _asked: &Value) -> Role {
    match f {
        "add" => Role::writes(Value::Nil),
        "read" => Role::reads(Value::Nil),
        _ => Role::default(),
    }
}

/// One more element after those of the main phase for each write, and one read.
pub(crate) fn closing(next: Arc<AtomicI64>) -> Closing {
    Closing {
        write: Box::new(move || {
            Some(Invocation {
                f: "add".into(),
                value: next.fetch_add(1, Ordering::Relaxed).into(),
            })
        }),
        reads: Box::new(|| {
            vec![Invocation {
                f: "read".into(),
                value: Value::Nil,
            }]
        }),
    }
}

struct Elements {
    next: Arc<AtomicI64>,
    per_op: f64,
}

/// A read costs as many elements as there are. Were reads as frequent in a large set as in a small
/// one, the cost of a run would grow with the square of its length.
fn read_share(elements: i64, per_op: f64) -> f64 {
    (per_op / elements.max(1) as f64).min(0.5)
}

impl Generator for Elements {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let elements = self.next.load(Ordering::Relaxed);
        let read = context.rng.random_bool(read_share(elements, self.per_op));
        let (f, value) = match read {
            true => ("read", Value::Nil),
            false => ("add", self.next.fetch_add(1, Ordering::Relaxed).into()),
        };
        Next::Offer(Offer {
            f: f.into(),
            value,
            at: context.now,
        })
    }
}

const PREFIX: &str = "set-";

/// An element's key: its digits from the last to the first, so that elements which are added one
/// after the other lie far apart in a scan, and one that is not of a single moment shows.
fn key(element: &Value) -> String {
    let digits = element.to_string();
    PREFIX.chars().chain(digits.chars().rev()).collect()
}

struct Operations {
    consistency: Consistency,
}

#[async_trait]
impl KvOperations for Operations {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        match operation.f.as_str() {
            "add" => {
                let element = &operation.value;
                kv.put(&key(element), element).await?;
                Ok(element.clone())
            }
            "read" => {
                let entries = kv.scan(PREFIX, self.consistency).await?;
                let mut elements: Vec<Value> = entries.into_iter().map(|(_, v)| v).collect();
                elements.sort_unstable();
                Ok(Value::List(elements))
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
    fn elements_that_are_added_one_after_the_other_lie_far_apart() {
        let mut keys: Vec<String> = (0..2_000).map(|n: i64| key(&n.into())).collect();
        let one_after_the_other = [keys[1_233].clone(), keys[1_234].clone()];
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 2_000);
        let at = |key| keys.binary_search(key).unwrap();
        let [one, next] = one_after_the_other.each_ref().map(at);
        assert!(one.abs_diff(next) > 100, "{one} {next}");
    }

    #[test]
    fn every_element_is_added_once_and_reads_cost_what_was_asked() {
        let params = Params::resolve(&Set.params(), [("elements-per-op", "20")]).unwrap();
        let Load { main, mut closing } = Set.load(&params);
        let events = sim::imperfect(main.limit(10_000), 10, 1);
        let mut elements = HashSet::new();
        let (mut reads, mut cost) = (0, 0);
        for event in events.iter().filter(|event| event.kind == Kind::Invoke) {
            match event.f.as_str() {
                "add" => assert!(elements.insert(event.value.clone()), "{}", event.value),
                _ => (reads, cost) = (reads + 1, cost + elements.len()),
            }
        }
        assert_eq!(elements.len() + reads, 10_000);
        assert!(
            (150_000..250_000).contains(&cost),
            "{reads} reads of {cost} elements"
        );

        for _ in 0..3 {
            let last = (closing.write)().unwrap();
            assert_eq!(role(&last.f, &last.value), Role::writes(Value::Nil));
            assert!(elements.insert(last.value.clone()), "{}", last.value);
        }
        let reads = (closing.reads)();
        assert_eq!(reads.len(), 1);
        assert_eq!(role(&reads[0].f, &reads[0].value), Role::reads(Value::Nil));
    }
}
