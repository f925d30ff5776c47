//! How a node begins: with what its disk holds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use nodekit::random::Random;

use super::kv::Kv;
use super::message::*;
use super::{Config, Core, Event, Now, acceptor, election, feed, lease, nanos, replica, request};
use crate::flaws::Flaw;

/// So many slots lie between two savings of the state, says the flaw `index-ahead-of-state`.
const STATE_EVERY: Slot = 64;

/// What a node finds on its disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// How often the process was started, this time included.
    pub incarnation: u64,
    /// The newest snapshot's state, as [`Kv::encode`] made it.
    pub snapshot: Option<Arc<Vec<u8>>>,
    /// What was written since, in the order of writing.
    pub records: Vec<Record>,
}

impl Core {
    /// A node as its disk left it. Nothing happens before the first step.
    ///
    /// # Errors
    /// When the snapshot is not one.
    pub fn new(config: Config, mut recovered: Recovered, now: Now) -> Result<Core, String> {
        // FLAW rejoin-empty: nothing is read back.
        if config.flaws.has(Flaw::RejoinEmpty) {
            recovered.snapshot = None;
            recovered.records.clear();
        }
        let kv = match &recovered.snapshot {
            Some(bytes) => Kv::decode(bytes)?,
            None => Kv::default(),
        };
        let mut core = Core::blank(config, kv, recovered.snapshot, recovered.incarnation);
        core.now = core.protocol_time(now);
        // Whatever lease this node granted before it stopped, it must be over before it promises
        // again. FLAW no-grace-after-restart: that is not awaited.
        if !core.config.flaws.has(Flaw::NoGraceAfterRestart) {
            core.grant.until = core.now + nanos(core.config.lease);
        }
        core.reset_election();
        let decided = core.restore(recovered.records);
        let (promised, accepted) = (core.promised, core.log.keys().next_back().copied());
        core.replay(decided);
        core.effects.clear();
        let applied = core.kv.applied;
        core.trace(Event::Start {
            promised,
            accepted: accepted.unwrap_or(0).max(applied),
            decided: applied,
            last: core.log.get(&applied).map(|entry| entry.digest),
        });
        Ok(core)
    }

    /// A node that has this state, and has promised and accepted nothing.
    fn blank(config: Config, kv: Kv, snapshot: Option<Arc<Vec<u8>>>, incarnation: u64) -> Core {
        let slot = kv.applied;
        let name = &config.names[usize::from(config.me)];
        let session = format!("{name}.{incarnation}");
        let feed = feed::Feed::new(kv.revision);
        Core {
            random: Random(config.seed ^ (u64::from(config.me) << 48) ^ incarnation),
            now: 0,
            ticks: 0,
            elections: 0,
            promised: Ballot::default(),
            round: 0,
            log: BTreeMap::new(),
            truncated: slot,
            snapshots: replica::Snapshots::new(slot, snapshot),
            kv,
            role: election::State::Follower,
            leader: None,
            heard: 0,
            campaign: election::Campaign::default(),
            grant: acceptor::Grant::default(),
            journal: acceptor::Journal::new(slot),
            local: VecDeque::new(),
            effects: Vec::new(),
            fetching: None,
            requests: request::Requests::new(session, incarnation),
            awaiting: HashMap::new(),
            feed,
            timers: lease::Timers::default(),
            config,
        }
    }

    /// Takes in what the node had promised and accepted, and returns the last slot that it knew to
    /// be decided.
    fn restore(&mut self, records: Vec<Record>) -> Slot {
        let slot = self.kv.applied;
        let flaws = self.config.flaws;
        let mut decided = slot;
        for record in records {
            match record {
                Record::Started { .. } => {}
                // FLAW ballot-reuse: the promise is not restored.
                Record::Promised { .. } if flaws.has(Flaw::BallotReuse) => {}
                Record::Promised { ballot } => self.promised = self.promised.max(ballot),
                Record::Accepted(accepted) => {
                    // An accept implies a promise. FLAW unsynced-promise, ballot-reuse: not so
                    // here, or the accepts would hide that the promises are gone.
                    if !flaws.has(Flaw::BallotReuse) && !flaws.has(Flaw::UnsyncedPromise) {
                        self.promised = self.promised.max(accepted.ballot);
                    }
                    self.keep(accepted);
                }
                Record::Decided { slot } => decided = decided.max(slot),
            }
        }
        self.round = self.promised.round;
        self.log = self.log.split_off(&(slot + 1));
        decided
    }

    /// Applies what the log holds of the decided slots.
    fn replay(&mut self, decided: Slot) {
        // FLAW index-ahead-of-state: the state was saved some slots before the index.
        let lags = self.config.flaws.has(Flaw::IndexAheadOfState);
        let mut saved = None;
        while self.kv.applied < decided && self.log.contains_key(&(self.kv.applied + 1)) {
            if lags && self.kv.applied.is_multiple_of(STATE_EVERY) {
                saved = Some(self.kv.clone());
            }
            self.apply_next(false);
        }
        if let Some(saved) = saved {
            self.kv.fall_back_to(saved);
        }
    }
}
