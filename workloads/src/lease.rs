//! Leases: locks that end by themselves. `acquire [k nil]`, `renew [k nil]` and `release [k nil]`,
//! by the process that holds.
//!
//! An acquisition and a renewal are answered with how long the lease is surely held from when it
//! was asked for. Two processes that both surely hold one lease are what must never be.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use checkers::Checker;
use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::role::Roles;
use harness::client::Connect;
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next};
use history::{Event, Value};
use rand::RngExt;

use crate::interface::{Call, Interface, Offers};
use crate::lock;
use crate::objects::{self, Held, of_key};
use crate::params::{Kind, Param, Params};
use crate::register::KEYS;
use crate::workload::{Lacking, Load, Workload};

pub(crate) struct Lease;

const TTL: Param = Param {
    name: "ttl",
    kind: Kind::Duration,
    default: "3s",
    about: "how long a lease lasts unless it is renewed",
};

/// What is asked of a lease that is held, in parts of the whole: its holder is who is free in one
/// case of as many as there are clients. So it is renewed some times a second, and held for some
/// twenty seconds: longer than faults last.
const RENEWALS: u32 = 60;
const ACQUISITIONS: u32 = 39;
const RELEASES: u32 = 1;

impl Workload for Lease {
    fn name(&self) -> &'static str {
        "lease"
    }

    fn about(&self) -> &'static str {
        "acquires, renews and releases a few leases, which end by themselves"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, TTL]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Leases]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Acquire, Call::Renew, Call::Release]
    }

    fn load(&self, params: &Params) -> Load {
        let keys = params.count(KEYS.name) as i64;
        let main = Leases {
            keys,
            held: Held::default(),
            burst: None,
        };
        let next = Arc::new(AtomicI64::new(lock::LAST));
        let another = next.clone();
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(move || Some(lock::another(&another))),
                reads: Box::new(move || {
                    let asked = (0..keys).map(|key| of_key(Call::Acquire, key, Value::Nil));
                    let new = next.fetch_add(1, Ordering::Relaxed);
                    asked
                        .chain([of_key(Call::Acquire, new, Value::Nil)])
                        .collect()
                }),
            },
        }
    }

    fn connect(&self, params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        objects::holders(self.name(), offers, self.calls(), params.duration(TTL.name))
    }

    fn roles(&self) -> Roles {
        &lock::role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Objects::keyed(Model::Lease))]
    }
}

struct Leases {
    keys: i64,
    held: Held,
    /// The last burst, and the lease that it is about.
    burst: Option<(u64, i64)>,
}

impl Generator for Leases {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let again = self
            .burst
            .filter(|(burst, _)| Some(*burst) == context.burst);
        let key = match again {
            Some((_, key)) => key,
            None => context.rng.random_range(0..self.keys),
        };
        self.burst = context.burst.map(|burst| (burst, key));
        let drawn = context
            .rng
            .random_range(0..RENEWALS + ACQUISITIONS + RELEASES);
        let call = match self.held.contains(key) {
            true if drawn < RENEWALS => Call::Renew,
            true if drawn < RENEWALS + RELEASES => Call::Release,
            _ => Call::Acquire,
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
    use std::collections::BTreeMap;
    use std::time::Duration;

    use harness::generator::{Combine, sim};
    use history::{Kind as EventKind, Process};

    use super::*;

    /// Against correct leases in memory that end after three seconds.
    #[test]
    fn leases_are_acquired_wanted_renewed_and_released() {
        let params = Params::resolve(&Lease.params(), []).unwrap();
        let Load { main, mut closing } = Lease.load(&params);
        let mut held: BTreeMap<i64, (Process, Duration)> = BTreeMap::new();
        let mut done: BTreeMap<(String, bool), usize> = BTreeMap::new();
        sim::simulate(main.limit(20_000), 10, |event| {
            let key = event.value.as_pair().unwrap().0.as_int().unwrap();
            let now = Duration::from_nanos(event.time.0);
            held.retain(|_, (_, until)| *until > now);
            let holder = held.get(&key).map(|(process, _)| *process);
            let is_right = match event.f.as_str() {
                "acquire" => holder.is_none(),
                _ => holder == Some(event.process),
            };
            if is_right && event.f == "release" {
                held.remove(&key);
            } else if is_right {
                held.insert(key, (event.process, now + Duration::from_secs(3)));
            }
            *done.entry((event.f.to_string(), is_right)).or_default() += 1;
            let ends = if is_right {
                EventKind::Ok
            } else {
                EventKind::Fail
            };
            (Duration::from_millis(25), ends)
        });
        let count = |f: &str, right| done.get(&(f.to_string(), right)).copied().unwrap_or(0);
        assert!(count("renew", true) > 100, "{done:?}");
        assert!(count("release", true) > 5, "{done:?}");
        assert!(
            count("acquire", true) > 10 && count("acquire", false) > 500,
            "{done:?}"
        );
        let reads = (closing.reads)();
        assert_eq!(
            reads.len(),
            6,
            "five that were used, and one that nobody has held"
        );
    }
}
