//! Processes that are stopped, killed and started, whatever they started themselves.

use super::*;

#[test]
fn a_pause_stops_every_process_of_the_tree_and_only_the_last_heal_resumes() {
    alone(
        "faults::processes::a_pause_stops_every_process_of_the_tree_and_only_the_last_heal_resumes",
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
        "faults::processes::a_kill_takes_the_whole_tree_and_healing_starts_it_again",
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

/// The reaper must not leave the dead of a namespace whose process 1 it is, and must hear signals
/// that the kernel keeps from a process 1 without a handler.
#[test]
fn as_process_1_it_reaps_orphans_and_hears_sigterm() {
    alone(
        "faults::processes::as_process_1_it_reaps_orphans_and_hears_sigterm",
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
        "faults::processes::commands_end_in_time_with_all_that_they_started",
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
        "faults::processes::a_daemon_that_ends_by_itself_or_will_not_start_is_told",
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
