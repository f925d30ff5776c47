//! Registers with compare-and-set.

use std::sync::Arc;

use checkers::Checker;
use checkers::role::Roles;
use harness::client::Connect;

use crate::interface::{Call, Interface, Offers};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::registers::{self, Mix, Operations};
use crate::workload::{self, Lacking, Load, Workload};

pub(crate) struct CasRegister;

impl Workload for CasRegister {
    fn name(&self) -> &'static str {
        "cas-register"
    }

    fn about(&self) -> &'static str {
        "reads, writes and compare-and-sets of a few registers; every value is written once"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY, workload::CONSISTENCY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Read, Call::Write, Call::Cas]
    }

    fn load(&self, params: &Params) -> Load {
        // Writes make the value that a compare-and-set expects stale, so there are fewer of them.
        let mix = Mix {
            reads: 3,
            writes: 1,
            swaps: 4,
        };
        registers::load(register::keys(params), mix)
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            prefix: "cas",
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
