//! A proof-of-work blockchain node with a key-value ledger.
//!
//! [`core`] is the protocol, without clock, disk or network.

pub mod core;
pub mod flaws;
