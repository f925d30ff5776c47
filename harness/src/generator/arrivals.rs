//! When operations are due: a plan that depends on the seed alone, and not on how fast anybody
//! answers.
//!
//! Load that never varies meets few bugs: operations rarely overlap, and nothing ever queues. So the
//! plan goes through stretches of a second or more, in turn, and keeps its mean rate over them:
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
pub struct Arrivals {
    rng: ChaCha8Rng,
    /// Mean time between two.
    interval: Duration,
    shape: Shape,
    stretch: Stretch,
    /// Where the stretch ends.
    until: Duration,
    next: Duration,
    /// Of the burst that is being given out: its number, and how many are left of it.
    burst: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stretch {
    Even,
    Bursts,
    Quiet,
    Busy,
}

impl Arrivals {
    /// `per_second` on average.
    pub fn new(per_second: f64, shape: Shape, mut rng: ChaCha8Rng) -> Arrivals {
        let until = match shape {
            Shape::Even => Duration::MAX,
            Shape::Varied => stretch_length(&mut rng),
        };
        let mut arrivals = Arrivals {
            rng,
            interval: Duration::from_secs_f64(1.0 / per_second),
            shape,
            stretch: Stretch::Even,
            until,
            next: Duration::ZERO,
            burst: (0, 0),
        };
        arrivals.next = arrivals.gap(1.0);
        arrivals
    }

    /// Uniform between nothing and twice the mean.
    fn gap(&mut self, operations: f64) -> Duration {
        let drawn: f64 = self.rng.random_range(0.0..2.0);
        self.interval.mul_f64(drawn * operations)
    }

    /// Goes on to the stretch that the next operation is in.
    fn advance(&mut self) {
        while self.shape == Shape::Varied && self.next >= self.until {
            let from = self.until;
            let before = self.stretch;
            self.stretch = match before {
                Stretch::Even => Stretch::Bursts,
                Stretch::Bursts => Stretch::Quiet,
                Stretch::Quiet => Stretch::Busy,
                Stretch::Busy => Stretch::Even,
            };
            self.until = match self.stretch {
                // As long as what it makes up for.
                Stretch::Busy => from + self.last_length,
                _ => from + stretch_length(&mut self.rng),
            };
        }
    }
}
