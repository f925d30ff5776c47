//! What is done to this node, and how each fault is undone: a journal, and a list of mechanisms.
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

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::error::{Error, Result, doing, io};
use crate::fault::{cut, kill, packet, pause, reading, vdso, wallclock};
use crate::folder::Folder;
use crate::journal::{Journal, Left, Record};
use crate::mechanism::Mechanism;
use crate::nursery::Nursery;
use crate::protocol::{Clocks, Control, Evidence, Fault};
use crate::site::{Event, Site, TAKES_HOLD, failpoint, wait_until};
use crate::tree;

pub struct Ledger {
    pub(crate) site: Site,
    mechanisms: Vec<Box<dyn Mechanism>>,
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
        let turned = terms.machine_clock.as_deref();
        let turned = turned.map(wallclock::Turned::open).transpose();
        let turned = turned
            .map_err(|why| Error::Refused(format!("this machine's clock may not be set: {why}")))?;
        let mut mechanisms: Vec<Box<dyn Mechanism>> = vec![
            Box::new(cut::Cuts::probe(&nursery, terms.control)),
            Box::new(packet::Shaper::probe(&nursery, terms.control)),
            Box::new(pause::Pause),
            Box::new(kill::Kill),
            Box::new(vdso::Vdso::probe(turned.is_some())),
        ];
        mechanisms.extend(turned.map(|turned| Box::new(turned) as _));
        let ledger = Ledger {
            site: Site::new(journal, nursery, events),
            mechanisms,
        };
        Ok((ledger, recovered))
    }

    /// What this node can do to itself, as [`crate::protocol::Hello`] says it.
    pub fn offers(&self) -> Vec<String> {
        let offers = self.mechanisms.iter().flat_map(|m| m.offers());
        offers.map(str::to_owned).collect()
    }

    /// The node, and who does a fault of this kind to it.
    fn parts(&mut self, kind: &Fault) -> Result<(&mut Site, &mut dyn Mechanism)> {
        let mut mechanisms = self.mechanisms.iter_mut();
        match mechanisms.find(|mechanism| mechanism.takes(kind)) {
            Some(mechanism) => Ok((&mut self.site, mechanism.as_mut())),
            None => Err(Error::Refused(format!(
                "this agent has no mechanism for it: {kind:?}"
            ))),
        }
    }

    /// Applies a fault.
    pub fn inject(&mut self, fault: u64, kind: Fault) -> Result<Evidence> {
        if self.site.faults.contains_key(&fault) {
            return Err(Error::Refused(format!("fault {fault} is in force already")));
        }
        let (site, mechanism) = self.parts(&kind)?;
        mechanism.check(site, &kind)?;
        let name = mechanism.name();
        site.write(Record::Inject {
            fault,
            kind: kind.clone(),
        })?;
        failpoint(&format!("{name}:journalled"));
        site.faults.insert(fault, kind.clone());
        let applied = mechanism.inject(site, fault, &kind);
        failpoint(&format!("{name}:applied"));
        applied.map_err(|error| match self.heal(fault) {
            Ok(_) => error,
            Err(also) => Error::Refused(format!("{error}; and it could not be undone: {also}")),
        })
    }

    /// Undoes one fault. If that fails it stays in the ledger, to be tried again.
    pub fn heal(&mut self, fault: u64) -> Result<Evidence> {
        let Some(kind) = self.site.faults.get(&fault).cloned() else {
            return Ok(Evidence {
                held: true,
                evidence: vec![format!("fault {fault} is not in force")],
                void: vec![format!(
                    "fault {fault} was not in force any more when it was to be taken back"
                )],
            });
        };
        let (site, mechanism) = self.parts(&kind)?;
        site.faults.remove(&fault);
        let evidence = match mechanism.heal(site, fault, &kind) {
            Ok(evidence) => evidence,
            Err(error) => {
                site.faults.insert(fault, kind);
                return Err(error);
            }
        };
        failpoint(&format!("{}:healed", mechanism.name()));
        // To clear it takes no room on a disk that may be full.
        if !self.clear_if_whole()? {
            self.site.write(Record::Healed { fault })?;
        }
        Ok(evidence)
    }

    /// Empties the journal when nothing is left to undo. `false`: something is.
    fn clear_if_whole(&mut self) -> Result<bool> {
        let site = &mut self.site;
        let left = self.mechanisms.iter().any(|m| m.leaves(site));
        let whole = site.faults.is_empty() && !left;
        if whole {
            let cleared = site.journal.clear();
            cleared.map_err(doing("clear the undo journal"))?;
        }
        Ok(whole)
    }

    /// Takes away what healed faults left on purpose.
    fn forget(&mut self) -> Result<Vec<String>> {
        let mut deeds = Vec::new();
        for mechanism in &mut self.mechanisms {
            deeds.extend(mechanism.forget(&mut self.site)?);
        }
        self.clear_if_whole()?;
        Ok(deeds)
    }

    /// Undoes every fault, the youngest first. One that cannot be undone does not keep the others.
    pub fn heal_all(&mut self) -> Evidence {
        let mut all = Evidence {
            void: Vec::new(),
            held: true,
            evidence: Vec::new(),
        };
        let faults: Vec<u64> = self.site.faults.keys().rev().copied().collect();
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
        match self.forget() {
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
        self.site.faults.keys().copied().collect()
    }

    /// What must be looked after while nothing is asked. Returns what went wrong.
    /// `whole`: logs and trees too, not only what cannot wait.
    pub fn tick(&mut self, whole: bool) -> Vec<String> {
        let mut troubles = Vec::new();
        for mechanism in &mut self.mechanisms {
            troubles.extend(mechanism.tick(&mut self.site));
        }
        if whole {
            troubles.extend(self.site.tick());
        }
        troubles
    }

    /// When [`Ledger::tick`] is due, if anything cannot wait.
    pub fn next_tick(&self) -> Option<Instant> {
        let next = self.mechanisms.iter();
        next.filter_map(|m| m.next_tick(&self.site)).min()
    }

    /// What the node's clocks say, and those of a daemon.
    pub fn clocks(&mut self, daemon: Option<&str>) -> Result<Clocks> {
        let mut clocks = reading::read(&mut self.site, daemon)?;
        for mechanism in &self.mechanisms {
            mechanism.correct(&mut clocks);
        }
        Ok(clocks)
    }

    /// What a machine does not know of itself: it stood still for so long.
    pub fn make_up(&mut self, lost_ns: i64) -> Result<Evidence> {
        let site = &mut self.site;
        let mut done = self.mechanisms.iter_mut();
        done.find_map(|m| m.make_up(site, lost_ns))
            .unwrap_or_else(|| {
                let why = "this machine's clock may not be set, and so nothing is made up for";
                Err(Error::Refused(why.into()))
            })
    }
}

/// What was undone of a dead agent's doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub faults: Vec<u64>,
    /// One deed a line.
    pub deeds: Vec<String>,
}

/// Undoes what a dead agent left of one kind. Returns what it did.
type Recovery = fn(&Left, &Arc<Nursery>) -> Result<Vec<String>>;

/// How each mechanism undoes what a dead agent did, in this order. The daemons end before the rest
/// is resumed: what is stopped forks and execs nothing.
const RECOVERIES: [Recovery; 6] = [
    cut::recover,
    packet::recover,
    wallclock::recover,
    end_strays,
    pause::recover,
    vdso::recover,
];

/// Undoes what a dead agent's journal says is left, and ends what is left of its daemons: they end
/// with their agent, however that ends. Idempotent.
fn recover(left: &Left, nursery: &Arc<Nursery>) -> Result<Recovered> {
    let mut deeds = Vec::new();
    for recovery in RECOVERIES {
        deeds.extend(recovery(left, nursery)?);
    }
    Ok(Recovered {
        faults: left.faults.keys().copied().collect(),
        deeds,
    })
}

fn end_strays(_: &Left, nursery: &Arc<Nursery>) -> Result<Vec<String>> {
    let strays = || {
        tree::marked_with_prefix(&format!("{}/", nursery.prefix()))
            .map_err(io("list", Path::new("/proc")))
    };
    let mut deeds = Vec::new();
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
    Ok(deeds)
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
