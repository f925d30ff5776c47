//! Clock: what a daemon believes the time to be.
//!
//! Jump, strobe and drift move the wall clock and leave the monotonic clock alone, as a step of NTP or
//! an administrator does. A freeze is a suspended machine: the daemon stops, *both* clocks stand
//! still, and it goes on with clocks that lag, so it cannot tell that anything happened. That is what
//! catches leases that are checked before the stop and used after it.
//!
//! Evidence: the agent's own reading of the daemon's clocks, and what the daemon itself answers when
//! the system can be asked for its wall clock. That answer lies between two readings of the node's
//! true clock, so its offset is known up to half their distance (Cristian, "Probabilistic clock
//! synchronization", 1989). Where the fault is smaller than that error, the receipt says that it
//! cannot tell, and rests on the agent.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::protocol::{self, ClockFault, Clocks, Request};
use async_trait::async_trait;
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::{FaultError, World};
use tokio::time::{Instant, sleep, timeout};

use crate::apply::{Orders, Policy, Sights, on_each};
use crate::registry::{Family, Shape};
use crate::targets::{Targets, join};
use crate::units::{write_delta, write_duration};

/// For the system to say what time it is: it may be stopped by another fault.
const ASK_PATIENCE: Duration = Duration::from_millis(1_000);
/// Clocks are often told in whole milliseconds.
const RESOLUTION_NS: i64 = 1_000_000;
/// Over which a drift is measured.
const DRIFT_WINDOW: Duration = Duration::from_millis(500);
/// How often a strobe is looked at, a third of its period apart: four whole periods.
const STROBE_LOOKS: u32 = 24;

/// How the clocks are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warp {
    /// Off by a constant.
    Jump { delta_ns: i64 },
    /// Off by `delta_ns` for one period, right for one, and so on.
    Strobe { delta_ns: i64, period: Duration },
    /// Too fast by so many microseconds a second; too slow if negative.
    Drift { rate_ppm: i64 },
    /// Stopped for `pause` with clocks that stand still. `kept`: healing does not make it up.
    Freeze { pause: Duration, kept: bool },
}

impl Warp {
    pub fn shape(&self) -> &'static Shape {
        let name = match self {
            Warp::Jump { .. } => "jump",
            Warp::Strobe { .. } => "strobe",
            Warp::Drift { .. } => "drift",
            Warp::Freeze { kept: false, .. } => "freeze",
            Warp::Freeze { kept: true, .. } => "freeze-kept",
        };
        Family::Clock
            .shape(name)
            .expect("every warp is in the table: a test walks them")
    }

    fn mechanism(&self) -> ClockFault {
        match *self {
            Warp::Jump { delta_ns } => ClockFault::Jump { delta_ns },
            Warp::Strobe { delta_ns, period } => ClockFault::Strobe {
                delta_ns,
                period_us: u64::try_from(period.as_micros()).unwrap_or(u64::MAX),
            },
            Warp::Drift { rate_ppm } => ClockFault::Drift {
                ppb: rate_ppm.saturating_mul(1_000),
            },
            Warp::Freeze { pause, kept } => ClockFault::Freeze {
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                kept,
            },
        }
    }

    fn label(&self) -> String {
        match *self {
            Warp::Jump { delta_ns } => format!("jump {}", write_delta(delta_ns)),
            Warp::Strobe { delta_ns, period } => format!(
                "strobe {} every {}",
                write_delta(delta_ns),
                write_duration(period)
            ),
            Warp::Drift { rate_ppm } => format!("drift {rate_ppm:+} ppm"),
            Warp::Freeze { pause, kept: false } => format!("freeze for {}", write_duration(pause)),
            Warp::Freeze { pause, kept: true } => {
                format!("freeze for {}, never made up", write_duration(pause))
            }
        }
    }
}

/// Shifts the clocks of some nodes' daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    pub warp: Warp,
    pub targets: Targets,
}

#[async_trait]
impl Policy for Clock {
    fn family(&self) -> Family {
        Family::Clock
    }

    fn label(&self) -> String {
        format!("clock of {}: {}", self.targets, self.warp.label())
    }

    async fn orders(&self, world: &World) -> Result<Orders, FaultError> {
        let targets = self.targets.resolve(world).await?;
        let mechanism = protocol::Fault::Clock {
            daemon: world.daemon.clone(),
            how: self.warp.mechanism(),
        };
        let mechanisms = on_each(world, &targets, &mechanism)?;
        let mut offsets_before_ns = BTreeMap::new();
        for (node, _) in &mechanisms {
            // Where it cannot be read, such as at a dead daemon, the injection itself will say so.
            if let Ok(Some((realtime, _, _))) = agents_view(node, world).await {
                offsets_before_ns.insert(node.name.clone(), realtime);
            }
        }
        Ok(Orders {
            label: match self.targets {
                Targets::Leader => {
                    format!(
                        "clock of the leader {}: {}",
                        join(&targets),
                        self.warp.label()
                    )
                }
                Targets::Nodes(_) => self.label(),
            },
            mechanisms,
            targets,
            offsets_before_ns,
        })
    }

    async fn witness(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        for (node, _) in &orders.mechanisms {
            let before = orders
                .offsets_before_ns
                .get(&node.name)
                .copied()
                .unwrap_or(0);
            match self.warp {
                Warp::Jump { delta_ns } => {
                    let expected = [before.saturating_add(delta_ns)];
                    witness_offset(node, world, &expected, before, sights).await;
                }
                Warp::Strobe { delta_ns, period } => {
                    let off = before.saturating_add(delta_ns);
                    witness_strobe(node, world, before, off, period, sights).await;
                }
                Warp::Drift { rate_ppm } => witness_drift(node, world, rate_ppm, sights).await,
                // It is stopped, so it cannot be asked; the agent saw it stop, and the lag is looked
                // at before it is healed.
                Warp::Freeze { .. } => {}
            }
        }
    }

    async fn witness_last(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        if let Warp::Freeze { pause, .. } = self.warp {
            let lag = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
            for (node, _) in &orders.mechanisms {
                let before = orders
                    .offsets_before_ns
                    .get(&node.name)
                    .copied()
                    .unwrap_or(0);
                let expected = [before.saturating_sub(lag)];
                witness_offset(node, world, &expected, before, sights).await;
            }
        }
    }

    async fn witness_healed(&self, orders: &Orders, world: &World, sights: &mut Sights) {
        for (node, _) in &orders.mechanisms {
            let before = orders
                .offsets_before_ns
                .get(&node.name)
                .copied()
                .unwrap_or(0);
            let wrong = match self.warp {
                Warp::Jump { delta_ns } | Warp::Strobe { delta_ns, .. } => delta_ns,
                Warp::Drift { .. } => i64::MAX,
                Warp::Freeze { pause, .. } => -i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX),
            };
            let expected = match self.warp {
                Warp::Freeze { kept: true, .. } => vec![before.saturating_add(wrong)],
                // A restart in between takes away what an earlier fault had left.
                _ => vec![before, 0],
            };
            let not = match self.warp {
                Warp::Freeze { kept: true, .. } => before,
                _ => before.saturating_add(wrong),
            };
            witness_offset(node, world, &expected, not, sights).await;
        }
    }
}

/// How far a daemon's wall clock is off, as it was seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    offset_ns: i64,
    error_ns: i64,
}

impl Reading {
    fn is(&self, expected_ns: i64) -> bool {
        self.offset_ns.abs_diff(expected_ns) <= self.error_ns.unsigned_abs()
    }

    /// Whether it can tell these two apart at all.
    fn separates(&self, a_ns: i64, b_ns: i64) -> bool {
        a_ns.abs_diff(b_ns) > 2 * self.error_ns.unsigned_abs()
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

/// What the agent reads in the daemon: offsets of realtime and monotonic, and their error.
async fn agents_view(node: &Node, world: &World) -> Result<Option<(i64, i64, i64)>, ControlError> {
    let daemon = Some(world.daemon.clone());
    let clocks: Clocks = node.agent.call(Request::Clocks { daemon }).await?;
    let window = i64::try_from(clocks.window_ns).unwrap_or(i64::MAX);
    Ok(clocks
        .daemon_offset_ns
        .map(|(realtime, monotonic)| (realtime, monotonic, window.saturating_add(RESOLUTION_NS))))
}

/// Whether the wall clock is off by one of `expected`, and not by `not`.
async fn witness_offset(
    node: &Node,
    world: &World,
    expected_ns: &[i64],
    not_ns: i64,
    sights: &mut Sights,
) {
    let name = &node.name;
    let judge = |who: &str, reading: Reading, sights: &mut Sights| {
        let agrees = expected_ns.iter().any(|e| reading.is(*e));
        let text = format!(
            "{name}: wall clock off by {} ± {} ({who})",
            write_delta(reading.offset_ns),
            write_duration(Duration::from_nanos(reading.error_ns.unsigned_abs()))
        );
        let tells = expected_ns.iter().all(|e| reading.separates(*e, not_ns));
        match (agrees, tells) {
            (true, true) => sights.agrees(text),
            (true, false) => sights.agrees(format!("{text}: too coarse to tell")),
            (false, _) => {
                let wanted: Vec<String> = expected_ns.iter().map(|e| write_delta(*e)).collect();
                sights.contradicts(format!(
                    "{text}, where it should be {}",
                    wanted.join(" or ")
                ));
            }
        }
    };
    match agents_view(node, world).await {
        Ok(Some((offset_ns, _, error_ns))) => {
            judge(
                "agent",
                Reading {
                    offset_ns,
                    error_ns,
                },
                sights,
            );
        }
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
async fn witness_strobe(
    node: &Node,
    world: &World,
    before_ns: i64,
    off_ns: i64,
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
        if !reading.separates(before_ns, off_ns) {
            return sights.agrees(format!(
                "{name}: the strobe is too small to be seen by asking"
            ));
        }
        let text = format!(
            "{name}: wall clock off by {} at look {look} (asked)",
            write_delta(reading.offset_ns)
        );
        if reading.is(off_ns) {
            return sights.agrees(text);
        }
        if !reading.is(before_ns) {
            return sights.contradicts(format!("{text}, which is neither end of the strobe"));
        }
        sleep(period / 3).await;
    }
    sights.contradicts(format!(
        "{name}: wall clock never seen off in {STROBE_LOOKS} looks"
    ));
}

/// Looks twice, and compares how far the clock went with how far it should have gone.
async fn witness_drift(node: &Node, world: &World, rate_ppm: i64, sights: &mut Sights) {
    let name = &node.name;
    let begun = Instant::now();
    let first = ask_system(node, world).await;
    sleep(DRIFT_WINDOW).await;
    let second = ask_system(node, world).await;
    let went = begun.elapsed();
    match (first, second) {
        (Ok(Some(first)), Ok(Some(second))) => {
            let (agrees, line) = judge_drift(first, second, went, rate_ppm);
            sights.see(agrees, format!("{name}: {line}"));
        }
        (Err(error), _) | (_, Err(error)) => sights.blind(&error),
        _ => sights.agrees(not_told(node, world)),
    }
}

fn judge_drift(first: Reading, second: Reading, went: Duration, rate_ppm: i64) -> (bool, String) {
    let went_us = i64::try_from(went.as_micros()).unwrap_or(i64::MAX);
    // Parts per million of microseconds are picoseconds.
    let expected_ns = rate_ppm.saturating_mul(went_us) / 1_000;
    let growth = Reading {
        offset_ns: second.offset_ns.saturating_sub(first.offset_ns),
        // The looks themselves take time, in which the clock drifts too: at most `went`, of which
        // the errors already have their share.
        error_ns: (first.error_ns + second.error_ns).saturating_add(expected_ns.abs() / 10),
    };
    let line = format!(
        "wall clock went {} in {} (asked)",
        write_delta(growth.offset_ns),
        write_duration(Duration::from_millis(
            u64::try_from(went.as_millis()).unwrap_or(u64::MAX)
        ))
    );
    match (growth.is(expected_ns), growth.separates(expected_ns, 0)) {
        (true, true) => (true, line),
        (true, false) => (
            true,
            format!("{line}: too slow a drift to be seen by asking"),
        ),
        (false, _) => (
            false,
            format!("{line}, where {} was due", write_delta(expected_ns)),
        ),
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
        assert!(seen.is(494 * MS) && seen.is(506 * MS));
        assert!(!seen.is(493 * MS) && !seen.is(507 * MS));
        assert!(seen.separates(500 * MS, 0));
        assert!(!seen.separates(12 * MS, 0));
    }

    #[test]
    fn a_drift_is_judged_by_what_the_clock_gained() {
        let at = |offset_ns| Reading {
            offset_ns,
            error_ns: 2 * MS,
        };
        let went = Duration::from_millis(500);
        // 100,000 ppm for half a second: 50 ms.
        assert!(judge_drift(at(3 * MS), at(53 * MS), went, 100_000).0);
        assert!(!judge_drift(at(3 * MS), at(3 * MS), went, 100_000).0);
        assert!(!judge_drift(at(3 * MS), at(-47 * MS), went, 100_000).0);
        assert!(judge_drift(at(0), at(-50 * MS), went, -100_000).0);
        // 1,000 ppm: half a millisecond, which nobody can see here.
        let (agrees, line) = judge_drift(at(0), at(0), went, 1_000);
        assert!(agrees && line.contains("too slow"), "{line}");
    }

    #[test]
    fn mechanisms_have_the_units_of_the_protocol() {
        assert_eq!(
            Warp::Strobe {
                delta_ns: -5,
                period: Duration::from_millis(2)
            }
            .mechanism(),
            ClockFault::Strobe {
                delta_ns: -5,
                period_us: 2_000
            }
        );
        assert_eq!(
            Warp::Drift { rate_ppm: 500 }.mechanism(),
            ClockFault::Drift { ppb: 500_000 }
        );
        assert_eq!(
            Warp::Freeze {
                pause: Duration::from_secs(2),
                kept: true
            }
            .mechanism(),
            ClockFault::Freeze {
                pause_ms: 2_000,
                kept: true
            }
        );
    }
}
