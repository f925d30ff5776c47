//! A table's keys and values, with the place of everything that is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use harness::nearest::nearest;
use history::Name;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::aim::{WHO, Who};
use crate::catalogue::FAMILIES;
use crate::targets::Targets;

/// Every key that some fault has, in the order in which a file has them.
pub fn keys() -> Vec<&'static str> {
    let mut keys = vec!["at", "lasts", "family", "shape", "targets", "bridge"];
    let figures = FAMILIES
        .iter()
        .flat_map(|f| f.shapes)
        .flat_map(|s| s.figures);
    for figure in figures {
        if !keys.contains(&figure.key) {
            keys.push(figure.key);
        }
    }
    keys
}

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Which bytes of the text.
    pub at: Range<usize>,
    /// Which fault, from 1 in the order of the file.
    pub fault: Option<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if let Some(fault) = self.fault {
            write!(f, "fault {fault}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A table's keys as they are asked for. What is never asked for does not belong there.
pub struct Fields<'t> {
    text: &'t str,
    table: &'t DeTable<'t>,
    span: Range<usize>,
    fault: Option<usize>,
    pub asked: Vec<&'static str>,
    pub problems: Vec<Problem>,
}

impl<'t> Fields<'t> {
    pub fn new(
        text: &'t str,
        table: &'t DeTable<'t>,
        span: Range<usize>,
        fault: Option<usize>,
    ) -> Self {
        let (asked, problems) = (Vec::new(), Vec::new());
        Fields {
            text,
            table,
            span,
            fault,
            asked,
            problems,
        }
    }

    pub fn complain(&mut self, at: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.problems
            .push(problem(self.text, at, self.fault, message.into(), hint));
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub fn place(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Where each key's value stands, and under `""` the whole.
    pub fn places(&self) -> BTreeMap<String, Range<usize>> {
        let values = self
            .table
            .iter()
            .map(|(k, v)| (k.get_ref().to_string(), v.span()));
        values.chain([(String::new(), self.span.clone())]).collect()
    }

    pub fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// A text that `read` understands, or whose error is a hint.
    pub fn with<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let read = match value.get_ref() {
            DeValue::String(s) => read(s),
            DeValue::Integer(n) => Err(format!(
                "{n} is a number, where a text is due: a quantity has a unit and stands in quotes, such as \"{n}s\""
            )),
            other => Err(format!("{} where a text is due", other.type_str())),
        };
        match read {
            Ok(read) => Some(read),
            Err(why) => {
                self.complain(value.span(), format!("{key}: {why}"), None);
                None
            }
        }
    }

    pub fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, example);
            return None;
        }
        self.with(key, read)
    }

    fn missing(&mut self, key: &str, example: &str) {
        self.complain(
            self.span.clone(),
            format!("`{key}` is missing"),
            Some(format!("write {key} = {example}")),
        );
    }

    pub fn integer(&mut self, key: &'static str) -> Option<(i128, Range<usize>)> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(n) => i128::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            self.complain(value.span(), format!("{key} is no whole number"), None);
        }
        number.map(|n| (n, value.span()))
    }

    pub fn required_integer(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<(i128, Range<usize>)> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, example);
            return None;
        }
        self.integer(key)
    }

    /// A list of names.
    pub fn names(&mut self, key: &'static str) -> Option<Vec<Name>> {
        let value = self.value(key)?;
        let names = value.get_ref().as_array().and_then(|items| {
            let names = items.iter().map(|i| i.get_ref().as_str().map(Name::new));
            names.collect::<Option<Vec<_>>>()
        });
        if names.is_none() {
            let hint = format!("write {key} = [\"n1\", \"n2\"]");
            self.complain(
                value.span(),
                format!("{key} is no list of node names"),
                Some(hint),
            );
        }
        names
    }

    /// A list of names, or a word; left out, it is one node.
    pub fn targets(&mut self, seed: u64, number: usize, nodes: &[Name]) -> Option<Targets> {
        let who = match self.value("targets").map(Spanned::get_ref) {
            Some(DeValue::String(_)) => self.with("targets", |text| {
                let words: Vec<&str> = WHO.iter().map(|w| w.name).collect();
                Who::named(text).ok_or_else(|| unknown("kind of target", text, &words))
            })?,
            Some(_) => return self.names("targets").map(Targets::Nodes),
            None => Who::one(),
        };
        if nodes.len() < who.least_nodes {
            let message = format!(
                "a {} needs {} nodes or more, and there are {}",
                who.name,
                who.least_nodes,
                nodes.len()
            );
            self.complain(self.place("targets"), message, None);
            return None;
        }
        Some(who.settle(seed, number, nodes))
    }

    /// Hands over what was wrong, with every key that has no place here.
    pub fn finish(mut self, allowed: &[&str], problems: &mut Vec<Problem>) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if allowed.contains(&name) {
                continue;
            }
            let (message, hint) = match keys().contains(&name) && self.fault.is_some() {
                true => (
                    format!("`{name}` does not belong to this kind of fault"),
                    Some(format!("its keys are {}", allowed.join(", "))),
                ),
                false => (
                    format!("there is no key `{name}`"),
                    nearest(name, allowed.iter().copied())
                        .map(|near| format!("did you mean `{near}`?")),
                ),
            };
            self.complain(key.span(), message, hint);
        }
        problems.append(&mut self.problems);
    }
}

pub fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    match nearest(text, known.iter().copied()) {
        Some(near) => format!("there is no {what} {text:?}: did you mean {near:?}?"),
        None => format!(
            "there is no {what} {text:?}: there are {}",
            known.join(", ")
        ),
    }
}

pub fn problem(
    text: &str,
    at: Range<usize>,
    fault: Option<usize>,
    message: String,
    hint: Option<String>,
) -> Problem {
    let before = text.get(..at.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Problem {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        at,
        fault,
        message,
        hint,
    }
}
