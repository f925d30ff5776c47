//! SIGSTOP to a daemon's whole tree and whoever serves in its place, and SIGCONT.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::kill;
use crate::error::{Error, Result};
use crate::journal::Record;
use crate::ledger::{Ledger, TAKES_HOLD, failpoint, wait_until};
use crate::protocol::{Evidence, Fault};
use crate::tree::{self, Ident};

pub(crate) fn is_of(kind: &Fault, name: &str) -> bool {
    matches!(kind, Fault::Pause { daemon, .. } if daemon == name)
}

/// The faults that keep a daemon stopped: pauses, and freezes that are not over.
pub(crate) fn stoppers(ledger: &Ledger, name: &str) -> Vec<u64> {
    let mut faults = ledger.demanded(|kind| is_of(kind, name));
    let frozen = ledger.frozen.iter();
    faults.extend(
        frozen
            .filter(|(_, frozen)| frozen.daemon == name)
            .map(|(fault, _)| fault),
    );
    faults
}

/// Stops the tree, and whoever serves in its place. Evidence: `/proc` says of every thread that it is
/// stopped, and of whoever is at the daemon's ports.
pub(crate) fn inject(ledger: &mut Ledger, name: &str) -> Result<Evidence> {
    let (members, _) = ledger.claim(name)?;
    let others_doing = {
        let ours = &ledger.daemon(name)?.stopped;
        let stopped = |ident: &Ident| tree::stopped(*ident) == Some(true) && !ours.contains(ident);
        !members.is_empty() && members.iter().all(stopped)
    };
    let mut evidence = hold(ledger, name)?;
    let members = ledger.daemon(name)?.members()?;
    if members.is_empty() {
        return Ok(Evidence {
            void: Vec::new(),
            held: false,
            evidence: vec![format!(
                "daemon {name:?} does not run; it is stopped if it starts"
            )],
        });
    }
    if others_doing {
        return Ok(Evidence {
            void: Vec::new(),
            held: false,
            evidence: vec![format!(
                "daemon {name:?} was stopped before, and not by this agent: there was nothing to stop"
            )],
        });
    }
    let shown = show(&members, true);
    evidence.extend(shown.evidence);
    let (stopped, lines) = stopped_service(ledger, name)?;
    evidence.extend(lines);
    Ok(Evidence {
        void: Vec::new(),
        held: shown.held && stopped,
        evidence,
    })
}

/// Whether everybody at the daemon's ports is stopped. What was seen otherwise.
fn stopped_service(ledger: &mut Ledger, name: &str) -> Result<(bool, Vec<String>)> {
    let served = ledger.served(name)?;
    let runs = |who: &Ident| tree::stopped(*who) == Some(false);
    let mut lines: Vec<String> = served
        .by
        .iter()
        .filter(|(_, who)| runs(who))
        .map(|(socket, who)| format!("{who}: {socket}, and is not stopped"))
        .collect();
    lines.extend(
        served
            .by_nobody
            .iter()
            .map(|socket| format!("a process that cannot be seen {socket}")),
    );
    let stopped = lines.is_empty();
    let ports = ledger.daemon(name)?.ports();
    if stopped && !ports.is_empty() {
        let ports = kill::list(&ports);
        lines.push(format!("nobody who runs is at ports {ports}"));
    }
    Ok((stopped, lines))
}

/// Lets the tree run, unless another pause holds it. Evidence: `/proc` again.
pub(crate) fn heal(ledger: &mut Ledger, name: &str) -> Result<Evidence> {
    if let Some(other) = stoppers(ledger, name).first() {
        return Ok(Evidence {
            void: Vec::new(),
            held: true,
            evidence: vec![format!("daemon {name:?} stays stopped: fault {other}")],
        });
    }
    let void = awake(ledger, name)?;
    let resumed = release(ledger, name)?;
    if resumed.is_empty() {
        return Ok(Evidence {
            void,
            held: true,
            evidence: vec![format!("no process of daemon {name:?} was stopped")],
        });
    }
    Ok(Evidence {
        void,
        ..show(&resumed, false)
    })
}

/// Who runs although the daemon is to be stopped: somebody may have let it go on, or have come since.
fn awake(ledger: &mut Ledger, name: &str) -> Result<Vec<String>> {
    let (members, _) = ledger.claim(name)?;
    let mut lines = Vec::new();
    let running = members
        .iter()
        .filter(|id| tree::stopped(**id) == Some(false));
    lines.extend(
        running.map(|ident| format!("{ident}: ran while daemon {name:?} was to be stopped")),
    );
    let (stopped, at_ports) = stopped_service(ledger, name)?;
    if !stopped {
        lines.extend(at_ports);
    }
    Ok(lines)
}

/// Stops the tree until nobody is left in it who runs and could fork. Processes that were stopped
/// by somebody else before are not ours to resume, and are left out. Gives why those count that were
/// found outside of the tree.
pub(crate) fn hold(ledger: &mut Ledger, name: &str) -> Result<Vec<String>> {
    let mut sent = false;
    let mut claimed = Vec::new();
    wait_until(TAKES_HOLD, || {
        let (members, why) = ledger.claim(name)?;
        claimed = why;
        let daemon = ledger.daemon(name)?;
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
        ledger.write(Record::Stopping {
            pids: fresh.clone(),
        })?;
        failpoint("pause:stopping");
        let daemon = ledger.daemon(name)?;
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
pub(crate) fn release(ledger: &mut Ledger, name: &str) -> Result<Vec<Ident>> {
    let stopped: BTreeSet<Ident> = std::mem::take(&mut ledger.daemon(name)?.stopped);
    let pids: Vec<Ident> = stopped.into_iter().filter(|id| tree::alive(*id)).collect();
    for ident in &pids {
        signal(*ident, Signal::CONT)?;
    }
    wait_until(TAKES_HOLD, || {
        Ok(!pids.iter().any(|id| tree::stopped(*id) == Some(true)))
    })?;
    if !pids.is_empty() {
        ledger.write(Record::Resumed { pids: pids.clone() })?;
    }
    Ok(pids)
}

fn signal(ident: Ident, signal: Signal) -> Result<bool> {
    tree::signal(ident, signal).map_err(|source| Error::Io {
        doing: format!("signal {ident}"),
        source,
    })
}

/// What `/proc` says of each.
fn show(members: &[Ident], wanted: bool) -> Evidence {
    let states: Vec<Option<bool>> = members.iter().map(|ident| tree::stopped(*ident)).collect();
    let line = |(ident, state): (&Ident, &Option<bool>)| match state {
        Some(true) => format!("{ident}: every thread in state T (stopped)"),
        Some(false) => format!("{ident}: not stopped"),
        None => format!("{ident}: gone"),
    };
    Evidence {
        void: Vec::new(),
        held: states
            .iter()
            .all(|state| state.is_none_or(|is| is == wanted))
            && (!wanted || states.contains(&Some(true))),
        evidence: members.iter().zip(&states).map(line).collect(),
    }
}
