//! Isolation of transactions, after Elle (Kingsbury and Alvaro, VLDB 2020): what transactions read
//! tells the order of versions, so that their dependencies (Adya 1999) need not be guessed.
//!
//! Edges join a transaction to the one that overwrote or appended behind what it wrote (ww), that
//! read it (wr), whose write it did not see (rw), and that its process asked for next. Cycles among them, and
//! paths that go against real time, refute [`Consistency`] models, and the kind of cycle says which.
//!
//! Read `read` and `lists` for what is taken from the history, `graph` and `cycles` for the search,
//! `consistency` for what a finding refutes, `findings` for how it is told.

mod consistency;
mod cycles;
mod findings;
mod graph;
mod lists;
mod read;
mod registers;

use history::{History, Value};

pub use self::consistency::{Class, Consistency, Scope};
use self::cycles::{Order, Search};
use self::findings::{Findings, Tell};
use self::graph::Edges;
use self::lists::Lists;
use self::read::Txns;
use self::registers::Registers;
use crate::choice::{Choice, Model};
use crate::{
    Analysis, Budget, Certificate, Checker, Exhausted, Figure, Meter, Verdict, certificate,
};

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

    /// A serial order that explains the history, and agrees with as much of time as the model asks for.
    ///
    /// # Errors
    /// What the checker says if there is none, or that only a weaker model is satisfied.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let mut meter = budget.start();
        let lists = Lists::new(history, &mut meter);
        let judged = judge(self.name(), self.model, lists, &mut meter);
        certificate(Model::Append, Value::Nil, self.model, judged)
    }
}

impl Checker for ListAppend {
    fn name(&self) -> &str {
        "append"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let mut meter = budget.start();
        let lists = Lists::new(history, &mut meter);
        judge(self.name(), self.model, lists, &mut meter).0
    }

    fn asks(&self) -> Option<Choice> {
        Some(Choice {
            consistency: self.model,
            ..Choice::of_objects(Model::Append, false)
        })
    }
}

/// Judges operations `txn` that write registers and read them: `["w" k v]` and `["r" k v]`. Values written to one
/// key must be unique, and not what it holds at the start.
#[derive(Clone, Debug, Default)]
pub struct RwRegister {
    model: Consistency,
    initial: Value,
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

    /// A serial order that explains the history, and agrees with as much of time as the model asks for.
    ///
    /// # Errors
    /// What the checker says if there is none or it finds none, or that only a weaker model is satisfied.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let mut meter = budget.start();
        let registers = Registers::new(history, &self.initial, &mut meter);
        let judged = judge(self.name(), self.model, registers, &mut meter);
        certificate(Model::RwRegister, self.initial.clone(), self.model, judged)
    }
}

impl Checker for RwRegister {
    fn name(&self) -> &str {
        "rw-register"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let mut meter = budget.start();
        let registers = Registers::new(history, &self.initial, &mut meter);
        judge(self.name(), self.model, registers, &mut meter).0
    }

    fn asks(&self) -> Option<Choice> {
        Some(Choice {
            consistency: self.model,
            initial: Some(self.initial.clone()),
            ..Choice::of_objects(Model::RwRegister, false)
        })
    }
}

fn certificate(
    objects: Model,
    initial: Value,
    model: Consistency,
    (analysis, order): (Analysis, Option<Vec<u64>>),
) -> Result<Certificate, Analysis> {
    match order {
        _ if analysis.verdict != Verdict::Valid => Err(analysis),
        Some(ops) => Ok(Certificate {
            model: objects,
            keyed: false,
            initial,
            scope: model.forbids_up_to().1,
            orders: vec![certificate::Order { key: None, ops }],
        }),
        None => {
            let why = format!(
                "{}, but no serial order explains them, and a certificate is one",
                analysis.summary
            );
            Err(Analysis::unknown(&analysis.checker, why))
        }
    }
}

/// What transactions are about.
trait Objects: Tell {
    fn txns(&self) -> &Txns;

    /// `3 lists`.
    fn counted(&self) -> String;

    /// What is wrong without any cycle.
    fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted>;

    /// What orders transactions, real time apart; with a guess at what is not known.
    fn edges(&self, guess: bool, meter: &mut Meter) -> Result<Edges, Exhausted>;

    /// Why the order of versions is not known, if it is not.
    fn unordered(&self) -> Option<String>;

    /// Whether the verdict on this class of anomalies can depend on that order, although nothing was found, or
    /// something.
    fn depends(&self, class: Class, found: bool) -> bool;

    fn figures(&self, analysis: Analysis) -> Analysis;
}

impl Objects for Lists<'_> {
    fn txns(&self) -> &Txns {
        &self.txns
    }

    fn counted(&self) -> String {
        format!("{} lists", self.keys())
    }

    fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        Lists::anomalies(self, found, meter)
    }

    fn edges(&self, guess: bool, meter: &mut Meter) -> Result<Edges, Exhausted> {
        Lists::edges(self, guess, meter)
    }

    fn unordered(&self) -> Option<String> {
        let n = self.unordered();
        let why = || {
            format!(
                "{n} lists have several appends that nobody read, in an order that nobody knows"
            )
        };
        (n > 0).then(why)
    }

    /// With nothing at all there is a serial order, whatever the order of what nobody read. And dirty and
    /// fractured reads do not depend on that.
    fn depends(&self, class: Class, found: bool) -> bool {
        found && class >= Class::Single && class < Class::Item
    }

    fn figures(&self, analysis: Analysis) -> Analysis {
        analysis
            .with_figure(Figure::new("lists", self.keys(), ""))
            .with_figure(Figure::new("appends", self.appends(), ""))
            .with_figure(Figure::new("appends never read", self.unseen(), ""))
    }
}

impl Objects for Registers<'_> {
    fn txns(&self) -> &Txns {
        &self.txns
    }

    fn counted(&self) -> String {
        format!("{} registers", self.keys())
    }

    fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        Registers::anomalies(self, found, meter)
    }

    fn edges(&self, guess: bool, meter: &mut Meter) -> Result<Edges, Exhausted> {
        Registers::edges(self, guess, meter)
    }

    fn unordered(&self) -> Option<String> {
        let n = self.unordered();
        let why = || format!("{n} registers were written blindly, in an order that nobody knows");
        (n > 0).then(why)
    }

    /// Any order of versions that fits who read whom has no dirty reads.
    fn depends(&self, class: Class, _found: bool) -> bool {
        class > Class::DirtyRead
    }

    fn figures(&self, analysis: Analysis) -> Analysis {
        analysis
            .with_figure(Figure::new("registers", self.keys(), ""))
            .with_figure(Figure::new(
                "registers written blindly",
                self.unordered(),
                "",
            ))
    }
}

/// The analysis, and a serial order if one was found.
fn judge<O: Objects>(
    name: &str,
    model: Consistency,
    objects: Result<Result<O, String>, Exhausted>,
    meter: &mut Meter,
) -> (Analysis, Option<Vec<u64>>) {
    let mut objects = match objects {
        Ok(Ok(objects)) => objects,
        Ok(Err(unreadable)) => return (Analysis::unknown(name, unreadable), None),
        Err(why) => return (Analysis::unknown(name, why.to_string()), None),
    };
    let mut findings = Findings::default();
    let searched = objects
        .anomalies(&mut findings, meter)
        .and_then(|()| search(&objects, false, model, &mut findings, meter));
    let mut undecided = None;
    let order = match searched {
        _ if findings.refute(model) => Ok(None),
        Err(why) => Err(why),
        Ok(order) => settle(&objects, model, &findings, order, &mut undecided, meter),
    };
    let txns = objects.txns().happened.iter().filter(|h| **h).count();
    let judged = Judged {
        name,
        model,
        what: format!("{txns} transactions on {}", objects.counted()),
        nothing: txns == 0,
        findings,
        undecided,
        exhausted: order.as_ref().err().copied(),
    };
    let analysis = judged
        .analysis()
        .with_figure(Figure::new("transactions", txns, ""));
    let order = order.ok().flatten();
    let order = order.map(|order| objects.txns().in_order(&order));
    (objects.figures(analysis), order)
}

/// Nothing was found that the model forbids: does that prove it?
fn settle(
    objects: &impl Objects,
    model: Consistency,
    findings: &Findings,
    order: Order,
    undecided: &mut Option<String>,
    meter: &mut Meter,
) -> Result<Option<Order>, Exhausted> {
    let (class, scope) = model.forbids_up_to();
    let found = findings.any_within(scope);
    if findings.has("incompatible order") {
        *undecided = Some("the order of a list is not known".to_string());
        return Ok(None);
    }
    let unordered = objects
        .unordered()
        .filter(|_| objects.depends(class, found));
    let Some(unordered) = unordered else {
        return Ok((!found).then_some(order));
    };
    let mut guessed = Findings::default();
    let order = search(objects, true, model, &mut guessed, meter)?;
    // Fractured reads are not looked for by themselves in what is guessed, but are a kind of these.
    match guessed.any_of(class.max(Class::Single), scope) {
        true => *undecided = Some(unordered),
        false if !guessed.any_within(scope) => return Ok(Some(order)),
        false => {}
    }
    Ok(None)
}

fn search(
    objects: &impl Objects,
    guess: bool,
    model: Consistency,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<Order, Exhausted> {
    let graph = objects.edges(guess, meter)?.graph(meter)?;
    let mut search = Search::new(&graph, objects.txns().times());
    let order = search.run(model.forbids_up_to().1, meter);
    for found in &search.found {
        findings.add_cycle(found, objects);
    }
    order
}

/// What a search came to, as an analysis.
struct Judged<'a> {
    name: &'a str,
    model: Consistency,
    what: String,
    /// Whether there was nothing to judge.
    nothing: bool,
    findings: Findings,
    /// Why a search that found nothing against the model does not prove it, if it does not.
    undecided: Option<String>,
    exhausted: Option<Exhausted>,
}

impl Judged<'_> {
    fn analysis(self) -> Analysis {
        let (what, model) = (&self.what, self.model);
        let refuted = self.findings.refute(model);
        if self.nothing && !refuted {
            let why = "the history has no txn that happened or may have";
            return Analysis::vacuous(self.name, why);
        }
        let of = |refuted: bool| {
            let models = Consistency::ALL.iter();
            let models = models.filter(|m| self.findings.refute(**m) == refuted);
            models.map(|m| m.name()).collect::<Vec<_>>()
        };
        let (refuted_models, others) = (of(true), of(false));
        let counts = self.findings.counts();
        let counts: serde_json::Map<_, _> = counts
            .map(|(kind, count)| (kind.to_string(), count.into()))
            .collect();
        let analysis = match (self.exhausted, self.undecided) {
            // What was found stands, whatever there was no room for.
            _ if refuted => {
                let anomalies = self.findings.against(model);
                let weaker = match strongest(&others)[..] {
                    [] => "no model is left".to_string(),
                    ref left => format!("not refuted: {}", left.join(", ")),
                };
                let first = &anomalies[0].kind;
                let summary = format!("{what} are not {model}, first a {first}; {weaker}");
                Analysis::of_anomalies(self.name, summary, anomalies)
            }
            (Some(why), _) => Analysis::unknown(self.name, format!("{what}: {why}")),
            (None, Some(why)) => {
                let summary = format!(
                    "{what} show nothing that {model} forbids, which does not prove it: {why}"
                );
                Analysis::unknown(self.name, summary)
            }
            (None, None) => Analysis::valid(self.name, format!("{what} are {model}")),
        };
        let mut analysis = analysis.with_figure(Figure::new("models refuted", refuted_models, ""));
        if !counts.is_empty() {
            analysis = analysis.with_figure(Figure::new("anomalies", counts, ""));
        }
        analysis
    }
}

/// Those that no other one implies.
fn strongest(names: &[&'static str]) -> Vec<&'static str> {
    let models = || {
        Consistency::ALL
            .iter()
            .filter(|m| names.contains(&m.name()))
    };
    let implied = |m: &Consistency| models().any(|o| o.implies(*m) && !m.implies(*o));
    models().filter(|m| !implied(m)).map(|m| m.name()).collect()
}
