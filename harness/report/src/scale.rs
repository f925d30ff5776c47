//! From quantities to pixels: time axes, straight and stretched, a logarithmic scale, and ticks.

use history::Time;

/// A time axis of straight pieces between knots.
///
/// The charts use one piece. The picture of an anomaly cannot: a read of 2 ms that contradicts a
/// write of 40 s before would be a hair on a straight axis. There, long idle spans are shortened,
/// and the drawing says where. Order is kept exactly, which is what a contradiction rests on.
#[derive(Clone, Debug)]
pub struct TimeAxis {
    knots: Vec<(u64, f64)>,
    /// Spans drawn shorter than the rest of the axis would draw them.
    shortened: Vec<(Time, Time)>,
}

/// Narrowest a span between two marked moments may be drawn, in pixels: wide enough to see which
/// comes first.
const SEEN_PX: f64 = 22.0;

/// Bounds on a span's width in a stretched axis, in units of the typical operation's width.
const STRETCH: (f64, f64) = (0.35, 2.6);

impl TimeAxis {
    pub fn linear(from: Time, to: Time, x0: f64, x1: f64) -> TimeAxis {
        TimeAxis {
            knots: vec![(from.0, x0), (to.0.max(from.0 + 1), x1)],
            shortened: Vec::new(),
        }
    }

    /// An axis over `moments` (in order, at least two different) on which each span between two of
    /// them can be seen. Straight if that is enough; otherwise spans are drawn true to scale only
    /// around `typical_ns`, and those much longer are shortened.
    pub fn stretched(moments: &[Time], typical_ns: f64, x0: f64, x1: f64) -> TimeAxis {
        let mut moments: Vec<u64> = moments.iter().map(|t| t.0).collect();
        moments.dedup();
        let (Some(&first), Some(&last)) = (moments.first(), moments.last()) else {
            return TimeAxis::linear(Time(0), Time(1), x0, x1);
        };
        let spans = || {
            moments
                .windows(2)
                .map(|w| (w[0], w[1], (w[1] - w[0]) as f64))
        };
        let shortest = spans().map(|s| s.2).fold(f64::INFINITY, f64::min);
        if shortest / (last - first).max(1) as f64 * (x1 - x0) >= SEEN_PX || moments.len() < 3 {
            return TimeAxis::linear(Time(first), Time(last), x0, x1);
        }
        let width = |ns: f64| (ns / typical_ns.max(1.0)).clamp(STRETCH.0, STRETCH.1);
        let total: f64 = spans().map(|s| width(s.2)).sum();
        let mut knots = vec![(first, x0)];
        let mut shortened = Vec::new();
        let mut x = x0;
        for (from, to, ns) in spans() {
            x += width(ns) / total * (x1 - x0);
            knots.push((to, x));
            // Up to twice too short is a matter of taste; beyond that the reader must be told.
            if ns / typical_ns.max(1.0) > 2.0 * STRETCH.1 {
                shortened.push((Time(from), Time(to)));
            }
        }
        // Sums of fractions miss the end by a hair.
        knots.last_mut().expect("there are at least three").1 = x1;
        TimeAxis { knots, shortened }
    }

    /// The x of a moment; moments outside lie on the ends.
    pub fn at(&self, t: Time) -> f64 {
        let after = self.knots.partition_point(|k| k.0 <= t.0);
        match (
            after.checked_sub(1).map(|i| self.knots[i]),
            self.knots.get(after),
        ) {
            (None, _) => self.knots[0].1,
            (Some((_, x)), None) => x,
            (Some((t0, x0)), Some(&(t1, x1))) => {
                x0 + (t.0 - t0) as f64 / (t1 - t0) as f64 * (x1 - x0)
            }
        }
    }

    pub fn from(&self) -> Time {
        Time(self.knots[0].0)
    }

    pub fn to(&self) -> Time {
        Time(self.knots[self.knots.len() - 1].0)
    }

    pub fn left(&self) -> f64 {
        self.knots[0].1
    }

    pub fn right(&self) -> f64 {
        self.knots[self.knots.len() - 1].1
    }

    pub fn is_linear(&self) -> bool {
        self.knots.len() == 2
    }

    pub fn shortened(&self) -> &[(Time, Time)] {
        &self.shortened
    }

    /// Moments to label, with their labels in seconds. On a straight axis round numbers; on a
    /// stretched one the knots, where they leave room for it.
    pub fn ticks(&self, about: usize) -> Vec<(Time, String)> {
        if self.is_linear() {
            let (lo, hi) = (self.from().as_secs_f64(), self.to().as_secs_f64());
            // Files without times are a few microseconds long.
            let (unit, scale) = match hi {
                hi if hi < 1e-6 => ("ns", 1e9),
                hi if hi < 1e-3 => ("µs", 1e6),
                _ => ("s", 1.0),
            };
            let (step, ticks) = ticks(lo * scale, hi * scale, about);
            let decimals = decimals(step);
            let label = |t: f64| {
                let at = Time((t / scale * 1e9).round() as u64);
                (at, format!("{t:.decimals$} {unit}"))
            };
            return ticks.into_iter().map(label).collect();
        }
        let close = self.knots.windows(2).any(|w| w[1].0 - w[0].0 < 1_000_000);
        let decimals = if close { 6 } else { 3 };
        let room = 7.0 * (decimals as f64 + 7.0);
        let mut end = f64::NEG_INFINITY;
        let mut out = Vec::new();
        for &(ns, x) in &self.knots[1..self.knots.len() - 1] {
            if x - end >= room {
                out.push((Time(ns), format!("{:.decimals$} s", ns as f64 / 1e9)));
                end = x;
            }
        }
        out
    }
}

/// Round numbers in `lo..=hi`, about `about` of them, and the step between them: 1, 2 or 5 times a
/// power of ten.
pub fn ticks(lo: f64, hi: f64, about: usize) -> (f64, Vec<f64>) {
    let rough = (hi - lo) / about.max(1) as f64;
    if rough.is_nan() || rough <= 0.0 || !rough.is_finite() {
        return (1.0, vec![lo]);
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let first = (lo / step - 1e-9).ceil() as i64;
    let last = (hi / step + 1e-9).floor() as i64;
    (step, (first..=last).map(|i| i as f64 * step).collect())
}

/// Digits after the point that tell multiples of `step` apart.
pub fn decimals(step: f64) -> usize {
    (-(step.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize
}

/// A logarithmic scale over whole powers of ten.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    lo: f64,
    hi: f64,
    y_lo: f64,
    y_hi: f64,
}

impl Log {
    /// Covers `min..=max` by whole decades; `y_lo` is where the smallest is drawn.
    pub fn new(min: f64, max: f64, y_lo: f64, y_hi: f64) -> Log {
        let lo = min.max(1.0).log10().floor();
        let hi = max.max(1.0).log10().ceil().max(lo + 1.0);
        Log { lo, hi, y_lo, y_hi }
    }

    pub fn at(&self, v: f64) -> f64 {
        let part = (v.max(1.0).log10().clamp(self.lo, self.hi) - self.lo) / (self.hi - self.lo);
        self.y_lo + part * (self.y_hi - self.y_lo)
    }

    /// The powers of ten.
    pub fn decades(&self) -> impl Iterator<Item = f64> {
        (self.lo as i32..=self.hi as i32).map(|e| 10f64.powi(e))
    }
}

/// Puts each interval (in order of its start) on the first lane whose last interval has ended.
pub fn lanes(intervals: &[(f64, f64)]) -> Vec<usize> {
    let mut ends: Vec<f64> = Vec::new();
    intervals
        .iter()
        .map(
            |&(start, end)| match ends.iter().position(|e| *e <= start) {
                Some(lane) => {
                    ends[lane] = end;
                    lane
                }
                None => {
                    ends.push(end);
                    ends.len() - 1
                }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_linear_axis_maps_its_ends_and_clamps_beyond() {
        let axis = TimeAxis::linear(Time(10), Time(20), 100.0, 200.0);
        for (t, x) in [
            (0, 100.0),
            (10, 100.0),
            (15, 150.0),
            (20, 200.0),
            (99, 200.0),
        ] {
            assert_eq!(axis.at(Time(t)), x);
        }
        assert_eq!(axis.at(Time::MAX), 200.0);
    }

    #[test]
    fn an_axis_of_no_length_does_not_divide_by_zero() {
        let axis = TimeAxis::linear(Time(5), Time(5), 0.0, 10.0);
        assert_eq!(axis.at(Time(5)), 0.0);
        assert!(axis.at(Time(6)).is_finite());
    }

    #[test]
    fn operations_far_apart_can_still_be_told_apart() {
        // A write of 4 ms, one of 5 ms 2 s later, and a read of 2 ms 7 s after that.
        let moments = [0, 4, 2300, 2305, 9100, 9102].map(|ms| Time(ms * MS));
        let axis = TimeAxis::stretched(&moments, 3.4e6, 0.0, 1000.0);
        let xs: Vec<f64> = moments.iter().map(|t| axis.at(*t)).collect();
        assert_eq!((xs[0], xs[5]), (0.0, 1000.0));
        for pair in xs.windows(2) {
            assert!(pair[1] - pair[0] > SEEN_PX, "{xs:?}");
        }
        let cut = [(4, 2300), (2305, 9100)].map(|(a, b)| (Time(a * MS), Time(b * MS)));
        assert_eq!(axis.shortened(), cut);
    }

    #[test]
    fn an_axis_stays_straight_where_that_is_enough() {
        let moments = [0, 10, 20, 40].map(|ms| Time(ms * MS));
        let axis = TimeAxis::stretched(&moments, 10e6, 0.0, 1000.0);
        assert!(axis.is_linear());
        assert_eq!(axis.at(Time(10 * MS)), 250.0);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            ticks(0.0, 60.0, 12),
            (5.0, (0..=12).map(|i| i as f64 * 5.0).collect())
        );
        assert_eq!(ticks(3.0, 11.0, 4), (2.0, vec![4.0, 6.0, 8.0, 10.0]));
        assert_eq!(ticks(7.0, 7.0, 4), (1.0, vec![7.0]));
        let (step, values) = ticks(0.0, 0.3, 3);
        assert!(
            (step - 0.1).abs() < 1e-12 && values.len() == 4,
            "{values:?}"
        );
    }

    #[test]
    fn decimals_suit_the_step() {
        for (step, want) in [
            (10.0, 0),
            (1.0, 0),
            (0.5, 1),
            (0.1, 1),
            (0.02, 2),
            (0.001, 3),
        ] {
            assert_eq!(decimals(step), want, "{step}");
        }
    }

    #[test]
    fn tick_labels_of_a_time_axis_are_seconds() {
        let axis = TimeAxis::linear(Time(0), Time(1_000 * MS), 0.0, 1.0);
        let labels: Vec<String> = axis.ticks(2).into_iter().map(|t| t.1).collect();
        assert_eq!(labels, ["0.0 s", "0.5 s", "1.0 s"]);
        let short = TimeAxis::linear(Time(0), Time(20_000), 0.0, 1.0);
        let ticks = [
            (Time(0), "0 µs".to_string()),
            (Time(20_000), "20 µs".to_string()),
        ];
        assert_eq!(short.ticks(1), ticks);
    }

    #[test]
    fn a_log_scale_covers_whole_decades() {
        let log = Log::new(2e6, 5e8, 100.0, 0.0);
        assert_eq!(log.decades().collect::<Vec<_>>(), [1e6, 1e7, 1e8, 1e9]);
        assert_eq!(log.at(1e6), 100.0);
        assert_eq!(log.at(1e9), 0.0);
        assert!((log.at(1e7) - 66.666).abs() < 0.01);
        // Zero and values beyond the ends stay in the picture.
        assert_eq!(log.at(0.0), 100.0);
        assert_eq!(log.at(1e12), 0.0);
    }

    #[test]
    fn lanes_never_hold_two_at_once() {
        assert_eq!(
            lanes(&[(0.0, 5.0), (1.0, 2.0), (2.0, 9.0), (5.0, 6.0)]),
            [0, 1, 1, 0]
        );
        assert_eq!(lanes(&[]), Vec::<usize>::new());
    }
}
