//! History in, analysis out.
//!
//! A [`Checker`] reads a [`history::History`] under a [`Budget`] and returns an [`Analysis`]. No
//! checker does I/O or reads a clock other than its budget's: the same history and a sufficient
//! budget give the same verdict.
//!
//! | checker | judges operations | asks |
//! | --- | --- | --- |
//! | [`Registers`](linearizable::Registers) | `read` `write` `cas` | is there an order that explains every answer? |
//! | [`Guarantees`](guarantees::Guarantees) | the same | if there is none, what holds instead? |
//! | [`Texts`](linearizable::Texts) | `get` `put` `append` | the same, of texts that grow |
//! | [`GrowOnlySet`](set::GrowOnlySet) | `add` `read` | the same, of a set that is read whole |
//! | [`Objects`](objects::Objects) | of queues, stacks, sets by element, locks, leases, counters, ids | the same of each; see there |
//! | [`Scripted`](scripted::Scripted) | any | the same of an object that a [`Script`](script::Script) describes |
//! | [`ListAppend`](transactions::ListAppend) | `txn` | how isolated are transactions on lists? |
//! | [`RwRegister`](transactions::RwRegister) | `txn` | the same, of registers |
//! | [`Bank`](bank::Bank) | `transfer` `read` | is money neither made nor lost, and every balance explained? |
//! | [`Agreement`](agreement::Agreement) | `log` `trace` | one value a slot, ballots kept, one lease at a time? |
//! | [`Replicas`](replicas::Replicas) | `replica` | do nodes that applied the same hold the same? |
//! | [`Chain`](chain::Chain) | `head`, and what clients were answered | common prefix, growth, quality, persistence, liveness of a blockchain |
//! | [`Vacuity`](vacuity::Vacuity) | all, and faults | did the run test anything? |
//! | [`Completeness`](completeness::Completeness) | all, and what the harness says of the run | did it come to its end? |
//! | [`Recovery`](recovery::Recovery) | the same | did every node serve again after the last heal? |
//! | [`Crashes`](crashes::Crashes) | the same | did a daemon end by itself? |
//! | [`Availability`](availability::Availability) | all, and faults | how much was served, and how soon after faults? |
//! | [`Streams`](streams::Streams) | `write` `watch`, `send` `poll` | is all told, in order, once? |
//! | [`Staleness`](staleness::Staleness) | `read` `write` | how old was what was read? |
//!
//! [`Choice`](choice::Choice) tells by a history's operations which of them to ask. What they say
//! need not be believed: [`verify`] replays the order that explains a valid history, and [`refute`]
//! tries every order of the few operations that are said to have none.
//!
//! ```
//! use checkers::linearizable::Registers;
//! use checkers::{Budget, Verdict, compose, drawing};
//!
//! let history = drawing::history("
//!     P0  |-write 1-|  |-write 2-|
//!     P1                            |-read 1-|
//! ").unwrap();
//! let analyses = compose::check_all(&[Box::new(Registers::single())], &history, &Budget::default());
//! assert_eq!(compose::overall(&analyses), Verdict::Invalid);
//! assert_eq!(analyses[0].anomalies[0].kind, "stale read");
//! ```

mod accounts;
pub mod agreement;
mod analysis;
pub mod availability;
pub mod bank;
mod certificate;
pub mod chain;
pub mod choice;
pub mod completeness;
pub mod compose;
mod consistency;
mod counts;
pub mod crashes;
pub mod drawing;
mod figure;
mod findings;
pub mod gauges;
mod guarantee;
pub mod guarantees;
pub mod keyed;
pub mod lateness;
pub mod linearizable;
mod model;
pub mod models;
pub mod objects;
pub mod picture;
mod prefix;
mod proof;
mod ranks;
pub mod recovery;
mod refutation;
pub mod replicas;
pub mod role;
pub mod script;
pub mod scripted;
pub mod set;
#[cfg(test)]
#[path = "../tests/it/splitmix.rs"]
mod splitmix;
pub mod staleness;
pub mod streams;
mod threads;
pub mod transactions;
pub mod vacuity;
mod verdict;

pub use accounts::{Account, Accounts, Explained, recount};
pub use analysis::{Analysis, Anomaly};
pub use certificate::{Certificate, Order, Terms, replay, verify};
pub use figure::{Better, Figure, Gauge, Part};
pub use history::{Budget, Exhausted, Meter};
pub use proof::{Proof, Shown};
pub use refutation::{Core, Doubt, Refutation, Stretch, confirmed, refute};
pub use verdict::Verdict;

use history::History;

/// Judges one property of a history.
pub trait Checker: Send + Sync {
    /// The property's name: `linearizable`, `set`, `agreement`.
    fn name(&self) -> &str;

    /// Never panics on any history: what it cannot read it calls unknown, with the reason.
    fn check(&self, history: &History, budget: &Budget) -> Analysis;

    /// What it asks, if its verdict can be shown to others ([`choice::Choice::prove`]).
    fn asks(&self) -> Option<model::Choice> {
        None
    }
}
