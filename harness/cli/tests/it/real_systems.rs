//! Systems that nobody here wrote, each a folder, with what they are known to do wrong and the twin
//! that does not. Those that take long to install are ignored: `make test-systems` runs them.

use std::path::Path;

use crate::support::{Place, example, systems};

/// A run of a system, by its folder if it has one.
fn run(name: &str, more: &str) -> Vec<String> {
    let folder = systems().join(name).canonicalize();
    let system = folder.map_or_else(|_| name.to_string(), |folder| folder.display().to_string());
    let first = ["run".to_string(), system];
    let more = more.split_whitespace().map(str::to_string);
    first.into_iter().chain(more).collect()
}

/// The faults of a schedule that lies in a system's folder.
fn schedule(of: &str, name: &str) -> String {
    format!("--schedule {}", example(of).join(name).display())
}

/// Whether one of the checkers of the last run found this kind of anomaly.
fn found(place: &Place, kind: &str) -> bool {
    let results = place.results();
    let analyses = results["analyses"].as_array().expect("a list").iter();
    let mut anomalies = analyses.filter_map(|a| a["anomalies"].as_array()).flatten();
    anomalies.any(|anomaly| anomaly["kind"] == kind)
}

#[track_caller]
fn ends(place: &Place, run: &[String], code: i32) {
    let args: Vec<&str> = run.iter().map(String::as_str).collect();
    place.schism(&args).exits(code);
}

#[test]
fn redis_loses_what_a_master_acknowledged_that_was_cut_off() {
    let place = Place::new();
    let calm = "--nodes 3 --nemesis none --time-limit 5s --seed 1";
    ends(&place, &run("redis-sentinel", calm), 0);
    // Sentinels may vote for themselves, or find no replica that they know well enough, and try
    // again some seconds later.
    let loses = (1..=3).any(|seed| {
        let cut = "--nodes 3 --nemesis partition:leader --time-limit 25s --fault-gap 3s";
        let run = run(
            "redis-sentinel",
            &format!("{cut} --fault-length 8s --seed {seed}"),
        );
        let args: Vec<&str> = run.iter().map(String::as_str).collect();
        place.schism(&args);
        found(&place, "lost element")
    });
    assert!(loses);
}

#[test]
fn a_node_written_for_maelstrom_is_on_trial_on_a_real_network() {
    let place = Place::new();
    let calm = "--nodes 3 --nemesis partition,pause --time-limit 8s --seed 1";
    ends(&place, &run("maelstrom-lin-kv", calm), 0);
    let stale = "--nodes 3 --nemesis partition --time-limit 15s --fault-gap 500ms \
                 --fault-length 2s --seed 1 --param reads=local";
    ends(&place, &run("maelstrom-lin-kv", stale), 1);
    assert!(found(&place, "stale read"));
}

#[test]
fn logs_written_for_maelstrom_lose_what_is_in_memory_and_not_what_is_in_a_file() {
    let place = Place::new();
    let kills =
        "--nodes 3 --nemesis kill --time-limit 10s --fault-gap 1s --fault-length 1s --seed 3";
    ends(&place, &run("maelstrom-kafka", kills), 0);
    ends(
        &place,
        &run("maelstrom-kafka", &format!("{kills} --param keep=memory")),
        1,
    );
    assert!(found(&place, "lost element") || found(&place, "different elements at a position"));
    let calm = "--nodes 3 --nemesis none --time-limit 5s --seed 1 --param offsets=anybody";
    ends(&place, &run("maelstrom-kafka", calm), 1);
    assert!(found(&place, "different elements at a position"));
}

#[test]
#[ignore = "needs mariadb-server and python3-pymysql"]
fn mariadb_loses_updates_unless_it_is_told_to_look_at_its_snapshot() {
    let place = Place::new();
    let plain = "--nodes 1 --nemesis none --time-limit 10s --seed 1 -w txn-rw-register \
                 --param isolation=snapshot-isolation";
    ends(&place, &run("mariadb", plain), 1);
    // Of two that overwrite each other's rows: one lost, or read between the two.
    let kinds = ["lost update", "G-single", "G-nonadjacent"];
    assert!(kinds.iter().any(|kind| found(&place, kind)));
    let strict = format!("{plain} --param snapshot-isolation=on");
    ends(&place, &run("mariadb", &strict), 0);
}

#[test]
#[ignore = "needs mariadb-server and python3-pymysql"]
fn galera_reads_what_is_old_unless_it_waits_for_what_there_was() {
    let place = Place::new();
    let galera = "--nodes 3 --nemesis none -w register --param galera=on";
    // On a calm machine a node is behind for so short a time that few readers would see it.
    let register = format!("{galera} --time-limit 10s --rate 600 --concurrency 30 --param keys=2");
    assert!(some_seed(&place, "mariadb", &register, &["stale read"]));
    // Slower, for each read waits.
    let waits = format!("{galera} --param sync-wait=on --rate 40 --time-limit 15s --seed 1");
    ends(&place, &run("mariadb", &waits), 0);
}

/// Whether a run over one of a few seeds has an anomaly of one of these kinds.
fn some_seed(place: &Place, name: &str, more: &str, kinds: &[&str]) -> bool {
    (1..=5).any(|seed| {
        let run = run(name, &format!("{more} --seed {seed}"));
        let args: Vec<&str> = run.iter().map(String::as_str).collect();
        place.schism(&args);
        kinds.iter().any(|kind| found(place, kind))
    })
}

#[test]
#[ignore = "needs postgresql-15 and python3-psycopg2"]
fn postgresql_shows_two_orders_of_commits_on_two_nodes() {
    let place = Place::new();
    let anywhere = "--nodes 3 --nemesis none --time-limit 20s --rate 2000 --concurrency 40 \
                    -w txn-list-append --param isolation=snapshot-isolation \
                    --param writes=alone --param ops-per-txn=8 --param keys=8";
    let kinds = ["long fork", "G-nonadjacent"];
    assert!(some_seed(&place, "postgresql", anywhere, &kinds));
    let primary = format!("{anywhere} --param reads=primary --seed 1");
    ends(&place, &run("postgresql", &primary), 0);
}

#[test]
#[ignore = "needs zookeeper, a Java and python3-kazoo"]
fn zookeeper_reads_what_is_old_unless_it_is_asked_to_sync() {
    let place = Place::new();
    let local = "--nodes 3 --nemesis pause,partition --time-limit 20s --param reads=local";
    assert!(some_seed(&place, "zookeeper", local, &["stale read"]));
    let sync = "--nodes 3 --nemesis kill,pause,partition --time-limit 20s --seed 2";
    ends(&place, &run("zookeeper", sync), 0);
}

#[test]
#[ignore = "needs ceph-mon and python3-rados"]
fn a_monitor_of_ceph_whose_clocks_stood_still_answers_from_what_it_holds() {
    let place = Place::new();
    let load = "--nodes 3 --rate 15 --concurrency 12 --param keys=2 --param reads-per-write=20";
    // On a busy machine it takes seconds for so many clients to connect.
    let calm = format!("{load} --nemesis none --time-limit 25s --seed 1");
    ends(&place, &run("ceph-mon", &calm), 0);
    let under = |faults: &str| {
        let faults = schedule("ceph-mon", faults);
        format!("{load} --time-limit 40s {faults}")
    };
    let stale = ["stale read"];
    let frozen = under("frozen-peon.schedule");
    assert!(some_seed(&place, "ceph-mon", &frozen, &stale));
    // Its clocks went on, and it knew at once that it was out of the quorum.
    let paused = format!("{} --seed 1", under("paused-peon.schedule"));
    ends(&place, &run("ceph-mon", &paused), 0);
    // One that led renews its lease first, and finds out later.
    let leader = under("paused-leader.schedule");
    let leader = format!("{leader} --param first-writes=at-second");
    assert!(some_seed(&place, "ceph-mon", &leader, &stale));
}

#[test]
#[ignore = "needs nats-server"]
fn nats_reads_what_is_old_and_lets_two_compare_and_set_the_same() {
    let place = Place::new();
    let stale = "--nodes 3 --nemesis partition --time-limit 15s";
    assert!(some_seed(&place, "nats", stale, &["stale read"]));
    let cas = "--nodes 3 --nemesis none -w cas-register --time-limit 8s --param reads=confirmed";
    let kinds = ["lost update", "stale read"];
    assert!(some_seed(&place, "nats", cas, &kinds));
}

#[test]
#[ignore = "needs the nats-server that .ci/get-systems gets"]
fn a_leader_of_nats_that_was_cut_off_refuses_what_the_next_one_takes() {
    let place = Place::new();
    let how = "--param version=2.12.1 --param sync=always --param reads=confirmed -w cas-register \
               --fault-length 3s..10s --fault-gap 2s..6s --rate 60 --concurrency 12 --time-limit 60s";
    let both = format!("{how} --nemesis pause:leader+partition:leader");
    assert!(some_seed(&place, "nats", &both, &["aborted read"]));
    // One that was only stopped hears of the next one as soon as it wakes.
    let stopped = format!("{how} --nemesis pause:leader --seed 1");
    ends(&place, &run("nats", &stopped), 0);
}

#[test]
#[ignore = "needs nats-server, and the later one that .ci/get-systems gets"]
fn servers_of_nats_go_over_to_a_later_version_while_they_serve() {
    let place = Place::new();
    let rolling = schedule("nats", "rolling.schedule");
    let how = "--nodes 3 --param next-version=2.12.1 --rate 30 --time-limit 30s --seed 1";
    let run = run("nats", &format!("{how} {rolling}"));
    let args: Vec<&str> = run.iter().map(String::as_str).collect();
    // Reads of a bucket may be old, with an upgrade or without.
    place.schism(&args).prints(&["3 of 3 faults held"]);
    assert!(!found(&place, "crashed") && !found(&place, "never served again"));
}

#[test]
#[ignore = "needs patroni, python3-etcd, postgresql-15, etcd-server, python3-psycopg2, and .ci/get-systems"]
fn a_primary_under_patroni_that_wakes_when_nobody_leads_leads_with_what_it_had() {
    let place = Place::new();
    let calm = "--nodes 5 --nemesis none --time-limit 25s --rate 30 --seed 1";
    ends(&place, &run("patroni", calm), 0);
    let faults = schedule("patroni", "stale-primary.schedule");
    let stale = format!("--nodes 5 {faults} --time-limit 60s --param synchronous=on");
    assert!(some_seed(&place, "patroni", &stale, &["lost element"]));
    let later = format!("{stale} -w set --param version=4.1.5 --seed 1");
    ends(&place, &run("patroni", &later), 0);
}

#[test]
#[ignore = "needs patroni, python3-etcd, postgresql-15, etcd-server, python3-psycopg2, and .ci/get-systems"]
fn patroni_ends_if_etcd_has_no_majority_when_it_starts() {
    let place = Place::new();
    let faults = schedule("patroni", "no-quorum.schedule");
    let how = format!("--nodes 5 --param version=4.1.5 --rate 30 --time-limit 50s {faults}");
    assert!(some_seed(&place, "patroni", &how, &["crashed"]));
    let report = place.schism(&["check"]);
    assert!(report.stdout.contains("patroni of n5"), "{report:#?}");
    // Where etcd answers nothing at all it waits, as it means to.
    let two = example("patroni").join("no-quorum.schedule");
    let two = std::fs::read_to_string(two).expect("it is there");
    let three = two.replace("[\"n1\", \"n2\"]", "[\"n1\", \"n2\", \"n3\"]");
    assert_ne!(three, two);
    place.file("three.schedule", three);
    let how = "--nodes 5 --param version=4.1.5 --rate 30 --time-limit 50s --seed 1";
    ends(
        &place,
        &run("patroni", &format!("{how} --schedule three.schedule")),
        0,
    );
}

#[test]
#[ignore = "needs the dqlite-demo that .ci/get-systems builds"]
fn a_leader_of_dqlite_that_wakes_answers_from_what_it_held() {
    let place = Place::new();
    let cut = "--nodes 3 --nemesis partition:leader+pause:leader --fault-length 6s..10s \
               --fault-gap 4s --rate 60 --time-limit 60s";
    assert!(some_seed(&place, "dqlite", cut, &["stale read"]));
    let kills = "--nodes 3 --nemesis kill --rate 60 --time-limit 25s --seed 1";
    ends(&place, &run("dqlite", kills), 0);
}

#[test]
#[ignore = "needs tarantool"]
fn tarantool_shows_what_it_then_rolls_back() {
    let place = Place::new();
    let cut =
        "--nodes 3 --nemesis partition:leader --fault-length 3s..6s --time-limit 25s --seed 1";
    ends(&place, &run("tarantool", cut), 1);
    assert!(found(&place, "aborted read"));
    let alone = format!("{cut} --param synchronous=off");
    ends(&place, &run("tarantool", &alone), 0);
}

#[test]
#[ignore = "needs nodejs, and the antietcd that .ci/get-systems gets"]
fn a_node_of_antietcd_ends_when_it_is_told_to_unlock_what_it_did_not_lock() {
    let place = Place::new();
    let calm = "--nodes 3 --nemesis none --time-limit 10s --seed 1";
    ends(&place, &run("antietcd", calm), 0);
    let faults = "--nodes 3 --nemesis partition,pause,kill --time-limit 30s";
    assert!(some_seed(&place, "antietcd", faults, &["crashed"]));
    // The line is far above the end of the log, where the calls are told that led to it.
    let report = place.schism(&["check"]);
    assert!(report.stdout.contains("not locked"), "{report:#?}");
}

#[test]
#[ignore = "needs nodejs, and the antietcd that .ci/get-systems gets"]
fn a_leader_of_antietcd_that_is_cut_off_answers_beside_the_next_one() {
    let place = Place::new();
    let two = schedule("antietcd", "early-vote.schedule");
    let how = "--nodes 3 -w register --param keys=2 --param reads-per-write=30 --rate 150 \
               --concurrency 18 --time-limit 60s --param restart=always --may-crash";
    let stale = &["stale read"];
    assert!(some_seed(
        &place,
        "antietcd",
        &format!("{how} {two}"),
        stale
    ));
    // Without a node that has just started nobody stands for election while the lease lasts.
    let cut = "--nemesis partition:leader --fault-length 4s --fault-gap 5s --seed 1";
    ends(&place, &run("antietcd", &format!("{how} {cut}")), 0);
}

#[test]
#[ignore = "needs monero"]
fn a_miner_of_monero_that_was_early_is_banned_for_longer_than_it_was() {
    let place = Place::new();
    let load = "--nodes 3 --rate 4 --op-timeout 12s --time-limit 60s";
    ends(
        &place,
        &run("monerod", &format!("{load} --nemesis none --seed 1")),
        0,
    );
    let early = format!("{load} {}", schedule("monerod", "early-miner.schedule"));
    assert!(some_seed(&place, "monerod", &early, &["lost element"]));
}

#[test]
#[ignore = "needs monero"]
fn a_miner_of_monero_that_is_ahead_of_all_when_it_starts_mines_no_more() {
    let place = Place::new();
    let ahead = schedule("monerod", "ahead.schedule");
    let load = "--nodes 3 --rate 4 --op-timeout 12s --time-limit 40s";
    let kinds = ["never served again"];
    assert!(some_seed(
        &place,
        "monerod",
        &format!("{load} {ahead}"),
        &kinds
    ));
}

#[test]
#[ignore = "needs litecoind, and a minute"]
fn nodes_of_litecoin_that_are_all_killed_forget_what_they_had_confirmed() {
    let place = Place::new();
    let kills = "-w ledger --nodes 3 --param block-interval=1s --param confirmations=3 --nemesis kill:all \
                 --fault-gap 12s --fault-length 2s --time-limit 40s --recovery-time 10s";
    let kinds = ["conflicting confirmed blocks"];
    assert!(some_seed(&place, "litecoind", kills, &kinds));
}

#[test]
#[ignore = "needs the chain that .ci/get-systems makes"]
fn validators_of_cometbft_that_are_all_killed_lose_nothing() {
    let place = Place::new();
    let kills = "--nodes 4 --rate 10 --concurrency 16 --op-timeout 15s --time-limit 45s --seed 1 \
                 --nemesis kill:all --fault-gap 15s --fault-length 2s";
    ends(&place, &run("cometbft", kills), 0);
}

#[test]
#[ignore = "needs the chain that .ci/get-systems makes"]
fn validators_of_cometbft_wait_until_it_is_as_late_as_their_clocks_once_said() {
    let place = Place::new();
    let ahead = schedule("cometbft", "clocks-ahead.schedule");
    let how =
        format!("--nodes 4 --rate 10 --concurrency 16 --op-timeout 15s --time-limit 45s {ahead}");
    assert!(some_seed(
        &place,
        "cometbft",
        &format!("{how} --param pbts=on"),
        &["never served again"]
    ));
    ends(&place, &run("cometbft", &format!("{how} --seed 1")), 0);
}

#[test]
#[ignore = "needs rabbitmq-server and python3-pika"]
fn a_quorum_queue_of_rabbitmq_is_one_queue_through_cuts_and_kills() {
    let place = Place::new();
    for faults in [
        "partition --fault-length 6s..12s",
        "kill --fault-length 3s..6s",
    ] {
        let run_of = format!(
            "--nodes 3 --nemesis {faults} --fault-gap 8s --time-limit 40s --rate 40 --seed 1"
        );
        ends(&place, &run("rabbitmq", &run_of), 0);
    }
}

#[test]
#[ignore = "needs etcd-server, and the etcd that .ci/get-systems gets"]
fn members_of_an_old_etcd_that_are_killed_hold_different_things_at_one_index() {
    let place = Place::new();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/systems/etcd-3.5.1");
    assert!(
        old.exists(),
        "{} is not there: .ci/get-systems gets it",
        old.display()
    );
    let kills = "--nodes 3 -w txn-rw-register --nemesis kill --fault-gap 1s..2s \
                 --fault-length 300ms..800ms --time-limit 45s --rate 100 --param condition=range \
                 --param ops-per-key=2 --param keys=100 --param ops-per-txn=2";
    let run = |seed: u64| run("etcd", &format!("{kills} --seed {seed}"));
    let diverges = (1..=3).any(|seed| {
        let run = run(seed);
        let args: Vec<&str> = run.iter().map(String::as_str).collect();
        let mut command = place.command(&args);
        command
            .env("SCHISM_ETCD", &old)
            .output()
            .expect("it starts");
        found(&place, "replicas diverge")
    });
    assert!(diverges);
    ends(&place, &run(1), 0);
}

#[test]
#[ignore = "needs etcd-server, and minutes"]
fn a_leader_of_etcd_that_wakes_takes_leases_from_those_who_kept_them_alive() {
    let place = Place::new();
    let paused = "--nodes 3 --nemesis pause:leader --fault-length 14s --fault-gap 4s \
                  --time-limit 60s --rate 100 --concurrency 6";
    let lease = format!("{paused} -w lease --param ttl=10s --param keys=20");
    assert!(some_seed(&place, "etcd", &lease, &["overlapping leases"]));
    let register = format!("{paused} -w register --seed 1");
    ends(&place, &run("etcd", &register), 0);
}
