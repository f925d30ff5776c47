//! What a shifted clock shows: a straight line over the true clock, in integers.
//!
//! ```text
//!   shown(t) = t + offset_ns + floor(rate_ppb * (t - base_ns) / 10^9),   at least 0
//! ```
//!
//! `t` is the true reading of the same clock in nanoseconds. Rounding down everywhere makes `shown`
//! monotone for every rate from -100 % (stands still) upwards. This is the definition, in 128-bit
//! arithmetic; the assembly of `payload_*.s` computes the same and is tested against it.

use serde::{Deserialize, Serialize};

use std::time::Duration;

/// A rate acts for at most this many ns (18 years) on either side of its base, and is constant
/// beyond: the bound inside which 64-bit quotients cannot overflow.
const SPAN_MAX_NS: i64 = 1 << 59;
/// Largest offset, either way: 36 years.
pub const OFFSET_MAX_NS: i64 = 1 << 60;
/// Largest base: year 2116.
const BASE_MAX_NS: i64 = 1 << 62;
/// -100 %: the clock stands still.
const RATE_MIN_PPB: i64 = -NANOS;
/// +1000 %: the clock runs eleven times as fast.
const RATE_MAX_PPB: i64 = 10 * NANOS;
const NANOS: i64 = 1_000_000_000;

/// How much time [`Line::bent`] allows for its line to arrive in the process.
const ARRIVAL_NS: i64 = 2_000_000;

/// One of the two families of clocks, each of which has its own line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// `CLOCK_REALTIME`, `_COARSE`, `_ALARM`, `CLOCK_TAI`, `gettimeofday` and `time`.
    Realtime,
    /// `CLOCK_MONOTONIC`, `_RAW`, `_COARSE`, `CLOCK_BOOTTIME` and its `_ALARM`. Their bases
    /// differ where the machine was suspended or its clock slewed; one line serves all.
    Monotonic,
}

/// How one clock is shown; see the head of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Line {
    /// Added to the true time, in ns.
    pub offset_ns: i64,
    /// Drift in parts per 10^9 of true time: 0 keeps pace, -10^9 stands still, 10^9 runs twice as
    /// fast.
    pub rate_ppb: i64,
    /// The true time at which the drift has contributed nothing yet, in ns.
    pub base_ns: i64,
}

/// What a process's clocks show. The default shows the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shift {
    pub realtime: Line,
    pub monotonic: Line,
}

/// A line that the arithmetic does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("a clock offset of {0} ns is out of range (at most 36 years either way)")]
    Offset(i64),
    #[error(
        "a clock rate of {0} ppb is out of range (-10^9, standing still, to 10^10, eleven times as fast)"
    )]
    Rate(i64),
    #[error("a clock base of {0} ns is out of range")]
    Base(i64),
}

impl Shift {
    /// Both clocks show the truth.
    pub const IDENTITY: Shift = Shift {
        realtime: Line::IDENTITY,
        monotonic: Line::IDENTITY,
    };

    /// The line of one clock.
    pub fn line(&self, clock: Clock) -> Line {
        match clock {
            Clock::Realtime => self.realtime,
            Clock::Monotonic => self.monotonic,
        }
    }

    /// Refuses what the arithmetic does not cover.
    pub fn check(&self) -> Result<(), LineError> {
        self.realtime.check()?;
        self.monotonic.check()
    }
}

impl Line {
    /// Shows the truth.
    pub const IDENTITY: Line = Line {
        offset_ns: 0,
        rate_ppb: 0,
        base_ns: 0,
    };

    /// A clock that is off by `offset_ns` and keeps pace.
    pub fn offset(offset_ns: i64) -> Line {
        Line {
            offset_ns,
            ..Line::IDENTITY
        }
    }

    /// What is shown at the true time `true_ns` (ns, not negative).
    pub fn show(&self, true_ns: i64) -> i64 {
        let span = (i128::from(true_ns) - i128::from(self.base_ns))
            .clamp(-i128::from(SPAN_MAX_NS), i128::from(SPAN_MAX_NS));
        let drift = (i128::from(self.rate_ppb) * span).div_euclid(i128::from(NANOS));
        let shown = i128::from(true_ns) + i128::from(self.offset_ns) + drift;
        shown.clamp(0, i128::from(i64::MAX)) as i64
    }

    /// The same clock, stepped by `delta_ns`.
    #[must_use]
    pub fn stepped(self, delta_ns: i64) -> Line {
        Line {
            offset_ns: self.offset_ns.saturating_add(delta_ns),
            ..self
        }
    }

    /// The same clock as if no time had passed between the true times `from_ns` and `to_ns`: what
    /// a suspended virtual machine sees. Set it before the process runs again at `to_ns`.
    #[must_use]
    pub fn frozen(self, from_ns: i64, to_ns: i64) -> Line {
        self.stepped(self.show(from_ns) - self.show(to_ns))
    }

    /// The same clock from about `now_ns` on at another rate, without a step back.
    ///
    /// Two lines agree at one instant only, and the new one arrives a little later than `now_ns`.
    /// If it is the faster one, it agrees with the old at `now_ns` and the clock jumps forward by
    /// the difference on arrival. If it is slower, agreeing at `now_ns` would step the clock back:
    ///
    /// ```text
    ///   old, rate 2   |··/          new, rate 1, hinge in the past:  |··/      back!
    ///                 | /                                            | /╲·/
    /// ```
    ///
    /// so its hinge lies 2 ms ahead; before it the slower line is the higher one. The clock jumps
    /// forward by at most 2 ms times the change of rate, and never back, as long as the line is set
    /// within those 2 ms.
    #[must_use]
    pub fn bent(self, rate_ppb: i64, now_ns: i64) -> Line {
        let base_ns = if rate_ppb < self.rate_ppb {
            now_ns + ARRIVAL_NS
        } else {
            now_ns
        };
        Line {
            offset_ns: self.show(base_ns) - base_ns,
            rate_ppb,
            base_ns,
        }
    }

    /// Both deviations at once, within 2 ns: offsets and rates add up.
    #[must_use]
    pub fn plus(self, other: Line) -> Line {
        // other's drift between its base and ours becomes part of the offset, so that one base
        // does.
        let base_ns = if self.rate_ppb == 0 {
            other.base_ns
        } else {
            self.base_ns
        };
        let moved = |line: Line| {
            let span = i128::from(base_ns) - i128::from(line.base_ns);
            (i128::from(line.rate_ppb) * span).div_euclid(i128::from(NANOS))
                + i128::from(line.offset_ns)
        };
        let offset = (moved(self) + moved(other)).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Line {
            offset_ns: offset as i64,
            rate_ppb: self.rate_ppb.saturating_add(other.rate_ppb),
            base_ns,
        }
    }

    /// Refuses what the arithmetic does not cover.
    pub fn check(&self) -> Result<(), LineError> {
        if !(-OFFSET_MAX_NS..=OFFSET_MAX_NS).contains(&self.offset_ns) {
            return Err(LineError::Offset(self.offset_ns));
        }
        if !(RATE_MIN_PPB..=RATE_MAX_PPB).contains(&self.rate_ppb) {
            return Err(LineError::Rate(self.rate_ppb));
        }
        if !(-BASE_MAX_NS..=BASE_MAX_NS).contains(&self.base_ns) {
            return Err(LineError::Base(self.base_ns));
        }
        Ok(())
    }
}

/// The machine's own clock, in ns, by a real system call: not even a patch of this process's own
/// vDSO can deceive it.
pub fn now(clock: Clock) -> i64 {
    let id = match clock {
        Clock::Realtime => libc::CLOCK_REALTIME,
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills the struct that the pointer leads to, and keeps nothing.
    let failed = unsafe { libc::syscall(libc::SYS_clock_gettime, id, &raw mut time) };
    assert_eq!(failed, 0, "clock_gettime knows these clocks on every Linux");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_NS: i64 = 3_600 * NANOS;
    const NOW_NS: i64 = 1_790_000_000 * NANOS;

    fn line(offset_ns: i64, rate_ppb: i64, base_ns: i64) -> Line {
        Line {
            offset_ns,
            rate_ppb,
            base_ns,
        }
    }

    #[test]
    fn a_line_by_hand() {
        //                 offset    rate  base   true  shown
        for (o, r, b, t, shown) in [
            (0, 0, 0, 5, 5),
            (7, 0, 0, 5, 12),
            (-7, 0, 0, 5, 0),           // never negative
            (0, NANOS, 100, 150, 200),  // twice as fast since 100
            (0, -NANOS, 100, 150, 100), // standing still since 100
            (0, -NANOS, 100, 50, 100),
            (0, -1, 0, 1, 0), // a billionth slower: rounded down
            (0, 1, 0, 999_999_999, 999_999_999),
            (0, 1, 0, 1_000_000_000, 1_000_000_001),
        ] {
            assert_eq!(line(o, r, b).show(t), shown, "{o} {r} {b} at {t}");
        }
    }

    #[test]
    fn frozen_shows_afterwards_what_it_showed_before() {
        for old in [
            Line::IDENTITY,
            Line::offset(HOUR_NS),
            line(5, 300_000_000, NOW_NS - HOUR_NS),
        ] {
            let (from, to) = (NOW_NS, NOW_NS + 15 * NANOS);
            let new = old.frozen(from, to);
            assert_eq!(new.show(to), old.show(from));
            assert_eq!(new.rate_ppb, old.rate_ppb);
        }
    }

    #[test]
    fn what_the_arithmetic_does_not_cover_is_refused() {
        assert_eq!(
            line(0, -NANOS - 1, 0).check(),
            Err(LineError::Rate(-NANOS - 1))
        );
        assert_eq!(
            line(0, 10 * NANOS + 1, 0).check(),
            Err(LineError::Rate(10 * NANOS + 1))
        );
        assert_eq!(
            line(i64::MIN, 0, 0).check(),
            Err(LineError::Offset(i64::MIN))
        );
        assert_eq!(line(0, 0, i64::MAX).check(), Err(LineError::Base(i64::MAX)));
        assert_eq!(line(HOUR_NS, 10 * NANOS, NOW_NS).check(), Ok(()));
    }

    proptest! {
        #[test]
        fn never_runs_backwards(o in -HOUR_NS..HOUR_NS, r in RATE_MIN_PPB..=RATE_MAX_PPB, back in 0..HOUR_NS, step in 0..NANOS) {
            let l = line(o, r, NOW_NS - back);
            prop_assert!(l.show(NOW_NS) <= l.show(NOW_NS + step));
        }

        #[test]
        fn deviations_add_up(
            o1 in -HOUR_NS..HOUR_NS, r1 in -NANOS / 2..NANOS, o2 in -HOUR_NS..HOUR_NS, r2 in -NANOS / 2..NANOS,
            back1 in 0..HOUR_NS, back2 in 0..HOUR_NS,
        ) {
            let (one, two) = (line(o1, r1, NOW_NS - back1), line(o2, r2, NOW_NS - back2));
            let sum = (one.show(NOW_NS) - NOW_NS) + (two.show(NOW_NS) - NOW_NS);
            let both = one.plus(two).show(NOW_NS) - NOW_NS;
            prop_assert!((both - sum).abs() <= 2, "{both} is not {sum}");
            prop_assert!((two.plus(one).show(NOW_NS) - NOW_NS - sum).abs() <= 2);
        }

        /// Whenever the new line arrives within the 2 ms, the first reading by it is not below the
        /// last one by the old line.
        #[test]
        fn bending_never_steps_back(
            o in -HOUR_NS..HOUR_NS, r1 in RATE_MIN_PPB..=RATE_MAX_PPB, r2 in RATE_MIN_PPB..=RATE_MAX_PPB,
            back in 0..HOUR_NS, late in 0..=ARRIVAL_NS,
        ) {
            let old = line(o, r1, NOW_NS - back);
            let new = old.bent(r2, NOW_NS);
            let (before, after) = (old.show(NOW_NS + late), new.show(NOW_NS + late));
            prop_assert!(before <= after, "{before} then {after}");
            // And the step forward is no larger than promised.
            prop_assert!(after - before <= ((r2 - r1).abs() as i128 * ARRIVAL_NS as i128 / NANOS as i128) as i64 + 1);
        }
    }
}
