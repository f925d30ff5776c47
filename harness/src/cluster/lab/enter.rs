//! How an ordinary command gets a machine room of its own.
//!
//! ```text
//!  outside          the command as it was called; waits, passes signals on, hands back the exit code
//!     │ user namespace (unless root), pid namespace
//!  controller       the same executable with the same arguments, pid 1 of the pid namespace
//!     │             network, mount, uts and ipc namespaces, a fresh /proc, a bridge
//!     ├─ keeper n1    one small process a node, see node.rs
//!     │    └─ agent   pid 1 of the node's own pid namespace
//!     └─ keeper n2 ...
//! ```
//!
//! Whichever of the two upper processes dies, by SIGKILL or otherwise, the kernel takes everything
//! away: the controller asked to be killed when its parent dies, and with the first process of a
//! pid namespace die all others in it and in the namespaces nested in it. Network, mounts and
//! host names go with the last process that used them. Nothing of it is ever visible outside:
//! there are no named network namespaces, no mounts and no files but the run's own.
//!
//! An ordinary user becomes root inside; only that one user is mapped, so files belong to whoever
//! started the command.
//!
//! The controller leads a session of its own and so hears nothing from the terminal itself. What
//! the terminal or anyone else sends to the command's process group reaches the process outside,
//! and only that; it passes it on. So one Ctrl-C arrives exactly once. Ctrl-Z is ignored: a
//! controller that is stopped in mid-run would measure nothing but itself.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use thiserror::Error;

use super::{child, ip, net};

/// Holds the number of the pipe that tells the controller whether its parent still lives, and that
/// of what is handed down, if anything is.
const MARK: &str = "SCHISM_LAB_LIFELINE";

static INSIDE: AtomicBool = AtomicBool::new(false);

/// On which side of the lab's wall this process is.
#[derive(Debug)]
pub enum Entered {
    /// Carry on: this is the controller, inside, with what the outside has handed down.
    Inside(Option<OwnedFd>),
    /// The command has been run, inside, by another process; exit with this.
    Outside(ExitCode),
}

/// Why there is no lab.
#[derive(Debug, Error)]
#[error(
    "the lab cannot be set up: {step}: {source} (`schism doctor` says what this machine lacks)"
)]
pub struct LabError {
    /// What was being done.
    pub step: &'static str,
    pub source: io::Error,
}

pub(super) fn at(step: &'static str) -> impl FnOnce(io::Error) -> LabError {
    move |source| LabError { step, source }
}

/// The same for rustix's errors.
pub(super) fn on(step: &'static str) -> impl FnOnce(rustix::io::Errno) -> LabError {
    move |errno| at(step)(errno.into())
}

/// The steps of [`enter`] that a machine may forbid, as [`LabError::step`] names them.
pub mod step {
    pub const USER: &str = "a user namespace";
    pub const MAPS: &str = "the user namespace's maps";
    pub const PID: &str = "a pid namespace";
    pub const REST: &str = "network, mount, uts and ipc namespaces";
    pub const PRIVATE: &str = "private mounts";
    pub const PROC: &str = "a fresh /proc";
    pub const BRIDGE: &str = "the bridge";
}

/// Whether [`enter`] has been called and this is the inside.
pub fn inside() -> bool {
    INSIDE.load(Ordering::Relaxed)
}

/// Moves the command into a lab of its own. To be called first thing in `main`, before there is a
/// second thread: namespaces are entered by threads, and only a lone one takes the process along.
///
/// What `hand` opens outside is there inside too, such as a way to somebody who is not in the lab.
///
/// Returns twice, in a way: `Inside` in a new process that has everything to do, `Outside` in this
/// one when that has ended.
pub fn enter(hand: impl FnOnce() -> Option<OwnedFd>) -> Result<Entered, LabError> {
    match lifeline() {
        Some((parent, handed)) => arrive(parent).map(|()| Entered::Inside(handed)),
        None => leave(hand()).map(Entered::Outside),
    }
}

/// The outside: makes the user and pid namespaces, starts the inside, waits.
fn leave(handed: Option<OwnedFd>) -> Result<ExitCode, LabError> {
    let own = "the command itself";
    new_pid_namespace()?;
    let signals = child::Signals::block().map_err(at(own))?;
    // SAFETY: only the disposition of a signal is changed, to one without a handler.
    unsafe { libc::signal(libc::SIGTSTP, libc::SIG_IGN) };

    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(on(own))?;
    let mut mark = String::new();
    for descriptor in [&theirs].into_iter().chain(&handed) {
        rustix::io::fcntl_setfd(descriptor, FdFlags::empty()).map_err(on(own))?;
        mark += &format!("{} ", descriptor.as_raw_fd());
    }

    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).env(MARK, mark);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    // SAFETY: the closure makes two system calls and touches no memory but its own copy of a mask.
    unsafe {
        command.pre_exec(move || {
            signals.unblock()?;
            rustix::process::setsid()?;
            Ok(())
        });
    }
    let inside = command.spawn().map_err(at(own))?;
    drop((theirs, handed));

    let pid = inside.id() as libc::pid_t;
    let ended = child::wait(
        pid,
        &signals,
        |signal| child::as_for_anyone(pid, signal),
        None,
    );
    // Held open until here: its closing tells an inside that is only just starting that we died.
    drop(ours);
    Ok(ExitCode::from(ended.code()))
}

/// The next child will be the first process of a new pid namespace. Without the rights, in a new
/// user namespace, in which this process has them all.
fn new_pid_namespace() -> Result<(), LabError> {
    let unshare = |flags| {
        // SAFETY: file descriptors, the only thing that threads could miss, are not unshared.
        unsafe { rustix::thread::unshare_unsafe(flags) }
    };
    if unshare(UnshareFlags::NEWPID).is_ok() {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    unshare(UnshareFlags::NEWUSER).map_err(on(step::USER))?;
    // Unprivileged users may map groups only once they have given up changing them.
    fs::write("/proc/self/setgroups", "deny").map_err(at(step::MAPS))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(at(step::MAPS))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(at(step::MAPS))?;
    unshare(UnshareFlags::NEWPID).map_err(on(step::PID))
}

/// The pipe from the outside, if this process was started by [`leave`], and what was handed down.
fn lifeline() -> Option<(OwnedFd, Option<OwnedFd>)> {
    // The mark alone proves nothing: it may have leaked into some environment.
    if std::process::id() != 1 {
        return None;
    }
    let mark = std::env::var(MARK).ok()?;
    // SAFETY: there is no other thread yet that could read the environment meanwhile.
    unsafe { std::env::remove_var(MARK) };
    let mut numbers = mark.split(' ').filter_map(|n| n.parse::<RawFd>().ok());
    // SAFETY: `leave` opened them for this process, and nobody else here knows of them.
    let mut next = || Some(unsafe { OwnedFd::from_raw_fd(numbers.next()?) });
    let (parent, handed) = (next()?, next());
    // Nodes have no business with it.
    let own = |handed: &OwnedFd| rustix::io::fcntl_setfd(handed, FdFlags::CLOEXEC).is_ok();
    Some((parent, handed.filter(own)))
}

/// The inside: the remaining namespaces, /proc, and the bridge.
fn arrive(parent: OwnedFd) -> Result<(), LabError> {
    let own = "the controller itself";
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(on(own))?;
    // The parent may have died before it could be asked for: then the pipe has no writer.
    rustix::fs::fcntl_setfl(&parent, OFlags::NONBLOCK).map_err(on(own))?;
    if let Ok(0) = fs::File::from(parent).read(&mut [0]) {
        return Err(at(own)(io::Error::other(
            "the command that started it is gone",
        )));
    }

    let rest =
        UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    // SAFETY: file descriptors, the only thing that threads could miss, are not unshared.
    unsafe { rustix::thread::unshare_unsafe(rest) }.map_err(on(step::REST))?;
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(on(step::PRIVATE))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None).map_err(on(step::PROC))?;

    net::no_ipv6().map_err(at(step::BRIDGE))?;
    net::small_tables();
    ip::batch(&net::bridge()).map_err(at(step::BRIDGE))?;
    INSIDE.store(true, Ordering::Relaxed);
    Ok(())
}
