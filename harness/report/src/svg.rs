//! What the pictures share: the faults, as labelled bars above and as bands behind.

use std::fmt::Write;

use history::Time;
use history::fault::Span;
use maud::{Markup, Render, html};

use crate::palette::class;
use crate::scale::{TimeAxis, lanes};
use crate::text::{clip, moment, span};

/// A coordinate, to a tenth of a unit.
pub struct Px(pub f64);

impl Render for Px {
    fn render_to(&self, out: &mut String) {
        write!(out, "{:.1}", self.0).expect("writing to a String does not fail");
    }
}

/// Width of a character of the pictures' monospaced 11 px text.
pub const CHAR_PX: f64 = 6.65;

/// Height of a fault's bar with the space below it.
const BAR_PX: f64 = 19.0;

/// Most bars on top of each other within one family: beyond, they share the last place.
const MAX_DEEP: usize = 6;

/// When a fault was in force, for drawing: from where it held (or was tried) to where it was
/// healed.
pub fn in_force(span: &Span) -> (Time, Time) {
    (span.held_from.unwrap_or(span.from), span.until)
}

/// One line that says all of a fault.
pub fn tip(fault: &Span) -> String {
    let mut text = format!("fault {}: {}\n", fault.fault, clip(fault.told(), 200));
    match fault.held_from {
        Some(t) => text.push_str(&format!("in force {} to ", moment(t))),
        None => text.push_str(&format!(
            "tried at {}, never in force; healed: ",
            moment(fault.from)
        )),
    }
    match (fault.healed(), fault.held_from) {
        (true, Some(t)) => text.push_str(&format!(
            "{} ({})",
            moment(fault.until),
            span(fault.until.since(t))
        )),
        (true, None) => text.push_str(&moment(fault.until)),
        (false, _) => text.push_str("the end: no healing was recorded"),
    }
    text.push_str(match (&fault.inject, fault.held()) {
        (_, true) => "\na receipt shows that it held",
        (Some(_), false) => "\nthe receipt shows that it did not hold",
        (None, false) => "\nno receipt",
    });
    text
}

/// Lines across a picture at the heights of what they stand for.
pub fn grid(x0: f64, x1: f64, lines: impl IntoIterator<Item = (f64, String)>) -> Markup {
    html! {
        @for (y, label) in lines {
            line.grid x1=(Px(x0)) x2=(Px(x1)) y1=(Px(y)) y2=(Px(y)) {}
            text.tick x=(Px(x0 - 8.0)) y=(Px(y + 4.0)) text-anchor="end" { (label) }
        }
    }
}

/// Where the faults of a picture go.
pub struct Faults<'a> {
    placed: Vec<(&'a Span, f64, f64, usize)>,
    /// Name and first row of each family.
    families: Vec<(String, usize)>,
    rows: usize,
}

impl<'a> Faults<'a> {
    /// One or more rows for each family, in the order in which families first appear.
    pub fn place(spans: impl Iterator<Item = &'a Span>, axis: &TimeAxis) -> Faults<'a> {
        let spans: Vec<&Span> = spans.collect();
        let mut names: Vec<&str> = Vec::new();
        for span in &spans {
            if !names.contains(&span.family.as_str()) {
                names.push(&span.family);
            }
        }
        let mut faults = Faults {
            placed: Vec::new(),
            families: Vec::new(),
            rows: 0,
        };
        for name in names {
            let of_family: Vec<&Span> =
                spans.iter().copied().filter(|s| s.family == name).collect();
            let ends: Vec<(f64, f64)> = of_family
                .iter()
                .map(|s| {
                    let x0 = axis.at(s.from);
                    (x0, axis.at(s.until).max(x0 + 3.0))
                })
                .collect();
            let rows = lanes(&ends);
            let deep = rows.iter().max().map_or(0, |r| r + 1).min(MAX_DEEP);
            faults.families.push((name.to_string(), faults.rows));
            for ((span, (x0, x1)), row) in of_family.into_iter().zip(ends).zip(rows) {
                faults
                    .placed
                    .push((span, x0, x1, faults.rows + row.min(deep - 1)));
            }
            faults.rows += deep;
        }
        faults
    }

    pub fn height(&self) -> f64 {
        self.rows as f64 * BAR_PX
    }

    /// The bars with their labels, from the top down; family names to the left of the axis.
    pub fn bars(&self, axis: &TimeAxis) -> Markup {
        html! {
            @for (name, row) in &self.families {
                text class={ "lane " (class(name)) } x=(Px(axis.left() - 10.0))
                    y=(Px(*row as f64 * BAR_PX + 12.0)) text-anchor="end" { (clip(name, 14)) }
            }
            @for (i, (span, x0, x1, row)) in self.placed.iter().enumerate() {
                @let top = *row as f64 * BAR_PX;
                // A label may run on behind its bar until the next bar of its row.
                @let next = self.placed[i + 1..].iter().find(|p| p.3 == *row);
                @let free = next.map_or(axis.right(), |p| p.1 - 4.0);
                g.fault.(class(&span.family)).unheld[!span.held()].open[!span.healed()] tabindex="0"
                    data-fault=(span.fault)
                {
                    title { (tip(span)) }
                    rect x=(Px(*x0)) y=(Px(top)) width=(Px(x1 - x0)) height="15" rx="2" {}
                    rect.edge x=(Px(*x0)) y=(Px(top)) width="3" height="15" {}
                    (label(span, x0 + 7.0, top + 11.5, free.max(*x1) - x0 - 9.0))
                }
            }
        }
    }

    /// The bands from `top` to `bottom`.
    pub fn bands(&self, axis: &TimeAxis, top: f64, bottom: f64) -> Markup {
        html! {
            @for (span, ..) in &self.placed {
                @let (from, until) = in_force(span);
                @let x0 = axis.at(from);
                rect.band.(class(&span.family)).unheld[!span.held()] data-fault=(span.fault) x=(Px(x0)) y=(Px(top))
                    width=(Px((axis.at(until) - x0).max(1.0))) height=(Px(bottom - top)) {}
            }
        }
    }
}

/// A fault's label, where at least a few characters of it fit.
fn label(span: &Span, x: f64, y: f64, width: f64) -> Markup {
    let fits = (width / CHAR_PX) as usize;
    let cross = if span.held() { "" } else { "✗ " };
    html! {
        @if fits >= 4 {
            text x=(Px(x)) y=(Px(y)) { (clip(format_args!("{cross}{}", span.label), fits)) }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn fault(number: u64, family: &str, from: u64, until: u64) -> Span {
        Span {
            fault: number,
            family: family.into(),
            label: "n1".into(),
            targets: vec!["n1".into()],
            loss: Default::default(),
            from: Time(from),
            in_force: Some(Time(from + 1)),
            held_from: Some(Time(from + 1)),
            until: Time(until),
            due: None,
            heal_due: None,
            inject: None,
            heal: None,
            error: None,
            skipped: false,
        }
    }

    #[test]
    fn families_have_rows_of_their_own_and_overlaps_get_another() {
        let spans = [
            fault(0, "pause", 0, 50),
            fault(1, "partition", 10, 20),
            fault(2, "pause", 30, 60),
            fault(3, "pause", 70, 80),
        ];
        let axis = TimeAxis::linear(Time(0), Time(100), 0.0, 1000.0);
        let faults = Faults::place(spans.iter(), &axis);
        let rows: Vec<(u64, usize)> = faults.placed.iter().map(|p| (p.0.fault, p.3)).collect();
        assert_eq!(rows, [(0, 0), (2, 1), (3, 0), (1, 2)]);
        assert_eq!(
            faults.families,
            [("pause".to_string(), 0), ("partition".to_string(), 2)]
        );
        assert_eq!(faults.height(), 3.0 * BAR_PX);
    }

    #[test]
    fn a_tip_says_whether_there_is_evidence() {
        let mut fault = fault(0, "pause", 0, 50);
        assert!(tip(&fault).ends_with("no receipt"));
        fault.inject = Some(history::fault::Receipt {
            held: false,
            ..Default::default()
        });
        assert!(tip(&fault).ends_with("did not hold"));
        fault.until = Time::MAX;
        assert!(tip(&fault).contains("no healing was recorded"));
    }
}
