//! The mechanisms of the faults, each beside its inverse.

pub mod clock;
pub mod cut;
mod dial;
pub mod kill;
pub mod packet;
pub mod pause;
mod waits;
pub mod wall;
