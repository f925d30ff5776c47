//! A schedule as text: TOML that a person can read and edit.
//!
//! Everything wrong with a file is said at once, each with its line, the fault it belongs to and what
//! to write instead. Unknown keys are errors: a misspelt `lasts` would silently last for ever.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use history::Name;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draw::{one, settle_topology, settle_who};
use super::{Entry, Schedule, VERSION, What};
use crate::clock::{Clock, Warp};
use crate::kill::Kill;
use crate::packet::{Effect, Packet};
use crate::partition::{Partition, SPLITS, Topology};
use crate::pause::Pause;
use crate::registry::{FAMILIES, Family, Shape, WHO, nearest};
use crate::targets::Targets;
use crate::units::{
    read_delta, read_duration, read_share, write_delta, write_duration, write_share,
};

/// Every key that some fault has.
const KEYS: &[&str] = &[
    "at",
    "lasts",
    "family",
    "shape",
    "targets",
    "bridge",
    "delta",
    "period",
    "rate_ppm",
    "pause",
    "delay",
    "jitter",
    "share",
    "rate_kbit",
];

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Which bytes of the text.
    pub at: Range<usize>,
    /// Which fault, from 1 in the order of the file.
    pub fault: Option<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if let Some(fault) = self.fault {
            write!(f, "fault {fault}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Why a schedule could not be read or written.
#[derive(Debug, Error)]
pub enum ScheduleError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}", problems.iter().map(|p| format!("{}:{p}", path.display())).collect::<Vec<_>>().join("\n"))]
    Invalid {
        path: PathBuf,
        /// The whole text, to show the places in.
        text: String,
        problems: Vec<Problem>,
    },
}

impl Schedule {
    /// Reads a schedule for a run on these nodes.
    pub fn load(path: &Path, nodes: &[Name]) -> Result<Schedule, ScheduleError> {
        let text = fs::read_to_string(path).map_err(|source| ScheduleError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Schedule::parse(&text, nodes).map_err(|problems| ScheduleError::Invalid {
            path: path.to_path_buf(),
            text,
            problems,
        })
    }

    /// Writes it so that [`Schedule::load`] gives the same again.
    pub fn save(&self, path: &Path) -> Result<(), ScheduleError> {
        fs::write(path, self.to_string()).map_err(|source| ScheduleError::Write {
            path: path.to_path_buf(),
            source,
        })
    }

    /// Reads a schedule, settling what it leaves open. All problems, or none.
    pub fn parse(text: &str, nodes: &[Name]) -> Result<Schedule, Vec<Problem>> {
        let root = DeTable::parse(text).map_err(|e| {
            vec![problem(
                text,
                e.span().unwrap_or(0..0),
                None,
                e.message().to_string(),
                None,
            )]
        })?;
        let mut problems = Vec::new();
        let mut head = Fields::new(text, root.get_ref(), 0..0, None);
        let version = head.integer("version");
        if version.is_none() && head.problems.is_empty() {
            head.complain(
                0..0,
                "has no version",
                Some(format!("begin with version = {VERSION}")),
            );
        }
        if let Some((version, at)) = version
            && version != i128::from(VERSION)
        {
            let message =
                format!("is of version {version}, and this program reads version {VERSION}");
            head.complain(at, message, None);
        }
        let seed = match head.value("seed") {
            None => 0,
            Some(value) => {
                let at = value.span();
                // TOML's whole numbers end at 2^63; a seed beyond stands in quotes.
                let seed = match value.get_ref() {
                    DeValue::String(s) => s.parse().ok(),
                    DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix()).ok(),
                    _ => None,
                };
                seed.unwrap_or_else(|| {
                    head.complain(at, "seed is no whole number from 0 to 2^64 - 1", None);
                    0
                })
            }
        };
        let faults = match head.value("fault").map(|v| (v.span(), v.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(faults))) => faults.iter().collect(),
            Some((at, _)) => {
                let hint = "each fault is a table under its own [[fault]]";
                head.complain(at, "fault is no list of tables", Some(hint.into()));
                Vec::new()
            }
        };
        head.finish(&["version", "seed", "fault"], &mut problems);

        let mut entries = Vec::new();
        for (i, fault) in faults.into_iter().enumerate() {
            let span = fault.span();
            let Some(table) = fault.get_ref().as_table() else {
                let hint = "each fault is a table under its own [[fault]]";
                problems.push(problem(
                    text,
                    span,
                    Some(i + 1),
                    "is no table".into(),
                    Some(hint.into()),
                ));
                continue;
            };
            let mut fields = Fields::new(text, table, span, Some(i + 1));
            let entry = read_entry(&mut fields, seed, i, nodes);
            let places = fields.places();
            let mut allowed = fields.asked.clone();
            allowed.sort_by_key(|key| KEYS.iter().position(|k| k == key));
            allowed.dedup();
            fields.finish(&allowed, &mut problems);
            entries.extend(entry.map(|entry| (i, entry, places)));
        }

        // What was not understood is already said; the rest is looked at as a whole.
        let schedule = Schedule {
            seed,
            entries: entries.iter().map(|(_, entry, _)| entry.clone()).collect(),
        };
        for complaint in schedule.check(nodes) {
            let (number, _, places) = &entries[complaint.entry];
            let at = places.get(complaint.key).or(places.get("")).cloned();
            let at = at.unwrap_or(0..0);
            problems.push(problem(
                text,
                at,
                Some(number + 1),
                complaint.message,
                complaint.hint,
            ));
        }
        match problems.is_empty() {
            true => Ok(schedule),
            false => {
                problems.sort_by_key(|p| (p.at.start, p.at.end));
                Err(problems)
            }
        }
    }
}

/// One fault. None: something is wrong with it, and the fields know what.
fn read_entry(fields: &mut Fields, seed: u64, number: usize, nodes: &[Name]) -> Option<Entry> {
    let at = fields.required("at", "\"2.5s\"", read_duration);
    let lasts = fields.with("lasts", read_duration);
    let lasts_is_wrong = fields.has("lasts") && lasts.is_none();
    let families: Vec<&str> = FAMILIES.iter().map(|l| l.family.name()).collect();
    let family = fields.required("family", "\"partition\"", |text| {
        Family::named(text).ok_or_else(|| unknown("fault family", text, &families))
    });
    let Some(family) = family else {
        // Without a family nobody can say which other keys are right.
        fields.asked.extend(KEYS);
        return None;
    };
    let shape = match family.shapes_are_targets() {
        true => None,
        false => {
            let names: Vec<&str> = family.listing().shapes.iter().map(|s| s.name).collect();
            let example = format!("{:?}", names[0]);
            let what = format!("shape of a {family}");
            let shape = fields.required("shape", &example, |text| {
                family
                    .shape(text)
                    .ok_or_else(|| unknown(&what, text, &names))
            });
            if shape.is_none() {
                fields.asked.extend(KEYS);
                return None;
            }
            shape
        }
    };
    let before = fields.problems.len();
    let what = match (family, shape) {
        (Family::Pause, _) => fields
            .targets(seed, number, nodes)
            .map(|targets| What::Pause(Pause { targets })),
        (Family::Kill, _) => fields
            .targets(seed, number, nodes)
            .map(|targets| What::Kill(Kill { targets })),
        (Family::Partition, Some(shape)) => read_topology(fields, shape, seed, number, nodes)
            .map(|topology| What::Partition(Partition { topology })),
        (Family::Clock, Some(shape)) => {
            let targets = fields.targets(seed, number, nodes);
            let warp = read_warp(fields, shape);
            targets
                .zip(warp)
                .map(|(targets, warp)| What::Clock(Clock { targets, warp }))
        }
        (Family::Packet, Some(shape)) => {
            let targets = fields.targets(seed, number, nodes);
            let effect = read_effect(fields, shape);
            targets
                .zip(effect)
                .map(|(targets, effect)| What::Packet(Packet { targets, effect }))
        }
        (_, None) => None,
    };
    if lasts_is_wrong || fields.problems.len() > before {
        return None;
    }
    Some(Entry {
        at: at?,
        lasts,
        what: what?,
    })
}

fn read_topology(
    fields: &mut Fields,
    shape: &'static Shape,
    seed: u64,
    number: usize,
    nodes: &[Name],
) -> Option<Topology> {
    match shape.name {
        "leader" => return Some(Topology::Leader),
        "one-way-in" => {
            return Some(Topology::OneWayIn {
                targets: fields.targets(seed, number, nodes)?,
            });
        }
        "one-way-out" => {
            return Some(Topology::OneWayOut {
                targets: fields.targets(seed, number, nodes)?,
            });
        }
        "no-response" => {
            return Some(Topology::NoResponse {
                targets: fields.targets(seed, number, nodes)?,
            });
        }
        _ => {}
    }
    let names = fields.names("targets");
    let bridge = match shape.name {
        "bridge" => fields.with("bridge", |text| Ok(Name::new(text))),
        _ => None,
    };
    let Some(names) = names else {
        let open = !fields.has("targets") && !fields.has("bridge");
        if open && nodes.len() >= shape.least_nodes {
            return Some(settle_topology(seed, number, shape, nodes));
        }
        if open {
            let message = format!(
                "{} needs {} nodes or more, and there are {}",
                shape.name,
                shape.least_nodes,
                nodes.len()
            );
            fields.complain(fields.place("shape"), message, None);
        } else if !fields.has("targets") {
            fields.complain(
                fields.place("bridge"),
                "a bridge without `targets`, the nodes on one side of it",
                None,
            );
        }
        return None;
    };
    Some(match shape.name {
        "majorities-ring" => Topology::MajoritiesRing { order: names },
        "bridge" => match bridge {
            Some(bridge) => Topology::Bridge {
                bridge,
                side: names,
            },
            None if fields.has("bridge") => return None,
            None => {
                let hint = Some("write bridge = \"n3\"".to_string());
                fields.complain(
                    fields.place("shape"),
                    "a bridge between two sides needs `bridge`",
                    hint,
                );
                return None;
            }
        },
        "partial" => match <[Name; 2]>::try_from(names) {
            Ok([a, b]) => Topology::Partial { a, b },
            Err(names) => {
                let message = format!(
                    "partial is between two nodes, and {} are named",
                    names.len()
                );
                fields.complain(fields.place("targets"), message, None);
                return None;
            }
        },
        _ => {
            let (shape, _) = SPLITS.iter().find(|(name, _)| *name == shape.name)?;
            Topology::Split { shape, side: names }
        }
    })
}

fn read_warp(fields: &mut Fields, shape: &Shape) -> Option<Warp> {
    let delta = |f: &mut Fields| f.required("delta", "\"-30s\"", read_delta);
    match shape.name {
        "jump" => Some(Warp::Jump {
            delta_ns: delta(fields)?,
        }),
        "strobe" => {
            let delta_ns = delta(fields);
            let period = fields.required("period", "\"20ms\"", read_duration);
            Some(Warp::Strobe {
                delta_ns: delta_ns?,
                period: period?,
            })
        }
        "drift" => {
            let (rate_ppm, at) = fields.required_integer("rate_ppm", "5000")?;
            match i64::try_from(rate_ppm) {
                Ok(rate_ppm) => Some(Warp::Drift { rate_ppm }),
                Err(_) => {
                    fields.complain(at, "rate_ppm is too large", None);
                    None
                }
            }
        }
        kind => Some(Warp::Freeze {
            pause: fields.required("pause", "\"3s\"", read_duration)?,
            kept: kind == "freeze-kept",
        }),
    }
}

fn read_effect(fields: &mut Fields, shape: &Shape) -> Option<Effect> {
    let share = |f: &mut Fields| f.required("share", "\"20%\"", read_share);
    let delay = |f: &mut Fields| f.required("delay", "\"50ms\"", read_duration);
    match shape.name {
        "delay" => {
            let delay = delay(fields);
            let jitter = fields.with("jitter", read_duration);
            Some(Effect::Delay {
                delay: delay?,
                jitter: jitter.unwrap_or_default(),
            })
        }
        "duplicate" => Some(Effect::Duplicate {
            share_per_million: share(fields)?,
        }),
        "reorder" => {
            let (share, delay) = (share(fields), delay(fields));
            Some(Effect::Reorder {
                share_per_million: share?,
                delay: delay?,
            })
        }
        "corrupt" => Some(Effect::Corrupt {
            share_per_million: share(fields)?,
        }),
        "rate" => {
            let (rate_kbit, at) = fields.required_integer("rate_kbit", "1000")?;
            match u64::try_from(rate_kbit) {
                Ok(rate_kbit) => Some(Effect::Rate { rate_kbit }),
                Err(_) => {
                    fields.complain(at, "rate_kbit is no rate", None);
                    None
                }
            }
        }
        _ => Some(Effect::Loss {
            share_per_million: share(fields)?,
        }),
    }
}

/// A table's keys as they are asked for. What is never asked for does not belong there.
struct Fields<'t> {
    text: &'t str,
    table: &'t DeTable<'t>,
    span: Range<usize>,
    fault: Option<usize>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'t> Fields<'t> {
    fn new(
        text: &'t str,
        table: &'t DeTable<'t>,
        span: Range<usize>,
        fault: Option<usize>,
    ) -> Self {
        let (asked, problems) = (Vec::new(), Vec::new());
        Fields {
            text,
            table,
            span,
            fault,
            asked,
            problems,
        }
    }

    fn complain(&mut self, at: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.problems
            .push(problem(self.text, at, self.fault, message.into(), hint));
    }

    fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn place(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Where each key's value stands, and under `""` the whole.
    fn places(&self) -> BTreeMap<String, Range<usize>> {
        let values = self
            .table
            .iter()
            .map(|(k, v)| (k.get_ref().to_string(), v.span()));
        values.chain([(String::new(), self.span.clone())]).collect()
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// A text that `read` understands, or whose error is a hint.
    fn with<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let read = match value.get_ref() {
            DeValue::String(s) => read(s),
            DeValue::Integer(n) => Err(format!(
                "{n} is a number, where a text is due: a quantity has a unit and stands in quotes, such as \"{n}s\""
            )),
            other => Err(format!("{} where a text is due", other.type_str())),
        };
        match read {
            Ok(read) => Some(read),
            Err(why) => {
                self.complain(value.span(), format!("{key}: {why}"), None);
                None
            }
        }
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, example);
            return None;
        }
        self.with(key, read)
    }

    fn missing(&mut self, key: &str, example: &str) {
        self.complain(
            self.span.clone(),
            format!("`{key}` is missing"),
            Some(format!("write {key} = {example}")),
        );
    }

    fn integer(&mut self, key: &'static str) -> Option<(i128, Range<usize>)> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(n) => i128::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            self.complain(value.span(), format!("{key} is no whole number"), None);
        }
        number.map(|n| (n, value.span()))
    }

    fn required_integer(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<(i128, Range<usize>)> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, example);
            return None;
        }
        self.integer(key)
    }

    /// A list of names.
    fn names(&mut self, key: &'static str) -> Option<Vec<Name>> {
        let value = self.value(key)?;
        let names = value.get_ref().as_array().and_then(|items| {
            let names = items.iter().map(|i| i.get_ref().as_str().map(Name::new));
            names.collect::<Option<Vec<_>>>()
        });
        if names.is_none() {
            let hint = format!("write {key} = [\"n1\", \"n2\"]");
            self.complain(
                value.span(),
                format!("{key} is no list of node names"),
                Some(hint),
            );
        }
        names
    }

    /// A list of names, or a word; left out, it is one node.
    fn targets(&mut self, seed: u64, number: usize, nodes: &[Name]) -> Option<Targets> {
        let who = match self.value("targets").map(Spanned::get_ref) {
            Some(DeValue::String(_)) => self.with("targets", |text| {
                let words: Vec<&str> = WHO.iter().map(|w| w.name).collect();
                let found = WHO.iter().find(|w| w.name == text);
                found.ok_or_else(|| unknown("kind of target", text, &words))
            })?,
            Some(_) => return self.names("targets").map(Targets::Nodes),
            None => one(),
        };
        if nodes.len() < who.least_nodes {
            let message = format!(
                "a {} needs {} nodes or more, and there are {}",
                who.name,
                who.least_nodes,
                nodes.len()
            );
            self.complain(self.place("targets"), message, None);
            return None;
        }
        Some(settle_who(seed, number, who, nodes))
    }

    /// Hands over what was wrong, with every key that has no place here.
    fn finish(mut self, allowed: &[&str], problems: &mut Vec<Problem>) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if allowed.contains(&name) {
                continue;
            }
            let (message, hint) = match KEYS.contains(&name) && self.fault.is_some() {
                true => (
                    format!("`{name}` does not belong to this kind of fault"),
                    Some(format!("its keys are {}", allowed.join(", "))),
                ),
                false => (
                    format!("there is no key `{name}`"),
                    nearest(name, allowed.iter().copied())
                        .map(|near| format!("did you mean `{near}`?")),
                ),
            };
            self.complain(key.span(), message, hint);
        }
        problems.append(&mut self.problems);
    }
}

fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    match nearest(text, known.iter().copied()) {
        Some(near) => format!("there is no {what} {text:?}: did you mean {near:?}?"),
        None => format!(
            "there is no {what} {text:?}: there are {}",
            known.join(", ")
        ),
    }
}

fn problem(
    text: &str,
    at: Range<usize>,
    fault: Option<usize>,
    message: String,
    hint: Option<String>,
) -> Problem {
    let before = text.get(..at.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Problem {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        at,
        fault,
        message,
        hint,
    }
}

/// The file's text.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version = {VERSION}")?;
        match i64::try_from(self.seed) {
            Ok(seed) => writeln!(f, "seed = {seed}")?,
            Err(_) => writeln!(f, "seed = \"{}\"", self.seed)?,
        }
        for entry in &self.entries {
            let mut table = String::new();
            let mut key = |key: &str, value: String| {
                writeln!(table, "{key} = {value}").expect("a string takes all");
            };
            key("at", quoted(&write_duration(entry.at)));
            if let Some(lasts) = entry.lasts {
                key("lasts", quoted(&write_duration(lasts)));
            }
            key("family", quoted(entry.what.family().name()));
            if let Some(shape) = entry.what.shape() {
                key("shape", quoted(shape.name));
            }
            match &entry.what {
                What::Partition(p) => write_topology(&p.topology, &mut key),
                What::Pause(p) => write_targets(&p.targets, &mut key),
                What::Kill(k) => write_targets(&k.targets, &mut key),
                What::Clock(c) => {
                    write_targets(&c.targets, &mut key);
                    write_warp(&c.warp, &mut key);
                }
                What::Packet(p) => {
                    write_targets(&p.targets, &mut key);
                    write_effect(&p.effect, &mut key);
                }
            }
            write!(f, "\n[[fault]]\n{table}")?;
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|n| quoted(n)).collect();
    format!("[{}]", names.join(", "))
}

fn write_targets(targets: &Targets, key: &mut impl FnMut(&str, String)) {
    key(
        "targets",
        match targets {
            Targets::Leader => quoted("leader"),
            Targets::Nodes(names) => list(names),
        },
    );
}

fn write_topology(topology: &Topology, key: &mut impl FnMut(&str, String)) {
    match topology {
        Topology::Leader => {}
        Topology::Split { side, .. } => key("targets", list(side)),
        Topology::MajoritiesRing { order } => key("targets", list(order)),
        Topology::Bridge { bridge, side } => {
            key("bridge", quoted(bridge));
            key("targets", list(side));
        }
        Topology::Partial { a, b } => key("targets", list(&[a.clone(), b.clone()])),
        Topology::OneWayIn { targets }
        | Topology::OneWayOut { targets }
        | Topology::NoResponse { targets } => write_targets(targets, key),
    }
}

fn write_warp(warp: &Warp, key: &mut impl FnMut(&str, String)) {
    match warp {
        Warp::Jump { delta_ns } => key("delta", quoted(&write_delta(*delta_ns))),
        Warp::Strobe { delta_ns, period } => {
            key("delta", quoted(&write_delta(*delta_ns)));
            key("period", quoted(&write_duration(*period)));
        }
        Warp::Drift { rate_ppm } => key("rate_ppm", rate_ppm.to_string()),
        Warp::Freeze { pause, .. } => key("pause", quoted(&write_duration(*pause))),
    }
}

fn write_effect(effect: &Effect, key: &mut impl FnMut(&str, String)) {
    let share = |per_million: &u32| quoted(&write_share(*per_million));
    match effect {
        Effect::Delay { delay, jitter } => {
            key("delay", quoted(&write_duration(*delay)));
            key("jitter", quoted(&write_duration(*jitter)));
        }
        Effect::Reorder {
            share_per_million,
            delay,
        } => {
            key("share", share(share_per_million));
            key("delay", quoted(&write_duration(*delay)));
        }
        Effect::Loss { share_per_million }
        | Effect::Duplicate { share_per_million }
        | Effect::Corrupt { share_per_million } => key("share", share(share_per_million)),
        Effect::Rate { rate_kbit } => key("rate_kbit", rate_kbit.to_string()),
    }
}
