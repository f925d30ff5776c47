//! What the nodes of our own have in common: all of a node but its protocol.
//!
//! [`program`] is the command line, [`runtime`] the loop that drives a protocol, [`event`] what
//! that loop hears, [`disk`] the thread that writes, [`service`] and [`http`] the clients' side.
//! Below them lie frames, clocks, the data folder, flags and the log line.

pub mod clocks;
pub mod disk;
pub mod event;
pub mod flags;
pub mod flaws;
pub mod folder;
pub mod frame;
pub mod http;
pub mod log;
pub mod program;
pub mod random;
pub mod runtime;
pub mod service;
pub mod signals;
#[cfg(feature = "testing")]
pub mod testing;
