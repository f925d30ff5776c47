//! Locks: `acquire [k nil]` and `release [k nil]`, by the process that holds.
//!
//! An acquisition is answered with its fencing token, if the system has such: tokens grow. A lock
//! whose holder lost an answer may stay held, since nobody else may release it. So locks are
//! replaced by new ones soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::{Role, Roles};
use harness::client::{Connect, Invocation};
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next};
use history::{Event, Value};
use rand::RngExt;

use crate::interface::{Call, Interface, Offers};
use crate::objects::{self, Held, Used, of_key};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::registers::Chooser;
use crate::workload::{Lacking, Load, Workload};

pub(crate) struct Lock;

/// A lock that is held for ever is of no use for longer than this.
const OPS_PER_LOCK: Param = Param {
    default: "100",
    ..OPS_PER_KEY
};

/// Of the operations on a lock that is held: a release comes from whoever is free, who is its
/// holder in one case of as many as there are clients.
const RELEASES: f64 = 0.7;

/// Keys of the locks that are asked for at the end begin here. Nobody has held them before.
pub(crate) const LAST: i64 = 1 << 40;

impl Workload for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn about(&self) -> &'static str {
        "acquires and releases a few locks, with fencing tokens where there are some"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_LOCK]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Objects]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Acquire, Call::Release]
    }

    fn load(&self, params: &Params) -> Load {
        let used = Used::default();
        let main = Locks {
            chooser: Chooser::new(register::keys(params)),
            held: Held::default(),
            used: used.clone(),
        };
        let next = Arc::new(AtomicI64::new(LAST));
        let fresh = next.clone();
        let reads = move || {
            let used = used.lock().expect("no panic while held");
            let new = next.fetch_add(1, Ordering::Relaxed);
            let keys = used.keys().copied().chain([new]);
            keys.map(|key| of_key(Call::Acquire, key, Value::Nil))
                .collect()
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(move || Some(another(&fresh))),
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
        vec![Box::new(Objects::keyed(Model::Lock))]
    }
}

/// Who is given a lock has seen that nobody holds it. All locks are one object here: some are held
/// to the end, and are seen to be so.
pub(crate) fn role(f: &str, _asked: &Value) -> Role {
    match f {
        "acquire" | "renew" => Role {
            reads: vec![Value::Nil],
            writes: vec![Value::Nil],
        },
        "release" => Role::writes(Value::Nil),
        _ => Role::default(),
    }
}

/// The acquisition of a lock that nobody has held.
pub(crate) fn another(next: &AtomicI64) -> Invocation {
    of_key(
        Call::Acquire,
        next.fetch_add(1, Ordering::Relaxed),
        Value::Nil,
    )
}

struct Locks {
    chooser: Chooser,
    held: Held,
    used: Used<()>,
}

impl Generator for Locks {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        self.used
            .lock()
            .expect("no panic while held")
            .insert(key, ());
        let is_held = self.held.contains(key);
        let call = match is_held && context.rng.random_bool(RELEASES) {
            true => Call::Release,
            false => Call::Acquire,
        };
        let asked = of_key(call, key, Value::Nil);
        Next::at_once(asked, context)
    }

    fn update(&mut self, event: &Event) {
        self.held.update(event);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use harness::generator::{Combine, sim};
    use history::{Kind, Process};

    use super::*;

    /// Against correct locks in memory: they go from hand to hand, and are wanted by several.
    #[test]
    fn locks_are_taken_wanted_and_given_back() {
        let params = Params::resolve(&Lock.params(), []).unwrap();
        let Load { main, mut closing } = Lock.load(&params);
        let mut held: BTreeMap<i64, Process> = BTreeMap::new();
        let (mut sections, mut refused) = (0, 0);
        sim::simulate(main.limit(4_000), 10, |event| {
            let key = event.value.as_pair().unwrap().0.as_int().unwrap();
            let holder = held.get(&key).copied();
            let is_right = match event.f.as_str() {
                "acquire" => holder.is_none(),
                _ => holder == Some(event.process),
            };
            match (is_right, event.f.as_str()) {
                (true, "acquire") => _ = held.insert(key, event.process),
                (true, _) => (_, sections) = (held.remove(&key), sections + 1),
                (false, "acquire") => refused += 1,
                (false, _) => {}
            }
            let ends = if is_right { Kind::Ok } else { Kind::Fail };
            (Duration::from_millis(10), ends)
        });
        assert!(sections > 150, "{sections} sections");
        assert!(refused > 400, "{refused} found a lock held");
        // At the end locks that nobody has held are acquired, and every other is asked for again.
        let last = (closing.write)().unwrap();
        let reads = (closing.reads)();
        let key = |asked: &Invocation| asked.value.as_pair().unwrap().0.as_int().unwrap();
        let asked: BTreeSet<i64> = reads.iter().map(key).collect();
        assert_eq!(asked.len(), reads.len());
        assert!(held.keys().all(|key| asked.contains(key)));
        assert!(!asked.contains(&key(&last)) && !held.contains_key(&key(&last)));
        let new = asked.iter().filter(|key| **key >= LAST).count();
        assert_eq!((new, key(&last) >= LAST), (1, true));
    }
}
