//! Which models of registers hold, which are refuted, and of which that is not known.

use history::columns::Row;
use history::{History, Outcome, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value as Json, json};

use super::Guarantee;
use super::sessions::{self, Access, Undecided};
use crate::linearizable::parts::{Flaw, Role};
use crate::model::unwrapped;
use crate::models;
use crate::transactions::{Consistency, RwRegister};
use crate::{Analysis, Budget, Checker, Figure, Verdict};

/// Of longer histories only linearizability is judged.
const MOST_OPERATIONS: usize = 100_000;

/// Of so many operations a core is sought among all.
const WORTH_SHRINKING: usize = 2_000;

/// What is known of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Holds,
    Refuted { ops: Vec<u64>, reason: String },
    Unknown(String),
}

/// By model, in their order.
#[derive(Debug)]
pub struct Lattice {
    states: Vec<Option<State>>,
}

impl Lattice {
    /// What is linearizable is everything.
    pub fn linearizable() -> Lattice {
        Lattice {
            states: vec![Some(State::Holds); Guarantee::ALL.len()],
        }
    }

    /// Judges what linearizability leaves open; if something cannot be judged, nothing holds for
    /// certain, and if that may have changed something, nothing is refuted for certain either.
    pub fn of(
        history: &History,
        (keyed, initial): (bool, &Value),
        flaw: Option<Flaw>,
        linear: &Analysis,
        budget: &Budget,
    ) -> Lattice {
        let mut lattice = Lattice {
            states: vec![None; Guarantee::ALL.len()],
        };
        if linear.verdict == Verdict::Invalid {
            let first = linear.anomalies.first();
            let refuted = State::Refuted {
                ops: first.map_or(Vec::new(), |first| first.ops.clone()),
                reason: first.map_or(String::new(), |first| first.reason.clone()),
            };
            lattice.set(Guarantee::Linearizable, refuted);
        }
        match &flaw {
            Some(flaw) if flaw.changes => lattice.leave_open(&flaw.to_string()),
            _ => match registers(history, keyed, initial) {
                Ok(registers) => lattice.judge(&registers, budget),
                Err(why) => lattice.leave_open(&why),
            },
        }
        lattice.leave_open(&linear.summary);
        if let Some(flaw) = flaw {
            let states = lattice.states.iter_mut().flatten();
            for state in states.filter(|state| **state == State::Holds) {
                *state = State::Unknown(flaw.to_string());
            }
        }
        lattice
    }

    pub fn state(&self, of: Guarantee) -> &State {
        self.states[of as usize]
            .as_ref()
            .expect("all are set at the end")
    }

    /// With all that follows from it; what is known already stays.
    fn set(&mut self, of: Guarantee, state: State) {
        let is_known =
            |found: &Option<State>| matches!(found, Some(State::Holds | State::Refuted { .. }));
        for other in Guarantee::ALL {
            let follows = match state {
                State::Holds => of.implies(other),
                State::Refuted { .. } => other.implies(of),
                State::Unknown(_) => other == of,
            };
            let known = &mut self.states[other as usize];
            if follows && !is_known(known) {
                *known = Some(state.clone());
            }
        }
    }

    fn leave_open(&mut self, why: &str) {
        for state in self.states.iter_mut().filter(|state| state.is_none()) {
            *state = Some(State::Unknown(why.to_string()));
        }
    }

    /// The weaker ones first where they are cheap: what refutes them refutes the rest.
    fn judge(&mut self, registers: &RegistersOf, budget: &Budget) {
        let meter = budget.start();
        for guarantee in [
            Guarantee::ReadYourWrites,
            Guarantee::MonotonicReads,
            Guarantee::MonotonicWrites,
            Guarantee::WritesFollowReads,
        ] {
            let state = registers.session(guarantee, &meter.left());
            self.set(guarantee, state);
        }
        for guarantee in [
            Guarantee::Causal,
            Guarantee::PerKeySequential,
            Guarantee::Sequential,
        ] {
            if matches!(self.states[guarantee as usize], Some(State::Refuted { .. })) {
                continue;
            }
            let state = match guarantee {
                Guarantee::Causal => registers.all(Consistency::TransactionalCausal, &meter.left()),
                Guarantee::Sequential => {
                    registers.all(Consistency::StrongSessionSerializable, &meter.left())
                }
                _ => registers.each_key(&meter.left()),
            };
            self.set(guarantee, state);
        }
    }

    fn names(&self, is: impl Fn(&State) -> bool) -> Vec<Guarantee> {
        let all = Guarantee::ALL.into_iter();
        all.filter(|guarantee| is(self.state(*guarantee))).collect()
    }

    fn holding(&self) -> Vec<Guarantee> {
        self.names(|state| *state == State::Holds)
    }

    fn open(&self) -> Vec<Guarantee> {
        self.names(|state| matches!(state, State::Unknown(_)))
    }

    /// What the system gives then: the strongest that hold, and the strongest that are not known.
    pub fn told(&self) -> String {
        let strongest = |of: Vec<Guarantee>| {
            let implied = |g: &Guarantee| of.iter().any(|other| other != g && other.implies(*g));
            let left = of.iter().filter(|g| !implied(g)).map(|g| g.name());
            left.collect::<Vec<_>>().join(", ")
        };
        let (held, open) = (strongest(self.holding()), strongest(self.open()));
        match (held.is_empty(), open.is_empty()) {
            (true, true) => "no weaker model is left".to_string(),
            (true, false) => format!("undecided: {open}"),
            (false, true) => format!("what holds: {held}"),
            (false, false) => format!("what holds: {held}; undecided: {open}"),
        }
    }

    pub fn figures(&self) -> Vec<Figure> {
        let names = |of: Vec<Guarantee>| of.into_iter().map(Guarantee::name).collect::<Vec<_>>();
        let refuted = self.names(|state| matches!(state, State::Refuted { .. }));
        let cores = refuted
            .iter()
            .filter_map(|guarantee| match self.state(*guarantee) {
                State::Refuted { ops, reason } => {
                    let core = json!({"ops": ops, "reason": reason});
                    Some((guarantee.name().to_string(), core))
                }
                _ => None,
            });
        let cores: serde_json::Map<String, Json> = cores.collect();
        let mut figures = vec![
            models::REFUTED.figure(names(refuted)),
            models::HOLD.figure(names(self.holding())),
            models::UNDECIDED.figure(names(self.open())),
        ];
        if !cores.is_empty() {
            figures.push(models::CORES.figure(cores));
        }
        figures
    }
}

/// A history of registers without compare-and-set, as other engines take it.
struct RegistersOf<'h> {
    history: &'h History,
    /// The same of transactions.
    txns: History,
    initial: &'h Value,
    keyed: bool,
    accesses: Vec<Access>,
    /// A read of what nobody is known to have written: that refutes everything.
    nowhere: Option<u64>,
    /// What is not among the accesses, and why.
    left_out: Option<String>,
}

/// A key and a value of it.
type Written<'h> = (Option<&'h Value>, &'h Value);

/// Reads the history, or says why it is not judged.
fn registers<'h>(
    history: &'h History,
    keyed: bool,
    initial: &'h Value,
) -> Result<RegistersOf<'h>, String> {
    if history.pairs().len() > MOST_OPERATIONS {
        return Err(format!("there are more than {MOST_OPERATIONS} operations"));
    }
    let mut writes: FxHashMap<Written, Vec<(u64, Outcome)>> = FxHashMap::default();
    for op in history.ops() {
        let Some(role) = Role::of(&op.f) else {
            continue;
        };
        if role == Role::Cas && op.outcome != Outcome::Fail {
            return Err("compare-and-set is judged by linearizability alone".to_string());
        }
        let Some(written) = unwrapped(&op.input, keyed, Value::as_pair) else {
            return Err(format!("operation {} has no key", op.index));
        };
        if role == Role::Write {
            writes
                .entry(written)
                .or_default()
                .push((op.index, op.outcome));
        }
    }
    let mut found = RegistersOf {
        history,
        txns: as_transactions(history, keyed),
        initial,
        keyed,
        accesses: Vec::new(),
        nowhere: None,
        left_out: None,
    };
    let mut seen: FxHashMap<Written, Option<u32>> = FxHashMap::default();
    for (written, by) in &writes {
        let happened = by
            .iter()
            .filter(|(_, outcome)| *outcome != Outcome::Fail)
            .count();
        if happened > 1 || (happened == 1 && written.1 == initial) {
            let (op, _) = by[by.len() - 1];
            let why = format!("operation {op} writes {} not for the first time", written.1);
            found.left_out.get_or_insert(why);
            seen.insert(*written, None);
        } else if happened == 1 {
            seen.insert(*written, Some(seen.len() as u32));
        }
    }
    found.access(&seen);
    Ok(found)
}

impl RegistersOf<'_> {
    fn access(&mut self, written: &FxHashMap<Written, Option<u32>>) {
        let mut keys: FxHashMap<Option<&Value>, u32> = FxHashMap::default();
        let mut processes: FxHashMap<history::Process, u32> = FxHashMap::default();
        for op in self.history.ops() {
            let is_read = match Role::of(&op.f) {
                Some(Role::Read) if op.outcome == Outcome::Ok => true,
                Some(Role::Write) if op.outcome != Outcome::Fail => false,
                _ => continue,
            };
            let value = match is_read {
                true => unwrapped(&op.output, self.keyed, Value::as_pair),
                false => unwrapped(&op.input, self.keyed, Value::as_pair),
            };
            let Some(value) = value else {
                let why = format!("operation {} is answered without a key", op.index);
                self.left_out.get_or_insert(why);
                continue;
            };
            let number = match written.get(&value) {
                Some(Some(number)) => Some(*number),
                // Who wrote it is not known.
                Some(None) => continue,
                None if value.1 == self.initial => None,
                None => {
                    self.nowhere.get_or_insert(op.index);
                    continue;
                }
            };
            let (key, session) = (keys.len() as u32, processes.len() as u32);
            self.accesses.push(Access {
                op: op.index,
                session: *processes.entry(op.process).or_insert(session),
                key: *keys.entry(value.0).or_insert(key),
                value: number,
                is_read,
                returned: op.outcome == Outcome::Ok,
            });
        }
        let read: FxHashSet<u32> = (self.accesses.iter())
            .filter(|access| access.is_read)
            .filter_map(|access| access.value)
            .collect();
        let happened = |access: &Access| {
            access.returned || access.value.is_some_and(|value| read.contains(&value))
        };
        self.accesses.retain(happened);
    }

    fn session(&self, guarantee: Guarantee, budget: &Budget) -> State {
        if let Some(op) = self.nowhere {
            return State::Refuted {
                ops: vec![op],
                reason: "it returned what nobody wrote, or what did not happen".to_string(),
            };
        }
        match sessions::refuted(guarantee, &self.accesses, &mut budget.start()) {
            Ok(Some(ops)) => State::Refuted {
                ops,
                reason: format!(
                    "{}: no order of writes has that of these operations",
                    guarantee.promise()
                ),
            },
            Ok(None) => match &self.left_out {
                None => State::Holds,
                Some(why) => State::Unknown(why.clone()),
            },
            Err(Undecided::TooLarge) => State::Unknown("its sessions are too long".to_string()),
            Err(Undecided::Exhausted(why)) => State::Unknown(why.to_string()),
        }
    }

    /// All keys together.
    fn all(&self, model: Consistency, budget: &Budget) -> State {
        self.judged(model, &self.txns, budget)
    }

    fn judged(&self, model: Consistency, txns: &History, budget: &Budget) -> State {
        let checker = RwRegister::by(model)
            .with_initial(self.initial.clone())
            .alone();
        let meter = budget.start();
        let found = checker.check(txns, &meter.left());
        match (found.verdict, found.anomalies.into_iter().next()) {
            (Verdict::Valid | Verdict::Vacuous, _) => State::Holds,
            (Verdict::Invalid, Some(anomaly)) => State::Refuted {
                ops: self.core(&checker, txns, anomaly.ops, &meter.left()),
                reason: anomaly.reason,
            },
            _ => State::Unknown(found.summary),
        }
    }

    /// Operations that are refuted by themselves: what a finding names may need others to be seen.
    fn core(
        &self,
        checker: &RwRegister,
        txns: &History,
        named: Vec<u64>,
        budget: &Budget,
    ) -> Vec<u64> {
        let meter = budget.start();
        let writer: FxHashMap<u32, u64> = (self.accesses.iter())
            .filter(|access| !access.is_read)
            .filter_map(|access| Some((access.value?, access.op)))
            .collect();
        let read: FxHashMap<u64, u64> = (self.accesses.iter())
            .filter(|access| access.is_read)
            .filter_map(|access| Some((access.op, *writer.get(&access.value?)?)))
            .collect();
        let refuted = |kept: &[u64]| {
            let kept: FxHashSet<u64> = kept.iter().copied().collect();
            let few = txns.without_ops(|call, _| {
                let op = u64::from(call.index());
                let unwritten = read.get(&op).is_some_and(|writer| !kept.contains(writer));
                !kept.contains(&op) || unwritten
            });
            checker.check(&few, &meter.left()).verdict == Verdict::Invalid
        };
        let mut core = named;
        core.sort_unstable();
        if !refuted(&core) {
            if txns.pairs().len() > WORTH_SHRINKING {
                return core;
            }
            let all = txns.pairs().iter();
            core = all.map(|pair| pair.invocation.into()).collect();
        }
        let mut size = core.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < core.len() {
                let until = core.len().min(from + size);
                let fewer = [&core[..from], &core[until..]].concat();
                match refuted(&fewer) {
                    true => core = fewer,
                    false => from = until,
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        core
    }

    /// Sequential consistency of each key by itself.
    fn each_key(&self, budget: &Budget) -> State {
        let meter = budget.start();
        let key = |row: Row| match self.keyed {
            true => Some(row.value().as_pair()?.0.to_value()),
            false => Some(Value::Nil),
        };
        let mut open = None;
        for (_, part) in self.history.by_key(key) {
            let part = part
                .without_ops(|call, _| !is_register(self.history, &call))
                .with_events_of(&self.txns);
            match self.judged(Consistency::StrongSessionSerializable, &part, &meter.left()) {
                State::Holds => {}
                State::Unknown(why) => drop(open.get_or_insert(State::Unknown(why))),
                refuted => return refuted,
            }
        }
        open.unwrap_or(State::Holds)
    }
}

fn is_register(history: &History, call: &Row) -> bool {
    let name = history.columns().names().get(call.f());
    name.is_some_and(|name| matches!(Role::of(name), Some(Role::Read | Role::Write)))
}

/// Every read and write as a transaction.
fn as_transactions(history: &History, keyed: bool) -> History {
    let names = history.columns().names();
    let role = |f: u32| names.get(f).and_then(|name| Role::of(name));
    let roles: Vec<Option<Role>> = (0..names.iter().count() as u32).map(role).collect();
    let edited = history.clone().with_values(|row| {
        let f = match roles[row.f() as usize] {
            Some(Role::Read) => "r",
            Some(Role::Write) => "w",
            _ => return None,
        };
        let (key, content) = match keyed {
            true => {
                let (key, content) = row.value().as_pair()?;
                (key.to_value(), content.to_value())
            }
            false => (Value::Int(0), row.value().to_value()),
        };
        Some(Value::List(vec![Value::List(vec![
            Value::text(f),
            key,
            content,
        ])]))
    });
    let edited = edited.without_ops(|call, _| !is_register(history, &call));
    edited.with_names(|name| Role::of(name).map(|_| "txn"))
}
