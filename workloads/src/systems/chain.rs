//! The proof-of-work node of this workspace, over its documented HTTP surface and nothing else.
//!
//! As with paxos-kv no type is shared with the node; `harness/docs/chain.md` is all that is known of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent::protocol::Daemon;
use async_trait::async_trait;
use harness::client::{MALFORMED, NOT_FOUND, OpError};
use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::{System, TimeRule};
use harness::watcher::Watch;
use history::{Name, Value};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::own::{self, describe, error_of, json as body};
use super::{
    CONFIRMATIONS, Entry, Flaw, Pace, Ready, Setup, SetupError, ask_all, at, make_folders, parse,
    run,
};
use crate::chain_watch::ChainWatch;
use crate::http::{Answer, Http, Patience, segment};
use crate::interface::{
    Bank, Block, Chain, Consistency, Head, Interface, Kv, LedgerOverKv, Offers, OpenBank, OpenKv,
};
use crate::params::{Kind, Param, Params};

const NAME: &str = "chain";

const BLOCK_INTERVAL: Param = Param {
    name: "block-interval",
    kind: Kind::Duration,
    default: "500ms",
    about: "time between two blocks of the whole network, on average",
};

/// The flags of the daemon by the same names.
const PARAMS: &[Param] = &[
    BLOCK_INTERVAL,
    CONFIRMATIONS,
    Param {
        name: "hash-rate",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000_000,
        },
        default: "20000",
        about: "hashes a second that each node tries at most",
    },
    Param {
        name: "retarget-every",
        kind: Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        default: "50",
        about: "blocks between changes of the difficulty; 0: never",
    },
    Param {
        name: "max-future-drift",
        kind: Kind::Duration,
        default: "2h",
        about: "a block whose time is further ahead of a node's clock is refused by it",
    },
    Param {
        name: "reads",
        kind: Kind::Choice(&["ordered", "local"]),
        default: "ordered",
        about: "ordered reads are transactions; local ones are of the node's own chain, and stale by design",
    },
    Param {
        name: "accounts",
        kind: Kind::Count {
            min: 2,
            max: 100_000,
        },
        default: "8",
        about: "accounts in the ledger",
    },
    Param {
        name: "balance",
        kind: Kind::Count {
            min: 0,
            max: 1_000_000_000,
        },
        default: "100",
        about: "what each account has at first",
    },
    Param {
        name: "request-timeout",
        kind: Kind::Duration,
        default: "30s",
        about: "how long a node waits before it answers that it does not know",
    },
    Param {
        name: "ban-time",
        kind: Kind::Duration,
        default: "10s",
        about: "how long a node does not talk to a peer that misbehaved",
    },
];

const DRIFT_RULE: &str = "a node refuses a block whose time is more than --max-future-drift ahead of its own wall \
     clock, and builds on another branch until then";

const MEDIAN_RULE: &str = "a block must be later than the median of the eleven before it, and its miner writes down \
     its own wall clock";

const RETARGET_RULE: &str = "every --retarget-every blocks the difficulty follows the times that miners wrote into \
     blocks by their own wall clocks, by a factor of 4 at most";

const TOO_NEW: &str = "chain/blocks refused/by rule/time-too-new";
const TOO_OLD: &str = "chain/blocks refused/by rule/time-too-old";

const fn by_drift(figure: &'static str) -> TimeRule {
    TimeRule {
        figure,
        rule: DRIFT_RULE,
        uses: Some(TOO_NEW),
    }
}

/// Nobody counts how far a change of the difficulty was due to a clock.
const fn by_retarget(figure: &'static str) -> TimeRule {
    TimeRule {
        figure,
        rule: RETARGET_RULE,
        uses: None,
    }
}

/// A block's time is its miner's wall clock, and that is all that the rules of a chain have of time.
/// A miner whose clock is behind the median writes down the median's next millisecond, so blocks that
/// are too old come from nodes that break the rule.
const TIME_RULES: &[TimeRule] = &[
    by_drift(TOO_NEW),
    TimeRule {
        figure: TOO_OLD,
        rule: MEDIAN_RULE,
        uses: Some(TOO_OLD),
    },
    by_drift("chain/common prefix/k"),
    by_drift("chain/reorganisations/count"),
    by_drift("chain/blocks off the last chain"),
    by_drift("chain/liveness/all/p99"),
    by_retarget("chain/chain growth/with faults/tau"),
    by_retarget("availability/throughput"),
];

pub(super) const ENTRY: Entry = Entry {
    name: NAME,
    about: "proof-of-work blockchain with a key-value ledger, with bugs that can be switched on",
    interfaces: &[
        Interface::Kv,
        Interface::Chain,
        Interface::Bank,
        Interface::Ledger,
    ],
    params: PARAMS,
    leads: false,
    pace: |params| Pace::of_chain(params, params.duration(BLOCK_INTERVAL.name), 20.0),
    flaws,
    set_up,
};

/// TCP ports of a node.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            client: 7000,
            peer: 7001,
        }
    }
}

fn set_up(setup: &Setup) -> Result<Ready, SetupError> {
    Ok(ChainNode::new(program()?, setup.clone(), Ports::default()).ready())
}

/// The node's program: where `SCHISM_CHAIN` says, else beside the running program.
///
/// # Errors
/// If it is in neither place.
pub fn program() -> Result<PathBuf, SetupError> {
    own::program(
        NAME,
        "SCHISM_CHAIN",
        "build it with `cargo build -p chain`, or say where it is in SCHISM_CHAIN",
    )
}

fn flaws() -> Result<Vec<Flaw>, SetupError> {
    own::flaws(&program()?)
}

/// The system, set up.
pub struct ChainNode {
    program: PathBuf,
    setup: Setup,
    network: Arc<Network>,
    watch: ChainWatch,
    nodes: OnceLock<Vec<Node>>,
}

/// How to reach the nodes.
struct Network {
    ports: Ports,
}

impl ChainNode {
    pub fn new(program: PathBuf, setup: Setup, ports: Ports) -> ChainNode {
        let network = Arc::new(Network { ports });
        ChainNode {
            program,
            setup,
            watch: ChainWatch::new(network.clone()),
            network,
            nodes: OnceLock::new(),
        }
    }

    /// As a system with its interfaces.
    pub fn ready(self) -> Ready {
        let network = self.network.clone();
        Ready {
            offers: Offers {
                kv: Some(network.clone()),
                chain: Some(network.clone()),
                bank: Some(network.clone()),
                ledger: Some(Arc::new(LedgerOverKv(network))),
                ..Offers::default()
            },
            system: Arc::new(self),
        }
    }

    fn params(&self) -> &Params {
        &self.setup.params
    }

    /// Whether the node has a block, connections to all others, and the chain that those who answer
    /// have too, up to the depth at which answers are given.
    async fn settled(&self, node: &Node, all: &[Node]) -> Option<bool> {
        let mut http = self.network.http(node, Patience::QUESTION);
        let status: Status = ask(&mut http, "/debug/status").await.ok()?;
        let peers: Peers = ask(&mut http, "/chain/peers").await.ok()?;
        let others = all.iter().filter(|other| other.name != node.name);
        let connected = |other: &Node| {
            peers
                .peers
                .iter()
                .any(|p| p.node.as_ref() == Some(&other.name))
        };
        if status.height == 0 || !others.clone().all(connected) {
            return Some(false);
        }
        let depth = self.params().count(CONFIRMATIONS.name) as i64;
        let mine = recent(http, depth).await?;
        // Of a chain that is not as deep yet: genesis, which all have.
        let deep = mine.last()?.clone();
        let theirs = ask_all(all, |other| {
            recent(self.network.http(other, Patience::QUESTION), depth + SPREAD)
        });
        let mut theirs = theirs.await.into_iter();
        Some(theirs.all(|(_, blocks)| blocks.contains(&deep)))
    }
}

/// How many blocks one node's head may be ahead of another's while both are settled.
const SPREAD: i64 = 20;

/// Hashes of the newest blocks of the node's own chain.
async fn recent(mut http: Http, blocks: i64) -> Option<Vec<String>> {
    let page: Page = ask(&mut http, &format!("/chain/blocks?limit={blocks}"))
        .await
        .ok()?;
    Some(page.blocks.into_iter().map(|block| block.hash).collect())
}

/// `GET /debug/status`, the part that is used.
#[derive(Deserialize)]
struct Status {
    height: i64,
    clock: Clock,
}

#[derive(Deserialize)]
struct Clock {
    wall_ns: i64,
}

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    #[serde(default)]
    node: Option<Name>,
}

#[derive(Deserialize)]
struct ShownHead {
    head: String,
    height: i64,
    refused: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
struct Page {
    blocks: Vec<ShownBlock>,
}

#[derive(Deserialize)]
struct ShownBlock {
    hash: String,
    parent: String,
    height: i64,
    time_ms: i64,
    work: i64,
    miner: String,
    transactions: Vec<Value>,
}

async fn ask<T: DeserializeOwned>(http: &mut Http, path: &str) -> Result<T, OpError> {
    let answer = http.get(path).await?;
    match answer.status {
        StatusCode::OK => parse(&answer.body),
        _ => Err(error_of(&answer)),
    }
}

#[async_trait]
impl System for ChainNode {
    fn name(&self) -> &str {
        NAME
    }

    fn programs(&self) -> Vec<Program> {
        vec![Program {
            name: NAME.into(),
            from: self.program.clone(),
        }]
    }

    fn daemon(&self, node: &Node, all: &[Node]) -> Daemon {
        let Ports { client, peer } = self.network.ports;
        let peers: Vec<String> = all
            .iter()
            .map(|node| format!("{}={}", node.name, at(node, peer)))
            .collect();
        let mut argv = vec![node.bin(NAME).display().to_string()];
        let mut flag = |name: &str, value: String| argv.extend([format!("--{name}"), value]);
        flag("id", node.name.to_string());
        flag("data", node.data().display().to_string());
        flag("client-addr", at(node, client).to_string());
        flag("peer-addr", at(node, peer).to_string());
        flag("peers", peers.join(","));
        flag("seed", self.setup.seed.to_string());
        for param in PARAMS {
            let value = match param.kind {
                // The daemon knows fewer ways to write a duration.
                Kind::Duration => format!("{}us", self.params().duration(param.name).as_micros()),
                _ => self.params().text(param.name).to_string(),
            };
            flag(param.name, value);
        }
        for name in &self.setup.flaws {
            flag("flaw", name.clone());
        }
        Daemon {
            name: NAME.into(),
            argv,
            env: Default::default(),
            cwd: node.data(),
            log: node.log("chain.log"),
        }
    }

    async fn install(&self, node: &Node, all: &[Node]) -> Result<(), ControlError> {
        self.nodes.get_or_init(|| all.to_vec());
        make_folders(node).await
    }

    async fn ready(&self, node: &Node) -> bool {
        match self.nodes.get() {
            Some(all) => self.settled(node, all).await.unwrap_or(false),
            None => false,
        }
    }

    /// Until the first blocks, and some more until one of them is deep.
    fn patience(&self) -> Duration {
        Duration::from_secs(30) + self.params().duration(BLOCK_INTERVAL.name) * 10
    }

    async fn leader(&self, _nodes: &[Node]) -> Option<Name> {
        None
    }

    fn client_port(&self) -> u16 {
        self.network.ports.client
    }

    async fn wall_clock(&self, node: &Node) -> Option<i64> {
        let mut http = self.network.http(node, Patience::QUESTION);
        let status: Status = ask(&mut http, "/debug/status").await.ok()?;
        Some(status.clock.wall_ns)
    }

    fn watch(&self) -> Option<Watch> {
        Some(ChainWatch::every())
    }

    async fn look(&self, node: &Node) -> Result<Value, String> {
        self.watch.look(node).await
    }

    async fn final_reads(&self, _node: &Node) -> Vec<(Name, Result<Value, String>)> {
        Vec::new()
    }

    fn time_rules(&self) -> &'static [TimeRule] {
        TIME_RULES
    }

    async fn version(&self, node: &Node) -> Result<String, ControlError> {
        let program = node.bin(NAME).display().to_string();
        let ran = run(node, vec![program, "--version".into()]).await?;
        Ok(ran.stdout.trim().to_string())
    }
}

impl Network {
    fn http(&self, node: &Node, patience: Patience) -> Http {
        Http::new(at(node, self.ports.client), patience)
    }

    fn client(&self, node: &Node) -> Box<Client> {
        Box::new(Client {
            http: self.http(node, Patience::CLIENT),
            version: None,
        })
    }
}

#[async_trait]
impl Chain for Network {
    async fn head(&self, node: &Node) -> Result<Head, String> {
        let mut http = self.http(node, Patience::QUESTION);
        let shown: ShownHead = ask(&mut http, "/chain/head")
            .await
            .map_err(|e| describe(&e))?;
        Ok(Head {
            hash: shown.head,
            height: shown.height,
            last_final: None,
            refused: Some(shown.refused),
        })
    }

    async fn blocks(&self, node: &Node, tip: &str, most: usize) -> Result<Vec<Block>, String> {
        let mut http = self.http(node, Patience::COLLECT);
        let path = format!("/chain/blocks?tip={}&limit={most}", segment(tip));
        let page: Page = ask(&mut http, &path).await.map_err(|e| describe(&e))?;
        let block = |shown: ShownBlock| Block {
            hash: shown.hash,
            parent: shown.parent,
            height: shown.height,
            time_ms: shown.time_ms,
            work: shown.work,
            miner: shown.miner,
            transactions: shown.transactions,
        };
        Ok(page.blocks.into_iter().map(block).collect())
    }
}

impl OpenKv for Network {
    fn open(&self, node: &Node) -> Box<dyn Kv> {
        self.client(node)
    }
}

impl OpenBank for Network {
    fn open(&self, node: &Node) -> Box<dyn Bank> {
        self.client(node)
    }
}

struct Client {
    http: Http,
    version: Option<Value>,
}

/// Where an answer was true.
#[derive(Deserialize)]
struct Place {
    height: i64,
    position: i64,
    block: String,
    /// A local read has none.
    #[serde(default)]
    tx: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    value: Value,
}

#[derive(Serialize)]
struct Swap<'a> {
    from: Option<&'a Value>,
    to: &'a Value,
}

#[derive(Deserialize)]
struct Swapped {
    swapped: bool,
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<(String, Value)>,
}

#[derive(Deserialize)]
struct Transferred {
    transferred: bool,
}

#[derive(Deserialize)]
struct Balances {
    balances: Vec<(String, i64)>,
}

/// What to add to a read's query.
fn read_mode(consistency: Consistency) -> Option<&'static str> {
    match consistency {
        // As the daemon was told with `--reads`.
        Consistency::Linearizable => None,
        Consistency::Local => Some("read=local"),
    }
}

impl Client {
    /// Keeps where the answer was true, if it says so: an answer from the mempool is in no place yet.
    fn note(&mut self, answer: &Answer) {
        let place: Option<Place> = parse(&answer.body).ok();
        self.version = place.map(|place| {
            Value::List(vec![
                place.height.into(),
                place.position.into(),
                Value::text(place.block),
                place.tx.map_or(Value::Nil, Value::text),
            ])
        });
    }

    async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, OpError> {
        self.version = None;
        let answer = self.http.get(path).await?;
        match answer.status {
            StatusCode::OK => {
                self.note(&answer);
                parse(&answer.body)
            }
            // Absent, as of this place.
            StatusCode::NOT_FOUND => {
                self.note(&answer);
                Err(error_of(&answer))
            }
            _ => Err(error_of(&answer)),
        }
    }

    async fn change(&mut self, answer: Answer) -> Result<(), OpError> {
        match answer.status {
            StatusCode::OK => {
                self.note(&answer);
                Ok(())
            }
            _ => Err(error_of(&answer)),
        }
    }

    /// An answer of a change under a condition: 200 if it held, 409 if it did not, and the body says so too.
    fn decided(
        &mut self,
        answer: &Answer,
        word: &str,
        held: Result<bool, OpError>,
    ) -> Result<bool, OpError> {
        let held = match answer.status {
            StatusCode::OK | StatusCode::CONFLICT => held?,
            _ => return Err(error_of(answer)),
        };
        if held != (answer.status == StatusCode::OK) {
            let what = format!("status {} with {word} {held}", answer.status);
            return Err(OpError::new(MALFORMED, what));
        }
        self.note(answer);
        Ok(held)
    }
}

#[async_trait]
impl Kv for Client {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError> {
        let mut path = format!("/kv/{}", segment(key));
        if let Some(mode) = read_mode(consistency) {
            path.extend(["?", mode]);
        }
        match self.read::<Found>(&path).await {
            Ok(found) => Ok(Some(found.value)),
            // Only the node's own "not-found" says that the key has no value.
            Err(error) if error.code == NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError> {
        self.version = None;
        let path = format!("/kv/{}", segment(key));
        let answer = self.http.put(&path, body(value)).await?;
        self.change(answer).await
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        self.version = None;
        let path = format!("/kv/{}/cas", segment(key));
        let answer = self.http.post(&path, body(&Swap { from, to })).await?;
        let swapped = parse::<Swapped>(&answer.body).map(|answer| answer.swapped);
        self.decided(&answer, "swapped", swapped)
    }

    async fn append(&mut self, key: &str, element: &Value) -> Result<(), OpError> {
        self.version = None;
        let path = format!("/kv/{}/append", segment(key));
        let answer = self.http.post(&path, body(element)).await?;
        self.change(answer).await
    }

    async fn scan(
        &mut self,
        prefix: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        let mut path = format!("/kv?prefix={}", segment(prefix));
        if let Some(mode) = read_mode(consistency) {
            path.extend(["&", mode]);
        }
        Ok(self.read::<Entries>(&path).await?.entries)
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

#[async_trait]
impl Bank for Client {
    async fn transfer(&mut self, from: &str, to: &str, amount: i64) -> Result<bool, OpError> {
        self.version = None;
        let transfer = json!({"from": from, "to": to, "amount": amount});
        let answer = self.http.post("/transfer", body(&transfer)).await?;
        let transferred = parse::<Transferred>(&answer.body).map(|answer| answer.transferred);
        self.decided(&answer, "transferred", transferred)
    }

    async fn balances(&mut self) -> Result<Vec<(String, i64)>, OpError> {
        Ok(self.read::<Balances>("/accounts").await?.balances)
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

#[cfg(test)]
mod tests {
    use harness::client::{OVERLOADED, REJECTED, TIMEOUT, UNKNOWN};

    use super::*;
    use crate::fake::{Act, Fake};

    async fn client(acts: Vec<(u16, &str)>) -> (Client, Fake) {
        let acts = acts
            .into_iter()
            .map(|(s, body)| Act::Answer(s, body.into()));
        let fake = Fake::start(acts).await;
        let client = Client {
            http: Http::new(fake.address, Patience::COLLECT),
            version: None,
        };
        (client, fake)
    }

    fn place(tx: Value) -> Option<Value> {
        Some(Value::List(vec![
            3.into(),
            1.into(),
            Value::text("00ab"),
            tx,
        ]))
    }

    const LINEAR: Consistency = Consistency::Linearizable;

    #[tokio::test]
    async fn calls_are_asked_and_answered_as_the_protocol_says() {
        let (mut kv, fake) = client(vec![
            (200, r#"{"value":[1,"x"],"tx":"c1","height":3,"position":1,"block":"00ab"}"#),
            (404, r#"{"error":"not-found","height":3,"position":1,"block":"00ab"}"#),
            (200, r#"{"tx":"c2","height":3,"position":1,"block":"00ab"}"#),
            (200, r#"{"swapped":true,"tx":"c3","height":3,"position":1,"block":"00ab"}"#),
            (409, r#"{"swapped":false,"actual":7,"tx":"c4","height":3,"position":1,"block":"00ab"}"#),
            (200, r#"{"length":2}"#),
            (200, r#"{"entries":[["a-1",1]],"height":3,"position":1,"block":"00ab"}"#),
            (200, r#"{"transferred":true,"tx":"c5","height":3,"position":1,"block":"00ab"}"#),
            (409, r#"{"transferred":false,"tx":"c6","height":3,"position":1,"block":"00ab"}"#),
            (200, r#"{"balances":[["a0",95],["a1",105]],"tx":"c7","height":3,"position":1,"block":"00ab"}"#),
        ])
        .await;
        let tx = |id: &str| place(Value::text(id));
        assert_eq!(kv.get("a b", LINEAR).await, Ok(Some(Value::pair(1, "x"))));
        assert_eq!(Kv::version(&mut kv), tx("c1"));
        // What was said of one answer is not said of the next.
        assert_eq!(Kv::version(&mut kv), None);
        assert_eq!(kv.get("c", Consistency::Local).await, Ok(None));
        assert_eq!(Kv::version(&mut kv), place(Value::Nil));
        assert_eq!(kv.put("c", &Value::Int(5)).await, Ok(()));
        assert_eq!(Kv::version(&mut kv), tx("c2"));
        assert_eq!(kv.cas("c", None, &Value::Int(6)).await, Ok(true));
        let five = Value::Int(5);
        assert_eq!(kv.cas("c", Some(&five), &Value::Int(8)).await, Ok(false));
        assert_eq!(Kv::version(&mut kv), tx("c4"));
        // Answered from the mempool: in no place yet.
        assert_eq!(kv.append("l", &Value::Int(9)).await, Ok(()));
        assert_eq!(Kv::version(&mut kv), None);
        let found = vec![("a-1".to_string(), Value::Int(1))];
        assert_eq!(kv.scan("a-", LINEAR).await, Ok(found));
        assert_eq!(kv.transfer("a0", "a1", 5).await, Ok(true));
        assert_eq!(kv.transfer("a0", "a1", 500).await, Ok(false));
        assert_eq!(Bank::version(&mut kv), tx("c6"));
        let balances = vec![("a0".to_string(), 95), ("a1".to_string(), 105)];
        assert_eq!(kv.balances().await, Ok(balances));
        assert_eq!(
            fake.requests(),
            [
                "GET /kv/a%20b",
                "GET /kv/c?read=local",
                "PUT /kv/c 5",
                r#"POST /kv/c/cas {"from":null,"to":6}"#,
                r#"POST /kv/c/cas {"from":5,"to":8}"#,
                "POST /kv/l/append 9",
                "GET /kv?prefix=a-",
                r#"POST /transfer {"amount":5,"from":"a0","to":"a1"}"#,
                r#"POST /transfer {"amount":500,"from":"a0","to":"a1"}"#,
                "GET /accounts",
            ]
        );
    }

    #[tokio::test]
    async fn errors_are_as_definite_as_the_protocol_says() {
        for (status, body, code) in [
            (
                504,
                r#"{"error":"timeout","definite":false,"message":""}"#,
                TIMEOUT,
            ),
            (
                429,
                r#"{"error":"overloaded","definite":true,"message":""}"#,
                OVERLOADED,
            ),
            (
                400,
                r#"{"error":"bad-request","definite":true,"message":""}"#,
                REJECTED,
            ),
            (
                500,
                r#"{"error":"internal","definite":false,"message":""}"#,
                UNKNOWN,
            ),
            (200, r#"{"transferred":false}"#, MALFORMED),
            (409, r#"{"transferred":true}"#, MALFORMED),
            (200, "gibberish", MALFORMED),
        ] {
            let (mut bank, _fake) = client(vec![(status, body)]).await;
            let error = bank.transfer("a0", "a1", 1).await.unwrap_err();
            assert_eq!(error.code, code, "{status} {body}");
            assert_eq!(Bank::version(&mut bank), None);
        }
        // A page that is missing is not a key that is absent.
        let (mut kv, _fake) = client(vec![(404, "404 page not found")]).await;
        assert_eq!(kv.get("k", LINEAR).await.unwrap_err().code, MALFORMED);
    }
}
