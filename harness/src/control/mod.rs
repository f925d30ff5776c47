//! The controller's side of an agent's session.

mod link;
mod session;

pub use link::{Link, Presence, Redial, Resumption};
pub use session::{Agent, ControlError};
