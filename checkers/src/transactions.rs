//! Isolation of transactions, after Elle (Kingsbury and Alvaro, VLDB 2020): what transactions read
//! tells the order of versions, so that their dependencies (Adya 1999) need not be guessed.
//!
//! Edges join a transaction to the one that overwrote or appended behind what it wrote (ww), that
//! read it (wr), whose write it did not see (rw), and that its process asked for next. Cycles among
//! them, and paths that go against real time, refute [`Consistency`] models, and the kind of cycle
//! says which.
//!
//! Read `read` and `lists` for what is taken from the history, `graph` and `cycles` for the search,
//! `consistency` for what a finding refutes, `findings` for how it is told.

mod cycles;
mod findings;
mod graph;
mod lattice;
mod lists;
mod objects;
mod polygraph;
mod read;
mod registers;
mod seen;
mod visibility;

use history::wording::counted;
use history::{History, Value};

use self::cycles::{Order, Search};
use self::findings::Findings;
use self::graph::Edges;
use self::lattice::{Judged, Lattice};
use self::lists::Lists;
use self::objects::Objects;
use self::polygraph::{Answer, Polygraph};
use self::read::Txns;
use self::registers::Registers;
use self::seen::Seen;
use self::visibility::Causal;
use crate::consistency;
pub use crate::consistency::{Class, Consistency, Scope};
use crate::figure::{Gauge, Part};
use crate::model::{Choice, Model};
use crate::{Analysis, Budget, Certificate, Checker, Exhausted, Meter, Verdict, certificate};

const TRANSACTIONS: Gauge = Gauge::count("transactions");

/// By their kinds.
const ANOMALIES: Gauge = Gauge::new("anomalies", "", &[Part::of("*")]);

pub(crate) const GAUGES: &[Gauge] = &[TRANSACTIONS, ANOMALIES];
pub(crate) const OF_REGISTERS: &[Gauge] = &[objects::REGISTERS, objects::WRITTEN_BLINDLY];
pub(crate) const OF_LISTS: &[Gauge] = &[objects::LISTS, objects::APPENDS, objects::NEVER_READ];

/// Judges operations `txn` that append to lists and read them: `["append" k v]` and `["r" k list]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListAppend {
    model: Consistency,
}

impl ListAppend {
    /// By strict serializability.
    pub fn new() -> ListAppend {
        ListAppend::default()
    }

    /// By another model.
    pub fn by(model: Consistency) -> ListAppend {
        ListAppend { model }
    }

    /// A serial order that explains the history, and agrees with as much of time as the model asks
    /// for.
    ///
    /// # Errors
    /// What the checker says if there is none, or that only a weaker model is satisfied.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let meter = budget.start();
        certificate(Model::Append, Value::Nil, self.model, |model| {
            let meter = &mut meter.left().start();
            let lists = Lists::new(history, meter);
            judge(self.name(), (model, true), lists, meter)
        })
    }
}

impl Checker for ListAppend {
    fn name(&self) -> &str {
        "append"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let mut meter = budget.start();
        let lists = Lists::new(history, &mut meter);
        judge(self.name(), (self.model, true), lists, &mut meter).0
    }

    fn asks(&self) -> Option<Choice> {
        Some(Choice {
            consistency: self.model,
            ..Choice::of_objects(Model::Append, false)
        })
    }
}

/// Judges operations `txn` that write registers and read them: `["w" k v]` and `["r" k v]`. Values
/// written to one key must be unique, and not what it holds at the start.
#[derive(Clone, Debug, Default)]
pub struct RwRegister {
    model: Consistency,
    initial: Value,
    alone: bool,
}

impl RwRegister {
    /// By strict serializability; registers hold nil at the start.
    pub fn new() -> RwRegister {
        RwRegister::default()
    }

    /// By another model.
    pub fn by(model: Consistency) -> RwRegister {
        RwRegister {
            model,
            ..RwRegister::default()
        }
    }

    pub fn with_initial(self, initial: Value) -> RwRegister {
        RwRegister { initial, ..self }
    }

    /// Only that model: if it is refuted, nothing is said of others.
    pub(crate) fn alone(self) -> RwRegister {
        RwRegister {
            alone: true,
            ..self
        }
    }

    /// A serial order that explains the history, and agrees with as much of time as the model asks
    /// for.
    ///
    /// # Errors
    /// What the checker says if there is none or it finds none, or that only a weaker model is
    /// satisfied.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let meter = budget.start();
        certificate(
            Model::RwRegister,
            self.initial.clone(),
            self.model,
            |model| {
                let meter = &mut meter.left().start();
                let registers = Registers::new(history, &self.initial, meter);
                judge(self.name(), (model, !self.alone), registers, meter)
            },
        )
    }
}

impl Checker for RwRegister {
    fn name(&self) -> &str {
        "rw-register"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let mut meter = budget.start();
        let registers = Registers::new(history, &self.initial, &mut meter);
        judge(
            self.name(),
            (self.model, !self.alone),
            registers,
            &mut meter,
        )
        .0
    }

    fn asks(&self) -> Option<Choice> {
        Some(Choice {
            consistency: self.model,
            initial: Some(self.initial.clone()),
            ..Choice::of_objects(Model::RwRegister, false)
        })
    }
}

/// A serial order of what satisfies a model, if there is one. A weaker model may be decided without
/// finding it, so then it is sought by the serializable model that agrees with as much of time.
fn certificate(
    objects: Model,
    initial: Value,
    model: Consistency,
    judged: impl Fn(Consistency) -> (Analysis, Option<Vec<u64>>),
) -> Result<Certificate, Analysis> {
    let (analysis, order) = judged(model);
    if analysis.verdict != Verdict::Valid {
        return Err(analysis);
    }
    let (class, scope) = model.forbids_up_to();
    let order = match order {
        None if class != Class::Item => {
            let (serially, order) = judged(Consistency::serializable_within(scope));
            order.ok_or(serially.verdict)
        }
        order => order.ok_or(Verdict::Unknown),
    };
    let ops = order.map_err(|serially| {
        let why = match serially {
            Verdict::Invalid => "no serial order explains them",
            _ => "no serial order was found that explains them",
        };
        let why = format!("{}, but {why}, and a certificate is one", analysis.summary);
        Analysis::unknown(&analysis.checker, why)
    })?;
    Ok(Certificate {
        model: objects,
        keyed: false,
        initial,
        scope,
        orders: vec![certificate::Order { key: None, ops }],
    })
}

/// The analysis, and a serial order if one was found. If the model is refuted, others are judged if
/// they are asked for.
fn judge<O: Objects>(
    name: &str,
    (model, others): (Consistency, bool),
    objects: Result<Result<O, String>, Exhausted>,
    meter: &mut Meter,
) -> (Analysis, Option<Vec<u64>>) {
    let mut objects = match objects {
        Ok(Ok(objects)) => objects,
        Ok(Err(unreadable)) => return (Analysis::unknown(name, unreadable), None),
        Err(why) => return (Analysis::unknown(name, why.to_string()), None),
    };
    let mut findings = Findings::default();
    let mut lattice = Lattice::default();
    let unjudged = unjudged(objects.txns());
    let order = searched(
        &mut objects,
        (model, others),
        &mut findings,
        &mut lattice,
        meter,
    );
    let txns = objects.txns().happened.iter().filter(|h| **h).count();
    let judged = Judged {
        name,
        model,
        what: format!("{} on {}", counted(txns, "transaction"), objects.counted()),
        nothing: txns == 0,
        findings,
        lattice,
        unjudged,
        exhausted: order.as_ref().err().copied(),
    };
    let analysis = judged.analysis().with_figure(TRANSACTIONS.figure(txns));
    (objects.figures(analysis), order.ok().flatten())
}

/// Looks for all that the model forbids, and at what it does not decide. What was found stands,
/// whatever there is no time or room for.
fn searched<O: Objects>(
    objects: &mut O,
    (model, others): (Consistency, bool),
    findings: &mut Findings,
    lattice: &mut Lattice,
    meter: &mut Meter,
) -> Result<Option<Vec<u64>>, Exhausted> {
    objects.anomalies(findings, meter)?;
    let seen = objects.seen(meter)?;
    let asked = model.forbids_up_to();
    let causal = visibility::judge(objects, &seen, asked.0, findings, meter)?;
    let order = search(objects, model, findings, meter)?;
    if causal == Causal::TooLarge {
        lattice.open(
            Consistency::TransactionalCausal,
            "its sessions are too many",
        );
    }
    // What is wrong within a transaction's read hides what it would say of the order.
    if findings.has("incompatible order") || findings.has("internal") {
        lattice.open(
            Consistency::ReadUncommitted,
            "the order of a list is not known",
        );
    }
    let txns = objects.txns();
    let mut found = None;
    if !findings.refute(model) {
        let order = Some(&order);
        found = settle(objects, &seen, model, order, findings, lattice, meter)?;
    }
    // What is left, the strongest first.
    if others && findings.refute(model) {
        for other in Consistency::ALL.into_iter().rev() {
            if !findings.refute(other) && !lattice.holds(other) {
                settle(objects, &seen, other, None, findings, lattice, meter)?;
            }
        }
    }
    let found = found.filter(|_| txns.unjudged.is_empty());
    Ok(found.map(|order| txns.in_order(order.into_iter())))
}

/// Nothing was found that the model forbids: does that prove it? Gives a serial order if there is
/// one. `order` is one if nothing at all was found, and versions are known.
fn settle<O: Objects>(
    objects: &O,
    seen: &Seen,
    model: Consistency,
    order: Option<&Order>,
    findings: &mut Findings,
    lattice: &mut Lattice,
    meter: &mut Meter,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let (class, scope) = model.forbids_up_to();
    let found = findings.any_within(scope);
    let unordered = match class {
        // Cycles alone do not tell.
        Class::Prefix if found => objects.unordered().or(Some("it was not found".into())),
        Class::Prefix => objects.unordered(),
        _ => (objects.unordered()).filter(|_| objects.depends(class, found)),
    };
    let Some(unordered) = unordered else {
        lattice.hold(model);
        // Where serializability depends on more than cycles, an order without any explains nothing
        // yet.
        let is_serial = objects.unordered().is_none() || !objects.depends(Class::Item, found);
        let order = order.filter(|_| !found && is_serial && !lattice.is_open(model));
        return Ok(order.map(|order| order.by_time(&objects.txns().times())));
    };
    let mut known = Edges::new(seen.len());
    objects.known(&mut known, meter)?;
    let txns = objects.txns();
    // What holds with more of time holds with less, and is found sooner: sessions leave less open.
    for wider in [Scope::Realtime, Scope::Process, Scope::Data] {
        let is_asked = wider == scope;
        if wider < scope || (!is_asked && findings.refute_all(class, wider)) {
            continue;
        }
        let mut polygraph =
            Polygraph::new(txns, seen, objects.keys(), &known, (class, wider), meter)?;
        match polygraph.decide(class, meter)? {
            Answer::Holds(order) => {
                lattice.hold(model);
                return Ok((class == Class::Item).then_some(order));
            }
            Answer::Open if is_asked => lattice.open(model, &unordered),
            Answer::Open => {}
            Answer::Refuted(refuted) => {
                let told = polygraph::told(&polygraph, &refuted, objects);
                findings.add_refuted(&refuted, told, objects);
                if findings.refute(model) {
                    break;
                }
            }
        }
    }
    Ok(None)
}

/// The first operation that cannot be judged, and how many there are.
fn unjudged(txns: &Txns) -> Option<String> {
    let (op, why) = txns.unjudged.first()?;
    let more = match txns.unjudged.len() - 1 {
        0 => String::new(),
        more => format!("; nor can {more} others"),
    };
    Some(format!("operation {op} cannot be judged: {why}{more}"))
}

fn search(
    objects: &impl Objects,
    model: Consistency,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<Order, Exhausted> {
    let graph = objects.edges(meter)?.graph(meter)?;
    let mut search = Search::new(&graph, objects.txns().times());
    let order = search.run(model.forbids_up_to().1, meter);
    for found in &search.found {
        findings.add_cycle(found, objects);
    }
    order
}
