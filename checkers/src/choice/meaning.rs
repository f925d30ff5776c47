//! What the operations of a file mean: before a history is judged, it is put into the words of its
//! model.
//!
//! | said | meant |
//! | --- | --- |
//! | an operation that is to be ignored, or what a node said of itself (`log`, `trace`, `head`) | not judged |
//! | `{"from" a, "to" b, "amount" n}`, by any name | `transfer [a b n]` |
//! | balances as a map, or as a list by account | `[[a 10] [b 10]]` |
//! | a counter read as nil | 0 |
//! | a set read as nil | empty |
//! | a text read or written as `""`, where nothing is appended | nil: unwritten |
//! | with `--nil-reads unknown`, a register read as nil | no answer |
//!
//! Everything behind this, checkers and verifiers, sees the history so.

use history::columns::Row;
use history::word::Stored;
use history::wording::{counted, either};
use history::{History, Kind, OBSERVATIONS, Process, Value};

use super::{Choice, Model, guess, used};
use crate::guarantees::Guarantee;
use crate::transactions::Consistency;

/// What is asked of a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// None: the history tells.
    pub model: Option<Model>,
    pub initial: Option<Value>,
    pub consistency: Option<Against>,
    /// Operations that are passed over.
    pub ignore: Vec<String>,
    /// A register that is read as nil was not read.
    pub nil_reads_unknown: bool,
}

/// What a history is held against, by a name: transactions and registers have models of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Against {
    pub transactions: Option<Consistency>,
    pub registers: Option<Guarantee>,
}

/// A history as it is judged.
#[derive(Clone, Debug)]
pub struct Asked {
    pub history: History,
    /// None: there is nothing to judge.
    pub choice: Option<Choice>,
    /// What was read otherwise than it is written, a sentence each.
    pub notes: Vec<String>,
}

impl Question {
    /// A consistency model of transactions, of registers or of both by its name, or by one that
    /// others have for it.
    pub fn against(name: &str) -> Option<Against> {
        let against = Against {
            transactions: Question::consistency_named(name),
            registers: Guarantee::named(name),
        };
        let known = against.transactions.is_some() || against.registers.is_some();
        known.then_some(against)
    }

    /// One of transactions.
    pub fn consistency_named(name: &str) -> Option<Consistency> {
        let own = Consistency::ALL
            .into_iter()
            .find(|model| model.name() == name);
        own.or(match name.to_lowercase().as_str() {
            "pl-1" => Some(Consistency::ReadUncommitted),
            "pl-2" => Some(Consistency::ReadCommitted),
            "pl-2+" => Some(Consistency::ConsistentView),
            "pl-2.99" => Some(Consistency::RepeatableRead),
            "pl-3" | "serializability" => Some(Consistency::Serializable),
            "causal" | "tcc" => Some(Consistency::TransactionalCausal),
            "pl-si" | "snapshot" | "si" => Some(Consistency::SnapshotIsolation),
            "pl-ss" | "strong-serializable" | "strict-serializability" => {
                Some(Consistency::StrictSerializable)
            }
            _ => None,
        })
    }

    /// Puts the history into words, and chooses who judges it.
    ///
    /// # Errors
    /// Why it cannot be judged, and what to do about it.
    pub fn put(&self, history: History) -> Result<Asked, String> {
        let mut notes = Vec::new();
        let history = self.without_ignored(history, &mut notes)?;
        let history = without_observations(history, self.model.is_none(), &mut notes)?;
        if history.pairs().is_empty() {
            return Ok(Asked {
                history,
                choice: None,
                notes,
            });
        }
        let history = transfers(history, &mut notes);
        let choice = match self.model {
            Some(model) => Choice::with_model(model, &history)?,
            None => {
                Choice::of(&history).map_err(|why| format!("{why}; --model says which it is"))?
            }
        };
        let (consistency, guarantee) = self.held_against(&choice, &history)?;
        let choice = Choice {
            initial: self.initial.clone(),
            consistency,
            guarantee,
            ..choice
        };
        let history = meant(history, &choice);
        let history = self.without_nil_reads(history, &choice, &mut notes)?;
        let choice = match (history.pairs().is_empty(), &choice.initial) {
            (true, _) => None,
            // An unwritten text is nil, whichever way it is told.
            (false, Some(Value::Text(text)))
                if text.is_empty() && is_plain_kv(&choice, &history) =>
            {
                Some(Choice {
                    initial: None,
                    ..choice
                })
            }
            _ => Some(choice),
        };
        Ok(Asked {
            history,
            choice,
            notes,
        })
    }

    /// The history as a script has it: in its own words, without what is to be ignored and what
    /// nodes said of themselves. Also what there is to say of that.
    ///
    /// # Errors
    /// That it has no such operation to ignore.
    pub fn without_others(&self, history: History) -> Result<(History, Vec<String>), String> {
        let mut notes = Vec::new();
        let history = self.without_ignored(history, &mut notes)?;
        let history = without_observations(history, false, &mut notes)?;
        Ok((history, notes))
    }

    /// The model for transactions, and that for registers, of which one is asked for.
    fn held_against(
        &self,
        choice: &Choice,
        history: &History,
    ) -> Result<(Consistency, Guarantee), String> {
        let mut held = (Consistency::default(), Guarantee::default());
        let Some(against) = self.consistency else {
            return Ok(held);
        };
        let model = choice.model;
        let is_registers =
            is_register(model) && (model != Model::Kv || is_plain_kv(choice, history));
        match (against.transactions, against.registers) {
            (Some(consistency), _) if model.is_txn() => held.0 = consistency,
            (_, Some(guarantee)) if is_registers => held.1 = guarantee,
            _ if model.is_txn() => {
                return Err(format!(
                    "this --consistency-model is for registers; for transactions there are {}",
                    Consistency::ALL.map(Consistency::name).join(", ")
                ));
            }
            _ if is_registers => {
                return Err(format!(
                    "this --consistency-model is for transactions; for registers there are {}",
                    Guarantee::ALL.map(Guarantee::name).join(", ")
                ));
            }
            _ => {
                return Err(format!(
                    "--consistency-model is for transactions and registers; this is a history of {}",
                    model.name()
                ));
            }
        }
        Ok(held)
    }

    fn without_ignored(
        &self,
        history: History,
        notes: &mut Vec<String>,
    ) -> Result<History, String> {
        let names = used(&history);
        if let Some(other) = self
            .ignore
            .iter()
            .find(|name| !names.contains(&name.as_str()))
        {
            return Err(format!(
                "--ignore {other}: the history has no such operation, but {}",
                names.join(", ")
            ));
        }
        if self.ignore.is_empty() {
            return Ok(history);
        }
        let before = history.pairs().len();
        let history = without(history, &self.ignore);
        let ignored = before - history.pairs().len();
        notes.push(format!(
            "{} {} ignored, and can have changed anything: {}",
            counted(ignored, "operation"),
            either(ignored, "was", "were"),
            self.ignore.join(", ")
        ));
        Ok(history)
    }

    fn without_nil_reads(
        &self,
        history: History,
        choice: &Choice,
        notes: &mut Vec<String>,
    ) -> Result<History, String> {
        if !self.nil_reads_unknown {
            return Ok(history);
        }
        if !is_register(choice.model) {
            return Err(format!(
                "--nil-reads is for registers; this is a history of {}",
                choice.model.name()
            ));
        }
        let names = history.columns().names();
        let reads = [names.find("read"), names.find("get")];
        let before = history.pairs().len();
        let history = history.without_ops(|call, ret| {
            let answered = ret.filter(|ret| ret.kind() == Kind::Ok);
            let is_nil = |ret: Row| choice.content(ret.value()).is_nil();
            reads.contains(&Some(call.f())) && answered.is_some_and(is_nil)
        });
        let passed = before - history.pairs().len();
        notes.push(format!(
            "{} {} answered with nil, which is taken for no answer",
            counted(passed, "read"),
            either(passed, "was", "were")
        ));
        Ok(history)
    }
}

fn is_register(model: Model) -> bool {
    matches!(model, Model::Register | Model::CasRegister | Model::Kv)
}

/// Whether texts are as good as registers.
fn is_plain_kv(choice: &Choice, history: &History) -> bool {
    choice.model == Model::Kv && !used(history).contains(&"append")
}

fn without(history: History, names: &[impl AsRef<str>]) -> History {
    let known = history.columns().names();
    let numbers = names.iter().filter_map(|name| known.find(name.as_ref()));
    let numbers: Vec<u32> = numbers.collect();
    history.without_ops(|call, _| numbers.contains(&call.f()))
}

/// What nodes said of themselves is no service: it is judged with the run.
fn without_observations(
    history: History,
    guessed: bool,
    notes: &mut Vec<String>,
) -> Result<History, String> {
    let names = used(&history);
    let observed: Vec<&str> = OBSERVATIONS
        .into_iter()
        .filter(|name| names.contains(name))
        .collect();
    if observed.is_empty() {
        return Ok(history);
    }
    let told = observed.join(", ");
    if guessed && observed.len() == names.len() {
        return Err(format!(
            "all that the history has is what nodes said of themselves, {told}: it is judged as a run, or with \
             --workload"
        ));
    }
    let history = without(history, &observed);
    notes.push(format!(
        "{told}: what nodes said of themselves is not judged here, but as a run or with --workload"
    ));
    Ok(history)
}

/// Whether a value says from where to where how much goes, by these names.
fn is_transfer(value: &Value) -> bool {
    ["from", "to", "amount"]
        .iter()
        .all(|name| value.get(name).is_some())
}

fn map_of(value: Stored) -> Option<Value> {
    let collection = value.items().is_none() && !value.word().is_whole();
    collection
        .then(|| value.to_value())
        .filter(|value| matches!(value, Value::Map(_)))
}

/// What moves money is a transfer, by whatever name.
fn transfers(history: History, notes: &mut Vec<String>) -> History {
    let columns = history.columns();
    let mut calls = columns.cursor();
    // Of each operation the first that carries anything tells.
    let mut told: Vec<Option<bool>> = vec![None; columns.names().iter().count()];
    for pair in history.pairs() {
        let call = calls.row(pair.invocation);
        let told = &mut told[call.f() as usize];
        if told.is_none() && !call.value().is_nil() {
            let content = call.value().as_pair().map(|(_, content)| content);
            let maps = [Some(call.value()), content]
                .into_iter()
                .flatten()
                .filter_map(map_of);
            *told = Some(maps.into_iter().any(|map| is_transfer(&map)));
        }
    }
    let named = columns.names().iter().zip(&told);
    let named = named.filter(|(name, told)| **told == Some(true) && *name != "transfer");
    let others: Vec<String> = named.map(|(name, _)| name.to_string()).collect();
    if others.is_empty() {
        return history;
    }
    notes.push(format!("{}: judged as transfer", others.join(", ")));
    history.with_names(|name| {
        others
            .iter()
            .any(|other| other == name)
            .then_some("transfer")
    })
}

/// The same history in the words of the model.
fn meant(history: History, choice: &Choice) -> History {
    let plain_kv = is_plain_kv(choice, &history);
    let read = history.columns().names().find("read");
    let keyed = choice.keyed;
    let is_answer = move |row: &Row| row.kind() == Kind::Ok && Some(row.f()) == read;
    let edited = |edit: &dyn Fn(&Row, Stored) -> Option<Value>| {
        history.clone().with_values(|row| {
            if row.process() == Process::Nemesis {
                return None;
            }
            let content = edit(&row, guess::content(keyed, row.value()))?;
            Some(match row.value().as_pair() {
                Some((key, _)) if keyed => Value::pair(key.to_value(), content),
                _ => content,
            })
        })
    };
    let nothing = |is: Value| {
        edited(&move |row, value| (is_answer(row) && value.is_nil()).then(|| is.clone()))
    };
    match choice.model {
        Model::Counter => nothing(Value::Int(
            choice.initial.as_ref().and_then(Value::as_int).unwrap_or(0),
        )),
        Model::Set => nothing(Value::List(Vec::new())),
        Model::Kv if plain_kv => edited(&|_, value| value.is_text("").then_some(Value::Nil)),
        Model::Bank => edited(&|row, value| match is_answer(row) {
            true => balances(value),
            false => map_of(value).filter(is_transfer).map(|map| {
                let parts = ["from", "to", "amount"].map(|name| map.get(name).cloned());
                Value::List(parts.into_iter().flatten().collect())
            }),
        }),
        _ => history,
    }
}

/// Balances of a map, or of a list by account, as pairs; none if they are pairs already.
fn balances(value: Stored) -> Option<Value> {
    if let Some(Value::Map(entries)) = map_of(value) {
        let pairs = entries
            .into_iter()
            .map(|(account, balance)| Value::pair(account, balance));
        return Some(Value::List(pairs.collect()));
    }
    let items: Vec<Value> = value.items()?.map(Stored::to_value).collect();
    let by_account = !items.is_empty() && items.iter().all(|item| item.as_int().is_some());
    let numbered = items.into_iter().zip(0..);
    by_account.then(|| {
        Value::List(
            numbered
                .map(|(balance, n)| Value::pair(n, balance))
                .collect(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing;

    #[test]
    fn others_have_other_names_for_the_same() {
        for (name, model) in [
            ("list-append", Model::Append),
            ("mutex", Model::Lock),
            ("fifo-queue", Model::Queue),
        ] {
            assert_eq!(Model::named(name), Some(model));
        }
        for model in Model::ALL {
            assert_eq!(Model::named(model.name()), Some(model));
        }
        for (name, model) in [
            ("strong-serializable", Consistency::StrictSerializable),
            ("PL-1", Consistency::ReadUncommitted),
            ("PL-2", Consistency::ReadCommitted),
            ("PL-3", Consistency::Serializable),
        ] {
            assert_eq!(Question::consistency_named(name), Some(model));
        }
        for model in Consistency::ALL {
            assert_eq!(Question::consistency_named(model.name()), Some(model));
        }
        assert_eq!(
            (Model::named("lst"), Question::consistency_named("PL-9")),
            (None, None)
        );
    }

    #[test]
    fn registers_and_transactions_have_models_of_their_own() {
        let put = |name: &str, drawn: &str| {
            let question = Question {
                consistency: Question::against(name),
                ..Question::default()
            };
            question.put(drawing::history(drawn).unwrap())
        };
        let (registers, txns) = ("P0 |-write 1-| |-read 1-|", "P0 |-txn [[w 1 1] [r 1 1]]-|");
        let choice = put("causal", registers).unwrap().choice.unwrap();
        assert_eq!(choice.guarantee, Guarantee::Causal);
        let choice = put("causal", txns).unwrap().choice.unwrap();
        assert_eq!(choice.consistency, Consistency::TransactionalCausal);
        let why = put("snapshot-isolation", registers).unwrap_err();
        assert!(
            why.contains("for registers there are read-your-writes, "),
            "{why}"
        );
        let why = put("monotonic-reads", txns).unwrap_err();
        assert!(
            why.contains("for transactions there are read-uncommitted, "),
            "{why}"
        );
        let why = put("causal", "P0 |-enqueue 1-| |-dequeue 1-|").unwrap_err();
        assert!(why.ends_with("this is a history of queue"), "{why}");
        // Texts that grow are no registers.
        assert!(put("causal", "P0 |-7:append x-| |-7:get x-|").is_err());
        assert_eq!(Question::against("eventual"), None);
    }

    #[test]
    fn what_nodes_said_of_themselves_is_not_judged_with_the_rest() {
        let put = |drawn: &str| Question::default().put(drawing::history(drawn).unwrap());
        let asked = put("P0 |-write 1-| |-log [1 2]-| |-read 1-| |-trace 5-|").unwrap();
        assert_eq!(asked.choice.unwrap().model, Model::Register);
        assert_eq!(asked.history.pairs().len(), 2);
        assert_eq!(
            asked.notes,
            [
                "log, trace: what nodes said of themselves is not judged here, but as a run or with --workload"
            ]
        );
        let why = put("P0 |-head [1 2]-|").unwrap_err();
        assert!(why.contains("--workload"), "{why}");
    }
}
