//! What became of the plan of operations: how many were due, and how many of them nobody was free
//! to ask.
//!
//! It is said by a [mark](crate::mark): now and then while anything is left out, so that it is
//! known of a run that was cut short too, and at the end of the phase. Numbers are those since the
//! phase began.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Name;

/// The value of such an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Operations whose time had come.
    pub due: u64,
    /// Those that were invoked.
    pub offered: u64,
    /// Not offered, because no client was free at their node in time. Nodes without any are left
    /// out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub busy: BTreeMap<Name, u64>,
    /// Not offered, because the harness itself was late.
    #[serde(default)]
    pub late: u64,
    /// How many clients there were, and the number of the first one's first process: every further
    /// process of a client has a number that is higher by the number of clients.
    pub workers: u64,
    #[serde(default)]
    pub first_process: u64,
}

impl Offered {
    /// Operations that were due and never invoked.
    pub fn not_offered(&self) -> u64 {
        self.late + self.busy.values().sum::<u64>()
    }

    /// Their share of what was due, from 0 to 1.
    pub fn share_not_offered(&self) -> f64 {
        match self.due {
            0 => 0.0,
            due => self.not_offered() as f64 / due as f64,
        }
    }

    /// Which client a process was, from 0.
    pub fn client(&self, process: u64) -> Option<u64> {
        let number = process.checked_sub(self.first_process)?;
        number.checked_rem(self.workers)
    }
}
