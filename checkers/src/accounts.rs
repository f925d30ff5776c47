//! Why a history is right whose objects are judged without an order, and who checks that.
//!
//! Banks, total queues and leases promise less than an order of all operations. What they promise
//! is counted again here from the history alone, by code that shares nothing with the checkers. A
//! bank's certificate says of each read which of the transfers that ran beside it, or of which
//! nobody knows, are in it.

mod bank;
mod lease;
mod total;

use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::certificate::{Terms, within};
use crate::consistency::Scope;
use crate::model::Model;
use crate::{Doubt, Meter};

/// Accounts of every object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accounts {
    /// What the objects are.
    pub model: Model,
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    pub initial: Value,
    pub accounts: Vec<Account>,
}

/// One object's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Which object; none if the history has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// Of a bank: every read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Explained>,
}

/// A read of a bank, and what is in it beside the transfers that had ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    pub op: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<u64>,
}

impl Accounts {
    /// An empty account for every object of the history.
    pub(crate) fn of_all(history: &History, question: &Terms) -> Result<Accounts, String> {
        let objects = objects(history, question)?;
        let account = |(key, _): (Option<&Value>, Vec<Entry>)| Account {
            key: key.cloned(),
            reads: Vec::new(),
        };
        Ok(Accounts {
            model: question.model,
            keyed: question.keyed,
            initial: question.initial.clone(),
            accounts: objects.into_iter().map(account).collect(),
        })
    }

    pub fn terms(&self) -> Terms {
        Terms {
            model: self.model,
            keyed: self.keyed,
            initial: self.initial.clone(),
            scope: Scope::Realtime,
        }
    }
}

/// The models that are judged so.
pub fn counts(model: Model) -> bool {
    matches!(model, Model::Bank | Model::TotalQueue | Model::Lease)
}

/// An operation that happened or may have, as its object sees it.
#[derive(Clone, Copy, Debug)]
struct Entry<'h> {
    op: &'h Op,
    input: &'h Value,
    /// None: nobody knows what it answered.
    output: Option<&'h Value>,
}

type Objects<'h> = Vec<(Option<&'h Value>, Vec<Entry<'h>>)>;

/// The operations of every object, by invocation.
fn objects<'h>(history: &'h History, question: &Terms) -> Result<Objects<'h>, String> {
    let mut objects: Objects = Vec::new();
    let mut numbers: FxHashMap<Option<&Value>, usize> = FxHashMap::default();
    let names = question.model.operations();
    let judged = |op: &&Op| names.contains(&op.f.as_str()) && op.outcome != Outcome::Fail;
    for op in history.ops().iter().filter(judged) {
        let key = match (question.keyed, op.input.as_pair()) {
            (false, _) => None,
            (true, Some((key, _))) => Some(key),
            (true, None) => return Err(format!("op {}: {} has no key", op.index, op.input)),
        };
        let number = *numbers.entry(key).or_insert_with(|| {
            objects.push((key, Vec::new()));
            objects.len() - 1
        });
        let answered = (op.outcome == Outcome::Ok).then(|| match &op.output {
            Value::Nil => Ok(&Value::Nil),
            output => within(key, output),
        });
        objects[number].1.push(Entry {
            op,
            input: within(key, &op.input)?,
            output: answered.transpose()?,
        });
    }
    Ok(objects)
}

/// Counts everything again. How many operations there are.
///
/// # Errors
/// What is wrong with the first account that is wrong.
pub fn recount(history: &History, accounts: &Accounts) -> Result<usize, String> {
    if !counts(accounts.model) {
        return Err(format!("a {} is judged by an order", accounts.model.name()));
    }
    let mut own: FxHashMap<Option<&Value>, &Account> = FxHashMap::default();
    for account in &accounts.accounts {
        let key = account.key.as_ref();
        if key.is_some() != accounts.keyed || own.insert(key, account).is_some() {
            return Err(format!("one account for each key, not {key:?}"));
        }
    }
    let objects = objects(history, &accounts.terms())?;
    for (key, entries) in &objects {
        let account = own.remove(key).ok_or_else(|| match key {
            None => "there is no account".to_string(),
            Some(key) => format!("there is no account of key {key}"),
        })?;
        match accounts.model {
            Model::Bank => bank::sound(entries, account)?,
            Model::Lease => lease::sound(entries)?,
            _ => total::sound(entries)?,
        }
    }
    match own.into_keys().next() {
        Some(key) => Err(format!("no operation is of key {key:?}")),
        None => Ok(objects.iter().map(|(_, entries)| entries.len()).sum()),
    }
}

/// Whether operations of one object break by themselves what it promises, whatever else is counted
/// in its favour.
pub(crate) fn impossible(
    history: &History,
    question: &Terms,
    key: Option<&Value>,
    ops: &[u64],
    meter: &mut Meter,
) -> Result<(), Doubt> {
    let objects = objects(history, question)?;
    let own = objects.iter().find(|(own, _)| *own == key);
    let (_, entries) = own.ok_or(format!("no operation is of key {key:?}"))?;
    // What failed may be named too: it tells why a value should not be there.
    let is_known = |op: &&u64| {
        let failed = history
            .op(**op)
            .is_some_and(|op| op.outcome == Outcome::Fail);
        failed || entries.iter().any(|entry| entry.op.index == **op)
    };
    if let Some(op) = ops.iter().find(|op| !is_known(op)) {
        let name = question.model.name();
        return Err(format!("op {op} is no operation of this {name}").into());
    }
    let named = |entry: &&Entry| ops.contains(&entry.op.index);
    let wrong = match question.model {
        Model::Bank => bank::impossible(entries, ops, meter)?,
        Model::Lease => {
            let found = lease::sound_among(entries, |op| ops.contains(&op));
            found.is_err()
        }
        _ => total::impossible(entries, &entries.iter().filter(named).collect::<Vec<_>>())?,
    };
    match wrong {
        true => Ok(()),
        false => Err(format!("ops {ops:?} keep what is promised").into()),
    }
}
