//! History in, analysis out.
//!
//! A [`Checker`] reads a [`history::History`] under a [`Budget`] and returns an [`Analysis`]. No
//! checker does I/O or reads a clock other than its budget's: the same history and a sufficient
//! budget give the same verdict.

pub mod agreement;
mod analysis;
pub mod append;
pub mod availability;
mod budget;
pub mod compose;
pub mod drawing;
pub mod linearizable;
pub mod set;
pub mod vacuity;
mod verdict;

pub use analysis::{Analysis, Anomaly, Figure};
pub use budget::{Budget, Exhausted, Meter};
pub use verdict::Verdict;

use history::History;

/// Judges one property of a history.
pub trait Checker: Send + Sync {
    /// The property's name: `linearizable`, `set`, `agreement`.
    fn name(&self) -> &str;

    /// Never panics on any history: what it cannot read it calls unknown, with the reason.
    fn check(&self, history: &History, budget: &Budget) -> Analysis;
}
