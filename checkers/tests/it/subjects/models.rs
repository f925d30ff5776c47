//! The scripts that are examples, each against the same specification in Rust and all orders.

use checkers::script::{OrderOf, Script};
use checkers::scripted::Scripted;
use checkers::{Budget, Verdict};
use history::{History, Kind, Op, Outcome, Value};

use super::Counts;
use crate::random::{Random, Recorder, precedes, show};

/// An example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    BoundedCounter,
    ExpiringRegister,
    TwoPhaseCommit,
}

impl Example {
    pub const ALL: [Example; 3] = [
        Example::BoundedCounter,
        Example::ExpiringRegister,
        Example::TwoPhaseCommit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Example::BoundedCounter => "bounded-counter",
            Example::ExpiringRegister => "expiring-register",
            Example::TwoPhaseCommit => "two-phase-commit",
        }
    }

    pub fn named(name: &str) -> Option<Example> {
        Example::ALL.into_iter().find(|one| one.name() == name)
    }

    pub fn text(self) -> &'static str {
        match self {
            Example::BoundedCounter => {
                include_str!("../../../examples/models/bounded-counter.rhai")
            }
            Example::ExpiringRegister => {
                include_str!("../../../examples/models/expiring-register.rhai")
            }
            Example::TwoPhaseCommit => {
                include_str!("../../../examples/models/two-phase-commit.rhai")
            }
        }
    }

    pub fn script(self) -> Script {
        Script::new(format!("{}.rhai", self.name()), self.text()).expect("it is an example")
    }

    /// What a client asks for.
    fn asked(self, random: &mut Random, written: &[i64]) -> (&'static str, Value) {
        let number = |random: &mut Random, most| Value::Int(1 + random.below(most) as i64);
        match (self, random.below(10)) {
            (Example::BoundedCounter, 0..4) => ("add", number(random, 3)),
            (Example::BoundedCounter, 4..7) => ("take", number(random, 3)),
            (Example::ExpiringRegister, 0..3) => ("write", number(random, 3)),
            (Example::ExpiringRegister, 3..6) if !written.is_empty() => {
                ("expire", Value::Int(*random.pick(written)))
            }
            (Example::TwoPhaseCommit, 0..3) => {
                ("prepare", Value::pair(number(random, 2), number(random, 9)))
            }
            (Example::TwoPhaseCommit, 3..5) => ("commit", number(random, 2)),
            (Example::TwoPhaseCommit, 5..7) => ("abort", number(random, 2)),
            _ => ("read", Value::Nil),
        }
    }

    fn start(self) -> Object {
        match self {
            Example::BoundedCounter => Object::Counter(0),
            Example::ExpiringRegister => Object::Register(None),
            Example::TwoPhaseCommit => Object::Log(Vec::new()),
        }
    }
}

/// How far a transaction is: prepared with an entry, committed as the so-manieth, or aborted.
#[derive(Clone, Debug)]
enum Stage {
    Prepared,
    Committed(usize),
    Aborted,
}

/// The same in Rust, and in other terms.
#[derive(Clone, Debug)]
enum Object {
    Counter(i64),
    Register(Option<Value>),
    /// Transactions with their entries, in the order in which they were first named.
    Log(Vec<(Value, Value, Stage)>),
}

impl Object {
    /// Does it, and says what the answer is.
    fn step(&mut self, f: &str, value: &Value) -> Value {
        match (self, f) {
            (Object::Counter(count), "read") => (*count).into(),
            (Object::Counter(count), _) => {
                let by = value.as_int().expect("a number");
                let then = *count + if f == "add" { by } else { -by };
                let fits = (0..=3).contains(&then);
                *count = if fits { then } else { *count };
                fits.into()
            }
            (Object::Register(held), "read") => held.clone().unwrap_or_default(),
            (Object::Register(held), "write") => {
                *held = Some(value.clone());
                Value::Nil
            }
            (Object::Register(held), _) => {
                held.take_if(|held| held == value);
                Value::Nil
            }
            (Object::Log(known), "read") => {
                let mut log: Vec<(usize, Value)> = Vec::new();
                for (_, entry, stage) in known {
                    if let Stage::Committed(at) = stage {
                        log.push((*at, entry.clone()));
                    }
                }
                log.sort();
                Value::List(log.into_iter().map(|(_, entry)| entry).collect())
            }
            (Object::Log(known), "prepare") => {
                let (name, entry) = value.as_pair().expect("a pair");
                let is_new = known.iter().all(|(own, ..)| own != name);
                if is_new {
                    known.push((name.clone(), entry.clone(), Stage::Prepared));
                }
                is_new.into()
            }
            (Object::Log(known), f) => {
                let committed = known.iter();
                let committed = committed.filter(|(.., s)| matches!(s, Stage::Committed(_)));
                let next = committed.count();
                let own = known.iter_mut().find(|(own, ..)| own == value);
                match (own, f) {
                    (None, "commit") => false.into(),
                    (None, _) => {
                        known.push((value.clone(), Value::Nil, Stage::Aborted));
                        true.into()
                    }
                    (Some((.., stage)), "commit") => {
                        if matches!(stage, Stage::Prepared) {
                            *stage = Stage::Committed(next);
                        }
                        matches!(stage, Stage::Committed(_)).into()
                    }
                    (Some((.., stage)), _) => {
                        if matches!(stage, Stage::Prepared) {
                            *stage = Stage::Aborted;
                        }
                        matches!(stage, Stage::Aborted).into()
                    }
                }
            }
        }
    }
}

/// Processes that use a real object, some of whose answers are spoilt.
pub fn random_history(example: Example, random: &mut Random) -> History {
    let mut recorder = Recorder::any(random, 8);
    let mut object = example.start();
    let (ops, processes) = (1 + random.below(8), 1 + random.below(4));
    let (lost, wrong) = (*random.pick(&[0, 0, 25]), *random.pick(&[0, 15, 30]));
    type Open = (&'static str, Value, Option<Value>);
    let mut open: Vec<Option<Open>> = vec![None; processes as usize];
    let mut names: Vec<u64> = (0..processes).collect();
    let (mut invoked, mut written) = (0, Vec::new());
    while invoked < ops || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        let who = random.below(processes) as usize;
        match open[who].take() {
            None if invoked < ops => {
                invoked += 1;
                let (f, value) = example.asked(random, &written);
                written.extend(value.as_int().filter(|_| f == "write"));
                recorder.record(names[who], Kind::Invoke, f, value.clone());
                open[who] = Some((f, value, None));
            }
            None => {}
            Some((f, value, answer)) if random.percent(lost) => {
                if answer.is_none() && random.percent(50) {
                    object.step(f, &value);
                }
                recorder.record(names[who], Kind::Info, f, value);
                names[who] = names.iter().max().expect("there are some") + 1;
            }
            Some((f, value, None)) => match random.percent(8) {
                true => recorder.record(names[who], Kind::Fail, f, value),
                false => {
                    let answer = object.step(f, &value);
                    open[who] = Some((f, value, Some(answer)));
                }
            },
            Some((f, _, Some(answer))) => {
                let answer = match random.percent(wrong) {
                    true => spoilt(random, answer),
                    false => answer,
                };
                recorder.record(names[who], Kind::Ok, f, answer);
            }
        }
    }
    recorder.history()
}

fn spoilt(random: &mut Random, answer: Value) -> Value {
    match answer {
        Value::Bool(b) => Value::Bool(!b),
        Value::Int(_) | Value::Nil if random.percent(30) => Value::Nil,
        Value::Int(_) | Value::Nil => Value::Int(random.below(4) as i64),
        Value::List(mut items) => {
            match items.pop() {
                None => items.push(Value::Int(1 + random.below(9) as i64)),
                Some(last) => match random.percent(50) {
                    true => {}
                    false => items.insert(0, last),
                },
            }
            Value::List(items)
        }
        other => other,
    }
}

/// Whether some order explains all answers: every one is tried.
pub fn explains(example: Example, history: &History) -> bool {
    let ops = history.ops().iter();
    let ops: Vec<&Op> = ops.filter(|op| op.outcome != Outcome::Fail).collect();
    place(&ops, &mut vec![false; ops.len()], &example.start())
}

fn place(ops: &[&Op], placed: &mut Vec<bool>, object: &Object) -> bool {
    let left = |i: &usize| !placed[*i];
    let missing = (0..ops.len()).filter(left);
    if missing.clone().all(|i| ops[i].outcome == Outcome::Info) {
        return true;
    }
    let first = |i: &usize| {
        let mut others = (0..ops.len()).filter(left);
        others.all(|other| !precedes(ops[other], ops[*i]))
    };
    let next: Vec<usize> = missing.filter(first).collect();
    next.into_iter().any(|i| {
        let (op, mut then) = (ops[i], object.clone());
        let answer = then.step(&op.f, &op.input);
        // What changes a value and is not asked about it may answer anything.
        let is_told = !matches!(op.f.as_str(), "write" | "expire");
        if op.outcome == Outcome::Ok && is_told && answer != op.output {
            return false;
        }
        placed[i] = true;
        let found = place(ops, placed, &then);
        placed[i] = false;
        found
    })
}

/// Judges one history, and panics if the script's verdict is not the definition's.
pub fn judge(example: Example, scripted: &Scripted, seed: u64, counts: &mut Counts) {
    let random = &mut Random::new(seed);
    let history = random_history(example, random);
    let told = || format!("seed {seed}\n{}", show(&history));
    let judged = scripted.judge(&history, &Budget::default());
    let judged = judged.unwrap_or_else(|fault| panic!("{fault}\n{}", told()));
    let verdict = judged.analysis.verdict;
    let is_valid = explains(example, &history);
    let said = match verdict {
        // There is an order, and it says nothing.
        Verdict::Vacuous => Verdict::Valid,
        other => other,
    };
    let right = if is_valid {
        Verdict::Valid
    } else {
        Verdict::Invalid
    };
    assert_eq!(said, right, "{}\n{}", judged.analysis.summary, told());
    counts.add(example.name(), verdict);
    if let Some(certificate) = judged.certificate {
        replayed(&certificate, &history, random, &told);
    }
}

/// What is right is accepted, and what leaves out or moves an operation that matters is not.
fn replayed(
    certificate: &OrderOf,
    history: &History,
    random: &mut Random,
    told: &dyn Fn() -> String,
) {
    let budget = Budget::default();
    let found = certificate.verify(history, &budget);
    assert_eq!(found, Ok(()), "{}", told());
    let mut spoilt = certificate.clone();
    let ops = &mut spoilt.orders[0].ops;
    let happened = |op: &u64| history.op(*op).is_some_and(|op| op.outcome == Outcome::Ok);
    let Some(at) = ops.iter().position(happened) else {
        return;
    };
    match random.percent(50) {
        true => drop(ops.remove(at)),
        false => ops.push(ops[at]),
    }
    assert!(spoilt.verify(history, &budget).is_err(), "{}", told());
}
