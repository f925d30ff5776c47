//! Linearizability of an object that a person describes in a [`Script`].
//!
//! Every key is judged by itself, by the general [`search`](crate::linearizable::search): it is
//! exponential in the operations that are open at once at worst, so it can run out of its budget.
//! What the script says of a state and an operation is asked once ([`Spec`]).
//!
//! An operation that is `fail` did not happen. One whose outcome nobody knows may have happened at
//! any time since it was invoked, or never; the script is asked with an answer that equals nothing.

mod order;
mod spec;
mod tell;
mod tested;
pub mod workload;

use history::wording::{counted, either};
use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;

use self::order::{Puzzle, Tried};
use self::spec::Spec;
use crate::counts::{
    JUDGED, KEYS, KEYS_FOUND_WRONG, KEYS_UNDECIDED, UNKNOWN_OUTCOME, WRONG_KEYS, told_wrong,
};
use crate::figure::Gauge;
use crate::findings::Findings;
use crate::linearizable::search::NEVER;
use crate::ranks::{Follows, Ranks};
use crate::script::{Fault, OrderOf, Running, Script, Stopped, with_stack};
use crate::{Analysis, Anomaly, Budget, Exhausted, Meter, Order, Verdict};

const NAME: &str = "linearizable";

const STATES: Gauge = Gauge::count("states of the model");
const STEPS: Gauge = Gauge::count("steps of the script");

/// Judges a history by a script.
#[derive(Clone, Debug)]
pub struct Scripted {
    script: Script,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Judged {
    pub analysis: Analysis,
    /// The orders, if the verdict is valid.
    pub certificate: Option<OrderOf>,
}

/// An operation, its ranks, and its number in the [`Spec`].
type Placed<'h> = (&'h Op, (u32, u32), u32);

/// One object's share of a history.
#[derive(Default)]
struct Part<'h> {
    key: Option<Value>,
    /// By call.
    ops: Vec<Placed<'h>>,
    follows: Follows,
}

/// What was found of all objects.
#[derive(Default)]
struct All {
    orders: Vec<Order>,
    unknown: Vec<String>,
    found: Findings,
    /// Of each that is wrong its anomaly's last operation, and its key.
    wrong: Vec<(u64, String)>,
}

impl Scripted {
    pub fn new(script: Script) -> Scripted {
        Scripted { script }
    }

    /// Judges all operations of the history's clients: what is none of the object's has to be taken
    /// out before.
    ///
    /// # Errors
    /// That the script is at fault, which says nothing of the history.
    pub fn judge(&self, history: &History, budget: &Budget) -> Result<Judged, Box<Fault>> {
        let meter = budget.start();
        match with_stack(|| self.by_key(history, &meter)) {
            Ok(judged) => Ok(judged),
            Err(Stopped::Fault(fault)) => Err(fault),
            Err(Stopped::Limit(why)) => Ok(Judged {
                analysis: Analysis::unknown(NAME, format!("{why} while operations were read")),
                certificate: None,
            }),
        }
    }

    fn by_key(&self, history: &History, meter: &Meter) -> Result<Judged, Stopped> {
        let running = Running::new(&self.script, meter)?;
        let spec = Spec::new(&running)?;
        let parts = split(&spec, history, meter)?;
        let calls = || parts.iter().flat_map(|part| &part.ops);
        let lost = calls().filter(|(_, (_, ret), _)| *ret == NEVER).count();
        let operations = calls().count();
        if operations == lost {
            let why = "the history has no operation that is known to have happened";
            return Ok(Judged {
                analysis: Analysis::vacuous(NAME, why),
                certificate: None,
            });
        }
        let mut all = All::default();
        for part in &parts {
            self.judge_part(&spec, part, &mut all, meter)?;
        }
        all.found.sort_by_time();
        all.wrong.sort();
        let counts = [
            JUDGED.figure(operations),
            UNKNOWN_OUTCOME.figure(lost),
            KEYS.figure(parts.len()),
            KEYS_FOUND_WRONG.figure(all.wrong.len()),
            KEYS_UNDECIDED.figure(all.unknown.len()),
            STATES.figure(spec.states()),
            STEPS.figure(spec.steps()),
        ];
        let orders = std::mem::take(&mut all.orders);
        let analysis = self.told(all, operations, parts.len(), running.has_key());
        let is_valid = analysis.verdict == Verdict::Valid;
        let analysis = match is_valid && !tested::tested(&spec, &parts, &orders) {
            true => Analysis::vacuous(NAME, self.untested()),
            false => analysis,
        };
        let certificate = (analysis.verdict == Verdict::Valid).then(|| OrderOf {
            script: self.script.clone(),
            orders,
        });
        Ok(Judged {
            analysis: counts.into_iter().fold(analysis, Analysis::with_figure),
            certificate,
        })
    }

    fn untested(&self) -> String {
        format!(
            "nothing was tested: {} takes these operations in any state, whatever they were answered",
            self.script
        )
    }

    fn judge_part<'h>(
        &self,
        spec: &Spec<'_, 'h>,
        part: &Part<'h>,
        all: &mut All,
        meter: &Meter,
    ) -> Result<(), Stopped> {
        let puzzle = Puzzle::new(&part.ops, part);
        match puzzle.order(spec, &mut meter.clone()) {
            Tried::Order(order) => all.orders.push(Order {
                key: part.key.clone(),
                ops: order
                    .iter()
                    .map(|at| part.ops[*at as usize].0.index)
                    .collect(),
            }),
            Tried::Blocked(blocked) => {
                let text = self.script.text();
                let anomaly = tell::anomaly(spec, part, (&puzzle, blocked), text, meter)?;
                let key = part.key.as_ref().map_or(String::new(), Value::to_string);
                all.wrong.push((last(&anomaly), key));
                let kind = anomaly.kind.clone();
                all.found.add(&kind, || anomaly);
            }
            Tried::GaveUp(gave_up) => match spec.stopped() {
                Some(Stopped::Fault(fault)) => return Err(Stopped::Fault(fault)),
                Some(Stopped::Limit(_)) | None => {
                    spec.go_on();
                    all.unknown.push(tell::giving_up(part, &gave_up));
                }
            },
        }
        Ok(())
    }

    fn told(&self, all: All, operations: usize, keys: usize, keyed: bool) -> Analysis {
        let operations_of = counted(operations, "operation");
        let of = match keyed {
            true => format!("{operations_of} on {}", counted(keys, "key")),
            false => operations_of,
        };
        let have = either(operations, "has", "have");
        let script = &self.script;
        match (all.found.is_empty(), all.unknown.first()) {
            (false, _) => {
                let names: Vec<&str> = all.wrong.iter().map(|(_, key)| key.as_str()).collect();
                let what = match keyed {
                    true => format!("; {} by {script}", told_wrong(&names)),
                    false => format!(": no order explains them by {script}"),
                };
                let summary = format!("{of}{what}; {}", all.found.told());
                let names: Vec<String> = names.into_iter().map(str::to_string).collect();
                let analysis = all.found.into_analysis(Analysis::valid(NAME, summary));
                match keyed {
                    true => analysis.with_figure(WRONG_KEYS.figure(names)),
                    false => analysis,
                }
            }
            (true, Some(why)) => {
                let rest = match all.unknown.len() - 1 {
                    0 => String::new(),
                    n => format!(" (and {} more)", counted(n, "key")),
                };
                Analysis::unknown(NAME, format!("{of}: {why}{rest}"))
            }
            (true, None) => {
                let summary =
                    format!("{of} {have} an order that explains every answer by {script}");
                Analysis::valid(NAME, summary)
            }
        }
    }
}

fn last(anomaly: &Anomaly) -> u64 {
    anomaly.ops.iter().max().copied().unwrap_or(0)
}

/// The objects, in order of their first operation.
fn split<'h>(
    spec: &Spec<'_, 'h>,
    history: &'h History,
    meter: &Meter,
) -> Result<Vec<Part<'h>>, Stopped> {
    let ranks = Ranks::new(history);
    let mut sessions = ranks.sessions();
    let mut parts: Vec<Part> = Vec::new();
    let mut keys: FxHashMap<Option<Value>, usize> = FxHashMap::default();
    let mut meter = meter.clone();
    let mut bytes = 0;
    for op in history
        .ops()
        .iter()
        .filter(|op| op.outcome != Outcome::Fail)
    {
        meter.tick(bytes + spec.bytes_held())?;
        bytes += size_of::<Placed>() as u64;
        let key = spec.key(op)?;
        let at = *keys.entry(key).or_insert_with_key(|key| {
            parts.push(Part {
                key: key.clone(),
                ..Part::default()
            });
            parts.len() - 1
        });
        let index = u32::try_from(op.index).map_err(|_| Exhausted::Memory)?;
        let ret = match (op.outcome, op.completion) {
            (Outcome::Ok, Some(completion)) => ranks.ret(completion as u32),
            _ => NEVER,
        };
        let when = (ranks.call(index), ret);
        let before = sessions.follows(at as u32, op.process, index, when);
        let part = &mut parts[at];
        part.follows.extend(before.map(|before| (before, index)));
        part.ops.push((op, when, spec.number(op)?));
    }
    for part in &mut parts {
        part.ops.sort_by_key(|(_, (call, _), _)| *call);
    }
    Ok(parts)
}
