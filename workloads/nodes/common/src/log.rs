//! The log: lines on stderr.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::clocks::kernel_monotonic_ns;

/// Writes a line to the log: time, level, text.
pub fn log(level: &str, text: &str) {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    eprintln!(
        "{}.{:06} {level:5} {text}",
        since.as_secs(),
        since.subsec_micros()
    );
}

/// Writes a line at most once a second, for what a stranger could cause without end.
pub fn log_seldom(text: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = kernel_monotonic_ns();
    if now.saturating_sub(LAST.load(Ordering::Relaxed)) > 1_000_000_000 {
        LAST.store(now, Ordering::Relaxed);
        log("WARN", text);
    }
}
