//! How far an object's operations have an order: the end of one such order as boxes, what the
//! object holds after it, and what was open then and cannot come next.
//!
//! ```text
//! [write 1 | 1] → [write 2 | 2] → holds 2   ✗ read → 1: read answered 1, not 2
//! ```

use std::fmt::{self, Write};

use checkers::picture::{Next, Placed, Prefix};
use history::wording::either;

use crate::Run;
use crate::reading::Reading;
use crate::text::{Esc, clip, count, counted};

/// As many are in sight; the others are unfolded.
const MOST_IN_SIGHT: usize = 12;

/// Longest text of what an object holds and of a reason, in characters.
const MAX_HOLDS: usize = 80;
const MAX_WHY: usize = 200;

pub fn draw(out: &mut String, run: &Run, object: Option<&str>, prefix: &Prefix) -> fmt::Result {
    let reading = Reading::new(object);
    writeln!(
        out,
        "<div class=\"prefix\"><h3>How far there is an order</h3><p class=\"caption\">{}</p>",
        Esc(told(prefix))
    )?;
    if prefix.ended.is_none() {
        order(out, run, &reading, prefix)?;
        writeln!(out, "<ul class=\"next\">")?;
        for next in &prefix.next {
            cannot(out, run, &reading, next)?;
        }
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "</div>")
}

fn told(prefix: &Prefix) -> String {
    let Prefix { explained, of, .. } = prefix;
    let of = format!("of {} that returned", counted(*of, "operation"));
    if let Some(why) = &prefix.ended {
        return format!(
            "At least the first {} {of} have an order; {} before more was known.",
            count(*explained),
            clip(why, MAX_WHY)
        );
    }
    let first = match explained {
        0 => format!("Not even the first {of} has an order. Before it the object holds"),
        n => format!(
            "The first {} {of} {} an order. One is this; after it the object holds",
            count(*n),
            either(*n, "has", "have"),
        ),
    };
    format!("{first} {}.", clip(&prefix.holds, MAX_HOLDS))
}

fn order(out: &mut String, run: &Run, reading: &Reading, prefix: &Prefix) -> fmt::Result {
    let hidden = prefix.placed.len().saturating_sub(MOST_IN_SIGHT);
    let (earlier, last) = prefix.placed.split_at(hidden);
    let all = |out: &mut String, placed: &[Placed]| -> fmt::Result {
        write!(out, "<ol class=\"order\">")?;
        for Placed { op, then } in placed {
            write!(
                out,
                "<li>{}<span>{}</span></li>",
                Named(run, reading, *op),
                Esc(clip(then, MAX_HOLDS))
            )?;
        }
        writeln!(out, "</ol>")
    };
    if !earlier.is_empty() {
        write!(
            out,
            "<details class=\"more\"><summary>{} before these</summary>",
            counted(earlier.len() + prefix.untold, "operation")
        )?;
        all(out, earlier)?;
        writeln!(out, "</details>")?;
    }
    all(out, last)
}

fn cannot(out: &mut String, run: &Run, reading: &Reading, next: &Next) -> fmt::Result {
    let named = Named(run, reading, next.op);
    match &next.why {
        Some(why) => writeln!(
            out,
            "<li class=\"cannot\"><b aria-hidden=\"true\">✗</b> {named} cannot come next: {}</li>",
            Esc(clip(why, MAX_WHY))
        ),
        None => writeln!(
            out,
            "<li><b aria-hidden=\"true\">✓</b> {named} could come next, and leads no further</li>"
        ),
    }
}

/// An operation in words that lead to it.
struct Named<'a>(&'a Run<'a>, &'a Reading<'a>, u64);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named(run, reading, index) = *self;
        match run.input.history.op(index) {
            Some(op) => write!(
                f,
                "<a href=\"#op-{index}\" title=\"{}\">{}</a>",
                Esc(format_args!("#{index}, process {}", op.process)),
                Esc(reading.text(op))
            ),
            None => write!(f, "op {index}"),
        }
    }
}
