//! What an anomaly's timeline shows: the operations that it names, which of their neighbours, the
//! colours of their values, and an axis on which all of it can be told apart.

use checkers::Anomaly;
use history::{Op, Outcome, Process, Time, Value};

use crate::Run;
use crate::reading::{Flow, Reading, flows};
use crate::scale::TimeAxis;

/// Most operations of one anomaly that are drawn.
pub const MAX_NAMED: usize = 24;

/// Most operations drawn around them.
const MAX_CONTEXT: usize = 36;

/// Most processes that the picture may have with them.
const MAX_PROCESSES: usize = 14;

/// Colours told apart by value; further values share the neutral one.
const MAX_COLOURS: usize = 4;

/// How wide a picture is, in its own units, and where its axis begins.
#[derive(Clone, Copy)]
pub struct Frame {
    pub class: &'static str,
    pub width: f64,
    left: f64,
}

impl Frame {
    /// For a desk.
    pub const WIDE: Frame = Frame {
        class: "wide",
        width: 1200.0,
        left: 150.0,
    };

    /// For a telephone, where a picture that is made smaller could not be read.
    pub const NARROW: Frame = Frame {
        class: "narrow",
        width: 440.0,
        left: 108.0,
    };

    /// Where the axis ends.
    fn right(self) -> f64 {
        self.width - 20.0
    }
}

/// What is drawn, before it is laid out.
#[derive(Clone)]
pub struct Scene<'a> {
    pub run: &'a Run<'a>,
    pub reading: Reading<'a>,
    /// In the order in which the anomaly's sentence names them.
    pub named: Vec<&'a Op>,
    pub context: Vec<&'a Op>,
    /// How many neighbours were in view and not chosen.
    pub left_out: usize,
    /// Whether neighbours are those on the anomaly's object only.
    pub keyed: bool,
    pub axis: TimeAxis,
    pub frame: Frame,
    /// Values with a colour of their own.
    colours: Vec<&'a Value>,
    pub flows: Vec<Flow>,
}

impl<'a> Scene<'a> {
    pub fn new(
        run: &'a Run<'a>,
        anomaly: &'a Anomaly,
        all_named: &[&'a Op],
        frame: Frame,
    ) -> Scene<'a> {
        let reading = Reading::new(anomaly.object.as_deref());
        let named = all_named[..all_named.len().min(MAX_NAMED)].to_vec();
        let keyed = named.iter().any(|op| reading.concerns(op));
        let axis = axis(&named, run.stats.end, frame.left, frame.right());
        let mut colours: Vec<&Value> = Vec::new();
        for op in &named {
            for value in reading.writes(op).into_iter().chain(reading.reads(op)) {
                let scalar = !matches!(value, Value::Nil | Value::List(_) | Value::Map(_));
                if scalar && colours.len() < MAX_COLOURS && !colours.contains(&value) {
                    colours.push(value);
                }
            }
        }
        let flows = flows(&reading, &named);
        let mut scene = Scene {
            run,
            reading,
            named,
            context: Vec::new(),
            left_out: 0,
            keyed,
            axis,
            frame,
            colours,
            flows,
        };
        scene.choose_context();
        scene
    }

    /// The same in another frame: what is shown is chosen once.
    pub fn within(&self, frame: Frame) -> Scene<'a> {
        Scene {
            axis: axis(&self.named, self.run.stats.end, frame.left, frame.right()),
            frame,
            ..self.clone()
        }
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
            if begun < from
                || says_nothing
                || op.observes()
                || (self.keyed && !self.reading.concerns(op))
            {
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
                if processes.len() >= MAX_PROCESSES {
                    continue;
                }
                processes.push(op.process);
            }
            self.context.push(op);
        }
        self.left_out = total - self.context.len();
    }

    /// The class that colours what the operation writes, or else reads.
    pub fn colour(&self, op: &Op) -> String {
        let value = self.reading.writes(op).or_else(|| self.reading.reads(op));
        match value.and_then(|v| self.colours.iter().position(|c| *c == v)) {
            Some(i) => format!("v{i}"),
            None => "vx".to_string(),
        }
    }
}

/// How far apart in time two operations are; zero if they overlap.
fn distance(a: &Op, b: &Op) -> u64 {
    let gap = |first: &Op, second: &Op| second.call.0.saturating_sub(first.ret.0);
    gap(a, b).max(gap(b, a))
}

/// An axis on which the ends of all named operations can be told apart, with some room around.
fn axis(named: &[&Op], end: Time, x0: f64, x1: f64) -> TimeAxis {
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
    TimeAxis::stretched(&moments, typical, x0, x1)
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
            version: None,
            due: None,
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
        let axis = axis(&refs, Time(60_000 * MS), 0.0, 1_000.0);
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
        let axis = axis(&[&open], Time(2_000 * MS), 0.0, 1_000.0);
        assert!(axis.at(open.call) < axis.right() - 100.0, "{axis:?}");
    }
}
