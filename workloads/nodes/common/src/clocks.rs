//! The clocks of a process, and of the kernel.
//!
//! A process usually reads the time through the vDSO, and a harness may shift what is read there. A
//! protocol's timers and leases are meant to feel that. What is only plumbing waits in the kernel
//! instead, so that a shifted clock changes what the protocol does and not whether connections can
//! be made.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::event::{Event, Protocol};

/// The process's ordinary clocks, for the protocol.
pub struct Clocks {
    start: Instant,
}

/// What they show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since some moment long before the process started.
    pub monotonic: Duration,
    /// Since 1970.
    pub wall: Duration,
}

impl Clocks {
    /// The monotonic clock is counted from now.
    pub fn new() -> Clocks {
        Clocks {
            start: Instant::now(),
        }
    }

    /// What they show.
    pub fn read(&self) -> Reading {
        // A monotonic clock that was shifted back may be before the start. The offset keeps that
        // visible.
        const OFFSET: Duration = Duration::from_secs(1 << 32);
        let now = Instant::now();
        let monotonic = match now.checked_duration_since(self.start) {
            Some(since) => OFFSET + since,
            None => OFFSET.saturating_sub(self.start.duration_since(now)),
        };
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Reading { monotonic, wall }
    }
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks::new()
    }
}

/// The kernel's CLOCK_MONOTONIC in nanoseconds, by a direct system call.
pub fn kernel_monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clock_gettime,
            libc::CLOCK_MONOTONIC,
            &raw mut time,
        )
    };
    assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The process's own CLOCK_MONOTONIC, through the vDSO.
pub fn process_monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Waits by the kernel's clock, with a timer of the kernel's.
pub async fn pause(span: Duration) {
    match timer(span) {
        Ok(timer) => {
            // Readable is what a timer becomes when its time has come; no other error than a closed
            // runtime is known.
            let _ = timer.readable().await;
        }
        Err(_) => {
            // Out of file descriptors: a thread can sleep too.
            let slept = tokio::task::spawn_blocking(move || std::thread::sleep(span)).await;
            slept.expect("to sleep does not panic");
        }
    }
}

fn timer(span: Duration) -> io::Result<AsyncFd<OwnedFd>> {
    // All zeros would mean no timer.
    let span = span.max(Duration::from_nanos(1));
    let once = libc::itimerspec {
        it_interval: libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: libc::timespec {
            tv_sec: span.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: span.subsec_nanos().into(),
        },
    };
    // SAFETY: no pointers.
    let fd = unsafe {
        libc::timerfd_create(
            libc::CLOCK_MONOTONIC,
            libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the pointer is to an itimerspec that lives through the call, and the old one is not
    // asked for.
    if unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &raw const once, std::ptr::null_mut()) }
        < 0
    {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: an `OwnedFd` is open, and the same, for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// What comes of the future, unless it takes longer than `span` by the kernel's clock.
pub async fn within<T>(span: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = future => Some(result),
        () = pause(span) => None,
    }
}

/// Starts the thread that makes time pass. `thread::sleep` waits in the kernel, whatever the
/// process's clocks show.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start_ticks<P: Protocol>(every: Duration, events: mpsc::Sender<Event<P>>) -> io::Result<()> {
    let pass = move || {
        while events.blocking_send(Event::Tick).is_ok() {
            std::thread::sleep(every);
        }
    };
    std::thread::Builder::new()
        .name("ticks".into())
        .spawn(pass)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_io().build().unwrap().block_on(future)
    }

    #[test]
    fn a_pause_is_not_shorter_than_asked() {
        for span in [Duration::ZERO, Duration::from_millis(30)] {
            let before = kernel_monotonic_ns();
            run(pause(span));
            assert!(kernel_monotonic_ns() - before >= span.as_nanos() as u64);
        }
    }

    #[test]
    fn what_comes_in_time_is_given_and_what_never_comes_is_not() {
        run(async {
            assert_eq!(within(Duration::from_secs(60), async { 7 }).await, Some(7));
            let never = std::future::pending::<()>();
            assert_eq!(within(Duration::from_millis(1), never).await, None);
        });
    }
}
