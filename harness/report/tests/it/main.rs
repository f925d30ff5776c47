//! Whole pages from made-up runs.

mod fabricated;
mod page;
mod pictures;
mod wellformed;
