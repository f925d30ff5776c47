//! Identifiers: `generate`, of which no two answers are equal.

use std::sync::Arc;

use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::{Role, Roles};
use harness::client::{Connect, Invocation};
use harness::closing::Closing;
use harness::generator::from_fn;
use history::Value;

use crate::interface::{Call, Interface, Offers};
use crate::objects;
use crate::params::{Param, Params};
use crate::workload::{Lacking, Load, Workload};

pub(crate) struct UniqueIds;

const GENERATE: &str = "generate";

impl Workload for UniqueIds {
    fn name(&self) -> &'static str {
        "unique-ids"
    }

    fn about(&self) -> &'static str {
        "asks for identifiers that nobody else is given"
    }

    fn params(&self) -> Vec<Param> {
        Vec::new()
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Objects]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Generate]
    }

    fn load(&self, _params: &Params) -> Load {
        Load {
            main: Box::new(from_fn(|_| (GENERATE, Value::Nil))),
            closing: Closing {
                write: Box::new(|| Some(generate())),
                reads: Box::new(|| vec![generate()]),
            },
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        objects::clients(self.name(), offers, self.calls())
    }

    fn roles(&self) -> Roles {
        &role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Objects::single(Model::UniqueIds))]
    }
}

fn generate() -> Invocation {
    Invocation {
        f: GENERATE.into(),
        value: Value::Nil,
    }
}

/// Whoever is given an identifier has seen that it is none of the others.
fn role(f: &str, _asked: &Value) -> Role {
    match f {
        GENERATE => Role {
            reads: vec![Value::Nil],
            writes: vec![Value::Nil],
        },
        _ => Role::default(),
    }
}
