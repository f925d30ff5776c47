//! Threads that wait until a time, while the clock by which they wait is turned.
//!
//! The kernel waits by the true clock for a time that was worked out by another. So every such wait
//! is looked for, and set to the true time that it means:
//!
//! ```text
//!   a fault begins     when the clock, as it is shown from now on, shows that time
//!   while it lasts     the same, for waits that are new
//!   it is taken back   when it would have ended by the clock by which it was begun
//! ```
//!
//! The last is not what a clock does that is set back: there, a wait of half a second that was
//! begun an hour ahead takes an hour more. But the fault is over then, and leaves nothing behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::tree::Ident;
use crate::vdso::{self, Clock, ClockError, Line, Shift, Timer, Wait};

/// How often new waits are looked for: each thread costs a look into `/proc`.
const LOOK: Duration = Duration::from_millis(100);

/// What is known of the waits of one daemon.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    known: BTreeMap<(Ident, u32), Known>,
    looked: Option<Instant>,
}

/// A wait that was seen before.
#[derive(Clone, Copy, Debug)]
struct Known {
    at: u64,
    /// The time that it means, by the clock by which it was begun.
    meant_ns: i64,
    begun: Line,
    /// The true time that the kernel was given.
    written_ns: i64,
}

/// What has just been done to the clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// Turned from this.
    Turned(Shift),
    /// Nothing, since the last look.
    Later,
    /// Set right, or less wrong, from this.
    Healed(Shift),
}

impl Waits {
    /// Whether it is time to look for new ones.
    pub fn due(&self) -> bool {
        self.looked.is_none_or(|last| last.elapsed() >= LOOK)
    }

    /// Sets every wait of these processes to the time that it means by clocks that now show this.
    /// Gives what was done, and what could not be.
    pub fn follow(&mut self, members: &[Ident], now: &Shift, moment: Moment) -> Vec<String> {
        self.looked = Some(Instant::now());
        let mut lines = Vec::new();
        let mut seen = BTreeMap::new();
        for ident in members {
            let waits = match vdso::waits(ident.pid) {
                Ok(waits) => waits,
                Err(ClockError::Gone { .. }) => continue,
                Err(error) => {
                    lines.push(format!("what its threads wait for is not known: {error}"));
                    continue;
                }
            };
            for wait in waits {
                let key = (*ident, wait.tid);
                let (known, line) = self.set(key, &wait, now.line(wait.clock), moment);
                seen.extend(known.map(|known| (key, known)));
                lines.extend(line);
            }
        }
        self.known = seen;
        lines
    }

    fn set(
        &self,
        (ident, tid): (Ident, u32),
        wait: &Wait,
        now: Line,
        moment: Moment,
    ) -> (Option<Known>, Option<String>) {
        let known = self.known.get(&(ident, tid));
        let same = |known: &&Known| known.at == wait.at && known.written_ns == wait.until_ns;
        let (meant_ns, begun) = match (known.filter(same), moment) {
            (Some(known), _) => (known.meant_ns, known.begun),
            (None, Moment::Turned(old)) => (wait.until_ns, old.line(wait.clock)),
            (None, Moment::Later) => (wait.until_ns, now),
            (None, Moment::Healed(old)) => {
                let old = old.line(wait.clock);
                match was_begun_by(old, now, wait, vdso::now(wait.clock)) {
                    true => (wait.until_ns, old),
                    false => (wait.until_ns, now),
                }
            }
        };
        let by = match moment {
            Moment::Healed(_) => begun,
            Moment::Turned(_) | Moment::Later => now,
        };
        let Some(until_ns) = truth_of(by, meant_ns) else {
            return (None, None);
        };
        let until_ns = until_ns.max(0);
        let mut line = None;
        if until_ns != wait.until_ns {
            let clock = match wait.clock {
                Clock::Realtime => "wall clock",
                Clock::Monotonic => "monotonic clock",
            };
            let what = format!(
                "{ident}, thread {tid}: waits until a time by the {clock} ({})",
                wait.call
            );
            match vdso::rearm(ident.pid, wait, until_ns) {
                Ok(true) => {
                    let by_s = (until_ns - wait.until_ns) as f64 / 1e9;
                    line = Some(format!("{what}: set to another, {by_s:+.3} s"));
                }
                Ok(false) | Err(ClockError::Gone { .. }) => return (None, None),
                Err(error) => {
                    let text = format!("{what}, and that clock is the wrong one: {error}");
                    return (None, Some(text));
                }
            }
        }
        let healed = matches!(moment, Moment::Healed(_));
        let known = Known {
            at: wait.at,
            meant_ns: if healed { now.show(until_ns) } else { meant_ns },
            begun: if healed { now } else { begun },
            written_ns: until_ns,
        };
        (Some(known), line)
    }

    /// Timers of these processes that are or may be set to a time, which nobody sets to another.
    pub fn timers(members: &[Ident], shift: &Shift) -> Vec<String> {
        let mut lines = Vec::new();
        for ident in members {
            for (timer, clock) in vdso::timers(ident.pid) {
                if shift.line(clock) == Line::IDENTITY {
                    continue;
                }
                let what = match timer {
                    Timer::Descriptor(fd) => format!("timer {fd}: set to a time"),
                    Timer::Posix(id) => format!(
                        "timer {id} of timer_create: if it is set to a time and not for a span, then"
                    ),
                };
                lines.push(format!(
                    "{ident}, {what} perhaps by the clock that was wrong, and not touched: it rings \
                     by the true one"
                ));
            }
        }
        lines
    }
}

/// The true time at which a line shows this; none if it never does.
fn truth_of(line: Line, shown_ns: i64) -> Option<i64> {
    const NANOS: i128 = 1_000_000_000;
    let pace = NANOS + i128::from(line.rate_ppb);
    if pace <= 0 {
        return None;
    }
    let drift = i128::from(line.rate_ppb) * i128::from(line.base_ns);
    let scaled = (i128::from(shown_ns) - i128::from(line.offset_ns)) * NANOS + drift;
    i64::try_from(scaled.div_euclid(pace)).ok()
}

/// Whether a wait that is seen first when its clock has been set right was begun before that. One
/// by a clock that was ahead ends that much later than any other would. One by a clock that lagged
/// had its end before it began, and is over.
fn was_begun_by(old: Line, new: Line, wait: &Wait, now_ns: i64) -> bool {
    let ahead = i128::from(old.show(now_ns)) - i128::from(new.show(now_ns));
    ahead > 0 && i128::from(wait.until_ns) - i128::from(now_ns) > ahead / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: i64 = 1_790_000_000_000_000_000;

    #[test]
    fn the_true_time_of_what_is_shown_is_found() {
        for line in [
            Line::IDENTITY,
            Line::offset(HOUR),
            Line::offset(-HOUR),
            Line {
                offset_ns: 7,
                rate_ppb: 200_000_000,
                base_ns: NOW,
            },
            Line {
                offset_ns: -HOUR,
                rate_ppb: -500_000_000,
                base_ns: NOW - HOUR,
            },
        ] {
            for at in [NOW, NOW + 1, NOW + HOUR] {
                let found = truth_of(line, line.show(at)).expect("it comes");
                assert!((found - at).abs() <= 2, "{line:?}: {found} for {at}");
            }
        }
        // A clock that stands still never shows more.
        let still = Line {
            rate_ppb: -1_000_000_000,
            ..Line::IDENTITY
        };
        assert_eq!(truth_of(still, NOW), None);
    }

    #[test]
    fn a_wait_by_a_clock_that_was_ahead_ends_late_and_one_by_the_truth_does_not() {
        let wait = |until_ns: i64| Wait {
            tid: 1,
            clock: Clock::Realtime,
            call: "futex",
            at: 7,
            until_ns,
        };
        let begun = |old: i64, until_ns: i64| {
            was_begun_by(Line::offset(old), Line::IDENTITY, &wait(until_ns), NOW)
        };
        let half = 500_000_000;
        assert!(begun(HOUR, NOW + HOUR + half));
        // Overdue already, by its own clock.
        assert!(begun(HOUR, NOW + HOUR - half));
        // Begun between the healing and the look.
        assert!(!begun(HOUR, NOW + half));
        assert!(!begun(-HOUR, NOW + half));
        assert!(!begun(0, NOW + half));
    }
}
