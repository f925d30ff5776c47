//! Operations of a system's own as faults: done, looked at, undone, and refused where there are
//! none.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::folders::STRANGER;
use crate::support::{Ended, Place, example, history_of};

/// Beside the example's own text.
const ADMIN: &str = r#"
[admin.mark]
about = "leaves a mark"
command = ["sh", "-c", "echo marked at {name}; touch {data}/mark"]
undo = ["rm", "-f", "{data}/mark"]
check = ["test", "-e", "{data}/mark"]

[admin.keep]
about = "leaves a mark that stays"
command = ["touch", "{data}/mark"]
check = ["test", "-e", "{data}/mark"]

[admin.feign]
about = "does nothing, and so leaves no mark"
command = ["true"]
check = ["test", "-e", "{data}/mark"]

[admin.break]
about = "does not work"
command = ["sh", "-c", "echo no such thing >&2; exit 3"]
"#;

/// Of the stranger's store, whose program is behind a link then.
const UPGRADE: &str = r#"
[admin.upgrade]
about = "runs the next program"
command = ["ln", "-sfn", "{program.next}", "{data}/node"]
check = ["sh", "-c", "test $(readlink {data}/node) = {program.next}"]
restart = true
"#;

fn place() -> Place {
    let place = Place::new();
    let example = example("simple-kv");
    let own = place.path().join("own");
    fs::create_dir(&own).expect("a new folder");
    fs::copy(example.join("server.py"), own.join("server.py")).expect("it is there");
    let text = fs::read_to_string(example.join("system.toml")).expect("it is there");
    fs::write(own.join("system.toml"), text + ADMIN).expect("it is ours");
    place
}

fn run<'a>(nemesis: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "run",
        "./own",
        "--nodes",
        "1",
        "-t",
        "4s",
        "--seed",
        "3",
        "--nemesis",
        nemesis,
    ];
    let pace = ["--fault-gap", "500ms", "--fault-length", "1s"];
    [&args[..], &pace, more].concat()
}

/// What the nemesis noted of each fault in the history, by `inject` or `heal`.
fn noted(place: &Place, action: &str) -> Vec<Value> {
    let history = history_of(&place.latest());
    let events = history
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let of_nemesis = events.filter(|e: &Value| {
        e["process"] == "nemesis"
            && e["type"] == "ok"
            && e["value"]["action"] == action
            && e["value"]["label"] != "everything"
    });
    of_nemesis.collect()
}

#[test]
fn an_operation_is_done_and_undone_and_its_receipts_say_so() {
    let place = place();
    place
        .schism(&run("admin:mark:all", &[]))
        .exits(0)
        .prints(&["VALID", "faults held"]);
    let (done, undone) = (noted(&place, "inject"), noted(&place, "heal"));
    assert!(done.len() >= 2, "{done:?}");
    for (events, says) in [
        (&done, ["exit 0: marked at n1", "n1: mark is in force"]),
        (&undone, ["n1: exit 0", "n1: mark is not in force"]),
    ] {
        for event in events {
            let receipt = event["value"].to_string();
            assert!(receipt.contains("\"held\":true"), "{receipt}");
            assert!(says.iter().all(|line| receipt.contains(line)), "{receipt}");
        }
    }
    place.assert_nothing_left();
}

#[test]
fn what_nothing_undoes_is_said_to_stay() {
    let place = place();
    place.schism(&run("admin:keep:all", &[])).exits(0);
    let undone = noted(&place, "heal");
    assert!(!undone.is_empty());
    for event in &undone {
        assert_eq!(event["value"]["receipt"]["stays"], true, "{event}");
    }
    let report = fs::read_to_string(place.latest().join("report.html")).expect("a report");
    assert!(report.contains("it stays"), "the report says yes");
}

#[test]
fn an_operation_that_fails_or_does_not_show_was_no_fault() {
    let place = place();
    for (nemesis, says) in [
        ("admin:break:all", "exit 3: no such thing"),
        ("admin:feign:one", "feign is not in force"),
    ] {
        place
            .schism(&run(nemesis, &[]))
            .exits(3)
            .prints(&["VACUOUS"]);
        let history = history_of(&place.latest());
        assert!(history.contains(says), "{history}");
    }
}

#[test]
fn an_operation_that_a_system_does_not_offer_is_refused_before_anything_starts() {
    let place = place();
    let none = "paxos-kv offers no operation, and so not \"mark\"";
    let near = "own offers no operation \"marc\": did you mean \"mark\"?";
    let schedule = "version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"1s\"\nfamily = \"admin\"\n\
                    shape = \"marc\"\n";
    place.file("s.toml", schedule);
    for (args, says) in [
        (vec!["run", "paxos-kv", "--nemesis", "admin:mark"], none),
        (vec!["run", "./own", "--nemesis", "kill,admin:marc"], near),
        (vec!["run", "./own", "--schedule", "s.toml"], near),
        (
            vec!["run", "./own", "--nemesis", "admin"],
            "write \"admin:compact\"",
        ),
        (
            vec!["run", "./own", "--nemesis", "admin:mark+kill:all"],
            "as it is without faults",
        ),
    ] {
        place.schism(&args).exits(64).says(&[says]);
    }
    assert!(!place.store().exists(), "nothing was begun");
    place
        .schism(&["systems"])
        .exits(0)
        .prints(&["admin:compact", "admin:defragment"]);
    let text = fs::read_to_string(place.path().join("own/system.toml")).expect("it is there");
    let file = place.path().join("own/system.toml");
    fs::write(file, text.replace("[admin.break]", "[admin.leader]")).expect("it is ours");
    place
        .schism(&run("none", &[]))
        .exits(64)
        .says(&["system.toml:", "an operation's name is"]);
}

#[test]
fn nodes_are_upgraded_one_after_the_other_under_load() {
    let place = Place::new();
    let node = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name("paxos-kv");
    let own: PathBuf = place.path().join("own");
    fs::create_dir(&own).expect("a new folder");
    fs::copy(&node, own.join("next")).expect("it is there");
    let mut text = STRANGER.replace("PROGRAM", &node.display().to_string());
    let link = "[daemon]\nprepare = [[\"ln\", \"-s\", \"{program.node}\", \"{data}/node\"]]\n";
    for (from, to) in [
        ("[lists]", "next = \"next\"\n[lists]"),
        ("\"{program.node}\"", "\"{data}/node\""),
        ("\"{data}\"", "\"{data}/kv\""),
        ("[daemon]\n", link),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(own.join("system.toml"), text + UPGRADE).expect("it is ours");
    let fault = |n: u32| {
        let at = 3 * n - 2;
        format!(
            "[[fault]]\nat = \"{at}s\"\nlasts = \"1s\"\nfamily = \"admin\"\nshape = \"upgrade\"\ntargets = [\"n{n}\"]\n"
        )
    };
    let schedule = format!("version = 1\n{}{}{}", fault(1), fault(2), fault(3));
    place.file("rolling.toml", schedule);
    let args = [
        "run",
        "./own",
        "--nodes",
        "3",
        "-t",
        "10s",
        "--seed",
        "3",
        "--schedule",
        "rolling.toml",
    ];
    place
        .schism(&args)
        .exits(0)
        .prints(&["VALID", "3 of 3 faults held"]);
    let receipts: Vec<String> = noted(&place, "inject")
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(receipts.len(), 3, "{receipts:?}");
    for (n, receipt) in receipts.iter().enumerate() {
        let (n, is) = (n + 1, "upgrade is in force");
        for line in [format!("n{n}: {is}"), format!("n{n}: own runs, pid ")] {
            assert!(receipt.contains(&line), "{line}: {receipt}");
        }
    }
    place.assert_nothing_left();
}

/// Every node says that it is at one index; what it holds is what it is told to say.
#[test]
fn what_nodes_hold_at_one_index_is_compared_when_the_run_is_over() {
    let place = Place::new();
    let node = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name("paxos-kv");
    let own: PathBuf = place.path().join("own");
    fs::create_dir(&own).expect("a new folder");
    let held = "echo \"{\\\"at\\\": 5, \\\"sum\\\": $1}\"\n";
    fs::write(own.join("held.sh"), held).expect("it is ours");
    let text = STRANGER
        .replace("PROGRAM", &node.display().to_string())
        .replace("[lists]", "held = \"held.sh\"\n[lists]");
    let run = |replica: &str| {
        let replica = format!("[replica]\nindex = \"/at\"\nholds = \"/sum\"\nexec = {replica}\n");
        fs::write(own.join("system.toml"), format!("{text}{replica}")).expect("it is ours");
        let args = "run ./own --nodes 3 -t 3s --seed 3 --nemesis none";
        place.schism(&args.split(' ').collect::<Vec<_>>())
    };
    run("[\"sh\", \"{program.held}\", \"7\"]")
        .exits(0)
        .prints(&["3 of 3 nodes that told what they hold were at the same index"]);
    run("[\"sh\", \"{program.held}\", \"{index}\"]")
        .exits(1)
        .prints(&["replicas diverge", "n1 holds 1, and n2 holds 2"]);
    // It was asked for, and nobody tells.
    run("[\"sh\", \"-c\", \"echo not me; exit 3\"]")
        .exits(3)
        .prints(&[
            "0 operations replica succeeded, and at least 1 must; of those that did not, 3 of 3 had the error",
            "unknown  replicas",
            "exit 3: not me",
        ]);
    place.assert_nothing_left();
}

#[test]
fn versions_run_beside_each_other_and_one_goes_over_to_the_next() {
    let place = Place::new();
    let node = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name("paxos-kv");
    let own: PathBuf = place.path().join("own");
    fs::create_dir_all(own.join("newer")).expect("a new folder");
    fs::copy(&node, own.join("newer/paxos-kv")).expect("it is there");
    let text = STRANGER.replace("PROGRAM", &node.display().to_string());
    let asked = "version = [\"echo\", \"{program.node}\", \"{index}\"]\n[programs]";
    let text = text.replacen("[programs]", asked, 1)
        + "[versions.newer]\nprograms = { node = \"newer/paxos-kv\" }\ninstall = \"touch newer/paxos-kv\"\n";
    fs::write(own.join("system.toml"), text).expect("it is ours");
    let fault = "[[fault]]\nat = \"2s\"\nlasts = \"1s\"\nfamily = \"admin\"\nshape = \"upgrade\"\n";
    place.file(
        "s.toml",
        format!("version = 1\n{fault}targets = [\"n3\"]\n"),
    );
    let args = [
        "run",
        "./own",
        "--nodes",
        "3",
        "-t",
        "5s",
        "--seed",
        "3",
        "--schedule",
        "s.toml",
    ];
    let with = |param: &'static str| [&args[..], &["--param", param]].concat();
    for (param, says) in [
        (
            "version=newest",
            "one of default, newer, or several of them",
        ),
        ("next-version=default,newer", "one of none, default, newer"),
        (
            "version=newer",
            "say to which version: --param next-version=NAME",
        ),
    ] {
        place.schism(&with(param)).exits(64).says(&[says]);
    }
    let night =
        "version = 1\nseeds = 1\nnemeses = [\"admin:upgrade\"]\n[[system]]\nname = \"./own\"\n";
    place.file("m.toml", night);
    place
        .schism(&["matrix", "plan", "m.toml"])
        .exits(64)
        .says(&["say to which version"]);
    let mixed = [
        with("version=default,newer"),
        vec!["--param", "next-version=newer"],
    ]
    .concat();
    place
        .schism(&mixed)
        .exits(0)
        .prints(&["VALID", "1 of 1 fault held"]);
    let receipts = noted(&place, "inject");
    let receipt = receipts[0].to_string();
    for line in [
        "n3: it is to run the version newer",
        "n3: upgrade is in force",
        "n3: own runs, pid ",
    ] {
        assert!(receipt.contains(line), "{line}: {receipt}");
    }
    // What each ran when the run began.
    let versions = place.results()["notes"]["versions"].to_string();
    for program in ["bin/paxos-kv 1", "bin/paxos-kv-newer 2", "bin/paxos-kv 3"] {
        assert!(versions.contains(program), "{program}: {versions}");
    }
    place.assert_nothing_left();
    // Each is installed by itself.
    let install = |version| ["install", "./own", "--version", version];
    place
        .schism(&install("newer"))
        .exits(0)
        .says(&["own newer is installed here"]);
    place
        .schism(&install("newr"))
        .exits(64)
        .says(&["did you mean \"newer\"?"]);
    fs::remove_file(own.join("newer/paxos-kv")).expect("it is ours");
    place
        .schism(&mixed)
        .exits(64)
        .says(&["own/newer/paxos-kv", "touch newer/paxos-kv"]);
    place
        .schism(&[&install("newer")[..], &["--yes"]].concat())
        .exits(0);
    assert!(own.join("newer/paxos-kv").exists());
}

#[test]
fn members_of_etcd_run_another_program_beside_others_and_from_the_midst_of_a_run_on() {
    let place = Place::new();
    place.file(
        "s.toml",
        "version = 1\n[[fault]]\nat = \"2s\"\nlasts = \"1s\"\nfamily = \"admin\"\nshape = \"upgrade\"\n\
         targets = [\"n3\"]\n",
    );
    let args = "run etcd --nodes 3 -t 6s --seed 3 --schedule s.toml";
    let args: Vec<&str> = args.split(' ').collect();
    let with_next = |next: Option<&Path>, more: &[&str]| {
        let mut command = place.command(&[&args[..], more].concat());
        if let Some(next) = next {
            command.env("SCHISM_ETCD_NEXT", next);
        }
        Ended::of(command.output().expect("it starts"))
    };
    let mixed = &["--param", "version=default,next"];
    for (next, more, says) in [
        (
            None,
            &[][..],
            "admin:upgrade: say to which program: SCHISM_ETCD_NEXT=PATH",
        ),
        (
            None,
            mixed,
            "say which program the next one is: SCHISM_ETCD_NEXT=PATH",
        ),
        (
            Some(Path::new("/nowhere/etcd")),
            &[][..],
            "SCHISM_ETCD_NEXT is /nowhere/etcd",
        ),
    ] {
        with_next(next, more).exits(64).says(&[says]);
    }
    // A program of its own, so that it is seen which of the two runs: it stays beside etcd.
    let own = ["/usr/bin/etcd", "/usr/local/bin/etcd"].map(Path::new);
    let own = own.into_iter().find(|path| path.exists()).expect("etcd");
    let next = place.script(
        "next",
        &format!(
            "[ \"$1\" = --version ] && echo etcd Version: next\n{} \"$@\"",
            own.display()
        ),
    );
    with_next(Some(&next), mixed)
        .exits(0)
        .prints(&["VALID", "1 of 1 fault held"]);
    let receipt = noted(&place, "inject")[0].to_string();
    assert!(receipt.contains("n3: upgrade is in force"), "{receipt}");
    let versions = place.results()["notes"]["versions"].to_string();
    assert!(versions.contains("etcd next"), "{versions}");
    place.assert_nothing_left();
}
