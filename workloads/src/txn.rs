//! Transactions over several keys, reads and writes mixed, as Elle and Maelstrom have them
//! (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations",
//! VLDB 2020).
//!
//! `txn-list-append` has `["append" k v]` and `["r" k nil]`; `txn-rw-register` has `["w" k v]`
//! instead. Every value is written once to its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::{Role, Roles};
use checkers::transactions::{Consistency as Isolation, ListAppend, RwRegister};
use harness::client::{Client, Completion, Connect, Invocation};
use harness::closing::Closing;
use harness::cluster::Node;
use harness::generator::{Context, Generator, Next, Offer};
use history::Value;
use rand::RngExt;

use crate::interface::{Call, Interface, Offers, OpenTransactions, Transactions};
use crate::objects::{Used, in_turn};
use crate::params::{Kind, Param, Params};
use crate::register::{KEYS, OPS_PER_KEY};
use crate::registers::{Chooser, Keys};
use crate::workload::{Lacking, Load, Need, Workload};

/// Transactions whose writes are these micro-operations.
pub(crate) struct Txn {
    name: &'static str,
    about: &'static str,
    write: &'static str,
}

pub(crate) const LISTS: Txn = Txn {
    name: "txn-list-append",
    about: "transactions that append to lists and read them, several keys at once",
    write: "append",
};

pub(crate) const REGISTERS: Txn = Txn {
    name: "txn-rw-register",
    about: "transactions that write registers and read them, several keys at once",
    write: "w",
};

const OPS_PER_TXN: Param = Param {
    name: "ops-per-txn",
    kind: Kind::Count { min: 1, max: 100 },
    default: "4",
    about: "the most that one transaction does; it has at least one operation",
};

/// Writers that read nothing lose against no other, so that more of them are under way at once; and
/// of several keys that are read at once a reader sees in which order they were written.
const WRITES: Param = Param {
    name: "writes",
    kind: Kind::Choice(&["mixed", "alone"]),
    default: "mixed",
    about: "whether transactions mix reads and writes, or write one key, or only read",
};

/// Bounds the length of a list, and with it what a read costs.
const OPS_PER_LIST: Param = Param {
    default: "100",
    ..OPS_PER_KEY
};

const ISOLATION: Param = Param {
    name: "isolation",
    kind: Kind::Choice(&[
        "strict-serializable",
        "strong-session-serializable",
        "serializable",
        "repeatable-read",
        "strong-snapshot-isolation",
        "strong-session-snapshot-isolation",
        "snapshot-isolation",
        "parallel-snapshot-isolation",
        "consistent-view",
        "prefix",
        "transactional-causal",
        "read-atomic",
        "monotonic-atomic-view",
        "read-committed",
        "read-uncommitted",
    ]),
    default: "strict-serializable",
    about: "the consistency model that the system promises, by which transactions are judged",
};

impl Workload for Txn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_LIST, OPS_PER_TXN, WRITES, ISOLATION]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Transactions]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Txn]
    }

    fn load(&self, params: &Params) -> Load {
        let used = Used::default();
        let write = self.write;
        let main = Mixed {
            chooser: Chooser::new(Keys::Rotating {
                count: params.count(KEYS.name),
                operations: params.count(OPS_PER_LIST.name),
            }),
            most: params.count(OPS_PER_TXN.name) as usize,
            alone: params.text(WRITES.name) == "alone",
            write,
            used: used.clone(),
        };
        let (written, mut writes) = (used.clone(), 0);
        let last = move || {
            let mut used = written.lock().expect("no panic while held");
            let key = in_turn(&used, writes);
            writes += 1;
            Some(transaction(vec![change(&mut used, write, key)]))
        };
        let reads = move || {
            let used = used.lock().expect("no panic while held");
            used.keys()
                .map(|key| transaction(vec![read(*key)]))
                .collect()
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(last),
                reads: Box::new(reads),
            },
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let open = offers.transactions.clone().ok_or(Lacking {
            workload: self.name,
            need: Need::Interface(Interface::Transactions),
        })?;
        Ok(Arc::new(Clients(open)))
    }

    fn roles(&self) -> Roles {
        &role
    }

    fn checkers(&self, params: &Params) -> Vec<Box<dyn Checker>> {
        let named = |model: &&Isolation| model.name() == params.text(ISOLATION.name);
        let model = Isolation::ALL.iter().find(named);
        let model = *model.expect("the parameter's words are models' names");
        match self.write {
            "append" => vec![Box::new(ListAppend::by(model))],
            _ => vec![Box::new(RwRegister::by(model))],
        }
    }
}

struct Clients(Arc<dyn OpenTransactions>);

struct TxnClient(Box<dyn Transactions>);

#[async_trait]
impl Connect for Clients {
    async fn connect(&self, node: &Node, _process: u64) -> Box<dyn Client> {
        Box::new(TxnClient(self.0.open(node)))
    }
}

#[async_trait]
impl Client for TxnClient {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        let reads_only = role(&operation.f, &operation.value).writes.is_empty();
        match self.0.transact(&operation.value).await {
            Ok(value) => Completion::ok(value).at(self.0.version()),
            Err(error) => error.completion(operation, reads_only),
        }
    }
}

fn micro(f: &str, key: i64, value: Value) -> Value {
    Value::List(vec![f.into(), key.into(), value])
}

fn read(key: i64) -> Value {
    micro("r", key, Value::Nil)
}

/// The next write to a key. Values are 1, 2, 3 and so on, key by key.
fn change(used: &mut BTreeMap<i64, i64>, write: &str, key: i64) -> Value {
    let values = used.entry(key).or_default();
    *values += 1;
    micro(write, key, (*values).into())
}

fn transaction(micros: Vec<Value>) -> Invocation {
    Invocation {
        f: "txn".into(),
        value: Value::List(micros),
    }
}

/// The parts of a transaction: what, on which key, with which value.
pub(crate) fn parts(micros: &Value) -> impl Iterator<Item = (&str, &Value, &Value)> {
    let micros = micros.as_list().unwrap_or_default().iter();
    micros.filter_map(|micro| match micro.as_list()? {
        [f, key, value] => Some((f.as_text()?, key, value)),
        _ => None,
    })
}

/// What a transaction reads and writes, by its parts.
pub(crate) fn role(f: &str, asked: &Value) -> Role {
    let mut role = Role::default();
    if f == "txn" {
        for (f, key, _) in parts(asked) {
            match f {
                "r" => role.reads.push(key.clone()),
                _ => role.writes.push(key.clone()),
            }
        }
    }
    role
}

struct Mixed {
    chooser: Chooser,
    most: usize,
    /// Whether what writes does nothing else.
    alone: bool,
    write: &'static str,
    /// By key, how many values it was to get.
    used: Used<i64>,
}

impl Generator for Mixed {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let writes_alone = self.alone.then(|| context.rng.random_bool(0.5));
        let parts = match writes_alone {
            Some(true) => 1,
            _ => context.rng.random_range(1..=self.most),
        };
        let mut used = self.used.lock().expect("no panic while held");
        let mut micros = Vec::with_capacity(parts);
        for _ in 0..parts {
            // What is due at once begins on one key, and is free otherwise.
            let key = self.chooser.next(context);
            context.burst = None;
            used.entry(key).or_default();
            let writes = writes_alone.unwrap_or_else(|| context.rng.random_bool(0.5));
            micros.push(match writes {
                false => read(key),
                true => change(&mut used, self.write, key),
            });
        }
        let Invocation { f, value } = transaction(micros);
        Next::Offer(Offer {
            f,
            value,
            at: context.now,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use harness::generator::{Combine, sim};
    use history::Kind as EventKind;

    use super::*;

    #[test]
    fn transactions_mix_reads_and_writes_of_several_keys_and_write_nothing_twice() {
        for workload in [LISTS, REGISTERS] {
            let params = Params::resolve(&workload.params(), []).unwrap();
            let Load { main, mut closing } = workload.load(&params);
            let events = sim::imperfect(main.limit(2_000), 10, 1);
            let mut written: BTreeSet<(Value, Value)> = BTreeSet::new();
            let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
            let (mut mixed, mut keys) = (0, BTreeSet::new());
            for event in events
                .iter()
                .filter(|event| event.kind == EventKind::Invoke)
            {
                let Role { reads, writes } = role(&event.f, &event.value);
                *sizes.entry(reads.len() + writes.len()).or_default() += 1;
                mixed += usize::from(!reads.is_empty() && !writes.is_empty());
                keys.extend(reads.into_iter().chain(writes));
                for (f, key, value) in parts(&event.value).filter(|(f, ..)| *f != "r") {
                    assert_eq!(f, workload.write);
                    assert!(
                        written.insert((key.clone(), value.clone())),
                        "{key} {value}"
                    );
                }
            }
            assert_eq!(sizes.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
            assert!(mixed > 800, "{mixed} of 2,000 are mixed");
            let last = (closing.write)().unwrap();
            let (_, key, value) = parts(&last.value).next().unwrap();
            assert!(written.insert((key.clone(), value.clone())));
            let read = (closing.reads)();
            let read = read.iter().map(|read| role(&read.f, &read.value));
            assert!(read.eq(keys.into_iter().map(Role::reads)));
        }
    }

    #[test]
    fn what_writes_alone_writes_one_key_and_reads_none() {
        let params = Params::resolve(&LISTS.params(), [("writes", "alone")]).unwrap();
        let events = sim::imperfect(LISTS.load(&params).main.limit(1_000), 10, 1);
        let invoked = events.iter().filter(|e| e.kind == EventKind::Invoke);
        let roles = invoked.map(|event| role(&event.f, &event.value));
        let (writers, readers): (Vec<Role>, Vec<Role>) = roles.partition(|r| r.reads.is_empty());
        assert!(writers.iter().all(|role| role.writes.len() == 1));
        assert!(readers.iter().all(|role| role.writes.is_empty()));
        let several = readers.iter().filter(|role| role.reads.len() > 1).count();
        assert!(writers.len() > 400 && several > 300);
    }

    #[test]
    fn every_consistency_model_can_be_asked_for() {
        let Kind::Choice(words) = ISOLATION.kind else {
            unreachable!("it is a choice");
        };
        let known: BTreeSet<&str> = Isolation::ALL.iter().map(|model| model.name()).collect();
        assert_eq!(words.iter().copied().collect::<BTreeSet<_>>(), known);
    }
}
