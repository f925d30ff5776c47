//! The lab, from outside: what its nodes see, and that nothing is ever left of it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::talk::{Home, LIMIT, Talk, Traces, User, children, users};

fn pid(id: u32) -> Pid {
    Pid::from_raw(id as i32).expect("not zero")
}

/// The controller: the only child of the process outside.
fn controller(talk: &Talk) -> u32 {
    children(talk.pid())[0]
}

#[test]
fn a_node_sees_itself_and_its_peers_and_nothing_else() {
    for user in users() {
        let home = Home::new(user);
        fs::write(home.path().join("tmp/secret"), "").expect("a file in the machine's /tmp");
        let mut lab = Talk::start(&home, 3);

        assert_eq!(lab.output("n2", "uname -n"), "n2\n");
        assert_eq!(lab.output("n2", "cat /etc/hostname"), "n2\n");
        let hosts = lab.output("n1", "cat /etc/hosts");
        for line in [
            "10.77.0.1 n1",
            "10.77.0.2 n2",
            "10.77.0.3 n3",
            "127.0.0.1 localhost",
        ] {
            assert!(hosts.lines().any(|l| l == line), "{line} is not in {hosts}");
        }
        assert_eq!(
            lab.output("n1", "ls -A /tmp /dev/shm | tr -d '\\n'"),
            "/dev/shm:/tmp:"
        );
        assert_eq!(lab.output("n1", "cat /proc/1/comm"), "schism-agent\n");
        // A table of its own, where the kernel knows how; one that is shared is a negative number.
        if Path::new("/proc/sys/net/ipv4/tcp_child_ehash_entries").exists() {
            let table = lab.output("n1", "cat /proc/sys/net/ipv4/tcp_ehash_entries");
            assert_eq!(table, "1024\n");
        }
        // The agent, the shell, and what the shell runs.
        let seen = lab.output("n1", "ls -d /proc/[0-9]*");
        assert!(seen.lines().count() <= 4, "{seen}");

        // Its folder is the run's, on the disk; all else cannot be written to.
        lab.output("n3", "echo kept > /srv/schism/data/file");
        let kept = home.nodes().join("n3/data/file");
        assert_eq!(fs::read_to_string(&kept).expect("n3 wrote it"), "kept\n");
        if let User::Ordinary(id) = user {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(&kept).expect("it is there").uid(), id);
        }
        assert_eq!(lab.output("n1", "ls /srv/schism/data"), "");
        let outside = home.nodes().join("n1/../../../cwd");
        for place in [
            "/etc",
            "/srv/schism/bin",
            "/root",
            "/var",
            &outside.to_string_lossy(),
        ] {
            // access(2) knows of read-only mounts, and leaves no trace where it succeeds.
            let ran = lab.run("n1", &format!("test -w {place}"));
            assert!(!ran.success, "{place} could be written to: {ran:?}");
        }
        assert_eq!(
            lab.output("n1", "cmp /srv/schism/bin/schism-agent /proc/1/exe"),
            ""
        );
    }
}

#[test]
fn peers_are_reached_at_once_and_no_packet_gets_out() {
    for user in users() {
        let home = Home::new(user);
        let mut lab = Talk::start(&home, 3);
        for (from, to) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (1, 254)] {
            // Nobody listens there, and only a peer that is there can say so.
            let answer = lab.ask(&format!("connect n{from} 10.77.0.{to}:9"));
            assert_eq!(answer, "Refused", "n{from} to {to}");
        }
        // An address that is in no network (RFC 5737), and the real machine by its own addresses.
        let mut beyond = vec!["192.0.2.1".to_string()];
        beyond.extend(addresses_of_this_machine());
        for address in beyond {
            let answer = lab.ask(&format!("connect n1 {address}:9"));
            assert_eq!(answer, "Unreachable", "{address}");
        }
        let routes = lab.output("n1", "cat /proc/net/route");
        assert_eq!(
            routes.lines().count(),
            2,
            "a heading and the lab's own network: {routes}"
        );
        let six = lab.output("n1", "cat /proc/net/if_inet6 2>/dev/null || true");
        assert_eq!(six, "", "no IPv6 address");
        assert!(
            !Path::new("/sys/class/net/schism").exists(),
            "the bridge is on the machine"
        );
    }
}

/// IPv4 addresses of this machine's interfaces, as the kernel's table of local routes has them.
fn addresses_of_this_machine() -> Vec<String> {
    let table = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let mut found: Vec<String> = lines
        .windows(2)
        .filter(|pair| pair[1] == "/32 host LOCAL")
        .filter_map(|pair| Some(pair[0].strip_prefix("|-- ")?.to_string()))
        .filter(|address| !address.starts_with("127.") && !address.starts_with("10.77.0."))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn nothing_is_left_when_either_process_is_killed() {
    for user in users() {
        for inner in [false, true] {
            let home = Home::new(user);
            let mut lab = Talk::start(&home, 3);
            // A daemon in full swing; nobody waits for its answer.
            lab.say("n1 echo > /tmp/trace; echo > /dev/shm/trace; echo begun; exec sleep 1000");
            let beside = Home::new(User::Same);
            let mut other = Talk::start(&beside, 1);

            let traces = Traces::of(&home, &[lab.pid()]);
            // Outside, controller, three keepers, three agents; perhaps the daemon by now.
            assert!(traces.processes() >= 8, "{}", traces.processes());
            for kind in ["pid", "net", "mnt", "uts", "ipc"] {
                assert_eq!(
                    traces.namespaces(kind),
                    4,
                    "{kind} of three nodes and the controller"
                );
            }
            assert!(!traces.left().is_empty(), "the search finds what is there");

            let victim = if inner { controller(&lab) } else { lab.pid() };
            kill_process(pid(victim), Signal::KILL).expect("it runs");
            let status = lab.wait();
            if inner {
                assert_eq!(status.code(), Some(137), "the death is told");
            }
            traces.vanish();
            assert_eq!(home.strays(), Vec::<std::path::PathBuf>::new());
            assert!(!mounted(home.path()), "a mount is left");
            // Another lab on the machine has noticed nothing.
            assert_eq!(other.output("n1", "uname -n"), "n1\n");
        }
    }
}

fn mounted(below: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    mounts.contains(&*below.to_string_lossy())
}

#[test]
fn nothing_is_left_when_it_is_killed_on_its_way_up() {
    for user in users() {
        // Outside, controller, `ip`, keepers, agents: at each count the way up is elsewhere.
        for count in 1..=8 {
            let home = Home::new(user);
            let mut lab = Talk::launch(&home, 3);
            let start = Instant::now();
            let mut traces = Traces::of(&home, &[lab.pid()]);
            while traces.processes() < count {
                assert!(start.elapsed() < LIMIT, "it does not come up");
                traces = Traces::of(&home, &[lab.pid()]);
            }
            kill_process(pid(lab.pid()), Signal::KILL).expect("it runs");
            lab.wait();
            traces.vanish();
            assert_eq!(home.strays(), Vec::<std::path::PathBuf>::new());
        }
    }
}

#[test]
fn a_signal_to_the_group_arrives_once_and_the_exit_code_comes_back() {
    for user in users() {
        let home = Home::new(user);
        let mut lab = Talk::start(&home, 1);
        let traces = Traces::of(&home, &[lab.pid()]);
        kill_process_group(pid(lab.pid()), Signal::INT).expect("it runs");
        assert_eq!(lab.hear(), "SIGINT");
        kill_process(pid(lab.pid()), Signal::TERM).expect("it runs");
        assert_eq!(lab.hear(), "SIGTERM");
        // Had the first arrived twice, it would be heard before this.
        assert_eq!(lab.output("n1", "echo here"), "here\n");
        lab.say("exit 23");
        assert_eq!(lab.wait().code(), Some(23));
        traces.vanish();
        assert_eq!(home.strays(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_signal_that_the_controller_has_no_handler_for_ends_it() {
    let home = Home::new(User::Same);
    let mut lab = Talk::start(&home, 1);
    let traces = Traces::of(&home, &[lab.pid()]);
    kill_process(pid(lab.pid()), Signal::HUP).expect("it runs");
    assert_eq!(lab.wait().code(), Some(128 + 1));
    traces.vanish();
}

#[test]
fn a_lab_can_be_taken_down_and_brought_up_again() {
    let home = Home::new(User::Same);
    let mut lab = Talk::start(&home, 2);
    lab.output("n1", "echo 1 > /srv/schism/data/kept; echo 1 > /tmp/gone");
    let keepers = children(controller(&lab));
    let nodes = Traces::of(&home, &keepers);
    assert_eq!((keepers.len(), nodes.namespaces("net")), (2, 2));
    let answer = lab.ask("down");
    assert!(answer.starts_with("ready "), "{answer}");
    // Not in a while: when `down` returns, they are gone.
    assert_eq!(nodes.left(), Vec::<String>::new());
    assert_eq!(
        lab.output("n1", "ls /srv/schism/data /tmp | tr '\\n' ' '"),
        "/srv/schism/data: kept  /tmp: "
    );
}

#[test]
fn every_node_that_does_not_come_up_is_named_with_its_reason() {
    let home = Home::new(User::Same);
    for (agent, reason) in [
        ("/bin/false", "its output ended"),
        ("/etc/passwd", "Permission denied"),
    ] {
        let output = home
            .command("3")
            .env("SCHISM_AGENT", agent)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        for node in ["n1", "n2", "n3"] {
            assert!(
                said.contains(&format!("{node}: ")),
                "{node} is not in {said}"
            );
        }
        assert_eq!(said.matches(reason).count(), 3, "{said}");
    }
}

#[test]
fn what_a_lab_cannot_be_is_refused() {
    let home = Home::new(User::Same);
    for (nodes, reason) in [("0", "1 to 9 nodes, not 0"), ("10", "1 to 9 nodes, not 10")] {
        let output = home.command(nodes).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    let output = home
        .command("1")
        .env("SCHISM_AGENT", "/nowhere")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("/nowhere") && said.contains("cargo build"),
        "{said}"
    );
}
