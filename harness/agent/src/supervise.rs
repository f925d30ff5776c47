//! Daemons: started, stopped, watched, their output kept.
//!
//! A daemon writes its log itself, into a file opened for appending. A pipe with a copying thread
//! would let a slow agent block the daemon, and a dead one kill it by SIGPIPE. So the log is
//! rotated by copying it away and cutting it to zero, at which the daemon's next line begins the
//! file anew; a line written within the few microseconds between the two would be lost, once per
//! 16 MiB.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::error::{Error, Result, io};
use crate::nursery::{Exit, bind_to_agent};
use crate::protocol::{Daemon, State};
use crate::tree::{self, Ident, Tree};

/// A log is rotated at this size.
pub const LOG_MAX: u64 = 16 << 20;
/// Rotated logs that are kept: `LOG.1` is the youngest.
pub const LOGS_KEPT: u32 = 4;
/// How far back from its end a log is read for its last lines.
const TAIL_MAX: u64 = 1 << 20;

/// A daemon as the agent knows it.
#[derive(Debug)]
pub struct Supervised {
    pub spec: Daemon,
    /// Whether the controller wants it to run: started, and not stopped since.
    pub wanted: bool,
    /// The process that was started, while it lives.
    pub root: Option<Ident>,
    /// All processes of the last start.
    pub tree: Option<Tree>,
    /// How the root of the last start ended.
    pub status: String,
    /// Roots whose death was ordered, by `stop` or a fault.
    pub condemned: BTreeSet<Ident>,
    /// Processes that this agent stopped by SIGSTOP, and no others.
    pub stopped: BTreeSet<Ident>,
    /// Ports at which the daemon is asked, as its faults say.
    pub told_ports: BTreeSet<u16>,
    /// Ports on which its processes were seen to listen since its last start.
    pub seen_ports: BTreeSet<u16>,
    /// Processes that left its tree and count all the same, with the reason.
    pub claimed: BTreeMap<Ident, String>,
}

impl Supervised {
    pub fn new(spec: Daemon) -> Supervised {
        Supervised {
            spec,
            wanted: false,
            root: None,
            tree: None,
            status: "never started".into(),
            condemned: BTreeSet::new(),
            stopped: BTreeSet::new(),
            told_ports: BTreeSet::new(),
            seen_ports: BTreeSet::new(),
            claimed: BTreeMap::new(),
        }
    }

    /// Every port at which it may be asked.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.told_ports.union(&self.seen_ports).copied().collect()
    }

    /// Its living processes.
    pub fn members(&mut self) -> Result<Vec<Ident>> {
        match &mut self.tree {
            Some(tree) => tree.scan().map_err(io("list", Path::new("/proc"))),
            None => Ok(Vec::new()),
        }
    }

    /// Where the first process ended well, the others are the daemon: it has put itself into the
    /// background. Where it failed, the daemon has, whatever it left behind.
    pub fn state(&mut self) -> Result<State> {
        let mut members = self.members()?;
        if self.root.is_none() && self.status != Exit::Code(0).to_string() {
            members.clear();
        }
        let Some(first) = self
            .root
            .filter(|root| members.contains(root))
            .or(members.first().copied())
        else {
            return Ok(State::Stopped {
                status: self.status.clone(),
            });
        };
        let pid = first.pid;
        Ok(match tree::stopped(first) {
            Some(true) => State::Paused { pid },
            _ => State::Running { pid },
        })
    }

    /// The news of a root's end. Says whether it was ordered.
    pub fn ended(&mut self, ident: Ident, exit: Exit) -> bool {
        if self.root == Some(ident) {
            self.root = None;
            self.status = exit.to_string();
        }
        self.stopped.remove(&ident);
        self.condemned.remove(&ident)
    }

    /// Signals the whole tree; its root's end is then no surprise.
    pub fn signal(&mut self, signal: Signal) -> Result<Vec<Ident>> {
        let members = self.members()?;
        self.condemned.extend(self.root);
        for ident in &members {
            tree::signal(*ident, signal).map_err(|source| Error::Io {
                doing: format!("signal {ident} of {}", self.spec.name),
                source,
            })?;
        }
        Ok(members)
    }
}

/// What is wrong with a description, before anything is done about it.
pub fn check(spec: &Daemon) -> Result<()> {
    let refuse = |what: String| Err(Error::Refused(format!("daemon {:?}: {what}", spec.name)));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if spec.name.is_empty() || !spec.name.bytes().all(plain) {
        return refuse("a name is letters, digits, `-`, `_` and `.`".into());
    }
    if spec.argv.first().is_none_or(String::is_empty) {
        return refuse("no program to start".into());
    }
    if !spec.cwd.is_dir() {
        return refuse(format!("no folder {} to start it in", spec.cwd.display()));
    }
    if !spec.log.is_absolute() {
        return refuse(format!(
            "log {} is not an absolute path",
            spec.log.display()
        ));
    }
    Ok(())
}

/// The command that starts a daemon, its output going to its log.
pub fn command(spec: &Daemon, marker: &str) -> Result<Command> {
    let log = open_log(&spec.log).map_err(io("open the log", &spec.log))?;
    let also = log.try_clone().map_err(io("open the log", &spec.log))?;
    let mut command = Command::new(&spec.argv[0]);
    command
        .args(&spec.argv[1..])
        .envs(&spec.env)
        .env(tree::MARKER, marker)
        .current_dir(&spec.cwd)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also);
    bind_to_agent(&mut command);
    Ok(command)
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

fn rotated(log: &Path, number: u32) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    log.with_file_name(name)
}

/// Moves a log that has become too large out of the way of the daemon that writes it.
pub fn rotate(log: &Path, max: u64) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(meta) if meta.len() > max => {}
        _ => return Ok(()),
    }
    for number in (1..LOGS_KEPT).rev() {
        let from = rotated(log, number);
        if from.exists() {
            fs::rename(from, rotated(log, number + 1))?;
        }
    }
    let mut from = OpenOptions::new().read(true).write(true).open(log)?;
    let mut to = File::create(rotated(log, 1))?;
    // Again until nothing new has come: the cut follows at once on the last look.
    while io::copy(&mut from, &mut to)? > 0 {}
    from.set_len(0)
}

/// The last `lines` lines of a log, of the rotated one before it where that is needed.
pub fn tail(log: &Path, lines: u32) -> Result<String> {
    let mut text = end_of(log).map_err(io("read the log", log))?;
    let older = rotated(log, 1);
    if text.lines().count() < lines as usize && older.exists() {
        text.insert_str(0, &end_of(&older).map_err(io("read the log", &older))?);
    }
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines as usize)..].join("\n"))
}

fn end_of(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn rotation_keeps_every_line_and_the_writers_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let mut writer = open_log(&log).expect("opens");
        for round in 0..6 {
            writeln!(writer, "line {round}").expect("writes");
            rotate(&log, 3).expect("rotates");
        }
        assert_eq!(fs::metadata(&log).expect("is there").len(), 0);
        for (number, line) in [(1, "line 5\n"), (2, "line 4\n"), (4, "line 2\n")] {
            let text = fs::read_to_string(rotated(&log, number)).expect("is there");
            assert_eq!(text, line);
        }
        assert!(!rotated(&log, 5).exists());
        // Without O_APPEND this line would come after a hole of zeros.
        writeln!(writer, "line 6").expect("writes");
        assert_eq!(fs::read_to_string(&log).expect("reads"), "line 6\n");
        assert_eq!(tail(&log, 2).expect("reads"), "line 5\nline 6");
    }

    #[test]
    fn descriptions_that_cannot_work_are_refused() {
        let good = Daemon {
            name: "a-1".into(),
            argv: vec!["x".into()],
            env: Default::default(),
            cwd: "/".into(),
            stop: crate::protocol::StopSignal::Term,
            log: "/tmp/x".into(),
        };
        check(&good).expect("good");
        for bad in [
            Daemon {
                name: "a/b".into(),
                ..good.clone()
            },
            Daemon {
                name: String::new(),
                ..good.clone()
            },
            Daemon {
                argv: vec![],
                ..good.clone()
            },
            Daemon {
                cwd: "/no/such".into(),
                ..good.clone()
            },
            Daemon {
                log: "x".into(),
                ..good.clone()
            },
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
