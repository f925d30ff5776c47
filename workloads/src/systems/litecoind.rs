//! litecoind, from the distribution's package: Bitcoin Core's code, a proof-of-work chain that
//! nobody here wrote, as a private network in regtest mode. What is done by the network's operator,
//! mining above all, is in [`operator`]; see also `harness/docs/litecoind.md`.

mod ledger;
mod operator;
mod refused;
mod rpc;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use agent::protocol::{Daemon, StopSignal};
use async_trait::async_trait;
use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::{System, Watch};
use history::{Name, Value};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use self::ledger::Client;
use self::operator::{Addresses, operate};
use self::rpc::{Rpc, RpcError};
use super::{CONFIRMATIONS, Entry, Pace, Ready, Setup, SetupError, at, locate, make_folders, run};
use crate::chain_watch::ChainWatch;
use crate::http::{Http, Patience};
use crate::interface::{Block, Call, Chain, Head, Interface, Ledger, Offers, OpenLedger};
use crate::params::{Kind, Param};

const NAME: &str = "litecoind";
const VARIABLE: &str = "SCHISM_LITECOIND";

const LOG: &str = "litecoind.log";

const BLOCK_INTERVAL: Param = Param {
    name: "block-interval",
    kind: Kind::Duration,
    default: "1s",
    about: "time between two blocks of the whole network, on average",
};

const PARAMS: &[Param] = &[BLOCK_INTERVAL, CONFIRMATIONS];

/// How it gets onto a machine of Debian's.
const INSTALL: &str = "apt-get install --no-install-recommends litecoind";

pub(super) const ENTRY: Entry = Entry {
    name: NAME,
    about: "Litecoin Core of the distribution's package, mining by itself (proof of work)",
    interfaces: &[Interface::Chain, Interface::Ledger],
    calls: Call::ALL,
    folder: None,
    params: PARAMS,
    workload: "ledger",
    own: &[],
    variable: VARIABLE,
    operations: &[],
    nodes: super::NODES,
    leads: false,
    may_crash: false,
    time_rules: refused::TIME_RULES,
    install: INSTALL,
    versions: &[],
    look: &|| program().map(drop),
    pace: |params| Pace::of_chain(params, params.duration(BLOCK_INTERVAL.name), 5.0),
    flaws: || Ok(Vec::new()),
    set_up: &set_up,
};

/// TCP ports of a node.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub rpc: u16,
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            rpc: 19443,
            peer: 19444,
        }
    }
}

fn set_up(setup: &Setup) -> Result<Ready, SetupError> {
    Ok(Litecoind::new(program()?, setup.clone(), Ports::default()).ready())
}

/// The program: where `SCHISM_LITECOIND` says, else where packages and people put it. Debian's
/// `/usr/bin/litecoind` is a script that writes into the home folder, so the program itself comes
/// first.
///
/// # Errors
/// If it is in none of these places.
pub fn program() -> Result<PathBuf, SetupError> {
    let folders = ["/usr/lib/litecoin", "/usr/local/bin"].map(PathBuf::from);
    locate(NAME, VARIABLE, &folders, INSTALL)
}

/// The system, set up.
pub struct Litecoind {
    program: PathBuf,
    setup: Setup,
    network: Arc<Network>,
    watch: ChainWatch,
    /// Ends with this value.
    operator: Mutex<JoinSet<()>>,
}

/// What is known of the network: enough to ask its nodes.
struct Network {
    ports: Ports,
    confirmations: u64,
    /// Set once there are wallets and coins.
    addresses: Addresses,
    nodes: OnceLock<Vec<Node>>,
    /// One for each node's wallet.
    wallets: Mutex<BTreeMap<Name, Wallet>>,
}

/// Held while the wallet makes a transaction: it would give two at once the same coins (`send` lets
/// go of the wallet between choosing coins and spending them), and the second would wait for ever.
type Wallet = Arc<tokio::sync::Mutex<()>>;

/// Name and password of the RPC, and of the wallet. Regtest's coins are worth nothing.
const LOGIN: &str = "schism";

fn connect(at: SocketAddr, patience: Patience) -> Rpc {
    Rpc(Http::new(at, patience).with_login(LOGIN, LOGIN))
}

impl Litecoind {
    pub fn new(program: PathBuf, setup: Setup, ports: Ports) -> Litecoind {
        let network = Arc::new(Network {
            ports,
            confirmations: setup.params.count(CONFIRMATIONS.name),
            addresses: Addresses::default(),
            nodes: OnceLock::new(),
            wallets: Mutex::default(),
        });
        Litecoind {
            program,
            setup,
            watch: ChainWatch::new(network.clone()),
            network,
            operator: Mutex::default(),
        }
    }

    /// As a system with its interfaces.
    pub fn ready(self) -> Ready {
        Ready {
            offers: Offers {
                chain: Some(self.network.clone()),
                ledger: Some(self.network.clone()),
                ..Offers::default()
            },
            system: Arc::new(self),
        }
    }
}

#[async_trait]
impl System for Litecoind {
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
        let Ports { rpc, peer } = self.network.ports;
        let mut argv = vec![node.bin(NAME).display().to_string()];
        let mut set = |name: &str, value: String| argv.push(format!("-{name}={value}"));
        set("regtest", "1".into());
        set("datadir", node.data().display().to_string());
        set("bind", at(node, peer).to_string());
        set("rpcbind", at(node, rpc).to_string());
        // Where regtest's RPC would bind otherwise, besides.
        set("rpcport", rpc.to_string());
        set("rpcallowip", "0.0.0.0/0".into());
        set("rpcallowip", "::/0".into());
        set("rpcuser", LOGIN.into());
        set("rpcpassword", LOGIN.into());
        // One connection a pair: to those that come behind it. They are tried again every few
        // seconds.
        let behind = all
            .iter()
            .skip_while(|other| other.name != node.name)
            .skip(1);
        let behind: Vec<String> = behind.map(|other| at(other, peer).to_string()).collect();
        match behind.is_empty() {
            true => set("connect", "0".into()),
            false => behind.into_iter().for_each(|other| set("connect", other)),
        }
        for (name, value) in [
            ("listen", "1"),
            ("listenonion", "0"),
            ("discover", "0"),
            ("dnsseed", "0"),
            ("upnp", "0"),
            // There is no history to estimate fees from.
            ("fallbackfee", "0.0001"),
            ("keypool", "10"),
            ("dbcache", "16"),
            ("par", "1"),
            ("printtoconsole", "1"),
            ("debuglogfile", "0"),
            ("logtimemicros", "1"),
        ] {
            set(name, value.into());
        }
        Daemon {
            name: NAME.into(),
            argv,
            env: Default::default(),
            cwd: node.data(),
            stop: StopSignal::Term,
            log: node.log(LOG),
        }
    }

    /// With the first node's comes the operator, who waits for all of them.
    async fn install(&self, node: &Node, all: &[Node]) -> Result<(), ControlError> {
        make_folders(node).await?;
        let network = &self.network;
        network.nodes.get_or_init(|| {
            let plan = operator::Plan {
                nodes: all
                    .iter()
                    .map(|node| (node.name.clone(), at(node, network.ports.rpc)))
                    .collect(),
                block_interval: self.setup.params.duration(BLOCK_INTERVAL.name),
                seed: self.setup.seed,
            };
            let mut operator = self.operator.lock().expect("no panic while held");
            operator.spawn(operate(plan, network.addresses.clone()));
            all.to_vec()
        });
        Ok(())
    }

    /// There are coins, and the node has every block from which any that answers gives answers,
    /// deep enough to give the same.
    async fn ready(&self, node: &Node) -> Result<(), String> {
        let all = self.network.nodes.get().ok_or("it is not installed")?;
        let coins = self.network.addresses.get();
        coins.ok_or("there are no wallets with coins yet")?;
        self.network.settled(node, all).await
    }

    /// Most of it is the first wallets' creation.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Connections that a partition broke are tried again after up to as long as it lasted; then
    /// blocks have to become as deep as answers need them.
    fn recovery_time(&self) -> Duration {
        let pace = (ENTRY.pace)(&self.setup.params);
        Duration::from_secs(60) + pace.op_timeout
    }

    fn client_port(&self) -> u16 {
        self.network.ports.rpc
    }

    fn watch(&self) -> Option<Watch> {
        Some(ChainWatch::every())
    }

    async fn look(&self, node: &Node) -> Result<Value, String> {
        self.watch.look(node).await
    }

    async fn final_reads(&self, node: &Node) -> Vec<(Name, Result<Value, String>)> {
        let printed = run(node, refused::command(&node.log(LOG))).await;
        let refused = printed.map(|ran| refused::counted(&node.name, &ran.stdout));
        vec![("refused".into(), refused.map_err(|e| e.to_string()))]
    }

    async fn version(&self, node: &Node) -> Result<String, ControlError> {
        let program = node.bin(NAME).display().to_string();
        let ran = run(node, vec![program, "--version".into()]).await?;
        // "Litecoin Core version v0.21.2.1-gfce5...", then the licence.
        let first = ran.stdout.lines().next().unwrap_or_default();
        Ok(first.trim().to_string())
    }
}

/// `getblockchaininfo`, the part that is used.
#[derive(Deserialize)]
struct Info {
    blocks: i64,
    bestblockhash: String,
}

/// `getblock` with every transaction.
#[derive(Deserialize)]
struct FullBlock {
    hash: String,
    /// Genesis has none.
    previousblockhash: Option<String>,
    height: i64,
    /// In seconds.
    time: i64,
    tx: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    txid: String,
    vout: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(rename = "scriptPubKey")]
    script: Script,
}

#[derive(Deserialize)]
struct Script {
    hex: String,
    #[serde(default)]
    addresses: Vec<String>,
}

impl FullBlock {
    fn paid_to(&self) -> Option<&str> {
        let output = self.tx.first()?.vout.first()?;
        output.script.addresses.first().map(String::as_str)
    }
}

/// A block and some of its ancestors, newest first.
async fn ancestry(rpc: &mut Rpc, tip: &str, most: usize) -> Result<Vec<FullBlock>, RpcError> {
    const WITH_TRANSACTIONS: u8 = 2;
    let first: FullBlock = rpc
        .call("getblock", json!([tip, WITH_TRANSACTIONS]))
        .await?;
    // Those behind it are asked for by height and at once. If it is on a fork they are others; then
    // the list ends with it, and whoever wants more asks again.
    let lowest = (first.height + 1 - most as i64).max(0);
    let heights = (lowest..first.height).rev().map(|height| json!([height]));
    let hashes: Vec<String> = rpc.call_all("getblockhash", heights).await?;
    let of = hashes.iter().map(|hash| json!([hash, WITH_TRANSACTIONS]));
    let behind: Vec<FullBlock> = match first.previousblockhash == hashes.first().cloned() {
        true => rpc.call_all("getblock", of).await?,
        false => Vec::new(),
    };
    let mut blocks = vec![first];
    for block in behind {
        let wanted = blocks
            .last()
            .and_then(|last| last.previousblockhash.as_ref());
        if wanted != Some(&block.hash) {
            break;
        }
        blocks.push(block);
    }
    Ok(blocks)
}

impl Network {
    fn rpc(&self, node: &Node, patience: Patience) -> Rpc {
        connect(at(node, self.ports.rpc), patience)
    }

    /// Whether the node has caught up with every other that answers: a node that lags by a block
    /// gives older answers than the others did, and its reads would look as if something were lost.
    async fn settled(&self, node: &Node, all: &[Node]) -> Result<(), String> {
        // The others first: what they had by then, this node has to have now.
        let theirs = super::ask_all(all, |other| {
            let rpc = self.rpc(other, Patience::QUESTION);
            self.deep(rpc)
        });
        let theirs = theirs.await;
        let mine = self.deep(self.rpc(node, Patience::QUESTION)).await;
        let (height, _) = mine.ok_or("it does not say how long its chain is")?;
        let mut rpc = self.rpc(node, Patience::QUESTION);
        for (other, (at, hash)) in theirs {
            if at > height {
                return Err(format!(
                    "it answers from block {height}, and {other} from block {at}"
                ));
            }
            match rpc.call::<String>("getblockhash", json!([at])).await {
                Ok(mine) if mine == hash => {}
                Ok(_) => return Err(format!("at block {at} it has another chain than {other}")),
                Err(e) => return Err(e.describe()),
            }
        }
        Ok(())
    }

    /// Height and hash of the newest block from which the node gives answers.
    fn deep(&self, mut rpc: Rpc) -> impl Future<Output = Option<(i64, String)>> + Send + use<> {
        let confirmations = self.confirmations as i64;
        async move {
            let info: Info = rpc.call("getblockchaininfo", json!([])).await.ok()?;
            let height = (info.blocks - confirmations + 1).max(0);
            let hash = rpc.call("getblockhash", json!([height])).await.ok()?;
            Some((height, hash))
        }
    }

    fn shown(&self, block: FullBlock) -> Block {
        let paid_to = block.paid_to().unwrap_or_default();
        let names = self.addresses.get();
        let miner = names.and_then(|names| names.get(paid_to));
        let transaction = |tx: &Transaction| Value::List(vec![Value::text(&tx.txid)]);
        Block {
            miner: miner.map_or(paid_to, Name::as_str).to_string(),
            transactions: block.tx.iter().map(transaction).collect(),
            hash: block.hash,
            parent: block.previousblockhash.unwrap_or_else(|| "0".repeat(64)),
            height: block.height,
            time_ms: block.time * 1_000,
            // All blocks of regtest have the same.
            work: 1,
        }
    }
}

#[async_trait]
impl Chain for Network {
    async fn head(&self, node: &Node) -> Result<Head, String> {
        let mut rpc = self.rpc(node, Patience::QUESTION);
        let info: Info = rpc
            .call("getblockchaininfo", json!([]))
            .await
            .map_err(|e| e.describe())?;
        Ok(Head {
            hash: info.bestblockhash,
            height: info.blocks,
            last_final: None,
            heaviest: None,
            best_header: None,
            refused: None,
        })
    }

    async fn blocks(&self, node: &Node, tip: &str, most: usize) -> Result<Vec<Block>, String> {
        let mut rpc = self.rpc(node, Patience::COLLECT);
        let blocks = ancestry(&mut rpc, tip, most).await;
        let blocks = blocks.map_err(|e| e.describe())?;
        Ok(blocks.into_iter().map(|block| self.shown(block)).collect())
    }
}

impl OpenLedger for Network {
    fn open(&self, node: &Node) -> Box<dyn Ledger> {
        let mut wallets = self.wallets.lock().expect("no panic while held");
        Box::new(Client {
            rpc: self.rpc(node, Patience::CLIENT),
            wallet: wallets.entry(node.name.clone()).or_default().clone(),
            confirmations: self.confirmations as i64,
            version: None,
        })
    }
}

#[cfg(test)]
mod tests;
