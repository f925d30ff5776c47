//! Whole pages from made-up runs.

mod fabricated;
mod page;
mod wellformed;
