//! Which model a history is of, by the names of its operations and the shapes of what they carry.
//!
//! An operation that a model does not know can have changed anything. So a model is taken only if
//! it knows all operations. An answer may have a shape that no operation put in: then the object is
//! no register, rather than a register that went wrong.

use history::word::Stored;
use history::{History, Kind};

use super::{Choice, Model, keyed, used};

/// The model whose operations these are.
///
/// # Errors
/// Why there is none, and which are the nearest.
pub fn model(history: &History) -> Result<Model, String> {
    let names = used(history);
    if names.is_empty() {
        return Err("the history has no operation of a client".into());
    }
    let fits = |model: &Model| names.iter().all(|n| model.operations().contains(n));
    let Some(model) = Model::ALL.into_iter().find(fits) else {
        return Err(format!(
            "no model has just the operations of this history, {}: {}",
            names.join(", "),
            nearest(&names)
        ));
    };
    let model = by_answers(model, history)?;
    shapes(model, history)?;
    Ok(model)
}

/// Whether a model that was named knows every operation.
///
/// # Errors
/// Which it does not know, and what to do about it.
pub fn fits(model: Model, history: &History) -> Result<(), String> {
    let names = used(history);
    let (known, unknown): (Vec<&str>, Vec<&str>) = names.iter().partition(|n| model.knows(n));
    let has = format!(
        "a {} has the operations {}",
        model.name(),
        model.operations().join(", ")
    );
    match (known.is_empty(), unknown.is_empty()) {
        (_, true) => Ok(()),
        (true, _) => Err(format!(
            "{has}, and this history has none of them, but {}",
            names.join(", ")
        )),
        (false, false) => Err(format!(
            "{has}, and this history has others, which can have changed anything: {}; {} leaves them out, and the \
             result says so",
            unknown.join(", "),
            ignoring(&unknown)
        )),
    }
}

fn ignoring(names: &[&str]) -> String {
    let each = names.iter().map(|name| format!("--ignore {name}"));
    each.collect::<Vec<_>>().join(" ")
}

/// The two models that know most of these, and what it takes to judge by them.
fn nearest(names: &[&str]) -> String {
    let unknown = |model: Model| -> Vec<&str> {
        let names = names.iter().copied();
        names.filter(|name| !model.knows(name)).collect()
    };
    let mut models = Model::ALL.to_vec();
    models.retain(|model| !model.is_txn());
    models.sort_by_key(|model| (unknown(*model).len(), model.operations().len()));
    let told = models.iter().take(2).map(|model| {
        let operations = model.operations().join(", ");
        let name = model.name();
        match &unknown(*model)[..] {
            [] => format!("{name} ({operations})"),
            unknown if unknown.len() == names.len() => format!("{name} ({operations})"),
            unknown => format!("{name} ({operations}) with {}", ignoring(unknown)),
        }
    });
    let told: Vec<String> = told.collect();
    format!("the nearest are {}", told.join(" and "))
}

/// What a value is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Nil,
    Truth,
    Number,
    Text,
    List,
    Map,
}

impl Shape {
    fn of(value: Stored) -> Shape {
        match () {
            () if value.is_nil() => Shape::Nil,
            () if value.as_int().is_some() => Shape::Number,
            () if value.as_text().is_some() => Shape::Text,
            () if value.items().is_some() => Shape::List,
            () if value.to_value().as_bool().is_some() => Shape::Truth,
            () => Shape::Map,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Shape::Nil => "nil",
            Shape::Truth => "true or false",
            Shape::Number => "a number",
            Shape::Text => "text",
            Shape::List => "a list",
            Shape::Map => "a map",
        }
    }
}

/// A value without its key.
pub fn content(keyed: bool, value: Stored<'_>) -> Stored<'_> {
    match keyed {
        true => value.as_pair().map_or(value, |(_, content)| content),
        false => value,
    }
}

/// Answers of operations by these names, without keys, with the index of the operation.
fn answers<'h>(
    history: &'h History,
    keyed: bool,
    names: &'static [&'static str],
) -> impl Iterator<Item = (u32, Stored<'h>)> {
    let columns = history.columns();
    let numbers = names.iter().filter_map(|name| columns.names().find(name));
    let numbers: Vec<u32> = numbers.collect();
    let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
    history.pairs().iter().filter_map(move |pair| {
        let call = calls.row(pair.invocation);
        if !numbers.contains(&call.f()) {
            return None;
        }
        let ret = pair.completion().map(|at| rets.row(at))?;
        let answered = ret.kind() == Kind::Ok;
        answered.then(|| (pair.invocation, content(keyed, ret.value())))
    })
}

/// Of models with the same operations the one whose answers these are: a counter is read as a
/// number, a set as a list; a lease says from when to when; transactions write registers or append
/// to lists.
fn by_answers(model: Model, history: &History) -> Result<Model, String> {
    match model {
        Model::Append if writes(history) => Ok(Model::RwRegister),
        Model::Set => sum_or_set(history),
        Model::Lock => {
            let keyed = keyed(model, history);
            let first = answers(history, keyed, &["acquire"]).next();
            let lease = first.map(|(_, answer)| Shape::of(answer));
            Ok(match lease {
                Some(Shape::List | Shape::Map) => Model::Lease,
                _ => model,
            })
        }
        model => Ok(model),
    }
}

fn sum_or_set(history: &History) -> Result<Model, String> {
    let keyed = keyed(Model::Set, history);
    let mut model = None;
    for (op, answer) in answers(history, keyed, &["read"]) {
        let told = match Shape::of(answer) {
            Shape::Nil => continue,
            Shape::Number => Model::Counter,
            Shape::List => Model::Set,
            other => {
                let shape = other.name();
                return Err(format!(
                    "operation {op} read {}, {shape}: a set is read as a list, and a counter as a number; the nearest \
                     are set and counter",
                    answer.to_value()
                ));
            }
        };
        if model.is_some_and(|model| model != told) {
            return Err(format!(
                "some reads are answered with a list, and others, as operation {op}, with a number: the nearest are \
                 set and counter"
            ));
        }
        model = Some(told);
    }
    Ok(model.unwrap_or(Model::Set))
}

/// Whether transactions write, by the first that does anything but read.
fn writes(history: &History) -> bool {
    let columns = history.columns();
    let mut calls = columns.cursor();
    let calls = history
        .pairs()
        .iter()
        .map(|pair| calls.row(pair.invocation));
    let micros = calls.flat_map(|row| row.value().items().into_iter().flatten());
    let names = micros.filter_map(|micro| micro.items()?.next());
    let mut changes = names.filter(|name| !name.is_text("r"));
    changes.next().is_some_and(|name| name.is_text("w"))
}

/// Whether a register can have been read as what answers say: something of their shape was put in.
fn shapes(model: Model, history: &History) -> Result<(), String> {
    if !matches!(model, Model::Register | Model::CasRegister | Model::Kv) {
        return Ok(());
    }
    let keyed = keyed(model, history);
    let mut put = vec![Shape::Nil];
    let columns = history.columns();
    let is = |name: &str| columns.names().find(name);
    let (cas, reads) = (is("cas"), [is("read"), is("get")]);
    let mut calls = columns.cursor();
    for pair in history.pairs() {
        let call = calls.row(pair.invocation);
        if reads.contains(&Some(call.f())) {
            continue;
        }
        let value = content(keyed, call.value());
        let shapes = match (Some(call.f()) == cas, value.as_pair()) {
            (true, Some((from, to))) => [Shape::of(from), Shape::of(to)],
            _ => [Shape::of(value); 2],
        };
        for shape in shapes {
            if !put.contains(&shape) {
                put.push(shape);
            }
        }
    }
    // What nobody wrote may still be what there was at first, if it is no collection.
    let plain = [Shape::Number, Shape::Text, Shape::Truth];
    let anything = put.len() == 1;
    let odd = answers(history, keyed, &["read", "get"]).find(|(_, answer)| {
        let shape = Shape::of(*answer);
        !(put.contains(&shape) || anything && plain.contains(&shape))
    });
    let Some((op, answer)) = odd else {
        return Ok(());
    };
    let puts: Vec<&str> = put
        .iter()
        .filter(|s| **s != Shape::Nil)
        .map(|s| s.name())
        .collect();
    let puts = match &puts[..] {
        [] => "nothing".to_string(),
        puts => puts.join(" or "),
    };
    let (nearest, other) = match model {
        Model::Register => ("register", "set"),
        _ => (model.name(), "register"),
    };
    Err(format!(
        "operation {op} is answered with {}, {}, and what is written is {puts}: a register is read as what was \
         written to it, so this is none; the nearest are {nearest} and {other}",
        answer.to_value(),
        Shape::of(answer).name()
    ))
}

impl Choice {
    /// A value without its key, if there are keys.
    pub(super) fn content<'h>(&self, value: Stored<'h>) -> Stored<'h> {
        content(self.keyed, value)
    }
}
