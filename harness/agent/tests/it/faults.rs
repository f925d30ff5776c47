//! Each fault, seen by another path than the agent's, and its inverse.

mod clocks;
mod processes;

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::alone::alone;
use crate::session::{Session, program, until};
use crate::sight;

fn cut(rules: Value) -> Value {
    json!({"kind": "cut", "rules": rules})
}

/// A second network namespace, and an Ethernet cable to it: 10.9.0.1 here, 10.9.0.2 there.
struct Beyond(Child);

impl Beyond {
    fn open() -> Beyond {
        let sleep = ["--net", "sleep", "7761"];
        let beyond = Beyond(
            Command::new("unshare")
                .args(sleep)
                .spawn()
                .expect("`unshare`"),
        );
        let pid = until("it is there", || sight::sleepers("7761").pop()).to_string();
        let ip = |words: &str| sight::output("ip", &words.split(' ').collect::<Vec<_>>());
        ip("link add v0 type veth peer name v1");
        ip(&format!("link set v1 netns {pid}"));
        ip("addr add 10.9.0.1/24 dev v0");
        ip("link set v0 up");
        for words in ["addr add 10.9.0.2/24 dev v1", "link set v1 up"] {
            let enter = format!("--net --target {pid} ip {words}");
            sight::output("nsenter", &enter.split(' ').collect::<Vec<_>>());
        }
        beyond
    }

    /// An agent over there, and the address at which it answers probes.
    fn agent(&self, dir: &Path) -> (Session, String) {
        let mut command = Command::new("nsenter");
        command.args([
            "--net",
            "--target",
            &self.0.id().to_string(),
            program(),
            "--dir",
        ]);
        let (agent, hello) = Session::with(command.arg(dir), 600_000);
        (agent, format!("10.9.0.2:{}", hello["probe_port"]))
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A drop in `output` or `postrouting` would fail `send` with EPERM, one on egress with ENOBUFS for
/// sockets that ask for errors. No network says either.
#[test]
fn a_sender_does_not_notice_that_its_packets_are_lost() {
    alone(
        "faults::a_sender_does_not_notice_that_its_packets_are_lost",
        || {
            let (dir, other) = (
                tempfile::tempdir().expect("a folder"),
                tempfile::tempdir().expect("a folder"),
            );
            let beyond = Beyond::open();
            let mut agent = Session::open(dir.path());
            let (mut there, peer) = beyond.agent(other.path());
            let socket = UdpSocket::bind("10.9.0.1:0").expect("binds");
            let on: i32 = 1;
            // SAFETY: an int, as ip(7) asks for.
            let set = unsafe {
                use std::os::fd::AsRawFd;
                let value = (&raw const on).cast();
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_IP, libc::IP_RECVERR, value, 4)
            };
            assert_eq!(set, 0);
            let probe = |agent: &mut Session, nonce: u64| {
                let probe = json!({"do": "probe", "peers": [&peer], "nonce": nonce, "count": 2, "wait_ms": 1_000});
                agent.get(probe)["answered"]
                    .as_object()
                    .expect("a map")
                    .len()
            };
            let seen = |there: &mut Session, nonce: u64| {
                there.get(json!({"do": "seen", "nonce": nonce}))["from"].clone()
            };
            // Not the first packets of all: those wait for the neighbour's address.
            until("the cable works", || {
                (probe(&mut agent, 1) == 1).then_some(())
            });
            assert_ne!(seen(&mut there, 1), json!({}));
            agent.inject(1, &cut(json!([{"direction": "out", "peer": "10.9.0.2"}])));
            for _ in 0..5 {
                socket
                    .send_to(b"lost", &peer)
                    .expect("the sender sees no error");
            }
            assert_eq!(probe(&mut agent, 2), 0);
            assert_eq!(seen(&mut there, 2), json!({}));
            let healed = agent.heal(1);
            assert_eq!(healed["evidence"][0], "7 packets were dropped");
            until("the cable works", || {
                (probe(&mut agent, 3) == 1).then_some(())
            });
            // The other way round: what arrives is dropped, so it is sent, and not seen.
            there.inject(1, &cut(json!([{"direction": "in", "peer": "10.9.0.1"}])));
            assert_eq!(probe(&mut agent, 4), 0);
            assert_eq!(seen(&mut there, 4), json!({}));
            // One way only: what the other side asks arrives, the answers do not come back.
            there.heal(1);
            agent.inject(2, &cut(json!([{"direction": "in", "peer": "10.9.0.2"}])));
            assert_eq!(probe(&mut agent, 5), 0);
            assert_eq!(seen(&mut there, 5), json!({"10.9.0.1": 2}));
        },
    );
}

#[test]
fn a_cut_of_one_direction_and_port_leaves_the_rest() {
    alone(
        "faults::a_cut_of_one_direction_and_port_leaves_the_rest",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let (cut_off, other) = (
                TcpListener::bind("127.0.0.1:0").expect("binds"),
                TcpListener::bind("127.0.0.1:0").expect("binds"),
            );
            let connect = |agent: &mut Session, to: &TcpListener| {
                let to = to.local_addr().expect("has one");
                agent.get(json!({"do": "connect", "to": to, "timeout_ms": 700}))
            };
            let port = cut_off.local_addr().expect("has one").port();
            // No response: requests arrive, replies do not.
            for direction in ["in", "out"] {
                assert_eq!(connect(&mut agent, &cut_off), "yes");
                agent.inject(
                    1,
                    &cut(json!([{"direction": direction, "local_port": port}])),
                );
                assert_eq!(connect(&mut agent, &cut_off), "timed-out", "{direction}");
                assert_eq!(connect(&mut agent, &other), "yes");
                agent.heal(1);
            }
            assert_eq!(connect(&mut agent, &cut_off), "yes");
        },
    );
}

#[test]
fn a_share_of_packets_is_lost_in_both_families() {
    alone(
        "faults::a_share_of_packets_is_lost_in_both_families",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            for (fault, address) in [(1, "127.0.0.1"), (2, "::1")] {
                let to = UdpSocket::bind((address, 0)).expect("binds");
                let from = UdpSocket::bind((address, 0)).expect("binds");
                from.connect(to.local_addr().expect("has one"))
                    .expect("connects");
                let rules = json!([{"direction": "in", "peer": address, "per_million": 500_000}]);
                agent.inject(fault, &cut(rules));
                for _ in 0..2_000 {
                    from.send(b"x").expect("sends");
                }
                let healed = agent.heal(fault);
                let text = healed["evidence"][0].as_str().expect("text");
                let count: u32 = text
                    .split(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a number");
                // Half of them, give or take eighteen standard deviations.
                assert!((600..=1_400).contains(&count), "{text}");
            }
        },
    );
}

#[test]
fn cuts_add_up_and_what_is_not_ours_is_not_touched() {
    alone(
        "faults::cuts_add_up_and_what_is_not_ours_is_not_touched",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            sight::output("nft", &["add", "table", "inet", "theirs"]);
            let mut agent = Session::open(dir.path());
            let rule = |peer: &str| cut(json!([{"direction": "in", "peer": peer}]));
            agent.inject(1, &rule("10.0.0.1"));
            agent.inject(2, &rule("10.0.0.2"));
            let rules = || sight::output("nft", &["list", "table", "inet", "schism"]);
            assert!(rules().contains("10.0.0.1") && rules().contains("10.0.0.2"));
            agent.heal(1);
            assert!(!rules().contains("10.0.0.1") && rules().contains("10.0.0.2"));
            // Somebody else removes it meanwhile: healing says so, and is no error.
            sight::output("nft", &["delete", "table", "inet", "schism"]);
            let healed = agent.heal(2);
            assert!(
                healed.to_string().contains("somebody removed them"),
                "{healed}"
            );
            assert_eq!(sight::tables(), ["table inet theirs"]);
        },
    );
}

/// A table of our name that is not ours is not even looked into.
#[test]
fn somebody_elses_table_of_our_name_is_left_alone() {
    alone(
        "faults::somebody_elses_table_of_our_name_is_left_alone",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let request = json!({"do": "inject", "fault": 1, "kind": "cut",
                "rules": [{"direction": "in", "peer": "10.0.0.1"}]});
            agent.get(request.clone());
            agent.heal(1);
            for family in ["inet", "netdev"] {
                let theirs = format!(
                    "table {family} schism {{ chain in {{ counter comment \"fault 1\"; }}; }}"
                );
                sight::output("nft", &[&theirs]);
                let shown = || sight::output("nft", &["list", "ruleset"]);
                let theirs = shown();
                let error = agent.ask(request.clone()).expect_err("refused");
                let table = format!("`{family} schism` that is not the agent's own");
                assert!(error.contains(&table), "{error}");
                assert_eq!(shown(), theirs);
                // Nor after a crash that left a cut in the journal.
                agent.kill();
                let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("reads");
                let journal = format!(
                    "{{\"record\":\"boot\",\"id\":\"{}\"}}\n{{\"record\":\"inject\",\"fault\":1,\
                     \"kind\":\"cut\",\"rules\":[{{\"direction\":\"in\",\"peer\":\"10.0.0.1\"}}]}}\n",
                    boot.trim()
                );
                fs::write(dir.path().join("undo.jsonl"), journal).expect("writes");
                let dir = dir.path().to_str().expect("text");
                let said = sight::output(program(), &["heal", "--dir", dir]);
                assert!(
                    said.contains("left alone the packet filter table"),
                    "{said}"
                );
                assert_eq!(shown(), theirs);
                sight::output("nft", &["delete", "table", family, "schism"]);
                agent = Session::open(Path::new(dir));
            }
        },
    );
}

#[test]
fn a_cut_that_would_match_the_control_path_is_refused() {
    alone(
        "faults::a_cut_that_would_match_the_control_path_is_refused",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let mut request = cut(json!([{"direction": "in"}]));
            request["do"] = "inject".into();
            request["fault"] = 1.into();
            let error = agent.ask(request).expect_err("refused");
            assert!(error.contains("control path"), "{error}");
            assert_eq!(agent.get(json!({"do": "in-force"})), json!([]));
            assert_eq!(
                fs::metadata(dir.path().join("undo.jsonl"))
                    .expect("is there")
                    .len(),
                0
            );
        },
    );
}

#[test]
fn packets_are_shaped_by_our_own_discipline_or_refused_with_the_reason() {
    alone(
        "faults::packets_are_shaped_by_our_own_discipline_or_refused_with_the_reason",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let link = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
            sight::output("ip", &link);
            let shown = || sight::output("tc", &["qdisc", "show", "dev", "v0"]);
            let before = shown();
            let (mut agent, hello) = Session::with(
                Command::new(program()).arg("--dir").arg(dir.path()),
                600_000,
            );
            let offers = hello["offers"].to_string();
            for (offer, kind, word) in [
                (
                    "tbf",
                    json!({"kind": "packet", "peers": ["10.0.0.2"], "rate_kbit": 512}),
                    "tbf",
                ),
                (
                    "netem",
                    json!({"kind": "packet", "delay_us": 1_000}),
                    "netem",
                ),
            ] {
                if offers.contains(offer) {
                    agent.inject(1, &kind);
                    assert!(shown().contains(word), "{}", shown());
                    agent.heal(1);
                } else {
                    let mut request = kind.clone();
                    request["do"] = "inject".into();
                    request["fault"] = 1.into();
                    let error = agent.ask(request).expect_err("refused");
                    assert!(
                        error.contains("this node cannot") && error.contains(word),
                        "{error}"
                    );
                }
                assert_eq!(shown(), before);
            }
            // A discipline that somebody else has set is not ours to replace.
            let theirs = [
                "qdisc", "add", "dev", "v0", "root", "handle", "77:", "pfifo",
            ];
            sight::output("tc", &theirs);
            let theirs = shown();
            let kind = json!({"do": "inject", "fault": 2, "kind": "packet", "rate_kbit": 512});
            let error = agent.ask(kind).expect_err("refused");
            assert!(
                error.contains("not ours") || error.contains("this node cannot"),
                "{error}"
            );
            assert_eq!(shown(), theirs);
        },
    );
}

#[test]
fn probes_are_answered_and_remembered_unless_they_are_cut() {
    alone(
        "faults::probes_are_answered_and_remembered_unless_they_are_cut",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let (mut agent, hello) = Session::with(
                Command::new(program()).arg("--dir").arg(dir.path()),
                600_000,
            );
            let peer = format!("127.0.0.1:{}", hello["probe_port"]);
            let probe = |agent: &mut Session, nonce: u64| {
                let wait_ms = 700;
                agent.get(
                    json!({"do": "probe", "peers": [&peer], "nonce": nonce, "count": 3,
                "wait_ms": wait_ms}),
                )
            };
            let seen = |agent: &mut Session, nonce: u64| {
                agent.get(json!({"do": "seen", "nonce": nonce}))["from"].clone()
            };
            let answered = probe(&mut agent, 1);
            assert!(
                answered["answered"][&peer]
                    .as_u64()
                    .is_some_and(|ns| ns > 0),
                "{answered}"
            );
            assert_eq!(seen(&mut agent, 1), json!({"127.0.0.1": 3}));
            agent.inject(1, &cut(json!([{"direction": "in", "peer": "127.0.0.1"}])));
            assert_eq!(probe(&mut agent, 2)["answered"], json!({}));
            assert_eq!(seen(&mut agent, 2), json!({}));
            agent.heal(1);
            assert_ne!(probe(&mut agent, 3)["answered"], json!({}));
        },
    );
}
