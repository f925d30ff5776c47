//! The program as a user has it, in a folder of its own.

use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a store in it; gone when dropped.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Place {
        for program in ["schism-agent", "paxos-kv"] {
            let beside = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name(program);
            assert!(
                beside.exists(),
                "{} is missing: build it with `cargo build --workspace --bins`",
                beside.display()
            );
        }
        Place {
            dir: tempfile::tempdir().expect("the temporary folder is writable"),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// A file in the folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("the folder is writable");
        path
    }

    /// A program in place of paxos-kv: a shell script in which REAL is that itself. It is started
    /// in the node's data folder, which is the same at every start.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let real = Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name("paxos-kv");
        assert!(
            !real.starts_with("/tmp") && !real.starts_with("/var/tmp"),
            "{} cannot be started by a script on a node, which has a /tmp of its own: clone elsewhere",
            real.display()
        );
        let body = body.replace("REAL", &real.to_string_lossy());
        let path = self.file(name, format!("#!/bin/sh\n{body}\n"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, executable).expect("the folder is writable");
        path
    }

    /// `schism` with these arguments, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_schism"));
        command
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn schism(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().expect("schism starts"))
    }

    /// The folder of the latest run.
    pub fn latest(&self) -> PathBuf {
        std::fs::canonicalize(self.store().join("latest")).expect("there is a run")
    }

    pub fn results(&self) -> Value {
        let text = std::fs::read(self.latest().join("results.json")).expect("it was judged");
        serde_json::from_slice(&text).expect("results are JSON")
    }

    /// Processes that work in this folder or were told of it, by their command lines: what a run
    /// must not leave behind.
    pub fn processes(&self) -> Vec<String> {
        let needle = self.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")
            .expect("/proc is there")
            .flatten()
        {
            let path = entry.path();
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            let text = |file: &str| {
                let bytes = std::fs::read(path.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let cwd = std::fs::read_link(path.join("cwd")).unwrap_or_default();
            let line = text("cmdline");
            if pid != std::process::id()
                && (line.contains(&needle)
                    || cwd.starts_with(self.path())
                    || text("mountinfo").contains(&needle))
            {
                found.push(format!("{pid}: {line}"));
            }
        }
        found
    }

    /// Waits until nothing of a run is left. The kernel takes a lab away at once, but not within
    /// the same instant.
    pub fn assert_nothing_left(&self) {
        eventually("nothing of the run is left", || self.processes().is_empty());
    }
}

/// Waits for a condition, for as long as a very busy machine may need.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code, and shows everything if it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Asserts that stderr has all of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Ended {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Asserts that stdout has all of these.
    #[track_caller]
    pub fn prints(self, words: &[&str]) -> Ended {
        for word in words {
            assert!(
                self.stdout.contains(word),
                "{word:?} is not in:\n{}",
                self.stdout
            );
        }
        self
    }
}

/// The text of a run's history.
/// Where the folders of the systems that ship are.
pub fn systems() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/systems")
}

pub fn example(name: &str) -> PathBuf {
    systems().join(name).canonicalize().expect("an example")
}

pub fn history_of(run: &Path) -> String {
    let file = std::fs::File::open(run.join(HISTORY)).expect("it was recorded");
    let text = history::frames::text(BufReader::new(file)).expect("it is readable");
    std::io::read_to_string(text).expect("it is text")
}

/// Replaces it.
pub fn write_history(run: &Path, text: &str) {
    let file = std::fs::File::create(run.join(HISTORY)).expect("the folder is writable");
    let mut frames = history::frames::Frames::new(file).expect("memory");
    frames.write_all(text.as_bytes()).expect("there is room");
    frames.finish().expect("there is room");
}

/// Its name in a run's folder.
pub const HISTORY: &str = "history.jsonl.zst";

/// A run's folder in the store, as a run leaves it before it is judged: of three clients and a
/// register, to which 1 is written, and from which `read` is read. Points `latest` at it.
pub fn recorded(place: &Place, name: &str, read: &str) -> PathBuf {
    let run = place.store().join(name);
    std::fs::create_dir_all(&run).expect("the folder is writable");
    let write = |file: &str, text: String| {
        std::fs::write(run.join(file), text).expect("the folder is writable");
    };
    write("spec.json", spec(3));
    write("schedule.toml", "version = 1\n".into());
    let mut history = String::from("{\"schism\":\"history\",\"version\":1}\n");
    let mut index = 0u64;
    let mut event = |process: usize, kind: &str, f: &str, value: &str| {
        let time = index * 10_000_000;
        history += &format!(
            "{{\"index\":{index},\"time\":{time},\"process\":{process},\"type\":\"{kind}\",\
             \"f\":\"{f}\",\"value\":{value},\"node\":\"n{}\"}}\n",
            process + 1
        );
        index += 1;
    };
    for round in 0..60 {
        for process in 0..3 {
            let last = round == 59 && process == 2;
            let (f, asked, answered) = match (round + process) % 2 {
                0 if !last => ("write", "[0,1]".to_string(), "[0,1]".to_string()),
                _ => {
                    let value = if last { read } else { "1" };
                    ("read", "[0,null]".to_string(), format!("[0,{value}]"))
                }
            };
            event(process, "invoke", f, &asked);
            event(process, "ok", f, &answered);
        }
    }
    write_history(&run, &history);
    let latest = place.store().join("latest");
    if latest.is_symlink() {
        std::fs::remove_file(&latest).expect("it is ours");
    }
    std::os::unix::fs::symlink(name, latest).expect("the folder is writable");
    run
}

/// A history of a register that is written to and read.
pub const REGISTER: &str = "[{:process 0, :type :invoke, :f :write, :value 1}
    {:process 0, :type :ok, :f :write, :value 1}
    {:process 0, :type :invoke, :f :read, :value nil}
    {:process 0, :type :ok, :f :read, :value 1}]";

/// What was asked for, with so many nodes.
pub fn spec(nodes: impl std::fmt::Display) -> String {
    format!(
        "{{\"schism\":\"0\",\"created\":\"\",\"machine\":{{\"kernel\":\"\",\"arch\":\"\",\"cores\":1}},\
         \"cluster\":\"lab\",\"system\":\"paxos-kv\",\"workload\":\"register\",\"nemesis\":\"none\",\
         \"nodes\":{nodes},\"time_limit_ms\":10000,\"op_timeout_ms\":3000,\"rate\":200.0,\
         \"concurrency\":3,\"seed\":1,\"params\":{{}},\"flaws\":[]}}"
    )
}
