//! A lock: under a key the name of who holds it, or that it is free.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::Roles;
use harness::client::{CONFLICT, Client, Completion, Connect, Invocation, OpError};
use harness::closing::Closing;
use harness::cluster::Node;
use history::Value;

use super::{CALLS, Counts, Turns, asked, looked, of_key};
use crate::interface::{Call, Interface, Kv, Offers, OpenKv};
use crate::params::{Kind, Param, Params};
use crate::register::KEYS;
use crate::registers::Keys;
use crate::workload::{Lacking, Load, Need, Workload, not_ours};

pub(crate) struct Lock;

/// Who holds a lock and is lost with it never frees it: there is nothing in a compare-and-set that
/// ends by itself. So locks are used for less long than registers.
const OPS_PER_LOCK: Param = Param {
    name: "ops-per-lock",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000_000,
    },
    default: "200",
    about: "operations on a lock before a new one takes its place",
};

const FREE: &str = "free";

impl Workload for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn about(&self) -> &'static str {
        "a few locks that clients try to acquire, and release, by compare-and-set"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_LOCK]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        CALLS
    }

    fn load(&self, params: &Params) -> Load {
        let keys = Keys::Rotating {
            count: params.count(KEYS.name),
            operations: params.count(OPS_PER_LOCK.name),
        };
        let counts = Counts::default();
        let main = Turns::new(keys, ["acquire", "release"], || Value::Nil, &counts);
        let used = counts.clone();
        // A lock of its own, which nobody holds.
        let mut next = 1_000_000_000;
        let write = move || {
            next += 1;
            let mut used = used.lock().expect("no panic while held");
            used.entry(next).or_default();
            Some(asked("acquire", next, Value::Nil))
        };
        let reads = move || {
            let counts = counts.lock().expect("no panic while held");
            // Who holds it.
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
        let open = offers.kv.clone().ok_or(Lacking {
            workload: self.name(),
            need: Need::Interface(Interface::Kv),
        })?;
        Ok(Arc::new(Holders { open }))
    }

    fn roles(&self) -> Roles {
        super::role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Objects::keyed(Model::Lock))]
    }
}

struct Holders {
    open: Arc<dyn OpenKv>,
}

#[async_trait]
impl Connect for Holders {
    async fn connect(&self, node: &Node, process: u64) -> Box<dyn Client> {
        Box::new(Holder {
            kv: self.open.open(node),
            process,
            acquired: 0,
            holds: BTreeMap::new(),
        })
    }
}

/// One process, and what it holds, by lock: under which name.
pub(super) struct Holder {
    pub kv: Box<dyn Kv>,
    pub process: u64,
    pub acquired: u64,
    pub holds: BTreeMap<i64, Value>,
}

impl Holder {
    async fn perform(&mut self, operation: &Invocation) -> Result<Value, OpError> {
        let Some((number, _)) = of_key(operation) else {
            return Err(not_ours(operation));
        };
        let key = format!("lock-{number}");
        match operation.f.as_str() {
            "acquire" => self.acquire(number, &key).await?,
            "release" => self.release(number, &key).await?,
            "read" => {
                let found = looked(&mut *self.kv, &key).await?;
                return Ok(Value::pair(number, found.unwrap_or_default()));
            }
            _ => return Err(not_ours(operation)),
        }
        Ok(operation.value.clone())
    }

    async fn acquire(&mut self, number: i64, key: &str) -> Result<(), OpError> {
        let found = looked(&mut *self.kv, key).await?;
        if let Some(holder) = found.as_ref().filter(|found| found.as_text() != Some(FREE)) {
            return Err(OpError::new(CONFLICT, format!("{holder} holds it")));
        }
        // A name that was never there before: else a late answer to an old question would do.
        self.acquired += 1;
        let name = Value::text(&format!("{}-{}", self.process, self.acquired));
        match self.kv.cas(key, found.as_ref(), &name).await? {
            true => self.holds.insert(number, name),
            false => return Err(OpError::new(CONFLICT, "somebody else was there first")),
        };
        Ok(())
    }

    async fn release(&mut self, number: i64, key: &str) -> Result<(), OpError> {
        let Some(name) = self.holds.get(&number) else {
            let found = looked(&mut *self.kv, key).await?.unwrap_or_default();
            return Err(OpError::new(
                CONFLICT,
                format!("this process does not hold it, but {found}"),
            ));
        };
        let free = self.kv.cas(key, Some(name), &Value::text(FREE)).await?;
        self.holds.remove(&number);
        match free {
            true => Ok(()),
            false => Err(OpError::new(CONFLICT, "somebody else has it")),
        }
    }
}

#[async_trait]
impl Client for Holder {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match self.perform(operation).await {
            Ok(value) => Completion::ok(value).at(self.kv.version()),
            Err(error) => error.completion(operation, operation.f == "read"),
        }
    }
}
