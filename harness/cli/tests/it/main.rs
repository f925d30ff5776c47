//! The product through its real binary.

mod edges;
