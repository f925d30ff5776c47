//! Who else counts as a daemon: processes that left its tree and serve in its place.
//!
//! Two ways to know them. Whoever holds a socket at one of the daemon's ports serves for it
//! ([`crate::service`]). And where the agent is process 1 of a namespace, everything below it that
//! is not its own is the daemon's, whatever it does: nobody else could have started it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Result, io};
use crate::service::{self, Socket};
use crate::site::Site;
use crate::tree::{self, Ident, Process};

/// Which sockets are looked at to find who serves for a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Those that listen: it costs little, so it is done again and again.
    Listeners,
    /// Connections too, as long as somebody answers at them.
    All,
}

/// What there is at a daemon's ports.
#[derive(Debug, Default)]
pub struct Served {
    /// Each socket with a process that holds it.
    pub by: Vec<(Socket, Ident)>,
    /// Sockets whose holders cannot be seen.
    pub by_nobody: Vec<Socket>,
}

impl Site {
    /// The daemon's living processes, those that left its tree included; and of each of the latter
    /// why it counts.
    pub fn claim(&mut self, name: &str, look: Look) -> Result<(Vec<Ident>, Vec<String>)> {
        let read = || io("list", Path::new("/proc"));
        let members = self.daemon(name)?.members()?;
        let listening = service::ports(&members).map_err(read())?;
        self.daemon(name)?.seen_ports.extend(listening);
        let mine: BTreeSet<Ident> = members.iter().copied().collect();
        let served = self.served(name, look)?.by;
        let sole = self.sole_owner_of_the_node();
        let mut found: BTreeMap<Ident, String> = BTreeMap::new();
        if sole || !served.iter().all(|(_, ident)| mine.contains(ident)) {
            let runs = format!("{}/run/", self.nursery.prefix());
            let (foreign, others) = self.foreign(name, &runs)?;
            let strangers = if sole {
                strangers(&foreign, others, &runs)
            } else {
                Vec::new()
            };
            found.extend(strangers.into_iter().map(|ident| {
                let why = "nobody else starts anything on this node".to_string();
                (ident, why)
            }));
            let served = served
                .into_iter()
                .filter(|(_, i)| !foreign.contains(&i.pid));
            found.extend(served.map(|(socket, ident)| (ident, format!("it {socket}"))));
            found.retain(|ident, _| !mine.contains(ident));
        }
        let daemon = self.daemon(name)?;
        if let Some(tree) = &mut daemon.tree {
            found.keys().for_each(|ident| tree.adopt(*ident));
        }
        daemon.claimed.append(&mut found);
        // Again, for what the newly found have brought forth.
        let members = daemon.members()?;
        daemon.claimed.retain(|ident, _| members.contains(ident));
        let line = |(ident, why): (&Ident, &String)| {
            format!("{ident}: left the daemon's tree, but {why}: it counts as the daemon")
        };
        Ok((members, daemon.claimed.iter().map(line).collect()))
    }

    /// Who is at the daemon's ports.
    pub fn served(&mut self, name: &str, look: Look) -> Result<Served> {
        let read = || io("read", Path::new("/proc/net"));
        let ports = self.daemon(name)?.ports();
        let all = match look {
            Look::Listeners => service::listening(),
            Look::All => service::sockets(),
        };
        let all = all.map_err(read())?;
        let there: Vec<Socket> = all
            .into_iter()
            .filter(|socket| ports.contains(&socket.port) && socket.inode != 0)
            .collect();
        let mut served = Served::default();
        let mut unknown = Vec::new();
        let members = self.daemon(name)?.members()?;
        let held: Vec<(Ident, BTreeSet<u64>)> = members
            .into_iter()
            .map(|ident| (ident, service::held(ident.pid)))
            .collect();
        for socket in there {
            let known = held.iter().filter(|(_, held)| held.contains(&socket.inode));
            let before = served.by.len();
            served.by.extend(known.map(|(ident, _)| (socket, *ident)));
            if served.by.len() == before {
                unknown.push(socket);
            }
        }
        let inodes = unknown.iter().map(|socket| socket.inode).collect();
        let holders = service::holders(&inodes).map_err(read())?;
        for socket in unknown {
            match holders.get(&socket.inode) {
                Some(holders) => served.by.extend(holders.iter().map(|who| (socket, *who))),
                None => served.by_nobody.push(socket),
            }
        }
        Ok(served)
    }

    /// Whether all processes of this node are seen, and there is one daemon whose they can be.
    fn sole_owner_of_the_node(&self) -> bool {
        std::process::id() == 1 && self.daemons.len() == 1
    }

    /// Processes that are not this daemon's, whatever they hold: the agent, who started it, what it
    /// runs for itself, and other daemons. And those that there were besides at the same moment:
    /// what the agent starts a moment later is in neither.
    fn foreign(&mut self, name: &str, runs: &str) -> Result<(BTreeSet<u32>, Vec<Process>)> {
        let mut foreign = service::ancestors();
        let others: Vec<String> = self
            .daemons
            .keys()
            .filter(|n| *n != name)
            .cloned()
            .collect();
        for other in others {
            let members = self.daemon(&other)?.members()?;
            foreign.extend(members.iter().map(|ident| ident.pid));
        }
        let mut rest = tree::all().map_err(io("list", Path::new("/proc")))?;
        let mut own: BTreeSet<u32> = BTreeSet::new();
        loop {
            let is_own = |process: &Process| {
                own.contains(&process.parent)
                    || own.contains(&process.session)
                    || is_run(process.ident, runs)
            };
            let (found, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_own);
            rest = others;
            if found.is_empty() {
                break;
            }
            own.extend(found.iter().map(|process| process.ident.pid));
        }
        foreign.extend(own);
        Ok((foreign, rest))
    }
}

/// Whether the agent runs it for itself.
fn is_run(ident: Ident, runs: &str) -> bool {
    tree::marker(ident).is_some_and(|marker| marker.starts_with(runs))
}

/// Whoever is neither the agent's nor known to be a daemon's.
fn strangers(foreign: &BTreeSet<u32>, others: Vec<Process>, runs: &str) -> Vec<Ident> {
    // Between fork and exec a child of the agent's runs the agent's program, and has no mark of its
    // own: it is asked for that again after it was seen to run another. One without a parent came
    // in from outside. One without memory is ending, and cannot be asked whose it was.
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let agent = program(std::process::id());
    let stranger = |process: &Process| {
        let pid = process.ident.pid;
        process.parent != 0
            && !foreign.contains(&pid)
            && program(pid) != agent
            && !is_run(process.ident, runs)
            && tree::has_memory(pid)
    };
    let strangers = others.into_iter().filter(stranger);
    strangers
        .map(|process| process.ident)
        .filter(|ident| tree::alive(*ident))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// It was listed before its exec, when nothing told whose it is.
    #[test]
    fn what_the_agent_had_just_begun_to_run_is_no_stranger() {
        let found = |marker: Option<&str>| {
            let mut command = Command::new("sleep");
            command.arg("60").env_remove(tree::MARKER);
            if let Some(marker) = marker {
                command.env(tree::MARKER, marker);
            }
            let mut child = command.spawn().expect("sleep");
            let all = tree::all().expect("/proc");
            let listed = all.into_iter().filter(|one| one.ident.pid == child.id());
            let found = strangers(&BTreeSet::new(), listed.collect(), "agent-7/run/");
            child.kill().expect("it lives");
            child.wait().expect("it ends");
            found.len()
        };
        assert_eq!(found(None), 1);
        assert_eq!(found(Some("agent-8/run/1")), 1);
        assert_eq!(found(Some("agent-7/run/1")), 0);
    }
}
