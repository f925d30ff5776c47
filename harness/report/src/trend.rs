//! How a figure went from run to run: small pictures that lie under each other, each run at the
//! same place in all of them.
//!
//! They carry no colours of their own: a mark has the class `mark` and that of its tone, and
//! whoever puts the picture on a page has the style.

use maud::{Markup, html};

use crate::experiment::number;
use crate::experiment::panel::Scale;
use crate::svg::Px;
use crate::text::clip;

/// The picture's size, of which the right edge carries the figures.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 92.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 352.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 84.0;
/// Half of a mark.
const MARK: f64 = 3.0;
/// Widest a place is, so that few runs do not lie far apart.
const WIDEST: f64 = 24.0;
/// Runs whose median the line is.
const AROUND: usize = 7;
/// Longest tip.
const MOST_CHARS: usize = 300;

/// What happened once, at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub place: usize,
    pub value: f64,
    /// A class of the page's style: `valid`.
    pub tone: &'static str,
    /// Where it leads.
    pub link: String,
    pub tip: String,
}

/// A figure over so many places, of which some may have no point.
pub fn points(of: &str, places: usize, points: &[Point]) -> Markup {
    let values = points.iter().map(|point| point.value);
    let scale = Scale::over(values, BOTTOM, TOP);
    let few = scale.ticks(3);
    // One is no scale.
    let ticks = if few.len() < 2 { scale.ticks(6) } else { few };
    let at = |point: &Point| x(point.place, places);
    let line = points.iter().zip(medians(points));
    let line = line.map(|(point, value)| format!("{:.1},{:.1}", at(point), scale.at(value)));
    let marks = html! {
        @for (value, label) in ticks {
            @let y = scale.at(value);
            line.tick x1=(LEFT) x2=(RIGHT) y1=(Px(y)) y2=(Px(y)) {}
            text x=(Px(LEFT - 5.0)) y=(Px(y + 3.5)) text-anchor="end" { (label) }
        }
        @if points.len() >= AROUND {
            polyline.median points=(line.collect::<Vec<_>>().join(" ")) {}
        }
        @for point in points { (put(point, at(point), scale.at(point.value))) }
    };
    picture(of, HEIGHT, &marks)
}

/// One mark for each, in a line: how runs ended.
pub fn strip(of: &str, places: usize, points: &[Point]) -> Markup {
    let marks = html! {
        @for point in points { (put(point, x(point.place, places), 10.0)) }
    };
    picture(of, 20.0, &marks)
}

/// A mark by itself, for a legend.
pub fn mark(tone: &str) -> Markup {
    html! {
        svg.sample viewBox="0 0 10 10" aria-hidden="true" { (shape(tone, 5.0, 5.0)) }
    }
}

/// Several counts at one place, on top of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Tone and count, from the bottom.
    pub parts: Vec<(&'static str, usize)>,
    pub link: String,
    pub tip: String,
}

pub fn stacks(of: &str, stacks: &[Stack]) -> Markup {
    let height = |stack: &Stack| stack.parts.iter().map(|(_, n)| n).sum::<usize>();
    let most = stacks.iter().map(height).max().unwrap_or(0).max(1);
    let width = (room(stacks.len()) * 0.8).max(1.0);
    let marks = html! {
        text x=(Px(LEFT - 5.0)) y=(Px(TOP + 3.5)) text-anchor="end" { (most) }
        @for (place, stack) in stacks.iter().enumerate() {
            a href=(stack.link) {
                title { (clip(&stack.tip, MOST_CHARS)) }
                @for (at, (tone, n)) in stack.parts.iter().enumerate() {
                    @let below: usize = stack.parts[..=at].iter().map(|(_, n)| n).sum();
                    @let part = |n: usize| n as f64 / most as f64 * (BOTTOM - TOP);
                    rect class={ "bar " (tone) } x=(Px(x(place, stacks.len()) - width / 2.0))
                        y=(Px(BOTTOM - part(below))) width=(Px(width)) height=(Px(part(*n))) {}
                }
            }
        }
    };
    picture(of, HEIGHT, &marks)
}

fn picture(of: &str, height: f64, marks: &Markup) -> Markup {
    html! {
        svg.trend viewBox={ "0 0 " (WIDTH) " " (height) } role="group" aria-label=(clip(of, MOST_CHARS)) { (marks) }
    }
}

/// How wide one of so many places is.
fn room(places: usize) -> f64 {
    ((RIGHT - LEFT) / places.max(1) as f64).min(WIDEST)
}

fn x(place: usize, places: usize) -> f64 {
    LEFT + (place as f64 + 0.5) * room(places)
}

fn put(point: &Point, x: f64, y: f64) -> Markup {
    html! {
        a href=(point.link) {
            title { (clip(&point.tip, MOST_CHARS)) }
            (shape(point.tone, x, y))
        }
    }
}

/// Shapes, too, say how a run ended: not everybody sees the colours.
fn shape(tone: &str, x: f64, y: f64) -> Markup {
    let (left, top, wide) = (x - MARK, y - MARK, 2.0 * MARK);
    let cross = format!("M{left:.1} {top:.1}l{wide} {wide}m0 -{wide}l-{wide} {wide}");
    html! {
        @match tone {
            "valid" => circle.mark.(tone) cx=(Px(x)) cy=(Px(y)) r=(MARK) {},
            "invalid" => path.mark.(tone) d=(cross) {},
            _ => rect.mark.(tone) x=(Px(left)) y=(Px(top)) width=(wide) height=(wide) {},
        }
    }
}

/// Of each point the median of those around it, as many as there are.
fn medians(points: &[Point]) -> Vec<f64> {
    let median = |at: usize| {
        let from = at.saturating_sub(AROUND / 2);
        let around = &points[from..points.len().min(at + AROUND / 2 + 1)];
        let mut values: Vec<f64> = around.iter().map(|point| point.value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        }
    };
    (0..points.len()).map(median).collect()
}

/// A value and its unit, for a tip.
pub fn told(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value)).trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(place: usize, value: f64, tone: &'static str) -> Point {
        Point {
            place,
            value,
            tone,
            link: format!("/run/{place}"),
            tip: format!("run {place} <b>"),
        }
    }

    /// Coordinates of the marks, by what stands behind these words.
    fn numbers(svg: &str, before: &str) -> Vec<f64> {
        let parts = svg.split(before).skip(1);
        let number = |part: &str| part.split('"').next().unwrap().parse().unwrap();
        parts.map(number).collect()
    }

    #[test]
    fn what_is_larger_stands_higher_and_what_came_later_farther_right() {
        let all = [
            point(0, 10.0, "valid"),
            point(1, 30.0, "valid"),
            // The run between them has no such figure.
            point(3, 20.0, "valid"),
        ];
        let svg = points("throughput", 4, &all).into_string();
        let (x, y) = (numbers(&svg, " cx=\""), numbers(&svg, " cy=\""));
        assert_eq!((x[1] - x[0], x[2] - x[1]), (WIDEST, 2.0 * WIDEST));
        assert!(y[1] < y[2] && y[2] < y[0], "{y:?}");
        assert!(svg.contains("<a href=\"/run/3\"><title>run 3 &lt;b&gt;</title>"));
        // Too few for a line that would say something.
        assert!(!svg.contains("<polyline"));
    }

    #[test]
    fn a_verdict_is_told_by_shape_too() {
        let all = ["valid", "invalid", "infra"].map(|tone| point(0, 1.0, tone));
        let svg = strip("verdicts", 1, &all).into_string();
        for shape in ["<circle", "<path", "<rect"] {
            assert_eq!(svg.matches(shape).count(), 1, "{shape}: {svg}");
        }
    }

    #[test]
    fn the_line_is_the_median_of_those_around() {
        let values = [1.0, 2.0, 100.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let all: Vec<Point> = values
            .iter()
            .enumerate()
            .map(|(place, value)| point(place, *value, "valid"))
            .collect();
        // Of 1 2 100 3, then 1 2 100 3 4, and so on.
        assert_eq!(medians(&all), [2.5, 3.0, 3.5, 4.0, 5.0, 5.5, 5.0, 5.5]);
        let svg = points("x", all.len(), &all).into_string();
        assert!(svg.contains("<polyline"));
    }

    #[test]
    fn counts_lie_on_top_of_each_other() {
        let stack = |parts: &[(&'static str, usize)]| Stack {
            parts: parts.to_vec(),
            link: "/night/a".into(),
            tip: String::new(),
        };
        let svg = stacks(
            "cells",
            &[stack(&[("green", 3), ("red", 1)]), stack(&[("green", 2)])],
        )
        .into_string();
        let (y, high) = (numbers(&svg, " y=\""), numbers(&svg, "height=\""));
        // The first number is the axis's.
        let whole = BOTTOM - TOP;
        assert_eq!(high, [0.75 * whole, 0.25 * whole, 0.5 * whole]);
        assert_eq!(y[2], TOP, "the second part ends at the top");
    }

    #[test]
    fn nothing_is_nothing() {
        let alone = [point(0, 0.0, "valid")];
        for svg in [
            points("x", 0, &[]),
            stacks("x", &[]),
            points("x", 1, &alone),
        ] {
            assert!(!svg.into_string().contains("NaN"));
        }
    }
}
