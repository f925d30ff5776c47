//! Many registers under `read`, `write` and `cas`: what register, cas-register and kv have in
//! common.
//!
//! Every value that is written is a new number, so that an answer tells which operation it saw;
//! that is what makes the histories checkable in linear time however many replies were lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkers::role::Role;
use harness::client::{CONFLICT, Invocation, OpError};
use harness::closing::Closing;
use harness::generator::{Context, Generator, Next, Offer};
use history::{Event, Kind, Value};
use rand::RngExt;

use crate::interface::{Consistency, Kv};
use crate::workload::{KvOperations, Load, not_ours};

/// Which key the next operation is on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// `count` keys at a time; each is replaced by a new one after `operations` on it.
    Rotating { count: u64, operations: u64 },
    /// `count` keys throughout; key k is chosen in proportion to 1 / (k + 1), as words are in a
    /// text (Zipf).
    Skewed { count: u64 },
}

/// What is done to it, in parts of the whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub reads: u32,
    pub writes: u32,
    pub swaps: u32,
}

/// Keys that have been used, for the reads at the end.
type Used = Arc<Mutex<BTreeSet<i64>>>;

/// What each operation reads and writes: its key.
pub(crate) fn role(f: &str, asked: &Value) -> Role {
    let Some((key, _)) = asked.as_pair() else {
        return Role::default();
    };
    match f {
        "read" => Role::reads(key.clone()),
        "write" | "cas" => Role::writes(key.clone()),
        _ => Role::default(),
    }
}

pub(crate) fn load(keys: Keys, mix: Mix) -> Load {
    let used = Used::default();
    let next_value = Arc::new(AtomicI64::new(1));
    let main = Registers {
        chooser: Chooser::new(keys),
        mix,
        next_value: next_value.clone(),
        seen: BTreeMap::new(),
        used: used.clone(),
    };
    let (written, mut writes) = (used.clone(), 0);
    // One key after the other.
    let write = move || {
        let mut used = written.lock().expect("no panic while held");
        let keys = used.len().max(1);
        let key = used.iter().nth(writes % keys).copied().unwrap_or(0);
        used.insert(key);
        writes += 1;
        let value = next_value.fetch_add(1, Ordering::Relaxed);
        Some(Invocation {
            f: "write".into(),
            value: Value::pair(key, value),
        })
    };
    let reads = move || {
        let used = used.lock().expect("no panic while held");
        let read = |key: &i64| Invocation {
            f: "read".into(),
            value: Value::pair(*key, Value::Nil),
        };
        used.iter().map(read).collect()
    };
    Load {
        main: Box::new(main),
        closing: Closing {
            write: Box::new(write),
            reads: Box::new(reads),
        },
    }
}

struct Registers {
    chooser: Chooser,
    mix: Mix,
    next_value: Arc<AtomicI64>,
    /// The last value that was seen under each key: what a compare-and-set expects to find.
    seen: BTreeMap<i64, Value>,
    used: Used,
}

impl Registers {
    fn new_value(&mut self) -> i64 {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }
}

impl Generator for Registers {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        self.used.lock().expect("no panic while held").insert(key);
        let Mix {
            reads,
            writes,
            swaps,
        } = self.mix;
        let drawn = context.rng.random_range(0..reads + writes + swaps);
        let (f, value) = if drawn < reads {
            ("read", Value::Nil)
        } else if drawn < reads + writes {
            ("write", self.new_value().into())
        } else {
            let from = self.seen.get(&key).cloned().unwrap_or_default();
            ("cas", Value::pair(from, self.new_value()))
        };
        Next::Offer(Offer {
            f: f.into(),
            value: Value::pair(key, value),
            at: context.now,
        })
    }

    fn update(&mut self, event: &Event) {
        if event.kind != Kind::Ok {
            return;
        }
        let Some((Value::Int(key), value)) = event.value.as_pair() else {
            return;
        };
        let now = match (event.f.as_str(), value.as_pair()) {
            ("cas", Some((_, to))) => to,
            _ => value,
        };
        self.seen.insert(*key, now.clone());
    }
}

pub(crate) struct Chooser {
    keys: Keys,
    /// For rotating keys: those in use, with how often each was.
    active: Vec<(i64, u64)>,
    next_key: i64,
    /// For skewed keys: the sum of the weights up to each key.
    weights: Vec<f64>,
    /// The last burst, and the key that it is on.
    burst: Option<(u64, i64)>,
}

impl Chooser {
    pub(crate) fn new(keys: Keys) -> Chooser {
        let (active, weights) = match keys {
            Keys::Rotating { count, .. } => ((0..count as i64).map(|k| (k, 0)).collect(), vec![]),
            Keys::Skewed { count } => {
                let mut sum = 0.0;
                let weights = (1..=count).map(|k| {
                    sum += 1.0 / k as f64;
                    sum
                });
                (vec![], weights.collect())
            }
        };
        Chooser {
            keys,
            next_key: active.len() as i64,
            active,
            weights,
            burst: None,
        }
    }

    /// What is due at once is on one key, so that it overlaps there.
    pub(crate) fn next(&mut self, context: &mut Context<'_>) -> i64 {
        let again = self
            .burst
            .filter(|(burst, _)| Some(*burst) == context.burst);
        let key = self.draw(context, again.map(|(_, key)| key));
        self.burst = context.burst.map(|burst| (burst, key));
        key
    }

    /// The `same` key once more, if it is still in use.
    fn draw(&mut self, context: &mut Context<'_>, same: Option<i64>) -> i64 {
        match self.keys {
            Keys::Skewed { .. } if let Some(same) = same => same,
            Keys::Skewed { .. } => {
                let sum = self.weights.last().copied().unwrap_or_default();
                let drawn = context.rng.random_range(0.0..sum);
                self.weights.partition_point(|upto| *upto <= drawn) as i64
            }
            Keys::Rotating { operations, .. } => {
                let mut active = self.active.iter();
                let at = same.and_then(|same| active.position(|(key, _)| *key == same));
                let at = at.unwrap_or_else(|| context.rng.random_range(0..self.active.len()));
                let (key, times) = &mut self.active[at];
                let chosen = *key;
                *times += 1;
                if *times >= operations {
                    (*key, *times) = (self.next_key, 0);
                    self.next_key += 1;
                }
                chosen
            }
        }
    }
}

/// `read [k nil]`, `write [k v]` and `cas [k [from to]]` on the key `PREFIX-k`.
pub(crate) struct Operations {
    pub prefix: &'static str,
    pub consistency: Consistency,
}

#[async_trait]
impl KvOperations for Operations {
    async fn perform(&self, kv: &mut dyn Kv, operation: &Invocation) -> Result<Value, OpError> {
        let Some((k, value)) = operation.value.as_pair() else {
            return Err(not_ours(operation));
        };
        let key = format!("{}-{k}", self.prefix);
        match (operation.f.as_str(), value.as_pair()) {
            ("read", _) => {
                let found = kv.get(&key, self.consistency).await?;
                Ok(Value::pair(k.clone(), found.unwrap_or_default()))
            }
            ("write", _) => {
                kv.put(&key, value).await?;
                Ok(operation.value.clone())
            }
            ("cas", Some((from, to))) => {
                let from = (!from.is_nil()).then_some(from);
                match kv.cas(&key, from, to).await? {
                    true => Ok(operation.value.clone()),
                    false => Err(OpError::new(CONFLICT, "")),
                }
            }
            _ => Err(not_ours(operation)),
        }
    }

    fn reads_only(&self, operation: &Invocation) -> bool {
        operation.f == "read"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use harness::generator::{Combine, Shape, sim};
    use harness::scheduler::{Clients, Pace};

    use super::*;
    use crate::catalogue;
    use crate::params::Params;

    const MIX: Mix = Mix {
        reads: 3,
        writes: 1,
        swaps: 4,
    };

    const FEW: Keys = Keys::Rotating {
        count: 3,
        operations: 50,
    };

    fn invocations(events: &[Event]) -> Vec<(&str, i64, &Value)> {
        events
            .iter()
            .filter(|event| event.kind == Kind::Invoke)
            .map(|event| {
                let (key, value) = event.value.as_pair().unwrap();
                (event.f.as_str(), key.as_int().unwrap(), value)
            })
            .collect()
    }

    #[test]
    fn every_value_is_written_once() {
        let events = sim::imperfect(load(FEW, MIX).main.limit(5_000), 10, 1);
        let mut written = HashSet::new();
        for (f, _, value) in invocations(&events) {
            let new = match f {
                "write" => value,
                "cas" => value.as_pair().unwrap().1,
                _ => continue,
            };
            assert!(written.insert(new), "{new} is written twice");
        }
        assert!(written.len() > 2_500);
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        let run = |seed| sim::imperfect(load(FEW, MIX).main.limit(500), 5, seed);
        assert_eq!(run(7), run(7));
    }

    /// How many operations of bursts there were, and how many of them on the key of the one before
    /// in their burst: a burst is told by its time.
    fn in_bursts(main: Box<dyn Generator>, key: impl Fn(&Event) -> Value) -> (usize, usize) {
        let pace = Pace {
            per_second: 100.0,
            shape: Shape::Varied,
            clients: Clients::Sticky,
        };
        let minute = Duration::from_secs(60);
        let (events, _) = sim::paced(main, pace, (50, 5), minute, |_| {
            (Duration::from_millis(10), Kind::Ok)
        });
        let invoked: Vec<&Event> = events.iter().filter(|e| e.kind == Kind::Invoke).collect();
        let together = || invoked.windows(2).filter(|w| w[0].due == w[1].due);
        let same = together().filter(|w| key(w[0]) == key(w[1])).count();
        (together().count(), same)
    }

    #[test]
    fn what_is_due_at_once_is_on_one_key() {
        let key = |event: &Event| event.value.as_pair().unwrap().0.clone();
        for keys in [
            Keys::Skewed { count: 100 },
            Keys::Rotating {
                count: 100,
                operations: 9_999,
            },
        ] {
            let (together, same) = in_bursts(load(keys, MIX).main, key);
            assert!(
                together > 500 && same == together,
                "{keys:?}: {same} of {together}"
            );
        }
        // A key that is used up gives way to another, in a burst too.
        let (together, same) = in_bursts(load(FEW, MIX).main, key);
        assert!(
            same < together && same * 10 > together * 8,
            "{same} of {together}"
        );
        let params = Params::resolve(&catalogue::find("append").unwrap().params(), []).unwrap();
        let lists = catalogue::find("append").unwrap().load(&params).main;
        let (together, same) = in_bursts(lists, |event| {
            let of_first = |v: &Value| v.as_list().unwrap()[0].as_list().unwrap()[1].clone();
            of_first(&event.value)
        });
        assert!(same * 10 > together * 9, "{same} of {together}");
    }

    #[test]
    fn keys_rotate_after_so_many_operations() {
        let events = sim::perfect(load(FEW, MIX).main.limit(1_000), 5);
        let mut count: BTreeMap<i64, u64> = BTreeMap::new();
        for (_, key, _) in invocations(&events) {
            *count.entry(key).or_default() += 1;
        }
        assert!(count.len() >= 20 && count.keys().copied().eq(0..count.len() as i64));
        assert!(count.values().all(|times| *times <= 50));
        assert_eq!(count.values().filter(|times| **times < 50).count(), 3);
    }

    #[test]
    fn skewed_keys_are_chosen_by_their_weight() {
        let keys = Keys::Skewed { count: 10 };
        let events = sim::perfect(load(keys, MIX).main.limit(20_000), 5);
        let mut count = [0.0; 10];
        for (_, key, _) in invocations(&events) {
            count[key as usize] += 1.0;
        }
        let sum: f64 = (1..=10).map(|k| 1.0 / f64::from(k)).sum();
        for (k, times) in count.into_iter().enumerate() {
            let expected = 20_000.0 / (k as f64 + 1.0) / sum;
            // Five standard deviations of a binomial count.
            assert!(
                (times - expected).abs() < 5.0 * expected.sqrt(),
                "key {k}: {times}"
            );
        }
    }

    /// Clients against a correct store in memory that takes each operation's effect at its start.
    #[test]
    fn a_good_share_of_compare_and_sets_succeeds() {
        let mut store: BTreeMap<i64, Value> = BTreeMap::new();
        let (mut tried, mut won) = (0, 0);
        // Reads and writes answer with the invocation's value, so `seen` hears of writes and swaps.
        sim::simulate(load(FEW, MIX).main.limit(4_000), 10, |event| {
            let (key, value) = event.value.as_pair().unwrap();
            let now = store.entry(key.as_int().unwrap()).or_default();
            let ends = match (event.f.as_str(), value.as_pair()) {
                ("write", _) => {
                    *now = value.clone();
                    Kind::Ok
                }
                ("cas", Some((from, to))) => {
                    tried += 1;
                    if from == now {
                        *now = to.clone();
                        won += 1;
                        Kind::Ok
                    } else {
                        Kind::Fail
                    }
                }
                _ => Kind::Fail,
            };
            (Duration::from_millis(10), ends)
        });
        assert!(won * 10 > tried * 2, "{won} of {tried}");
        assert!(won < tried, "without contention there is nothing to see");
    }

    #[test]
    fn at_the_end_new_values_are_written_and_every_key_is_read_that_was_used() {
        let Load { main, mut closing } = load(FEW, MIX);
        let events = sim::perfect(main.limit(200), 5);
        let asked = invocations(&events);
        let used: BTreeSet<i64> = asked.iter().map(|(_, key, _)| *key).collect();
        let written = |f: &str, value: &Value| match f {
            "write" => value.as_int(),
            "cas" => value.as_pair().and_then(|(_, to)| to.as_int()),
            _ => None,
        };
        let mut values: BTreeSet<i64> =
            asked.iter().filter_map(|(f, _, v)| written(f, v)).collect();
        let before = values.len();
        let mut keys = BTreeSet::new();
        for _ in 0..20 {
            let write = (closing.write)().unwrap();
            let (key, value) = write.value.as_pair().unwrap();
            assert_eq!(role(&write.f, &write.value), Role::writes(key.clone()));
            keys.insert(key.as_int().unwrap());
            values.insert(value.as_int().unwrap());
        }
        assert_eq!(values.len(), before + 20);
        assert!(keys.is_subset(&used) && keys.len() > 1);
        let reads = (closing.reads)();
        let read = reads.iter().map(|read| role(&read.f, &read.value).reads);
        let every = used.iter().map(|key| vec![Value::Int(*key)]);
        assert!(read.eq(every));
    }
}
