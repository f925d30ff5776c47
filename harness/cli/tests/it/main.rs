//! The product through its real binary.

mod certificates;
mod doubles;
mod edges;
mod experiments;
mod folders;
mod ground;
mod hiding;
mod histories;
mod hostile;
mod house;
mod input;
mod keeping;
mod machines;
mod matrix;
mod own_files;
mod pages;
mod replay;
mod runs;
mod shape;
mod ssh;
mod support;
mod survival;
mod terminal;
mod vagrant;
mod verdicts;
mod viewer;
