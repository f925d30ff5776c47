//! A session whose link is lost, and what the other end finds when it comes back.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::alone::alone;
use crate::session::{program, until};

/// One link: what is said on it is counted by whoever uses it.
struct Wire {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Wire {
    fn new(dir: &Path, first: &[&str], more: &[&str]) -> Wire {
        let mut child = Command::new(program())
            .args(first)
            .arg("--dir")
            .arg(dir)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        Wire {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    fn resume(dir: &Path, token: &str, received: usize) -> Wire {
        let received = received.to_string();
        let more = ["--session", token, "--received", &received];
        Wire::new(dir, &["resume"], &more)
    }

    fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the link is there");
        stdin.write_all(text.as_bytes()).expect("the agent reads");
    }

    fn send(&mut self, request: Value) {
        self.say(&format!("{request}\n"));
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }

    fn end(mut self) -> ExitStatus {
        self.stdin = None;
        self.child.wait().expect("it is our child")
    }
}

/// Each line adds a letter to the file, so that whatever is done twice is seen.
fn write(id: u64, letter: char, file: &Path) -> Value {
    let script = format!("printf {letter} >>{}", file.display());
    json!({"id": id, "do": "run", "argv": ["sh", "-c", script], "timeout_ms": 60_000})
}

#[test]
fn a_session_goes_on_where_it_was_and_nothing_is_done_twice() {
    alone(
        "resume::a_session_goes_on_where_it_was_and_nothing_is_done_twice",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let file = dir.path().join("done");
            let hello = json!({"id": 1, "do": "hello", "version": 2, "node": "n1",
                "lease_ms": 60_000, "session": "mine"});
            let daemon = json!({"name": "d", "argv": ["sleep", "7700"], "cwd": dir.path(),
                "log": dir.path().join("d.log")});
            let mut agent = Wire::new(dir.path(), &[], &[]);
            agent.send(hello);
            agent.send(json!({"id": 2, "do": "start", "daemon": daemon}));
            agent
                .send(json!({"id": 3, "do": "inject", "fault": 7, "kind": "pause", "daemon": "d"}));
            for id in 1..=3 {
                assert_eq!(agent.hear()["id"], id);
            }
            // One whose answer is not heard, and one that is cut off on its way.
            agent.send(write(4, 'a', &file));
            let torn = write(5, 'b', &file).to_string();
            agent.say(&torn[..torn.len() / 2]);
            until("the first is done", || {
                fs::read(&file).ok().filter(|f| f == b"a")
            });
            agent.stdin = None;

            // Strangers are not let in, and change nothing.
            let mut stranger = Wire::resume(dir.path(), "theirs", 0);
            assert_eq!(stranger.hear()["id"], 0);
            assert!(!stranger.end().success());

            let mut back = Wire::resume(dir.path(), "mine", 3);
            assert_eq!(
                back.hear(),
                json!({"resumed": 4}),
                "the torn line never came"
            );
            let again = back.hear();
            assert_eq!(
                (&again["id"], &again["ok"]["success"]),
                (&json!(4), &json!(true))
            );
            back.say(&format!("{torn}\n"));
            assert_eq!(back.hear()["id"], 5);
            assert_eq!(fs::read(&file).expect("is there"), b"ab");
            back.send(json!({"id": 6, "do": "in-force"}));
            assert_eq!(back.hear(), json!({"id": 6, "ok": [7]}));
            back.send(json!({"id": 7, "do": "state", "daemon": "d"}));
            assert_eq!(back.hear()["ok"]["state"], "paused");

            // Once more, without the first link's end being seen: the new one wins.
            let mut third = Wire::resume(dir.path(), "mine", 6);
            assert_eq!(third.hear(), json!({"resumed": 7}));
            assert_eq!(
                third.hear()["id"],
                7,
                "what the dead link may have lost comes again"
            );
            assert!(back.end().success(), "its helper has gone");
            third.send(json!({"id": 8, "do": "shutdown"}));
            assert_eq!(third.hear()["note"], "exited");
            assert_eq!(third.hear(), json!({"id": 8, "ok": null}));
            third.end();
            assert!(agent.end().success());
        },
    );
}

#[test]
fn whoever_does_not_come_back_within_the_lease_finds_everything_undone() {
    alone(
        "resume::whoever_does_not_come_back_within_the_lease_finds_everything_undone",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let hello = |lease_ms: u64| {
                json!({"id": 1, "do": "hello", "version": 2, "node": "n1",
                    "lease_ms": lease_ms, "session": "mine"})
            };
            let cut = json!({"id": 2, "do": "inject", "fault": 7, "kind": "cut",
                "rules": [{"direction": "in", "peer": "10.0.0.9"}]});
            let mut agent = Wire::new(dir.path(), &[], &[]);
            agent.send(hello(300));
            agent.send(cut.clone());
            assert_eq!(agent.hear()["id"], 1);
            assert_eq!(agent.hear()["ok"]["held"], true);
            assert!(agent.end().success());
            let journal = fs::read(dir.path().join("undo.jsonl")).expect("is there");
            assert_eq!(journal, b"", "everything is undone");
            let mut late = Wire::resume(dir.path(), "mine", 2);
            let error = late.hear()["error"].to_string();
            assert!(error.contains("no agent holds this session"), "{error}");
            assert!(!late.end().success());

            // A successor does not have to wait for the lease of one who is alone.
            let mut agent = Wire::new(dir.path(), &[], &[]);
            agent.send(hello(600_000));
            agent.send(cut);
            agent.hear();
            agent.hear();
            agent.stdin = None;
            let mut next = Wire::new(dir.path(), &[], &[]);
            next.send(hello(600_000));
            assert_eq!(
                next.hear()["ok"]["undone"],
                json!([]),
                "the first left in order"
            );
            assert!(agent.end().success());
            next.send(json!({"id": 2, "do": "shutdown"}));
            next.hear();
            assert!(next.end().success());
        },
    );
}
