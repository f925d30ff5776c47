//! What is asked of a system, and the systems.
//!
//! Start with [`interface`]: what workloads may ask, and systems may offer. A [`Workload`] is a
//! generator, a translation of its operations into calls of an interface, and checkers;
//! [`workload`] lists them. [`systems`] lists the systems that can be set up by name, and
//! [`scenario`] reads the files that put one of each together with a fault and an expected verdict.

pub mod catalogue;
pub mod chain_watch;
#[cfg(test)]
mod fake;
pub mod http;
pub mod image;
pub mod interface;
pub mod leader_watch;
pub mod params;
pub mod scenario;
pub mod systems;
pub mod workload;

mod append;
mod bank;
mod cas_register;
mod counter;
mod kv;
mod lease;
mod ledger;
mod lock;
mod objects;
mod queue;
mod recipes;
mod register;
mod registers;
mod set;
mod streams;
mod txn;
mod unique_ids;

pub use workload::Workload;
