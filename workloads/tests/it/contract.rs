//! What every [`workloads::interface::Kv`] promises, asked of each system that is one.

use std::collections::BTreeSet;

use harness::client::{REFUSED, REJECTED};
use harness::cluster::{Cluster, Node};
use history::Value;
use workloads::interface::{Block, Consistency, Log};
use workloads::params::Params;
use workloads::systems::{self, Ready, Setup, chain, etcd, litecoind, paxos_kv};

use crate::loopback::{Loopback, Ports, wait_for};

const LINEARIZABLE: Consistency = Consistency::Linearizable;

pub fn setup(system: &str, given: &[(&str, &str)], flaws: &[&str]) -> Setup {
    let entry = systems::find(system).unwrap();
    Setup {
        params: Params::resolve(entry.params, given.iter().copied()).unwrap(),
        flaws: flaws.iter().map(|flaw| flaw.to_string()).collect(),
        seed: 1,
        workload: String::new(),
    }
}

pub fn paxos_kv(setup: Setup, ports: Ports) -> Ready {
    let program = paxos_kv::program().unwrap_or_else(|e| panic!("{e}"));
    let (client, peer) = (ports.client, ports.peer);
    paxos_kv::PaxosKv::new(program, setup, paxos_kv::Ports { client, peer }).ready()
}

pub fn etcd(setup: Setup, ports: Ports) -> Ready {
    let found = etcd::programs::Programs::find(&setup.params);
    let programs = found.unwrap_or_else(|e| panic!("{e}"));
    let (client, peer) = (ports.client, ports.peer);
    etcd::Etcd::new(programs, setup.params, etcd::Ports { client, peer }).ready()
}

pub fn chain(setup: Setup, ports: Ports) -> Ready {
    let program = chain::program().unwrap_or_else(|e| panic!("{e}"));
    let (client, peer) = (ports.client, ports.peer);
    chain::ChainNode::new(program, setup, chain::Ports { client, peer }).ready()
}

pub fn litecoind(setup: Setup, ports: Ports) -> Ready {
    let program = litecoind::program().unwrap_or_else(|e| panic!("{e}"));
    let (rpc, peer) = (ports.client, ports.peer);
    litecoind::Litecoind::new(program, setup, litecoind::Ports { rpc, peer }).ready()
}

/// Whether `leader` should name somebody.
#[derive(Clone, Copy, PartialEq)]
enum Leaders {
    One,
    None,
}

async fn keeps_the_contract(ready: Ready, mut cluster: Loopback, leaders: Leaders) -> Loopback {
    let nodes = cluster.start(&*ready.system).await;
    let open = ready.offers.kv.clone().unwrap();
    let mut one = open.open(&nodes[0]);
    let mut two = open.open(&nodes[1]);
    let int = Value::Int;

    // A value that one client wrote is read by another, at another node; so is its absence.
    assert_eq!(two.get("k", LINEARIZABLE).await, Ok(None));
    one.put("k", &int(1)).await.unwrap();
    assert_eq!(two.get("k", LINEARIZABLE).await, Ok(Some(int(1))));
    let odd = Value::List(vec![
        Value::text("ü \"q\""),
        Value::Bool(true),
        int(i64::MIN),
    ]);
    one.put("an odd/key?é", &odd).await.unwrap();
    assert_eq!(two.get("an odd/key?é", LINEARIZABLE).await, Ok(Some(odd)));

    // Compare-and-set compares with what is there, with nothing too.
    assert_eq!(two.cas("k", Some(&int(2)), &int(3)).await, Ok(false));
    assert_eq!(two.cas("k", None, &int(3)).await, Ok(false));
    assert_eq!(one.get("k", LINEARIZABLE).await, Ok(Some(int(1))));
    assert_eq!(two.cas("k", Some(&int(1)), &int(3)).await, Ok(true));
    assert_eq!(one.get("k", LINEARIZABLE).await, Ok(Some(int(3))));
    assert_eq!(one.cas("new", Some(&int(1)), &int(2)).await, Ok(false));
    assert_eq!(one.get("new", LINEARIZABLE).await, Ok(None));
    assert_eq!(one.cas("new", None, &int(2)).await, Ok(true));
    assert_eq!(two.get("new", LINEARIZABLE).await, Ok(Some(int(2))));

    // Appends begin with the empty list and keep their order; what is no list is left alone.
    one.append("list", &int(10)).await.unwrap();
    two.append("list", &int(11)).await.unwrap();
    one.append("list", &int(12)).await.unwrap();
    let list = Value::List(vec![int(10), int(11), int(12)]);
    assert_eq!(two.get("list", LINEARIZABLE).await, Ok(Some(list.clone())));
    let error = one.append("k", &int(4)).await.unwrap_err();
    assert!(error.code.definite, "{error:?}");
    assert_eq!(one.get("k", LINEARIZABLE).await, Ok(Some(int(3))));

    // A scan has all keys with the prefix, and no other.
    for (key, value) in [
        ("set-1-5", 5),
        ("set-1-70", 70),
        ("set-10-9", 9),
        ("set-1", 1),
    ] {
        one.put(key, &int(value)).await.unwrap();
    }
    let mut found = two.scan("set-1-", LINEARIZABLE).await.unwrap();
    found.sort();
    assert_eq!(
        found,
        [("set-1-5".into(), int(5)), ("set-1-70".into(), int(70))]
    );
    assert_eq!(two.scan("nothing", LINEARIZABLE).await, Ok(vec![]));

    // Every node by itself has it all, sooner or later.
    for node in &nodes {
        let local = || async {
            let mut kv = open.open(node);
            kv.get("list", Consistency::Local).await == Ok(Some(list.clone()))
                && kv
                    .scan("set-1-", Consistency::Local)
                    .await
                    .is_ok_and(|all| all.len() == 2)
        };
        wait_for("the node has caught up", local).await;
    }

    // The nodes agree on who leads, and it is one of them; or nobody ever does.
    let leads = || async {
        let leader = ready.system.leader(&nodes).await;
        match leaders {
            Leaders::One => leader.is_some_and(|name| nodes.iter().any(|node| node.name == name)),
            Leaders::None => leader.is_none(),
        }
    };
    wait_for("the nodes agree on a leader", leads).await;
    assert!(!ready.system.version(&nodes[0]).await.unwrap().is_empty());

    // Once it is gone, nothing is sent any more.
    cluster.down().await.unwrap();
    let mut late = open.open(&nodes[0]);
    assert_eq!(late.put("k", &int(9)).await.unwrap_err().code, REFUSED);
    assert!(ready.system.ready(&nodes[0]).await.is_err());
    assert_eq!(ready.system.leader(&nodes).await, None);
    cluster
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    let (cluster, ports) = Loopback::new(3);
    keeps_the_contract(etcd(setup("etcd", &[], &[]), ports), cluster, Leaders::One).await;
}

#[tokio::test]
async fn paxos_kv_keeps_the_contract_with_every_kind_of_read() {
    for reads in ["quorum", "log", "lease"] {
        let (cluster, ports) = Loopback::new(3);
        let setup = setup("paxos-kv", &[("reads", reads)], &[]);
        keeps_the_contract(paxos_kv(setup, ports), cluster, Leaders::One).await;
    }
}

/// Blocks that come fast, two of them deep.
const QUICK_CHAIN: &[(&str, &str)] = &[("block-interval", "100ms"), ("confirmations", "2")];

#[tokio::test]
async fn chain_keeps_the_contract() {
    let (cluster, ports) = Loopback::new(3);
    let ready = chain(setup("chain", QUICK_CHAIN, &[]), ports);
    keeps_the_contract(ready, cluster, Leaders::None).await;
}

/// The nodes' chains, once they are the same up to some block that is not the first.
async fn shown(ready: &Ready, nodes: &[Node]) -> Vec<Block> {
    let chain = ready.offers.chain.clone().unwrap();
    let head = chain.head(&nodes[0]).await.unwrap();
    let blocks = chain.blocks(&nodes[0], &head.hash, 10_000).await.unwrap();
    assert_eq!(
        (&blocks[0].hash, blocks[0].height),
        (&head.hash, head.height)
    );
    for pair in blocks.windows(2) {
        assert_eq!(pair[0].parent, pair[1].hash);
        assert_eq!(pair[0].height, pair[1].height + 1);
    }
    let genesis = blocks.last().unwrap();
    assert_eq!(
        (genesis.height, genesis.parent.as_str()),
        (0, "0".repeat(64).as_str())
    );
    blocks
}

/// The place that an answer named has the transaction that it named.
fn is_in(blocks: &[Block], version: &Value) -> bool {
    let Some([height, position, hash, tx]) = version.as_list() else {
        panic!("{version}");
    };
    let block = blocks
        .iter()
        .find(|block| Some(block.hash.as_str()) == hash.as_text());
    block.is_some_and(|block| {
        let position = position.as_int().unwrap() as usize;
        let there = block.transactions[position].as_list().unwrap();
        Value::Int(block.height) == *height && there[0] == *tx
    })
}

#[tokio::test]
async fn chain_shows_its_blocks_moves_money_and_says_where_it_did() {
    let (mut cluster, ports) = Loopback::new(3);
    let given = [QUICK_CHAIN, &[("accounts", "3"), ("balance", "10")]].concat();
    let ready = chain(setup("chain", &given, &[]), ports);
    let nodes = cluster.start(&*ready.system).await;
    let mut one = ready.offers.bank.clone().unwrap().open(&nodes[0]);
    let mut two = ready.offers.bank.clone().unwrap().open(&nodes[1]);
    assert_eq!(one.transfer("a0", "a1", 7).await, Ok(true));
    let moved = one.version().unwrap();
    assert_eq!(two.transfer("a0", "a1", 4).await, Ok(false));
    let balances = [("a0", 3), ("a1", 17), ("a2", 10)];
    let balances = balances
        .map(|(account, n)| (account.to_string(), n))
        .to_vec();
    assert_eq!(two.balances().await, Ok(balances));
    let blocks = shown(&ready, &nodes).await;
    assert!(is_in(&blocks, &moved), "{moved}");
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert!(
        blocks[0].height > 2 && blocks[0].work > 1 && names.contains(&blocks[0].miner.as_str())
    );
    // Seen as events, too.
    let look = ready.system.look(&nodes[2]).await.unwrap();
    assert!(look.get("height").and_then(Value::as_int).unwrap() > 0);
    let wall = ready.system.wall_clock(&nodes[0]).await.unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!((wall - now.as_nanos() as i64).abs() < 60_000_000_000);
    cluster.down().await.unwrap();
}

#[tokio::test]
async fn litecoind_mines_adds_entries_and_says_where_they_are() {
    let (mut cluster, ports) = Loopback::new(3);
    let given = [("block-interval", "200ms"), ("confirmations", "2")];
    let ready = litecoind(setup("litecoind", &given, &[]), ports);
    let nodes = cluster.start(&*ready.system).await;
    let ledger = ready.offers.ledger.clone().unwrap();
    let mut placed = Vec::new();
    for (n, node) in (0..).zip(&nodes) {
        let mut ledger = ledger.open(node);
        ledger.add(&Value::Int(n)).await.unwrap();
        placed.push(ledger.version().unwrap());
    }
    // Deep enough at one node is soon deep enough at every other.
    for node in &nodes {
        let all = || async {
            let mut entries = ledger.open(node).entries().await.unwrap();
            entries.sort();
            entries == [0, 1, 2].map(Value::Int)
        };
        wait_for("the node has every entry", all).await;
    }
    let blocks = shown(&ready, &nodes).await;
    for place in &placed {
        assert!(is_in(&blocks, place), "{place}");
    }
    let miners: BTreeSet<&str> = blocks.iter().map(|block| block.miner.as_str()).collect();
    assert!(miners.contains("n1") && miners.contains("n2") && miners.contains("n3"));
    let error = ledger
        .open(&nodes[0])
        .add(&Value::text("x".repeat(80)))
        .await;
    assert_eq!(error.unwrap_err().code, REJECTED);
    let version = ready.system.version(&nodes[0]).await.unwrap();
    assert!(version.starts_with("Litecoin Core version"), "{version}");
    cluster.down().await.unwrap();
    let mut late = ledger.open(&nodes[0]);
    assert_eq!(late.add(&Value::Int(9)).await.unwrap_err().code, REFUSED);
}

#[tokio::test]
async fn paxos_kv_shows_its_log_and_its_trace() {
    let (mut cluster, ports) = Loopback::new(3);
    let program = paxos_kv::program().unwrap_or_else(|e| panic!("{e}"));
    let (client, peer) = (ports.client, ports.peer);
    let ports = paxos_kv::Ports { client, peer };
    let system = paxos_kv::PaxosKv::new(program, setup("paxos-kv", &[], &[]), ports);
    let ready = system.clone().ready();
    let nodes = cluster.start(&*ready.system).await;
    let mut kv = ready.offers.kv.clone().unwrap().open(&nodes[0]);
    // One after the other, so that none shares a slot; and more than the node gives at once.
    for n in 0..1_200 {
        kv.put("k", &Value::Int(n)).await.unwrap();
    }
    let whole = || async {
        let mut upto = Vec::new();
        for node in &nodes {
            upto.push(system.decided(node).await.unwrap().decided_upto);
        }
        upto.iter().all(|slot| *slot == upto[0] && *slot >= 1_200)
    };
    wait_for("every node has the whole log", whole).await;
    let first = system.decided(&nodes[0]).await.unwrap();
    for node in &nodes {
        let log = system.decided(node).await.unwrap();
        let slots: Vec<i64> = log.entries.iter().map(|entry| entry.slot).collect();
        let all: Vec<i64> = (slots[0]..=log.decided_upto).collect();
        assert_eq!(slots, all);
        assert!(slots.len() >= 1_200);
        for (mine, theirs) in log.entries.iter().zip(&first.entries) {
            assert_eq!((&mine.digest, &mine.chain), (&theirs.digest, &theirs.chain));
        }
        let reads = ready.system.final_reads(node).await;
        let names: Vec<&str> = reads.iter().map(|(f, _)| f.as_str()).collect();
        assert_eq!(names, ["log", "trace"]);
        assert_eq!(reads[0].1, Ok(log.to_value()));
        let trace = reads[1].1.clone().unwrap();
        let events = trace.get("events").and_then(Value::as_list).unwrap();
        let decided = events
            .iter()
            .filter(|event| event.get("event").and_then(Value::as_text) == Some("decide"));
        assert!(decided.count() >= 1_200);
        // Its clock is the machine's: within a minute, so that only nonsense fails.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let wall = ready.system.wall_clock(node).await.unwrap();
        assert!((wall - now.as_nanos() as i64).abs() < 60_000_000_000);
    }
    cluster.down().await.unwrap();
}
