//! Programs that keep the machine's clock right, and would undo a fault: found, stopped, set going
//! again.
//!
//! One that systemd runs is stopped as a unit, for systemd would start it again; any other is
//! stopped by SIGSTOP. Both are in the journal first.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::nursery::Nursery;
use crate::site::tool;
use crate::tree::{self, Ident};

/// By the names that `/proc/PID/comm` has, of which there are 15 letters.
const NAMES: &[&str] = &[
    "chronyd",
    "ntpd",
    "ntpsec",
    "openntpd",
    "systemd-timesyn",
    "sntp",
    "ptp4l",
    "phc2sys",
    "timemaster",
    "VBoxService",
    "vmtoolsd",
];

/// A service that is stopping has its own patience; ours is longer.
const SYSTEMCTL: Duration = Duration::from_secs(60);

/// Who keeps the clock right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keepers {
    pub units: Vec<String>,
    pub pids: Vec<Ident>,
}

impl Keepers {
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.pids.is_empty()
    }
}

/// Those that run now.
pub fn find() -> Result<Keepers> {
    let processes = tree::all().map_err(|source| Error::Io {
        doing: "list /proc".into(),
        source,
    })?;
    let mut keepers = Keepers::default();
    for process in processes {
        let pid = process.ident.pid;
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        // A process that is gone by now keeps nothing.
        let Ok(comm) = read("comm") else { continue };
        if !NAMES.contains(&comm.trim()) {
            continue;
        }
        match unit(&read("cgroup").unwrap_or_default()) {
            Some(unit) if keepers.units.contains(&unit) => {}
            Some(unit) => keepers.units.push(unit),
            None => keepers.pids.push(process.ident),
        }
    }
    Ok(keepers)
}

/// The service that a process belongs to, by its control group, where systemd runs the machine.
fn unit(cgroup: &str) -> Option<String> {
    if !fs::exists("/run/systemd/system").unwrap_or(false) {
        return None;
    }
    service(cgroup)
}

fn service(cgroup: &str) -> Option<String> {
    cgroup
        .lines()
        .flat_map(|line| line.split('/'))
        .find(|part| part.ends_with(".service"))
        .map(str::to_owned)
}

pub fn stop(nursery: &Arc<Nursery>, keepers: &Keepers) -> Result<()> {
    for unit in &keepers.units {
        systemctl(nursery, "stop", unit)?;
    }
    for ident in &keepers.pids {
        signal(*ident, Signal::STOP)?;
    }
    Ok(())
}

/// Lets them run again. Returns what was done.
pub fn resume(nursery: &Arc<Nursery>, keepers: &Keepers) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    for unit in &keepers.units {
        systemctl(nursery, "start", unit)?;
        deeds.push(format!("started {unit} again"));
    }
    for ident in &keepers.pids {
        if signal(*ident, Signal::CONT)? {
            deeds.push(format!("resumed {ident}, which keeps the clock right"));
        }
    }
    Ok(deeds)
}

fn signal(ident: Ident, signal: Signal) -> Result<bool> {
    tree::signal(ident, signal).map_err(|source| Error::Io {
        doing: format!("signal {ident}"),
        source,
    })
}

fn systemctl(nursery: &Arc<Nursery>, verb: &str, unit: &str) -> Result<()> {
    let mut command = Command::new("systemctl");
    command.args([verb, unit]);
    tool(nursery, command, "", SYSTEMCTL).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_control_group() {
        let chrony = "0::/system.slice/chrony.service\n";
        assert_eq!(service(chrony).as_deref(), Some("chrony.service"));
        let one = "1:name=systemd:/system.slice/systemd-timesyncd.service\n0::/init.scope\n";
        assert_eq!(service(one).as_deref(), Some("systemd-timesyncd.service"));
        assert_eq!(service("0::/user.slice/session-2.scope\n"), None);
        assert_eq!(service(""), None);
    }
}
