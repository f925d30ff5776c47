//! The figures of a fault: how far, how much, how often. Each is described once, where its family
//! is, and is drawn, read, written, bounded and listed by that description.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use harness::units::{write_delta, write_duration, write_share};

use crate::dice::Dice;

pub const MILLISECOND: i64 = 1_000_000;
pub const SECOND: i64 = 1_000 * MILLISECOND;

/// One figure of a shape. Values are whole numbers of the unit's smallest parts.
pub struct Figure {
    /// In a schedule's file.
    pub key: &'static str,
    pub unit: Unit,
    /// As a file has it.
    pub example: &'static str,
    /// What it is where a file leaves it out; none: a file has it.
    pub default: Option<i64>,
    pub drawn: Drawn,
    /// Smallest parts in one of what is drawn.
    pub grain: i64,
    /// Makes what was drawn fit a fault that lasts so many milliseconds; in grains.
    pub fit: fn(i64, u64) -> i64,
    /// A smaller magnitude cannot be seen. 0: it may be nothing.
    pub least: i64,
    pub allowed: RangeInclusive<i64>,
    /// What is said of a value that is not allowed.
    pub otherwise: &'static str,
}

/// What a figure's numbers mean, and how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, either way: `-30s`.
    Delta,
    /// Nanoseconds: `500ms`.
    Span,
    /// Millionths: `20%`.
    Share,
    /// A bare number; its unit is in the key.
    Number,
}

/// How a figure is drawn, in grains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// Its order of magnitude first: as often between 1 and 2 as between 1,000 and 2,000.
    Magnitude(RangeInclusive<u64>),
    /// The same, and either way.
    EitherWay(RangeInclusive<u64>),
    Evenly(RangeInclusive<u64>),
    /// In percent of the fault's length in milliseconds.
    PercentOfLength(RangeInclusive<u64>),
    /// In percent of the figure before it.
    PercentOfLast(RangeInclusive<u64>),
}

impl Figure {
    /// `last` is the figure before it, in smallest parts.
    pub(crate) fn draw(&self, dice: &mut Dice, lasts_ms: u64, last: Option<i64>) -> i64 {
        let whole = |n: u64| i64::try_from(n).expect("the tables' figures are small");
        let grains = match &self.drawn {
            Drawn::Magnitude(range) => whole(dice.magnitude(range.clone())),
            Drawn::EitherWay(range) => {
                let magnitude = whole(dice.magnitude(range.clone()));
                if dice.coin() { magnitude } else { -magnitude }
            }
            Drawn::Evenly(range) => whole(dice.within(range.clone())),
            Drawn::PercentOfLength(percent) => whole(lasts_ms * dice.within(percent.clone()) / 100),
            Drawn::PercentOfLast(percent) => {
                let last = last.unwrap_or_default() / self.grain;
                last * whole(dice.within(percent.clone())) / 100
            }
        };
        (self.fit)(grains, lasts_ms) * self.grain
    }

    /// What is wrong with a value, whatever the others are.
    pub(crate) fn check(&self, value: i64) -> Result<(), Wrong> {
        let wrong = |message| Err((self.key, message));
        if value == 0 && self.least > 0 {
            return wrong(format!("{} of nothing does nothing", self.key));
        }
        if !self.allowed.contains(&value) {
            return wrong(self.otherwise.to_string());
        }
        if value.unsigned_abs() < self.least.unsigned_abs() {
            let (value, least) = (self.unit.write(value), self.unit.write(self.least));
            let least = least.trim_start_matches('+');
            return wrong(format!(
                "{value} is too little to be seen: {least} is the least"
            ));
        }
        Ok(())
    }

    /// What may be drawn, for people: `10ms to 1h either way`.
    pub fn range(&self) -> String {
        let ends = |range: &RangeInclusive<u64>| {
            let unit = match self.unit {
                Unit::Delta => Unit::Span,
                unit => unit,
            };
            let end = |n: u64| unit.write(i64::try_from(n).unwrap_or(i64::MAX) * self.grain);
            format!("{} to {}", end(*range.start()), end(*range.end()))
        };
        let percent =
            |range: &RangeInclusive<u64>| format!("{} to {}%", range.start(), range.end());
        match &self.drawn {
            Drawn::Magnitude(range) | Drawn::Evenly(range) => ends(range),
            Drawn::EitherWay(range) => format!("{} either way", ends(range)),
            Drawn::PercentOfLength(range) => format!("{} of the fault's length", percent(range)),
            Drawn::PercentOfLast(range) => format!("{} of the figure before it", percent(range)),
        }
    }
}

impl Unit {
    /// As people write it, without quotes.
    pub fn write(self, value: i64) -> String {
        match self {
            Unit::Delta => write_delta(value),
            Unit::Span => write_duration(span(value)),
            Unit::Share => write_share(u32::try_from(value).unwrap_or_default()),
            Unit::Number => value.to_string(),
        }
    }

    /// Whether a file has it in quotes.
    pub fn is_text(self) -> bool {
        self != Unit::Number
    }
}

/// A figure in nanoseconds; a negative one is none.
pub fn span(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// By key, within a shape.
impl PartialEq for Figure {
    fn eq(&self, other: &Figure) -> bool {
        self.key == other.key
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// A key of a schedule's file, and what is wrong with its value.
pub type Wrong = (&'static str, String);

/// What is drawn fits as it is.
pub const fn as_drawn(grains: i64, _: u64) -> i64 {
    grains
}
