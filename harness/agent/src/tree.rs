//! Processes as `/proc` shows them, and which of them belong to a daemon.
//!
//! A process number is used again after its owner's death, so a process is named by its number
//! *and* its start time ([`Ident`]), and is signalled through a pidfd that was opened before the
//! start time was compared: whoever takes the number later is never hit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Every daemon is started with this variable in its environment. Its children inherit it, however
/// they fork and whatever session they make, so that they are found after their parents are gone.
pub const MARKER: &str = "SCHISM_DAEMON";

/// One process, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ident {
    pub pid: u32,
    /// Start time in clock ticks since the machine's boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

impl std::fmt::Display for Ident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {}", self.pid)
    }
}

/// A line of `/proc/PID/stat`, as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub ident: Ident,
    pub parent: u32,
    pub session: u32,
    /// `R` running, `S` sleeping, `D` in the kernel, `T` stopped, `t` traced, `Z` dead, unreaped.
    pub state: char,
}

impl Process {
    fn parse(pid: u32, stat: &str) -> Option<Process> {
        // The command may hold blanks and brackets; the last bracket ends it.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        Some(Process {
            ident: Ident {
                pid,
                start: fields.get(19)?.parse().ok()?,
            },
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            state: fields.first()?.chars().next()?,
        })
    }
}

/// The process that has this number now.
pub fn read(pid: u32) -> Option<Process> {
    Process::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that `/proc` shows, the dead that nobody has reaped excepted.
pub fn all() -> io::Result<Vec<Process>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .filter(|process| !dead(&process.state) || alive(process.ident))
        .collect())
}

/// The states of all threads, `None` when the process is gone.
fn threads(ident: Ident) -> Option<Vec<char>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", ident.pid)).ok()?;
    let states = tasks
        .filter_map(|task| {
            let stat = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            Some(Process::parse(ident.pid, &stat)?.state)
        })
        .collect();
    // Looked at last: if the process is still the same, so were the threads.
    (read(ident.pid)?.ident == ident).then_some(states)
}

fn dead(state: &char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

/// Whether it runs or could. A main thread that has ended leaves a `Z` while others live on, so
/// all threads are looked at.
pub fn alive(ident: Ident) -> bool {
    threads(ident).is_some_and(|states| !states.iter().all(dead))
}

/// Whether a process still has memory: it lets go of that early in its end, and then neither its
/// program nor its environment can be read, though it is still alive for a while.
pub fn has_memory(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let program = |thread: fs::DirEntry| fs::read_link(thread.path().join("exe"));
    // Another error than this: there is a program, and it is not ours to see.
    let gone = |e: io::Error| e.kind() == io::ErrorKind::NotFound;
    threads
        .flatten()
        .any(|thread| !program(thread).is_err_and(gone))
}

/// Whether every living thread is stopped; `None` when the process is gone.
pub fn stopped(ident: Ident) -> Option<bool> {
    let states = threads(ident)?;
    let mut living = states.iter().filter(|state| !dead(state)).peekable();
    living.peek()?;
    Some(living.all(|state| matches!(state, 'T' | 't')))
}

/// Signals that very process. `false`: it is gone already.
pub fn signal(ident: Ident, signal: Signal) -> io::Result<bool> {
    let Some(pid) = i32::try_from(ident.pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if read(ident.pid).is_none_or(|process| process.ident != ident) {
        return Ok(false);
    }
    match pidfd_send_signal(fd, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The value of [`MARKER`] that a process was started with.
pub fn marker(ident: Ident) -> Option<String> {
    let env = environment(ident)?;
    let mut vars = env.split(|byte| *byte == 0);
    let value = vars.find_map(|var| var.strip_prefix(MARKER.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// A process's environment as it was started. In the midst of an exec there is none to be seen for
/// a moment, and looking away then would lose the process.
fn environment(ident: Ident) -> Option<Vec<u8>> {
    for _ in 0..1_000 {
        let env = fs::read(format!("/proc/{}/environ", ident.pid)).ok()?;
        if !env.is_empty() || !in_exec(ident) {
            return Some(env);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Whether the process has memory, but its environment has no end yet (field 51 of
/// `/proc/PID/stat`; 23 is the size of its memory).
fn in_exec(ident: Ident) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", ident.pid)).unwrap_or_default();
    let fields: Vec<&str> = match stat.rfind(')') {
        Some(end) => stat[end + 1..].split_whitespace().collect(),
        None => return false,
    };
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or("0");
    field(23) != "0" && field(51) == "0"
}

/// What was left by an agent whose daemons' markers begin with `prefix`.
pub fn marked_with_prefix(prefix: &str) -> io::Result<Vec<Ident>> {
    let all = all()?.into_iter().map(|process| process.ident);
    Ok(all
        .filter(|ident| marker(*ident).is_some_and(|value| value.starts_with(prefix)))
        .collect())
}

/// A daemon's tree: the process that was started, and whatever it brought forth.
///
/// A process belongs to it that descends from a member by parent, or is in a member's session, or
/// carries the daemon's marker, or was once seen to belong. No single sign would do: parents die,
/// daemons make sessions of their own, and some programs clear their children's environment. One
/// that does all of it at once is found by what it serves (`service`), and adopted.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Ident,
    marker: String,
    known: BTreeSet<Ident>,
}

impl Tree {
    /// `root` leads its own session.
    pub fn new(root: Ident, marker: String) -> Tree {
        Tree {
            root,
            marker,
            known: BTreeSet::from([root]),
        }
    }

    /// Counts a process in that shows none of the signs, with whatever it brings forth.
    pub fn adopt(&mut self, ident: Ident) {
        self.known.insert(ident);
    }

    /// Its living members now, by number.
    pub fn scan(&mut self) -> io::Result<Vec<Ident>> {
        let own = std::process::id();
        let mut rest: BTreeMap<u32, Process> = all()?
            .into_iter()
            .filter(|process| process.ident.pid != own)
            .map(|process| (process.ident.pid, process))
            .collect();
        // The number of a session is not given away while somebody is in it. If its leader is not
        // the process we started, then that session has ended and this is another.
        let ours = rest
            .get(&self.root.pid)
            .is_none_or(|leader| leader.ident == self.root);
        let session = (ours && !self.known.is_empty()).then_some(self.root.pid);
        let mut members: BTreeMap<u32, Ident> = BTreeMap::new();
        loop {
            let found: Vec<Process> = rest
                .values()
                .filter(|process| {
                    self.known.contains(&process.ident)
                        || Some(process.session) == session
                        || members.contains_key(&process.parent)
                        || marker(process.ident).as_ref() == Some(&self.marker)
                })
                .copied()
                .collect();
            if found.is_empty() {
                break;
            }
            for process in found {
                rest.remove(&process.ident.pid);
                members.insert(process.ident.pid, process.ident);
            }
        }
        let members: Vec<Ident> = members.into_values().collect();
        self.known = members.iter().copied().collect();
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_and_blanks_is_read() {
        let stat = "12 (a) b (c) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(
            Process::parse(12, stat),
            Some(Process {
                ident: Ident {
                    pid: 12,
                    start: 777
                },
                parent: 3,
                session: 5,
                state: 'S',
            })
        );
        assert_eq!(Process::parse(12, "12 (torn"), None);
    }

    #[test]
    fn a_number_with_another_start_time_is_somebody_else() {
        let me = read(std::process::id()).expect("this process").ident;
        assert!(alive(me));
        let other = Ident {
            start: me.start + 1,
            ..me
        };
        assert!(!alive(other));
        assert_eq!(stopped(other), None);
        // SIGKILL, so that a wrong hit could not go unnoticed.
        assert!(!signal(other, Signal::KILL).expect("no error"));
    }

    #[test]
    fn a_process_that_has_ended_has_no_memory_though_it_is_still_listed() {
        assert!(has_memory(std::process::id()));
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("it starts");
        let state = || read(child.id()).expect("nobody has waited for it").state;
        while state() != 'Z' {
            std::thread::yield_now();
        }
        assert!(!has_memory(child.id()));
        child.wait().expect("it has ended");
    }
}
