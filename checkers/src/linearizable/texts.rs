//! Linearizability of texts that grow: `get`, `put` and `append`, by key.
//!
//! Where every text that is put or appended is another, [`pieces`] decides. Else the search does. A
//! read tells everything that was appended, so the search rarely has a choice. Texts that nothing
//! read begins with are one state to it: whatever is appended to such a text, it never becomes one
//! that was read.

mod pieces;

use history::wording::{counted, either, with_first};
use history::{History, Name, Op, Outcome, Value};
use rustc_hash::FxHashMap;

use super::core::core;
use super::model::Model;
use super::parts::{Flaw, Role};
use super::reason::have_an_order;
use super::search::{Found, NEVER, Timed, search_after};
use crate::consistency::Scope;
use crate::counts::JUDGED;
use crate::model::{self, Choice};
use crate::ranks::{self, Follows, Ranks};
use crate::{Analysis, Anomaly, Budget, Certificate, Checker, Meter, Order, Stretch};

/// Judges operations `read` or `get`, `write` or `put`, and `append`, all of text; as
/// [`super::Registers`] where nothing is appended.
#[derive(Clone, Debug)]
pub struct Texts {
    keyed: bool,
    initial: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Read(Name),
    Write(Name),
    Append(Name),
}

struct Text {
    initial: Name,
    /// All that was read, sorted.
    read: Vec<Name>,
}

impl Text {
    fn new(initial: Name, ops: &[Timed<Action>]) -> Text {
        let read = ops.iter().filter_map(|op| match &op.op {
            Action::Read(text) => Some(text.clone()),
            _ => None,
        });
        let mut read: Vec<Name> = read.collect();
        read.sort_unstable();
        read.dedup();
        Text { initial, read }
    }

    /// None if nothing that was read begins so.
    fn state(&self, text: Name) -> Option<Name> {
        let at = self.read.partition_point(|read| *read < text);
        let begins = self.read.get(at)?.starts_with(text.as_str());
        begins.then_some(text)
    }
}

impl Model for Text {
    type State = Option<Name>;
    type Op = Action;

    fn init(&self) -> Option<Name> {
        self.state(self.initial.clone())
    }

    fn step(&self, state: &Option<Name>, op: &Action) -> Option<Option<Name>> {
        match (op, state) {
            (Action::Read(text), _) => (state.as_ref() == Some(text)).then(|| state.clone()),
            (Action::Write(text), _) => Some(self.state(text.clone())),
            (Action::Append(more), Some(text)) => {
                Some(self.state(Name::from(format!("{text}{more}"))))
            }
            (Action::Append(_), None) => Some(None),
        }
    }

    fn reads_only(&self, op: &Action) -> bool {
        matches!(op, Action::Read(_))
    }
}

struct Part {
    key: Option<Value>,
    ops: Vec<Timed<Action>>,
    ids: Vec<u64>,
    /// What cannot be read of it, if anything.
    flaw: Option<Flaw>,
    /// By places.
    follows: Follows,
}

impl Part {
    /// Brings operations into the order of their calls: those of one time need not be invoked in
    /// it.
    fn sort(&mut self) {
        if self.ops.is_sorted_by_key(|op| op.call) {
            return;
        }
        let mut order: Vec<usize> = (0..self.ops.len()).collect();
        order.sort_by_key(|i| self.ops[*i].call);
        let mut place = vec![0; order.len()];
        for (at, i) in order.iter().enumerate() {
            place[*i] = at as u32;
        }
        self.ops = order.iter().map(|i| self.ops[*i].clone()).collect();
        self.ids = order.iter().map(|i| self.ids[*i]).collect();
        for (before, op) in &mut self.follows {
            (*before, *op) = (place[*before as usize], place[*op as usize]);
        }
    }
}

impl Texts {
    /// One text.
    pub fn single() -> Texts {
        Texts {
            keyed: false,
            initial: Name::default(),
        }
    }

    /// Many texts, each with a key.
    pub fn keyed() -> Texts {
        Texts {
            keyed: true,
            ..Texts::single()
        }
    }

    /// What a text is before it is written; empty unless this says otherwise.
    pub fn with_initial(self, initial: Name) -> Texts {
        Texts { initial, ..self }
    }

    pub fn initial(&self) -> Value {
        Value::Text(self.initial.clone())
    }

    fn inner<'h>(&self, value: &'h Value) -> Result<(Option<&'h Value>, &'h Value), String> {
        match (self.keyed, value.as_pair()) {
            (false, _) => Ok((None, value)),
            (true, Some((key, value))) => Ok((Some(key), value)),
            (true, None) => Err(format!("{value} is not [key, value]")),
        }
    }

    fn split(&self, history: &History) -> Result<Vec<Part>, String> {
        let ranks = Ranks::new(history);
        let mut sessions = ranks.sessions();
        let mut parts: Vec<Part> = Vec::new();
        let mut keys: FxHashMap<Option<&Value>, usize> = FxHashMap::default();
        for op in history.ops() {
            let role = Role::of(&op.f);
            if op.outcome == Outcome::Fail || (role.is_none() && op.f != "append") {
                continue;
            }
            let bad = |why: String| format!("operation {} cannot be read: {why}", op.index);
            let (key, asked) = self.inner(&op.input).map_err(bad)?;
            let at = *keys.entry(key).or_insert_with(|| {
                parts.push(Part {
                    key: key.cloned(),
                    ops: Vec::new(),
                    ids: Vec::new(),
                    flaw: None,
                    follows: Vec::new(),
                });
                parts.len() - 1
            });
            let action = match self.action(op, role, key, asked) {
                Ok(Some(action)) => action,
                Ok(None) => continue,
                Err(why) => {
                    let changes = role != Some(Role::Read);
                    Flaw::add(&mut parts[at].flaw, op.index, &why, changes);
                    continue;
                }
            };
            let ret = match (op.outcome, op.completion) {
                (Outcome::Ok, Some(at)) => ranks.ret(at as u32),
                _ => NEVER,
            };
            let call = ranks.call(op.index as u32);
            let place = parts[at].ops.len() as u32;
            let before = sessions.follows(at as u32, op.process, place, (call, ret));
            parts[at]
                .follows
                .extend(before.map(|before| (before, place)));
            parts[at].ops.push(Timed {
                op: action,
                call,
                ret,
            });
            parts[at].ids.push(op.index);
        }
        parts.iter_mut().for_each(Part::sort);
        Ok(parts)
    }

    /// What an operation does; none for a read that was not answered.
    fn action(
        &self,
        op: &Op,
        role: Option<Role>,
        key: Option<&Value>,
        asked: &Value,
    ) -> Result<Option<Action>, String> {
        let text = |value: &Value| match value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(format!("{other} is no text")),
        };
        let answered = op.outcome == Outcome::Ok
            // Whoever only writes may be answered with nothing.
            && (role == Some(Role::Read) || !op.output.is_nil());
        let answer = answered.then(|| self.inner(&op.output)).transpose()?;
        if answer.is_some_and(|(found, _)| found != key) {
            return Err("it asks for one key and is answered with another".into());
        }
        Ok(Some(match role {
            Some(Role::Read) => match answer {
                // What was never written may be answered with nothing.
                Some((_, Value::Nil)) if self.initial.is_empty() => {
                    Action::Read(self.initial.clone())
                }
                Some((_, answer)) => Action::Read(text(answer)?),
                None => return Ok(None),
            },
            Some(Role::Write) => Action::Write(text(asked)?),
            Some(Role::Cas) => return Err("texts have no compare-and-set".into()),
            None => Action::Append(text(asked)?),
        }))
    }

    /// The order of one key, or the operations that have none.
    fn judge(&self, part: &Part, meter: &mut Meter) -> Result<Result<Vec<u32>, Anomaly>, String> {
        let object = part.key.as_ref().map(Value::to_string);
        let awaits = ranks::awaits(&part.follows, part.ops.len());
        if self.initial.is_empty() {
            match pieces::judge(&part.ops, meter) {
                // Ranks may say less than is known, and that may be what the order made use of.
                Ok(Some(Ok(order))) if ranks::keeps(&order, &part.follows) => return Ok(Ok(order)),
                Ok(Some(Err(wrong))) => return Ok(Err(of_pieces(part, object, &wrong))),
                Ok(_) => {}
                Err(why) => return Err(format!("{why} while texts were taken apart")),
            }
        }
        let model = Text::new(self.initial.clone(), &part.ops);
        match search_after(&model, &part.ops, &awaits, meter) {
            Ok(Found::Order(order)) => Ok(Ok(order)),
            Ok(Found::Blocked(blocked)) => {
                let core = core(&model, &part.ops, &awaits, blocked, meter);
                let ids = |ops: &[u32]| -> Vec<u64> {
                    ops.iter().map(|i| part.ids[*i as usize]).collect()
                };
                let others: Vec<u32> = core.ops.iter().copied().filter(|i| *i != blocked).collect();
                let last = part.ids[blocked as usize];
                Ok(Err(Anomaly {
                    kind: "not linearizable".to_string(),
                    object,
                    ops: [vec![last], ids(&others)].concat(),
                    reason: format!(
                        "everything that returned before op {last} has an order, but together with it there is none: it cannot be placed together with ops {:?}, wherever the other operations stand that were invoked by then{}",
                        ids(&others),
                        if core.minimal {
                            ""
                        } else {
                            " (the budget ended before the list could be made shorter)"
                        },
                    ),
                    stretch: Some(Stretch {
                        after: None,
                        until: last,
                    }),
                    ..Anomaly::default()
                }))
            }
            Err(gave_up) => Err(format!(
                "{} after {}; {}",
                gave_up.why,
                counted(gave_up.configurations, "configuration"),
                have_an_order(gave_up.explained)
            )),
        }
    }

    /// An order for every key.
    ///
    /// # Errors
    /// The analysis that [`Checker::check`] gives, if the history is not found to be linearizable.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let mut meter = budget.start();
        let parts = self
            .split(history)
            .map_err(|e| Analysis::unknown(self.name(), e))?;
        let operations: usize = parts.iter().map(|p| p.ops.len()).sum();
        if operations == 0 && parts.iter().all(|part| part.flaw.is_none()) {
            let why = "the history has no get, put or append that happened or may have";
            return Err(Analysis::vacuous(self.name(), why));
        }
        let (mut orders, mut anomalies, mut unknown) = (Vec::new(), Vec::new(), None);
        for part in &parts {
            if let Some(flaw) = part.flaw.as_ref().filter(|flaw| flaw.changes) {
                unknown = unknown.or(Some(flaw.to_string()));
                continue;
            }
            match self.judge(part, &mut meter) {
                Ok(Ok(_)) if part.flaw.is_some() => {
                    unknown = unknown.or(part.flaw.as_ref().map(Flaw::to_string));
                }
                Ok(Ok(order)) => orders.push(Order {
                    key: part.key.clone(),
                    ops: order.iter().map(|i| part.ids[*i as usize]).collect(),
                }),
                Ok(Err(anomaly)) => anomalies.push(anomaly),
                Err(why) => unknown = unknown.or(Some(why)),
            }
        }
        let of = format!(
            "{} on {}",
            counted(operations, "operation"),
            counted(parts.len(), "text")
        );
        let analysis = match (anomalies.len(), unknown) {
            (0, None) => {
                return Ok(Certificate {
                    model: model::Model::Kv,
                    keyed: self.keyed,
                    initial: self.initial(),
                    scope: Scope::Realtime,
                    orders,
                });
            }
            (0, Some(why)) => Analysis::unknown(self.name(), format!("{of}: {why}")),
            (wrong, _) => {
                let first = &anomalies[0].kind;
                let summary = format!(
                    "{of}: no order explains those on {} (by pieces, or by search); {}",
                    counted(wrong, "text"),
                    with_first(wrong, "anomaly", first)
                );
                Analysis::of_anomalies(self.name(), summary, anomalies)
            }
        };
        Err(analysis.with_figure(JUDGED.figure(operations)))
    }
}

fn of_pieces(part: &Part, object: Option<String>, wrong: &pieces::Wrong) -> Anomaly {
    let ops: Vec<u64> = wrong.ops.iter().map(|i| part.ids[*i as usize]).collect();
    let more = match wrong.minimal {
        true => "",
        false => " (the list could be shorter)",
    };
    let reason = match &ops[..] {
        [one] => format!("no order of puts and appends makes what op {one} read"),
        [last, others @ ..] => format!(
            "op {last} cannot be placed together with ops {others:?}, wherever all others are put: what was read tells \
             what each piece was appended to{more}"
        ),
        [] => String::new(),
    };
    Anomaly {
        kind: wrong.kind.to_string(),
        object,
        ops,
        reason,
        ..Anomaly::default()
    }
}

impl Checker for Texts {
    fn name(&self) -> &str {
        "linearizable"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match self.certify(history, budget) {
            Err(analysis) => analysis,
            Ok(certificate) => {
                let ops: usize = certificate.orders.iter().map(|o| o.ops.len()).sum();
                let texts = certificate.orders.len();
                let summary = format!(
                    "{} on {} {} an order that explains every answer (by pieces, or by search)",
                    counted(ops, "operation"),
                    counted(texts, "text"),
                    either(ops, "has", "have")
                );
                Analysis::valid(self.name(), summary).with_figure(JUDGED.figure(ops))
            }
        }
    }

    fn asks(&self) -> Option<Choice> {
        let choice = Choice::of_objects(model::Model::Kv, self.keyed);
        Some(choice.with_initial(self.initial()))
    }
}
