//! Time stamps in a daemon's log: what the daemon itself believes the time to be, where it cannot
//! be asked.
//!
//! Read is what RFC 3339 describes, wherever it stands in a line, if it says its zone:
//!
//! ```text
//! {"level":"info","ts":"2026-03-01T12:00:00.123+0100","caller":...}      etcd
//! 2026-03-01T11:00:00.123456Z UpdateTip: new best=...                    litecoind
//! ```
//!
//! A line was written between two looks at the log, so its stamp tells how far the clock was off up
//! to the time between them. That is seconds, so small shifts are too little to be told by it.

use std::collections::BTreeMap;

use agent::protocol::{Clocks, Request};
use harness::cluster::Node;
use harness::control::ControlError;
use harness::units::write_delta;
use history::Name;

use crate::sights::Sights;

/// How much of a log is looked through.
const LINES: u32 = 2_000;
/// For lines that are stamped, and written a moment later; and for stamps of whole seconds.
const SLACK_NS: i64 = 1_100_000_000;

/// Where a log ended, and the true time of the node before that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    last: Option<String>,
    true_ns: i64,
}

/// The marks of some nodes' logs.
pub(crate) type Marks = BTreeMap<Name, Mark>;

async fn tail(node: &Node, daemon: &str, lines: u32) -> Result<String, ControlError> {
    let daemon = daemon.to_string();
    node.agent.call(Request::Tail { daemon, lines }).await
}

async fn true_ns(node: &Node) -> Result<i64, ControlError> {
    let clocks: Clocks = node.agent.call(Request::Clocks { daemon: None }).await?;
    Ok(clocks.realtime_ns)
}

/// Where the log of a node's daemon ends now.
pub(crate) async fn mark(node: &Node, daemon: &str) -> Result<Mark, ControlError> {
    let true_ns = true_ns(node).await?;
    let last = tail(node, daemon, 1).await?;
    Ok(Mark {
        last: last.lines().last().map(str::to_string),
        true_ns,
    })
}

/// Looks at what was logged since the mark, by clocks that were `off_ns` from the truth. `always`:
/// all of the time. What is stamped with the true time then takes the fault back.
pub(crate) async fn witness(
    node: &Node,
    daemon: &str,
    mark: &Mark,
    off_ns: i64,
    always: bool,
    sights: &mut Sights,
) {
    let looked = async { Ok((tail(node, daemon, LINES).await?, true_ns(node).await?)) };
    match looked.await {
        Ok((text, until_ns)) => {
            let stamps = since(&text, mark.last.as_deref());
            match judge(&stamps, (mark.true_ns, until_ns), off_ns, always) {
                Told::Agrees(line) => sights.agrees(format!("{}: {line}", node.name)),
                Told::Voids(line) => sights.voids(format!("{}: {line}", node.name)),
            }
        }
        // A log that cannot be read tells nothing, which is no evidence against the fault.
        Err(error) => {
            let error: ControlError = error;
            sights.agrees(format!("{}: its log could not be read: {error}", node.name));
        }
    }
}

/// The stamps behind the last line that was there before.
fn since(text: &str, last: Option<&str>) -> Vec<i64> {
    let lines: Vec<&str> = text.lines().collect();
    let known = last.and_then(|last| lines.iter().rposition(|line| *line == last));
    let fresh = &lines[known.map_or(0, |at| at + 1)..];
    fresh.iter().filter_map(|line| stamp(line)).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Agrees(String),
    Voids(String),
}

/// What the stamps tell of a clock that was `off_ns` from the truth in that span of true time.
fn judge(stamps: &[i64], (from_ns, until_ns): (i64, i64), off_ns: i64, always: bool) -> Told {
    if stamps.is_empty() {
        return Told::Agrees("its log has no new time stamps".into());
    }
    let span = from_ns - SLACK_NS..=until_ns + SLACK_NS;
    let length = span.end() - span.start();
    if off_ns.unsigned_abs() <= length.unsigned_abs() {
        return Told::Agrees(format!(
            "{} time stamps in its log: too coarse to tell {}",
            stamps.len(),
            write_delta(off_ns)
        ));
    }
    let off = |stamp: &&i64| span.contains(&stamp.saturating_sub(off_ns));
    let shifted = stamps.iter().filter(off).count();
    let right = stamps.iter().filter(|stamp| span.contains(stamp)).count();
    let line = format!(
        "of {} new time stamps in its log {shifted} are off by {}, and {right} are true",
        stamps.len(),
        write_delta(off_ns)
    );
    match always && shifted == 0 && right > 0 {
        true => Told::Voids(line),
        false => Told::Agrees(line),
    }
}

/// The first time stamp of a line, in nanoseconds since 1970.
fn stamp(line: &str) -> Option<i64> {
    // Only where a year could begin.
    line.match_indices("-")
        .filter_map(|(dash, _)| line.get(dash.checked_sub(4)?..))
        .find_map(read)
}

/// `2026-03-01T12:00:00.123+01:00` and what follows.
fn read(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |at: usize, length: usize| -> Option<i64> {
        let digits = bytes.get(at..at + length)?;
        digits.iter().try_fold(0, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !fits {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".,") {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit());
        let digits = digits.count();
        let kept = digits.min(9);
        nanos = number(at + 1, kept)? * 10_i64.pow(9 - u32::try_from(kept).ok()?);
        at += 1 + digits;
    }
    let zone = match bytes.get(at)? {
        b'Z' | b'z' => 0,
        sign @ (b'+' | b'-') => {
            let hours = number(at + 1, 2)?;
            let minutes = number(at + 3 + usize::from(is(at + 3, b":")), 2)?;
            let east = (hours * 60 + minutes) * 60;
            if *sign == b'+' { east } else { -east }
        }
        // Some local time.
        _ => return None,
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Days since 1970 of a date (Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013). Years
/// begin in March there, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    /// 2026-03-01T11:00:00Z, by date(1).
    const NOON: i64 = 1_772_362_800 * SECOND;

    #[test]
    fn stamps_are_read_wherever_they_stand_if_they_say_their_zone() {
        for (line, nanos) in [
            ("2026-03-01T11:00:00Z UpdateTip: new best=0a", Some(0)),
            ("2026-03-01T11:00:00.123456Z [net] x", Some(123_456_000)),
            (
                "{\"level\":\"info\",\"ts\":\"2026-03-01T12:00:00.123+0100\",\"msg\":\"x\"}",
                Some(123_000_000),
            ),
            (
                "ts=2026-03-01T05:30:00.5-05:30 level=info",
                Some(500_000_000),
            ),
            ("a-b 12-34 2026-03-01 11:00:00Z", Some(0)),
            ("ü-2026-03-01T11:00:00Z", Some(0)),
            // Nobody knows which zone.
            ("2026-03-01 11:00:00.123456 I | etcdserver: ready", None),
            ("2026-13-01T11:00:00Z", None),
            ("2026-03-01T25:00:00Z", None),
            ("no time at all - none", None),
            ("-", None),
            ("", None),
        ] {
            let wanted = nanos.map(|nanos| NOON + nanos);
            assert_eq!(stamp(line), wanted, "{line}");
        }
        for (date, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(stamp(date), Some(seconds * SECOND), "{date}");
        }
    }

    #[test]
    fn only_what_came_since_is_read() {
        let text = "2026-03-01T11:00:00Z a\nx\n2026-03-01T11:00:01Z b\n2026-03-01T11:00:02Z c\n";
        let seconds = |last: Option<&str>| -> Vec<i64> {
            since(text, last)
                .iter()
                .map(|s| (s - NOON) / SECOND)
                .collect()
        };
        assert_eq!(seconds(Some("x")), [1, 2]);
        assert_eq!(seconds(Some("2026-03-01T11:00:02Z c")), [0; 0]);
        // It was rotated away meanwhile.
        assert_eq!(seconds(Some("older")), [0, 1, 2]);
        assert_eq!(seconds(None), [0, 1, 2]);
    }

    #[test]
    fn a_log_that_goes_on_by_the_true_time_takes_a_jump_back() {
        let hour = 3_600 * SECOND;
        let span = (NOON, NOON + 4 * SECOND);
        let at = |seconds: i64| NOON + seconds * SECOND;
        let voids = |stamps: &[i64], off, always| {
            matches!(judge(stamps, span, off, always), Told::Voids(_))
        };
        assert!(voids(&[at(1), at(2)], hour, true));
        assert!(voids(&[at(1), at(2)], -hour, true));
        // A single line by the shifted clock shows that it listens.
        assert!(!voids(&[at(1), at(2) + hour], hour, true));
        assert!(!voids(&[at(1) - hour], -hour, true));
        // Half of the time a strobe shows the truth.
        assert!(!voids(&[at(1), at(2)], hour, false));
        // Neither: some other time is told of, such as a block's.
        assert!(!voids(&[at(-90_000)], hour, true));
        assert!(!voids(&[], hour, true));
        // The looks were further apart than the jump was long.
        assert!(!voids(&[at(1), at(2)], 5 * SECOND, true));
    }
}
