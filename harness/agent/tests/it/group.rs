//! Several programs as one daemon, by the program itself.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::group::{Group, Member, Restart};
use rustix::process::{Pid, Signal, kill_process};

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn shell(name: &str, script: &str, restart: Restart) -> Member {
    Member {
        name: name.into(),
        argv: ["/bin/sh", "-c", script].map(String::from).to_vec(),
        env: [("OF".to_string(), name.to_string())].into(),
        restart,
    }
}

fn start(dir: &Path, user: Option<&str>, prepare: &[&str], members: Vec<Member>) -> Child {
    let command = |script: &&str| ["/bin/sh", "-c", script].map(String::from).to_vec();
    let group = Group {
        prepare: prepare.iter().map(command).collect(),
        prepared: dir.join("prepared"),
        user: user.map(str::to_string),
        rootfs: None,
        cwd: dir.to_path_buf(),
        data: dir.to_path_buf(),
        members,
    };
    let file = dir.join("group.json");
    fs::write(&file, serde_json::to_string(&group).expect("is JSON")).expect("writes");
    Command::new(env!("CARGO_BIN_EXE_schism-agent"))
        .arg("group")
        .arg(&file)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Its exit status, and what it said.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut status = None;
    until("the group does not end", || {
        status = child.try_wait().expect("can be waited for");
        status.is_some()
    });
    let mut said = String::new();
    let stderr = child.stderr.as_mut().expect("is piped");
    stderr.read_to_string(&mut said).expect("is text");
    (status.expect("it has ended").code(), said)
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

#[test]
fn programs_are_prepared_once_and_those_that_may_end_are_started_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let members = || {
        vec![
            shell("main", "echo $OF >> log; exec sleep 600", Restart::Never),
            shell("side", "echo $OF >> log; exit 7", Restart::OnExit),
        ]
    };
    for _ in 0..2 {
        let _ = fs::remove_file(&log);
        let child = start(dir.path(), None, &["echo ready >> once"], members());
        until("the sidecar is not started again", || {
            lines(&log).iter().filter(|line| *line == "side").count() >= 3
        });
        assert_eq!(lines(&log).iter().filter(|line| *line == "main").count(), 1);
        // Asked to end, as the agent asks all processes of a daemon.
        let pid = Pid::from_raw(child.id() as i32).expect("it has a number");
        let all = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
        for other in all.expect("is there").split_whitespace() {
            let other = Pid::from_raw(other.parse().expect("is a number"));
            let _ = kill_process(other.expect("is one"), Signal::TERM);
        }
        kill_process(pid, Signal::TERM).expect("it runs");
        assert_eq!(ended(child).0, Some(0));
    }
    assert_eq!(lines(&dir.path().join("once")), ["ready"]);
}

#[test]
fn one_that_may_not_end_takes_the_others_with_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let members = vec![
        shell(
            "main",
            "until [ -s pid ]; do sleep 0.05; done; exit 3",
            Restart::Never,
        ),
        shell("side", "echo $$ > pid; exec sleep 600", Restart::OnExit),
    ];
    let (status, said) = ended(start(dir.path(), None, &[], members));
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("main has ended (exit status: 3)"), "{said}");
    let pid = lines(&dir.path().join("pid"))[0].clone();
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "{pid} still runs"
    );
}

#[test]
fn what_cannot_be_prepared_is_not_started() {
    let dir = tempfile::tempdir().expect("a folder");
    let members = vec![shell(
        "main",
        "echo $OF >> log; exec sleep 600",
        Restart::Never,
    )];
    let (status, said) = ended(start(dir.path(), None, &["exit 4"], members));
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("exit 4"), "{said}");
    assert!(!dir.path().join("log").exists() && !dir.path().join("prepared").exists());
}

/// Nobody else's rights are needed: the number is one of a namespace of its own.
#[test]
fn programs_run_as_the_user_that_is_named_and_own_what_their_starter_owns() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = "id -un > who; id -gn >> who; stat -c %U . >> who; exit 5";
    let members = vec![shell("main", script, Restart::Never)];
    let (status, said) = ended(start(dir.path(), Some("daemon"), &[], members));
    assert_eq!(status, Some(5), "{said}");
    assert_eq!(
        lines(&dir.path().join("who")),
        ["daemon", "daemon", "daemon"]
    );

    let members = vec![shell("main", "exit 5", Restart::Never)];
    let (status, said) = ended(start(dir.path(), Some("no-such-user"), &[], members));
    assert_eq!(status, Some(1));
    assert!(said.contains("no user \"no-such-user\""), "{said}");
}
