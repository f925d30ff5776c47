//! The user's own files, and folders that somebody else has made: what is named is read within
//! limits and written with care.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Ended, HISTORY, Place, REGISTER, eventually, history_of, recorded, spec};

const INVALID: i32 = 1;
const UNKNOWN: i32 = 2;
const INFRA: i32 = 4;
const USAGE: i32 = 64;

fn pipe(path: PathBuf) -> PathBuf {
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    path
}

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("is there").flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A run that has been judged.
fn judged(place: &Place) -> PathBuf {
    let run = recorded(place, "20260101T000000-bad", "2");
    place.schism(&["check"]).exits(INVALID);
    run
}

#[test]
fn a_report_is_written_into_a_device_and_a_pipe_and_replaces_only_a_file() {
    let place = Place::new();
    judged(&place);
    let out = |path: &Path| {
        let path = path.to_str().expect("text");
        place.schism(&["report", "--output", path])
    };
    let null = place.path().join("null");
    symlink("/dev/null", &null).expect("a link");
    out(&null).exits(0);
    out(Path::new("/dev/null")).exits(0);
    let there = fs::symlink_metadata("/dev/null").expect("is there");
    assert!(there.file_type().is_char_device());
    assert!(null.is_symlink());

    let fifo = pipe(place.path().join("fifo"));
    let reads = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).expect("text")
    });
    out(&fifo).exits(0);
    assert!(reads.join().expect("it reads").contains("</html>"));
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());

    let page = place.file("page.html", "before");
    fs::set_permissions(&page, fs::Permissions::from_mode(0o640)).expect("ours");
    let link = place.path().join("link.html");
    symlink("page.html", &link).expect("a link");
    out(&link).exits(0);
    assert!(link.is_symlink());
    assert!(fs::read_to_string(&page).unwrap().contains("</html>"));
    assert_eq!(
        fs::metadata(&page).unwrap().permissions().mode() & 0o777,
        0o640
    );

    // Whatever fails leaves what was there, and nothing else.
    fs::write(&page, "before").expect("ours");
    let before = names(place.path());
    out(&place.path().join("no/such/folder.html"))
        .exits(INFRA)
        .says(&["no/such/folder.html"]);
    out(place.path()).exits(INFRA).says(&["directory"]);
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" report --output page.html";
    let ended = Command::new("sh")
        .args(["-c", full, env!("CARGO_BIN_EXE_schism")])
        .current_dir(place.path())
        .output();
    Ended::of(ended.expect("sh starts"))
        .exits(INFRA)
        .says(&["page.html", "File too large"]);
    assert_eq!(fs::read_to_string(&page).unwrap(), "before");
    assert_eq!(names(place.path()), before);
}

#[test]
fn certificates_and_converted_histories_spare_devices_too() {
    let place = Place::new();
    place.file("history.edn", REGISTER);
    let null = place.path().join("null");
    symlink("/dev/null", &null).expect("a link");
    let check = |more: &[&str]| {
        let args = ["check", "history.edn", "--certificate", "null"];
        place.schism(&[&args[..], more].concat())
    };
    check(&[]).exits(0);
    check(&["--check-memory", "0"]).exits(UNKNOWN);
    let convert = [
        "convert",
        "history.edn",
        "--to",
        "jsonl",
        "--output",
        "null",
    ];
    place.schism(&convert).exits(0);
    assert!(null.is_symlink());
    let there = fs::metadata(&null).expect("is there");
    assert!(there.file_type().is_char_device());

    // A history in place of itself is not lost on the way.
    let jsonl = [
        "convert",
        "history.edn",
        "--to",
        "jsonl",
        "--output",
        "history.edn",
    ];
    place.schism(&jsonl).exits(0);
    let both = ["check", "history.edn", "--certificate", "order.json"];
    place.schism(&both).exits(0).prints(&["VALID"]);
    let before = names(place.path());
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" check history.edn --certificate order.json";
    let ended = Command::new("sh")
        .args(["-c", full, env!("CARGO_BIN_EXE_schism")])
        .current_dir(place.path())
        .output();
    Ended::of(ended.expect("sh starts"))
        .exits(0)
        .prints(&["VALID", "order.json cannot be written"]);
    let order = fs::read_to_string(place.path().join("order.json")).expect("as it was");
    assert!(order.len() > 10);
    assert_eq!(names(place.path()), before);
    // What cannot be written anyhow is said before anything is judged.
    let nowhere = ["check", "history.edn", "--certificate", "no/order.json"];
    place.schism(&nowhere).exits(USAGE).says(&["no/order.json"]);
}

#[test]
fn somebody_elses_folder_is_judged_and_not_written_to() {
    let place = Place::new();
    let inside = recorded(&place, "20260101T000000-bad", "2");
    let folder = place.path().join("theirs");
    fs::rename(&inside, &folder).expect("both are ours");
    let victim = place.file("victim", "precious");
    for name in ["results.json.next", "report.html.next"] {
        symlink(&victim, folder.join(name)).expect("a link");
    }
    let before = names(&folder);
    let spared = || assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    place
        .schism(&["check", "theirs"])
        .exits(INVALID)
        .prints(&["INVALID"])
        .says(&["not in the store", "--save"]);
    assert_eq!(names(&folder), before);
    spared();
    // A link in the store to a folder elsewhere is no folder of the store's.
    fs::create_dir_all(place.store()).expect("ours");
    symlink(&folder, place.store().join("linked")).expect("a link");
    place.schism(&["check", "linked"]).exits(INVALID);
    assert_eq!(names(&folder), before);

    symlink(&victim, folder.join("report.html")).expect("a link");
    place.schism(&["check", "theirs", "--save"]).exits(INVALID);
    spared();
    for name in ["results.json", "report.html"] {
        let there = fs::symlink_metadata(folder.join(name)).expect("it was written");
        assert!(there.is_file(), "{name}");
    }
    let strays = names(&folder);
    let strays = strays.iter().filter(|name| name.starts_with('.'));
    assert_eq!(strays.count(), 0);
    place.schism(&["report", "theirs"]).exits(0);
    spared();
}

#[test]
fn a_specification_that_no_command_line_could_have_is_refused() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-odd", "1");
    fs::write(run.join("results.json"), "{}").expect("ours");
    for nodes in ["18446744073709551615", "1000000000", "1000000", "33", "0"] {
        fs::write(run.join("spec.json"), spec(nodes)).expect("ours");
        let words = ["spec.json", nodes, "1 to 32"];
        place.schism(&["check"]).exits(USAGE).says(&words);
        place.schism(&["report"]).exits(USAGE).says(&words);
        place
            .schism(&["list"])
            .exits(0)
            .prints(&["spec.json", nodes]);
    }
    for (right, wrong) in [
        ("\"concurrency\":3", "\"concurrency\":18446744073709551615"),
        ("\"rate\":200.0", "\"rate\":-1.0"),
        ("\"rate\":200.0", "\"rate\":0"),
    ] {
        let odd = spec(3).replace(right, wrong);
        fs::write(run.join("spec.json"), odd).expect("ours");
        let key = right.split('"').nth(1).expect("a key");
        place
            .schism(&["check"])
            .exits(USAGE)
            .says(&["spec.json", key]);
    }
    // A hole of a tebibyte takes no disk, and would take all memory.
    let hole = fs::File::create(run.join("spec.json")).expect("ours");
    hole.set_len(1 << 40).expect("a hole");
    place
        .schism(&["check"])
        .exits(USAGE)
        .says(&["spec.json", "longer"]);
    fs::write(run.join("spec.json"), spec(3)).expect("ours");
    let hole = fs::File::create(run.join("results.json")).expect("ours");
    hole.set_len(1 << 40).expect("a hole");
    place
        .schism(&["report"])
        .exits(USAGE)
        .says(&["results.json", "longer"]);
}

#[test]
fn nobody_waits_for_a_pipe_that_nobody_writes_to() {
    let place = Place::new();
    pipe(place.path().join("fifo"));
    let patient = |args: &[&str]| {
        let time = ["--check-time", "300ms"];
        place.schism(&[args, &time[..]].concat())
    };
    patient(&["check", "fifo"])
        .exits(UNKNOWN)
        .prints(&["UNKNOWN", "time"]);
    patient(&["check", "fifo", "--workload", "register"]).exits(UNKNOWN);
    patient(&["verify", "fifo", "fifo"]).exits(UNKNOWN);
    patient(&["convert", "fifo", "--to", "edn"]).exits(UNKNOWN);
    let history = place.file("one.edn", "[{:process 0, :type :invoke, :f :read}]");
    let history = history.to_str().expect("text");
    patient(&["verify", history, "fifo"]).exits(UNKNOWN);

    // In a run's folder nothing but a file is expected.
    for file in [HISTORY, "results.json", "schedule.toml", "spec.json"] {
        let run = judged(&place);
        fs::remove_file(run.join(file)).expect("it was there");
        pipe(run.join(file));
        let (check, report) = (patient(&["check"]), place.schism(&["report"]));
        match file {
            HISTORY | "spec.json" => {
                check.exits(USAGE).says(&[file, "no regular file"]);
                report.exits(USAGE).says(&[file, "no regular file"]);
            }
            "results.json" => {
                check.exits(INVALID).says(&[file, "no regular file"]);
                report.exits(USAGE).says(&[file, "no regular file"]);
            }
            _ => {
                check.exits(INVALID);
                report.exits(0);
            }
        }
        place.schism(&["list"]).exits(0);
        fs::remove_dir_all(place.store()).expect("ours");
    }
}

#[test]
fn what_the_shell_substitutes_for_a_file_is_read() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-bad", "2");
    place.file("bad.jsonl", history_of(&run));
    place.file("register.edn", REGISTER);
    place
        .schism(&["check", "register.edn", "--certificate", "order.json"])
        .exits(0);
    let bash = |script: &str, code: i32| {
        let mut bash = Command::new("bash");
        bash.args(["-c", script, env!("CARGO_BIN_EXE_schism")]);
        let ended = bash.current_dir(place.path()).stdin(Stdio::null()).output();
        Ended::of(ended.expect("bash starts")).exits(code)
    };
    bash("$0 check <(cat register.edn)", 0).prints(&["VALID"]);
    bash("gzip -c register.edn | $0 check /dev/stdin", 0);
    let workload = bash("$0 check <(cat bad.jsonl) --workload register", INVALID);
    workload.prints(&["INVALID", "linearizable"]);
    bash("cat bad.jsonl | $0 check - --workload register", INVALID);
    bash("$0 verify <(cat register.edn) <(cat order.json)", 0);
    bash("$0 convert <(cat register.edn) --to jsonl", 0);
    bash("$0 check register.edn --certificate >(cat >other.json)", 0);
    eventually("the certificate is there", || {
        let written = fs::read(place.path().join("other.json")).unwrap_or_default();
        written == fs::read(place.path().join("order.json")).expect("is there")
    });
    let devnull = place.schism(&["check", "/dev/null"]).exits(USAGE);
    devnull.says(&["/dev/null", "empty"]);
}

#[test]
fn a_folder_called_latest_stops_no_run_and_is_left_alone() {
    let place = Place::new();
    let copied = place.store().join("latest");
    fs::create_dir_all(&copied).expect("ours");
    fs::write(copied.join("note"), "mine").expect("ours");
    let args = ["run", "paxos-kv", "--nodes", "3", "--time-limit", "2s"];
    let args = [&args[..], &["--nemesis", "none", "--seed", "1"]].concat();
    place.schism(&args).exits(0).prints(&["VALID"]);
    assert_eq!(fs::read_to_string(copied.join("note")).unwrap(), "mine");
    let left = names(&place.store());
    assert_eq!(left.len(), 2, "{left:?}");
    // The names say which is the latest.
    let shown = place.schism(&["check", "latest"]);
    assert_ne!(shown.code, USAGE, "{shown:#?}");
    assert!(place.store().join(&left[0]).join("results.json").exists());
    fs::remove_dir_all(&copied).expect("ours");
    fs::write(&copied, "a file").expect("ours");
    place.schism(&["report"]).exits(0).prints(&[&left[0]]);
}

#[test]
fn a_value_of_megabytes_is_not_printed_whole() {
    let place = Place::new();
    let big = "x".repeat(4 << 20);
    let history = format!(
        "[{{:process 0, :type :invoke, :f :write, :value \"a\"}}\n\
         {{:process 0, :type :ok, :f :write, :value \"a\"}}\n\
         {{:process 1, :type :invoke, :f :read}}\n\
         {{:process 1, :type :ok, :f :read, :value \"{big}\"}}\n\
         {{:process 2, :type :invoke, :f :write, :value \"b\"}}\n\
         {{:process 2, :type :fail, :f :write, :value \"b\", :error \"{big}\"}}]"
    );
    place.file("big.edn", history);
    let ended = place.schism(&["check", "big.edn"]).exits(INVALID);
    assert!(ended.stdout.len() < 10_000, "{} bytes", ended.stdout.len());
    // Nor is what is wrong with a file.
    place.file(
        "wrong.jsonl",
        format!("{{\"schism\":\"history\",\"version\":\"{big}\"}}\n"),
    );
    let ended = place.schism(&["check", "wrong.jsonl"]).exits(USAGE);
    assert!(ended.stderr.len() < 100_000, "{} bytes", ended.stderr.len());
    // Nor what a run's folder says of itself.
    let run = recorded(&place, "20260101T000000-big", "2");
    let title = spec(3).replace(
        "\"flaws\":[]",
        &format!("\"flaws\":[\"{}\"]", &big[..1 << 20]),
    );
    fs::write(run.join("spec.json"), title).expect("ours");
    for args in [&["check"][..], &["list"]] {
        let ended = place.schism(args);
        assert!(ended.stdout.len() < 10_000, "{args:?}");
    }
}

#[test]
fn a_clock_that_no_agent_can_show_is_refused_before_anything_starts() {
    let place = Place::new();
    let run = |shape: &str| {
        let fault = format!(
            "version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"1s\"\nfamily = \"clock\"\n\
             targets = [\"n1\"]\n{shape}\n"
        );
        let file = place.file("clock.toml", fault);
        let file = file.to_str().expect("text");
        place.schism(&["run", "paxos-kv", "--nodes", "3", "--schedule", file])
    };
    for delta in ["+330000h", "-330000h", "+2500000h"] {
        let jump = format!("shape = \"jump\"\ndelta = \"{delta}\"");
        run(&jump)
            .exits(USAGE)
            .says(&["clock.toml:8:9", "36 years"]);
        let strobe = format!("shape = \"strobe\"\ndelta = \"{delta}\"\nperiod = \"100ms\"");
        run(&strobe)
            .exits(USAGE)
            .says(&["clock.toml:8:9", "36 years"]);
    }
    assert!(!place.store().exists(), "nothing was begun");
}

/// Runs that this place's batch has started.
fn runs(place: &Place) -> usize {
    let all = place.processes();
    all.iter().filter(|line| line.contains(" run ")).count()
}

#[test]
fn a_run_ends_with_the_batch_that_started_it() {
    let scenario = "about = \"a test\"\nsystem = \"paxos-kv\"\nworkload = \"register\"\nnodes = 3\n\
        nemesis = \"pause\"\ntime-limit = \"60s\"\nrate = 50\nconcurrency = 3\n[planted]\n\
        flaw = \"stale-read-leader\"\n[expect]\nverdict = \"invalid\"\nclean = \"valid\"\n";
    let batches: &[&[&str]] = &[
        &[
            "sweep",
            "paxos-kv",
            "--param",
            "lease=100ms..300ms",
            "--steps",
            "2",
        ],
        &["compare", "paxos-kv", "chain"],
        &["prove", "--scenarios", "scenarios"],
    ];
    for (args, signal) in batches
        .iter()
        .zip([Signal::TERM, Signal::KILL, Signal::INT])
    {
        let place = Place::new();
        fs::create_dir(place.path().join("scenarios")).expect("ours");
        place.file("scenarios/stale.toml", scenario);
        // By its whole path, so that its processes are known.
        let store = place.store();
        let store = store.to_str().expect("text");
        let mut batch = place
            .command(&[args, &["--store", store, "--jobs", "1"][..]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        eventually("a run has begun", || {
            let histories = place.store().join("latest").join(HISTORY);
            runs(&place) > 0 && histories.exists()
        });
        let pid = Pid::from_raw(batch.id() as i32).expect("a pid is not zero");
        kill_process(pid, signal).expect("it still runs");
        batch.wait().expect("it was started");
        place.assert_nothing_left();
        // Its stderr has no other end any more.
        let mut said = String::new();
        let stderr = batch.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut said).expect("text");
        assert!(!said.contains("panicked"), "{said}");
        let row = place.schism(&["list", "--json"]).exits(0);
        let row: Value = serde_json::from_str(&row.stdout).expect("one run");
        assert_eq!(
            (&row["verdict"], &row["live"]),
            (&Value::Null, &Value::Null)
        );
    }
}
