//! The log: lines on stderr.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::clocks::kernel_monotonic_ns;

/// Writes a line to the log: time, level, text. Strangers may have a say in the text; it stays one
/// line all the same.
pub fn log(level: &str, text: &str) {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    eprintln!(
        "{}.{:06} {level:5} {}",
        since.as_secs(),
        since.subsec_micros(),
        printable(text)
    );
}

fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let plain = |letter: char| -> String {
        match letter.is_control() {
            true => letter.escape_default().collect(),
            false => letter.into(),
        }
    };
    text.chars().map(plain).collect::<String>().into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_do_nothing() {
        assert_eq!(printable("né"), "né");
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }
}
