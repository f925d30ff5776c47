//! Tests of the node as a whole: its protocol on a bench and in a simulated world, and real
//! processes on loopback.

mod abandoned;
mod bench;
mod catching_up;
mod cluster;
mod delivery;
mod hostile;
mod judge;
mod misbehaviour;
mod processes;
mod sim;
mod simulated;
mod unconfirmed;
