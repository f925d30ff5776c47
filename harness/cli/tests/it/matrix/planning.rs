//! Before anything is run: what a night would be, and what is wrong with it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{GREEN, QUICK, USAGE};
use crate::support::{Ended, Place};

const WIDE: &str = "version = 1
seeds = 3
nemeses = [\"none\", \"partition\", \"pause:leader\"]
[[system]]
name = \"paxos-kv\"
workloads = [\"register\", \"append\", \"bank\"]
[[system]]
name = \"chain\"
workloads = [\"set\"]
[[exclude]]
workload = \"append\"
nemesis = \"none\"
why = \"too dull\"
[[include]]
system = \"paxos-kv\"
flaws = [\"stale-read-leader\"]
nemesis = \"partition\"
expect = \"invalid\"
";

fn plan(place: &Place, more: &[&str]) -> Value {
    let args = [&["matrix", "plan", "m.toml", "--json"], more].concat();
    let ended = place.schism(&args).exits(GREEN);
    serde_json::from_str(&ended.stdout).expect("it is JSON")
}

fn ids(plan: &Value) -> BTreeSet<String> {
    let cells = plan["cells"].as_array().expect("cells").iter();
    cells
        .map(|cell| cell["id"].as_str().expect("an id").to_string())
        .collect()
}

#[test]
fn a_plan_has_what_goes_together_and_says_of_the_rest_why_it_does_not() {
    let place = Place::new();
    place.file("m.toml", WIDE);
    place
        .schism(&["matrix", "plan", "m.toml"])
        .exits(GREEN)
        .prints(&[
            "m: 22 cells",
            "paxos-kv/register/pause:leader",
            "paxos-kv+stale-read-leader/register/partition",
            "canary",
            "paxos-kv/bank/none",
            "3 cells: workload bank needs the interface bank",
            "3 cells: excluded in line 10: too dull",
            // It has no leader to aim at.
            "chain/set/pause:leader",
            "aims at a leader, and there is none",
        ]);
    let all = plan(&place, &[]);
    let expected: f64 = 22.0 * 68.0;
    assert_eq!(all["expected_s"].as_f64(), Some(expected));
    // Whoever is the shard, all cells are somebody's, and nobody's twice.
    let mut seen = BTreeSet::new();
    for i in 1..=3 {
        let shard = plan(&place, &["--shard", &format!("{i}/3")]);
        let own = ids(&shard);
        assert!((7..=8).contains(&own.len()), "{own:?}");
        assert!(seen.is_disjoint(&own));
        seen.extend(own);
        assert_eq!(shard["matrix"], all["matrix"]);
    }
    assert_eq!(seen, ids(&all));
    let told = [("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "3")];
    let mut command = place.command(&["matrix", "plan", "m.toml", "--shard", "auto", "--json"]);
    let ended = Ended::of(command.envs(told).output().expect("it starts")).exits(GREEN);
    let auto: Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    assert_eq!(ids(&auto), ids(&plan(&place, &["--shard", "2/3"])));
}

#[test]
fn a_budget_leaves_out_the_last_cells_and_says_so_and_weights_decide_which() {
    let place = Place::new();
    let head = WIDE.replace("seeds = 3", "seeds = 3\nbudget = \"6m\"");
    place.file(
        "m.toml",
        head + "[[weight]]\nsystem = \"chain\"\nweight = 10\n",
    );
    let plan = plan(&place, &[]);
    let ids = ids(&plan);
    // The canary, and the chain's six, which weigh more; in six minutes there is time for five.
    assert_eq!(ids.len(), 5, "{ids:?}");
    assert!(ids.contains("paxos-kv+stale-read-leader/register/partition/1"));
    assert_eq!(ids.iter().filter(|id| id.starts_with("chain/")).count(), 4);
    let why: Vec<&str> = plan["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|left| left["why"].as_str())
        .collect();
    assert!(why.contains(&"beyond the budget"), "{why:?}");
}

#[test]
fn what_this_machine_cannot_do_is_said_when_it_is_planned() {
    let place = Place::new();
    place.file(
        "m.toml",
        "version = 1\nnemeses = [\"machine:reboot\", \"none\"]\n[[system]]\nname = \"etcd\"\n\
        [[system]]\nname = \"paxos-kv\"\nversions = { old = \"nowhere/paxos-kv\" }\n",
    );
    let mut command = place.command(&["matrix", "plan", "m.toml"]);
    command.env("SCHISM_ETCD", "/nowhere/etcd");
    Ended::of(command.output().expect("it starts"))
        .exits(GREEN)
        .prints(&[
            "not here, missing: etcd was not found (SCHISM_ETCD is /nowhere/etcd)",
            "paxos-kv@old/register/none",
            "nowhere/paxos-kv is no program",
        ]);
    place.file(
        "m.toml",
        "version = 1\nnemeses = [\"machine:reboot\"]\n[[system]]\nname = \"paxos-kv\"\n",
    );
    place
        .schism(&["matrix", "plan", "m.toml"])
        .exits(GREEN)
        .prints(&[
            "not here, not offered: machine:reboot needs reset",
            "only --cluster vagrant",
        ]);
}

#[test]
fn machines_that_keep_the_file_elsewhere_have_the_same_night_and_other_questions_have_another() {
    let place = Place::new();
    let text = "version = 1\nnemeses = [\"none\"]\n[[system]]\nname = \"paxos-kv\"\n\
        versions = { old = \"bin/old\", new = \"bin/new\" }\n";
    let matrix = |folder: &str, text: &str| {
        std::fs::create_dir_all(place.path().join(folder)).expect("ours");
        place.file(&format!("{folder}/m.toml"), text);
        let file = format!("{folder}/m.toml");
        let ended = place
            .schism(&["matrix", "plan", &file, "--json"])
            .exits(GREEN);
        let plan: Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
        plan["matrix"].as_str().expect("it has one").to_string()
    };
    let one = matrix("here", text);
    assert_eq!(one, matrix("elsewhere/deep", text));
    for (from, to) in [
        ("bin/new", "bin/newer"),
        ("\"none\"", "\"kill\""),
        ("version = 1", "version = 1\nseeds = 2"),
    ] {
        assert_ne!(one, matrix("here", &text.replace(from, to)), "{to}");
    }
}

#[test]
fn a_matrix_that_is_wrong_is_said_with_its_place() {
    let place = Place::new();
    place.file("known.toml", "[[issue]]\nfingerprnt = \"x\"\n");
    place.file("empty.toml", "");
    let system = "[[system]]\nname = \"paxos-kv\"\n";
    let cases: &[(&str, &str)] = &[
        (
            "[[system]]\nname = \"paxos\"\n",
            "m.toml:8:8: there is no system \"paxos\"; did you mean \"paxos-kv\"?",
        ),
        (
            "[[system]]\nname = \"paxos-kv\"\nworkloads = [\"regster\"]\n",
            "m.toml:9:14: there is no workload \"regster\"; did you mean \"register\"?",
        ),
        (
            "[[system]]\nname = \"paxos-kv\"\nnemeses = [\"pauze\"]\n",
            "m.toml:9:12: nemesis \"pauze\": there is no fault family \"pauze\": did you mean \"pause\"?",
        ),
        (
            "[[system]]\nname = \"paxos-kv\"\nparams = { lese = \"1s\" }\n",
            "m.toml:8:8: [[system]] paxos-kv: neither it nor a workload has a parameter \"lese\"; did you mean \"lease\"?",
        ),
        (
            "[[system]]\nname = \"paxos-kv\"\nflaws = [\"stale-read-leder\"]\n",
            "m.toml:7:1: paxos-kv has no flaw \"stale-read-leder\"; did you mean \"stale-read-leader\"?",
        ),
        ("[[sytem]]\n", "m.toml:7:3: unknown field `sytem`"),
        ("", "m.toml:1:1: there is nothing in it"),
        (
            "[[system]]\nname = \"litecoind\"\nworkloads = [\"bank\"]\n",
            "no cell is left in it; litecoind/bank/none: workload bank needs the interface bank",
        ),
        (
            "[[system]]\nname = \"paxos-kv\"\n[[system]]\nname = \"paxos-kv\"\n",
            "m.toml:9:1: paxos-kv/register/none is there twice: give one of them a `label`",
        ),
        (
            "[[exclude]]\nsystem = \"etdc\"\n[[system]]\nname = \"etcd\"\n",
            "m.toml:7:1: this excludes nothing: did you mean \"etcd\"?",
        ),
        (
            "[[system]]\nname = \"etcd\"\n[[exclude]]\nsystem = \"etcd\"\n",
            "no cell is left in it; etcd/register/none: excluded in line 9",
        ),
        (
            "[[include]]\nsystem = \"etcd\"\nnemesis = \"kill\"\n[[exclude]]\nnemesis = \"kill\"\n",
            "m.toml:10:1: this excludes etcd/register/kill, which line 7 includes",
        ),
        (
            "[[include]]\nnemesis = \"kill\"\n",
            "m.toml:7:1: say which system, or which scenario",
        ),
        ("[[include]]\nscenario = \"none.toml\"\n", "m.toml:8:12:"),
        (
            "[[include]]\nsystem = \"etcd\"\nexpect = \"vacuous\"\n",
            "m.toml:9:10: a cell is expected to be `valid` or `invalid`",
        ),
        (
            "fault-gap = \"2s..1s\"\n[[system]]\nname = \"etcd\"\n",
            "m.toml:7:13:",
        ),
        (
            "[[include]]\nsystem = \"etcd\"\nschedule = \"s.toml\"\nrun = { fault-gap = \"1s\" }\n",
            "m.toml:10:21: the faults of a file come when it says",
        ),
        (
            "[gate]\nverdicts = 120\n[[system]]\nname = \"etcd\"\n",
            "a share in per cent",
        ),
        (
            "[gate]\nwatchdog = \"soon\"\n[[system]]\nname = \"etcd\"\n",
            "m.toml:8:12: \"soon\" is no span of time",
        ),
    ];
    for (more, says) in cases {
        place.file("m.toml", format!("{QUICK}{more}"));
        place
            .schism(&["matrix", "plan", "m.toml"])
            .exits(USAGE)
            .says(&[says]);
        place
            .schism(&["matrix", "m.toml"])
            .exits(USAGE)
            .says(&[says]);
    }
    for (first, says) in [
        (
            "known = \"known.toml\"\n",
            "known.toml:2:1: unknown field `fingerprnt`",
        ),
        ("known = \"nowhere.toml\"\n", "m.toml:1:9: there is no"),
        ("seeds = 0\n", "m.toml:1:9: seeds: 1 to 100000"),
        (
            "seeds = \"1-9\"\n",
            "m.toml:1:9: seeds are a number of them, as 3, or a list, as [1, 2, 7]",
        ),
        (
            "seeds = [1, 1]\n",
            "m.toml:1:9: seeds: a list has at least one, and each once",
        ),
        ("jobs = 0\n", "m.toml:1:8: jobs: at least one at a time"),
        ("name = \"../x\"\n", "m.toml:1:8: a name is made of letters"),
        ("version = 2\n", "m.toml:1:11: the matrix is of version 2"),
    ] {
        let rest = if first.starts_with("version") {
            QUICK.replace("version = 1\n", "")
        } else {
            QUICK.into()
        };
        place.file("m.toml", format!("{first}{rest}{system}"));
        place
            .schism(&["matrix", "plan", "m.toml"])
            .exits(USAGE)
            .says(&[says]);
    }
    assert!(!place.store().exists(), "nothing was begun");
    place.file("m.toml", format!("{QUICK}{system}"));
    for (shard, says) in [
        ("0/3", "i from 1 to n"),
        ("4/3", "i from 1 to n"),
        ("auto", "none of CI_NODE_INDEX"),
    ] {
        let args = ["matrix", "plan", "m.toml", "--shard", shard];
        place.schism(&args).exits(USAGE).says(&[says]);
    }
    place.schism(&["matrix"]).exits(USAGE).says(&["<FILE>"]);
    place
        .schism(&["matrix", "nowhere.toml"])
        .exits(USAGE)
        .says(&["cannot read nowhere.toml"]);
    place
        .schism(&["matrix", "m.toml", "--jobs", "0"])
        .exits(USAGE)
        .says(&["at least one"]);
    place
        .schism(&["matrix", "m.toml", "--night", "../x"])
        .exits(USAGE)
        .says(&["a folder has it"]);
}

#[test]
fn listings_show_what_goes_with_what_and_a_system_is_asked_its_own_workload() {
    let place = Place::new();
    place.schism(&["systems"]).exits(0).prints(&[
        "ledger (the default)",
        "register (the default), cas-register",
    ]);
    place
        .schism(&["workloads"])
        .exits(0)
        .prints(&["of                     paxos-kv, chain, etcd, litecoind"]);
    // litecoind serves no register, which all others are asked.
    let mut command = place.command(&["run", "litecoind", "--nemesis", "none", "--json"]);
    command.env("SCHISM_LITECOIND", "/nowhere");
    let ended = Ended::of(command.output().expect("it starts")).exits(USAGE);
    ended.says(&["litecoind was not found"]);
}
