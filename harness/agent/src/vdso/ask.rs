//! Asking a process for its clock by running its own code: the strongest receipt there is.
//!
//! Reading the patch back shows that the right bytes are there. This shows what they do: one
//! thread is stopped, made to call its own `clock_gettime` as the vDSO exports it, and put back
//! where it was. What remains unproven is only that the program uses that function.
//!
//! The call is made so that the thread cannot notice:
//! - its registers are saved and restored, with the mark of an interrupted system call, so that
//!   this call is restarted or fails as it would have after any stop;
//! - its signals are blocked meanwhile and arrive afterwards;
//! - its stack is not used, since a Go or JVM thread may stand on a small one: the call gets the
//!   lowest page of the main thread's stack mapping, which lies below everything in use, and that
//!   page's bytes are put back;
//! - it returns into a loop of the payload (`park`) and is stopped there: no breakpoint, no signal.

use std::time::{Duration, Instant};

use super::line::{Clock, now};
use super::patch::Patch;
use super::payload;
use super::process::{access, mappings};
use super::threads::{Held, Registers, pc, sp, tracing};
use super::{ClockError, Result};

/// Bytes of scratch stack: the vDSO's functions need about 200.
const SCRATCH_LEN: usize = 2048;
/// The call takes a microsecond once the thread gets a processor.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the thread is left alone before it is stopped and looked at.
const TURN: Duration = Duration::from_millis(500);
/// How often its answer is looked for meanwhile.
const GLANCE: Duration = Duration::from_micros(20);
/// What no clock shows: there are fewer nanoseconds in a second.
const NO_ANSWER: [u8; 16] = [0xff; 16];

/// A process's clock between two readings of the true one, all in ns of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub clock: Clock,
    /// The true time before the process read its clock.
    pub before_ns: i64,
    /// What the process read.
    pub shown_ns: i64,
    /// The true time afterwards.
    pub after_ns: i64,
}

impl Reading {
    /// How far the process's clock was ahead of the truth (behind, if negative).
    pub fn lie_ns(&self) -> i64 {
        self.shown_ns - (self.before_ns + (self.after_ns - self.before_ns) / 2)
    }

    /// How far from the truth [`Reading::lie_ns`] can be, either way: half the round trip.
    pub fn error_ns(&self) -> i64 {
        (self.after_ns - self.before_ns + 1) / 2
    }
}

impl Patch {
    /// What the process's own code says the time is. Its main thread is stopped for about a
    /// tenth of a millisecond.
    ///
    /// # Errors
    /// [`ClockError::Stopped`] when the process is stopped by a signal: its code cannot run.
    pub fn ask(&self, clock: Clock) -> Result<Reading> {
        tracing(|| self.call(clock))
    }

    fn call(&self, clock: Clock) -> Result<Reading> {
        let pid = self.pid();
        // The main thread's number is the process's. (It can end before the others; then there is
        // nobody to ask.)
        let mut thread = Held::seize(pid, pid)?.ok_or(ClockError::Gone { pid })?;
        if thread.group_stopped {
            return Err(ClockError::Stopped { pid });
        }
        let id = match clock {
            Clock::Realtime => libc::CLOCK_REALTIME,
            Clock::Monotonic => libc::CLOCK_MONOTONIC,
        };
        let mask = thread
            .set_signal_mask(!0)
            .map_err(|error| access(pid, "block its signals", error))?;
        let run = self.call_unsignalled(&mut thread, id, clock);
        thread
            .set_signal_mask(mask)
            .map_err(|error| access(pid, "restore its signals", error))?;
        run
    }

    /// The same for a thread that is held and gets no signals.
    fn call_unsignalled(&self, thread: &mut Held, id: i32, clock: Clock) -> Result<Reading> {
        let pid = self.pid();
        thread
            .bind_to_us()
            .map_err(|error| access(pid, "bind it to the agent's life", error))?;
        #[cfg(target_arch = "aarch64")]
        thread.await_restart(self.memory())?;
        let scratch = self.scratch(thread)?;
        let mut kept = vec![0; SCRATCH_LEN];
        self.memory().read(scratch, &mut kept)?;

        let saved = thread.registers;
        let (result_at, frame) = (
            scratch + SCRATCH_LEN as u64 - 64,
            scratch + SCRATCH_LEN as u64 - 128,
        );
        let mut call = saved;
        self.aim(
            &mut call,
            self.clock_gettime()?,
            id as u64,
            result_at,
            frame,
        )?;
        let run = (|| {
            thread
                .set_registers(&call)
                .map_err(|error| access(pid, "set its registers", error))?;
            self.memory().write(result_at, &NO_ANSWER)?;
            self.will_ask(clock);
            let before_ns = now(clock);
            let time = self.run_to_park(thread, result_at)?;
            let after_ns = now(clock);
            let word =
                |at: usize| i64::from_le_bytes(time[at..at + 8].try_into().expect("eight bytes"));
            Ok(Reading {
                clock,
                before_ns,
                shown_ns: word(0) * 1_000_000_000 + word(8),
                after_ns,
            })
        })();
        // Put back in any case, whatever of it fails.
        let back = [
            self.memory().write(scratch, &kept),
            thread
                .set_registers(&saved)
                .map_err(|error| access(pid, "restore its registers", error)),
        ];
        back.into_iter().collect::<Result<()>>()?;
        run
    }

    /// Where scratch memory lies: at the low end of the main thread's stack mapping.
    fn scratch(&self, thread: &Held) -> Result<u64> {
        let pid = self.pid();
        let unsupported = |reason: &str| ClockError::Unsupported {
            pid,
            reason: reason.into(),
        };
        let all = mappings(pid)?;
        let (stack, _) = all
            .iter()
            .find(|(_, name)| name == "[stack]")
            .ok_or_else(|| unsupported("its main thread has no stack mapping"))?;
        let sp = sp(&thread.registers);
        // Below the pointer there may be a red zone of 128 bytes.
        if stack.contains(sp) && sp - stack.start < 2 * SCRATCH_LEN as u64 {
            return Err(unsupported("its main thread's stack is full"));
        }
        Ok(stack.start)
    }

    /// Lets the thread run until it has come back from the call; gives what this wrote.
    ///
    /// It is interrupted only when there is an answer, or none for long. It may stop by itself: an
    /// interruption of before that a signal forestalled is still due, and takes effect as soon as
    /// the thread runs. One more would be due after that, and so on for ever.
    fn run_to_park(&self, thread: &mut Held, result_at: u64) -> Result<[u8; 16]> {
        let pid = self.pid();
        let park = self.address(payload::park_at());
        let limit = Instant::now() + PATIENCE;
        let mut time = NO_ANSWER;
        loop {
            thread
                .resume()
                .map_err(|error| access(pid, "let it run", error))?;
            let turn = Instant::now() + TURN;
            let mut stopped = false;
            while !stopped && time == NO_ANSWER && Instant::now() < turn {
                std::thread::sleep(GLANCE);
                self.memory().read(result_at, &mut time)?;
                stopped = thread
                    .is_stopped()
                    .map_err(|error| access(pid, "read its registers", error))?;
            }
            if !stopped {
                thread
                    .interrupt()
                    .map_err(|error| access(pid, "stop it", error))?;
            }
            if !thread.await_stop(pid)? {
                return Err(ClockError::Gone { pid });
            }
            if (park..park + payload::PARK_LEN).contains(&pc(&thread.registers)) {
                self.memory().read(result_at, &mut time)?;
                return Ok(time);
            }
            if Instant::now() > limit {
                return Err(ClockError::Stuck {
                    pid,
                    tid: thread.tid,
                    state: "does not come back from clock_gettime",
                });
            }
        }
    }

    /// Registers for a call of `function` that returns to the loop.
    fn aim(
        &self,
        registers: &mut Registers,
        function: u64,
        clock: u64,
        result: u64,
        frame: u64,
    ) -> Result<()> {
        let park = self.address(payload::park_at());
        #[cfg(target_arch = "x86_64")]
        {
            // The return address lies where a call instruction would have put it: on a stack that
            // was a multiple of 16 before.
            let top = (frame & !15) - 8;
            self.memory().write(top, &park.to_le_bytes())?;
            registers.rsp = top;
            registers.rip = function;
            registers.rdi = clock;
            registers.rsi = result;
            registers.eflags &= !0x400; // the direction flag is clear at a call
            registers.orig_rax = u64::MAX; // not in a system call: nothing to restart
        }
        #[cfg(target_arch = "aarch64")]
        {
            registers.sp = frame & !15;
            registers.pc = function;
            registers.regs[0] = clock;
            registers.regs[1] = result;
            registers.regs[30] = park;
            registers.pstate &= !0xc00; // BTYPE: not behind an indirect branch
        }
        Ok(())
    }
}
