//! `compare` and `sweep`: what they refuse before anything starts, and that they go on where they
//! were.

use serde_json::Value;

use crate::support::{Place, example};

const USAGE: i32 = 64;

#[test]
fn sweeps_that_make_no_sense_are_refused_before_anything_starts() {
    let place = Place::new();
    let timeout = "election-timeout=50ms..5s";
    let cases: &[(&[&str], &[&str])] = &[
        (&["--param", "election-timeout=5s..50ms"], &["reversed"]),
        (&["--param", "election-timeout=1s..1s"], &["empty"]),
        (&["--param", "election-timeout=1s"], &["50ms..5s"]),
        (
            &["--param", "election-timeout=1..5"],
            &["election-timeout", "a duration"],
        ),
        (
            &["--param", "election-timout=50ms..5s"],
            &["election-timout", "did you mean \"election-timeout\"?"],
        ),
        (
            &["--param", "reads=log..local"],
            &["no numbers to sweep", "quorum"],
        ),
        (
            &["--param", "max-batch=1..100000"],
            &["at max-batch=100000", "65535"],
        ),
        // Values that the system refuses, and what is tied to them.
        (
            &["--param", timeout],
            &[
                "at election-timeout=50ms",
                "heartbeat-interval 100ms",
                "half",
            ],
        ),
        (
            &["--param", timeout, "--tie", "heartbeat-interval=0.6x"],
            &[
                "at election-timeout=50ms",
                "heartbeat-interval 30ms",
                "half",
            ],
        ),
        (
            &["--param", timeout, "--tie", "heartbeat=0.2x"],
            &["heartbeat-interval"],
        ),
        (
            &["--param", timeout, "--tie", "lease=half"],
            &["--tie lease=half", "0.2x"],
        ),
        (
            &["--param", "lease=100ms..400ms", "--steps", "1"],
            &["--steps 1"],
        ),
        (
            &["--param", "lease=100ms..400ms", "--seeds", "0"],
            &["--seeds 0"],
        ),
        (
            &["--param", "lease=100ms..400ms", "--nemesis", "pauze"],
            &["pauze", "pause"],
        ),
        (
            &["--param", "lease=100ms..400ms", "--fault-length", "4s..1s"],
            &["4s..1s", "nothing in it"],
        ),
        (
            &["--param", "lease=100ms..400ms", "--fault-gap", "1h"],
            &["no fault fits"],
        ),
    ];
    for (args, words) in cases {
        let args = [&["sweep", "paxos-kv"], *args].concat();
        place.schism(&args).exits(USAGE).says(words);
    }
    place
        .schism(&["sweep", "paxoskv", "--param", timeout])
        .exits(USAGE)
        .says(&["paxos-kv"]);
    assert!(!place.store().exists(), "nothing was begun");
}

#[test]
fn comparisons_that_make_no_sense_are_refused_before_anything_starts() {
    let place = Place::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["paxos-kv", "paxoskv"], &["paxoskv", "paxos-kv"]),
        (&["paxos-kv", "paxos-kv"], &["with itself", "--param-b"]),
        (
            &["paxos-kv", "paxos-kv", "--param-b", "lease=9s"],
            &["lease 9s", "election-timeout 500ms"],
        ),
        (
            &["paxos-kv", "paxos-kv", "--param", "etcd.reads=log"],
            &["etcd", "only paxos-kv"],
        ),
        (
            &["paxos-kv", "paxos-kv", "--param-b", "reeds=log"],
            &["reeds", "did you mean \"reads\"?"],
        ),
        (
            &[
                "paxos-kv",
                "paxos-kv",
                "--param-b",
                "reads=log",
                "--nemesis",
                "none,none",
            ],
            &["none is there twice"],
        ),
        (
            &[
                "paxos-kv",
                "paxos-kv",
                "--param-b",
                "reads=log",
                "--seeds",
                "5000",
            ],
            &["--seeds 5000", "1000"],
        ),
    ];
    for (args, words) in cases {
        let args = [&["compare"], *args].concat();
        place.schism(&args).exits(USAGE).says(words);
    }
    // A folder is called by its name, and not by its path.
    let folder = example("simple-kv").display().to_string();
    let args = ["compare", &folder, "paxos-kv", "--param", "etcd.reads=log"];
    let refused = place.schism(&args).exits(USAGE);
    refused.says(&["only simple-kv and paxos-kv"]);
    assert!(!place.store().exists(), "nothing was begun");
}

/// One run of each kind, then the same command again, which finds them all in the store.
#[test]
fn a_comparison_goes_on_where_it_was() {
    let place = Place::new();
    let command = [
        "compare",
        "paxos-kv",
        "paxos-kv",
        "--param-b",
        "reads=log",
        "--nemesis",
        "none,pause:one+clock:jump:one",
        "--fault-length",
        "400ms",
        "--fault-gap",
        "300ms",
        "--nodes",
        "3",
        "--time-limit",
        "1s",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--json",
    ];
    // None, both faults, and the pause without the clock's fault, of two.
    let ended = place.schism(&command);
    ended.says(&["6 runs, 0 of them already in store"]);
    let again = place.schism(&command).says(&["6 of them already in store"]);
    let found: Value = serde_json::from_str(&again.stdout).expect("it is JSON");
    let groups = found["groups"].as_array().expect("there are groups");
    assert_eq!(groups.len(), 2);
    let names: Vec<&Value> = groups.iter().map(|g| &g["nemesis"]).collect();
    assert_eq!(names, ["none", "pause:one+clock:jump:one"]);
    let arms = groups[0]["arms"].as_array().expect("there are arms");
    assert_eq!(arms[0]["name"], "paxos-kv as it is");
    assert_eq!(arms[1]["name"], "paxos-kv with reads=log");
    for arm in arms {
        let figures = &arm["figures"];
        assert_eq!(figures["availability/answered"]["n"], 1, "{figures}");
        // No fault, no wait of a fault: it is not there, and not zero.
        assert!(figures["availability/longest wait of a fault/max"].is_null());
    }
    let clock = found["clock"].as_array().expect("there are clock tests");
    assert_eq!(clock.len(), 2);
    assert_eq!(
        clock[0]["without"]["name"],
        "pause:one of pause:one+clock:jump:one"
    );
    let page = std::fs::read_to_string(place.store().join("compare-paxos-kv-paxos-kv.html"));
    let page = page.expect("the page is there");
    assert!(page.contains("not applicable") && page.contains("Where time leaks in"));
    place.assert_nothing_left();
}

/// One of the two says on how many nodes it runs, the other runs on five by itself.
#[test]
fn two_systems_are_compared_on_the_nodes_of_the_smaller_one() {
    let place = Place::new();
    let own = place.path().join("own");
    std::fs::create_dir(&own).expect("a new folder");
    let from = example("simple-kv");
    std::fs::copy(from.join("server.py"), own.join("server.py")).expect("it is there");
    let text = std::fs::read_to_string(from.join("system.toml")).expect("it is there");
    place.file("own/system.toml", format!("nodes = 1\n{text}"));
    let command = "compare paxos-kv ./own -w register --nemesis none --time-limit 1s --seeds 1";
    let command: Vec<&str> = command.split(' ').collect();
    place.schism(&command).says(&["2 runs, 0 of them"]);
    let runs = std::fs::read_dir(place.store()).expect("there are runs");
    let specs: Vec<Value> = runs
        .map(|run| run.expect("it is there").path().join("spec.json"))
        .filter(|spec| !spec.starts_with(place.store().join("latest")) && spec.exists())
        .map(|spec| std::fs::read(spec).expect("it can be read"))
        .map(|spec| serde_json::from_slice(&spec).expect("it is JSON"))
        .collect();
    let nodes: Vec<&Value> = specs.iter().map(|spec| &spec["nodes"]).collect();
    assert_eq!(nodes, [1, 1], "{specs:?}");
    place.assert_nothing_left();
}

#[test]
fn a_sweep_goes_on_where_it_was() {
    let place = Place::new();
    let command = |to: &str| {
        let param = format!("keys=1..{to}");
        let words = [
            "sweep",
            "paxos-kv",
            "--param",
            &param,
            "--scale",
            "linear",
            "--steps",
            "2",
            "--nemesis",
            "none",
            "--nodes",
            "3",
            "--time-limit",
            "1s",
            "--seeds",
            "1",
            "--jobs",
            "1",
        ];
        place.schism(&words)
    };
    command("3")
        .exits(0)
        .says(&["2 runs, 0 of them already"])
        .prints(&[
            "paxos-kv along keys",
            "throughput, ops/s",
            "sweep-paxos-kv-keys.html",
        ]);
    // One end of the range is another.
    command("4").exits(0).says(&["2 runs, 1 of them already"]);
    assert!(place.store().join("sweep-paxos-kv-keys.html").exists());
    place.assert_nothing_left();
}

/// Two files with one flaw: a proof finds it, says that nobody could tell them apart, and goes on
/// from its own runs when it is asked for more.
#[test]
fn a_proof_says_what_finds_a_flaw_and_how_it_would_be_known_again() {
    let scenario = "about = \"a test\"\nsystem = \"paxos-kv\"\nworkload = \"cas-register\"\nnodes = 3\n\
        nemesis = \"pause\"\ntime-limit = \"60s\"\nrate = 200\nconcurrency = 10\n[planted]\n\
        flaw = \"cas-not-atomic\"\n[expect]\nverdict = \"invalid\"\nanomalies = [\"lost update\"]\n\
        clean = \"valid\"\n";
    let place = Place::new();
    std::fs::create_dir(place.path().join("mine")).expect("it is ours");
    place.file("mine/one.toml", scenario);
    place.file("mine/two.toml", scenario.replace("a test", "the same"));
    let prove = |more: &[&str]| {
        let args = [
            "prove",
            "--scenarios",
            "mine",
            "--seeds",
            "1",
            "--clean-seeds",
            "1",
            "--time-limit",
            "5s",
            "--jobs",
            "3",
        ];
        place.schism(&[&args[..], more].concat()).exits(0)
    };
    prove(&[]).says(&["3 runs, 0 of them already in"]).prints(&[
        "| one | pause | 1 of 1 |",
        "| two | pause | 1 of 1 |",
        "| lost update | 1 |\n",
        "Clean twins: 1 run, 0 false alarms (1 valid,",
        "one and two share the fingerprint ",
    ]);
    let matrix = prove(&["--only", "one", "--matrix", "--matrix-seeds", "1"])
        .says(&["2 of them already in"])
        .prints(&["| one | pause | 1 of 1 |", "| fingerprints | partition |"]);
    assert!(!matrix.stdout.contains("share"), "{matrix:#?}");
    // Its own family it need not be tried under again, and it has no operations.
    let lines: Vec<&str> = matrix.stdout.lines().collect();
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.trim().to_string());
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    let (titles, row) = (cells(lines[0]), cells(lines[2]));
    let under = |nemesis: &str| {
        let at = titles.iter().position(|title| title == nemesis);
        row[at.unwrap_or_else(|| panic!("no {nemesis}: {matrix:#?}"))].as_str()
    };
    assert_eq!(under("pause"), "-");
    assert_eq!(under("partition"), "1 of 1");
    assert_eq!(under("kill"), "1 of 1");
    assert!(!titles.iter().any(|title| title.starts_with("admin")));
}
