//! The node side: supervises daemons and applies faults through an undo journal.
//!
//! [`protocol`] is what controller and agent say to each other, and all that a controller needs.
//! The rest is the agent itself: [`serve`] the session, [`ledger`] what is in force and how it is
//! undone, [`fault`] the mechanisms, [`service`] who serves in a daemon's place, [`clock`] and
//! [`machine`] the two ways to be wrong about the time, [`folder`] where all of it is written down.
//! `harness/docs/agent.md` describes all of it.

mod claim;
pub mod clock;
pub mod door;
pub mod error;
pub mod fault;
pub mod files;
pub mod folder;
pub mod journal;
pub mod ledger;
pub mod machine;
pub mod nursery;
mod outlet;
pub mod probe;
pub mod protocol;
pub mod serve;
pub mod service;
pub mod supervise;
pub mod tree;
pub mod watchdog;
