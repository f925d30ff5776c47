//! What a history is a history of, and who judges it: for histories that come without a workload.
//!
//! [`Question`] is what is asked of a file: it makes the history what its operations mean
//! ([`meaning`]), tells the model by their names and shapes ([`guess`]), and calls a history
//! vacuous that could not have been wrong ([`tested`]).

mod guess;
mod meaning;
mod tested;

use std::fmt;

use history::word::Stored;
use history::{History, Value};

pub use crate::model::{Choice, Model};
pub use meaning::{Against, Asked, Question};

use crate::bank::Bank;
use crate::certificate::replay;
use crate::consistency::{Class, Consistency, Scope};
use crate::guarantee::Guarantee;
use crate::guarantees::Guarantees;
use crate::keyed::Keyed;
use crate::linearizable::{Registers, Texts};
use crate::objects::Objects;
use crate::set::GrowOnlySet;
use crate::transactions::{ListAppend, RwRegister};
use crate::{
    Account, Accounts, Analysis, Budget, Certificate, Checker, Core, Doubt, Proof, Refutation,
    Terms, Verdict, accounts, confirmed,
};

impl Choice {
    /// Looks at the names and values of operations.
    ///
    /// # Errors
    /// Why they do not tell.
    pub fn of(history: &History) -> Result<Choice, String> {
        Ok(Choice::by(guess::model(history)?, history))
    }

    /// By a model that somebody named; whether there are keys is for the history to say.
    ///
    /// # Errors
    /// That the history has operations that are none of such an object: they could have changed
    /// anything.
    pub fn with_model(model: Model, history: &History) -> Result<Choice, String> {
        guess::fits(model, history)?;
        Ok(Choice::by(model, history))
    }

    fn by(model: Model, history: &History) -> Choice {
        Choice {
            model,
            keyed: keyed(model, history),
            initial: None,
            consistency: Consistency::default(),
            guarantee: Guarantee::default(),
        }
    }

    /// What a checker found, or that the history could not have been wrong.
    pub fn tested(&self, history: &History, analysis: Analysis) -> Analysis {
        match (analysis.verdict, tested::tested(self, history)) {
            (Verdict::Valid, Err(why)) => Analysis {
                verdict: Verdict::Vacuous,
                summary: why,
                ..analysis
            },
            _ => analysis,
        }
    }

    fn registers(&self) -> Registers {
        let registers = match self.keyed {
            true => Registers::keyed(),
            false => Registers::single(),
        };
        registers.with_initial(self.initial.clone().unwrap_or_default())
    }

    fn rw_registers(&self) -> RwRegister {
        let initial = self.initial.clone().unwrap_or_default();
        RwRegister::by(self.consistency).with_initial(initial)
    }

    /// Texts, if anything is appended; if not, they are as good as registers.
    fn texts(&self, history: &History) -> Option<Texts> {
        if self.model != Model::Kv || !used(history).contains(&"append") {
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
            (Model::Register | Model::CasRegister | Model::Kv, None) => {
                Box::new(Guarantees::of(self.registers()).by(self.guarantee))
            }
            (Model::Set, None) if !self.by_element(history) => match self.keyed {
                true => Box::new(Keyed(GrowOnlySet)),
                false => Box::new(GrowOnlySet),
            },
            (Model::Append, None) => Box::new(ListAppend::by(self.consistency)),
            (Model::RwRegister, None) => Box::new(self.rw_registers()),
            (Model::Bank, None) if self.keyed => Box::new(Keyed(Bank)),
            (Model::Bank, None) => Box::new(Bank),
            (_, None) => Box::new(self.objects()),
        }
    }

    /// Whether the operations on a set are of one element each.
    fn by_element(&self, history: &History) -> bool {
        let names = used(history);
        ["remove", "contains"].iter().any(|f| names.contains(f)) || !names.contains(&"read")
    }

    fn objects(&self) -> Objects {
        let objects = match self.keyed {
            true => Objects::keyed(self.model),
            false => Objects::single(self.model),
        };
        objects.with_initial(self.initial.clone().unwrap_or_default())
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
            (Model::Set, None) if !self.by_element(history) => match self.keyed {
                true => Keyed(GrowOnlySet).certify(history, budget),
                false => GrowOnlySet.certify(history, budget),
            },
            (Model::Append, None) => ListAppend::by(self.consistency).certify(history, budget),
            (Model::RwRegister, None) => self.rw_registers().certify(history, budget),
            (_, None) => self.objects().certify(history, budget),
        }
    }

    /// What is asked of the history, in the words of certificates.
    pub fn terms(&self, history: &History) -> Terms {
        let is_txn = matches!(self.model, Model::Append | Model::RwRegister);
        let texts = self.texts(history);
        let model = match (self.model, &texts) {
            // A register is one whether compare-and-set is asked of it or not, and so is a text
            // that only is written.
            (Model::Register | Model::Kv, None) => Model::CasRegister,
            (model, _) => model,
        };
        Terms {
            model,
            keyed: self.keyed,
            initial: match texts {
                Some(texts) => texts.initial(),
                None => self.initial.clone().unwrap_or_default(),
            },
            scope: match is_txn {
                true => self.consistency.forbids_up_to().1,
                false => Scope::Realtime,
            },
        }
    }

    /// What shows the verdict of an analysis, held against the history by who does not know how it
    /// was found.
    ///
    /// # Errors
    /// Why there is nothing that shows it.
    pub fn prove(
        &self,
        history: &History,
        found: &Analysis,
        budget: &Budget,
    ) -> Result<Proof, String> {
        if self.guarantee != Guarantee::Linearizable {
            return Err(format!("{} has no certificate", self.guarantee));
        }
        let meter = budget.start();
        let told = |why: &dyn fmt::Display| why.to_string();
        meter.look(history.ops_bytes()).map_err(|why| told(&why))?;
        let terms = self.terms(history);
        let proof = match found.verdict {
            Verdict::Valid if accounts::counts(self.model) => {
                Proof::Accounts(self.accounts(history, &terms, &meter.left())?)
            }
            Verdict::Valid => match self.certify(history, &meter.left()) {
                Ok(certificate) => Proof::Order(certificate),
                Err(found) => return Err(found.summary),
            },
            Verdict::Invalid => {
                let refutation = self.refutation(history, found)?;
                let sure = confirmed(history, &refutation, &meter.left());
                return sure.map(Proof::Cores).map_err(|why| told(&why));
            }
            other => return Err(format!("what is {} has none", other.word())),
        };
        let shown = proof.verify(history, &terms, &meter.left());
        match shown {
            Ok(_) => Ok(proof),
            Err(why @ Doubt::Exhausted(_)) => Err(told(&why)),
            Err(why) => Err(format!("a bug: what was found does not hold: {why}")),
        }
    }

    fn accounts(
        &self,
        history: &History,
        terms: &Terms,
        budget: &Budget,
    ) -> Result<Accounts, String> {
        let mut accounts = Accounts::of_all(history, terms)?;
        if self.model == Model::Bank {
            accounts.accounts = match self.keyed {
                true => Keyed(Bank).accounts(history, budget)?,
                false => vec![Account {
                    key: None,
                    reads: Bank.certify(history, budget)?,
                }],
            };
        }
        Ok(accounts)
    }

    /// What of an analysis can be checked by [`refute`](crate::refute): the operations of its
    /// anomalies that are to have no order.
    ///
    /// # Errors
    /// That the model promises no order, or that no operations are named.
    pub fn refutation(&self, history: &History, analysis: &Analysis) -> Result<Refutation, String> {
        let is_txn = matches!(self.model, Model::Append | Model::RwRegister);
        let (class, _) = self.consistency.forbids_up_to();
        if is_txn && class < Class::Item {
            return Err(format!("{} promises no serial order", self.consistency));
        }
        let key = |op: u64| Some(history.op(op)?.input.as_pair()?.0.clone());
        let ops = analysis
            .anomalies
            .iter()
            .filter(|anomaly| !anomaly.ops.is_empty());
        let cores: Vec<Core> = ops
            .map(|anomaly| Core {
                key: self.keyed.then(|| key(anomaly.ops[0])).flatten(),
                ops: anomaly.ops.clone(),
                stretch: anomaly.stretch,
            })
            .collect();
        let Terms {
            model,
            keyed,
            initial,
            scope,
        } = self.terms(history);
        if !accounts::counts(model) {
            replay::object(model, &initial)?;
        }
        Ok(Refutation {
            model,
            keyed,
            initial,
            scope,
            cores,
        })
    }
}

/// Names of the operations that clients did.
fn used(history: &History) -> Vec<&str> {
    let columns = history.columns();
    let mut used = vec![false; columns.names().iter().count()];
    let mut calls = columns.cursor();
    for pair in history.pairs() {
        used[calls.row(pair.invocation).f() as usize] = true;
    }
    let names = columns.names().iter().zip(&used);
    let names = names.filter(|(_, used)| **used);
    names.map(|(name, _)| name.as_str()).collect()
}

/// Whether operations have keys. What takes something out of a keyed object, or reads it, asks for
/// `[key, nil]`, and of a single one for nothing: the first of these tells. Without any, the first
/// compare-and-set does: a keyed one has a pair within its pair. Else the first that puts something
/// in tells. What is added to a set or a counter may be a pair, so that only reads tell.
/// Transactions have no keys.
fn keyed(model: Model, history: &History) -> bool {
    let columns = history.columns();
    let pair_within = |value: Stored| value.as_pair().is_some_and(|(_, v)| v.as_pair().is_some());
    let (mut swaps, mut puts) = (None, None);
    if model.is_txn() {
        return false;
    }
    let mut calls = columns.cursor();
    for pair in history.pairs() {
        let row = calls.row(pair.invocation);
        let (value, name) = (row.value(), columns.names().get(row.f()));
        match name.map(|name| name.as_str()) {
            Some(
                "read" | "get" | "dequeue" | "drain" | "pop" | "delete-min" | "acquire" | "renew"
                | "release" | "generate",
            ) => return value.as_pair().is_some_and(|(_, v)| v.is_nil()),
            Some("cas") if swaps.is_none() => swaps = Some(pair_within(value)),
            Some("write" | "put" | "append" | "enqueue" | "push" | "insert") if puts.is_none() => {
                puts = Some(value.as_pair().is_some());
            }
            _ => {}
        }
    }
    swaps.or(puts).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing;

    fn choice(drawn: &str) -> Result<Choice, String> {
        Choice::of(&drawing::history(drawn).unwrap())
    }

    /// An answer that nothing written looks like is a sign of another object, and no anomaly of
    /// this one.
    #[test]
    fn what_cannot_be_a_registers_answer_is_no_evidence_against_it() {
        for (drawn, said) in [
            (
                "P0 |-write 5-| |-read [5 [6]]-|",
                "operation 2 is answered with [5 [6]], a list, and what is written is a number",
            ),
            (
                "P0 |-write 5-| |-read five-|",
                "operation 2 is answered with \"five\", text, and what is written is a number",
            ),
            (
                "P0 |-read [1 2]-|",
                "operation 0 is answered with [1 2], a list, and what is written is nothing",
            ),
            (
                "P0 |-7:put x-| |-7:get nil -> {a 1}-|",
                "operation 2 is answered with {\"a\" 1}, a map, and what is written is text",
            ),
            (
                "P0 |-add 5-| |-read five-|",
                "operation 2 read \"five\", text: a set is read as a list, and a counter as a number",
            ),
            (
                "P0 |-add 5-| |-read [5]-| |-read 5-|",
                "some reads are answered with a list, and others, as operation 4, with a number",
            ),
        ] {
            let why = choice(drawn).unwrap_err();
            assert!(why.starts_with(said), "{why}");
            assert!(why.contains("the nearest are "), "{why}");
        }
        for fine in [
            "P0 |-read 5-|",
            "P0 |-write [1 2]-| |-read [1 3]-|",
            "P0 |-cas 1 x-| |-read x-|",
        ] {
            assert_eq!(choice(fine).map(|c| c.keyed), Ok(false), "{fine}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn models_are_told_by_their_operations() {
        for (drawn, model, keyed) in [
            ("P0 |-write 1-| |-read 1-|",        Model::Register,    false),
            ("P0 |-7:write 1-| |-7:read 1-|",    Model::Register,    true),
            ("P0 |-cas 1 2-| |-read 1-|",        Model::CasRegister, false),
            ("P0 |-7:cas 1 2-| |-7:write 3-|",   Model::CasRegister, true),
            // A compare-and-set of one value, which cannot be judged: the read tells.
            ("P0 |-7:cas 1-| |-7:read 1-|",      Model::CasRegister, true),
            ("P0 |-cas [1 2] 3-| |-read 3-|",    Model::CasRegister, false),
            ("P0 |-add 1-| |-read [1]-|",        Model::Set,         false),
            ("P0 |-add 1-| |-remove 1-|",        Model::Set,         false),
            ("P0 |-add 1-| |-read 1-|",          Model::Counter,     false),
            ("P0 |-enqueue 1-| |-dequeue 1-|",   Model::Queue,       false),
            ("P0 |-7:enqueue 1-| |-7:dequeue 1-|", Model::Queue,     true),
            ("P0 |-enqueue [1 2]-| |-dequeue [1 2]-|", Model::Queue, false),
            ("P0 |-enqueue 1-| |-drain [1]-|",   Model::TotalQueue,  false),
            ("P0 |-push 1-| |-pop 1-|",          Model::Stack,       false),
            ("P0 |-insert 1-| |-delete-min 1-|", Model::PriorityQueue, false),
            ("P0 |-acquire-| |-release-|",       Model::Lock,        false),
            ("P0 |-7:acquire-| |-7:release-|",   Model::Lock,        true),
            ("P0 |-acquire [1 2]-| |-release-|", Model::Lease,       false),
            ("P0 |-acquire 5-| |-renew 7-|",     Model::Lease,       false),
            ("P0 |-generate 5-|",                Model::UniqueIds,   false),
            ("P0 |-7:add 1-| |-7:read [1]-|",    Model::Set,         true),
            ("P0 |-7:add 1-| |-7:read 1-|",      Model::Counter,     true),
            ("P0 |-add [1 2]-| |-read [[1 2]]-|", Model::Set,        false),
            ("P0 |-7:transfer [0 1 5]-| |-7:read [[0 5] [1 5]]-|", Model::Bank, true),
            ("P0 |-txn [[r 1 []]]-|",            Model::Append,      false),
            ("P0 |-txn [[r 1 [5]] [append 1 2]]-|", Model::Append,   false),
            ("P0 |-txn [[r 1 5] [w 1 2]]-|",     Model::RwRegister,  false),
        ] {
            let found = choice(drawn).unwrap();
            assert_eq!((found.model, found.keyed), (model, keyed), "{drawn}");
        }
        assert_eq!(choice("").unwrap_err(), "the history has no operation of a client");
        let registers = drawing::history("P0 |-write 1-|").unwrap();
        assert_eq!(
            Choice::with_model(Model::Queue, &registers).unwrap_err(),
            "a queue has the operations enqueue, dequeue, and this history has none of them, but write"
        );
        assert_eq!(
            choice("P0 |-write 1-| |-add 1-|").unwrap_err(),
            "no model has just the operations of this history, write, add: the nearest are register (read, write) with \
             --ignore add and counter (add, read) with --ignore write"
        );
        let deleted = drawing::history("P0 |-write 1-| |-delete 1-| |-read 1-|").unwrap();
        assert_eq!(
            Choice::with_model(Model::Register, &deleted).unwrap_err(),
            "a register has the operations read, write, and this history has others, which can have changed anything: \
             delete; --ignore delete leaves them out, and the result says so"
        );
    }
}
