//! Whoever runs the network: makes wallets, puts coins into them, and mines.
//!
//! Regtest asks for no work: a block is made whenever somebody asks for one. So the hash rate is
//! here, outside the nodes: each has a miner, which asks it for a block after times that are drawn
//! as those of real mining are (a Poisson process of the same rate for every node), for as long as
//! the system is set up. Miners ask over the path on which the controller reaches the nodes, which
//! no partition cuts, so both sides of one go on mining.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use harness::seed::Seed;
use history::Name;
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::rpc::{Rpc, RpcError};
use super::{LOGIN, connect};
use crate::http::Patience;

/// Coins of a node, one for each block that is mined for it at first. Every transaction spends one
/// and makes change of it, and a chain of unconfirmed change is 25 long at most.
const COINS: u32 = 10;

/// Blocks on top of a coin before it can be spent (Bitcoin's COINBASE_MATURITY).
const MATURITY: u32 = 100;

/// A node that is paused answers when it goes on, and then makes the block that it was asked for.
/// Were it given up on sooner, the questions would add up.
const MINER: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(10),
};

/// What the network is like.
pub(super) struct Plan {
    pub nodes: Vec<(Name, SocketAddr)>,
    /// Between two blocks of the whole network, on average.
    pub block_interval: Duration,
    pub seed: u64,
}

/// Where each node's blocks are paid to.
pub(super) type Addresses = Arc<OnceLock<BTreeMap<String, Name>>>;

/// Sets the network up, says where blocks are paid to, and mines until it is dropped.
pub(super) async fn operate(plan: Plan, addresses: Addresses) {
    let paid_to = loop {
        match prepare(&plan).await {
            Ok(paid_to) => break paid_to,
            // Nodes are still starting. Whoever waits for them to be ready gives up on them.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let by_address = paid_to
        .iter()
        .map(|(name, _, to)| (to.clone(), name.clone()));
    addresses.get_or_init(|| by_address.collect());
    let mut miners = JoinSet::new();
    let between = plan.block_interval * plan.nodes.len() as u32;
    for (name, at, to) in paid_to {
        miners.spawn(mine(name, at, to, between, Seed(plan.seed)));
    }
    while miners.join_next().await.is_some() {}
}

/// Wallets with coins that can be spent. Whatever was done in a try before is not done again.
async fn prepare(plan: &Plan) -> Result<Vec<(Name, SocketAddr, String)>, RpcError> {
    #[derive(Deserialize)]
    struct Info {
        blocks: u32,
    }
    let mut paid_to = Vec::new();
    for (name, at) in &plan.nodes {
        let mut rpc = connect(*at, Patience::COLLECT);
        let to = new_address(&mut rpc).await?;
        paid_to.push((name.clone(), *at, to));
    }
    // All at one node: the others learn of it as of everything else.
    let mut rpc = connect(plan.nodes[0].1, Patience::COLLECT);
    let info: Info = rpc.call("getblockchaininfo", json!([])).await?;
    let mut height = info.blocks;
    let mut due = 0;
    let coins = paid_to.iter().map(|(_, _, to)| (COINS, to));
    for (blocks, to) in coins.chain([(MATURITY, &paid_to[0].2)]) {
        due += blocks;
        if height < due {
            let missing = due - height;
            let _: Vec<String> = rpc.call("generatetoaddress", json!([missing, to])).await?;
            height = due;
        }
    }
    Ok(paid_to)
}

/// A new address in the node's wallet, which is made if there is none.
async fn new_address(rpc: &mut Rpc) -> Result<String, RpcError> {
    let wallets: Vec<String> = rpc.call("listwallets", json!([])).await?;
    if wallets.is_empty() {
        // The last says that it is to be loaded whenever the daemon starts.
        let arguments = json!([LOGIN, false, false, "", false, false, true]);
        let _: Json = rpc.call("createwallet", arguments).await?;
    }
    rpc.call("getnewaddress", json!([])).await
}

async fn mine(name: Name, at: SocketAddr, to: String, between: Duration, seed: Seed) {
    let mut rng = seed.stream(&format!("mining at {name}"));
    let mut rpc = connect(at, MINER);
    loop {
        let drawn: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
        tokio::time::sleep(between.mul_f64(-drawn.ln())).await;
        // A node that is down or cut off mines nothing.
        let _: Result<Vec<String>, RpcError> = rpc.call("generatetoaddress", json!([1, to])).await;
    }
}
