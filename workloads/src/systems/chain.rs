//! The proof-of-work node of this workspace, over its documented HTTP surface and nothing else.
//!
//! As with paxos-kv no type is shared with the node; `harness/docs/chain.md` is all that is known
//! of it.

pub(super) mod params;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent::protocol::{Daemon, StopSignal};
use async_trait::async_trait;
use harness::client::OpError;
use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::{System, Watch};
use history::{Name, Value};
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::own::{self, Client, describe, error_of};
use super::{
    CONFIRMATIONS, Entry, Flaw, Pace, Ready, Setup, SetupError, ask_all, at, make_folders, parse,
    run,
};
use crate::chain_watch::ChainWatch;
use crate::http::{Answer, Http, Patience, segment};
use crate::interface::{
    Bank, Block, Call, Chain, Head, Interface, Kv, LedgerOverKv, Offers, OpenBank, OpenKv,
};
use crate::params::{Kind, Params};
use params::{BLOCK_INTERVAL, PARAMS, TIME_RULES};

pub(super) const NAME: &str = "chain";
const VARIABLE: &str = "SCHISM_CHAIN";

pub(super) const ENTRY: Entry = Entry {
    name: NAME,
    about: "proof-of-work blockchain with a key-value ledger, with bugs that can be switched on",
    interfaces: &[
        Interface::Kv,
        Interface::Chain,
        Interface::Bank,
        Interface::Ledger,
    ],
    calls: Call::ALL,
    folder: None,
    params: PARAMS,
    workload: "register",
    own: &[],
    variable: VARIABLE,
    operations: &[],
    nodes: super::NODES,
    leads: false,
    may_crash: false,
    time_rules: TIME_RULES,
    install: "",
    versions: &[],
    look: &|| program().map(drop),
    pace: |params| Pace::of_chain(params, params.duration(BLOCK_INTERVAL.name), 20.0),
    flaws,
    set_up: &set_up,
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
        VARIABLE,
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

    /// Whether the node has a block, connections to all others, and every block from which any of
    /// those who answer gives answers, deep enough to give the same.
    async fn settled(&self, node: &Node, all: &[Node]) -> Result<(), String> {
        let mut http = self.network.http(node, Patience::QUESTION);
        let said = |e: OpError| e.to_string();
        let status: Status = ask(&mut http, "/debug/status").await.map_err(said)?;
        let peers: Peers = ask(&mut http, "/chain/peers").await.map_err(said)?;
        let others = all.iter().filter(|other| other.name != node.name);
        let connected = |other: &Node| {
            peers
                .peers
                .iter()
                .any(|p| p.node.as_ref() == Some(&other.name))
        };
        if status.height == 0 {
            return Err("it has no block yet".into());
        }
        if let Some(other) = others.clone().find(|other| !connected(other)) {
            return Err(format!("it is not connected to {}", other.name));
        }
        let depth = self.params().count(CONFIRMATIONS.name) as i64;
        // The others first: what they had by then, this node has to have now.
        let theirs = ask_all(all, |other| {
            recent(self.network.http(other, Patience::QUESTION), depth)
        });
        let theirs = theirs.await;
        let mine = recent(http, depth + SPREAD).await;
        let mine = mine.ok_or("it does not show its blocks")?;
        let ahead = theirs
            .iter()
            .find(|(_, theirs)| !caught_up(&mine, theirs, depth));
        match ahead {
            None => Ok(()),
            Some((other, _)) => Err(format!(
                "it has not caught up with {other}, or has another chain"
            )),
        }
    }
}

/// How many blocks another node may be behind before it is not looked at: it is its own to catch
/// up.
const SPREAD: i64 = 20;

/// Height and hash of the newest blocks of the node's own chain, newest first.
async fn recent(mut http: Http, blocks: i64) -> Option<Vec<(i64, String)>> {
    let page: Page = ask(&mut http, &format!("/chain/blocks?limit={blocks}"))
        .await
        .ok()?;
    let blocks = page.blocks.into_iter();
    Some(blocks.map(|block| (block.height, block.hash)).collect())
}

/// Whether `mine` has the block from which `theirs` gives answers, and gives answers from it too.
/// Of a chain that is not as deep yet that is genesis, which all have.
fn caught_up(mine: &[(i64, String)], theirs: &[(i64, String)], depth: i64) -> bool {
    let deep = |chain: &'_ [(i64, String)]| {
        let last = chain.len().min(depth as usize).checked_sub(1)?;
        chain.get(last).cloned()
    };
    let (Some(mine_deep), Some(their_deep)) = (deep(mine), deep(theirs)) else {
        return false;
    };
    let lowest = mine.last().map_or(0, |(height, _)| *height);
    mine_deep.0 >= their_deep.0 && (their_deep.0 < lowest || mine.contains(&their_deep))
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
    heaviest: String,
    best_header: String,
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
            stop: StopSignal::Term,
            log: node.log("chain.log"),
        }
    }

    async fn install(&self, node: &Node, all: &[Node]) -> Result<(), ControlError> {
        self.nodes.get_or_init(|| all.to_vec());
        make_folders(node).await
    }

    async fn ready(&self, node: &Node) -> Result<(), String> {
        let all = self.nodes.get().ok_or("it is not installed")?;
        self.settled(node, all).await
    }

    /// Until the first blocks, and some more until one of them is deep.
    fn patience(&self) -> Duration {
        Duration::from_secs(30) + self.params().duration(BLOCK_INTERVAL.name) * 10
    }

    /// As long again as an operation takes at most: until blocks are as deep as answers need them.
    fn recovery_time(&self) -> Duration {
        let pace = (ENTRY.pace)(self.params());
        Duration::from_secs(30) + pace.op_timeout
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
        Box::new(Client::with_places(
            self.http(node, Patience::CLIENT),
            place,
        ))
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
            heaviest: Some(shown.heaviest),
            best_header: Some(shown.best_header),
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
struct Transferred {
    transferred: bool,
}

#[derive(Deserialize)]
struct Balances {
    balances: Vec<(String, i64)>,
}

/// An answer from the mempool is in no place yet.
fn place(answer: &Answer) -> Option<Value> {
    let place: Place = parse(&answer.body).ok()?;
    Some(Value::List(vec![
        place.height.into(),
        place.position.into(),
        Value::text(place.block),
        place.tx.map_or(Value::Nil, Value::text),
    ]))
}

#[async_trait]
impl Bank for Client {
    async fn transfer(&mut self, from: &str, to: &str, amount: i64) -> Result<bool, OpError> {
        let transfer = json!({"from": from, "to": to, "amount": amount});
        let transferred = |answer: Transferred| answer.transferred;
        self.decide("/transfer", &transfer, transferred).await
    }

    async fn balances(&mut self) -> Result<Vec<(String, i64)>, OpError> {
        Ok(self.read::<Balances>("/accounts").await?.balances)
    }

    fn version(&mut self) -> Option<Value> {
        self.take_version()
    }
}

#[cfg(test)]
mod tests;
