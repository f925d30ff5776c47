//! The clocks of a process, and of the kernel.
//!
//! A process usually reads the time through the vDSO, and a harness may shift what is read there. A protocol's
//! timers and leases are meant to feel that. What is only plumbing waits in the kernel instead, so that a shifted
//! clock changes what the protocol does and not whether connections can be made.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

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
        // A monotonic clock that was shifted back may be before the start. The offset keeps that visible.
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

/// Waits in the kernel. For rare waits only: each takes a thread.
pub async fn pause(span: Duration) {
    let slept = tokio::task::spawn_blocking(move || std::thread::sleep(span)).await;
    slept.expect("to sleep does not panic");
}

/// What comes of the future, unless it takes longer than `span` by the kernel's clock.
pub async fn within<T>(span: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = future => Some(result),
        () = pause(span) => None,
    }
}

/// Starts the thread that makes time pass. `thread::sleep` waits in the kernel, whatever the process's clocks show.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start_ticks<E: Send + 'static>(
    every: Duration,
    events: mpsc::Sender<E>,
    tick: fn() -> E,
) -> io::Result<()> {
    let pass = move || {
        while events.blocking_send(tick()).is_ok() {
            std::thread::sleep(every);
        }
    };
    std::thread::Builder::new()
        .name("ticks".into())
        .spawn(pass)
        .map(drop)
}
