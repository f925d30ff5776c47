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

use checkers::Anomaly;
use history::fault::Span;
use history::wording::either;
use history::{Name, Op, Outcome, Process, Time};
use maud::{Markup, html};

use crate::Run;
use crate::arrow::{Area, Arrow, Bar, Order};
use crate::reading::{Flow, Reading, What};
use crate::scale::lanes;
use crate::scene::{Frame, MAX_NAMED, Scene};
use crate::stats;
use crate::svg::{CHAR_PX, Faults, Px, in_force};
use crate::tables;
use crate::text::{clip, counted, span};

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
pub fn draw(run: &Run, anomaly: &Anomaly) -> Markup {
    let all_named = named(run, anomaly);
    let scene = Scene::new(run, anomaly, &all_named, Frame::WIDE);
    let narrow = scene.within(Frame::NARROW);
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
    html! {
        (scene.draw())
        (narrow.draw())
        p.caption { (caption.join(" ")) }
    }
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

    /// The faults in view, in the order of time; of many those that are in view longest.
    fn faults(&self) -> Vec<&'a Span> {
        let axis = &self.axis;
        let spans = self.run.spans.iter();
        let mut in_view: Vec<_> = spans
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
        in_view
    }

    fn draw(&self) -> Markup {
        let axis = &self.axis;
        let faults = Faults::place(self.faults().into_iter(), axis);
        let body_top = faults.height() + 12.0;
        let (lanes, bottom) = self.lanes(body_top);
        let lane_at: HashMap<Process, &Lane> = lanes.iter().map(|l| (l.process, l)).collect();
        let bar = |op: &&Op| {
            let (x0, x1) = self.extent(op);
            let y = lane_at[&op.process].top + BAR_PX / 2.0;
            let height = BAR_PX;
            Bar { x0, x1, y, height }
        };
        let bars: Vec<Bar> = self.named.iter().map(bar).collect();
        let labels: Vec<(Label, f64)> = lanes
            .iter()
            .flat_map(|lane| self.labels(lane.process).into_iter().map(|l| (l, lane.top)))
            .collect();
        let neighbour = |op: &&Op| {
            let (x0, x1) = self.extent(op);
            let lane = lane_at[&op.process];
            let (y0, y1) = (lane.top, lane.top + lane.bar_px);
            Area { x0, x1, y0, y1 }
        };
        let mut taken: Vec<Area> = bars.iter().map(|bar| bar.area()).collect();
        taken.extend(self.context.iter().map(neighbour));
        taken.extend(labels.iter().map(|(label, top)| label.area(*top)));
        let arrows = self.arrows(&bars, taken);
        html! {
            div.scroll.(self.frame.class) {
                svg.timeline viewBox={ "0 0 " (self.frame.width) " " (bottom + 34.0) } role="group"
                    aria-label="Timeline of the operations"
                {
                    (faults.bands(axis, faults.height() + 2.0, bottom))
                    (faults.bars(axis))
                    (self.draw_axis(body_top, bottom))
                    @for lane in &lanes { (self.draw_lane(lane)) }
                    @for op in &self.context { (self.draw_context(op, lane_at[&op.process])) }
                    // Arrows lie under the bars, so that they never hide where one begins or ends,
                    // and their words over everything.
                    @for arrow in &arrows { (arrow.lines()) }
                    @for (i, bar) in bars.iter().enumerate() { (self.draw_named(i, *bar)) }
                    @for (label, top) in &labels { (self.draw_label(label, *top)) }
                    @for arrow in &arrows { (arrow.words()) }
                }
            }
        }
    }

    fn draw_axis(&self, top: f64, bottom: f64) -> Markup {
        let axis = &self.axis;
        // A tick for as many units as the longest label is wide, and some more.
        let ticks = axis.ticks(((axis.right() - axis.left()) / 125.0) as usize);
        html! {
            line.base x1=(Px(axis.left())) x2=(Px(axis.right())) y1=(Px(bottom)) y2=(Px(bottom)) {}
            @for &(from, to) in axis.shortened() {
                @let (x0, x1) = (axis.at(from), axis.at(to));
                rect.cut x=(Px(x0 + 6.0)) y=(Px(top)) width=(Px((x1 - x0 - 12.0).max(1.0)))
                    height=(Px(bottom - top)) {}
                text.cut x=(Px((x0 + x1) / 2.0)) y=(Px(bottom + 20.0)) text-anchor="middle" {
                    "≈ " (span(to.since(from)))
                }
            }
            @for (t, label) in ticks {
                @let x = axis.at(t);
                line.grid x1=(Px(x)) x2=(Px(x)) y1=(Px(top)) y2=(Px(bottom + 5.0)) {}
                text.tick x=(Px(x)) y=(Px(bottom + 20.0)) text-anchor="middle" { (label) }
            }
        }
    }

    fn draw_lane(&self, lane: &Lane) -> Markup {
        let mid = lane.top + lane.bar_px / 2.0;
        let node = lane.node.filter(|_| lane.first);
        html! {
            line.lane x1=(Px(self.axis.left())) x2=(Px(self.axis.right())) y1=(Px(mid)) y2=(Px(mid)) {}
            text.node x="4" y=(Px(mid + 4.0)) { @if let Some(node) = node { (clip(node, 8)) } }
            text.lane x=(Px(self.axis.left() - 10.0)) y=(Px(mid + 4.0)) text-anchor="end" {
                "process " (lane.process)
            }
        }
    }

    /// The class of an operation's bar: whether it is filled.
    fn shape(&self, op: &Op) -> &'static str {
        match self.reading.writes(op) {
            Some(_) => "writes",
            None => "reads",
        }
    }

    fn draw_context(&self, op: &Op, lane: &Lane) -> Markup {
        let (x0, x1) = self.extent(op);
        let height = CONTEXT_BAR_PX;
        let top = lane.top + (lane.bar_px - height) / 2.0;
        let text = self.reading.text(op);
        let open = if op.ret == Time::MAX { " open" } else { "" };
        html! {
            g class={ "context " (self.shape(op)) (open) " " (self.colour(op)) } {
                title { (tip(self.run, op)) }
                rect x=(Px(x0)) y=(Px(top)) width=(Px(x1 - x0)) height=(height) rx="2" {}
                @if text.chars().count() as f64 * CHAR_PX + 8.0 <= x1 - x0 {
                    text x=(Px(x0 + 4.0)) y=(Px(top + 10.0)) { (text) }
                }
            }
        }
    }

    fn draw_named(&self, i: usize, bar: Bar) -> Markup {
        let op = self.named[i];
        let open = match op.outcome {
            Outcome::Info => " open",
            Outcome::Fail => " failed",
            Outcome::Ok => "",
        };
        html! {
            g class={ "named " (self.shape(op)) (open) " " (self.colour(op)) } tabindex="0" data-op=(op.index) {
                title { "(" (i + 1) ") " (tip(self.run, op)) }
                rect x=(Px(bar.x0)) y=(Px(bar.area().y0)) width=(Px(bar.x1 - bar.x0)) height=(BAR_PX) rx="3" {}
            }
        }
    }

    /// A named operation's number and words.
    fn draw_label(&self, label: &Label, bar_top: f64) -> Markup {
        let (x, y) = (label.x, label.y(bar_top));
        html! {
            g class={ "says " (self.colour(self.named[label.i])) } {
                circle cx=(Px(x + 7.5)) cy=(Px(y - 4.0)) r="7.5" {}
                text.number x=(Px(x + 7.5)) y=(Px(y)) text-anchor="middle" { (label.i + 1) }
                text.what x=(Px(x + 20.0)) y=(Px(y)) { (label.text) }
            }
        }
    }

    fn arrows(&self, bars: &[Bar], mut taken: Vec<Area>) -> Vec<Drawn> {
        // What is wrong is said first, and has the better place.
        let (wrong, right): (Vec<&Flow>, Vec<&Flow>) = self
            .flows
            .iter()
            .partition(|flow| flow.what == What::Missed);
        let drawn = |flow: &Flow| {
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
            let arrow = Arrow::between(bars[flow.from], bars[flow.to], order);
            // That a value is read goes without saying, where there is no room to say it.
            let (chars, left) = (text.chars().count(), self.axis.left());
            let right = self.frame.width - 2.0;
            let place = arrow
                .place(chars, left, right, &taken)
                .or_else(|| match class {
                    "odd" => arrow.anywhere(chars, left, right),
                    _ => None,
                });
            taken.extend(place);
            Drawn {
                class: format!("{class} {}", self.colour(from)),
                arrow,
                text,
                place,
            }
        };
        wrong.into_iter().chain(right).map(drawn).collect()
    }
}

/// An arrow with its words, and where there is room for them.
struct Drawn {
    class: String,
    arrow: Arrow,
    text: String,
    place: Option<Area>,
}

impl Drawn {
    fn lines(&self) -> Markup {
        html! {
            path class={ "arrow " (self.class) } d=(self.arrow.line) {}
            path class={ "head " (self.class) } d=(self.arrow.head) {}
        }
    }

    /// On a plate, so that no line strikes them through.
    fn words(&self) -> Markup {
        html! {
            @if let Some(Area { x0, x1, y0, y1 }) = self.place {
                rect.plate x=(Px(x0)) y=(Px(y0)) width=(Px(x1 - x0)) height=(Px(y1 - y0)) rx="3" {}
                text class={ "arrow " (self.class) } x=(Px((x0 + x1) / 2.0)) y=(Px(y1 - 3.0)) text-anchor="middle" {
                    (self.text)
                }
            }
        }
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

impl Label {
    /// Where its words stand above a bar.
    fn y(&self, bar_top: f64) -> f64 {
        bar_top - 5.0 - self.row as f64 * LABEL_PX
    }

    /// What it covers there.
    fn area(&self, bar_top: f64) -> Area {
        let (x, y) = (self.x, self.y(bar_top));
        Area {
            x0: x,
            x1: x + label_px(&self.text),
            y0: y - 13.0,
            y1: y + 4.0,
        }
    }
}

/// Width of a number and its words.
fn label_px(text: &str) -> f64 {
    // The words are of 12 px, a little wider than the rest.
    24.0 + text.chars().count() as f64 * CHAR_PX * 12.0 / 11.0
}

/// The named operations as a list: what the picture shows, in words.
pub fn list(run: &Run, anomaly: &Anomaly) -> Markup {
    let reading = Reading::new(anomaly.object.as_deref());
    let seconds = |t: Time| format!("{:.6} s", t.as_secs_f64());
    html! {
        div.scroll {
            table.ops {
                thead {
                    tr {
                        th {} th { "operation" } th { "index" } th { "process" } th { "node" }
                        th.n { "call" } th.n { "answer" } th.n { "took" } th { "outcome" }
                    }
                }
                tbody {
                    @for (i, op) in named(run, anomaly).into_iter().take(MAX_NAMED).enumerate() {
                        @let end = stats::ended(run.input.history, op);
                        tr {
                            td { b.badge { (i + 1) } }
                            td { code { (reading.text(op)) } }
                            td { a href={ "#op-" (op.index) } data-jump=(op.index) { "#" (op.index) } }
                            td { (op.process) }
                            td { @if let Some(node) = &op.node { (clip(node, 40)) } }
                            td.n { (seconds(op.call)) }
                            td.n { (end.map_or("none".into(), seconds)) }
                            td.n { @if let Some(end) = end { (span(end.since(op.call))) } }
                            td { (tables::outcome(op.outcome)) }
                        }
                    }
                }
            }
        }
    }
}
