//! The controller's side of an agent's session.

mod session;

pub use session::{Agent, ControlError};
