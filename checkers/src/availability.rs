//! How much of the time a system served, and how soon again after faults: figures, not a verdict.
//!
//! What all of them rest on is the *wait*: a time in which something was asked of the system and
//! nothing succeeded. It begins with the last success, or with the first call after it where nothing
//! was open then; it ends with the next success.
//!
//! ```text
//! P0  |--ok--|     |--!  |--!   |--ok--|      |--ok--|
//!     <-wait-|     <-----wait---------->      <-wait->
//! ```

use history::fault::{self, Span};
use history::wording::{counted, seconds, times};
use history::{History, Op, Outcome, Time};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Analysis, Budget, Checker, Figure};

/// For so long nothing is asked before a wait counts as over: the pause between main and final phase
/// is not the system's fault.
const IDLE: Duration = Duration::from_secs(2);

/// Waits of this length and more are time without an answer. A tenth of a second is what a person takes
/// for at once (Miller, "Response time in man-computer conversational transactions", 1968), a second
/// what does not yet interrupt a thought.
const PATIENCE: [(&str, Duration); 2] = [
    ("0.1 s", Duration::from_millis(100)),
    ("1 s", Duration::from_secs(1)),
];

/// Measures operations of clients; what the harness [observes](Op::observes) is no service. Its verdict is always valid.
#[derive(Clone, Debug)]
pub struct Availability {
    /// A time without any success is reported if it is at least this long.
    pub gap: Duration,
}

impl Default for Availability {
    /// Gaps of a second.
    fn default() -> Availability {
        Availability {
            gap: Duration::from_secs(1),
        }
    }
}

impl Checker for Availability {
    fn name(&self) -> &str {
        "availability"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let ops: Vec<&Op> = history.ops().iter().filter(|op| !op.observes()).collect();
        let mut ok: Vec<Time> = ops
            .iter()
            .filter(|op| op.outcome == Outcome::Ok)
            .map(|op| op.ret)
            .collect();
        ok.sort_unstable();
        let spans = fault::spans(history);
        let (waits, asked) = waits(&ops, history);
        let gaps: Vec<Wait> = waits
            .iter()
            .filter(|(from, until)| until.since(*from) >= self.gap)
            .copied()
            .collect();
        let longest = gaps.iter().map(|(from, until)| until.since(*from)).max();
        let summary = format!(
            "{} of {} succeeded; {}",
            ok.len(),
            counted(ops.len(), "operation"),
            match longest {
                None => format!("never {} without a success", seconds(self.gap)),
                Some(longest) => format!(
                    "{} {} or more without a success, at most {}",
                    times(gaps.len()),
                    seconds(self.gap),
                    seconds(longest)
                ),
            }
        );
        let gaps: Vec<Json> = gaps
            .iter()
            .map(|(from, until)| json!({"from": from.as_secs_f64(), "until": until.as_secs_f64()}))
            .collect();
        let recovery: Vec<Json> = spans.iter().map(|span| recovery(span, &ok)).collect();
        let mut analysis = Analysis::measured(self.name(), summary);
        for (name, value, unit) in service(&ops, ok.len(), &waits, asked) {
            analysis = analysis.with_figure(Figure::new(name, value, unit));
        }
        let held: Vec<&Span> = spans.iter().filter(|span| span.held()).collect();
        for (name, lengths) in [
            ("longest wait of a fault", longest_waits(&held, &waits)),
            ("first answer after heal", first_answers(&held, &ops)),
        ] {
            if let Some(value) = spread(lengths) {
                analysis = analysis.with_figure(Figure::new(name, value, "s"));
            }
        }
        analysis
            .with_figure(Figure::new("operations", outcomes(&ops), ""))
            .with_figure(Figure::new("latency", latency(&ops), "ms"))
            .with_figure(Figure::new(
                "ok per second",
                per_second(&ok, history.end()),
                "ops/s",
            ))
            .with_figure(Figure::new("without success", gaps, "s"))
            .with_figure(Figure::new("first ok after faults", recovery, "s"))
    }
}

type Wait = (Time, Time);

/// Every time in which something was asked and nothing succeeded, in order; and how long something was
/// asked at all: from the first call to the last completion, without idle times.
fn waits(ops: &[&Op], history: &History) -> (Vec<Wait>, Duration) {
    // By index, the order in which the recorder saw them.
    let mut moments: Vec<(u64, Option<Outcome>)> = Vec::with_capacity(2 * ops.len());
    for op in ops {
        moments.push((op.index, None));
        moments.extend(op.completion.map(|index| (index, Some(op.outcome))));
    }
    moments.sort_unstable_by_key(|(index, _)| *index);
    let mut waits = Vec::new();
    let mut open = 0u64;
    let mut since = None;
    let mut idle_from = ops.iter().map(|op| op.call).min().unwrap_or_default();
    let mut asked = Duration::ZERO;
    let mut asked_from = idle_from;
    for (index, ended) in moments {
        let at = history.events()[index as usize].time;
        let Some(outcome) = ended else {
            if open == 0 && at.since(idle_from) >= IDLE {
                waits.extend(since.take().map(|from| (from, idle_from)));
                asked += idle_from.since(asked_from);
                asked_from = at;
            }
            since = since.or(Some(at));
            open += 1;
            continue;
        };
        open -= 1;
        if outcome == Outcome::Ok {
            waits.extend(since.take().map(|from| (from, at)));
            since = (open > 0).then_some(at);
        }
        if open == 0 {
            idle_from = at;
        }
    }
    let end = if open > 0 { history.end() } else { idle_from };
    waits.extend(since.map(|from| (from, end)));
    waits.retain(|(from, until)| from < until);
    (waits, asked + end.since(asked_from))
}

/// What share of the operations, and of the time, was served.
fn service(
    ops: &[&Op],
    ok: usize,
    waits: &[Wait],
    asked: Duration,
) -> Vec<(&'static str, Json, &'static str)> {
    if ops.is_empty() {
        return Vec::new();
    }
    let seconds = |at_least: Duration| -> f64 {
        let lengths = waits.iter().map(|(from, until)| until.since(*from));
        let counted = lengths.filter(|length| *length >= at_least);
        counted.map(|length| length.as_secs_f64()).sum()
    };
    let asked = asked.as_secs_f64();
    let mut figures = vec![
        (
            "answered",
            (100.0 * ok as f64 / ops.len() as f64).into(),
            "%",
        ),
        ("time asked", asked.into(), "s"),
    ];
    if asked > 0.0 {
        let without: serde_json::Map<String, Json> = PATIENCE
            .iter()
            .map(|(name, patience)| {
                (
                    name.to_string(),
                    (100.0 * seconds(*patience) / asked).into(),
                )
            })
            .collect();
        figures.push(("time without an answer", without.into(), "%"));
        figures.push(("throughput", (ok as f64 / asked).into(), "ops/s"));
    }
    figures
}

/// For each fault the longest wait that it touches, counted from when it held.
fn longest_waits(held: &[&Span], waits: &[Wait]) -> Vec<f64> {
    let longest = |span: &&Span| {
        let from = span.held_from.unwrap_or(span.from);
        let touched = waits[waits.partition_point(|wait| wait.1 <= from)..]
            .iter()
            .take_while(|wait| wait.0 < span.until);
        touched
            .map(|wait| wait.1.since(wait.0.max(from)).as_secs_f64())
            .max_by(f64::total_cmp)
    };
    held.iter().filter_map(longest).collect()
}

/// For each heal the time to the first success of an operation that was called after it. A fault
/// after which nothing succeeded is left out: its wait is in the other figures.
fn first_answers(held: &[&Span], ops: &[&Op]) -> Vec<f64> {
    let mut ok: Vec<(Time, Time)> = ops
        .iter()
        .filter(|op| op.outcome == Outcome::Ok)
        .map(|op| (op.call, op.ret))
        .collect();
    ok.sort_unstable();
    // The earliest answer to any operation that was called then or later.
    let mut earliest = Time::MAX;
    for (_, ret) in ok.iter_mut().rev() {
        earliest = earliest.min(*ret);
        *ret = earliest;
    }
    held.iter()
        .filter(|span| span.healed())
        .filter_map(|span| {
            let next = ok.get(ok.partition_point(|(call, _)| *call < span.until))?;
            Some(next.1.since(span.until).as_secs_f64())
        })
        .collect()
}

/// None of none. The median is the lower one.
fn spread(mut values: Vec<f64>) -> Option<Json> {
    values.sort_by(f64::total_cmp);
    let p50 = values.get(values.len().checked_sub(1)? / 2)?;
    Some(json!({"p50": p50, "max": values.last()}))
}

fn outcomes(ops: &[&Op]) -> Json {
    let mut by_f: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for op in ops {
        let at = match op.outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Info => 2,
        };
        by_f.entry(&op.f).or_default()[at] += 1;
    }
    by_f.into_iter()
        .map(|(f, [ok, fail, info])| (f.to_string(), json!({"ok": ok, "fail": fail, "info": info})))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Of what succeeded. The quantile is the value that so many per cent do not exceed.
fn latency(ops: &[&Op]) -> Json {
    let mut by_f: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        by_f.entry(&op.f)
            .or_default()
            .push(op.ret.since(op.call).as_nanos() as u64);
    }
    by_f.into_iter()
        .map(|(f, mut ns)| {
            ns.sort_unstable();
            let ms = |percent: usize| {
                let rank = (ns.len() * percent).div_ceil(100).max(1);
                ns[rank - 1] as f64 / 1e6
            };
            let quantiles = json!({"p50": ms(50), "p90": ms(90), "p99": ms(99), "max": ms(100)});
            (f.to_string(), quantiles)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// One number a second, from the start of the run to its end. A run is no longer than a day, so that
/// a wrong time in a foreign history does not ask for all memory.
fn per_second(ok: &[Time], end: Time) -> Json {
    const DAY_S: usize = 86_400;
    let second = |time: Time| (time.elapsed().as_secs() as usize).min(DAY_S - 1);
    let mut counts = vec![0u64; second(end) + 1];
    for time in ok {
        counts[second(*time)] += 1;
    }
    counts.into()
}

/// Seconds from injection and from heal to the next success; nil if there was none.
fn recovery(span: &Span, ok: &[Time]) -> Json {
    let after = |from: Option<Time>| {
        let from = from.filter(|from| *from != Time::MAX)?;
        let next = ok.get(ok.partition_point(|time| *time < from))?;
        Some(next.since(from).as_secs_f64())
    };
    json!({
        "fault": span.fault,
        "family": span.family,
        "label": span.label,
        "after injection": after(span.held_from.or(Some(span.from))),
        "after heal": after(span.healed().then_some(span.until)),
    })
}
