//! What a verdict can be written down with, so that others need not believe who gave it.

use std::collections::BTreeMap;
use std::fmt;

use history::{History, Outcome, Value};
use serde::{Deserialize, Deserializer, Serialize};

use crate::accounts::{Account, Accounts, recount};
use crate::certificate::Terms;
use crate::consistency::Scope;
use crate::model::Model;
use crate::script::{OrderOf, Script};
use crate::{Budget, Certificate, Core, Doubt, Order, Refutation, Verdict, refute, verify};

/// One of these, as a file has it: with `orders`, `accounts` or `cores`, and with `model` or
/// `script`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", untagged)]
pub enum Proof {
    /// Orders that explain a history: it is valid.
    Order(Certificate),
    /// What else shows that it is valid, of objects that are judged without an order.
    Accounts(Accounts),
    /// Operations that have no order: it is invalid.
    Cores(Refutation),
    /// Orders that explain a history by a script: it is valid.
    Script(OrderOf),
}

/// What a proof shows of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub verdict: Verdict,
    /// How many operations it places or counts.
    pub operations: usize,
    /// Operations of unknown outcome that may be left out, and were; and such that did not happen.
    pub left_out: usize,
    pub failed: usize,
    /// Operations that are none of the model's, by name: nobody judged them.
    pub not_judged: BTreeMap<String, usize>,
}

impl Proof {
    /// What it answers, unless that is a script's question.
    fn terms(&self) -> Result<Terms, &Script> {
        match self {
            Proof::Order(certificate) => Ok(certificate.terms()),
            Proof::Accounts(accounts) => Ok(accounts.terms()),
            Proof::Cores(refutation) => Ok(refutation.terms()),
            Proof::Script(order) => Err(&order.script),
        }
    }

    /// Whether it shows what it says, and answers what is asked. It is told of the history alone,
    /// and of the question by whoever asks it.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn verify(
        &self,
        history: &History,
        asked: &Terms,
        budget: &Budget,
    ) -> Result<Shown, Doubt> {
        match self.terms() {
            Ok(answered) if answered == *asked => {}
            Ok(answered) => return Err(another(&answered, asked)),
            Err(script) => return Err(another(script, asked)),
        }
        let (verdict, operations) = match self {
            Proof::Order(certificate) => {
                verify(history, certificate)?;
                let placed = certificate.orders.iter().map(|order| order.ops.len());
                (Verdict::Valid, placed.sum())
            }
            Proof::Accounts(accounts) => (Verdict::Valid, recount(history, accounts)?),
            Proof::Cores(refutation) => {
                refute(history, refutation, budget)?;
                let named = refutation.cores.iter().map(|core| core.ops.len());
                (Verdict::Invalid, named.sum())
            }
            Proof::Script(order) => return Err(another(&order.script, asked)),
        };
        let knows = |f: &str| asked.model.knows(f);
        Ok(shown(history, &knows, verdict, operations))
    }

    /// The same where a script is what is asked, or the one that stands in the proof if none is
    /// given.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn verify_by(
        &self,
        history: &History,
        asked: Option<&Script>,
        budget: &Budget,
    ) -> Result<Shown, Doubt> {
        let order = match (self, self.terms(), asked) {
            (Proof::Script(order), _, asked) if asked.is_none_or(|a| a.is(&order.script)) => order,
            (_, Err(script), Some(asked)) => {
                let why = format!(
                    "it is of another script than {asked}: it carries one with the name {script}, which reads otherwise"
                );
                return Err(why.into());
            }
            (_, Ok(answered), Some(asked)) => return Err(another(&answered, asked)),
            (_, answered, None) => {
                let of = answered.map_or(String::new(), |terms| format!(": it is of {terms}"));
                return Err(format!("it carries no script{of}").into());
            }
        };
        order.verify(history, budget)?;
        Ok(shown(history, &|_| true, Verdict::Valid, order.placed()))
    }
}

fn another(answered: &impl fmt::Display, asked: &impl fmt::Display) -> Doubt {
    let why = "it answers another question";
    format!("{why}: it is of {answered}, and what is asked is {asked}").into()
}

/// What else the history has.
fn shown(
    history: &History,
    knows: &dyn Fn(&str) -> bool,
    verdict: Verdict,
    operations: usize,
) -> Shown {
    let mut shown = Shown {
        verdict,
        operations,
        left_out: 0,
        failed: 0,
        not_judged: BTreeMap::new(),
    };
    let mut judged = 0;
    for op in history.ops() {
        match op.outcome {
            _ if !knows(&op.f) => {
                *shown.not_judged.entry(op.f.to_string()).or_default() += 1;
            }
            Outcome::Fail => shown.failed += 1,
            _ => judged += 1,
        }
    }
    if verdict == Verdict::Valid {
        shown.left_out = judged - operations;
    }
    shown
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Option<Model>,
    keyed: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    initial: Option<Value>,
    #[serde(default)]
    scope: Scope,
    script: Option<Script>,
    orders: Option<Vec<Order>>,
    accounts: Option<Vec<Account>>,
    cores: Option<Vec<Core>>,
}

/// A value that is there, though it may be nil.
fn given<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

impl TryFrom<File> for Proof {
    type Error = String;

    fn try_from(file: File) -> Result<Proof, String> {
        let File {
            model,
            keyed,
            initial,
            scope,
            script,
            orders,
            accounts,
            cores,
        } = file;
        if let Some(script) = script {
            let alone = (model.is_none(), keyed.is_none(), initial.is_none());
            return match (orders, accounts, cores) {
                (Some(orders), None, None) if alone == (true, true, true) => {
                    Ok(Proof::Script(OrderOf { script, orders }))
                }
                _ => Err("with `script` there should be `orders`, and nothing else".into()),
            };
        }
        let missing = |name: &str| format!("missing field `{name}`");
        let model = model.ok_or_else(|| missing("model"))?;
        let keyed = keyed.ok_or_else(|| missing("keyed"))?;
        let initial = initial.ok_or_else(|| missing("initial"))?;
        match (orders, accounts, cores) {
            (Some(orders), None, None) => Ok(Proof::Order(Certificate {
                model,
                keyed,
                initial,
                scope,
                orders,
            })),
            (None, Some(accounts), None) => Ok(Proof::Accounts(Accounts {
                model,
                keyed,
                initial,
                accounts,
            })),
            (None, None, Some(cores)) => Ok(Proof::Cores(Refutation {
                model,
                keyed,
                initial,
                scope,
                cores,
            })),
            _ => Err("there should be `orders`, `accounts` or `cores`, and one of them".into()),
        }
    }
}
