//! Systems that nobody here wrote, each a folder, with what they are known to do wrong and the twin
//! that does not. Those that take long to install are ignored: `make test-systems` runs them.

use std::path::Path;

use crate::support::Place;

/// A run of a system of this project's, by its folder.
fn run(name: &str, more: &str) -> Vec<String> {
    let systems = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/systems");
    let system = systems.join(name).canonicalize().expect("it is there");
    let first = ["run".to_string(), system.display().to_string()];
    first
        .into_iter()
        .chain(more.split(' ').map(str::to_string))
        .collect()
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
