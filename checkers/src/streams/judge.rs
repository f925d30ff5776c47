//! Everything that answers and acknowledgements say of a stream must fit together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use history::wording::counted;
use history::{History, Outcome, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::read::{Operations, Piece, Put, Shape};
use super::{ACKNOWLEDGED, ANSWERS, DELIVERED, UNSEEN};
use crate::findings::Findings;
use crate::{Analysis, Anomaly, Exhausted, Meter};

/// What is known to be at a position.
struct Known<'h> {
    element: &'h Value,
    /// The operation that said so first.
    op: u64,
}

/// An element of a stream.
type Placed<'h> = (&'h Value, &'h Value);

#[derive(Default)]
struct Judge<'h> {
    /// By stream and position.
    known: FxHashMap<&'h Value, BTreeMap<i64, Known<'h>>>,
    /// By element, the place in the list of what was put.
    puts: FxHashMap<Placed<'h>, usize>,
    /// Where each element was told to be first, and by which operation.
    told: FxHashMap<Placed<'h>, (i64, u64)>,
    found: Findings,
}

pub fn judge(shape: Shape, history: &History, meter: &mut Meter) -> Result<Analysis, Exhausted> {
    let operations = Operations::of(shape, history, meter)?;
    let Operations {
        puts,
        pieces,
        unread,
    } = &operations;
    let mut judge = Judge::default();
    for (i, put) in puts.iter().enumerate() {
        meter.tick(judge.bytes())?;
        judge.puts.insert((put.stream, put.element), i);
        if let Some(at) = put.at {
            judge.place(put.stream, at, put.element, put.op.index);
        }
    }
    for piece in pieces {
        judge.order(piece);
        for (at, element) in &piece.told {
            meter.tick(judge.bytes())?;
            judge.told(puts, piece, *at, element);
        }
    }
    for piece in pieces {
        judge.holes(piece, meter)?;
    }
    judge.real_time(puts);
    let acknowledged = || puts.iter().filter(|put| put.op.outcome == Outcome::Ok);
    let unseen = acknowledged().filter(|put| !judge.is_told(put)).count();
    if shape == Shape::Log {
        judge.lost(puts, pieces);
    }
    let (acks, delivered) = (acknowledged().count(), judge.told.len());
    let mut found = judge.found;
    found.sort_by_time();
    let analysis = match (found.is_empty(), unread) {
        (true, Some(why)) => Analysis::unknown(shape.name(), why),
        (true, None) if delivered == 0 => Analysis::vacuous(
            shape.name(),
            "no element was delivered to anybody: there is nothing to compare",
        ),
        _ => {
            let summary = format!(
                "{} acknowledged and {} delivered in {}: {}",
                counted(acks, "element"),
                delivered,
                counted(pieces.len(), "answer"),
                match found.is_empty() {
                    true => "no gap, no repetition, and all tell the same".to_string(),
                    false => found.told(),
                }
            );
            found.into_analysis(Analysis::valid(shape.name(), summary))
        }
    };
    Ok(analysis
        .with_figure(ACKNOWLEDGED.figure(acks))
        .with_figure(ANSWERS.figure(pieces.len()))
        .with_figure(DELIVERED.figure(delivered))
        .with_figure(UNSEEN.figure(unseen)))
}

impl<'h> Judge<'h> {
    fn bytes(&self) -> u64 {
        100 * (self.puts.len() + self.told.len()) as u64
    }

    fn is_told(&self, put: &Put<'h>) -> bool {
        self.told.contains_key(&(put.stream, put.element))
    }

    fn add(&mut self, kind: &str, stream: &Value, ops: &[u64], reason: String) {
        self.found.add(kind, || Anomaly {
            object: (*stream != Value::Nil).then(|| stream.to_string()),
            ops: ops.to_vec(),
            reason,
            ..Anomaly::default()
        });
    }

    /// An element is at a position, as an operation said.
    fn place(&mut self, stream: &'h Value, at: i64, element: &'h Value, op: u64) {
        let other = match self.known.entry(stream).or_default().entry(at) {
            Entry::Vacant(free) => {
                free.insert(Known { element, op });
                return;
            }
            Entry::Occupied(taken) if taken.get().element == element => return,
            Entry::Occupied(taken) => (taken.get().op, taken.get().element),
        };
        let (first, there) = other;
        let reason = format!("at position {at} op {first} has {there}, and op {op} has {element}");
        self.add(
            "different elements at a position",
            stream,
            &[first, op],
            reason,
        );
    }

    /// Within one answer positions grow, from the one on which it began.
    fn order(&mut self, piece: &Piece<'h>) {
        let op = piece.op.index;
        let mut last = piece.from;
        for (at, element) in &piece.told {
            if *at > piece.upto {
                let reason = format!("op {op} tells up to {}, and {element} at {at}", piece.upto);
                self.add("order inverted", piece.stream, &[op], reason);
            } else if *at == last {
                let reason = format!("op {op} was told position {at} twice, at last {element}");
                self.add("duplicate elements", piece.stream, &[op], reason);
            } else if *at <= last {
                let reason = format!("op {op} was told {element} at position {at} after {last}");
                self.add("order inverted", piece.stream, &[op], reason);
            }
            last = last.max(*at);
        }
    }

    /// An answer has an element at a position.
    fn told(&mut self, puts: &[Put<'h>], piece: &Piece<'h>, at: i64, element: &'h Value) {
        let (op, stream) = (piece.op.index, piece.stream);
        self.place(stream, at, element, op);
        let Some(put) = self.puts.get(&(stream, element)).map(|i| &puts[*i]) else {
            let reason = format!("op {op} was told {element}, which nobody had asked to write");
            return self.add("element from nowhere", stream, &[op], reason);
        };
        let by = put.op.index;
        if put.op.outcome == Outcome::Fail {
            let reason = format!("op {op} was told {element}, which op {by} failed to write");
            self.add("aborted read", stream, &[by, op], reason);
        } else if piece.ret < put.call {
            let reason = format!("op {op} was told {element} before op {by} asked to write it");
            self.add("element from nowhere", stream, &[op, by], reason);
        }
        match (put.at, self.told.get(&(stream, element)).copied()) {
            (Some(acknowledged), _) if acknowledged != at => {
                let reason = format!(
                    "op {by} wrote {element} at position {acknowledged}, and op {op} was told that it is at {at}"
                );
                self.add("wrong position", stream, &[by, op], reason);
            }
            (None, Some((first, teller))) if first != at => {
                let reason = format!(
                    "op {by} wrote {element} once: op {teller} was told that it is at {first}, and op {op} at {at}"
                );
                self.add("duplicate elements", stream, &[by, teller, op], reason);
            }
            _ => {}
        }
        self.told.entry((stream, element)).or_insert((at, op));
    }

    /// Whatever is known to be in an answer's range must be in the answer.
    fn holes(&mut self, piece: &Piece<'h>, meter: &mut Meter) -> Result<(), Exhausted> {
        let Some(known) = self.known.get(piece.stream) else {
            return Ok(());
        };
        let has: FxHashSet<i64> = piece.told.iter().map(|(at, _)| *at).collect();
        let mut missing = Vec::new();
        if piece.from < piece.upto {
            for (at, there) in known.range(piece.from + 1..=piece.upto) {
                meter.tick(self.bytes())?;
                if !has.contains(at) {
                    missing.push((*at, there.op, there.element));
                }
            }
        }
        for (at, by, element) in missing {
            let op = piece.op.index;
            let reason = format!(
                "op {op} tells everything behind {} up to {}, without {element} at {at}, which op {by} has",
                piece.from, piece.upto
            );
            self.add("missing element", piece.stream, &[by, op], reason);
        }
        Ok(())
    }

    /// What was acknowledged before another was asked for has the lower position.
    fn real_time(&mut self, puts: &[Put<'h>]) {
        let mut streams: FxHashMap<&Value, Vec<(i64, &Put<'h>)>> = FxHashMap::default();
        for put in puts {
            if let Some(at) = put.at {
                streams.entry(put.stream).or_default().push((at, put));
            }
        }
        let mut inverted = Vec::new();
        for placed in streams.into_values() {
            let mut returned = placed.clone();
            returned.sort_by_key(|(_, put)| put.ret);
            let mut asked = placed;
            asked.sort_by_key(|(_, put)| put.call);
            let (mut next, mut highest) = (0, None::<(i64, &Put<'h>)>);
            for (at, put) in asked {
                while next < returned.len() && returned[next].1.ret < put.call {
                    let one = returned[next];
                    highest = match highest {
                        Some(high) if high.0 >= one.0 => Some(high),
                        _ => Some(one),
                    };
                    next += 1;
                }
                if let Some((above, first)) = highest.filter(|(above, _)| *above > at) {
                    inverted.push((put.stream, first.op.index, above, put.op.index, at));
                }
            }
        }
        inverted.sort_by_key(|(.., op, _)| *op);
        for (stream, first, above, op, at) in inverted {
            let reason = format!(
                "op {first} was acknowledged at position {above} before op {op} began, which is at {at}"
            );
            self.add("order inverted", stream, &[first, op], reason);
        }
    }

    /// Who asks for what lies behind a position when nothing is written any more, and is told that
    /// there is nothing, says that what was there is gone, if nobody is told it then: one who is
    /// late lacks what others have.
    fn lost(&mut self, puts: &[Put<'h>], pieces: &[Piece<'h>]) {
        let Some(last) = puts.iter().map(|put| put.call).max() else {
            return;
        };
        let (mut gone, mut lost) = (Vec::new(), FxHashSet::default());
        let at_the_end = || pieces.iter().filter(|piece| piece.call > last);
        let told =
            at_the_end().flat_map(|piece| piece.told.iter().map(|one| (piece.stream, one.0)));
        let there_still: FxHashSet<(&Value, i64)> = told.collect();
        for piece in at_the_end().filter(|piece| piece.told.is_empty()) {
            let known = self.known.get(piece.stream);
            let behind = known.map(|known| known.range(piece.from.saturating_add(1)..));
            // Each is told once, by the first who looked, however many did.
            for (at, there) in behind.into_iter().flatten() {
                if !there_still.contains(&(piece.stream, *at)) && lost.insert((piece.stream, *at)) {
                    gone.push((piece, *at, there.op, there.element));
                }
            }
        }
        for (piece, at, by, element) in gone {
            let (op, first) = (piece.op.index, piece.from.saturating_add(1));
            let reason = format!(
                "op {by} has {element} at position {at}; when nothing was written any more, op {op} asked for all \
                 from {first} on and there was nothing, and nobody was told it"
            );
            self.add("lost element", piece.stream, &[by, op], reason);
        }
    }
}
