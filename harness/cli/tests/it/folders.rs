//! Systems that are folders: found, started, asked, and caught where they lose what they
//! acknowledged.

use std::fs;
use std::path::Path;

use crate::support::{Place, example};

/// A run of one node that is killed now and then.
fn killed<'a>(system: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let run = [
        "run",
        system,
        "--nodes",
        "1",
        "--nemesis",
        "kill",
        "--time-limit",
        "10s",
    ];
    let often = [
        "--fault-gap",
        "2s",
        "--fault-length",
        "500ms",
        "--seed",
        "5",
    ];
    [&run[..], &often, more].concat()
}

fn kinds(place: &Place) -> Vec<String> {
    let results = place.results();
    let analyses = results["analyses"].as_array().expect("a list").iter();
    let anomalies = analyses.flat_map(|a| a["anomalies"].as_array().cloned().unwrap_or_default());
    anomalies
        .map(|a| a["kind"].as_str().unwrap_or_default().to_string())
        .collect()
}

#[test]
fn a_server_that_loses_writes_is_found_over_plain_http_and_its_sound_twin_is_valid() {
    let place = Place::new();
    let system = example("simple-kv").display().to_string();
    place
        .schism(&killed(&system, &[]))
        .exits(0)
        .prints(&["VALID", "simple-kv"]);
    place
        .schism(&killed(&system, &["--param", "sync=never"]))
        .exits(1)
        .prints(&["INVALID"]);
    let kinds = kinds(&place);
    assert!(
        kinds
            .iter()
            .any(|kind| kind.contains("stale") || kind.contains("lost")),
        "{kinds:?}"
    );
    place.assert_nothing_left();

    // It is judged again without the folder, and run again with a word where that has changed.
    let own = place.path().join("mine");
    fs::create_dir(&own).unwrap();
    for file in ["system.toml", "server.py"] {
        fs::copy(Path::new(&system).join(file), own.join(file)).unwrap();
    }
    let short = [
        "run",
        "./mine",
        "-t",
        "2s",
        "--nodes",
        "1",
        "--nemesis",
        "none",
    ];
    place.schism(&short).exits(0);
    let spec = place.latest().join("spec.json");
    let text = fs::read_to_string(own.join("server.py")).unwrap();
    fs::write(own.join("server.py"), text + "\n# changed\n").unwrap();
    let spec = spec.display().to_string();
    place
        .schism(&["run", "--spec", &spec])
        .exits(0)
        .says(&["some of its files have changed"]);
    fs::remove_dir_all(&own).unwrap();
    place
        .schism(&["check", "latest"])
        .exits(0)
        .prints(&["VALID"]);
    place
        .schism(&["run", "--spec", &spec])
        .exits(64)
        .says(&["mine/system.toml", "cannot be read"]);
}

#[test]
fn a_client_in_python_serves_a_run() {
    let place = Place::new();
    let system = example("simple-kv-client").display().to_string();
    // Few clients: each is a program that has to start, on a machine that may be busy.
    let few = ["-c", "3", "-r", "60", "-w"];
    let run = |more: &[&str]| {
        let args = killed(&system, &few)
            .into_iter()
            .chain(more.iter().copied());
        place.schism(&args.collect::<Vec<_>>())
    };
    run(&["set"]).exits(0).prints(&["VALID"]);
    place.assert_nothing_left();
    run(&["cas-register", "--param", "sync=never"])
        .exits(1)
        .prints(&["INVALID"]);
    place.assert_nothing_left();
}

#[test]
fn what_a_person_got_wrong_is_said_before_anything_starts() {
    let place = Place::new();
    let folder = place.path().join("broken");
    fs::create_dir(&folder).unwrap();
    fs::copy(
        example("simple-kv").join("server.py"),
        folder.join("server.py"),
    )
    .unwrap();
    let text = fs::read_to_string(example("simple-kv").join("system.toml")).unwrap();
    let write = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(folder.join("system.toml"), text.replacen(from, to, 1)).unwrap();
    };
    let run = ["run", "./broken", "--nodes", "1"];
    write("{address}:{port}", "{adress}:{port}");
    place
        .schism(&run)
        .exits(64)
        .says(&["broken/system.toml:", "did you mean \"address\""]);
    write("workloads = [", "workload = [");
    place
        .schism(&run)
        .exits(64)
        .says(&["broken/system.toml:9:1", "did you mean \"workloads\""]);
    write("server.py", "sever.py");
    place
        .schism(&run)
        .exits(64)
        .says(&["sever.py", "apt-get install"]);
    write("port = 8000", "port = 8000");
    place
        .schism(&[&run[..], &["-w", "bank"]].concat())
        .exits(64)
        .says(&["bank", "interface"]);
    place
        .schism(&[&run[..], &["-p", "sink=x"]].concat())
        .exits(64)
        .says(&["there are sync, keys"]);
    place
        .schism(&["run", "brokn"])
        .exits(64)
        .says(&["there is no system \"brokn\""]);
    assert!(!place.store().exists(), "nothing was started");
    // A program that ends at once: its last words are shown.
    write("\"--data\", \"{data}\"", "\"--dada\", \"{data}\"");
    place
        .schism(&run)
        .exits(4)
        .says(&["arguments are required: --data", "n1"]);
    place.assert_nothing_left();
}

/// A system whose server is nowhere.
const LACKING: &str = r#"about = "a test"
workloads = ["register"]
port = 8000
install = "get it"
[programs]
server = "no-such-server"
[daemon]
command = ["{program.server}"]
[ready]
tcp = true
[client.http]
read = { request = "GET /{key}" }
write = { request = "PUT /{key}", body = "{value}" }
"#;

#[test]
fn systems_are_found_by_name_where_they_are_looked_for() {
    let place = Place::new();
    let all = example("simple-kv")
        .parent()
        .expect("a folder")
        .display()
        .to_string();
    let flag = ["--systems", &all];
    let listed = |args: &[&str]| place.schism(&[args, &["--json"]].concat()).exits(0).stdout;
    assert!(listed(&["systems", flag[0], flag[1]]).contains("\"simple-kv\""));
    assert!(!listed(&["systems"]).contains("simple-kv"));
    // How `doctor` ends is the machine's affair.
    let doctor = place.schism(&["doctor", flag[0], flag[1]]).stdout;
    let line = format!("works      simple-kv          {all}/simple-kv\n");
    assert!(doctor.contains(&line), "{doctor}");
    fs::create_dir_all(place.path().join("more/lacking")).unwrap();
    place.file("more/lacking/system.toml", LACKING);
    let doctor = place.schism(&["doctor", "--systems", "more"]).stdout;
    for said in [
        "missing    lacking",
        "no-such-server nor in PATH",
        "remedy: get it",
    ] {
        assert!(doctor.contains(said), "{doctor}");
    }
    let short = [
        "run",
        "simple-kv",
        "-t",
        "2s",
        "--nodes",
        "1",
        "--nemesis",
        "none",
    ];
    place.schism(&[&short[..], &flag].concat()).exits(0);
    let mut command = place.command(&["run", "simple-k"]);
    let output = command
        .env("SCHISM_SYSTEMS", &all)
        .output()
        .expect("schism starts");
    crate::support::Ended::of(output)
        .exits(64)
        .says(&["did you mean \"simple-kv\""]);
}

#[test]
fn a_new_system_is_a_folder_that_runs_once_its_server_is_there() {
    let place = Place::new();
    place
        .schism(&["new-system", "fresh"])
        .exits(0)
        .prints(&["schism run ./fresh"]);
    place
        .schism(&["new-system", "fresh"])
        .exits(64)
        .says(&["fresh/system.toml is there already"]);
    let run = [
        "run",
        "./fresh",
        "-t",
        "2s",
        "--nodes",
        "1",
        "--nemesis",
        "none",
    ];
    place.schism(&run).exits(64).says(&["server.py"]);
    let server = place.path().join("fresh/server.py");
    fs::copy(example("simple-kv").join("server.py"), &server).unwrap();
    place.schism(&run).exits(0).prints(&["VALID"]);
    // A whole folder is a program too, but only in the lab.
    let app = place.path().join("fresh/app");
    fs::create_dir(&app).unwrap();
    fs::rename(&server, app.join("server.py")).unwrap();
    let file = place.path().join("fresh/system.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("\"server.py\"", "\"app\"");
    fs::write(
        &file,
        text.replace("{program.server}", "{program.server}/server.py"),
    )
    .unwrap();
    place.schism(&run).exits(0).prints(&["VALID"]);
    let far = [&run[..4], &["--cluster", "ssh", "--nodes", "nowhere"]].concat();
    place
        .schism(&far)
        .exits(64)
        .says(&["needs a whole folder on each node"]);
}

/// The example with a client, with changes to its files.
fn changed(place: &Place, changes: &[(&str, &str, &str)]) {
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    for (from, file) in [
        ("simple-kv", "server.py"),
        ("simple-kv-client", "client.py"),
        ("simple-kv-client", "system.toml"),
    ] {
        let mut text = fs::read_to_string(example(from).join(file)).unwrap();
        text = text.replace("../simple-kv/server.py", "server.py");
        text = text.replace("port = 8000\n", "port = 8000\nnodes = 1\n");
        for (_, old, new) in changes.iter().filter(|(of, ..)| *of == file) {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        fs::write(own.join(file), text).unwrap();
    }
}

/// Of one node, as the changed file says.
const OWN: [&str; 7] = [
    "run",
    "./own",
    "--nemesis",
    "none",
    "--time-limit",
    "2s",
    "--recovery-time=3s",
];

/// The client makes the server end before it answers `init`: the server was ready then.
#[test]
fn a_daemon_that_ends_between_ready_and_the_first_operation_is_not_put_on_trial() {
    let place = Place::new();
    let end = "        if self.path == \"/end\":\n            os._exit(7)\n";
    let ends = "            connection = Connection(asked[\"address\"], asked[\"port\"])\n";
    let kill = "            try:\n                connection.ask(\"GET\", \"/end\")\n            \
                except (OSError, http.client.HTTPException):\n                pass\n";
    changed(
        &place,
        &[
            (
                "server.py",
                "    def do_GET(self):\n",
                &format!("    def do_GET(self):\n{end}"),
            ),
            ("client.py", ends, &format!("{ends}{kill}")),
        ],
    );
    let ended = place.schism(&OWN).exits(4);
    ended.says(&[
        "ended before the main phase: n1: own has ended (exit 7)",
        "serving on",
    ]);
    // Judged again it is the same.
    let again = place.schism(&["check"]).exits(4);
    again.prints(&["INFRA", "ended before the main phase"]);
    place.assert_nothing_left();
}

/// Whose `python3` is started must not depend on who starts the run.
#[test]
fn nodes_have_nothing_of_the_callers_path() {
    let place = Place::new();
    let asked = "version = [\"python3\", \"--version\"]";
    let path = "version = [\"sh\", \"-c\", \"echo $PATH\"]";
    changed(&place, &[("system.toml", asked, path)]);
    place.schism(&OWN).exits(0);
    let folders = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(place.results()["notes"]["versions"][0], folders);
}

/// It answers with texts where numbers were written, and the server would be blamed for them.
#[test]
fn a_client_that_misunderstands_is_not_the_systems_failure() {
    let place = Place::new();
    let read = "\"value\": body[\"value\"]}";
    let text = "\"value\": str(body[\"value\"])}";
    changed(&place, &[("client.py", read, text)]);
    let ended = place.schism(&OWN).exits(3);
    ended.prints(&[
        "VACUOUS",
        "had an answer that makes no sense, such as `malformed: the text \"",
    ]);
    place.assert_nothing_left();
}

#[test]
fn a_node_that_is_never_ready_says_what_it_answered() {
    for (ready, words) in [
        ("tcp = true", "[ready] tcp: 10.77.0.1:8001: "),
        (
            "exec = [\"sh\", \"-c\", \"echo not yet; exit 7\"]",
            "exit 7: not yet",
        ),
        (
            "exec = [\"no-such-program\"]",
            "[ready] exec: `no-such-program`: cannot run",
        ),
        (
            "log = \"never\"",
            "[ready] log: no line of own.log has \"never\"",
        ),
    ] {
        let place = Place::new();
        // Clients ask another port than that on which it listens.
        let changes = [
            ("system.toml", "log = \"serving on\"", ready),
            (
                "system.toml",
                "port = 8000",
                "port = 8001\nstart-time = \"2s\"",
            ),
            ("system.toml", "{address}:{port}", "{address}:8000"),
        ];
        changed(&place, &changes);
        let ended = place.schism(&OWN).exits(4);
        ended.says(&["not ready in time: n1: own runs as pid", words]);
        place.assert_nothing_left();
    }
}

/// Three nodes, a leader, refusals that say that they are definite: all of it from one file.
pub const STRANGER: &str = r#"about = "a replicated key-value store as a stranger sees it"
workloads = ["register", "cas-register"]
port = 4001
[programs]
node = "PROGRAM"
[lists]
cluster = { each = "{name}={address}:5001" }
[daemon]
command = [
    "{program.node}", "--id", "{name}", "--data", "{data}", "--client-addr", "{address}:{port}",
    "--peer-addr", "{address}:5001", "--peers", "{list.cluster}",
]
[ready]
http = "/kv?prefix=none"
[leader]
http = "/debug/status"
json = "/leader"
[client.http.read]
request = "GET /kv/{key}"
value = "/value"
absent = [{ status = 404 }]
[client.http.write]
request = "PUT /kv/{key}"
body = "{value}"
fail = [{ json = "/definite", equals = true }]
[client.http.cas]
request = "POST /kv/{key}/cas"
body = '{"from": {from}, "to": {to}}'
conflict = [{ status = 409 }]
fail = [{ json = "/definite", equals = true }]
"#;

#[test]
fn a_replicated_store_is_tested_as_a_stranger_would_and_its_flaw_is_found() {
    let place = Place::new();
    let node = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name("paxos-kv");
    let text = STRANGER.replace("PROGRAM", &node.display().to_string());
    for (folder, flaw) in [
        ("sound", ""),
        ("flawed", "\"--flaw\", \"stale-read-leader\",\n]"),
    ] {
        fs::create_dir(place.path().join(folder)).unwrap();
        let text = match flaw {
            "" => text.clone(),
            flaw => text.replacen("\n]", &format!("\n{flaw}"), 1),
        };
        fs::write(place.path().join(folder).join("system.toml"), text).unwrap();
    }
    // The leader alone, three times: whoever is deposed goes on answering what it had.
    let fault = |at: u32| {
        format!(
            "[[fault]]\nat = \"{at}s\"\nlasts = \"4s\"\nfamily = \"partition\"\nshape = \"leader\"\n"
        )
    };
    let schedule = format!("version = 1\n{}{}{}", fault(1), fault(7), fault(13));
    let schedule = place.file("leader.toml", schedule).display().to_string();
    let run = |folder: &str| {
        let args = [
            "run",
            folder,
            "--time-limit",
            "19s",
            "--seed",
            "5",
            "--schedule",
            &schedule,
        ];
        place.schism(&args)
    };
    run("./sound")
        .exits(0)
        .prints(&["VALID", "3 of 3 faults held"]);
    run("./flawed").exits(1).prints(&["INVALID", "stale read"]);
    place.assert_nothing_left();
}
