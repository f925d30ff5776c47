//! Changes of keys, for clients that follow them: which revision was made by which command of the
//! log, and who waits for the next one.
//!
//! Revisions are counted by the state (`kv.rs`), so a change has the same one on every node and
//! after every restart. What a change was, the log knows; so changes can be told for as long as the
//! log is there, and a client that asks for earlier ones is told that they are gone.

use std::collections::BTreeMap;

use super::kv::Kv;
use super::message::*;
use super::{Core, Effect, Reply};
use crate::flaws::Flaw;

/// An answer ends with the change that makes it this long.
const ANSWER_BYTES: usize = 1 << 20;

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It has this value.
    Set(String),
    /// Its list has this element more.
    Longer(String),
    /// It is gone.
    Gone,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: u64,
    pub key: String,
    pub became: Became,
}

/// What a client is told that follows changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All changes after the revision that it named, up to `upto`.
    Changes { upto: u64, changes: Vec<Change> },
    /// Changes up to this revision are not in the log any more, and some of them were asked for.
    Compacted { revision: u64 },
}

/// A client that waits for a change.
#[derive(Clone)]
struct Watcher {
    prefix: String,
    after: u64,
    /// When it is told that there was none.
    until: u64,
}

/// What this node can tell of changes.
#[derive(Clone, Default)]
pub(super) struct Feed {
    /// By revision the slot that made it, and the command there.
    made: BTreeMap<u64, (Slot, usize)>,
    /// Revisions up to this one are not in the log.
    compacted: u64,
    watchers: BTreeMap<RequestId, Watcher>,
    /// The revision up to which watchers have been looked at.
    looked: u64,
}

impl Feed {
    /// Of a node that has no log yet.
    pub(super) fn new(revision: u64) -> Feed {
        Feed {
            compacted: revision,
            looked: revision,
            ..Feed::default()
        }
    }

    /// A slot made these revisions.
    pub(super) fn add(&mut self, slot: Slot, revisions: impl Iterator<Item = Option<u64>>) {
        let made = revisions.enumerate();
        let made = made.filter_map(|(command, revision)| Some((revision?, (slot, command))));
        self.made.extend(made);
    }

    /// The log is cut: slots up to this one are gone.
    pub(super) fn cut(&mut self, until: Slot) {
        while let Some(first) = self.made.first_entry()
            && first.get().0 <= until
        {
            self.compacted = first.remove_entry().0;
        }
    }

    /// The log begins after this revision. `known`: this node knows that it lacks what was before.
    pub(super) fn begin(&mut self, revision: u64, known: bool) {
        self.made.clear();
        if known {
            self.compacted = revision;
        }
    }
}

impl Change {
    /// What a command that changed something made of its key.
    fn of(revision: u64, op: &Op) -> Option<Change> {
        let (key, became) = match op {
            Op::Put { key, value } => (key, Became::Set(value.clone())),
            Op::Cas { key, to, .. } | Op::SwapUnchecked { key, to } => {
                (key, Became::Set(to.clone()))
            }
            Op::Append { key, element } => (key, Became::Longer(element.clone())),
            Op::Delete { key } => (key, Became::Gone),
            Op::Grant { .. }
            | Op::Renew { .. }
            | Op::Release { .. }
            | Op::Expire { .. }
            | Op::Read(_) => return None,
        };
        let key = key.clone();
        Some(Change {
            revision,
            key,
            became,
        })
    }

    fn size(&self) -> usize {
        let value = match &self.became {
            Became::Set(value) | Became::Longer(value) => value.len(),
            Became::Gone => 0,
        };
        64 + self.key.len() + value
    }
}

impl Core {
    /// A client follows the keys with this prefix; without a revision, from now on.
    pub(super) fn follow_changes(
        &mut self,
        id: RequestId,
        prefix: String,
        after: Option<u64>,
        wait_ns: u64,
    ) {
        let told = match after {
            Some(after) => self.changes(&prefix, after),
            None => Told::Changes {
                upto: self.kv.revision,
                changes: Vec::new(),
            },
        };
        let nothing = matches!(&told, Told::Changes { changes, .. } if changes.is_empty());
        match after {
            Some(after) if nothing && wait_ns > 0 => {
                let until = self.now.saturating_add(wait_ns);
                let watcher = Watcher {
                    prefix,
                    after,
                    until,
                };
                self.feed.watchers.insert(id, watcher);
            }
            _ => self.effects.push(Effect::Reply(id, Reply::Told(told))),
        }
    }

    /// What there is to tell of the changes after a revision. A client that was told more by
    /// another node is told nothing until this node has caught up with that.
    fn changes(&self, prefix: &str, after: u64) -> Told {
        let compacted = self.feed.compacted;
        if after < compacted {
            return Told::Compacted {
                revision: compacted,
            };
        }
        let (mut upto, mut changes, mut bytes) = (after, Vec::new(), 0);
        for (&revision, &(slot, command)) in self.feed.made.range(after.saturating_add(1)..) {
            upto = revision;
            let op = &self.log[&slot].batch.commands[command].op;
            if let Some(change) = Change::of(revision, op)
                && change.key.starts_with(prefix)
            {
                bytes += change.size();
                changes.push(change);
            }
            if bytes >= ANSWER_BYTES {
                return Told::Changes { upto, changes };
            }
        }
        if self.config.flaws.has(Flaw::WatchFromUndecided) {
            self.add_undecided(prefix, &mut upto, &mut changes);
        }
        Told::Changes { upto, changes }
    }

    /// FLAW watch-from-undecided: what was accepted is as good as decided.
    fn add_undecided(&self, prefix: &str, upto: &mut u64, changes: &mut Vec<Change>) {
        let mut kv: Kv = self.kv.clone();
        while let Some(entry) = self.log.get(&(kv.applied + 1)) {
            let applied = kv.apply(kv.applied + 1, &entry.batch, entry.digest, true);
            for (command, applied) in entry.batch.commands.iter().zip(applied) {
                let Some(revision) = applied.revision.filter(|revision| *revision > *upto) else {
                    continue;
                };
                *upto = revision;
                let change = Change::of(revision, &command.op);
                changes.extend(change.filter(|change| change.key.starts_with(prefix)));
            }
        }
    }

    /// Tells those who wait what has come since.
    pub(super) fn tell_watchers(&mut self) {
        let undecided = self.config.flaws.has(Flaw::WatchFromUndecided);
        if self.feed.looked == self.kv.revision && !undecided {
            return;
        }
        self.feed.looked = self.kv.revision;
        let watchers = std::mem::take(&mut self.feed.watchers);
        for (id, mut watcher) in watchers {
            match self.changes(&watcher.prefix, watcher.after) {
                Told::Changes { upto, changes } if changes.is_empty() => {
                    watcher.after = upto;
                    self.feed.watchers.insert(id, watcher);
                }
                told => self.effects.push(Effect::Reply(id, Reply::Told(told))),
            }
        }
    }

    /// Tells those who have waited long enough that there was nothing.
    pub(super) fn tick_watchers(&mut self) {
        let over = |_: &RequestId, watcher: &mut Watcher| watcher.until <= self.now;
        let over: Vec<_> = self.feed.watchers.extract_if(.., over).collect();
        for (id, watcher) in over {
            let told = self.changes(&watcher.prefix, watcher.after);
            self.effects.push(Effect::Reply(id, Reply::Told(told)));
        }
    }

    /// Every deadline is void: the watchers are told now.
    pub(super) fn reset_watchers_clock(&mut self) {
        let now = self.now;
        let watchers = self.feed.watchers.values_mut();
        watchers.for_each(|watcher| watcher.until = now);
    }
}
