//! A set that only grows: is anything that was added ever missing?
//!
//! `add v` adds v, `read` gives all of the set. Each element is a key of its own under the set's
//! prefix, so that adding is a blind write and reading is a scan.

use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::set::GrowOnlySet;
use harness::client::{Connect, Invocation, OpError};
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;
use rand::RngExt;

use crate::interface::{Consistency, Interface, Kv, Offers};
use crate::params::{Kind, Param, Params};
use crate::workload::{self, Closing, KvOperations, Lacking, Load, Workload, not_ours};

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

    fn load(&self, params: &Params) -> Load {
        Load {
            main: Box::new(Elements {
                next: 0,
                per_op: params.count(ELEMENTS_PER_OP.name) as f64,
            }),
            closing: Box::new(Closing::new(|| vec![("read", Value::Nil)])),
        }
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            consistency: workload::consistency(params),
        };
        workload::kv_clients(self.name(), offers, operations)
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(GrowOnlySet)]
    }
}

struct Elements {
    next: i64,
    per_op: f64,
}

/// A read costs as many elements as there are. Were reads as frequent in a large set as in a small
/// one, the cost of a run would grow with the square of its length.
fn read_share(elements: i64, per_op: f64) -> f64 {
    (per_op / elements.max(1) as f64).min(0.5)
}

impl Generator for Elements {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let read = context.rng.random_bool(read_share(self.next, self.per_op));
        let (f, value) = match read {
            true => ("read", Value::Nil),
            false => {
                self.next += 1;
                ("add", Value::Int(self.next - 1))
            }
        };
        Next::Offer(Offer {
            f: f.into(),
            value,
            at: context.now,
        })
    }
}

const PREFIX: &str = "set-";

struct Operations {
    consistency: Consistency,
}

#[async_trait]
impl KvOperations for Operations {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        match operation.f.as_str() {
            "add" => {
                let element = &operation.value;
                kv.put(&format!("{PREFIX}{element}"), element).await?;
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
    fn every_element_is_added_once_and_reads_cost_what_was_asked() {
        let params = Params::resolve(&Set.params(), [("elements-per-op", "20")]).unwrap();
        let Load { main, closing } = Set.load(&params);
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

        let reads = sim::perfect(closing, 3);
        let asked = reads.iter().filter(|event| event.kind == Kind::Invoke);
        assert_eq!(asked.count(), 3);
    }
}
