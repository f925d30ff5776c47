//! What each object answers, one operation at a time: the whole meaning of a `--model`, for
//! certificates to be held against.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{Debug, Display};

use history::{Process, Value};

use crate::model::Model;

/// An operation in its place.
#[derive(Clone, Copy, Debug)]
pub struct Step<'h> {
    pub f: &'h str,
    pub process: Process,
    pub input: &'h Value,
    /// None: nobody knows what it answered.
    pub output: Option<&'h Value>,
}

impl Step<'_> {
    /// Whether it answered this, as far as anybody knows.
    fn answers(&self, right: &Value) -> Result<(), String> {
        match self.output {
            Some(output) if output != right => {
                Err(format!("{} answered {output}, not {right}", self.f))
            }
            _ => Ok(()),
        }
    }

    fn unknown(&self) -> Result<(), String> {
        Err(format!("{} is no operation of this object", self.f))
    }
}

/// A sequential object that holds values as they stand in the history. Two that are written alike
/// ([`Debug`]) are in the same state.
pub trait Object: Debug {
    /// The operations that it knows. It has nothing to do with others.
    fn operations(&self) -> &'static [&'static str];

    /// Takes the step, or says why its answer is impossible now.
    fn step(&mut self, step: &Step) -> Result<(), String>;

    fn copy(&self) -> Box<dyn Object>;

    /// What it holds, for people: `[1 2]`, `held by 3`.
    fn holds(&self) -> String {
        format!("{self:?}")
    }
}

/// `{1 2}`, or the beginning and how many there are.
fn listed<T: Display>(all: impl ExactSizeIterator<Item = T>, [open, close]: [char; 2]) -> String {
    const MOST: usize = 20;
    let count = all.len();
    let shown: Vec<String> = all.take(MOST).map(|one| one.to_string()).collect();
    let rest = match count > MOST {
        true => format!(" … {count} in all"),
        false => String::new(),
    };
    format!("{open}{}{rest}{close}", shown.join(" "))
}

fn keyed(all: &BTreeMap<Value, impl Display>) -> String {
    let all = all.iter().map(|(key, value)| format!("{key}: {value}"));
    listed(all, ['{', '}'])
}

/// What a transaction does: a name, a key, what it appends or writes, and what it read if that is
/// known.
#[derive(Clone, Copy, Debug)]
pub struct Micro<'h> {
    pub f: &'h Value,
    pub key: &'h Value,
    pub value: &'h Value,
    pub read: Option<&'h Value>,
}

impl Micro<'_> {
    pub fn reads(&self) -> bool {
        self.f.as_text() == Some("r")
    }
}

/// The micro-operations of a question and its answer, if one is known: each of a name, a key and a
/// value, the answer's the same as the question's but for what was read. A question that is nil was
/// not recorded.
///
/// # Errors
/// What is no such micro-operation.
pub fn micros<'h>(
    question: &'h Value,
    answer: Option<&'h Value>,
    writes: &str,
) -> Result<Vec<Micro<'h>>, String> {
    let question = match answer {
        Some(answer) if question.is_nil() => answer,
        _ => question,
    };
    let asked = question.as_list().ok_or("a txn is a list")?;
    let answered = match answer {
        None => asked,
        Some(answer) => answer.as_list().ok_or("a txn answers with a list")?,
    };
    if asked.len() != answered.len() {
        return Err(format!("{} parts, {} answers", asked.len(), answered.len()));
    }
    let both = asked.iter().zip(answered);
    both.map(|(asked, answered)| {
        let other = || Err(format!("{asked} is answered with {answered}"));
        let (Some([f, key, value]), Some([f2, key2, told])) = (asked.as_list(), answered.as_list())
        else {
            return other();
        };
        let reads = f.as_text() == Some("r");
        match f.as_text() {
            _ if (f, key) != (f2, key2) || !reads && value != told => other(),
            Some(name) if reads || name == writes => Ok(Micro {
                f,
                key,
                value,
                read: answer.filter(|_| reads).map(|_| told),
            }),
            _ => Err(format!("{asked} is neither {writes} nor r")),
        }
    })
    .collect()
}

/// An object at its start.
///
/// # Errors
/// That it cannot start so, or is judged without an order.
pub fn object(model: Model, initial: &Value) -> Result<Box<dyn Object>, String> {
    match model {
        Model::Register | Model::CasRegister => Ok(Box::new(Register {
            now: initial.clone(),
            unwritten: None,
        })),
        Model::Kv => Ok(Box::new(Register {
            now: initial.clone(),
            unwritten: (initial.is_nil() || initial.as_text() == Some("")).then(|| initial.clone()),
        })),
        Model::RwRegister => Ok(Box::new(Registers {
            initial: initial.clone(),
            held: BTreeMap::new(),
        })),
        Model::Semaphore => match initial.as_int().and_then(|n| usize::try_from(n).ok()) {
            Some(permits) if permits > 0 => Ok(Box::new(Lock::new(permits))),
            _ => Err(format!(
                "a semaphore starts with its number of permits, not with {initial}"
            )),
        },
        Model::Counter => match initial {
            Value::Nil => Ok(Box::new(Counter(0))),
            Value::Int(sum) => Ok(Box::new(Counter(*sum))),
            other => Err(format!("a counter starts with a number, not with {other}")),
        },
        Model::TotalQueue | Model::Lease | Model::Bank => {
            Err(format!("a {} is not judged by an order", model.name()))
        }
        other if !initial.is_nil() => Err(format!(
            "a {} starts empty, not with {initial}",
            other.name()
        )),
        Model::Set => Ok(Box::new(Set::default())),
        Model::Append => Ok(Box::new(Lists::default())),
        Model::Queue => Ok(Box::new(Queue::default())),
        Model::Stack => Ok(Box::new(Stack::default())),
        Model::PriorityQueue => Ok(Box::new(Heap::default())),
        Model::Lock => Ok(Box::new(Lock::new(1))),
        Model::UniqueIds => Ok(Box::new(Ids::default())),
    }
}

/// A register, or a text.
#[derive(Clone, Debug)]
struct Register {
    now: Value,
    /// Of a text, what may also be answered with nothing: what it is before it is written.
    unwritten: Option<Value>,
}

impl Object for Register {
    fn operations(&self) -> &'static [&'static str] {
        &["read", "get", "write", "put", "cas", "append"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Register { now, unwritten } = self;
        match step.f {
            "read" | "get" => {
                let nothing = unwritten.as_ref() == Some(now) && step.output == Some(&Value::Nil);
                return if nothing { Ok(()) } else { step.answers(now) };
            }
            "write" | "put" => *now = step.input.clone(),
            "append" => match (step.input.as_text(), now.as_text()) {
                (Some(more), Some(text)) => *now = Value::text(format!("{text}{more}")),
                _ => return Err(format!("append {} finds {now}", step.input)),
            },
            "cas" => match step.input.as_pair() {
                Some((from, to)) if from == now => *now = to.clone(),
                _ => return Err(format!("cas {} finds {now}", step.input)),
            },
            _ => return step.unknown(),
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        self.now.to_string()
    }
}

/// A set. An answer that is true or false says whether the element was added, removed, or there.
#[derive(Clone, Debug, Default)]
struct Set(BTreeSet<Value>);

impl Object for Set {
    fn operations(&self) -> &'static [&'static str] {
        &["add", "remove", "contains", "read"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Set(set) = self;
        let success = match step.f {
            "add" => set.insert(step.input.clone()),
            "remove" => set.remove(step.input),
            "contains" => set.contains(step.input),
            "read" => {
                let read = step.output.and_then(Value::as_list).unwrap_or_default();
                let right = read.len() == set.len()
                    && read.iter().cloned().collect::<BTreeSet<_>>() == *set;
                return (right || step.output.is_none())
                    .then_some(())
                    .ok_or(format!(
                        "read {} elements, which are not the {} of the set",
                        read.len(),
                        set.len()
                    ));
            }
            _ => return step.unknown(),
        };
        match step.output {
            Some(Value::Bool(_)) => step.answers(&Value::Bool(success)),
            _ => Ok(()),
        }
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        listed(self.0.iter(), ['{', '}'])
    }
}

/// Lists by key, and transactions that append to them and read them.
#[derive(Clone, Debug, Default)]
struct Lists(BTreeMap<Value, Vec<Value>>);

impl Object for Lists {
    fn operations(&self) -> &'static [&'static str] {
        &["txn"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        for micro in micros(step.input, step.output, "append")? {
            let Some(read) = micro.read else {
                if !micro.reads() {
                    let list = self.0.entry(micro.key.clone()).or_default();
                    list.push(micro.value.clone());
                }
                continue;
            };
            let now = self.0.get(micro.key).map_or(&[][..], Vec::as_slice);
            // What has no element may be answered with nothing.
            let right = match read {
                Value::Nil => now.is_empty(),
                read => read.as_list() == Some(now),
            };
            if !right {
                let (key, right) = (micro.key, Value::List(now.to_vec()));
                return Err(format!("read {read} of {key}, not {right}"));
            }
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        keyed(
            &self
                .0
                .iter()
                .map(|(key, list)| (key.clone(), Value::List(list.clone())))
                .collect(),
        )
    }
}

/// Values in the order in which they were put in; what finds nothing answers nil.
#[derive(Clone, Debug, Default)]
struct Queue(VecDeque<Value>);

impl Object for Queue {
    fn operations(&self) -> &'static [&'static str] {
        &["enqueue", "dequeue"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.f {
            "enqueue" => self.0.push_back(step.input.clone()),
            "dequeue" => return step.answers(&self.0.pop_front().unwrap_or_default()),
            _ => return step.unknown(),
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        listed(self.0.iter(), ['[', ']'])
    }
}

#[derive(Clone, Debug, Default)]
struct Stack(Vec<Value>);

impl Object for Stack {
    fn operations(&self) -> &'static [&'static str] {
        &["push", "pop"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.f {
            "push" => self.0.push(step.input.clone()),
            "pop" => return step.answers(&self.0.pop().unwrap_or_default()),
            _ => return step.unknown(),
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        listed(self.0.iter(), ['[', ']'])
    }
}

/// Values with how often they are in.
#[derive(Clone, Debug, Default)]
struct Heap(BTreeMap<Value, usize>);

impl Object for Heap {
    fn operations(&self) -> &'static [&'static str] {
        &["insert", "delete-min"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.f {
            "insert" => *self.0.entry(step.input.clone()).or_default() += 1,
            "delete-min" => {
                let Some(mut least) = self.0.first_entry() else {
                    return step.answers(&Value::Nil);
                };
                step.answers(least.key())?;
                *least.get_mut() -= 1;
                if *least.get() == 0 {
                    least.remove();
                }
            }
            _ => return step.unknown(),
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        keyed(&self.0)
    }
}

/// Who holds, and the last fencing token: a number answered that is not what was asked.
#[derive(Clone, Debug)]
struct Lock {
    permits: usize,
    holders: Vec<Process>,
    token: Option<i64>,
}

impl Lock {
    fn new(permits: usize) -> Lock {
        Lock {
            permits,
            holders: Vec::new(),
            token: None,
        }
    }
}

impl Object for Lock {
    fn operations(&self) -> &'static [&'static str] {
        &["acquire", "release"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Lock {
            permits,
            holders,
            token,
        } = self;
        let held = holders.iter().position(|holder| *holder == step.process);
        match (step.f, held) {
            ("acquire", _) if holders.len() == *permits => {
                return Err(format!("acquired by {} while it is held", step.process));
            }
            ("acquire", _) => {
                holders.push(step.process);
                let answer = step.output.filter(|output| *output != step.input);
                if let Some(new) = answer.and_then(Value::as_int).filter(|_| *permits == 1) {
                    if token.is_some_and(|old| new <= old) {
                        return Err(format!("token {new} is not greater than {token:?}"));
                    }
                    *token = Some(new);
                }
            }
            ("release", Some(at)) => drop(holders.swap_remove(at)),
            ("release", None) => return Err(format!("{} does not hold it", step.process)),
            _ => return step.unknown(),
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        match &self.holders[..] {
            [] => "free".to_string(),
            holders => format!("held by {}", listed(holders.iter(), ['[', ']'])),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Ids(BTreeSet<Value>);

impl Object for Ids {
    fn operations(&self) -> &'static [&'static str] {
        &["generate"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.output {
            Some(id) if !self.0.insert(id.clone()) => Err(format!("{id} was generated before")),
            _ => Ok(()),
        }
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        listed(self.0.iter(), ['{', '}'])
    }
}

#[derive(Clone, Debug)]
struct Counter(i64);

impl Object for Counter {
    fn operations(&self) -> &'static [&'static str] {
        &["add", "read"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Counter(sum) = self;
        match (step.f, step.input.as_int()) {
            ("add", Some(n)) => *sum = sum.checked_add(n).ok_or("the sum is beyond 64 bits")?,
            ("add", None) => return Err(format!("{} is no number", step.input)),
            ("read", _) => return step.answers(&Value::Int(*sum)),
            _ => return step.unknown(),
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        self.0.to_string()
    }
}

/// Registers by key, and transactions that write them and read them.
#[derive(Clone, Debug)]
struct Registers {
    initial: Value,
    held: BTreeMap<Value, Value>,
}

impl Object for Registers {
    fn operations(&self) -> &'static [&'static str] {
        &["txn"]
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        for micro in micros(step.input, step.output, "w")? {
            let now = self.held.get(micro.key).unwrap_or(&self.initial);
            match micro.read {
                Some(read) if read != now => {
                    return Err(format!("read {read} of {}, not {now}", micro.key));
                }
                None if !micro.reads() => {
                    self.held.insert(micro.key.clone(), micro.value.clone());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn holds(&self) -> String {
        keyed(&self.held)
    }
}
