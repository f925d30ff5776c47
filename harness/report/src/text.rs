//! Text on its way into the page: cut to a bearable length and without what would rearrange it, and
//! numbers as people read them.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use history::{Time, wording};
use maud::Markup;

/// A page or a part of one, in which control characters and those that turn the direction of
/// writing are replaced: a value must not be able to rearrange the page around it.
pub fn harmless(markup: Markup) -> String {
    let text = markup.into_string();
    match text.contains(is_disruptive) {
        true => text.replace(is_disruptive, "\u{fffd}"),
        false => text,
    }
}

fn is_disruptive(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON that can stand inside a `<script>` element: nothing in it ends the element or opens a
/// comment.
pub fn script_json(json: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in json.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a String does not fail")
            }
            c if is_disruptive(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// What `thing` prints, cut to `max` characters with an ellipsis. Stops printing there, so that a
/// value of a megabyte costs no more than it shows.
pub fn clip(thing: impl Display, max: usize) -> String {
    struct Bounded {
        out: String,
        left: usize,
    }
    impl Write for Bounded {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            for c in s.chars() {
                if self.left == 0 {
                    return Err(fmt::Error);
                }
                self.left -= 1;
                self.out.push(c);
            }
            Ok(())
        }
    }
    let mut to = Bounded {
        out: String::new(),
        left: max,
    };
    if write!(to, "{thing}").is_err() {
        to.out.pop();
        to.out.push('…');
    }
    to.out
}

/// The same on one line and without what could rearrange the page: for the script, which puts it
/// in as text.
pub fn plain(thing: impl Display, max: usize) -> String {
    let same = |c: char| match c {
        '\n' | '\t' => ' ',
        c if is_disruptive(c) => '\u{fffd}',
        c => c,
    };
    clip(thing, max).chars().map(same).collect()
}

/// `1204117` as `1,204,117`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// A whole number that may be below zero, grouped like the others.
pub fn signed(n: f64) -> String {
    let whole = count(n.abs() as usize);
    match n < 0.0 && whole != "0" {
        true => format!("-{whole}"),
        false => whole,
    }
}

/// `1 fault`, `2 faults`, `1,204 anomalies`.
pub fn counted(n: usize, one: &str) -> String {
    format!("{} {}", count(n), wording::noun(n, one))
}

/// A moment of the run: `12.304 s`.
pub fn moment(t: Time) -> String {
    match t {
        Time::MAX => "never".to_string(),
        t => format!("{t}"),
    }
}

/// A span with about three digits in the unit that suits it.
pub fn span(d: Duration) -> String {
    let ns = d.as_nanos() as f64;
    let three = |x: f64| {
        // Rounding decides the number of digits, so that 9.996 is 10.0 and not 10.00.
        if x >= 99.95 {
            format!("{x:.0}")
        } else if x >= 9.995 {
            format!("{x:.1}")
        } else {
            format!("{x:.2}")
        }
    };
    if ns < 999.5 {
        format!("{ns:.0} ns")
    } else if ns < 999.5e3 {
        format!("{} µs", three(ns / 1e3))
    } else if ns < 999.5e6 {
        format!("{} ms", three(ns / 1e6))
    } else if ns < 120e9 {
        format!("{} s", three(ns / 1e9))
    } else {
        let s = (ns / 1e9).round() as u64;
        match (s / 3600, s / 60 % 60, s % 60) {
            (0, m, s) => format!("{m} min {s} s"),
            (h, m, _) => format!("{h} h {m} min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_rearrange_the_page_are_replaced() {
        let page = |text: &str| harmless(maud::html! { p title=(text) { (text) } });
        assert_eq!(
            page("a\0b\u{202e}c\u{7}"),
            "<p title=\"a\u{fffd}b\u{fffd}c\u{fffd}\">a\u{fffd}b\u{fffd}c\u{fffd}</p>"
        );
        assert_eq!(page("\n\tä"), "<p title=\"\n\tä\">\n\tä</p>");
    }

    #[test]
    fn json_in_a_script_means_the_same_and_cannot_end_it() {
        let json = serde_json::json!(["</script><!--", "a\u{2028}b & c"]);
        let text = script_json(&json);
        assert!(!text.contains('<') && !text.contains('\u{2028}'), "{text}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            json
        );
    }

    #[test]
    fn clipping_counts_characters_and_leaves_short_text_alone() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüß", 3), "äö…");
        assert_eq!(clip("", 3), "");
    }

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1204117, "1,204,117"),
        ];
        for (n, want) in cases {
            assert_eq!(count(n), want);
        }
        assert_eq!(counted(1, "fault"), "1 fault");
        assert_eq!(counted(0, "fault"), "0 faults");
        assert_eq!(counted(1204, "anomaly"), "1,204 anomalies");
        assert_eq!([signed(-0.3), signed(-1204.0)], ["0", "-1,204"]);
    }

    #[test]
    fn spans_have_three_digits_and_the_unit_that_suits() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.50 µs"),
            (9_996_000, "10.0 ms"),
            (999_700_000, "1.00 s"),
            (59_940_000_000, "59.9 s"),
            (125_000_000_000, "2 min 5 s"),
            (3_720_000_000_000, "1 h 2 min"),
        ];
        for (ns, want) in cases {
            assert_eq!(span(Duration::from_nanos(ns)), want);
        }
    }
}
