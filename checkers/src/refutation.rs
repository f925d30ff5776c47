//! Why a history is not explained by any order: few operations that cannot be ordered, and who
//! checks that.

mod grown;
mod relaxed;

use std::collections::HashSet;

use history::{History, Op, Process, Value};
use serde::{Deserialize, Serialize};

use crate::accounts;
use crate::certificate::{Terms, replay};
use crate::consistency::Scope;
use crate::model::Model;
use crate::{Budget, Exhausted, Meter};

pub use self::grown::confirmed;

/// Operations that have no order, of one object or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refutation {
    /// What the objects are.
    pub model: Model,
    /// Whether values are `[key, value]`.
    pub keyed: bool,
    /// What every object holds at the start; nil is what the model says.
    pub initial: Value,
    /// What an order would have to agree with beside answers.
    pub scope: Scope,
    pub cores: Vec<Core>,
}

impl Refutation {
    pub fn terms(&self) -> Terms {
        Terms {
            model: self.model,
            keyed: self.keyed,
            initial: self.initial.clone(),
            scope: self.scope,
        }
    }
}

/// Operations of one object that no order explains, wherever its other operations are put: at any
/// time, or nowhere. So no order explains the history either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Which object; none if the history has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// Indices of invocations.
    pub ops: Vec<u64>,
    /// Only a part of the history is looked at, if that is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stretch: Option<Stretch>,
}

/// A part of a history that is impossible by itself. Whoever explains the whole explains what
/// had been invoked when `until` returned, where what had not returned may have happened or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The operation with whose return it begins, whatever a register holds then and
    /// whatever was open had done; none for the beginning of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The operation with whose return it ends.
    pub until: u64,
}

/// Why a refutation proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It is no refutation, or its operations have an order.
    #[error("{0}")]
    Wrong(String),
    #[error("{0} before every order of the operations was tried")]
    Exhausted(#[from] Exhausted),
}

impl From<String> for Doubt {
    fn from(why: String) -> Doubt {
        Doubt::Wrong(why)
    }
}

/// An operation that is to be placed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Piece<'h> {
    f: &'h str,
    process: Process,
    input: Value,
    /// None: nobody knows what it answered.
    output: Option<Value>,
}

impl Piece<'_> {
    /// The object after it, if it can stand here.
    fn after(&self, object: &dyn replay::Object) -> Option<Box<dyn replay::Object>> {
        let mut then = object.copy();
        let step = replay::Step {
            f: self.f,
            process: self.process,
            input: &self.input,
            output: self.output.as_ref(),
        };
        then.step(&step).is_ok().then_some(then)
    }
}

/// An operation of the core.
#[derive(Debug)]
struct Kept<'h> {
    piece: Piece<'h>,
    op: &'h Op,
    /// Whether it has happened.
    must: bool,
}

/// Other operations that are alike. They have no time, but for what is said of operations of the
/// core.
#[derive(Debug, PartialEq)]
struct Relaxed<'h> {
    piece: Piece<'h>,
    place: Place,
    /// How many there are; none for as many as anybody wants.
    count: Option<u16>,
}

/// Where an operation stands among those of the core, as bits of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Place {
    /// It precedes these.
    before: u64,
    /// These precede it, and must be placed.
    after: u64,
}

/// What is to be ordered.
#[derive(Debug)]
struct Puzzle<'h> {
    kept: Vec<Kept<'h>>,
    relaxed: Vec<Relaxed<'h>>,
    /// What the object may be at the start.
    starts: Vec<Box<dyn replay::Object>>,
    scope: Scope,
    /// Others that may be wanted in the core, if these are too few: what they have to do with it is
    /// lost with their times.
    related: Vec<u64>,
}

/// How many attempts to place an operation one core is worth: some seconds.
const STEPS: u64 = 4_000_000;

/// Tries every order of each core's operations. It knows nothing of how they were found, and shares
/// no code with the engines. What else it takes to be believed is which of the other operations are
/// passed over: see `refutation/relaxed.rs`. If all is tried in vain, it is proved; to try all is
/// possible for some dozens of operations at most.
///
/// # Errors
/// That a core has an order, or is no core, or that not all could be tried.
pub fn refute(history: &History, refutation: &Refutation, budget: &Budget) -> Result<(), Doubt> {
    let meter = budget.start();
    if refutation.cores.is_empty() {
        return Err(Doubt::Wrong("it names no operations".into()));
    }
    let mut cores = refutation.cores.iter();
    cores.try_for_each(|core| impossible(history, refutation, core, STEPS, &meter))
}

fn impossible(
    history: &History,
    refutation: &Refutation,
    core: &Core,
    steps: u64,
    meter: &Meter,
) -> Result<(), Doubt> {
    if accounts::counts(refutation.model) {
        let asked = refutation.terms();
        let mut meter = meter.with_steps(steps);
        return accounts::impossible(history, &asked, core.key.as_ref(), &core.ops, &mut meter);
    }
    let (mut found, mut tried) = (Ok(()), None);
    for level in 0..relaxed::levels(refutation.model) {
        let puzzle = relaxed::puzzle(history, refutation, core, level, &mut meter.clone())?;
        if tried.as_ref() == Some(&puzzle.relaxed) {
            continue;
        }
        found = match puzzle.has_order(&mut meter.with_steps(steps)) {
            Ok(false) => return Ok(()),
            Ok(true) => Err(Doubt::Wrong(format!("ops {:?} have an order", core.ops))),
            Err(why) => Err(why.into()),
        };
        tried = Some(puzzle.relaxed);
        meter.look(0)?;
    }
    found
}

impl Puzzle<'_> {
    /// Whether what has happened can be placed, in agreement with time.
    fn has_order(&self, meter: &mut Meter) -> Result<bool, Exhausted> {
        let set = |is: &dyn Fn(&Kept) -> bool| {
            let kept = self.kept.iter().enumerate().filter(|(_, kept)| is(kept));
            kept.fold(0u64, |set, (i, _)| set | 1 << i)
        };
        let must = set(&|kept| kept.must);
        let orders = self.kept.iter().map(|own| {
            let before = set(&|other| other.must && self.precedes(other.op, own.op));
            (before, set(&|other| self.precedes(own.op, other.op)))
        });
        let orders: Vec<(u64, u64)> = orders.collect();
        let none = vec![0u16; self.relaxed.len()];
        let starts = self
            .starts
            .iter()
            .map(|start| (0u64, none.clone(), start.copy()));
        let mut open: Vec<_> = starts.collect();
        let (mut seen, mut bytes) = (HashSet::new(), 0);
        while let Some((placed, used, object)) = open.pop() {
            if must & !placed == 0 {
                return Ok(true);
            }
            let state = format!("{object:?}");
            bytes += 64 + 2 * (state.len() + 2 * used.len()) as u64;
            if !seen.insert((placed, used.clone(), state)) {
                continue;
            }
            for (i, kept) in self.kept.iter().enumerate() {
                meter.tick(bytes)?;
                let (before, after) = orders[i];
                if placed & (1 << i | after) == 0 && before & !placed == 0 {
                    let then = kept.piece.after(&*object);
                    open.extend(then.map(|then| (placed | 1 << i, used.clone(), then)));
                }
            }
            for (i, relaxed) in self.relaxed.iter().enumerate() {
                meter.tick(bytes)?;
                let Place { before, after } = relaxed.place;
                let fits = placed & before == 0 && after & !placed == 0;
                if fits
                    && relaxed.count.is_none_or(|count| used[i] < count)
                    && let Some(then) = relaxed.piece.after(&*object)
                {
                    let mut used = used.clone();
                    used[i] += u16::from(relaxed.count.is_some());
                    open.push((placed, used, then));
                }
            }
        }
        Ok(false)
    }

    /// Whether time orders them.
    fn precedes(&self, a: &Op, b: &Op) -> bool {
        match self.scope {
            Scope::Realtime => a.precedes(b),
            Scope::Process => a.process == b.process && a.precedes(b),
            Scope::Data => false,
        }
    }
}
