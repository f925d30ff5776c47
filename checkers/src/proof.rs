//! What a verdict can be written down with, so that others need not believe who gave it.

use std::collections::BTreeMap;

use history::{History, Outcome, Value};
use serde::{Deserialize, Serialize};

use crate::accounts::{Account, Accounts, recount};
use crate::certificate::Terms;
use crate::consistency::Scope;
use crate::model::Model;
use crate::{Budget, Certificate, Core, Doubt, Order, Refutation, Verdict, refute, verify};

/// One of these, as a file has it: with `orders`, `accounts` or `cores`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", untagged)]
pub enum Proof {
    /// Orders that explain a history: it is valid.
    Order(Certificate),
    /// What else shows that it is valid, of objects that are judged without an order.
    Accounts(Accounts),
    /// Operations that have no order: it is invalid.
    Cores(Refutation),
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
    /// What it answers.
    pub fn terms(&self) -> Terms {
        match self {
            Proof::Order(certificate) => certificate.terms(),
            Proof::Accounts(accounts) => accounts.terms(),
            Proof::Cores(refutation) => refutation.terms(),
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
        let answered = self.terms();
        if answered != *asked {
            return Err(format!(
                "it answers another question: it is of {answered}, and what is asked is {asked}"
            )
            .into());
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
        };
        Ok(shown(history, asked.model, verdict, operations))
    }
}

/// What else the history has.
fn shown(history: &History, model: Model, verdict: Verdict, operations: usize) -> Shown {
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
            _ if !model.knows(&op.f) => {
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
    model: Model,
    keyed: bool,
    initial: Value,
    #[serde(default)]
    scope: Scope,
    orders: Option<Vec<Order>>,
    accounts: Option<Vec<Account>>,
    cores: Option<Vec<Core>>,
}

impl TryFrom<File> for Proof {
    type Error = String;

    fn try_from(file: File) -> Result<Proof, String> {
        let File {
            model,
            keyed,
            initial,
            scope,
            orders,
            accounts,
            cores,
        } = file;
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
