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
use harness::units::write_duration;
use history::Name;
use thiserror::Error;

use super::length::Length;
use super::rules::LEAST_LENGTH;
use super::spec::{FaultSpec, NemesisSpec};
use super::{Entry, Schedule};
use crate::aim::Who;
use crate::dice::Dice;
use crate::family::{Family, Shape, What};
use crate::targets::Targets;

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

/// How a schedule is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Mean time from the beginning of one round to that of the next; faults and gaps scale with
    /// it. None: 6.5 s, and less in a run so short that it would have fewer than four rounds.
    pub interval: Option<Duration>,
    /// How long faults last. None: 31 to 92 % of the interval. Faults of one round that is given
    /// its length begin and end together.
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

/// Draws the faults of a run of so much time. The same arguments give the same schedule,
/// everywhere.
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
        let holding = round.iter().filter(|f| f.family.on_daemons());
        let round = Round {
            faults: round,
            at_ms,
            lasts_ms,
            crowded: holding.count() > 1,
            line: Vec::new(),
        };
        schedule
            .entries
            .extend(round.draw(&mut dice, nodes, tuning)?);
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
    let at_leader =
        fault.shape.is_some_and(Shape::aims_at_leader) || fault.who.is_some_and(Who::is_leader);
    if tuning.no_leader && at_leader {
        return Err(DrawError::NoLeader(fault.to_string()));
    }
    // Not narrowed: some shape must fit, and the least demanding is the one to name.
    let shapes = fault.family.shapes.iter();
    let shape = fault.shape.or(shapes.min_by_key(|s| s.least_nodes));
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

/// A round that is to be drawn.
struct Round<'a> {
    faults: &'a [FaultSpec],
    at_ms: u64,
    lasts_ms: u64,
    /// Several of its faults hold daemons at once: a node each, so that they do not undo each
    /// other.
    crowded: bool,
    /// The nodes in the order in which they are taken as targets.
    line: Vec<Name>,
}

impl Round<'_> {
    fn draw(
        mut self,
        dice: &mut Dice,
        nodes: &[Name],
        tuning: &Tuning,
    ) -> Result<Vec<Entry>, DrawError> {
        self.line = nodes.to_vec();
        dice.shuffle(&mut self.line);
        let mut drawn = Vec::new();
        for fault in self.faults {
            let (late_ms, early_ms) = self.ragged(dice, fault.family, tuning);
            let lasts_ms = self.lasts_ms - late_ms - early_ms;
            let shape = fault
                .shape
                .or_else(|| draw_shape(dice, fault.family, nodes.len(), tuning))
                .ok_or_else(|| DrawError::TooFewNodes {
                    fault: fault.to_string(),
                    least: 2,
                    nodes: nodes.len(),
                })?;
            let who = |dice: &mut Dice, some| self.targets(dice, fault, some, tuning);
            let (targets, bridge) = shape.aim.draw(dice, nodes, who);
            let mut figures: Vec<i64> = Vec::new();
            for figure in shape.figures {
                figures.push(figure.draw(dice, lasts_ms, figures.last().copied()));
            }
            drawn.push(Entry {
                at: Duration::from_millis(self.at_ms + late_ms),
                lasts: Some(Duration::from_millis(lasts_ms)),
                what: What {
                    family: fault.family,
                    shape,
                    targets,
                    bridge,
                    figures,
                },
            });
        }
        drawn.sort_by_key(|entry| entry.at);
        Ok(drawn)
    }

    /// How much later than the round a fault begins, and how much earlier it ends. A clock's begins
    /// first and ends last, so that it never has to do with a dead daemon.
    fn ragged(&self, dice: &mut Dice, family: &Family, tuning: &Tuning) -> (u64, u64) {
        if family.on_clocks() || self.faults.len() == 1 {
            return (0, 0);
        }
        let percent = match tuning.lasts {
            Some(_) => 0..=0,
            None => RAGGED_PERCENT,
        };
        let (late, early) = (
            dice.span(self.lasts_ms, percent.clone()),
            dice.span(self.lasts_ms, percent),
        );
        match self.lasts_ms < late + early + millis(LEAST_LENGTH) {
            true => (0, 0),
            false => (late, early),
        }
    }

    /// Who is hit. `some`: not all, because then nothing would happen.
    fn targets(
        &mut self,
        dice: &mut Dice,
        fault: &FaultSpec,
        some: bool,
        tuning: &Tuning,
    ) -> Targets {
        let own = self.crowded && fault.family.on_daemons();
        let who = match fault.who {
            Some(who) => who,
            None if own => Who::one(),
            None => Who::draw(dice, self.line.len(), some, tuning.no_leader),
        };
        let targets = who.take(&self.line);
        if let (Targets::Nodes(names), true) = (&targets, own) {
            // Taken to the end of the line, not away: where there are not enough for all, the rules
            // of a schedule say who is in whose way.
            self.line.sort_by_key(|n| names.contains(n));
        }
        targets
    }
}

fn draw_shape(
    dice: &mut Dice,
    family: &'static Family,
    nodes: usize,
    tuning: &Tuning,
) -> Option<&'static Shape> {
    let weight = |s: &Shape| match s {
        s if tuning.no_leader && s.aims_at_leader() => 0,
        s if s.least_nodes > nodes => 0,
        s => s.percent,
    };
    dice.weighted(family.shapes, weight)
}

impl Dice {
    /// A share of a span in percent, rounded to a tenth of a second where the span is long.
    fn span(&mut self, of_ms: u64, percent: RangeInclusive<u64>) -> u64 {
        let grain = if of_ms >= 2_000 { 100 } else { 10 };
        of_ms * self.within(percent) / 100 / grain * grain
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
