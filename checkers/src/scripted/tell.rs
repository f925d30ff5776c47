//! What is wrong by a script, in words and as a table: the states that lead to the operation that
//! cannot happen.

use history::wording::listed;
use history::{Op, Outcome};
use rustc_hash::FxHashMap;

use super::spec::Spec;
use super::{Part, Placed};
use crate::linearizable::model::Model;
use crate::linearizable::search::NEVER;
use crate::objects::try_all;
use crate::picture::{Cell, Picture, Row, Table};
use crate::script::Stopped;
use crate::{Anomaly, Meter};

/// As many moments as a person will look at: the start, and the last.
const MOST_ROWS: usize = 16;

/// Steps of the search for what was before: it was found once, so it is found soon.
const STEPS: u64 = 1_000_000;

/// Letters of a state in a sentence.
const MOST_LETTERS: usize = 200;

/// `add 5 → 6`, as a sentence has it.
pub fn words(op: &Op) -> String {
    let value = match op.input.is_nil() {
        true => String::new(),
        false => format!(" {}", op.input),
    };
    match op.outcome {
        Outcome::Ok => format!("`{}{value}` answered {}", op.f, op.output),
        _ => format!("`{}{value}` of unknown outcome", op.f),
    }
}

/// What the search found, with the state before the operation that fits nowhere.
pub fn anomaly<'h>(
    spec: &Spec<'_, 'h>,
    part: &Part<'h>,
    found: Anomaly,
    text: &str,
    meter: &Meter,
) -> Result<Anomaly, Stopped> {
    let mut reason = found.reason.clone();
    let mut picture = None;
    if let Some((last, states)) = before(spec, part, &found, meter) {
        let state = clipped(spec.shown(states.last().map_or(0, |(_, state)| *state))?);
        let words = words(last.0);
        let index = last.0.index;
        reason = format!(
            "{reason}; in one order of what returned before op {index} the state is {state}, where {words} cannot \
             happen"
        );
        picture = Some(Box::new(Picture::Table(table(spec, last.0, &states)?)));
    }
    reason.extend(strangers(spec, part, text));
    Ok(Anomaly {
        object: part.key.as_ref().map(ToString::to_string),
        reason,
        picture,
        ..found
    })
}

/// An operation and the number of the state after it.
type After<'h> = (&'h Op, u32);

/// The operation that fits nowhere, and an order of those that returned before with the states that
/// it leads through. None if the budget ended, or if what returned at the same moment hides it.
fn before<'h>(
    spec: &Spec<'_, 'h>,
    part: &Part<'h>,
    found: &Anomaly,
    meter: &Meter,
) -> Option<(Placed<'h>, Vec<After<'h>>)> {
    let until = found.stretch?.until;
    let place = part.ops.iter().position(|(op, ..)| op.index == until)?;
    let last = part.ops[place];
    let (_, (_, end), _) = last;
    let others = part.ops.iter().enumerate().filter(|(at, _)| *at != place);
    let open = others.filter(|(_, (_, (call, _), _))| *call < end);
    let ops = open.map(|(at, (op, (call, ret), number))| {
        let has_returned = (*ret, at) < (end, place);
        let ret = if has_returned { *ret } else { NEVER };
        (*op, (*call, ret), *number)
    });
    let ops: Vec<Placed> = ops.collect();
    let by_index: FxHashMap<u64, Placed> = ops.iter().map(|op| (op.0.index, *op)).collect();
    let mut meter = meter.with_steps(STEPS);
    let order = try_all(spec, ops, &part.follows, &mut meter);
    spec.go_on();
    let mut state = 0;
    let mut states = Vec::new();
    for index in order.ok()? {
        let (op, _, number) = by_index.get(&index)?;
        state = spec.step(&state, number)?;
        states.push((*op, state));
    }
    spec.step(&state, &last.2)
        .is_none()
        .then_some((last, states))
}

fn table(spec: &Spec, last: &Op, states: &[After]) -> Result<Table, Stopped> {
    let cell = |column, text: String| Cell {
        column,
        text,
        value: None,
    };
    let row = |at: String, operation: String, state: String| Row {
        at,
        cells: vec![cell(0, operation), cell(1, state)],
    };
    let plain = |op: &Op| words(op).replace('`', "");
    let shown = states.len().min(MOST_ROWS);
    let mut rows = vec![row("start".into(), String::new(), spec.shown(0)?)];
    for (op, state) in &states[states.len() - shown..] {
        rows.push(row(
            format!("op {}", op.index),
            plain(op),
            spec.shown(*state)?,
        ));
    }
    rows.push(row(
        format!("op {}", last.index),
        plain(last),
        "cannot happen".into(),
    ));
    Ok(Table {
        of: format!("One order of what returned before op {}", last.index),
        columns: vec!["operation".into(), "state after it".into()],
        rows,
        untold: states.len() - shown,
    })
}

fn clipped(text: String) -> String {
    match text.char_indices().nth(MOST_LETTERS) {
        None => text,
        Some((end, _)) => format!("{} ...", &text[..end]),
    }
}

/// Operations that could happen in no state that was tried, where the script's text shows the
/// likeliest reason: it does not name them, or it compares an answer that nobody knows.
fn strangers<'h>(spec: &Spec<'_, 'h>, part: &Part<'h>, text: &str) -> Option<String> {
    let mut names: Vec<(&str, bool, Vec<u32>)> = Vec::new();
    for (op, (_, ret), number) in &part.ops {
        let kind = (op.f.as_str(), *ret == NEVER);
        match names.iter_mut().find(|(f, lost, _)| (*f, *lost) == kind) {
            Some((.., numbers)) if numbers.contains(number) => {}
            Some((.., numbers)) => numbers.push(*number),
            None => names.push((kind.0, kind.1, vec![*number])),
        }
    }
    let never = |wanted: &dyn Fn(&str, bool) -> bool| {
        let of = names
            .iter()
            .filter(|(f, lost, numbers)| wanted(f, *lost) && spec.ever(numbers) == Some(false));
        let of: Vec<&str> = of.map(|(f, ..)| *f).collect();
        (!of.is_empty()).then(|| listed(&of, 4))
    };
    if let Some(names) = never(&|f, _| !text.contains(f)) {
        return Some(format!(
            "; the script does not name {names}, which could happen in no state that was tried"
        ));
    }
    if ["answers", "is_unknown"].iter().any(|f| text.contains(f)) {
        return None;
    }
    let names = never(&|_, lost| lost)?;
    Some(format!(
        "; where nobody knows its outcome, {names} could happen in no state that was tried: answers(output, x) is \
         true of an unknown answer, and output == x is not"
    ))
}
