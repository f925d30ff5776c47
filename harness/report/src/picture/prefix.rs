//! How far an object's operations have an order: the end of one such order as boxes, what the
//! object holds after it, and what was open then and cannot come next.
//!
//! ```text
//! [write 1 | 1] → [write 2 | 2] → holds 2   ✗ read → 1: read answered 1, not 2
//! ```

use checkers::picture::{Next, Placed, Prefix};
use history::wording::either;
use maud::{Markup, html};

use crate::Run;
use crate::reading::Reading;
use crate::text::{clip, count, counted};

/// As many are in sight; the others are unfolded.
const MOST_IN_SIGHT: usize = 12;

/// Longest text of what an object holds and of a reason, in characters.
const MAX_HOLDS: usize = 80;
const MAX_WHY: usize = 200;

pub fn draw(run: &Run, object: Option<&str>, prefix: &Prefix) -> Markup {
    let reading = Reading::new(object);
    let hidden = prefix.placed.len().saturating_sub(MOST_IN_SIGHT);
    let (earlier, last) = prefix.placed.split_at(hidden);
    html! {
        div.prefix {
            h3 { "How far there is an order" }
            p.caption { (told(prefix)) }
            @if prefix.ended.is_none() {
                @if hidden > 0 {
                    details.more {
                        summary { (counted(hidden + prefix.untold, "operation")) " before these" }
                        (order(run, &reading, earlier))
                    }
                }
                (order(run, &reading, last))
                ul.next { @for next in &prefix.next { (cannot(run, &reading, next)) } }
            }
        }
    }
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

fn order(run: &Run, reading: &Reading, placed: &[Placed]) -> Markup {
    html! {
        ol.order {
            @for Placed { op, then } in placed {
                li { (named(run, reading, *op)) span { (clip(then, MAX_HOLDS)) } }
            }
        }
    }
}

fn cannot(run: &Run, reading: &Reading, next: &Next) -> Markup {
    let named = named(run, reading, next.op);
    html! {
        @match &next.why {
            Some(why) => li.cannot {
                b aria-hidden="true" { "✗" } " " (named) " cannot come next: " (clip(why, MAX_WHY))
            },
            None => li { b aria-hidden="true" { "✓" } " " (named) " could come next, and leads no further" },
        }
    }
}

/// An operation in words that lead to it.
fn named(run: &Run, reading: &Reading, index: u64) -> Markup {
    html! {
        @match run.input.history.op(index) {
            Some(op) => a href={ "#op-" (index) } title={ "#" (index) ", process " (op.process) } {
                (reading.text(op))
            },
            None => { "op " (index) }
        }
    }
}
