//! SIGSTOP to a daemon's whole tree and whoever serves in its place, and SIGCONT.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::journal::Record;
use crate::protocol::Fault;
use crate::site::{Look, Site, TAKES_HOLD, failpoint, wait_until};
use crate::tree::{self, Ident};

impl Site {
    /// The faults that keep a daemon stopped: pauses, and freezes that are not over.
    pub fn stoppers(&self, name: &str) -> Vec<u64> {
        let mut faults =
            self.demanded(|kind| matches!(kind, Fault::Pause { daemon, .. } if daemon == name));
        let frozen = self.frozen.iter();
        faults.extend(
            frozen
                .filter(|(_, frozen)| frozen.daemon == name)
                .map(|(fault, _)| fault),
        );
        faults
    }

    /// Stops the tree until nobody is left in it who runs and could fork. Processes that were
    /// stopped by somebody else before are not ours to resume, and are left out. Gives why those
    /// count that were found outside of the tree.
    pub fn hold(&mut self, name: &str) -> Result<Vec<String>> {
        let mut sent = false;
        let mut claimed = Vec::new();
        wait_until(TAKES_HOLD, || {
            let (members, why) = self.claim(name, Look::All)?;
            claimed = why;
            let daemon = self.daemon(name)?;
            let fresh: Vec<Ident> = members
                .iter()
                .filter(|ident| !daemon.stopped.contains(ident))
                .filter(|ident| tree::stopped(**ident) == Some(false))
                .copied()
                .collect();
            if fresh.is_empty() {
                let rest = members.iter().find(|id| tree::stopped(**id) == Some(false));
                return Ok(rest.is_none());
            }
            self.write(Record::Stopping {
                pids: fresh.clone(),
            })?;
            failpoint("pause:stopping");
            let daemon = self.daemon(name)?;
            for ident in fresh {
                daemon.stopped.insert(ident);
                signal(ident, Signal::STOP)?;
                if !std::mem::replace(&mut sent, true) {
                    failpoint("pause:half");
                }
            }
            Ok(false)
        })?;
        Ok(claimed)
    }

    /// Resumes what [`hold`] stopped, and waits until it is seen to run.
    pub fn release(&mut self, name: &str) -> Result<Vec<Ident>> {
        let stopped: BTreeSet<Ident> = std::mem::take(&mut self.daemon(name)?.stopped);
        let pids: Vec<Ident> = stopped.into_iter().filter(|id| tree::alive(*id)).collect();
        for ident in &pids {
            signal(*ident, Signal::CONT)?;
        }
        wait_until(TAKES_HOLD, || {
            Ok(!pids.iter().any(|id| tree::stopped(*id) == Some(true)))
        })?;
        if !pids.is_empty() {
            self.write(Record::Resumed { pids: pids.clone() })?;
        }
        Ok(pids)
    }
}

fn signal(ident: Ident, signal: Signal) -> Result<bool> {
    tree::signal(ident, signal).map_err(|source| Error::Io {
        doing: format!("signal {ident}"),
        source,
    })
}
