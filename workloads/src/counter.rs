//! Counters: `add [k 1]` and `read [k nil]`.
//!
//! Everybody adds one, so that whether an order explains all reads is decided exactly, however many
//! replies were lost.

use std::sync::Arc;

use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::{Role, Roles};
use harness::client::Connect;
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next};
use history::Value;
use rand::RngExt;

use crate::interface::{Call, Interface, Offers};
use crate::objects::{self, Used, in_turn, of_key};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::registers::Chooser;
use crate::workload::{Lacking, Load, Workload};

pub(crate) struct Counter;

impl Workload for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn about(&self) -> &'static str {
        "adds one to a few counters, and reads them"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Objects]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Add, Call::Read]
    }

    fn load(&self, params: &Params) -> Load {
        let used = Used::default();
        let main = Counts {
            chooser: Chooser::new(register::keys(params)),
            used: used.clone(),
        };
        let (added, mut writes) = (used.clone(), 0);
        let write = move || {
            let mut used = added.lock().expect("no panic while held");
            let key = in_turn(&used, writes);
            used.insert(key, ());
            writes += 1;
            Some(of_key(Call::Add, key, 1))
        };
        let reads = move || {
            let used = used.lock().expect("no panic while held");
            let read = |key: &i64| of_key(Call::Read, *key, Value::Nil);
            used.keys().map(read).collect()
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(write),
                reads: Box::new(reads),
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
        let counters = Objects::keyed(Model::Counter).with_initial(Value::Int(0));
        vec![Box::new(counters)]
    }
}

fn role(f: &str, asked: &Value) -> Role {
    match (f, asked.as_pair()) {
        ("add", Some((key, _))) => Role::writes(key.clone()),
        ("read", Some((key, _))) => Role::reads(key.clone()),
        _ => Role::default(),
    }
}

struct Counts {
    chooser: Chooser,
    used: Used<()>,
}

impl Generator for Counts {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        let mut used = self.used.lock().expect("no panic while held");
        used.insert(key, ());
        let asked = match context.rng.random_bool(0.5) {
            true => of_key(Call::Add, key, 1),
            false => of_key(Call::Read, key, Value::Nil),
        };
        Next::at_once(asked, context)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use harness::generator::{Combine, sim};
    use history::Kind;

    use super::*;

    #[test]
    fn everybody_adds_one_and_at_the_end_every_counter_is_read() {
        let params = Params::resolve(&Counter.params(), [("ops-per-key", "100")]).unwrap();
        let Load { main, mut closing } = Counter.load(&params);
        let events = sim::imperfect(main.limit(1_000), 10, 1);
        let mut counters: BTreeMap<Value, (usize, usize)> = BTreeMap::new();
        for event in events.iter().filter(|event| event.kind == Kind::Invoke) {
            let (key, value) = event.value.as_pair().unwrap();
            let (adds, reads) = counters.entry(key.clone()).or_default();
            match event.f.as_str() {
                "add" => (*adds, _) = (*adds + 1, assert_eq!(*value, Value::Int(1))),
                _ => *reads += 1,
            }
        }
        assert!(counters.len() >= 10, "counters are in rotation");
        let all = counters.values();
        let (adds, reads) = all.fold((0, 0), |(a, r), (adds, reads)| (a + adds, r + reads));
        assert!(adds > 400 && reads > 400, "{adds} {reads}");
        let last = (closing.write)().unwrap();
        let (key, _) = last.value.as_pair().unwrap();
        assert!(counters.contains_key(key));
        assert_eq!(role(&last.f, &last.value), Role::writes(key.clone()));
        let read = (closing.reads)();
        let read = read.iter().map(|read| role(&read.f, &read.value));
        assert!(read.eq(counters.keys().map(|key| Role::reads(key.clone()))));
    }
}
