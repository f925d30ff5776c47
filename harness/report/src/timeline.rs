//! An anomaly, drawn: the operations that contradict each other, numbered as its sentence names
//! them, what went on around them, the faults, and arrows for what flowed from one to another.
//!
//! ```text
//! partition      [majority n1 n2 | minority n3]
//! n1  process 0  ① write 17
//!                [=======]──────────────┐ its value is read
//! n2  process 1             ② write 18  │
//!                           [========]┄┄│┄┄┄┄ ended 6.8 s before ③ began
//! n3  process 2                         ▼ ③ read → 17
//!                                       [----------]
//! ```
//!
//! Operations have the colour of the value that they write (filled) or read (outlined), so a value
//! can be followed through the picture. What is drawn is inferred from the operations alone, for
//! registers and for anything that looks like them; where nothing can be inferred there are no
//! arrows, and the bars and the sentence must do.

use std::collections::HashMap;
use std::fmt::{self, Write};

use checkers::Anomaly;
use history::{Name, Op, Outcome, Process, Time, Value};

use crate::Run;
use crate::reading::{Arrow, Flow, Reading, arrows};
use crate::scale::{TimeAxis, lanes};
use crate::stats;
use crate::svg::{CHAR_PX, Faults, in_force};
use crate::text::{Esc, clip, moment, span};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 20.0;
const BAR_PX: f64 = 18.0;
const CONTEXT_BAR_PX: f64 = 13.0;
const LABEL_PX: f64 = 17.0;

/// Room below a lane within which an arrow goes from one bar to another.
const SAG_PX: f64 = 20.0;

/// Most operations of one anomaly that are drawn.
const MAX_NAMED: usize = 24;

/// Most operations drawn around them, and most processes they may be of.
const MAX_CONTEXT: usize = 36;
const MAX_LANES: usize = 14;

/// Most faults drawn in one timeline.
const MAX_FAULTS: usize = 16;

/// Colours told apart by value; further values share the neutral one.
const MAX_COLOURS: usize = 4;

/// Everything about an operation, for the pointer and for screen readers.
pub fn tip(run: &Run, op: &Op) -> String {
    let mut text = format!("#{} {} {}", op.index, clip(&op.f, 40), clip(&op.input, 160));
    match op.outcome {
        Outcome::Ok => text.push_str(&format!(" → {}", clip(&op.output, 160))),
        Outcome::Fail => text.push_str(" failed: it did not happen"),
        Outcome::Info => text.push_str(": nobody knows whether it happened"),
    }
    text.push_str(&format!("\nprocess {}", op.process));
    if let Some(node) = &op.node {
        text.push_str(&format!(" on {}", clip(node, 40)));
    }
    text.push_str(&format!("\nfrom {:.6} s", op.call.as_secs_f64()));
    match stats::ended(run.input.history, op) {
        Some(end) => text.push_str(&format!(
            " to {:.6} s ({})",
            end.as_secs_f64(),
            span(end.since(op.call))
        )),
        None => text.push_str(", cut off by the end of the run"),
    }
    if let Some(error) = &op.error {
        text.push_str(&format!("\n{}", clip(error, 300)));
    }
    text
}

/// The operations that an anomaly names, in its order; indices that name none are left out.
pub fn named<'a>(run: &Run<'a>, anomaly: &Anomaly) -> Vec<&'a Op> {
    let mut ops: Vec<&Op> = Vec::new();
    for &index in &anomaly.ops {
        if let Some(op) = run.input.history.op(index)
            && !ops.iter().any(|o| o.index == op.index)
        {
            ops.push(op);
        }
    }
    ops
}

/// Draws an anomaly that names at least one operation. Says in a caption what it does not show.
pub fn draw(out: &mut String, run: &Run, anomaly: &Anomaly) -> fmt::Result {
    let all_named = named(run, anomaly);
    let scene = Scene::new(run, anomaly, &all_named);
    scene.draw(out)?;
    let mut caption = vec![
        "Bars reach from call to answer; one that fades had no answer. Colours follow values: filled bars write them, \
         outlined bars read them. Grey is the neighbourhood."
            .to_string(),
    ];
    if !scene.axis.is_linear() {
        caption.push(
            "Time is stretched around these operations: order is exact, lengths are not, and ≈ marks what was shortened."
                .to_string(),
        );
    }
    if all_named.len() > scene.named.len() {
        caption.push(format!(
            "{} more operations belong to it and are not drawn.",
            all_named.len() - scene.named.len()
        ));
    }
    if scene.left_out > 0 {
        let what = if scene.keyed { "on this key " } else { "" };
        caption.push(format!(
            "{} more operations {what}in this span are not drawn.",
            crate::text::count(scene.left_out)
        ));
    }
    writeln!(out, "<p class=\"caption\">{}</p>", Esc(caption.join(" ")))
}

/// What is drawn, before it is laid out.
struct Scene<'a> {
    run: &'a Run<'a>,
    reading: Reading<'a>,
    named: Vec<&'a Op>,
    context: Vec<&'a Op>,
    left_out: usize,
    keyed: bool,
    axis: TimeAxis,
    colours: Vec<&'a Value>,
    arrows: Vec<Arrow>,
}

/// One process's row.
struct Lane<'a> {
    node: Option<&'a Name>,
    process: Process,
    /// Whether it is its node's first.
    first: bool,
    /// Top of the bars; the labels of named operations stand above.
    top: f64,
    bar_px: f64,
}

/// Where a named operation's bar came to lie.
#[derive(Clone, Copy)]
struct Placed {
    x0: f64,
    x1: f64,
    mid: f64,
    lane: usize,
}

impl<'a> Scene<'a> {
    fn new(run: &'a Run<'a>, anomaly: &'a Anomaly, all_named: &[&'a Op]) -> Scene<'a> {
        let reading = Reading::new(anomaly.object.as_deref());
        let named = all_named[..all_named.len().min(MAX_NAMED)].to_vec();
        let keyed = named.iter().any(|op| reading.concerns(op));
        let axis = axis(&named, run.stats.end);
        let mut colours: Vec<&Value> = Vec::new();
        for op in &named {
            for value in reading.writes(op).into_iter().chain(reading.reads(op)) {
                let scalar = !matches!(value, Value::Nil | Value::List(_) | Value::Map(_));
                if scalar && colours.len() < MAX_COLOURS && !colours.contains(&value) {
                    colours.push(value);
                }
            }
        }
        let arrows = arrows(&reading, &named);
        let mut scene = Scene {
            arrows,
            run,
            reading,
            named,
            context: Vec::new(),
            left_out: 0,
            keyed,
            axis,
            colours,
        };
        scene.choose_context();
        scene
    }

    /// The neighbours worth drawing: on the same key, not known to have failed, near in time; those
    /// that handle the same values first.
    fn choose_context(&mut self) {
        let (from, to) = (self.axis.from(), self.axis.to());
        let ops = self.run.input.history.ops();
        let mut candidates: Vec<(bool, u64, &Op)> = Vec::new();
        for op in &ops[..ops.partition_point(|op| op.call <= to)] {
            // What is unknown stays possible for ever, but only what began in view is a neighbour.
            let begun = if op.ret == Time::MAX { op.call } else { op.ret };
            let says_nothing = match op.outcome {
                Outcome::Ok => false,
                Outcome::Fail => true,
                Outcome::Info => self.reading.writes(op).is_none(),
            };
            if begun < from || says_nothing || (self.keyed && !self.reading.concerns(op)) {
                continue;
            }
            if self.named.iter().any(|n| n.index == op.index) {
                continue;
            }
            let values = self
                .reading
                .writes(op)
                .into_iter()
                .chain(self.reading.reads(op));
            let related = values.into_iter().any(|v| self.colours.contains(&v));
            let distance = self
                .named
                .iter()
                .map(|n| distance(op, n))
                .min()
                .unwrap_or(0);
            candidates.push((!related, distance, op));
        }
        let total = candidates.len();
        // Half the room for operations on the same values, so that a popular value does not crowd
        // out the neighbours in time.
        candidates.sort_by_key(|(unrelated, distance, op)| (*unrelated, *distance, op.index));
        let related = candidates
            .iter()
            .filter(|c| !c.0)
            .count()
            .min(MAX_CONTEXT / 2);
        let mut rest = candidates.split_off(related);
        rest.sort_by_key(|(_, distance, op)| (*distance, op.index));
        candidates.extend(rest);

        let mut processes: Vec<Process> = self.named.iter().map(|op| op.process).collect();
        processes.sort_unstable();
        processes.dedup();
        for (_, _, op) in candidates {
            if self.context.len() == MAX_CONTEXT {
                break;
            }
            if !processes.contains(&op.process) {
                if processes.len() >= MAX_LANES {
                    continue;
                }
                processes.push(op.process);
            }
            self.context.push(op);
        }
        self.left_out = total - self.context.len();
    }

    fn colour(&self, op: &Op) -> String {
        let value = self.reading.writes(op).or_else(|| self.reading.reads(op));
        match value.and_then(|v| self.colours.iter().position(|c| *c == v)) {
            Some(i) => format!("v{i}"),
            None => "vx".to_string(),
        }
    }

    fn extent(&self, op: &Op) -> (f64, f64) {
        let x0 = self.axis.at(op.call);
        (x0, self.axis.at(op.ret).max(x0 + 3.0))
    }

    /// The labels of a lane's named operations: number, text, left end, row above the bar (0 is nearest).
    fn labels(&self, process: Process) -> Vec<(usize, String, f64, usize)> {
        let mut labels: Vec<(usize, String, f64, f64)> = Vec::new();
        for (i, op) in self
            .named
            .iter()
            .enumerate()
            .filter(|(_, op)| op.process == process)
        {
            let text = self.reading.text(op);
            let width = 22.0 + text.chars().count() as f64 * CHAR_PX;
            let x = self.extent(op).0.min(WIDTH - 4.0 - width).max(LEFT);
            labels.push((i, text, x, x + width + 6.0));
        }
        labels.sort_by(|a, b| a.2.total_cmp(&b.2));
        let extents: Vec<(f64, f64)> = labels.iter().map(|l| (l.2, l.3)).collect();
        let rows = lanes(&extents);
        labels
            .into_iter()
            .zip(rows)
            .map(|((i, text, x, _), row)| (i, text, x, row))
            .collect()
    }

    fn lanes(&self, mut y: f64) -> (Vec<Lane<'a>>, f64) {
        let mut owners: Vec<(Option<&Name>, Process)> = Vec::new();
        for op in self.named.iter().chain(&self.context) {
            if !owners.iter().any(|o| o.1 == op.process) {
                owners.push((op.node.as_ref(), op.process));
            }
        }
        owners.sort_by_key(|(node, process)| (node.map(|n| (n.len(), n.as_str())), *process));
        let mut lanes = Vec::new();
        for (node, process) in owners {
            let rows = self
                .labels(process)
                .iter()
                .map(|l| l.3 + 1)
                .max()
                .unwrap_or(0);
            let bar_px = if rows > 0 { BAR_PX } else { CONTEXT_BAR_PX };
            y += rows as f64 * LABEL_PX;
            // A node's name stands before the first of its lanes.
            let first = lanes.last().is_none_or(|l: &Lane| l.node != node);
            lanes.push(Lane {
                node,
                first,
                process,
                top: y,
                bar_px,
            });
            y += bar_px + if rows > 0 { 14.0 } else { 8.0 };
            let sags = |a: &Arrow| {
                [a.from, a.to]
                    .iter()
                    .all(|i| self.named[*i].process == process)
            };
            if self.arrows.iter().any(sags) {
                y += SAG_PX;
            }
        }
        (lanes, y)
    }

    fn draw(&self, out: &mut String) -> fmt::Result {
        let axis = &self.axis;
        let mut in_view: Vec<_> = self
            .run
            .spans
            .iter()
            .filter(|s| s.from <= axis.to() && s.until >= axis.from())
            .collect();
        if in_view.len() > MAX_FAULTS {
            in_view.sort_by_key(|s| {
                let (from, until) = in_force(s);
                std::cmp::Reverse(until.min(axis.to()).since(from.max(axis.from())))
            });
            in_view.truncate(MAX_FAULTS);
            in_view.sort_by_key(|s| s.from);
        }
        let faults = Faults::place(in_view.into_iter(), axis);
        let body_top = faults.height() + 12.0;
        let (lanes, bottom) = self.lanes(body_top);
        let height = bottom + 34.0;
        writeln!(
            out,
            "<div class=\"scroll\"><svg class=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" role=\"group\" \
             aria-label=\"Timeline of the operations\">"
        )?;
        faults.bands(out, axis, faults.height() + 2.0, bottom)?;
        faults.bars(out, axis, 0.0)?;
        self.draw_axis(out, body_top, bottom)?;
        for lane in &lanes {
            self.draw_lane(out, lane)?;
        }
        let lane_at: HashMap<Process, usize> = lanes
            .iter()
            .enumerate()
            .map(|(i, l)| (l.process, i))
            .collect();
        for op in &self.context {
            self.draw_context(out, op, &lanes[lane_at[&op.process]])?;
        }
        let placed: Vec<Placed> = self
            .named
            .iter()
            .map(|op| {
                let lane = lane_at[&op.process];
                let (x0, x1) = self.extent(op);
                Placed {
                    x0,
                    x1,
                    mid: lanes[lane].top + BAR_PX / 2.0,
                    lane,
                }
            })
            .collect();
        // Arrows lie under the bars, so that they never hide where one begins or ends, and their
        // words over everything.
        let mut words = String::new();
        self.draw_arrows(out, &mut words, &placed)?;
        for (i, (op, at)) in self.named.iter().zip(&placed).enumerate() {
            self.draw_named(out, i, op, *at)?;
        }
        for lane in &lanes {
            for (i, text, x, row) in self.labels(lane.process) {
                let y = lane.top - 5.0 - row as f64 * LABEL_PX;
                writeln!(
                    out,
                    "<g class=\"says {}\"><circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"7.5\"/>\
                     <text class=\"number\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
                     <text class=\"what\" x=\"{:.1}\" y=\"{y:.1}\">{}</text></g>",
                    self.colour(self.named[i]),
                    x + 7.5,
                    y - 4.0,
                    x + 7.5,
                    y,
                    i + 1,
                    x + 20.0,
                    Esc(text),
                )?;
            }
        }
        out.push_str(&words);
        writeln!(out, "</svg></div>")
    }

    fn draw_axis(&self, out: &mut String, top: f64, bottom: f64) -> fmt::Result {
        let axis = &self.axis;
        writeln!(
            out,
            "<line class=\"base\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>",
            axis.left(),
            axis.right()
        )?;
        for &(from, to) in axis.shortened() {
            let (x0, x1) = (axis.at(from), axis.at(to));
            let mid = (x0 + x1) / 2.0;
            writeln!(
                out,
                "<rect class=\"cut\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <text class=\"cut\" x=\"{mid:.1}\" y=\"{:.1}\" text-anchor=\"middle\">≈ {}</text>",
                x0 + 6.0,
                (x1 - x0 - 12.0).max(1.0),
                bottom - top,
                bottom + 20.0,
                span(to.since(from)),
            )?;
        }
        for (t, label) in axis.ticks(8) {
            let x = axis.at(t);
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 5.0,
                bottom + 20.0,
            )?;
        }
        Ok(())
    }

    fn draw_lane(&self, out: &mut String, lane: &Lane) -> fmt::Result {
        let mid = lane.top + lane.bar_px / 2.0;
        let node = lane
            .node
            .filter(|_| lane.first)
            .map(|n| clip(n, 8))
            .unwrap_or_default();
        writeln!(
            out,
            "<line class=\"lane\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{mid:.1}\" y2=\"{mid:.1}\"/>\
             <text class=\"node\" x=\"4\" y=\"{:.1}\">{}</text>\
             <text class=\"lane\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            self.axis.left(),
            self.axis.right(),
            mid + 4.0,
            Esc(node),
            self.axis.left() - 10.0,
            mid + 4.0,
            Esc(format_args!("process {}", lane.process)),
        )
    }

    fn draw_context(&self, out: &mut String, op: &Op, lane: &Lane) -> fmt::Result {
        let (x0, x1) = self.extent(op);
        let height = CONTEXT_BAR_PX;
        let top = lane.top + (lane.bar_px - height) / 2.0;
        let text = self.reading.text(op);
        let shape = if self.reading.writes(op).is_some() {
            "writes"
        } else {
            "reads"
        };
        let open = if op.ret == Time::MAX { " open" } else { "" };
        write!(
            out,
            "<g class=\"context {shape}{open} {}\"><title>{}</title>\
             <rect x=\"{x0:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height}\" rx=\"2\"/>",
            self.colour(op),
            Esc(tip(self.run, op)),
            x1 - x0,
        )?;
        if text.chars().count() as f64 * CHAR_PX + 8.0 <= x1 - x0 {
            write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x0 + 4.0,
                top + 10.0,
                Esc(text)
            )?;
        }
        writeln!(out, "</g>")
    }

    fn draw_named(&self, out: &mut String, i: usize, op: &Op, at: Placed) -> fmt::Result {
        let shape = if self.reading.writes(op).is_some() {
            "writes"
        } else {
            "reads"
        };
        let open = match op.outcome {
            Outcome::Info => " open",
            Outcome::Fail => " failed",
            Outcome::Ok => "",
        };
        writeln!(
            out,
            "<g class=\"named {shape}{open} {}\" tabindex=\"0\" data-op=\"{}\"><title>{}</title>\
             <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR_PX}\" rx=\"3\"/></g>",
            self.colour(op),
            op.index,
            Esc(format_args!("({}) {}", i + 1, tip(self.run, op))),
            at.x0,
            at.mid - BAR_PX / 2.0,
            at.x1 - at.x0,
        )
    }

    fn draw_arrows(&self, out: &mut String, words: &mut String, placed: &[Placed]) -> fmt::Result {
        for arrow in &self.arrows {
            let (from, to) = (self.named[arrow.from], self.named[arrow.to]);
            let (a, b) = (placed[arrow.from], placed[arrow.to]);
            let (class, text) = match arrow.what {
                Flow::Read if from.call > to.ret => (
                    "odd",
                    format!(
                        "read {} before it was written",
                        span(from.call.since(to.ret))
                    ),
                ),
                Flow::Read => ("flow", "its value is read".to_string()),
                Flow::Missed => (
                    "odd",
                    format!(
                        "had ended {} before {} began",
                        span(to.call.since(from.ret)),
                        arrow.to + 1
                    ),
                ),
            };
            let colour = self.colour(from);
            let (head, label) = curve(
                out,
                class,
                &colour,
                a,
                b,
                from.ret <= to.call,
                from.call > to.ret,
            )?;
            writeln!(out, "<path class=\"head {class} {colour}\" d=\"{head}\"/>")?;
            // A plate behind the words, so that no line strikes them through.
            let width = text.chars().count() as f64 * CHAR_PX + 8.0;
            let x = label.0.clamp(LEFT + width / 2.0, WIDTH - 2.0 - width / 2.0);
            writeln!(
                words,
                "<rect class=\"plate\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\" rx=\"3\"/>\
                 <text class=\"arrow {class} {colour}\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x - width / 2.0,
                label.1 - 11.0,
                label.1,
                Esc(text),
            )?;
        }
        Ok(())
    }
}

/// Draws the line of an arrow; returns its head's path and where its words go.
fn curve(
    out: &mut String,
    class: &str,
    colour: &str,
    a: Placed,
    b: Placed,
    forward: bool,
    backward: bool,
) -> Result<(String, (f64, f64)), fmt::Error> {
    if !forward && !backward {
        // They overlap in time: straight down or up where they do.
        let x = (a.x0.max(b.x0) + a.x1.min(b.x1)) / 2.0;
        let sign = if b.mid > a.mid { 1.0 } else { -1.0 };
        let end = b.mid - sign * (BAR_PX / 2.0 + 2.0);
        writeln!(
            out,
            "<path class=\"arrow {class} {colour}\" d=\"M{x:.1} {:.1}L{x:.1} {:.1}\"/>",
            a.mid,
            end - sign * 6.0
        )?;
        let head = format!("M{x:.1} {end:.1}l-5 {0:.1}h10z", -sign * 9.0);
        return Ok((head, (x, (a.mid + b.mid) / 2.0 + 4.0)));
    }
    let (x0, x1, sign) = if backward {
        (a.x0, b.x1, -1.0)
    } else {
        (a.x1, b.x0, 1.0)
    };
    let reach = ((x1 - x0).abs() / 2.0).max(26.0) * sign;
    let tip = x1 - 2.0 * sign;
    // Within one lane the line sags below the bars; the words lie where the curve is lowest.
    let sag = if a.lane == b.lane { BAR_PX + 14.0 } else { 0.0 };
    writeln!(
        out,
        "<path class=\"arrow {class} {colour}\" d=\"M{x0:.1} {:.1}C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}\"/>",
        a.mid,
        x0 + reach,
        a.mid + sag,
        tip - 7.0 * sign - reach,
        b.mid + sag,
        tip - 7.0 * sign,
        b.mid,
    )?;
    let head = format!("M{tip:.1} {:.1}l{1:.1} -5v10z", b.mid, -9.0 * sign);
    Ok((
        head,
        ((x0 + x1) / 2.0, (a.mid + b.mid) / 2.0 + sag * 0.75 + 4.0),
    ))
}

/// How far apart in time two operations are; zero if they overlap.
fn distance(a: &Op, b: &Op) -> u64 {
    let gap = |first: &Op, second: &Op| second.call.0.saturating_sub(first.ret.0);
    gap(a, b).max(gap(b, a))
}

/// An axis on which the ends of all named operations can be told apart, with some room around.
fn axis(named: &[&Op], end: Time) -> TimeAxis {
    let mut moments: Vec<Time> = Vec::new();
    let mut logs = Vec::new();
    for op in named {
        moments.push(op.call);
        if op.ret != Time::MAX {
            moments.push(op.ret);
            logs.push((op.ret.since(op.call).as_nanos() as f64).max(1e3).ln());
        }
    }
    moments.sort_unstable();
    let (first, last) = match (moments.first(), moments.last()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => (Time(0), end),
    };
    // The geometric mean: one slow operation among fast ones must not make hairs of them.
    let typical = match logs.len() {
        0 => ((last.0 - first.0) as f64 / 4.0).max(10e6),
        n => (logs.iter().sum::<f64>() / n as f64).exp(),
    };
    let open = named.iter().any(|op| op.ret == Time::MAX);
    moments.insert(0, Time(first.0.saturating_sub(typical as u64)));
    moments.push(Time(
        last.0 + (typical * if open { 2.0 } else { 1.0 }) as u64,
    ));
    TimeAxis::stretched(&moments, typical, LEFT, WIDTH - RIGHT)
}

/// The named operations as a list: what the picture shows, in words.
pub fn list(out: &mut String, run: &Run, anomaly: &Anomaly) -> fmt::Result {
    let reading = Reading::new(anomaly.object.as_deref());
    writeln!(
        out,
        "<div class=\"scroll\"><table class=\"ops\"><thead><tr><th></th><th>operation</th><th>index</th>\
         <th>process</th><th>node</th><th class=\"n\">call</th><th class=\"n\">answer</th><th class=\"n\">took</th>\
         <th>outcome</th></tr></thead><tbody>"
    )?;
    for (i, op) in named(run, anomaly).into_iter().take(MAX_NAMED).enumerate() {
        let end = stats::ended(run.input.history, op);
        writeln!(
            out,
            "<tr><td><b class=\"badge\">{}</b></td><td><code>{}</code></td>\
             <td><a href=\"#op-{}\" data-jump=\"{}\">#{}</a></td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            i + 1,
            Esc(reading.text(op)),
            op.index,
            op.index,
            op.index,
            op.process,
            Esc(op.node.as_ref().map(|n| clip(n, 40)).unwrap_or_default()),
            moment(op.call),
            end.map_or("none".to_string(), moment),
            end.map_or(String::new(), |t| span(t.since(op.call))),
            crate::tables::Badge(op.outcome),
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn op(call: u64, ret: u64) -> Op {
        Op {
            index: 0,
            completion: Some(1),
            process: Process::Client(0),
            node: None,
            f: "read".into(),
            input: Value::Nil,
            output: Value::Nil,
            outcome: Outcome::Ok,
            call: Time(call * MS),
            ret: Time(ret * MS),
            error: None,
        }
    }

    #[test]
    fn distance_is_zero_for_operations_that_overlap() {
        assert_eq!(distance(&op(0, 5), &op(3, 9)), 0);
        assert_eq!(distance(&op(0, 5), &op(7, 9)), 2 * MS);
        assert_eq!(distance(&op(7, 9), &op(0, 5)), 2 * MS);
    }

    #[test]
    fn the_axis_tells_the_ends_of_all_operations_apart() {
        let ops = [op(1_000, 1_004), op(30_000, 30_002), op(30_002, 31_000)];
        let refs: Vec<&Op> = ops.iter().collect();
        let axis = axis(&refs, Time(60_000 * MS));
        let mut ends: Vec<Time> = ops.iter().flat_map(|op| [op.call, op.ret]).collect();
        ends.sort_unstable();
        ends.dedup();
        for pair in ends.windows(2) {
            assert!(
                axis.at(pair[1]) - axis.at(pair[0]) > 20.0,
                "{pair:?} on {axis:?}"
            );
        }
        assert_eq!(axis.shortened().len(), 2);
    }

    #[test]
    fn an_operation_without_an_answer_has_room_to_stay_open() {
        let mut open = op(1_000, 1_004);
        open.ret = Time::MAX;
        let axis = axis(&[&open], Time(2_000 * MS));
        assert!(axis.at(open.call) < axis.right() - 100.0, "{axis:?}");
    }
}
