//! Fault families and the schedules that are drawn from them.
//!
//! A [`schedule::Schedule`] is drawn from a seed ([`schedule::draw`]) or read from a file
//! ([`schedule::Schedule::load`]), and planned for a run ([`schedule::Schedule::plan`]). What there
//! is to be drawn is one list, [`FAMILIES`]. A family is a file that says all there is to say about
//! it ([`Family`]); everything else walks these descriptions and names no family. What the agent
//! does (mechanism) is asked for in its protocol; whom, when and how much (policy) is decided here,
//! and so is what counts as evidence.

mod admin;
mod aim;
mod apply;
mod ask;
mod catalogue;
mod clock;
mod daemons;
mod dice;
mod family;
mod figure;
mod kill;
mod machine;
mod missing;
mod packet;
mod partition;
mod pause;
mod probes;
mod reach;
pub mod schedule;
mod sights;
mod targets;

pub use aim::{Aim, WHO, Who};
pub use catalogue::{FAMILIES, family, gentle};
pub use family::{Family, Grip, Need, Reach, Shape, What};
pub use figure::{Drawn, Figure, Unit};
pub use missing::{Missing, missing};
pub use targets::{Grudge, Targets};
