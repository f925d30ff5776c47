//! Tests of the node as a whole: its protocol in a simulated world, and real processes on loopback.

mod cluster;
mod hostile;
mod judge;
mod processes;
mod sim;
mod simulated;
