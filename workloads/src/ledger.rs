//! A ledger: is anything that was acknowledged ever missing?
//!
//! `add v` adds the entry v, and is acknowledged when the system says that it is there to stay. The
//! ledger is read whole at the end only, when all faults are healed: nodes may lag behind each
//! other, as those of a blockchain do, but what was acknowledged must then be everywhere
//! (persistence).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::Roles;
use checkers::set::GrowOnlySet;
use harness::client::{Client, Completion, Connect, Invocation, OpError};
use harness::cluster::Node;
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;

use crate::interface::{Call, Interface, Ledger, Offers, OpenLedger};
use crate::params::{Param, Params};
use crate::set::{closing, role};
use crate::workload::{Lacking, Load, Need, Workload, not_ours};

pub(crate) struct Entries;

impl Workload for Entries {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn about(&self) -> &'static str {
        "adds to a list that nothing is taken from, read at the end: for systems whose reads lag"
    }

    fn params(&self) -> Vec<Param> {
        Vec::new()
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Ledger]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Write, Call::Scan]
    }

    fn load(&self, _params: &Params) -> Load {
        let next = Arc::new(AtomicI64::new(0));
        Load {
            main: Box::new(Adds { next: next.clone() }),
            closing: closing(next),
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let open = offers.ledger.clone().ok_or(Lacking {
            workload: self.name(),
            need: Need::Interface(Interface::Ledger),
        })?;
        Ok(Arc::new(Clients { open }))
    }

    /// Of the set's findings those remain that reads at the end can show: what is lost, what is
    /// there twice, what nobody added.
    fn roles(&self) -> Roles {
        &role
    }

    fn reads_all_along(&self) -> bool {
        false
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(GrowOnlySet)]
    }
}

struct Adds {
    next: Arc<AtomicI64>,
}

impl Generator for Adds {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        Next::Offer(Offer {
            f: "add".into(),
            value: self.next.fetch_add(1, Ordering::Relaxed).into(),
            at: context.now,
        })
    }
}

struct Clients {
    open: Arc<dyn OpenLedger>,
}

#[async_trait]
impl Connect for Clients {
    async fn connect(&self, node: &Node, _process: u64) -> Box<dyn Client> {
        Box::new(LedgerClient(self.open.open(node)))
    }
}

struct LedgerClient(Box<dyn Ledger>);

impl LedgerClient {
    async fn perform(&mut self, operation: &Invocation) -> Result<Value, OpError> {
        match operation.f.as_str() {
            "add" => {
                self.0.add(&operation.value).await?;
                Ok(operation.value.clone())
            }
            "read" => {
                let mut entries = self.0.entries().await?;
                entries.sort_unstable();
                Ok(Value::List(entries))
            }
            _ => Err(not_ours(operation)),
        }
    }
}

#[async_trait]
impl Client for LedgerClient {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match self.perform(operation).await {
            Ok(value) => Completion::ok(value).at(self.0.version()),
            Err(error) => error.completion(operation, operation.f == "read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use harness::generator::{Combine, sim};
    use history::Kind;

    use super::*;

    #[test]
    fn every_entry_is_added_once_and_read_at_the_end() {
        let Load { main, mut closing } = Entries.load(&Params::default());
        let asked = |events: Vec<history::Event>| {
            let invoked = events
                .into_iter()
                .filter(|event| event.kind == Kind::Invoke);
            invoked
                .map(|event| (event.f.to_string(), event.value))
                .collect::<Vec<_>>()
        };
        let adds = asked(sim::imperfect(main.limit(100), 10, 1));
        let expected = (0..100).map(|n| ("add".to_string(), Value::Int(n)));
        assert_eq!(adds, expected.collect::<Vec<_>>());
        let last = (closing.write)().unwrap();
        assert_eq!((last.f.as_str(), last.value), ("add", Value::Int(100)));
        let reads = (closing.reads)();
        assert_eq!(reads.len(), 1);
        assert_eq!(
            (reads[0].f.as_str(), &reads[0].value),
            ("read", &Value::Nil)
        );
    }
}
