//! Drawing a schedule from a seed.
//!
//! ```text
//! gap | round: all its faults, in force together for most of it | gap | round | ... | time limit
//! ```
//!
//! Rounds follow the spec in turn. Every fault ends before the time limit: what comes after is the
//! run's final phase. All figures come from tables of whole numbers with a unit, and from dice that
//! fall the same everywhere: a seed is a schedule.

use std::ops::RangeInclusive;
use std::time::Duration;

use harness::seed::Seed;
use history::Name;
use thiserror::Error;

use super::dice::Dice;
use super::length::Length;
use super::rules::LEAST_LENGTH;
use super::spec::{FaultSpec, NemesisSpec};
use super::{Entry, Schedule, What};
use crate::clock::{Clock, Warp};
use crate::kill::Kill;
use crate::machine::{Blow, Machine};
use crate::packet::{Effect, Packet};
use crate::partition::{Partition, SPLITS, Topology};
use crate::pause::Pause;
use crate::registry::{Family, Shape, WHO};
use crate::targets::{Targets, majority};
use crate::units::write_duration;

/// From the beginning of one round to the next, on average, in milliseconds.
const INTERVAL_MS: u64 = 6_500;
/// In a short run there are four rounds, if they are not shorter than this, in milliseconds.
const LEAST_INTERVAL_MS: u64 = 500;
/// How long faults last, in percent of the interval: 2 to 6 seconds.
const LASTS_PERCENT: RangeInclusive<u64> = 31..=92;
/// Quiet between rounds, in percent of the interval: 1 to 4 seconds.
const GAP_PERCENT: RangeInclusive<u64> = 16..=61;
/// How much later a fault of a round may begin than the first, and how much earlier it may end than
/// the last, in percent of the round.
const RAGGED_PERCENT: RangeInclusive<u64> = 0..=25;

/// How far a wall clock jumps or strobes, in milliseconds: 10 ms to 1 h, either way.
const DELTA_MS: RangeInclusive<u64> = 10..=3_600_000;
/// How often a strobe turns, in milliseconds.
const STROBE_MS: RangeInclusive<u64> = 2..=500;
/// How fast a clock drifts, in parts per million either way: 0.1 % to 20 %.
const DRIFT_PPM: RangeInclusive<u64> = 1_000..=200_000;
/// How long a frozen daemon is stopped, in percent of the whole fault.
const FROZEN_PERCENT: RangeInclusive<u64> = 30..=70;

/// Delay of packets, in milliseconds.
const DELAY_MS: RangeInclusive<u64> = 5..=500;
/// How much a delay varies, in percent of itself.
const JITTER_PERCENT: RangeInclusive<u64> = 0..=50;
/// Shares of packets, in percent.
const LOSS_PERCENT: RangeInclusive<u64> = 5..=50;
const DUPLICATE_PERCENT: RangeInclusive<u64> = 5..=50;
const REORDER_PERCENT: RangeInclusive<u64> = 10..=50;
const CORRUPT_PERCENT: RangeInclusive<u64> = 1..=20;
/// How late the packets come that are overtaken, in milliseconds.
const OVERTAKEN_MS: RangeInclusive<u64> = 10..=200;
/// A thin pipe, in kbit/s.
const RATE_KBIT: RangeInclusive<u64> = 64..=8_192;

/// How a schedule is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Mean time from the beginning of one round to that of the next; faults and gaps scale with it.
    /// None: 6.5 s, and less in a run so short that it would have fewer than four rounds.
    pub interval: Option<Duration>,
    /// How long faults last. None: 31 to 92 % of the interval. Faults of one round that is given its
    /// length begin and end together.
    pub lasts: Option<Length>,
    /// Quiet before the first round and between rounds. None: 16 to 61 % of the interval.
    pub gap: Option<Length>,
    /// Nothing is aimed at a leader: there is none.
    pub no_leader: bool,
}

/// Why nothing can be drawn.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DrawError {
    #[error("{fault} needs {least} nodes or more, and there are {nodes}")]
    TooFewNodes {
        fault: String,
        least: usize,
        nodes: usize,
    },
    #[error(
        "no fault fits into {:.1} s with {} before it and {} for itself: give the run more time, or the faults less",
        .time_limit.as_secs_f64(), write_duration(*.gap), write_duration(*.lasts)
    )]
    TooShort {
        time_limit: Duration,
        gap: Duration,
        lasts: Duration,
    },
    #[error("{0} aims at a leader, and there is none")]
    NoLeader(String),
    /// What is asked for at the same time cannot be.
    #[error("{round} cannot be: {why}")]
    Impossible { round: String, why: String },
}

/// Draws the faults of a run of so much time. The same arguments give the same schedule, everywhere.
pub fn draw(
    seed: Seed,
    spec: &NemesisSpec,
    nodes: &[Name],
    time_limit: Duration,
    tuning: &Tuning,
) -> Result<Schedule, DrawError> {
    let mut schedule = Schedule {
        seed: seed.0,
        entries: Vec::new(),
    };
    if spec.rounds.is_empty() {
        return Ok(schedule);
    }
    for fault in spec.rounds.iter().flatten() {
        check_fault(fault, nodes.len(), tuning)?;
    }
    let mut dice = Dice::new(seed.stream("schedule"));
    let limit_ms = millis(time_limit);
    let interval_ms = match tuning.interval {
        Some(interval) => millis(interval),
        None => INTERVAL_MS.min(limit_ms / 4).max(LEAST_INTERVAL_MS),
    };
    let draw_ms = |dice: &mut Dice, given: Option<Length>, percent| match given {
        Some(given) => dice.within(millis(given.least)..=millis(given.most)),
        None => dice.span(interval_ms, percent),
    };
    let mut at_ms = draw_ms(&mut dice, tuning.gap, GAP_PERCENT);
    for round in spec.rounds.iter().cycle() {
        let lasts_ms = draw_ms(&mut dice, tuning.lasts, LASTS_PERCENT);
        let lasts_ms = match tuning.lasts {
            Some(_) => lasts_ms,
            None => lasts_ms.max(millis(LEAST_LENGTH)),
        };
        if lasts_ms == 0 || at_ms + lasts_ms > limit_ms {
            if schedule.entries.is_empty() {
                return Err(DrawError::TooShort {
                    time_limit,
                    gap: Duration::from_millis(at_ms),
                    lasts: Duration::from_millis(lasts_ms),
                });
            }
            break;
        }
        draw_round(
            &mut dice,
            round,
            nodes,
            at_ms,
            lasts_ms,
            tuning,
            &mut schedule.entries,
        )?;
        at_ms += lasts_ms + draw_ms(&mut dice, tuning.gap, GAP_PERCENT).max(1);
    }
    match schedule.check(nodes).into_iter().next() {
        None => Ok(schedule),
        Some(complaint) => Err(DrawError::Impossible {
            round: spec.to_string(),
            why: format!(
                "{} {}",
                schedule.entries[complaint.entry].what.name(),
                complaint.message
            ),
        }),
    }
}

fn check_fault(fault: &FaultSpec, nodes: usize, tuning: &Tuning) -> Result<(), DrawError> {
    let named = [fault.shape, fault.who];
    if tuning.no_leader && named.into_iter().flatten().any(is_leader) {
        return Err(DrawError::NoLeader(fault.to_string()));
    }
    let shapes = fault.family.listing().shapes;
    // Not narrowed: some shape must fit, and the least demanding is the one to name.
    let shape = fault.shape.or(shapes.iter().min_by_key(|s| s.least_nodes));
    let least = shape
        .map_or(1, |s| s.least_nodes)
        .max(fault.who.map_or(1, |w| w.least_nodes));
    match nodes < least {
        true => Err(DrawError::TooFewNodes {
            fault: fault.to_string(),
            least,
            nodes,
        }),
        false => Ok(()),
    }
}

fn draw_round(
    dice: &mut Dice,
    round: &[FaultSpec],
    nodes: &[Name],
    at_ms: u64,
    lasts_ms: u64,
    tuning: &Tuning,
    entries: &mut Vec<Entry>,
) -> Result<(), DrawError> {
    let on_daemons = |f: &&FaultSpec| {
        matches!(
            f.family,
            Family::Pause | Family::Kill | Family::Clock | Family::Machine
        )
    };
    // Several faults on daemons at once: a node each, so that they do not undo each other.
    let crowded = round.iter().filter(on_daemons).count() > 1;
    let mut free = nodes.to_vec();
    dice.shuffle(&mut free);
    let ragged = match tuning.lasts {
        Some(_) => 0..=0,
        None => RAGGED_PERCENT,
    };
    let mut drawn = Vec::new();
    for fault in round {
        // The clock's fault begins first and ends last, so that it never has to do with a dead daemon.
        let (late, early) = match fault.family == Family::Clock || round.len() == 1 {
            true => (0, 0),
            false => (
                dice.span(lasts_ms, ragged.clone()),
                dice.span(lasts_ms, ragged.clone()),
            ),
        };
        let (late, early) = match lasts_ms < late + early + millis(LEAST_LENGTH) {
            true => (0, 0),
            false => (late, early),
        };
        let lasts_ms = lasts_ms - late - early;
        let mut who = |dice: &mut Dice, aims_at_some: bool| -> Targets {
            let targets = match (fault.who, crowded && on_daemons(&fault)) {
                (Some(who), _) => aim(who, &free),
                (None, true) => aim(one(), &free),
                (None, false) => aim(draw_who(dice, nodes.len(), aims_at_some, tuning), &free),
            };
            if let (Targets::Nodes(names), true) = (&targets, crowded && on_daemons(&fault)) {
                // Taken to the end of the line, not away: where there are not enough for all, the
                // rules of a schedule say who is in whose way.
                free.sort_by_key(|n| names.contains(n));
            }
            targets
        };
        let shape = fault
            .shape
            .or_else(|| draw_shape(dice, fault.family, nodes.len(), tuning));
        let what = match (fault.family, shape) {
            (Family::Pause, _) => What::Pause(Pause {
                targets: who(dice, false),
            }),
            (Family::Kill, _) => What::Kill(Kill {
                targets: who(dice, false),
            }),
            (Family::Partition, Some(shape)) => {
                let aimed = |dice: &mut Dice| who(dice, shape.name != "no-response");
                let topology = topology(dice, shape, nodes, aimed);
                What::Partition(Partition { topology })
            }
            (Family::Clock, Some(shape)) => What::Clock(Clock {
                targets: who(dice, false),
                warp: draw_warp(dice, shape, lasts_ms),
            }),
            (Family::Packet, Some(shape)) => What::Packet(Packet {
                targets: who(dice, false),
                effect: draw_effect(dice, shape),
            }),
            (Family::Machine, Some(shape)) => What::Machine(Machine {
                targets: who(dice, false),
                blow: blow(shape),
            }),
            (family, None) => {
                return Err(DrawError::TooFewNodes {
                    fault: family.to_string(),
                    least: 2,
                    nodes: nodes.len(),
                });
            }
        };
        drawn.push(Entry {
            at: Duration::from_millis(at_ms + late),
            lasts: Some(Duration::from_millis(lasts_ms)),
            what,
        });
    }
    drawn.sort_by_key(|entry| entry.at);
    entries.extend(drawn);
    Ok(())
}

impl Dice {
    /// A share of a span in percent, rounded to a tenth of a second where the span is long.
    fn span(&mut self, of_ms: u64, percent: RangeInclusive<u64>) -> u64 {
        let grain = if of_ms >= 2_000 { 100 } else { 10 };
        of_ms * self.within(percent) / 100 / grain * grain
    }
}

pub(super) fn blow(shape: &Shape) -> Blow {
    match shape.name {
        "suspend" => Blow::Suspend,
        _ => Blow::Reboot,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn one() -> &'static Shape {
    WHO.iter()
        .find(|w| w.name == "one")
        .expect("the table of targets has one node: a test names it")
}

fn is_leader(shape: &Shape) -> bool {
    shape.name == "leader"
}

fn draw_shape(
    dice: &mut Dice,
    family: Family,
    nodes: usize,
    tuning: &Tuning,
) -> Option<&'static Shape> {
    let weight = |s: &Shape| match s {
        s if tuning.no_leader && is_leader(s) => 0,
        s if s.least_nodes > nodes => 0,
        s => s.percent,
    };
    dice.weighted(family.listing().shapes, weight)
}

/// Who is hit. `some`: not all, because then nothing would happen.
fn draw_who(dice: &mut Dice, nodes: usize, some: bool, tuning: &Tuning) -> &'static Shape {
    let weight = |w: &Shape| match w.name {
        "all" if some => 0,
        _ if tuning.no_leader && is_leader(w) => 0,
        _ if w.least_nodes > nodes => 0,
        _ => w.percent,
    };
    dice.weighted(WHO, weight).unwrap_or(one())
}

/// The targets of a kind, taken from the front of a shuffled line. A minority is the largest one, and
/// a majority the smallest: those are the ones between which a quorum is kept or lost.
fn aim(who: &Shape, line: &[Name]) -> Targets {
    let n = line.len();
    let count = match who.name {
        "leader" => return Targets::Leader,
        "minority" => n - majority(n),
        "majority" => majority(n),
        "all" => n,
        _ => 1,
    };
    Targets::Nodes(sorted(line[..count].to_vec()))
}

/// In the order of the cluster's numbering: `n2` before `n10`.
fn sorted(mut names: Vec<Name>) -> Vec<Name> {
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names
}

/// The targets that a word of a file stands for.
pub(super) fn settle_who(seed: u64, entry: usize, who: &Shape, nodes: &[Name]) -> Targets {
    let mut line = nodes.to_vec();
    Dice::new(Seed(seed).stream(&format!("targets of fault {entry}"))).shuffle(&mut line);
    aim(who, &line)
}

/// The sides of a topology whose file leaves them open.
pub(super) fn settle_topology(
    seed: u64,
    entry: usize,
    shape: &'static Shape,
    nodes: &[Name],
) -> Topology {
    let mut dice = Dice::new(Seed(seed).stream(&format!("targets of fault {entry}")));
    let mut line = nodes.to_vec();
    dice.shuffle(&mut line);
    topology(&mut dice, shape, nodes, |_| aim(one(), &line))
}

/// A topology with its sides drawn. `aimed` chooses the targets of those that have any. The nodes are
/// as many as the shape needs.
fn topology(
    dice: &mut Dice,
    shape: &'static Shape,
    nodes: &[Name],
    aimed: impl FnOnce(&mut Dice) -> Targets,
) -> Topology {
    let mut line = nodes.to_vec();
    dice.shuffle(&mut line);
    let n = line.len();
    match shape.name {
        "leader" => Topology::Leader,
        "majorities-ring" => Topology::MajoritiesRing { order: line },
        "bridge" => Topology::Bridge {
            bridge: line[0].clone(),
            side: sorted(line[1..=(n - 1) / 2].to_vec()),
        },
        "partial" => {
            let mut pair = sorted(line[..2].to_vec()).into_iter();
            let mut next = || pair.next().expect("a partial partition needs three nodes");
            Topology::Partial {
                a: next(),
                b: next(),
            }
        }
        "one-way-in" => Topology::OneWayIn {
            targets: aimed(dice),
        },
        "one-way-out" => Topology::OneWayOut {
            targets: aimed(dice),
        },
        "no-response" => Topology::NoResponse {
            targets: aimed(dice),
        },
        _ => {
            let (_, sizes) = SPLITS
                .iter()
                .find(|(name, _)| *name == shape.name)
                .expect("all other shapes are splits: a test draws each");
            let sizes = sizes(n);
            let size = dice.within(*sizes.start() as u64..=*sizes.end() as u64);
            let size = usize::try_from(size).expect("a number of nodes");
            let side = sorted(line[..size].to_vec());
            Topology::Split {
                shape: shape.name,
                side,
            }
        }
    }
}

fn draw_warp(dice: &mut Dice, shape: &Shape, lasts_ms: u64) -> Warp {
    match shape.name {
        "jump" => Warp::Jump {
            delta_ns: draw_delta_ns(dice),
        },
        "strobe" => Warp::Strobe {
            delta_ns: draw_delta_ns(dice),
            period: Duration::from_millis(dice.magnitude(STROBE_MS).min(lasts_ms / 2)),
        },
        "drift" => {
            // What it gains in all must be a millisecond.
            let least_ppm = i64::try_from(1_000_000_u64.div_ceil(lasts_ms)).unwrap_or(i64::MAX);
            let rate_ppm = signed(dice, DRIFT_PPM);
            Warp::Drift {
                rate_ppm: rate_ppm.signum() * rate_ppm.abs().max(least_ppm),
            }
        }
        kind => Warp::Freeze {
            pause: Duration::from_millis((lasts_ms * dice.within(FROZEN_PERCENT) / 100).max(1)),
            kept: kind == "freeze-kept",
        },
    }
}

fn draw_delta_ns(dice: &mut Dice) -> i64 {
    signed(dice, DELTA_MS) * 1_000_000
}

fn signed(dice: &mut Dice, range: RangeInclusive<u64>) -> i64 {
    let figure = i64::try_from(dice.magnitude(range)).expect("the tables' figures are small");
    if dice.coin() { figure } else { -figure }
}

fn draw_effect(dice: &mut Dice, shape: &Shape) -> Effect {
    let share = |dice: &mut Dice, percent| {
        u32::try_from(dice.within(percent) * 10_000).expect("a percentage in millionths")
    };
    match shape.name {
        "delay" => {
            let delay_ms = dice.magnitude(DELAY_MS);
            Effect::Delay {
                delay: Duration::from_millis(delay_ms),
                jitter: Duration::from_millis(delay_ms * dice.within(JITTER_PERCENT) / 100),
            }
        }
        "duplicate" => Effect::Duplicate {
            share_per_million: share(dice, DUPLICATE_PERCENT),
        },
        "reorder" => Effect::Reorder {
            share_per_million: share(dice, REORDER_PERCENT),
            delay: Duration::from_millis(dice.magnitude(OVERTAKEN_MS)),
        },
        "corrupt" => Effect::Corrupt {
            share_per_million: share(dice, CORRUPT_PERCENT),
        },
        "rate" => Effect::Rate {
            rate_kbit: dice.magnitude(RATE_KBIT),
        },
        _ => Effect::Loss {
            share_per_million: share(dice, LOSS_PERCENT),
        },
    }
}
