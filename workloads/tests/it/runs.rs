//! Whole runs, from generator to verdict, of every workload against real systems.

use std::sync::Arc;
use std::time::Duration;

use checkers::compose::check_all;
use checkers::{Budget, Verdict};
use harness::generator::Shape;
use harness::progress::{Progress, Wish};
use harness::run::record;
use harness::scheduler::{Clients, Pace};
use harness::seed::Seed;
use harness::test::Test;
use history::store::Store;
use history::{History, Outcome};
use workloads::Workload;
use workloads::catalogue::{self, Circumstances, WORKLOADS};
use workloads::params::Params;
use workloads::systems::{self, Ready};

use crate::contract::{chain, etcd, litecoind, paxos_kv, setup};
use crate::loopback::{LIMIT, Loopback};

/// The workloads that can be put to a system.
fn workloads_of(system: &str) -> impl Iterator<Item = &'static &'static dyn Workload> {
    let offered = systems::find(system).unwrap().interfaces;
    let fits = |workload: &&&dyn Workload| workload.needs().iter().all(|i| offered.contains(i));
    WORKLOADS.iter().filter(fits)
}

/// Operations of so many workers at such a rate, without faults.
async fn run_as(
    workload: &dyn Workload,
    ready: Ready,
    mut cluster: Loopback,
    time_limit: Duration,
    rate: f64,
    workers: usize,
    confirmations: Option<u64>,
) -> History {
    let params = Params::resolve(&workload.params(), []).unwrap();
    let load = workload.load(&params);
    let circumstances = Circumstances {
        offered: ready.offers.list(),
        nodes: vec!["n1".into(), "n2".into(), "n3".into()],
        faults: false,
        confirmations,
        ..Circumstances::default()
    };
    let checkers = catalogue::judges(workload, &params, circumstances);
    let test = Test {
        seed: Seed(1),
        connect: workload.connect(&params, &ready.offers).unwrap(),
        system: ready.system,
        generator: load.main,
        closing: Some(load.closing),
        schedule: Vec::new(),
        pace: Pace {
            per_second: rate,
            shape: Shape::Varied,
            clients: Clients::Sticky,
        },
        workers,
        time_limit,
        op_timeout: LIMIT,
        recovery_time: None,
        lacking: Box::new(|_| Vec::new()),
    };
    let store = Store::new(cluster.folder().join("store"));
    let run = store.create(workload.name()).unwrap();
    let stop = tokio::sync::watch::channel(Wish::GoOn).1;
    let notes = record(
        test,
        &mut cluster,
        &run,
        tokio::sync::mpsc::unbounded_channel().1,
        Arc::new(Progress::default()),
        stop,
    )
    .await
    .unwrap();
    assert_eq!(notes.failures, Vec::<String>::new());
    assert_eq!(notes.warnings, Vec::<String>::new());
    assert_eq!(notes.versions.len(), 1);
    let history = run.load().unwrap().history;
    for analysis in check_all(&checkers, &history, &Budget::default()) {
        println!("{}: {}", analysis.checker, analysis.summary);
        assert_eq!(analysis.verdict, Verdict::Valid, "{analysis:#?}");
    }
    history
}

fn succeeded(history: &History, f: &str) -> usize {
    let ok = |op: &&history::Op| op.f == f && op.outcome == Outcome::Ok;
    history.ops().iter().filter(ok).count()
}

#[tokio::test]
async fn every_workload_is_valid_on_a_healthy_paxos_kv() {
    for workload in workloads_of("paxos-kv") {
        let (cluster, ports) = Loopback::new(3);
        let ready = paxos_kv(setup("paxos-kv", &[], &[]), ports);
        // One operation of a hundred on a lease that is held gives it back.
        let time_limit = match workload.name() {
            "lease" => Duration::from_secs(20),
            _ => Duration::from_secs(3),
        };
        let history = run_as(*workload, ready, cluster, time_limit, 300.0, 6, None).await;
        for (f, workloads) in [
            ("read", "register cas-register kv set counter"),
            ("write", "register cas-register kv watch"),
            ("cas", "cas-register kv"),
            ("add", "set ledger counter"),
            ("enqueue", "queue"),
            ("dequeue", "queue"),
            ("acquire", "lock"),
            ("release", "lock"),
            ("renew", "lease"),
            ("watch", "watch"),
            ("generate", "unique-ids"),
            ("txn", "append"),
        ] {
            let expected = workloads.split(' ').any(|name| name == workload.name());
            let count = succeeded(&history, f);
            // The ledger is read at the end only, and it is chance how often leases change hands.
            let chance = [
                ("read", "ledger"),
                ("acquire", "lease"),
                ("release", "lease"),
            ];
            if chance.contains(&(f, workload.name())) {
                continue;
            }
            assert_eq!(count > 20, expected, "{}: {count} {f}", workload.name());
        }
        assert_eq!(succeeded(&history, "log"), 3);
        assert_eq!(succeeded(&history, "trace"), 3);
    }
}

async fn is_valid_on_a_healthy_etcd(workload: &str) {
    let workload = catalogue::find(workload).unwrap();
    let (cluster, ports) = Loopback::new(3);
    let ready = etcd(setup("etcd", &[], &[]), ports);
    // Objects are made of several requests each: on a busy machine fewer of them are answered.
    let (seconds, rate) = match workload.name() {
        // Most of what is asked is refused, since somebody else holds it.
        "lock" | "lease" => (20, 150.0),
        _ => (5, 60.0),
    };
    let time_limit = Duration::from_secs(seconds);
    let history = run_as(workload, ready, cluster, time_limit, rate, 6, None).await;
    let ok = history
        .ops()
        .iter()
        .filter(|op| op.outcome == Outcome::Ok)
        .count();
    assert!(ok > 20, "{ok}");
}

/// Forks are common with blocks that come so fast, and twelve deep never, however busy the machine.
const DEEP_CHAIN: &[(&str, &str)] = &[("block-interval", "200ms"), ("confirmations", "12")];

/// An answer takes three seconds; most of the run has to have some.
const CHAIN_SECONDS: Duration = Duration::from_secs(9);

async fn is_valid_on_a_healthy_chain(workload: &str) {
    let workload = catalogue::find(workload).unwrap();
    let (cluster, ports) = Loopback::new(3);
    let ready = chain(setup("chain", DEEP_CHAIN, &[]), ports);
    // A bank's accounts are known when the first read is twelve deep; transfers begin only then.
    let time_limit = match workload.name() {
        "bank" => Duration::from_secs(20),
        _ => CHAIN_SECONDS,
    };
    let history = run_as(workload, ready, cluster, time_limit, 100.0, 60, Some(12)).await;
    let served = history.ops().iter().filter(|op| !op.observes());
    let ok = served.filter(|op| op.outcome == Outcome::Ok).count();
    assert!(ok > 20, "{ok}");
    assert!(succeeded(&history, "head") > 20);
}

/// A test for each workload of a system: together they take long, and one that fails has a name.
macro_rules! each_workload {
    ($system:literal, $tried:ident, $is_valid:ident: $($test:ident: $workload:literal,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $is_valid($workload).await;
            }
        )*

        #[test]
        fn $tried() {
            let names = workloads_of($system).map(|workload| workload.name());
            assert_eq!(names.collect::<Vec<_>>(), [$($workload),*]);
        }
    };
}

each_workload! {
    "chain", every_workload_is_tried_on_a_healthy_chain, is_valid_on_a_healthy_chain:
    registers_are_valid_on_a_healthy_chain: "register",
    cas_registers_are_valid_on_a_healthy_chain: "cas-register",
    a_kv_is_valid_on_a_healthy_chain: "kv",
    a_set_is_valid_on_a_healthy_chain: "set",
    lists_are_valid_on_a_healthy_chain: "append",
    a_ledger_is_valid_on_a_healthy_chain: "ledger",
    a_bank_is_valid_on_a_healthy_chain: "bank",
}

each_workload! {
    "etcd", every_workload_is_tried_on_a_healthy_etcd, is_valid_on_a_healthy_etcd:
    registers_are_valid_on_a_healthy_etcd: "register",
    cas_registers_are_valid_on_a_healthy_etcd: "cas-register",
    a_kv_is_valid_on_a_healthy_etcd: "kv",
    a_set_is_valid_on_a_healthy_etcd: "set",
    lists_are_valid_on_a_healthy_etcd: "append",
    a_ledger_is_valid_on_a_healthy_etcd: "ledger",
    a_queue_is_valid_on_a_healthy_etcd: "queue",
    locks_are_valid_on_a_healthy_etcd: "lock",
    leases_are_valid_on_a_healthy_etcd: "lease",
    a_counter_is_valid_on_a_healthy_etcd: "counter",
    ids_are_unique_on_a_healthy_etcd: "unique-ids",
    transactions_on_lists_are_valid_on_a_healthy_etcd: "txn-list-append",
    transactions_on_registers_are_valid_on_a_healthy_etcd: "txn-rw-register",
    a_feed_is_valid_on_a_healthy_etcd: "watch",
}

#[tokio::test]
async fn every_workload_is_valid_on_a_healthy_litecoind() {
    for workload in workloads_of("litecoind") {
        let (cluster, ports) = Loopback::new(3);
        let ready = litecoind(setup("litecoind", DEEP_CHAIN, &[]), ports);
        // Its answers take longer than those of our own chain.
        let time_limit = 2 * CHAIN_SECONDS;
        let history = run_as(*workload, ready, cluster, time_limit, 10.0, 40, Some(12)).await;
        assert!(succeeded(&history, "add") > 10, "{}", workload.name());
        assert!(succeeded(&history, "head") > 20, "{}", workload.name());
    }
}
