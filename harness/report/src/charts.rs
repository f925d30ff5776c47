//! The run at a glance: faults, latency, rate and the nodes' availability on one time axis.
//!
//! One picture, so that a fault's band runs through all of it and the eye can follow it down. The
//! data of each bin goes with it, for the script to show under the pointer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use checkers::Anomaly;
use history::{Op, Outcome, Time};
use maud::{Markup, PreEscaped, Render, html};
use serde_json::json;

use crate::Run;
use crate::palette::class;
use crate::sample::thin;
use crate::scale::{self, Log, TimeAxis};
use crate::stats::{self, OfF, OfNode, Tally};
use crate::svg::{Faults, Px, grid, in_force};
use crate::text::{clip, count, counted, script_json, span};
use crate::timeline;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 14.0;
const LATENCY_PX: f64 = 230.0;
const RATE_PX: f64 = 120.0;
const STRIP_PX: f64 = 14.0;
const STRIP_STEP_PX: f64 = 24.0;
/// Anomalies nearer to each other share a mark.
const MARK_PX: f64 = 10.0;

/// Most faults drawn; the others are in the history, and the page says how many there are.
pub const MAX_FAULTS: usize = 400;

/// So few points are drawn larger.
const FEW: usize = 200;

/// Most nodes drawn.
const MAX_NODES: usize = 40;

/// What stands above the parts of the picture.
const LATENCY: &str = "latency: operations (dots; crosses are fail and info), median (line) and 99th percentile (thin \
     line)";
const NODES: &str =
    "of the answers of each node, the part that is ok; below it, the faults aimed at it";

/// The section's picture. The history has at least one operation.
pub fn glance(run: &Run) -> Markup {
    let stats = &run.stats;
    let axis = TimeAxis::linear(Time(0), stats.end, LEFT, WIDTH - RIGHT);
    let faults = Faults::place(run.spans.iter().take(MAX_FAULTS), &axis);
    let nodes = &stats.nodes[..stats.nodes.len().min(MAX_NODES)];

    let latency_top = faults.height() + if run.spans.is_empty() { 24.0 } else { 34.0 };
    let latency_bottom = latency_top + LATENCY_PX;
    let rate_top = latency_bottom + 40.0;
    let rate_bottom = rate_top + RATE_PX;
    let strips_top = rate_bottom + 40.0;
    let strips_bottom = match nodes.len() {
        0 => rate_bottom,
        n => strips_top + n as f64 * STRIP_STEP_PX,
    };
    let height = strips_bottom + 30.0;

    html! {
        (legend(run))
        div.scroll {
            svg id="glance-chart" class="chart" viewBox={ "0 0 " (WIDTH) " " (height) } role="img"
                aria-label="Faults, latency, rate and availability of nodes over time"
            {
                (faults.bands(&axis, faults.height() + 4.0, strips_bottom))
                (faults.bars(&axis))
                (latency(run, &axis, latency_top, latency_bottom))
                (anomalies(run, &axis, latency_top))
                (rate(run, &axis, rate_top, rate_bottom))
                @if !nodes.is_empty() {
                    (heading(strips_top - 9.0, NODES))
                }
                @for (i, node) in nodes.iter().enumerate() {
                    (strip(run, &axis, node, strips_top + i as f64 * STRIP_STEP_PX))
                }
                @for (t, label) in axis.ticks(12) {
                    @let x = axis.at(t);
                    line.tick x1=(Px(x)) x2=(Px(x)) y1=(Px(strips_bottom)) y2=(Px(strips_bottom + 5.0)) {}
                    text.tick x=(Px(x)) y=(Px(strips_bottom + 20.0)) text-anchor="middle" { (label) }
                }
                line #cross y1=(Px(faults.height() + 4.0)) y2=(Px(strips_bottom)) {}
            }
        }
        (hover_data(run, &axis))
    }
}

fn heading(y: f64, text: impl Render) -> Markup {
    html! { text.heading x=(LEFT) y=(Px(y)) { (text) } }
}

/// What the colours mean, as buttons that hide and show.
fn legend(run: &Run) -> Markup {
    let by_f = run.stats.by_f.iter().enumerate();
    let mut keys: Vec<(String, String)> = by_f
        .map(|(i, of_f)| (format!("f{i}"), clip(&of_f.f, 24)))
        .collect();
    let Tally { fail, info, .. } = run.stats.tally;
    if fail > 0 {
        keys.push(("fail".into(), "fail: did not happen".into()));
    }
    if info > 0 {
        keys.push(("info".into(), "info: nobody knows".into()));
    }
    html! {
        div.legend aria-label="What to show" {
            @for (class, text) in keys {
                button.key type="button" aria-pressed="true" data-hides=(class) { i class={ "dot " (class) } {} (text) }
            }
        }
    }
}

fn latency(run: &Run, axis: &TimeAxis, top: f64, bottom: f64) -> Markup {
    let history = run.input.history;
    // Latency of everything that ended: for what is unknown, until the client gave up.
    let ended = || {
        history.asked().filter_map(|op| {
            let end = stats::ended(history, op)?;
            Some((op, end, end.since(op.call).as_nanos() as f64))
        })
    };
    let (min, max) = ended().fold((f64::INFINITY, 0f64), |(lo, hi), (_, _, ns)| {
        (lo.min(ns), hi.max(ns))
    });
    let log = Log::new(min.min(max), max, bottom, top);
    let points = |wanted: &dyn Fn(&Op) -> bool| {
        let wanted = ended().filter(|(op, ..)| wanted(op));
        thin(wanted.map(|(_, end, ns)| (axis.at(end), log.at(ns))))
    };
    html! {
        (heading(top - 9.0, LATENCY))
        (grid(axis.left(), axis.right(), log.decades().map(|decade| (log.at(decade), power(decade)))))
        @for i in 0..run.stats.by_f.len() {
            @let points = points(&|op| op.outcome == Outcome::Ok && run.stats.f_at(&op.f) == i);
            // A few of them would hardly be seen.
            path.dots.{ "f" (i) }.few[points.len() < FEW] d=(dots(&points)) {}
        }
        @for (class, outcome) in [("fail", Outcome::Fail), ("info", Outcome::Info)] {
            path class={ "crosses " (class) } d=(crosses(&points(&|op| op.outcome == outcome))) {}
        }
        @for (i, of_f) in run.stats.by_f.iter().enumerate() {
            path class={ "p50 f" (i) } d=(quantile(run, axis, &log, of_f, |(p50, _)| p50)) {}
            path class={ "p99 f" (i) } d=(quantile(run, axis, &log, of_f, |(_, p99)| p99)) {}
        }
    }
}

fn dots(points: &[(f64, f64)]) -> String {
    let dot = |(x, y): &(f64, f64)| format!("M{x:.0} {y:.0}h0");
    points.iter().map(dot).collect()
}

fn crosses(points: &[(f64, f64)]) -> String {
    let cross = |(x, y): &(f64, f64)| format!("M{:.0} {:.0}l5 5m0-5l-5 5", x - 2.5, y - 2.5);
    points.iter().map(cross).collect()
}

/// A line through one of each bin's two quantiles; it has a gap where a bin has none.
fn quantile(
    run: &Run,
    axis: &TimeAxis,
    log: &Log,
    of_f: &OfF,
    pick: fn((Duration, Duration)) -> Duration,
) -> String {
    let half = run.stats.bin.as_nanos() as u64 / 2;
    let mut line = String::new();
    let mut pen = 'M';
    for (bin, quantiles) in of_f.bins.iter().enumerate() {
        let Some(quantiles) = *quantiles else {
            pen = 'M';
            continue;
        };
        let x = axis.at(Time(bin_start(run, bin).0 + half));
        let y = log.at(pick(quantiles).as_nanos() as f64);
        write!(line, "{pen}{x:.1} {y:.1}").expect("writing to a String does not fail");
        pen = 'L';
    }
    line
}

/// Where anomalies were there to be seen: a mark leads to each, or to the first of those that fall
/// on one place.
fn anomalies(run: &Run, axis: &TimeAxis, top: f64) -> Markup {
    let all = run.input.analyses.iter().flat_map(|a| &a.anomalies);
    let mut marks: BTreeMap<i64, (usize, usize, Time, &Anomaly)> = BTreeMap::new();
    for (number, anomaly) in all.enumerate() {
        let Some(at) = timeline::seen_at(run, anomaly) else {
            continue;
        };
        let place = (axis.at(at) / MARK_PX).round() as i64;
        let mark = marks.entry(place).or_insert((number, 0, at, anomaly));
        mark.1 += 1;
    }
    html! {
        @for (number, here, at, anomaly) in marks.into_values() {
            a.mark-of href={ "#anomaly-" (number) } {
                title {
                    (clip(&anomaly.kind, 80)) " at " (at)
                    @if here > 1 { ", and " (counted(here - 1, "more anomaly")) " here" }
                }
                path d=(format_args!("M{:.1} {:.1}h12l-6 9z", axis.at(at) - 6.0, top - 4.0)) {}
            }
        }
    }
}

/// `10 ms` for a power of ten of nanoseconds.
fn power(ns: f64) -> String {
    match ns as u64 {
        n if n < 1_000 => format!("{n} ns"),
        n if n < 1_000_000 => format!("{} µs", n / 1_000),
        n if n < 1_000_000_000 => format!("{} ms", n / 1_000_000),
        n => format!("{} s", n / 1_000_000_000),
    }
}

fn bin_start(run: &Run, bin: usize) -> Time {
    Time(bin as u64 * run.stats.bin.as_nanos() as u64)
}

/// Completions in a bin for each second of it. The last bin is seldom whole, and its length is
/// taken as it is, so that a run does not seem to fade away.
fn per_second(run: &Run, bin: usize, n: usize) -> f64 {
    let start = bin_start(run, bin);
    let length = run.stats.end.since(start).min(run.stats.bin);
    // A sliver at the end would turn one operation into thousands a second.
    n as f64 / length.max(run.stats.bin / 10).as_secs_f64()
}

fn rate(run: &Run, axis: &TimeAxis, top: f64, bottom: f64) -> Markup {
    const OUTCOMES: [&str; 3] = ["ok", "fail", "info"];
    let bins = &run.stats.bins;
    let rates: Vec<[f64; 3]> = bins
        .iter()
        .enumerate()
        .map(|(i, t)| [t.ok, t.fail, t.info].map(|n| per_second(run, i, n)))
        .collect();
    let max = rates
        .iter()
        .map(|r| r.iter().sum::<f64>())
        .fold(1.0, f64::max);
    let (_, ticks) = scale::ticks(0.0, max, 4);
    let y_of = |v: f64| bottom - v / max * (bottom - top);
    let label = |tick: f64| match max < 4.0 {
        true => format!("{tick:.1}"),
        false => count(tick as usize),
    };
    // Heights of each bin: nothing, then each outcome on top of those before.
    let mut heights = vec![vec![0.0; rates.len()]];
    for of in 0..OUTCOMES.len() {
        let below = heights[of].iter().zip(&rates);
        heights.push(below.map(|(below, r)| below + r[of]).collect());
    }
    let words = html! {
        "answers a second "
        @for word in OUTCOMES { tspan class={ "swatch " (word) } dx="10" { "■" } " " (word) }
    };
    html! {
        (heading(top - 9.0, words))
        (grid(axis.left(), axis.right(), ticks.into_iter().map(|tick| (y_of(tick), label(tick)))))
        @for (word, pair) in OUTCOMES.into_iter().zip(heights.windows(2)) {
            @if pair[0] != pair[1] {
                path class={ "area " (word) } d=(steps(run, axis, &pair[1], &pair[0], y_of)) {}
            }
        }
    }
}

/// The outline of steps between two heights for each bin; bins of no height are left out.
fn steps(
    run: &Run,
    axis: &TimeAxis,
    above: &[f64],
    below: &[f64],
    y_of: impl Fn(f64) -> f64,
) -> String {
    let x_of = |bin: usize| axis.at(bin_start(run, bin));
    let mut outline = String::new();
    let mut bin = 0;
    while bin < above.len() {
        if above[bin] <= below[bin] {
            bin += 1;
            continue;
        }
        let end = (bin..above.len())
            .find(|&b| above[b] <= below[b])
            .unwrap_or(above.len());
        let step = |y: f64, x: f64| format!("V{y:.1}H{x:.1}");
        outline += &format!("M{:.1} {:.1}", x_of(bin), y_of(below[bin]));
        outline.extend((bin..end).map(|b| step(y_of(above[b]), x_of(b + 1))));
        outline.extend((bin..end).rev().map(|b| step(y_of(below[b]), x_of(b))));
        outline.push('z');
        bin = end;
    }
    outline
}

/// One node: for each bin, which part of the answers of its clients were successes.
fn strip(run: &Run, axis: &TimeAxis, node: &OfNode, top: f64) -> Markup {
    let bottom = top + STRIP_PX;
    let part = |t: &Tally| match t.total() {
        0 => 0.0,
        total => t.ok as f64 / total as f64,
    };
    let ok: Vec<f64> = node.bins.iter().map(part).collect();
    let all: Vec<f64> = node.bins.iter().map(|t| f64::from(t.total() > 0)).collect();
    let zero = vec![0.0; ok.len()];
    let y_of = |v: f64| bottom - v * STRIP_PX;
    let faults = run.spans.iter().take(MAX_FAULTS);
    html! {
        text.lane x=(Px(axis.left() - 10.0)) y=(Px(top + 11.5)) text-anchor="end" { (clip(&node.node, 11)) }
        line.grid x1=(Px(axis.left())) x2=(Px(axis.right())) y1=(Px(bottom)) y2=(Px(bottom)) {}
        path class="area ok" d=(steps(run, axis, &ok, &zero, y_of)) {}
        path class="area info" d=(steps(run, axis, &all, &ok, y_of)) {}
        // Under the strip: the faults that were aimed at this node.
        @for span in faults.filter(|span| span.targets.contains(&node.node)) {
            @let (from, until) = in_force(span);
            @let x0 = axis.at(from);
            rect class={ "aim " (class(&span.family)) } x=(Px(x0)) y=(Px(bottom + 1.5))
                width=(Px((axis.at(until) - x0).max(1.5))) height="3" {}
        }
    }
}

/// What the script shows under the pointer.
fn hover_data(run: &Run, axis: &TimeAxis) -> Markup {
    let stats = &run.stats;
    let rows: Vec<_> = stats
        .bins
        .iter()
        .enumerate()
        .map(|(i, t)| {
            let quantiles: Vec<String> = stats
                .by_f
                .iter()
                .map(|of_f| match of_f.bins[i] {
                    Some((p50, p99)) => format!("{} / {}", span(p50), span(p99)),
                    None => String::new(),
                })
                .collect();
            json!([
                per_second(run, i, t.ok),
                per_second(run, i, t.fail),
                per_second(run, i, t.info),
                quantiles
            ])
        })
        .collect();
    let faults: Vec<_> = run
        .spans
        .iter()
        .take(MAX_FAULTS)
        .map(|s| {
            let (from, until) = in_force(s);
            let end = until.min(stats.end).as_secs_f64();
            json!([from.as_secs_f64(), end, clip(s.told(), 80)])
        })
        .collect();
    let data = json!({
        "x0": axis.left(),
        "x1": axis.right(),
        "end": stats.end.as_secs_f64(),
        "bin": stats.bin.as_secs_f64(),
        "fs": stats.by_f.iter().map(|of_f| clip(&of_f.f, 24)).collect::<Vec<_>>(),
        "rows": rows,
        "faults": faults,
    });
    html! {
        script type="application/json" id="glance-data" { (PreEscaped(script_json(&data))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_named_in_their_unit() {
        let cases = [
            (1e2, "100 ns"),
            (1e4, "10 µs"),
            (1e6, "1 ms"),
            (1e9, "1 s"),
            (1e11, "100 s"),
        ];
        for (ns, want) in cases {
            assert_eq!(power(ns), want);
        }
    }
}
