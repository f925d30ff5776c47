//! Holding a process's threads still with ptrace(2), and letting them go as they were.
//!
//! Code must not change under a thread that stands in the midst of it, so all threads are stopped
//! for the tens of microseconds in which the jumps are written. `PTRACE_SEIZE` leaves no trace: a
//! process that was stopped by a signal before is stopped afterwards, a signal that arrives
//! meanwhile is handed on, and if this program dies the kernel lets the threads run on.
//!
//! Two things that others can notice. Blocking calls which return `EINTR` when a stopped process is
//! continued (epoll_wait and a few more, see signal(7)) do so here too. And a `wait` for the
//! process anywhere in *this* program may report a stop: only `WIFEXITED` and `WIFSIGNALED` are the
//! end. (`std::process::Child::wait` does not make that distinction; a pidfd that polls readable
//! does.) This file itself never waits: it asks for registers, which are only to be had of a thread
//! that is stopped, so that no other waiter can take its answer away.

use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::time::{Duration, Instant};

use super::process::{self, Mapping, Memory, Stat, access};
use super::{ClockError, Result};

/// How long a thread may take to stop. It does so within microseconds unless it is in an
/// uninterruptible sleep.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) type Registers = libc::user_regs_struct;

pub(super) fn pc(registers: &Registers) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return registers.rip;
    #[cfg(target_arch = "aarch64")]
    return registers.pc;
}

pub(super) fn sp(registers: &Registers) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return registers.rsp;
    #[cfg(target_arch = "aarch64")]
    return registers.sp;
}

/// A stopped thread; dropping it lets it go.
pub(super) struct Held {
    pub tid: u32,
    pub registers: Registers,
    /// It was stopped by a signal already, and will be again.
    pub group_stopped: bool,
    /// A signal on its way to the thread when it stopped: handed on at the end.
    signal: i32,
    /// A tracer is a thread, not a process: all requests must come from the one that attached.
    not_send: PhantomData<*const ()>,
}

impl Held {
    /// From now on until it is let go, the thread's process is killed if this one dies: for the
    /// time in which it runs what it was not written to run, and could not find back.
    pub fn bind_to_us(&self) -> io::Result<()> {
        let options = libc::PTRACE_O_EXITKILL as usize;
        ptrace(libc::PTRACE_SETOPTIONS, self.tid, 0, options)
    }

    /// Stops one thread. `None` if it has ended.
    pub fn seize(pid: u32, tid: u32) -> Result<Option<Held>> {
        let Some(mut held) = Held::begin(pid, tid)? else {
            return Ok(None);
        };
        Ok(held.await_stop(pid)?.then_some(held))
    }

    /// Tells one thread to stop, which [`Held::await_stop`] then waits for.
    fn begin(pid: u32, tid: u32) -> Result<Option<Held>> {
        let lives = || Stat::of(pid, tid).is_some_and(|stat| stat.lives());
        if !lives() {
            return Ok(None);
        }
        if let Err(error) = ptrace(libc::PTRACE_SEIZE, tid, 0, 0) {
            return match (error.raw_os_error(), process::tracer(pid)) {
                (Some(libc::ESRCH), _) => Ok(None),
                (Some(libc::EPERM), tracer) if tracer != 0 => {
                    Err(ClockError::Traced { pid, tracer })
                }
                // It ended between the two looks.
                (Some(libc::EPERM), _) if !lives() => Ok(None),
                _ => Err(access(pid, "trace it", error)),
            };
        }
        // From here on it is traced: the guard lets go of it whatever happens.
        let held = Held::attached(tid);
        match held.interrupt() {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(access(pid, "interrupt it", error)),
            Ok(()) => Ok(Some(held)),
        }
    }

    /// A guard for a thread that is traced by this thread already, but perhaps not stopped yet.
    pub fn attached(tid: u32) -> Held {
        // SAFETY: the struct is plain integers.
        let registers = unsafe { std::mem::zeroed() };
        Held {
            tid,
            registers,
            group_stopped: false,
            signal: 0,
            not_send: PhantomData,
        }
    }

    /// Waits until the thread is stopped and notes its registers and why it stopped. False if it
    /// has ended.
    pub fn await_stop(&mut self, pid: u32) -> Result<bool> {
        let limit = Instant::now() + PATIENCE;
        loop {
            match self.fetch_registers() {
                Ok(()) => break,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(access(pid, "read its registers", error)),
            }
            if !Stat::of(pid, self.tid).is_some_and(|stat| stat.lives()) {
                return Ok(false);
            }
            if Instant::now() > limit {
                return Err(ClockError::Stuck {
                    pid,
                    tid: self.tid,
                    state: "does not stop (uninterruptible sleep?)",
                });
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        // SAFETY: the struct is plain integers and is only read after the kernel filled it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        if let Err(error) = ptrace(
            libc::PTRACE_GETSIGINFO,
            self.tid,
            0,
            (&raw mut info) as usize,
        ) {
            return Err(access(pid, "see why it stopped", error));
        }
        if info.si_code >> 8 == libc::PTRACE_EVENT_STOP {
            self.signal = 0;
            self.group_stopped = info.si_code & 0xff != libc::SIGTRAP;
        } else {
            self.signal = info.si_signo;
        }
        self.restart_as_itself()
            .map_err(|error| access(pid, "set its registers", error))?;
        Ok(true)
    }

    /// The system call that the stop has interrupted and that will be made again: its number and
    /// arguments.
    pub fn interrupted_call(&self) -> Option<(i64, [u64; 6])> {
        #[cfg(target_arch = "x86_64")]
        {
            let r = &self.registers;
            // ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
            let again = matches!(r.rax as i64, -514..=-512 | -516);
            let number = r.orig_rax as i64;
            (again && number >= 0).then_some((number, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]))
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// A wait until a time is made again as the very call that it was.
    ///
    /// The kernel would let it go on as restart_syscall(2), by a copy of the time that it has kept.
    /// So nobody could see any more what the thread waits in, nor set it another time. Such a wait
    /// does not grow longer by being begun anew.
    fn restart_as_itself(&mut self) -> io::Result<()> {
        #[cfg(target_arch = "x86_64")]
        {
            const ERESTARTNOHAND: i64 = 514;
            const ERESTART_RESTARTBLOCK: i64 = 516;
            let wait = libc::FUTEX_WAIT_BITSET as u64;
            let r = &self.registers;
            if r.rax as i64 == -ERESTART_RESTARTBLOCK
                && r.orig_rax as i64 == libc::SYS_futex
                && r.rsi & 127 == wait
            {
                self.registers.rax = -ERESTARTNOHAND as u64;
                return self.set_registers(&self.registers);
            }
        }
        Ok(())
    }

    /// The signal that stopped it, if it was one on its way to the thread.
    pub fn signal(&self) -> i32 {
        self.signal
    }

    /// Keeps that signal from the thread: it was the tracer's.
    pub fn swallow_signal(&mut self) {
        self.signal = 0;
    }

    fn fetch_registers(&mut self) -> io::Result<()> {
        let mut io = libc::iovec {
            iov_base: (&raw mut self.registers).cast(),
            iov_len: size_of::<Registers>(),
        };
        ptrace(
            libc::PTRACE_GETREGSET,
            self.tid,
            libc::NT_PRSTATUS as usize,
            (&raw mut io) as usize,
        )
    }

    /// Whether it is stopped now: only then its registers can be read.
    pub fn is_stopped(&mut self) -> io::Result<bool> {
        match self.fetch_registers() {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            read => read.map(|()| true),
        }
    }

    pub fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        let mut registers = *registers;
        let mut io = libc::iovec {
            iov_base: (&raw mut registers).cast(),
            iov_len: size_of::<Registers>(),
        };
        ptrace(
            libc::PTRACE_SETREGSET,
            self.tid,
            libc::NT_PRSTATUS as usize,
            (&raw mut io) as usize,
        )
    }

    /// Makes the registers whole where the thread was stopped in a system call that is to be made
    /// again.
    ///
    /// On x86-64 they say so themselves. Here the kernel has set the pc back to the `svc` before it
    /// shows them, and only as the thread goes on it exchanges the number of a call that has slept
    /// a part of its time for that of restart_syscall(2), which sleeps the rest. Other code in
    /// between would keep it from that. So the thread goes on to the `svc`, but not through it.
    ///
    /// The thread must be bound to us and get no signals.
    #[cfg(target_arch = "aarch64")]
    pub fn await_restart(&mut self, memory: &Memory) -> Result<()> {
        /// Runs the thread to its next system call, which is not made (ptrace(2), asm/ptrace.h).
        const PTRACE_SYSEMU: libc::c_uint = 31;
        const SVC: [u8; 4] = 0xd400_0001_u32.to_le_bytes();
        const NUMBER: usize = 8;
        let pid = memory.pid;
        let before = self.registers;
        let mut next = [0; 4];
        memory.read(before.pc, &mut next)?;
        if next != SVC {
            return Ok(());
        }
        let limit = Instant::now() + PATIENCE;
        while self.registers.pc != before.pc + 4 {
            if Instant::now() > limit {
                return Err(ClockError::Stuck {
                    pid,
                    tid: self.tid,
                    state: "does not come to its next system call",
                });
            }
            ptrace(PTRACE_SYSEMU, self.tid, 0, self.signal as usize)
                .map_err(|error| access(pid, "let it run to its system call", error))?;
            if !self.await_stop(pid)? {
                return Err(ClockError::Gone { pid });
            }
            if self.group_stopped {
                return Err(ClockError::Stopped { pid });
            }
        }
        self.swallow_signal();
        let number = self.registers.regs[NUMBER];
        self.registers = before;
        self.registers.regs[NUMBER] = number;
        self.set_registers(&self.registers)
            .map_err(|error| access(pid, "set its registers", error))
    }

    /// Blocks the given signals, a set as one word; gives the set that was blocked before.
    pub fn set_signal_mask(&self, mask: u64) -> io::Result<u64> {
        let mut old = 0_u64;
        ptrace(
            libc::PTRACE_GETSIGMASK,
            self.tid,
            8,
            (&raw mut old) as usize,
        )?;
        ptrace(
            libc::PTRACE_SETSIGMASK,
            self.tid,
            8,
            (&raw const mask) as usize,
        )?;
        Ok(old)
    }

    /// Lets it run on, still traced, with the signal that it was about to get.
    pub fn resume(&mut self) -> io::Result<()> {
        ptrace(libc::PTRACE_CONT, self.tid, 0, self.signal as usize)?;
        self.signal = 0;
        Ok(())
    }

    /// Stops it again after [`Held::resume`].
    pub fn interrupt(&self) -> io::Result<()> {
        ptrace(libc::PTRACE_INTERRUPT, self.tid, 0, 0)
    }

    /// Writes memory as a tracer, which is allowed where /proc/PID/mem is read-only.
    pub fn poke(&self, memory: &Memory, address: u64, bytes: &[u8]) -> Result<()> {
        let mut at = address & !7;
        while at < address + bytes.len() as u64 {
            let mut word = [0; 8];
            memory.read(at, &mut word)?;
            for (i, byte) in word.iter_mut().enumerate() {
                if let Some(&new) = (at + i as u64)
                    .checked_sub(address)
                    .and_then(|index| bytes.get(index as usize))
                {
                    *byte = new;
                }
            }
            ptrace(
                libc::PTRACE_POKEDATA,
                self.tid,
                at as usize,
                usize::from_ne_bytes(word),
            )
            .map_err(|error| access(memory.pid, "write its memory as its tracer", error))?;
            at += 8;
        }
        Ok(())
    }

    /// Whether the thread may come back to an address that is `inside`: it stands there, or it runs
    /// a signal handler now that interrupted it there. Other ways there are none, as the code in
    /// question calls nothing outside of itself.
    ///
    /// The interrupted place is found in the frame that the kernel put on the handler's stack.
    /// `stack` is the mapping in which that lies.
    pub fn may_enter(
        &self,
        memory: &Memory,
        stack: Option<Mapping>,
        inside: impl Fn(u64) -> bool,
    ) -> bool {
        /// Handlers' stacks are a few pages; a handler that is this deep has no business to be.
        const DEPTH_MAX: u64 = 256 * 1024;
        if inside(pc(&self.registers)) {
            return true;
        }
        let Some(stack) = stack else { return true };
        let from = sp(&self.registers) & !7;
        let mut live = vec![0; (stack.end - from).min(DEPTH_MAX) as usize];
        if memory.read(from, &mut live).is_err() {
            return true;
        }
        let words: Vec<u64> = live
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
            .collect();
        words
            .windows(3)
            .any(|window| inside(window[interrupted::PC]) && interrupted::is_context(window))
    }
}

/// Three words of the registers that the kernel saves for a handler to return to (struct sigcontext
/// of asm/sigcontext.h). Nothing else on a stack looks like them.
#[cfg(target_arch = "x86_64")]
mod interrupted {
    /// rip, eflags, and a word with the segment registers.
    pub const PC: usize = 0;

    pub fn is_context(words: &[u64]) -> bool {
        // Bit 1 of the flags is always set, none above 21 is; 0x33 is the code segment of user
        // mode.
        words[1] & 2 != 0 && words[1] >> 22 == 0 && words[2] & 0xffff == 0x33
    }
}

#[cfg(target_arch = "aarch64")]
mod interrupted {
    /// sp, pc, pstate.
    pub const PC: usize = 1;

    pub fn is_context(words: &[u64]) -> bool {
        // User mode has its lowest five bits clear, and the stack pointer is a multiple of 16.
        words[2] & 0x1f == 0 && words[2] >> 32 == 0 && words[0] % 16 == 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It can only fail because the thread has ended, or does not stop; then the kernel lets go
        // of it when the tracing thread ends, which is why `tracing` makes one for each occasion.
        let _ = ptrace(libc::PTRACE_DETACH, self.tid, 0, self.signal as usize);
    }
}

/// All threads of a process, stopped.
pub(super) fn hold_all(pid: u32) -> Result<Vec<Held>> {
    let mut held: Vec<Held> = Vec::new();
    loop {
        // A thread that is not stopped yet may start another, so until a look finds no new one.
        let known = held.len();
        for tid in process::threads(pid)? {
            if held.iter().all(|thread| thread.tid != tid) {
                held.extend(Held::begin(pid, tid)?);
            }
        }
        if held.is_empty() {
            return Err(ClockError::Gone { pid });
        }
        if held.len() == known {
            return Ok(held);
        }
        // All were told before any is waited for, so they stop at the same time.
        let mut i = known;
        while i < held.len() {
            if held[i].await_stop(pid)? {
                i += 1;
            } else {
                held.swap_remove(i);
            }
        }
    }
}

/// Runs `work` on a thread of its own, at whose end the kernel lets go of everything it traces.
pub(super) fn tracing<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Asks to be traced by the parent: for a child between fork and exec.
pub(super) fn trace_me() -> io::Result<()> {
    ptrace(libc::PTRACE_TRACEME, 0, 0, 0)
}

fn ptrace(request: libc::c_uint, tid: u32, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the callers pass pointers to live structs of the size that the request names, or
    // numbers where the request takes numbers.
    let result = unsafe {
        libc::ptrace(
            request,
            tid as libc::pid_t,
            ptr::without_provenance_mut::<libc::c_void>(address),
            ptr::without_provenance_mut::<libc::c_void>(data),
        )
    };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A child that surely runs its own program by now.
    fn cat() -> Child {
        let mut cat = Command::new("cat");
        let mut child = cat
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    /// The way for kernels that leave /proc/PID/mem to tracers, or forbid it to write over code.
    #[test]
    fn a_tracer_pokes_any_bytes_at_any_place() {
        let mut child = cat();
        let pid = child.id();
        tracing(|| {
            let memory = Memory::open(pid).unwrap();
            let end = process::vdso(pid).unwrap().end;
            let thread = Held::seize(pid, pid).unwrap().unwrap();
            for (at, bytes) in [
                (end - 64, &b"abcdefgh"[..]),
                (end - 45, b"x"),
                (end - 35, b"0123456789abc"),
            ] {
                thread.poke(&memory, at, bytes).unwrap();
            }
            let mut seen = [0; 64];
            memory.read(end - 64, &mut seen).unwrap();
            let mut expected = [0; 64];
            expected[..8].copy_from_slice(b"abcdefgh");
            expected[19] = b'x';
            expected[29..42].copy_from_slice(b"0123456789abc");
            assert_eq!(seen, expected);
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A handler's frame on the stack tells where the thread will go back to, though it stands
    /// elsewhere now.
    #[test]
    fn an_interrupted_place_is_found_on_the_stack() {
        let mut child = cat();
        let pid = child.id();
        tracing(|| {
            let memory = Memory::open(pid).unwrap();
            let thread = Held::seize(pid, pid).unwrap().unwrap();
            let from = sp(&thread.registers) & !7;
            let all = process::mappings(pid).unwrap();
            let stack = all
                .iter()
                .map(|(mapping, _)| *mapping)
                .find(|mapping| mapping.contains(from));
            const PLACE: u64 = 0x7777_0000_1234;
            let inside = |address: u64| address == PLACE;
            assert!(!thread.may_enter(&memory, stack, inside));
            // Halfway up what is in use of the stack.
            let place = ((from + stack.unwrap().end) / 2) & !7;
            let mut kept = [0; 24];
            memory.read(place, &mut kept).unwrap();
            #[cfg(target_arch = "x86_64")]
            let (context, other) = (
                [PLACE, 0x246, 0x002b_0000_0000_0033],
                [PLACE, 0x1234_5678_9abc, 0x33],
            );
            #[cfg(target_arch = "aarch64")]
            let (context, other) = (
                [0x7fff_0010, PLACE, 0x6000_0000],
                [0x7fff_0010, PLACE, 0x1234_5678_9abc],
            );
            for (words, expected) in [(context, true), (other, false)] {
                memory
                    .write(place, &words.map(u64::to_le_bytes).concat())
                    .unwrap();
                assert_eq!(thread.may_enter(&memory, stack, inside), expected);
            }
            memory.write(place, &kept).unwrap();
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
