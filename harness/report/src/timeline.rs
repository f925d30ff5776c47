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
use history::wording::either;
use history::{Name, Op, Outcome, Process, Time};

use crate::Run;
use crate::arrow::{Area, Arrow, Bar, Order};
use crate::reading::{Flow, Reading, What};
use crate::scale::lanes;
use crate::scene::{Frame, MAX_NAMED, Scene};
use crate::stats;
use crate::svg::{CHAR_PX, Faults, in_force};
use crate::text::{Esc, clip, counted, span};

const BAR_PX: f64 = 18.0;
const CONTEXT_BAR_PX: f64 = 13.0;
const LABEL_PX: f64 = 17.0;

/// Room below a lane within which an arrow goes from one bar to another.
const SAG_PX: f64 = 20.0;

/// Room for a line of an arrow's words between two lanes, and for how many such lines at most.
const WORDS_PX: f64 = 16.0;
const MAX_WORDS: usize = 3;

/// Most faults drawn in one timeline.
const MAX_FAULTS: usize = 16;

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

/// When an anomaly was there to be seen: its last operation's call.
pub fn seen_at(run: &Run, anomaly: &Anomaly) -> Option<Time> {
    named(run, anomaly).iter().map(|op| op.call).max()
}

/// Draws an anomaly that names at least one operation, for wide screens and for narrow ones. Says
/// in a caption what it does not show.
pub fn draw(out: &mut String, run: &Run, anomaly: &Anomaly) -> fmt::Result {
    let all_named = named(run, anomaly);
    let scene = &Scene::new(run, anomaly, &all_named, Frame::WIDE);
    scene.draw(out)?;
    let narrow = scene.within(Frame::NARROW);
    narrow.draw(out)?;
    let mut caption = vec![
        "Bars reach from call to answer; one that fades had no answer. Colours follow values: filled bars write them, \
         outlined bars read them. Grey is the neighbourhood."
            .to_string(),
    ];
    let shows = |what| scene.flows.iter().any(|flow| flow.what == what);
    if shows(What::Read) {
        caption.push("Solid arrows lead from a write to the read of its value.".to_string());
    }
    if shows(What::Missed) {
        caption.push(
            "Dashed arrows lead from what had ended to what should have seen it.".to_string(),
        );
    }
    if !scene.axis.is_linear() || !narrow.axis.is_linear() {
        caption.push(
            "Time is stretched around these operations: order is exact, lengths are not, and ≈ marks what was shortened."
                .to_string(),
        );
    }
    if all_named.len() > scene.named.len() {
        caption.push(format!(
            "{} to it and {} not drawn.",
            match all_named.len() - scene.named.len() {
                1 => "1 more operation belongs".to_string(),
                n => format!("{} belong", counted(n, "more operation")),
            },
            either(all_named.len() - scene.named.len(), "is", "are")
        ));
    }
    if scene.left_out > 0 {
        let what = if scene.keyed { "on this key " } else { "" };
        caption.push(format!(
            "{} {what}in this span {} not drawn.",
            counted(scene.left_out, "more operation"),
            either(scene.left_out, "is", "are")
        ));
    }
    writeln!(out, "<p class=\"caption\">{}</p>", Esc(caption.join(" ")))
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

impl<'a> Scene<'a> {
    fn extent(&self, op: &Op) -> (f64, f64) {
        let x0 = self.axis.at(op.call);
        (x0, self.axis.at(op.ret).max(x0 + 3.0))
    }

    /// The labels of a process's named operations, in as many rows as keep them apart.
    fn labels(&self, process: Process) -> Vec<Label> {
        let mut labels: Vec<Label> = Vec::new();
        for (i, op) in self
            .named
            .iter()
            .enumerate()
            .filter(|(_, op)| op.process == process)
        {
            let text = self.reading.text(op);
            let x = self
                .extent(op)
                .0
                .min(self.frame.width - 4.0 - label_px(&text))
                .max(self.axis.left());
            labels.push(Label { i, text, x, row: 0 });
        }
        labels.sort_by(|a, b| a.x.total_cmp(&b.x));
        let extents: Vec<(f64, f64)> = labels
            .iter()
            .map(|l| (l.x, l.x + label_px(&l.text) + 4.0))
            .collect();
        for (label, row) in labels.iter_mut().zip(lanes(&extents)) {
            label.row = row;
        }
        labels
    }

    fn lanes(&self, mut y: f64) -> (Vec<Lane<'a>>, f64) {
        let mut owners: Vec<(Option<&Name>, Process)> = Vec::new();
        for op in self.named.iter().chain(&self.context) {
            if !owners.iter().any(|o| o.1 == op.process) {
                owners.push((op.node.as_ref(), op.process));
            }
        }
        owners.sort_by_key(|(node, process)| (node.map(|n| (n.len(), n.as_str())), *process));
        let words = self.words_between(&owners);
        let mut lanes = Vec::new();
        for ((node, process), words) in owners.into_iter().zip(words) {
            let rows = self
                .labels(process)
                .iter()
                .map(|l| l.row + 1)
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
            let sags = |a: &Flow| {
                [a.from, a.to]
                    .iter()
                    .all(|i| self.named[*i].process == process)
            };
            if self.flows.iter().any(sags) {
                y += SAG_PX;
            }
            y += words as f64 * WORDS_PX;
        }
        (lanes, y)
    }

    /// Below each lane, how many arrows lead from it to its neighbour or back: where nothing lies
    /// between two lanes, there would be no place for their words.
    fn words_between(&self, owners: &[(Option<&Name>, Process)]) -> Vec<usize> {
        let lane = |i: usize| {
            let process = self.named[i].process;
            owners.iter().position(|owner| owner.1 == process)
        };
        let mut words = vec![0; owners.len()];
        for flow in &self.flows {
            let (Some(a), Some(b)) = (lane(flow.from), lane(flow.to)) else {
                continue;
            };
            if a.abs_diff(b) == 1 {
                words[a.min(b)] = (words[a.min(b)] + 1).min(MAX_WORDS);
            }
        }
        words
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
            "<div class=\"scroll {}\"><svg class=\"timeline\" viewBox=\"0 0 {} {height}\" role=\"group\" \
             aria-label=\"Timeline of the operations\">",
            self.frame.class, self.frame.width
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
        let bars: Vec<Bar> = self
            .named
            .iter()
            .map(|op| {
                let (x0, x1) = self.extent(op);
                Bar {
                    x0,
                    x1,
                    y: lanes[lane_at[&op.process]].top + BAR_PX / 2.0,
                    height: BAR_PX,
                }
            })
            .collect();
        let mut taken: Vec<Area> = bars.iter().map(|bar| bar.area()).collect();
        for op in &self.context {
            let (x0, x1) = self.extent(op);
            let lane = &lanes[lane_at[&op.process]];
            let (y0, y1) = (lane.top, lane.top + lane.bar_px);
            taken.push(Area { x0, x1, y0, y1 });
        }
        let mut says = String::new();
        for lane in &lanes {
            for label in self.labels(lane.process) {
                taken.push(self.draw_label(&mut says, label, lane.top)?);
            }
        }
        // Arrows lie under the bars, so that they never hide where one begins or ends, and their
        // words over everything.
        let mut words = String::new();
        self.draw_arrows(out, &mut words, &bars, taken)?;
        for (i, (op, bar)) in self.named.iter().zip(&bars).enumerate() {
            self.draw_named(out, i, op, *bar)?;
        }
        out.push_str(&says);
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
        // A tick for as many units as the longest label is wide, and some more.
        for (t, label) in axis.ticks(((axis.right() - axis.left()) / 125.0) as usize) {
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

    fn draw_named(&self, out: &mut String, i: usize, op: &Op, bar: Bar) -> fmt::Result {
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
            bar.x0,
            bar.area().y0,
            bar.x1 - bar.x0,
        )
    }

    /// A named operation's number and words; returns what they cover.
    fn draw_label(&self, out: &mut String, label: Label, bar_top: f64) -> Result<Area, fmt::Error> {
        let Label { i, text, x, row } = label;
        let y = bar_top - 5.0 - row as f64 * LABEL_PX;
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
            Esc(&text),
        )?;
        Ok(Area {
            x0: x,
            x1: x + label_px(&text),
            y0: y - 13.0,
            y1: y + 4.0,
        })
    }

    fn draw_arrows(
        &self,
        out: &mut String,
        words: &mut String,
        bars: &[Bar],
        mut taken: Vec<Area>,
    ) -> fmt::Result {
        // What is wrong is said first, and has the better place.
        let (wrong, right): (Vec<&Flow>, Vec<&Flow>) = self
            .flows
            .iter()
            .partition(|flow| flow.what == What::Missed);
        for flow in wrong.into_iter().chain(right) {
            let (from, to) = (self.named[flow.from], self.named[flow.to]);
            let order = match (from.ret <= to.call, from.call > to.ret) {
                (true, _) => Order::Before,
                (_, true) => Order::After,
                _ => Order::Overlap,
            };
            let (class, text) = match flow.what {
                What::Read if order == Order::After => {
                    let early = span(from.call.since(to.ret));
                    ("odd", format!("read {early} before it was written"))
                }
                What::Read => ("", "its value is read".to_string()),
                What::Missed => {
                    let earlier = span(to.call.since(from.ret));
                    (
                        "odd",
                        format!("had ended {earlier} before {} began", flow.to + 1),
                    )
                }
            };
            let colour = self.colour(from);
            let arrow = Arrow::between(bars[flow.from], bars[flow.to], order);
            writeln!(
                out,
                "<path class=\"arrow {class} {colour}\" d=\"{}\"/><path class=\"head {class} {colour}\" d=\"{}\"/>",
                arrow.line, arrow.head
            )?;
            // That a value is read goes without saying, where there is no room to say it.
            let (chars, left) = (text.chars().count(), self.axis.left());
            let right = self.frame.width - 2.0;
            let place = arrow
                .place(chars, left, right, &taken)
                .or_else(|| match class {
                    "odd" => arrow.anywhere(chars, left, right),
                    _ => None,
                });
            let Some(place) = place else {
                continue;
            };
            taken.push(place);
            // A plate behind the words, so that no line strikes them through.
            writeln!(
                words,
                "<rect class=\"plate\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\"/>\
                 <text class=\"arrow {class} {colour}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                place.x0,
                place.y0,
                place.x1 - place.x0,
                place.y1 - place.y0,
                (place.x0 + place.x1) / 2.0,
                place.y1 - 3.0,
                Esc(text),
            )?;
        }
        Ok(())
    }
}

/// A named operation's words: which it is, what they are, their left end, and the row above the
/// bar, of which 0 is nearest.
struct Label {
    i: usize,
    text: String,
    x: f64,
    row: usize,
}

/// Width of a number and its words.
fn label_px(text: &str) -> f64 {
    // The words are of 12 px, a little wider than the rest.
    24.0 + text.chars().count() as f64 * CHAR_PX * 12.0 / 11.0
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
            format_args!("{:.6} s", op.call.as_secs_f64()),
            end.map_or("none".to_string(), |t| format!("{:.6} s", t.as_secs_f64())),
            end.map_or(String::new(), |t| span(t.since(op.call))),
            crate::tables::Badge(op.outcome),
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}
