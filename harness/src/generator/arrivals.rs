//! When operations are due: a plan that depends on the seed alone, and not on how fast anybody
//! answers.
//!
//! Load that never varies meets few bugs: operations rarely overlap, and nothing ever queues. So
//! the plan goes through stretches of a second or more, in turn, and keeps its mean rate over them:
//!
//! ```text
//! even    .  . .   .  .. .  .  .    gaps between nothing and twice the mean
//! bursts     :::        :.:   ::    several at once, which workloads put on one key
//! quiet   .      .        .         a quarter of the rate
//! busy    . .. .... . .. ... ...    as long as the quiet before it, and makes up for it
//! ```

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How long a stretch is, in milliseconds.
const STRETCH_MS: RangeInclusive<u64> = 1_000..=3_000;
/// How many operations are due at once in a burst.
const BURST: RangeInclusive<u64> = 2..=8;
/// Shares of the mean rate.
const QUIET: f64 = 0.25;
const BUSY: f64 = 2.0 - QUIET;

/// How the load varies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Random gaps of one mean throughout.
    Even,
    /// Even stretches, bursts, quiet and busy ones, in turn.
    #[default]
    Varied,
}

impl Shape {
    pub const ALL: [Shape; 2] = [Shape::Even, Shape::Varied];

    pub fn word(self) -> &'static str {
        match self {
            Shape::Even => "even",
            Shape::Varied => "varied",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let named = Shape::ALL.into_iter().find(|shape| shape.word() == text);
        named.ok_or_else(|| "`even` or `varied`".into())
    }
}

/// One operation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Since the start of the phase.
    pub due: Duration,
    /// The number of the burst that it belongs to, if it is one of several at once.
    pub burst: Option<u64>,
}

/// Operations that are due one after the other, for ever.
///
/// They are drawn as if the rate never varied, a place for each on a line of operations, and the
/// line is then laid along the time, which passes more slowly in quiet stretches: so the mean is
/// kept however short a stretch is.
pub struct Arrivals {
    rng: ChaCha8Rng,
    /// Mean time between two.
    interval: Duration,
    shape: Shape,
    stretch: Stretch,
    /// Where on the line of operations the last one is.
    place: f64,
    /// What is left of a burst that is being given out.
    left: u64,
    due: Duration,
    bursts: u64,
}

/// A part of the time with a rate of its own.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    kind: Kind,
    from: Duration,
    lasts: Duration,
    /// Where on the line of operations it begins.
    place: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Even,
    Bursts,
    Quiet,
    Busy,
}

impl Kind {
    fn rate(self) -> f64 {
        match self {
            Kind::Even | Kind::Bursts => 1.0,
            Kind::Quiet => QUIET,
            Kind::Busy => BUSY,
        }
    }
}

impl Stretch {
    /// How many operations it holds.
    fn holds(&self, interval: Duration) -> f64 {
        self.kind.rate() * self.lasts.as_secs_f64() / interval.as_secs_f64()
    }

    fn next(&self, interval: Duration, rng: &mut ChaCha8Rng) -> Stretch {
        let kind = match self.kind {
            Kind::Even => Kind::Bursts,
            Kind::Bursts => Kind::Quiet,
            Kind::Quiet => Kind::Busy,
            Kind::Busy => Kind::Even,
        };
        Stretch {
            kind,
            from: self.from + self.lasts,
            lasts: match kind {
                Kind::Busy => self.lasts,
                _ => Duration::from_millis(rng.random_range(STRETCH_MS)),
            },
            place: self.place + self.holds(interval),
        }
    }
}

impl Arrivals {
    /// `per_second` on average.
    pub fn new(per_second: f64, shape: Shape, mut rng: ChaCha8Rng) -> Arrivals {
        Arrivals {
            interval: Duration::from_secs_f64(1.0 / per_second),
            shape,
            stretch: Stretch {
                kind: Kind::Even,
                from: Duration::ZERO,
                lasts: Duration::from_millis(rng.random_range(STRETCH_MS)),
                place: 0.0,
            },
            rng,
            place: 0.0,
            left: 0,
            due: Duration::ZERO,
            bursts: 0,
        }
    }

    /// When the operation is due that has this place on the line.
    fn lay(&mut self, place: f64) -> Duration {
        while self.shape == Shape::Varied
            && place >= self.stretch.place + self.stretch.holds(self.interval)
        {
            self.stretch = self.stretch.next(self.interval, &mut self.rng);
        }
        let within = (place - self.stretch.place) / self.stretch.kind.rate();
        self.stretch.from + self.interval.mul_f64(within)
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        if self.left == 0 {
            self.due = self.lay(self.place);
            self.left = match self.stretch.kind {
                Kind::Bursts => self.rng.random_range(BURST),
                _ => 1,
            };
            self.bursts += u64::from(self.left > 1);
            // Uniform between nothing and twice the mean.
            self.place += self.left as f64 * self.rng.random_range(0.0..2.0);
        }
        self.left -= 1;
        let in_burst = self.stretch.kind == Kind::Bursts;
        Some(Arrival {
            due: self.due,
            burst: in_burst.then_some(self.bursts),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn within(seconds: u64, per_second: f64, shape: Shape) -> Vec<Arrival> {
        let end = Duration::from_secs(seconds);
        let rng = Seed(3).stream("arrivals");
        Arrivals::new(per_second, shape, rng)
            .take_while(|arrival| arrival.due < end)
            .collect()
    }

    #[test]
    fn the_mean_rate_is_kept_whatever_the_shape_and_however_slow() {
        for shape in Shape::ALL {
            for (per_second, seconds) in [(100.0, 200), (0.5, 20_000), (20_000.0, 20)] {
                let n = within(seconds, per_second, shape).len() as f64;
                let wanted = per_second * seconds as f64;
                assert!(
                    (n - wanted).abs() < 0.05 * wanted,
                    "{shape}: {n} of {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_varied_load_has_bursts_and_stretches_that_are_quiet_and_busy() {
        let arrivals = within(200, 100.0, Shape::Varied);
        assert!(arrivals.is_sorted_by_key(|a| a.due));
        let in_bursts: Vec<&Arrival> = arrivals.iter().filter(|a| a.burst.is_some()).collect();
        let share = in_bursts.len() as f64 / arrivals.len() as f64;
        assert!((0.15..0.35).contains(&share), "{share}");
        for burst in in_bursts.chunk_by(|a, b| a.burst == b.burst) {
            assert!((2..=8).contains(&burst.len()));
            assert!(burst.iter().all(|a| a.due == burst[0].due));
        }
        let mut seconds = [0; 200];
        for arrival in &arrivals {
            seconds[arrival.due.as_secs() as usize] += 1;
        }
        assert!(seconds.iter().filter(|n| **n < 50).count() > 10);
        assert!(seconds.iter().filter(|n| **n > 150).count() > 10);
        let even = within(200, 100.0, Shape::Even);
        assert!(even.iter().all(|a| a.burst.is_none()));
        assert!(
            even.windows(2)
                .all(|w| w[1].due - w[0].due < Duration::from_millis(20))
        );
    }
}
