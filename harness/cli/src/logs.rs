//! What nodes tell of a run: the lines of their logs on the history's clock.
//!
//! A line's time is what its daemon's wall clock showed. Where that stands on the history's clock
//! follows from what the machine's showed when the run began. A fault may shift it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use chrono::{Local, NaiveDateTime, TimeZone};
use history::mark::{self, Clock, Mark};
use history::store::Run;
use history::{History, Time, fault, file};
use report::{Level, Said, Told};

use crate::led;

/// Of a log that is longer the rest is not looked at.
const MOST_BYTES: u64 = 64 << 20;
/// Lines of one log in a page, and characters of a line.
const MOST_OF_A_LOG: usize = 4000;
const MOST_CHARACTERS: usize = 400;
/// So close to a moment lines are told before others.
const AROUND_NS: u64 = 300_000_000;
/// A time stands near the beginning of a line.
const NEAR: usize = 40;
/// What the harness itself writes down beside the daemons' logs.
pub const NOT_TOLD: [&str; 2] = ["agent.log", "trace.jsonl"];
/// Words for what went wrong and for what may.
const ERRORS: [&str; 7] = [
    "error", "err", "fatal", "panic", "panicked", "critical", "crit",
];
const WARNINGS: [&str; 2] = ["warn", "warning"];
/// Words for what is neither, whatever follows.
const PLAIN: [&str; 4] = ["info", "debug", "trace", "notice"];

/// What the nodes tell of a whole run, for its page: who led, and of each log at most
/// [`MOST_OF_A_LOG`] lines: what is loud and what is near one of these moments first, and of the
/// rest every so many.
pub fn told(run: &Run, history: &History, moments: &[Time]) -> Told {
    let mut told = Told {
        led: led::led(history),
        tips: led::tips(history),
        ..Told::default()
    };
    let near = |at: Time| {
        let mut far = moments.iter().map(|moment| moment.0.abs_diff(at.0));
        far.any(|far| far <= AROUND_NS)
    };
    each_node(run, history, |node, of_log| {
        let lines: Vec<_> = of_log.map(|(at, text)| (at, level(text), text)).collect();
        let chosen = choose(&lines, near);
        told.untold += lines.len() - chosen.len();
        if shifted(history, node, (Time(0), Time::MAX)) && !told.shifted.iter().any(|n| n == node) {
            told.shifted.push(node.into());
        }
        told.log
            .extend(chosen.into_iter().map(|(at, level, text)| Said {
                node: node.into(),
                at,
                level,
                text: text.chars().take(MOST_CHARACTERS).collect(),
            }));
    });
    told.log.sort_by_key(|line| line.at);
    told
}

fn choose<'a>(
    lines: &[(Time, Level, &'a str)],
    near: impl Fn(Time) -> bool,
) -> Vec<(Time, Level, &'a str)> {
    if lines.len() <= MOST_OF_A_LOG {
        return lines.to_vec();
    }
    let loud = (0..lines.len()).filter(|at| lines[*at].1 > Level::Plain);
    let close = (0..lines.len()).filter(|at| near(lines[*at].0));
    let mut chosen: BTreeSet<usize> = loud.take(MOST_OF_A_LOG / 2).collect();
    chosen.extend(close.take(MOST_OF_A_LOG / 4));
    let every = lines.len().div_ceil(MOST_OF_A_LOG - chosen.len());
    chosen.extend((0..lines.len()).step_by(every));
    chosen.into_iter().map(|at| lines[at]).collect()
}

/// Whether a fault of clocks was in force on this node in the window, or lasts beyond its healing.
pub fn shifted(history: &History, node: &str, window: (Time, Time)) -> bool {
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

/// How loud a line is: by the word for it near its beginning.
fn level(text: &str) -> Level {
    let start: String = text.chars().take(2 * NEAR).collect();
    let mut words = start.split(|c: char| !c.is_ascii_alphanumeric());
    let is = |word: &str, of: &[&str]| of.iter().any(|other| word.eq_ignore_ascii_case(other));
    let loud = words.find_map(|word| match word {
        word if is(word, &ERRORS) => Some(Level::Error),
        word if is(word, &WARNINGS) => Some(Level::Warning),
        word if is(word, &PLAIN) => Some(Level::Plain),
        _ => None,
    });
    loud.unwrap_or(Level::Plain)
}

/// Gives out each node's lines in the order of its logs.
pub fn each_node(
    run: &Run,
    history: &History,
    mut give: impl FnMut(&str, &mut dyn Iterator<Item = (Time, &str)>),
) {
    for placed in mark::marks(history) {
        let Mark::Clock(node, clock) = placed.mark else {
            continue;
        };
        for path in logs(run, &node) {
            let bytes = file::read(&path, MOST_BYTES).unwrap_or_default();
            let of_log = String::from_utf8_lossy(&bytes);
            give(&node, &mut placed_lines(&of_log, &clock));
        }
    }
}

fn logs(run: &Run, node: &str) -> Vec<PathBuf> {
    let there = fs::read_dir(run.node(node).join("log"));
    let files = there.into_iter().flatten().flatten();
    let told = files.filter(|f| !NOT_TOLD.iter().any(|name| f.file_name() == *name));
    let mut paths: Vec<_> = told.map(|file| file.path()).collect();
    paths.sort();
    paths
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
    fn how_loud_a_line_is_stands_near_its_beginning() {
        for (line, is) in [
            ("INFO  leader (ballot 1)", Level::Plain),
            ("WARN lost n2", Level::Warning),
            ("ERROR disk full", Level::Error),
            (r#"{"level":"warn","msg":"slow fdatasync"}"#, Level::Warning),
            ("thread 'main' panicked at src/main.rs:7", Level::Error),
            ("INFO error of the clock: 2 ms", Level::Plain),
            // A word of what is told, far behind.
            (
                "a peer that was told of what happened a moment ago says that there has been no error",
                Level::Plain,
            ),
            ("INFO interrupted, terror", Level::Plain),
        ] {
            assert_eq!(level(line), is, "{line}");
        }
    }

    #[test]
    fn of_a_long_log_what_is_loud_and_what_is_near_is_kept_and_some_of_the_rest() {
        let all = 20 * MOST_OF_A_LOG;
        let line = |at: usize| match at {
            77 | 7_777 => (Time(at as u64), Level::Error, "e"),
            at => (Time(at as u64), Level::Plain, "i"),
        };
        let lines: Vec<_> = (0..all).map(line).collect();
        let chosen = choose(&lines, |at| (30_000..30_100).contains(&at.0));
        assert!(chosen.is_sorted() && chosen.len() <= MOST_OF_A_LOG);
        assert_eq!(
            chosen.iter().filter(|line| line.1 == Level::Error).count(),
            2
        );
        let near = chosen
            .iter()
            .filter(|line| (30_000..30_100).contains(&line.0.0));
        assert!(near.count() >= 100);
        // From the first to the last.
        assert!(chosen[0].0 == Time(0) && chosen.last().unwrap().0.0 > all as u64 - 100);
        let short = &lines[..MOST_OF_A_LOG];
        assert!(choose(short, |_| false) == short);
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
