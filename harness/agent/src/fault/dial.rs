//! The clocks of a daemon: what they are to show, in which processes, and who has looked at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::waits::Waits;
use crate::tree::{self, Ident};
use crate::vdso::{Asked, ClockError, Line, Patch, Shift};

const NANOS: i128 = 1_000_000_000;

/// The clocks of all daemons. A lock of its own, so that a strobe does not wait for the ledger's.
pub(crate) type Dials = Arc<Mutex<BTreeMap<String, Dial>>>;

/// The clocks of one daemon.
#[derive(Debug, Default)]
pub(crate) struct Dial {
    pub turns: BTreeMap<u64, Shift>,
    /// Left by healed freezes that are never made up.
    pub kept: Vec<Shift>,
    pub patches: BTreeMap<Ident, Patch>,
    /// What each process has asked by its patch, as of the last look.
    asked: BTreeMap<Ident, Asked>,
    /// What was asked by patches that are gone.
    asked_before: Asked,
    /// Processes that cannot be made to count.
    uncountable: BTreeSet<Ident>,
    /// Whether any process counts at all.
    pub counts: bool,
    /// What had been asked in all when the turn of a fault was put on.
    pub asked_at: BTreeMap<u64, Asked>,
    pub waits: Waits,
}

impl Dial {
    /// What the daemon is to be shown.
    pub fn sum(&self) -> Shift {
        let all = || self.turns.values().chain(&self.kept);
        Shift {
            realtime: sum(all().map(|shift| shift.realtime)),
            monotonic: sum(all().map(|shift| shift.monotonic)),
        }
    }

    pub fn idle(&self) -> bool {
        self.turns.is_empty() && self.kept.is_empty()
    }

    /// How often the daemon's programs have read their clocks in all, since they were first turned.
    pub fn tally(&mut self) -> Asked {
        for (ident, patch) in &mut self.patches {
            if let Ok(None) = patch.asked()
                && !self.uncountable.contains(ident)
                && tree::stopped(*ident) == Some(false)
            {
                // It may have been stopped since; whoever cannot be made to count for another
                // reason is not held up again and again.
                match patch.count() {
                    Ok(()) | Err(ClockError::Stopped { .. }) => {}
                    Err(_) => drop(self.uncountable.insert(*ident)),
                }
            }
            if let Ok(Some(asked)) = patch.asked() {
                self.asked.insert(*ident, asked);
                self.counts = true;
            }
        }
        let patches = &self.patches;
        let before = &mut self.asked_before;
        self.asked.retain(|ident, asked| {
            let stays = patches.contains_key(ident);
            if !stays {
                *before = before.plus(*asked);
            }
            stays
        });
        let all = self.asked.values();
        all.fold(self.asked_before, |sum, asked| sum.plus(*asked))
    }

    /// Takes in the patch of a process, which counts from nothing.
    pub fn enter(&mut self, ident: Ident, patch: Patch) {
        if let Some(asked) = self.asked.remove(&ident) {
            self.asked_before = self.asked_before.plus(asked);
        }
        self.patches.insert(ident, patch);
    }

    /// Writes the sum into every process that is patched; forgets those that are not any more.
    pub fn turn(&mut self) {
        let shift = self.sum();
        self.patches.retain(|_, patch| patch.set(&shift).is_ok());
    }
}

/// A panic while it was held is a bug, but clocks must still be set right.
pub(crate) fn lock(dials: &Dials) -> MutexGuard<'_, BTreeMap<String, Dial>> {
    dials.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines added up. Their drifts count from different instants; as the sum is a line again, any one
/// of them will do as its base.
fn sum(lines: impl Iterator<Item = Line>) -> Line {
    let lines: Vec<Line> = lines.collect();
    let base_ns = lines
        .iter()
        .find(|line| line.rate_ppb != 0)
        .map_or(0, |line| line.base_ns);
    lines.iter().fold(
        Line {
            base_ns,
            ..Line::IDENTITY
        },
        |all, line| {
            let span = i128::from(base_ns) - i128::from(line.base_ns);
            let drift = match line.rate_ppb {
                0 => 0,
                rate => (i128::from(rate) * span).div_euclid(NANOS),
            };
            let drift = i64::try_from(drift).unwrap_or(i64::MAX);
            Line {
                offset_ns: all
                    .offset_ns
                    .saturating_add(line.offset_ns)
                    .saturating_add(drift),
                rate_ppb: all.rate_ppb.saturating_add(line.rate_ppb),
                base_ns,
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_add_up_at_every_instant() {
        let now = 1_700_000_000_000_000_000;
        let lines = [
            Line::offset(3_600_000_000_000),
            Line {
                offset_ns: 5,
                rate_ppb: 200_000_000,
                base_ns: now,
            },
            Line {
                offset_ns: -7,
                rate_ppb: -50_000_000,
                base_ns: now + 10_000_000_000,
            },
        ];
        let all = sum(lines.into_iter());
        for at in [now - 1_000_000_000, now, now + 60_000_000_000] {
            let apart: i64 = lines.iter().map(|line| line.show(at) - at).sum();
            // Each quotient is rounded down, one for each line that drifts.
            assert!((all.show(at) - at - apart).abs() <= 2, "at {at}");
        }
        assert_eq!(sum(std::iter::empty()), Line::IDENTITY);
    }
}
