//! How old what was read was: a figure, not a verdict.
//!
//! A read is stale by Δ if it would have been right Δ earlier (Δ-atomicity; Golab, Li and Shah,
//! "Analyzing consistency properties for fun and profit", PODC 2011). From outside only a lower bound
//! can be had: the value had surely been overwritten once a later write of the same key had returned.
//!
//! ```text
//! P0  |write 1|  |write 2|                 write 2 was called after write 1 had returned, so when it
//! P1                         |read 1|      returned 1 was gone; the read was called this much later:
//!                        <-->
//! ```
//!
//! Values must have been written once. Reads of others, and keys with a `cas`, are passed over, and
//! counted.

use history::wording::counted;
use history::{History, Op, Outcome, Time, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::json;

use crate::{Analysis, Budget, Checker, Exhausted, Figure, Meter};

/// Measures operations `read` and `write` of registers with keys: `[key, nil]` and `[key, value]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Staleness;

/// Who wrote what to one key.
#[derive(Default)]
struct Key<'h> {
    /// When each value's write returned; none if it was written twice.
    written: FxHashMap<&'h Value, Option<Time>>,
    /// Calls and returns of writes that happened, by call; the returns become the earliest of all
    /// writes that were called then or later.
    writes: Vec<(Time, Time)>,
    reads: Vec<&'h Op>,
}

impl Checker for Staleness {
    fn name(&self) -> &str {
        "staleness"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match measure(history, &mut budget.start()) {
            Ok(analysis) => analysis,
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }
}

fn measure(history: &History, meter: &mut Meter) -> Result<Analysis, Exhausted> {
    let mut keys: FxHashMap<&Value, Key> = FxHashMap::default();
    let mut swapped: FxHashSet<&Value> = FxHashSet::default();
    for op in history.ops() {
        meter.tick(64 * history.ops().len() as u64)?;
        let Some((key, asked)) = op.input.as_pair() else {
            continue;
        };
        match (op.f.as_str(), op.outcome) {
            ("cas", _) => {
                swapped.insert(key);
            }
            ("write", Outcome::Ok | Outcome::Info) => {
                let key = keys.entry(key).or_default();
                let twice = key.written.contains_key(asked);
                key.written.insert(asked, (!twice).then_some(op.ret));
                if op.outcome == Outcome::Ok {
                    key.writes.push((op.call, op.ret));
                }
            }
            ("read", Outcome::Ok) => keys.entry(key).or_default().reads.push(op),
            _ => {}
        }
    }
    let (mut ages_s, mut passed_over) = (Vec::new(), 0);
    for (name, mut key) in keys {
        if swapped.contains(name) {
            passed_over += key.reads.len();
            continue;
        }
        key.writes.sort_unstable();
        let mut earliest = Time::MAX;
        for (_, ret) in key.writes.iter_mut().rev() {
            earliest = earliest.min(*ret);
            *ret = earliest;
        }
        for read in &key.reads {
            meter.tick(8 * ages_s.len() as u64)?;
            match key.age(read) {
                Some(age_s) => ages_s.push(age_s),
                None => passed_over += 1,
            }
        }
    }
    ages_s.sort_by(f64::total_cmp);
    let stale = ages_s.len() - ages_s.partition_point(|age_s| *age_s <= 0.0);
    let mut analysis = Analysis::measured(
        Staleness.name(),
        format!(
            "{stale} of {} surely stale{}{}",
            counted(ages_s.len(), "read"),
            match ages_s.last() {
                Some(most) if stale > 0 => format!(", by {most:.3} s or more at most"),
                _ => String::new(),
            },
            match passed_over {
                0 => String::new(),
                n => format!("; of {n} it cannot be said"),
            }
        ),
    );
    if let Some(most) = ages_s.last() {
        let rank = (ages_s.len() * 99).div_ceil(100);
        let share = 100.0 * stale as f64 / ages_s.len() as f64;
        let age = json!({"p99": ages_s[rank - 1], "max": most});
        analysis = analysis
            .with_figure(Figure::new("stale reads", share, "%"))
            .with_figure(Figure::new("staleness", age, "s"));
    }
    Ok(analysis)
}

impl Key<'_> {
    /// By how much the read is surely stale, in seconds; none if its value was written twice or never.
    fn age(&self, read: &Op) -> Option<f64> {
        let (_, value) = read.output.as_pair()?;
        let after = match value.is_nil() {
            // What was there before all writes.
            true => 0,
            // Nobody saw a write of unknown outcome return: it may come after any other.
            false => {
                let written = (*self.written.get(value)?)?;
                self.writes.partition_point(|(call, _)| *call <= written)
            }
        };
        let gone = self.writes.get(after).map_or(Time::MAX, |write| write.1);
        match gone < read.call {
            true => Some(read.call.since(gone).as_secs_f64()),
            false => Some(0.0),
        }
    }
}
