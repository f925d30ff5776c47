//! Random histories of registers, most of them nearly right.

use history::{Event, History, Kind, Op, Outcome, Process, Time, Value};

pub use crate::splitmix::Random;

/// How many histories a test tries: `SCHISM_FUZZ_HISTORIES`, else `usually`. The first one's seed
/// is `SCHISM_FUZZ_SEED`, else 0.
pub fn seeds(usually: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let from = number("SCHISM_FUZZ_SEED").unwrap_or(0);
    from..from + number("SCHISM_FUZZ_HISTORIES").unwrap_or(usually)
}

/// Operations one a line, for a failing test.
pub fn show(history: &History) -> String {
    let line = |o: &Op| {
        let ret = if o.ret == Time::MAX {
            String::new()
        } else {
            o.ret.0.to_string()
        };
        format!(
            "{} {} {:?} {}..{ret} {} {} -> {}\n",
            o.index, o.process, o.outcome, o.call.0, o.f, o.input, o.output
        )
    };
    history.ops().iter().map(line).collect()
}

/// What comes before what, written down a second time: whoever has an answer before another asks,
/// and of one process whoever asked first, whatever the stamps.
pub fn precedes(a: &Op, b: &Op) -> bool {
    let answered = a.outcome != Outcome::Info;
    let asked_first = a.process == b.process && a.index < b.index;
    answered && (asked_first || a.ret < b.call)
}

/// Numbered events at their times.
#[derive(Clone)]
pub struct Recorder {
    events: Vec<Event>,
    time: u64,
    /// So many nanoseconds have one stamp; none if no two events have one.
    grain: Option<u64>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            events: Vec::new(),
            time: 0,
            grain: Some(1),
        }
    }
}

impl Recorder {
    /// Stamps of any grain, from one for each event to one for all. Long histories at one time
    /// are beyond every engine: to order them is NP-complete.
    pub fn any(random: &mut Random, operations: u64) -> Recorder {
        if operations > 20 {
            return Recorder::default();
        }
        Recorder {
            grain: *random.pick(&[None, Some(1), Some(1), Some(3), Some(12), Some(1_000)]),
            ..Recorder::default()
        }
    }

    pub fn advance(&mut self, ns: u64) {
        self.time += ns;
    }

    pub fn record(&mut self, process: u64, kind: Kind, f: &str, value: Value) {
        self.record_at(process, kind, f, value, None);
    }

    /// With the place in the system's own order that the answer tells.
    pub fn record_at(
        &mut self,
        process: u64,
        kind: Kind,
        f: &str,
        value: Value,
        version: Option<Value>,
    ) {
        self.events.push(Event {
            index: self.events.len() as u64,
            time: Time(match self.grain {
                Some(grain) => self.time / grain,
                None => self.events.len() as u64,
            }),
            process: Process::Client(process),
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version,
            due: None,
        });
    }

    pub fn history(self) -> History {
        let history = History::new(self.events);
        history.expect("events are recorded in order, one operation a process")
    }
}

/// What kind of histories.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub ops: u64,
    pub processes: u64,
    /// Values are written once; otherwise there are so few that they are not.
    pub unique: bool,
    pub cas_percent: u64,
    pub lost_percent: u64,
    /// Answers replaced by arbitrary ones, and operations that claim an effect that they did not
    /// have, or the reverse.
    pub wrong_percent: u64,
    pub keys: u64,
    /// Whether answers say where they took effect.
    pub versions: bool,
}

struct Open {
    f: &'static str,
    key: u64,
    args: Value,
    answer: Option<Value>,
    /// Whether its moment has come; a cas that found something else has an answer and no effect.
    done: bool,
    failed: bool,
    version: i64,
}

/// Plays processes against real registers, one step at a time, and then spoils some answers.
pub fn history(random: &mut Random, shape: Shape) -> History {
    let mut recorder = Recorder::any(random, shape.ops);
    let mut registers = vec![Value::Nil; shape.keys as usize];
    let mut open: Vec<Option<Open>> = (0..shape.processes).map(|_| None).collect();
    let mut names: Vec<u64> = (0..shape.processes).collect();
    let mut fresh = 0;
    let mut written = vec![Value::Nil];
    let mut invoked = 0;
    // Where the system begins to count, and how many numbers tell the place, is nobody's business.
    let (mut version, in_two) = match shape.versions {
        true => (-2, random.percent(30)),
        false => (0, false),
    };
    while invoked < shape.ops || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        let who = random.below(shape.processes) as usize;
        let keyed = |key: u64, value: Value| Value::pair(key as i64, value);
        match open[who].take() {
            None if invoked < shape.ops => {
                invoked += 1;
                let key = random.below(shape.keys);
                let mut value = |random: &mut Random| {
                    fresh += 1;
                    match shape.unique {
                        true => Value::Int(fresh),
                        false if random.percent(4) => Value::Nil,
                        false => Value::Int(random.below(3) as i64 + 1),
                    }
                };
                let (f, args) = match random.below(100) {
                    n if n < shape.cas_percent => {
                        let from = match random.percent(70) {
                            true => registers[key as usize].clone(),
                            false => random.pick(&written).clone(),
                        };
                        ("cas", Value::pair(from, value(random)))
                    }
                    n if n < (100 + shape.cas_percent) / 2 => ("write", value(random)),
                    _ => ("read", Value::Nil),
                };
                match (f, args.as_pair()) {
                    ("write", _) => written.push(args.clone()),
                    ("cas", Some((_, to))) => written.push(to.clone()),
                    _ => {}
                }
                recorder.record(names[who], Kind::Invoke, f, keyed(key, args.clone()));
                open[who] = Some(Open {
                    f,
                    key,
                    args,
                    answer: None,
                    done: false,
                    failed: false,
                    version: 0,
                });
            }
            None => {}
            Some(mut op) if random.percent(shape.lost_percent) => {
                // It is lost now; it may still happen, at once or never (a later moment would need
                // a process that goes on without its client, and the next branch gives those).
                if !op.done && random.percent(50) {
                    apply(&mut op, &mut registers, &mut version);
                }
                recorder.record(names[who], Kind::Info, op.f, keyed(op.key, op.args));
                names[who] = names.iter().max().expect("there are processes") + 1;
            }
            Some(mut op) if !op.done => {
                if random.percent(8) {
                    recorder.record(names[who], Kind::Fail, op.f, keyed(op.key, op.args));
                    continue;
                }
                if random.percent(shape.wrong_percent / 4) {
                    op.done = true;
                    op.version = version;
                    op.failed = random.percent(30);
                    op.answer = Some(registers[op.key as usize].clone()).filter(|_| op.f == "read");
                } else {
                    apply(&mut op, &mut registers, &mut version);
                }
                open[who] = Some(op);
            }
            Some(mut op) => {
                op.failed ^= random.percent(shape.wrong_percent / 8);
                let (kind, mut value) = match op.failed {
                    true => (Kind::Fail, op.args),
                    false => (Kind::Ok, op.answer.unwrap_or(op.args)),
                };
                if op.f == "read" && random.percent(shape.wrong_percent) {
                    value = random.pick(&written).clone();
                }
                let told = shape.versions && kind == Kind::Ok;
                let version = told.then(|| match in_two {
                    true => Value::pair(op.version.div_euclid(3), op.version.rem_euclid(3)),
                    false => Value::Int(op.version),
                });
                recorder.record_at(names[who], kind, op.f, keyed(op.key, value), version);
            }
        }
    }
    recorder.history()
}

fn apply(op: &mut Open, registers: &mut [Value], version: &mut i64) {
    let register = &mut registers[op.key as usize];
    op.done = true;
    if op.f != "read" {
        *version += 1;
    }
    op.version = *version;
    match (op.f, op.args.as_pair()) {
        ("read", _) => op.answer = Some(register.clone()),
        ("cas", Some((from, to))) => match register == from {
            true => *register = to.clone(),
            false => op.failed = true,
        },
        _ => *register = op.args.clone(),
    }
}
