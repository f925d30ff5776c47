//! `NAME.toml` beside a system's `system.toml`: a workload in a person's own words, whose answers a
//! script judges. `harness/docs/your-own-system.md` describes it.
//!
//! The texts of both files go into the specification of a run, so that it can be judged again
//! without the folder.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use checkers::Checker;
use checkers::role::{Role, Roles};
use checkers::script::{Script, bounds};
use checkers::scripted::workload::Described as Judge;
use harness::client::Connect;
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next};
use history::{OBSERVATIONS, Value, file};
use rand::RngExt;
use serde::Deserialize;
use toml::Spanned;

use super::description::kept;
use super::place::FolderError;
use crate::interface::{Call, Interface, Offers};
use crate::objects::{self, Used, in_turn, of_key};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::registers::Chooser;
use crate::workload::{Lacking, Load, Texts, Workload};

/// Bytes of the file.
const MOST_BYTES: u64 = 1 << 20;

/// Workloads that were read, by their texts: each lives as long as the program.
static READ: Mutex<Vec<&'static Own>> = Mutex::new(Vec::new());

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    about: String,
    model: Spanned<String>,
    operation: Spanned<Vec<Spanned<OperationFile>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OperationFile {
    f: Spanned<String>,
    value: Option<Value>,
    one_of: Option<Vec<Value>>,
    from: Option<i64>,
    to: Option<i64>,
    #[serde(default)]
    unique: bool,
    weight: Option<u32>,
    #[serde(default)]
    reads: bool,
}

/// A workload that a file describes.
pub struct Own {
    name: &'static str,
    texts: Texts,
    about: &'static str,
    operations: &'static [Operation],
    calls: &'static [Call],
    /// Those of the calls that change nothing.
    reads: &'static [&'static str],
    roles: Roles,
    judge: Judge,
}

#[derive(Debug)]
struct Operation {
    call: Call,
    value: Drawn,
    weight: u32,
    reads: bool,
}

/// What an operation is invoked with.
#[derive(Debug)]
enum Drawn {
    OneOf(Vec<Value>),
    Between(i64, i64),
    /// A number that no other operation has.
    Unique,
}

impl Drawn {
    /// One that is always the same, but for numbers that are used once.
    fn first(&self, next: &AtomicI64) -> Value {
        match self {
            Drawn::OneOf(values) => values[0].clone(),
            Drawn::Between(from, _) => Value::Int(*from),
            Drawn::Unique => next.fetch_add(1, Ordering::Relaxed).into(),
        }
    }

    fn draw(&self, context: &mut Context<'_>, next: &AtomicI64) -> Value {
        match self {
            Drawn::OneOf(values) => values[context.rng.random_range(0..values.len())].clone(),
            Drawn::Between(from, to) => context.rng.random_range(*from..=*to).into(),
            Drawn::Unique => self.first(next),
        }
    }
}

/// The workload of this name that lies in a system's folder; none if there is no such file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn find(folder: &Path, name: &str) -> Result<Option<&'static Own>, FolderError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let path = folder.join(format!("{name}.toml"));
    if name.is_empty() || !name.chars().all(plain) || name == "system" || !path.is_file() {
        return Ok(None);
    }
    let text = text(&path, MOST_BYTES).map_err(|why| FolderError::whole(&path, why))?;
    let file = parse(&path, &text)?;
    let wrong = |at, why| FolderError::at(&path, &text, at, why);
    let (model, at) = (file.model.get_ref(), file.model.span().start);
    if model.contains('/') || !model.ends_with(".rhai") {
        let why = format!("{model:?} is no script of this folder: its name ends in `.rhai`");
        return Err(wrong(at, why));
    }
    let script = self::text(&folder.join(model), bounds::SCRIPT_BYTES);
    let script = script.map_err(|why| wrong(at, format!("{model}: {why}")))?;
    let texts = Texts {
        name: name.into(),
        workload: text.clone(),
        model: model.clone(),
        script,
    };
    kept_once(&path, texts, file).map(Some)
}

/// The workload that these texts are.
///
/// # Errors
/// What is wrong with them, and where.
pub fn again(texts: &Texts) -> Result<&'static Own, FolderError> {
    let path = Path::new(&texts.name).with_extension("toml");
    let file = parse(&path, &texts.workload)?;
    kept_once(&path, texts.clone(), file)
}

fn text(path: &Path, most: u64) -> Result<String, String> {
    let bytes = file::read(path, most).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".into())
}

fn parse(path: &Path, text: &str) -> Result<File, FolderError> {
    toml::from_str(text).map_err(|e| FolderError::toml(path, text, &e))
}

fn kept_once(path: &Path, texts: Texts, file: File) -> Result<&'static Own, FolderError> {
    let mut read = READ.lock().expect("no panic while held");
    if let Some(own) = read.iter().find(|own| own.texts == texts) {
        return Ok(own);
    }
    let own: &'static Own = Box::leak(Box::new(Own::new(path, texts, file)?));
    read.push(own);
    Ok(own)
}

impl Own {
    fn new(path: &Path, texts: Texts, file: File) -> Result<Own, FolderError> {
        let wrong = |at, why: String| FolderError::at(path, &texts.workload, at, why);
        let (all, at) = (file.operation.get_ref(), file.operation.span().start);
        let mut operations: Vec<Operation> = Vec::new();
        for spanned in all {
            let one = spanned.get_ref();
            let made = operation(one).map_err(|why| wrong(spanned.span().start, why))?;
            if operations.iter().any(|other| other.call == made.call) {
                let why = format!("a second operation {:?}", one.f.get_ref());
                return Err(wrong(one.f.span().start, why));
            }
            operations.push(made);
        }
        if operations.iter().all(|operation| operation.reads) {
            let why = "all of its operations only read: there would be nothing to see";
            return Err(wrong(at, why.into()));
        }
        let no = AtomicI64::new(0);
        let example = |o: &Operation| {
            let value = Value::pair(0, o.value.first(&no));
            (o.call.word().to_string(), value)
        };
        let examples: Vec<_> = operations.iter().map(example).collect();
        let script = Script::new(texts.model.clone(), texts.script.clone());
        let judge = script.and_then(|script| Judge::new(script, &examples));
        let judge = judge.map_err(|fault| wrong(file.model.span().start, fault.to_string()))?;
        let reading = operations.iter().filter(|o| o.reads);
        let reads: Vec<&'static str> = reading.map(|o| o.call.word()).collect();
        let reads: &'static [&'static str] = reads.leak();
        let calls: Vec<Call> = operations.iter().map(|o| o.call).collect();
        Ok(Own {
            name: kept(&texts.name),
            about: kept(&file.about),
            operations: operations.leak(),
            calls: calls.leak(),
            reads,
            roles: Box::leak(Box::new(move |f: &str, asked: &Value| {
                role(reads, f, asked)
            })),
            judge,
            texts,
        })
    }
}

fn role(reads: &[&str], f: &str, asked: &Value) -> Role {
    match asked.as_pair() {
        None => Role::default(),
        Some((key, _)) if reads.contains(&f) => Role::reads(key.clone()),
        Some((key, _)) => Role::writes(key.clone()),
    }
}

fn operation(file: &OperationFile) -> Result<Operation, String> {
    let f = file.f.get_ref();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !f.starts_with(|c: char| c.is_ascii_lowercase()) || !f.chars().all(plain) {
        return Err(format!(
            "{f:?} is no name of an operation: small letters, digits, `-` and `_`"
        ));
    }
    if OBSERVATIONS.contains(&f.as_str()) {
        return Err(format!(
            "{f} is the name by which Schism itself looks at systems: call the operation otherwise"
        ));
    }
    let value = match (&file.value, &file.one_of, file.from, file.to, file.unique) {
        (value, None, None, None, false) => Drawn::OneOf(vec![value.clone().unwrap_or_default()]),
        (None, Some(values), None, None, false) if !values.is_empty() => {
            Drawn::OneOf(values.clone())
        }
        (None, None, Some(from), Some(to), false) if from <= to => Drawn::Between(from, to),
        (None, None, None, None, true) => Drawn::Unique,
        _ => {
            return Err(format!(
                "{f} is invoked with one of these: a `value`, `one-of` some, a number `from` and `to`, or a `unique` \
                 number"
            ));
        }
    };
    match file.weight {
        Some(0) => Err(format!("{f} has weight 0: it would never be asked")),
        weight => Ok(Operation {
            call: Call::Own(kept(f)),
            value,
            weight: weight.unwrap_or(1),
            reads: file.reads,
        }),
    }
}

impl Workload for Own {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Objects]
    }

    fn calls(&self) -> &'static [Call] {
        self.calls
    }

    fn load(&self, params: &Params) -> Load {
        let (used, next) = (Used::<()>::default(), Arc::new(AtomicI64::new(1)));
        let main = Drawing {
            operations: self.operations,
            chooser: Chooser::new(register::keys(params)),
            used: used.clone(),
            next: next.clone(),
        };
        let (keys, mut writes) = (used.clone(), 0);
        let changing = self.operations.iter().find(|o| !o.reads);
        let changing = changing.expect("one of them changes something");
        let write = move || {
            let mut used = keys.lock().expect("no panic while held");
            let key = in_turn(&used, writes);
            used.insert(key, ());
            writes += 1;
            Some(of_key(changing.call, key, changing.value.first(&next)))
        };
        let operations = self.operations;
        let reads = move || {
            let used = used.lock().expect("no panic while held");
            let reading = || operations.iter().filter(|o| o.reads);
            let none = AtomicI64::new(0);
            let of = |key: &i64| {
                let key = *key;
                let one = |o: &Operation| of_key(o.call, key, o.value.first(&none));
                reading().map(one).collect::<Vec<_>>()
            };
            used.keys().flat_map(of).collect()
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(write),
                reads: Box::new(reads),
            },
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        objects::clients_of(self.name(), offers, self.calls, self.reads)
    }

    fn roles(&self) -> Roles {
        self.roles
    }

    fn reads_all_along(&self) -> bool {
        !self.reads.is_empty()
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(self.judge.clone())]
    }

    fn texts(&self) -> Option<&Texts> {
        Some(&self.texts)
    }
}

/// Draws operations, each in proportion to its weight.
struct Drawing {
    operations: &'static [Operation],
    chooser: Chooser,
    used: Used<()>,
    next: Arc<AtomicI64>,
}

impl Generator for Drawing {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        self.used
            .lock()
            .expect("no panic while held")
            .insert(key, ());
        let weights = || self.operations.iter().map(|o| u64::from(o.weight));
        let mut left = context.rng.random_range(0..weights().sum());
        let drawn = self.operations.iter().find(|o| {
            let weight = u64::from(o.weight);
            let is_it = left < weight;
            left = left.saturating_sub(weight);
            is_it
        });
        let drawn = drawn.expect("less than the sum of the weights was drawn");
        let value = drawn.value.draw(context, &self.next);
        Next::at_once(of_key(drawn.call, key, value), context)
    }
}

#[cfg(test)]
mod tests;
