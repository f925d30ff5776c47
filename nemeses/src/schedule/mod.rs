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
//! every target is a name, save `leader`, which is decided when the fault begins. So a saved
//! schedule is the same run again. Times count from the start of the main phase.

mod draw;
mod length;
mod quorum;
mod rules;
mod spec;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::nemesis::Planned;

pub use draw::{DrawError, Tuning, draw};
pub use length::Length;
pub use quorum::{Whole, quorum_whole};
pub use rules::Complaint;
pub use spec::{FaultSpec, NemesisSpec, SpecError};
pub use text::{Problem, ScheduleError};

use crate::family::{Need, What};

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

impl Schedule {
    /// The faults, ready to be run: numbered from 0 in the order of the schedule.
    pub fn plan(&self) -> Vec<Planned> {
        (0..)
            .zip(&self.entries)
            .map(|(number, entry)| Planned {
                number,
                at: entry.at,
                lasts: entry.lasts,
                fault: (entry.what.shape.make)(&entry.what),
            })
            .collect()
    }

    /// What the nodes must be able to do, by fault: for [`crate::missing`].
    pub fn needs(&self) -> BTreeMap<String, &'static [Need]> {
        self.entries
            .iter()
            .map(|entry| (entry.what.name(), entry.what.shape.needs))
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
