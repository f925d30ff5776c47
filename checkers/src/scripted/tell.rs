//! What is wrong by a script, in words and as a table: the states that lead to the operation that
//! cannot happen.

use history::wording::{counted, either, listed};
use history::{Op, Outcome};

use super::order::{Puzzle, Tried};
use super::spec::Spec;
use super::{Part, Placed};
use crate::linearizable::have_an_order;
use crate::linearizable::model::Model;
use crate::linearizable::search::{GaveUp, NEVER};
use crate::picture::{Cell, Picture, Row, Table};
use crate::script::Stopped;
use crate::{Anomaly, Meter, Stretch};

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

/// The operation that fits nowhere, with those that are needed for that and the state before it.
pub fn anomaly<'h>(
    spec: &Spec<'_, 'h>,
    part: &Part<'h>,
    (puzzle, blocked): (&Puzzle, u32),
    text: &str,
    meter: &Meter,
) -> Result<Anomaly, Stopped> {
    let index = |at: &u32| part.ops[*at as usize].0.index;
    let until = index(&blocked);
    let needed = puzzle.needed(spec, blocked, meter);
    // What the script cannot do with operations at other times says nothing of the history.
    spec.go_on();
    let mut reason = format!(
        "everything that returned before op {until} has an order, but together with it there is none"
    );
    let others: Vec<u64> = match &needed {
        Some((ops, minimal)) => {
            let ops: Vec<u64> = ops.iter().map(index).collect();
            let with = match ops.is_empty() {
                true => String::new(),
                false => format!(" together with ops {ops:?}"),
            };
            let more = match minimal {
                true => "",
                false => " (the budget ended before the list could be made shorter)",
            };
            reason += &format!(
                ": it cannot be placed{with}, wherever all others are put that were invoked by then{more}"
            );
            ops
        }
        None => puzzle.near(blocked).iter().map(index).collect(),
    };
    let mut picture = None;
    if let Some((last, states)) = before(spec, part, blocked, meter) {
        let state = clipped(spec.shown(states.last().map_or(0, |(_, state)| *state))?);
        reason += &format!(
            "; in one order of what returned before op {until} the state is {state}, where {} cannot happen",
            words(last.0)
        );
        picture = Some(Box::new(Picture::Table(table(spec, last.0, &states)?)));
    }
    reason.extend(strangers(spec, part, text));
    Ok(Anomaly {
        kind: "not linearizable".into(),
        object: part.key.as_ref().map(ToString::to_string),
        ops: [vec![until], others].concat(),
        reason,
        stretch: Some(Stretch { after: None, until }),
        picture,
    })
}

/// How far the search came, and what made it hard.
pub fn giving_up(part: &Part, gave_up: &GaveUp) -> String {
    let of_key = match &part.key {
        None => String::new(),
        Some(key) => format!("key {key}: "),
    };
    format!(
        "{of_key}{} after {}; {}; at most {} open at once, and {} of unknown outcome",
        gave_up.why,
        counted(gave_up.configurations, "configuration"),
        have_an_order(gave_up.explained),
        match gave_up.open {
            1 => "1 operation was".to_string(),
            n => format!("{} were", counted(n, "operation")),
        },
        either(gave_up.lost, "1 is", &format!("{} are", gave_up.lost))
    )
}

/// An operation and the number of the state after it.
type After<'h> = (&'h Op, u32);

/// The operation that fits nowhere, and an order of those that returned before with the states that
/// it leads through. None if the budget ended, or if what returned at the same moment hides it.
fn before<'h>(
    spec: &Spec<'_, 'h>,
    part: &Part<'h>,
    blocked: u32,
    meter: &Meter,
) -> Option<(Placed<'h>, Vec<After<'h>>)> {
    let place = blocked as usize;
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
    let tried = Puzzle::new(&ops, part).order(spec, &mut meter.with_steps(STEPS));
    spec.go_on();
    let Tried::Order(order) = tried else {
        return None;
    };
    let (mut state, mut states) = (0, Vec::new());
    for at in order {
        let (op, _, number) = ops[at as usize];
        state = spec.step(&state, &number)?;
        states.push((op, state));
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
