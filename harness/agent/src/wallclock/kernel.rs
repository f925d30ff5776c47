//! The system calls. The only place that can set a machine's clock, and it asks [`super::may_set`].

use std::io;

use super::wall::{Machine, Timex};

/// This machine's clock, once it is known that it may be set.
#[derive(Debug)]
pub struct Kernel(());

impl Kernel {
    /// # Errors
    /// Why it may not be set.
    pub fn open(controller_boot: &str) -> Result<Kernel, String> {
        super::may_set(controller_boot)?;
        Ok(Kernel(()))
    }
}

fn now(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a plain system call that writes to memory of our own; these clocks always exist.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn adjust(timex: &mut libc::timex) -> io::Result<()> {
    // SAFETY: a plain system call on memory of our own.
    match unsafe { libc::adjtimex(timex) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

impl Machine for Kernel {
    fn raw_ns(&self) -> i64 {
        now(libc::CLOCK_MONOTONIC_RAW)
    }

    fn wall_ns(&self) -> i64 {
        now(libc::CLOCK_REALTIME)
    }

    fn set_wall(&mut self, ns: i64) -> io::Result<()> {
        let time = libc::timespec {
            tv_sec: ns.div_euclid(1_000_000_000),
            tv_nsec: ns.rem_euclid(1_000_000_000),
        };
        // SAFETY: a plain system call that reads memory of our own.
        match unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn timex(&self) -> io::Result<Timex> {
        // SAFETY: all zeros is a valid `timex`, and asks for nothing to be changed.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        adjust(&mut timex)?;
        Ok(Timex {
            frequency: timex.freq,
            tick_us: timex.tick,
            status: timex.status,
            max_error_us: timex.maxerror,
            estimated_error_us: timex.esterror,
        })
    }

    fn set_timex(&mut self, wanted: &Timex) -> io::Result<()> {
        // SAFETY: all zeros is a valid `timex`.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        timex.modes = libc::ADJ_FREQUENCY
            | libc::ADJ_TICK
            | libc::ADJ_STATUS
            | libc::ADJ_MAXERROR
            | libc::ADJ_ESTERROR;
        timex.freq = wanted.frequency;
        timex.tick = wanted.tick_us;
        timex.status = wanted.status;
        timex.maxerror = wanted.max_error_us;
        timex.esterror = wanted.estimated_error_us;
        adjust(&mut timex)
    }
}
