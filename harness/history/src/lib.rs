//! A run at rest: what happened, in the order in which it was seen, and where it is kept.
//!
//! Start with [`Event`] and [`History`]; [`Op`] is an invocation joined to its completion;
//! [`fault`] and [`mark`] read back what the harness itself has to say; [`jsonl`] is the stored
//! form and [`store`] the folder of a run. A [`Budget`] limits what reading may cost, and then what
//! judging may. Nothing here is asynchronous, and nothing judges.

mod budget;
pub mod columns;
pub mod edn;
mod event;
pub mod fault;
pub mod file;
pub mod foreign;
pub mod frames;
pub mod json;
pub mod mark;
pub mod offered;
mod op;
pub mod order;
pub mod sort;
mod value;
pub mod word;
pub mod wording;

pub mod jsonl;
pub mod store;

pub use budget::{Budget, Exhausted, Meter};
pub use event::{Event, Kind, Process, Time};
pub use op::{History, Malformed, OBSERVATIONS, Op, Outcome, Pair};
pub use value::Value;

/// A short name, cheap to copy: the `f` of an operation, the name of a node.
pub use smol_str::SmolStr as Name;
