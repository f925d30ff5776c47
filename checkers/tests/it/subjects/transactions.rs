//! Transactions on lists and on registers, most of them nearly right, judged by the engine and by
//! brute force.

use std::collections::BTreeMap;

use checkers::transactions::{Consistency, ListAppend, RwRegister};
use checkers::{Analysis, Budget, Certificate, Checker, Figure, Verdict, verify};
use history::{History, Kind, Outcome, Value};

use super::serial::{Brute, Explained};
use super::{Counts, adya};
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
    /// Each read is from some state of the past, or of what failed.
    Torn,
}

pub fn random_history(objects: Objects, random: &mut Random) -> History {
    recorded(objects, random).history()
}

fn recorded(objects: Objects, random: &mut Random) -> Recorder {
    let mut recorder = Recorder::default();
    let mut state = State::new();
    // As it was some time ago, for stale reads.
    let mut past = vec![State::new()];
    let database = *random.pick(&[
        Database::Serial,
        Database::Serial,
        Database::Snapshots,
        Database::Torn,
    ]);
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
                if database == Database::Torn && random.percent(50) {
                    let mut undone = state.clone();
                    objects.apply(&mut undone, &asked);
                    past.push(undone);
                }
                recorder.record(names[who], Kind::Fail, "txn", asked);
            }
            Some((asked, None)) => {
                let old = random.pick(&past).clone();
                let mut answer = objects.apply(&mut state, &asked);
                if database == Database::Torn {
                    answer = torn(objects, &past, &asked, random);
                } else if database == Database::Snapshots {
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
    recorder
}

#[allow(dead_code, reason = "only the fuzzer times it")]
/// Registers written blindly, as a serializable database answers: of eight micro-operations a
/// transaction half are reads.
pub fn blind_writes(random: &mut Random, txns: u64, sessions: u64, keys: u64) -> History {
    let mut recorder = Recorder::default();
    let mut state = State::new();
    let mut open: Vec<Option<(Value, Option<Value>)>> = vec![None; sessions as usize];
    let (mut invoked, mut fresh) = (0, 0);
    while invoked < txns || open.iter().any(Option::is_some) {
        recorder.advance(1_000);
        let who = random.below(sessions);
        match open[who as usize].take() {
            None if invoked < txns => {
                invoked += 1;
                let mops = (0..8).map(|_| {
                    let key = random.below(keys) as i64;
                    if random.percent(50) {
                        return mop("r", key, Value::Nil);
                    }
                    fresh += 1;
                    mop("w", key, Value::Int(fresh))
                });
                let asked = Value::List(mops.collect());
                recorder.record(who, Kind::Invoke, "txn", asked.clone());
                open[who as usize] = Some((asked, None));
            }
            None => {}
            Some((asked, None)) => {
                let answer = Objects::Registers.apply(&mut state, &asked);
                open[who as usize] = Some((asked, Some(answer)));
            }
            Some((_, Some(answer))) => recorder.record(who, Kind::Ok, "txn", answer),
        }
    }
    recorder.history()
}

/// Every micro-operation by itself; what the transaction wrote itself it reads.
fn torn(objects: Objects, past: &[State], asked: &Value, random: &mut Random) -> Value {
    let mut own = State::new();
    let mops = asked.as_list().expect("a list").iter().map(|asked| {
        let one = Value::List(vec![asked.clone()]);
        let key = asked
            .as_list()
            .and_then(|parts| parts[1].as_int())
            .expect("a key");
        // Mostly of late.
        let state = &past[past.len() - 1 - random.below(past.len().min(3) as u64) as usize];
        let state = if own.contains_key(&key) { &own } else { state };
        let mut after = state.clone();
        let answer = objects.apply(&mut after, &one);
        if asked.as_list().expect("a list")[0].as_text() != Some("r") {
            own.extend(after.remove_entry(&key));
        }
        answer.as_list().expect("a list")[0].clone()
    });
    Value::List(mops.collect())
}

/// One read loses its last element, or has two exchanged, or one twice; or finds another value.
fn garble(answer: &mut Value, fresh: i64, random: &mut Random) {
    let Value::List(mops) = answer else { return };
    let at = random.below(mops.len() as u64) as usize;
    let Value::List(parts) = &mut mops[at] else {
        return;
    };
    match &mut parts[..] {
        [_, _, Value::List(list)] if !list.is_empty() => match random.below(5) {
            0 => drop(list.pop()),
            3 => drop(list.remove(0)),
            4 => list.clear(),
            1 => list.rotate_left(1),
            _ => list.push(list[0].clone()),
        },
        [f, _, value @ (Value::Nil | Value::Int(_))] if f.as_text() == Some("r") => {
            *value = match random.below(fresh as u64 + 2) {
                0 => Value::Nil,
                other => Value::Int(other as i64),
            };
        }
        _ => {}
    }
}

/// The models that are defined in two ways: by phenomena, and as transactions that run.
const RUN: [Consistency; 6] = [
    Consistency::Serializable,
    Consistency::StrongSessionSerializable,
    Consistency::StrictSerializable,
    Consistency::SnapshotIsolation,
    Consistency::StrongSessionSnapshotIsolation,
    Consistency::StrongSnapshotIsolation,
];

/// What is right of a history, by the definitions.
struct Right {
    explained: Explained,
    /// By phenomena, of all models; none if there are too many orders of versions to try.
    allowed: Option<[bool; Consistency::ALL.len()]>,
}

impl Right {
    fn of(objects: Objects, history: &History, brute: &mut Brute) -> Right {
        let explained = brute.explained(history);
        let defined = adya::defined(history, objects == Objects::Lists);
        let right = Right {
            explained,
            allowed: defined.map(|defined| defined.allowed),
        };
        for model in RUN {
            let (by_run, allowed) = (right.by_run(model), right.allows(model));
            let agree = allowed.is_none_or(|allowed| Some(allowed) == by_run);
            assert!(agree, "{model}: {explained:?}\n{}", show(history));
        }
        right
    }

    fn by_run(&self, model: Consistency) -> Option<bool> {
        let Explained {
            serially,
            by_snapshots,
        } = self.explained;
        let mut runs = RUN
            .into_iter()
            .zip(serially.into_iter().chain(by_snapshots));
        runs.find(|(run, _)| *run == model).map(|(_, right)| right)
    }

    fn allows(&self, model: Consistency) -> Option<bool> {
        let at = Consistency::ALL.iter().position(|m| *m == model);
        self.allowed
            .map(|allowed| allowed[at.expect("it is a model")])
    }

    /// Whether a model holds; none if nobody could try all.
    fn holds(&self, model: Consistency) -> Option<bool> {
        self.by_run(model).or(self.allows(model))
    }
}

/// Judges the history of a seed, replays the orders that explain it, and panics where a definition
/// says something else. Of every 16th each model is asked, of the others strict serializability and
/// one more in turn: what is said of other models is held against their definitions too, so that
/// each history is judged by all.
pub fn judge(objects: Objects, seed: u64, brute: &mut Brute, counts: &mut Counts) {
    let recorder = recorded(objects, &mut Random::new(seed));
    let history = recorder.clone().history();
    let right = Right::of(objects, &history, brute);
    let all = Consistency::ALL;
    let turn = all[(seed % all.len() as u64) as usize];
    let strictest = Consistency::StrictSerializable;
    for model in all {
        if seed.is_multiple_of(16) || model == turn || model == strictest {
            let found = objects.check(model, &history);
            agrees(model, &found, &right, &history);
            if model == turn || seed.is_multiple_of(16) {
                certified(objects, model, &found, &right, &history);
            }
            if model == strictest {
                count(&found, counts);
            }
        }
    }
    if seed.is_multiple_of(4) {
        beside_unjudged(objects, turn, &history, recorder);
    }
}

/// Holds a verdict by a model, and what is said of others, against what is right.
fn agrees(model: Consistency, found: &Analysis, right: &Right, history: &History) {
    let said = |of: Consistency| {
        let is_right = right.holds(of);
        format!(
            "{of}, of which right is {is_right:?}: {model} finds {found:#?}\n{}",
            show(history)
        )
    };
    // What was undone may leave a list without an order.
    let kinds = ["incompatible order", "internal"];
    let has =
        |f: &Figure| f.name == "anomalies" && kinds.iter().any(|kind| f.value.get(kind).is_some());
    let is_open = |of| of == Consistency::ReadUncommitted && found.figures.iter().any(has);
    for other in Consistency::ALL {
        let told = match told(found, other) {
            // Nothing was asked for.
            Verdict::Vacuous => continue,
            _ if other == model => found.verdict,
            told => told,
        };
        let agrees = match told {
            Verdict::Valid => right.holds(other) != Some(false),
            Verdict::Invalid => right.holds(other) != Some(true),
            // Nothing is sought beyond what was asked for, unless that is refuted.
            _ => is_open(other) || other != model && found.verdict != Verdict::Invalid,
        };
        assert!(agrees, "{}", said(other));
    }
}

/// What an analysis says of a model, whichever was asked for.
fn told(found: &Analysis, of: Consistency) -> Verdict {
    let is_in = |name: &str| {
        let figure = found.figures.iter().find(|f| f.name == name);
        let models = figure.and_then(|f| f.value.as_array());
        models.is_some_and(|models| models.iter().any(|m| m == of.name()))
    };
    match (is_in("models refuted"), is_in("models that hold")) {
        (true, true) => panic!("{of} is both: {found:?}"),
        (true, false) => Verdict::Invalid,
        (false, true) => Verdict::Valid,
        _ if found.verdict == Verdict::Vacuous => Verdict::Vacuous,
        (false, false) => Verdict::Unknown,
    }
}

fn count(found: &Analysis, counts: &mut Counts) {
    for model in Consistency::ALL {
        counts.add(model.name(), told(found, model));
    }
}

/// Replays the order that explains the history, if it is said to have one.
fn certified(
    objects: Objects,
    model: Consistency,
    found: &Analysis,
    right: &Right,
    history: &History,
) {
    let serially = Consistency::serializable_within(model.forbids_up_to().1);
    let say = |other: &dyn std::fmt::Debug| {
        format!(
            "{model}: {found:#?}, and then {other:#?}\n{}",
            show(history)
        )
    };
    match objects.certify(model, history) {
        Ok(order) => {
            assert_eq!(found.verdict, Verdict::Valid, "{}", say(&order));
            assert_eq!(order.scope, model.forbids_up_to().1);
            assert_eq!(verify(history, &order), Ok(()), "{}", say(&order));
        }
        // A weaker model asks for no serial order; if there is one, it is found.
        Err(other) if found.verdict == Verdict::Valid => {
            let is_none = right.holds(serially) == Some(false);
            assert!(
                is_none && other.verdict == Verdict::Unknown,
                "{}",
                say(&other)
            );
        }
        Err(other) => assert_eq!(other.verdict, found.verdict, "{}", say(&other)),
    }
}

/// Judges it once more with an operation at its end that cannot be judged: one that is no
/// transaction, and one that writes what another wrote. What speaks against the history still does,
/// and nothing else.
fn beside_unjudged(objects: Objects, model: Consistency, history: &History, recorder: Recorder) {
    let found = objects.check(model, history);
    let writes = |op: &history::Op| {
        let mops = op.input.as_list().unwrap_or_default().iter();
        let mut writes = mops.filter(|mop| {
            mop.as_list()
                .is_some_and(|mop| mop[0].as_text() != Some("r"))
        });
        writes.next().cloned()
    };
    let odd = Value::List(vec![Value::List(vec!["r".into(), 0.into()])]);
    let mut others = history
        .ops()
        .iter()
        .filter(|op| op.outcome != Outcome::Fail);
    let again = others.find_map(writes);
    let again = again.map(|mop| Value::List(vec![mop]));
    for (extra, is_odd) in [(Some(odd), true), (again, false)] {
        let Some(extra) = extra else { continue };
        let mut recorder = recorder.clone();
        recorder.advance(1);
        recorder.record(99, Kind::Invoke, "txn", extra.clone());
        recorder.record(99, Kind::Ok, "txn", extra);
        let history = recorder.history();
        let beside = objects.check(model, &history);
        // What nobody is known to have written the odd one may have.
        let from_nowhere = |kind: &str| kind.ends_with("from nowhere");
        let stays = is_odd && found.anomalies.iter().any(|a| !from_nowhere(&a.kind));
        let right = match beside.verdict {
            Verdict::Invalid => found.verdict == Verdict::Invalid,
            Verdict::Unknown => !stays || found.verdict != Verdict::Invalid,
            _ => false,
        };
        assert!(
            right,
            "{model}, {found:#?} and then {beside:#?}\n{}",
            show(&history)
        );
    }
}
