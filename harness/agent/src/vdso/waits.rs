//! Threads that wait in the kernel until a time, and setting them another one.
//!
//! Who waits for a span is not concerned by clocks. Who waits *until* a time has worked it out by
//! what the clock showed, and the kernel takes it for the truth: with a clock that is an hour
//! ahead, half a second becomes an hour and a half second. What a thread waits for is seen from
//! outside:
//!
//! ```text
//!   /proc/PID/task/TID/syscall   202 0x7f.. 0x189 0x0 0x7ffd.. 0x0 ...     futex, until, real time
//!   the process's memory         0x7ffd..: { tv_sec, tv_nsec }             until when
//!   /proc/PID/fdinfo/7           clockid: 0, settime flags: 01             a timer's descriptor
//!   /proc/PID/timers             ID: 0, ClockID: 0                         a timer of timer_create(2)
//! ```
//!
//! To set another time, the thread is stopped, which interrupts its call, the time in its memory is
//! changed, and it goes on, upon which the kernel makes the same call again. The program cannot
//! notice, unless it compares the time that it passed to the kernel with that in its memory
//! afterwards.

use std::fs;

use super::line::Clock;
use super::process::{Memory, threads};
use super::threads::{Held, tracing};
use super::{ClockError, Result};

/// A thread that waits until a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub tid: u32,
    pub clock: Clock,
    /// The system call.
    pub call: &'static str,
    /// Where the time lies in the process's memory.
    pub at: u64,
    pub until_ns: i64,
}

/// The clock of a number, if it is one that can be turned.
fn clock(id: u64) -> Option<Clock> {
    match id as libc::clockid_t {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_ALARM | libc::CLOCK_TAI => {
            Some(Clock::Realtime)
        }
        libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME | libc::CLOCK_BOOTTIME_ALARM => {
            Some(Clock::Monotonic)
        }
        _ => None,
    }
}

/// Name, clock, and the address of the time, of a call that waits until one.
fn understand(number: i64, arguments: [u64; 6]) -> Option<(&'static str, Clock, u64)> {
    const FUTEX_WAITV: i64 = 449;
    const FUTEX_WAIT: i64 = 455;
    const LOCK_PI2: u64 = 13;
    const REALTIME: u64 = libc::FUTEX_CLOCK_REALTIME as u64;
    let flagged = |operation: u64| match operation & REALTIME {
        0 => Clock::Monotonic,
        _ => Clock::Realtime,
    };
    let [a, b, c, d, e, f] = arguments;
    let (call, clock, at) = match number {
        libc::SYS_futex => {
            let by = match b & 127 {
                wait if wait == libc::FUTEX_WAIT_BITSET as u64 => flagged(b),
                wait if wait == libc::FUTEX_WAIT_REQUEUE_PI as u64 => flagged(b),
                lock if lock == libc::FUTEX_LOCK_PI as u64 => Clock::Realtime,
                LOCK_PI2 => flagged(b),
                _ => return None,
            };
            ("futex", by, d)
        }
        libc::SYS_clock_nanosleep if b & libc::TIMER_ABSTIME as u64 != 0 => {
            ("clock_nanosleep", clock(a)?, c)
        }
        libc::SYS_mq_timedsend => ("mq_timedsend", Clock::Realtime, e),
        libc::SYS_mq_timedreceive => ("mq_timedreceive", Clock::Realtime, e),
        FUTEX_WAITV => ("futex_waitv", clock(e)?, d),
        FUTEX_WAIT => ("futex_wait", clock(f)?, e),
        _ => return None,
    };
    (at != 0).then_some((call, clock, at))
}

/// What a thread is waiting in now: number and arguments of its call.
fn call_of(pid: u32, tid: u32) -> Option<(i64, [u64; 6])> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    // "running", or -1 outside of any call.
    let mut words = text.split_whitespace();
    let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((number, arguments))
}

fn read_time(memory: &Memory, at: u64) -> Result<i64> {
    let mut time = [0; 16];
    memory.read(at, &mut time)?;
    let word = |at: usize| i64::from_le_bytes(time[at..at + 8].try_into().expect("eight bytes"));
    Ok(word(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(word(8)))
}

/// The threads of a process that wait until a time, by a clock that can be turned.
pub fn waits(pid: u32) -> Result<Vec<Wait>> {
    let memory = Memory::open(pid)?;
    let mut found = Vec::new();
    for tid in threads(pid)? {
        let Some((number, arguments)) = call_of(pid, tid) else {
            continue;
        };
        if let Some((call, clock, at)) = understand(number, arguments)
            && let Ok(until_ns) = read_time(&memory, at)
        {
            found.push(Wait {
                tid,
                clock,
                call,
                at,
                until_ns,
            });
        }
    }
    Ok(found)
}

/// Lets a thread wait until another true time. `false`: it does not wait like that any more.
///
/// # Errors
/// It cannot be done here, or was not allowed; the thread waits as before.
pub fn rearm(pid: u32, wait: &Wait, until_ns: i64) -> Result<bool> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(ClockError::Unsupported {
            pid,
            reason: "on this processor waiting threads cannot be set another time".into(),
        });
    }
    let until_ns = until_ns.max(0);
    tracing(|| {
        let memory = Memory::open(pid)?;
        let Some(thread) = Held::seize(pid, wait.tid)? else {
            return Ok(false);
        };
        let same = thread
            .interrupted_call()
            .and_then(|(number, arguments)| understand(number, arguments))
            == Some((wait.call, wait.clock, wait.at));
        if !same || read_time(&memory, wait.at)? != wait.until_ns {
            return Ok(false);
        }
        let time = [until_ns / 1_000_000_000, until_ns % 1_000_000_000];
        let bytes = time.map(i64::to_le_bytes).concat();
        // As it is let go, it makes its call again, and the kernel reads the time anew.
        memory.write(wait.at, &bytes)?;
        Ok(true)
    })
}

/// A timer of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// `timerfd_create`: its descriptor.
    Descriptor(u32),
    /// `timer_create`: the kernel's number. Whether it is set, and how, nobody can see.
    Posix(u32),
}

/// Timers that are or may be set to an absolute time, by a clock that can be turned.
pub fn timers(pid: u32) -> Vec<(Timer, Clock)> {
    let text = fs::read_to_string(format!("/proc/{pid}/timers")).unwrap_or_default();
    let posix = posix(&text)
        .into_iter()
        .map(|(id, clock)| (Timer::Posix(id), clock));
    let descriptors = descriptors(pid).into_iter();
    let descriptors = descriptors.map(|(fd, clock)| (Timer::Descriptor(fd), clock));
    descriptors.chain(posix).collect()
}

/// What `/proc/PID/timers` lists, each timer in four lines (proc(5)).
fn posix(text: &str) -> Vec<(u32, Clock)> {
    let mut found = Vec::new();
    let mut id = None;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        match name {
            "ID" => id = value.trim().parse().ok(),
            "ClockID" => {
                let clock = value.trim().parse().ok().and_then(clock);
                found.extend(id.take().zip(clock));
            }
            _ => {}
        }
    }
    found
}

fn descriptors(pid: u32) -> Vec<(u32, Clock)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return Vec::new();
    };
    let timer = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, absolute(&fs::read_to_string(entry.path()).ok()?)?))
    };
    entries.flatten().filter_map(timer).collect()
}

/// The clock of a timer that is set, and to an absolute time, by what its `fdinfo` says.
fn absolute(text: &str) -> Option<Clock> {
    let field = |name: &str| {
        Some(
            text.lines()
                .find_map(|line| line.strip_prefix(name))?
                .trim(),
        )
    };
    // In octal; the lowest bit is TFD_TIMER_ABSTIME.
    let flags = u32::from_str_radix(field("settime flags:")?, 8).ok()?;
    let set = field("it_value:")? != "(0, 0)";
    match flags & 1 == 1 && set {
        true => clock(field("clockid:")?.parse().ok()?),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_wait_until_a_time_are_told_from_those_that_wait_for_a_span() {
        let futex =
            |operation: u64, at: u64| understand(libc::SYS_futex, [1, operation, 0, at, 0, 0]);
        let realtime = Some(("futex", Clock::Realtime, 7));
        let monotonic = Some(("futex", Clock::Monotonic, 7));
        assert_eq!(futex(9 | 128 | 256, 7), realtime);
        assert_eq!(futex(9 | 128, 7), monotonic);
        assert_eq!(futex(6 | 128, 7), realtime); // LOCK_PI
        assert_eq!(futex(13, 7), monotonic);
        assert_eq!(futex(9 | 256, 0), None); // for ever
        assert_eq!(futex(0, 7), None); // FUTEX_WAIT: a span
        assert_eq!(futex(1, 7), None); // a wake-up
        let sleep = |clock: u64, flags: u64| {
            understand(libc::SYS_clock_nanosleep, [clock, flags, 7, 0, 0, 0])
        };
        assert_eq!(sleep(0, 1), Some(("clock_nanosleep", Clock::Realtime, 7)));
        assert_eq!(sleep(1, 1), Some(("clock_nanosleep", Clock::Monotonic, 7)));
        assert_eq!(sleep(0, 0), None);
        assert_eq!(sleep(2, 1), None); // processor time
        assert_eq!(understand(libc::SYS_epoll_pwait, [1, 2, 3, 4, 5, 6]), None);
    }

    #[test]
    fn timers_by_a_clock_that_can_be_turned_are_found() {
        let text = "ID: 3\nsignal: 14/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 0\n\
                    ID: 4\nsignal: 0/0000000000000000\nnotify: thread/tid.7\nClockID: 2\n\
                    ID: 5\nsignal: 14/0\nnotify: none/pid.1\nClockID: 1\nClockID: -6\n";
        let found = [(3, Clock::Realtime), (5, Clock::Monotonic)];
        assert_eq!(posix(text), found);
        assert_eq!(posix(""), []);
    }

    #[test]
    fn timers_that_are_set_to_a_time_are_told_from_others() {
        let text = |clock: u32, flags: &str, value: &str| {
            format!(
                "pos:\t0\nflags:\t02\nclockid: {clock}\nticks: 0\nsettime flags: {flags}\n\
                 it_value: {value}\nit_interval: (0, 0)\n"
            )
        };
        assert_eq!(absolute(&text(0, "01", "(3, 5)")), Some(Clock::Realtime));
        assert_eq!(absolute(&text(1, "03", "(3, 5)")), Some(Clock::Monotonic));
        assert_eq!(absolute(&text(0, "00", "(3, 5)")), None);
        assert_eq!(absolute(&text(0, "01", "(0, 0)")), None);
        assert_eq!(absolute("pos:\t0\nflags:\t02\n"), None);
    }
}
