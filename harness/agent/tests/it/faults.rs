//! Each fault, seen by another path than the agent's, and its inverse.

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
fn a_pause_stops_every_process_of_the_tree_and_only_the_last_heal_resumes() {
    alone(
        "faults::a_pause_stops_every_process_of_the_tree_and_only_the_last_heal_resumes",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            // A child, one in a session of its own, and an orphan in a session of its own.
            let script = "sleep 7771 & setsid sleep 7772 & (setsid sleep 7773 &); sleep 7774";
            agent.start("d", script, dir.path());
            let pids: Vec<u32> = ["7771", "7772", "7773", "7774"]
                .map(|word| until("it runs", || sight::sleepers(word).pop()))
                .to_vec();
            let all = |state: char| pids.iter().all(|pid| sight::state(*pid) == Some(state));
            let pause = json!({"kind": "pause", "daemon": "d"});
            agent.inject(1, &pause);
            assert!(all('T'));
            assert_eq!(agent.state("d")["state"], "paused");
            agent.inject(2, &pause);
            agent.heal(1);
            assert!(all('T'), "fault 2 still holds it");
            agent.heal(2);
            until("all sleep again", || all('S').then_some(()));
            assert_eq!(agent.state("d")["state"], "running");
        },
    );
}

#[test]
fn a_kill_takes_the_whole_tree_and_healing_starts_it_again() {
    alone(
        "faults::a_kill_takes_the_whole_tree_and_healing_starts_it_again",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let first = agent.start("d", "(setsid sleep 7781 &); sleep 7782", dir.path());
            until("it runs", || sight::sleepers("7781").pop());
            // Stopped processes die too.
            agent.inject(1, &json!({"kind": "pause", "daemon": "d"}));
            agent.inject(2, &json!({"kind": "kill", "daemon": "d"}));
            assert!(sight::sleepers("7781").is_empty());
            assert!(sight::sleepers("7782").is_empty());
            let note = agent.note(|note| note["note"] == "exited");
            let wanted = json!({"note": "exited", "daemon": "d", "pid": first, "status": "signal 9",
            "expected": true});
            assert_eq!(note, wanted);
            let daemon = json!({"name": "d", "argv": ["true"], "cwd": "/", "log": "/dev/null"});
            let error = agent
                .ask(json!({"do": "start", "daemon": daemon}))
                .expect_err("refused");
            assert!(error.contains("held dead by fault 2"), "{error}");
            // Started again, it is under the pause that is still in force.
            agent.heal(2);
            assert_eq!(agent.state("d")["state"], "paused");
            agent.heal(1);
            assert_eq!(agent.state("d")["state"], "running");
            until("it runs", || sight::sleepers("7782").pop());
        },
    );
}

/// What a daemon's log says the time is, in seconds, by the last line.
fn told(dir: &Path) -> f64 {
    let log = fs::read_to_string(dir.join("clock.log")).unwrap_or_default();
    let whole = &log[..log.rfind('\n').unwrap_or(0)];
    whole
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .unwrap_or(0.0)
}

fn truth() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

#[test]
fn clocks_are_off_by_the_sum_of_their_faults_and_true_again() {
    alone(
        "faults::clocks_are_off_by_the_sum_of_their_faults_and_true_again",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let script = "while :; do echo $EPOCHREALTIME; sleep 0.02; done";
            let root = agent.start("clock", script, dir.path());
            let off_by = |seconds: f64| {
                // The log is a little late, the two hours that tell faults apart are not.
                until("the daemon tells this time", || {
                    ((told(dir.path()) - truth() - seconds).abs() < 600.0).then_some(())
                });
            };
            let jump = |hours: i64| {
                let delta_ns = hours * 3_600_000_000_000;
                json!({"kind": "clock", "daemon": "clock", "how": "jump", "delta_ns": delta_ns})
            };
            off_by(0.0);
            agent.inject(1, &jump(3));
            off_by(3.0 * 3600.0);
            agent.inject(2, &jump(-5));
            off_by(-2.0 * 3600.0);
            // A start during the fault never sees the true time.
            agent.inject(3, &json!({"kind": "kill", "daemon": "clock"}));
            fs::write(dir.path().join("clock.log"), "").expect("empties");
            agent.heal(3);
            until("it tells the time", || {
                (told(dir.path()) > 0.0).then_some(())
            });
            let log = fs::read_to_string(dir.path().join("clock.log")).expect("reads");
            let first: f64 = log
                .lines()
                .next()
                .and_then(|line| line.parse().ok())
                .expect("a time");
            assert!((first - truth() + 2.0 * 3600.0).abs() < 600.0, "{first}");
            let clocks = agent.get(json!({"do": "clocks", "daemon": "clock"}));
            let seen = clocks["daemon_offset_ns"][0].as_i64().expect("a number");
            let error = clocks["window_ns"].as_i64().expect("a number");
            assert!((seen + 2 * 3_600_000_000_000).abs() <= error, "{clocks}");
            agent.heal(1);
            off_by(-5.0 * 3600.0);
            agent.heal(2);
            off_by(0.0);
            let now = agent.state("clock")["pid"].as_u64().expect("a number") as u32;
            assert_ne!(now, root);
            assert_eq!(sight::clocks_untouched(now), Some(true));
        },
    );
}

#[test]
fn a_frozen_daemon_misses_time_on_both_clocks_and_makes_it_up_or_not() {
    alone(
        "faults::a_frozen_daemon_misses_time_on_both_clocks_and_makes_it_up_or_not",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let root = agent.start("d", "exec sleep 7791", dir.path());
            until("it runs", || sight::sleepers("7791").pop());
            let freeze = |kept: bool| json!({"kind": "clock", "daemon": "d", "how": "freeze", "pause_ms": 200, "kept": kept});
            let offsets = |agent: &mut Session| {
                let clocks = agent.get(json!({"do": "clocks", "daemon": "d"}));
                let of = |at: usize| clocks["daemon_offset_ns"][at].as_i64().expect("a number");
                (
                    of(0),
                    of(1),
                    clocks["window_ns"].as_i64().expect("a number"),
                )
            };
            let lags = |agent: &mut Session, lag: i64| {
                let (realtime, monotonic, error) = offsets(agent);
                assert!((realtime + lag).abs() <= error, "{realtime} {error}");
                assert!((monotonic + lag).abs() <= error, "{monotonic} {error}");
            };
            agent.inject(1, &freeze(false));
            until("it runs on", || {
                (sight::state(root) == Some('S')).then_some(())
            });
            lags(&mut agent, 200_000_000);
            agent.heal(1);
            assert_eq!(sight::clocks_untouched(root), Some(true));
            // Kept: healing leaves the lag, and the journal remembers that there is something to
            // undo.
            agent.inject(2, &freeze(true));
            until("it runs on", || {
                (sight::state(root) == Some('S')).then_some(())
            });
            agent.heal(2);
            lags(&mut agent, 200_000_000);
            assert_ne!(
                fs::metadata(dir.path().join("undo.jsonl"))
                    .expect("is there")
                    .len(),
                0
            );
            agent.get(json!({"do": "heal-all"}));
            assert_eq!(offsets(&mut agent).0, 0);
            assert_eq!(sight::clocks_untouched(root), Some(true));
            assert_eq!(
                fs::metadata(dir.path().join("undo.jsonl"))
                    .expect("is there")
                    .len(),
                0
            );
            // Healed before its time it runs at once, with nothing to make up.
            let mut long = freeze(false);
            long["pause_ms"] = 3_600_000.into();
            agent.inject(3, &long);
            assert_eq!(sight::state(root), Some('T'));
            agent.heal(3);
            assert_eq!(sight::state(root), Some('S'));
            assert_eq!(sight::clocks_untouched(root), Some(true));
        },
    );
}

#[test]
fn a_strobe_goes_to_and_fro_and_a_drift_grows() {
    alone("faults::a_strobe_goes_to_and_fro_and_a_drift_grows", || {
        let dir = tempfile::tempdir().expect("a folder");
        let mut agent = Session::open(dir.path());
        let root = agent.start("d", "exec sleep 7801", dir.path());
        until("it runs", || sight::sleepers("7801").pop());
        let offset = |agent: &mut Session| {
            let clocks = agent.get(json!({"do": "clocks", "daemon": "d"}));
            clocks["daemon_offset_ns"][0].as_i64().expect("a number")
        };
        let hour = 3_600_000_000_000_i64;
        let strobe = json!({"kind": "clock", "daemon": "d", "how": "strobe", "delta_ns": hour,
            "period_us": 5_000});
        agent.inject(1, &strobe);
        for round in 0..3 {
            until("it is off", || {
                (offset(&mut agent) > hour / 2).then_some(())
            });
            until("it is true", || {
                (offset(&mut agent) < hour / 2).then_some(())
            });
            assert!(round < 3);
        }
        agent.heal(1);
        assert_eq!(sight::clocks_untouched(root), Some(true));
        let drift = json!({"kind": "clock", "daemon": "d", "how": "drift", "ppb": 500_000_000});
        agent.inject(2, &drift);
        // Half a second a second: more than any error of reading, soon.
        until("it is a second ahead", || {
            (offset(&mut agent) > 1_000_000_000).then_some(())
        });
        agent.heal(2);
        assert_eq!(sight::clocks_untouched(root), Some(true));
    });
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

/// The reaper must not leave the dead of a namespace whose process 1 it is, and must hear signals
/// that the kernel keeps from a process 1 without a handler.
#[test]
fn as_process_1_it_reaps_orphans_and_hears_sigterm() {
    alone(
        "faults::as_process_1_it_reaps_orphans_and_hears_sigterm",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut command = Command::new("unshare");
            command.args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                program(),
                "--dir",
            ]);
            let (mut agent, hello) = Session::with(command.arg(dir.path()), 600_000);
            assert_eq!(hello["pid"], 1);
            let script = "for i in 1 2 3; do (setsid sleep 0.01 &); done; exec sleep 7811";
            agent.start("d", script, dir.path());
            let count = "cat /proc/[0-9]*/stat | grep -c ') Z' ; ls -d /proc/[0-9]* | wc -l";
            until("all orphans are reaped", || {
                let ran = agent
                    .get(json!({"do": "run", "argv": ["sh", "-c", count], "timeout_ms": 60_000}));
                let text = ran["stdout"].as_str().expect("text").to_owned();
                let mut numbers = text
                    .lines()
                    .map(|line| line.trim().parse::<u32>().expect("a number"));
                let (zombies, all) = (numbers.next(), numbers.next().expect("a number"));
                // The agent, the daemon, the shell, `ls` and `wc`.
                (zombies == Some(0) && all <= 5).then_some(())
            });
            agent.inject(1, &json!({"kind": "pause", "daemon": "d"}));
            for pid in sight::running(program()) {
                sight::output("kill", &["-TERM", &pid.to_string()]);
            }
            assert!(agent.wait().success());
            agent.note(|note| note["note"] == "healed");
            assert!(sight::sleepers("7811").is_empty());
        },
    );
}

#[test]
fn commands_end_in_time_with_all_that_they_started() {
    alone(
        "faults::commands_end_in_time_with_all_that_they_started",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let run = |script: &str, stdin: &str, timeout_ms: u64| json!({"do": "run", "argv": ["sh", "-c", script], "stdin": stdin, "timeout_ms": timeout_ms});
            let limit = Duration::from_secs(60).as_millis() as u64;
            let ran = agent.get(run("cat; echo oops >&2; exit 3", "hello", limit));
            let wanted = json!({"status": "exit 3", "success": false, "stdout": "hello", "stderr": "oops\n"});
            assert_eq!(ran, wanted);
            let ran = agent.get(run("sleep 7821 & sleep 7822", "", 100));
            assert_eq!(ran["status"], "timeout");
            let ran = agent.get(run(
                "sleep 7821 & (setsid sleep 7822 &); echo done",
                "",
                limit,
            ));
            assert_eq!(
                (&ran["status"], &ran["stdout"]),
                (&json!("exit 0"), &json!("done\n"))
            );
            for word in ["7821", "7822"] {
                assert!(sight::sleepers(word).is_empty(), "{word}");
            }
            let error = agent
                .ask(json!({"do": "run", "argv": ["/no/such"], "timeout_ms": 1}))
                .expect_err("refused");
            assert!(
                error.contains("/no/such") && error.contains("No such file"),
                "{error}"
            );
        },
    );
}

#[test]
fn a_daemon_that_ends_by_itself_or_will_not_start_is_told() {
    alone(
        "faults::a_daemon_that_ends_by_itself_or_will_not_start_is_told",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let pid = agent.start("d", "echo first; echo last >&2; exit 7", dir.path());
            let note = agent.note(|note| note["note"] == "exited");
            let wanted = json!({"note": "exited", "daemon": "d", "pid": pid, "status": "exit 7", "expected": false});
            assert_eq!(note, wanted);
            assert_eq!(
                agent.state("d"),
                json!({"state": "stopped", "status": "exit 7"})
            );
            let tail = agent.get(json!({"do": "tail", "daemon": "d", "lines": 5}));
            assert_eq!(tail, "first\nlast");
            let daemon =
                json!({"name": "x", "argv": ["/no/such"], "cwd": "/", "log": dir.path().join("x")});
            let error = agent
                .ask(json!({"do": "start", "daemon": daemon}))
                .expect_err("refused");
            assert!(
                error.contains("\"x\"") && error.contains("/no/such"),
                "{error}"
            );
            // One that hears SIGTERM ends in its own way, long before its time is up: it has not
            // inherited the signals that the agent blocks for itself.
            agent.start(
                "good",
                "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done",
                dir.path(),
            );
            until("it is ready", || {
                let tail = agent.get(json!({"do": "tail", "daemon": "good", "lines": 1}));
                (tail == "ready").then_some(())
            });
            let stop = json!({"do": "stop", "daemon": "good", "grace_ms": 60_000});
            let stopped = agent.get(stop);
            assert_eq!(stopped, json!({"state": "stopped", "status": "exit 7"}));
            agent.note(|note| note["note"] == "exited");
            // One that ignores it is killed after the time it was given.
            agent.start(
                "d",
                "trap '' TERM; echo deaf; while :; do sleep 0.05; done",
                dir.path(),
            );
            until("it is deaf", || {
                let tail = agent.get(json!({"do": "tail", "daemon": "d", "lines": 1}));
                (tail == "deaf").then_some(())
            });
            let stopped = agent.get(json!({"do": "stop", "daemon": "d", "grace_ms": 50}));
            assert_eq!(stopped, json!({"state": "stopped", "status": "signal 9"}));
            let note = agent.note(|note| note["note"] == "exited");
            assert_eq!(note["expected"], true);
        },
    );
}
