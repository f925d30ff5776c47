//! Texts, which are put together of others' pieces.

use std::fmt;
use std::rc::Rc;

use history::{Op, Value};

use super::super::{Doubt, Kept, Piece, Puzzle};
use super::{Object, alike};
use crate::Meter;
use crate::certificate::replay;

/// What is no part of a text that was read can be left out: until the text is set anew, nobody
/// reads it.
pub fn relax<'h>(
    object: &Object<'h>,
    puzzle: &mut Puzzle<'h>,
    others: &[&'h Op],
    meter: &mut Meter,
) -> Result<(), Doubt> {
    if object.from.is_some() {
        return Err("a stretch of texts has a beginning".to_string().into());
    }
    let mut found = Vec::new();
    for Kept { piece, op, .. } in &puzzle.kept {
        let known = match piece.f {
            "read" | "get" => piece.output.as_ref(),
            "cas" => return Err(format!("op {}: a text has no cas", op.index).into()),
            _ => Some(&piece.input),
        };
        match (piece.f, known) {
            ("read" | "get", Some(Value::Text(text))) => found.push(text.to_string()),
            ("read" | "get", Some(Value::Nil) | None) => {}
            (_, Some(Value::Text(_))) => {}
            _ => return Err(format!("op {} is of no text", op.index).into()),
        }
    }
    let mut pieces = Vec::new();
    for op in others {
        meter.tick(0)?;
        let piece = object.piece(op, false)?;
        let part = piece
            .input
            .as_text()
            .is_some_and(|text| found.iter().any(|f| f.contains(text)));
        let f = match piece.f {
            "append" => "append if wanted",
            "write" | "put" => "put if wanted",
            _ => continue,
        };
        if part {
            pieces.push((op.index, Piece { f, ..piece }));
        }
    }
    let initial = object
        .refutation
        .initial
        .as_text()
        .unwrap_or_default()
        .to_string();
    puzzle.starts = vec![Box::new(Text {
        now: Some(initial.clone()),
        initial,
        found: found.into(),
    })];
    alike(puzzle, pieces, usize::MAX);
    Ok(())
}

/// A text; none where nothing that was read begins with it.
#[derive(Clone)]
struct Text {
    now: Option<String>,
    initial: String,
    found: Rc<[String]>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.now)
    }
}

impl replay::Object for Text {
    fn operations(&self) -> &'static [&'static str] {
        &[
            "read",
            "get",
            "write",
            "put",
            "append",
            "put if wanted",
            "append if wanted",
        ]
    }

    fn step(&mut self, step: &replay::Step) -> Result<(), String> {
        let input = step.input.as_text().unwrap_or_default();
        let then = match step.f {
            "read" | "get" => {
                let right = match step.output {
                    None => true,
                    Some(Value::Nil) => self.now.as_ref() == Some(&self.initial),
                    Some(read) => read.as_text() == self.now.as_deref(),
                };
                return right
                    .then_some(())
                    .ok_or_else(|| "it reads another text".into());
            }
            "write" | "put" | "put if wanted" => Some(input.to_string()),
            _ => self.now.as_ref().map(|now| now.clone() + input),
        };
        let begins = |text: &String| self.found.iter().any(|found| found.starts_with(text));
        let wanted = then.filter(|text| begins(text) || *text == self.initial);
        if wanted.is_none() && step.f.ends_with("wanted") {
            return Err("nobody wants it".into());
        }
        self.now = wanted;
        Ok(())
    }

    fn copy(&self) -> Box<dyn replay::Object> {
        Box::new(self.clone())
    }
}
