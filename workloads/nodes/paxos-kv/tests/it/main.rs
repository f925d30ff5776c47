//! Tests of the node as a whole: its protocol in a simulated world, and real processes on loopback.

mod cluster;
mod judge;
mod model;
mod processes;
mod scripted;
mod sim;
mod simulated;
