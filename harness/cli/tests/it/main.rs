//! The product through its real binary.

mod edges;
mod experiments;
mod files;
mod hostile;
mod input;
mod machines;
mod runs;
mod ssh;
mod support;
mod survival;
mod terminal;
mod vagrant;
mod verdicts;
