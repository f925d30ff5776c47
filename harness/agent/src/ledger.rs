//! What is done to this node: the daemons, the faults in force, and how each is undone.
//!
//! Faults are kept as demands on a state, not as a stack of deeds: a daemon is dead while any fault
//! kills it, stopped while any pauses it, and its clocks are off by the sum of what shifts them.
//! Whatever comes or goes, the state is brought in line with the demands that remain. So faults may
//! overlap and be healed in any order.
//!
//! ```text
//!   inject: check ─▶ journal (synced) ─▶ enter ─▶ apply ─▶ evidence      an error on the way: undo
//!   heal:   take out ─▶ bring in line ─▶ evidence ─▶ journal             nothing in force: clear it
//!   start:  what the journal of a dead agent says ─▶ undo ─▶ clear it    ([`recover`])
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::clock::ClockError;
use crate::error::{Error, Result, doing, io};
use crate::fault::{clock, cut, kill, packet, pause, wall};
use crate::folder::Folder;
use crate::journal::{Journal, Left, Record};
use crate::nursery::{Exit, Nursery};
use crate::protocol::{Control, Daemon, Evidence, Fault, Started};
use crate::supervise::{self, LOG_MAX, Supervised};
use crate::tree::{self, Ident, Tree};

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
    /// [`Ledger::next_tick`] has changed.
    Look,
}

pub struct Ledger {
    pub(crate) journal: Journal,
    pub(crate) faults: BTreeMap<u64, Fault>,
    pub(crate) daemons: BTreeMap<String, Supervised>,
    pub(crate) nursery: Arc<Nursery>,
    pub(crate) cuts: cut::Cuts,
    pub(crate) shaper: packet::Shaper,
    pub(crate) dials: clock::Dials,
    /// Freezes that are not over, by fault.
    pub(crate) frozen: BTreeMap<u64, clock::Frozen>,
    /// Why clocks cannot be turned; `None`: they can.
    pub(crate) clock_trouble: Option<String>,
    /// The machine's own clock, where faults may turn it.
    pub(crate) turned: Option<wall::Turned>,
    events: Sender<Event>,
    /// When it was last looked who serves in the daemons' place.
    claimed: Option<Instant>,
}

/// What an agent is told about its node when it is started.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The path by which the controller speaks to this node, which no fault touches.
    pub control: Option<Control>,
    /// Clock faults turn the machine's own clock, if this boot id of the controller is another's.
    pub machine_clock: Option<String>,
}

impl Ledger {
    /// Takes over DIR, undoing what a dead predecessor left. `events` gets what happens by itself.
    pub fn open(
        dir: &Folder,
        nursery: Arc<Nursery>,
        events: Sender<Event>,
        terms: &Terms,
    ) -> Result<(Ledger, Recovered)> {
        let (mut journal, left) = Journal::open(dir)?;
        let recovered = recover(&left, &nursery)?;
        if !left.unread.is_empty() {
            return Err(Error::Unread {
                path: journal.path().to_owned(),
                unread: left.unread,
                deeds: recovered.deeds,
            });
        }
        journal
            .clear()
            .map_err(io("clear the journal", journal.path()))?;
        let turned = terms.machine_clock.as_deref().map(wall::Turned::open);
        let turned = turned
            .transpose()
            .map_err(|why| Error::Refused(format!("this machine's clock may not be set: {why}")))?;
        let ledger = Ledger {
            journal,
            faults: BTreeMap::new(),
            daemons: BTreeMap::new(),
            cuts: cut::Cuts::probe(&nursery, terms.control),
            shaper: packet::Shaper::probe(&nursery, terms.control),
            dials: clock::Dials::default(),
            frozen: BTreeMap::new(),
            clock_trouble: crate::clock::support().err().map(|error| error.to_string()),
            turned,
            nursery,
            events,
            claimed: None,
        };
        Ok((ledger, recovered))
    }

    /// What this node can do to itself, as [`crate::protocol::Hello`] says it.
    pub fn offers(&self) -> Vec<String> {
        let mut offers = Vec::new();
        offers.extend(self.cuts.offers());
        offers.extend(self.shaper.offers());
        offers.extend(self.clock_trouble.is_none().then_some("vdso"));
        offers.extend(self.turned.is_some().then_some("set-clock"));
        offers.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn write(&mut self, record: Record) -> Result<()> {
        self.journal
            .write(record)
            .map_err(doing("write the undo journal"))
    }

    pub(crate) fn daemon(&mut self, name: &str) -> Result<&mut Supervised> {
        self.daemons
            .get_mut(name)
            .ok_or_else(|| Error::NoDaemon(name.to_owned()))
    }

    /// The faults in force for which `is` holds.
    pub(crate) fn demanded(&self, is: impl Fn(&Fault) -> bool) -> Vec<u64> {
        let wanted = self.faults.iter().filter(|(_, kind)| is(kind));
        wanted.map(|(fault, _)| *fault).collect()
    }

    /// Starts a daemon that does not run.
    pub fn start(&mut self, spec: Daemon) -> Result<Started> {
        supervise::check(&spec)?;
        let name = spec.name.clone();
        let killed = self.demanded(|kind| kill::is_of(kind, &name));
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
    pub(crate) fn launch(&mut self, name: &str) -> Result<Ident> {
        let marker = self.nursery.marker(name);
        let daemon = self.daemon(name)?;
        let program = daemon.spec.argv[0].clone();
        let mut command = supervise::command(&daemon.spec, &marker)?;
        let events = self.events.clone();
        let (tell, told) = std::sync::mpsc::channel::<Ident>();
        let of = name.to_owned();
        let shift = clock::for_start(self, name);
        let failed = |source| Error::Io {
            doing: format!("start daemon {name:?} ({program})"),
            source,
        };
        let birth = move || {
            let (pid, patch) = match shift {
                None => (command.spawn()?.id(), None),
                Some(shift) => match crate::clock::spawn(&mut command, &shift) {
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
            clock::started(self, name, root, patch)?;
        }
        if !pause::stoppers(self, name).is_empty() {
            pause::hold(self, name)?;
        }
        Ok(root)
    }

    /// Asks a daemon to end; the caller waits, and insists if it must.
    pub fn terminate(&mut self, name: &str) -> Result<()> {
        let daemon = self.daemon(name)?;
        daemon.wanted = false;
        let claimed = self.claim(name);
        self.daemon(name)?.signal(Signal::TERM)?;
        claimed.map(|_| ())
    }

    /// Applies a fault.
    pub fn inject(&mut self, fault: u64, kind: Fault) -> Result<Evidence> {
        if self.faults.contains_key(&fault) {
            return Err(Error::Refused(format!("fault {fault} is in force already")));
        }
        match &kind {
            Fault::Cut { rules } => {
                self.cuts.check(rules)?;
                cut::refuse_foreign(&self.nursery)?;
            }
            Fault::Packet { netem, .. } => self.shaper.check(netem)?,
            Fault::Pause { daemon, ports } | Fault::Kill { daemon, ports } => {
                self.daemon(daemon)?.told_ports.extend(ports);
            }
            Fault::Clock { daemon, how } => match wall::is_of(self, how) {
                true => drop(self.daemon(daemon)?),
                false => clock::check(self, daemon, how)?,
            },
        }
        let name = name(&kind);
        self.write(Record::Inject {
            fault,
            kind: kind.clone(),
        })?;
        failpoint(&format!("{name}:journalled"));
        self.faults.insert(fault, kind.clone());
        let applied = match kind {
            Fault::Cut { .. } => cut::inject(self, fault),
            Fault::Packet { .. } => packet::inject(self, fault),
            Fault::Pause { daemon, .. } => pause::inject(self, &daemon),
            Fault::Kill { daemon, .. } => kill::inject(self, &daemon),
            Fault::Clock { daemon, how } => match wall::is_of(self, &how) {
                true => wall::inject(self, fault, &how),
                false => clock::inject(self, fault, &daemon),
            },
        };
        failpoint(&format!("{name}:applied"));
        applied.map_err(|error| match self.heal(fault) {
            Ok(_) => error,
            Err(also) => Error::Refused(format!("{error}; and it could not be undone: {also}")),
        })
    }

    /// Undoes one fault. If that fails it stays in the ledger, to be tried again.
    pub fn heal(&mut self, fault: u64) -> Result<Evidence> {
        let Some(kind) = self.faults.remove(&fault) else {
            return Ok(Evidence {
                held: true,
                evidence: vec![format!("fault {fault} is not in force")],
                void: vec![format!(
                    "fault {fault} was not in force any more when it was to be taken back"
                )],
            });
        };
        let undone = match &kind {
            Fault::Cut { .. } => cut::heal(self, fault),
            Fault::Packet { .. } => packet::heal(self, fault),
            Fault::Pause { daemon, .. } => pause::heal(self, daemon),
            Fault::Kill { daemon, .. } => kill::heal(self, daemon),
            Fault::Clock { daemon, how } => match wall::is_of(self, how) {
                true => wall::heal(self, fault),
                false => clock::heal(self, fault, daemon, how),
            },
        };
        let evidence = match undone {
            Ok(evidence) => evidence,
            Err(error) => {
                self.faults.insert(fault, kind);
                return Err(error);
            }
        };
        failpoint(&format!("{}:healed", name(&kind)));
        // To clear it takes no room on a disk that may be full.
        if !self.clear_if_whole()? {
            self.write(Record::Healed { fault })?;
        }
        Ok(evidence)
    }

    /// Empties the journal when nothing is left to undo. `false`: something is.
    fn clear_if_whole(&mut self) -> Result<bool> {
        let whole = self.faults.is_empty() && !clock::lags(self);
        if whole {
            self.journal
                .clear()
                .map_err(doing("clear the undo journal"))?;
        }
        Ok(whole)
    }

    /// Undoes every fault, the youngest first. One that cannot be undone does not keep the others.
    pub fn heal_all(&mut self) -> Evidence {
        let mut all = Evidence {
            void: Vec::new(),
            held: true,
            evidence: Vec::new(),
        };
        let faults: Vec<u64> = self.faults.keys().rev().copied().collect();
        for fault in faults {
            match self.heal(fault) {
                Ok(one) => {
                    all.held &= one.held;
                    let lines = one.evidence.into_iter();
                    all.evidence
                        .extend(lines.map(|line| format!("fault {fault}: {line}")));
                    let void = one.void.into_iter();
                    all.void
                        .extend(void.map(|why| format!("fault {fault}: {why}")));
                }
                Err(error) => {
                    all.held = false;
                    all.evidence.push(format!("fault {fault}: {error}"));
                }
            }
        }
        match clock::forget_kept(self).and_then(|deeds| {
            self.clear_if_whole()?;
            Ok(deeds)
        }) {
            Ok(deeds) => all.evidence.extend(deeds),
            Err(error) => {
                all.held = false;
                all.evidence.push(error.to_string());
            }
        }
        if all.evidence.is_empty() {
            all.evidence.push("no fault was in force".into());
        }
        all
    }

    pub fn in_force(&self) -> Vec<u64> {
        self.faults.keys().copied().collect()
    }

    /// What must be looked after while nothing is asked. Returns what went wrong.
    /// `whole`: logs and trees too, not only what cannot wait.
    pub fn tick(&mut self, whole: bool) -> Vec<String> {
        let mut troubles = clock::tick(self);
        if !whole {
            return troubles;
        }
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
                if let Err(error) = self.claim(&name) {
                    troubles.push(error.to_string());
                }
            }
        }
        troubles
    }
}

impl Ledger {
    /// When [`Ledger::tick`] is due, if anything cannot wait.
    pub fn next_tick(&self) -> Option<Instant> {
        clock::next_tick(self)
    }

    pub(crate) fn wake(&self, event: Event) {
        // Nobody listens any more when the agent is on its way out.
        let _ = self.events.send(event);
    }
}

/// A fault's name in failpoints.
fn name(kind: &Fault) -> &'static str {
    match kind {
        Fault::Cut { .. } => "cut",
        Fault::Packet { .. } => "packet",
        Fault::Pause { .. } => "pause",
        Fault::Kill { .. } => "kill",
        Fault::Clock { .. } => "clock",
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
    loop {
        if is()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What was undone of a dead agent's doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub faults: Vec<u64>,
    /// One deed a line.
    pub deeds: Vec<String>,
}

/// Undoes what a dead agent's journal says is left, and ends what is left of its daemons: they end
/// with their agent, however that ends. Idempotent.
fn recover(left: &Left, nursery: &Arc<Nursery>) -> Result<Recovered> {
    let mut recovered = Recovered {
        faults: left.faults.keys().copied().collect(),
        deeds: Vec::new(),
    };
    let deeds = &mut recovered.deeds;
    if left.cut {
        deeds.extend(cut::clear(nursery)?);
    }
    for device in &left.devices {
        if packet::clear(nursery, device)? {
            deeds.push(format!("deleted the queueing discipline of {device}"));
        }
    }
    deeds.extend(wall::recover(left, nursery)?);
    // Before the rest is resumed: what is stopped forks and execs nothing.
    let strays = || {
        tree::marked_with_prefix(&format!("{}/", nursery.prefix()))
            .map_err(io("list", Path::new("/proc")))
    };
    for ident in strays()? {
        deeds.push(format!("killed {ident}, left of a daemon"));
    }
    let ended = wait_until(TAKES_HOLD, || {
        let strays = strays()?;
        for ident in &strays {
            tree::signal(*ident, Signal::KILL).map_err(|source| Error::Io {
                doing: format!("kill {ident}"),
                source,
            })?;
        }
        Ok(strays.is_empty())
    })?;
    if !ended {
        deeds.push("some processes of its daemons do not die".into());
    }
    for ident in &left.stopped {
        let resumed = tree::signal(*ident, Signal::CONT).map_err(|source| Error::Io {
            doing: format!("resume {ident}"),
            source,
        })?;
        if resumed {
            deeds.push(format!("resumed {ident}"));
        }
    }
    for ident in &left.shifted {
        match clock::remove(*ident) {
            Ok(deed) => deeds.push(deed),
            Err(ClockError::Gone { .. }) => {}
            // Most likely it is no descendant and may not be touched; it is killed below.
            Err(error) => deeds.push(format!("cannot set its clocks right: {error}")),
        }
    }
    Ok(recovered)
}

/// DIR's own name, by which what was started from it is found: drawn once, kept in `DIR/id`.
pub fn identity(dir: &Folder) -> Result<String> {
    let path = dir.path().join("id");
    let mut id = String::new();
    let mut known = dir.file("id", OFlags::empty())?;
    known.read_to_string(&mut id).map_err(io("read", &path))?;
    if !id.is_empty() {
        return Ok(id);
    }
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let id = fs::read_to_string(source).map_err(io("read", source))?;
    let id = id.trim();
    dir.replace("id", id.as_bytes())?;
    Ok(id.to_owned())
}
