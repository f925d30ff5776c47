//! What a person's script does wrong, and where.

use std::fmt;

use rhai::{Dynamic, EvalAltResult, ParseError, Position};

use super::engine::bounds;

/// A script that is wrong. It says nothing of the history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The script's name.
    pub script: String,
    /// Line and column, from 1.
    pub at: Option<(usize, usize)>,
    /// The function in which it happened.
    pub function: Option<String>,
    pub why: String,
    /// The operation that was tried, by the index of its invocation.
    pub op: Option<u64>,
    /// Where the line of that operation is, if the history is of lines.
    pub line: Option<u64>,
    /// What was tried, in words.
    pub tried: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if let Some(function) = &self.function {
            write!(f, "{function}: ")?;
        }
        f.write_str(&self.why)?;
        if let Some(op) = self.op {
            write!(f, "; this was at operation {op}")?;
        }
        if let Some(line) = self.line {
            write!(f, " (line {line} of the history)")?;
        }
        if let Some(tried) = &self.tried {
            write!(f, ", {tried}")?;
        }
        Ok(())
    }
}

impl Fault {
    /// Of the script as a whole.
    pub(crate) fn of(script: &str, why: impl Into<String>) -> Fault {
        Fault {
            script: script.to_string(),
            at: None,
            function: None,
            why: why.into(),
            op: None,
            line: None,
            tried: None,
        }
    }

    /// Of one of its functions.
    pub(super) fn in_function(script: &str, function: &str, why: impl Into<String>) -> Fault {
        Fault {
            function: Some(function.to_string()),
            ..Fault::of(script, why)
        }
    }

    /// That it cannot be read.
    pub(super) fn of_parsing(script: &str, error: &ParseError) -> Fault {
        Fault {
            at: place(error.position()),
            ..Fault::of(script, error.err_type().to_string())
        }
    }

    /// That a function failed, or one that it called.
    pub(super) fn of_call(script: &str, called: &str, error: EvalAltResult) -> Fault {
        let (mut function, mut outer) = (called.to_string(), Position::NONE);
        let mut error = error;
        while let EvalAltResult::ErrorInFunctionCall(name, _, inner, at) = error {
            function = name;
            outer = at;
            error = *inner;
        }
        let at = place(error.take_position()).or(place(outer));
        Fault {
            at,
            ..Fault::in_function(script, &function, told(&error))
        }
    }

    /// The same with the operation that was tried.
    pub fn at_op(self, op: u64, tried: String) -> Fault {
        Fault {
            op: Some(op),
            tried: Some(tried),
            ..self
        }
    }
}

fn place(position: Position) -> Option<(usize, usize)> {
    Some((position.line()?, position.position().unwrap_or(1)))
}

/// The language's own words, but for what it has none for.
fn told(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorTooManyOperations(_) => format!(
            "it does not end within {} operations of the language",
            bounds::OPERATIONS
        ),
        EvalAltResult::ErrorStackOverflow(_) => {
            format!("functions call each other more than {} deep", bounds::CALLS)
        }
        EvalAltResult::ErrorTooManyVariables(_) => {
            format!("it has more than {} variables", bounds::VARIABLES)
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => format!(
            "{} is beyond its limit: {} elements of lists and entries of maps, {} bytes of text, each with all that is \
             within",
            what.to_lowercase(),
            bounds::ELEMENTS,
            bounds::TEXT_BYTES
        ),
        EvalAltResult::ErrorRuntime(thrown, _) => thrown_by(thrown),
        other => other.to_string(),
    }
}

fn thrown_by(thrown: &Dynamic) -> String {
    match thrown.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) => format!("it throws {thrown}"),
    }
}
