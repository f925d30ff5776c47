//! Queues, first in, first out: `enqueue [k v]` and `dequeue [k nil]`.
//!
//! Every value is put in once. As many operations put in as take out, so that queues are often
//! empty and never long. At the end every queue is emptied: a value that was lost would have come
//! out then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::{Role, Roles};
use harness::client::{Connect, Invocation};
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next};
use history::{Event, Kind, Value};
use rand::RngExt;

use crate::interface::{Call, Interface, Offers};
use crate::objects::{self, Used, answered, in_turn, of_key};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::registers::Chooser;
use crate::workload::{Lacking, Load, Workload};

pub(crate) struct Queue;

impl Workload for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn about(&self) -> &'static str {
        "puts values into a few queues and takes them out; every value is put in once"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Objects]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Enqueue, Call::Dequeue]
    }

    fn load(&self, params: &Params) -> Load {
        let (inside, next) = (Used::default(), Arc::new(AtomicI64::new(1)));
        let main = Queues {
            chooser: Chooser::new(register::keys(params)),
            next: next.clone(),
            inside: inside.clone(),
        };
        let (queues, mut writes) = (inside.clone(), 0);
        let write = move || {
            let mut inside = queues.lock().expect("no panic while held");
            let key = in_turn(&inside, writes);
            writes += 1;
            Some(put(&mut inside, &next, key))
        };
        let reads = move || {
            let inside = inside.lock().expect("no panic while held");
            // One more than can be inside finds the queue empty.
            let all = inside.iter().flat_map(|(key, values)| {
                let takes = 0..=usize::try_from(*values).unwrap_or(0);
                takes.map(|_| of_key(Call::Dequeue, *key, Value::Nil))
            });
            all.collect()
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
        vec![Box::new(Objects::keyed(Model::Queue))]
    }
}

/// What is taken out is seen; that it is gone then shows to nobody else, so that a queue which is
/// only emptied counts as read, and not as written.
fn role(f: &str, asked: &Value) -> Role {
    match (f, asked.as_pair()) {
        ("enqueue", Some((key, _))) => Role::writes(key.clone()),
        ("dequeue", Some((key, _))) => Role::reads(key.clone()),
        _ => Role::default(),
    }
}

/// The next value, into this queue. By queue is counted how many values can be inside at most.
fn put(inside: &mut BTreeMap<i64, i64>, next: &AtomicI64, key: i64) -> Invocation {
    *inside.entry(key).or_default() += 1;
    of_key(Call::Enqueue, key, next.fetch_add(1, Ordering::Relaxed))
}

struct Queues {
    chooser: Chooser,
    next: Arc<AtomicI64>,
    inside: Used<i64>,
}

impl Generator for Queues {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        let mut inside = self.inside.lock().expect("no panic while held");
        let asked = match context.rng.random_bool(0.5) {
            true => put(&mut inside, &self.next, key),
            false => {
                inside.entry(key).or_default();
                of_key(Call::Dequeue, key, Value::Nil)
            }
        };
        Next::at_once(asked, context)
    }

    fn update(&mut self, event: &Event) {
        let failed = event.kind == Kind::Fail && event.f == Call::Enqueue.word();
        let key = event.value.as_pair().and_then(|(key, _)| key.as_int());
        let gone = match answered(event) {
            Some(("dequeue", key, value)) if !value.is_nil() => Some(key),
            _ => key.filter(|_| failed),
        };
        if let Some(key) = gone {
            let mut inside = self.inside.lock().expect("no panic while held");
            *inside.entry(key).or_default() -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};
    use std::time::Duration;

    use harness::generator::{Combine, sim};
    use history::{Process, Time};

    use super::*;

    /// Against queues in memory that answer nobody else's values: what is left is taken out at the
    /// end, and then every queue is found empty.
    #[test]
    fn at_the_end_every_queue_is_emptied() {
        let params = Params::resolve(&Queue.params(), [("ops-per-key", "300")]).unwrap();
        let Load { main, mut closing } = Queue.load(&params);
        let mut queues: BTreeMap<i64, VecDeque<Value>> = BTreeMap::new();
        let mut values = BTreeSet::new();
        let mut taken = 0;
        let mut asked = |f: &str, value: &Value| {
            let (key, value) = value.as_pair().unwrap();
            let queue = queues.entry(key.as_int().unwrap()).or_default();
            match f {
                "enqueue" => {
                    assert!(values.insert(value.clone()), "{value} is put in twice");
                    queue.push_back(value.clone());
                    true
                }
                _ => queue.pop_front().is_some(),
            }
        };
        // The simulation answers with what was asked, so no answer tells of a value: all that was
        // put in can still be there.
        sim::simulate(main.limit(2_000), 10, |event| {
            taken += usize::from(asked(&event.f, &event.value));
            (Duration::from_millis(10), Kind::Ok)
        });
        assert!(taken > 800, "{taken}");
        for _ in 0..3 {
            let last = (closing.write)().unwrap();
            assert!(asked(&last.f, &last.value));
        }
        let mut empty = BTreeSet::new();
        for read in (closing.reads)() {
            let key = read.value.as_pair().unwrap().0.clone();
            assert_eq!(role(&read.f, &read.value), Role::reads(key.clone()));
            match asked(&read.f, &read.value) {
                true => assert!(!empty.contains(&key)),
                false => _ = empty.insert(key),
            }
        }
        assert_eq!(empty.len(), queues.len());
        assert!(empty.len() > 5, "queues are in rotation");
    }

    #[test]
    fn what_came_out_or_never_went_in_is_not_taken_out_again() {
        let inside = Used::default();
        let params = Params::resolve(&Queue.params(), []).unwrap();
        let mut queues = Queues {
            chooser: Chooser::new(register::keys(&params)),
            next: Arc::default(),
            inside: inside.clone(),
        };
        let mut left_after = |f: &str, kind, value: Value| {
            let of = Process::Client(1);
            queues.update(&Event {
                index: 0,
                time: Time(1),
                process: of,
                kind,
                f: f.into(),
                value: Value::pair(7, value),
                error: None,
                node: None,
                version: None,
                due: None,
            });
            *inside.lock().unwrap().get(&7).unwrap_or(&0)
        };
        assert_eq!(left_after("dequeue", Kind::Ok, Value::Nil), 0);
        assert_eq!(left_after("dequeue", Kind::Ok, 3.into()), -1);
        assert_eq!(left_after("enqueue", Kind::Info, 3.into()), -1);
        assert_eq!(left_after("enqueue", Kind::Fail, 3.into()), -2);
        assert_eq!(left_after("dequeue", Kind::Info, Value::Nil), -2);
    }
}
