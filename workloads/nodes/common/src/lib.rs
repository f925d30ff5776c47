//! What the nodes of our own have in common, below any protocol: how bytes are framed, which clocks
//! there are, the clients' HTTP, the data folder, flags and the log line.

pub mod clocks;
pub mod flags;
pub mod folder;
pub mod frame;
pub mod http;
pub mod log;
pub mod random;
pub mod signals;
#[cfg(feature = "testing")]
pub mod testing;
