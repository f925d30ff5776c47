//! Operations in a circle, each of which must come before the next.
//!
//! ```text
//!   [ 1  r x nil, w x 1 ] ---- rw ---> [ 2  r x nil, w x 2 ]
//!            ^                                   |
//!            '---------------- ww ---------------'
//! ```

use std::f64::consts::TAU;
use std::fmt::{self, Write};

use checkers::picture::{Edge, Relation};
use history::Op;

use crate::Run;
use crate::reading::Reading;
use crate::text::{Esc, clip};
use crate::timeline::tip;

const WIDTH: f64 = 1000.0;
const BOX: (f64, f64) = (300.0, 46.0);

/// Larger circles are told in words only.
const MOST: usize = 12;

pub fn draw(out: &mut String, run: &Run, edges: &[Edge]) -> fmt::Result {
    if edges.len() <= MOST {
        circle(out, run, edges)?;
    }
    writeln!(out, "<ol class=\"edges\">")?;
    for (i, edge) in edges.iter().enumerate() {
        let to = (i + 1) % edges.len();
        writeln!(
            out,
            "<li><b class=\"badge\">{}</b> before <b class=\"badge\">{}</b> \
             <span class=\"relation\">{}</span> {}: {}</li>",
            i + 1,
            to + 1,
            word(edge.relation),
            meaning(edge.relation),
            Esc(clip(&edge.why, 400)),
        )?;
    }
    writeln!(out, "</ol>")
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

fn circle(out: &mut String, run: &Run, edges: &[Edge]) -> fmt::Result {
    let n = edges.len();
    let (rx, ry) = (WIDTH / 2.0 - BOX.0 / 2.0 - 20.0, 40.0 + 32.0 * n as f64);
    let (cx, cy) = (WIDTH / 2.0, ry + BOX.1);
    let centre = |i: usize| {
        // Two stand side by side, more around a clock.
        let from = if n == 2 { TAU / 2.0 } else { -TAU / 4.0 };
        let angle = from + TAU * i as f64 / n as f64;
        (cx + rx * angle.cos(), cy + ry * angle.sin())
    };
    writeln!(
        out,
        "<div class=\"scroll\"><svg class=\"cycle\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"group\" \
         aria-label=\"Circle of {n} operations\">",
        2.0 * cy
    )?;
    let mut words = String::new();
    for (i, edge) in edges.iter().enumerate() {
        let (from, to) = (centre(i), centre((i + 1) % n));
        arrow(out, &mut words, (from, to), edge.relation)?;
    }
    for (i, edge) in edges.iter().enumerate() {
        if let Some(op) = run.input.history.op(edge.from) {
            operation(out, run, i, op, centre(i))?;
        }
    }
    out.push_str(&words);
    writeln!(out, "</svg></div>")
}

type Point = (f64, f64);

/// An arrow that bends to the left of its way, so that two between the same boxes part.
fn arrow(
    out: &mut String,
    words: &mut String,
    (a, b): (Point, Point),
    relation: Relation,
) -> fmt::Result {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx.hypot(dy).max(1.0);
    let bend = (0.22 * length).min(70.0);
    let middle = (
        (a.0 + b.0) / 2.0 + dy / length * bend,
        (a.1 + b.1) / 2.0 - dx / length * bend,
    );
    let (from, to) = (leave(a, middle), leave(b, middle));
    let (ex, ey) = (to.0 - middle.0, to.1 - middle.1);
    let end = ex.hypot(ey).max(1.0);
    let (ux, uy) = (ex / end, ey / end);
    let neck = (to.0 - 9.0 * ux, to.1 - 9.0 * uy);
    writeln!(
        out,
        "<path class=\"edge\" d=\"M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}\"/>\
         <path class=\"head\" d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}z\"/>",
        from.0,
        from.1,
        middle.0,
        middle.1,
        neck.0,
        neck.1,
        to.0,
        to.1,
        neck.0 - 5.0 * uy,
        neck.1 + 5.0 * ux,
        neck.0 + 5.0 * uy,
        neck.1 - 5.0 * ux,
    )?;
    // Half way along the curve.
    let at = (
        (from.0 + to.0) / 4.0 + middle.0 / 2.0,
        (from.1 + to.1) / 4.0 + middle.1 / 2.0,
    );
    let word = word(relation);
    let width = word.len() as f64 * 7.4 + 14.0;
    writeln!(
        words,
        "<g class=\"relation\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"20\" rx=\"10\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{word}</text></g>",
        at.0 - width / 2.0,
        at.1 - 10.0,
        at.0,
        at.1 + 4.0,
    )
}

/// Where a line from the middle of a box towards a point leaves it.
fn leave(middle: Point, towards: Point) -> Point {
    let (dx, dy) = (towards.0 - middle.0, towards.1 - middle.1);
    let (x, y) = (BOX.0 / 2.0 + 3.0, BOX.1 / 2.0 + 3.0);
    let part = (x / dx.abs().max(1e-6)).min(y / dy.abs().max(1e-6));
    let part = part.min(1.0);
    (middle.0 + dx * part, middle.1 + dy * part)
}

fn operation(out: &mut String, run: &Run, i: usize, op: &Op, (x, y): Point) -> fmt::Result {
    let (left, top) = (x - BOX.0 / 2.0, y - BOX.1 / 2.0);
    let node = op.node.as_ref();
    let node = node.map_or(String::new(), |node| format!(" on {}", clip(node, 12)));
    writeln!(
        out,
        "<g class=\"operation\" tabindex=\"0\" data-op=\"{}\"><title>{}</title>\
         <rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
         <circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"9\"/>\
         <text class=\"number\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text><text class=\"who\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        op.index,
        Esc(tip(run, op)),
        BOX.0,
        BOX.1,
        left + 18.0,
        left + 18.0,
        y + 4.0,
        i + 1,
        left + 34.0,
        y - 4.0,
        Esc(clip(Reading::new(None).text(op), 38)),
        left + 34.0,
        y + 13.0,
        Esc(format_args!("process {}{node}, {}", op.process, op.call)),
    )
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
