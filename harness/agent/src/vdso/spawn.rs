//! Starting a child with shifted clocks: `exec` gives a process a fresh vDSO, so the child is
//! stopped right behind it, patched, and let go before its first instruction.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::line::Shift;
use super::patch::Patch;
use super::process::access;
use super::threads::{Held, trace_me};
use super::{ClockError, Result};

/// Starts a child that never sees the true time. It is traced by the calling thread for a moment
/// and no longer when this returns; meanwhile a wait for *any* child may report that it stopped.
///
/// A program that execs another one (a shell script's `exec`) loses the shift there;
/// [`cover`](super::cover) gives it back.
///
/// # Errors
/// The child is killed and reaped if it cannot be patched.
pub fn spawn(command: &mut Command, shift: &Shift) -> Result<(Child, Patch)> {
    shift
        .check()
        .map_err(|source| ClockError::Line { pid: 0, source })?;
    // SAFETY: the closure makes one system call, which is allowed between fork and exec.
    unsafe { command.pre_exec(trace_me) };
    let program = command.get_program().to_string_lossy().into_owned();
    // It returns when exec has succeeded; the child is then about to stop.
    let mut child = command
        .spawn()
        .map_err(|source| ClockError::Spawn { program, source })?;
    let mut thread = Held::attached(child.id());
    match prepare(&mut thread, shift) {
        Ok(patch) => Ok((child, patch)),
        Err(error) => {
            // While it is still held, so that it never runs with the true time. Both fail only if
            // it is dead and reaped already.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn prepare(thread: &mut Held, shift: &Shift) -> Result<Patch> {
    let pid = thread.tid;
    loop {
        if !thread.await_stop(pid)? {
            return Err(ClockError::Gone { pid });
        }
        if thread.signal() == libc::SIGTRAP {
            break;
        }
        // Somebody else's signal came first: it is handed on.
        thread
            .resume()
            .map_err(|error| access(pid, "let it run", error))?;
    }
    thread.swallow_signal();
    let patch = Patch::install_held(pid, thread)?;
    patch.set(shift)?;
    Ok(patch)
}
