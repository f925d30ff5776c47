//! A proof-of-work blockchain node with a key-value ledger.
//!
//! [`core`] is the protocol, without clock, disk or network; [`node`] drives it. The wire protocol
//! for clients is described in `harness/docs/chain.md`.

pub mod core;
mod event;
pub mod flaws;
pub mod http;
mod inspect;
mod link;
pub mod miner;
pub mod node;
pub mod params;
pub mod store;
pub mod transport;
