//! Runs a test. Knows no concrete system, fault or checker.
//!
//! Read [`run`] first: it tells a run in numbered steps. What a test is made of: a
//! [`cluster::Cluster`] of [`cluster::Node`]s, each with an [`control::Agent`]; a
//! [`system::System`] installed on them; [`client::Client`]s that a [`generator::Generator`] keeps
//! busy; [`nemesis::Fault`]s on a schedule; and one recorder that puts everything in order.

pub mod at_once;
pub mod client;
mod clocks;
pub mod closing;
pub mod cluster;
pub mod control;
mod course;
pub mod doctor;
pub mod dummy;
pub mod generator;
pub mod heard;
pub mod injector;
pub mod interpreter;
pub mod lateness;
pub mod nearest;
pub mod nemesis;
pub mod progress;
mod readiness;
pub mod recorder;
pub mod run;
pub mod scheduler;
pub mod seed;
mod strain;
pub mod system;
pub mod test;
pub mod units;
pub mod watcher;
