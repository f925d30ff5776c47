//! Operations in a circle, each of which must come before the next.
//!
//! ```text
//!   [ 1  r x nil, w x 1 ] ---- rw ---> [ 2  r x nil, w x 2 ]
//!            ^                                   |
//!            '---------------- ww ---------------'
//! ```

use std::f64::consts::TAU;

use checkers::picture::{Edge, Relation};
use history::Op;
use maud::{Markup, html};

use crate::Run;
use crate::reading::Reading;
use crate::svg::Px;
use crate::text::clip;
use crate::timeline::tip;

const WIDTH: f64 = 1000.0;
const BOX: (f64, f64) = (300.0, 46.0);

/// Larger circles are told in words only.
const MOST: usize = 12;

pub fn draw(run: &Run, edges: &[Edge]) -> Markup {
    html! {
        @if edges.len() <= MOST { (circle(run, edges)) }
        ol.edges {
            @for (i, edge) in edges.iter().enumerate() {
                li {
                    b.badge { (i + 1) } " before " b.badge { ((i + 1) % edges.len() + 1) } " "
                    span.relation { (word(edge.relation)) } " " (meaning(edge.relation)) ": " (clip(&edge.why, 400))
                }
            }
        }
    }
}

fn word(relation: Relation) -> &'static str {
    match relation {
        Relation::Ww => "ww",
        Relation::Wr => "wr",
        Relation::Rw => "rw",
        Relation::Process => "process",
        Relation::RealTime => "real time",
    }
}

fn meaning(relation: Relation) -> &'static str {
    match relation {
        Relation::Ww => "the second overwrote the first",
        Relation::Wr => "the second read from the first",
        Relation::Rw => "the second overwrote what the first read",
        Relation::Process => "one process asked for both",
        Relation::RealTime => "the first had returned",
    }
}

fn circle(run: &Run, edges: &[Edge]) -> Markup {
    let n = edges.len();
    let (rx, ry) = (WIDTH / 2.0 - BOX.0 / 2.0 - 20.0, 40.0 + 32.0 * n as f64);
    let (cx, cy) = (WIDTH / 2.0, ry + BOX.1);
    let centre = |i: usize| {
        // Two stand side by side, more around a clock.
        let from = if n == 2 { TAU / 2.0 } else { -TAU / 4.0 };
        let angle = from + TAU * i as f64 / n as f64;
        (cx + rx * angle.cos(), cy + ry * angle.sin())
    };
    let arrow = |i: usize| Arrow::between(centre(i), centre((i + 1) % n));
    html! {
        div.scroll {
            svg.cycle viewBox=(format_args!("0 0 {WIDTH} {:.0}", 2.0 * cy)) role="group"
                aria-label={ "Circle of " (n) " operations" }
            {
                @for i in 0..n { (arrow(i).draw()) }
                @for (i, edge) in edges.iter().enumerate() {
                    @if let Some(op) = run.input.history.op(edge.from) { (operation(run, i, op, centre(i))) }
                }
                @for (i, edge) in edges.iter().enumerate() { (relation(edge.relation, arrow(i).half_way())) }
            }
        }
    }
}

type Point = (f64, f64);

/// An arrow that bends to the left of its way, so that two between the same boxes part.
struct Arrow {
    from: Point,
    middle: Point,
    to: Point,
}

impl Arrow {
    fn between(a: Point, b: Point) -> Arrow {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy).max(1.0);
        let bend = (0.22 * length).min(70.0);
        let middle = (
            (a.0 + b.0) / 2.0 + dy / length * bend,
            (a.1 + b.1) / 2.0 - dx / length * bend,
        );
        Arrow {
            from: leave(a, middle),
            middle,
            to: leave(b, middle),
        }
    }

    fn draw(&self) -> Markup {
        let Arrow { from, middle, to } = self;
        let (ex, ey) = (to.0 - middle.0, to.1 - middle.1);
        let end = ex.hypot(ey).max(1.0);
        let (ux, uy) = (ex / end, ey / end);
        let neck = (to.0 - 9.0 * ux, to.1 - 9.0 * uy);
        let sides = [-5.0, 5.0].map(|side| at((neck.0 + side * uy, neck.1 - side * ux)));
        html! {
            path.edge d={ "M" (at(*from)) "Q" (at(*middle)) " " (at(neck)) } {}
            path.head d={ "M" (at(*to)) "L" (sides[0]) "L" (sides[1]) "z" } {}
        }
    }

    fn half_way(&self) -> Point {
        let Arrow { from, middle, to } = self;
        (
            (from.0 + to.0) / 4.0 + middle.0 / 2.0,
            (from.1 + to.1) / 4.0 + middle.1 / 2.0,
        )
    }
}

fn at((x, y): Point) -> String {
    format!("{x:.1} {y:.1}")
}

fn relation(relation: Relation, (x, y): Point) -> Markup {
    let word = word(relation);
    let width = word.len() as f64 * 7.4 + 14.0;
    html! {
        g.relation {
            rect x=(Px(x - width / 2.0)) y=(Px(y - 10.0)) width=(Px(width)) height="20" rx="10" {}
            text x=(Px(x)) y=(Px(y + 4.0)) text-anchor="middle" { (word) }
        }
    }
}

/// Where a line from the middle of a box towards a point leaves it.
fn leave(middle: Point, towards: Point) -> Point {
    let (dx, dy) = (towards.0 - middle.0, towards.1 - middle.1);
    let (x, y) = (BOX.0 / 2.0 + 3.0, BOX.1 / 2.0 + 3.0);
    let part = (x / dx.abs().max(1e-6)).min(y / dy.abs().max(1e-6));
    let part = part.min(1.0);
    (middle.0 + dx * part, middle.1 + dy * part)
}

fn operation(run: &Run, i: usize, op: &Op, (x, y): Point) -> Markup {
    let (left, top) = (x - BOX.0 / 2.0, y - BOX.1 / 2.0);
    let badge = left + 18.0;
    let words = left + 34.0;
    html! {
        g.operation tabindex="0" data-op=(op.index) {
            title { (tip(run, op)) }
            rect x=(Px(left)) y=(Px(top)) width=(BOX.0) height=(BOX.1) rx="6" {}
            circle cx=(Px(badge)) cy=(Px(y)) r="9" {}
            text.number x=(Px(badge)) y=(Px(y + 4.0)) text-anchor="middle" { (i + 1) }
            text x=(Px(words)) y=(Px(y - 4.0)) { (clip(Reading::new(None).text(op), 38)) }
            text.who x=(Px(words)) y=(Px(y + 13.0)) {
                "process " (op.process)
                @if let Some(node) = &op.node { " on " (clip(node, 12)) }
                ", " (op.call)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leaves_a_box_at_its_border() {
        let (x, y) = leave((0.0, 0.0), (1000.0, 0.0));
        assert_eq!((x, y), (BOX.0 / 2.0 + 3.0, 0.0));
        let (x, y) = leave((0.0, 0.0), (0.0, -500.0));
        assert!(x.abs() < 1.0 && y == -(BOX.1 / 2.0 + 3.0), "{x} {y}");
        // A point within stays where it is.
        assert_eq!(leave((0.0, 0.0), (10.0, 5.0)), (10.0, 5.0));
    }
}
