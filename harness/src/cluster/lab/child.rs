//! A process that only waits for its one child: how it hears of signals, and what it does with
//! them.
//!
//! Signals are taken by `sigwaitinfo` from a blocked set, never by handlers, so nothing is missed
//! between two looks and there is nothing to do in a handler's narrow world.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use libc::{c_int, pid_t, sigset_t};

/// What a person or a supervisor sends to end a command.
const ENDING: [c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// A child's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Code(i32),
    Signal(c_int),
}

impl Ended {
    /// What a shell would say: the exit code, or 128 and the signal's number.
    pub(super) fn code(self) -> u8 {
        match self {
            // Exit codes have eight bits; signals end at 64.
            Ended::Code(code) => code as u8,
            Ended::Signal(signal) => 128u8.wrapping_add(signal as u8),
        }
    }
}

/// The signals that this process waits for, blocked from now on.
#[derive(Clone, Copy)]
pub(super) struct Signals {
    awaited: sigset_t,
    before: sigset_t,
}

impl Signals {
    /// Blocks the signals that end a command, and SIGCHLD. Those that were ignored stay so: under
    /// `nohup` a lost terminal must not end the run.
    pub(super) fn block() -> io::Result<Signals> {
        let mut awaited = MaybeUninit::<sigset_t>::uninit();
        let mut before = MaybeUninit::<sigset_t>::uninit();
        // SAFETY: plain system calls on memory of our own; sigemptyset makes `awaited` whole before
        // it is used, sigprocmask does so for `before`.
        unsafe {
            // A parent that ignores SIGCHLD hands that down, and wait would find nobody.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            libc::sigemptyset(awaited.as_mut_ptr());
            libc::sigaddset(awaited.as_mut_ptr(), libc::SIGCHLD);
            for signal in ENDING {
                let mut now = MaybeUninit::<libc::sigaction>::zeroed();
                if libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) != 0 {
                    return Err(io::Error::last_os_error());
                }
                if now.assume_init().sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(awaited.as_mut_ptr(), signal);
                }
            }
            if libc::sigprocmask(libc::SIG_BLOCK, awaited.as_ptr(), before.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals {
                awaited: awaited.assume_init(),
                before: before.assume_init(),
            })
        }
    }

    /// Takes the blocking back, in a fresh child: a mask outlives `exec`.
    pub(super) fn unblock(&self) -> io::Result<()> {
        // SAFETY: a plain system call; async-signal-safe.
        match unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The next signal; none if none comes until then.
    fn next(&self, until: Option<Instant>) -> Option<c_int> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(|left| libc::timespec {
                tv_sec: left.as_secs() as _,
                tv_nsec: left.subsec_nanos() as _,
            });
            let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: a plain system call; no information beyond the number is asked for, and a
            // null pointer in place of the time means that there is no limit to it.
            let signal = unsafe { libc::sigtimedwait(&self.awaited, std::ptr::null_mut(), left) };
            match signal {
                1.. => return Some(signal),
                _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => return None,
                _ => {}
            }
        }
    }
}

/// Waits until the child ends, passing on what arrives meanwhile as `pass` says.
///
/// A child that had to be killed in place of a signal counts as ended by that signal. One that
/// stands still, because somebody stopped it, is killed after `stopped`, if that is given.
pub(super) fn wait(
    child: pid_t,
    signals: &Signals,
    pass: impl Fn(c_int) -> c_int,
    stopped: Option<Duration>,
) -> Ended {
    let mut killed_for = None;
    let mut deadline = None;
    loop {
        let mut status = 0;
        let changes = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
        // SAFETY: a plain system call.
        if unsafe { libc::waitpid(child, &mut status, changes) } == child {
            if libc::WIFSTOPPED(status) {
                deadline = stopped.map(|stopped| Instant::now() + stopped);
            } else if libc::WIFCONTINUED(status) {
                deadline = None;
            } else if libc::WIFSIGNALED(status) {
                return Ended::Signal(killed_for.unwrap_or(libc::WTERMSIG(status)));
            } else {
                return Ended::Code(libc::WEXITSTATUS(status));
            }
            continue;
        }
        let Some(signal) = signals.next(deadline) else {
            deadline = None;
            // SAFETY: the child has not been waited for, so the number is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
            continue;
        };
        if signal != libc::SIGCHLD {
            let passed = pass(signal);
            if passed == libc::SIGKILL {
                killed_for = Some(signal);
            }
            // SAFETY: the child has not been waited for, so the number is still its own.
            unsafe { libc::kill(child, passed) };
        }
    }
}

/// What to send to the first process of a pid namespace when `signal` arrived for it. The kernel
/// drops signals that such a process has no handler for, so the default action, which is to end,
/// has to be done for it.
pub(super) fn as_for_anyone(child: pid_t, signal: c_int) -> c_int {
    match handles(child, signal) {
        true => signal,
        false => libc::SIGKILL,
    }
}

/// Whether the process has a handler for the signal, or ignores it on purpose.
fn handles(process: pid_t, signal: c_int) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
        return false;
    };
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| matches!(*key, "SigCgt" | "SigIgn"))
        .filter_map(|(_, mask)| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & (1 << (signal - 1)) != 0)
}
