//! Texts of which every piece is told apart: linear, as registers of unique values are.
//!
//! Where each text that is put or appended is another, and none begins with another, what was read
//! falls into pieces in one way, and tells which text each piece was appended to:
//!
//! ```text
//! get "x1 y" + "x2 y" + "x4 y"      x1 was put (or appended to nothing), x2 to x1, x4 to x1 x2
//! ```
//!
//! So an append that was seen is a compare-and-set, from the text before it to one that has it at
//! its end, and one that nobody saw is a write that nobody saw: had anything been read behind it,
//! it would have had it. That is a register of unique values, which [`zones`] decides. What is
//! found wrong is made small by the same engine: every operation that can be at any time, or never,
//! without there being an order, is left out.

use history::Name;
use rustc_hash::FxHashMap;

use super::Action;
use crate::linearizable::model::Action as Change;
use crate::linearizable::search::{NEVER, Timed};
use crate::linearizable::zones::{self, Found, Kind, Op};
use crate::{Exhausted, Meter};

/// What is wrong, with positions of operations, the one called last first.
pub struct Wrong {
    pub kind: &'static str,
    pub ops: Vec<u32>,
    /// Whether each of them is needed.
    pub minimal: bool,
}

/// No number of a text.
const NONE: u32 = u32::MAX;

/// The text before anything is put or appended.
const INITIAL: u32 = 0;

/// An order, or what has none; none if texts cannot be told apart so.
pub fn judge(
    ops: &[Timed<Action>],
    meter: &mut Meter,
) -> Result<Option<Result<Vec<u32>, Wrong>>, Exhausted> {
    let Some(pieces) = Pieces::new(ops, meter)? else {
        return Ok(None);
    };
    let all = vec![true; ops.len()];
    let wrong = match pieces.judge(&all, meter)? {
        Some(Judged::Order(order)) => return Ok(Some(Ok(order))),
        Some(Judged::Wrong(kind, ops)) => (kind, ops),
        None => return Ok(None),
    };
    let (kind, mut core) = wrong;
    let is_bad = |core: &[u32], meter: &mut Meter| {
        let mut kept = vec![false; ops.len()];
        core.iter().for_each(|op| kept[*op as usize] = true);
        let found = pieces.judge(&kept, meter)?;
        Ok::<bool, Exhausted>(matches!(found, Some(Judged::Wrong(..))))
    };
    core.sort_unstable();
    core.dedup();
    let minimal = is_bad(&core, meter)?;
    if minimal {
        let mut at = 0;
        while at < core.len() && core.len() > 1 {
            let mut fewer = core.clone();
            fewer.remove(at);
            match is_bad(&fewer, meter)? {
                true => core = fewer,
                false => at += 1,
            }
        }
    }
    core.sort_by_key(|op| std::cmp::Reverse((ops[*op as usize].call, *op)));
    Ok(Some(Err(Wrong {
        kind,
        ops: core,
        minimal,
    })))
}

enum Judged {
    Order(Vec<u32>),
    /// What is wrong, and operations that show it.
    Wrong(&'static str, Vec<u32>),
}

/// The operations as those of a register of unique values.
struct Pieces<'a> {
    ops: &'a [Timed<Action>],
    /// Of each operation the text it puts, appends or returns last; [`NONE`] for a read of what
    /// nobody wrote.
    numbers: Vec<u32>,
    /// Of each read the pieces that it falls into, by number.
    read: Vec<Vec<u32>>,
    /// Which operation each piece is of; none of the first.
    writers: Vec<u32>,
}

impl<'a> Pieces<'a> {
    fn new(ops: &'a [Timed<Action>], meter: &mut Meter) -> Result<Option<Pieces<'a>>, Exhausted> {
        let mut written: Vec<(&Name, u32)> = Vec::new();
        for (i, op) in ops.iter().enumerate() {
            meter.tick(24 * written.len() as u64)?;
            match &op.op {
                Action::Write(text) | Action::Append(text) => written.push((text, i as u32)),
                Action::Read(_) => {}
            }
        }
        written.sort_unstable();
        let begins = |pair: &[(&Name, u32)]| pair[1].0.starts_with(pair[0].0.as_str());
        let first_is_empty = written.first().is_some_and(|(text, _)| text.is_empty());
        if first_is_empty || written.windows(2).any(begins) {
            return Ok(None);
        }
        let mut writers = vec![NONE];
        let mut numbers = vec![NONE; ops.len()];
        let mut by_text: FxHashMap<&str, u32> = FxHashMap::default();
        let mut longest = 0;
        for (text, op) in &written {
            numbers[*op as usize] = writers.len() as u32;
            by_text.insert(text, writers.len() as u32);
            longest = longest.max(text.len());
            writers.push(*op);
        }
        let mut pieces = Pieces {
            ops,
            numbers,
            read: vec![Vec::new(); ops.len()],
            writers,
        };
        let sorted: Vec<&str> = written.iter().map(|(text, _)| text.as_str()).collect();
        let mut held = 0;
        for (i, op) in ops.iter().enumerate() {
            let Action::Read(text) = &op.op else {
                continue;
            };
            let mut rest = text.as_str();
            let mut last = INITIAL;
            while !rest.is_empty() {
                meter.tick(held)?;
                held += 4;
                // The one piece that it begins with stands in front of it in the alphabet.
                let at = sorted.partition_point(|piece| *piece <= rest);
                let piece = at.checked_sub(1).map(|at| sorted[at]);
                let Some(piece) = piece.filter(|piece| rest.starts_with(piece)) else {
                    last = NONE;
                    break;
                };
                last = by_text[piece];
                pieces.read[i].push(last);
                rest = &rest[piece.len()..];
            }
            pieces.numbers[i] = last;
        }
        Ok(Some(pieces))
    }

    fn appends(&self, number: u32) -> bool {
        let writer = self.writers[number as usize];
        writer != NONE && matches!(self.ops[writer as usize].op, Action::Append(_))
    }

    /// What each piece was appended to, and which read shows it; or that reads contradict.
    fn behind(
        &self,
        kept: &[bool],
        meter: &mut Meter,
    ) -> Result<Result<Vec<(u32, u32)>, Judged>, Exhausted> {
        let mut from: Vec<(u32, u32)> = vec![(NONE, NONE); self.writers.len()];
        for (i, pieces) in self.read.iter().enumerate().filter(|(i, _)| kept[*i]) {
            let op = i as u32;
            if self.numbers[i] == NONE && matches!(self.ops[i].op, Action::Read(_)) {
                return Ok(Err(Judged::Wrong("value from nowhere", vec![op])));
            }
            let mut before = INITIAL;
            for (nth, piece) in pieces.iter().enumerate() {
                meter.tick(0)?;
                let (known, witness) = from[*piece as usize];
                let writer = self.writers[*piece as usize];
                match self.appends(*piece) {
                    // Whatever is put stands at the beginning.
                    false if nth > 0 => {
                        return Ok(Err(Judged::Wrong("value from nowhere", vec![op, writer])));
                    }
                    false => {}
                    true if known != NONE && known != before => {
                        return Ok(Err(Judged::Wrong(
                            "two texts of one append",
                            vec![op, witness, writer],
                        )));
                    }
                    true if known == NONE => from[*piece as usize] = (before, op),
                    true => {}
                }
                before = *piece;
            }
        }
        Ok(Ok(from))
    }

    /// The same as operations on a register, those that are kept at their times and the others at
    /// any time, with the place of each.
    fn changes(
        &self,
        kept: &[bool],
        from: &[(u32, u32)],
        meter: &mut Meter,
    ) -> Result<(Vec<u32>, Vec<Op>), Exhausted> {
        let (mut positions, mut changes): (Vec<u32>, Vec<Op>) = (Vec::new(), Vec::new());
        for relaxed in [true, false] {
            for (i, op) in self
                .ops
                .iter()
                .enumerate()
                .filter(|(i, _)| kept[*i] != relaxed)
            {
                meter.tick(0)?;
                let number = self.numbers[i];
                let change = match &op.op {
                    Action::Read(_) if relaxed => continue,
                    Action::Read(_) => Change::Read(number),
                    Action::Write(_) => Change::Write(number),
                    Action::Append(_) => match from[number as usize].0 {
                        NONE => Change::Write(number),
                        before => Change::Cas(before, number),
                    },
                };
                let (call, ret) = match relaxed {
                    true => (0, NEVER),
                    false => (op.call, op.ret),
                };
                changes.push(Op {
                    op: change,
                    call,
                    ret,
                });
                positions.push(i as u32);
            }
        }
        Ok((positions, changes))
    }

    /// Judges what is kept; the others may be at any time, or never.
    fn judge(&self, kept: &[bool], meter: &mut Meter) -> Result<Option<Judged>, Exhausted> {
        let from = match self.behind(kept, meter)? {
            Ok(from) => from,
            Err(wrong) => return Ok(Some(wrong)),
        };
        let (positions, changes) = self.changes(kept, &from, meter)?;
        let found = zones::check(&changes, self.writers.len(), meter)?;
        Ok(match found {
            Err(_) => None,
            Ok(Found::Order(order)) => {
                let order = order.operations();
                Some(Judged::Order(
                    order.iter().map(|at| positions[*at as usize]).collect(),
                ))
            }
            Ok(Found::Violations(found)) => found.first().map(|violation| {
                let shown = violation.shown.iter().map(|(_, by)| *by);
                let named = violation.ops.iter().copied().chain(shown);
                let named: Vec<u32> = named.map(|at| positions[at as usize]).collect();
                // That an append stands where it does is known from who read it.
                let witnesses = named.iter().filter_map(|op| {
                    let number = self.numbers[*op as usize];
                    let witness = from.get(number as usize)?.1;
                    (witness != NONE).then_some(witness)
                });
                let witnesses: Vec<u32> = witnesses.collect();
                Judged::Wrong(name(violation.kind), [named, witnesses].concat())
            }),
        })
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::FromNowhere { .. } => "value from nowhere",
        Kind::LostUpdate { .. } => "lost append",
        Kind::Circle { .. } => "circular appends",
        Kind::Future { .. } => "read from the future",
        Kind::StaleInChain { .. } | Kind::Interrupted { .. } | Kind::InterruptedByTwo { .. } => {
            "stale read"
        }
        Kind::Crossed { .. } => "texts crossed",
    }
}
