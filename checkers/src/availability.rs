//! How much of the time a system served, and how soon again after faults: figures, not a verdict.

use history::fault::{self, Span};
use history::{History, Op, Outcome, Time};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Analysis, Budget, Checker, Figure};

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
        let gaps = self.gaps(&ops, &ok);
        let longest = gaps.iter().map(|(from, until)| until.since(*from)).max();
        let summary = format!(
            "{} of {} operations succeeded; {}",
            ok.len(),
            ops.len(),
            match longest {
                None => format!("never {:.1} s without a success", self.gap.as_secs_f64()),
                Some(longest) => format!(
                    "{} times {:.1} s or more without a success, at most {:.1} s",
                    gaps.len(),
                    self.gap.as_secs_f64(),
                    longest.as_secs_f64()
                ),
            }
        );
        let gaps: Vec<Json> = gaps
            .iter()
            .map(|(from, until)| json!({"from": from.as_secs_f64(), "until": until.as_secs_f64()}))
            .collect();
        let recovery: Vec<Json> = spans.iter().map(|span| recovery(span, &ok)).collect();
        Analysis::valid(self.name(), summary)
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

impl Availability {
    /// Times without a success, from the first invocation to the last event of a client.
    fn gaps(&self, ops: &[&Op], ok: &[Time]) -> Vec<(Time, Time)> {
        let Some(from) = ops.iter().map(|op| op.call).min() else {
            return Vec::new();
        };
        let returned = ops.iter().map(|op| op.ret).filter(|ret| *ret != Time::MAX);
        let until = ops
            .iter()
            .map(|op| op.call)
            .chain(returned)
            .max()
            .unwrap_or(from);
        let ends = ok.iter().copied().chain([until]);
        let begins = [from].into_iter().chain(ok.iter().copied());
        begins
            .zip(ends)
            .filter(|(from, until)| until.since(*from) >= self.gap)
            .collect()
    }
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
