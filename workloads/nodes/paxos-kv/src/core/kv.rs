//! The replicated state: a map of JSON values, leases, and the sessions that make requests
//! exactly-once.
//!
//! Everything here must come out the same on every node, so it depends on nothing but the commands
//! and their order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::lease::Leases;
use super::message::{Batch, Command, Digest, Op, Outcome, Query, Slot};

/// So many sessions are remembered; beyond it the quarter that was silent for longest is forgotten.
pub const SESSIONS: usize = 8192;

/// A value that a session's outcome names is remembered up to this length.
const REMEMBERED: usize = 4 << 10;
/// A value is no longer than this, so that one answer holds up the protocol for milliseconds at
/// most.
pub const VALUE_MAX: usize = 4 << 20;
/// A range ends with the entry that makes it this long, and is then a page of it: what comes after
/// is of another moment.
pub const RANGE_BYTES: usize = 4 << 20;

/// A value as JSON text, with its length if it is known to be a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    json: String,
    /// Saves counting the elements at each append.
    length: Option<u64>,
}

/// What is remembered of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// Requests below this are settled: they are never applied (again).
    settled: u64,
    /// Outcomes of the others that were applied, with their slots.
    outcomes: BTreeMap<u64, (Slot, Outcome)>,
    /// When it was last heard of, for forgetting.
    last: Slot,
}

/// The state after all slots up to `applied`. Its maps share what they have in common with their
/// clones, so a clone costs the same however large the state is, and a change what it touches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kv {
    /// The last slot that was applied.
    pub applied: Slot,
    /// The rolling hash of all batches up to there.
    pub chain: Digest,
    /// How often a key was changed so far. Each change has the number that it made.
    pub revision: u64,
    /// The keys that are held; they have nothing to do with those that have values.
    pub leases: Leases,
    map: OrdMap<String, Arc<Item>>,
    sessions: OrdMap<String, Session>,
}

/// What came of a command in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it really happened: a repeated command has the outcome of its first application.
    pub slot: Slot,
    pub outcome: Outcome,
    /// Whether this very time it changed the state, or could have: it is no read, and was not
    /// known.
    pub ran: bool,
    /// The revision that it made, if it changed a key.
    pub revision: Option<u64>,
}

impl Kv {
    /// Applies the next slot and returns what came of each command.
    ///
    /// With `dedup` off (the flaw `duplicate-apply`) sessions are not consulted.
    pub fn apply(
        &mut self,
        slot: Slot,
        batch: &Batch,
        digest: Digest,
        dedup: bool,
    ) -> Vec<Applied> {
        assert_eq!(slot, self.applied + 1, "slots are applied in order");
        self.applied = slot;
        self.chain = self.chain.chain(slot, digest);
        batch
            .commands
            .iter()
            .map(|command| self.apply_one(slot, command, dedup))
            .collect()
    }

    fn apply_one(&mut self, slot: Slot, command: &Command, dedup: bool) -> Applied {
        let before = |(slot, outcome)| Applied {
            slot,
            outcome,
            ran: false,
            revision: None,
        };
        if let Op::Read(query) = &command.op {
            // A read leaves no trace, so to run it twice does no harm and there is nothing to
            // remember.
            return before((slot, self.read(query)));
        }
        if dedup && let Some(known) = self.remembered(&command.session, command.sequence) {
            return before(known);
        }
        let revision = self.revision;
        let outcome = self.run(&command.op);
        let session = self.sessions.entry(command.session.clone()).or_default();
        session.last = slot;
        if command.settled > session.settled {
            session.settled = command.settled;
            session.outcomes = session.outcomes.split_off(&command.settled);
        }
        let remembered = match &outcome {
            Outcome::NotSwapped {
                actual: Some(actual),
            } if actual.len() > REMEMBERED => Outcome::NotSwappedFromLong,
            outcome => outcome.clone(),
        };
        session
            .outcomes
            .insert(command.sequence, (slot, remembered));
        if self.sessions.len() > SESSIONS {
            self.forget_sessions();
        }
        Applied {
            slot,
            outcome,
            ran: true,
            revision: (self.revision > revision).then_some(self.revision),
        }
    }

    /// The outcome of a request that was applied before, or `Superseded` for one that is settled.
    pub fn remembered(&self, session: &str, sequence: u64) -> Option<(Slot, Outcome)> {
        let known = self.sessions.get(session)?;
        if let Some(outcome) = known.outcomes.get(&sequence) {
            return Some(outcome.clone());
        }
        (sequence < known.settled).then_some((self.applied, Outcome::Superseded))
    }

    /// The values and sessions of an earlier state under the index of this one. Only for the flaw
    /// `index-ahead-of-state`.
    pub(super) fn fall_back_to(&mut self, earlier: Kv) {
        let index = (self.applied, self.chain, self.revision);
        *self = earlier;
        (self.applied, self.chain, self.revision) = index;
    }

    /// The values without the sessions. Only for the flaw `sessions-not-in-snapshot`.
    pub(super) fn forget_all_sessions(&mut self) {
        self.sessions.clear();
    }

    fn forget_sessions(&mut self) {
        let mut last: Vec<Slot> = self.sessions.values().map(|session| session.last).collect();
        last.sort_unstable();
        let bound = last[last.len() / 4];
        let kept = self.sessions.iter();
        let kept = kept.filter(|(_, session)| session.last > bound);
        self.sessions = kept
            .map(|(name, session)| (name.clone(), session.clone()))
            .collect();
    }

    fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Put { key, value } => {
                let revision = self.set(key, value);
                Outcome::Written { revision }
            }
            Op::Cas { key, from, to } => {
                let actual = self.map.get(key).map(|item| &item.json);
                if actual == from.as_ref() {
                    let revision = self.set(key, to);
                    Outcome::Swapped { revision }
                } else {
                    Outcome::NotSwapped {
                        actual: actual.cloned(),
                    }
                }
            }
            Op::SwapUnchecked { key, to } => {
                let revision = self.set(key, to);
                Outcome::Swapped { revision }
            }
            Op::Append { key, element } => self.append(key, element),
            Op::Delete { key } => {
                if self.map.remove(key).is_some() {
                    self.revision += 1;
                }
                let revision = self.revision;
                Outcome::Written { revision }
            }
            Op::Grant {
                key,
                holder,
                ttl_ms,
            } => self.leases.grant(key, holder, *ttl_ms),
            Op::Renew { key, lease } => self.leases.renew(key, *lease),
            Op::Release { key, lease } => self.leases.end(key, *lease, None),
            Op::Expire {
                key,
                lease,
                renewals,
            } => self.leases.end(key, *lease, *renewals),
            Op::Read(query) => self.read(query),
        }
    }

    /// Returns the revision that it makes.
    fn set(&mut self, key: &str, json: &str) -> u64 {
        self.map.insert(
            key.to_owned(),
            Arc::new(Item {
                json: json.to_owned(),
                length: None,
            }),
        );
        self.revision += 1;
        self.revision
    }

    fn append(&mut self, key: &str, element: &str) -> Outcome {
        let Some(item) = self.map.get_mut(key) else {
            self.map.insert(
                key.to_owned(),
                Arc::new(Item {
                    json: format!("[{element}]"),
                    length: Some(1),
                }),
            );
            self.revision += 1;
            let revision = self.revision;
            return Outcome::Appended {
                length: 1,
                revision,
            };
        };
        let length = match item.length {
            Some(length) => length,
            None => match serde_json::from_str::<Vec<serde::de::IgnoredAny>>(&item.json) {
                Ok(list) => list.len() as u64,
                Err(_) => return Outcome::NotAList,
            },
        };
        if item.json.len() + 1 + element.len() > VALUE_MAX {
            return Outcome::TooLong;
        }
        let item = Arc::make_mut(item);
        item.json.pop();
        if length > 0 {
            item.json.push(',');
        }
        item.json.push_str(element);
        item.json.push(']');
        let length = length + 1;
        item.length = Some(length);
        self.revision += 1;
        let revision = self.revision;
        Outcome::Appended { length, revision }
    }

    /// Answers a query from this state.
    pub fn read(&self, query: &Query) -> Outcome {
        match query {
            Query::Get { key } => Outcome::Value(self.map.get(key).map(|item| item.json.clone())),
            Query::Range {
                prefix,
                after,
                limit,
            } => self.page(prefix, after.as_deref(), *limit),
        }
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: u32) -> Outcome {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rest = self
            .map
            .range::<_, str>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < limit as usize && bytes < RANGE_BYTES {
            let Some((key, item)) = rest.next() else {
                break;
            };
            bytes += key.len() + item.json.len();
            entries.push((key.clone(), item.json.clone()));
        }
        Outcome::Entries {
            entries,
            more: rest.peek().is_some(),
        }
    }

    /// Whether a compare-and-set from `from` would swap now, and the value there is.
    pub fn compare(&self, key: &str, from: Option<&String>) -> (bool, Option<String>) {
        let actual = self.map.get(key).map(|item| &item.json);
        (actual == from, actual.cloned())
    }

    /// The state as bytes, for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data has an encoding")
    }

    /// The state from a snapshot's bytes.
    ///
    /// # Errors
    /// The decoder's message when they are none.
    pub fn decode(bytes: &[u8]) -> Result<Kv, String> {
        match postcard::take_from_bytes(bytes) {
            Ok((kv, [])) => Ok(kv),
            Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
