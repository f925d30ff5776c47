//! One system along a parameter.

use maud::{Markup, html};

use super::panel::{Scale, tip};
use super::sheet::{self, Head};
use super::{Measure, Sweep, Valley};
use crate::svg::{Px, grid};
use crate::text::clip;

const WIDTH: f64 = 560.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 18.0;
const HEIGHT: f64 = 220.0;
const TOP: f64 = 22.0;

pub fn page(s: &Sweep) -> Markup {
    let head = Head {
        what: "One system, the same seeds and faults, along a parameter",
        title: &format!("{}: {}", s.system, s.parameter),
        asked: &s.asked,
        command: &s.command,
    };
    let best_value = "The best value, and how much it matters";
    let meaning = "What the figures mean";
    let shown = s.measures.iter().filter(|m| has(s, m));
    let arms = s.points.iter().map(|p| (p.text.clone(), &p.arm));
    let sections = [
        ("best", "The best value", best_value, best(s)),
        ("curves", "Curves", "Curves", curves(s)),
        ("figures", "All figures", "All figures", figures(s)),
        ("meaning", meaning, meaning, sheet::definitions(shown)),
        ("runs", "Runs", "Runs", sheet::runs(arms)),
    ];
    sheet::page(&head, &sections)
}

fn has(s: &Sweep, measure: &Measure) -> bool {
    s.points.iter().any(|p| p.arm.spread(&measure.id).is_some())
}

/// `250ms to 1.2s`, or the only value there is.
fn range(s: &Sweep, (from, to): (usize, usize)) -> String {
    match from == to {
        true => format!("{} alone", s.points[from].text),
        false => format!("{} to {}", s.points[from].text, s.points[to].text),
    }
}

fn best(s: &Sweep) -> Markup {
    let of = |id: &str| s.measures.iter().find(|m| m.id == id);
    let valleys = s.valleys.iter();
    let valleys = valleys.filter_map(|valley| Some((valley, of(&valley.measure)?)));
    html! {
        p.lead {
            "Flat: the values around the best one, without a gap, whose medians are within 10 % of its median. \
             Noise: those that are not surely worse, seed by seed. Values between two that were tried are not known."
        }
        div.scroll {
            table.figures-of {
                thead {
                    tr {
                        th { "figure" } th { "best at" } th { "there" } th { "flat over" } th { "within the noise" }
                    }
                }
                tbody {
                    @for (valley, measure) in valleys {
                        @let best = &s.points[valley.best];
                        tr {
                            td { (sheet::name(measure)) }
                            td { b { (best.text) } }
                            td { (sheet::interval(&best.arm, measure, s.seeds.len())) }
                            td { (range(s, valley.near)) }
                            td {
                                @match valley.noise {
                                    Some(noise) => (range(s, noise)),
                                    None => span.none { "too few seeds to tell" },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn curves(s: &Sweep) -> Markup {
    html! {
        p.lead {
            (sheet::caution(s.seeds.len()))
            " Line: median; band: its interval; dots: runs; dashed: the best value; shaded: within 10 % of it."
        }
        div class="panels curves" {
            @for measure in s.measures.iter().filter(|m| m.headline && has(s, m)) {
                (sheet::panel(measure, &curve(s, measure)))
            }
        }
    }
}

fn curve(s: &Sweep, measure: &Measure) -> Markup {
    let (Some(first), Some(last)) = (s.points.first(), s.points.last()) else {
        return html! {};
    };
    let across = Scale::between(first.value, last.value, s.log, LEFT, WIDTH - RIGHT);
    let values = s.points.iter().flat_map(|p| p.arm.values(&measure.id));
    let up = Scale::over(values.map(|(_, v)| v), HEIGHT, TOP);
    let valley = s.valleys.iter().find(|v| v.measure == measure.id);
    let spreads: Vec<_> = s
        .points
        .iter()
        .map(|p| Some((across.at(p.value), p, p.arm.spread(&measure.id)?)))
        .collect();
    html! {
        div.scroll {
            svg viewBox=(format_args!("0 0 {WIDTH} {:.0}", HEIGHT + 40.0)) role="img"
                aria-label={ (measure.label) " along " (s.parameter) }
            {
                @if let Some(valley) = valley { (shade(s, &across, valley)) }
                (axes(s, &across, &up))
                g.arm {
                    // Where a value has no figure the line has a gap.
                    @for part in spreads.split(Option::is_none).filter(|p| !p.is_empty()) {
                        @let part: Vec<_> = part.iter().flatten().collect();
                        @let over = part.iter().map(|(x, _, s)| (*x, up.at(s.high.shown())));
                        @let under = part.iter().rev().map(|(x, _, s)| (*x, up.at(s.low.shown())));
                        @let medians = part.iter().map(|(x, _, s)| (*x, up.at(s.median.shown())));
                        path.band d=(line(over.chain(under))) {}
                        path.line d=(line(medians)) {}
                    }
                    @for (x, point, spread) in spreads.iter().flatten() {
                        @for (_, value) in point.arm.values(&measure.id) {
                            circle.seed cx=(Px(*x)) cy=(Px(up.at(value))) r="2" {}
                        }
                        circle.seed cx=(Px(*x)) cy=(Px(up.at(spread.median.shown()))) r="4" {
                            title { (tip(&s.system, &point.text, measure, spread)) }
                        }
                    }
                }
            }
        }
    }
}

fn axes(s: &Sweep, across: &Scale, up: &Scale) -> Markup {
    let ticks = up.ticks(4).into_iter();
    html! {
        (grid(LEFT, WIDTH - RIGHT, ticks.map(|(value, label)| (up.at(value), label))))
        @for (value, label) in across.ticks(6) {
            @let x = across.at(value);
            line.tick x1=(Px(x)) x2=(Px(x)) y1=(HEIGHT) y2=(Px(HEIGHT + 5.0)) {}
            text.tick x=(Px(x)) y=(Px(HEIGHT + 19.0)) text-anchor="middle" { (label) }
        }
        text.heading x=(Px(WIDTH - RIGHT)) y=(Px(HEIGHT + 36.0)) text-anchor="end" {
            (clip(&s.parameter, 60)) @if !s.unit.is_empty() { ", " (s.unit) }
        }
    }
}

/// From point to point.
fn line(points: impl Iterator<Item = (f64, f64)>) -> String {
    let pens = ['M'].into_iter().chain(std::iter::repeat('L'));
    let points = pens.zip(points);
    points
        .map(|(pen, (x, y))| format!("{pen}{x:.1} {y:.1}"))
        .collect()
}

/// The flat part, and where the best value is.
fn shade(s: &Sweep, across: &Scale, valley: &Valley) -> Markup {
    let x = |i: usize| across.at(s.points[i].value);
    let (x0, x1) = (x(valley.near.0), x(valley.near.1));
    let best = x(valley.best);
    let anchor = match best {
        x if x < LEFT + 40.0 => "start",
        x if x > WIDTH - RIGHT - 40.0 => "end",
        _ => "middle",
    };
    html! {
        rect.valley x=(Px(x0 - 2.0)) y=(TOP) width=(Px(x1 - x0 + 4.0)) height=(Px(HEIGHT - TOP)) {}
        line.best x1=(Px(best)) x2=(Px(best)) y1=(TOP) y2=(HEIGHT) {}
        text.best x=(Px(best)) y=(Px(TOP - 7.0)) text-anchor=(anchor) { (s.points[valley.best].text) }
    }
}

/// Values down, headline measures across; the others are in a table of their own.
fn figures(s: &Sweep) -> Markup {
    let (headline, rest): (Vec<&Measure>, Vec<&Measure>) = s
        .measures
        .iter()
        .filter(|m| has(s, m))
        .partition(|m| m.headline);
    html! {
        (table(s, &headline))
        @if !rest.is_empty() { details.box { summary { "Other figures" } (table(s, &rest)) } }
    }
}

fn table(s: &Sweep, measures: &[&Measure]) -> Markup {
    html! {
        div.scroll {
            table.figures-of {
                thead { tr { th { "figure" } @for point in &s.points { th { (point.text) } } } }
                tbody {
                    tr { td { "verdicts" } @for point in &s.points { td { (sheet::verdicts(&point.arm)) } } }
                    @for measure in measures {
                        tr {
                            td { (sheet::name(measure)) }
                            @for point in &s.points { td { (sheet::narrow(&point.arm, measure)) } }
                        }
                    }
                }
            }
        }
    }
}
