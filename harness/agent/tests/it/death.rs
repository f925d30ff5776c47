//! The agent's end, however it comes, and what the next one makes of it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::alone::alone;
use crate::session::{Session, program, until};
use crate::sight;

fn kinds() -> Vec<(&'static str, Value)> {
    vec![
        (
            "cut",
            json!({"kind": "cut", "rules": [
            {"direction": "in", "peer": "10.0.0.9"}, {"direction": "out", "peer": "10.0.0.9"}]}),
        ),
        ("pause", json!({"kind": "pause", "daemon": "d"})),
        ("kill", json!({"kind": "kill", "daemon": "d"})),
        (
            "clock",
            json!({"kind": "clock", "daemon": "d", "how": "jump", "delta_ns": 1_000_000_000_000_i64}),
        ),
        (
            "freeze",
            json!({"kind": "clock", "daemon": "d", "how": "freeze", "pause_ms": 100, "kept": true}),
        ),
    ]
}

/// Starts a daemon, and returns its two processes. Nothing but its descent ties the second to it:
/// another session, an empty environment, and no parent once the agent (and with it the first) is
/// dead. Nobody may kill that as a stray, so it must be found whole. `round` tells it from those of
/// other daemons.
pub fn daemon(agent: &mut Session, dir: &Path, round: usize) -> (u32, u32) {
    let second = (8000 + round).to_string();
    let script = format!("setsid env -i sleep {second} & exec sleep 7902");
    agent.start("d", &script, dir);
    (
        until("it runs", || sight::sleepers("7902").pop()),
        until("its child runs", || sight::sleepers(&second).pop()),
    )
}

/// Ends what a dead agent's daemon left; it was let live on purpose.
pub fn end(pid: u32) {
    if sight::state(pid).is_some() {
        sight::output("kill", &["-KILL", &pid.to_string()]);
    }
    until("it is dead", || sight::state(pid).is_none().then_some(()));
}

/// The node is as if no agent had ever been there, `stray` included if it lives.
pub fn assert_whole(dir: &Path, stray: u32, when: &str) {
    assert_eq!(sight::tables(), [""; 0], "{when}");
    assert!(
        sight::sleepers("7902").is_empty(),
        "{when}: a daemon outlives its agent"
    );
    assert_ne!(sight::state(stray), Some('T'), "{when}");
    assert_ne!(sight::clocks_untouched(stray), Some(false), "{when}");
    let journal = fs::metadata(dir.join("undo.jsonl")).expect("is there");
    assert_eq!(journal.len(), 0, "{when}");
}

fn heal_by_hand(dir: &Path) -> String {
    sight::output(program(), &["heal", "--dir", dir.to_str().expect("text")])
}

/// Every point between two steps of every fault: before and after each write of the journal, and
/// half way through.
#[test]
fn killed_at_any_step_of_any_fault_the_next_agent_undoes_it() {
    alone(
        "death::killed_at_any_step_of_any_fault_the_next_agent_undoes_it",
        || {
            let points = [
                ("cut", "cut:journalled", false),
                ("cut", "cut:applied", true),
                ("cut", "cut:healed", false),
                ("pause", "pause:journalled", false),
                ("pause", "pause:stopping", false),
                ("pause", "pause:half", false),
                ("pause", "pause:applied", true),
                ("pause", "pause:healed", false),
                ("kill", "kill:journalled", false),
                ("kill", "kill:applied", true),
                ("kill", "kill:healed", false),
                ("clock", "clock:journalled", false),
                ("clock", "clock:shifting", false),
                ("clock", "clock:half", false),
                ("clock", "clock:covered", true),
                ("clock", "clock:applied", true),
                ("clock", "clock:healed", false),
                ("freeze", "clock:applied", true),
                ("freeze", "clock:thawing", true),
            ];
            for (at, (name, point, holds)) in points.into_iter().enumerate() {
                let dir = tempfile::tempdir().expect("a folder");
                let mut command = Command::new(program());
                command
                    .arg("--dir")
                    .arg(dir.path())
                    .env("SCHISM_AGENT_DIE_AT", point);
                let (mut agent, _) = Session::with(&mut command, 600_000);
                let (_, stray) = daemon(&mut agent, dir.path(), at);
                let kinds = kinds();
                let (_, kind) = kinds
                    .iter()
                    .find(|(known, _)| *known == name)
                    .expect("a kind");
                let mut request = kind.clone();
                request["do"] = "inject".into();
                request["fault"] = 7.into();
                agent.send(request);
                agent.send(json!({"do": "heal", "fault": 7}));
                assert_eq!(agent.wait().signal(), Some(9), "{point} was never reached");
                // The first process dies with the agent; the kernel may take a moment.
                until("the daemon is dead", || {
                    sight::sleepers("7902").is_empty().then_some(())
                });
                // A stopped thread that the agent held at its death runs for a moment, until it
                // stops again.
                until("nothing runs any more", || {
                    (sight::state(stray) != Some('R')).then_some(())
                });
                if holds {
                    let seen = match name {
                        "cut" => !sight::tables().is_empty(),
                        "pause" => sight::state(stray) == Some('T'),
                        "kill" => sight::state(stray).is_none(),
                        "clock" => sight::clocks_untouched(stray) == Some(false),
                        _ => {
                            sight::state(stray) == Some('T')
                                && sight::clocks_untouched(stray) == Some(false)
                        }
                    };
                    let clocks = sight::clocks_untouched(stray);
                    assert!(
                        seen,
                        "{point}: the dead agent left nothing, so this shows nothing: stray in \
                         state {:?}, clocks untouched {clocks:?}",
                        sight::state(stray)
                    );
                }
                let left = fs::metadata(dir.path().join("undo.jsonl"))
                    .expect("is there")
                    .len()
                    > 0;
                assert!(left, "{point}: nothing is journalled");
                if at % 2 == 0 {
                    heal_by_hand(dir.path());
                    assert_whole(dir.path(), stray, point);
                    assert_eq!(heal_by_hand(dir.path()), "no fault was left\n");
                } else {
                    let mut next = Command::new(program());
                    let (mut next, hello) =
                        Session::with(next.arg("--dir").arg(dir.path()), 600_000);
                    let healed = point.ends_with(":healed");
                    assert!(healed || hello["undone"] == json!([7]), "{point}: {hello}");
                    assert_whole(dir.path(), stray, point);
                    assert!(next.close().success());
                }
                assert_whole(dir.path(), stray, point);
                end(stray);
            }
        },
    );
}

/// The moments that nobody thought of.
#[test]
fn killed_at_random_moments_the_next_agent_undoes_it_all() {
    alone(
        "death::killed_at_random_moments_the_next_agent_undoes_it_all",
        || {
            use proptest::prelude::Rng;
            let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            let kinds = kinds();
            for round in 0..12 {
                let dir = tempfile::tempdir().expect("a folder");
                let mut agent = Session::open(dir.path());
                // Both carry the daemon's marker. One without would live on, and be spoilt for good
                // if the agent dies in the midst of running its code to ask it for the time.
                agent.start("d", "(setsid sleep 7901 &); exec sleep 7902", dir.path());
                let stray = until("it runs", || sight::sleepers("7901").pop());
                let mut sent = Vec::new();
                for fault in 0..12_u64 {
                    let (_, kind) = &kinds[random.next_u32() as usize % kinds.len()];
                    let mut request = kind.clone();
                    request["do"] = "inject".into();
                    request["fault"] = fault.into();
                    sent.push(request.to_string());
                    agent.send(request);
                    if fault >= 3 {
                        agent.send(json!({"do": "heal", "fault": fault - 3}));
                    }
                }
                thread::sleep(Duration::from_millis(u64::from(random.next_u32() % 400)));
                agent.kill();
                until("the daemon is dead", || {
                    sight::sleepers("7902").is_empty().then_some(())
                });
                let said = heal_by_hand(dir.path());
                let when = format!("round {round}: {sent:?}, healed: {said}");
                assert_whole(dir.path(), stray, &when);
                assert!(sight::sleepers("7901").is_empty(), "{when}");
            }
        },
    );
}

/// With its environment, a process of a dead daemon is known for a stray, and ends as the daemon
/// would have ended had the agent lived.
#[test]
fn what_is_left_of_a_dead_agents_daemons_is_ended() {
    alone(
        "death::what_is_left_of_a_dead_agents_daemons_is_ended",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            agent.start("d", "(setsid sleep 7911 &); exec sleep 7912", dir.path());
            let stray = until("it runs", || sight::sleepers("7911").pop());
            agent.kill();
            until("the daemon is dead", || {
                sight::sleepers("7912").is_empty().then_some(())
            });
            assert!(sight::state(stray).is_some());
            let said = heal_by_hand(dir.path());
            assert!(said.contains(&format!("killed pid {stray}")), "{said}");
            assert_eq!(sight::state(stray), None);
        },
    );
}

/// All faults at once.
pub fn inject_all(agent: &mut Session) {
    for (fault, name) in ["cut", "clock", "pause"].into_iter().enumerate() {
        let kinds = kinds();
        let (_, kind) = kinds
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a kind");
        agent.inject(fault as u64, kind);
    }
}

#[test]
fn at_the_end_of_input_or_by_a_signal_it_heals_and_stops_its_daemons() {
    alone(
        "death::at_the_end_of_input_or_by_a_signal_it_heals_and_stops_its_daemons",
        || {
            for how in ["end", "-TERM", "-INT", "-HUP", "shutdown"] {
                let dir = tempfile::tempdir().expect("a folder");
                let mut agent = Session::open(dir.path());
                let (_, stray) = daemon(&mut agent, dir.path(), 0);
                inject_all(&mut agent);
                let status = match how {
                    "end" => agent.close(),
                    "shutdown" => {
                        assert_eq!(agent.get(json!({"do": "shutdown"})), Value::Null);
                        agent.wait()
                    }
                    signal => {
                        sight::output("kill", &[signal, &agent.pid().to_string()]);
                        agent.wait()
                    }
                };
                assert!(status.success(), "{how}: {status}");
                assert_whole(dir.path(), stray, how);
                assert_eq!(
                    sight::state(stray),
                    None,
                    "{how}: it was in the daemon's tree"
                );
                // Whoever asked for it has had an answer; a note is for what nobody asked.
                if how != "shutdown" {
                    agent.note(|note| note["note"] == "healed");
                }
            }
        },
    );
}

#[test]
fn when_the_lease_runs_out_it_heals_and_serves_on() {
    alone(
        "death::when_the_lease_runs_out_it_heals_and_serves_on",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut command = Command::new(program());
            let (mut agent, _) = Session::with(command.arg("--dir").arg(dir.path()), 1_000);
            let (root, stray) = daemon(&mut agent, dir.path(), 0);
            agent.send(json!({"do": "inject", "fault": 1, "kind": "pause", "daemon": "d"}));
            agent.send(json!({"do": "inject", "fault": 2, "kind": "cut",
            "rules": [{"direction": "in", "peer": "10.0.0.9"}]}));
            // A slow machine may heal the first before it comes to the second.
            let healed = |faults: &'static str| {
                move |note: &Value| {
                    let why = note["why"].as_str().unwrap_or_default();
                    note["note"] == "healed" && why.ends_with(faults)
                }
            };
            let note = agent.note(healed("2]"));
            let why = note["why"].as_str().expect("text");
            assert!(why.contains("no line from the controller"), "{why}");
            assert_eq!(sight::tables(), [""; 0]);
            // Whoever is let go on runs for a moment before it sleeps again.
            let asleep = |pid: u32| {
                until("it sleeps again", || {
                    (sight::state(pid) == Some('S')).then_some(())
                });
            };
            asleep(root);
            asleep(stray);
            // A controller that comes back goes on where it was.
            assert_eq!(agent.get(json!({"do": "in-force"})), json!([]));
            assert_eq!(agent.state("d"), json!({"state": "running", "pid": root}));
            agent.inject(3, &json!({"kind": "pause", "daemon": "d"}));
            agent.note(healed("[3]"));
            asleep(root);
        },
    );
}

/// A torn journal line is one whose fault was never applied.
#[test]
fn a_journal_that_is_torn_or_no_journal_at_all_does_not_stop_the_next_agent() {
    alone(
        "death::a_journal_that_is_torn_or_no_journal_at_all_does_not_stop_the_next_agent",
        || {
            for text in ["{\"record\":\"inj", "\u{0}\u{0}\u{0}", ""] {
                let dir = tempfile::tempdir().expect("a folder");
                fs::write(dir.path().join("undo.jsonl"), text).expect("writes");
                assert_eq!(heal_by_hand(dir.path()), "no fault was left\n", "{text:?}");
            }
        },
    );
}

/// The disk is full for a moment, then a fault comes, then the agent is killed.
#[test]
fn a_full_disk_refuses_the_fault_and_costs_no_other() {
    alone(
        "death::a_full_disk_refuses_the_fault_and_costs_no_other",
        || {
            let small = tempfile::tempdir().expect("a folder");
            let dir = small.path();
            let place = dir.to_str().expect("text");
            sight::output(
                "mount",
                &["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", place],
            );
            let logs = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir);
            let (root, stray) = daemon(&mut agent, logs.path(), 0);
            let fault = |name: &str, fault: u64| {
                let kinds = kinds();
                let kind = kinds.iter().find(|(known, _)| *known == name);
                let mut request = kind.expect("a kind").1.clone();
                request["do"] = "inject".into();
                request["fault"] = fault.into();
                request
            };
            let filler = dir.join("filler");
            let fill = || {
                use std::io::Write;
                let mut file = fs::File::create(&filler).expect("opens");
                while file.write_all(&[0; 512]).is_ok() {}
            };
            for round in 0..3 {
                fill();
                for name in ["pause", "cut", "clock", "kill"] {
                    let error = agent.ask(fault(name, 1)).expect_err("refused");
                    assert!(error.contains("write the undo journal"), "{name}: {error}");
                }
                assert_eq!(agent.get(json!({"do": "in-force"})), json!([]));
                assert_eq!(
                    (sight::state(root), sight::state(stray)),
                    (Some('S'), Some('S'))
                );
                assert_eq!(sight::clocks_untouched(root), Some(true));
                assert_eq!(sight::tables(), [""; 0]);
                fs::remove_file(&filler).expect("there is room again");
                if round == 2 {
                    break;
                }
                // A fault that is in force when the disk is full can be taken back all the same.
                agent.get(fault("cut", 2));
                fill();
                agent.heal(2);
                fs::remove_file(&filler).expect("there is room again");
            }
            agent.get(fault("cut", 3));
            agent.get(fault("pause", 4));
            agent.kill();
            let said = heal_by_hand(dir);
            assert!(said.contains("undone: [3, 4]"), "{said}");
            assert_whole(dir, stray, "after the kill");
            end(stray);
            sight::output("umount", &["-l", place]);
        },
    );
}

/// A line that this agent does not understand hides nothing, and is never thrown away.
#[test]
fn what_a_newer_agent_left_is_reported_and_kept() {
    alone(
        "death::what_a_newer_agent_left_is_reported_and_kept",
        || {
            for (line, says) in [
                (
                    "{\"record\":\"inject\",\"fault\":8,\"kind\":\"full-disk\"}\n",
                    "a newer agent's? unknown variant `full-disk`",
                ),
                ("garbage\n", "damaged: "),
            ] {
                let dir = tempfile::tempdir().expect("a folder");
                let mut agent = Session::open(dir.path());
                agent.inject(1, &kinds()[0].1);
                let journal = dir.path().join("undo.jsonl");
                let mut text = fs::read_to_string(&journal).expect("reads");
                let place = text.find('\n').expect("a line") + 1;
                text.insert_str(place, line);
                agent.kill();
                fs::write(&journal, &text).expect("writes");
                for task in [vec!["heal"], vec![]] {
                    let output = Command::new(program())
                        .args(task)
                        .arg("--dir")
                        .arg(dir.path())
                        .output()
                        .expect("runs");
                    let said = String::from_utf8_lossy(&output.stderr);
                    assert_eq!(output.status.code(), Some(1), "{said}");
                    for part in ["line 2: ", says] {
                        assert!(said.contains(part), "{said}");
                    }
                    // All that comes behind it is undone.
                    assert_eq!(sight::tables(), [""; 0], "{said}");
                    assert_eq!(fs::read_to_string(&journal).expect("is kept"), text);
                }
                fs::remove_file(&journal).expect("by somebody who knows");
                assert_eq!(heal_by_hand(dir.path()), "no fault was left\n");
            }
        },
    );
}

#[test]
fn one_agent_at_a_time_and_healing_by_hand_not_beside_it() {
    alone(
        "death::one_agent_at_a_time_and_healing_by_hand_not_beside_it",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let (root, stray) = daemon(&mut agent, dir.path(), 0);
            agent.inject(1, &json!({"kind": "pause", "daemon": "d"}));
            let output = Command::new(program())
                .arg("heal")
                .arg("--dir")
                .arg(dir.path())
                .output();
            let output = output.expect("runs");
            assert_eq!(output.status.code(), Some(1));
            assert!(String::from_utf8_lossy(&output.stderr).contains("an agent is alive"));
            assert_eq!(
                (sight::state(root), sight::state(stray)),
                (Some('T'), Some('T'))
            );
        },
    );
}

#[test]
fn bad_lines_are_refused_and_the_session_goes_on() {
    alone(
        "death::bad_lines_are_refused_and_the_session_goes_on",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::raw(Command::new(program()).arg("--dir").arg(dir.path()));
            let error = agent.ask(json!({"do": "renew"})).expect_err("refused");
            assert!(error.contains("hello"), "{error}");
            let hello = json!({"do": "hello", "version": 99, "node": "n", "lease_ms": 60_000});
            let error = agent.ask(hello).expect_err("refused");
            assert!(
                error.contains("version 2") && error.contains("99"),
                "{error}"
            );
            let hello = json!({"do": "hello", "version": 2, "node": "n", "lease_ms": 60_000});
            agent.get(hello);
            for (text, part) in [
                ("{\"id\":1,", "line 4, column 8"),
                ("\u{7f}\u{0}", "line 5"),
                ("", "line 6"),
                ("[1,2]", "no `id`"),
                ("{\"do\":\"renew\"}", "no `id`"),
            ] {
                agent.send_text(&format!("{text}\n"));
                let error = agent
                    .answer(0)
                    .expect("the agent lives")
                    .expect_err("refused");
                assert!(error.contains(part), "{text:?}: {error}");
            }
            for (request, part) in [
                (json!({"do": "dance"}), "unknown variant `dance`"),
                (json!({"do": "heal"}), "missing field `fault`"),
                (
                    json!({"do": "inject", "fault": 1, "kind": "flood"}),
                    "unknown variant `flood`",
                ),
                (
                    json!({"do": "inject", "fault": 1, "kind": "pause", "daemon": "x"}),
                    "no daemon \"x\"",
                ),
                (json!({"do": "state", "daemon": "x"}), "no daemon \"x\""),
                (
                    json!({"do": "put", "path": "/tmp/x/y", "mode": 420, "base64": "!"}),
                    "bad base64",
                ),
                (
                    json!({"do": "get", "path": "/no/such", "offset": 0, "limit": 1}),
                    "/no/such",
                ),
                (json!({"do": "remove", "path": "/usr"}), "/usr"),
                (
                    json!({"do": "run", "argv": [], "timeout_ms": 1}),
                    "no program",
                ),
            ] {
                let text = request.to_string();
                let error = agent.ask(request).expect_err(&text);
                assert!(error.contains(part), "{text}: {error}");
            }
            assert!(agent.get(json!({"do": "renew"}))["received"].is_u64());
        },
    );
}
