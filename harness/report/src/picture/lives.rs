//! How long a value was there: an element of a set or a list, what is in a queue, who holds a lock.
//!
//! ```text
//!   element 17   <=added=>   o  o  o     x    x      seen, seen, seen, missing, missing
//!   value 4      <==put==>-----------------<taken>
//!   process 2          [======= holds =======]
//! ```
//!
//! Inferred from the operations alone, and drawn to the end of the run, so that it shows whether a
//! lost element ever came back.

use std::collections::BTreeMap;

use checkers::Anomaly;
use checkers::objects::lease_held;
use history::{Op, Outcome, Process, Time, Value};
use maud::{Markup, html};

use crate::Run;
use crate::reading::Reading;
use crate::scale::TimeAxis;
use crate::svg::Px;
use crate::text::clip;
use crate::timeline::tip;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 20.0;
const LANE: f64 = 30.0;

/// Lanes of one picture.
const MOST_LANES: usize = 8;

/// Adds and removes of each kind of object, by their usual names.
const ELEMENTS: [&str; 2] = ["add", "append"];
const PUTS: [&str; 4] = ["enqueue", "push", "insert", "send"];
const TAKES: [&str; 5] = ["dequeue", "pop", "delete-min", "poll", "drain"];
const ACQUIRE: &str = "acquire";
const RELEASE: &str = "release";
/// The kind of anomaly that is about leases.
const LEASES_OVERLAP: &str = "overlapping leases";

/// One lane's content, in the order of time.
struct Lane<'a> {
    name: String,
    bars: Vec<Bar<'a>>,
    marks: Vec<(&'a Op, bool)>,
}

struct Bar<'a> {
    from: Time,
    until: Time,
    /// `change` is an operation itself, `there` the time in which the value is there.
    class: &'static str,
    op: &'a Op,
}

/// Draws nothing where no life is known.
pub fn draw(run: &Run, anomaly: &Anomaly, named: &[&Op]) -> Markup {
    let reading = Reading::new(anomaly.object.as_deref());
    let is = |names: &[&str]| named.iter().any(|op| names.contains(&op.f.as_str()));
    let (lanes, what) = if anomaly.kind == LEASES_OVERLAP {
        (leases(run, &reading, named), Some(LEASES))
    } else if is(&[ACQUIRE, RELEASE]) {
        (holders(run, &reading, named), Some(HOLDERS))
    } else if is(&PUTS) || is(&TAKES) {
        (passages(run, &reading, named), Some(PASSAGES))
    } else if is(&ELEMENTS) || named.iter().any(|op| list(&reading, op).is_some()) {
        (elements(run, &reading, anomaly, named), Some(ELEMENT_LIVES))
    } else {
        (Vec::new(), None)
    };
    match what {
        Some(caption) if !lanes.is_empty() => picture(run, &lanes, caption),
        _ => html! {},
    }
}

const HOLDERS: &str = "Who holds it: from the answer to an acquisition to the call of the release. Bars that overlap \
     hold it at the same time.";
const LEASES: &str =
    "When each held the lease, by what it was answered, or until it called the release.";
const PASSAGES: &str = "How long each value was there: from where it was put in to where it was taken out. A bar that \
     reaches the end was never taken.";
const ELEMENT_LIVES: &str = "The life of an element: a bar where it is added, a filled mark for each read that has it \
     and a cross for each that does not, to the end of the run.";

/// What a read answered, as a list.
fn list<'a>(reading: &Reading, op: &'a Op) -> Option<&'a [Value]> {
    reading.reads(op).and_then(Value::as_list)
}

/// Operations on the anomaly's object.
fn of_object<'a>(run: &Run<'a>, reading: &Reading, named: &[&Op]) -> Vec<&'a Op> {
    let keyed = named.iter().any(|op| reading.concerns(op));
    let ops = run.input.history.ops().iter();
    let ops = ops.filter(|op| !op.observes() && op.outcome != Outcome::Fail);
    ops.filter(|op| !keyed || reading.concerns(op)).collect()
}

fn elements<'a>(
    run: &Run<'a>,
    reading: &Reading,
    anomaly: &Anomaly,
    named: &[&'a Op],
) -> Vec<Lane<'a>> {
    let ops = of_object(run, reading, named);
    let is_add = |op: &Op| ELEMENTS.contains(&op.f.as_str());
    let mut wanted: Vec<&Value> = Vec::new();
    let added = named.iter().filter(|op| is_add(op));
    for value in added.filter_map(|op| reading.writes(op)) {
        if !wanted.contains(&value) {
            wanted.push(value);
        }
    }
    // An element that nobody added is named in the sentence alone.
    if wanted.is_empty() {
        let lists = named.iter().filter_map(|op| list(reading, op));
        let words: Vec<&str> = anomaly
            .reason
            .split(|c: char| !c.is_alphanumeric() && c != '-')
            .collect();
        let mentioned = |value: &&Value| words.contains(&clip(value, 40).trim_matches('"'));
        wanted.extend(lists.flatten().filter(mentioned).take(1));
    }
    wanted.truncate(MOST_LANES);
    let lane = |value: &'a Value| {
        let mut lane = Lane {
            name: format!("element {}", clip(value, 10)),
            bars: Vec::new(),
            marks: Vec::new(),
        };
        let mut added = Time::MAX;
        for op in &ops {
            if is_add(op) && reading.writes(op) == Some(value) {
                added = added.min(op.call);
                lane.bars.push(change(op));
            } else if let Some(found) = list(reading, op) {
                lane.marks.push((op, found.contains(value)));
            }
        }
        // Before it was added nothing is missing.
        lane.marks.retain(|(op, seen)| *seen || op.ret >= added);
        lane
    };
    wanted.into_iter().map(lane).collect()
}

fn change(op: &Op) -> Bar<'_> {
    Bar {
        from: op.call,
        until: op.ret,
        class: "change",
        op,
    }
}

fn passages<'a>(run: &Run<'a>, reading: &Reading, named: &[&'a Op]) -> Vec<Lane<'a>> {
    let is_put = |op: &Op| PUTS.contains(&op.f.as_str());
    let is_take = |op: &Op| TAKES.contains(&op.f.as_str());
    let value = |op: &'a Op| match is_put(op) {
        true => reading.writes(op),
        false if is_take(op) => reading.reads(op),
        false => None,
    };
    let mut wanted: Vec<&Value> = Vec::new();
    for found in named.iter().filter_map(|op| value(op)) {
        if !found.is_nil() && !wanted.contains(&found) && wanted.len() < MOST_LANES {
            wanted.push(found);
        }
    }
    let ops = of_object(run, reading, named);
    let lane = |wanted: &'a Value| {
        let handles = |op: &&&'a Op| match value(op) {
            Some(Value::List(items)) if is_take(op) => items.contains(wanted),
            found => found == Some(wanted),
        };
        let ops: Vec<&Op> = ops.iter().filter(handles).copied().collect();
        let mut bars = Vec::new();
        let first = ops.iter().find(|op| is_put(op));
        let taken = ops.iter().filter(|op| is_take(op)).map(|op| op.ret).min();
        bars.extend(first.map(|op| Bar {
            from: op.call,
            until: taken.unwrap_or(run.stats.end),
            class: "there",
            op,
        }));
        bars.extend(ops.iter().map(|op| change(op)));
        Lane {
            name: format!("value {}", clip(wanted, 12)),
            bars,
            marks: Vec::new(),
        }
    };
    wanted.into_iter().map(lane).collect()
}

/// Those who hold it while the named ones do.
fn holders<'a>(run: &Run<'a>, reading: &Reading, named: &[&'a Op]) -> Vec<Lane<'a>> {
    let ops = of_object(run, reading, named);
    let mut held: Vec<Bar> = Vec::new();
    let mut open: BTreeMap<Process, &Op> = BTreeMap::new();
    for op in &ops {
        match op.f.as_str() {
            ACQUIRE if op.outcome == Outcome::Ok => {
                open.insert(op.process, op);
            }
            RELEASE => {
                if let Some(acquired) = open.remove(&op.process) {
                    held.push(hold(acquired, op.call));
                }
            }
            _ => {}
        }
    }
    held.extend(open.values().map(|op| hold(op, run.stats.end)));
    of_processes(held, named)
}

/// Leases that are held while the named ones are, each renewal by itself.
fn leases<'a>(run: &Run<'a>, reading: &Reading, named: &[&'a Op]) -> Vec<Lane<'a>> {
    let mut held: Vec<Bar> = Vec::new();
    for op in of_object(run, reading, named) {
        if op.f.as_str() == RELEASE {
            let own = held.iter_mut().filter(|bar| bar.op.process == op.process);
            own.for_each(|bar| bar.until = bar.until.min(op.call));
        } else if op.outcome == Outcome::Ok
            && let Some((from, until, _)) = lease_held(op, reading.bare(op, &op.output))
        {
            let [from, until] = [from, until].map(|ns| Time(u64::try_from(ns).unwrap_or(0)));
            held.push(Bar {
                from,
                until: until.max(from),
                class: "there",
                op,
            });
        }
    }
    of_processes(held, named)
}

/// A lane a process, of what is held near the named operations.
fn of_processes<'a>(mut held: Vec<Bar<'a>>, named: &[&Op]) -> Vec<Lane<'a>> {
    let from = named.iter().map(|op| op.call).min().unwrap_or_default();
    let ends = named
        .iter()
        .map(|op| op.ret)
        .filter(|ret| *ret != Time::MAX);
    let until = ends.max().unwrap_or(from);
    held.retain(|bar| bar.until >= from && bar.from <= until);
    held.sort_by_key(|bar| bar.from);
    let mut lanes: BTreeMap<Process, Lane> = BTreeMap::new();
    for bar in held {
        let process = bar.op.process;
        let lane = lanes.entry(process).or_insert_with(|| Lane {
            name: format!("process {process}"),
            bars: Vec::new(),
            marks: Vec::new(),
        });
        lane.bars.push(bar);
    }
    lanes.into_values().take(MOST_LANES).collect()
}

fn hold(acquired: &Op, until: Time) -> Bar<'_> {
    Bar {
        from: acquired.ret,
        until,
        class: "there",
        op: acquired,
    }
}

fn picture(run: &Run, lanes: &[Lane], caption: &str) -> Markup {
    let bars = || lanes.iter().flat_map(|lane| &lane.bars);
    let marks = || lanes.iter().flat_map(|lane| &lane.marks);
    let starts = bars()
        .map(|bar| bar.from)
        .chain(marks().map(|(op, _)| op.call));
    // A lease may last beyond the run, and is shown for as long again at the most.
    let (end, most) = (run.stats.end, Time(run.stats.end.0.saturating_mul(2)));
    let last = bars().map(|bar| bar.until).filter(|t| *t != Time::MAX);
    let end = last.max().unwrap_or_default().clamp(end, most);
    let ends = bars()
        .map(|bar| bar.until.min(end))
        .chain(marks().map(|(op, _)| op.ret));
    let from = starts.min().unwrap_or_default();
    let until = ends.max().unwrap_or(end).min(end);
    let room = (until.since(from).as_nanos() as u64 / 50).max(1);
    let axis = TimeAxis::linear(
        Time(from.0.saturating_sub(room)),
        Time(until.0.saturating_add(room)),
        LEFT,
        WIDTH - RIGHT,
    );
    let bottom = lanes.len() as f64 * LANE + 6.0;
    html! {
        div.scroll {
            svg.lives viewBox=(format_args!("0 0 {WIDTH} {:.0}", bottom + 26.0)) role="group" aria-label="Lives" {
                @for (i, lane) in lanes.iter().enumerate() {
                    g.life.{ "v" (i % 4) } { (content(run, lane, &axis, i as f64 * LANE + 8.0)) }
                }
                @for (t, label) in axis.ticks(8) {
                    @let x = axis.at(t);
                    // The last one ends with the picture.
                    @let anchor = if x > WIDTH - 50.0 { "end" } else { "middle" };
                    text.tick x=(Px(x)) y=(Px(bottom + 18.0)) text-anchor=(anchor) { (label) }
                }
            }
        }
        p.caption { (caption) }
    }
}

fn content(run: &Run, lane: &Lane, axis: &TimeAxis, top: f64) -> Markup {
    let middle = top + 9.0;
    html! {
        text.lane x=(Px(axis.left() - 10.0)) y=(Px(middle + 4.0)) text-anchor="end" { (lane.name) }
        line.lane x1=(Px(axis.left())) x2=(Px(axis.right())) y1=(Px(middle)) y2=(Px(middle)) {}
        @for bar in &lane.bars {
            @let (x0, x1) = (axis.at(bar.from), axis.at(bar.until));
            @let (y, height) = if bar.class == "there" { (top + 4.0, 10.0) } else { (top, 18.0) };
            rect class=(bar.class) x=(Px(x0)) y=(Px(y)) width=(Px((x1 - x0).max(3.0))) height=(height) rx="2"
                data-op=(bar.op.index) { title { (tip(run, bar.op)) } }
        }
        @for (op, seen) in thinned(&lane.marks, axis) {
            @let x = axis.at(op.ret);
            g class=(if seen { "seen" } else { "missing" }) data-op=(op.index) {
                title { (tip(run, op)) }
                @if seen {
                    circle cx=(Px(x)) cy=(Px(middle)) r="4" {}
                } @else {
                    // The wider one below sets it off from a bar.
                    @let cross = format!("M{:.1} {:.1}l8 8m0 -8l-8 8", x - 4.0, middle - 4.0);
                    path.under d=(cross) {}
                    path d=(cross) {}
                }
            }
        }
    }
}

/// At most one mark of each kind every few pixels.
fn thinned<'a>(marks: &[(&'a Op, bool)], axis: &TimeAxis) -> Vec<(&'a Op, bool)> {
    const APART: f64 = 5.0;
    let mut last = [f64::NEG_INFINITY; 2];
    let mut kept = Vec::new();
    let mut by_time = marks.to_vec();
    by_time.sort_by_key(|(op, _)| op.ret);
    for (op, seen) in by_time {
        let x = axis.at(op.ret);
        if x - last[usize::from(seen)] >= APART {
            last[usize::from(seen)] = x;
            kept.push((op, seen));
        }
    }
    kept
}
