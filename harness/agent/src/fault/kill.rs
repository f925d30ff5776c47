//! SIGKILL to a daemon's whole tree and whoever serves in its place, and a new start.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::Result;
use crate::mechanism::{Mechanism, anothers};
use crate::protocol::{Evidence, Fault};
use crate::site::{Look, Site, TAKES_HOLD, wait_until};
use crate::tree;

/// How long it may take until it shows who a daemon that ended at once has left behind.
const SHOWS: Duration = Duration::from_millis(500);

pub(crate) struct Kill;

impl Mechanism for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn takes(&self, kind: &Fault) -> bool {
        matches!(kind, Fault::Kill { .. })
    }

    fn check(&mut self, site: &mut Site, kind: &Fault) -> Result<()> {
        let Fault::Kill { daemon, ports } = kind else {
            return Err(anothers(kind));
        };
        site.daemon(daemon)?.told_ports.extend(ports);
        Ok(())
    }

    fn inject(&mut self, site: &mut Site, _fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Kill { daemon, .. } => inject(site, daemon),
            _ => Err(anothers(kind)),
        }
    }

    fn heal(&mut self, site: &mut Site, _fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Kill { daemon, .. } => heal(site, daemon),
            _ => Err(anothers(kind)),
        }
    }
}

/// Kills until nobody of the tree is left, nor anybody who serves in its place. Evidence: `/proc`
/// knows none of them any more, and nobody is at the daemon's ports.
fn inject(site: &mut Site, name: &str) -> Result<Evidence> {
    let (before, mut evidence) = site.claim(name, Look::All)?;
    if before.is_empty() {
        let status = &site.daemon(name)?.status;
        return Ok(Evidence {
            void: Vec::new(),
            held: false,
            evidence: vec![format!("daemon {name:?} did not run ({status})")],
        });
    }
    let dead = kill_all(site, name, &mut evidence)?;
    // A socket may outlive its process for a moment.
    wait_until(TAKES_HOLD, || Ok(!dead || silence(site, name)?.0))?;
    let (silent, lines) = silence(site, name)?;
    evidence.extend(lines);
    Ok(Evidence {
        void: Vec::new(),
        held: dead && silent,
        evidence,
    })
}

/// Kills until nobody is left, also of those who forked away meanwhile. Whether that was reached.
fn kill_all(site: &mut Site, name: &str, evidence: &mut Vec<String>) -> Result<bool> {
    let mut seen = BTreeSet::new();
    let dead = wait_until(TAKES_HOLD, || {
        let (found, why) = site.claim(name, Look::All)?;
        let fresh = why.into_iter().filter(|line| !evidence.contains(line));
        let fresh: Vec<String> = fresh.collect();
        evidence.extend(fresh);
        seen.extend(found);
        let members = site.daemon(name)?.signal(Signal::KILL)?;
        let rest = members.len();
        seen.extend(members);
        Ok(rest == 0)
    })?;
    site.daemon(name)?.stopped.clear();
    let line = |ident: &tree::Ident| match tree::alive(*ident) {
        true => format!("{ident}: still there after SIGKILL"),
        false => format!("{ident}: gone"),
    };
    evidence.extend(seen.iter().map(line));
    Ok(dead)
}

/// Somebody who lives on of a daemon whose first process has ended: it has put itself into the
/// background. That may take a moment to show.
fn put_itself_away(site: &mut Site, name: &str) -> Result<Option<tree::Ident>> {
    let mut found = None;
    wait_until(SHOWS, || {
        found = site.claim(name, Look::Listeners)?.0.first().copied();
        Ok(found.is_some())
    })?;
    Ok(found)
}

/// Who lives although the daemon was killed.
fn risen(site: &mut Site, name: &str) -> Result<Vec<String>> {
    let (members, mut lines) = site.claim(name, Look::All)?;
    lines.extend(
        members
            .iter()
            .map(|ident| format!("{ident}: ran while daemon {name:?} was to be dead")),
    );
    let (silent, at_ports) = silence(site, name)?;
    if !silent {
        lines.extend(at_ports);
    }
    Ok(lines)
}

/// Whether nobody is at the daemon's ports.
fn silence(site: &mut Site, name: &str) -> Result<(bool, Vec<String>)> {
    let served = site.served(name, Look::All)?;
    let mut lines: Vec<String> = served
        .by
        .iter()
        .map(|(socket, who)| format!("{who}: {socket}, and is not the daemon's"))
        .collect();
    lines.extend(
        served
            .by_nobody
            .iter()
            .map(|socket| format!("a process that cannot be seen {socket}")),
    );
    let silent = lines.is_empty();
    let ports = site.daemon(name)?.ports();
    if silent && !ports.is_empty() {
        lines.push(format!("nobody is at ports {}", list(&ports)));
    }
    Ok((silent, lines))
}

pub(crate) fn list(ports: &BTreeSet<u16>) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    ports.join(", ")
}

/// Starts the daemon again if it should run and nothing else keeps it dead. The fault is void if
/// somebody has served meanwhile: who waited for the daemon's death to take its place.
fn heal(site: &mut Site, name: &str) -> Result<Evidence> {
    let ends = |held: bool, evidence: Vec<String>, void: Vec<String>| {
        Ok(Evidence {
            held,
            evidence,
            void,
        })
    };
    if let Some(other) = site.killers(name).first() {
        let why = format!("daemon {name:?} stays dead: fault {other}");
        return ends(true, vec![why], Vec::new());
    }
    let void = risen(site, name)?;
    let mut evidence = Vec::new();
    if !void.is_empty() && !kill_all(site, name, &mut evidence)? {
        return ends(false, evidence, void);
    }
    if !site.daemon(name)?.wanted {
        evidence.push(format!("daemon {name:?} is not wanted any more"));
        return ends(true, evidence, void);
    }
    // A daemon that cannot be started is no fault of ours any more: the evidence says so, and the
    // ledger lets go of it.
    let (held, line) = match site.launch(name) {
        Ok(root) => match tree::read(root.pid) {
            Some(process) if process.ident == root => {
                (true, format!("{root}: started, state {}", process.state))
            }
            _ => match put_itself_away(site, name)? {
                Some(other) => (
                    true,
                    format!("{root}: started, and ended; {other} lives on"),
                ),
                None => (false, format!("{root}: started, and gone at once")),
            },
        },
        Err(error) => (false, error.to_string()),
    };
    evidence.push(line);
    ends(held, evidence, void)
}
