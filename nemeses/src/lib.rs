//! Fault families and the schedules that are drawn from them.
//!
//! A [`schedule::Schedule`] is drawn from a seed ([`schedule::draw`]) or read from a file
//! ([`schedule::Schedule::load`]), and planned for a run ([`schedule::Schedule::plan`]). What there is to be drawn is
//! one table, [`FAMILIES`]. A family is a file: [`partition`], [`pause`], [`kill`], [`clock`],
//! [`packet`], [`machine`]. What the agent does (mechanism) is asked for in its protocol; whom, when and how much
//! (policy) is decided here, and so is what counts as evidence.

mod apply;
pub mod clock;
pub mod kill;
pub mod machine;
pub mod packet;
pub mod partition;
pub mod pause;
mod probes;
mod reach;
mod registry;
pub mod schedule;
mod stamps;
mod targets;
pub mod units;

pub use probes::Grudge;
pub use registry::{FAMILIES, Family, Listing, Missing, Need, Shape, WHO, missing};
pub use targets::Targets;
