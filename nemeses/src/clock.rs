//! Clock: what a daemon believes the time to be.
//!
//! Jump, strobe and drift move the wall clock and leave the monotonic clock alone, as a step of NTP
//! or an administrator does. A freeze is a suspended machine: the daemon stops, *both* clocks stand
//! still, and it goes on with clocks that lag, so it cannot tell that anything happened. That is
//! what catches leases that are checked before the stop and used after it.
//!
//! Evidence: the agent's own reading of the daemon's clocks, and what the daemon itself answers
//! when the system can be asked for its wall clock. That answer lies between two readings of the
//! node's true clock, so its offset is known up to half their distance (Cristian, "Probabilistic
//! clock synchronization", 1989). Where the fault is smaller than that error, the receipt says that
//! it cannot tell, and rests on the agent. At the end the agent says how often the daemon has
//! looked at the clock that was off, and the daemon's log by what time it was written ([stamps]):
//! what was never looked at, and a log that goes on by the true time, take the fault back.

mod reading;
mod stamps;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent::protocol::{self, ClockFault};
use async_trait::async_trait;
use harness::at_once::at_once;
use harness::cluster::Node;
use harness::nemesis::{Fault, FaultError, World};
use harness::units::{write_delta, write_duration};
use history::Name;
use history::fault::Loss;

use self::reading::{Reading, TRUE, witness_drift, witness_offset, witness_strobe};
use self::stamps::Marks;
use crate::apply::{Applied, Orders, Policy};
use crate::ask::on_each;
use crate::daemons::down;
use crate::family::{Family, Grip, Need, Shape, What};
use crate::figure::{Drawn, Figure, MILLISECOND, SECOND, Unit, Wrong, as_drawn};
use crate::sights::Sights;
use crate::targets::{Targets, join};

/// What the agents can show.
const MOST_DELTA_NS: i64 = agent::vdso::line::OFFSET_MAX_NS;

const DELTA: Figure = Figure {
    key: "delta",
    unit: Unit::Delta,
    example: "\"-30s\"",
    default: None,
    drawn: Drawn::EitherWay(10..=3_600_000),
    grain: MILLISECOND,
    fit: as_drawn,
    // Clocks are told in whole milliseconds.
    least: MILLISECOND,
    allowed: -MOST_DELTA_NS..=MOST_DELTA_NS,
    otherwise: "a clock can be set forward or back by 36 years at most",
};

/// A strobe is waited for by its receipt; and a slower one is a series of jumps.
const PERIOD: Figure = Figure {
    key: "period",
    unit: Unit::Span,
    example: "\"20ms\"",
    default: None,
    drawn: Drawn::Magnitude(2..=500),
    grain: MILLISECOND,
    fit: |period, lasts_ms| period.min(i64::try_from(lasts_ms / 2).unwrap_or(i64::MAX)),
    least: 1,
    // The agents turn a clock no faster to and fro.
    allowed: MILLISECOND / 10..=10 * SECOND,
    otherwise: "a strobe's period is 100us to 10s",
};

const RATE: Figure = Figure {
    key: "rate_ppm",
    unit: Unit::Number,
    example: "5000",
    default: None,
    // 0.1 % to 20 %.
    drawn: Drawn::EitherWay(1_000..=200_000),
    grain: 1,
    fit: |rate, lasts_ms| {
        // What it gains in all must be a millisecond.
        let least = i64::try_from(1_000_000_u64.div_ceil(lasts_ms)).unwrap_or(i64::MAX);
        rate.signum() * rate.abs().max(least)
    },
    least: 1,
    // At -1,000,000 ppm the clock stands still, and beyond it would run backwards.
    allowed: -999_999..=10_000_000,
    otherwise: "a drift is between -999999 and 10000000 ppm",
};

const PAUSE: Figure = Figure {
    key: "pause",
    unit: Unit::Span,
    example: "\"3s\"",
    default: None,
    drawn: Drawn::PercentOfLength(30..=70),
    grain: MILLISECOND,
    fit: |pause, _| pause.max(1),
    least: MILLISECOND,
    // The agents stop nothing for longer.
    allowed: 0..=24 * 3_600 * SECOND,
    otherwise: "nothing is stopped for more than 24h",
};

const CLOCK: &[Need] = &[&["vdso", "set-clock"]];
const VDSO: &[Need] = &[&["vdso"]];

pub static FAMILY: Family = Family {
    name: "clock",
    does: "shifts the clocks that a daemon sees",
    example: "clock:jump:leader",
    shapes: &[
        Shape {
            name: "jump",
            percent: 45,
            needs: CLOCK,
            figures: &[DELTA],
            ..Shape::new(
                "the wall clock is off by a constant, from 10 ms to 1 h either way",
                Grip::Clocks,
                |what| made(what, jump(what)),
            )
        },
        Shape {
            name: "strobe",
            percent: 15,
            needs: CLOCK,
            figures: &[DELTA, PERIOD],
            check: turns_once,
            ..Shape::new("the wall clock jumps to and fro", Grip::Clocks, |what| {
                made(what, strobe(what))
            })
        },
        Shape {
            name: "drift",
            percent: 15,
            needs: CLOCK,
            figures: &[RATE],
            check: gains_enough,
            ..Shape::new(
                "the wall clock runs too fast or too slow",
                Grip::Clocks,
                |what| made(what, drift(what)),
            )
        },
        Shape {
            name: "freeze",
            percent: 15,
            ..freeze(
                "the daemon is stopped while its clocks stand still, as a suspended machine; healing makes the lost time up",
                |what| made(what, frozen(what, false)),
            )
        },
        Shape {
            name: "freeze-kept",
            percent: 10,
            stays: true,
            ..freeze("the same, and the lost time is never made up", |what| {
                made(what, frozen(what, true))
            })
        },
    ],
    named: None,
    in_all: Some("clock"),
};

const fn freeze(does: &'static str, make: fn(&What) -> Arc<dyn Fault>) -> Shape {
    Shape {
        needs: VDSO,
        figures: &[PAUSE],
        check: ends_before_the_fault,
        ..Shape::new(does, Grip::Frozen, make)
    }
}

fn made(what: &What, warp: Warp) -> Arc<dyn Fault> {
    let targets = what.targets.clone();
    Arc::new(Applied::new(Clock { warp, targets }))
}

fn jump(what: &What) -> Warp {
    Warp::Jump {
        delta_ns: what.get(&DELTA),
    }
}

fn strobe(what: &What) -> Warp {
    Warp::Strobe {
        delta_ns: what.get(&DELTA),
        period: what.span(&PERIOD),
    }
}

fn drift(what: &What) -> Warp {
    Warp::Drift {
        rate_ppm: what.get(&RATE),
    }
}

fn frozen(what: &What, kept: bool) -> Warp {
    Warp::Freeze {
        pause: what.span(&PAUSE),
        kept,
    }
}

fn turns_once(what: &What, lasts: Option<Duration>) -> Result<(), Wrong> {
    if lasts.is_none_or(|lasts| 2 * what.span(&PERIOD) <= lasts) {
        return Ok(());
    }
    let why = "the fault ends before the clock was once off and once right";
    Err((PERIOD.key, why.into()))
}

fn gains_enough(what: &What, lasts: Option<Duration>) -> Result<(), Wrong> {
    let rate_ppm = u128::from(what.get(&RATE).unsigned_abs());
    let gained_ns = |lasts: Duration| lasts.as_nanos() * rate_ppm / 1_000_000;
    if lasts.is_none_or(|lasts| gained_ns(lasts) >= u128::from(MILLISECOND.unsigned_abs())) {
        return Ok(());
    }
    let why = "the whole fault gains or loses less than a millisecond, which nobody could see";
    Err((RATE.key, why.into()))
}

fn ends_before_the_fault(what: &What, lasts: Option<Duration>) -> Result<(), Wrong> {
    if lasts.is_none_or(|lasts| what.span(&PAUSE) < lasts) {
        return Ok(());
    }
    let why = "the stop is as long as the whole fault, or longer: the daemon must run on with clocks \
               that lag before they are set right";
    Err((PAUSE.key, why.into()))
}

/// How the clocks are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warp {
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
struct Clock {
    warp: Warp,
    targets: Targets,
}

/// The daemons as they were.
#[derive(Clone, Default)]
struct Before {
    /// How far their wall clocks were off: a fault whose lag is kept may have gone before.
    offsets: BTreeMap<Name, Reading>,
    /// Where their logs ended once the fault was there.
    logs: Marks,
}

#[async_trait]
impl Policy for Clock {
    type Before = Before;

    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn label(&self) -> String {
        format!("clock of {}: {}", self.targets, self.warp.label())
    }

    fn is_steady(&self) -> bool {
        // Half of the time a strobe shows the truth.
        !matches!(self.warp, Warp::Strobe { .. })
    }

    async fn orders(&self, world: &World) -> Result<Orders<Before>, FaultError> {
        let targets = self.targets.resolve(world).await?;
        let mechanism = protocol::Fault::Clock {
            daemon: world.daemon.clone(),
            how: self.warp.mechanism(),
        };
        let mechanisms = on_each(world, &targets, &mechanism)?;
        let looks = at_once(mechanisms.iter().map(|(node, _)| {
            let (node, world) = (node.clone(), world.clone());
            async move { (node.name.clone(), reading::before(&node, &world).await) }
        }));
        let offsets = looks.await.into_iter().collect();
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
            before: Before {
                offsets,
                logs: Marks::new(),
            },
        })
    }

    async fn begun(&self, orders: &mut Orders<Before>, world: &World) {
        if !matches!(self.warp, Warp::Jump { .. } | Warp::Strobe { .. }) {
            // What drifts or lags is never off by more than passes between two looks at a log.
            return;
        }
        let marks = at_once(orders.mechanisms.iter().map(|(node, _)| {
            let (node, daemon) = (node.clone(), world.daemon.clone());
            async move { Some((node.name.clone(), stamps::mark(&node, &daemon).await.ok()?)) }
        }));
        orders.before.logs = marks.await.into_iter().flatten().collect();
    }

    fn takes_away(&self, orders: &Orders<Before>, _: &World) -> Loss {
        match self.warp {
            Warp::Freeze { .. } => down(&orders.targets),
            _ => Loss::default(),
        }
    }

    async fn witness(&self, orders: &Orders<Before>, world: &World, sights: &mut Sights) {
        let warp = self.warp;
        on_targets(
            orders,
            world,
            sights,
            move |node, world, before| async move {
                let mut sights = Sights::default();
                match warp {
                    Warp::Jump { delta_ns } => {
                        let expected = [before.plus(delta_ns)];
                        witness_offset(&node, &world, &expected, before, &mut sights).await;
                    }
                    Warp::Strobe { delta_ns, period } => {
                        let off = before.plus(delta_ns);
                        witness_strobe(&node, &world, before, off, period, &mut sights).await;
                    }
                    Warp::Drift { rate_ppm } => {
                        witness_drift(&node, &world, rate_ppm, &mut sights).await;
                    }
                    // It is stopped, so it cannot be asked; the agent saw it stop, and the lag is
                    // looked at before it is healed.
                    Warp::Freeze { .. } => {}
                }
                sights
            },
        )
        .await;
    }

    async fn witness_last(&self, orders: &Orders<Before>, world: &World, sights: &mut Sights) {
        let pause = match self.warp {
            Warp::Freeze { pause, .. } => pause,
            Warp::Jump { delta_ns } => {
                return witness_logs(orders, world, delta_ns, true, sights).await;
            }
            Warp::Strobe { delta_ns, .. } => {
                return witness_logs(orders, world, delta_ns, false, sights).await;
            }
            Warp::Drift { .. } => return,
        };
        on_targets(
            orders,
            world,
            sights,
            move |node, world, before| async move {
                let mut sights = Sights::default();
                let expected = [before.plus(-nanos(pause))];
                witness_offset(&node, &world, &expected, before, &mut sights).await;
                sights
            },
        )
        .await;
    }

    async fn witness_healed(&self, orders: &Orders<Before>, world: &World, sights: &mut Sights) {
        let warp = self.warp;
        on_targets(
            orders,
            world,
            sights,
            move |node, world, before| async move {
                let mut sights = Sights::default();
                // A restart in between takes away what an earlier fault had left.
                let healed = vec![before, TRUE];
                let (expected, not) = match warp {
                    Warp::Freeze { pause, kept: true } => {
                        (vec![before.plus(-nanos(pause))], before)
                    }
                    Warp::Freeze { pause, kept: false } => (healed, before.plus(-nanos(pause))),
                    Warp::Jump { delta_ns } | Warp::Strobe { delta_ns, .. } => {
                        (healed, before.plus(delta_ns))
                    }
                    // How far it had drifted by now is not known so well; anything else than
                    // before.
                    Warp::Drift { .. } => (healed, before.plus(i64::MAX)),
                };
                witness_offset(&node, &world, &expected, not, &mut sights).await;
                sights
            },
        )
        .await;
    }
}

/// Looks at all targets at once.
async fn on_targets<F>(
    orders: &Orders<Before>,
    world: &World,
    sights: &mut Sights,
    look: impl Fn(Node, World, Reading) -> F,
) where
    F: Future<Output = Sights> + Send + 'static,
{
    let looks = at_once(orders.mechanisms.iter().map(|(node, _)| {
        let before = orders.before.offsets.get(&node.name).copied();
        look(node.clone(), world.clone(), before.unwrap_or(TRUE))
    }));
    for seen in looks.await {
        sights.merge(seen);
    }
}

/// By what time the daemons have logged while the fault was in force.
async fn witness_logs(
    orders: &Orders<Before>,
    world: &World,
    delta_ns: i64,
    always: bool,
    sights: &mut Sights,
) {
    let looks = orders.mechanisms.iter().filter_map(|(node, _)| {
        let mark = orders.before.logs.get(&node.name)?.clone();
        let before = orders.before.offsets.get(&node.name).copied();
        let off = before.unwrap_or(TRUE).plus(delta_ns).offset_ns;
        let (node, daemon) = (node.clone(), world.daemon.clone());
        Some(async move {
            let mut sights = Sights::default();
            stamps::witness(&node, &daemon, &mark, off, always, &mut sights).await;
            sights
        })
    });
    for seen in at_once(looks).await {
        sights.merge(seen);
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
