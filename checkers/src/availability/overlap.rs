//! How many operations overlapped. Operations that never overlap can show hardly any bug of
//! concurrency.

use std::collections::HashMap;

use history::{History, Op, Time, Value};
use serde_json::{Value as Json, json};

use super::{FEW_WRITES, LEAST_OVERLAP};
use crate::role::Roles;

pub struct Overlap {
    writes: usize,
    /// Those during which another operation on their object was open.
    met: usize,
    /// Operations open at a time, on average, while any was.
    open: f64,
}

/// None if nothing was written.
pub fn of(ops: &[&Op], roles: Roles, history: &History) -> Option<Overlap> {
    // By object: when each operation on it began and ended, and the writes among them.
    let mut objects: HashMap<Value, Vec<(Time, Time, Option<usize>)>> = HashMap::new();
    let mut writes = 0;
    let mut open_ns = 0u128;
    for op in ops {
        let until = match op.completion {
            Some(index) => history.events()[index as usize].time,
            None => history.end(),
        };
        open_ns += until.since(op.call).as_nanos();
        let role = roles(&op.f, &op.input);
        let write = (!role.writes.is_empty()).then_some(writes);
        writes += usize::from(write.is_some());
        let mut touched: Vec<Value> = role.reads.into_iter().chain(role.writes).collect();
        touched.sort_unstable();
        touched.dedup();
        for object in touched {
            objects
                .entry(object)
                .or_default()
                .push((op.call, until, write));
        }
    }
    if writes == 0 {
        return None;
    }
    let mut met = vec![false; writes];
    for on_object in objects.values_mut() {
        on_object.sort_unstable();
        // The latest end of those that began before.
        let mut open_until = None;
        for (at, (from, until, write)) in on_object.iter().enumerate() {
            let next = on_object.get(at + 1).is_some_and(|next| next.0 < *until);
            let before = open_until.is_some_and(|open_until| *from < open_until);
            if let (Some(write), true) = (write, next || before) {
                met[*write] = true;
            }
            open_until = open_until.max(Some(*until));
        }
    }
    let busy = busy_time(ops, history);
    Some(Overlap {
        writes,
        met: met.into_iter().filter(|met| *met).count(),
        open: open_ns as f64 / (busy as f64).max(1.0),
    })
}

/// From the first call to the last end, in nanoseconds.
fn busy_time(ops: &[&Op], history: &History) -> u128 {
    let from = ops.iter().map(|op| op.call).min().unwrap_or_default();
    super::waits::end_of_asking(ops, history)
        .since(from)
        .as_nanos()
}

impl Overlap {
    fn share(&self) -> f64 {
        100.0 * self.met as f64 / self.writes as f64
    }

    pub fn json(&self) -> Json {
        json!({"writes": self.share(), "open": self.open})
    }

    /// What is to be said where it is too little to find much.
    pub fn too_little(&self) -> Option<String> {
        let little = self.writes >= FEW_WRITES && self.share() < LEAST_OVERLAP;
        little.then(|| {
            format!(
                "; {} of {} writes overlapped another operation on their key, so little was seen of \
                 what goes wrong only then",
                self.met, self.writes
            )
        })
    }
}
