//! A daemon that stands still: stopped, and let go on.

use std::sync::Arc;

use rustix::process::Signal;

use super::kill;
use crate::error::{Error, Result};
use crate::journal::Left;
use crate::mechanism::{Mechanism, anothers};
use crate::nursery::Nursery;
use crate::protocol::{Evidence, Fault};
use crate::site::{Look, Site};
use crate::tree::{self, Ident};

pub(crate) struct Pause;

impl Mechanism for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn takes(&self, kind: &Fault) -> bool {
        matches!(kind, Fault::Pause { .. })
    }

    fn check(&mut self, site: &mut Site, kind: &Fault) -> Result<()> {
        let Fault::Pause { daemon, ports } = kind else {
            return Err(anothers(kind));
        };
        site.daemon(daemon)?.told_ports.extend(ports);
        Ok(())
    }

    fn inject(&mut self, site: &mut Site, _fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Pause { daemon, .. } => inject(site, daemon),
            _ => Err(anothers(kind)),
        }
    }

    fn heal(&mut self, site: &mut Site, _fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Pause { daemon, .. } => heal(site, daemon),
            _ => Err(anothers(kind)),
        }
    }
}

/// Resumes what a dead agent left stopped.
pub(crate) fn recover(left: &Left, _: &Arc<Nursery>) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    for ident in &left.stopped {
        let resumed = tree::signal(*ident, Signal::CONT).map_err(|source| Error::Io {
            doing: format!("resume {ident}"),
            source,
        })?;
        if resumed {
            deeds.push(format!("resumed {ident}"));
        }
    }
    Ok(deeds)
}

/// Stops the tree, and whoever serves in its place. Evidence: `/proc` says of every thread that it
/// is stopped, and of whoever is at the daemon's ports.
pub(crate) fn inject(site: &mut Site, name: &str) -> Result<Evidence> {
    let (members, _) = site.claim(name, Look::All)?;
    let others_doing = {
        let ours = &site.daemon(name)?.stopped;
        let stopped = |ident: &Ident| tree::stopped(*ident) == Some(true) && !ours.contains(ident);
        !members.is_empty() && members.iter().all(stopped)
    };
    let mut evidence = site.hold(name)?;
    let members = site.daemon(name)?.members()?;
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
    let (stopped, lines) = stopped_service(site, name)?;
    evidence.extend(lines);
    Ok(Evidence {
        void: Vec::new(),
        held: shown.held && stopped,
        evidence,
    })
}

/// Whether everybody at the daemon's ports is stopped. What was seen otherwise.
fn stopped_service(site: &mut Site, name: &str) -> Result<(bool, Vec<String>)> {
    let served = site.served(name, Look::All)?;
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
    let ports = site.daemon(name)?.ports();
    if stopped && !ports.is_empty() {
        let ports = kill::list(&ports);
        lines.push(format!("nobody who runs is at ports {ports}"));
    }
    Ok((stopped, lines))
}

/// Lets the tree run, unless another pause holds it. Evidence: `/proc` again.
fn heal(site: &mut Site, name: &str) -> Result<Evidence> {
    if let Some(other) = site.stoppers(name).first() {
        return Ok(Evidence {
            void: Vec::new(),
            held: true,
            evidence: vec![format!("daemon {name:?} stays stopped: fault {other}")],
        });
    }
    let void = awake(site, name)?;
    let resumed = site.release(name)?;
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

/// Who runs although the daemon is to be stopped: somebody may have let it go on, or have come
/// since.
fn awake(site: &mut Site, name: &str) -> Result<Vec<String>> {
    let (members, _) = site.claim(name, Look::All)?;
    let mut lines = Vec::new();
    let running = members
        .iter()
        .filter(|id| tree::stopped(**id) == Some(false));
    lines.extend(
        running.map(|ident| format!("{ident}: ran while daemon {name:?} was to be stopped")),
    );
    let (stopped, at_ports) = stopped_service(site, name)?;
    if !stopped {
        lines.extend(at_ports);
    }
    Ok(lines)
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
