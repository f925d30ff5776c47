//! What is tried of a core: its own operations, and of the others those that can matter.
//!
//! All others may stand at any time or nowhere. Some can be passed over, since an order with them
//! stays one without them; what that rests on is said at each model. To pass over too many makes
//! more impossible than is, and would be wrong; to let one stand more often than it happened, or
//! with any answer, makes less impossible, and cannot be.

mod texts;
mod transactions;

use std::collections::BTreeSet;

use history::{History, Op, Outcome, Time, Value};
use rustc_hash::FxHashMap;

use super::{Core, Doubt, Kept, Piece, Place, Puzzle, Refutation, Relaxed, Stretch};
use crate::Meter;
use crate::certificate::{replay, within};
use crate::consistency::Scope;
use crate::model::Model;

/// A set of operations is a word of so many bits.
const MOST_KEPT: usize = 64;

/// How many elements of what was read whole are looked at.
const MOST_ELEMENTS: usize = 24;

/// From few operations to more, since few are tried sooner and are often enough.
pub fn levels(model: Model) -> usize {
    match model {
        Model::Queue | Model::Stack | Model::PriorityQueue | Model::Counter | Model::UniqueIds => 1,
        Model::RwRegister | Model::Register | Model::CasRegister | Model::Kv => 3,
        _ => 2,
    }
}

/// One object's operations.
struct Object<'h> {
    refutation: &'h Refutation,
    core: &'h Core,
    /// Begin and end of the stretch.
    from: Option<Time>,
    until: Option<Time>,
}

fn is_registers(model: Model) -> bool {
    matches!(model, Model::Register | Model::CasRegister | Model::Kv)
}

/// Whether a core can be one of this refutation.
fn fits(refutation: &Refutation, core: &Core) -> Result<(), Doubt> {
    let Refutation {
        model,
        keyed,
        scope,
        ..
    } = refutation;
    let stretch = core.stretch.as_ref();
    let after = stretch.and_then(|stretch| stretch.after.as_ref());
    if core.key.is_some() != *keyed {
        return Err(format!("a core for each key, not {:?}", core.key).into());
    }
    if core.stretch.is_some() && *scope != Scope::Realtime {
        return Err(
            "where time does not order operations, no part of them stands for itself"
                .to_string()
                .into(),
        );
    }
    if after.is_some() && !is_registers(*model) {
        return Err(format!(
            "a {} may hold much at any moment but the first",
            model.name()
        )
        .into());
    }
    Ok(())
}

pub fn puzzle<'h>(
    history: &'h History,
    refutation: &'h Refutation,
    core: &'h Core,
    level: usize,
    meter: &mut Meter,
) -> Result<Puzzle<'h>, Doubt> {
    let Refutation {
        model,
        initial,
        scope,
        ..
    } = refutation;
    let names = replay::object(*model, initial)?.operations();
    fits(refutation, core)?;
    let op = |index: &u64| {
        let op = history
            .op(*index)
            .filter(|op| names.contains(&op.f.as_str()));
        op.ok_or(format!("op {index} is no operation of a {}", model.name()))
    };
    let end = |index: &u64| match op(index)? {
        op if op.outcome == Outcome::Ok => Ok(op.ret),
        _ => Err(format!("nobody knows when op {index} returned")),
    };
    let stretch = core.stretch.as_ref();
    let after = stretch.and_then(|stretch| stretch.after.as_ref());
    let object = Object {
        refutation,
        core,
        from: after.map(end).transpose()?,
        until: stretch
            .map(|Stretch { until, .. }| end(until))
            .transpose()?,
    };
    let mut kept = Vec::new();
    for index in BTreeSet::from_iter(&core.ops) {
        kept.extend(object.kept(op(index)?)?);
    }
    if kept.len() > MOST_KEPT {
        return Err(format!("more than {MOST_KEPT} operations are too many to try").into());
    }
    let own = |op: &Op| core.ops.contains(&op.index);
    let mut others = Vec::new();
    for op in history.ops() {
        meter.tick(8 * others.len() as u64)?;
        let judged = names.contains(&op.f.as_str()) && op.outcome != Outcome::Fail && !own(op);
        if judged && object.may_stand(op) {
            others.push(op);
        }
    }
    let mut puzzle = Puzzle {
        kept,
        relaxed: Vec::new(),
        starts: vec![replay::object(*model, initial)?],
        scope: *scope,
        related: Vec::new(),
    };
    object.relax(&mut puzzle, &others, level, history, meter)?;
    Ok(puzzle)
}

impl<'h> Object<'h> {
    fn piece(&self, op: &'h Op, answered: bool) -> Result<Piece<'h>, String> {
        let inner = |value| within(self.core.key.as_ref(), value);
        // Whoever only writes may be answered with nothing, which has no key.
        let output = answered.then(|| match &op.output {
            Value::Nil => Ok(&Value::Nil),
            output => inner(output),
        });
        Ok(Piece {
            f: &op.f,
            process: op.process,
            input: inner(&op.input)?.clone(),
            output: output.transpose()?.cloned(),
        })
    }

    /// None if it is not to be placed: it did not happen, or before all that is.
    fn kept(&self, op: &'h Op) -> Result<Option<Kept<'h>>, String> {
        let (call, ret) = (op.call, op.ret);
        let before = self.from.is_some_and(|from| ret <= from);
        if op.outcome == Outcome::Fail || before {
            return Ok(None);
        }
        if self.until.is_some_and(|until| call > until) {
            return Err(format!("op {} was invoked later", op.index));
        }
        let returned = self.until.is_none_or(|until| ret <= until);
        let began = self.from.is_none_or(|from| call > from);
        let must = op.outcome == Outcome::Ok && returned && began;
        Ok(Some(Kept {
            piece: self.piece(op, op.outcome == Outcome::Ok)?,
            op,
            must,
        }))
    }

    /// Whether another one is of this object and of this stretch.
    fn may_stand(&self, op: &Op) -> bool {
        within(self.core.key.as_ref(), &op.input).is_ok()
            && self.until.is_none_or(|until| op.call <= until)
            && self.from.is_none_or(|from| op.ret > from)
    }

    /// Adds what the operations outside of the core may have done, as freely as `level` allows.
    fn relax(
        &self,
        puzzle: &mut Puzzle<'h>,
        others: &[&'h Op],
        level: usize,
        history: &'h History,
        meter: &mut Meter,
    ) -> Result<(), Doubt> {
        match self.refutation.model {
            model if is_registers(model) => {
                let kept = puzzle.kept.iter().map(|kept| kept.op);
                match kept
                    .chain(others.iter().copied())
                    .any(|op| op.f == "append")
                {
                    false => self.registers(puzzle, others, level, history, meter)?,
                    true => texts::relax(self, puzzle, others, meter)?,
                }
            }
            Model::Queue | Model::Stack | Model::PriorityQueue => {
                self.values(puzzle, others, meter)?
            }
            Model::Set => self.elements(puzzle, others, level, meter)?,
            Model::Lock | Model::Semaphore => self.holders(puzzle, others, level, meter)?,
            Model::Counter => self.counter(puzzle, others, meter)?,
            Model::UniqueIds => {}
            Model::Append => transactions::lists(puzzle, others, level, meter)?,
            Model::RwRegister => {
                let initial = &self.refutation.initial;
                transactions::registers(puzzle, others, initial, level, meter)?
            }
            _ => unreachable!("it has no object"),
        }
        Ok(())
    }

    /// Between two operations of the core nothing is written twice that is found only there, so as
    /// many as there are gaps are enough. What writes a value that nothing finds can be left out:
    /// it stands in nobody's way but to hide another.
    fn registers(
        &self,
        puzzle: &mut Puzzle<'h>,
        others: &[&'h Op],
        level: usize,
        history: &'h History,
        meter: &mut Meter,
    ) -> Result<(), Doubt> {
        // What it is at the start may be answered with nothing.
        let mut wanted: Vec<Value> = vec![self.refutation.initial.clone()];
        for Kept { piece, op, .. } in &puzzle.kept {
            match (piece.f, piece.input.as_pair()) {
                ("cas", Some((from, _))) => wanted.push(from.clone()),
                ("cas", None) => return Err(format!("op {}: a cas is of a pair", op.index).into()),
                ("read" | "get", _) => wanted.extend(piece.output.clone()),
                _ => {}
            }
        }
        let mut writers: FxHashMap<Value, Vec<(u64, Piece)>> = Default::default();
        for op in others {
            meter.tick(0)?;
            let piece = self.piece(op, false)?;
            let written = match (piece.f, piece.input.as_pair()) {
                ("cas", Some((_, to))) => to.clone(),
                ("write" | "put", _) => piece.input.clone(),
                _ => continue,
            };
            let writers = writers.entry(written).or_default();
            writers.push((op.index, piece));
        }
        let (mut found, mut pieces) = (BTreeSet::new(), Vec::new());
        let mut seldom: Option<(usize, Value)> = None;
        while let Some(value) = wanted.pop() {
            let writers = writers.remove(&value).unwrap_or_default();
            if !writers.is_empty() && seldom.as_ref().is_none_or(|(n, _)| writers.len() < *n) {
                seldom = Some((writers.len(), value.clone()));
            }
            for (op, piece) in writers {
                wanted.extend(
                    piece
                        .input
                        .as_pair()
                        .filter(|_| piece.f == "cas")
                        .map(|(from, _)| from.clone()),
                );
                pieces.push((op, piece));
            }
            found.insert(value);
        }
        let written = |piece: &Piece| match piece.input.as_pair() {
            Some((_, to)) if piece.f == "cas" => to.clone(),
            _ => piece.input.clone(),
        };
        // Of a value that is written often, one more or less is seldom what matters.
        let is_seldom = |piece: &Piece| seldom.as_ref().is_some_and(|(_, v)| written(piece) == *v);
        let gaps = puzzle.kept.len();
        let most = |piece: &Piece| match level {
            _ if self.from.is_some() => 0,
            0 if is_seldom(piece) => gaps,
            0 => 0,
            1 => 1,
            _ => gaps,
        };
        alike_of(puzzle, pieces, most);
        if let Some(from) = self.from {
            self.starts(puzzle, from, found, history)?;
        }
        Ok(())
    }

    /// What the register may hold where the stretch begins. A value that nobody finds is no better
    /// than one that somebody does.
    fn starts(
        &self,
        puzzle: &mut Puzzle<'h>,
        from: Time,
        mut found: BTreeSet<Value>,
        history: &'h History,
    ) -> Result<(), Doubt> {
        for op in history
            .ops()
            .iter()
            .filter(|op| op.call <= from && op.outcome != Outcome::Fail)
        {
            let Ok(input) = within(self.core.key.as_ref(), &op.input) else {
                continue;
            };
            let written = match (op.f.as_str(), input.as_pair()) {
                ("cas", Some((_, to))) => to,
                ("write" | "put", _) => input,
                _ => continue,
            };
            if found.remove(written) {
                puzzle
                    .starts
                    .push(replay::object(self.refutation.model, written)?);
            }
        }
        Ok(())
    }

    /// Taking a value out of an order, where it is put and where it is taken, leaves the others as
    /// they were; and what was empty is.
    fn values(
        &self,
        puzzle: &mut Puzzle<'h>,
        others: &[&'h Op],
        meter: &mut Meter,
    ) -> Result<(), Doubt> {
        let puts = |piece: &Piece| matches!(piece.f, "enqueue" | "push" | "insert");
        let of = |piece: &Piece| match puts(piece) {
            true => Some(piece.input.clone()),
            false => piece.output.clone(),
        };
        let values: BTreeSet<Value> = puzzle
            .kept
            .iter()
            .filter_map(|kept| of(&kept.piece))
            .collect();
        let mut pieces = Vec::new();
        for op in others {
            meter.tick(0)?;
            let piece = self.piece(op, op.outcome == Outcome::Ok)?;
            match of(&piece) {
                // A take that found nothing changes nothing.
                Some(Value::Nil) if !puts(&piece) => {}
                Some(value) if !values.contains(&value) => {}
                Some(_) if puts(&piece) => pieces.push((
                    op.index,
                    Piece {
                        output: None,
                        ..piece
                    },
                )),
                _ => pieces.push((
                    op.index,
                    Piece {
                        input: Value::Nil,
                        ..piece
                    },
                )),
            }
        }
        alike(puzzle, pieces, usize::MAX);
        Ok(())
    }

    /// Elements have nothing to do with each other: an order of all is one of some, with the others
    /// taken out of what was read whole.
    fn elements(
        &self,
        puzzle: &mut Puzzle<'h>,
        others: &[&'h Op],
        level: usize,
        meter: &mut Meter,
    ) -> Result<(), Doubt> {
        let mut reads: Vec<BTreeSet<&Value>> = Vec::new();
        let mut elements: BTreeSet<Value> = BTreeSet::new();
        let mut twice = Vec::new();
        for Kept { piece, op, .. } in &puzzle.kept {
            match (piece.f, &piece.output) {
                ("read", Some(Value::List(read))) => {
                    let mut all = BTreeSet::new();
                    twice.extend(read.iter().filter(|element| !all.insert(*element)));
                    reads.push(all);
                }
                ("read", Some(_)) => return Err(format!("op {} read no list", op.index).into()),
                ("read", None) => {}
                _ => drop(elements.insert(piece.input.clone())),
            }
        }
        let added: BTreeSet<&Value> = others
            .iter()
            .filter(|op| op.f == "add")
            .map(|op| &op.input)
            .collect();
        let read = || reads.iter().flatten().copied();
        let mut more = twice;
        more.extend(read().filter(|e| !added.contains(e)));
        if level > 0 {
            more.extend(read().filter(|e| !reads.iter().all(|read| read.contains(e))));
        }
        let more = BTreeSet::from_iter(more);
        elements.extend(more.into_iter().take(MOST_ELEMENTS).cloned());
        for kept in &mut puzzle.kept {
            if let ("read", Some(Value::List(read))) = (kept.piece.f, &mut kept.piece.output) {
                read.retain(|element| elements.contains(element));
            }
        }
        let mut pieces = Vec::new();
        for op in others {
            meter.tick(0)?;
            if !matches!(op.f.as_str(), "add" | "remove") {
                continue;
            }
            let piece = self.piece(op, matches!(op.output, Value::Bool(_)))?;
            if elements.contains(&piece.input) {
                pieces.push((op.index, piece));
            }
        }
        alike(puzzle, pieces, usize::MAX);
        Ok(())
    }

    /// An order without some of the sections is one. Those of a process of the core may have to
    /// end, or to begin, for its own to be in order: before and after its own, as the process asked
    /// for them. So a process that acquired holds until it asks for the release, however many
    /// sections it has.
    fn holders(
        &self,
        puzzle: &mut Puzzle<'h>,
        others: &[&'h Op],
        level: usize,
        meter: &mut Meter,
    ) -> Result<(), Doubt> {
        let kept = |f: &str, op: &Op| {
            let mut kept = puzzle.kept.iter().map(|kept| &kept.piece);
            kept.any(|piece| piece.f == f && piece.process == op.process)
        };
        let mut pieces = Vec::new();
        for op in others {
            meter.tick(0)?;
            let ends = op.f == "release" && (kept("acquire", op) || kept("release", op));
            if ends || op.f == "acquire" && kept("release", op) {
                let answered = level > 0 && op.outcome == Outcome::Ok;
                pieces.push((op.index, self.piece(op, answered)?, place(puzzle, op)));
            }
        }
        let most = if level == 0 { 1 } else { usize::MAX };
        placed_alike(puzzle, pieces, |_| most);
        Ok(())
    }

    fn counter(
        &self,
        puzzle: &mut Puzzle<'h>,
        others: &[&'h Op],
        meter: &mut Meter,
    ) -> Result<(), Doubt> {
        let number = |op: &Op| op.f != "add" || op.input.as_int().is_some();
        if !puzzle.kept.iter().all(|kept| number(kept.op)) {
            return Err("an addition is of a number".to_string().into());
        }
        let mut pieces = Vec::new();
        for op in others {
            meter.tick(0)?;
            match op.f.as_str() {
                "add" => pieces.push((op.index, self.piece(op, false)?)),
                // It shows that additions happened.
                _ if op.outcome == Outcome::Ok => puzzle.related.push(op.index),
                _ => {}
            }
        }
        alike(puzzle, pieces, usize::MAX);
        Ok(())
    }
}

/// Counts those that are alike: `most` is how many anybody can want.
fn alike<'h>(puzzle: &mut Puzzle<'h>, pieces: Vec<(u64, Piece<'h>)>, most: usize) {
    alike_of(puzzle, pieces, |_| most);
}

/// Where an operation stands among those of the core that its own process asked for.
fn place(puzzle: &Puzzle, op: &Op) -> Place {
    let mut place = Place::default();
    for (i, kept) in puzzle.kept.iter().enumerate() {
        if kept.op.process != op.process {
            continue;
        }
        if op.precedes(kept.op) {
            place.before |= 1 << i;
        }
        if kept.must && kept.op.precedes(op) {
            place.after |= 1 << i;
        }
    }
    place
}

/// The same where that depends on what they are.
fn alike_of<'h>(
    puzzle: &mut Puzzle<'h>,
    pieces: Vec<(u64, Piece<'h>)>,
    most: impl Fn(&Piece) -> usize,
) {
    let anywhere = |(op, piece)| (op, piece, Place::default());
    placed_alike(puzzle, pieces.into_iter().map(anywhere).collect(), most);
}

fn placed_alike<'h>(
    puzzle: &mut Puzzle<'h>,
    pieces: Vec<(u64, Piece<'h>, Place)>,
    most: impl Fn(&Piece) -> usize,
) {
    let mut counts: Vec<((Piece, Place), usize)> = Vec::new();
    let mut known: FxHashMap<(Piece, Place), usize> = FxHashMap::default();
    for (op, piece, place) in pieces {
        puzzle.related.push(op);
        let alike = (piece, place);
        match known.get(&alike) {
            Some(at) => counts[*at].1 += 1,
            None => {
                known.insert(alike.clone(), counts.len());
                counts.push((alike, 1));
            }
        }
    }
    let relaxed = counts.into_iter().map(|((piece, place), count)| Relaxed {
        count: u16::try_from(count).ok().filter(|_| count <= most(&piece)),
        piece,
        place,
    });
    puzzle.relaxed = relaxed.collect();
}
