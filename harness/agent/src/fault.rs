//! The mechanisms of the faults, each beside its inverse.

pub mod cut;
pub(crate) mod dial;
pub mod kill;
mod looks;
pub mod packet;
pub mod pause;
pub(crate) mod reading;
pub mod vdso;
mod waits;
pub mod wallclock;
