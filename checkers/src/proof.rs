//! What a verdict can be written down with, so that others need not believe who gave it.

use history::Value;
use serde::{Deserialize, Serialize};

use crate::choice::Model;
use crate::transactions::Scope;
use crate::{Certificate, Core, Order, Refutation};

/// One or the other, as a file has it: with `orders` or with `cores`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", untagged)]
pub enum Proof {
    /// Orders that explain a history: it is valid.
    Order(Certificate),
    /// Operations that have no order: it is invalid.
    Cores(Refutation),
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
            cores,
        } = file;
        match (orders, cores) {
            (Some(orders), None) => Ok(Proof::Order(Certificate {
                model,
                keyed,
                initial,
                scope,
                orders,
            })),
            (None, Some(cores)) => Ok(Proof::Cores(Refutation {
                model,
                keyed,
                initial,
                scope,
                cores,
            })),
            _ => Err("there should be either `orders` or `cores`".into()),
        }
    }
}
