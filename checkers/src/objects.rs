//! Linearizability of objects other than registers: queues, stacks, locks and the like.
//!
//! Each is judged by an engine of its own where the history allows it, which is fast at any
//! concurrency, and else by the general [`search`](crate::linearizable::search), which is not:
//!
//! | model | engine | where it does not do |
//! | --- | --- | --- |
//! | `queue` `stack` `priority-queue` | [`pile`]: intervals in which values are surely there | a value put in twice |
//! | `set` | [`elements`]: element by element, each change as late as it can be | additions that do not say whether they found the element |
//! | `lock` `semaphore` | [`lock`]: sections as short as they can be | a process that goes on after a lost operation |
//! | `counter` | [`counter`]: additions as late as they can be | additions of different numbers |
//! | `unique-ids` | [`ids`] | |
//! | `total-queue` | [`total`]: accounts of what went in and came out | |
//! | `lease` | [`lease`]: times at which two held it | |

mod by_search;
mod counter;
mod elements;
mod fifo;
mod ids;
mod lease;
mod least;
mod lifo;
mod lock;
mod pile;
mod takes;
mod total;
mod tree;

use history::wording::{counted, either};
use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;

use self::by_search::searched;
pub use self::lease::validity as lease_held;
use crate::certificate::replay;
use crate::consistency::Scope;
use crate::counts::{JUDGED, UNKNOWN_OUTCOME, WRONG_KEYS, told_wrong};
use crate::figure::Gauge;
use crate::findings::Findings;
use crate::linearizable::model::Model;
use crate::linearizable::parts::Flaw;
use crate::linearizable::search::NEVER;
use crate::model::{self, Choice};
use crate::ranks::{self, Follows, Ranks};
use crate::{
    Analysis, Anomaly, Budget, Certificate, Checker, Exhausted, Figure, Meter, Order, Stretch,
    Verdict,
};

const OBJECTS: Gauge = Gauge::count("objects");
const FOUND_WRONG: Gauge = Gauge::count("objects found wrong");
const UNDECIDED: Gauge = Gauge::count("objects undecided");

pub(crate) const GAUGES: &[Gauge] = &[
    OBJECTS,
    FOUND_WRONG,
    UNDECIDED,
    JUDGED,
    UNKNOWN_OUTCOME,
    WRONG_KEYS,
];

/// Judges one of the models of the table above.
#[derive(Clone, Debug)]
pub struct Objects {
    model: model::Model,
    keyed: bool,
    initial: Value,
    search: bool,
}

/// An operation that happened or may have, with the [ranks](crate::ranks) of its events.
#[derive(Clone, Copy, Debug)]
struct Call<'h> {
    op: &'h Op,
    call: u32,
    /// [`NEVER`] if nobody knows its outcome.
    ret: u32,
    input: &'h Value,
    /// None if nobody knows it.
    output: Option<&'h Value>,
}

impl Call<'_> {
    fn lost(&self) -> bool {
        self.ret == NEVER
    }
}

/// What came of one object.
struct Judged {
    found: Found,
    /// By which engine, and why not by a better one.
    how: String,
}

enum Found {
    /// Positions of operations.
    Order(Vec<u32>),
    /// Nothing is wrong, in these words, where no order is asked for.
    Sound(String),
    Wrong(Vec<Finding>),
    Unknown(String),
}

impl Judged {
    fn new(found: Found, how: &str) -> Judged {
        Judged {
            found,
            how: how.to_string(),
        }
    }
}

/// What came of all objects.
#[derive(Default)]
struct All {
    orders: Vec<Order>,
    unknown: Vec<String>,
    found: Findings,
    engines: Vec<String>,
    /// Why nothing is wrong with those of which no order is asked for.
    sound: Vec<String>,
    /// Why an object took the engine that it took, of the first that says so.
    because: Option<String>,
    /// Of each that is wrong its first anomaly's last operation, and its key.
    wrong: Vec<(u64, String)>,
}

impl All {
    fn add(&mut self, part: &Part, judged: Judged) {
        let (engine, why) = match judged.how.split_once(": ") {
            None => (judged.how.as_str(), None),
            Some((engine, why)) => (engine, Some(why)),
        };
        if !self.engines.iter().any(|known| known == engine) {
            self.engines.push(engine.to_string());
        }
        if let (None, Some(why)) = (&self.because, why) {
            let of_key = part.key.map_or(String::new(), |key| format!("key {key}: "));
            self.because = Some(format!("{of_key}{why}"));
        }
        match (judged.found, &part.flaw) {
            // It has an order without what cannot be judged.
            (Found::Order(_) | Found::Sound(_), Some(flaw)) => self.unknown.push(flaw.to_string()),
            (Found::Order(order), None) => self.orders.push(Order {
                key: part.key.cloned(),
                ops: order
                    .iter()
                    .map(|i| part.calls[*i as usize].op.index)
                    .collect(),
            }),
            (Found::Sound(why), None) => self.sound.push(why),
            (Found::Unknown(why), _) => self.unknown.push(why),
            (Found::Wrong(findings), _) => {
                let first = findings.iter().filter_map(|f| f.ops.iter().max()).min();
                let key = part.key.map_or(String::new(), Value::to_string);
                self.wrong.push((first.copied().unwrap_or(0), key));
                for finding in findings {
                    let kind = finding.kind;
                    self.found.add(kind, || finding.anomaly(part.key));
                }
            }
        }
    }
}

/// An anomaly of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Finding {
    kind: &'static str,
    ops: Vec<u64>,
    reason: String,
    /// With whose return the history ends that has no order, if that is not all of it.
    until: Option<u64>,
}

impl Finding {
    fn anomaly(self, key: Option<&Value>) -> Anomaly {
        Anomaly {
            kind: self.kind.to_string(),
            object: key.map(Value::to_string),
            ops: self.ops,
            reason: self.reason,
            stretch: self.until.map(|until| Stretch { after: None, until }),
            picture: None,
        }
    }
}

/// One object's share of a history.
struct Part<'h> {
    key: Option<&'h Value>,
    calls: Vec<Call<'h>>,
    /// Operations that did not happen.
    failed: Vec<&'h Op>,
    /// What cannot be judged of it, if anything.
    flaw: Option<Flaw>,
    /// By places among the calls.
    follows: Follows,
}

impl Part<'_> {
    /// Brings calls into their order: those of one time need not be invoked in it.
    fn sort(&mut self) {
        if self.calls.is_sorted_by_key(|call| call.call) {
            return;
        }
        let mut order: Vec<usize> = (0..self.calls.len()).collect();
        order.sort_by_key(|i| self.calls[*i].call);
        let mut place = vec![0; order.len()];
        for (at, i) in order.iter().enumerate() {
            place[*i] = at as u32;
        }
        self.calls = order.iter().map(|i| self.calls[*i]).collect();
        for (before, op) in &mut self.follows {
            (*before, *op) = (place[*before as usize], place[*op as usize]);
        }
    }
}

impl Objects {
    /// One object.
    pub fn single(model: model::Model) -> Objects {
        Objects {
            model,
            keyed: false,
            initial: Value::Nil,
            search: false,
        }
    }

    /// Many, each with a key.
    pub fn keyed(model: model::Model) -> Objects {
        Objects {
            keyed: true,
            ..Objects::single(model)
        }
    }

    /// How many permits a semaphore has, or where a counter begins; the others start empty, or
    /// free.
    pub fn with_initial(self, initial: Value) -> Objects {
        Objects { initial, ..self }
    }

    /// Uses the general search for everything.
    pub fn by_search(self) -> Objects {
        Objects {
            search: true,
            ..self
        }
    }

    /// An order for every object.
    ///
    /// # Errors
    /// The analysis that [`Checker::check`] gives, if the history is not found to be linearizable.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let (analysis, orders) = self.judge(history, budget);
        match (analysis.verdict, replay::object(self.model, &self.initial)) {
            (Verdict::Valid, Err(why)) => Err(Analysis::unknown(self.name(), why)),
            (Verdict::Valid, Ok(_)) => Ok(Certificate {
                model: self.model,
                keyed: self.keyed,
                initial: self.initial.clone(),
                scope: Scope::Realtime,
                orders,
            }),
            _ => Err(analysis),
        }
    }

    fn within<'h>(&self, value: &'h Value) -> Result<(Option<&'h Value>, &'h Value), String> {
        let parts = model::unwrapped(value, self.keyed, Value::as_pair);
        parts.ok_or_else(|| format!("{value} is not [key, value]"))
    }

    /// The objects, and what cannot be judged of none of them in particular; or why nothing can be.
    fn split<'h>(
        &self,
        history: &'h History,
        names: &[&str],
    ) -> Result<(Vec<Part<'h>>, Option<Flaw>), String> {
        let mut of_none = None;
        let ranks = Ranks::new(history);
        let mut sessions = ranks.sessions();
        let mut parts: Vec<Part> = Vec::new();
        let mut keys: FxHashMap<Option<&Value>, usize> = FxHashMap::default();
        for op in history.ops() {
            if !names.contains(&op.f.as_str()) {
                continue;
            }
            let changes = !matches!(op.f.as_str(), "read" | "contains");
            let (key, input) = match self.within(&op.input) {
                Ok(both) => both,
                Err(why) => {
                    Flaw::add(&mut of_none, op.index, &why, changes);
                    continue;
                }
            };
            let at = *keys.entry(key).or_insert_with(|| {
                parts.push(Part {
                    key,
                    calls: Vec::new(),
                    failed: Vec::new(),
                    flaw: None,
                    follows: Vec::new(),
                });
                parts.len() - 1
            });
            let (ret, output) = match (op.outcome, op.completion) {
                (Outcome::Ok, Some(completion)) => {
                    let other = || "it asks for one key and is answered with another".to_string();
                    let output = match self.within(&op.output) {
                        Ok((answered, output)) if answered == key => output,
                        why => {
                            let why = why.err().unwrap_or_else(other);
                            Flaw::add(&mut parts[at].flaw, op.index, &why, changes);
                            continue;
                        }
                    };
                    (ranks.ret(completion as u32), Some(output))
                }
                (Outcome::Fail, _) => {
                    parts[at].failed.push(op);
                    continue;
                }
                _ => (NEVER, None),
            };
            let call = ranks.call(op.index as u32);
            let place = parts[at].calls.len() as u32;
            let before = sessions.follows(at as u32, op.process, place, (call, ret));
            parts[at]
                .follows
                .extend(before.map(|before| (before, place)));
            parts[at].calls.push(Call {
                op,
                call,
                ret,
                input,
                output,
            });
        }
        // Nobody knows which key it changed.
        if let Some(flaw) = of_none.as_ref().filter(|flaw| flaw.changes) {
            return Err(flaw.to_string());
        }
        parts.iter_mut().for_each(Part::sort);
        Ok((parts, of_none))
    }

    /// What all parts together come to, in words.
    fn told(&self, all: All, operations: usize, keys: usize) -> Analysis {
        let All {
            unknown,
            found,
            engines,
            sound,
            because,
            wrong,
            ..
        } = all;
        let operations_of = counted(operations, "operation");
        let of = match self.keyed {
            true => format!("{operations_of} on {}", counted(keys, "key")),
            false => operations_of,
        };
        let have = either(operations, "has", "have");
        let how = engines.join(", ");
        let because = because.map_or(String::new(), |why| format!("; {why}"));
        let has_order = replay::object(self.model, &self.initial).is_ok();
        match (found.is_empty(), unknown.first()) {
            (false, _) => {
                let names: Vec<&str> = wrong.iter().map(|(_, key)| key.as_str()).collect();
                let what = match (self.keyed, has_order) {
                    (true, _) => format!("; {}", told_wrong(&names)),
                    (false, true) => ": no order explains them".to_string(),
                    (false, false) => ": they cannot all be right".to_string(),
                };
                let summary = format!("{of}{what} ({how}); {}", found.told());
                let analysis = found.into_analysis(Analysis::valid(self.name(), summary));
                let keys: Vec<_> = wrong.iter().map(|(_, key)| key.clone()).collect();
                match self.keyed {
                    true => analysis.with_figure(WRONG_KEYS.figure(keys)),
                    false => analysis,
                }
            }
            (true, Some(why)) => Analysis::unknown(self.name(), format!("{of}: {why} ({how})")),
            (true, None) => Analysis::valid(
                self.name(),
                match &sound[..] {
                    [] => {
                        format!("{of} {have} an order that explains every answer ({how}){because}")
                    }
                    [why] => format!("{of}: {why} ({how}){because}"),
                    all => format!("{of}: on each key, {} ({how}){because}", all[0]),
                },
            ),
        }
    }

    fn judge(&self, history: &History, budget: &Budget) -> (Analysis, Vec<Order>) {
        let nothing = |analysis| (analysis, Vec::new());
        let names = self.model.operations();
        let (parts, of_none) = match self.starts().and_then(|()| self.split(history, names)) {
            Ok(both) => both,
            Err(why) => return nothing(Analysis::unknown(self.name(), why)),
        };
        let operations: usize = parts.iter().map(|p| p.calls.len()).sum();
        let lost = parts.iter().flat_map(|p| &p.calls).filter(|c| c.lost());
        let lost = lost.count();
        let flaws = || parts.iter().filter_map(|part| part.flaw.as_ref());
        if operations == lost && flaws().chain(&of_none).next().is_none() {
            let names = names.join(" or ");
            let why = format!("the history has no {names} that is known to have happened");
            return nothing(Analysis::vacuous(self.name(), why));
        }
        let mut meter = budget.start();
        let mut accounts = Vec::new();
        let mut all = All {
            unknown: of_none.iter().map(Flaw::to_string).collect(),
            ..All::default()
        };
        for part in &parts {
            if let Some(flaw) = part.flaw.as_ref().filter(|flaw| flaw.changes) {
                all.unknown.push(flaw.to_string());
                continue;
            }
            let judged = self.judge_part(part, &mut accounts, &mut meter);
            let undecided =
                |why: Exhausted| Judged::new(Found::Unknown(why.to_string()), "undecided");
            all.add(part, judged.unwrap_or_else(undecided));
        }
        all.found.sort_by_time();
        all.wrong.sort();
        let (wrong, undecided) = (all.wrong.len(), all.unknown.len());
        let orders = std::mem::take(&mut all.orders);
        let analysis = self.told(all, operations, parts.len());
        let analysis = accounts.into_iter().fold(analysis, Analysis::with_figure);
        let analysis = analysis
            .with_figure(JUDGED.figure(operations))
            .with_figure(UNKNOWN_OUTCOME.figure(lost))
            .with_figure(OBJECTS.figure(parts.len()))
            .with_figure(FOUND_WRONG.figure(wrong))
            .with_figure(UNDECIDED.figure(undecided));
        (analysis, orders)
    }

    /// Whether such an object can begin like this.
    fn starts(&self) -> Result<(), String> {
        match self.model {
            model::Model::TotalQueue | model::Model::Lease if self.initial.is_nil() => Ok(()),
            model => replay::object(model, &self.initial).map(drop),
        }
    }

    /// What is counted beside goes to `accounts`, if there is only one object.
    fn judge_part(
        &self,
        part: &Part,
        accounts: &mut Vec<Figure>,
        meter: &mut Meter,
    ) -> Result<Judged, Exhausted> {
        let judged = self.by_engine(part, self.search, accounts, meter)?;
        match &judged.found {
            // Ranks say less than is known, and that is what the order made use of.
            Found::Order(order) if !ranks::keeps(order, &part.follows) => {
                self.by_engine(part, true, &mut Vec::new(), meter)
            }
            _ => Ok(judged),
        }
    }

    fn by_engine(
        &self,
        part: &Part,
        by_search: bool,
        accounts: &mut Vec<Figure>,
        meter: &mut Meter,
    ) -> Result<Judged, Exhausted> {
        use model::Model;
        match self.model {
            Model::Queue => pile::judge(pile::Kind::Fifo, part, by_search, meter),
            Model::Stack => pile::judge(pile::Kind::Lifo, part, by_search, meter),
            Model::PriorityQueue => pile::judge(pile::Kind::Least, part, by_search, meter),
            Model::Set => elements::judge(part, by_search, meter),
            Model::Lock => lock::judge(part, 1, by_search, meter),
            Model::Semaphore => {
                let permits = self.initial.as_int().and_then(|n| u32::try_from(n).ok());
                lock::judge(part, permits.unwrap_or(1), by_search, meter)
            }
            Model::Counter => {
                counter::judge(part, self.initial.as_int().unwrap_or(0), by_search, meter)
            }
            Model::UniqueIds => ids::judge(part, meter),
            Model::Lease => lease::judge(part, meter),
            Model::TotalQueue => {
                let (judged, figures) = total::judge(part, meter)?;
                if !self.keyed {
                    *accounts = figures;
                }
                Ok(judged)
            }
            other => {
                let why = format!("{} is not judged here", other.name());
                Ok(Judged::new(Found::Unknown(why), "undecided"))
            }
        }
    }
}

impl Checker for Objects {
    fn name(&self) -> &str {
        match self.model {
            // There is another set, which is read whole.
            model::Model::Set => "set by element",
            model => model.name(),
        }
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        self.judge(history, budget).0
    }

    fn asks(&self) -> Option<Choice> {
        let choice = Choice::of_objects(self.model, self.keyed);
        Some(choice.with_initial(self.initial.clone()))
    }
}

/// Why the general engine has no order.
pub(crate) enum Untried {
    Wrong(Box<Anomaly>),
    Unknown(String),
}

/// The general engine, for a checker that has operations with their ranks, by call; `follows` names
/// them by the indices of their invocations.
pub(crate) fn try_all<M: Model>(
    model: &M,
    ops: Vec<(&Op, (u32, u32), M::Op)>,
    follows: &[(u32, u32)],
    meter: &mut Meter,
) -> Result<Vec<u64>, Untried> {
    let place: FxHashMap<u64, u32> = ops.iter().map(|(op, ..)| op.index).zip(0..).collect();
    let place = |op: &u32| place.get(&u64::from(*op)).copied();
    let both = |(a, b): &(u32, u32)| Some((place(a)?, place(b)?));
    let (mut calls, mut actions) = (Vec::new(), Vec::new());
    for (i, (op, (call, ret), action)) in ops.into_iter().enumerate() {
        let (input, output) = (&op.input, (ret != NEVER).then_some(&op.output));
        calls.push(Call {
            op,
            call,
            ret,
            input,
            output,
        });
        actions.push((i as u32, action));
    }
    let part = Part {
        key: None,
        calls,
        failed: Vec::new(),
        flaw: None,
        follows: follows.iter().filter_map(both).collect(),
    };
    match searched(model, &part, actions, "", meter).found {
        Found::Order(order) => Ok(order
            .into_iter()
            .map(|at| part.calls[at as usize].op.index)
            .collect()),
        Found::Wrong(findings) => {
            let anomaly = findings.into_iter().next().map(|f| f.anomaly(None));
            Err(Untried::Wrong(Box::new(anomaly.unwrap_or_default())))
        }
        Found::Unknown(why) | Found::Sound(why) => Err(Untried::Unknown(why)),
    }
}
