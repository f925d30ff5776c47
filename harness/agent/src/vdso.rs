//! Clocks of single processes: makes a running, unmodified program believe that it is earlier or
//! later than it is, or that time runs faster, slower or not at all.
//!
//! Programs do not ask the kernel for the time. They call `clock_gettime`, `gettimeofday` and
//! `time` in the **vDSO**, a small library that the kernel maps into every process (vdso(7)). A
//! write through `/proc/PID/mem` gives a process a private copy of such a page, so this module
//! writes a few hundred bytes of code and two lines of arithmetic into the zeros at the end of
//! that mapping and a jump to them at the head of each function:
//!
//! ```text
//!   program ─ call ─▶ __vdso_clock_gettime:  jmp ───────▶ hook: call original ─▶ displaced first
//!                     (5 bytes displaced)                                        instructions, jmp
//!                     rest of the function  ◀──────────────────────────────────  back
//!                              └─ true time ───────────▶ apply the line ─▶ shown time ─▶ program
//! ```
//!
//! After that a fault is a write of 64 bytes of data: it stops nobody and takes microseconds. The
//! hooks count how often they are called, in a page that the process is made to map.
//! Nothing else on the machine is touched, and no privilege is needed beyond the right to trace
//! the process (a descendant, where Yama's `ptrace_scope` is 1).
//!
//! ```text
//!   Patch::install(pid)? .set(&Shift { realtime: Line::offset(HOUR), ..Shift::IDENTITY })?
//!        │                .get()?  what the process's memory says      (receipt: bytes)
//!        │                .ask(Clock::Realtime)?  what its code answers (receipt: execution)
//!        │                .count()? .asked()?  how often the program itself has asked (receipt: use)
//!        └─▶ .remove()?  the bytes that were there before
//!   spawn(command, &shift)?   a child that never saw the true time
//!   cover(pid, &shift)        a daemon and all its descendants, again after they fork and exec
//! ```
//!
//! Threads that wait in the kernel *until* a time are set another one by [`rearm`].
//!
//! What this cannot reach: system calls made without the vDSO, the kernel's own timers (a timeout
//! of one second takes one true second), and programs after `exec`, which starts with a fresh
//! vDSO. `harness/docs/clocks.md` has the whole list and the costs.
//!
//! Read next: [`line`] (what is shown), `payload` (the code), `patch` (putting it there).

mod ask;
mod cover;
mod image;
pub mod line;
mod patch;
mod payload;
mod plan;
mod process;
mod relocate;
mod remote;
mod spawn;
mod threads;
mod waits;

use std::io;

pub use ask::Reading;
pub use cover::{Covered, cover, rehearse};
pub use line::{Clock, Line, LineError, Shift, now};
pub use patch::{Asked, Patch, Removal};
pub use payload::Route;
pub use plan::{Layout, support};
pub use process::{start_time, tree};
pub use spawn::spawn;
pub use waits::{Timer, Wait, rearm, timers, waits};

/// Why a process's clocks could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// It exited, or replaced itself by `exec` since the patch: whatever runs under this number
    /// now has true clocks.
    #[error("process {pid} is gone: it exited, or replaced itself with exec")]
    Gone { pid: u32 },
    /// The kernel refused or failed an access.
    #[error("process {pid}: cannot {action}: {source}{}", hint(source))]
    Access {
        pid: u32,
        action: &'static str,
        source: io::Error,
    },
    /// A debugger or tracer is attached; a process has only one.
    #[error("process {pid} is traced by process {tracer}; its clocks cannot be changed meanwhile")]
    Traced { pid: u32, tracer: u32 },
    /// It is this program, or a child of it that shares its memory because it has not called exec
    /// yet.
    #[error("process {pid} runs in this program's own memory, whose clocks stay true")]
    Ours { pid: u32 },
    /// No 64-bit vDSO, one that makes no sense, or one without room for the code.
    #[error("process {pid}: its vDSO cannot be patched: {reason}")]
    Unsupported { pid: u32, reason: String },
    /// The mapping carries a patch that this program did not write.
    #[error(
        "process {pid}: its vDSO carries a clock patch of version {version}, this program's is {ours}"
    )]
    Foreign { pid: u32, version: u32, ours: u32 },
    /// The patch was removed, so there is nothing to set or read.
    #[error("process {pid} has no clock patch")]
    NotPatched { pid: u32 },
    /// A thread did not come to a stop, or back from a call, in a second or two.
    #[error("process {pid}: thread {tid} {state}")]
    Stuck {
        pid: u32,
        tid: u32,
        state: &'static str,
    },
    /// A thread stood inside the few bytes to be replaced each time it was looked at.
    #[error("process {pid}: thread {tid} stands in the bytes to be replaced; nothing was changed")]
    Busy { pid: u32, tid: u32 },
    /// The process is stopped (SIGSTOP), so its code cannot be run.
    #[error("process {pid} is stopped, so it cannot be asked for its clock")]
    Stopped { pid: u32 },
    /// A line out of the range that the arithmetic covers.
    #[error("process {pid}: {source}")]
    Line { pid: u32, source: LineError },
    /// The child could not be started.
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: io::Error },
}

/// What usually stands behind a refusal.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (is it a descendant? see kernel.yama.ptrace_scope; and a seccomp filter may forbid ptrace)"
        }
        _ => "",
    }
}

/// Shorthand of this module.
type Result<T, E = ClockError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
