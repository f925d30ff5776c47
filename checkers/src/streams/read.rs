//! Operations on streams, as a history has them.

use history::{History, Op, Outcome, Value};

use crate::linearizable::search::NEVER;
use crate::ranks::Ranks;
use crate::{Exhausted, Meter};

/// How operations are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Watch,
    Log,
}

/// The stream of a history that has one.
static ONE: Value = Value::Nil;

/// An element that was to be put into a stream.
#[derive(Debug)]
pub struct Put<'h> {
    pub op: &'h Op,
    pub stream: &'h Value,
    pub element: &'h Value,
    /// Where it is, if that was acknowledged with a position.
    pub at: Option<i64>,
    pub call: u32,
    /// [`NEVER`] if nobody knows its outcome.
    pub ret: u32,
}

/// What an answer told of a stream.
#[derive(Debug)]
pub struct Piece<'h> {
    pub op: &'h Op,
    pub stream: &'h Value,
    /// Positions from behind this one,
    pub from: i64,
    /// up to this one.
    pub upto: i64,
    pub told: Vec<(i64, &'h Value)>,
    pub call: u32,
    pub ret: u32,
}

/// All of a history.
#[derive(Debug, Default)]
pub struct Operations<'h> {
    pub puts: Vec<Put<'h>>,
    /// Only those that were answered.
    pub pieces: Vec<Piece<'h>>,
    /// The first operation that cannot be read, in words.
    pub unread: Option<String>,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Watch => "watch",
            Shape::Log => "log",
        }
    }

    fn put(self) -> &'static str {
        match self {
            Shape::Watch => "write",
            Shape::Log => "send",
        }
    }

    fn follow(self) -> &'static str {
        match self {
            Shape::Watch => "watch",
            Shape::Log => "poll",
        }
    }

    /// The stream and the element.
    fn element(self, op: &Op) -> Option<(&Value, &Value)> {
        let pair = op.input.as_pair()?;
        Some(match self {
            Shape::Watch => (&ONE, &op.input),
            Shape::Log => pair,
        })
    }

    fn piece<'h>(self, op: &'h Op, (call, ret): (u32, u32)) -> Option<Piece<'h>> {
        let pairs = |list: &'h Value| -> Option<Vec<(i64, &'h Value)>> {
            let pair = |pair: &'h Value| {
                let (at, element) = pair.as_pair()?;
                Some((at.as_int()?, element))
            };
            list.as_list()?.iter().map(pair).collect()
        };
        let (stream, from, upto, told) = match self {
            Shape::Watch => {
                let [from, upto, told] = op.output.as_list()? else {
                    return None;
                };
                let (from, upto) = (from.as_int()?, upto.as_int()?);
                (&ONE, from, upto, pairs(told)?)
            }
            Shape::Log => {
                let (stream, first) = op.input.as_pair()?;
                let (answered, told) = op.output.as_pair()?;
                let from = first.as_int()?.checked_sub(1)?;
                let told = pairs(told)?;
                let upto = told.iter().map(|(at, _)| *at).max();
                let upto = upto.unwrap_or(from).max(from);
                if stream != answered {
                    return None;
                }
                (stream, from, upto, told)
            }
        };
        (from <= upto).then_some(Piece {
            op,
            stream,
            from,
            upto,
            told,
            call,
            ret,
        })
    }
}

impl<'h> Operations<'h> {
    pub fn of(
        shape: Shape,
        history: &'h History,
        meter: &mut Meter,
    ) -> Result<Operations<'h>, Exhausted> {
        let mut all = Operations::default();
        let ranks = Ranks::new(history);
        let mut held = 0;
        for op in history.ops() {
            meter.tick(held)?;
            let call = ranks.call(op.index as u32);
            let known = op.completion.filter(|_| op.has_returned());
            let ret = known.map_or(NEVER, |at| ranks.ret(at as u32));
            if op.f.as_str() == shape.put() {
                held += size_of::<Put>() as u64;
                all.put(shape, op, (call, ret));
            } else if op.f.as_str() == shape.follow() && op.outcome == Outcome::Ok {
                match shape.piece(op, (call, ret)) {
                    None => all.unread(op, "an answer of a stream", &op.output),
                    Some(piece) => {
                        held += (size_of::<Piece>() + size_of_val(&piece.told[..])) as u64;
                        all.pieces.push(piece);
                    }
                }
            }
        }
        Ok(all)
    }

    fn put(&mut self, shape: Shape, op: &'h Op, (call, ret): (u32, u32)) {
        let Some((stream, element)) = shape.element(op) else {
            return self.unread(op, "a key with an element", &op.input);
        };
        let version = op.version.as_ref().filter(|_| op.outcome == Outcome::Ok);
        let at = version.and_then(Value::as_int);
        if let (Some(version), None) = (version, at) {
            self.unread(op, "acknowledged with a position", version);
        }
        self.puts.push(Put {
            op,
            stream,
            element,
            at,
            call,
            ret,
        });
    }

    fn unread(&mut self, op: &Op, expected: &str, found: &Value) {
        let index = op.index;
        self.unread
            .get_or_insert_with(|| format!("operation {index} is not {expected}: {found}"));
    }
}
