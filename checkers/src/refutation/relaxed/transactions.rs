//! Transactions. What is not looked at is taken out of all of them, and out of what they read: an
//! order stays one.

use std::collections::BTreeSet;

use history::{Op, Outcome, Value};
use rustc_hash::FxHashSet;

use super::super::{Doubt, Piece, Puzzle};
use super::{MOST_ELEMENTS, alike};
use crate::Meter;
use crate::certificate::replay::{self, Micro};

fn asked(micro: &Micro) -> Value {
    Value::List(vec![
        micro.f.clone(),
        micro.key.clone(),
        micro.value.clone(),
    ])
}

fn micros<'h>(op: &'h Op, answered: bool, writes: &str) -> Result<Vec<Micro<'h>>, String> {
    let micros = replay::micros(&op.input, answered.then_some(&op.output), writes);
    micros.map_err(|why| format!("op {}: {why}", op.index))
}

/// A transaction of these micro-operations, with what the reads among them read.
fn piece<'h>(op: &'h Op, micros: &[(&Micro<'h>, Option<Value>)], answered: bool) -> Piece<'h> {
    let questions = micros.iter().map(|(micro, _)| asked(micro));
    let answer = micros.iter().map(|(micro, read)| match read {
        Some(read) => Value::List(vec![micro.f.clone(), micro.key.clone(), read.clone()]),
        None => asked(micro),
    });
    Piece {
        f: &op.f,
        process: op.process,
        input: Value::List(questions.collect()),
        output: answered.then(|| Value::List(answer.collect())),
    }
}

/// Elements of lists have nothing to do with each other but where they stand. Those that the core
/// appended are looked at, and what it read that nobody else appended, or twice; then more of what
/// it read.
pub fn lists<'h>(
    puzzle: &mut Puzzle<'h>,
    others: &[&'h Op],
    level: usize,
    meter: &mut Meter,
) -> Result<(), Doubt> {
    let all = |op: &'h Op| micros(op, false, "append");
    let mut others_append: FxHashSet<(&Value, &Value)> = FxHashSet::default();
    for op in others {
        meter.tick(0)?;
        let appended = all(op)?.into_iter().filter(|micro| !micro.reads());
        others_append.extend(appended.map(|micro| (micro.key, micro.value)));
    }
    let mut elements: BTreeSet<(&Value, &Value)> = BTreeSet::new();
    let mut more: Vec<(&Value, &Value)> = Vec::new();
    let mut own = Vec::new();
    for kept in &puzzle.kept {
        let micros = micros(kept.op, kept.op.outcome == Outcome::Ok, "append")?;
        for micro in &micros {
            let Some(read) = micro.read else {
                elements.extend((!micro.reads()).then_some((micro.key, micro.value)));
                continue;
            };
            let mut seen = BTreeSet::new();
            for element in read.as_list().unwrap_or_default() {
                let once = seen.insert(element);
                let of_others = others_append.contains(&(micro.key, element));
                if level > 0 || !once || !of_others {
                    more.push((micro.key, element));
                }
            }
        }
        own.push(micros);
    }
    let more: BTreeSet<_> = more.into_iter().collect();
    elements.extend(more.into_iter().take(MOST_ELEMENTS));
    for (kept, micros) in puzzle.kept.iter_mut().zip(&own) {
        let seen = micros.iter().map(|micro| {
            let read = micro.read.map(|read| {
                let read = read.as_list().unwrap_or_default().iter();
                let seen = read.filter(|element| elements.contains(&(micro.key, *element)));
                Value::List(seen.cloned().collect())
            });
            (micro, read)
        });
        kept.piece = piece(
            kept.op,
            &seen.collect::<Vec<_>>(),
            kept.op.outcome == Outcome::Ok,
        );
    }
    let mut pieces = Vec::new();
    for op in others {
        meter.tick(0)?;
        let micros = all(op)?;
        if op.outcome == Outcome::Ok && sees(op, &elements)? {
            puzzle.related.push(op.index);
        }
        let appends = micros
            .iter()
            .filter(|m| !m.reads() && elements.contains(&(m.key, m.value)));
        let appends: Vec<_> = appends.map(|micro| (micro, None)).collect();
        if !appends.is_empty() {
            pieces.push((op.index, piece(op, &appends, false)));
        }
    }
    alike(puzzle, pieces, usize::MAX);
    Ok(())
}

/// Whether it read any of these.
fn sees(op: &Op, elements: &BTreeSet<(&Value, &Value)>) -> Result<bool, String> {
    let micros = micros(op, true, "append")?;
    Ok(micros.iter().any(|micro| {
        let read = micro.read.and_then(Value::as_list).unwrap_or_default();
        let mut read = read.iter();
        read.any(|element| elements.contains(&(micro.key, element)))
    }))
}

/// Who reads a value follows its write with no other between, so values have nothing to do with
/// each other either. Those that the core wrote or read are looked at; then those that their other
/// readers and writers read, and so on.
pub fn registers<'h>(
    puzzle: &mut Puzzle<'h>,
    others: &[&'h Op],
    initial: &'h Value,
    level: usize,
    meter: &mut Meter,
) -> Result<(), Doubt> {
    let mut values: FxHashSet<(&Value, &Value)> = FxHashSet::default();
    for kept in &mut puzzle.kept {
        let micros = micros(kept.op, kept.op.outcome == Outcome::Ok, "w")?;
        for micro in &micros {
            let value = if micro.reads() {
                micro.read
            } else {
                Some(micro.value)
            };
            values.extend(value.map(|value| (micro.key, value)));
        }
    }
    let mut known = Vec::new();
    for op in others {
        meter.tick(0)?;
        let micros = micros(op, op.outcome == Outcome::Ok, "w")?;
        // Whoever read one of these values may be how somebody else came to know of it.
        let sees = |m: &Micro<'h>| m.read.is_some_and(|value| values.contains(&(m.key, value)));
        if micros.iter().any(sees) {
            puzzle.related.push(op.index);
        }
        known.push((op, micros));
    }
    let mut pieces = Vec::new();
    for _ in 0..=level {
        pieces.clear();
        let mut read = Vec::new();
        for (op, micros) in &known {
            meter.tick(0)?;
            let concerns = |m: &&Micro<'h>| match m.read {
                Some(value) => value == initial || values.contains(&(m.key, value)),
                None => !m.reads() && values.contains(&(m.key, m.value)),
            };
            let these: Vec<_> = micros.iter().filter(concerns).collect();
            if these.iter().all(|m| m.reads()) {
                continue;
            }
            read.extend(micros.iter().filter_map(|m| Some((m.key, m.read?))));
            let answered = op.outcome == Outcome::Ok;
            let these: Vec<_> = these.into_iter().map(|m| (m, m.read.cloned())).collect();
            pieces.push((op.index, piece(op, &these, answered)));
        }
        values.extend(read);
    }
    alike(puzzle, pieces, usize::MAX);
    Ok(())
}
