//! The product through its real binary.

mod edges;
mod experiments;
mod input;
mod runs;
mod support;
mod survival;
