//! `runs.jsonl`: what happened in a night, line by line, as it happened.
//!
//! ```text
//! {"type":"night", ...}    once, at the top: whose night it is, its cells, its gate
//! {"type":"run", ...}      for every run that ended
//! ```
//!
//! What a cell has come to follows from its runs ([`super::state`]), so a night that was killed
//! goes on from the lines that are there. Only the last line can be torn; it is left out and said.
//! A file of another version is refused.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cells::Expected;
use super::fingerprint::Fingerprint;
use super::known::Issue;

/// Version of the format, and of what is written beside it.
pub const VERSION: u32 = 1;
pub const NAME: &str = "runs.jsonl";

/// A night, or a shard of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub version: u32,
    /// What the matrix is called.
    pub name: String,
    /// Which of its nights.
    pub night: String,
    /// What tells the matrix from others.
    pub matrix: String,
    /// When the night began, for people.
    pub started: String,
    /// Which shard of how many; from 1.
    pub shard: (usize, usize),
    /// The matrix's file and the store, as the commands name them.
    pub file: PathBuf,
    pub store: PathBuf,
    pub gate: Terms,
    pub known: Vec<Issue>,
    pub cells: Vec<Planned>,
    /// Cells that are in the file and not in the night, and why.
    pub left_out: usize,
}

/// When the night is green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    pub verdicts: f64,
    pub infra_retries: u32,
    pub confirm: u32,
}

/// A cell of the shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub id: String,
    /// As the matrix calls it.
    pub system: String,
    pub workload: String,
    pub nemesis: String,
    pub seed: u64,
    #[serde(default, skip_serializing_if = "is_valid")]
    pub expect: Expected,
    pub expected_s: f64,
    /// Why it cannot be run on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
}

fn is_valid(expect: &Expected) -> bool {
    *expect == Expected::Valid
}

impl Planned {
    /// What it shares with the cells that differ in their seeds only.
    pub fn combo(&self) -> (&str, &str, &str) {
        (&self.system, &self.workload, &self.nemesis)
    }
}

/// Why a cell cannot be run on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// [`Ending::Missing`] or [`Ending::NotOffered`].
    pub ending: Ending,
    pub why: String,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    Valid,
    Invalid,
    Unknown,
    Vacuous,
    Infra,
    /// The watchdog ended it.
    Timeout,
    /// The kernel killed something of it for memory.
    OutOfMemory,
    /// The system is not installed.
    Missing,
    /// This machine cannot do the faults.
    NotOffered,
}

impl Ending {
    pub const ALL: [Ending; 9] = [
        Ending::Valid,
        Ending::Invalid,
        Ending::Unknown,
        Ending::Vacuous,
        Ending::Infra,
        Ending::Timeout,
        Ending::OutOfMemory,
        Ending::Missing,
        Ending::NotOffered,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Ending::Valid => "valid",
            Ending::Invalid => "invalid",
            Ending::Unknown => "unknown",
            Ending::Vacuous => "vacuous",
            Ending::Infra => "infra",
            Ending::Timeout => "timeout",
            Ending::OutOfMemory => "out of memory",
            Ending::Missing => "missing",
            Ending::NotOffered => "not offered",
        }
    }

    /// Whether it says something of the system.
    pub fn is_verdict(self) -> bool {
        matches!(self, Ending::Valid | Ending::Invalid)
    }

    /// Whether it says nothing but that the run went wrong.
    pub fn is_infra(self) -> bool {
        matches!(self, Ending::Infra | Ending::Timeout)
    }
}

/// Why a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    First,
    /// The one before was `infra`.
    Retry,
    /// The first was invalid.
    Confirm,
}

/// A run of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    pub cell: String,
    pub purpose: Purpose,
    pub ending: Ending,
    /// Its folder's name in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Kinds of its anomalies, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// What decided it, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    pub took_s: f64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// The command that repeats it.
    pub again: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Night(Box<Head>),
    Run(Box<Ran>),
}

/// What the file of a night holds.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub head: Head,
    pub runs: Vec<Ran>,
    /// The last line, which was cut short: its number, and where it begins.
    pub torn: Option<(usize, u64)>,
}

/// Reads a night's file.
///
/// # Errors
/// What is wrong, with file and line.
pub fn read(path: &Path) -> Result<Recorded, String> {
    let fail = |e: io::Error| format!("cannot read {}: {e}", path.display());
    let mut from = BufReader::new(history::file::open(path).map_err(fail)?);
    let (mut head, mut runs, mut torn) = (None, Vec::new(), None);
    let (mut line, mut number, mut begins) = (Vec::new(), 0, 0u64);
    loop {
        line.clear();
        let read = from.read_until(b'\n', &mut line).map_err(fail)?;
        if read == 0 {
            break;
        }
        number += 1;
        let wrong = |why: &dyn std::fmt::Display| format!("{}:{number}: {why}", path.display());
        match serde_json::from_slice(&line) {
            Ok(Line::Night(found)) if head.is_none() => {
                if found.version != VERSION {
                    let version = found.version;
                    let why = format!("a night of version {version}; this program reads {VERSION}");
                    return Err(wrong(&why));
                }
                head = Some(*found);
            }
            Ok(Line::Night(_)) => {
                return Err(wrong(
                    &"a second night begins: two files were joined; give both to `schism merge`",
                ));
            }
            Ok(Line::Run(_)) if head.is_none() => {
                return Err(wrong(
                    &"a run before the line of the night: the file's beginning is missing",
                ));
            }
            Ok(Line::Run(ran)) => runs.push(*ran),
            Err(_) if line.last() != Some(&b'\n') => torn = Some((number, begins)),
            Err(e) => {
                return Err(wrong(&format!(
                    "{e}; take the line away, and its run is made again"
                )));
            }
        }
        begins += read as u64;
    }
    match head {
        Some(head) => Ok(Recorded { head, runs, torn }),
        None => Err(format!(
            "{}: there is no night in it: remove the folder, and it begins anew",
            path.display()
        )),
    }
}

/// The file of a night that goes on.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Begins a night; what was there is gone.
    pub fn begin(path: &Path, head: &Head) -> Result<Journal, String> {
        let fail = |e: io::Error| format!("cannot write {}: {e}", path.display());
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        let mut journal = Journal { file };
        journal.lock(path)?;
        journal.file.set_len(0).map_err(fail)?;
        journal
            .write(&Line::Night(Box::new(head.clone())))
            .map_err(fail)?;
        Ok(journal)
    }

    /// Goes on behind what is there, without a line that was torn.
    pub fn go_on(path: &Path, recorded: &Recorded) -> Result<Journal, String> {
        let fail = |e: io::Error| format!("cannot write {}: {e}", path.display());
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        let mut journal = Journal { file };
        journal.lock(path)?;
        if let Some((_, begins)) = recorded.torn {
            journal.file.set_len(begins).map_err(fail)?;
        }
        journal.file.seek(SeekFrom::End(0)).map_err(fail)?;
        Ok(journal)
    }

    fn lock(&mut self, path: &Path) -> Result<(), String> {
        match self.file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(format!(
                "{} is being written: this night already goes on",
                path.display()
            )),
            // Where files cannot be locked, nobody sees that it goes on, and nothing else is lost.
            _ => Ok(()),
        }
    }

    pub fn add(&mut self, ran: &Ran) -> io::Result<()> {
        self.write(&Line::Run(Box::new(ran.clone())))
    }

    /// A line at once, and on the disk before anybody relies on it. One that did not come to its
    /// end is taken back, so that what comes behind it can be read.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let before = self.file.stream_position()?;
        let written = self
            .file
            .write_all(&text)
            .and_then(|()| self.file.sync_data());
        written.inspect_err(|_| {
            let _ = self.file.set_len(before);
            let _ = self.file.seek(SeekFrom::Start(before));
        })
    }
}

/// Writes a night as a whole.
pub fn write(path: &Path, head: &Head, runs: &[Ran]) -> io::Result<()> {
    let mut new = history::file::NewFile::at(path)?;
    let mut to = io::BufWriter::new(&mut new);
    serde_json::to_writer(&mut to, &Line::Night(Box::new(head.clone())))?;
    to.write_all(b"\n")?;
    for ran in runs {
        serde_json::to_writer(&mut to, &Line::Run(Box::new(ran.clone())))?;
        to.write_all(b"\n")?;
    }
    to.flush()?;
    drop(to);
    new.keep()
}
