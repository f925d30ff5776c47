//! Nodes that are not what they were: whoever took one over gets no further than that node.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::machines::World;
use crate::support::Ended;
use crate::terminal::forced;

pub const BRIEF: &[&str] = &[
    "--accept-new-host-keys",
    "--nemesis",
    "none",
    "--time-limit",
    "1s",
    "--rate",
    "50",
];

/// Puts a script in the place of one of the node's programs. `$real` is the program itself.
pub fn instead_of(program: &str, script: &str) -> String {
    format!(
        "cp /usr/bin/{program} /run/{program}.real\ncat >/run/{program} <<'END'\n#!/bin/sh\n\
         real=/run/{program}.real\n{script}\nEND\nchmod 755 /run/{program}\n\
         mount --bind /run/{program} /usr/bin/{program}\n"
    )
}

#[test]
fn a_node_names_no_file_outside_of_its_own_folder_here() {
    // Each name leads to the controller's files by another way; the contents are there to be had.
    let find = "case \"$*\" in *'-type f'*) ;; *) exec $real \"$@\";; esac\n\
        victim=$(cat /var/lib/victim)\n\
        mkdir -p \".$victim-folder\"; echo owned >\".$victim\"; echo owned >\".$victim-folder/new\"\n\
        echo owned >../../../owned; echo owned >agent.log; echo fine >fine.log\n\
        echo \"./$victim\"; echo \"./$victim-folder/new\"\n\
        echo ./../../../owned; echo ./a/../../../../owned; echo ./..\n\
        echo ./agent.log; printf './ring\\007\\n'; echo ./fine.log\n\
        exec $real \"$@\" -name '*.log' ! -name agent.log ! -name fine.log";
    // A log that never ends, and one that is long.
    let head = "exec cat /dev/zero";
    let long = "case \"$*\" in *'-type f'*) $real /dev/null; \
        yes 0123456 | head -c 50000000 >long.log;; esac; exec $real \"$@\"";
    let special = [
        (1, &instead_of("find", find)[..]),
        (2, &instead_of("head", head)),
        (3, &instead_of("find", long)),
    ];
    let Some(world) = World::new(3, &special) else {
        return;
    };
    let victim = world.place.file("victim", "precious");
    let victim = victim.to_str().expect("text");
    fs::create_dir(format!("{victim}-folder")).expect("ours");
    let told = world.on(1, &format!("echo {victim} >/var/lib/victim"));
    assert_eq!(told.code, 0, "{told:?}");

    let ended = world.ends("n1,n2,n3", BRIEF).exits(0).prints(&[
        "collecting logs: n1:",
        "no name of a file below its log folder",
        "agent.log",
        "File exists",
        "n2: log",
        "more than are due",
    ]);
    assert!(!ended.stdout.contains('\u{7}'));
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    let new = fs::read_dir(format!("{victim}-folder")).expect("ours");
    assert_eq!(new.count(), 0);

    let nodes = world.place.latest().join("nodes");
    let read = |log: &str| fs::read(nodes.join(log)).unwrap_or_default();
    assert_eq!(read("n1/log/fine.log"), b"fine\n");
    assert!(!read("n1/log/paxos-kv.log").is_empty());
    assert!(!String::from_utf8_lossy(&read("n1/log/agent.log")).contains("owned"));
    for place in [&nodes, &world.place.latest(), &world.place.store()] {
        assert!(!place.join("owned").exists());
    }
    let long = read("n3/log/long.log");
    let said = b"\n[16445568 bytes are left out here]\n";
    assert_eq!(long.len(), (32 << 20) + said.len());
    let at = 16 << 20;
    assert_eq!(&long[at..at + said.len()], said);
    assert_eq!(&long[..8], b"0123456\n");
}

#[test]
fn a_node_that_says_too_much_or_nothing_is_given_up_within_the_time_that_is_said() {
    let endless = [
        "cat /dev/zero",
        "cat /dev/zero >&2",
        "exec sleep 1000",
        "while :; do echo x; sleep 0.2; done",
    ];
    let scripts: Vec<String> = endless.iter().map(|script| forced(script)).collect();
    let special: Vec<_> = (1..).zip(scripts.iter().map(String::as_str)).collect();
    let Some(world) = World::new(4, &special) else {
        return;
    };
    let mut run = world.schism("n1,n2,n3,n4", BRIEF);
    let run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let status = format!("/proc/{}/status", run.id());
    // All of it, with what it holds for the nodes, is small as long as it lives.
    let ended = std::thread::spawn(move || run.wait_with_output().expect("it ends"));
    let mut most = 0;
    while !ended.is_finished() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = Ended::of(ended.join().expect("no panic")).exits(4);
    assert!(most < 500_000, "{most} KiB");
    let said: Vec<&str> = ended.stderr.lines().collect();
    let of = |node: &str| {
        let line = said.iter().find(|line| line.contains(&format!("{node}: ")));
        line.unwrap_or_else(|| panic!("{node} is not in {}", ended.stderr))
    };
    assert!(of("n1").contains("more than are due"), "{}", of("n1"));
    for node in ["n2", "n3", "n4"] {
        assert!(of(node).contains("no answer within 60 s"), "{}", of(node));
    }
}

#[test]
fn an_agent_that_never_ends_its_line_is_one_that_is_gone() {
    // What is started as the agent is something else.
    let hostile = "case \"$SSH_ORIGINAL_COMMAND\" in *--control*) exec cat /dev/zero;; esac; \
        exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let Some(world) = World::new(1, &[(1, &forced(hostile))]) else {
        return;
    };
    let ended = world.ends("n1", BRIEF).exits(4);
    ended.says(&["n1: ", "a line of more than", "bytes"]);
    let listed = world.place.schism(&["list", "--json"]).exits(0);
    let row: Value = serde_json::from_str(&listed.stdout).expect("one run");
    assert_ne!(row["verdict"], "valid");
}

/// Not hostile, but slow: three times as long as a connection that is not used says nothing.
#[test]
fn a_command_that_is_silent_for_long_is_waited_for() {
    let slow = forced(
        "[ -e /run/late ] || { sleep 32; : >/run/late; }\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
    );
    let Some(world) = World::new(1, &[(1, &slow)]) else {
        return;
    };
    world.ends("n1", BRIEF).exits(0).prints(&["VALID"]);
}

/// The session dies while the daemon is being started, and the agent lives on: nothing that counts
/// was asked of it yet.
#[test]
fn a_link_that_is_lost_before_the_run_begins_is_told_and_spoils_nothing() {
    let cut = forced(
        "case \"$SSH_ORIGINAL_COMMAND\" in *--watchdog*)\n\
         (sleep 3; for p in /proc/[0-9]*; do read -r name <$p/comm && [ \"$name\" = sshd ] && \
         [ ${p#/proc/} != 1 ] && kill -9 ${p#/proc/}; done) >/dev/null 2>&1 & ;; esac\n\
         exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
    );
    let Some(world) = World::new(1, &[(1, &cut)]) else {
        return;
    };
    let slow = world.place.script("slow.sh", "sleep 12; exec REAL \"$@\"");
    let mut run = world.schism("n1", BRIEF);
    let ended = Ended::of(
        run.env("SCHISM_PAXOS_KV", slow)
            .output()
            .expect("it starts"),
    );
    ended.exits(0).prints(&[
        "VALID",
        "before the run began: n1: the link was lost",
        "taken up again",
    ]);
}
