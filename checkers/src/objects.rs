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

use history::wording::{counted, either, listed};
use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;

use crate::certificate::replay;
use crate::choice;
use crate::findings::Findings;
use crate::linearizable::core::core;
use crate::linearizable::have_an_order;
use crate::linearizable::model::Model;
use crate::linearizable::parts::Moments;
use crate::linearizable::search::{self, NEVER, Timed};
use crate::transactions::Scope;
use crate::{
    Analysis, Anomaly, Budget, Certificate, Checker, Exhausted, Figure, Meter, Order, Stretch,
    Verdict,
};

/// As many wrong keys as a sentence names; a figure has them all.
const MOST_NAMED: usize = 8;

/// Judges one of the models of the table above.
#[derive(Clone, Debug)]
pub struct Objects {
    model: choice::Model,
    keyed: bool,
    initial: Value,
    search: bool,
}

/// An operation that happened or may have, with the rank of its events: calls are even and returns
/// odd, so that events at one time overlap.
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

/// An anomaly of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Finding {
    kind: &'static str,
    ops: Vec<u64>,
    reason: String,
    /// With whose return the history ends that has no order, if that is not all of it.
    until: Option<u64>,
}

/// One object's share of a history.
struct Part<'h> {
    key: Option<&'h Value>,
    calls: Vec<Call<'h>>,
    /// Operations that did not happen.
    failed: Vec<&'h Op>,
    /// Why it cannot be judged: an operation that cannot be read may have changed it.
    unreadable: Option<String>,
}

impl Objects {
    /// One object.
    pub fn single(model: choice::Model) -> Objects {
        Objects {
            model,
            keyed: false,
            initial: Value::Nil,
            search: false,
        }
    }

    /// Many, each with a key.
    pub fn keyed(model: choice::Model) -> Objects {
        Objects {
            keyed: true,
            ..Objects::single(model)
        }
    }

    /// How many permits a semaphore has, or where a counter begins; the others start empty, or free.
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
        match (self.keyed, value.as_pair()) {
            (false, _) => Ok((None, value)),
            (true, Some((key, value))) => Ok((Some(key), value)),
            (true, None) => Err(format!("{value} is not [key, value]")),
        }
    }

    fn split<'h>(&self, history: &'h History, names: &[&str]) -> Result<Vec<Part<'h>>, String> {
        let moments = Moments::new(history.columns());
        let mut parts: Vec<Part> = Vec::new();
        let mut keys: FxHashMap<Option<&Value>, usize> = FxHashMap::default();
        for op in history.ops() {
            if !names.contains(&op.f.as_str()) {
                continue;
            }
            let bad = |why: String| format!("operation {} cannot be read: {why}", op.index);
            let (key, input) = self.within(&op.input).map_err(bad)?;
            let at = *keys.entry(key).or_insert_with(|| {
                parts.push(Part {
                    key,
                    calls: Vec::new(),
                    failed: Vec::new(),
                    unreadable: None,
                });
                parts.len() - 1
            });
            let (ret, output) = match (op.outcome, op.completion) {
                (Outcome::Ok, Some(completion)) => {
                    let other = || "it asks for one key and is answered with another".to_string();
                    let output = match self.within(&op.output) {
                        Ok((answered, output)) if answered == key => output,
                        why => {
                            let why = bad(why.err().unwrap_or_else(other));
                            parts[at].unreadable.get_or_insert(why);
                            continue;
                        }
                    };
                    (moments.ret(completion as u32), Some(output))
                }
                (Outcome::Fail, _) => {
                    parts[at].failed.push(op);
                    continue;
                }
                _ => (NEVER, None),
            };
            parts[at].calls.push(Call {
                op,
                call: moments.call(op.index as u32),
                ret,
                input,
                output,
            });
        }
        Ok(parts)
    }

    fn judge(&self, history: &History, budget: &Budget) -> (Analysis, Vec<Order>) {
        let nothing = |analysis| (analysis, Vec::new());
        let names = self.model.operations();
        let parts = match self.starts().and_then(|()| self.split(history, names)) {
            Ok(parts) => parts,
            Err(why) => return nothing(Analysis::unknown(self.name(), why)),
        };
        let operations: usize = parts.iter().map(|p| p.calls.len()).sum();
        let lost = parts.iter().flat_map(|p| &p.calls).filter(|c| c.lost());
        let lost = lost.count();
        if operations == lost && parts.iter().all(|part| part.unreadable.is_none()) {
            let names = names.join(" or ");
            let why = format!("the history has no {names} that is known to have happened");
            return nothing(Analysis::vacuous(self.name(), why));
        }
        let mut meter = budget.start();
        let (mut orders, mut unknown) = (Vec::new(), Vec::new());
        let mut found = Findings::default();
        let (mut engines, mut sound): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        // Why an object took the engine that it took, of the first that says so.
        let mut because: Option<String> = None;
        let mut accounts = Vec::new();
        let mut wrong: Vec<(u64, String)> = Vec::new();
        for part in &parts {
            if let Some(why) = &part.unreadable {
                unknown.push(why.clone());
                continue;
            }
            let judged = match self.judge_part(part, &mut accounts, &mut meter) {
                Ok(judged) => judged,
                Err(why) => Judged::new(Found::Unknown(why.to_string()), "undecided"),
            };
            let (engine, why) = match judged.how.split_once(": ") {
                None => (judged.how.as_str(), None),
                Some((engine, why)) => (engine, Some(why)),
            };
            if !engines.iter().any(|known| known == engine) {
                engines.push(engine.to_string());
            }
            let of_key = part.key.map_or(String::new(), |key| format!("key {key}: "));
            because = because.or(why.map(|why| format!("{of_key}{why}")));
            match judged.found {
                Found::Order(order) => orders.push(Order {
                    key: part.key.cloned(),
                    ops: order
                        .iter()
                        .map(|i| part.calls[*i as usize].op.index)
                        .collect(),
                }),
                Found::Sound(why) => sound.push(why),
                Found::Unknown(why) => unknown.push(why),
                Found::Wrong(findings) => {
                    let first = findings.iter().filter_map(|f| f.ops.iter().max()).min();
                    let key = part.key.map_or(String::new(), Value::to_string);
                    wrong.push((first.copied().unwrap_or(0), key));
                    for finding in findings {
                        found.add(finding.kind, || Anomaly {
                            object: part.key.map(Value::to_string),
                            ops: finding.ops,
                            reason: finding.reason,
                            stretch: finding.until.map(|until| Stretch { after: None, until }),
                            ..Anomaly::default()
                        });
                    }
                }
            }
        }
        found.sort_by_time();
        wrong.sort();
        let operations_of = counted(operations, "operation");
        let of = match self.keyed {
            true => format!("{operations_of} on {}", counted(parts.len(), "key")),
            false => operations_of,
        };
        let have = either(operations, "has", "have");
        let how = engines.join(", ");
        let because = because.map_or(String::new(), |why| format!("; {why}"));
        let has_order = replay::object(self.model, &self.initial).is_ok();
        let analysis = match (found.is_empty(), unknown.first()) {
            (false, _) => {
                let what = match (self.keyed, has_order) {
                    (true, _) => format!(
                        "{} {} wrong, {}",
                        counted(wrong.len(), "key"),
                        either(wrong.len(), "is", "are"),
                        listed(wrong.iter().map(|(_, key)| key), MOST_NAMED)
                    ),
                    (false, true) => "no order explains them".to_string(),
                    (false, false) => "they cannot all be right".to_string(),
                };
                let summary = format!("{of}: {what} ({how}); {}", found.told());
                let analysis = found.into_analysis(Analysis::valid(self.name(), summary));
                let keys: Vec<_> = wrong.iter().map(|(_, key)| key.clone()).collect();
                match self.keyed {
                    true => analysis.with_figure(Figure::new("wrong keys", keys, "")),
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
        };
        let analysis = accounts.into_iter().fold(analysis, Analysis::with_figure);
        let analysis = analysis
            .with_figure(Figure::new("operations judged", operations, ""))
            .with_figure(Figure::new("of unknown outcome", lost, ""))
            .with_figure(Figure::new("objects", parts.len(), ""))
            .with_figure(Figure::new("objects found wrong", wrong.len(), ""))
            .with_figure(Figure::new("objects undecided", unknown.len(), ""));
        (analysis, orders)
    }

    /// Whether such an object can begin like this.
    fn starts(&self) -> Result<(), String> {
        match self.model {
            choice::Model::TotalQueue | choice::Model::Lease if self.initial.is_nil() => Ok(()),
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
        use choice::Model;
        let by_search = self.search;
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
            choice::Model::Set => "set by element",
            model => model.name(),
        }
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        self.judge(history, budget).0
    }
}

/// The general engine. `ops` are positions among `calls` with what they do, by call.
fn searched<M: Model>(
    model: &M,
    calls: &[Call],
    ops: Vec<(u32, M::Op)>,
    why: &str,
    meter: &mut Meter,
) -> Judged {
    let (positions, timed): (Vec<u32>, Vec<Timed<M::Op>>) = ops
        .into_iter()
        .map(|(at, op)| {
            let Call { call, ret, .. } = calls[at as usize];
            (at, Timed { op, call, ret })
        })
        .unzip();
    let index = |i: &u32| calls[positions[*i as usize] as usize].op.index;
    let found = match search::search(model, &timed, meter) {
        Ok(search::Found::Order(order)) => {
            Found::Order(order.iter().map(|i| positions[*i as usize]).collect())
        }
        Ok(search::Found::Blocked(blocked)) => {
            let core = core(model, &timed, blocked, meter);
            let others: Vec<u64> = core
                .ops
                .iter()
                .filter(|i| **i != blocked)
                .map(index)
                .collect();
            let last = index(&blocked);
            let more = match core.minimal {
                true => "",
                false => " (the budget ended before the list could be made shorter)",
            };
            Found::Wrong(vec![Finding {
                kind: "not linearizable",
                ops: [vec![last], others.clone()].concat(),
                reason: format!(
                    "everything that returned before op {last} has an order, but with it there is \
                     none: it cannot be placed together with ops {others:?}, wherever all others \
                     are put that were invoked by then{more}"
                ),
                until: Some(last),
            }])
        }
        Err(gave_up) => Found::Unknown(format!(
            "{} after {}; {}; at most {} open at once",
            gave_up.why,
            counted(gave_up.configurations, "configuration"),
            have_an_order(gave_up.explained),
            match gave_up.open {
                1 => "1 operation was".to_string(),
                n => format!("{} were", counted(n, "operation")),
            }
        )),
    };
    Judged::new(found, &format!("by search: {why}"))
}
