//! Tests of the node as a whole: its protocol in a simulated world, and real processes on loopback.

mod judge;
mod sim;
mod simulated;
