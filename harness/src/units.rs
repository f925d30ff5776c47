//! Quantities as people write them: `500ms`, `-30s`, `20%`, `1000kbit`.
//!
//! Every `write_*` is the exact inverse of its `read_*`, so that a saved schedule is the schedule.

use std::time::Duration;

const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const DURATION_HINT: &str = "write a number with its unit: \"500ms\", \"5s\", \"2m\", \"1h30m\"";
const SHARE_HINT: &str = "write a percentage from 0% to 100%, such as \"20%\" or \"0.5%\"";

/// A span of time: one number with its unit, or several with smaller and smaller units, such as
/// `5s`, `1.5s`, `500ms` or `1h30m`. The error is a hint for who wrote it.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    let no_span = || format!("{text:?} is no span of time: {DURATION_HINT}");
    let (mut rest, mut least, mut sum) = (text, u64::MAX, 0u64);
    loop {
        let (digits, after) = rest.split_at(end_of(rest, |c| c.is_ascii_digit() || c == '.'));
        let (unit, after) = after.split_at(end_of(after, |c| c.is_ascii_alphabetic()));
        if unit.is_empty() && after.is_empty() && !digits.is_empty() && rest == text {
            return Err(format!("{text:?} has no unit: did you mean \"{digits}s\"?"));
        }
        let unit = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, nanos) = unit
            .filter(|(_, nanos)| *nanos < least)
            .ok_or_else(no_span)?;
        let part = decimal(digits, *nanos).ok_or_else(no_span)?;
        sum = sum.checked_add(part).ok_or_else(no_span)?;
        if after.is_empty() {
            return Ok(Duration::from_nanos(sum));
        }
        (rest, least) = (after, *nanos);
    }
}

/// Where the letters end that are of a kind.
fn end_of(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// The shortest exact text of a span of time.
pub fn write_duration(span: Duration) -> String {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let whole = |unit: u64| nanos >= unit && nanos.is_multiple_of(unit);
    match nanos {
        0 => "0s".into(),
        _ if whole(3_600_000_000_000) => format!("{}h", nanos / 3_600_000_000_000),
        _ if whole(60_000_000_000) => format!("{}m", nanos / 60_000_000_000),
        // Milliseconds are what people think in: 3.4s reads better than 3400ms, 400ms than 0.4s.
        _ if nanos >= 1_000_000_000 && whole(1_000_000) => {
            let (secs, millis) = (nanos / 1_000_000_000, nanos / 1_000_000 % 1_000);
            match millis {
                0 => format!("{secs}s"),
                _ => format!("{secs}.{}s", format!("{millis:03}").trim_end_matches('0')),
            }
        }
        _ if whole(1_000_000) => format!("{}ms", nanos / 1_000_000),
        // A swept value: 21.3ms.
        _ if nanos >= 1_000_000 && whole(1_000) => {
            let (millis, micros) = (nanos / 1_000_000, nanos / 1_000 % 1_000);
            format!(
                "{millis}.{}ms",
                format!("{micros:03}").trim_end_matches('0')
            )
        }
        _ if whole(1_000) => format!("{}us", nanos / 1_000),
        _ => format!("{nanos}ns"),
    }
}

/// A span with a sign, in nanoseconds: `-30s`, `+5ms`, `5ms`.
pub fn read_delta(text: &str) -> Result<i64, String> {
    let (sign, span) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = read_duration(span)?.as_nanos();
    i64::try_from(nanos)
        .map(|n| sign * n)
        .map_err(|_| format!("{text:?} is more than 292 years"))
}

pub fn write_delta(delta_ns: i64) -> String {
    let sign = if delta_ns < 0 { "-" } else { "+" };
    let span = Duration::from_nanos(delta_ns.unsigned_abs());
    format!("{sign}{}", write_duration(span))
}

/// A share of packets, in millionths: `20%`, `0.5%`.
pub fn read_share(text: &str) -> Result<u32, String> {
    text.strip_suffix('%')
        .and_then(|digits| decimal(digits, 10_000))
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= 1_000_000)
        .ok_or_else(|| format!("{text:?} is no share: {SHARE_HINT}"))
}

pub fn write_share(per_million: u32) -> String {
    match per_million % 10_000 {
        0 => format!("{}%", per_million / 10_000),
        rest => format!(
            "{}.{}%",
            per_million / 10_000,
            format!("{rest:04}").trim_end_matches('0')
        ),
    }
}

/// `digits` (with at most one point) times `unit`, if that is a whole number that fits: a float
/// would make the same text mean different nanoseconds here and there.
fn decimal(digits: &str, unit: u64) -> Option<u64> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = |s: &str| match s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
        true => None,
        false => s.parse::<u64>().ok(),
    };
    let scale = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = u128::from(number(part)?) * u128::from(unit);
    if !part.is_multiple_of(u128::from(scale)) {
        return None;
    }
    let part = u64::try_from(part / u128::from(scale)).ok()?;
    number(whole)?.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The nodes read the same table: what both accept means the same.
    #[test]
    fn durations_are_read() {
        let table = include_str!("../tests/durations.tsv");
        for row in table.lines().filter(|line| !line.starts_with('#')) {
            let (text, nanos) = row.split_once('\t').unwrap();
            let nanos = nanos.parse().unwrap();
            assert_eq!(
                read_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "5",
            "5 s",
            "-5s",
            "1.2.3s",
            ".s",
            "5.s",
            "1e3s",
            "5d",
            "0.5ns",
            "99999999999999h",
            "30m1h",
            "1m1m",
            "1h30",
            "1h 30m",
            "1h-30m",
            "5000000h200000h",
        ] {
            assert!(read_duration(text).is_err(), "{text:?} was read");
        }
        assert!(read_duration("5").unwrap_err().contains("\"5s\""));
    }

    #[test]
    fn shares_are_read() {
        assert_eq!(read_share("20%"), Ok(200_000));
        assert_eq!(read_share("0.5%"), Ok(5_000));
        assert_eq!(read_share("100%"), Ok(1_000_000));
        for text in ["20", "101%", "-1%", "%", "0.00001%"] {
            assert!(read_share(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn what_people_see_is_short() {
        assert_eq!(write_duration(Duration::from_millis(3_400)), "3.4s");
        assert_eq!(write_duration(Duration::from_millis(400)), "400ms");
        assert_eq!(write_duration(Duration::from_secs(3_600)), "1h");
        assert_eq!(write_duration(Duration::from_secs(90)), "90s");
        assert_eq!(write_delta(-30_000_000_000), "-30s");
        assert_eq!(write_delta(10_000_000), "+10ms");
        assert_eq!(write_share(5_000), "0.5%");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(nanos in prop_oneof![any::<u64>(), 0u64..10_000_000_000, (0u64..100_000).prop_map(|ms| ms * 1_000_000)],
                                   delta in any::<i32>(), share in 0u32..=1_000_000) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(read_duration(&write_duration(span)), Ok(span));
            prop_assert_eq!(read_delta(&write_delta(i64::from(delta))), Ok(i64::from(delta)));
            prop_assert_eq!(read_share(&write_share(share)), Ok(share));
        }
    }
}
