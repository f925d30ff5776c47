//! SIGKILL to a daemon's whole tree, and a new start.

use rustix::process::Signal;

use crate::error::Result;
use crate::ledger::{Ledger, TAKES_HOLD, wait_until};
use crate::protocol::{Evidence, Fault};
use crate::tree;

pub(crate) fn is_of(kind: &Fault, name: &str) -> bool {
    matches!(kind, Fault::Kill { daemon } if daemon == name)
}

/// Kills until nobody of the tree is left. Evidence: `/proc` knows none of them any more.
pub(crate) fn inject(ledger: &mut Ledger, name: &str) -> Result<Evidence> {
    let daemon = ledger.daemon(name)?;
    let before = daemon.members()?;
    if before.is_empty() {
        return Ok(Evidence {
            held: false,
            evidence: vec![format!("daemon {name:?} did not run ({})", daemon.status)],
        });
    }
    let mut seen = before;
    let dead = wait_until(TAKES_HOLD, || {
        let members = daemon.signal(Signal::KILL)?;
        seen.extend(&members);
        Ok(members.is_empty())
    })?;
    daemon.stopped.clear();
    seen.sort();
    seen.dedup();
    let line = |ident: &tree::Ident| match tree::alive(*ident) {
        true => format!("{ident}: still there after SIGKILL"),
        false => format!("{ident}: gone"),
    };
    Ok(Evidence {
        held: dead,
        evidence: seen.iter().map(line).collect(),
    })
}

/// Starts the daemon again if it should run and nothing else keeps it dead.
pub(crate) fn heal(ledger: &mut Ledger, name: &str) -> Result<Evidence> {
    let stays = |why: String| {
        Ok(Evidence {
            held: true,
            evidence: vec![why],
        })
    };
    if let Some(other) = ledger.demanded(|kind| is_of(kind, name)).first() {
        return stays(format!("daemon {name:?} stays dead: fault {other}"));
    }
    let daemon = ledger.daemon(name)?;
    if !daemon.wanted {
        return stays(format!("daemon {name:?} is not wanted any more"));
    }
    if let Some(first) = daemon.members()?.first() {
        return stays(format!("daemon {name:?} runs ({first})"));
    }
    // A daemon that cannot be started is no fault of ours any more: the evidence says so, and the
    // ledger lets go of it.
    Ok(match ledger.launch(name) {
        Ok(root) => match tree::read(root.pid) {
            Some(process) if process.ident == root => Evidence {
                held: true,
                evidence: vec![format!("{root}: started, state {}", process.state)],
            },
            _ => Evidence {
                held: false,
                evidence: vec![format!("{root}: started, and gone at once")],
            },
        },
        Err(error) => Evidence {
            held: false,
            evidence: vec![error.to_string()],
        },
    })
}
