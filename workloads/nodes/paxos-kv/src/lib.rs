//! A replicated key-value node: Multi-Paxos over real sockets and a real disk.
//!
//! [`core`] is the protocol without clock, disk or network; [`node`] drives it. The wire protocol
//! for clients is described in `harness/docs/paxos-kv.md`.

pub mod birth;
pub mod core;
mod event;
pub mod flaws;
pub mod http;
mod inspect;
pub mod node;
pub mod params;
mod saver;
pub mod snapshot;
pub mod trace;
pub mod transport;
pub mod unreliable;
pub mod wal;
