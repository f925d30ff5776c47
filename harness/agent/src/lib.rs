//! The node side: supervises daemons and applies faults through an undo journal.
//!
//! [`protocol`] is what controller and agent say to each other, and all that a controller needs.
//! The rest is the agent itself: [`serve`] the session, `site` the node as it is held, [`fault`]
//! the mechanisms, [`ledger`] their list, with what is in force and how it is undone, [`service`]
//! who serves in a daemon's place, [`vdso`] and [`wallclock`] the two ways to be wrong about the
//! time, [`folder`] where all of it is written down. `harness/docs/agent.md` describes all of it.

pub mod door;
pub mod error;
pub mod fault;
pub mod files;
pub mod folder;
pub mod group;
pub mod journal;
pub mod ledger;
pub mod maelstrom;
mod mechanism;
pub mod nursery;
mod outlet;
pub mod probe;
pub mod protocol;
pub mod rootfs;
pub mod serve;
pub mod service;
mod site;
mod strain;
pub mod supervise;
pub mod tree;
pub mod user;
pub mod vdso;
pub mod wallclock;
pub mod watchdog;
