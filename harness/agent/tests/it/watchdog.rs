//! An agent that is killed or stopped, and the process that heals its node then.

use std::fs;
use std::process::Command;

use crate::alone::alone;
use crate::death::{assert_whole, daemon, end, inject_all};
use crate::session::{Session, program, until};
use crate::sight;

const LEASE_MS: u64 = 1_000;

fn watched(dir: &std::path::Path) -> Session {
    let mut command = Command::new(program());
    command.arg("--watchdog").arg("--dir").arg(dir);
    Session::with(&mut command, LEASE_MS).0
}

fn watchdogs() -> usize {
    sight::with_arguments(|args| args.get(1) == Some(&"watchdog")).len()
}

#[test]
fn a_node_whose_agent_is_killed_or_stopped_is_healed_by_nobodys_hand() {
    alone(
        "watchdog::a_node_whose_agent_is_killed_or_stopped_is_healed_by_nobodys_hand",
        || {
            for (round, signal) in ["-KILL", "-STOP"].into_iter().enumerate() {
                let dir = tempfile::tempdir().expect("a folder");
                let mut agent = watched(dir.path());
                assert_eq!(watchdogs(), 1);
                let (_, stray) = daemon(&mut agent, dir.path(), round);
                inject_all(&mut agent);
                sight::output("kill", &[signal, &agent.pid().to_string()]);
                until("the watchdog has done its work", || {
                    (watchdogs() == 0).then_some(())
                });
                assert_whole(dir.path(), stray, signal);
                agent.wait();
                end(stray);
                let log = fs::read_to_string(dir.path().join("watchdog.log"));
                let log = log.expect("it says what it did");
                assert!(log.contains("undone: [0, 1, 2]"), "{log}");
            }
        },
    );
}

/// One that was stopped for less than its lease, and one that ends by itself, are let be.
#[test]
fn an_agent_that_lives_is_let_live() {
    alone("watchdog::an_agent_that_lives_is_let_live", || {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(program());
        command.arg("--watchdog").arg("--dir").arg(dir.path());
        let (mut agent, _) = Session::with(&mut command, 600_000);
        let pid = agent.pid().to_string();
        sight::output("kill", &["-STOP", &pid]);
        until("it stands still", || {
            (sight::state(agent.pid()) == Some('T')).then_some(())
        });
        sight::output("kill", &["-CONT", &pid]);
        let root = agent.start("d", "exec sleep 7931", dir.path());
        inject_all(&mut agent);
        assert_eq!(sight::state(root), Some('T'));
        // What ends a session ends its agent, and not the watchdog before it.
        let own = sight::with_arguments(|args| args.get(1) == Some(&"watchdog"));
        sight::output("kill", &["-TERM", &own[0].to_string()]);
        assert_eq!(watchdogs(), 1);
        assert!(agent.close().success());
        until("the watchdog is gone", || (watchdogs() == 0).then_some(()));
        assert!(
            !dir.path().join("watchdog.log").exists(),
            "nothing was left"
        );
    });
}

#[test]
fn a_watchdog_that_is_gone_is_said() {
    alone("watchdog::a_watchdog_that_is_gone_is_said", || {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(program());
        command.arg("--watchdog").arg("--dir").arg(dir.path());
        let (mut agent, _) = Session::with(&mut command, 600_000);
        let own = sight::with_arguments(|args| args.get(1) == Some(&"watchdog"));
        sight::output("kill", &["-KILL", &own[0].to_string()]);
        agent.note(|note| {
            let what = note["what"].as_str().unwrap_or_default();
            note["note"] == "trouble" && what.contains("watchdog")
        });
    });
}
