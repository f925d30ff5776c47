//! Streams: elements that are put behind each other, each at a position, and clients that follow
//! them. A change feed is one stream of everything, and a log has one for each key:
//!
//! ```text
//! watch   write [k v]       [k v] is in the one stream, at the position that is its `version`
//!         watch nil         [from upto [[position [k v]] ...]]: all behind `from` up to `upto`
//! log     send [k v]        v is in stream k, at the position that is its `version`
//!         poll [k first]    [k [[position v] ...]]: all from `first` up to the last of them
//! ```
//!
//! Positions grow and may have gaps that no element has. What is promised, whatever fails: an
//! answer tells everything that is in its range, in order, once, and all answers tell the same.
//! That a client sees an element soon is not promised, so nothing is wrong with what comes late. A
//! log does promise that what is there stays there: when nothing is written any more, an answer
//! that there is nothing from a position on is wrong if something was known to be there, and nobody
//! is told it then.

mod judge;
mod read;

use history::History;

use self::read::Shape;
use crate::figure::Gauge;
use crate::{Analysis, Budget, Checker};

const ACKNOWLEDGED: Gauge = Gauge::count("acknowledged elements");
const ANSWERS: Gauge = Gauge::count("answers");
const DELIVERED: Gauge = Gauge::count("delivered elements");
const UNSEEN: Gauge = Gauge::count("acknowledged elements that nobody was told");

pub(crate) const GAUGES: &[Gauge] = &[ACKNOWLEDGED, ANSWERS, DELIVERED, UNSEEN];

/// Judges `watch`es beside `write`s, or `poll`s beside `send`s. Every element is written once.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    shape: Shape,
}

impl Streams {
    /// One stream of all keys' changes.
    pub fn watch() -> Streams {
        Streams {
            shape: Shape::Watch,
        }
    }

    /// A stream for each key.
    pub fn log() -> Streams {
        Streams { shape: Shape::Log }
    }
}

impl Checker for Streams {
    fn name(&self) -> &str {
        self.shape.name()
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match judge::judge(self.shape, history, &mut budget.start()) {
            Ok(analysis) => analysis,
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
