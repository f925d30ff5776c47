//! What a history is a history of: the words in which engines, and those who check them, are asked.
//! Who judges it is for [`choice`](crate::choice), which nothing here knows.

use history::Value;
use serde::{Deserialize, Serialize};

use crate::consistency::Consistency;
use crate::guarantee::Guarantee;

/// The objects that can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// `read` and `write`.
    Register,
    /// And `cas`, with `[from, to]`.
    CasRegister,
    /// `get`, `put` and `append`, of text.
    Kv,
    /// `add`, and `read` of everything; or `add`, `remove` and `contains` of one element.
    Set,
    /// Transactions that append to lists and read them.
    Append,
    /// `enqueue` and `dequeue`: first in, first out.
    Queue,
    /// The same with `drain`: everything comes out, in any order.
    TotalQueue,
    /// `push` and `pop`: last in, first out.
    Stack,
    /// `insert` and `delete-min`.
    PriorityQueue,
    /// `acquire` and `release`, by one process at a time.
    Lock,
    /// And by as many as there are permits.
    Semaphore,
    /// `acquire`, `renew` and `release` of what ends by itself.
    Lease,
    /// `add` and `read` of a number.
    Counter,
    /// `generate`: no two answers are equal.
    UniqueIds,
    /// `transfer` and `read` of all balances.
    Bank,
    /// Transactions that write registers and read them.
    RwRegister,
}

impl Model {
    /// The first whose operations a history has is what it is taken for.
    pub const ALL: [Model; 16] = [
        Model::Register,
        Model::CasRegister,
        Model::Kv,
        Model::Set,
        Model::Append,
        Model::Queue,
        Model::TotalQueue,
        Model::Stack,
        Model::PriorityQueue,
        Model::Lock,
        Model::Semaphore,
        Model::Lease,
        Model::Counter,
        Model::UniqueIds,
        Model::Bank,
        Model::RwRegister,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::CasRegister => "cas-register",
            Model::Kv => "kv",
            Model::Set => "set",
            Model::Append => "append",
            Model::Queue => "queue",
            Model::TotalQueue => "total-queue",
            Model::Stack => "stack",
            Model::PriorityQueue => "priority-queue",
            Model::Lock => "lock",
            Model::Semaphore => "semaphore",
            Model::Lease => "lease",
            Model::Counter => "counter",
            Model::UniqueIds => "unique-ids",
            Model::Bank => "bank",
            Model::RwRegister => "rw-register",
        }
    }

    /// By its name or by one that others have for it.
    pub fn named(name: &str) -> Option<Model> {
        let own = Model::ALL.into_iter().find(|model| model.name() == name);
        own.or(match name {
            "list-append" => Some(Model::Append),
            "mutex" => Some(Model::Lock),
            "fifo-queue" => Some(Model::Queue),
            "unordered-queue" | "multiset-queue" => Some(Model::TotalQueue),
            "lifo-stack" => Some(Model::Stack),
            "g-set" | "grow-only-set" => Some(Model::Set),
            "g-counter" | "pn-counter" => Some(Model::Counter),
            "wr-register" => Some(Model::RwRegister),
            _ => None,
        })
    }

    /// Whether its operations are transactions.
    pub fn is_txn(self) -> bool {
        matches!(self, Model::Append | Model::RwRegister)
    }

    /// The operations that it knows, by any of their names.
    pub fn knows(self, name: &str) -> bool {
        match self {
            Model::Register | Model::CasRegister => {
                ["read", "get", "write", "put", "cas"].contains(&name)
            }
            Model::Kv => ["read", "get", "write", "put", "cas", "append"].contains(&name),
            other => other.operations().contains(&name),
        }
    }

    /// The operations that it knows.
    pub fn operations(self) -> &'static [&'static str] {
        match self {
            Model::Register => &["read", "write"],
            Model::CasRegister => &["read", "write", "cas"],
            Model::Kv => &["get", "put", "append"],
            Model::Set => &["add", "read", "remove", "contains"],
            Model::Queue => &["enqueue", "dequeue"],
            Model::TotalQueue => &["enqueue", "dequeue", "drain"],
            Model::Stack => &["push", "pop"],
            Model::PriorityQueue => &["insert", "delete-min"],
            Model::Lock | Model::Semaphore => &["acquire", "release"],
            Model::Lease => &["acquire", "renew", "release"],
            Model::Counter => &["add", "read"],
            Model::UniqueIds => &["generate"],
            Model::Bank => &["transfer", "read"],
            Model::Append | Model::RwRegister => &["txn"],
        }
    }
}

/// A model, and what else has to be known to judge by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub model: Model,
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    /// What every object holds at the start; none if nobody said.
    pub initial: Option<Value>,
    /// What transactions are held against.
    pub consistency: Consistency,
    /// What registers are held against.
    pub guarantee: Guarantee,
}

impl Choice {
    /// Without looking at a history.
    pub(crate) fn of_objects(model: Model, keyed: bool) -> Choice {
        Choice {
            model,
            keyed,
            initial: None,
            consistency: Consistency::default(),
            guarantee: Guarantee::default(),
        }
    }

    pub(crate) fn with_initial(self, initial: Value) -> Choice {
        Choice {
            initial: Some(initial),
            ..self
        }
    }
}

/// Key and content of a value, where every value is to have a key; no key where none is to have
/// one. None if there should be a key and is not.
#[inline]
pub(crate) fn unwrapped<V>(
    value: V,
    keyed: bool,
    as_pair: impl FnOnce(V) -> Option<(V, V)>,
) -> Option<(Option<V>, V)> {
    match keyed {
        false => Some((None, value)),
        true => as_pair(value).map(|(key, content)| (Some(key), content)),
    }
}
