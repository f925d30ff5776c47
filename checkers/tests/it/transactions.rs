//! Transactions on lists and on registers against brute force.

use std::collections::{BTreeMap, HashSet};

use checkers::transactions::{Consistency, ListAppend, RwRegister};
use checkers::{Analysis, Budget, Certificate, Checker, Verdict, verify};
use history::{History, Kind, Op, Outcome, Value};

use crate::random::{Random, Recorder, seeds, show};

/// What every key holds.
type State = BTreeMap<i64, Value>;

/// What transactions are about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Objects {
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

fn random_history(objects: Objects, random: &mut Random) -> History {
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

/// What must come before what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    /// What the same process did before.
    Session,
    /// What had returned before.
    Realtime,
}

impl Before {
    fn orders(self, a: &Op, b: &Op) -> bool {
        let returned = a.outcome == Outcome::Ok;
        match self {
            Before::Nothing => false,
            Before::Session => returned && a.process == b.process && a.index < b.index,
            Before::Realtime => a.ret < b.call || Before::Session.orders(a, b),
        }
    }
}

/// Whether some order of transactions explains the history: the definition, written down.
fn serial(
    objects: Objects,
    ops: &[&Op],
    before: Before,
    placed: u32,
    state: &State,
    seen: &mut HashSet<(u32, State)>,
) -> bool {
    let is_open = |i: usize| placed & (1 << i) == 0;
    let must = |i: usize| ops[i].outcome == Outcome::Ok;
    if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
        return true;
    }
    if !seen.insert((placed, state.clone())) {
        return false;
    }
    (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
        if (0..ops.len()).any(|j| is_open(j) && must(j) && before.orders(ops[j], ops[i])) {
            return false;
        }
        let mut then = state.clone();
        let answer = objects.apply(&mut then, &ops[i].input);
        (!must(i) || answer == ops[i].output)
            && serial(objects, ops, before, placed | (1 << i), &then, seen)
    })
}

/// Snapshot isolation, as defined: transactions commit one after another; each reads from the state after
/// some number of those commits, and nobody who commits in between writes what it writes.
fn snapshots(
    objects: Objects,
    ops: &[&Op],
    before: Before,
    order: &mut Vec<usize>,
    states: &mut Vec<State>,
) -> bool {
    let must = |i: usize| ops[i].outcome == Outcome::Ok;
    if (0..ops.len()).all(|i| order.contains(&i) || !must(i)) {
        return true;
    }
    for i in (0..ops.len())
        .filter(|i| !order.contains(i))
        .collect::<Vec<_>>()
    {
        let ordered = |j: usize| must(j) && before.orders(ops[j], ops[i]);
        if (0..ops.len()).any(|j| ordered(j) && !order.contains(&j)) {
            continue;
        }
        let fits = (0..states.len()).any(|from| {
            let conflict = order[from..]
                .iter()
                .any(|j| writes(ops[*j]).any(|k| writes(ops[i]).any(|l| k == l)));
            let late = order[from..].iter().any(|j| ordered(*j));
            !conflict
                && !late
                && (!must(i)
                    || objects.apply(&mut states[from].clone(), &ops[i].input) == ops[i].output)
        });
        if fits {
            let mut then = states.last().expect("the first").clone();
            objects.apply(&mut then, &ops[i].input);
            order.push(i);
            states.push(then);
            let explained = snapshots(objects, ops, before, order, states);
            order.pop();
            states.pop();
            if explained {
                return true;
            }
        }
    }
    false
}

/// Keys that a transaction changes.
fn writes(op: &Op) -> impl Iterator<Item = &Value> {
    let mops = op.input.as_list().expect("a list").iter();
    mops.filter_map(|mop| match mop.as_list() {
        Some([f, key, _]) if f.as_text() != Some("r") => Some(key),
        _ => None,
    })
}

/// Judges random histories by models that brute force can decide. The most that may be left undecided, in
/// per cent.
fn against_brute_force(objects: Objects, histories: u64, undecided: u64) {
    use Consistency::*;
    let models = [
        (Serializable, true, Before::Nothing),
        (StrongSessionSerializable, true, Before::Session),
        (StrictSerializable, true, Before::Realtime),
        (SnapshotIsolation, false, Before::Nothing),
        (StrongSessionSnapshotIsolation, false, Before::Session),
        (StrongSnapshotIsolation, false, Before::Realtime),
    ];
    let mut counts = [[0u64; 3]; 6];
    for seed in seeds(histories) {
        let history = random_history(objects, &mut Random::new(seed));
        let ops: Vec<&Op> = history
            .ops()
            .iter()
            .filter(|o| o.outcome != Outcome::Fail)
            .collect();
        for (at, (model, is_serial, before)) in models.into_iter().enumerate() {
            let found = objects.check(model, &history);
            let explained = match is_serial {
                true => serial(objects, &ops, before, 0, &State::new(), &mut HashSet::new()),
                false => {
                    let (mut order, mut states) = (Vec::new(), vec![State::new()]);
                    snapshots(objects, &ops, before, &mut order, &mut states)
                }
            };
            let (verdict, right) = match found.verdict {
                Verdict::Valid => (0, explained),
                Verdict::Invalid => (1, !explained),
                // Of lists and serializability everything is known.
                Verdict::Unknown => (2, !is_serial || objects == Objects::Registers),
                _ => continue,
            };
            assert!(
                right,
                "seed {seed}, {model}: {explained}, {found:#?}\n{}",
                show(&history)
            );
            counts[at][verdict] += 1;
            let order = objects.certify(model, &history);
            match (found.verdict, order) {
                (Verdict::Valid, Ok(order)) => {
                    assert_eq!(order.scope, model.forbids_up_to().1);
                    assert_eq!(verify(&history, &order), Ok(()), "seed {seed} {model}");
                }
                // A snapshot is not a serial order.
                (Verdict::Valid, Err(found)) => {
                    assert!(!is_serial, "seed {seed} {model}");
                    assert_eq!(found.verdict, Verdict::Unknown);
                }
                (verdict, Err(found)) => assert_eq!(found.verdict, verdict),
                (verdict, Ok(order)) => panic!("seed {seed} {model} {verdict}: {order:?}"),
            }
        }
    }
    println!("valid, invalid, undecided: {counts:?}");
    for [valid, invalid, unknown] in counts {
        assert!(
            valid > histories / 8 && invalid > histories / 8,
            "{counts:?}"
        );
        assert!(unknown * 100 <= undecided * (valid + invalid), "{counts:?}");
    }
}

#[test]
fn lists_agree_with_brute_force() {
    against_brute_force(Objects::Lists, 600, 1);
}

#[test]
fn registers_agree_with_brute_force() {
    against_brute_force(Objects::Registers, 600, 10);
}
