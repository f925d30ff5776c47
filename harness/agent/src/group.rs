//! Several programs of one node as one daemon: a parent that starts them in order, starts those
//! again that may end, and ends with all of them when another one ends.
//!
//! The agent starts this program as any other daemon, and its children are in that daemon's tree: a
//! fault meets all of them at once, as it would if the machine failed. So nothing here knows of
//! faults.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, set_name};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, doing, io};
use crate::nursery::bind_to_agent;
use crate::serve;

/// How an agent starts itself: the child is still the agent's own program when this is looked up.
pub const PROGRAM: &str = "/proc/self/exe";

/// Between the end of a program that is started again, and its start. The way of systemd is a tenth
/// of that; most who restart a server wait for a second.
const RESTART: Duration = Duration::from_secs(1);
/// How long the others may take to end after one has, before they are killed.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at the children.
const LOOK: Duration = Duration::from_millis(50);

/// What the parent is told, as JSON in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Commands that are run once on a node, one after the other, before anything is started.
    pub prepare: Vec<Vec<String>>,
    /// Made when they have been run: they are not run again where it exists.
    pub prepared: PathBuf,
    /// The user, by name, as whom everything runs; the agent's own if none.
    pub user: Option<String>,
    /// Started in this order.
    pub members: Vec<Member>,
}

/// One program of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub name: String,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub restart: Restart,
}

/// What becomes of a program that has ended, and was not told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// The whole daemon ends.
    #[default]
    Never,
    /// It is started again.
    OnExit,
}

/// A program that runs, or is to be started again.
struct Running<'g> {
    member: &'g Member,
    child: Option<Child>,
    /// When it is started again, if it has ended.
    again: Instant,
}

/// Runs a group until it ends. The answer is the exit status of the parent.
///
/// # Errors
/// If the file cannot be read, the user is not known, or a program cannot be started.
pub fn run(file: &Path) -> Result<u8> {
    let signals = serve::signals().map_err(doing("hold signals back"))?;
    // The name of /proc/self/exe would be `exe`.
    set_name(c"schism-group").map_err(|e| doing("take a name")(e.into()))?;
    let text = fs::read_to_string(file).map_err(io("read", file))?;
    let group: Group = serde_json::from_str(&text)
        .map_err(|e| Error::Refused(format!("{}: {e}", file.display())))?;
    let user = group.user.as_deref().map(find_user).transpose()?;
    if !group.prepared.exists() {
        for argv in &group.prepare {
            let status = start(argv, &BTreeMap::new(), user)?
                .wait()
                .map_err(doing("wait for a command"))?;
            if !status.success() {
                eprintln!("schism-group: {}: {status}", argv.join(" "));
                return Ok(code(status));
            }
        }
        fs::write(&group.prepared, "").map_err(io("write", &group.prepared))?;
    }
    let mut all = Vec::new();
    for member in &group.members {
        let child = start(&member.argv, &member.env, user).map(Some)?;
        let again = Instant::now();
        all.push(Running {
            member,
            child,
            again,
        });
    }
    loop {
        let mut fds = [PollFd::new(&signals, PollFlags::IN)];
        let patience = Timespec::try_from(LOOK).expect("it is short");
        let heard = poll(&mut fds, Some(&patience)).map_err(|e| doing("wait")(e.into()))?;
        if heard > 0 {
            // The agent tells every process of the tree, so the others have heard it too.
            end(&mut all, None);
            return Ok(0);
        }
        for at in 0..all.len() {
            if let Some(status) = look(&mut all[at], user)? {
                let name = &all[at].member.name;
                eprintln!("schism-group: {name} has ended ({status}), and the others with it");
                end(&mut all, Some(Signal::TERM));
                return Ok(code(status));
            }
        }
    }
}

/// How the program has ended, if it has and the group is to end with it.
fn look(running: &mut Running, user: Option<User>) -> Result<Option<ExitStatus>> {
    let member = running.member;
    let Some(child) = &mut running.child else {
        if Instant::now() >= running.again {
            running.child = Some(start(&member.argv, &member.env, user)?);
        }
        return Ok(None);
    };
    let ended = child.try_wait().map_err(doing("wait for a program"))?;
    Ok(match (ended, member.restart) {
        (None, _) => None,
        (Some(status), Restart::Never) => {
            running.child = None;
            Some(status)
        }
        (Some(status), Restart::OnExit) => {
            eprintln!(
                "schism-group: {} has ended ({status}): started again in {RESTART:?}",
                member.name
            );
            running.child = None;
            running.again = Instant::now() + RESTART;
            None
        }
    })
}

/// Waits for the end of all programs, which are told by `signal` if it is still to be sent.
fn end(all: &mut [Running], signal: Option<Signal>) {
    let mut left: Vec<&mut Child> = all.iter_mut().filter_map(|r| r.child.as_mut()).collect();
    let deadline = Instant::now() + GRACE;
    for child in &left {
        if let (Some(signal), Some(pid)) = (signal, Pid::from_raw(child.id() as i32)) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }
    while !left.is_empty() {
        left.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        // Whoever told all of them kills those that do not listen; else that is to be done here.
        if signal.is_some() && Instant::now() >= deadline {
            left.iter_mut().for_each(|child| _ = child.kill());
        }
        std::thread::sleep(LOOK);
    }
}

/// As shells give it: 128 and the signal, for one that was killed.
fn code(status: ExitStatus) -> u8 {
    let signal = || 128 + status.signal().unwrap_or_default();
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(1)
}

/// The numbers of a user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

/// The numbers of a user of this machine.
fn find_user(name: &str) -> Result<User> {
    let path = Path::new("/etc/passwd");
    let text = fs::read_to_string(path).map_err(io("read", path))?;
    let mut users = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = users.find(|fields| fields.first() == Some(&name));
    found
        .and_then(|fields| {
            let uid = fields.get(2)?.parse().ok()?;
            let gid = fields.get(3)?.parse().ok()?;
            Some(User { uid, gid })
        })
        .ok_or_else(|| Error::Refused(format!("there is no user {name:?} on this node")))
}

fn start(argv: &[String], env: &BTreeMap<String, String>, user: Option<User>) -> Result<Child> {
    let [program, args @ ..] = argv else {
        return Err(Error::Refused("a program without a name".into()));
    };
    let mut command = Command::new(program);
    command.args(args).envs(env).stdin(Stdio::null());
    bind_to_agent(&mut command);
    if let Some(User { uid, gid }) = user {
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let maps = [
            ("/proc/self/setgroups", "deny".to_string()),
            ("/proc/self/uid_map", format!("{uid} {} 1", own.0)),
            ("/proc/self/gid_map", format!("{gid} {} 1", own.1)),
        ];
        // SAFETY: this process has one thread, so that the child may do all that it could.
        unsafe {
            command.pre_exec(move || become_user(&maps));
        }
    }
    let failed = |e: io::Error| doing("start")(io::Error::new(e.kind(), format!("{program}: {e}")));
    command.spawn().map_err(failed)
}

/// Becomes another user in the eyes of itself and its children: a user namespace in which the own
/// user has that user's number. What belongs to the one belongs to the other, and root has no more
/// rights there than anybody; servers that refuse root are content.
fn become_user(maps: &[(&str, String)]) -> io::Result<()> {
    // SAFETY: no file descriptors are shared with anybody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)? };
    for (path, text) in maps {
        fs::write(path, text)?;
    }
    // Whoever gets more rights, as in that namespace, loses the signal of the parent's death.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let root = User { uid: 0, gid: 0 };
        assert_eq!(find_user("root").expect("it is there"), root);
        let error = find_user("no such user")
            .expect_err("it is not")
            .to_string();
        assert!(error.contains("no such user"), "{error}");
    }

    #[test]
    fn a_killed_program_ends_as_shells_say() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
