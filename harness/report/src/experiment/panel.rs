//! Small pictures: one measure each, so that every one has the scale that suits it.

use std::fmt::{self, Write};

use super::{Arm, Measure, Spread, number};
use crate::scale::{decimals, ticks};
use crate::text::{Esc, clip};

const WIDTH: f64 = 460.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 16.0;
const ARM_PX: f64 = 17.0;
const GAP_PX: f64 = 12.0;

/// How many times the smallest value the largest must be for a logarithmic scale.
const WIDE: f64 = 40.0;

/// What part of the largest value the smallest must be for a scale without nought.
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
    /// Covers the values, from nought where it is straight, unless they are all far from it and
    /// close to each other. Logarithmic where they are all above nought and far apart.
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
pub fn rows(out: &mut String, measure: &Measure, groups: &[(&str, Vec<&Arm>)]) -> fmt::Result {
    let values = groups
        .iter()
        .flat_map(|(_, arms)| arms)
        .flat_map(|arm| arm.values(&measure.id))
        .map(|(_, value)| value);
    let scale = Scale::over(values, LEFT, WIDTH - RIGHT);
    let height: f64 = groups
        .iter()
        .map(|(_, arms)| arms.len() as f64 * ARM_PX + GAP_PX)
        .sum();
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">",
        height + 24.0,
        Esc(&measure.label)
    )?;
    for (value, label) in scale.ticks(4) {
        let x = scale.at(value);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            height + 16.0
        )?;
    }
    let mut y = GAP_PX / 2.0;
    for (name, arms) in groups {
        writeln!(
            out,
            "<text class=\"lane\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 9.0,
            y + arms.len() as f64 * ARM_PX / 2.0 + 4.0,
            Esc(clip(name, 14))
        )?;
        for (i, arm) in arms.iter().enumerate() {
            one(out, measure, name, arm, i, &scale, y + ARM_PX / 2.0)?;
            y += ARM_PX;
        }
        y += GAP_PX;
    }
    writeln!(out, "</svg>")
}

fn one(
    out: &mut String,
    measure: &Measure,
    group: &str,
    arm: &Arm,
    i: usize,
    scale: &Scale,
    y: f64,
) -> fmt::Result {
    let Some(spread) = arm.spread(&measure.id) else {
        return writeln!(
            out,
            "<text class=\"none\" x=\"{:.1}\" y=\"{:.1}\">not applicable</text>",
            LEFT + 4.0,
            y + 4.0
        );
    };
    let (x0, x1) = (scale.at(spread.low.shown()), scale.at(spread.high.shown()));
    writeln!(
        out,
        "<g class=\"arm a{i}\"><title>{}</title>\
         <rect class=\"range\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"9\" rx=\"2\"/>",
        Esc(tip(&arm.name, group, measure, &spread)),
        x0 - 1.0,
        y - 4.5,
        x1 - x0 + 2.0
    )?;
    for (_, value) in arm.values(&measure.id) {
        writeln!(
            out,
            "<circle class=\"seed\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2\"/>",
            scale.at(value)
        )?;
    }
    let x = scale.at(spread.median.shown());
    writeln!(
        out,
        "<line class=\"median\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/></g>",
        y - 7.0,
        y + 7.0
    )
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
pub fn pairs(
    out: &mut String,
    measure: &Measure,
    left: (&str, &Arm),
    right: (&str, &Arm),
    colour: usize,
) -> fmt::Result {
    const HEIGHT: f64 = 150.0;
    const TOP: f64 = 10.0;
    let values = |arm: &Arm| arm.values(&measure.id);
    let all = values(left.1).into_iter().chain(values(right.1));
    let scale = Scale::over(all.map(|(_, v)| v), HEIGHT, TOP);
    let (x0, x1) = (LEFT + 70.0, WIDTH - 100.0);
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">",
        HEIGHT + 26.0,
        Esc(&measure.label)
    )?;
    for (value, label) in scale.ticks(4) {
        let y = scale.at(value);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0
        )?;
    }
    writeln!(out, "<g class=\"arm a{colour}\">")?;
    let after = values(right.1);
    for (seed, before) in values(left.1) {
        let Some((_, after)) = after.iter().find(|(other, _)| *other == seed) else {
            continue;
        };
        let (y0, y1) = (scale.at(before), scale.at(*after));
        writeln!(
            out,
            "<path class=\"pair\" d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\"><title>seed {seed}: {} to {} {}</title></path>\
             <circle class=\"seed\" cx=\"{x0:.1}\" cy=\"{y0:.1}\" r=\"2.4\"/>\
             <circle class=\"seed\" cx=\"{x1:.1}\" cy=\"{y1:.1}\" r=\"2.4\"/>",
            number(before),
            number(*after),
            Esc(&measure.unit)
        )?;
    }
    for (x, (name, arm)) in [(x0, left), (x1, right)] {
        if let Some(spread) = arm.spread(&measure.id) {
            let y = scale.at(spread.median.shown());
            writeln!(
                out,
                "<line class=\"median\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                x - 12.0,
                x + 12.0
            )?;
        }
        writeln!(
            out,
            "<text class=\"lane\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT + 18.0,
            Esc(clip(name, 20))
        )?;
    }
    writeln!(out, "</g></svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_logarithmic_only_where_values_are_far_apart_and_above_nought() {
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
        // Nothing, one value and nought are no reason to divide by it.
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
