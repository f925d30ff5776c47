//! The node side: supervises daemons and applies faults through an undo journal.

pub mod protocol;
