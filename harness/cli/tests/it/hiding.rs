//! Systems that only seem to be under a fault, in whole runs: what is said of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Ended, Place, history_of};

/// A folder that nodes of a lab see, unlike `/tmp`; emptied.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("cargo's folder is writable");
    folder
}

/// A program in the place of paxos-kv: a script in which `$real` is the true one.
fn stands_in(folder: &Path, script: &str) -> PathBuf {
    let real = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name("paxos-kv");
    let path = folder.join("paxos-kv");
    let text = format!(
        "#!/bin/bash\nreal={}\n[ \"$1\" = flaws ] && exec $real flaws\n\
         [ \"$1\" = --version ] && exec $real --version\n{script}\n",
        real.display()
    );
    fs::write(&path, text).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

/// A run of three nodes with one fault.
fn run(place: &Place, program: &Path, fault: &str) -> Ended {
    let schedule = format!("version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"3s\"\n{fault}");
    let schedule = place.file("schedule.toml", schedule);
    let schedule = schedule.display().to_string();
    let args = [
        "run",
        "paxos-kv",
        "--nodes",
        "3",
        "--time-limit",
        "8s",
        "--seed",
        "5",
        "--schedule",
        &schedule,
    ];
    let mut command = place.command(&args);
    command.env("SCHISM_PAXOS_KV", program);
    Ended::of(command.output().expect("schism starts"))
}

/// The receipts of the fault: of its injection and its healing.
fn receipts(place: &Place) -> [Value; 2] {
    let text = history_of(&place.latest());
    let events = text.lines().skip(1);
    let events = events.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of: Vec<Value> = events
        .filter(|event| event["process"] == "nemesis" && event["type"] == "ok")
        .filter(|event| event["value"]["fault"] == 0)
        .map(|event| event["value"]["receipt"].clone())
        .collect();
    of.try_into().expect("one of each")
}

fn lines<'a>(receipt: &'a Value, field: &str) -> Vec<&'a str> {
    let lines = receipt[field].as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).collect()
}

/// Its server has another session, no environment and no parent; what the agent started only
/// sleeps.
#[test]
fn a_system_that_forks_away_is_killed_all_the_same() {
    let place = Place::new();
    let folder = folder("forks-away");
    let script = "(setsid env -i $real \"$@\" </dev/null >/dev/null 2>&1 &)\nexec sleep 100000";
    let program = stands_in(&folder, script);
    run(&place, &program, "family = \"kill\"\ntargets = [\"n2\"]\n").exits(0);
    let [injected, healed] = receipts(&place);
    assert_eq!(injected["held"], true, "{injected}");
    // Whether the server is known from its birth or by its sockets depends on how soon its parent
    // ended.
    for part in ["nobody is at ports", " -> n2 port 7000: refused"] {
        let seen = lines(&injected, "evidence");
        assert!(
            seen.iter().any(|line| line.contains(part)),
            "{part}: {seen:#?}"
        );
    }
    assert_eq!(lines(&healed, "void"), [""; 0]);
    // It was served by nobody meanwhile: who asked n2 was not answered.
    let text = history_of(&place.latest());
    let failed = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|event| event["node"] == "n2" && event["type"] != "invoke")
        .filter(|event| event["type"] != "ok")
        .count();
    assert!(failed > 0, "every operation at n2 succeeded");
    place.assert_nothing_left();
}

/// A clock that is wrong, and that nobody reads.
#[test]
fn a_system_that_asks_the_kernel_for_the_time_makes_a_clock_fault_void() {
    if Command::new("cc").arg("--version").output().is_err() {
        eprintln!("NOT TESTED: there is no C compiler here");
        return;
    }
    let place = Place::new();
    let folder = folder("asks-the-kernel");
    let (source, library) = (folder.join("kernel.c"), folder.join("kernel.so"));
    let text = "#define _GNU_SOURCE\n#include <sys/syscall.h>\n#include <time.h>\n\
                #include <unistd.h>\n\
                int clock_gettime(clockid_t clock, struct timespec *time) {\n\
                return syscall(SYS_clock_gettime, clock, time); }\n";
    fs::write(&source, text).expect("writes");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.expect("cc was there").success());
    let preload = format!("LD_PRELOAD={} exec $real \"$@\"", library.display());
    let fault = "family = \"clock\"\nshape = \"jump\"\ntargets = [\"n2\"]\ndelta = \"+1h\"\n";

    let honest = stands_in(&folder, "exec $real \"$@\"");
    run(&place, &honest, fault).exits(0);
    let [injected, healed] = receipts(&place);
    assert_eq!(injected["held"], true, "{injected}");
    assert_eq!(lines(&healed, "void"), [""; 0]);

    let deaf = stands_in(&folder, &preload);
    run(&place, &deaf, fault).exits(3);
    let [_, healed] = receipts(&place);
    let void = lines(&healed, "void");
    assert!(
        void.iter()
            .any(|why| why.contains("never read its wall clock")),
        "{void:#?}"
    );
    place.assert_nothing_left();
}
