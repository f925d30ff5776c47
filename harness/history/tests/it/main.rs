//! The readers from outside.

mod memory;
