//! Daemons started and asked to end, under the faults that are in force for them.

use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::fault::dial::lock;
use crate::journal::Record;
use crate::protocol::{Daemon, Fault, Started, StopSignal};
use crate::site::{Event, Look, Site};
use crate::supervise::{self, Supervised};
use crate::tree::{self, Ident, Tree};
use crate::vdso::{self, ClockError, Shift};

impl Site {
    /// Starts a daemon that does not run.
    pub fn start(&mut self, spec: Daemon) -> Result<Started> {
        supervise::check(&spec)?;
        let name = spec.name.clone();
        let killed = self.killers(&name);
        if let Some(fault) = killed.first() {
            return Err(Error::Refused(format!(
                "daemon {name:?} is held dead by fault {fault}; heal that, which starts it again"
            )));
        }
        if let Some(known) = self.daemons.get_mut(&name) {
            if let Some(first) = known.members()?.first() {
                return Err(Error::Refused(format!(
                    "daemon {name:?} runs already ({first}); stop it first"
                )));
            }
            known.spec = spec;
        } else {
            self.daemons.insert(name.clone(), Supervised::new(spec));
        }
        let root = self.launch(&name)?;
        self.daemon(&name)?.wanted = true;
        Ok(Started { pid: root.pid })
    }

    /// Starts a known daemon as its description says, under the faults that are in force for it.
    pub fn launch(&mut self, name: &str) -> Result<Ident> {
        let marker = self.nursery.marker(name);
        let daemon = self.daemon(name)?;
        let program = daemon.spec.argv[0].clone();
        let mut command = supervise::command(&daemon.spec, &marker)?;
        let events = self.events.clone();
        let (tell, told) = std::sync::mpsc::channel::<Ident>();
        let of = name.to_owned();
        let shift = self.to_be_shown(name);
        let failed = |source| Error::Io {
            doing: format!("start daemon {name:?} ({program})"),
            source,
        };
        let birth = move || {
            let (pid, patch) = match shift {
                None => (command.spawn()?.id(), None),
                Some(shift) => match vdso::spawn(&mut command, &shift) {
                    Ok((child, patch)) => (child.id(), Some(patch)),
                    Err(ClockError::Spawn { source, .. }) => return Err(source),
                    Err(error) => return Err(std::io::Error::other(error)),
                },
            };
            let start = tree::read(pid).map_or(0, |process| process.ident.start);
            let ident = Ident { pid, start };
            // The receiver is in the closure below, which outlives this.
            let _ = tell.send(ident);
            Ok((pid, (ident, patch)))
        };
        let on_exit = move |exit| {
            if let Ok(ident) = told.recv() {
                // Nobody listens any more when the agent is on its way out.
                let _ = events.send(Event::Ended {
                    daemon: of,
                    ident,
                    exit,
                });
            }
        };
        let (root, patch) = self.nursery.spawn(birth, on_exit).map_err(failed)?;
        let daemon = self.daemon(name)?;
        daemon.root = Some(root);
        daemon.tree = Some(Tree::new(root, marker));
        daemon.stopped.clear();
        daemon.seen_ports.clear();
        if let Some(patch) = patch {
            self.write(Record::Shifting { pids: vec![root] })?;
            let mut dials = lock(&self.dials);
            dials.entry(name.to_owned()).or_default().enter(root, patch);
        }
        if !self.stoppers(name).is_empty() {
            self.hold(name)?;
        }
        Ok(root)
    }

    /// Asks a daemon to end; the caller waits, and insists if it must.
    pub fn terminate(&mut self, name: &str) -> Result<()> {
        let daemon = self.daemon(name)?;
        daemon.wanted = false;
        let claimed = self.claim(name, Look::All);
        let daemon = self.daemon(name)?;
        let signal = match daemon.spec.stop {
            StopSignal::Term => Signal::TERM,
            StopSignal::Int => Signal::INT,
            StopSignal::Quit => Signal::QUIT,
            StopSignal::Hup => Signal::HUP,
        };
        daemon.signal(signal)?;
        claimed.map(|_| ())
    }

    /// The faults that hold a daemon dead.
    pub fn killers(&self, name: &str) -> Vec<u64> {
        self.demanded(|kind| matches!(kind, Fault::Kill { daemon, .. } if daemon == name))
    }

    /// What a daemon that is about to start must be shown; its last life's kept lag is gone.
    fn to_be_shown(&self, name: &str) -> Option<Shift> {
        let mut dials = lock(&self.dials);
        let dial = dials.get_mut(name)?;
        dial.kept.clear();
        dial.patches.clear();
        (!dial.turns.is_empty()).then(|| dial.sum())
    }
}
