//! Tests of the node as a whole.

mod judge;
mod sim;
mod simulated;
