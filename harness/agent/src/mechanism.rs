//! What every mechanism of faults is to the ledger.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::protocol::{Clocks, Evidence, Fault};
use crate::site::Site;

/// One way to disturb a node, and its inverse. What it needs of the node is in the [`Site`]; what
/// only it knows it keeps itself. How it undoes what a dead agent did is a function beside it, for
/// that is done before there is a site.
pub(crate) trait Mechanism: Send {
    /// Of its failpoints.
    fn name(&self) -> &'static str;

    /// What this node can do by it, as [`crate::protocol::Hello`] says it.
    fn offers(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether a fault is its business, and nobody else's.
    fn takes(&self, kind: &Fault) -> bool;

    /// Refuses what cannot be, before anything is journalled.
    fn check(&mut self, site: &mut Site, kind: &Fault) -> Result<()>;

    /// Applies a fault, which the site has among those in force already.
    fn inject(&mut self, site: &mut Site, fault: u64, kind: &Fault) -> Result<Evidence>;

    /// Undoes one, which the site has no more.
    fn heal(&mut self, site: &mut Site, fault: u64, kind: &Fault) -> Result<Evidence>;

    /// Whether something is left of healed faults on purpose.
    fn leaves(&self, _: &Site) -> bool {
        false
    }

    /// Takes that away. Returns what was done.
    fn forget(&mut self, _: &mut Site) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What must be done while faults last. Returns what went wrong.
    fn tick(&mut self, _: &mut Site) -> Vec<String> {
        Vec::new()
    }

    /// When that is due, if anything cannot wait.
    fn next_tick(&self, _: &Site) -> Option<Instant> {
        None
    }

    /// Corrects what is said of the node's clocks, if it turned those.
    fn correct(&self, _: &mut Clocks) {}

    /// Sets the machine's clock forward by what it lost; none if that is not its business.
    fn make_up(&mut self, _: &mut Site, _lost_ns: i64) -> Option<Result<Evidence>> {
        None
    }
}

/// A fault has come to the wrong mechanism.
pub(crate) fn anothers(kind: &Fault) -> Error {
    Error::Refused(format!(
        "a bug in the agent: this is another mechanism's: {kind:?}"
    ))
}
