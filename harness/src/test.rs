//! What a run is made of, and what the harness notes beside its history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::Connect;
use crate::closing::Closing;
use crate::cluster::Node;
use crate::generator::Generator;
use crate::nemesis::Planned;
use crate::recorder::Quantiles;
use crate::scheduler::Pace;
use crate::seed::Seed;
use crate::system::System;

/// Everything that a run needs, concrete.
pub struct Test {
    pub seed: Seed,
    pub system: Arc<dyn System>,
    pub connect: Arc<dyn Connect>,
    pub generator: Box<dyn Generator>,
    /// Asked after everything is healed: a write at every node, a last read of everything from
    /// each.
    pub closing: Option<Closing>,
    pub schedule: Vec<Planned>,
    /// How operations are offered.
    pub pace: Pace,
    pub workers: usize,
    /// Length of the main phase.
    pub time_limit: Duration,
    pub op_timeout: Duration,
    /// See [`System::recovery_time`], which holds where nothing is said.
    pub recovery_time: Option<Duration>,
    /// What the nodes lack, asked once they are up and before anything else is done: one line each.
    pub lacking: Lacking,
}

/// See [`Test::lacking`].
pub type Lacking = Box<dyn Fn(&[Node]) -> Vec<String> + Send>;

/// What the harness itself has to say about a run, kept beside the history in `results.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// What the system says it is, one line for each different answer.
    pub versions: Vec<String>,
    /// SHA-256 of every program that was provided, by its name: whether two runs had the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
    /// The harness could not do its work: each is a reason for `infra`.
    pub failures: Vec<String>,
    /// Things that a reader should know and that decide nothing.
    pub warnings: Vec<String>,
    /// From the end of an operation to its event in the history.
    pub recorder_delay: Option<Quantiles>,
    /// Start of the main phase, in nanoseconds of the history's time.
    pub main_from_ns: u64,
    /// End of the main phase.
    pub main_until_ns: u64,
    /// Somebody stopped the run before its end, or its judging.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}
