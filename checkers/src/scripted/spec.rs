//! What a script says of states and operations, each of which has a number. It is asked of each
//! pair once: a search comes back to the same pair by many ways, and to ask a script takes a
//! hundred times as long as to look an answer up.

use std::cell::{Cell, RefCell};

use history::{Name, Op, Outcome, Process, Value};
use rhai::Dynamic;
use rustc_hash::FxHashMap;

use crate::Exhausted;
use crate::linearizable::model::Model;
use crate::script::{Asked, Running, Stopped};

/// No state: the operation cannot happen.
const IMPOSSIBLE: u32 = u32::MAX;

/// A script's object, as the search wants one.
pub struct Spec<'r, 'h> {
    running: &'r Running,
    known: RefCell<Known<'h>>,
    bytes: Cell<u64>,
    /// Whether the script failed, or the budget ended while it was asked.
    has_stopped: Cell<bool>,
}

#[derive(Default)]
struct Known<'h> {
    states: Vec<(Value, Dynamic)>,
    state_numbers: FxHashMap<Value, u32>,
    ops: Vec<One<'h>>,
    op_numbers: FxHashMap<Same<'h>, u32>,
    /// By name.
    reads: FxHashMap<Name, bool>,
    /// By name and value.
    keys: FxHashMap<(&'h str, &'h Value), Option<Value>>,
    /// The state after an operation, by the number of the state and the operation's.
    then: FxHashMap<(u32, u32), u32>,
    stopped: Option<Stopped>,
}

/// An operation, of which there may be many alike.
struct One<'h> {
    asked: Asked,
    reads: bool,
    /// The first of them.
    op: &'h Op,
}

/// What is alike: name, value, answer if one is known, and who asked if that matters.
type Same<'h> = (&'h str, &'h Value, Option<&'h Value>, Option<Process>);

/// What an entry of a hash table takes beside its content.
const ENTRY_BYTES: usize = 16;

impl<'r, 'h> Spec<'r, 'h> {
    /// At its start, which is state 0.
    pub fn new(running: &'r Running) -> Result<Spec<'r, 'h>, Stopped> {
        let spec = Spec {
            running,
            known: RefCell::default(),
            bytes: Cell::new(0),
            has_stopped: Cell::new(false),
        };
        spec.state_number(running.init()?)?;
        Ok(spec)
    }

    pub fn key(&self, op: &'h Op) -> Result<Option<Value>, Stopped> {
        let alike = (op.f.as_str(), &op.input);
        if let Some(key) = self.known.borrow().keys.get(&alike) {
            return Ok(key.clone());
        }
        let key = self.running.key(op);
        let key = key.map_err(|why| at_op(why, op, None))?;
        let content = key.as_ref().map_or(0, Value::bytes);
        self.hold(size_of::<((&str, &Value), Value)>() + ENTRY_BYTES + content);
        self.known.borrow_mut().keys.insert(alike, key.clone());
        Ok(key)
    }

    /// The number of an operation; those that are alike have one.
    pub fn number(&self, op: &'h Op) -> Result<u32, Stopped> {
        let output = (op.outcome == Outcome::Ok).then_some(&op.output);
        let same = (op.f.as_str(), &op.input, output, self.running.asks(op));
        let known = &mut *self.known.borrow_mut();
        if let Some(number) = known.op_numbers.get(&same) {
            return Ok(*number);
        }
        let reads = match known.reads.get(&op.f) {
            Some(reads) => *reads,
            None => {
                let reads = self.running.reads(&op.f);
                let reads = reads.map_err(|why| at_op(why, op, None))?;
                known.reads.insert(op.f.clone(), reads);
                reads
            }
        };
        let asked = self.running.asked(op);
        let asked = asked.map_err(|why| at_op(why, op, None))?;
        let number = known.ops.len() as u32;
        known.ops.push(One { asked, reads, op });
        known.op_numbers.insert(same, number);
        let held = size_of::<One>() + size_of::<Same>() + ENTRY_BYTES;
        self.hold(held + op.input.bytes() + op.output.bytes());
        Ok(number)
    }

    /// The state with that number.
    pub fn state(&self, number: u32) -> Value {
        self.known.borrow().states[number as usize].0.clone()
    }

    /// A state in words.
    pub fn shown(&self, number: u32) -> Result<String, Stopped> {
        self.running.show(&self.state(number))
    }

    /// How many states there are by now.
    pub fn states(&self) -> usize {
        self.known.borrow().states.len()
    }

    /// How often the script was asked.
    pub fn steps(&self) -> usize {
        self.known.borrow().then.len()
    }

    pub fn bytes_held(&self) -> u64 {
        self.bytes.get()
    }

    /// Why nothing more is asked of the script, if it is so.
    pub fn stopped(&self) -> Option<Stopped> {
        self.known.borrow().stopped.clone()
    }

    /// Forgets what has stopped it.
    pub fn go_on(&self) {
        self.known.borrow_mut().stopped = None;
        self.has_stopped.set(false);
    }

    /// Whether the operation can happen in this state with another answer; none if the script fails
    /// then.
    pub fn takes(&self, state: u32, op: &Op, output: &Value) -> Option<bool> {
        let asked = self.running.asked_so(op, Some(output)).ok()?;
        let state = self.known.borrow().states[state as usize].1.clone();
        let then = self.running.step(&state, &asked).ok()?;
        Some(then.is_some())
    }

    /// Whether operations like this could happen in some state that was tried; none if none was.
    pub fn ever(&self, numbers: &[u32]) -> Option<bool> {
        let known = self.known.borrow();
        let tried = known
            .then
            .iter()
            .filter(|((_, op), _)| numbers.contains(op));
        let mut tried = tried.map(|(_, then)| *then != IMPOSSIBLE).peekable();
        tried.peek()?;
        Some(tried.any(|could| could))
    }

    fn hold(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    fn state_number(&self, state: Value) -> Result<u32, Stopped> {
        let known = &mut *self.known.borrow_mut();
        if let Some(number) = known.state_numbers.get(&state) {
            return Ok(*number);
        }
        let number = known.states.len() as u32;
        let held = size_of::<(Value, Dynamic)>() + size_of::<(Value, u32)>() + ENTRY_BYTES;
        // Twice as a value, and as the script has it.
        self.hold(held + 3 * state.bytes());
        known
            .states
            .push((state.clone(), self.running.state(&state)?));
        known.state_numbers.insert(state, number);
        Ok(number)
    }

    fn ask(&self, state: u32, op: u32) -> Result<u32, Stopped> {
        let known = self.known.borrow();
        let (before, one) = (&known.states[state as usize], &known.ops[op as usize]);
        let tried = |why| at_op(why, one.op, Some(&before.0));
        let then = self.running.step(&before.1, &one.asked);
        let then = match then.map_err(tried)? {
            None => return Ok(IMPOSSIBLE),
            Some(then) => then,
        };
        if one.reads && then != before.0 {
            let why = format!(
                "it makes {then} of the state, and reads({:?}) says that it leaves every state as it is",
                one.op.f.as_str()
            );
            return Err(tried(self.running.fault("step", why).into()));
        }
        drop(known);
        self.state_number(then)
    }
}

/// The same with the operation that was tried, and the state in which it was.
fn at_op(why: Stopped, op: &Op, state: Option<&Value>) -> Stopped {
    match why {
        Stopped::Limit(why) => Stopped::Limit(why),
        Stopped::Fault(fault) => {
            let state = state.map_or(String::new(), |state| format!(", in the state {state}"));
            let tried = format!("{}{state}", super::tell::words(op));
            Stopped::Fault(Box::new(fault.at_op(op.index, tried)))
        }
    }
}

impl Model for Spec<'_, '_> {
    type State = u32;
    type Op = u32;

    fn init(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &u32) -> Option<u32> {
        let pair = (*state, *op);
        let known = self.known.borrow().then.get(&pair).copied();
        let then = match known {
            Some(then) => then,
            // Nothing follows from it: the search ends with `look`.
            None if self.has_stopped.get() => IMPOSSIBLE,
            None => match self.ask(*state, *op) {
                Ok(then) => {
                    self.known.borrow_mut().then.insert(pair, then);
                    self.hold(size_of::<((u32, u32), u32)>() + ENTRY_BYTES);
                    then
                }
                Err(why) => {
                    self.known.borrow_mut().stopped = Some(why);
                    self.has_stopped.set(true);
                    IMPOSSIBLE
                }
            },
        };
        (then != IMPOSSIBLE).then_some(then)
    }

    fn reads_only(&self, op: &u32) -> bool {
        self.known.borrow().ops[*op as usize].reads
    }

    fn is_costly(&self) -> bool {
        true
    }

    fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn look(&self) -> Result<(), Exhausted> {
        match self.has_stopped.get() {
            false => Ok(()),
            true => match self.stopped() {
                Some(Stopped::Limit(why)) => Err(why),
                // Whoever asked the search looks what it was.
                _ => Err(Exhausted::Time),
            },
        }
    }
}
