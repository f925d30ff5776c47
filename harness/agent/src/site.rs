//! A node as the agent holds it: its daemons, the faults in force, and the journal by which they
//! are undone.
//!
//! It knows no mechanism. Whatever a mechanism does, it does to a site: it asks who a daemon's
//! processes are ([`claim`]), stops them ([`hold`]), starts them ([`launch`]), and writes down
//! first what must be undone.

mod claim;
mod hold;
mod launch;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use self::claim::Look;
use crate::error::{Error, Result, doing};
use crate::fault::dial::Dials;
use crate::journal::{Journal, Record};
use crate::nursery::{Exit, Nursery};
use crate::protocol::{Fault, Ran};
use crate::supervise::{self, LOG_MAX, Supervised};
use crate::tree::Ident;

/// How long a signal may take to show in `/proc`.
pub const TAKES_HOLD: Duration = Duration::from_secs(5);

/// How often it is looked who serves in the daemons' place: it tells their ports while they run.
const CLAIM: Duration = Duration::from_secs(1);

/// What happens by itself and must be looked after.
#[derive(Debug)]
pub enum Event {
    /// The end of a daemon's root process.
    Ended {
        daemon: String,
        ident: Ident,
        exit: Exit,
    },
    /// When the next look is due has changed.
    Look,
}

pub(crate) struct Site {
    pub journal: Journal,
    /// In force.
    pub faults: BTreeMap<u64, Fault>,
    pub daemons: BTreeMap<String, Supervised>,
    pub nursery: Arc<Nursery>,
    /// What the daemons' clocks are to show.
    pub dials: Dials,
    /// Freezes that are not over, by fault.
    pub frozen: BTreeMap<u64, Frozen>,
    events: Sender<Event>,
    /// When it was last looked who serves in the daemons' place.
    claimed: Option<Instant>,
}

/// A daemon that stands still with its clocks.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub daemon: String,
    pub since: Instant,
    pub until: Instant,
}

impl Site {
    pub fn new(journal: Journal, nursery: Arc<Nursery>, events: Sender<Event>) -> Site {
        Site {
            journal,
            faults: BTreeMap::new(),
            daemons: BTreeMap::new(),
            nursery,
            dials: Dials::default(),
            frozen: BTreeMap::new(),
            events,
            claimed: None,
        }
    }

    pub fn write(&mut self, record: Record) -> Result<()> {
        self.journal
            .write(record)
            .map_err(doing("write the undo journal"))
    }

    pub fn daemon(&mut self, name: &str) -> Result<&mut Supervised> {
        self.daemons
            .get_mut(name)
            .ok_or_else(|| Error::NoDaemon(name.to_owned()))
    }

    /// The faults in force for which `is` holds.
    pub fn demanded(&self, is: impl Fn(&Fault) -> bool) -> Vec<u64> {
        let wanted = self.faults.iter().filter(|(_, kind)| is(kind));
        wanted.map(|(fault, _)| *fault).collect()
    }

    pub fn wake(&self, event: Event) {
        // Nobody listens any more when the agent is on its way out.
        let _ = self.events.send(event);
    }

    /// Logs are cut, and trees and who serves in their place remembered. Returns what went wrong.
    pub fn tick(&mut self) -> Vec<String> {
        let mut troubles = Vec::new();
        for (name, daemon) in &mut self.daemons {
            if let Err(error) = supervise::rotate(&daemon.spec.log, LOG_MAX) {
                troubles.push(format!("cannot rotate the log of {name}: {error}"));
            }
            // Remembers members before their parents die.
            if let Err(error) = daemon.members() {
                troubles.push(error.to_string());
            }
        }
        if self.claimed.is_none_or(|last| last.elapsed() >= CLAIM) {
            self.claimed = Some(Instant::now());
            let names: Vec<String> = self.daemons.keys().cloned().collect();
            for name in names {
                if let Err(error) = self.claim(&name, Look::Listeners) {
                    troubles.push(error.to_string());
                }
            }
        }
        troubles
    }
}

/// Dies here, if a test asks for it: what follows a SIGKILL at the worst moment must be seen, and
/// that moment is a few microseconds long. Not in release builds.
pub(crate) fn failpoint(name: &str) {
    if cfg!(debug_assertions) && std::env::var("SCHISM_AGENT_DIE_AT").is_ok_and(|at| at == name) {
        // Whatever it answers, the process is dead.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
}

/// Waits until `is`, at most `limit`; says whether it came.
pub(crate) fn wait_until(limit: Duration, mut is: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + limit;
    // What takes long is looked at more seldom: a look costs a busy machine something.
    let mut pause = Duration::from_millis(2);
    loop {
        if is()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(32));
    }
}

/// Runs a tool of the node's that must succeed.
pub(crate) fn tool(
    nursery: &Arc<Nursery>,
    command: Command,
    stdin: &str,
    timeout: Duration,
) -> Result<Ran> {
    let name = command.get_program().to_string_lossy().into_owned();
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    let words = words.join(" ");
    let ran = nursery
        .run(command, stdin.as_bytes().to_vec(), timeout)
        .map_err(|source| Error::Io {
            doing: format!("run `{name}` (is it installed on this node?)"),
            source,
        })?;
    if !ran.success {
        return Err(Error::Tool {
            command: words,
            status: ran.status,
            said: ran.stderr.trim().to_owned(),
        });
    }
    Ok(ran)
}
