//! What a system can be asked, independent of which system it is.
//!
//! A workload is written once against an interface and a system implements the interfaces that it
//! has, so that systems and workloads add up and do not multiply. Whether a failed call is known to
//! have had no effect is decided by whoever implements the interface, error by error, with the
//! codes of [`harness::client`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use harness::client::OpError;
use harness::cluster::Node;
use history::{Name, Value};

/// The interfaces there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interface {
    /// Keys and values: [`Kv`].
    Kv,
    /// A replicated log that every node has a copy of: [`Log`].
    Log,
    /// What every node holds, and how far in a replicated log: final reads named `replica`, which
    /// [`checkers::replicas`] compares.
    Replicas,
    /// A chain of blocks that every node has its own view of: [`Chain`].
    Chain,
    /// Accounts with balances: [`Bank`].
    Bank,
    /// Entries that are added and stay: [`Ledger`].
    Ledger,
    /// Queues, locks, counters and identifiers: [`Objects`].
    Objects,
    /// Several keys at once: [`Transactions`].
    Transactions,
    /// Locks that end by themselves: [`Objects`] with `acquire`, `renew` and `release`.
    Leases,
    /// Changes of keys that can be followed: [`Objects`] with `write` and `watch`.
    Feed,
    /// Logs that are read from a position on: [`Objects`] with `send` and `poll`.
    Logs,
}

impl Interface {
    pub fn word(self) -> &'static str {
        match self {
            Interface::Kv => "kv",
            Interface::Log => "log",
            Interface::Replicas => "replicas",
            Interface::Chain => "chain",
            Interface::Bank => "bank",
            Interface::Ledger => "ledger",
            Interface::Objects => "objects",
            Interface::Transactions => "transactions",
            Interface::Leases => "leases",
            Interface::Feed => "feed",
            Interface::Logs => "logs",
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a system can be asked, by a [`Kv`] or one of the others. A system of which little is known
/// may offer a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Read,
    Write,
    Cas,
    Append,
    Scan,
    Enqueue,
    Dequeue,
    Acquire,
    Release,
    Add,
    Generate,
    Txn,
    Transfer,
    Balances,
    Renew,
    Watch,
    Send,
    Poll,
    /// An operation of a workload that somebody described: a client program may know it.
    Own(&'static str),
}

impl Call {
    pub const ALL: &'static [Call] = &[
        Call::Read,
        Call::Write,
        Call::Cas,
        Call::Append,
        Call::Scan,
        Call::Enqueue,
        Call::Dequeue,
        Call::Acquire,
        Call::Release,
        Call::Add,
        Call::Generate,
        Call::Txn,
        Call::Transfer,
        Call::Balances,
        Call::Renew,
        Call::Watch,
        Call::Send,
        Call::Poll,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Call::Read => "read",
            Call::Write => "write",
            Call::Cas => "cas",
            Call::Append => "append",
            Call::Scan => "scan",
            Call::Enqueue => "enqueue",
            Call::Dequeue => "dequeue",
            Call::Acquire => "acquire",
            Call::Release => "release",
            Call::Add => "add",
            Call::Generate => "generate",
            Call::Txn => "txn",
            Call::Transfer => "transfer",
            Call::Balances => "balances",
            Call::Renew => "renew",
            Call::Watch => "watch",
            Call::Send => "send",
            Call::Poll => "poll",
            Call::Own(word) => word,
        }
    }

    /// Whether something is found out by it: then success without a value is no answer.
    pub fn asks(self) -> bool {
        match self {
            Call::Read | Call::Scan | Call::Dequeue | Call::Acquire | Call::Renew => true,
            Call::Generate | Call::Send | Call::Poll | Call::Watch => true,
            Call::Txn | Call::Balances => true,
            Call::Write | Call::Cas | Call::Append | Call::Enqueue => false,
            Call::Release | Call::Add | Call::Transfer | Call::Own(_) => false,
        }
    }
}

/// How much a read wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What the system is set up to give to clients that want the newest value.
    Linearizable,
    /// What the node that is asked has itself, however old.
    Local,
}

/// Keys and values. One client's side of it, bound to one node; one call at a time.
///
/// Values are integers, text, and lists and maps of such. A key that was never written has no
/// value, which compares equal to no value only.
#[async_trait]
pub trait Kv: Send {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError>;

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError>;

    /// Puts `to` if the key's value is `from`. False: it is not, and nothing was done.
    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError>;

    /// Adds `element` at the end of the key's list; a key without a value is an empty list.
    async fn append(&mut self, key: &str, element: &Value) -> Result<(), OpError>;

    /// Every key that begins with `prefix`, with its value, in no order that means anything.
    async fn scan(
        &mut self,
        prefix: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError>;

    /// Where in the system's own order the last call that succeeded took effect, if its answer
    /// said: see [`history::Event::version`].
    fn version(&mut self) -> Option<Value> {
        None
    }
}

/// Opens a [`Kv`]. It connects when the first call is made: a refused connection is an outcome.
pub trait OpenKv: Send + Sync {
    fn open(&self, node: &Node) -> Box<dyn Kv>;
}

/// A replicated log.
#[async_trait]
pub trait Log: Send + Sync {
    /// What the node holds for decided, read from the node itself.
    ///
    /// # Errors
    /// Why it could not be read, for the history.
    async fn decided(&self, node: &Node) -> Result<DecidedLog, String>;
}

/// One node's copy of the log, as far as it knows it decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedLog {
    pub node: Name,
    /// In the order of slots. What a snapshot has replaced is not there any more.
    pub entries: Vec<LogEntry>,
    /// The first slot that the node still has, if it tells.
    pub first: Option<i64>,
    /// Every slot up to this one is decided.
    pub decided_upto: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub slot: i64,
    /// Round and proposer.
    pub ballot: (i64, Name),
    /// Hash of the entry.
    pub digest: String,
    /// Hash of all entries up to this one, so that two logs can be compared where snapshots have
    /// replaced what led there.
    pub chain: String,
    /// The commands that the node applied here, if it tells: reads and repetitions are not applied.
    pub applied: Vec<Command>,
}

/// A command of a replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub session: String,
    pub sequence: i64,
    /// What it does: its name, the key, and of what it writes and compares, what it writes last.
    /// Empty if the node does not tell.
    pub content: Vec<Value>,
}

impl DecidedLog {
    /// `{"node": "n1", "first": 1, "entries": [[slot, [round, "n1"], digest, chain, [["c1", 7,
    /// "put", "k", 3], ...]], ...], "decided_upto": n}`: the value of the event `log`, which the
    /// checker of logs reads.
    pub fn to_value(&self) -> Value {
        let entries = self.entries.iter().map(|entry| {
            Value::List(vec![
                entry.slot.into(),
                Value::pair(entry.ballot.0, entry.ballot.1.clone()),
                Value::text(&entry.digest),
                Value::text(&entry.chain),
                Value::List(entry.applied.iter().map(Command::to_value).collect()),
            ])
        });
        Value::Map(vec![
            ("node".into(), self.node.clone().into()),
            ("first".into(), self.first.map_or(Value::Nil, Value::Int)),
            ("entries".into(), Value::List(entries.collect())),
            ("decided_upto".into(), self.decided_upto.into()),
        ])
    }
}

impl Command {
    fn to_value(&self) -> Value {
        let name = [self.session.as_str().into(), self.sequence.into()];
        Value::List(
            name.into_iter()
                .chain(self.content.iter().cloned())
                .collect(),
        )
    }
}

/// A chain of blocks, as its nodes see it.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The block that the node builds upon now.
    ///
    /// # Errors
    /// Why it could not be read, for the history; so for the other.
    async fn head(&self, node: &Node) -> Result<Head, String>;

    /// The block `tip` as the node has it, and its ancestors, newest first: `most` of them, or
    /// fewer if genesis or the node's patience comes first.
    async fn blocks(&self, node: &Node, tip: &str, most: usize) -> Result<Vec<Block>, String>;
}

/// What a node builds upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub hash: String,
    pub height: i64,
    /// The newest block that the node calls final, where the chain has finality.
    pub last_final: Option<String>,
    /// Of all blocks that the node has and finds valid, the one of most work, where it tells that.
    pub heaviest: Option<String>,
    /// Of all blocks of which the node has at least the header, the one of most work, where it
    /// tells that.
    pub best_header: Option<String>,
    /// How many blocks the node has refused since it started, by the rule that they broke, where it
    /// tells that.
    pub refused: Option<BTreeMap<String, i64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub hash: String,
    pub parent: String,
    pub height: i64,
    /// Since 1970, as the block says.
    pub time_ms: i64,
    /// Hashes that finding it takes on average; 1 if the chain does not tell.
    pub work: i64,
    pub miner: String,
    /// Lists of an id and, where the chain has a ledger that Schism knows, what it does.
    pub transactions: Vec<Value>,
}

impl Block {
    /// As in the event `head`: hash, parent, height, time, work, miner, transactions.
    pub fn to_value(&self) -> Value {
        Value::List(vec![
            Value::text(&self.hash),
            Value::text(&self.parent),
            self.height.into(),
            self.time_ms.into(),
            self.work.into(),
            Value::text(&self.miner),
            Value::List(self.transactions.clone()),
        ])
    }
}

/// Accounts with balances, between which money moves. One client's side of it, bound to one node;
/// one call at a time.
#[async_trait]
pub trait Bank: Send {
    /// False: `from` has less, and nothing was done.
    async fn transfer(&mut self, from: &str, to: &str, amount: i64) -> Result<bool, OpError>;

    /// All accounts, all of one moment.
    async fn balances(&mut self) -> Result<Vec<(String, i64)>, OpError>;

    /// As [`Kv::version`].
    fn version(&mut self) -> Option<Value> {
        None
    }
}

/// Opens a [`Bank`]. It connects when the first call is made.
pub trait OpenBank: Send + Sync {
    fn open(&self, node: &Node) -> Box<dyn Bank>;
}

/// A list of entries that anybody adds to and from which nothing is ever taken: the least that a
/// blockchain is for. One client's side of it, bound to one node; one call at a time.
#[async_trait]
pub trait Ledger: Send {
    /// Adds an entry, and returns once the system says that it is there to stay.
    async fn add(&mut self, entry: &Value) -> Result<(), OpError>;

    /// Every entry that is there to stay, as far as the node that is asked knows: it may lag
    /// behind.
    async fn entries(&mut self) -> Result<Vec<Value>, OpError>;

    /// As [`Kv::version`].
    fn version(&mut self) -> Option<Value> {
        None
    }
}

/// Opens a [`Ledger`]. It connects when the first call is made.
pub trait OpenLedger: Send + Sync {
    fn open(&self, node: &Node) -> Box<dyn Ledger>;
}

/// Every key-value store is a ledger, whose entries are keys of their own under one prefix.
pub struct LedgerOverKv(pub Arc<dyn OpenKv>);

struct KvEntries(Box<dyn Kv>);

const ENTRIES: &str = "ledger-";

impl OpenLedger for LedgerOverKv {
    fn open(&self, node: &Node) -> Box<dyn Ledger> {
        Box::new(KvEntries(self.0.open(node)))
    }
}

#[async_trait]
impl Ledger for KvEntries {
    async fn add(&mut self, entry: &Value) -> Result<(), OpError> {
        self.0.put(&format!("{ENTRIES}{entry}"), entry).await
    }

    async fn entries(&mut self) -> Result<Vec<Value>, OpError> {
        let found = self.0.scan(ENTRIES, Consistency::Linearizable).await?;
        Ok(found.into_iter().map(|(_, entry)| entry).collect())
    }

    fn version(&mut self) -> Option<Value> {
        self.0.version()
    }
}

/// Objects under keys that are more than values. One client's side of them, bound to one node; one
/// call at a time.
///
/// ```text
/// call        value   answer
/// enqueue     any     nil
/// dequeue     nil     the first value of the queue, or nil: it is empty
/// acquire     who     nil, or a number: the fencing token
/// release     who     nil
/// add         number  nil
/// read        nil     the sum of what was added
/// generate    nil     an identifier that nobody else is given
/// ```
///
/// Of a lease, who is `[who, ms]`: `acquire` and `renew` are for so many milliseconds. They are
/// answered with the time, in nanoseconds, for which it is surely held, counted from when it was
/// asked for.
///
/// A lock that somebody else holds is refused with `conflict`, and so is the release of a lock by
/// one who does not hold it.
#[async_trait]
pub trait Objects: Send {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError>;

    /// As [`Kv::version`].
    fn version(&mut self) -> Option<Value> {
        None
    }
}

/// Opens [`Objects`]. It connects when the first call is made.
pub trait OpenObjects: Send + Sync {
    fn open(&self, node: &Node) -> Box<dyn Objects>;
}

/// Reads and changes of several keys at once. One client's side of them, bound to one node; one
/// transaction at a time.
#[async_trait]
pub trait Transactions: Send {
    /// Does all of `[["r" k nil] ["append" k v] ["w" k v] ...]`, in this order and at once, or
    /// nothing of it. The answer is the same list, with what was read in the place of nil.
    async fn transact(&mut self, micros: &Value) -> Result<Value, OpError>;

    /// As [`Kv::version`].
    fn version(&mut self) -> Option<Value> {
        None
    }
}

/// Opens [`Transactions`]. It connects when the first transaction is asked for.
pub trait OpenTransactions: Send + Sync {
    fn open(&self, node: &Node) -> Box<dyn Transactions>;
}

/// What one system, set up, offers to workloads.
#[derive(Clone, Default)]
pub struct Offers {
    pub kv: Option<Arc<dyn OpenKv>>,
    pub log: Option<Arc<dyn Log>>,
    /// Whether it tells what its nodes hold.
    pub replicas: bool,
    pub chain: Option<Arc<dyn Chain>>,
    pub bank: Option<Arc<dyn OpenBank>>,
    pub ledger: Option<Arc<dyn OpenLedger>>,
    pub objects: Option<Arc<dyn OpenObjects>>,
    pub transactions: Option<Arc<dyn OpenTransactions>>,
    pub leases: Option<Arc<dyn OpenObjects>>,
    pub feed: Option<Arc<dyn OpenObjects>>,
    pub logs: Option<Arc<dyn OpenObjects>>,
}

impl Offers {
    pub fn list(&self) -> Vec<Interface> {
        let kv = self.kv.as_ref().map(|_| Interface::Kv);
        let log = self.log.as_ref().map(|_| Interface::Log);
        let replicas = self.replicas.then_some(Interface::Replicas);
        let chain = self.chain.as_ref().map(|_| Interface::Chain);
        let bank = self.bank.as_ref().map(|_| Interface::Bank);
        let ledger = self.ledger.as_ref().map(|_| Interface::Ledger);
        let objects = self.objects.as_ref().map(|_| Interface::Objects);
        let transactions = self.transactions.as_ref().map(|_| Interface::Transactions);
        let leases = self.leases.as_ref().map(|_| Interface::Leases);
        let feed = self.feed.as_ref().map(|_| Interface::Feed);
        let logs = self.logs.as_ref().map(|_| Interface::Logs);
        let stored = [kv, log, chain, bank, ledger, objects, transactions];
        let others = [leases, feed, logs, replicas];
        stored.into_iter().chain(others).flatten().collect()
    }
}
