//! Schedules: the faults of a run with their times, targets and figures.
//!
//! ```toml
//! version = 1
//! seed = 42
//!
//! [[fault]]
//! at = "2.3s"
//! lasts = "4s"
//! family = "partition"
//! shape = "majority-minority"
//! targets = ["n2", "n5"]
//! ```
//!
//! A schedule is drawn from a seed ([`draw`]) or written by a person, and it is settled either way:
//! every target is a name, save `leader`, which is decided when the fault begins. So a saved schedule
//! is the same run again. Times count from the start of the main phase.

mod dice;
mod draw;
mod length;
mod quorum;
mod rules;
mod spec;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness::nemesis::{Fault, Planned};

pub use draw::{DrawError, Tuning, draw};
pub use length::Length;
pub use quorum::{Whole, quorum_whole};
pub use rules::Complaint;
pub use spec::{FaultSpec, NemesisSpec, SpecError};
pub use text::{Problem, ScheduleError};

use crate::apply::Applied;
use crate::clock::Clock;
use crate::kill::Kill;
use crate::machine::{Machine, Struck};
use crate::packet::Packet;
use crate::partition::Partition;
use crate::pause::Pause;
use crate::registry::{Family, Need, Shape};
use crate::targets::Targets;

/// Version of the file format. A file of another version is refused.
pub const VERSION: u32 = 1;

/// The faults of a run, by the time at which they begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// What it was drawn from; what is left open in a file by hand is settled by it.
    pub seed: u64,
    pub entries: Vec<Entry>,
}

/// One fault and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the start of the main phase.
    pub at: Duration,
    /// None: until the end of the main phase.
    pub lasts: Option<Duration>,
    pub what: What,
}

/// What a fault does, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Partition(Partition),
    Pause(Pause),
    Kill(Kill),
    Clock(Clock),
    Packet(Packet),
    Machine(Machine),
}

impl Schedule {
    /// The faults, ready to be run: numbered from 0 in the order of the schedule.
    pub fn plan(&self) -> Vec<Planned> {
        (0..)
            .zip(&self.entries)
            .map(|(number, entry)| Planned {
                number,
                at: entry.at,
                lasts: entry.lasts,
                fault: entry.what.fault(),
            })
            .collect()
    }

    /// What the nodes must be able to do, by fault: for [`crate::missing`].
    pub fn needs(&self) -> BTreeMap<String, &'static [Need]> {
        self.entries
            .iter()
            .map(|entry| (entry.what.name(), entry.what.needs()))
            .collect()
    }

    /// When the last fault ends; one that lasts to the end of the run counts from its beginning.
    pub fn ends(&self) -> Duration {
        let end = |e: &Entry| e.at + e.lasts.unwrap_or_default();
        self.entries.iter().map(end).max().unwrap_or_default()
    }
}

impl Entry {
    /// When it ends; none: with the main phase.
    pub fn ends(&self) -> Option<Duration> {
        self.lasts.map(|lasts| self.at + lasts)
    }
}

impl What {
    pub fn family(&self) -> Family {
        match self {
            What::Partition(_) => Family::Partition,
            What::Pause(_) => Family::Pause,
            What::Kill(_) => Family::Kill,
            What::Clock(_) => Family::Clock,
            What::Packet(_) => Family::Packet,
            What::Machine(_) => Family::Machine,
        }
    }

    /// Whom it hits; none for a partition, where its shape says that.
    fn targets(&self) -> Option<&Targets> {
        match self {
            What::Partition(_) => None,
            What::Pause(p) => Some(&p.targets),
            What::Kill(k) => Some(&k.targets),
            What::Clock(c) => Some(&c.targets),
            What::Packet(p) => Some(&p.targets),
            What::Machine(m) => Some(&m.targets),
        }
    }

    /// Whether it has to be asked who leads.
    pub fn asks_for_leader(&self) -> bool {
        match self {
            What::Partition(p) => p.topology.asks_for_leader(),
            _ => self.targets() == Some(&Targets::Leader),
        }
    }

    /// None for a family whose shapes only say who is hit.
    pub fn shape(&self) -> Option<&'static Shape> {
        match self {
            What::Partition(p) => Some(p.topology.shape()),
            What::Pause(_) | What::Kill(_) => None,
            What::Clock(c) => Some(c.warp.shape()),
            What::Packet(p) => Some(p.effect.shape()),
            What::Machine(m) => Some(m.blow.shape()),
        }
    }

    /// `partition:halves`, `kill`.
    pub fn name(&self) -> String {
        match self.shape() {
            Some(shape) => format!("{}:{}", self.family(), shape.name),
            None => self.family().to_string(),
        }
    }

    pub fn needs(&self) -> &'static [Need] {
        self.shape().map_or(&[], |shape| shape.needs)
    }

    /// A fault to be injected, with a memory of its own.
    fn fault(&self) -> Arc<dyn Fault> {
        match self.clone() {
            What::Partition(policy) => Arc::new(Applied::new(policy)),
            What::Pause(policy) => Arc::new(Applied::new(policy)),
            What::Kill(policy) => Arc::new(Applied::new(policy)),
            What::Clock(policy) => Arc::new(Applied::new(policy)),
            What::Packet(policy) => Arc::new(Applied::new(policy)),
            What::Machine(policy) => Arc::new(Struck::new(policy)),
        }
    }
}
