//! The learner: applies what is decided, in order, fetches what it missed, and makes and installs
//! snapshots.

use std::sync::Arc;

use super::kv::{Applied, Kv};
use super::message::*;
use super::{Core, Effect, Entry, Event, election, nanos};
use crate::flaws::Flaw;

/// Entries and bytes in one reply to a fetch.
const FETCH_ENTRIES: usize = 256;
const FETCH_BYTES: usize = 1 << 20;
/// Bytes in one piece of a snapshot. A piece is asked for when the one before it has come.
const CHUNK: usize = 1 << 20;
/// No snapshot is larger; a peer that says so is not believed.
const SNAPSHOT_MAX: u64 = 1 << 30;

/// Catching up from a peer.
#[derive(Clone)]
pub(super) struct Fetching {
    peer: NodeIndex,
    /// When the last request went out or the last answer came in.
    pub(super) since: u64,
    /// The snapshot on its way, if it is one.
    snapshot: Option<(Slot, Vec<u8>)>,
}

/// The snapshots that this node has made or installed.
#[derive(Clone)]
pub(super) struct Snapshots {
    pub(super) last: Option<(Slot, Arc<Vec<u8>>)>,
    /// The one before it, for peers that have fetched a part of it.
    before: Option<(Slot, Arc<Vec<u8>>)>,
    /// The slot of the last snapshot that was begun.
    begun: Slot,
    /// What the flaw `snapshot-loses-tail` captured early.
    early: Option<Kv>,
    /// The slot of an installed snapshot that is not on the disk yet. Until it is, the state there
    /// is older than this node's, and what the log holds in between was accepted but perhaps never
    /// chosen.
    pub(super) installing: Option<Slot>,
}

impl Snapshots {
    /// What the disk has: a snapshot of this slot, if there is one.
    pub(super) fn new(slot: Slot, snapshot: Option<Arc<Vec<u8>>>) -> Snapshots {
        Snapshots {
            last: snapshot.map(|bytes| (slot, bytes)),
            before: None,
            begun: slot,
            early: None,
            installing: None,
        }
    }
}

impl Core {
    /// Takes in the leader's commit index: what was accepted in its ballot or a higher one is what
    /// was chosen.
    pub(super) fn learn_commit(&mut self, from: NodeIndex, ballot: Ballot, decided: Slot) {
        // FLAW commit-any-ballot: whatever is in the log counts.
        let any = self.config.flaws.has(Flaw::CommitAnyBallot);
        while self.kv.applied < decided {
            match self.log.get(&(self.kv.applied + 1)) {
                Some(entry) if entry.ballot >= ballot || any => self.decide_next(),
                _ => return self.fetch(from),
            }
        }
    }

    /// Decides the next slot, whose chosen batch is in the log.
    pub(super) fn decide_next(&mut self) {
        self.apply_next(true);
        self.maybe_snapshot();
    }

    /// Applies the next slot; `live` when it is news, not the log being read back at the start.
    pub(super) fn apply_next(&mut self, live: bool) {
        let slot = self.kv.applied + 1;
        let entry = self
            .log
            .get_mut(&slot)
            .expect("the caller saw the slot in the log");
        let dedup = !self.config.flaws.has(Flaw::DuplicateApply);
        // FLAW parallel-apply: whoever comes first is first.
        let outcomes = if self.config.flaws.has(Flaw::ParallelApply) {
            let chance = |bound| self.random.below(bound as u64) as usize;
            apply_in_any_order(&mut self.kv, slot, entry, dedup, chance)
        } else {
            self.kv.apply(slot, &entry.batch, entry.digest, dedup)
        };
        entry.chain = Some(self.kv.chain);
        entry.ran = outcomes.iter().map(|applied| applied.ran).collect();
        let revisions = outcomes.iter().map(|applied| applied.revision);
        self.feed.add(slot, revisions);
        if !live {
            return;
        }
        let Entry {
            ballot,
            digest,
            batch,
            ..
        } = entry.clone();
        self.trace(Event::Decide {
            slot,
            ballot,
            digest,
        });
        for (command, applied) in batch.commands.iter().zip(outcomes) {
            let Applied { slot, outcome, .. } = applied;
            let name = (command.session.clone(), command.sequence);
            self.forget_proposed(&name);
            self.answer_all(&name, &Answer { slot, outcome });
        }
    }

    /// Answers all who wait for this command.
    fn answer_all(&mut self, name: &(String, u64), answer: &Answer) {
        for waiter in self.awaiting.remove(name).unwrap_or_default() {
            self.answer(waiter, answer.clone());
        }
    }

    /// Asks a peer for what was decided, unless that is under way.
    pub(super) fn fetch(&mut self, peer: NodeIndex) {
        if self.fetching.is_none() && peer != self.config.me {
            self.fetching = Some(Fetching {
                peer,
                since: self.now,
                snapshot: None,
            });
            let from = self.kv.applied + 1;
            self.send(peer, Message::Fetch { from });
        }
    }

    /// A peer that does not answer is given up; the next heartbeat tells whether there is still
    /// something to fetch.
    pub(super) fn tick_fetch(&mut self) {
        let patience = 2 * nanos(self.config.heartbeat_interval);
        let Some(fetching) = &mut self.fetching else {
            return;
        };
        if self.now < fetching.since.saturating_add(patience) {
            return;
        }
        let peer = fetching.peer;
        match &fetching.snapshot {
            // Half a snapshot is worth another question.
            Some((slot, bytes)) if Some(peer) == self.leader.map(|ballot| ballot.node) => {
                fetching.since = self.now;
                let (slot, offset) = (*slot, bytes.len() as u64);
                self.send(peer, Message::FetchSnapshot { slot, offset });
            }
            _ => {
                self.fetching = None;
                // A leader that learned in phase 1 of decided slots hears of them from nobody else.
                let behind = match &self.role {
                    election::State::Leader(leader) => self.kv.applied < leader.floor,
                    _ => false,
                };
                if behind {
                    self.fetch(peer);
                }
            }
        }
    }

    pub(super) fn on_fetch(&mut self, to: NodeIndex, from: Slot) {
        if from <= self.truncated {
            return self.on_fetch_snapshot(to, 0, 0);
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        // Whoever asks may be further than this node is, and is then told so by getting nothing.
        for (_, entry) in self
            .log
            .range(from..)
            .take_while(|(slot, _)| **slot <= self.kv.applied)
        {
            entries.push((entry.ballot, entry.batch.clone()));
            bytes += entry.batch.size();
            if entries.len() >= FETCH_ENTRIES || bytes >= FETCH_BYTES {
                break;
            }
        }
        let decided = self.kv.applied;
        self.send(
            to,
            Message::Entries {
                first: from,
                entries,
                decided,
            },
        );
    }

    pub(super) fn on_entries(
        &mut self,
        from: NodeIndex,
        first: Slot,
        entries: Vec<(Ballot, Arc<Batch>)>,
        decided: Slot,
    ) {
        if self
            .fetching
            .as_ref()
            .is_some_and(|fetching| fetching.peer == from)
        {
            self.fetching = None;
        }
        if let Some(highest) = entries.iter().map(|(ballot, _)| *ballot).max() {
            self.yield_to(highest);
        }
        let nothing = entries.is_empty();
        for (slot, (ballot, batch)) in (first..).zip(entries) {
            if slot != self.kv.applied + 1 {
                continue;
            }
            let digest = batch.digest();
            let learned = match self.log.get(&slot) {
                // The same value in a higher ballot: keep the ballot, which phase 1 may have to
                // report.
                Some(entry) if entry.ballot >= ballot && entry.digest == digest => None,
                _ => Some(Accepted {
                    slot,
                    ballot,
                    batch,
                }),
            };
            if let Some(accepted) = learned {
                let entry = Entry::accepted(accepted.ballot, accepted.batch.clone());
                self.log.insert(slot, entry);
                self.persist(Record::Accepted(accepted));
            }
            self.decide_next();
        }
        self.decide_proposals();
        if self.kv.applied < decided && !nothing {
            self.fetch(from);
        }
    }

    fn maybe_snapshot(&mut self) {
        let (applied, every) = (self.kv.applied, self.config.snapshot_every);
        // FLAW snapshot-loses-tail: the state is captured a quarter early and labelled with the
        // later slot.
        if self.config.flaws.has(Flaw::SnapshotLosesTail)
            && applied - self.snapshots.begun >= every - every / 4
            && self.snapshots.early.is_none()
        {
            self.snapshots.early = Some(self.kv.clone());
        }
        if applied - self.snapshots.begun < every {
            return;
        }
        self.snapshots.begun = applied;
        let mut kv = self.kv.clone();
        if let Some(early) = self.snapshots.early.take() {
            kv = early;
            kv.applied = applied;
        }
        // FLAW sessions-not-in-snapshot: the values are the state.
        if self.config.flaws.has(Flaw::SessionsNotInSnapshot) {
            kv.forget_all_sessions();
        }
        self.save_snapshot(kv);
    }

    fn save_snapshot(&mut self, kv: Kv) {
        let slot = kv.applied;
        let kv = Box::new(kv);
        self.effects.push(Effect::SaveSnapshot { slot, kv });
        // FLAW log-cut-early: as good as saved.
        if self.config.flaws.has(Flaw::LogCutEarly) {
            self.effects.push(Effect::Truncate(slot));
        }
    }

    /// A snapshot is there for peers that are behind.
    fn offer_snapshot(&mut self, slot: Slot, bytes: Arc<Vec<u8>>) {
        let newer = self
            .snapshots
            .last
            .as_ref()
            .is_none_or(|(have, _)| *have < slot);
        if newer {
            self.snapshots.before = self.snapshots.last.replace((slot, bytes));
        }
    }

    /// Slots were decided in `ballot`. A leader of a lower one leads no more: the values that it
    /// proposed in these slots are not those that were chosen, and its followers, who accepted
    /// them, would take them for chosen as soon as it tells them how far it is.
    fn yield_to(&mut self, ballot: Ballot) {
        self.round = self.round.max(ballot.round);
        // FLAW stale-ballot-decides: it goes on.
        if !self.config.flaws.has(Flaw::StaleBallotDecides) {
            self.step_down_below(ballot);
        }
    }

    /// The snapshot is safe: the log before it can go, but for one interval, for peers that are a
    /// little behind.
    pub(super) fn on_snapshot_saved(&mut self, slot: Slot, bytes: Arc<Vec<u8>>) {
        self.offer_snapshot(slot, bytes);
        if self
            .snapshots
            .installing
            .is_some_and(|installing| installing <= slot)
        {
            self.snapshots.installing = None;
        }
        let until = slot.saturating_sub(self.config.snapshot_every);
        if until > self.truncated {
            self.truncated = until;
            self.log = self.log.split_off(&(until + 1));
            self.feed.cut(until);
        }
        // Not further than this snapshot: one that was installed meanwhile may not be on the disk
        // yet.
        self.effects
            .push(Effect::Truncate(self.truncated.min(slot)));
    }

    pub(super) fn on_fetch_snapshot(&mut self, to: NodeIndex, slot: Slot, offset: u64) {
        // A transfer that was begun goes on although there is a newer snapshot by now.
        let begun = self
            .snapshots
            .before
            .as_ref()
            .filter(|(before, _)| *before == slot);
        let Some((have, bytes)) = begun.or(self.snapshots.last.as_ref()) else {
            return;
        };
        // Another snapshot than the one that was begun starts from its beginning.
        let offset = if slot == *have {
            offset.min(bytes.len() as u64)
        } else {
            0
        };
        let start = usize::try_from(offset).unwrap_or(bytes.len());
        let piece = bytes[start..bytes.len().min(start + CHUNK)].to_vec();
        let (slot, total) = (*have, bytes.len() as u64);
        self.send(
            to,
            Message::SnapshotChunk {
                slot,
                offset,
                total,
                bytes: piece,
            },
        );
    }

    pub(super) fn on_snapshot_chunk(
        &mut self,
        from: NodeIndex,
        slot: Slot,
        offset: u64,
        total: u64,
        bytes: &[u8],
    ) {
        let Some(fetching) = &mut self.fetching else {
            return;
        };
        // FLAW older-snapshot-installs: whatever was asked for is taken.
        let older = slot <= self.kv.applied;
        if fetching.peer != from || older && !self.config.flaws.has(Flaw::OlderSnapshotInstalls) {
            return;
        }
        if total > SNAPSHOT_MAX {
            let text = format!(
                "snapshot {slot} of {} has {total} bytes, and {SNAPSHOT_MAX} are the most that is taken: \
                 this node cannot catch up",
                self.name(from)
            );
            return self.note(text);
        }
        fetching.since = self.now;
        let (begun, mut have) = fetching.snapshot.take().unwrap_or((slot, Vec::new()));
        if begun != slot {
            have.clear();
        }
        if have.len() as u64 == offset {
            have.extend_from_slice(bytes);
        }
        let offset = have.len() as u64;
        if offset < total {
            fetching.snapshot = Some((slot, have));
            return self.send(from, Message::FetchSnapshot { slot, offset });
        }
        self.fetching = None;
        match Kv::decode(&have) {
            Ok(kv) if kv.applied == slot => self.install(from, kv, have),
            Ok(kv) => self.note(format!(
                "snapshot {slot} of {} is of slot {}",
                self.name(from),
                kv.applied
            )),
            Err(error) => self.note(format!(
                "snapshot {slot} of {} is damaged: {error}",
                self.name(from)
            )),
        }
    }

    fn install(&mut self, from: NodeIndex, kv: Kv, bytes: Vec<u8>) {
        let slot = kv.applied;
        self.note(format!(
            "snapshot {slot} installed from {}",
            self.name(from)
        ));
        // A snapshot does not tell in which ballots its slots were decided. Those after the floor
        // were decided by somebody else than this leader, so in another ballot than its own.
        if let election::State::Leader(leader) = &self.role
            && slot > leader.floor
            && !self.config.flaws.has(Flaw::StaleBallotDecides)
        {
            self.step_down("others have decided slots that this leader proposed");
        }
        self.kv = kv;
        self.snapshots.installing = Some(slot);
        self.log = self.log.split_off(&(slot + 1));
        self.truncated = slot;
        // FLAW watch-skips-gap: what is missing now was never there.
        let known = !self.config.flaws.has(Flaw::WatchSkipsGap);
        self.feed.begin(self.kv.revision, known);
        self.snapshots.begun = slot;
        self.snapshots.early = None;
        self.save_snapshot(self.kv.clone());
        // Peers need not wait for this node's disk.
        self.offer_snapshot(slot, Arc::new(bytes));
        // Requests of this node's clients may have been applied in slots that were never seen here.
        let known: Vec<_> = self
            .awaiting
            .keys()
            .filter_map(|name| Some((name.clone(), self.kv.remembered(&name.0, name.1)?)))
            .collect();
        for (name, (slot, outcome)) in known {
            self.answer_all(&name, &Answer { slot, outcome });
        }
        self.decide_proposals();
        self.fetch(from);
    }
}

/// FLAW parallel-apply: the commands in an order that chance decides. What came of them is told in
/// their own.
fn apply_in_any_order(
    kv: &mut Kv,
    slot: Slot,
    entry: &Entry,
    dedup: bool,
    mut chance: impl FnMut(usize) -> usize,
) -> Vec<Applied> {
    let mut commands: Vec<_> = entry.batch.commands.iter().cloned().enumerate().collect();
    for last in (1..commands.len()).rev() {
        commands.swap(last, chance(last + 1));
    }
    let (places, commands): (Vec<usize>, _) = commands.into_iter().unzip();
    let applied = kv.apply(slot, &Batch { commands }, entry.digest, dedup);
    let mut applied: Vec<_> = places.into_iter().zip(applied).collect();
    applied.sort_unstable_by_key(|(place, _)| *place);
    applied.into_iter().map(|(_, applied)| applied).collect()
}
