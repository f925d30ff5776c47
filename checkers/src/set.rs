//! Linearizability of a set that only grows and is read whole (Jepsen's `set-full`, made exact).
//!
//! Reads of one growing set form a chain by inclusion, and an element belongs in front of the first
//! read that has it:
//!
//! ```text
//! adds of what is in the first read | reads equal to the first | adds of what is new in the next | ...
//! ```
//!
//! Any order that explains the history is of this form, up to the order within a column, so one
//! sweep against real time decides: nothing may have returned before something that stands ahead of
//! it was invoked. Linear in the sum of the reads' lengths, after sorting.
//!
//! An element may be added more than once: only the first that takes effect matters, and it does so
//! between the first call and the first return. An add of unknown outcome happened iff it was seen.

mod given;

use history::wording::{counted, either};
use history::{History, Op, Outcome, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use self::given::Given;
use crate::consistency::Scope;
use crate::figure::{Gauge, Part};
use crate::findings::Findings;
use crate::linearizable::model::Model;
use crate::model::{self, Choice};
use crate::objects::{Untried, try_all};
use crate::ranks;
use crate::{Analysis, Anomaly, Budget, Certificate, Checker, Exhausted, Meter, Order, Verdict};

const ADDS: Gauge = Gauge::count("adds");
const ACKNOWLEDGED: Gauge = Gauge::count("adds acknowledged");
const READS: Gauge = Gauge::count("reads");
const LOST: Gauge = Gauge::new(
    "elements lost",
    "",
    &[Part::WHOLE
        .called(
            "lost acknowledgements",
            "Elements whose addition was acknowledged and that a later read does not show.",
        )
        .lower()
        .headline()],
);

pub(crate) const GAUGES: &[Gauge] = &[LOST, ADDS, ACKNOWLEDGED, READS];

/// Judges operations `add` (with the element) and `read` (answered with a list of all elements).
#[derive(Clone, Copy, Debug, Default)]
pub struct GrowOnlySet;

/// Never read.
const NEVER: usize = usize::MAX;

/// An operation with the [ranks](crate::ranks) of its events.
#[derive(Clone, Copy)]
struct Timed<'h> {
    op: &'h Op,
    call: u32,
    /// [`search::NEVER`] if nobody knows its outcome.
    ret: u32,
}

struct Element<'h> {
    value: &'h Value,
    /// The add that was invoked first among those that did not fail.
    first_call: Option<Timed<'h>>,
    /// The add that returned first.
    first_ret: Option<Timed<'h>>,
    failed: Option<&'h Op>,
    /// Which group of equal reads has it first.
    since: usize,
}

struct Read<'h> {
    op: Timed<'h>,
    /// Numbers of elements, without repetition.
    elements: Vec<u32>,
    group: usize,
}

impl Checker for GrowOnlySet {
    fn name(&self) -> &str {
        "set"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match judge(history, &mut budget.start()) {
            Ok((analysis, _)) => analysis,
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }

    fn asks(&self) -> Option<Choice> {
        Some(Choice::of_objects(model::Model::Set, false))
    }
}

impl GrowOnlySet {
    /// The columns, one after the other.
    ///
    /// # Errors
    /// The analysis that [`Checker::check`] gives, if the history is not found to be linearizable.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        match judge(history, &mut budget.start()) {
            Ok((found, ops)) if found.verdict == Verdict::Valid => Ok(Certificate {
                model: model::Model::Set,
                keyed: false,
                initial: Value::Nil,
                scope: Scope::Realtime,
                orders: vec![Order { key: None, ops }],
            }),
            Ok((analysis, _)) => Err(analysis),
            Err(why) => Err(Analysis::unknown(self.name(), why.to_string())),
        }
    }
}

fn summary(
    adds: &[(u32, Timed)],
    reads: &[Read],
    (acknowledged, lost): (usize, usize),
    found: &Found,
) -> String {
    format!(
        "{} ({acknowledged} acknowledged) and {}: {}",
        counted(adds.len(), "add"),
        counted(reads.len(), "read"),
        match (lost, found.all.is_empty()) {
            (0, true) => "an order explains them all".to_string(),
            (0, false) => format!("no order explains them; {}", found.all.told()),
            (n, _) => format!(
                "{} {} lost; {}",
                counted(n, "element"),
                either(n, "is", "are"),
                found.all.told()
            ),
        }
    )
}

/// The analysis, and if it is valid the order.
fn judge(history: &History, meter: &mut Meter) -> Result<(Analysis, Vec<u64>), Exhausted> {
    let name = GrowOnlySet.name();
    let mut found = Found::default();
    let Given {
        mut elements,
        adds,
        reads,
        follows,
        unread,
    } = Given::read(history, &mut found, meter)?;
    created(&elements, &reads, &mut found);
    let lost = lost(&elements, &reads, &mut found);
    let reads = chain(&mut elements, reads, &mut found, meter)?;
    let items = items(&elements, &reads);
    sweep(&items, &reads, &mut found);
    let nothing = adds.is_empty() || reads.is_empty();
    if found.all.is_empty() && nothing && unread.is_none() {
        let why =
            "the history lacks adds, or reads that were answered: there is nothing to compare";
        return Ok((Analysis::vacuous(name, why), Vec::new()));
    }
    let mut order = order(&items, &adds);
    let in_order: Vec<u32> = order.iter().map(|op| *op as u32).collect();
    if found.all.is_empty() && !ranks::keeps(&in_order, &follows) {
        match tried(&adds, &reads, &follows, meter) {
            Ok(found) => order = found,
            Err(Untried::Wrong(anomaly)) => {
                let kind = anomaly.kind.clone();
                found.all.add(&kind, || *anomaly);
            }
            Err(Untried::Unknown(why)) => return Ok((Analysis::unknown(name, why), Vec::new())),
        }
    }

    let acknowledged = adds
        .iter()
        .filter(|(_, add)| add.op.outcome == Outcome::Ok)
        .count();
    let summary = summary(&adds, &reads, (acknowledged, lost), &found);
    let fine = match unread {
        Some(why) if found.all.is_empty() => Analysis::unknown(name, why),
        _ => Analysis::valid(name, summary),
    };
    let analysis = (found.all.into_analysis(fine))
        .with_figure(ADDS.figure(adds.len()))
        .with_figure(ACKNOWLEDGED.figure(acknowledged))
        .with_figure(READS.figure(reads.len()))
        .with_figure(LOST.figure(lost));
    Ok((analysis, order))
}

/// The set itself, for the general search: elements by number.
struct Grown;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Add(u32),
    /// It had these, sorted.
    Read(Vec<u32>),
}

impl Model for Grown {
    type State = Vec<u32>;
    type Op = Action;

    fn init(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u32>, op: &Action) -> Option<Vec<u32>> {
        match op {
            Action::Read(elements) => (state == elements).then(|| state.clone()),
            Action::Add(element) => {
                let mut then = state.clone();
                if let Err(at) = then.binary_search(element) {
                    then.insert(at, *element);
                }
                Some(then)
            }
        }
    }

    fn reads_only(&self, op: &Action) -> bool {
        matches!(op, Action::Read(_))
    }
}

/// An order by the general search, where ranks say less than is known and the columns made use of
/// that.
fn tried(
    adds: &[(u32, Timed)],
    reads: &[Read],
    follows: &[(u32, u32)],
    meter: &mut Meter,
) -> Result<Vec<u64>, Untried> {
    let happened = adds
        .iter()
        .filter(|(_, add)| add.op.outcome != Outcome::Fail);
    let happened = happened.map(|(element, add)| (*add, Action::Add(*element)));
    let reads = reads
        .iter()
        .map(|read| (read.op, Action::Read(read.elements.clone())));
    let mut all: Vec<(Timed, Action)> = happened.chain(reads).collect();
    all.sort_by_key(|(timed, _)| (timed.call, timed.op.index));
    let ops = all
        .into_iter()
        .map(|(timed, action)| (timed.op, (timed.call, timed.ret), action));
    try_all(&Grown, ops.collect(), follows, meter)
}

/// Anomalies, each operation's once.
#[derive(Default)]
struct Found {
    all: Findings,
    known: FxHashSet<Vec<u64>>,
}

impl Found {
    fn add(&mut self, kind: &'static str, ops: Vec<u64>, reason: String) {
        // What is lost is stale too; once is enough.
        if self.known.insert(ops.clone()) {
            self.all.add(kind, || Anomaly {
                ops,
                reason,
                ..Anomaly::default()
            });
        }
    }
}

/// Elements that are there although nobody added them.
fn created(elements: &[Element], reads: &[Read], found: &mut Found) {
    let mut told = vec![false; elements.len()];
    for read in reads {
        for e in &read.elements {
            let element = &elements[*e as usize];
            if element.first_call.is_some() || std::mem::replace(&mut told[*e as usize], true) {
                continue;
            }
            let (value, op) = (element.value, read.op.op.index);
            match element.failed {
                None => {
                    let reason = format!("the read (op {op}) has {value}, which nobody added");
                    found.add("element from nowhere", vec![op], reason);
                }
                Some(add) => {
                    let reason = format!(
                        "the read (op {op}) has {value}, but its add (op {}) failed: it did not happen",
                        add.index
                    );
                    found.add("aborted read", vec![op, add.index], reason);
                }
            }
        }
    }
}

/// Elements that were known to be there before the last read was invoked, and are not in it.
fn lost(elements: &[Element], reads: &[Read], found: &mut Found) -> usize {
    let Some(last) = reads.iter().max_by_key(|read| read.op.call) else {
        return 0;
    };
    // The read that returned first with each element.
    let mut seen: Vec<Option<Timed>> = vec![None; elements.len()];
    for read in reads {
        for e in &read.elements {
            let seen = &mut seen[*e as usize];
            if seen.is_none_or(|known| read.op.ret < known.ret) {
                *seen = Some(read.op);
            }
        }
    }
    let mut lost = 0;
    for (e, element) in elements.iter().enumerate() {
        let add = element
            .first_ret
            .filter(|add| add.op.outcome == Outcome::Ok);
        let known = [add, seen[e]].into_iter().flatten().min_by_key(|op| op.ret);
        let Some(known) = known.filter(|op| op.ret < last.op.call) else {
            continue;
        };
        if last.elements.binary_search(&(e as u32)).is_ok() {
            continue;
        }
        lost += 1;
        let how = match known.op.f.as_str() {
            "add" => "was acknowledged",
            _ => "was read",
        };
        let reason = format!(
            "{} {how} (op {}) before the last read (op {}) was invoked, which does not have it",
            element.value, known.op.index, last.op.op.index
        );
        found.add(
            "lost element",
            vec![known.op.index, last.op.op.index],
            reason,
        );
    }
    lost
}

/// Orders reads by inclusion, and finds for each element where it begins. Reads that do not fit are
/// reported and left out.
fn chain<'h>(
    elements: &mut [Element],
    mut reads: Vec<Read<'h>>,
    found: &mut Found,
    meter: &mut Meter,
) -> Result<Vec<Read<'h>>, Exhausted> {
    reads.sort_by_key(|read| read.elements.len());
    let mut chain: Vec<Read> = Vec::with_capacity(reads.len());
    for mut read in reads {
        let (group, before) = match chain.last() {
            None => (0, 0),
            Some(last) if last.elements.len() == read.elements.len() => {
                (last.group, last.elements.len())
            }
            Some(last) => (last.group + 1, last.elements.len()),
        };
        meter.tick(0)?;
        let known = read
            .elements
            .iter()
            .filter(|e| elements[**e as usize].since != NEVER)
            .count();
        if let Some(last) = chain.last().filter(|_| known < before) {
            let lacks = last
                .elements
                .iter()
                .find(|e| read.elements.binary_search(e).is_err());
            let has = read
                .elements
                .iter()
                .find(|e| last.elements.binary_search(e).is_err());
            let (Some(lacks), Some(has)) = (lacks, has) else {
                unreachable!(
                    "it is no smaller and does not contain the other, so both lack something"
                );
            };
            let reason = format!(
                "one read (op {}) has {} and not {}, another (op {}) has {} and not {}: a set that \
                 only grows cannot have been both",
                last.op.op.index,
                elements[*lacks as usize].value,
                elements[*has as usize].value,
                read.op.op.index,
                elements[*has as usize].value,
                elements[*lacks as usize].value
            );
            found.add(
                "incomparable reads",
                vec![last.op.op.index, read.op.op.index],
                reason,
            );
            continue;
        }
        for e in &read.elements {
            let since = &mut elements[*e as usize].since;
            *since = (*since).min(group);
        }
        read.group = group;
        chain.push(read);
    }
    Ok(chain)
}

/// An operation in its column: what returned first and what was invoked last, of those that are
/// one.
#[derive(Clone, Copy)]
struct Item<'h> {
    column: usize,
    ret: Timed<'h>,
    call: Timed<'h>,
    element: Option<&'h Value>,
}

/// What happened, column by column.
fn items<'h>(elements: &[Element<'h>], reads: &[Read<'h>]) -> Vec<Item<'h>> {
    let adds = elements.iter().filter_map(|element| {
        let (call, ret) = (element.first_call?, element.first_ret?);
        let column = element.since.saturating_mul(2);
        // What nobody saw and nobody was told of did not happen.
        let happened = element.since != NEVER || ret.op.outcome == Outcome::Ok;
        happened.then_some(Item {
            column,
            ret,
            call,
            element: Some(element.value),
        })
    });
    let reads_items = reads.iter().map(|read| Item {
        column: 2 * read.group + 1,
        ret: read.op,
        call: read.op,
        element: None,
    });
    let mut items: Vec<Item> = adds.chain(reads_items).collect();
    items.sort_by_key(|item| (item.column, item.call.call));
    items
}

/// Every item at the latest call up to it; of several adds of one element, one that is open then.
/// The others that returned stand where they can behind it, and do nothing.
fn order(items: &[Item], adds: &[(u32, Timed)]) -> Vec<u64> {
    let mut latest = 0;
    let mut placed: FxHashMap<&Value, (u32, u64)> = FxHashMap::default();
    let mut points: Vec<(u32, u64)> = Vec::with_capacity(items.len());
    for item in items {
        latest = latest.max(item.call.call);
        let op = match item.ret.call <= latest {
            true => item.ret,
            false => item.call,
        };
        points.push((latest, op.op.index));
        if let Some(element) = item.element {
            placed.insert(element, (latest, op.op.index));
        }
    }
    for (_, add) in adds.iter().filter(|(_, add)| add.op.outcome == Outcome::Ok) {
        if let Some((point, op)) = placed.get(&add.op.input)
            && *op != add.op.index
        {
            points.push((add.call.max(*point), add.op.index));
        }
    }
    points.sort_by_key(|(point, _)| *point);
    points.into_iter().map(|(_, op)| op).collect()
}

/// Holds the columns against real time.
fn sweep(items: &[Item], reads: &[Read], found: &mut Found) {
    // The last call in earlier columns, and in those before the current one.
    let mut latest: Option<Item> = None;
    let mut pending: Option<Item> = None;
    for (i, item) in items.iter().enumerate() {
        if i > 0 && items[i - 1].column != item.column {
            latest = pending;
        }
        if let Some(late) = latest.filter(|late| item.ret.ret < late.call.call) {
            inverted(&late, item, reads, found);
        }
        if pending.is_none_or(|p| p.call.call < item.call.call) {
            pending = Some(*item);
        }
    }
}

/// `early` returned before `late` was invoked, but belongs behind it.
fn inverted(late: &Item, early: &Item, reads: &[Read], found: &mut Found) {
    let (late_op, early_op) = (late.call.op.index, early.ret.op.index);
    match (late.element, early.element) {
        (None, Some(value)) => found.add(
            "stale read",
            vec![early_op, late_op],
            format!(
                "the add of {value} (op {early_op}) had returned before the read (op {late_op}) was \
                 invoked, which does not have it"
            ),
        ),
        (None, None) => found.add(
            "stale read",
            vec![early_op, late_op],
            format!(
                "the read (op {late_op}) was invoked after another (op {early_op}) had returned, and \
                 has less"
            ),
        ),
        (Some(value), None) => found.add(
            "future read",
            vec![early_op, late_op],
            format!(
                "the read (op {early_op}) has {value}, or follows one that does, and had returned \
                 before its add (op {late_op}) was invoked"
            ),
        ),
        (Some(second), Some(first)) => {
            // Some read has the second and not the first, or they would be in one column.
            let group = late.column / 2;
            let witness = reads.iter().find(|read| read.group == group).map(|read| read.op.op.index);
            let between = witness.map(|op| format!(" (op {op})")).unwrap_or_default();
            found.add(
                "order inverted",
                [early_op, late_op].into_iter().chain(witness).collect(),
                format!(
                    "the add of {first} (op {early_op}) had returned before the add of {second} (op \
                     {late_op}) was invoked, but a read{between} has {second} and not {first}"
                ),
            );
        }
    }
}
