//! A system call made in another process, by one of its threads that is held.
//!
//! The payload has the instruction and the loop behind it. As in ask.rs the thread cannot notice:
//! its registers are put back with the mark of an interrupted system call, its signals are blocked
//! meanwhile, and neither its stack nor any memory of its program is used.

use std::time::{Duration, Instant};

use super::payload;
use super::process::{Memory, access};
use super::threads::{Held, pc};
use super::{ClockError, Result};

/// The call takes a microsecond once the thread gets a processor.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the thread is left alone before it is looked at.
const TURN: Duration = Duration::from_micros(50);

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub number: libc::c_long,
    pub arguments: [u64; 6],
}

/// Makes the call in this thread, where the payload lies at address `payload`, and gives what the
/// kernel answered: negative for an error.
///
/// # Errors
/// [`ClockError::Stopped`] when the process is stopped by a signal: its threads cannot run.
pub(super) fn system_call(
    thread: &mut Held,
    memory: &Memory,
    payload: u64,
    call: &Call,
) -> Result<i64> {
    let pid = memory.pid;
    if thread.group_stopped {
        return Err(ClockError::Stopped { pid });
    }
    let mask = thread
        .set_signal_mask(!0)
        .map_err(|error| access(pid, "block its signals", error))?;
    let answer = unsignalled(thread, memory, payload, call);
    thread
        .set_signal_mask(mask)
        .map_err(|error| access(pid, "restore its signals", error))?;
    answer
}

fn unsignalled(thread: &mut Held, memory: &Memory, payload: u64, call: &Call) -> Result<i64> {
    let pid = memory.pid;
    thread
        .bind_to_us()
        .map_err(|error| access(pid, "bind it to the agent's life", error))?;
    #[cfg(target_arch = "aarch64")]
    thread.await_restart(memory)?;
    let saved = thread.registers;
    let mut there = saved;
    let [a, b, c, d, e, f] = call.arguments;
    #[cfg(target_arch = "x86_64")]
    {
        there.rip = payload + payload::call_at() as u64;
        there.rax = call.number as u64;
        there.orig_rax = u64::MAX; // not in a system call: nothing to restart
        (there.rdi, there.rsi, there.rdx) = (a, b, c);
        (there.r10, there.r8, there.r9) = (d, e, f);
    }
    #[cfg(target_arch = "aarch64")]
    {
        there.pc = payload + payload::call_at() as u64;
        there.regs[8] = call.number as u64;
        there.regs[..6].copy_from_slice(&[a, b, c, d, e, f]);
        there.pstate &= !0xc00; // BTYPE: not behind an indirect branch
    }
    let answer = thread
        .set_registers(&there)
        .map_err(|error| access(pid, "set its registers", error))
        .and_then(|()| run(thread, pid, payload));
    thread
        .set_registers(&saved)
        .map_err(|error| access(pid, "restore its registers", error))?;
    thread.registers = saved;
    answer
}

/// Lets the thread run until it is in the loop; gives what the call left in its first register.
fn run(thread: &mut Held, pid: u32, payload: u64) -> Result<i64> {
    let park = payload + payload::park_at() as u64;
    let limit = Instant::now() + PATIENCE;
    loop {
        thread
            .resume()
            .map_err(|error| access(pid, "let it run", error))?;
        std::thread::sleep(TURN);
        // It may have stopped by itself, by an interruption of before that was still due.
        let stopped = thread
            .is_stopped()
            .map_err(|error| access(pid, "read its registers", error))?;
        if !stopped {
            thread
                .interrupt()
                .map_err(|error| access(pid, "stop it", error))?;
        }
        if !thread.await_stop(pid)? {
            return Err(ClockError::Gone { pid });
        }
        if (park..park + payload::PARK_LEN).contains(&pc(&thread.registers)) {
            #[cfg(target_arch = "x86_64")]
            return Ok(thread.registers.rax as i64);
            #[cfg(target_arch = "aarch64")]
            return Ok(thread.registers.regs[0] as i64);
        }
        if Instant::now() > limit {
            return Err(ClockError::Stuck {
                pid,
                tid: thread.tid,
                state: "does not come back from a system call",
            });
        }
    }
}
