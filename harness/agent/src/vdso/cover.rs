//! Whole families of processes, and a rehearsal on a process of our own.

use std::io;

use super::line::{Clock, Line, Shift};
use super::patch::Patch;
use super::process::tree;
use super::{ClockError, Result};

/// What [`cover`] did to one process.
#[derive(Debug)]
pub struct Covered {
    pub pid: u32,
    /// The patch, or why this process keeps true clocks.
    pub patch: Result<Patch>,
}

/// Patches a process and all its descendants and gives them one shift: those that are new since
/// the last time, and those that lost their patch by exec, too. Repeat it while a fault lasts.
/// Processes that end meanwhile are left out.
pub fn cover(pid: u32, shift: &Shift) -> Vec<Covered> {
    let apply = |pid| {
        let patch = Patch::install(pid)?;
        if patch.get()? != *shift {
            patch.set(shift)?;
        }
        Ok(patch)
    };
    let all = tree(pid).into_iter().map(|pid| Covered {
        pid,
        patch: apply(pid),
    });
    all.filter(|covered| !matches!(covered.patch, Err(ClockError::Gone { .. })))
        .collect()
}

/// Tries the whole thing out on a child process that lives for milliseconds: whether this machine
/// lets us trace, write and turn clocks, which [`support`] cannot see.
pub fn rehearse() -> Result<()> {
    const HOUR_NS: i64 = 3_600_000_000_000;

    // SAFETY: the child makes two system calls, which is safe after fork in any program.
    let pid = match unsafe { libc::fork() } {
        -1 => {
            return Err(ClockError::Spawn {
                program: "a child to try on".into(),
                source: io::Error::last_os_error(),
            });
        }
        0 => loop {
            // SAFETY: as above. It dies with this thread.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
            }
        },
        pid => pid as u32,
    };
    let result = (|| {
        let patch = Patch::install(pid)?;
        patch.set(&Shift {
            realtime: Line::offset(HOUR_NS),
            ..Shift::IDENTITY
        })?;
        let reading = patch.ask(Clock::Realtime)?;
        patch.remove()?;
        let (lie, error) = (reading.lie_ns(), reading.error_ns());
        if (lie - HOUR_NS).abs() > error {
            let reason = format!(
                "a clock that should be off by {HOUR_NS} ns is off by {lie} ns (within {error})"
            );
            return Err(ClockError::Unsupported { pid, reason });
        }
        Ok(())
    })();
    // SAFETY: the child is ours and not reaped yet, so the number is still its own.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        let mut status = 0;
        while libc::waitpid(pid as libc::pid_t, &raw mut status, 0) != -1
            && !libc::WIFSIGNALED(status)
        {}
    }
    result
}
