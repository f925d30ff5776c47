//! Transactions on lists and on registers, most of them nearly right, judged by the engine and by brute force.

use std::collections::BTreeMap;

use checkers::transactions::{Consistency, ListAppend, RwRegister};
use checkers::{Analysis, Budget, Certificate, Checker, Verdict, verify};
use history::{History, Kind, Value};

use super::Counts;
use super::serial::{Brute, Explained};
use crate::random::{Random, Recorder, show};

/// What every key holds.
type State = BTreeMap<i64, Value>;

/// What transactions are about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objects {
    Lists,
    Registers,
}

impl Objects {
    fn start(self) -> Value {
        match self {
            Objects::Lists => Value::List(Vec::new()),
            Objects::Registers => Value::Nil,
        }
    }

    fn check(self, model: Consistency, history: &History) -> Analysis {
        match self {
            Objects::Lists => ListAppend::by(model).check(history, &Budget::default()),
            Objects::Registers => RwRegister::by(model).check(history, &Budget::default()),
        }
    }

    fn certify(self, model: Consistency, history: &History) -> Result<Certificate, Analysis> {
        match self {
            Objects::Lists => ListAppend::by(model).certify(history, &Budget::default()),
            Objects::Registers => RwRegister::by(model).certify(history, &Budget::default()),
        }
    }

    /// Does what a transaction asks for, and returns its answer.
    fn apply(self, state: &mut State, asked: &Value) -> Value {
        let mops = asked.as_list().expect("a list").iter().map(|asked| {
            let [f, Value::Int(key), value] = asked.as_list().expect("a list") else {
                panic!("not a mop: {asked}");
            };
            let now = state.get(key).cloned().unwrap_or(self.start());
            match (f.as_text(), now) {
                (Some("r"), now) => return mop("r", *key, now),
                (Some("append"), Value::List(mut list)) => {
                    list.push(value.clone());
                    state.insert(*key, Value::List(list));
                }
                _ => drop(state.insert(*key, value.clone())),
            }
            asked.clone()
        });
        Value::List(mops.collect())
    }
}

fn mop(f: &str, key: i64, value: Value) -> Value {
    Value::List(vec![f.into(), key.into(), value])
}

/// What a random database does with transactions.
#[derive(Clone, Copy, PartialEq)]
enum Database {
    /// One after the other, with answers spoilt now and then.
    Serial,
    /// Everything is read from a state of the past.
    Snapshots,
}

pub fn random_history(objects: Objects, random: &mut Random) -> History {
    let mut recorder = Recorder::default();
    let mut state = State::new();
    // As it was some time ago, for stale reads.
    let mut past = vec![State::new()];
    let database = *random.pick(&[Database::Serial, Database::Serial, Database::Snapshots]);
    let (ops, processes) = (2 + random.below(6), 1 + random.below(5));
    let keys = *random.pick(&[1, 2, 2, 3]);
    let blind = *random.pick(&[0, 10, 60]);
    let (lost, wrong) = (*random.pick(&[0, 20]), *random.pick(&[0, 15, 40]));
    let mut open: Vec<Option<(Value, Option<Value>)>> = vec![None; processes as usize];
    let mut names: Vec<u64> = (0..processes).collect();
    let (mut invoked, mut fresh) = (0, 0);
    while invoked < ops || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        let who = random.below(processes) as usize;
        match open[who].take() {
            None if invoked < ops => {
                invoked += 1;
                let mops = (0..1 + random.below(4)).flat_map(|_| {
                    let key = random.below(keys) as i64;
                    let read = mop("r", key, Value::Nil);
                    if random.percent(50) {
                        return vec![read];
                    }
                    fresh += 1;
                    match objects {
                        Objects::Lists => vec![mop("append", key, Value::Int(fresh))],
                        Objects::Registers if random.percent(blind) => {
                            vec![mop("w", key, Value::Int(fresh))]
                        }
                        Objects::Registers => vec![read, mop("w", key, Value::Int(fresh))],
                    }
                });
                let asked = Value::List(mops.collect());
                recorder.record(names[who], Kind::Invoke, "txn", asked.clone());
                open[who] = Some((asked, None));
            }
            None => {}
            Some((asked, None)) if random.percent(8) => {
                recorder.record(names[who], Kind::Fail, "txn", asked);
            }
            Some((asked, None)) => {
                let old = random.pick(&past).clone();
                let mut answer = objects.apply(&mut state, &asked);
                if database == Database::Snapshots {
                    answer = objects.apply(&mut old.clone(), &asked);
                } else if random.percent(wrong) {
                    // Reads an old state; half of the time its appends are lost too.
                    answer = objects.apply(&mut old.clone(), &asked);
                    if random.percent(50) {
                        state = old;
                    }
                }
                past.push(state.clone());
                open[who] = Some((asked, Some(answer)));
            }
            Some((asked, _)) if random.percent(lost) => {
                recorder.record(names[who], Kind::Info, "txn", asked);
                names[who] = names.iter().max().expect("there are processes") + 1;
            }
            Some((asked, _)) if random.percent(wrong / 4) => {
                recorder.record(names[who], Kind::Fail, "txn", asked);
            }
            Some((asked, answer)) => {
                let mut answer = answer.unwrap_or(asked);
                if random.percent(wrong / 3) {
                    garble(&mut answer, fresh, random);
                }
                recorder.record(names[who], Kind::Ok, "txn", answer);
            }
        }
    }
    recorder.history()
}

/// One read loses its last element, or has two exchanged, or one twice; or finds another value.
fn garble(answer: &mut Value, fresh: i64, random: &mut Random) {
    let Value::List(mops) = answer else { return };
    let at = random.below(mops.len() as u64) as usize;
    let Value::List(parts) = &mut mops[at] else {
        return;
    };
    match &mut parts[..] {
        [_, _, Value::List(list)] if !list.is_empty() => match random.below(3) {
            0 => drop(list.pop()),
            1 => list.rotate_left(1),
            _ => list.push(list[0].clone()),
        },
        [f, _, value @ (Value::Nil | Value::Int(_))] if f.as_text() == Some("r") => {
            *value = Value::Int(1 + random.below(fresh as u64 + 1) as i64);
        }
        _ => {}
    }
}

/// The models that brute force decides.
const MODELS: [Consistency; 6] = [
    Consistency::Serializable,
    Consistency::StrongSessionSerializable,
    Consistency::StrictSerializable,
    Consistency::SnapshotIsolation,
    Consistency::StrongSessionSnapshotIsolation,
    Consistency::StrongSnapshotIsolation,
];

/// Models that allow what snapshot isolation allows.
const WEAKER: [Consistency; 5] = [
    Consistency::ReadUncommitted,
    Consistency::ReadCommitted,
    Consistency::MonotonicAtomicView,
    Consistency::ReadAtomic,
    Consistency::ConsistentView,
];

/// Judges the history of a seed by every model, replays the orders that explain it, and panics where brute force
/// says something else.
pub fn judge(objects: Objects, seed: u64, brute: &mut Brute, counts: &mut Counts) {
    let history = random_history(objects, &mut Random::new(seed));
    let explained = brute.explained(&history);
    let Explained {
        serially,
        by_snapshots,
    } = explained;
    // What both ways to ask have in common is asked twice now and then.
    let twice = seed.is_multiple_of(8);
    let right = serially.into_iter().chain(by_snapshots);
    for ((at, model), right) in MODELS.into_iter().enumerate().zip(right) {
        let is_serial = at < 3;
        let say = |found: &dyn std::fmt::Debug| {
            format!("{model}: {explained:?}, but {found:#?}\n{}", show(&history))
        };
        let certified = (is_serial || twice).then(|| objects.certify(model, &history));
        let found = match &certified {
            Some(Ok(order)) => {
                assert!(right, "{}", say(order));
                assert_eq!(order.scope, model.forbids_up_to().1);
                assert_eq!(verify(&history, order), Ok(()), "{}", say(order));
                twice.then(|| objects.check(model, &history))
            }
            Some(Err(found)) if is_serial && !twice => Some(found.clone()),
            _ => Some(objects.check(model, &history)),
        };
        let verdict = found.as_ref().map_or(Verdict::Valid, |found| found.verdict);
        let agrees = match verdict {
            Verdict::Valid => right,
            Verdict::Invalid => !right,
            // Of lists and serializability everything is known.
            Verdict::Unknown => !is_serial || objects == Objects::Registers,
            _ => true,
        };
        assert!(agrees, "{}", say(&found));
        match certified {
            Some(Ok(order)) => assert_eq!(verdict, Verdict::Valid, "{}", say(&order)),
            // A snapshot is not a serial order.
            Some(Err(found)) if verdict == Verdict::Valid => {
                assert!(
                    !is_serial && found.verdict == Verdict::Unknown,
                    "{}",
                    say(&found)
                );
            }
            Some(Err(other)) => assert_eq!(other.verdict, verdict, "{}", say(&found)),
            None => {}
        }
        counts.add(model.name(), verdict);
    }
    // Of weaker models it is known what must not be refuted.
    let turn = seed % 7;
    let (model, allowed, refuted) = match turn {
        5 => (Consistency::RepeatableRead, serially[0], !serially[0]),
        6 => (
            Consistency::ParallelSnapshotIsolation,
            by_snapshots[1],
            false,
        ),
        _ => (WEAKER[turn as usize], by_snapshots[0], false),
    };
    let found = objects.check(model, &history);
    let wrong =
        allowed && found.verdict == Verdict::Invalid || refuted && found.verdict == Verdict::Valid;
    assert!(
        !wrong,
        "{model}: {explained:?}, but {found:#?}\n{}",
        show(&history)
    );
}
