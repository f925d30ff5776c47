//! What a history is a history of, and who judges it: for histories that come without a workload.

use history::word::Stored;
use history::{History, Kind, Process, Value};
use serde::{Deserialize, Serialize};

use crate::append::ListAppend;
use crate::linearizable::{Registers, Texts};
use crate::set::GrowOnlySet;
use crate::{Analysis, Budget, Certificate, Checker};

/// The objects that can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// `read` and `write`.
    Register,
    /// And `cas`, with `[from, to]`.
    CasRegister,
    /// `get`, `put` and `append`, of text.
    Kv,
    /// `add`, and `read` of everything.
    Set,
    /// Transactions that append to lists and read them.
    Append,
}

impl Model {
    pub const ALL: [Model; 5] = [
        Model::Register,
        Model::CasRegister,
        Model::Kv,
        Model::Set,
        Model::Append,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::CasRegister => "cas-register",
            Model::Kv => "kv",
            Model::Set => "set",
            Model::Append => "append",
        }
    }

    /// The operations that it knows.
    pub fn operations(self) -> &'static [&'static str] {
        match self {
            Model::Register => &["read", "write"],
            Model::CasRegister => &["read", "write", "cas"],
            Model::Kv => &["get", "put", "append"],
            Model::Set => &["add", "read"],
            Model::Append => &["txn"],
        }
    }
}

/// A model, and what else has to be known to judge by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub model: Model,
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    /// What every object holds at the start; none if nobody said.
    pub initial: Option<Value>,
}

impl Choice {
    /// Looks at the names and values of operations.
    ///
    /// # Errors
    /// Why they do not tell.
    pub fn of(history: &History) -> Result<Choice, String> {
        let columns = history.columns();
        let mut used = vec![false; columns.names().iter().count()];
        for row in columns.rows() {
            if row.process() != Process::Nemesis {
                used[row.f() as usize] = true;
            }
        }
        let names = columns.names().iter().zip(&used);
        let names: Vec<&str> = names
            .filter(|(_, used)| **used)
            .map(|(n, _)| n.as_str())
            .collect();
        let fits = |model: &Model| names.iter().all(|n| model.operations().contains(n));
        match Model::ALL.iter().find(|model| fits(model)) {
            _ if names.is_empty() => Err("the history has no operation of a client".into()),
            Some(model) => Ok(Choice::with_model(*model, history)),
            None => {
                let known =
                    Model::ALL.map(|m| format!("{} ({})", m.name(), m.operations().join(", ")));
                Err(format!(
                    "no model has just the operations of this history, {}; there are {}",
                    names.join(", "),
                    known.join("; ")
                ))
            }
        }
    }

    /// By a model that somebody named; whether there are keys is for the history to say.
    pub fn with_model(model: Model, history: &History) -> Choice {
        Choice {
            model,
            keyed: matches!(model, Model::Register | Model::CasRegister | Model::Kv)
                && keyed(history),
            initial: None,
        }
    }

    fn registers(&self) -> Registers {
        let registers = match self.keyed {
            true => Registers::keyed(),
            false => Registers::single(),
        };
        registers.with_initial(self.initial.clone().unwrap_or_default())
    }

    /// Texts, if anything is appended; if not, they are as good as registers.
    fn texts(&self, history: &History) -> Option<Texts> {
        if self.model != Model::Kv || history.columns().names().find("append").is_none() {
            return None;
        }
        let texts = match self.keyed {
            true => Texts::keyed(),
            false => Texts::single(),
        };
        let initial = self.initial.as_ref().and_then(Value::as_text);
        Some(texts.with_initial(initial.unwrap_or_default().into()))
    }

    /// Who judges it.
    pub fn checker(&self, history: &History) -> Box<dyn Checker> {
        match (self.model, self.texts(history)) {
            (_, Some(texts)) => Box::new(texts),
            (Model::Register | Model::CasRegister | Model::Kv, None) => Box::new(self.registers()),
            (Model::Set, None) => Box::new(GrowOnlySet),
            (Model::Append, None) => Box::new(ListAppend),
        }
    }

    /// An order that explains the history.
    ///
    /// # Errors
    /// What the checker says if there is none, or if it cannot give one.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        match (self.model, self.texts(history)) {
            (_, Some(texts)) => texts.certify(history, budget),
            (Model::Register | Model::CasRegister | Model::Kv, None) => {
                self.registers().certify(history, budget)
            }
            (Model::Set, None) => GrowOnlySet.certify(history, budget),
            (model @ Model::Append, None) => {
                let why = format!("there are no certificates for {}", model.name());
                Err(Analysis::unknown(self.checker(history).name(), why))
            }
        }
    }
}

/// Whether operations have keys, by the first that shows it: a keyed read asks for `[key, nil]`, a
/// single one for nothing; a keyed compare-and-set has a pair within its pair.
fn keyed(history: &History) -> bool {
    let columns = history.columns();
    let pair_within = |value: Stored| value.as_pair().is_some_and(|(_, v)| v.as_pair().is_some());
    let mut writes = None;
    for row in columns.rows().filter(|row| row.kind() == Kind::Invoke) {
        let (value, name) = (row.value(), columns.names().get(row.f()));
        match name.map(|name| name.as_str()) {
            _ if row.process() == Process::Nemesis => {}
            Some("read" | "get") => return value.as_pair().is_some_and(|(_, v)| v.is_nil()),
            Some("cas") => return pair_within(value),
            Some("write" | "put" | "append") if writes.is_none() => {
                writes = Some(value.as_pair().is_some());
            }
            _ => {}
        }
    }
    writes.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing;

    fn choice(drawn: &str) -> Result<Choice, String> {
        Choice::of(&drawing::history(drawn).unwrap())
    }

    #[test]
    #[rustfmt::skip]
    fn models_are_told_by_their_operations() {
        for (drawn, model, keyed) in [
            ("P0 |-write 1-| |-read 1-|",        Model::Register,    false),
            ("P0 |-7:write 1-| |-7:read 1-|",    Model::Register,    true),
            ("P0 |-cas 1 2-| |-read 1-|",        Model::CasRegister, false),
            ("P0 |-7:cas 1 2-| |-7:write 3-|",   Model::CasRegister, true),
            ("P0 |-add 1-| |-read 1-|",          Model::Set,         false),
        ] {
            let found = choice(drawn).unwrap();
            assert_eq!((found.model, found.keyed), (model, keyed), "{drawn}");
        }
        assert_eq!(choice("").unwrap_err(), "the history has no operation of a client");
        let why = choice("P0 |-write 1-| |-add 1-|").unwrap_err();
        assert!(why.starts_with("no model has just the operations of this history, write, add; there are register (read, write); "), "{why}");
    }
}
