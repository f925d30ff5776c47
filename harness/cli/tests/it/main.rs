//! The product through its real binary.

mod edges;
mod input;
mod runs;
mod support;
mod survival;
