//! The run at a glance: faults, latency, rate and the nodes' availability on one time axis.
//!
//! One picture, so that a fault's band runs through all of it and the eye can follow it down. The
//! data of each bin goes with it, for the script to show under the pointer.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use checkers::Anomaly;
use history::{Outcome, Time};
use serde_json::json;

use crate::Run;
use crate::sample::thin;
use crate::scale::{self, Log, TimeAxis};
use crate::stats::{self, OfNode, Tally};
use crate::svg::Faults;
use crate::text::{Esc, clip, count, counted, script_json, span};
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

/// The section's picture. The history has at least one operation.
pub fn glance(out: &mut String, run: &Run) -> fmt::Result {
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

    legend(out, run)?;
    writeln!(
        out,
        "<div class=\"scroll\"><svg id=\"glance-chart\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Faults, latency, rate and availability of nodes over time\">"
    )?;
    faults.bands(out, &axis, faults.height() + 4.0, strips_bottom)?;
    faults.bars(out, &axis, 0.0)?;
    latency(out, run, &axis, latency_top, latency_bottom)?;
    anomalies(out, run, &axis, latency_top)?;
    rate(out, run, &axis, rate_top, rate_bottom)?;
    if !nodes.is_empty() {
        heading(
            out,
            strips_top - 9.0,
            "of the answers of each node, the part that is ok; below it, the faults aimed at it",
        )?;
        for (i, node) in nodes.iter().enumerate() {
            strip(out, run, &axis, node, strips_top + i as f64 * STRIP_STEP_PX)?;
        }
    }
    for (t, label) in axis.ticks(12) {
        let x = axis.at(t);
        writeln!(
            out,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{strips_bottom:.1}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            strips_bottom + 5.0,
            strips_bottom + 20.0,
        )?;
    }
    writeln!(
        out,
        "<line id=\"cross\" y1=\"{:.1}\" y2=\"{strips_bottom:.1}\"/></svg></div>",
        faults.height() + 4.0,
    )?;
    hover_data(out, run, &axis)
}

/// `text` is markup.
fn heading(out: &mut String, y: f64, text: &str) -> fmt::Result {
    writeln!(
        out,
        "<text class=\"heading\" x=\"{LEFT}\" y=\"{y:.1}\">{text}</text>"
    )
}

/// What the colours mean, as buttons that hide and show.
fn legend(out: &mut String, run: &Run) -> fmt::Result {
    let key = |out: &mut String, class: &str, text: &str| {
        writeln!(
            out,
            "<button type=\"button\" class=\"key\" aria-pressed=\"true\" data-hides=\"{class}\">\
             <i class=\"dot {class}\"></i>{}</button>",
            Esc(text)
        )
    };
    writeln!(out, "<div class=\"legend\" aria-label=\"What to show\">")?;
    for (i, of_f) in run.stats.by_f.iter().enumerate() {
        key(out, &format!("f{i}"), &clip(&of_f.f, 24))?;
    }
    let Tally { fail, info, .. } = run.stats.tally;
    if fail > 0 {
        key(out, "fail", "fail: did not happen")?;
    }
    if info > 0 {
        key(out, "info", "info: nobody knows")?;
    }
    writeln!(out, "</div>")
}

fn latency(out: &mut String, run: &Run, axis: &TimeAxis, top: f64, bottom: f64) -> fmt::Result {
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
    heading(
        out,
        top - 9.0,
        "latency: operations (dots; crosses are fail and info), median (line) and 99th percentile (thin line)",
    )?;
    for decade in log.decades() {
        let y = log.at(decade);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            axis.left(),
            axis.right(),
            axis.left() - 8.0,
            y + 4.0,
            power(decade),
        )?;
    }
    for i in 0..run.stats.by_f.len() {
        let of_f = ended()
            .filter(|(op, ..)| op.outcome == Outcome::Ok && run.stats.f_at(&op.f) == i)
            .map(|(_, end, ns)| (axis.at(end), log.at(ns)));
        let points = thin(of_f);
        // A few of them would hardly be seen.
        let few = if points.len() < FEW { " few" } else { "" };
        write!(out, "<path class=\"dots f{i}{few}\" d=\"")?;
        for (x, y) in points {
            write!(out, "M{x:.0} {y:.0}h0")?;
        }
        writeln!(out, "\"/>")?;
    }
    for (class, outcome) in [("fail", Outcome::Fail), ("info", Outcome::Info)] {
        let of_outcome = ended()
            .filter(|(op, ..)| op.outcome == outcome)
            .map(|(_, end, ns)| (axis.at(end), log.at(ns)));
        write!(out, "<path class=\"crosses {class}\" d=\"")?;
        for (x, y) in thin(of_outcome) {
            write!(out, "M{:.0} {:.0}l5 5m0-5l-5 5", x - 2.5, y - 2.5)?;
        }
        writeln!(out, "\"/>")?;
    }
    let half = run.stats.bin.as_nanos() as u64 / 2;
    for (i, of_f) in run.stats.by_f.iter().enumerate() {
        for (class, pick) in [("p50", 0), ("p99", 1)] {
            write!(out, "<path class=\"{class} f{i}\" d=\"")?;
            let mut pen_down = false;
            for (bin, quantiles) in of_f.bins.iter().enumerate() {
                let Some((p50, p99)) = quantiles else {
                    pen_down = false;
                    continue;
                };
                let x = axis.at(Time(bin_start(run, bin).0 + half));
                let y = log.at([p50, p99][pick].as_nanos() as f64);
                write!(out, "{}{x:.1} {y:.1}", if pen_down { 'L' } else { 'M' })?;
                pen_down = true;
            }
            writeln!(out, "\"/>")?;
        }
    }
    Ok(())
}

/// Where anomalies were there to be seen: a mark leads to each, or to the first of those that fall
/// on one place.
fn anomalies(out: &mut String, run: &Run, axis: &TimeAxis, top: f64) -> fmt::Result {
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
    for (number, more, at, anomaly) in marks.into_values() {
        let x = axis.at(at);
        let rest = match more - 1 {
            0 => String::new(),
            n => format!(", and {} here", counted(n, "more anomaly")),
        };
        writeln!(
            out,
            "<a class=\"mark-of\" href=\"#anomaly-{number}\"><title>{} at {at}{rest}</title>\
             <path d=\"M{:.1} {:.1}h12l-6 9z\"/></a>",
            Esc(clip(&anomaly.kind, 80)),
            x - 6.0,
            top - 4.0,
        )?;
    }
    Ok(())
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

fn rate(out: &mut String, run: &Run, axis: &TimeAxis, top: f64, bottom: f64) -> fmt::Result {
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
    let key = |class, word| format!("<tspan class=\"swatch {class}\" dx=\"10\">■</tspan> {word}");
    let keys =
        [("ok", "ok"), ("fail", "fail"), ("info", "info")].map(|(class, word)| key(class, word));
    heading(
        out,
        top - 9.0,
        &format!("answers a second {}", keys.concat()),
    )?;
    for tick in ticks {
        let y = y_of(tick);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            axis.left(),
            axis.right(),
            axis.left() - 8.0,
            y + 4.0,
            match max < 4.0 {
                true => format!("{tick:.1}"),
                false => count(tick as usize),
            },
        )?;
    }
    let mut below = vec![0.0; rates.len()];
    for (of, class) in ["ok", "fail", "info"].into_iter().enumerate() {
        let above: Vec<f64> = below.iter().zip(&rates).map(|(b, r)| b + r[of]).collect();
        if above != below {
            write!(out, "<path class=\"area {class}\" d=\"")?;
            steps(out, run, axis, &above, &below, y_of)?;
            writeln!(out, "\"/>")?;
        }
        below = above;
    }
    Ok(())
}

/// The outline of steps between two heights for each bin; bins of no height are left out.
fn steps(
    out: &mut String,
    run: &Run,
    axis: &TimeAxis,
    above: &[f64],
    below: &[f64],
    y_of: impl Fn(f64) -> f64,
) -> fmt::Result {
    let x_of = |bin: usize| axis.at(bin_start(run, bin));
    let mut bin = 0;
    while bin < above.len() {
        if above[bin] <= below[bin] {
            bin += 1;
            continue;
        }
        let end = (bin..above.len())
            .find(|&b| above[b] <= below[b])
            .unwrap_or(above.len());
        write!(out, "M{:.1} {:.1}", x_of(bin), y_of(below[bin]))?;
        for (b, top) in above.iter().enumerate().take(end).skip(bin) {
            write!(out, "V{:.1}H{:.1}", y_of(*top), x_of(b + 1))?;
        }
        for b in (bin..end).rev() {
            write!(out, "V{:.1}H{:.1}", y_of(below[b]), x_of(b))?;
        }
        out.push('z');
        bin = end;
    }
    Ok(())
}

/// One node: for each bin, which part of the answers of its clients were successes.
fn strip(out: &mut String, run: &Run, axis: &TimeAxis, node: &OfNode, top: f64) -> fmt::Result {
    let bottom = top + STRIP_PX;
    let part = |t: &Tally| match t.total() {
        0 => 0.0,
        total => t.ok as f64 / total as f64,
    };
    let ok: Vec<f64> = node.bins.iter().map(part).collect();
    let all: Vec<f64> = node.bins.iter().map(|t| f64::from(t.total() > 0)).collect();
    let zero = vec![0.0; ok.len()];
    let y_of = |v: f64| bottom - v * STRIP_PX;
    writeln!(
        out,
        "<text class=\"lane\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <line class=\"grid\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>",
        axis.left() - 10.0,
        top + 11.5,
        Esc(clip(&node.node, 11)),
        axis.left(),
        axis.right(),
    )?;
    write!(out, "<path class=\"area ok\" d=\"")?;
    steps(out, run, axis, &ok, &zero, y_of)?;
    write!(out, "\"/><path class=\"area info\" d=\"")?;
    steps(out, run, axis, &all, &ok, y_of)?;
    writeln!(out, "\"/>")?;
    // Under the strip: the faults that were aimed at this node.
    for span in run.spans.iter().take(MAX_FAULTS) {
        if span.targets.contains(&node.node) {
            let (from, until) = crate::svg::in_force(span);
            let x0 = axis.at(from);
            writeln!(
                out,
                "<rect class=\"aim {}\" x=\"{x0:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"3\"/>",
                crate::palette::class(&span.family),
                bottom + 1.5,
                (axis.at(until) - x0).max(1.5),
            )?;
        }
    }
    Ok(())
}

/// What the script shows under the pointer.
fn hover_data(out: &mut String, run: &Run, axis: &TimeAxis) -> fmt::Result {
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
            let (from, until) = crate::svg::in_force(s);
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
    writeln!(
        out,
        "<script type=\"application/json\" id=\"glance-data\">{}</script>",
        script_json(&data)
    )
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
