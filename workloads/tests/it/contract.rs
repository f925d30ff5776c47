//! What every [`workloads::interface::Kv`] promises, asked of each system that is one.

use harness::client::REFUSED;
use harness::cluster::Cluster;
use history::Value;
use workloads::interface::{Consistency, Log};
use workloads::params::Params;
use workloads::systems::{self, Ready, Setup, etcd, paxos_kv};

use crate::loopback::{Loopback, Ports, wait_for};

const LINEARIZABLE: Consistency = Consistency::Linearizable;

pub fn setup(system: &str, given: &[(&str, &str)], flaws: &[&str]) -> Setup {
    let entry = systems::find(system).unwrap();
    Setup {
        params: Params::resolve(entry.params, given.iter().copied()).unwrap(),
        flaws: flaws.iter().map(|flaw| flaw.to_string()).collect(),
    }
}

pub fn paxos_kv(setup: Setup, ports: Ports) -> Ready {
    let program = paxos_kv::program().unwrap_or_else(|e| panic!("{e}"));
    let (client, peer) = (ports.client, ports.peer);
    paxos_kv::PaxosKv::new(program, setup, paxos_kv::Ports { client, peer }).ready()
}

pub fn etcd(setup: Setup, ports: Ports) -> Ready {
    let program = etcd::program().unwrap_or_else(|e| panic!("{e}"));
    let (client, peer) = (ports.client, ports.peer);
    etcd::Etcd::new(program, setup.params, etcd::Ports { client, peer }).ready()
}

async fn keeps_the_contract(ready: Ready, mut cluster: Loopback) -> Loopback {
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

    // The nodes agree on who leads, and it is one of them.
    let leads = || async {
        let leader = ready.system.leader(&nodes).await;
        leader.is_some_and(|leader| nodes.iter().any(|node| node.name == leader))
    };
    wait_for("the nodes agree on a leader", leads).await;
    assert!(!ready.system.version(&nodes[0]).await.unwrap().is_empty());

    // Once it is gone, nothing is sent any more.
    cluster.down().await.unwrap();
    let mut late = open.open(&nodes[0]);
    assert_eq!(late.put("k", &int(9)).await.unwrap_err().code, REFUSED);
    assert!(!ready.system.ready(&nodes[0]).await);
    assert_eq!(ready.system.leader(&nodes).await, None);
    cluster
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    let (cluster, ports) = Loopback::new(3);
    keeps_the_contract(etcd(setup("etcd", &[], &[]), ports), cluster).await;
}

#[tokio::test]
async fn paxos_kv_keeps_the_contract_with_every_kind_of_read() {
    for reads in ["quorum", "log", "lease"] {
        let (cluster, ports) = Loopback::new(3);
        let setup = setup("paxos-kv", &[("reads", reads)], &[]);
        keeps_the_contract(paxos_kv(setup, ports), cluster).await;
    }
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
