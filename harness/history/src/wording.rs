//! Sentences with counts and times in them: what every text for people is made with, so that none
//! says `1 keys`, `a order inverted` or `-0.0 s`.

use std::fmt::Display;
use std::time::Duration;

/// `0 keys`, `1 key`, `2 keys`, `1 history`, `2 histories`: a count with its noun, of which one is
/// given.
pub fn counted(n: impl Into<Count>, one: &str) -> String {
    let n = n.into().0;
    format!("{n} {}", noun(n, one))
}

/// The noun alone, as so many of it are called.
pub fn noun(n: impl Into<Count>, one: &str) -> String {
    match n.into().0 {
        1 => one.to_string(),
        _ => plural(one),
    }
}

/// A word that has no rule: `is` or `are`, `has` or `have`, `it` or `they`.
pub fn either<'a>(n: impl Into<Count>, one: &'a str, many: &'a str) -> &'a str {
    match n.into().0 {
        1 => one,
        _ => many,
    }
}

/// `once`, `twice`, `3 times`.
pub fn times(n: impl Into<Count>) -> String {
    match n.into().0 {
        0 => "never".to_string(),
        1 => "once".to_string(),
        2 => "twice".to_string(),
        n => format!("{n} times"),
    }
}

/// `1 anomaly: stale read`, `3 anomalies, the first: stale read`. What things are called is put
/// behind a colon, for not every name goes with an article: `order inverted`,
/// `two values in one slot`.
pub fn with_first(n: impl Into<Count> + Copy, one: &str, first: &str) -> String {
    match n.into().0 {
        0 => counted(n, one),
        1 => format!("{}: {first}", counted(n, one)),
        _ => format!("{}, the first: {first}", counted(n, one)),
    }
}

/// The first characters of a text that somebody else wrote, who may have written a page.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

/// `a`, `a and b`, `a, b and c`; of more than `most` the first, and how many more there are.
pub fn listed<T: Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.len() > most.max(1) {
        let more = items.len() - most.max(1);
        items.truncate(most.max(1));
        items.push(format!("{more} more"));
    }
    match &items[..] {
        [] => "none".to_string(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// ` and 13 more`, or nothing where all are shown.
pub fn and_more(shown: usize, all: usize) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// A number with so many decimals. What rounds to zero has no sign.
pub fn decimal(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if !digits.bytes().any(|b| matches!(b, b'1'..=b'9')) => digits.to_string(),
        _ => text,
    }
}

/// `12.3 s`.
pub fn seconds(span: Duration) -> String {
    format!("{} s", decimal(span.as_secs_f64(), 1))
}

/// Nanoseconds as seconds, to the millisecond: `12.304 s`.
pub fn seconds_of_ns(ns: impl Into<i128>) -> String {
    format!("{} s", decimal(ns.into() as f64 / 1e9, 3))
}

/// How many, from whatever integer it is counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(u64);

macro_rules! counts {
    ($($of:ty),*) => {
        $(impl From<$of> for Count {
            fn from(n: $of) -> Count {
                Count(u64::try_from(n).unwrap_or(u64::MAX))
            }
        })*
    };
}

counts!(usize, u64, u32, u16);

fn plural(one: &str) -> String {
    const ENDS_IN_HISSING: [&str; 5] = ["s", "x", "z", "ch", "sh"];
    let before_y = one.strip_suffix('y');
    match before_y {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if ENDS_IN_HISSING.iter().any(|end| one.ends_with(end)) => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_number() {
        let said: Vec<String> = (0u64..3).map(|n| counted(n, "key")).collect();
        assert_eq!(said, ["0 keys", "1 key", "2 keys"]);
        for (one, many) in [
            ("history", "histories"),
            ("process", "processes"),
            ("anomaly", "anomalies"),
            ("day", "days"),
            ("branch", "branches"),
            ("look", "looks"),
        ] {
            assert_eq!(counted(1usize, one), format!("1 {one}"));
            assert_eq!(counted(2usize, one), format!("2 {many}"));
        }
        let said: Vec<String> = (0u64..4).map(times).collect();
        assert_eq!(said, ["never", "once", "twice", "3 times"]);
        assert_eq!(
            [either(1u64, "is", "are"), either(0u64, "is", "are")],
            ["is", "are"]
        );
    }

    #[test]
    fn the_first_of_many_is_named_behind_a_colon() {
        let said: Vec<String> = (0u64..3)
            .map(|n| with_first(n, "anomaly", "order inverted"))
            .collect();
        assert_eq!(
            said,
            [
                "0 anomalies",
                "1 anomaly: order inverted",
                "2 anomalies, the first: order inverted"
            ]
        );
    }

    #[test]
    fn lists_are_whole_or_say_what_is_left_out() {
        let all = ["n1", "n2", "n3"];
        let said: Vec<String> = (0..4).map(|n| listed(&all[..n], 8)).collect();
        assert_eq!(said, ["none", "n1", "n1 and n2", "n1, n2 and n3"]);
        assert_eq!(listed(all, 1), "n1 and 2 more");
        assert_eq!(listed(all, 2), "n1, n2 and 1 more");
        assert_eq!([and_more(3, 3), and_more(3, 16)], ["", " and 13 more"]);
    }

    #[test]
    fn numbers_that_round_to_zero_have_no_sign() {
        assert_eq!(decimal(-0.0, 1), "0.0");
        assert_eq!(decimal(-0.04, 1), "0.0");
        assert_eq!(decimal(-0.06, 1), "-0.1");
        assert_eq!(decimal(-0.4, 0), "0");
        assert_eq!(seconds(Duration::from_millis(12_345)), "12.3 s");
        assert_eq!(seconds_of_ns(-7_600_000i64), "-0.008 s");
    }
}
