//! The folder of a run, and the store that holds many.
//!
//! ```text
//! store/
//!   latest -> 20261123T101500-paxos-kv-register
//!   20261123T101500-paxos-kv-register/
//!     spec.json          what was asked, the seed, the versions, the command that repeats the run
//!     schedule.toml      the faults with their times and targets
//!     history.jsonl.zst  every event
//!     results.json       what the checkers found
//!     report.html        the same for people
//!     live.json          while it goes on: how far it is
//!     nodes/n1/          logs and whatever else was collected from the node
//! ```

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use chrono::Local;
use thiserror::Error;

use crate::file::{self, NewFile};
use crate::{Budget, Meter, frames, jsonl};

/// Why a run could not be made or found.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot create {path}: {source}")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("no run {name:?} in {store}: `schism list` shows what is there")]
    NoSuchRun { name: String, store: PathBuf },
    #[error("there is no run in {store} yet, so none is the latest: `schism run` makes one")]
    NoRunYet { store: PathBuf },
    #[error("there is no file or folder {name}, and no run of that name in {store}")]
    NoSuchPath { name: String, store: PathBuf },
    #[error("{path} is a store and no run: name one of its runs, such as {path}/{run}")]
    IsStore { path: PathBuf, run: String },
    #[error(
        "{path} is no run: it has no spec.json, and no history of a name that tools give theirs"
    )]
    NoRun { path: PathBuf },
    #[error("{path}: {source}")]
    History {
        path: PathBuf,
        source: jsonl::ReadError,
    },
}

/// The name that points at the newest run.
const LATEST: &str = "latest";

/// Where runs are kept.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    path: PathBuf,
}

/// A folder as a run, if it is one: what was asked is written before anything else.
fn is_run(path: PathBuf) -> Result<Run, StoreError> {
    if path.join("spec.json").exists() {
        return Ok(Run { path });
    }
    match Store::new(&path).list()?.pop() {
        Some(run) => Err(StoreError::IsStore {
            run: run.name(),
            path,
        }),
        None => Err(StoreError::NoRun { path }),
    }
}

impl Store {
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of a new run, named by the time and `label`, and points `latest` at it.
    pub fn create(&self, label: &str) -> Result<Run, StoreError> {
        let fail = |path: &Path| {
            let path = path.to_path_buf();
            move |source| StoreError::Create { path, source }
        };
        fs::create_dir_all(&self.root).map_err(fail(&self.root))?;
        let stamp = Local::now().format("%Y%m%dT%H%M%S");
        // Runs of one second, by parallel jobs, get a number: create_dir decides who has which.
        for n in 1.. {
            let name = match n {
                1 => format!("{stamp}-{label}"),
                _ => format!("{stamp}-{label}-{n}"),
            };
            let path = self.root.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    let made = self.point_latest(&name);
                    let made = made.and_then(|()| fs::canonicalize(&path));
                    if made.is_err() {
                        // It is empty, and ours. What went wrong is told, and that is enough.
                        let _ = fs::remove_dir(&path);
                    }
                    let path = made.map_err(fail(&path))?;
                    return Ok(Run { path });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(fail(&path)(e)),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Replaced by rename, so that a reader never finds it missing. Where somebody has put
    /// something else under that name, it stays; see [`Store::open`].
    fn point_latest(&self, name: &str) -> io::Result<()> {
        if self.latest_is_foreign() {
            return Ok(());
        }
        // Named by the run: runs of one moment, whose process numbers may be the same, do not meet.
        let next = self.root.join(format!(".latest-{name}"));
        std::os::unix::fs::symlink(name, &next)?;
        fs::rename(&next, self.root.join(LATEST)).inspect_err(|_| {
            // The first error is the one to be told.
            let _ = fs::remove_file(&next);
        })
    }

    /// Whether `latest` is something that no run has made, such as a folder that was copied.
    fn latest_is_foreign(&self) -> bool {
        let there = fs::symlink_metadata(self.root.join(LATEST));
        there.is_ok_and(|there| !there.is_symlink())
    }

    /// A run by its name, `latest`, or the path of its folder. Where `latest` is not the link that
    /// it should be, the names say which run is the latest.
    pub fn open(&self, name: &str) -> Result<Run, StoreError> {
        if name == LATEST && self.latest_is_foreign() {
            let mut runs = self.list()?;
            runs.retain(|run| run.name() != LATEST);
            if let Some(run) = runs.pop() {
                return self.open(&run.name());
            }
        }
        for candidate in [self.root.join(name), PathBuf::from(name)] {
            if candidate.is_dir() {
                let path = fs::canonicalize(&candidate).map_err(|source| StoreError::Read {
                    path: candidate,
                    source,
                })?;
                return is_run(path);
            }
        }
        let (name, store) = (name.to_string(), self.root.clone());
        Err(match name.as_str() {
            LATEST if self.list()?.is_empty() => StoreError::NoRunYet { store },
            path if path.contains('/') || Path::new(path).extension().is_some() => {
                StoreError::NoSuchPath { name, store }
            }
            _ => StoreError::NoSuchRun { name, store },
        })
    }

    /// Whether the run lies in this store, and not elsewhere.
    pub fn holds(&self, run: &Run) -> bool {
        fs::canonicalize(&self.root).is_ok_and(|root| run.path.parent() == Some(&root))
    }

    /// Every run, oldest first.
    pub fn list(&self) -> Result<Vec<Run>, StoreError> {
        let folders = self.folders()?.into_iter();
        let runs = folders.map(|name| Run::at(self.root.join(name)));
        Ok(runs.filter(|run| run.spec().exists()).collect())
    }

    /// The names of the folders in it, most of them runs', in their order.
    pub fn folders(&self) -> Result<Vec<OsString>, StoreError> {
        let read = |source| StoreError::Read {
            path: self.root.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(read)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(read)?;
            if entry.file_type().map_err(read)?.is_dir() {
                names.push(entry.file_name());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A run that goes on: see [`Run::hold`].
#[derive(Debug)]
pub struct Held {
    /// Locked; the kernel unlocks it when nobody has it open any more.
    _folder: File,
}

impl Run {
    /// A run's folder that is already there.
    pub fn at(path: impl Into<PathBuf>) -> Run {
        Run { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    pub fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    pub fn schedule(&self) -> PathBuf {
        self.path.join("schedule.toml")
    }

    pub fn history(&self) -> PathBuf {
        self.path.join("history.jsonl.zst")
    }

    pub fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// How often the run came out the same when it was repeated.
    pub fn repeats(&self) -> PathBuf {
        self.path.join("repeats.json")
    }

    pub fn node(&self, name: &str) -> PathBuf {
        self.path.join("nodes").join(name)
    }

    /// Reads the recorded history.
    pub fn load(&self) -> Result<jsonl::Loaded, StoreError> {
        load(&self.history())
    }

    /// Writes one of the run's files, so that it is there whole or not at all.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let fail = |source| StoreError::Write {
            path: path.to_path_buf(),
            source,
        };
        let mut new = NewFile::at(path).map_err(fail)?;
        new.write_all(content).map_err(fail)?;
        new.keep().map_err(fail)
    }

    /// Says, until it is dropped or the process ends in whatever way, that the run goes on.
    pub fn hold(&self) -> io::Result<Held> {
        let folder = File::open(&self.path)?;
        folder.lock()?;
        Ok(Held { _folder: folder })
    }

    /// Whether somebody holds it.
    pub fn is_live(&self) -> bool {
        let folder = File::open(&self.path);
        folder.is_ok_and(|folder| matches!(folder.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// Reads a history file from anywhere.
pub fn load(path: &Path) -> Result<jsonl::Loaded, StoreError> {
    load_within(path, &Budget::UNLIMITED.start())
}

/// The same under a budget.
pub fn load_within(path: &Path, meter: &Meter) -> Result<jsonl::Loaded, StoreError> {
    let file = file::open(path).and_then(|file| frames::text(BufReader::new(file)));
    let text = file.map_err(|source| StoreError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    jsonl::read_within(text, meter).map_err(|source| StoreError::History {
        path: path.to_path_buf(),
        source,
    })
}
