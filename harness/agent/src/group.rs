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
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::set_name;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, doing, io};
use crate::nursery::bind_to_agent;
use crate::rootfs::Rootfs;
use crate::serve;
use crate::user::{self, How, User, become_user};

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
    /// The user, by name or number, as whom everything runs; the agent's own if none.
    pub user: Option<String>,
    /// The file system that all of it sees; the node's own if none.
    pub rootfs: Option<Rootfs>,
    /// Where everything is started.
    pub cwd: PathBuf,
    /// What the user must be able to write to.
    pub data: PathBuf,
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
    let group = read(file)?;
    if let Some(rootfs) = &group.rootfs {
        rootfs.enter()?;
    }
    fs::create_dir_all(&group.cwd).map_err(io("make", &group.cwd))?;
    let stage = Stage::of(&group)?;
    if let (Some(rootfs), Some((user, How::InFact))) = (&group.rootfs, &stage.user) {
        rootfs.give(&group.data, user)?;
    }
    if !group.prepared.exists() {
        for argv in &group.prepare {
            let status = stage
                .start(argv, &BTreeMap::new())?
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
        let child = stage.start(&member.argv, &member.env).map(Some)?;
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
            if let Some(status) = look(&mut all[at], &stage)? {
                let name = &all[at].member.name;
                eprintln!("schism-group: {name} has ended ({status}), and the others with it");
                end(&mut all, Some(Signal::TERM));
                return Ok(code(status));
            }
        }
    }
}

/// How the program has ended, if it has and the group is to end with it.
fn look(running: &mut Running, stage: &Stage) -> Result<Option<ExitStatus>> {
    let member = running.member;
    let Some(child) = &mut running.child else {
        if Instant::now() >= running.again {
            running.child = Some(stage.start(&member.argv, &member.env)?);
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

fn read(file: &Path) -> Result<Group> {
    let text = fs::read_to_string(file).map_err(io("read", file))?;
    serde_json::from_str(&text).map_err(|e| Error::Refused(format!("{}: {e}", file.display())))
}

/// Runs a command as the programs of a group run, in place of this process: in their image, as
/// their user, with the environment of the first of them. Comes back only with what went wrong.
///
/// # Errors
/// If nothing of the group runs, or the command does not.
pub fn inside(file: &Path, argv: &[String]) -> Result<std::convert::Infallible> {
    let group = read(file)?;
    if let Some(rootfs) = &group.rootfs {
        rootfs.join()?;
    }
    let env = group.members.first().map(|main| main.env.clone());
    let mut command = Stage::of(&group)?.command(argv, &env.unwrap_or_default())?;
    let program = argv.first().map(String::as_str).unwrap_or_default();
    Err(failed(program)(command.exec()))
}

fn failed(program: &str) -> impl Fn(io::Error) -> Error + '_ {
    move |e| doing("start")(io::Error::new(e.kind(), format!("{program}: {e}")))
}

/// On what the programs of a group are started.
struct Stage<'g> {
    group: &'g Group,
    user: Option<(User, How)>,
}

impl Stage<'_> {
    /// In an image the user is the image's.
    fn of(group: &Group) -> Result<Stage<'_>> {
        let user = group.user.as_deref().map(user::find).transpose()?;
        // On a node everything belongs to the agent's user, whoever it is called.
        let how = match group.rootfs {
            Some(_) => How::possible(),
            None => How::InName,
        };
        Ok(Stage {
            group,
            user: user.map(|user| (user, how)),
        })
    }

    fn command(&self, argv: &[String], env: &BTreeMap<String, String>) -> Result<Command> {
        let [program, args @ ..] = argv else {
            return Err(Error::Refused("a program without a name".into()));
        };
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.group.cwd);
        match &self.group.rootfs {
            Some(rootfs) => {
                let user = self.user.as_ref().map(|(user, _)| user.clone());
                rootfs.dress(&mut command, env, &user.unwrap_or_else(User::root));
            }
            None => _ = command.envs(env),
        }
        if let Some((user, how)) = &self.user {
            become_user(&mut command, user, *how);
        }
        Ok(command)
    }

    fn start(&self, argv: &[String], env: &BTreeMap<String, String>) -> Result<Child> {
        let mut command = self.command(argv, env)?;
        command.stdin(Stdio::null());
        bind_to_agent(&mut command);
        let program = argv.first().map(String::as_str).unwrap_or_default();
        command.spawn().map_err(failed(program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_program_ends_as_shells_say() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
