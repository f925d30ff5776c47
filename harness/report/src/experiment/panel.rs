//! Small pictures: one measure each, so that every one has the scale that suits it.

use maud::{Markup, html};

use super::{Arm, Measure, Spread, number};
use crate::scale::{decimals, ticks};
use crate::svg::{Px, grid};
use crate::text::clip;

const WIDTH: f64 = 460.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 16.0;
const ARM_PX: f64 = 17.0;
const GAP_PX: f64 = 12.0;

/// How many times the smallest value the largest must be for a logarithmic scale.
const WIDE: f64 = 40.0;

/// What part of the largest value the smallest must be for a scale without zero.
const CLOSE: f64 = 0.7;

/// A straight or logarithmic scale over a measure's values.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// Covers the values, from zero where it is straight, unless they are all far from it and
    /// close to each other. Logarithmic where they are all above zero and far apart.
    pub fn over(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (mut lo, mut hi) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            lo = lo.min(value);
            hi = hi.max(value);
        }
        let log = lo > 0.0 && hi / lo >= WIDE;
        let (lo, hi) = match (log, lo <= hi) {
            (_, false) => (0.0, 1.0),
            (true, _) => (lo, hi),
            (false, _) if lo < hi && lo > CLOSE * hi => (lo, hi),
            (false, _) => (lo.min(0.0), hi.max(0.0)),
        };
        // A scale over a single value still has two ends.
        let hi = if hi > lo { hi } else { lo + 1.0 };
        Scale {
            lo,
            hi,
            from,
            to,
            log,
        }
    }

    /// As told, over just these values.
    pub fn between(lo: f64, hi: f64, log: bool, from: f64, to: f64) -> Scale {
        let hi = if hi > lo { hi } else { lo + lo.abs().max(1.0) };
        Scale {
            lo,
            hi,
            from,
            to,
            log,
        }
    }

    pub fn at(&self, value: f64) -> f64 {
        let part = match self.log {
            true => (value / self.lo).ln() / (self.hi / self.lo).ln(),
            false => (value - self.lo) / (self.hi - self.lo),
        };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values with their labels.
    pub fn ticks(&self, about: usize) -> Vec<(f64, String)> {
        if !self.log {
            let (step, ticks) = ticks(self.lo, self.hi, about);
            let decimals = decimals(step);
            let label = |v: f64| match v.abs() >= 1000.0 {
                true => crate::text::signed(v.round()),
                false => format!("{v:.decimals$}"),
            };
            return ticks.into_iter().map(|v| (v, label(v))).collect();
        }
        let decades = (self.lo.log10().floor() as i32)..=(self.hi.log10().ceil() as i32);
        let steps: &[f64] = match (self.hi / self.lo).log10() {
            wide if wide > 3.0 => &[1.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let values = decades.flat_map(|e| steps.iter().map(move |m| m * 10f64.powi(e)));
        values
            .filter(|v| (self.lo * 0.999..=self.hi * 1.001).contains(v))
            .map(|v| (v, plain(v)))
            .collect()
    }
}

/// 0.05, 2000: as few digits as there are.
fn plain(value: f64) -> String {
    match value >= 1000.0 {
        true => crate::text::signed(value),
        // Nought has no sign.
        false => format!("{}", (value * 1e9).round() / 1e9 + 0.0),
    }
}

/// For each group, the arms one below the other: every seed as a dot, the interval as a bar, the
/// median as a stroke across it.
pub fn rows(measure: &Measure, groups: &[(&str, Vec<&Arm>)]) -> Markup {
    let values = groups
        .iter()
        .flat_map(|(_, arms)| arms)
        .flat_map(|arm| arm.values(&measure.id))
        .map(|(_, value)| value);
    let scale = Scale::over(values, LEFT, WIDTH - RIGHT);
    let mut height = 0.0;
    let tops: Vec<f64> = groups
        .iter()
        .map(|(_, arms)| {
            let top = height + GAP_PX / 2.0;
            height += arms.len() as f64 * ARM_PX + GAP_PX;
            top
        })
        .collect();
    html! {
        svg viewBox=(format_args!("0 0 {WIDTH} {:.0}", height + 24.0)) role="img" aria-label=(measure.label) {
            @for (value, label) in scale.ticks(4) {
                @let x = scale.at(value);
                line.grid x1=(Px(x)) x2=(Px(x)) y1="0" y2=(Px(height)) {}
                text.tick x=(Px(x)) y=(Px(height + 16.0)) text-anchor="middle" { (label) }
            }
            @for ((name, arms), top) in groups.iter().zip(tops) {
                @let middle = top + arms.len() as f64 * ARM_PX / 2.0;
                text.lane x=(Px(LEFT - 9.0)) y=(Px(middle + 4.0)) text-anchor="end" { (clip(name, 14)) }
                @for (i, arm) in arms.iter().enumerate() {
                    (one(measure, name, arm, i, &scale, top + (i as f64 + 0.5) * ARM_PX))
                }
            }
        }
    }
}

fn one(measure: &Measure, group: &str, arm: &Arm, i: usize, scale: &Scale, y: f64) -> Markup {
    let Some(spread) = arm.spread(&measure.id) else {
        return html! { text.none x=(Px(LEFT + 4.0)) y=(Px(y + 4.0)) { "not applicable" } };
    };
    let [low, x, high] =
        [spread.low, spread.median, spread.high].map(|value| scale.at(value.shown()));
    html! {
        g.arm.{ "a" (i) } {
            title { (tip(&arm.name, group, measure, &spread)) }
            rect.range x=(Px(low - 1.0)) y=(Px(y - 4.5)) width=(Px(high - low + 2.0)) height="9" rx="2" {}
            @for (_, value) in arm.values(&measure.id) {
                circle.seed cx=(Px(scale.at(value))) cy=(Px(y)) r="2" {}
            }
            line.median x1=(Px(x)) x2=(Px(x)) y1=(Px(y - 7.0)) y2=(Px(y + 7.0)) {}
        }
    }
}

/// One line that says all of an arm's measure.
pub fn tip(arm: &str, under: &str, measure: &Measure, spread: &Spread) -> String {
    format!(
        "{arm}, {under}: {} {} {}, {} {} to {}, {} seeds",
        measure.label,
        spread.median,
        measure.unit,
        match spread.is_sure() {
            true => "95 % interval",
            false => "all values",
        },
        spread.low,
        spread.high,
        spread.n
    )
}

/// Two arms beside each other, a line for each seed that both have: what a change did to each.
pub fn pairs(measure: &Measure, left: (&str, &Arm), right: (&str, &Arm), colour: usize) -> Markup {
    const HEIGHT: f64 = 150.0;
    const TOP: f64 = 10.0;
    let values = |arm: &Arm| arm.values(&measure.id);
    let (before, after) = (values(left.1), values(right.1));
    let all = before.iter().chain(&after);
    let scale = Scale::over(all.map(|(_, v)| *v), HEIGHT, TOP);
    let (x0, x1) = (LEFT + 70.0, WIDTH - 100.0);
    let ticks = scale.ticks(4).into_iter();
    let both = before.iter().filter_map(|(seed, before)| {
        let (_, after) = after.iter().find(|(other, _)| other == seed)?;
        Some((seed, *before, *after))
    });
    html! {
        svg viewBox=(format_args!("0 0 {WIDTH} {:.0}", HEIGHT + 26.0)) role="img" aria-label=(measure.label) {
            (grid(LEFT, WIDTH - RIGHT, ticks.map(|(value, label)| (scale.at(value), label))))
            g.arm.{ "a" (colour) } {
                @for (seed, before, after) in both {
                    @let (y0, y1) = (scale.at(before), scale.at(after));
                    path.pair d=(format_args!("M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}")) {
                        title { "seed " (seed) ": " (number(before)) " to " (number(after)) " " (measure.unit) }
                    }
                    circle.seed cx=(Px(x0)) cy=(Px(y0)) r="2.4" {}
                    circle.seed cx=(Px(x1)) cy=(Px(y1)) r="2.4" {}
                }
                @for (x, (name, arm)) in [(x0, left), (x1, right)] {
                    @if let Some(spread) = arm.spread(&measure.id) {
                        @let y = scale.at(spread.median.shown());
                        line.median x1=(Px(x - 12.0)) x2=(Px(x + 12.0)) y1=(Px(y)) y2=(Px(y)) {}
                    }
                    text.lane x=(Px(x)) y=(Px(HEIGHT + 18.0)) text-anchor="middle" { (clip(name, 20)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_logarithmic_only_where_values_are_far_apart_and_above_zero() {
        assert!(!Scale::over([0.0, 1000.0], 0.0, 100.0).log);
        assert!(!Scale::over([10.0, 100.0], 0.0, 100.0).log);
        let log = Scale::over([1.0, 100.0], 0.0, 100.0);
        assert!(log.log);
        assert!((log.at(10.0) - 50.0).abs() < 1e-9);
        let straight = Scale::over([20.0, 50.0], 0.0, 100.0);
        assert_eq!((straight.at(0.0), straight.at(25.0)), (0.0, 50.0));
        assert_eq!(straight.at(50.0), 100.0);
        let close = Scale::over([96.0, 98.0, 100.0], 0.0, 100.0);
        assert_eq!((close.at(96.0), close.at(98.0)), (0.0, 50.0));
        // Nothing, one value and zero are no reason to divide by it.
        for values in [vec![], vec![0.0], vec![-1.0], vec![7.0]] {
            let scale = Scale::over(values.clone(), 0.0, 100.0);
            assert!(values.iter().all(|v| scale.at(*v).is_finite()), "{scale:?}");
            assert!(!scale.ticks(4).is_empty());
        }
    }

    #[test]
    fn ticks_are_round_and_within() {
        let labels = |scale: Scale| -> Vec<String> {
            scale.ticks(4).into_iter().map(|(_, label)| label).collect()
        };
        let log = Scale::between(50.0, 5000.0, true, 0.0, 100.0);
        assert_eq!(
            labels(log),
            ["50", "100", "200", "500", "1,000", "2,000", "5,000"]
        );
        let wide = Scale::between(0.001, 100.0, true, 0.0, 100.0);
        assert_eq!(labels(wide), ["0.001", "0.01", "0.1", "1", "10", "100"]);
        let straight = Scale::between(0.0, 1.0, false, 0.0, 100.0);
        assert_eq!(labels(straight), ["0.0", "0.5", "1.0"]);
    }
}
