//! A store of many keys, some asked for much more often than others, as stores are used.

use std::sync::Arc;

use checkers::Checker;
use checkers::role::Roles;
use harness::client::Connect;

use crate::interface::{Call, Interface, Offers};
use crate::params::{Kind, Param, Params};
use crate::register;
use crate::registers::{self, Keys, Mix, Operations};
use crate::workload::{self, Lacking, Load, Workload};

pub(crate) struct Store;

const KEYS: Param = Param {
    name: "keys",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000,
    },
    default: "100",
    about: "keys; key k is asked for in proportion to 1 / (k + 1)",
};

impl Workload for Store {
    fn name(&self) -> &'static str {
        "kv"
    }

    fn about(&self) -> &'static str {
        "reads, writes and compare-and-sets over many keys, a few of them hot"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, workload::CONSISTENCY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Read, Call::Write, Call::Cas]
    }

    fn load(&self, params: &Params) -> Load {
        let keys = Keys::Skewed {
            count: params.count(KEYS.name),
        };
        let mix = Mix {
            reads: 5,
            writes: 3,
            swaps: 2,
        };
        registers::load(keys, mix)
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            prefix: "kv",
            consistency: workload::consistency(params),
        };
        workload::kv_clients(self.name(), offers, operations)
    }

    fn roles(&self) -> Roles {
        &registers::role
    }

    fn checkers(&self, params: &Params) -> Vec<Box<dyn Checker>> {
        register::Register.checkers(params)
    }
}
