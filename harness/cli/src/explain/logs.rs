//! What the nodes' logs said and who led, on the history's clock.
//!
//! A line's time is what its daemon's wall clock showed. Where that stands on the history's clock
//! follows from what the machine's showed when the run began. While a fault shifts a daemon's
//! clock, its lines are told by the shifted one, and marked.

use std::fs;
use std::path::PathBuf;

use chrono::{Local, NaiveDateTime, TimeZone};
use history::mark::{self, Clock, Mark};
use history::store::Run;
use history::{History, Time, fault, file};

use super::{Line, What};
use crate::led;

/// Of a log that is longer the rest is not looked at.
const MOST_BYTES: u64 = 64 << 20;
/// Lines that are told; more are counted.
const MOST: usize = 24;
/// A time stands near the beginning of a line.
const NEAR: usize = 40;
/// What the harness itself writes down beside the daemons' logs.
const NOT_TOLD: [&str; 2] = ["agent.log", "trace.jsonl"];

/// Lines of the window, those nearest to its middle first, and how many are left out.
pub fn lines(run: &Run, history: &History, window: (Time, Time)) -> (Vec<Line>, usize) {
    let mut found = Vec::new();
    for placed in mark::marks(history) {
        let Mark::Clock(node, clock) = placed.mark else {
            continue;
        };
        let shifted = shifted(history, &node, window);
        for path in logs(run, &node) {
            let bytes = file::read(&path, MOST_BYTES).unwrap_or_default();
            let of_log = String::from_utf8_lossy(&bytes);
            let placed = placed_lines(&of_log, &clock);
            found.extend(
                placed
                    .filter(|(at, _)| (window.0..=window.1).contains(at))
                    .map(|(at, text)| Line {
                        at_s: at.as_secs_f64(),
                        what: What::Log,
                        op: None,
                        node: Some(node.to_string()),
                        core: false,
                        text: match shifted {
                            true => format!("log, by its shifted clock: {text}"),
                            false => format!("log: {text}"),
                        },
                    }),
            );
        }
    }
    let middle = (window.0.as_secs_f64() + window.1.as_secs_f64()) / 2.0;
    let far = |line: &Line| (line.at_s - middle).abs();
    found.sort_by(|a, b| far(a).total_cmp(&far(b)));
    let untold = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    (found, untold)
}

/// Nodes that took themselves for the leader in the window, as they begin and end; one that did
/// before stands at its beginning.
pub fn leaders(history: &History, window: (Time, Time)) -> Vec<Line> {
    let line = |at: Time, node: &str, text: String| Line {
        at_s: at.as_secs_f64(),
        what: What::Leader,
        op: None,
        node: Some(node.to_string()),
        core: false,
        text,
    };
    let mut lines = Vec::new();
    for led in led::led(history) {
        if !led.at_any_time(window.0, window.1) {
            continue;
        }
        let ballot = led
            .ballot
            .map_or(String::new(), |b| format!(", ballot {b}"));
        lines.push(match led.from < window.0 {
            true => {
                let since = led.from.as_secs_f64();
                line(
                    window.0,
                    &led.node,
                    format!("leads since {since:.3}{ballot}"),
                )
            }
            false => line(led.from, &led.node, format!("leads from here on{ballot}")),
        });
        if led.until <= window.1 {
            lines.push(line(led.until, &led.node, format!("leads no more{ballot}")));
        }
    }
    lines
}

fn logs(run: &Run, node: &str) -> Vec<PathBuf> {
    let there = fs::read_dir(run.node(node).join("log"));
    let files = there.into_iter().flatten().flatten();
    let told = files.filter(|f| !NOT_TOLD.iter().any(|name| f.file_name() == *name));
    let mut paths: Vec<_> = told.map(|file| file.path()).collect();
    paths.sort();
    paths
}

/// Whether a fault of clocks was in force on this node in the window, or lasts beyond its healing.
fn shifted(history: &History, node: &str, window: (Time, Time)) -> bool {
    let on_clocks = |family: &str| {
        let mut families = nemeses::FAMILIES.iter().filter(|f| f.name == family);
        families.any(|family| family.on_clocks())
    };
    fault::spans(history).iter().any(|span| {
        on_clocks(&span.family)
            && span.targets.iter().any(|target| target == node)
            && span.from <= window.1
            && span.until >= window.0
    })
}

/// Every line with its time; one without has that of the line before it.
fn placed_lines<'a>(log: &'a str, clock: &Clock) -> impl Iterator<Item = (Time, &'a str)> {
    let clock = *clock;
    let mut last = None;
    log.lines().filter_map(move |line| {
        if let Some((wall_ns, rest)) = stamp(line) {
            let at = i128::from(clock.at_ns) + i128::from(wall_ns) - i128::from(clock.wall_ns);
            last = u64::try_from(at).ok().map(Time);
            return Some((last?, rest));
        }
        Some((last?, line))
    })
}

/// The time that a line begins with, in nanoseconds since 1970, and what else there is to tell.
fn stamp(line: &str) -> Option<(i64, &str)> {
    let starts = line.char_indices().take(NEAR);
    let mut starts = starts.filter(|(at, c)| {
        let before = line[..*at].chars().next_back();
        c.is_ascii_digit() && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
    });
    starts.find_map(|(at, _)| {
        let (ns, length) = date(&line[at..]).or_else(|| epoch(&line[at..]))?;
        // Of JSON the time is a part.
        let rest = match line.starts_with('{') {
            true => line,
            false => line[at + length..].trim_start_matches([' ', ']']),
        };
        Some((ns, rest))
    })
}

/// Seconds since 1970, with a fraction or without.
fn epoch(text: &str) -> Option<(i64, usize)> {
    let length = digits(text);
    let (seconds, rest) = text.split_at(length);
    let (ns, fraction) = fraction(rest);
    if rest[fraction..].starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    let seconds: i64 = seconds
        .parse()
        .ok()
        .filter(|s| (1_000_000_000..10_000_000_000).contains(s))?;
    Some((seconds * 1_000_000_000 + ns, length + fraction))
}

/// `2026-11-29T17:46:37.211Z` and what else logs begin with. Without a zone it is this machine's.
fn date(text: &str) -> Option<(i64, usize)> {
    const FORMS: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y/%m/%d %H:%M:%S",
        "%d %b %Y %H:%M:%S",
    ];
    let (day, rest) = FORMS
        .iter()
        .find_map(|form| NaiveDateTime::parse_and_remainder(text, form).ok())?;
    let (ns, length) = fraction(rest);
    let rest = &rest[length..];
    let (seconds, zone) = match zone(rest) {
        Some((offset_s, zone)) => (day.and_utc().timestamp() - offset_s, zone),
        None => (Local.from_local_datetime(&day).earliest()?.timestamp(), 0),
    };
    Some((seconds * 1_000_000_000 + ns, text.len() - rest.len() + zone))
}

/// `Z`, `+0100` or `+01:00`: seconds east of Greenwich, and its length.
fn zone(text: &str) -> Option<(i64, usize)> {
    if text.starts_with('Z') {
        return Some((0, 1));
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let colon = usize::from(text.as_bytes().get(3) == Some(&b':'));
    let seconds = two(1)? * 3600 + two(3 + colon)? * 60;
    Some((sign * seconds, 5 + colon))
}

/// `.211520` or `,211`: nanoseconds, and its length.
fn fraction(text: &str) -> (i64, usize) {
    let Some(rest) = text.strip_prefix(['.', ',']) else {
        return (0, 0);
    };
    let length = digits(rest);
    let nine: String = rest[..length]
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    match length {
        0 => (0, 0),
        _ => (nine.parse().unwrap_or_default(), length + 1),
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_logs_of_many_kinds_have_their_times() {
        const NS: i64 = 1_795_974_397_211_520_000;
        let seconds = NS / 1_000_000_000 * 1_000_000_000;
        let zoned = |line: &'static str| stamp(line).unwrap_or_else(|| panic!("{line}"));
        for (line, ns, rest) in [
            (
                "1795974397.211520 INFO  leader (ballot 1)",
                NS,
                "INFO  leader (ballot 1)",
            ),
            (
                "2026-11-29T17:46:37.211520Z WARN lost n2",
                NS,
                "WARN lost n2",
            ),
            ("2026-11-29T18:46:37+01:00 x", seconds, "x"),
            ("2026-11-29T12:16:37,5-0530 x", seconds + 500_000_000, "x"),
            ("[12] [INFO] 2026-11-29 17:46:37Z [x]", seconds, "[x]"),
            (
                r#"{"level":"info","ts":"2026-11-29T17:46:37.211520Z","msg":"elected"}"#,
                NS,
                r#"{"level":"info","ts":"2026-11-29T17:46:37.211520Z","msg":"elected"}"#,
            ),
            (
                r#"{"ts":1795974397.21152}"#,
                NS,
                r#"{"ts":1795974397.21152}"#,
            ),
        ] {
            assert_eq!(zoned(line), (ns, rest), "{line}");
        }
        // By this machine's zone, whichever that is.
        let local = Local.timestamp_nanos(NS);
        for (form, fraction) in [
            ("%Y-%m-%d %H:%M:%S%.6f I | raft", 211_520_000),
            ("[7] %Y/%m/%d %H:%M:%S%.6f [INF] x", 211_520_000),
            ("7:M %d %b %Y %H:%M:%S%.3f * x", 211_000_000),
        ] {
            let line = local.format(form).to_string();
            assert_eq!(stamp(&line).unwrap().0, seconds + fraction, "{line}");
        }
        for none in [
            "",
            "no time",
            "at 17:46",
            "goroutine 17 [running]:",
            "1795974397x 7",
        ] {
            assert_eq!(stamp(none), None, "{none}");
        }
    }

    #[test]
    fn a_line_stands_where_the_nodes_clock_says_and_one_without_time_with_that_before_it() {
        let clock = Clock {
            wall_ns: 1_795_974_397_000_000_000,
            at_ns: 2_000_000_000,
            within_ns: 0,
        };
        let log = "lost before\n1795974396.500000 a\n  at b\n1795974399.000001 c\n1 d\n1700000000.0 long ago\n";
        let placed: Vec<_> = placed_lines(log, &clock).collect();
        assert_eq!(
            placed,
            [
                (Time(1_500_000_000), "a"),
                (Time(1_500_000_000), "  at b"),
                (Time(4_000_001_000), "c"),
                (Time(4_000_001_000), "1 d"),
            ]
        );
    }
}
