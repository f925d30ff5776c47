//! The recipes on a store in memory that does what it is told, and otherwise what it should.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkers::{Budget, Checker, Verdict};
use harness::client::{Client, Invocation, OpError, TIMEOUT};
use history::{Event, History, Kind, Process, Time, Value};

use super::lock::Holder;
use super::{queue, sums};
use crate::catalogue;
use crate::interface::{Consistency, Kv};
use crate::params::Params;
use crate::workload::KvOperations;

/// What is under each key, and what the store does wrong.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    values: BTreeMap<String, Value>,
    /// Before so many compare-and-sets somebody else puts this there.
    meddles: Vec<Value>,
    /// The next compare-and-set is made, or not, and nobody hears of it.
    silent: Option<bool>,
    /// Nothing can be read.
    mute: bool,
    /// It swaps without comparing.
    blind: bool,
    swaps: usize,
}

impl Memory {
    fn with(&self, change: impl FnOnce(&mut State)) -> &Memory {
        change(&mut self.0.lock().unwrap());
        self
    }

    fn swaps(&self) -> usize {
        self.0.lock().unwrap().swaps
    }
}

#[async_trait]
impl Kv for Memory {
    async fn get(
        &mut self,
        key: &str,
        _consistency: Consistency,
    ) -> Result<Option<Value>, OpError> {
        let state = self.0.lock().unwrap();
        match state.mute {
            true => Err(OpError::new(TIMEOUT, "")),
            false => Ok(state.values.get(key).cloned()),
        }
    }

    async fn put(&mut self, _key: &str, _value: &Value) -> Result<(), OpError> {
        unreachable!("no recipe writes blindly")
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        let mut state = self.0.lock().unwrap();
        state.swaps += 1;
        if let Some(other) = state.meddles.pop() {
            state.values.insert(key.into(), other);
        }
        let holds = state.blind || state.values.get(key) == from;
        let silent = state.silent.take();
        if holds && silent != Some(false) {
            state.values.insert(key.into(), to.clone());
        }
        match silent {
            Some(_) => Err(OpError::new(TIMEOUT, "")),
            None => Ok(holds),
        }
    }

    async fn append(&mut self, _key: &str, _element: &Value) -> Result<(), OpError> {
        unreachable!("no recipe appends")
    }

    async fn scan(
        &mut self,
        _prefix: &str,
        _consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        unreachable!("no recipe scans")
    }
}

/// One operation, and how it ended: its code and whether that is definite, or its answer.
async fn ended(
    operations: &dyn KvOperations,
    memory: &Memory,
    f: &'static str,
    value: Value,
) -> Result<Value, (&'static str, bool)> {
    let f = f.into();
    let operation = Invocation { f, value };
    let done = operations.perform(&mut memory.clone(), &operation).await;
    done.map_err(|e| (e.code.code, e.code.definite))
}

fn on_1(value: impl Into<Value>) -> Value {
    Value::pair(1, value.into())
}

#[tokio::test]
async fn first_in_is_first_out_and_an_empty_queue_gives_nothing() {
    let memory = Memory::default();
    let ask = async |f, value| ended(&queue::Operations, &memory, f, on_1(value)).await;
    assert_eq!(ask("dequeue", Value::Nil).await, Ok(on_1(Value::Nil)));
    for n in [7, 8] {
        assert_eq!(ask("enqueue", n.into()).await, Ok(on_1(n)));
    }
    assert_eq!(ask("dequeue", Value::Nil).await, Ok(on_1(7)));
    // Somebody else takes 8 and puts 9 in the meantime: what is taken is 9.
    memory.with(|state| state.meddles = vec![Value::List(vec![9.into()])]);
    assert_eq!(ask("dequeue", Value::Nil).await, Ok(on_1(9)));
    assert_eq!(ask("dequeue", Value::Nil).await, Ok(on_1(Value::Nil)));
}

#[tokio::test]
async fn what_may_have_happened_is_not_tried_again_and_what_did_not_is_said() {
    for (happens, left) in [(true, 1), (false, 0)] {
        let memory = Memory::default();
        memory.with(|state| state.silent = Some(happens));
        let ask = async |f, value| ended(&sums::Sums, &memory, f, on_1(value)).await;
        assert_eq!(ask("add", 1.into()).await, Err(("timeout", false)));
        assert_eq!(memory.swaps(), 1);
        assert_eq!(ask("read", Value::Nil).await, Ok(on_1(left)));
        // Nothing was sent that could change anything.
        memory.with(|state| state.mute = true);
        assert_eq!(ask("add", 1.into()).await, Err(("unavailable", true)));
        // Somebody else is always there first.
        let others: Vec<Value> = (100..200).map(Value::Int).collect();
        memory.with(|state| (state.mute, state.meddles) = (false, others));
        assert_eq!(ask("add", 1.into()).await, Err(("conflict", true)));
        assert_eq!(memory.swaps(), 1 + super::TRIES);
    }
}

#[tokio::test]
async fn identifiers_differ() {
    let memory = Memory::default();
    let next = async || ended(&sums::Ids, &memory, "generate", Value::Nil).await;
    assert_eq!(next().await, Ok(0.into()));
    memory.with(|state| state.meddles = vec![5.into()]);
    assert_eq!(next().await, Ok(5.into()));
    assert_eq!(next().await, Ok(6.into()));
}

fn holder(memory: &Memory, process: u64) -> Holder {
    Holder {
        kv: Box::new(memory.clone()),
        process,
        acquired: 0,
        holds: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_lock_is_held_by_one_and_freed_by_that_one() {
    let memory = Memory::default();
    let (mut one, mut other) = (holder(&memory, 1), holder(&memory, 2));
    let ask = async |holder: &mut Holder, f: &'static str| {
        let f = f.into();
        let value = on_1(Value::Nil);
        holder.invoke(&Invocation { f, value }).await.kind
    };
    assert_eq!(ask(&mut other, "release").await, Kind::Fail);
    assert_eq!(ask(&mut one, "acquire").await, Kind::Ok);
    assert_eq!(ask(&mut one, "acquire").await, Kind::Fail);
    assert_eq!(ask(&mut other, "acquire").await, Kind::Fail);
    assert_eq!(ask(&mut other, "release").await, Kind::Fail);
    assert_eq!(ask(&mut one, "release").await, Kind::Ok);
    assert_eq!(ask(&mut one, "release").await, Kind::Fail);
    assert_eq!(ask(&mut other, "acquire").await, Kind::Ok);
    // Of a release that nobody heard of nobody knows.
    memory.with(|state| state.silent = Some(true));
    assert_eq!(ask(&mut other, "release").await, Kind::Info);
    assert_eq!(ask(&mut one, "acquire").await, Kind::Ok);
}

/// What two clients see who do everything at once, as the workload's own checkers judge it.
async fn judged(workload: &str, blind: bool) -> Verdict {
    let memory = Memory::default();
    memory.with(|state| state.blind = blind);
    let mut events: Vec<Event> = Vec::new();
    let mut event = |process: u64, kind, f: &str, value: Value| {
        let index = events.len() as u64;
        events.push(Event {
            index,
            time: Time(index * 1_000),
            process: Process::Client(process),
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        });
    };
    // Both have looked before either has swapped: each finds what there was at the beginning.
    for round in 0..3_i64 {
        let (f, asked) = match workload {
            "queue" => (["enqueue", "enqueue"], [on_1(10 + round), on_1(20 + round)]),
            "counter" => (["add", "add"], [on_1(1), on_1(1)]),
            "unique-ids" => (["generate", "generate"], [Value::Nil, Value::Nil]),
            _ => (["acquire", "acquire"], [on_1(Value::Nil), on_1(Value::Nil)]),
        };
        for process in [0, 1] {
            event(
                process,
                Kind::Invoke,
                f[process as usize],
                asked[process as usize].clone(),
            );
        }
        let before = memory.0.lock().unwrap().values.clone();
        let mut after = BTreeMap::new();
        for process in [0, 1_usize] {
            if blind {
                // It sees what the other one saw.
                memory.with(|state| state.values.clone_from(&before));
            }
            let operation = Invocation {
                f: f[process].into(),
                value: asked[process].clone(),
            };
            let kv = &mut memory.clone();
            let done = match workload {
                "queue" => queue::Operations.perform(kv, &operation).await,
                "counter" => sums::Sums.perform(kv, &operation).await,
                "unique-ids" => sums::Ids.perform(kv, &operation).await,
                _ => {
                    let done = holder(&memory, process as u64).invoke(&operation).await;
                    match done.kind {
                        Kind::Ok => Ok(done.value),
                        _ => Err(OpError::new(harness::client::CONFLICT, "")),
                    }
                }
            };
            after.clone_from(&memory.0.lock().unwrap().values);
            match done {
                Ok(value) => event(process as u64, Kind::Ok, f[process], value),
                Err(_) => event(
                    process as u64,
                    Kind::Fail,
                    f[process],
                    asked[process].clone(),
                ),
            }
        }
        memory.with(|state| state.values = after);
    }
    // What is there in the end.
    for _ in 0..8 {
        let (f, asked, done) = match workload {
            "queue" => {
                let done = ended(&queue::Operations, &memory, "dequeue", on_1(Value::Nil)).await;
                ("dequeue", on_1(Value::Nil), done)
            }
            "counter" => {
                let done = ended(&sums::Sums, &memory, "read", on_1(Value::Nil)).await;
                ("read", on_1(Value::Nil), done)
            }
            _ => break,
        };
        event(0, Kind::Invoke, f, asked);
        event(0, Kind::Ok, f, done.unwrap());
    }
    let history = History::new(events).unwrap();
    let workload = catalogue::find(workload).unwrap();
    let params = Params::resolve(&workload.params(), []).unwrap();
    let checkers: Vec<Box<dyn Checker>> = workload.checkers(&params);
    let verdicts = checkers
        .iter()
        .map(|c| c.check(&history, &Budget::default()).verdict);
    Verdict::worst(verdicts)
}

#[tokio::test]
async fn a_store_that_swaps_without_comparing_is_found_by_each_and_a_good_one_is_not() {
    for workload in ["queue", "counter", "unique-ids", "lock"] {
        assert_eq!(judged(workload, false).await, Verdict::Valid, "{workload}");
        assert_eq!(judged(workload, true).await, Verdict::Invalid, "{workload}");
    }
}
