//! How far a daemon's wall clock is off, as it is seen from outside: by the agent, and by asking
//! the system itself.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use agent::protocol::{Clocks, Request};
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::World;
use harness::units::write_delta;
use tokio::time::{Instant, sleep, timeout};

use crate::sights::Sights;

/// For the system to say what time it is: it may be stopped by another fault.
const ASK_PATIENCE: Duration = Duration::from_millis(1_000);
/// Clocks are often told in whole milliseconds.
const RESOLUTION_NS: i64 = 1_000_000;
/// Over which a drift is measured.
const DRIFT_WINDOW: Duration = Duration::from_millis(500);
/// How often a strobe is looked at, a third of its period apart: four whole periods.
const STROBE_LOOKS: u32 = 24;

/// How far a daemon's wall clock is off, as it was seen from outside, and how exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub offset_ns: i64,
    error_ns: i64,
}

/// Not off at all.
pub const TRUE: Reading = Reading {
    offset_ns: 0,
    error_ns: 0,
};

impl Reading {
    pub fn plus(self, delta_ns: i64) -> Reading {
        let offset_ns = self.offset_ns.saturating_add(delta_ns);
        Reading { offset_ns, ..self }
    }

    /// Whether both may be readings of the same clock.
    fn agrees(self, other: Reading) -> bool {
        let apart = self.offset_ns.abs_diff(other.offset_ns);
        apart <= self.error_ns.saturating_add(other.error_ns).unsigned_abs()
    }

    /// Whether, read so exactly, these two can be told apart at all.
    fn separates(self, a: Reading, b: Reading) -> bool {
        let errors = [self.error_ns, self.error_ns, a.error_ns, b.error_ns];
        let errors = errors.into_iter().fold(0, i64::saturating_add);
        a.offset_ns.abs_diff(b.offset_ns) > errors.unsigned_abs()
    }
}

impl fmt::Display for Reading {
    /// In whole milliseconds, which is as exact as a reading ever is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: i64| ns.saturating_add(500_000).div_euclid(1_000_000);
        f.write_str(&write_delta(ms(self.offset_ns).saturating_mul(1_000_000)))?;
        match self.error_ns {
            0 => Ok(()),
            error => write!(f, " ± {} ms", ms(error)),
        }
    }
}

/// How far the clock is off before anything is done to it. Most often not at all; what is there is
/// the lag of an earlier freeze, and never smaller than a reading's error.
pub async fn before(node: &Node, world: &World) -> Reading {
    let views = [
        agents_view(node, world).await,
        ask_system(node, world).await,
    ];
    // Where it cannot be read, such as at a dead daemon, the injection itself will say so.
    let best = views.into_iter().flatten().flatten();
    match best.min_by_key(|reading| reading.error_ns) {
        Some(reading) if !reading.agrees(TRUE) => reading,
        _ => TRUE,
    }
}

/// What the system's own answer says, between two looks at the node's true clock. None: it does not
/// say, or not in time.
async fn ask_system(node: &Node, world: &World) -> Result<Option<Reading>, ControlError> {
    let true_clock = || node.agent.call::<Clocks>(Request::Clocks { daemon: None });
    let earliest = true_clock().await?;
    let said = timeout(ASK_PATIENCE, world.system.wall_clock(node)).await;
    let latest = true_clock().await?;
    Ok(said.ok().flatten().map(|said| {
        let window = i64::try_from(latest.window_ns).unwrap_or(i64::MAX);
        reading(
            earliest.realtime_ns,
            said,
            latest.realtime_ns.saturating_add(window),
        )
    }))
}

fn reading(earliest_ns: i64, said_ns: i64, latest_ns: i64) -> Reading {
    let half = latest_ns.saturating_sub(earliest_ns).max(0) / 2;
    Reading {
        offset_ns: said_ns.saturating_sub(earliest_ns.saturating_add(half)),
        error_ns: half.saturating_add(RESOLUTION_NS),
    }
}

/// What the agent reads in the daemon.
async fn agents_view(node: &Node, world: &World) -> Result<Option<Reading>, ControlError> {
    let daemon = Some(world.daemon.clone());
    let clocks: Clocks = node.agent.call(Request::Clocks { daemon }).await?;
    let window = i64::try_from(clocks.window_ns).unwrap_or(i64::MAX);
    Ok(clocks.daemon_offset_ns.map(|(offset_ns, _)| Reading {
        offset_ns,
        error_ns: window.saturating_add(RESOLUTION_NS),
    }))
}

/// Whether the wall clock is off by one of `expected`, and not as by `not`.
pub async fn witness_offset(
    node: &Node,
    world: &World,
    expected: &[Reading],
    not: Reading,
    sights: &mut Sights,
) {
    let name = &node.name;
    let judge = |who: &str, reading: Reading, sights: &mut Sights| {
        let text = format!("{name}: wall clock off by {reading} ({who})");
        let agrees = expected.iter().any(|e| reading.agrees(*e));
        let tells = expected.iter().all(|e| reading.separates(*e, not));
        match (agrees, tells) {
            (true, true) => sights.agrees(text),
            (true, false) => sights.agrees(format!("{text}: too coarse to tell")),
            (false, _) => {
                let mut wanted: Vec<String> = expected.iter().map(Reading::to_string).collect();
                wanted.dedup();
                sights.contradicts(format!(
                    "{text}, where it should be {}",
                    wanted.join(" or ")
                ));
            }
        }
    };
    match agents_view(node, world).await {
        Ok(Some(reading)) => judge("agent", reading, sights),
        Ok(None) => sights.agrees(format!("{name}: the agent cannot read the daemon's clocks")),
        Err(error) => sights.blind(&error),
    }
    match ask_system(node, world).await {
        Ok(Some(reading)) => judge("asked", reading, sights),
        Ok(None) => sights.agrees(not_told(node, world)),
        Err(error) => sights.blind(&error),
    }
}

fn not_told(node: &Node, world: &World) -> String {
    format!(
        "{}: {} did not say what time it is",
        node.name,
        world.system.name()
    )
}

/// Looks again and again until the clock was seen off; every look must be one of the two.
pub async fn witness_strobe(
    node: &Node,
    world: &World,
    before: Reading,
    off: Reading,
    period: Duration,
    sights: &mut Sights,
) {
    let name = &node.name;
    for look in 1..=STROBE_LOOKS {
        let reading = match ask_system(node, world).await {
            Ok(Some(reading)) => reading,
            Ok(None) => return sights.agrees(not_told(node, world)),
            Err(error) => return sights.blind(&error),
        };
        let text = format!("{name}: wall clock off by {reading} at look {look} (asked)");
        match (reading.agrees(off), reading.agrees(before)) {
            (true, true) => {
                return sights.agrees(format!("{text}: too coarse to tell the strobe"));
            }
            (true, false) => return sights.agrees(text),
            (false, true) => sleep(period / 3).await,
            (false, false) => {
                return sights.contradicts(format!("{text}, which is neither end of the strobe"));
            }
        }
    }
    sights.contradicts(format!(
        "{name}: wall clock never seen off in {STROBE_LOOKS} looks"
    ));
}

/// Looks twice, and compares how far the clock went with how far it should have gone.
pub async fn witness_drift(node: &Node, world: &World, rate_ppm: i64, sights: &mut Sights) {
    let name = &node.name;
    let begun = Instant::now();
    let first = ask_system(node, world).await;
    let between = Instant::now();
    sleep(DRIFT_WINDOW).await;
    let least = between.elapsed();
    let second = ask_system(node, world).await;
    // Each look is somewhere within the time that it took, which on a busy machine may be seconds.
    let went = least..=begun.elapsed();
    match (first, second) {
        (Ok(Some(first)), Ok(Some(second))) => {
            let (agrees, line) = judge_drift(first, second, &went, rate_ppm);
            sights.see(agrees, format!("{name}: {line}"));
        }
        (Err(error), _) | (_, Err(error)) => sights.blind(&error),
        _ => sights.agrees(not_told(node, world)),
    }
}

/// `went`: the least and the most time that can have passed between the two.
fn judge_drift(
    first: Reading,
    second: Reading,
    went: &RangeInclusive<Duration>,
    rate_ppm: i64,
) -> (bool, String) {
    let gained_in = |span: &Duration| {
        let span_us = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        // Parts per million of microseconds are picoseconds.
        rate_ppm.saturating_mul(span_us) / 1_000
    };
    let (least_ns, most_ns) = (gained_in(went.start()), gained_in(went.end()));
    let gained = Reading {
        offset_ns: second.offset_ns.saturating_sub(first.offset_ns),
        error_ns: first.error_ns.saturating_add(second.error_ns),
    };
    let due = Reading {
        offset_ns: least_ns.saturating_add((most_ns - least_ns) / 2),
        error_ns: (most_ns - least_ns).abs() / 2,
    };
    let line = format!(
        "wall clock gained {gained} in {} to {} ms (asked)",
        went.start().as_millis(),
        went.end().as_millis()
    );
    match (gained.agrees(due), gained.separates(due, TRUE)) {
        (true, true) => (true, line),
        (true, false) => (true, format!("{line}: too coarse to tell the drift")),
        (false, _) => (false, format!("{line}, where {due} was due")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn an_answer_is_as_exact_as_the_looks_around_it() {
        let seen = reading(1_000 * MS, 1_505 * MS, 1_010 * MS);
        assert_eq!(seen.offset_ns, 500 * MS);
        assert_eq!(seen.error_ns, 6 * MS);
        let off = |ms| TRUE.plus(ms * MS);
        assert!(seen.agrees(off(494)) && seen.agrees(off(506)));
        assert!(!seen.agrees(off(493)) && !seen.agrees(off(507)));
        assert!(seen.separates(off(500), TRUE));
        assert!(!seen.separates(off(12), TRUE));
        // Known to 6 ms each, the two must be 24 ms apart, for all that is known of a third.
        assert!(seen.separates(seen.plus(25 * MS), seen));
        assert!(!seen.separates(seen.plus(24 * MS), seen));
    }

    #[test]
    fn a_drift_is_judged_by_what_the_clock_gained() {
        let at = |offset_ns| Reading {
            offset_ns,
            error_ns: 2 * MS,
        };
        let went = Duration::from_millis(500)..=Duration::from_millis(510);
        let went = &went;
        // 100,000 ppm for half a second: 50 ms.
        assert!(judge_drift(at(3 * MS), at(53 * MS), went, 100_000).0);
        assert!(!judge_drift(at(3 * MS), at(3 * MS), went, 100_000).0);
        assert!(!judge_drift(at(3 * MS), at(-47 * MS), went, 100_000).0);
        assert!(judge_drift(at(0), at(-50 * MS), went, -100_000).0);
        // Looks that took seconds: nobody knows how much time was between them.
        let long = Duration::from_millis(510)..=Duration::from_millis(4_900);
        assert!(judge_drift(at(0), at(26 * MS), &long, 50_000).0);
        assert!(!judge_drift(at(0), at(0), &long, 50_000).0);
        // 1,000 ppm: half a millisecond, which nobody can see here.
        let (agrees, line) = judge_drift(at(0), at(0), went, 1_000);
        assert!(agrees && line.contains("too coarse"), "{line}");
    }
}
