//! The protocol, without clock, disk or network: inputs and the time come in, effects come out.

pub mod block;
pub mod message;
