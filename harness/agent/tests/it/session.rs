//! A controller for tests: requests out, answers in, notes kept.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// More than anything here may take on the slowest machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `is` gives something.
pub fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_schism-agent")
}

pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    next_id: u64,
    answers: HashMap<u64, Result<Value, String>>,
    pub notes: Vec<Value>,
}

impl Session {
    /// An agent on `dir`, greeted.
    pub fn open(dir: &Path) -> Session {
        Session::with(Command::new(program()).arg("--dir").arg(dir), 600_000).0
    }

    /// An agent started by `command`, greeted; and its answer to that.
    pub fn with(command: &mut Command, lease_ms: u64) -> (Session, Value) {
        let mut session = Session::raw(command);
        let hello = json!({"do": "hello", "version": 2, "node": "n1", "lease_ms": lease_ms});
        let hello = session.ask(hello).expect("hello");
        (session, hello)
    }

    /// An agent that nobody has spoken to.
    pub fn raw(command: &mut Command) -> Session {
        let mut child = command
            // What an ordinary user has: the agent must find its tools all the same.
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).expect("a line of JSON");
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        Session {
            stdin: child.stdin.take(),
            child,
            lines,
            next_id: 1,
            answers: HashMap::new(),
            notes: Vec::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request without waiting. An agent that is dead does not hear it.
    pub fn send(&mut self, mut request: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = id.into();
        self.send_text(&format!("{request}\n"));
        id
    }

    pub fn send_text(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(text.as_bytes());
        }
    }

    /// Takes in a line. `false`: the agent has closed its end.
    fn take(&mut self) -> bool {
        let line = match self.lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the agent says nothing"),
        };
        if !line["note"].is_null() {
            self.notes.push(line);
            return true;
        }
        let id = line["id"].as_u64().expect("an answer has an id");
        let answer = match line["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(line["ok"].clone()),
        };
        assert!(
            self.answers.insert(id, answer).is_none(),
            "answered twice: {line}"
        );
        true
    }

    /// The answer to request `id`; `None` if the agent ended without one.
    pub fn answer(&mut self, id: u64) -> Option<Result<Value, String>> {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return Some(answer);
            }
            if !self.take() {
                return None;
            }
        }
    }

    pub fn ask(&mut self, request: Value) -> Result<Value, String> {
        let id = self.send(request);
        self.answer(id).expect("the agent lives")
    }

    /// Asks for what must be granted.
    pub fn get(&mut self, request: Value) -> Value {
        let text = request.to_string();
        self.ask(request)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The first note for which `is` holds.
    pub fn note(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.notes.iter().position(&is) {
                return self.notes.remove(at);
            }
            assert!(self.take(), "the agent ended without that note");
        }
    }

    /// Injects, and insists on evidence.
    pub fn inject(&mut self, fault: u64, kind: &Value) -> Value {
        let mut request = kind.clone();
        request["do"] = "inject".into();
        request["fault"] = fault.into();
        let seen = self.get(request);
        assert_eq!(seen["held"], true, "{kind}: {seen}");
        seen
    }

    pub fn heal(&mut self, fault: u64) -> Value {
        let seen = self.get(json!({"do": "heal", "fault": fault}));
        assert_eq!(seen["held"], true, "{seen}");
        seen
    }

    /// Starts a shell script as a daemon, in `dir`; returns the process number.
    pub fn start(&mut self, name: &str, script: &str, dir: &Path) -> u32 {
        let daemon = json!({
            "name": name, "argv": ["bash", "-c", script], "cwd": dir,
            "log": dir.join(format!("{name}.log")),
        });
        let started = self.get(json!({"do": "start", "daemon": daemon}));
        started["pid"].as_u64().expect("a number") as u32
    }

    pub fn state(&mut self, name: &str) -> Value {
        self.get(json!({"do": "state", "daemon": name}))
    }

    /// Closes the agent's input and waits for its end.
    pub fn close(&mut self) -> ExitStatus {
        self.stdin = None;
        self.wait()
    }

    /// Kills the agent as nothing could survive, and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("it is our child");
        self.wait()
    }

    /// Waits for the agent's end, taking in what it still says.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                while self.take() {}
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
