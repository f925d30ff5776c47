//! The agent as a controller meets it: the program, on stdio, in namespaces of its own.

mod alone;
mod death;
mod doubles;
mod faults;
mod folder;
mod group;
mod maelstrom;
mod property;
mod resume;
mod session;
mod sight;
mod watchdog;
