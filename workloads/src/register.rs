//! Registers that are read and written: the plainest question that can be asked of a store.

use std::sync::Arc;

use checkers::Checker;
use checkers::guarantees::Guarantees;
use checkers::linearizable::Registers;
use checkers::role::Roles;
use checkers::staleness::Staleness;
use harness::client::Connect;

use crate::interface::{Call, Interface, Offers};
use crate::params::{Kind, Param, Params};
use crate::registers::{self, Keys, Mix, Operations};
use crate::workload::{self, Lacking, Load, Workload};

pub(crate) struct Register;

/// Keys in use at a time. Few, so that clients meet.
pub(crate) const KEYS: Param = Param {
    name: "keys",
    kind: Kind::Count {
        min: 1,
        max: 100_000,
    },
    default: "5",
    about: "keys in use at a time",
};

pub(crate) const OPS_PER_KEY: Param = Param {
    name: "ops-per-key",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000_000,
    },
    default: "1000",
    about: "operations on a key before a new key takes its place",
};

const READS_PER_WRITE: Param = Param {
    name: "reads-per-write",
    kind: Kind::Count { min: 1, max: 1_000 },
    default: "1",
    about: "reads for each write, on average",
};

/// A few keys in rotation.
pub(crate) fn keys(params: &Params) -> Keys {
    Keys::Rotating {
        count: params.count(KEYS.name),
        operations: params.count(OPS_PER_KEY.name),
    }
}

impl Workload for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn about(&self) -> &'static str {
        "reads and writes of a few registers; every value is written once"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY, READS_PER_WRITE, workload::CONSISTENCY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Kv]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Read, Call::Write]
    }

    fn load(&self, params: &Params) -> Load {
        let reads = params.count(READS_PER_WRITE.name);
        let mix = Mix {
            reads: u32::try_from(reads).expect("it is at most a thousand"),
            writes: 1,
            swaps: 0,
        };
        registers::load(keys(params), mix)
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let operations = Operations {
            prefix: "register",
            consistency: workload::consistency(params),
        };
        workload::kv_clients(self.name(), offers, operations)
    }

    fn roles(&self) -> Roles {
        &registers::role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![
            Box::new(Guarantees::of(Registers::keyed())),
            Box::new(Staleness),
        ]
    }
}
