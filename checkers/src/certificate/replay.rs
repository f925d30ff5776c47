//! What each object answers, one operation at a time: the whole meaning of a `--model`, for
//! certificates to be held against.

use std::collections::{BTreeSet, HashMap};

use history::{Process, Value};

use crate::choice::Model;

/// An operation in its place.
#[derive(Clone, Copy, Debug)]
pub struct Step<'h> {
    pub f: &'h str,
    pub process: Process,
    pub input: &'h Value,
    /// None: nobody knows what it answered.
    pub output: Option<&'h Value>,
}

impl Step<'_> {
    /// Whether it answered this, as far as anybody knows.
    fn answers(&self, right: &Value) -> Result<(), String> {
        match self.output {
            Some(output) if output != right => {
                Err(format!("{} answered {output}, not {right}", self.f))
            }
            _ => Ok(()),
        }
    }

    fn unknown(&self) -> Result<(), String> {
        Err(format!("{} is no operation of this object", self.f))
    }
}

/// A sequential object that holds values as they stand in the history.
pub trait Object {
    /// The operations that it knows. It has nothing to do with others.
    fn operations(&self) -> &'static [&'static str];

    /// Takes the step, or says why its answer is impossible now.
    fn step(&mut self, step: &Step) -> Result<(), String>;
}

/// An object at its start.
///
/// # Errors
/// That it cannot start so, or is judged without an order.
pub fn object(model: Model, initial: &Value) -> Result<Box<dyn Object>, String> {
    match model {
        Model::Register | Model::CasRegister | Model::Kv => Ok(Box::new(Register(initial.clone()))),
        Model::Set => Ok(Box::new(Set::default())),
        Model::Append => Ok(Box::new(Lists::default())),
    }
}

/// A register, or a text.
struct Register(Value);

impl Object for Register {
    fn operations(&self) -> &'static [&'static str] {
        &["read", "get", "write", "put", "cas", "append"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Register(now) = self;
        match step.f {
            "read" | "get" => return step.answers(now),
            "write" | "put" => *now = step.input.clone(),
            "append" => match (step.input.as_text(), now.as_text()) {
                (Some(more), Some(text)) => *now = Value::text(format!("{text}{more}")),
                _ => return Err(format!("append {} finds {now}", step.input)),
            },
            "cas" => match step.input.as_pair() {
                Some((from, to)) if from == now => *now = to.clone(),
                _ => return Err(format!("cas {} finds {now}", step.input)),
            },
            _ => return step.unknown(),
        }
        Ok(())
    }
}

/// A set. An answer that is true or false says whether the element was added, removed, or there.
#[derive(Default)]
struct Set(BTreeSet<Value>);

impl Object for Set {
    fn operations(&self) -> &'static [&'static str] {
        &["add", "remove", "contains", "read"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Set(set) = self;
        let success = match step.f {
            "add" => set.insert(step.input.clone()),
            "remove" => set.remove(step.input),
            "contains" => set.contains(step.input),
            "read" => {
                let read = step.output.and_then(Value::as_list).unwrap_or_default();
                let right = read.len() == set.len()
                    && read.iter().cloned().collect::<BTreeSet<_>>() == *set;
                return (right || step.output.is_none())
                    .then_some(())
                    .ok_or(format!(
                        "read {} elements, which are not the {} of the set",
                        read.len(),
                        set.len()
                    ));
            }
            _ => return step.unknown(),
        };
        match step.output {
            Some(Value::Bool(_)) => step.answers(&Value::Bool(success)),
            _ => Ok(()),
        }
    }
}

/// Lists by key, and transactions that append to them and read them.
#[derive(Default)]
struct Lists(HashMap<Value, Vec<Value>>);

impl Object for Lists {
    fn operations(&self) -> &'static [&'static str] {
        &["txn"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let asked = step.input.as_list().ok_or("a txn is a list")?;
        let answered = match step.output {
            None => asked,
            Some(output) => output.as_list().ok_or("a txn answers with a list")?,
        };
        if asked.len() != answered.len() {
            return Err(format!("{} parts, {} answers", asked.len(), answered.len()));
        }
        for (asked, answered) in asked.iter().zip(answered) {
            let list = |key: &Value| self.0.get(key).cloned().unwrap_or_default();
            match (asked.as_list(), answered.as_list()) {
                (Some([f, key, value]), Some([f2, key2, read])) if (f, key) == (f2, key2) => {
                    match f.as_text() {
                        Some("append") => {
                            self.0.entry(key.clone()).or_default().push(value.clone());
                        }
                        // What has no element may be answered with nothing.
                        Some("r") if step.output.is_none() => {}
                        Some("r") if read.as_list().unwrap_or_default() == list(key) => {}
                        Some("r") => {
                            let right = Value::List(list(key));
                            return Err(format!("read {read} of {key}, not {right}"));
                        }
                        _ => return Err(format!("{asked} is neither append nor r")),
                    }
                }
                _ => return Err(format!("{asked} is answered with {answered}")),
            }
        }
        Ok(())
    }
}
