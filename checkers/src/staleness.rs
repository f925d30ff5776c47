//! How old what was read was: figures, not a verdict.
//!
//! Of each read there is a lower bound: the value had surely been overwritten once a later write of
//! the same key had returned. Of all reads of a key together two figures are exact: the smallest Δ
//! for which it is Δ-atomic ([`delta`]), in time, and the smallest k for which it is k-atomic
//! ([`versions`]), in values.
//!
//! ```text
//! P0  |write 1|  |write 2|                 write 2 was called after write 1 had returned, so when it
//! P1                         |read 1|      returned 1 was gone; the read was called this much later:
//!                        <-->
//! ```
//!
//! The figure of a read is at most Δ. Δ can be larger where several reads contradict each other and
//! none of them is surely stale by itself.
//!
//! Values must have been written once. Reads of others, of what was only written later, and keys
//! with a `cas`, are passed over, and counted. Time is that of the stamps alone: equal ones
//! overlap, of one client too.

pub(crate) mod delta;
pub(crate) mod versions;

use history::wording::counted;
use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;
use serde_json::json;

use self::versions::Versions;
use crate::figure::{Gauge, Part};
use crate::linearizable::parts::Role;
use crate::model::unwrapped;
use crate::{Analysis, Budget, Checker, Exhausted, Figure, Meter};

const STALE_READS: Gauge = Gauge::new(
    "stale reads",
    "%",
    &[Part::WHOLE
        .called(
            "stale reads",
            "Share of the reads whose value had certainly been overwritten: a later write had returned \
             before the read was called.",
        )
        .lower()
        .headline()],
);

const STALENESS: Gauge = Gauge::new(
    "staleness",
    "s",
    &[
        Part::of("max")
            .called(
                "staleness, worst",
                "The smallest \u{394} for which each key is \u{394}-atomic: linearizable, had each read \
                 been called so much earlier.",
            )
            .lower()
            .headline(),
        Part::of("p99"),
    ],
);

const SMALLEST_DELTA: Gauge = Gauge::new("smallest delta", "s", &[Part::WHOLE]);
const SMALLEST_K: Gauge = Gauge::new("smallest k", "", &[Part::WHOLE, Part::of("at least")]);

pub(crate) const GAUGES: &[Gauge] = &[STALE_READS, STALENESS, SMALLEST_K];

/// Those of the checkers that say how far from linearizable a history is.
pub(crate) const OF_OTHERS: &[Gauge] = &[SMALLEST_DELTA, SMALLEST_K];

/// Measures operations `read` and `write` of registers with keys: `[key, nil]` and `[key, value]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Staleness;

/// The write of a value and its reads. Times are in nanoseconds from 1; what a register holds at
/// the start was written at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// When the write was called.
    pub called: u64,
    /// When the first of all returned.
    pub first: u64,
    /// When the last read was called.
    pub read: Option<u64>,
}

/// Who wrote what to one key.
#[derive(Default)]
struct Key<'h> {
    /// Calls and returns of each value's write; none if it was written twice.
    written: FxHashMap<&'h Value, Option<(u64, u64, Outcome)>>,
    /// Calls and returns of other writes that happened: each overwrites, whoever read it.
    others: Vec<(u64, u64)>,
    reads: Vec<&'h Op>,
    swapped: bool,
}

/// What was measured of all keys.
#[derive(Debug)]
pub(crate) struct Measured {
    /// By how much each read is surely stale, in nanoseconds, in order.
    pub ages_ns: Vec<u64>,
    /// Reads of which it cannot be said.
    pub passed_over: usize,
    /// The smallest Δ.
    pub delta_ns: u64,
    /// The smallest k.
    pub versions: Versions,
}

impl Checker for Staleness {
    fn name(&self) -> &str {
        "staleness"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match measure(history, true, &Value::Nil, &mut budget.start()) {
            Ok(measured) => measured.analysis(),
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }
}

/// Measures registers, each with a key or one alone.
pub(crate) fn measure(
    history: &History,
    keyed: bool,
    initial: &Value,
    meter: &mut Meter,
) -> Result<Measured, Exhausted> {
    meter.look(history.ops_bytes())?;
    let mut measured = Measured {
        ages_ns: Vec::new(),
        passed_over: 0,
        delta_ns: 0,
        versions: Versions::Exactly(1),
    };
    let mut keys: FxHashMap<Option<&Value>, Key> = FxHashMap::default();
    for op in history.ops() {
        meter.tick(64 * history.ops().len() as u64)?;
        let Some((key, asked)) = unwrapped(&op.input, keyed, Value::as_pair) else {
            continue;
        };
        match (Role::of(&op.f), op.outcome) {
            (Some(Role::Cas), Outcome::Ok | Outcome::Info) => {
                keys.entry(key).or_default().swapped = true;
            }
            (Some(Role::Write), Outcome::Ok | Outcome::Info) => {
                let key = keys.entry(key).or_default();
                let twice = key.written.contains_key(asked) || asked == initial;
                let times = (stamp(op.call.0), stamp(op.ret.0), op.outcome);
                let before = key.written.insert(asked, (!twice).then_some(times));
                if twice {
                    let same = [before.flatten(), Some(times)].into_iter().flatten();
                    let same = same.filter(|times| times.2 == Outcome::Ok);
                    key.others.extend(same.map(|(call, ret, _)| (call, ret)));
                }
            }
            (Some(Role::Read), Outcome::Ok) => match unwrapped(&op.output, keyed, Value::as_pair) {
                Some((answered, _)) if answered == key => {
                    keys.entry(key).or_default().reads.push(op);
                }
                // Of another key than it asked for.
                _ => measured.passed_over += 1,
            },
            _ => {}
        }
    }
    for key in keys.values() {
        key.measure(keyed, initial, &mut measured, meter)?;
    }
    measured.ages_ns.sort_unstable();
    Ok(measured)
}

fn stamp(ns: u64) -> u64 {
    ns.saturating_add(1)
}

impl Key<'_> {
    fn measure(
        &self,
        keyed: bool,
        initial: &Value,
        measured: &mut Measured,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        if self.swapped {
            measured.passed_over += self.reads.len();
            return Ok(());
        }
        let overwritten = self.overwritten();
        let mut start = Cluster {
            called: 0,
            first: 0,
            read: None,
        };
        let mut seen: FxHashMap<&Value, Cluster> = FxHashMap::default();
        for (value, times) in &self.written {
            if let Some((called, returned, Outcome::Ok)) = *times {
                seen.insert(value, cluster(called, returned));
            }
        }
        for read in &self.reads {
            meter.tick(64 * (seen.len() + measured.ages_ns.len()) as u64)?;
            let value = unwrapped(&read.output, keyed, Value::as_pair).map(|(_, value)| value);
            let (call, ret) = (stamp(read.call.0), stamp(read.ret.0));
            let written = match value {
                Some(value) if value == initial && !self.written.contains_key(value) => {
                    Some((0, 0, Outcome::Ok))
                }
                Some(value) => self.written.get(value).copied().flatten(),
                None => None,
            };
            // One that returned before the write was called is right for no Δ and no k.
            let (Some(value), Some((called, returned, _))) =
                (value, written.filter(|times| times.0 <= ret))
            else {
                measured.passed_over += 1;
                continue;
            };
            let of = match returned {
                0 => &mut start,
                _ => seen.entry(value).or_insert(cluster(called, returned)),
            };
            of.first = of.first.min(ret);
            of.read = of.read.max(Some(call));
            let after = overwritten.partition_point(|(call, _)| *call <= returned);
            let gone = overwritten.get(after).map_or(u64::MAX, |write| write.1);
            measured.ages_ns.push(call.saturating_sub(gone));
        }
        let mut clusters: Vec<Cluster> = seen.into_values().collect();
        let others = self.others.iter().map(|(call, ret)| cluster(*call, *ret));
        clusters.extend(others);
        clusters.push(start);
        clusters.sort_unstable_by_key(|cluster| (cluster.first, cluster.called));
        let delta_ns = delta::smallest(&clusters, meter)?;
        measured.delta_ns = measured.delta_ns.max(delta_ns);
        if delta_ns > 0 {
            let versions = versions::smallest(&clusters, meter)?;
            measured.versions = measured.versions.and(versions);
        }
        Ok(())
    }

    /// Calls of writes that happened, in order, each with the earliest return of those that were
    /// called then or later.
    fn overwritten(&self) -> Vec<(u64, u64)> {
        let known = self.written.values().flatten();
        let known = known.filter(|(_, _, outcome)| *outcome == Outcome::Ok);
        let known = known.map(|(call, ret, _)| (*call, *ret));
        let mut writes: Vec<(u64, u64)> = known.chain(self.others.iter().copied()).collect();
        writes.sort_unstable();
        let mut earliest = u64::MAX;
        for (_, ret) in writes.iter_mut().rev() {
            earliest = earliest.min(*ret);
            *ret = earliest;
        }
        writes
    }
}

fn cluster(called: u64, returned: u64) -> Cluster {
    Cluster {
        called,
        first: returned,
        read: None,
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Measured {
    /// The smallest k and Δ.
    pub fn figures(&self) -> [Figure; 2] {
        let k = self.versions.number();
        let versions = match self.versions {
            Versions::Exactly(_) => json!(k),
            Versions::AtLeast(_) => json!({"at least": k}),
        };
        [
            SMALLEST_DELTA.figure(seconds(self.delta_ns)),
            SMALLEST_K.figure(versions),
        ]
    }

    /// `Δ-atomic for Δ = 0.300 s, 2-atomic`.
    pub fn told(&self) -> String {
        let k = self.versions.number();
        let versions = match self.versions {
            Versions::Exactly(_) => format!("{k}-atomic"),
            Versions::AtLeast(_) => {
                format!("not known to be k-atomic for any k, and not for k < {k}")
            }
        };
        format!(
            "Δ-atomic for Δ = {:.3} s, {versions}",
            seconds(self.delta_ns)
        )
    }

    fn analysis(&self) -> Analysis {
        let ages = &self.ages_ns;
        let stale = ages.len() - ages.partition_point(|age| *age == 0);
        let mut summary = format!("{stale} of {} certainly stale", counted(ages.len(), "read"));
        if self.delta_ns > 0 {
            summary += &format!("; all are {}", self.told());
        }
        if self.passed_over > 0 {
            summary += &format!("; of {} it cannot be said", self.passed_over);
        }
        let mut analysis = Analysis::measured(Staleness.name(), summary);
        if !ages.is_empty() {
            let rank = (ages.len() * 99).div_ceil(100);
            let share = 100.0 * stale as f64 / ages.len() as f64;
            let age = json!({"p99": seconds(ages[rank - 1]), "max": seconds(self.delta_ns)});
            analysis = analysis
                .with_figure(STALE_READS.figure(share))
                .with_figure(STALENESS.figure(age));
            let [_, versions] = self.figures();
            analysis = analysis.with_figure(versions);
        }
        analysis
    }
}
