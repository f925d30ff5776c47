//! The shape of an arrow between two bars, and a free place for its words.

use crate::svg::CHAR_PX;

/// Room between the lane of two bars and the lowest point of an arrow from one to the other.
const SAG_PX: f64 = 32.0;

/// How far an arrow reaches out of a bar before it turns.
const REACH_PX: f64 = 26.0;

/// Height of a line of words.
const WORDS_PX: f64 = 14.0;

/// Where a bar lies.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub x0: f64,
    pub x1: f64,
    /// Its middle line.
    pub y: f64,
    pub height: f64,
}

impl Bar {
    pub fn area(self) -> Area {
        Area {
            x0: self.x0,
            x1: self.x1,
            y0: self.y - self.height / 2.0,
            y1: self.y + self.height / 2.0,
        }
    }
}

/// How the operations of two bars lie in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first ends before the second begins.
    Before,
    /// The first begins after the second has ended.
    After,
    Overlap,
}

/// An arrow, as paths.
#[derive(Debug)]
pub struct Arrow {
    pub line: String,
    pub head: String,
    /// Points along the line, from its middle outwards.
    along: Vec<(f64, f64)>,
    upright: bool,
}

impl Arrow {
    pub fn between(a: Bar, b: Bar, order: Order) -> Arrow {
        match order {
            Order::Before => Arrow::curved((a.x1, a.y), (b.x0, b.y), 1.0),
            Order::After => Arrow::curved((a.x0, a.y), (b.x1, b.y), -1.0),
            Order::Overlap => Arrow::upright(a, b),
        }
    }

    /// Out of one end and into another, level at both; `sign` is the direction along the axis.
    fn curved((x0, y0): (f64, f64), (x1, y1): (f64, f64), sign: f64) -> Arrow {
        let reach = ((x1 - x0).abs() / 2.0).max(REACH_PX) * sign;
        let tip = x1 - 2.0 * sign;
        let neck = tip - 7.0 * sign;
        // Within one lane the line sags, so that it passes below what lies between.
        let sag = if y0 == y1 { SAG_PX } else { 0.0 };
        let knots = [
            (x0, y0),
            (x0 + reach, y0 + sag),
            (neck - reach, y1 + sag),
            (neck, y1),
        ];
        let [p, q, r, s] = knots.map(|(x, y)| format!("{x:.1} {y:.1}"));
        Arrow {
            line: format!("M{p}C{q} {r} {s}"),
            head: format!("M{tip:.1} {y1:.1}l{:.1} -5v10z", -9.0 * sign),
            along: middle_out().map(|t| bezier(knots, t)).collect(),
            upright: false,
        }
    }

    /// Straight up or down where both are open.
    fn upright(a: Bar, b: Bar) -> Arrow {
        let x = (a.x0.max(b.x0) + a.x1.min(b.x1)) / 2.0;
        let sign = if b.y > a.y { 1.0 } else { -1.0 };
        let tip = b.y - sign * (b.height / 2.0 + 2.0);
        Arrow {
            line: format!("M{x:.1} {:.1}L{x:.1} {:.1}", a.y, tip - sign * 6.0),
            head: format!("M{x:.1} {tip:.1}l-5 {:.1}h10z", -sign * 9.0),
            along: middle_out().map(|t| (x, a.y + t * (b.y - a.y))).collect(),
            upright: true,
        }
    }

    /// Where words of so many characters can stand without covering anything of `taken`, if there
    /// is such a place within `x0..x1`.
    pub fn place(&self, chars: usize, x0: f64, x1: f64, taken: &[Area]) -> Option<Area> {
        self.places(chars, x0, x1)
            .find(|area| !taken.iter().any(|t| t.overlaps(area)))
    }

    /// The place to prefer when every place covers something.
    pub fn anywhere(&self, chars: usize, x0: f64, x1: f64) -> Option<Area> {
        self.places(chars, x0, x1).next()
    }

    /// Places on the line, then close above and below it; beside it where it is upright.
    fn places(&self, chars: usize, x0: f64, x1: f64) -> impl Iterator<Item = Area> {
        let width = chars as f64 * CHAR_PX + 8.0;
        let beside = width / 2.0 + 7.0;
        let offsets = match self.upright {
            true => [(beside, 0.0), (-beside, 0.0), (0.0, 0.0)],
            false => [(0.0, 0.0), (0.0, -WORDS_PX), (0.0, WORDS_PX)],
        };
        offsets.into_iter().flat_map(move |(dx, dy)| {
            self.along.iter().map(move |(x, y)| {
                let x = (x + dx).clamp(x0 + width / 2.0, (x1 - width / 2.0).max(x0 + width / 2.0));
                Area {
                    x0: x - width / 2.0,
                    x1: x + width / 2.0,
                    y0: y + dy - WORDS_PX / 2.0,
                    y1: y + dy + WORDS_PX / 2.0,
                }
            })
        })
    }
}

/// 0.5, 0.45, 0.55, 0.4, ... to both ends.
fn middle_out() -> impl Iterator<Item = f64> {
    (0..17).map(|i| {
        let step = f64::from((i + 1) / 2) * 0.05;
        if i % 2 == 0 { 0.5 + step } else { 0.5 - step }
    })
}

/// A point of a cubic Bézier curve.
fn bezier([p, q, r, s]: [(f64, f64); 4], t: f64) -> (f64, f64) {
    let u = 1.0 - t;
    let at = |p: f64, q: f64, r: f64, s: f64| {
        u * u * u * p + 3.0 * u * u * t * q + 3.0 * u * t * t * r + t * t * t * s
    };
    (at(p.0, q.0, r.0, s.0), at(p.1, q.1, r.1, s.1))
}

/// A rectangle of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub x0: f64,
    pub x1: f64,
    pub y0: f64,
    pub y1: f64,
}

impl Area {
    fn overlaps(&self, other: &Area) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(x0: f64, x1: f64, y: f64) -> Bar {
        Bar {
            x0,
            x1,
            y,
            height: 18.0,
        }
    }

    #[test]
    fn an_arrow_goes_from_the_end_of_the_first_to_the_start_of_the_second() {
        let arrow = Arrow::between(
            bar(0.0, 100.0, 10.0),
            bar(300.0, 400.0, 60.0),
            Order::Before,
        );
        assert!(arrow.line.starts_with("M100.0 10.0C"), "{}", arrow.line);
        assert!(arrow.head.starts_with("M298.0 60.0"), "{}", arrow.head);
        let back = Arrow::between(bar(300.0, 400.0, 60.0), bar(0.0, 100.0, 10.0), Order::After);
        assert!(back.line.starts_with("M300.0 60.0C"), "{}", back.line);
        assert!(back.head.starts_with("M102.0 10.0"), "{}", back.head);
    }

    #[test]
    fn operations_that_overlap_are_joined_where_both_are_open() {
        let arrow = Arrow::between(
            bar(0.0, 100.0, 10.0),
            bar(40.0, 400.0, 60.0),
            Order::Overlap,
        );
        assert_eq!(arrow.line, "M70.0 10.0L70.0 43.0");
    }

    #[test]
    fn words_avoid_what_is_there() {
        let arrow = Arrow::between(
            bar(0.0, 100.0, 10.0),
            bar(500.0, 600.0, 60.0),
            Order::Before,
        );
        let first = arrow.place(10, 0.0, 600.0, &[]).unwrap();
        assert_eq!(arrow.anywhere(10, 0.0, 600.0), Some(first));
        let second = arrow.place(10, 0.0, 600.0, &[first]).unwrap();
        assert!(!first.overlaps(&second));
        let everything = Area {
            x0: -1e4,
            x1: 1e4,
            y0: -1e4,
            y1: 1e4,
        };
        assert_eq!(arrow.place(10, 0.0, 600.0, &[everything]), None);
    }

    #[test]
    fn words_stay_within_the_picture() {
        let arrow = Arrow::between(bar(0.0, 10.0, 10.0), bar(30.0, 40.0, 60.0), Order::Before);
        for place in arrow.places(20, 100.0, 600.0) {
            assert!(place.x0 >= 100.0 && place.x1 <= 600.0, "{place:?}");
        }
    }
}
