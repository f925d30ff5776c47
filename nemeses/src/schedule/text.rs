//! A schedule as text: TOML that a person can read and edit.
//!
//! Everything wrong with a file is said at once, each with its line, the fault it belongs to and
//! what to write instead. Unknown keys are errors: a misspelt `lasts` would silently last for ever.

mod fields;
mod read;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use history::Name;
use thiserror::Error;
use toml::de::{DeTable, DeValue};

pub use self::fields::Problem;
use self::fields::{Fields, keys, problem};
use self::read::read_entry;
use super::rules::ENOUGH;
use super::{Schedule, VERSION};

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
        check_version(&mut head);
        let seed = read_seed(&mut head);
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

        let order = keys();
        let mut entries = Vec::new();
        for (i, fault) in faults.into_iter().enumerate() {
            if problems.len() >= ENOUGH {
                break;
            }
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
            allowed.sort_by_key(|key| order.iter().position(|k| k == key));
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

/// Complains of a schedule without a version, and of one of another.
fn check_version(head: &mut Fields) {
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
        let message = format!("is of version {version}, and this program reads version {VERSION}");
        head.complain(at, message, None);
    }
}

fn read_seed(head: &mut Fields) -> u64 {
    match head.value("seed") {
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
    }
}
