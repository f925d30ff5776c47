//! Linearizability of registers with compare-and-set (Herlihy and Wing 1990).
//!
//! Every key is judged by itself:
//!
//! - by [`zones`] where written values are unique: linear, at any concurrency, whatever was lost;
//! - by [`versions`] where answers say where in the system's own order they are true, and that
//!   holds;
//! - otherwise by [`frontier`] and [`search`], which take turns ([`decide`]): exponential in the
//!   concurrency at worst, so they can run out of their budget.
//!
//! `valid` can be had with a [`Certificate`], which [`verify`](crate::verify) accepts or refuses on
//! its own; `invalid` comes with the few operations that cannot be ordered.

pub(crate) mod core;
mod culprits;
pub mod decide;
pub mod frontier;
pub(crate) mod gauges;
pub mod model;
pub(crate) mod numbers;
pub(crate) mod parts;
mod reason;
pub mod search;
mod texts;
pub mod versions;
pub mod window;
pub mod zones;

use history::word::Stored;
use history::wording::{counted, either, noun, with_first};
use history::{History, Value};

pub(crate) use reason::have_an_order;
pub use texts::Texts;

use self::core::Core;
use self::decide::Outcome;
use self::model::Register;
use self::parts::{Flaw, Part};
use crate::consistency::Scope;
use crate::counts::{
    JUDGED, KEYS, KEYS_FOUND_WRONG, KEYS_UNDECIDED, UNKNOWN_OUTCOME, WRONG_KEYS, told_wrong,
};
use crate::model::{Choice, Model, unwrapped};
use crate::{
    Analysis, Anomaly, Budget, Certificate, Checker, Exhausted, Figure, Meter, Order, ranks,
    threads,
};

/// As many as are told with their evidence, the first of each wrong key before others. All are
/// counted, and all wrong keys are named.
const MOST_ANOMALIES: usize = 16;

/// Below so many operations a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 50_000;

/// Judges operations `read`, `write` and `cas`; it passes over all others. `get` and `put` are
/// other names for the first two.
///
/// | f | invoked with | answered with |
/// | --- | --- | --- |
/// | `read` | nil | the value |
/// | `write` | the value | |
/// | `cas` | `[from, to]` | |
///
/// With keys, each is wrapped: `[key, nil]`, `[key, value]`, `[key, [from, to]]`. A `cas` that
/// found something else is `fail`, and did not happen.
#[derive(Clone, Debug)]
pub struct Registers {
    keyed: bool,
    initial: Value,
    engine: Option<Engine>,
}

/// How a key is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Zones,
    Versions,
    Frontier,
    Search,
}

impl Registers {
    /// Many registers, each with a key.
    pub fn keyed() -> Registers {
        Registers {
            keyed: true,
            ..Registers::single()
        }
    }

    /// One register.
    pub fn single() -> Registers {
        Registers {
            keyed: false,
            initial: Value::Nil,
            engine: None,
        }
    }

    /// What a register holds before it is written; nil unless this says otherwise.
    pub fn with_initial(mut self, initial: Value) -> Registers {
        self.initial = initial;
        self
    }

    /// Uses one engine for all keys, instead of the one that fits each. Zones and versions do not
    /// fit every history.
    pub fn with_engine(mut self, engine: Engine) -> Registers {
        self.engine = Some(engine);
        self
    }

    /// Whether they have keys, and what they hold at the start.
    pub(crate) fn objects(&self) -> (bool, &Value) {
        (self.keyed, &self.initial)
    }

    /// An order for every key.
    ///
    /// # Errors
    /// The analysis that [`Checker::check`] gives, if the history is not found to be linearizable.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let meter = budget.start();
        let parts = parts::split(self, history, &meter).map_err(|e| unreadable(&e))?;
        let judged = self.judge(&parts, true, &meter);
        let orders = judged.iter().map(|j| match &j.found {
            Found::Order(order) => order.as_ref(),
            _ => None,
        });
        match orders.collect::<Option<Vec<_>>>() {
            None => Err(self.analysis(&parts, &judged)),
            Some(orders) => Ok(Certificate {
                model: Model::CasRegister,
                keyed: self.keyed,
                initial: self.initial.clone(),
                scope: Scope::Realtime,
                orders: parts
                    .iter()
                    .zip(orders)
                    .map(|(part, order)| Order {
                        key: part.key.clone(),
                        ops: order.iter().map(|i| part.ids[*i as usize].into()).collect(),
                    })
                    .collect(),
            }),
        }
    }

    /// Key and content of a value; none if there should be a key and is not.
    #[inline]
    fn unwrap<'h>(&self, value: Stored<'h>) -> Option<(Option<Stored<'h>>, Stored<'h>)> {
        unwrapped(value, self.keyed, Stored::as_pair)
    }

    fn judge(&self, parts: &[Part], certify: bool, meter: &Meter) -> Vec<Judged> {
        let ops: usize = parts.iter().map(|p| p.ops.len()).sum();
        let held: usize = parts.iter().map(Part::bytes).sum();
        let threads = threads::for_items(ops, WORTH_A_THREAD).min(parts.len());
        let meter = meter.without(held as u64).share(threads);
        threads::map(threads, parts, |part| match &part.flaw {
            Some(flaw) if flaw.changes => Judged::new(Engine::Search, Found::Unreadable),
            flaw => {
                let judged = self.judge_part(part, certify, meter.clone());
                match judged.found {
                    // There may be an order without what cannot be read, and none with it.
                    Found::Order(_) if flaw.is_some() => Judged {
                        found: Found::Unreadable,
                        ..judged
                    },
                    _ => judged,
                }
            }
        })
    }

    fn judge_part(&self, part: &Part, certify: bool, meter: Meter) -> Judged {
        let follows = part.follows();
        let certify = certify || !follows.is_empty();
        let judged = self.by_ranks(part, certify, meter.clone());
        match &judged.found {
            Found::Order(Some(order)) if !ranks::keeps(order, &follows) => {}
            _ => return judged,
        }
        // Ranks say less than is known, and that is what the order made use of.
        let awaits = ranks::awaits(&follows, part.ops.len());
        let found = search::search_after(&Register, &part.ops, &awaits, &mut meter.clone());
        let found = match found {
            Ok(search::Found::Order(order)) => Found::Order(Some(order)),
            Ok(search::Found::Blocked(op)) => {
                Found::Blocked(op, core::core(&Register, &part.ops, &awaits, op, &meter))
            }
            Err(gave_up) => Found::GaveUp(gave_up),
        };
        Judged {
            engine: Engine::Search,
            found,
            ..judged
        }
    }

    /// By what ranks say.
    fn by_ranks(&self, part: &Part, certify: bool, mut meter: Meter) -> Judged {
        let mut not_unique = None;
        if self.engine.is_none_or(|engine| engine == Engine::Zones) {
            match zones::check(&part.ops, part.values(), &mut meter) {
                Err(why) => return Judged::new(Engine::Zones, Found::NoRoom(why)),
                Ok(Ok(zones::Found::Order(order))) => {
                    let order = certify.then(|| order.operations());
                    return Judged::new(Engine::Zones, Found::Order(order));
                }
                Ok(Ok(zones::Found::Violations(found))) => {
                    let wrong = culprits::of(&part.ops, part.values(), found, &mut meter);
                    return Judged::new(Engine::Zones, Found::Wrong(wrong));
                }
                Ok(Err(why)) if self.engine.is_some() => {
                    return Judged::new(Engine::Zones, Found::DoesNotFit(why));
                }
                Ok(Err(why)) => not_unique = Some(why),
            }
        }
        let mut no_order = None;
        if self.engine.is_none_or(|engine| engine == Engine::Versions)
            && part.versions.len() == part.ops.len()
        {
            match versions::order(&part.ops, &part.versions, &mut meter) {
                Err(why) => return Judged::new(Engine::Versions, Found::NoRoom(why)),
                Ok(Ok(order)) => {
                    return Judged {
                        not_unique,
                        ..Judged::new(Engine::Versions, Found::Order(Some(order)))
                    };
                }
                Ok(Err(why)) => no_order = Some(why),
            }
        }
        if self.engine == Some(Engine::Versions) {
            return Judged::new(Engine::Versions, Found::NoVersions(no_order));
        }
        let decided = decide::decide(&part.ops, part.values(), self.engine, certify, &meter);
        let found = match decided.found {
            Ok(Outcome::Order(order)) => Found::Order(order),
            Ok(Outcome::Blocked(op, reach)) => {
                Found::Blocked(op, core::of_registers(&part.ops, op, reach, &meter))
            }
            Err(gave_up) => Found::GaveUp(gave_up),
        };
        Judged {
            not_unique,
            no_order,
            ..Judged::new(decided.engine, found)
        }
    }

    fn analysis(&self, parts: &[Part], judged: &[Judged]) -> Analysis {
        let operations: usize = parts.iter().map(|p| p.ops.len()).sum();
        if operations == 0 && parts.iter().all(|part| part.flaw.is_none()) {
            return Analysis::vacuous(
                self.name(),
                "the history has no read, write or cas that happened or may have",
            );
        }
        let mut found = WrongKeys::default();
        let mut unknown: Vec<String> = Vec::new();
        let mut searched: Option<String> = None;
        for (part, judged) in parts.iter().zip(judged) {
            match &judged.found {
                Found::Order(_) => {}
                Found::Wrong(wrong) => found.add(part, wrong),
                Found::Blocked(op, core) => found.add_one(part, reason::of_core(part, *op, core)),
                Found::GaveUp(gave_up) => unknown.push(reason::of_giving_up(part, gave_up)),
                Found::Unreadable => unknown.extend(part.flaw.iter().map(Flaw::to_string)),
                Found::DoesNotFit(why) => unknown.push(reason::of_searching(part, why)),
                Found::NoVersions(why) => unknown.push(reason::of_versions(part, why.as_ref())),
                Found::NoRoom(why) => {
                    unknown.push(format!(
                        "{}{why} while values were sorted",
                        reason::object(part)
                    ));
                }
            }
            if let (None, Some(why)) = (&searched, &judged.not_unique) {
                searched = Some(why_searched(part, why, judged));
            }
        }
        let weakness = weakness(parts, judged);
        let of = self.what(operations, parts.len());
        let used = engines_used(judged);
        // Of one key, and why it took more than the others.
        let searched = searched.map_or(String::new(), |why| format!("; {why}"));
        let wrong_keys = found.keys.len();
        let analysis = match (wrong_keys, unknown.first()) {
            (0, None) => {
                let weakness = weakness.map_or(String::new(), |why| format!("; {why}"));
                let have = either(operations, "has", "have");
                let summary = format!(
                    "{of} {have} an order that explains every answer ({used}){searched}{weakness}"
                );
                Analysis::valid(self.name(), summary)
            }
            (0, Some(why)) => {
                let rest = match unknown.len() - 1 {
                    0 => String::new(),
                    n => format!(" (and {n} more {})", noun(n, "key")),
                };
                Analysis::unknown(self.name(), format!("{of}: {why}{rest}"))
            }
            (_, _) => {
                let told = found.told();
                let summary = match self.keyed {
                    true => format!("{of}; {} ({used}); {told}", found.named()),
                    false => format!("{of}: no order explains them ({used}); {told}"),
                };
                let keys = found.keys.iter().map(|key| key.name.clone());
                let keys: Vec<_> = keys.filter(|_| self.keyed).collect();
                let analysis = found.into_analysis(Analysis::valid(self.name(), summary));
                match keys.is_empty() {
                    true => analysis,
                    false => analysis.with_figure(WRONG_KEYS.figure(keys)),
                }
            }
        };
        let wrong_and_unknown = (wrong_keys, unknown.len());
        let counts = counts(operations, parts, judged, wrong_and_unknown);
        counts.into_iter().fold(analysis, Analysis::with_figure)
    }

    /// `12 operations on 3 keys`.
    fn what(&self, operations: usize, keys: usize) -> String {
        let operations = counted(operations, "operation");
        match self.keyed {
            true => format!("{operations} on {}", counted(keys, "key")),
            false => operations,
        }
    }
}

fn counts(
    operations: usize,
    parts: &[Part],
    judged: &[Judged],
    (wrong, unknown): (usize, usize),
) -> [Figure; 9] {
    [
        (JUDGED, operations),
        (UNKNOWN_OUTCOME, parts.iter().map(|p| p.lost).sum()),
        (KEYS, parts.len()),
        (gauges::BY_ZONES, count_by(judged, Engine::Zones)),
        (gauges::BY_VERSIONS, count_by(judged, Engine::Versions)),
        (gauges::BY_FRONTIER, count_by(judged, Engine::Frontier)),
        (gauges::BY_SEARCH, count_by(judged, Engine::Search)),
        (KEYS_FOUND_WRONG, wrong),
        (KEYS_UNDECIDED, unknown),
    ]
    .map(|(gauge, count)| gauge.figure(count))
}

/// Keys that this engine judged.
fn count_by(judged: &[Judged], engine: Engine) -> usize {
    judged.iter().filter(|j| j.engine == engine).count()
}

/// `by zones`, or how many keys by each where there were several.
fn engines_used(judged: &[Judged]) -> String {
    let engines = [
        (Engine::Zones, "by zones"),
        (Engine::Versions, "by versions"),
        (Engine::Frontier, "by frontier"),
        (Engine::Search, "by search"),
    ];
    let counted = engines.map(|(engine, name)| (count_by(judged, engine), name));
    let used: Vec<_> = counted.iter().filter(|(n, _)| *n > 0).collect();
    match &used[..] {
        [(_, only)] => only.to_string(),
        several => {
            let counted = several.iter().map(|(n, name)| format!("{n} {name}"));
            counted.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Why a key took more than the others.
fn why_searched(part: &Part, why: &zones::NotUnique, judged: &Judged) -> String {
    let why = reason::of_searching(part, why);
    match &judged.no_order {
        None => why,
        Some(versions) => format!("{why}; {}", reason::of_versions(part, Some(versions))),
    }
}

/// Of a key that was searched, what its order does not show.
fn weakness(parts: &[Part], judged: &[Judged]) -> Option<String> {
    let mut searched = parts.iter().zip(judged);
    let mut searched = searched.by_ref().filter(|(_, j)| j.not_unique.is_some());
    searched.find_map(|(part, judged)| match judged.found {
        Found::Order(_) => Some(format!(
            "{}{}",
            reason::object(part),
            reason::weakness(part)?
        )),
        _ => None,
    })
}

impl Checker for Registers {
    fn name(&self) -> &str {
        "linearizable"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let meter = budget.start();
        match parts::split(self, history, &meter) {
            Ok(parts) => self.analysis(&parts, &self.judge(&parts, false, &meter)),
            Err(e) => unreadable(&e),
        }
    }

    fn asks(&self) -> Option<Choice> {
        let choice = Choice::of_objects(Model::CasRegister, self.keyed);
        Some(choice.with_initial(self.initial.clone()))
    }
}

fn unreadable(e: &parts::Unreadable) -> Analysis {
    Analysis::unknown("linearizable", e.to_string())
}

/// What is wrong, by key.
#[derive(Default)]
struct WrongKeys {
    keys: Vec<WrongKey>,
    count: usize,
    /// The budget ended before all were counted.
    at_least: bool,
}

struct WrongKey {
    name: String,
    /// In order of time.
    anomalies: Vec<Anomaly>,
}

impl WrongKeys {
    fn add(&mut self, part: &Part, wrong: &culprits::Wrong) {
        let told = wrong.violations.iter();
        self.count += wrong.count;
        self.at_least |= !wrong.all;
        self.keys.push(WrongKey {
            name: part.key.as_ref().map_or(String::new(), Value::to_string),
            anomalies: told.map(|v| reason::of_violation(part, v)).collect(),
        });
        self.keys.sort_by_key(|key| seen(&key.anomalies[0]));
    }

    fn add_one(&mut self, part: &Part, anomaly: Anomaly) {
        self.count += 1;
        self.keys.push(WrongKey {
            name: part.key.as_ref().map_or(String::new(), Value::to_string),
            anomalies: vec![anomaly],
        });
        self.keys.sort_by_key(|key| seen(&key.anomalies[0]));
    }

    fn named(&self) -> String {
        let names: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        told_wrong(&names)
    }

    fn told(&self) -> String {
        let first = self.keys.first().map_or("", |key| &key.anomalies[0].kind);
        let told = with_first(self.count, "anomaly", first);
        match self.at_least {
            true => format!("at least {told}"),
            false => told,
        }
    }

    fn into_analysis(self, analysis: Analysis) -> Analysis {
        let mut firsts: Vec<Anomaly> = Vec::new();
        let mut others: Vec<Anomaly> = Vec::new();
        for key in self.keys {
            let mut anomalies = key.anomalies.into_iter();
            firsts.extend(anomalies.next());
            others.extend(anomalies);
        }
        firsts.truncate(MOST_ANOMALIES);
        others.sort_by_key(seen);
        others.truncate(MOST_ANOMALIES - firsts.len());
        firsts.append(&mut others);
        firsts.sort_by_key(seen);
        analysis.with_anomalies(firsts, self.count)
    }
}

/// A violation is there to be seen when the last of its operations has been called.
fn seen(anomaly: &Anomaly) -> Option<u64> {
    anomaly.ops.iter().copied().max()
}

/// What came of one key.
struct Judged {
    engine: Engine,
    /// Why zones did not fit, if they were tried.
    not_unique: Option<zones::NotUnique>,
    /// Why versions did not do, if there are some and they were tried.
    no_order: Option<versions::NoOrder>,
    found: Found,
}

enum Found {
    /// The order, if it was asked for.
    Order(Option<Vec<u32>>),
    Wrong(culprits::Wrong),
    Blocked(u32, Core),
    GaveUp(search::GaveUp),
    NoRoom(Exhausted),
    /// An operation cannot be read, and the others show nothing.
    Unreadable,
    DoesNotFit(zones::NotUnique),
    /// None: there are no versions.
    NoVersions(Option<versions::NoOrder>),
}

impl Judged {
    fn new(engine: Engine, found: Found) -> Judged {
        Judged {
            engine,
            not_unique: None,
            no_order: None,
            found,
        }
    }
}
